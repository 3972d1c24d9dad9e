//! What the gateway tells its owner: how each peer stands, and what has happened.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

use super::wants::Bits;
use crate::channel::FreeReason;
use crate::coin::Commitment;
use crate::record::{Item, PLACES};
use crate::units::{InfoHash, PricePerGib, Units};
use crate::wire::codes::WaitReason;
use crate::wire::frame::{FrameError, PeerId};

/// Why a connection ended.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Close {
    /// The peer hung up.
    #[error("the peer closed the connection")]
    ByPeer,
    /// Our engine hung up.
    #[error("our engine closed the connection")]
    ByEngine,
    /// A socket failed.
    #[error("the connection to the {side} failed: {error}")]
    Socket {
        /// "peer" or "engine".
        side: &'static str,
        /// What the system says.
        error: String,
    },
    /// The peer's bytes are not BitTorrent.
    #[error("the peer broke the protocol: {0}")]
    Frame(FrameError),
    /// Our engine's bytes are not BitTorrent.
    #[error("our engine broke the protocol: {0}")]
    EngineFrame(FrameError),
    /// The peer answered for another torrent.
    #[error("the peer answered for torrent {0}")]
    OtherTorrent(InfoHash),
    /// We reached ourselves.
    #[error("this is our own address")]
    Ourselves,
    /// There is a connection to this peer already.
    #[error("a second connection to peer {0}")]
    Second(PeerId),
    /// The peer is on the block list.
    #[error("the peer sent garbage before and is blocked")]
    Blocked,
    /// The peer sent a block that is not the torrent's.
    #[error("the peer sent garbage")]
    Garbage,
    /// The peer asks without bounds.
    #[error("the peer has too many requests open")]
    TooManyRequests,
    /// Nothing came from the peer for too long.
    #[error("nothing came from the peer for {0} seconds")]
    Silent(u64),
    /// The peer broke the payment protocol.
    #[error("the peer broke the payment protocol: {0}")]
    Payment(String),
    /// The peer serves only who pays, and we do not pay it, while others have what we want.
    #[error("the peer serves only who pays, and is not paid: {0}")]
    Unserved(String),
    /// The peer waits for ticks, we for pieces that others have part of, and nothing moves.
    #[error(
        "the peer has waited for payment for two minutes, and no piece was completed meanwhile"
    )]
    Stuck,
    /// The gateway is shutting down.
    #[error("we are shutting down")]
    Stopped,
}

/// Why a peer makes us wait, or is not paid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Why {
    /// It holds our requests back, and says why.
    #[error("the seeder waits for: {0}")]
    SeederWaits(WaitReason),
    /// It is used without being paid.
    #[error("{0}")]
    Free(FreeReason),
}

impl Why {
    /// Of what two peers of a torrent say, what tells its user more: that our own money is the reason,
    /// then that a peer is not paid, then what a seeder waits for.
    #[must_use]
    pub fn weightier(self, other: Why) -> Why {
        let weight = |why: Why| match why {
            Why::Free(FreeReason::Wallet(_)) => 2,
            Why::Free(_) => 1,
            Why::SeederWaits(_) => 0,
        };
        let of_one_weight = || self.to_string() >= other.to_string();
        match weight(self).cmp(&weight(other)) {
            Ordering::Greater => self,
            Ordering::Equal if of_one_weight() => self,
            _ => other,
        }
    }
}

/// How one peer stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Which connection, unique within the gateway's life.
    pub connection: u64,
    /// The torrent; `None` before the handshake.
    pub info_hash: Option<InfoHash>,
    /// The peer's id; `None` before its handshake.
    pub peer_id: Option<PeerId>,
    /// What the peer calls itself.
    pub client: Option<String>,
    /// The address of the connection.
    pub address: Option<SocketAddr>,
    /// Where the peer listens, as it says.
    pub listens_on: Option<SocketAddr>,
    /// Whether the peer dialled us.
    pub inbound: bool,
    /// Whether the peer speaks `dp_pay`.
    pub dp_pay: bool,
    /// Pieces that the peer has, as it says.
    pub has: Arc<Bits>,
    /// Payload received of blocks that were asked for.
    pub down_bytes: u64,
    /// Payload sent.
    pub up_bytes: u64,
    /// Payload sent for nothing, part of `up_bytes`.
    pub free_up_bytes: u64,
    /// Received payload that turned out intact.
    pub verified_bytes: u64,
    /// Units ticked to this peer.
    pub paid: Units,
    /// Units this peer has ticked to us.
    pub earned: Units,
    /// Units this peer owes us.
    pub owed: Units,
    /// The peer's price, if it offered one.
    pub price: Option<PricePerGib>,
    /// Requests of the peer that are held back.
    pub held_requests: u64,
    /// Bytes the peer may have before it pays more.
    pub window_bytes: u64,
    /// Why the peer holds requests back, or is not paid.
    pub why: Option<Why>,
    /// Channels on which we pay, accepted or on their way.
    pub paying: usize,
    /// Units left on them.
    pub left: Units,
    /// Channels on which we are paid, accepted or on their way.
    pub earning: usize,
}

/// A spend of ours that ended without its payee's close; the wallet looks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSpendLeft {
    /// The spend.
    pub spend: Commitment,
    /// Units ticked.
    pub units: Units,
    /// The payee's address.
    pub peer: SocketAddr,
}

/// What has happened, for the log and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayEvent {
    /// A connection to a peer stands.
    Connected {
        /// The torrent.
        info_hash: InfoHash,
        /// Its address.
        peer: SocketAddr,
        /// Whether it dialled us.
        inbound: bool,
    },
    /// A connection has ended.
    Closed {
        /// The torrent; `None` where the handshake never came.
        info_hash: Option<InfoHash>,
        /// Its address.
        peer: SocketAddr,
        /// Why.
        why: Close,
        /// How it stood at the end.
        last: Box<PeerSnapshot>,
    },
    /// A spend was accepted: by us as payee, or by the peer whom we pay.
    PaymentAccepted {
        /// The torrent.
        info_hash: InfoHash,
        /// The other side.
        peer: SocketAddr,
        /// From asking the DHT, or from sending our open, to acceptance.
        acceptance_ms: u64,
        /// Whether we accepted it, as payee.
        by_us: bool,
        /// As payee: copies read in each place, of the spend and then of each record of its path.
        copies: Vec<[u32; PLACES]>,
    },
    /// The budget is used up: this peer is used without being paid from now on.
    BudgetUsedUp {
        /// The torrent.
        info_hash: InfoHash,
        /// The seeder.
        peer: SocketAddr,
        /// Whether it is the torrent's own, not that of all torrents together.
        is_own: bool,
    },
    /// A seeder asks more than the limit: it is used without being paid, as far as it serves.
    PriceAboveLimit {
        /// The torrent.
        info_hash: InfoHash,
        /// The seeder.
        peer: SocketAddr,
        /// What it asks.
        asked: PricePerGib,
        /// Our limit.
        limit: PricePerGib,
    },
    /// A seeder is used without being paid, for another reason.
    GoesFree {
        /// The torrent.
        info_hash: InfoHash,
        /// The seeder.
        peer: SocketAddr,
        /// Why.
        why: FreeReason,
    },
    /// A double spend was seen on a connection.
    Conflict {
        /// The item that we were shown and the other that lies in its slot, where we know both.
        items: Option<Box<(Item, Item)>>,
        /// The torrent.
        info_hash: InfoHash,
        /// The peer.
        peer: SocketAddr,
    },
    /// A peer sent a block that is not the torrent's: dropped and blocked.
    Garbage {
        /// The torrent.
        info_hash: InfoHash,
        /// Its address.
        peer: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::NoReserve;

    #[test]
    fn a_torrent_says_one_thing_in_whatever_order_its_peers_are_asked() {
        let budget = Why::Free(FreeReason::Wallet(NoReserve::OverBudget));
        let silent = Why::Free(FreeReason::NoAnswer);
        let coin = Why::SeederWaits(WaitReason::Coin);
        let ticks = Why::SeederWaits(WaitReason::Ticks);
        for (weighty, light) in [(budget, silent), (budget, coin), (silent, coin)] {
            assert_eq!(weighty.weightier(light), weighty);
            assert_eq!(light.weightier(weighty), weighty);
        }
        assert_eq!(coin.weightier(ticks), ticks.weightier(coin));
    }
}
