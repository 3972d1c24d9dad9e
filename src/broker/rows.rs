//! The broker's rows, their keys, and a set of loaded rows.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{BodyHash, RequestId, WithdrawalId};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::Slot;
use crate::units::{Day, Units, UnixMs};

/// Names one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKey {
    /// An account, by its public key.
    Account(PublicKey),
    /// Whose account stands behind a holder key.
    Holder(PublicKey),
    /// A coin that was sold.
    Coin(HoldingId),
    /// What was presented about a holding; absent: unknown.
    Holding(HoldingId),
    /// What a redeemed holding brought.
    Credit(HoldingId),
    /// A statement that conflicts with the row of its holding.
    Conflict(HoldingId, Commitment),
    /// An entry of the spent list.
    Spent(Slot),
    /// A deposit, by the operator's external reference.
    Deposit(String),
    /// A withdrawal.
    Withdrawal(WithdrawalId),
    /// An answered request.
    Request(PublicKey, RequestId),
}

/// An account's money. `pending` becomes balance when its credits are ripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// The account.
    pub id: PublicKey,
    /// Free to spend and withdraw.
    pub balance: Units,
    /// Redeemed, within the hold.
    pub pending: Units,
    /// Held against a double spend.
    pub bond: Units,
    /// Value of coins this account bought that nobody redeemed yet.
    pub outstanding: Units,
    /// No purchase, certificates or withdrawal.
    pub suspended: bool,
    /// When a coin of this account was last redeemed under; the bond is free one hold later.
    pub last_redeemed: UnixMs,
}

impl AccountRow {
    /// An account that never had money.
    #[must_use]
    pub fn new(id: PublicKey) -> Self {
        AccountRow {
            id,
            balance: Units::ZERO,
            pending: Units::ZERO,
            bond: Units::ZERO,
            outstanding: Units::ZERO,
            suspended: false,
            last_redeemed: UnixMs(0),
        }
    }
}

/// A certified holder key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderRow {
    /// The holder key.
    pub key: PublicKey,
    /// The account behind it.
    pub account: PublicKey,
    /// Last day covered by any certificate on it, excluded.
    pub expires: Day,
}

/// A coin that was sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinRow {
    /// Its root holding id.
    pub id: HoldingId,
    /// The account that bought it.
    pub account: PublicKey,
    /// Its value.
    pub value: Units,
    /// Units under it that were redeemed, pending or paid; never above `value`.
    pub credited: Units,
    /// Its expiry.
    pub expires: Day,
    /// The 158 bytes of its certificate.
    pub certificate: Vec<u8>,
}

/// What was presented about a holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingRow {
    /// The holding: a position in its coin's tree.
    pub id: HoldingId,
    /// The coin it lies under.
    pub coin: HoldingId,
    /// Its value.
    pub value: Units,
    /// The key that signs for it.
    pub key: PublicKey,
    /// The certificate that names the key: 158 bytes (coin) or 134 (pseudonym).
    pub certificate: Vec<u8>,
    /// When the statement in its spend slot was first presented.
    pub since: UnixMs,
    /// How far it got.
    pub state: HoldingState,
    /// Conflicting statements that are kept about it.
    pub conflicts: u32,
}

/// States of a holding that is not unknown (`docs/protocol.md` section 10).
///
/// `Unknown -> Fixed` a spend is presented; `Fixed -> Split` its close is presented;
/// `Unknown -> Redeemed` a redeem is presented. Contested comes with contests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldingState {
    /// Locked to a payee.
    Fixed {
        /// Commitment of the spend.
        c: Commitment,
        /// The 422 bytes of the open spend.
        spend: Vec<u8>,
    },
    /// Closed: both shares are holdings of their own.
    Split {
        /// Commitment of the spend.
        c: Commitment,
        /// The 422 bytes of the open spend.
        spend: Vec<u8>,
        /// Commitment of the close.
        close_c: Commitment,
        /// The 228 bytes of the close.
        close: Vec<u8>,
        /// Units of the payee's share.
        k: u32,
        /// When the close was first presented.
        closed: UnixMs,
    },
    /// Turned into a credit.
    Redeemed {
        /// Commitment of the redeem.
        c: Commitment,
        /// The 256 bytes of the redeem part.
        redeem: Vec<u8>,
        /// The account credited.
        account: PublicKey,
    },
}

impl HoldingState {
    /// Commitment of the statement that stands in the spend slot.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        match self {
            HoldingState::Fixed { c, .. }
            | HoldingState::Split { c, .. }
            | HoldingState::Redeemed { c, .. } => *c,
        }
    }
}

/// What a redeemed holding brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditRow {
    /// The redeemed holding.
    pub holding: HoldingId,
    /// The coin it lies under.
    pub coin: HoldingId,
    /// The account credited.
    pub account: PublicKey,
    /// Exactly the holding's value.
    pub units: Units,
    /// When it turns from pending to paid.
    pub pending_until: UnixMs,
    /// Whether it did.
    pub paid: bool,
}

/// A statement that conflicts with the row of its holding, kept with its path as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictRow {
    /// The holding.
    pub holding: HoldingId,
    /// Commitment of the conflicting statement.
    pub c: Commitment,
    /// Who presented it.
    pub presenter: PublicKey,
    /// When.
    pub at: UnixMs,
    /// Path and tail as presented (`Presented::encode`).
    pub evidence: Vec<u8>,
}

/// An entry of the spent list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentRow {
    /// The spend or close slot that is fixed.
    pub slot: Slot,
    /// Commitment of what stands in it.
    pub c: Commitment,
    /// When it was fixed: names the hourly chunk.
    pub at: UnixMs,
}

/// Money that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositRow {
    /// The operator's external reference.
    pub reference: String,
    /// The account.
    pub account: PublicKey,
    /// How much.
    pub units: Units,
    /// When it was booked.
    pub at: UnixMs,
}

/// Money that goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawalRow {
    /// Its id.
    pub id: WithdrawalId,
    /// The account.
    pub account: PublicKey,
    /// How much.
    pub units: Units,
    /// Where to: text for the operator. From a stranger.
    pub destination: String,
    /// When it was asked for.
    pub requested: UnixMs,
    /// When the operator paid it.
    pub paid: Option<UnixMs>,
}

/// An answered request: the same id and body get the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// Who asked.
    pub account: PublicKey,
    /// The request's id.
    pub id: RequestId,
    /// Hash of its route and body.
    pub body: BodyHash,
    /// The answer's body; the broker's signature over it is always the same.
    pub answer: Vec<u8>,
    /// When it was answered.
    pub at: UnixMs,
}

/// Any row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "one variant per row type, documented there")]
pub enum Row {
    Account(AccountRow),
    Holder(HolderRow),
    Coin(CoinRow),
    Holding(HoldingRow),
    Credit(CreditRow),
    Conflict(ConflictRow),
    Spent(SpentRow),
    Deposit(DepositRow),
    Withdrawal(WithdrawalRow),
    Request(RequestRow),
}

impl Row {
    /// The row's key.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Row::Account(r) => RowKey::Account(r.id),
            Row::Holder(r) => RowKey::Holder(r.key),
            Row::Coin(r) => RowKey::Coin(r.id),
            Row::Holding(r) => RowKey::Holding(r.id),
            Row::Credit(r) => RowKey::Credit(r.holding),
            Row::Conflict(r) => RowKey::Conflict(r.holding, r.c),
            Row::Spent(r) => RowKey::Spent(r.slot),
            Row::Deposit(r) => RowKey::Deposit(r.reference.clone()),
            Row::Withdrawal(r) => RowKey::Withdrawal(r.id),
            Row::Request(r) => RowKey::Request(r.account, r.id),
        }
    }
}

/// A row as loaded, with its version: 0 where it is absent, one more with each write.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Stored {
    /// How often the row was written.
    pub version: u64,
    /// The row, if there is one.
    pub row: Option<Row>,
}

/// A set of loaded rows. A key that is not in it was not loaded, which is not the same as absent.
#[derive(Clone, Debug, Default)]
pub struct Rows(HashMap<RowKey, Stored>);

impl Rows {
    /// The row with this key, if it was loaded.
    #[must_use]
    pub fn get(&self, key: &RowKey) -> Option<&Stored> {
        self.0.get(key)
    }

    /// Puts what was loaded under a key.
    pub fn set(&mut self, key: RowKey, stored: Stored) {
        self.0.insert(key, stored);
    }

    /// All that was loaded, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &Stored)> {
        self.0.iter()
    }
}
