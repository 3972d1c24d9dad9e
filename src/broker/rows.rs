//! The broker's rows, their keys, and a set of loaded rows.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answer::CreditState;
use super::cases::{ContestRow, EvidenceRow, LossRow, NoticeRow, ProofRow};
use super::{BodyHash, RequestId, WithdrawalId};
use crate::coin::certificate::CoinCertificate;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{Salt, Slot};
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
    /// A contested slot.
    Contest(Slot),
    /// What was presented through a contested slot, by number.
    Evidence(Slot, u32),
    /// A proof of fraud, by signer and salt.
    Proof(PublicKey, Salt),
    /// What somebody lost by an account's double spend, by number.
    Loss(PublicKey, u64),
    /// What an account is told, by number.
    Notice(PublicKey, u64),
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
    /// Since when: no purchase, certificates or withdrawal.
    pub suspended: Option<UnixMs>,
    /// Whether its coins that nothing was presented about are on the spent list as withheld.
    pub withheld: bool,
    /// When a coin of this account was last redeemed under; the bond is free one hold later.
    pub last_redeemed: UnixMs,
    /// Open contests about statements of this account.
    pub contests: u32,
    /// What others lost by its double spends and was not paid to them yet.
    pub owed: Units,
    /// Losses by its double spends, ever.
    pub losses: u64,
    /// How many of these are paid in full.
    pub losses_paid: u64,
    /// Notices to it, ever.
    pub notices: u64,
    /// Purchases and withdrawals signed until then, by the account's clock, are not carried out any more:
    /// one of them was refused, or the account had no money yet.
    pub signed_after: UnixMs,
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
            suspended: None,
            withheld: false,
            last_redeemed: UnixMs(0),
            contests: 0,
            owed: Units::ZERO,
            losses: 0,
            losses_paid: 0,
            notices: 0,
            signed_after: UnixMs(0),
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
    /// Units under it that were redeemed or settled, pending or paid; never above `value`.
    pub credited: Units,
    /// Open contests under it.
    pub contests: u32,
    /// Its time is over and all of its value is credited.
    pub settled: bool,
    /// Its expiry.
    pub expires: Day,
    /// The 158 bytes of its certificate.
    pub certificate: Vec<u8>,
}

impl CoinRow {
    /// What the sale says of the key that the coin was sold for; nothing where the certificate is none.
    #[must_use]
    pub fn holder(&self) -> Option<HolderRow> {
        let certificate = self.certificate.as_slice().try_into().ok()?;
        Some(HolderRow {
            key: CoinCertificate::holder_in(certificate),
            account: self.account,
            expires: self.expires,
        })
    }
}

/// What was presented about a holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingRow {
    /// The holding: a position in its coin's tree.
    pub id: HoldingId,
    /// The coin it lies under.
    pub coin: HoldingId,
    /// The holding that it is a share of; none: it is the coin.
    pub parent: Option<HoldingId>,
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
    /// Its slot that is contested: nothing below moves until that is decided.
    pub contested: Option<Slot>,
}

impl HoldingRow {
    /// The payee's key, once it is spent: it comes first in an open spend.
    #[must_use]
    pub fn payee(&self) -> Option<PublicKey> {
        match &self.state {
            HoldingState::Fixed { spend, .. } | HoldingState::Split { spend, .. } => {
                spend.first_chunk::<32>().copied().map(PublicKey)
            }
            HoldingState::Redeemed { .. } | HoldingState::Void => None,
        }
    }

    /// The payee's share and the change, once it is split. A share of 0 units is none.
    #[must_use]
    pub fn shares(&self) -> Vec<HoldingId> {
        match self.state {
            HoldingState::Split { k, .. } => {
                let k = Units(u64::from(k));
                let share = (!k.is_zero()).then(|| self.id.payee_share());
                let change = (k < self.value).then(|| self.id.change());
                share.into_iter().chain(change).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// States of a holding that is not unknown (`docs/protocol.md` section 10).
///
/// `Unknown -> Fixed` a spend is presented; `Fixed -> Split` its close is presented;
/// `Unknown -> Redeemed` a redeem is presented; any `-> Void` what it hangs on lost a contest, and it
/// is unknown again.
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
    /// Unknown again.
    Void,
}

impl HoldingState {
    /// Commitment of the statement that stands in the spend slot.
    #[must_use]
    pub fn commitment(&self) -> Option<Commitment> {
        match self {
            HoldingState::Fixed { c, .. }
            | HoldingState::Split { c, .. }
            | HoldingState::Redeemed { c, .. } => Some(*c),
            HoldingState::Void => None,
        }
    }
}

/// What a redeemed or settled holding brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditRow {
    /// The holding.
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
    pub state: CreditState,
}

impl CreditRow {
    /// Whether it counts: it was not cancelled.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.state != CreditState::Cancelled
    }
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
    /// The answer's body, without what other rows hold (`broker::kept`); the broker's signature over the
    /// whole is always the same.
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
    Holding(Box<HoldingRow>),
    Credit(CreditRow),
    Contest(Box<ContestRow>),
    Evidence(EvidenceRow),
    Proof(ProofRow),
    Loss(LossRow),
    Notice(NoticeRow),
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
            Row::Contest(r) => RowKey::Contest(r.slot),
            Row::Evidence(r) => RowKey::Evidence(r.slot, r.number),
            Row::Proof(r) => RowKey::Proof(r.key, r.salt),
            Row::Loss(r) => RowKey::Loss(r.offender, r.number),
            Row::Notice(r) => RowKey::Notice(r.account, r.number),
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
    pub row: Option<Arc<Row>>,
    /// Nobody looked: it is most likely so. The store compares it where something is written.
    pub guessed: bool,
}

/// A map by keys, hashed faster than the standard library does, from a seed that differs at each start.
pub(crate) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A set of loaded rows. A key that is not in it was not loaded, which is not the same as absent.
#[derive(Clone, Debug, Default)]
pub struct Rows(FastMap<RowKey, Stored>);

impl Rows {
    /// The row with this key, if it was loaded.
    #[must_use]
    pub fn get(&self, key: &RowKey) -> Option<&Stored> {
        self.0.get(key)
    }

    /// An empty set with room for so many rows.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Rows {
        Rows(FastMap::with_capacity_and_hasher(
            rows,
            foldhash::fast::RandomState::default(),
        ))
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
