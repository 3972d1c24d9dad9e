//! What a wallet is asked for and what it tells, as plain values.

use serde::Serialize;

use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::record::{ClosePart, Holding, OpenSpend};
use crate::units::{InfoHash, Units, UnixMs};

/// What a channel wants reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The torrent that is paid for.
    pub info_hash: InfoHash,
    /// The smallest value that is of use.
    pub at_least: Units,
    /// The greatest value that is of use, and the one that suits best.
    pub at_most: Units,
    /// What will suit best next, so that it is there by then; zero: nothing.
    pub then: Units,
}

/// What came of buying.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bought {
    /// The coins that came.
    pub coins: Vec<Units>,
    /// Units that are ordered and did not come yet: they come by themselves, and are not to be bought again.
    pub ordered: Units,
    /// Why they did not come, or why some were refused.
    pub error: Option<String>,
}

impl Bought {
    /// What the coins that came are worth.
    #[must_use]
    pub fn units(&self) -> Units {
        Units::checked_sum(self.coins.iter().copied()).unwrap_or(Units(u64::MAX))
    }
}

/// What a redemption came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RedeemReport {
    /// Units credited.
    pub credited: Units,
    /// Of these, from shares of channels.
    pub earned: Units,
    /// Of these, change.
    pub change: Units,
    /// Of these, unspent coins.
    pub coins: Units,
    /// Holdings credited.
    pub holdings: u32,
    /// When the last of the credits turns into balance, if one is pending.
    pub pending_until: Option<UnixMs>,
    /// Holdings that the broker refused, and why.
    pub refused: Vec<(HoldingId, String)>,
    /// Units of earlier runs whose slots could not be read: nothing was signed for them.
    pub unread: Units,
    /// Units that are frozen, as the slot or the broker shows that something was signed for them.
    pub frozen: Units,
    /// Units asked for and not answered: asked again with the same request, by itself.
    pub unanswered: Units,
    /// Why they were not answered.
    pub error: Option<String>,
}

/// A spend of ours without its payee's close.
#[derive(Clone, Debug)]
pub struct OpenSpent {
    /// The spend.
    pub spend: Commitment,
    /// What it spends.
    pub holding: Holding,
    /// The path that proves it, encoded.
    pub path: Vec<u8>,
    /// The open, as it was sent and may be sent again.
    pub open: OpenSpend,
    /// The last tick that is durable.
    pub last_k: u32,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The payee's address.
    pub peer: String,
    /// Since when.
    pub since: UnixMs,
}

/// A received spend whose close is not signed, or not yet in the DHT.
#[derive(Clone, Debug)]
pub struct OpenReceived {
    /// The spend.
    pub spend: Commitment,
    /// What it spends.
    pub holding: Holding,
    /// The path that proves it, encoded.
    pub path: Vec<u8>,
    /// The open as it came.
    pub open: OpenSpend,
    /// Units ticked, or closed at.
    pub k: u32,
    /// The chain value that pays them.
    pub wk: ChainValue,
    /// The close, once signed.
    pub close: Option<ClosePart>,
    /// Whether its records were accepted in the DHT.
    pub accepted: bool,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The payer's address.
    pub peer: String,
}

/// What is open, also from earlier runs: a node closes and puts what was received at its start.
#[derive(Clone, Debug, Default)]
pub struct OpenChannels {
    /// Our spends without a close.
    pub spent: Vec<OpenSpent>,
    /// Received spends without a close in the DHT.
    pub received: Vec<OpenReceived>,
    /// The broker's hold, after which a coin is settled whose time is over.
    pub hold_ms: u64,
}
