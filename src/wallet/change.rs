//! One decision's outcome: rows to write together, journal lines, and effects to release afterwards.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rows::{
    HoldingRow, HoldingState, Meta, PayeeKeyRow, PurchaseRow, ReceivedRow, RedemptionRow,
    RequestId, Rows, SpendRow,
};
use super::withdraw::WithdrawalRow;
use crate::coin::ids::{Commitment, HoldingId};
use crate::units::{InfoHash, Units, UnixMs};

/// What may be done once a change is durable, and is done again after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sign the spend of this row.
    SignSpend(Commitment),
    /// Sign the close of this received spend.
    SignClose(Commitment),
    /// Send this purchase to the broker.
    SendPurchase(RequestId),
    /// Sign and send this redemption to the broker.
    SendRedemption(RequestId),
    /// Send this withdrawal to the broker.
    SendWithdrawal(RequestId),
}

/// What a journal line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    /// A broker was met for the first time and pinned.
    BrokerPinned,
    /// A coin was bought.
    Bought,
    /// The broker refused a purchase.
    PurchaseRefused,
    /// A holding was locked to a payee.
    Locked,
    /// A payee closed: so much was paid.
    Paid,
    /// What a close left of a holding.
    Change,
    /// A payer locked a holding to us.
    Received,
    /// We closed: so much was earned.
    Earned,
    /// The broker credited a holding.
    Redeemed,
    /// The broker refused to redeem a holding.
    RedeemRefused,
    /// The broker took a withdrawal into its queue; `peer` is its destination.
    Withdrawn,
    /// The broker refused a withdrawal.
    WithdrawalRefused,
    /// The broker's operator has paid a withdrawal out, as the broker says; `peer` is its destination.
    PaidOut,
    /// Something in a holding's slot is not of these rows: nothing is signed for it.
    Frozen,
    /// A frozen holding is available again.
    Thawed,
    /// A statement of a lost journal was found and taken over.
    Recovered,
    /// Two statements in one slot were found and kept as a proof.
    ProofFound,
    /// The broker paid for a loss by somebody else's double spend.
    Compensated,
    /// The broker took back a credit that lost a contest.
    Cancelled,
    /// The broker suspended this account.
    Suspended,
    /// The broker settled what was left of a coin.
    Settled,
    /// The broker says something else about this account.
    Notice,
}

impl JournalKind {
    /// Its name on disk and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            JournalKind::BrokerPinned => "broker_pinned",
            JournalKind::Bought => "bought",
            JournalKind::PurchaseRefused => "purchase_refused",
            JournalKind::Locked => "locked",
            JournalKind::Paid => "paid",
            JournalKind::Change => "change",
            JournalKind::Received => "received",
            JournalKind::Earned => "earned",
            JournalKind::Redeemed => "redeemed",
            JournalKind::RedeemRefused => "redeem_refused",
            JournalKind::Withdrawn => "withdrawn",
            JournalKind::WithdrawalRefused => "withdrawal_refused",
            JournalKind::PaidOut => "paid_out",
            JournalKind::Frozen => "frozen",
            JournalKind::Thawed => "thawed",
            JournalKind::Recovered => "recovered",
            JournalKind::ProofFound => "proof_found",
            JournalKind::Compensated => "compensated",
            JournalKind::Cancelled => "cancelled",
            JournalKind::Suspended => "suspended",
            JournalKind::Settled => "settled",
            JournalKind::Notice => "notice",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<JournalKind> {
        const ALL: [JournalKind; 22] = [
            JournalKind::BrokerPinned,
            JournalKind::Bought,
            JournalKind::PurchaseRefused,
            JournalKind::Locked,
            JournalKind::Paid,
            JournalKind::Change,
            JournalKind::Received,
            JournalKind::Earned,
            JournalKind::Redeemed,
            JournalKind::RedeemRefused,
            JournalKind::Withdrawn,
            JournalKind::WithdrawalRefused,
            JournalKind::PaidOut,
            JournalKind::Frozen,
            JournalKind::Thawed,
            JournalKind::Recovered,
            JournalKind::ProofFound,
            JournalKind::Compensated,
            JournalKind::Cancelled,
            JournalKind::Suspended,
            JournalKind::Settled,
            JournalKind::Notice,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One line of the wallet's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// When.
    pub at: UnixMs,
    /// What.
    pub kind: JournalKind,
    /// How much.
    pub units: Units,
    /// For which torrent.
    pub info_hash: Option<InfoHash>,
    /// With whom.
    pub peer: Option<String>,
    /// Commitment of a spend, id of a request to the broker, or key of a broker, as hex: where the
    /// receipt is found.
    pub reference: String,
}

/// A line as it stands in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Its number, from 1; numbers are never used again.
    pub number: u64,
    /// The line.
    #[serde(flatten)]
    pub line: JournalLine,
}

/// What one decision writes. Rows are whole: a row replaces the one with its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The version of the rows it was decided on; another is a conflict.
    pub expects: u64,
    /// Holdings.
    pub holdings: Vec<HoldingRow>,
    /// Our spends.
    pub spends: Vec<SpendRow>,
    /// Received opens.
    pub received: Vec<ReceivedRow>,
    /// Payee keys.
    pub keys: Vec<PayeeKeyRow>,
    /// Purchases.
    pub purchases: Vec<PurchaseRow>,
    /// Redemptions.
    pub redemptions: Vec<RedemptionRow>,
    /// Withdrawals.
    pub withdrawals: Vec<WithdrawalRow>,
    /// Budgets; none removes one.
    pub budgets: Vec<(InfoHash, Option<Units>)>,
    /// What exists once.
    pub meta: Option<Meta>,
    /// Lines to append.
    pub journal: Vec<JournalLine>,
    /// What may be done afterwards.
    pub effects: Vec<Effect>,
}

/// Why a change cannot be applied. None of these is reached by one writer with right decisions.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Decided on other rows than these.
    #[error("the wallet is at version {found}, the change was decided on version {expected}")]
    Stale {
        /// The change's version.
        expected: u64,
        /// The rows' version.
        found: u64,
    },
    /// A holding would be spent a second time.
    #[error("holding {0} is already spent by another statement")]
    SpentTwice(HoldingId),
    /// A holding would be received a second time.
    #[error("holding {0} was already received with another statement")]
    ReceivedTwice(HoldingId),
    /// What a row fixed for ever would change.
    #[error("spend {0} is fixed and cannot be changed")]
    Fixed(Commitment),
    /// The books and the rows would disagree.
    #[error("the books would not agree with the holdings: nothing was changed")]
    Unbalanced,
}

impl Change {
    /// A change decided on `rows` as they are.
    #[must_use]
    pub fn on(rows: &Rows) -> Change {
        Change {
            expects: rows.version,
            ..Change::default()
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self
            == Change {
                expects: self.expects,
                ..Change::default()
            }
    }

    /// Whether it only makes or drops reservations or notes readings, which are never written to disk.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        let only_holdings = Change {
            expects: self.expects,
            holdings: self.holdings.clone(),
            ..Change::default()
        };
        *self == only_holdings
            && self
                .holdings
                .iter()
                .all(|row| row.state == HoldingState::Available || row.state.is_volatile())
    }

    /// Writes the change into `rows`, all of it or nothing. This is the memory store.
    ///
    /// # Errors
    /// [`ApplyError`] where the change contradicts the rows; they are untouched then.
    pub fn apply(&self, rows: &mut Rows) -> Result<(), ApplyError> {
        self.check(rows)?;
        for row in &self.holdings {
            rows.holdings.insert(row.holding.id, row.clone());
        }
        for row in &self.spends {
            rows.spends.insert(row.spend, row.clone());
        }
        for row in &self.received {
            rows.received_by_holding.insert(row.holding.id, row.spend);
            rows.received.insert(row.spend, row.clone());
        }
        for row in &self.keys {
            rows.keys.insert(row.index, row.clone());
        }
        for row in &self.purchases {
            rows.purchases.insert(row.request, row.clone());
        }
        for row in &self.redemptions {
            rows.redemptions.insert(row.request, row.clone());
        }
        for row in &self.withdrawals {
            rows.withdrawals.insert(row.request, row.clone());
        }
        for (info_hash, budget) in &self.budgets {
            match budget {
                Some(units) => rows.budgets.insert(*info_hash, *units),
                None => rows.budgets.remove(info_hash),
            };
        }
        if let Some(meta) = &self.meta {
            rows.meta = meta.clone();
        }
        if !self.is_volatile() {
            rows.version = rows.version.saturating_add(1);
        }
        Ok(())
    }

    fn check(&self, rows: &Rows) -> Result<(), ApplyError> {
        if rows.version != self.expects {
            return Err(ApplyError::Stale {
                expected: self.expects,
                found: rows.version,
            });
        }
        for row in &self.spends {
            match rows.spends.get(&row.spend) {
                Some(old) if !same_spend(old, row) => return Err(ApplyError::Fixed(row.spend)),
                Some(_) => {}
                None if rows.spends.values().any(|s| s.holding == row.holding) => {
                    return Err(ApplyError::SpentTwice(row.holding));
                }
                None => {}
            }
        }
        for row in &self.received {
            match rows.received.get(&row.spend) {
                Some(old) if old.open != row.open || old.holding != row.holding => {
                    return Err(ApplyError::Fixed(row.spend));
                }
                Some(_) => {}
                None if rows.received_by_holding.contains_key(&row.holding.id) => {
                    return Err(ApplyError::ReceivedTwice(row.holding.id));
                }
                None => {}
            }
        }
        Ok(())
    }
}

fn same_spend(old: &SpendRow, new: &SpendRow) -> bool {
    old.holding == new.holding
        && old.payee == new.payee
        && old.anchor == new.anchor
        && (old.close.is_none() || old.close == new.close)
}
