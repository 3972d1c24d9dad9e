//! One suite for all stores: what is written is read back after every change, all of it or nothing;
//! what is fixed stays fixed. Then what only files can do: reopening, readers, locks, a full disk.

use std::path::Path as FilePath;

use super::*;
use crate::units::{Units, UnixMs};
use crate::wallet::fixture::{NOW, REST, Side, TORRENT};
use crate::wallet::trade::{self, Redeemable, Redeemed};
use crate::wallet::withdraw::{self, Standing, WithdrawAsk};
use crate::wallet::{ApplyError, Rows, earning, keys, paying, signing};

/// Two wallets that did everything once: bought, was refused, spent, ticked, closed, redeemed.
fn story() -> [Side; 2] {
    let (mut payer, mut payee) = (Side::new(1), Side::new(2));
    payer.buy(&[64, 64, 16, 256], NOW);
    let refused = payer.begin_purchase(&[4096], NOW);
    let change = trade::purchase_refused(&payer.rows, &refused, "no money", NOW);
    payer.write(change.expect("known"));
    payer.begin_purchase(&[16, 16], NOW);
    let mut change = Change::on(&payer.rows);
    change.budgets.push((TORRENT, Some(Units(500))));
    change.budgets.push((crate::units::InfoHash([1; 20]), None));
    payer.write(change);
    withdraw_thrice(&mut payer);
    payer.write(signing::ahead(&payer.rows, NOW, NOW).expect("nothing is signed yet"));
    payee.certify(3, NOW);
    for ticked in [40u32, 0, 16] {
        let row = payer.reserve(1, 64, NOW).expect("there");
        let key = keys::pick(&payee.rows, &Default::default(), NOW).expect("certified");
        let (open, chain) = payer
            .commit(&row.holding.id, key.certificate, NOW)
            .expect("reserved");
        let spend = payee.receive(&row.path, open, NOW).expect("good");
        payee.write(earning::accepted(&payee.rows, &spend).expect("known"));
        let ticked = ticked.min(chain.value());
        let wk = chain.reveal(ticked).expect("in chain");
        payer.write(paying::ticks(&payer.rows, &[(spend, ticked)]).expect("fits"));
        let (change, _) = earning::ticks(&payee.rows, &[(spend, ticked, wk)]).expect("fits");
        payee.write(change);
        if ticked == 0 {
            payer.write(paying::ended(&payer.rows, &[spend], NOW));
            payee.write(earning::fix_close(&payee.rows, &spend, 0, &wk).expect("proven"));
            continue;
        }
        let close = payee.close(&spend, NOW);
        payee.write(earning::put(&payee.rows, &spend).expect("known"));
        let change = paying::closed(&payer.rows, &spend, &open, &close, NOW);
        payer.write(change.expect("good"));
    }
    payer.reserve(1, 256, NOW).expect("volatile");
    for side in [&mut payer, &mut payee] {
        let ids = trade::redeemable(&side.rows, Redeemable::Earned, NOW);
        let request = side.request();
        let change = trade::begin_redemption(&side.rows, request, &ids, NOW);
        side.write(change.expect("available"));
        let outcomes: Vec<Redeemed> = (0..ids.len())
            .map(|i| match i {
                0 => Redeemed::Credited {
                    units: side.rows.holdings[&ids[0]].holding.value,
                    pending_until: UnixMs(NOW.0 + 9),
                },
                1 => Redeemed::Waits {
                    until: Some(NOW),
                    why: "contested".to_owned(),
                },
                _ => Redeemed::Refused {
                    why: "listed".to_owned(),
                },
            })
            .collect();
        let change = trade::redeemed(&side.rows, &request, &outcomes, vec![1, 2, 3], REST, NOW);
        side.write(change.expect("fits"));
    }
    let waits = [&payer, &payee].map(|side| side.rows.redemptions.contains_key(&REST));
    assert!(waits.contains(&true), "an answer leaves something open");
    [payer, payee]
}

/// One is answered and paid out, one refused, one open; and nothing more is bought by itself.
fn withdraw_thrice(side: &mut Side) {
    let rich = Standing {
        balance: Units(900),
        withdrawable: Units(900),
        ..Standing::default()
    };
    side.write(withdraw::leave(&side.rows));
    for (units, bond) in [(Some(Units(5)), false), (None, true), (None, false)] {
        let ask = WithdrawAsk {
            units,
            destination: format!("IBAN of {units:?}"),
            bond,
        };
        let request = side.request();
        let change = withdraw::begin(&side.rows, request, &ask, &rich, NOW);
        side.write(change.expect("there"));
        let change = match (units, bond) {
            (Some(_), _) => withdraw::withdrawn(&side.rows, &request, "w".into(), vec![7; 70], NOW),
            (None, true) => withdraw::refused(&side.rows, &request, "bound", NOW),
            (None, false) => return,
        };
        side.write(change.expect("known"));
        side.write(withdraw::paid_out(&side.rows, &request, UnixMs(NOW.0 + 5)));
    }
}

async fn replay(store: &dyn WalletStore, side: &Side) {
    let mut model = Rows::default();
    let mut journal = Vec::new();
    for change in &side.log {
        store.apply(change).await.expect("written");
        if !change.is_volatile() {
            change.apply(&mut model).expect("fits");
            journal.extend(change.journal.clone());
        }
        assert_eq!(store.load().await.expect("read"), model);
    }
    assert_eq!(model, side.disk);
    let entries = store.journal(1000).await.expect("read");
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=journal.len() as u64).collect::<Vec<_>>());
    let lines: Vec<_> = entries.iter().map(|entry| entry.line.clone()).collect();
    assert_eq!(lines, journal);
    let last = journal.len() - 2;
    assert_eq!(store.journal(2).await.expect("read"), entries[last..]);
    let one = store.journal_of("2").await.expect("read");
    assert_eq!(one, entries[1..2]);
    let reference = &entries[1].line.reference;
    let same = |entry: &&crate::wallet::JournalEntry| entry.line.reference == *reference;
    let same: Vec<_> = entries.iter().filter(same).cloned().collect();
    assert_eq!(
        store.journal_of(&reference[..12]).await.expect("read"),
        same
    );
    assert!(store.journal_of("no such").await.expect("read").is_empty());
}

async fn keeps_what_is_fixed(store: &dyn WalletStore, side: &Side) {
    let before = store.load().await.expect("read");
    let refused = |change: Change| async move {
        match store.apply(&change).await {
            Err(StoreError::Refused(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    };
    let mut stale = Change::on(&before);
    stale.expects -= 1;
    stale.budgets.push((TORRENT, Some(Units(1))));
    assert!(matches!(refused(stale).await, ApplyError::Stale { .. }));
    if let Some(row) = side.rows.spends.values().next() {
        let mut second = row.clone();
        second.spend.0[0] ^= 1;
        let mut change = Change::on(&before);
        // All or nothing: what comes before the refused row is not kept either.
        change.budgets.push((TORRENT, Some(Units(1))));
        change.spends.push(second);
        assert!(matches!(refused(change).await, ApplyError::SpentTwice(_)));
        let mut moved = row.clone();
        moved.anchor.0[0] ^= 1;
        let mut change = Change::on(&before);
        change.spends.push(moved);
        refused(change).await;
    }
    if let Some(row) = side.rows.received.values().next() {
        let mut second = row.clone();
        second.spend.0[0] ^= 1;
        let mut change = Change::on(&before);
        change.received.push(second);
        let why = refused(change).await;
        assert!(matches!(why, ApplyError::ReceivedTwice(_)));
    }
    assert_eq!(store.load().await.expect("read"), before);
}

async fn open(home: &FilePath) -> SqliteStore {
    SqliteStore::open(home, SqliteOptions::default())
        .await
        .expect("opened")
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    for side in story() {
        let store = MemoryStore::new();
        replay(&store, &side).await;
        keeps_what_is_fixed(&store, &side).await;
    }
}

#[tokio::test]
async fn the_sqlite_store_keeps_the_contract_also_when_opened_again() {
    for side in story() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path()).await;
        replay(&store, &side).await;
        keeps_what_is_fixed(&store, &side).await;
        store.close().await;
        let store = open(dir.path()).await;
        assert_eq!(store.load().await.expect("read"), side.disk);
        keeps_what_is_fixed(&store, &side).await;
    }
}

#[tokio::test]
async fn the_database_is_written_through_and_only_its_owner_reads_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path()).await;
    assert_eq!(store.pragma("journal_mode").await, "wal");
    assert_eq!(store.pragma("synchronous").await, "2");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let meta = std::fs::metadata(dir.path().join(sqlite::FILE)).expect("there");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn readers_see_what_is_durable_beside_the_writer() {
    let [payer, _] = story();
    let dir = tempfile::tempdir().expect("a directory");
    let reading = SqliteOptions {
        read_only: true,
        max_pages: None,
    };
    let nothing = SqliteStore::open(dir.path(), reading).await;
    assert!(matches!(nothing, Err(StoreError::Missing(_))));
    let store = open(dir.path()).await;
    let half = payer.log.len() / 2;
    for change in &payer.log[..half] {
        store.apply(change).await.expect("written");
    }
    let reader = SqliteStore::open(dir.path(), reading)
        .await
        .expect("beside");
    assert_eq!(
        reader.load().await.expect("read"),
        store.load().await.expect("read")
    );
    for change in &payer.log[half..] {
        store.apply(change).await.expect("written");
    }
    assert_eq!(reader.load().await.expect("read"), payer.disk);
    let mut change = Change::on(&payer.disk);
    change.budgets.push((TORRENT, Some(Units(1))));
    assert!(
        reader.apply(&change).await.is_err(),
        "a reader cannot write"
    );
}

#[test]
fn a_second_writer_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(!WriterLock::is_taken(dir.path()), "there is none");
    let lock = WriterLock::take(dir.path()).expect("free");
    assert!(WriterLock::is_taken(dir.path()));
    let refused = WriterLock::take(dir.path()).expect_err("taken");
    let text = refused.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    drop(lock);
    assert!(!WriterLock::is_taken(dir.path()));
    WriterLock::take(dir.path()).expect("free again");
}

#[tokio::test]
async fn a_full_disk_refuses_the_change_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut side = Side::new(1);
    let store = open(dir.path()).await;
    for change in &side.log {
        store.apply(change).await.expect("written");
    }
    let pages: u32 = store.pragma("page_count").await.parse().expect("a number");
    store.close().await;
    let options = SqliteOptions {
        read_only: false,
        max_pages: Some(pages + 8),
    };
    let full = SqliteStore::open(dir.path(), options)
        .await
        .expect("opened");
    let mut refused = None;
    for _ in 0..100 {
        let (done, before) = (side.log.len(), side.disk.clone());
        side.buy(&[16; 32], NOW);
        for change in side.log[done..].iter().cloned() {
            if refused.is_some() {
                continue;
            }
            let loaded = full.load().await.expect("read");
            match full.apply(&change).await {
                Ok(()) => {}
                Err(StoreError::Full) => refused = Some((change, loaded)),
                Err(other) => panic!("not full but {other}"),
            }
        }
        if refused.is_some() {
            break;
        }
        assert_ne!(before, side.disk);
    }
    let (change, before) = refused.expect("full at some point");
    assert_eq!(full.load().await.expect("read"), before);
    let again = full.apply(&change).await;
    assert!(matches!(again, Err(StoreError::Full)), "{again:?}");
    full.close().await;
    let store = open(dir.path()).await;
    assert_eq!(store.load().await.expect("read"), before);
    store.apply(&change).await.expect("room again");
    let after = store.load().await.expect("read");
    assert_eq!(after.version, before.version + 1);
    assert!(after.is_balanced());
}
