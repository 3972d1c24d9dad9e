//! The third part of the contract suite: holder keys that coins are sold for.

use std::path::Path;
use std::sync::Arc;

use super::contract::{sqlite, stores};
use super::places::NEWEST;
use super::{BrokerStore, BrokerStoreError};
use crate::broker::change::{Change, Write};
use crate::broker::rows::{
    AccountRow, CoinRow, HolderRow, HoldingRow, HoldingState, Row, RowKey, Stored,
};
use crate::coin::{Commitment, HoldingId, PublicKey};
use crate::units::{Day, Units, UnixMs};

const ME: PublicKey = PublicKey([1; 32]);
const OTHER: PublicKey = PublicKey([9; 32]);

fn name(n: u32) -> [u8; 32] {
    let mut name = [7; 32];
    name[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
    name
}

/// A coin for the key of this number.
fn coin(n: u32, key: u32, settled: bool) -> Row {
    let mut certificate = vec![3; 158];
    certificate[38..70].copy_from_slice(&name(key));
    Row::Coin(CoinRow {
        id: HoldingId(name(n)),
        account: ME,
        value: Units(64),
        credited: Units(0),
        contests: 0,
        settled,
        expires: Day(20),
        certificate,
    })
}

fn key(n: u32, account: PublicKey, expires: u32) -> Row {
    Row::Holder(HolderRow {
        key: PublicKey(name(n)),
        account,
        expires: Day(expires),
    })
}

fn change(writes: impl IntoIterator<Item = (u64, Row)>, conditions: Vec<(RowKey, u64)>) -> Change {
    let write = |(version, row)| Write {
        version,
        row: Arc::new(row),
    };
    Change {
        conditions,
        writes: writes.into_iter().map(write).collect(),
        ..Change::default()
    }
}

fn sale(n: u32) -> Change {
    change([(0, key(n, ME, 20)), (0, coin(n, n, false))], Vec::new())
}

async fn found(store: &dyn BrokerStore, row: &Row) -> (u64, Option<Row>) {
    let rows = store.load(&[row.key()]).await.unwrap();
    let Stored { version, row, .. } = rows.get(&row.key()).unwrap().clone();
    (version, row.as_deref().cloned())
}

async fn is_stale(store: &dyn BrokerStore, change: Change) -> bool {
    let applied = store.apply(&[change]).await;
    applied.is_err_and(|error| BrokerStoreError::is_stale(&error))
}

/// A key that was sold with its coin is a row written once, whoever looks at it in whatever way.
async fn is_written_once(store: &dyn BrokerStore, n: u32) {
    let row = key(n, ME, 20);
    assert_eq!(found(store, &row).await, (1, Some(row.clone())), "{n}");
    for wrong in [0, 2] {
        let read = change([], vec![(row.key(), wrong)]);
        assert!(is_stale(store, read).await, "{n} read at {wrong}");
        let written = change([(wrong, key(n, OTHER, 30))], Vec::new());
        assert!(is_stale(store, written).await, "{n} written at {wrong}");
    }
    let read = change([], vec![(row.key(), 1)]);
    store.apply(&[read]).await.unwrap();
    let both = [row.key(), coin(n, n, false).key()];
    let rows = store.load(&both).await.unwrap();
    assert!(both.iter().all(|key| rows.get(key).unwrap().version == 1));
}

/// It can be written again, and counts as that says from then on.
async fn is_written_again(store: &dyn BrokerStore, n: u32) {
    let later = key(n, ME, 33);
    let again = change([(1, later.clone())], Vec::new());
    store.apply(std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(found(store, &later).await, (2, Some(later.clone())), "{n}");
    assert!(is_stale(store, again).await);
}

#[tokio::test]
async fn a_key_sold_with_its_coin_is_a_row_like_any_other() {
    let (_dir, stores) = stores().await;
    for store in stores {
        store.apply(&[sale(1), sale(2)]).await.unwrap();
        is_written_once(store.as_ref(), 1).await;
        is_written_again(store.as_ref(), 1).await;
        is_written_once(store.as_ref(), 2).await;
        // Two coins for one key, in one change and in two; a key that was there before its coin.
        let two = [
            (0, key(3, ME, 20)),
            (0, coin(3, 3, false)),
            (0, coin(4, 3, false)),
        ];
        store.apply(&[change(two, Vec::new())]).await.unwrap();
        is_written_once(store.as_ref(), 3).await;
        let more = [(1, key(3, ME, 20)), (0, coin(5, 3, false))];
        store.apply(&[change(more, Vec::new())]).await.unwrap();
        assert_eq!(found(store.as_ref(), &key(3, ME, 20)).await.0, 2);
        let twice = change([(1, key(6, ME, 20)), (0, coin(7, 6, false))], Vec::new());
        store.apply(&[sale(6), twice]).await.unwrap();
        assert_eq!(found(store.as_ref(), &key(6, ME, 20)).await.0, 2);
        let certified = change([(0, key(8, ME, 40))], Vec::new());
        store.apply(&[certified]).await.unwrap();
        let bought = [(1, key(8, ME, 40)), (0, coin(8, 8, false))];
        store.apply(&[change(bought, Vec::new())]).await.unwrap();
        let row = key(8, ME, 40);
        assert_eq!(found(store.as_ref(), &row).await, (2, Some(row)));
    }
}

#[tokio::test]
async fn keys_that_stand_in_coins_are_listed_with_the_others() {
    let (_dir, stores) = stores().await;
    for store in stores {
        let settled = [(0, key(2, ME, 20)), (0, coin(2, 2, true))];
        let certified = [(0, key(3, ME, 50)), (0, key(4, OTHER, 50))];
        let (settled, certified) = (change(settled, vec![]), change(certified, vec![]));
        store.apply(&[sale(1), settled, certified]).await.unwrap();
        is_written_again(store.as_ref(), 1).await;
        let mut mine = vec![(name(1), 33), (name(2), 20), (name(3), 50)];
        mine.sort_unstable();
        let (mut listed, mut after) = (Vec::new(), None);
        while let Some(row) = store.holders_of(&ME, after, 1).await.unwrap().pop() {
            assert_eq!(row.account, ME);
            listed.push((row.key.0, row.expires.0));
            after = Some(row.key);
        }
        assert_eq!(listed, mine);
        let holding = Row::Holding(Box::new(HoldingRow {
            id: HoldingId(name(2)),
            coin: HoldingId(name(2)),
            parent: None,
            value: Units(64),
            key: PublicKey(name(2)),
            certificate: vec![3; 158],
            since: UnixMs(4),
            contested: None,
            state: HoldingState::Fixed {
                c: Commitment([1; 32]),
                spend: vec![0; 422],
            },
        }));
        let mut suspended = AccountRow::new(ME);
        suspended.suspended = Some(UnixMs(1));
        let rows = [(0, holding), (0, Row::Account(suspended))];
        store.apply(&[change(rows, Vec::new())]).await.unwrap();
        let holdings = store.holdings_of(&ME, None, 9).await.unwrap();
        assert_eq!(holdings.len(), 1);
        let keys: Vec<_> = mine.iter().map(|(key, _)| PublicKey(*key)).collect();
        assert_eq!(store.suspended_keys().await.unwrap(), keys);
    }
}

/// Rows of holder keys, and names of keys in the index.
async fn counts(dir: &Path) -> (i64, i64) {
    let url = format!("sqlite://{}", dir.join("broker.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let counts = "SELECT (SELECT COUNT(*) FROM holder), (SELECT COUNT(*) FROM holder_place)";
    let counts = sqlx::query_as(counts).fetch_one(&pool).await.unwrap();
    pool.close().await;
    counts
}

#[tokio::test]
async fn keys_stand_in_coins_when_the_file_is_opened_again_and_when_they_are_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (sqlite(dir.path()).await, sqlite(dir.path()).await);
    let sales: Vec<Change> = (0..10).map(sale).collect();
    one.apply(&sales).await.unwrap();
    assert_eq!(counts(dir.path()).await, (0, 0));
    is_written_once(&other, 1).await;
    is_written_again(&other, 1).await;
    is_written_once(&one, 2).await;
    assert_eq!(found(&one, &key(1, ME, 33)).await.0, 2);
    let many = NEWEST as u32 + 10;
    let sales: Vec<Change> = (10..many).map(sale).collect();
    one.apply(&sales).await.unwrap();
    assert_eq!(counts(dir.path()).await, (1, i64::from(many)));
    for store in [&one, &other] {
        is_written_once(store, 2).await;
        is_written_once(store, many - 1).await;
        assert_eq!(found(store, &key(1, ME, 33)).await.0, 2);
    }
    is_written_again(&one, 2).await;
    is_written_again(&other, 3).await;
    // A new coin for a key whose own row is in the index already.
    let more = [(2, key(1, ME, 33)), (0, coin(many, 1, false))];
    other.apply(&[change(more, Vec::new())]).await.unwrap();
    one.close().await;
    other.close().await;
    let again = sqlite(dir.path()).await;
    for (n, version) in [(0, 1), (1, 3), (2, 2), (3, 2), (4, 1), (many - 1, 1)] {
        assert_eq!(found(&again, &key(n, ME, 0)).await.0, version, "{n}");
    }
    is_written_again(&again, many - 2).await;
    assert_eq!(found(&again, &key(many, ME, 0)).await, (0, None));
}
