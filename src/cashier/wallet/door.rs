//! The broker as a wallet sees it: what it asks, and how an answer can fail.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::checks::SpentCopy;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::keys::PublicKey;
use crate::record::{Path, RedeemPart};
use crate::units::Units;
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
    /// What more could be bought now, after bond and limits.
    pub buyable: Units,
}

/// What a wallet asks of its broker. Every request may be repeated.
#[async_trait]
pub trait BrokerDoor: Send + Sync {
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

    /// Redeems holdings; the answers in their order, and the receipt: signature and signed text.
    async fn redeem(
        &self,
        request: RequestId,
        holdings: Vec<(Path, RedeemPart)>,
    ) -> Result<(Vec<Redeemed>, Vec<u8>), DoorError>;

    /// A fresh copy of the spent list.
    async fn spent_list(&self) -> Result<Arc<dyn SpentCopy>, DoorError>;
}
