//! What the gateway is told: where to listen, and per torrent what to ask and what to pay.

use std::net::SocketAddr;
use std::path::PathBuf;

pub use crate::wire::codes::FreePolicy;

use crate::channel::{IDLE_MS, STUCK_MS};
use crate::units::PricePerGib;

/// Where a gateway stands and what it starts with.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where strangers' peers connect to. Port 0 takes any.
    pub listen: SocketAddr,
    /// The port peers are told to dial, where it is not the one listened on (port forwarding).
    pub advertised_port: Option<u16>,
    /// Our engine's listener on loopback; may be given later.
    pub engine_listen: Option<SocketAddr>,
    /// Free policy for torrents that no terms were set for.
    pub default_free: FreePolicy,
    /// Milliseconds for which a channel is kept open for a payer that went away.
    pub keep_ms: u64,
    /// Milliseconds for which a payee may wait for ticks while nothing moves, before it is left.
    pub stuck_ms: u64,
    /// Where it is written down who left owing, for the next run; none: nowhere.
    pub debts_file: Option<PathBuf>,
    /// Where it is written down which payees are not paid for a while; none: nowhere.
    pub avoided_file: Option<PathBuf>,
}

impl GatewayConfig {
    /// Listening at an address, the rest as usual.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            advertised_port: None,
            engine_listen: None,
            default_free: FreePolicy::Leftover,
            keep_ms: IDLE_MS,
            stuck_ms: STUCK_MS,
            debts_file: None,
            avoided_file: None,
        }
    }
}

/// What one torrent costs and may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TorrentTerms {
    /// What we ask of leechers.
    pub price: PricePerGib,
    /// The highest price we pay to seeders.
    pub max_price: PricePerGib,
    /// Whom we serve for nothing.
    pub free: FreePolicy,
    /// Bytes of a piece.
    pub piece_length_bytes: u32,
    /// Bytes of the whole torrent.
    pub length_bytes: u64,
    /// Whether we pay seeders at all.
    pub pays: bool,
    /// Whether we take payment from leechers.
    pub earns: bool,
}

impl TorrentTerms {
    /// Bytes of one of its pieces: the last may be shorter. 0 where there is no such piece.
    #[must_use]
    pub fn piece_bytes(&self, piece: u32) -> u64 {
        let piece_length_bytes = u64::from(self.piece_length_bytes);
        let begin = u64::from(piece).saturating_mul(piece_length_bytes);
        self.length_bytes
            .saturating_sub(begin)
            .min(piece_length_bytes)
    }
}
