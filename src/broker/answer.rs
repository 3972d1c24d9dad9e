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
    /// The time under which that request was signed; 0 in answers kept from before it was said. A refusal
    /// holds for what was signed until then, so whoever asks believes it only about the time it signed.
    #[serde(default)]
    pub signed_unix_ms: UnixMs,
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
    /// How far a withdrawal of this account is.
    Payout {
        /// The withdrawal.
        withdrawal: WithdrawalRow,
    },
    /// What is known about a holding of this account.
    Holding {
        /// Its state.
        holding: HoldingShown,
    },
    /// A proof of fraud was taken.
    Proof {
        /// What it led to.
        proof: ProofTaken,
    },
    /// One page of what the broker knows of this account.
    Recover {
        /// The page.
        page: RecoverPage,
    },
    /// One page of what happened to this account.
    Notices {
        /// In the order in which they happened.
        notices: Vec<Notice>,
        /// Whether there are more after these.
        more: bool,
    },
}

impl Answer {
    /// Whether it is kept under its request's id, if that happens once. A redemption of which a part
    /// waits, or by which nobody got anything, is decided again when it is asked again: kept, such
    /// answers would let strangers without money fill the broker's disk.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let Answer::Redeem { items, .. } = self else {
            return true;
        };
        let waits = |item: &ItemAnswer| matches!(item, ItemAnswer::Contested { .. });
        let gains = |item: &ItemAnswer| matches!(item, ItemAnswer::Redeemed { .. });
        items.iter().any(gains) && !items.iter().any(waits)
    }
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
    /// Two statements in one slot on the path are being compared with what the DHT holds. What was
    /// sent is kept, and takes its place by itself once that is decided; ask again then.
    Contested {
        /// The holding whose slot is contested: on the path, or what it leads to.
        holding: HoldingId,
        /// When the broker can decide at the earliest.
        decide_after_unix_ms: UnixMs,
        /// Both statements, where what was sent is not the one that stood first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conflict: Option<Box<ConflictShown>>,
    },
    /// This one was not taken.
    Refused(Refusal),
}

/// What the broker knows about a holding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldingShown {
    /// The holding.
    pub id: HoldingId,
    /// How far it got.
    pub state: HoldingStatus,
    /// Commitment of what stands in its spend slot.
    pub c: Option<Commitment>,
    /// The 422 bytes of the open spend, as hex, once it is fixed or split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    /// The 228 bytes of the close, as hex, once it is split.
    pub close: Option<String>,
    /// The 256 bytes of the redeem part, as hex, once it is redeemed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeem: Option<String>,
    /// When the statement was first presented.
    pub since_unix_ms: Option<UnixMs>,
    /// When the broker can decide at the earliest, while it is contested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decide_after_unix_ms: Option<UnixMs>,
    /// What it brought this account: redeemed, or settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<CreditShown>,
}

/// States of a holding as its owner sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldingStatus {
    /// Nothing was presented about it.
    Unknown,
    /// Spent; no close is known.
    Fixed,
    /// Spent and closed: both shares are holdings of their own.
    Split,
    /// Turned into a credit.
    Redeemed,
    /// Two statements are in one of its slots, and it is not decided which one stands.
    Contested,
    /// Its coin's time is over, and its value went to the account behind its key.
    Settled,
}

impl std::fmt::Display for HoldingStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HoldingStatus::Unknown => "unknown",
            HoldingStatus::Fixed => "fixed",
            HoldingStatus::Split => "split",
            HoldingStatus::Redeemed => "redeemed",
            HoldingStatus::Contested => "contested",
            HoldingStatus::Settled => "settled",
        })
    }
}

/// What a holding brought an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditShown {
    /// How much.
    pub units: Units,
    /// Whether it is there yet.
    pub state: CreditState,
    /// When it turns from pending to paid, if it is not contested then.
    pub pending_until_unix_ms: UnixMs,
}

/// How far a credit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreditState {
    /// Within the hold, or contested.
    Pending,
    /// Part of the balance.
    Paid,
    /// A contest was lost: it went back.
    Cancelled,
    /// Paid by itself when the coin's time was over.
    Settled,
}

/// What a proof of fraud led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofTaken {
    /// The holder key that signed both items.
    pub key: PublicKey,
    /// What became of the account behind it.
    pub verdict: ProofVerdict,
    /// Whether the broker had a proof about this key and salt before.
    pub known: bool,
}

/// What became of an account that signed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofVerdict {
    /// It is suspended.
    Suspended,
    /// Nobody who presented lost anything by it: it is only warned.
    Warned,
}

/// One page of what the broker knows of an account, for a wallet that has only its words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverPage {
    /// Holder keys that are this account's; the highest one used tells the next index.
    pub keys: Vec<KeyFound>,
    /// Certificates of coins that it bought and about which nothing was presented, as hex.
    pub coins: Vec<String>,
    /// Holdings under its keys that the broker knows a path to.
    pub holdings: Vec<HoldingFound>,
    /// What to ask for after this page; none: it was the last one.
    pub next: Option<String>,
}

/// A holder key of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFound {
    /// The key.
    pub key: PublicKey,
    /// Its `PseudonymCertificate`, as hex; none for a suspended account.
    pub certificate: Option<String>,
}

/// A holding under one of the account's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldingFound {
    /// The path's bytes, as hex.
    pub path: String,
    /// What is known about it; `unknown`: nothing stands in its spend slot.
    pub holding: HoldingShown,
}

/// Something that happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Counts the account's notices from 1, without gaps.
    pub number: u64,
    /// When.
    pub at_unix_ms: UnixMs,
    /// What.
    pub what: NoticeKind,
}

/// What happens to an account without its asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NoticeKind {
    /// A slot on the way to a credit of this account is contested: the credit waits.
    Contested {
        /// The holding whose slot it is.
        holding: HoldingId,
        /// When the broker can decide at the earliest.
        decide_after_unix_ms: UnixMs,
    },
    /// A contest in which this account presented or was credited is decided.
    ContestDecided {
        /// The holding whose slot was contested.
        holding: HoldingId,
        /// Commitment of the statement that stands, for good.
        stands: Commitment,
        /// Whether that is the one that this account relied on.
        won: bool,
    },
    /// A credit went back since the statement it hangs on lost a contest.
    CreditCancelled {
        /// The holding that was redeemed.
        holding: HoldingId,
        /// How much.
        units: Units,
    },
    /// What this account lost to a double spend was paid from the balance or bond of the one who
    /// signed twice.
    Compensated {
        /// The holding that was lost.
        holding: HoldingId,
        /// How much, now.
        units: Units,
        /// What is still missing.
        missing: Units,
    },
    /// This account signed twice and somebody lost by it.
    Suspended {
        /// The holder key that signed both.
        key: PublicKey,
    },
    /// This account signed twice, and nobody who presented lost by it.
    Warned {
        /// The holder key that signed both.
        key: PublicKey,
    },
    /// A coin's time was over and this account got what nobody redeemed under its keys.
    Settled {
        /// The coin.
        coin: HoldingId,
        /// The holding.
        holding: HoldingId,
        /// How much.
        units: Units,
    },
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
