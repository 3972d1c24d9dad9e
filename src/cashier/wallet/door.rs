//! The broker as a wallet sees it: what it asks, and how an answer can fail.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::checks::SpentCopy;
use crate::broker::answer::{Notice, ProofTaken};
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::http::client::{KnownHolding, RecoveredPage, Times};
use crate::record::{FraudProof, OpenSpend, Path, RedeemPart};
use crate::units::{Units, UnixMs};
use crate::wallet::trade::Redeemed;
use crate::wallet::{PinnedBroker, RequestId};

/// Why the broker did not do what was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DoorError {
    /// No answer. What was asked may have happened: ask again with the same request id.
    #[error("{0}")]
    Unreachable(String),
    /// A signed refusal: nothing happened.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// A signed refusal of what may happen yet: asked again, and believed in the end.
    #[error("the broker refused, and is asked again as that may not be for good yet: {why}")]
    Doubtful {
        /// The broker's reason.
        why: String,
        /// The greatest time under which an earlier try may have been signed; 0 where none was later.
        until: UnixMs,
    },
    /// Another broker answers than the pinned one.
    #[error("the broker at {url} has the key {found}, not {pinned}")]
    WrongBroker {
        /// Where.
        url: String,
        /// The key it should have.
        pinned: PublicKey,
        /// The key it has.
        found: PublicKey,
    },
    /// Not a broker's address.
    #[error("{0}")]
    Url(String),
    /// The broker does not do what it is asked like this, and says what is wrong, unsigned: the clocks are too far
    /// apart, for example.
    #[error("{0}")]
    Fault(String),
    /// An answer that is not the broker's, or makes no sense.
    #[error("the broker's answer does not hold: {0}")]
    Answer(String),
}

/// An account's money at the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Free to spend and withdraw.
    pub balance: Units,
    /// Redeemed, within the hold.
    pub pending: Units,
    /// Held against a double spend.
    pub bond: Units,
    /// Coins bought and not redeemed by anybody.
    pub outstanding: Units,
    /// What could be withdrawn now: the balance, and the bond where nothing depends on it.
    pub withdrawable: Units,
    /// Whether it is suspended: it buys and withdraws nothing.
    pub is_suspended: bool,
    /// What more could be bought now, after bond and limits.
    pub buyable: Units,
    /// How long a credit is pending, in milliseconds, where the broker said so.
    pub hold_ms: Option<u64>,
}

/// The answers to a redemption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedeemAnswer {
    /// What became of each holding, in their order.
    pub outcomes: Vec<Redeemed>,
    /// The receipt: signature and signed text.
    pub receipt: Vec<u8>,
    /// Both statements, for each holding that is refused, or waits, because another one stands in a slot on
    /// its path.
    pub proofs: Vec<FraudProof>,
}

/// A withdrawal in the broker's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The broker's id of it.
    pub withdrawal: String,
    /// The receipt: signature and signed text.
    pub receipt: Vec<u8>,
}

/// What became of a path that was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The broker knows it now.
    Known,
    /// It is kept, and the broker is comparing two statements in a slot on it with the DHT.
    Contested {
        /// The holding whose slot it is.
        holding: HoldingId,
        /// When the broker can decide at the earliest.
        decide_after: UnixMs,
        /// Both statements, where what was sent is not the one that stood first.
        proof: Option<FraudProof>,
    },
    /// It was not taken.
    Refused {
        /// What happened and what to do.
        why: String,
        /// Both statements, where another one stands in a slot on it for good.
        proof: Option<FraudProof>,
    },
}

/// What a wallet asks of its broker. Every request may be repeated.
#[async_trait]
pub trait BrokerDoor: Send + Sync {
    /// The times under which requests are signed.
    fn times(&self) -> &Times;

    /// Who the broker is. Asked first; later answers must be signed by the same key.
    async fn meet(&self) -> Result<PinnedBroker, DoorError>;

    /// The account's money.
    async fn account(&self) -> Result<Account, DoorError>;

    /// Buys coins of these values for these holder keys.
    async fn purchase(
        &self,
        request: RequestId,
        coins: Vec<(Units, PublicKey)>,
    ) -> Result<Vec<CoinCertificate>, DoorError>;

    /// Certifies holder keys.
    async fn certify(&self, keys: Vec<PublicKey>) -> Result<Vec<PseudonymCertificate>, DoorError>;

    /// Redeems holdings.
    async fn redeem(
        &self,
        request: RequestId,
        holdings: Vec<(Path, RedeemPart)>,
    ) -> Result<RedeemAnswer, DoorError>;

    /// Withdraws from the balance, and from the bond where it is free and needed.
    async fn withdraw(
        &self,
        request: RequestId,
        units: Units,
        destination: String,
    ) -> Result<Queued, DoorError>;

    /// When a withdrawal in the broker's queue was paid out, if it was.
    async fn payout(&self, withdrawal: String) -> Result<Option<UnixMs>, DoorError>;

    /// Presents paths, each with the open spend that follows it if there is one; the answers in their
    /// order.
    async fn present(&self, items: Vec<(Path, Option<OpenSpend>)>)
    -> Result<Vec<Shown>, DoorError>;

    /// What the broker knows about a holding of this account, such as the close of its spend.
    async fn holding(&self, holding: HoldingId) -> Result<KnownHolding, DoorError>;

    /// Submits a proof of fraud.
    async fn proof(&self, proof: &FraudProof) -> Result<ProofTaken, DoorError>;

    /// One page of what the broker knows of this account: its keys, coins and holdings. Begin with
    /// `None`, go on with the page's `next`, until that is none.
    async fn recover(&self, after: Option<String>) -> Result<RecoveredPage, DoorError>;

    /// What happened to this account after the notice of this number (0: from the first), and
    /// whether there is more.
    async fn notices(&self, after: u64) -> Result<(Vec<Notice>, bool), DoorError>;

    /// A fresh copy of the spent list.
    async fn spent_list(&self) -> Result<Arc<dyn SpentCopy>, DoorError>;
}
