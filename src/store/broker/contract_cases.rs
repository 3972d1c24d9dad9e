//! The second half of the contract suite: what the broker looks for by itself, and pages of an account.

use super::contract::{account, contest, holding, identity, sqlite, stores, write};
use super::{
    BrokerStore, BrokerStoreError, Identity, SqliteBrokerStore, SqliteLimits, forms, page_of,
};
use crate::broker::cases::{ContestState, EvidenceRow};
use crate::broker::recover::Cursor;
use crate::broker::rows::{AccountRow, CoinRow, HolderRow, HoldingState, Row, SpentRow};
use crate::coin::{Commitment, HoldingId, PublicKey};
use crate::record::Slot;
use crate::units::{Day, Units, UnixMs};

const ME: PublicKey = PublicKey([1; 32]);

fn coin(n: u8, account: PublicKey, expires: u32, settled: bool) -> Row {
    Row::Coin(CoinRow {
        id: HoldingId([n; 32]),
        account,
        value: Units(64),
        credited: Units(0),
        contests: 0,
        settled,
        expires: Day(expires),
        certificate: vec![n; 100],
    })
}

fn holder(n: u8, account: PublicKey) -> Row {
    Row::Holder(HolderRow {
        key: PublicKey([n; 32]),
        account,
        expires: Day(20_000),
    })
}

async fn put(store: &dyn BrokerStore, rows: Vec<Row>) {
    let changes: Vec<_> = rows.into_iter().map(|row| write(0, row)).collect();
    store.apply(&changes).await.unwrap();
}

#[tokio::test]
async fn open_contests_are_found_when_they_are_due() {
    let (_dir, stores) = stores().await;
    for store in stores {
        put(
            store.as_ref(),
            vec![
                contest(3, ContestState::Waiting(None)),
                contest(2, ContestState::Waiting(None)),
                contest(1, ContestState::Dropped),
                contest(4, ContestState::Waiting(None)),
            ],
        )
        .await;
        let due = store.due_contests(UnixMs(30), 9).await.unwrap();
        let slots: Vec<u8> = due.iter().map(|row| row.slot.0[0]).collect();
        assert_eq!(slots, [2, 3]);
        assert_eq!(store.due_contests(UnixMs(30), 1).await.unwrap().len(), 1);
        let decided = contest(2, ContestState::Decided(Commitment([1; 32])));
        store.apply(&[write(1, decided)]).await.unwrap();
        assert_eq!(store.due_contests(UnixMs(30), 9).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn unsettled_coins_come_by_expiry_page_by_page() {
    let (_dir, stores) = stores().await;
    for store in stores {
        put(
            store.as_ref(),
            vec![
                coin(1, ME, 20, false),
                coin(2, ME, 10, false),
                coin(3, ME, 10, false),
                coin(4, ME, 10, true),
                coin(5, ME, 21, false),
            ],
        )
        .await;
        let mut after = None;
        let mut all = Vec::new();
        loop {
            let page = store.unsettled_coins(Day(21), after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(*last);
            all.extend(page.iter().map(|(_, id)| id.0[0]));
        }
        assert_eq!(all, [2, 3, 1]);
    }
}

#[tokio::test]
async fn an_entry_that_is_replaced_stays_in_its_hour_and_the_new_one_comes_after_it() {
    let (_dir, stores) = stores().await;
    for store in stores {
        let entry = |c: u8, at: u64| SpentRow {
            slot: Slot([1; 32]),
            c: Commitment([c; 32]),
            at: UnixMs(at),
        };
        for (version, row) in [entry(1, 10), entry(2, 20), entry(3, 3_600_000)]
            .iter()
            .enumerate()
        {
            let write = write(version as u64, Row::Spent(row.clone()));
            store.apply(&[write]).await.unwrap();
        }
        assert_eq!(store.spent_hours(0).await.unwrap(), [(0, 2), (1, 1)]);
        assert_eq!(
            store.spent_in(0, 0, 9).await.unwrap(),
            [entry(1, 10), entry(2, 20)]
        );
    }
}

#[tokio::test]
async fn an_entry_is_listed_no_earlier_than_the_one_before_it() {
    let (_dir, stores) = stores().await;
    for store in stores {
        let entry = |n: u8, at: u64| SpentRow {
            slot: Slot([n; 32]),
            c: Commitment([n; 32]),
            at: UnixMs(at),
        };
        for row in [entry(1, 7_200_000), entry(2, 10), entry(3, 7_200_001)] {
            put(store.as_ref(), vec![Row::Spent(row)]).await;
        }
        let again = write(1, Row::Spent(entry(1, 20)));
        store.apply(&[again]).await.unwrap();
        assert_eq!(store.spent_hours(0).await.unwrap(), [(2, 4)]);
        let listed = store.spent_in(2, 0, 9).await.unwrap();
        let listed: Vec<(u8, u64)> = listed.iter().map(|row| (row.slot.0[0], row.at.0)).collect();
        let (first, last) = (7_200_000, 7_200_001);
        assert_eq!(listed, [(1, first), (2, first), (3, last), (1, last)]);
    }
}

#[tokio::test]
async fn suspended_accounts_are_named_until_their_coins_are_listed() {
    let (_dir, stores) = stores().await;
    for store in stores {
        for (n, suspended, withheld) in [(1, false, false), (2, true, false), (3, true, true)] {
            let mut row = AccountRow::new(PublicKey([n; 32]));
            row.suspended = suspended.then_some(UnixMs(1));
            row.withheld = withheld;
            put(store.as_ref(), vec![Row::Account(row)]).await;
        }
        let found = store.unlisted_accounts(9).await.unwrap();
        assert_eq!(found, [PublicKey([2; 32])]);
    }
}

#[tokio::test]
async fn an_account_is_read_page_by_page_and_nothing_of_others_is_in_it() {
    let (_dir, stores) = stores().await;
    for store in stores {
        let other = PublicKey([9; 32]);
        let spend = |payee: u8| {
            let mut spend = vec![0; 422];
            spend[..32].copy_from_slice(&[payee; 32]);
            HoldingState::Fixed {
                c: Commitment([1; 32]),
                spend,
            }
        };
        // The holder key of `holding()` is 2.
        put(
            store.as_ref(),
            vec![
                holder(2, ME),
                holder(3, ME),
                holder(4, other),
                coin(10, ME, 20, false),
                coin(11, ME, 20, false),
                coin(12, ME, 20, true),
                coin(13, other, 20, false),
                coin(20, ME, 20, false),
                holding(10, HoldingState::Void),
                holding(20, spend(4)),
                holding(21, spend(3)),
            ],
        )
        .await;
        for limit in [1, 2, 100] {
            let (mut keys, mut coins, mut holdings) = (Vec::new(), Vec::new(), Vec::new());
            let mut next = Some(Cursor::Keys(None));
            while let Some(cursor) = next {
                let cursor = cursor.to_string().parse().unwrap();
                let page = page_of(store.as_ref(), &ME, cursor, limit).await.unwrap();
                keys.extend(page.keys.iter().map(|row| row.key.0[0]));
                coins.extend(page.coins.iter().map(|row| row.id.0[0]));
                holdings.extend(page.holdings.iter().map(|row| row.id.0[0]));
                next = page.next;
            }
            assert_eq!((keys, coins), (vec![2, 3], vec![10, 11]), "limit {limit}");
            assert_eq!(holdings, [20, 21]);
        }
        let theirs = store.holdings_of(&other, None, 9).await.unwrap();
        assert_eq!(theirs.len(), 1, "the one spent to them");
    }
}

/// Does something to a file as another program would.
async fn execute(path: &std::path::Path, sql: &'static str) {
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await;
    let pool = pool.unwrap();
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

/// A coin as a file of before has it. A `whole` one is for the holder key of this number plus 10.
fn old_coin(n: u8, expires: u32, whole: bool) -> Row {
    let Row::Coin(mut row) = coin(n, ME, expires, false) else {
        unreachable!("it is a coin");
    };
    if whole {
        row.certificate = vec![n; 158];
        row.certificate[38..70].copy_from_slice(&[n + 10; 32]);
    }
    Row::Coin(row)
}

/// Writes a file of an earlier form: two coins and two holder keys.
async fn old_file(dir: &std::path::Path, forms: usize, whole: bool) {
    let url = format!("sqlite://{}?mode=rwc", dir.join("broker.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let steps = forms::steps().into_iter().take(forms).collect();
    let migrator = sqlx::migrate::Migrator::with_migrations(steps);
    migrator.run(&pool).await.unwrap();
    for (n, expires) in [(2u8, 10), (1, 20)] {
        let Row::Coin(row) = old_coin(n, expires, whole) else {
            unreachable!("it is a coin");
        };
        let coin = sqlx::query(
            "INSERT INTO coin (id, version, account, value, credited, contests, settled, expires_day, \
             certificate) VALUES ($1, 1, $2, 64, 0, 0, 0, $3, $4)",
        );
        let coin = coin.bind(vec![n; 32]).bind(ME.0.to_vec());
        let coin = coin.bind(expires).bind(row.certificate);
        coin.execute(&pool).await.unwrap();
        let holder = sqlx::query(
            "INSERT INTO holder (holder_key, version, account, expires_day) VALUES ($1, 1, $2, 20000)",
        );
        let holder = holder.bind(vec![n + 10; 32]).bind(ME.0.to_vec());
        holder.execute(&pool).await.unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn a_file_of_each_form_before_is_opened_with_all_its_rows() {
    // Rows of the last of them come after those that its index has.
    for (forms, whole) in [1, 2, 3, 4, 5]
        .into_iter()
        .flat_map(|n| [(n, false), (n, true)])
    {
        let dir = tempfile::tempdir().unwrap();
        old_file(dir.path(), forms, whole).await;
        let store = sqlite(dir.path()).await;
        let found = store.unsettled_coins(Day(21), None, 9).await.unwrap();
        let (first, second) = (HoldingId([2; 32]), HoldingId([1; 32]));
        assert_eq!(found, [(Day(10), first), (Day(20), second)]);
        let after = Some((Day(10), first));
        let found = store.unsettled_coins(Day(21), after, 9).await.unwrap();
        assert_eq!(found, [(Day(20), second)]);
        let before = [old_coin(1, 20, whole), old_coin(2, 10, whole)];
        for row in before
            .into_iter()
            .chain([11, 12].map(|key| holder(key, ME)))
        {
            if matches!(row, Row::Holder(_)) {
                let again = store.apply(&[write(0, row.clone())]).await;
                let stale = again.as_ref().is_err_and(BrokerStoreError::is_stale);
                assert!(stale, "{again:?}");
            }
            let rows = store.load(&[row.key()]).await.unwrap();
            let stored = rows.get(&row.key()).unwrap();
            assert_eq!((stored.version, stored.row.as_deref()), (1, Some(&row)));
            store.apply(&[write(1, row.clone())]).await.unwrap();
            let rows = store.load(&[row.key()]).await.unwrap();
            assert_eq!(rows.get(&row.key()).unwrap().version, 2, "{forms} {whole}");
        }
        put(&store, vec![coin(3, ME, 5, false), holder(13, ME)]).await;
        let holders = store.holders_of(&ME, None, 9).await.unwrap();
        let keys: Vec<_> = holders
            .iter()
            .map(|row| (row.key.0[0], row.expires))
            .collect();
        assert_eq!(keys, [11, 12, 13].map(|key| (key, Day(20_000))));
        let found = store.unsettled_coins(Day(21), None, 9).await.unwrap();
        assert_eq!(found.first(), Some(&(Day(5), HoldingId([3; 32]))));
    }
}

#[tokio::test]
async fn a_file_of_an_earlier_form_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.sqlite");
    let identity = Identity {
        broker: ME,
        currency: None,
    };
    let open = || SqliteBrokerStore::open(&path, &identity, SqliteLimits::default());
    open().await.unwrap().close().await;
    execute(
        &path,
        "UPDATE _sqlx_migrations SET version = 1 WHERE version = 2",
    )
    .await;
    let refused = open().await;
    assert!(
        matches!(refused, Err(BrokerStoreError::Older)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_full_database_refuses_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.sqlite");
    sqlite(dir.path()).await.close().await;
    let pages = std::fs::metadata(&path).unwrap().len() / 8192;
    let limits = SqliteLimits {
        max_pages: Some(u32::try_from(pages).unwrap() + 8),
    };
    let store = SqliteBrokerStore::open(&path, &identity(), limits)
        .await
        .unwrap();
    let evidence = |n: u8| {
        Row::Evidence(EvidenceRow {
            slot: Slot([n; 32]),
            number: 1,
            c: None,
            presenter: PublicKey([1; 32]),
            at: UnixMs(1),
            bytes: vec![n; 4000],
        })
    };
    let mut written = 0;
    let full = loop {
        let batch = [write(0, account(written, 1)), write(0, evidence(written))];
        match store.apply(&batch).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 200);
    };
    assert!(matches!(full, BrokerStoreError::Full), "{full:?}");
    // It stays usable: the next request is refused for the same reason, not for a broken connection.
    let again = store.apply(&[write(0, evidence(written))]).await;
    assert!(matches!(again, Err(BrokerStoreError::Full)), "{again:?}");
    for n in 0..=written {
        let key = account(n, 0).key();
        let rows = store.load(std::slice::from_ref(&key)).await.unwrap();
        assert_eq!(rows.get(&key).unwrap().row.is_some(), n < written);
    }
    store.close().await;
    let store = sqlite(dir.path()).await;
    store.apply(&[write(0, evidence(written))]).await.unwrap();
}
