//! Between the swarm and our engine: SOCKS5 out, listener in, channels on top
//! (`docs/protocol.md` sections 3, 7, 8 and 9).
//!
//! ```text
//! our engine --socks5--> gateway ====> peers that it dials
//! our engine <-loopback- gateway <==== peers that dial us
//! ```
//!
//! It has a thread and a single-threaded runtime of its own, as the engine's workers block in place.
//! One task a connection ([`stream`]) moves bytes; what it does with them is decided without IO in
//! [`link`] and its parts: requests [`hold`]-ed or asked again ([`asked`]), blocks noted
//! ([`attribution`]), free peers given leftovers ([`free`]).
//!
//! **What this does not keep out:** the engine's own listener on loopback takes connections from any
//! user of this machine, who can so download without paying, or seed without being paid.

pub mod asked;
pub mod attribution;
mod beat;
pub mod blocklist;
pub mod digest;
mod doors;
pub mod free;
pub mod hold;
pub mod link;
pub mod output;
pub mod report;
mod shared;
pub mod socks;
mod stream;
pub mod terms;
mod thread;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};

pub use report::{Close, GatewayEvent, PeerSnapshot};
pub use shared::ContentReader;
pub use terms::{FreePolicy, GatewayConfig, TorrentTerms};

use crate::engine::PieceSink;
use crate::random;
use crate::units::InfoHash;
use thread::Order;

/// Events kept for a slow listener.
const EVENTS: usize = 1024;

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {error}; choose another address or port")]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// No thread or runtime to be had.
    #[error("cannot start the gateway's thread: {0}")]
    Thread(io::Error),
}

/// A running gateway. Dropping it ends all connections.
#[derive(Debug)]
pub struct Gateway {
    orders: mpsc::UnboundedSender<Order>,
    events: broadcast::Sender<GatewayEvent>,
    listen: SocketAddr,
    socks_url: String,
}

impl Gateway {
    /// Opens both doors and starts the gateway's thread.
    ///
    /// # Errors
    /// [`GatewayError`] where the address is taken or the system gives no thread.
    pub fn start(config: &GatewayConfig) -> Result<Gateway, GatewayError> {
        let (peers, listen) = open(config.listen)?;
        let (engine, socks) = open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let login = socks::Login::new(random::bytes());
        let socks_url = login.url(socks);
        let (events, _) = broadcast::channel(EVENTS);
        let (orders, inbox) = mpsc::unbounded_channel();
        let start = thread::Start {
            listen,
            config: config.clone(),
            peers,
            engine,
            login,
            events: events.clone(),
        };
        thread::spawn(start, inbox).map_err(GatewayError::Thread)?;
        Ok(Gateway {
            orders,
            events,
            listen,
            socks_url,
        })
    }

    /// Where peers reach us.
    #[must_use]
    pub const fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// The proxy for our engine's outgoing connections; holds a password.
    #[must_use]
    pub fn socks_url(&self) -> &str {
        &self.socks_url
    }

    /// Where our engine listens on loopback.
    pub fn set_engine_listen(&self, address: SocketAddr) {
        let _ = self.orders.send(Order::EngineListen(address));
    }

    /// Sets a torrent's terms, also of one that is running.
    pub fn set_torrent(&self, info_hash: InfoHash, terms: TorrentTerms) {
        let _ = self.orders.send(Order::SetTorrent(info_hash, terms));
    }

    /// Forgets a torrent; its connections are the engine's to close.
    pub fn remove_torrent(&self, info_hash: InfoHash) {
        let _ = self.orders.send(Order::RemoveTorrent(info_hash));
    }

    /// How to read verified content; asked only where deliveries of a block differ.
    pub fn set_content_reader(&self, reader: ContentReader) {
        let _ = self.orders.send(Order::Content(reader));
    }

    /// Where the engine's piece events go. It never blocks.
    #[must_use]
    pub fn on_piece(&self) -> PieceSink {
        let orders = self.orders.clone();
        Arc::new(move |event| {
            let _ = orders.send(Order::Piece(event));
        })
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<GatewayEvent> {
        self.events.subscribe()
    }

    /// How each peer stands.
    pub async fn snapshot(&self) -> Vec<PeerSnapshot> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Snapshot(answer));
        answered.await.unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
    }
}

fn open(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), GatewayError> {
    let wrap = |error| GatewayError::Listen { address, error };
    let listener = std::net::TcpListener::bind(address).map_err(wrap)?;
    listener.set_nonblocking(true).map_err(wrap)?;
    let bound = listener.local_addr().map_err(wrap)?;
    Ok((listener, bound))
}

/// A [`ContentReader`] from a function.
pub fn content_reader(
    read: impl Fn(InfoHash, u32, u32, u32) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> ContentReader {
    Arc::new(read)
}
