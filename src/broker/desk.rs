//! Reading rows and moving money while one request is decided.
//!
//! Every read is remembered with its version and becomes a condition of the change. Money moves
//! only through [`Desk::transfer`], which changes the account rows and writes the journal line in
//! one step, so rows and journal cannot differ.

use std::sync::Arc;

use indexmap::IndexMap;

use super::WithdrawalId;
use super::answer::NoticeKind;
use super::answer::{Refusal, RefusalCode};
use super::cases::{ContestRow, NoticeRow};
use super::change::{Change, JournalLine, Ledger, Write};
use super::kept::Sold;
use super::rows::{
    AccountRow, CoinRow, CreditRow, HolderRow, HoldingRow, HoldingState, Row, RowKey, Rows, Stored,
    WithdrawalRow,
};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::record::Slot;
use crate::units::{Units, UnixMs};

/// Why a decision is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// These rows are needed too: load them and decide again.
    Need(Vec<RowKey>),
    /// Refused; nothing changes.
    Refused(Refusal),
    /// It was signed before another one was refused, or before there was an account: it may be an old one
    /// that somebody plays again. Nothing changes; the account may sign it anew.
    Early,
    /// The rows contradict each other: the store is damaged, or this program is wrong. Nothing
    /// changes, and the operator has to look.
    Broken(String),
}

impl Stop {
    /// A refusal.
    pub(super) fn refuse(
        code: RefusalCode,
        error: impl Into<String>,
        what_to_do: impl Into<String>,
    ) -> Stop {
        Stop::Refused(Refusal::new(code, error, what_to_do))
    }
}

/// A row that the decision looked at.
struct Seen {
    /// As it was loaded.
    version: u64,
    /// As it shall be; nothing: it was only read.
    written: Option<Arc<Row>>,
}

/// One decision in the making.
pub(super) struct Desk<'r> {
    loaded: &'r Rows,
    /// In the order in which they were looked at.
    seen: IndexMap<RowKey, Seen, foldhash::fast::RandomState>,
    journal: Vec<JournalLine>,
    /// Coins that it sells, in the order asked for.
    pub(super) sold: Vec<Sold>,
    /// The time of the decision.
    pub(super) now: UnixMs,
}

impl<'r> Desk<'r> {
    pub(super) fn new(loaded: &'r Rows, now: UnixMs) -> Self {
        Desk {
            loaded,
            seen: IndexMap::default(),
            journal: Vec::new(),
            sold: Vec::new(),
            now,
        }
    }

    /// Stops with all of `keys` that are not loaded, so that they are loaded in one go.
    pub(super) fn want(&self, keys: &[RowKey]) -> Result<(), Stop> {
        let missing: Vec<RowKey> = keys
            .iter()
            .filter(|k| self.loaded.get(k).is_none())
            .cloned()
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Stop::Need(missing))
        }
    }

    /// The row with this key, as it stands in this decision.
    pub(super) fn row(&mut self, key: &RowKey) -> Result<Option<Row>, Stop> {
        if let Some(Seen {
            written: Some(row), ..
        }) = self.seen.get(key)
        {
            return Ok(Some(Row::clone(row)));
        }
        let stored = self.stored(key)?;
        let seen = self.seen.entry(key.clone());
        seen.or_insert(Seen {
            version: stored.version,
            written: None,
        });
        Ok(stored.row.as_deref().cloned())
    }

    fn stored(&self, key: &RowKey) -> Result<&'r Stored, Stop> {
        let stored = self.loaded.get(key);
        stored.ok_or_else(|| Stop::Need(vec![key.clone()]))
    }

    /// An account; one that never had money has none.
    pub(super) fn account(&mut self, id: &PublicKey) -> Result<AccountRow, Stop> {
        match self.row(&RowKey::Account(*id))? {
            Some(Row::Account(row)) => Ok(row),
            None => Ok(AccountRow {
                signed_after: self.now,
                ..AccountRow::new(*id)
            }),
            Some(other) => Err(mixed(&other)),
        }
    }

    pub(super) fn holder(&mut self, key: &PublicKey) -> Result<Option<HolderRow>, Stop> {
        match self.row(&RowKey::Holder(*key))? {
            Some(Row::Holder(row)) => Ok(Some(row)),
            None => Ok(None),
            Some(other) => Err(mixed(&other)),
        }
    }

    pub(super) fn coin(&mut self, id: &HoldingId) -> Result<Option<CoinRow>, Stop> {
        match self.row(&RowKey::Coin(*id))? {
            Some(Row::Coin(row)) => Ok(Some(row)),
            None => Ok(None),
            Some(other) => Err(mixed(&other)),
        }
    }

    /// What is known about a holding; one that is void is unknown.
    pub(super) fn holding(&mut self, id: &HoldingId) -> Result<Option<HoldingRow>, Stop> {
        match self.row(&RowKey::Holding(*id))? {
            Some(Row::Holding(row)) => Ok(Some(*row).filter(|r| r.state != HoldingState::Void)),
            None => Ok(None),
            Some(other) => Err(mixed(&other)),
        }
    }

    /// A credit, cancelled or not.
    pub(super) fn credit(&mut self, id: &HoldingId) -> Result<Option<CreditRow>, Stop> {
        match self.row(&RowKey::Credit(*id))? {
            Some(Row::Credit(row)) => Ok(Some(row)),
            None => Ok(None),
            Some(other) => Err(mixed(&other)),
        }
    }

    pub(super) fn contest(&mut self, slot: &Slot) -> Result<Option<ContestRow>, Stop> {
        match self.row(&RowKey::Contest(*slot))? {
            Some(Row::Contest(row)) => Ok(Some(*row)),
            None => Ok(None),
            Some(other) => Err(mixed(&other)),
        }
    }

    /// The account behind a holder key. A key that this broker certified and has no row about (a
    /// restored backup) stands for itself.
    pub(super) fn account_behind(&mut self, key: &PublicKey) -> Result<PublicKey, Stop> {
        Ok(self.holder(key)?.map_or(*key, |row| row.account))
    }

    /// Tells an account something.
    pub(super) fn notify(&mut self, account: &PublicKey, what: NoticeKind) -> Result<(), Stop> {
        let mut row = self.account(account)?;
        row.notices = row.notices.saturating_add(1);
        let notice = NoticeRow {
            account: *account,
            number: row.notices,
            at: self.now,
            what,
        };
        self.put_new(Row::Notice(notice));
        self.put(Row::Account(row))
    }

    pub(super) fn withdrawal(&mut self, id: &WithdrawalId) -> Result<Option<WithdrawalRow>, Stop> {
        match self.row(&RowKey::Withdrawal(*id))? {
            Some(Row::Withdrawal(row)) => Ok(Some(row)),
            None => Ok(None),
            Some(other) => Err(mixed(&other)),
        }
    }

    /// Writes a row; the version that was loaded becomes a condition.
    pub(super) fn put(&mut self, row: Row) -> Result<(), Stop> {
        let key = row.key();
        let version = match self.seen.get(&key) {
            Some(seen) => seen.version,
            None => self.stored(&key)?.version,
        };
        let written = Some(Arc::new(row));
        self.seen.insert(key, Seen { version, written });
        Ok(())
    }

    /// Writes a row whose number was never used, so that there is nothing to read first.
    pub(super) fn put_new(&mut self, row: Row) {
        let (key, written) = (row.key(), Some(Arc::new(row)));
        let version = 0;
        self.seen.insert(key, Seen { version, written });
    }

    /// Moves money. Zero units move silently.
    pub(super) fn transfer(
        &mut self,
        from: Ledger,
        to: Ledger,
        units: Units,
        reference: &str,
    ) -> Result<(), Stop> {
        if units.is_zero() {
            return Ok(());
        }
        self.shift(from, |held| held.checked_sub(units))?;
        self.shift(to, |held| held.checked_add(units))?;
        self.journal.push(JournalLine {
            at: self.now,
            from,
            to,
            units,
            reference: reference.to_owned(),
        });
        Ok(())
    }

    fn shift(
        &mut self,
        ledger: Ledger,
        change: impl FnOnce(Units) -> Option<Units>,
    ) -> Result<(), Stop> {
        let (_, Some(id)) = ledger.parts() else {
            return Ok(()); // held in rows of their own: deposits, withdrawals
        };
        let mut account = self.account(&id)?;
        let held = match ledger {
            Ledger::Balance(_) => &mut account.balance,
            Ledger::Pending(_) => &mut account.pending,
            Ledger::Bond(_) => &mut account.bond,
            Ledger::Outstanding(_) => &mut account.outstanding,
            Ledger::Deposits | Ledger::Fees | Ledger::Queued | Ledger::PaidOut => return Ok(()),
        };
        *held = change(*held).ok_or_else(|| {
            Stop::Broken(format!(
                "{ledger:?} holds {held} units, which the rows contradict"
            ))
        })?;
        self.put(Row::Account(account))
    }

    /// Writes nothing of what was to be written; what was read counts.
    pub(super) fn undo(&mut self) {
        let seen = self.seen.values_mut();
        seen.for_each(|seen| seen.written = None);
        self.journal.clear();
        self.sold.clear();
    }

    /// A change of nothing, on what was read.
    pub(super) fn nothing(mut self) -> Change {
        self.undo();
        self.finish()
    }

    /// The change that this decision wants.
    pub(super) fn finish(self) -> Change {
        let (mut conditions, mut writes) = (Vec::new(), Vec::with_capacity(self.seen.len()));
        for (key, Seen { version, written }) in self.seen {
            match written {
                Some(row) => writes.push(Write { version, row }),
                None => conditions.push((key, version)),
            }
        }
        Change {
            conditions,
            writes,
            journal: self.journal,
        }
    }
}

/// A row of another kind than its key says.
fn mixed(row: &Row) -> Stop {
    Stop::Broken(format!("a row of the wrong kind at {:?}", row.key()))
}
