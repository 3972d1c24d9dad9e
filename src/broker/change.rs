//! One decision's outcome: what it relied on, what it writes, what the journal says about it.

use std::sync::Arc;

use thiserror::Error;

use super::rows::{Row, RowKey, Rows, Stored};
use crate::coin::keys::PublicKey;
use crate::units::{Units, UnixMs};

/// A place where money lies. Every unit that the broker ever took in lies in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ledger {
    /// The world outside, which money comes from: what it holds is minus all deposits.
    Deposits,
    /// An account's balance.
    Balance(PublicKey),
    /// An account's credits within the hold.
    Pending(PublicKey),
    /// An account's bond.
    Bond(PublicKey),
    /// Coins an account bought that are not redeemed.
    Outstanding(PublicKey),
    /// What the broker earned.
    Fees,
    /// Withdrawals asked for, not yet paid out.
    Queued,
    /// Withdrawals paid out.
    PaidOut,
}

impl Ledger {
    /// Short name and account, as the journal stores them.
    #[must_use]
    pub fn parts(&self) -> (&'static str, Option<PublicKey>) {
        match self {
            Ledger::Deposits => ("deposits", None),
            Ledger::Balance(a) => ("balance", Some(*a)),
            Ledger::Pending(a) => ("pending", Some(*a)),
            Ledger::Bond(a) => ("bond", Some(*a)),
            Ledger::Outstanding(a) => ("outstanding", Some(*a)),
            Ledger::Fees => ("fees", None),
            Ledger::Queued => ("queued", None),
            Ledger::PaidOut => ("paid-out", None),
        }
    }

    /// The inverse of [`Ledger::parts`].
    #[must_use]
    pub fn from_parts(name: &str, account: Option<PublicKey>) -> Option<Self> {
        Some(match (name, account) {
            ("deposits", None) => Ledger::Deposits,
            ("balance", Some(a)) => Ledger::Balance(a),
            ("pending", Some(a)) => Ledger::Pending(a),
            ("bond", Some(a)) => Ledger::Bond(a),
            ("outstanding", Some(a)) => Ledger::Outstanding(a),
            ("fees", None) => Ledger::Fees,
            ("queued", None) => Ledger::Queued,
            ("paid-out", None) => Ledger::PaidOut,
            _ => return None,
        })
    }
}

/// One movement of money. It leaves one ledger and enters another, so a line cannot make a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// When.
    pub at: UnixMs,
    /// Where it came from.
    pub from: Ledger,
    /// Where it went.
    pub to: Ledger,
    /// How much; never zero.
    pub units: Units,
    /// What it was for: external reference, coin id, holding id or withdrawal id.
    pub reference: String,
}

/// A row to write, with the version it must still have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// 0: the row must be absent.
    pub version: u64,
    /// The row as it shall be.
    pub row: Arc<Row>,
}

impl Write {
    /// The row as it is stored then.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored {
            version: self.version.saturating_add(1),
            row: Some(self.row.clone()),
            guessed: false,
        }
    }
}

/// What one decision wants done, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Rows that were only read, with the version they must still have.
    pub conditions: Vec<(RowKey, u64)>,
    /// Rows to write.
    pub writes: Vec<Write>,
    /// Money that moved.
    pub journal: Vec<JournalLine>,
}

/// A row is no longer what the decision was made on: load again and decide again.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{key:?} changed since it was loaded (expected version {expected})")]
pub struct Stale {
    /// The row.
    pub key: RowKey,
    /// The version the decision relied on.
    pub expected: u64,
}

impl Change {
    /// The guesses that it was decided on and that nobody compares, since it writes nothing.
    #[must_use]
    pub fn trusts(&self, rows: &Rows) -> Vec<RowKey> {
        let read = self.conditions.iter().map(|(key, _)| key);
        let guessed = read.filter(|key| rows.get(key).is_some_and(|stored| stored.guessed));
        if self.is_empty() {
            guessed.cloned().collect()
        } else {
            Vec::new()
        }
    }

    /// Whether there is nothing to make durable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.journal.is_empty()
    }

    /// Applies the rows to `rows`, all or none. A row that is not in `rows` counts as absent.
    ///
    /// # Errors
    /// [`Stale`] if a version differs; `rows` is then untouched.
    pub fn apply(&self, rows: &mut Rows) -> Result<(), Stale> {
        let check = |key: &RowKey, expected: u64| {
            let found = rows.get(key).map_or(0, |s| s.version);
            if found == expected {
                Ok(())
            } else {
                Err(Stale {
                    key: key.clone(),
                    expected,
                })
            }
        };
        for (key, expected) in &self.conditions {
            check(key, *expected)?;
        }
        for write in &self.writes {
            check(&write.row.key(), write.version)?;
        }
        for write in &self.writes {
            rows.set(write.row.key(), write.stored());
        }
        Ok(())
    }
}
