//! What every store of a broker keeps to: one suite, run on each.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::{
    BrokerStore, BrokerStoreError, Identity, MemoryBrokerStore, SqliteBrokerStore, SqliteLimits,
};
use crate::broker::answer::{CreditState, NoticeKind};
use crate::broker::audit::Auditor;
use crate::broker::cases::{
    ContestRow, ContestState, EvidenceRow, LossRow, NoticeRow, ProofRow, Reading,
};
use crate::broker::change::{Change, JournalLine, Ledger, Write};
use crate::broker::rows::{
    AccountRow, CoinRow, CreditRow, DepositRow, HolderRow, HoldingRow, HoldingState, RequestRow,
    Row, RowKey, SpentRow, WithdrawalRow,
};
use crate::broker::{BodyHash, RequestId, WithdrawalId};
use crate::coin::{Commitment, HoldingId, PublicKey};
use crate::record::{Salt, Slot};
use crate::units::{Day, Units, UnixMs};

const HOUR_MS: u64 = 3_600_000;

pub(super) fn identity() -> Identity {
    Identity {
        broker: PublicKey([1; 32]),
        currency: Some(("credit".to_owned(), 100_000)),
    }
}

pub(super) async fn sqlite(dir: &Path) -> SqliteBrokerStore {
    let path = dir.join("broker.sqlite");
    SqliteBrokerStore::open(&path, &identity(), SqliteLimits::default())
        .await
        .unwrap()
}

/// Each kind of store; the directory lives as long as they do.
pub(super) async fn stores() -> (TempDir, Vec<Arc<dyn BrokerStore>>) {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = sqlite(dir.path()).await;
    (
        dir,
        vec![Arc::new(MemoryBrokerStore::new()), Arc::new(sqlite)],
    )
}

pub(super) fn account(n: u8, balance: u64) -> Row {
    let mut row = AccountRow::new(PublicKey([n; 32]));
    row.balance = Units(balance);
    row.signed_after = UnixMs(u64::from(n));
    Row::Account(row)
}

fn credit(n: u8, until: u64, state: CreditState) -> Row {
    Row::Credit(CreditRow {
        holding: HoldingId([n; 32]),
        coin: HoldingId([200; 32]),
        account: PublicKey([1; 32]),
        units: Units(5),
        pending_until: UnixMs(until),
        state,
    })
}

fn spent(n: u8, at: u64) -> SpentRow {
    SpentRow {
        slot: Slot([n; 32]),
        c: Commitment([n; 32]),
        at: UnixMs(at),
    }
}

fn withdrawal(n: u8, requested: u64, paid: Option<u64>) -> WithdrawalRow {
    WithdrawalRow {
        id: WithdrawalId([n; 16]),
        account: PublicKey([1; 32]),
        units: Units(9),
        destination: "bank; DROP TABLE account".to_owned(),
        requested: UnixMs(requested),
        paid: paid.map(UnixMs),
    }
}

pub(super) fn holding(n: u8, state: HoldingState) -> Row {
    Row::Holding(Box::new(HoldingRow {
        id: HoldingId([n; 32]),
        coin: HoldingId([200; 32]),
        parent: n.is_multiple_of(2).then_some(HoldingId([199; 32])),
        value: Units(64),
        key: PublicKey([2; 32]),
        certificate: vec![3; 158],
        since: UnixMs(4),
        contested: (n % 2 == 1).then_some(Slot([n; 32])),
        state,
    }))
}

pub(super) fn write(version: u64, row: Row) -> Change {
    Change {
        writes: vec![Write {
            version,
            row: Arc::new(row),
        }],
        ..Change::default()
    }
}

pub(super) fn contest(n: u8, state: ContestState) -> Row {
    Row::Contest(Box::new(ContestRow {
        slot: Slot([n; 32]),
        holding: HoldingId([n; 32]),
        coin: HoldingId([200; 32]),
        signer: PublicKey([2; 32]),
        offender: PublicKey([1; 32]),
        late: n.is_multiple_of(2),
        opened: UnixMs(4),
        evidence: 5,
        due: UnixMs(u64::from(n) * 10),
        state,
    }))
}

fn evidence(number: u32, c: Option<Commitment>) -> Row {
    Row::Evidence(EvidenceRow {
        slot: Slot([1; 32]),
        number,
        c,
        presenter: PublicKey([1; 32]),
        at: UnixMs(5),
        bytes: vec![1, 2, 3],
    })
}

fn every_kind_of_row() -> Vec<Row> {
    let c = Commitment([6; 32]);
    let reading = Reading {
        at_unix_ms: UnixMs(9),
        copies: vec![(c, 12)],
        answers: [8, 9, 10],
    };
    let mut rows = vec![
        account(1, 10),
        Row::Holder(HolderRow {
            key: PublicKey([7; 32]),
            account: PublicKey([1; 32]),
            expires: Day(20_000),
        }),
        Row::Coin(CoinRow {
            id: HoldingId([200; 32]),
            account: PublicKey([1; 32]),
            value: Units(64),
            credited: Units(3),
            contests: 1,
            settled: true,
            expires: Day(20_030),
            certificate: vec![8; 158],
        }),
        credit(9, 77, CreditState::Paid),
        credit(10, 77, CreditState::Cancelled),
        credit(11, 77, CreditState::Settled),
        contest(1, ContestState::Waiting(None)),
        contest(2, ContestState::Waiting(Some(reading))),
        contest(3, ContestState::Decided(c)),
        contest(4, ContestState::Dropped),
        evidence(1, Some(c)),
        evidence(2, None),
        Row::Proof(ProofRow {
            key: PublicKey([3; 32]),
            salt: Salt([4; 32]),
            at: UnixMs(5),
            proof: vec![6; 700],
        }),
        Row::Loss(LossRow {
            offender: PublicKey([1; 32]),
            number: 2,
            loser: PublicKey([3; 32]),
            holding: HoldingId([4; 32]),
            units: Units(5),
            paid: Units(4),
        }),
        Row::Notice(NoticeRow {
            account: PublicKey([1; 32]),
            number: 7,
            at: UnixMs(8),
            what: NoticeKind::Compensated {
                holding: HoldingId([9; 32]),
                units: Units(10),
                missing: Units(11),
            },
        }),
        Row::Spent(spent(10, 99)),
        Row::Deposit(DepositRow {
            reference: "bank 'quoted' \u{2603}".to_owned(),
            account: PublicKey([1; 32]),
            units: Units(1),
            at: UnixMs(2),
        }),
        Row::Withdrawal(withdrawal(11, 1, Some(2))),
        Row::Withdrawal(withdrawal(12, 1, None)),
        Row::Request(RequestRow {
            account: PublicKey([1; 32]),
            id: RequestId([13; 16]),
            body: BodyHash([14; 32]),
            answer: b"{}".to_vec(),
            at: UnixMs(3),
        }),
    ];
    let spend = vec![1; 422];
    let states = [
        HoldingState::Fixed {
            c,
            spend: spend.clone(),
        },
        HoldingState::Split {
            c,
            spend,
            close_c: Commitment([7; 32]),
            close: vec![2; 228],
            k: 63,
            closed: UnixMs(8),
        },
        HoldingState::Redeemed {
            c,
            redeem: vec![3; 256],
            account: PublicKey([1; 32]),
        },
        HoldingState::Void,
    ];
    rows.extend((20u8..).zip(states).map(|(n, state)| holding(n, state)));
    rows
}

#[tokio::test]
async fn every_row_comes_back_as_it_was_written_with_one_version_more_each_time() {
    let (_dir, stores) = stores().await;
    for store in stores {
        for row in every_kind_of_row() {
            let key = row.key();
            let keys = std::slice::from_ref(&key);
            let absent = store.load(keys).await.unwrap();
            assert_eq!(absent.get(&key).unwrap().version, 0);
            for version in 0..2 {
                store.apply(&[write(version, row.clone())]).await.unwrap();
                let rows = store.load(keys).await.unwrap();
                let stored = rows.get(&key).unwrap();
                assert_eq!(
                    (stored.version, stored.row.as_deref()),
                    (version + 1, Some(&row))
                );
            }
        }
    }
}

#[tokio::test]
async fn a_stale_write_or_condition_undoes_the_whole_batch() {
    let (_dir, stores) = stores().await;
    for store in stores {
        store.apply(&[write(0, account(1, 10))]).await.unwrap();
        let condition = Change {
            conditions: vec![(account(1, 0).key(), 0)],
            ..Change::default()
        };
        for stale in [
            write(0, account(1, 11)),
            write(5, account(1, 11)),
            condition,
        ] {
            let mut first = write(0, account(2, 1));
            first.journal.push(JournalLine {
                at: UnixMs(1),
                from: Ledger::Deposits,
                to: Ledger::Fees,
                units: Units(1),
                reference: "never".to_owned(),
            });
            let refused = store.apply(&[first, stale]).await;
            assert!(
                matches!(refused, Err(BrokerStoreError::Stale(_))),
                "{refused:?}"
            );
            let keys = [account(1, 0).key(), account(2, 0).key()];
            let rows = store.load(&keys).await.unwrap();
            assert_eq!(
                rows.get(&keys[0]).unwrap().row.as_deref(),
                Some(&account(1, 10))
            );
            assert_eq!(rows.get(&keys[1]).unwrap().version, 0);
            let mut auditor = Auditor::default();
            store.audit(&mut auditor).await.unwrap();
            assert_eq!(auditor.finish().journal_lines, 0);
        }
    }
}

#[tokio::test]
async fn of_two_writers_on_one_version_one_wins() {
    let (_dir, stores) = stores().await;
    for store in stores {
        store.apply(&[write(0, account(1, 0))]).await.unwrap();
        let tries = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.apply(&[write(1, account(1, n))]).await.is_ok() })
        });
        let done = futures::future::join_all(tries).await;
        assert_eq!(
            done.into_iter()
                .filter(|won| *won.as_ref().unwrap())
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn credits_are_ripe_when_their_time_has_come_and_they_are_not_paid() {
    let (_dir, stores) = stores().await;
    for store in stores {
        let (pending, paid) = (CreditState::Pending, CreditState::Paid);
        for (n, until, state) in [
            (1, 30, pending),
            (2, 10, pending),
            (3, 5, paid),
            (4, 31, pending),
        ] {
            store
                .apply(&[write(0, credit(n, until, state))])
                .await
                .unwrap();
        }
        let ripe = |now, limit| {
            let store = store.clone();
            async move {
                let me = PublicKey([1; 32]);
                let ids = store.ripe_credits(Some(&me), UnixMs(now), limit).await;
                let ids = ids.unwrap();
                ids.into_iter().map(|id| id.0[0]).collect::<Vec<_>>()
            }
        };
        assert_eq!(ripe(30, 10).await, [2, 1]);
        assert_eq!(ripe(30, 1).await, [2]);
        assert_eq!(ripe(9, 10).await, [0u8; 0]);
        let other = PublicKey([2; 32]);
        let none = store.ripe_credits(Some(&other), UnixMs(99), 10).await;
        assert!(none.unwrap().is_empty());
        let all = store.ripe_credits(None, UnixMs(30), 10).await.unwrap();
        assert_eq!(all, [HoldingId([2; 32]), HoldingId([1; 32])]);
    }
}

#[tokio::test]
async fn fixed_slots_are_listed_by_the_hour() {
    let (_dir, stores) = stores().await;
    for store in stores {
        let all = [
            spent(1, 3 * HOUR_MS),
            spent(2, 4 * HOUR_MS - 1),
            spent(3, 4 * HOUR_MS),
            spent(4, 9 * HOUR_MS),
        ];
        for row in &all {
            store
                .apply(&[write(0, Row::Spent(row.clone()))])
                .await
                .unwrap();
        }
        assert_eq!(
            store.spent_hours(0).await.unwrap(),
            [(3, 2), (4, 1), (9, 1)]
        );
        assert_eq!(store.spent_hours(4).await.unwrap(), [(4, 1), (9, 1)]);
        assert_eq!(store.spent_in(3, 0, 9).await.unwrap(), all[..2]);
        assert_eq!(store.spent_in(3, 0, 1).await.unwrap(), all[..1]);
        assert_eq!(store.spent_in(3, 1, 9).await.unwrap(), all[1..2]);
        assert!(store.spent_in(5, 0, 9).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn suspended_keys_and_waiting_withdrawals_are_found() {
    let (_dir, stores) = stores().await;
    for store in stores {
        for n in [1, 2] {
            let mut row = AccountRow::new(PublicKey([n; 32]));
            row.suspended = (n == 2).then_some(UnixMs(5));
            let holder = HolderRow {
                key: PublicKey([n + 10; 32]),
                account: row.id,
                expires: Day(1),
            };
            let changes = [write(0, Row::Account(row)), write(0, Row::Holder(holder))];
            store.apply(&changes).await.unwrap();
        }
        assert_eq!(store.suspended_keys().await.unwrap(), [PublicKey([12; 32])]);
        let rows = [
            withdrawal(3, 20, None),
            withdrawal(4, 10, None),
            withdrawal(5, 5, Some(6)),
        ];
        for row in &rows {
            store
                .apply(&[write(0, Row::Withdrawal(row.clone()))])
                .await
                .unwrap();
        }
        let waiting = store.withdrawals(false).await.unwrap();
        assert_eq!(waiting, [rows[1].clone(), rows[0].clone()]);
        assert_eq!(store.withdrawals(true).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn an_auditor_sees_journal_and_rows() {
    let (_dir, stores) = stores().await;
    for store in stores {
        let me = PublicKey([1; 32]);
        let mut change = write(0, account(1, 7));
        change.writes.push(Write {
            version: 0,
            row: Arc::new(Row::Deposit(DepositRow {
                reference: "r".to_owned(),
                account: me,
                units: Units(7),
                at: UnixMs(1),
            })),
        });
        change.journal.push(JournalLine {
            at: UnixMs(1),
            from: Ledger::Deposits,
            to: Ledger::Balance(me),
            units: Units(7),
            reference: "r".to_owned(),
        });
        store.apply(&[change]).await.unwrap();
        let mut auditor = Auditor::default();
        store.audit(&mut auditor).await.unwrap();
        let report = auditor.finish();
        assert!(report.balanced, "{:?}", report.faults);
        assert_eq!(
            (report.deposits, report.balances, report.journal_lines),
            (7, 7, 1)
        );
    }
}

#[tokio::test]
async fn a_file_opened_again_holds_what_was_applied_and_belongs_to_its_broker() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite(dir.path()).await;
    store.apply(&[write(0, account(1, 10))]).await.unwrap();
    store.close().await;
    let store = sqlite(dir.path()).await;
    let key: RowKey = account(1, 0).key();
    let rows = store.load(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(
        rows.get(&key).unwrap().row.as_deref(),
        Some(&account(1, 10))
    );
    assert_eq!(
        store.currency().await.unwrap(),
        Some(("credit".to_owned(), 100_000))
    );
    store.close().await;
    let path = dir.path().join("broker.sqlite");
    for wrong in [
        Identity {
            broker: PublicKey([2; 32]),
            currency: None,
        },
        Identity {
            currency: Some(("credit".to_owned(), 1)),
            ..identity()
        },
    ] {
        let opened = SqliteBrokerStore::open(&path, &wrong, SqliteLimits::default()).await;
        assert!(
            matches!(opened, Err(BrokerStoreError::Foreign { .. })),
            "{opened:?}"
        );
    }
}
