//! Coins and holder keys are found before, while and after they enter the index.

use std::path::Path;

use super::*;
use crate::broker::rows::{CoinRow, HolderRow, Row};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::store::broker::contract::{sqlite, write};
use crate::store::broker::entering::SLICE;
use crate::store::broker::{BrokerStore, SqliteBrokerStore};
use crate::units::{Day, Units};

const ME: PublicKey = PublicKey([1; 32]);

/// Names that begin alike in fours, in no order.
fn name(n: u32) -> [u8; 32] {
    let mut name = [0; 32];
    name[..4].copy_from_slice(&(n / 4).wrapping_mul(0x9e37_79b1).to_be_bytes());
    name[28..].copy_from_slice(&n.to_be_bytes());
    name
}

fn coin(n: u32, credited: u64) -> Row {
    Row::Coin(CoinRow {
        id: HoldingId(name(n)),
        account: ME,
        value: Units(64),
        credited: Units(credited),
        contests: 0,
        settled: false,
        expires: Day(20),
        certificate: n.to_be_bytes().to_vec(),
    })
}

fn holder(n: u32, expires: u32) -> Row {
    Row::Holder(HolderRow {
        key: PublicKey(name(n)),
        account: ME,
        expires: Day(expires),
    })
}

async fn sell(store: &SqliteBrokerStore, from: u32, to: u32) {
    let rows = (from..to).flat_map(|n| [coin(n, 0), holder(n, 9)]);
    let changes: Vec<_> = rows.map(|row| write(0, row)).collect();
    store.apply(&changes).await.unwrap();
}

/// Some coins and holder keys are as they were sold, such a key cannot be sold again, and both can be changed.
async fn change(store: &SqliteBrokerStore, names: &[u32], version: u64) {
    for n in names {
        let before = [coin(*n, version - 1), holder(*n, 8 + version as u32)];
        let after = [coin(*n, version), holder(*n, 9 + version as u32)];
        for (before, after) in before.into_iter().zip(after) {
            let rows = store.load(&[before.key()]).await.unwrap();
            let stored = rows.get(&before.key()).unwrap();
            assert_eq!(
                (stored.version, stored.row.as_deref()),
                (version, Some(&before)),
                "{n}"
            );
            // A coin's id is drawn: nobody looks whether a new one is there.
            let is_drawn = matches!(after, Row::Coin(_));
            for wrong in [0, version + 1].into_iter().skip(usize::from(is_drawn)) {
                let refused = store.apply(&[write(wrong, after.clone())]).await;
                assert!(refused.is_err_and(|error| error.is_stale()), "{n}");
            }
            store.apply(&[write(version, after)]).await.unwrap();
        }
    }
}

async fn absent(store: &SqliteBrokerStore, n: u32) {
    let keys = [coin(n, 0).key(), holder(n, 0).key()];
    let rows = store.load(&keys).await.unwrap();
    assert!(keys.iter().all(|key| rows.get(key).unwrap().row.is_none()));
}

/// How many coins and holder keys the index has.
async fn placed(dir: &Path) -> (i64, i64) {
    let url = format!("sqlite://{}", dir.join("broker.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let counts = "SELECT (SELECT COUNT(*) FROM coin_place), (SELECT COUNT(*) FROM holder_place)";
    let counts = sqlx::query_as(counts).fetch_one(&pool).await.unwrap();
    pool.close().await;
    counts
}

async fn execute(dir: &Path, sql: &'static str) {
    let url = format!("sqlite://{}", dir.join("broker.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn an_index_that_cannot_be_written_is_tried_again_after_twice_as_many_writes_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let many = NEWEST as u32;
    let store = sqlite(dir.path()).await;
    sell(&store, 0, many - 1).await;
    execute(dir.path(), "ALTER TABLE coin_place RENAME TO away").await;
    let mut tries = Vec::new();
    let mut before = 0;
    for n in 0..100 {
        sell(&store, many + n, many + n + 1).await;
        let pause = store.places.lock().await.pause;
        if pause != before {
            tries.push(n);
        }
        before = pause;
    }
    assert_eq!(tries, [0, 2, 5, 10, 19, 36, 69]);
    execute(dir.path(), "ALTER TABLE away RENAME TO coin_place").await;
    assert_eq!(placed(dir.path()).await, (0, 0));
    change(&store, &[0, many, many + 99], 1).await;
    let mut n = many + 100;
    while store.places.lock().await.coins.placed == 0 {
        sell(&store, n, n + 1).await;
        n += 1;
        assert!(n < many + 2 * many / SLICE as u32 + 300);
    }
    assert_eq!(store.places.lock().await.pause, 0);
    change(&store, &[1, many + 1, n - 1], 1).await;
}

#[tokio::test]
async fn names_enter_the_index_some_after_each_write_and_are_found_all_the_while() {
    let dir = tempfile::tempdir().unwrap();
    let many = NEWEST as u32;
    let store = sqlite(dir.path()).await;
    sell(&store, 0, many - 1).await;
    let entered = async || {
        let (coins, holders) = placed(dir.path()).await;
        coins + holders
    };
    for n in 0..6 {
        let before = entered().await;
        sell(&store, many + n, many + n + 1).await;
        assert_eq!(entered().await, before + SLICE as i64);
        change(&store, &[n, many - 2 - n, many + n], 1).await;
    }
    store.close().await;
    // What has not entered whole enters again, beside another process that does the same.
    let (store, other) = (sqlite(dir.path()).await, sqlite(dir.path()).await);
    let mut n = 6;
    while store.places.lock().await.coins.placed == 0 {
        sell(&store, many + n, many + n + 1).await;
        sell(&other, 2 * many + n, 2 * many + n + 1).await;
        n += 1;
        assert!(n < 2 * many / SLICE as u32 + 100);
    }
    let (coins, holders) = placed(dir.path()).await;
    assert!(coins >= i64::from(many) && holders >= i64::from(many));
    for store in [&store, &other] {
        absent(store, many - 1).await;
    }
    change(&store, &[0, 5, many], 2).await;
    change(&other, &[100, many + 9, 2 * many + n - 1], 1).await;
}

#[tokio::test]
async fn rows_are_found_before_and_after_they_enter_the_index_and_by_other_processes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (sqlite(dir.path()).await, sqlite(dir.path()).await);
    sell(&one, 0, 10).await;
    change(&other, &[0, 5, 9], 1).await;
    sell(&other, 10, 20).await;
    change(&one, &[0, 5], 2).await;
    change(&one, &[10, 19], 1).await;
    assert_eq!(placed(dir.path()).await, (0, 0));
    let many = 101 + NEWEST as u32;
    sell(&one, 101, many).await;
    let all = NEWEST as i64 + 20;
    assert_eq!(placed(dir.path()).await, (all, all));
    change(&other, &[0], 3).await;
    change(&other, &[1, 101, many - 1], 1).await;
    sell(&other, 20, 24).await;
    change(&one, &[20, 23], 1).await;
    // Its name begins as that of the next three.
    absent(&one, 100).await;
    absent(&other, 100).await;
    one.close().await;
    other.close().await;
    let again = sqlite(dir.path()).await;
    change(&again, &[2, 21, 102], 1).await;
    change(&again, &[0], 4).await;
    absent(&again, 100).await;
    sell(&again, 100, 101).await;
    change(&again, &[100], 1).await;
    assert_eq!(placed(dir.path()).await, (all, all));
}
