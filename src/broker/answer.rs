//! What the broker says, as JSON: one envelope around an answer or a refusal.

use serde::{Deserialize, Serialize};

use super::rows::WithdrawalRow;
use super::{BodyHash, RequestId};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::Slot;
use crate::units::{Day, Units, UnixMs};

/// A signed answer: says whom and what it answers, so that it can be shown to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// 1.
    pub version: u8,
    /// The broker that answers.
    pub broker: PublicKey,
    /// The account that asked.
    pub account: PublicKey,
    /// The request's route, such as `POST /v1/purchase`.
    pub route: String,
    /// The request's id.
    pub request_id: RequestId,
    /// Hash of the request's route and body.
    pub request_body: BodyHash,
    /// The broker's day.
    pub day: Day,
    /// The broker's time.
    pub at_unix_ms: UnixMs,
    /// What it says.
    pub outcome: Outcome,
}

/// Done, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Answer(Answer),
    /// Nothing was done.
    Refused(Refusal),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// The account's money.
    Account {
        /// Its state.
        account: AccountState,
    },
    /// Coins were sold.
    Purchase {
        /// Certificates as hex, in the order asked for.
        coins: Vec<String>,
        /// The account afterwards.
        account: AccountState,
    },
    /// Holder keys were certified.
    Certificates {
        /// Certificates as hex, in the order asked for.
        certificates: Vec<String>,
    },
    /// Holdings were redeemed, each by itself.
    Redeem {
        /// One per item, in the order asked for.
        items: Vec<ItemAnswer>,
        /// The account afterwards.
        account: AccountState,
    },
    /// Paths were presented, each by itself.
    Present {
        /// One per item, in the order asked for.
        items: Vec<ItemAnswer>,
    },
    /// A withdrawal was queued.
    Withdraw {
        /// The withdrawal.
        withdrawal: WithdrawalRow,
        /// The account afterwards.
        account: AccountState,
    },
    /// What is known about a holding of this account.
    Holding {
        /// Its state.
        holding: HoldingShown,
    },
}

/// An account's money as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    /// Free to spend and withdraw.
    pub balance: Units,
    /// Redeemed, within the hold.
    pub pending: Units,
    /// Held against a double spend.
    pub bond: Units,
    /// Coins bought that nobody redeemed yet.
    pub outstanding: Units,
    /// What could be withdrawn now: the balance, and the bond where nothing depends on it.
    pub withdrawable: Units,
    /// No purchase, certificates or withdrawal.
    pub suspended: bool,
}

/// What became of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ItemAnswer {
    /// The holding is a credit of this account.
    Redeemed {
        /// The holding.
        holding: HoldingId,
        /// Its value.
        units: Units,
        /// When it turns into balance.
        pending_until_unix_ms: UnixMs,
        /// Whether it already did.
        paid: bool,
    },
    /// The path is known to the broker.
    Presented {
        /// The holding that the path leads to.
        holding: HoldingId,
    },
    /// This one was not taken.
    Refused(Refusal),
}

/// What the broker knows about a holding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldingShown {
    /// The holding.
    pub id: HoldingId,
    /// `unknown`, `fixed`, `split` or `redeemed`.
    pub state: String,
    /// Commitment of what stands in its spend slot.
    pub c: Option<Commitment>,
    /// The 228 bytes of the close, as hex, once it is split.
    pub close: Option<String>,
    /// When the statement was first presented.
    pub since_unix_ms: Option<UnixMs>,
}

/// Why something was not done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// What happened, with the values.
    pub error: String,
    /// What to do next.
    pub what_to_do: String,
    /// Both statements, where two conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Box<ConflictShown>>,
}

/// Reasons to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The request makes no sense as it is.
    Malformed,
    /// More items than one request may have.
    TooMany,
    /// The account is suspended.
    Suspended,
    /// The balance does not cover it.
    Balance,
    /// Outstanding coins would exceed the bond.
    Bond,
    /// The holder key belongs to another account.
    HolderKey,
    /// The same request id was used for another request.
    RequestId,
    /// The reference was used for another deposit.
    Reference,
    /// This broker never sold that coin.
    UnknownCoin,
    /// The coin's time is over.
    Expired,
    /// The redeem names another account than the one that asks.
    OtherAccount,
    /// The path or a signature in it does not hold.
    Invalid,
    /// Another statement stands in the same slot.
    Conflict,
    /// There is no such row.
    NotFound,
}

/// Two statements in one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictShown {
    /// The holding.
    pub holding: HoldingId,
    /// The slot: of its spend or of its close.
    pub slot: Slot,
    /// Since when the first stands.
    pub since_unix_ms: UnixMs,
    /// Whether that was within the hold: a later contest may still decide otherwise.
    pub within_hold: bool,
    /// Commitment of the statement that stands.
    pub stands: Commitment,
    /// Commitment of the statement that was refused.
    pub refused: Commitment,
    /// Certificate, salt and both items, as hex: a proof of the double spend that anyone can check.
    pub proof: String,
}

/// The full entry of a slot on the spent list; signed like any answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentEntry {
    /// The broker that answers.
    pub broker: PublicKey,
    /// The slot asked for.
    pub slot: Slot,
    /// Commitment of what stands in it; none: nothing does.
    pub c: Option<Commitment>,
    /// When it was fixed.
    pub since_unix_ms: Option<UnixMs>,
    /// The broker's time.
    pub at_unix_ms: UnixMs,
}

/// An error that is no answer about money and is not signed: a request that was not understood, or
/// a broker that cannot answer now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What happened, with the values.
    pub error: String,
    /// What to do next.
    pub what_to_do: String,
}

impl Refusal {
    /// A refusal without a conflict.
    #[must_use]
    pub fn new(code: RefusalCode, error: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Refusal {
            code,
            error: error.into(),
            what_to_do: what_to_do.into(),
            conflict: None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.error, self.what_to_do)
    }
}
