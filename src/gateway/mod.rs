//! Between the swarm and our engine: SOCKS5 out, listener in, channels on top
//! (`docs/protocol.md` sections 3, 7, 8 and 9).
//!
//! ```text
//! our engine --socks5--> gateway ====> peers that it dials
//! our engine <-loopback- gateway <==== peers that dial us
//! ```
//!
//! It has a thread and a single-threaded runtime of its own, as the engine's workers block in place.
//! One task a connection (`stream`) moves bytes; what it does with them is decided without IO in
//! [`link`] and its parts: requests [`hold`]-ed, made to wait ([`throttle`]) or asked again
//! ([`asked`]), blocks noted ([`attribution`]), free peers given leftovers ([`free`]).
//!
//! **What this does not keep out:** the engine's own listener on loopback takes connections from any
//! user of this machine, who can so download without paying, or seed without being paid.

mod account;
mod ahead;
pub mod asked;
pub mod attribution;
mod avoided;
mod beat;
pub mod blocklist;
mod close;
mod commit;
mod content;
mod debts;
pub mod digest;
mod doors;
mod engine_side;
mod errand;
pub mod free;
pub mod hold;
mod kept;
pub mod link;
pub mod output;
mod pay;
mod purse;
pub mod report;
mod shared;
mod shelf;
mod shunned;
pub mod socks;
mod stream;
pub mod terms;
mod thread;
pub mod throttle;
mod wants;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};

pub use content::content_of;
pub use purse::Payments;
pub use report::{Close, GatewayEvent, OpenSpendLeft, PeerSnapshot, Why};
pub use shared::ContentReader;
pub use terms::{FreePolicy, GatewayConfig, TorrentTerms};
pub use throttle::Limits;
pub use wants::Bits;

use crate::cashier::wallet::CashierError;
use crate::engine::{PieceSink, Waker};
use crate::random;
use crate::torrent::PieceSet;
use crate::units::InfoHash;
use thread::Order;

/// Events kept for a slow listener.
const EVENTS: usize = 1024;

/// Between attempts to meet the broker.
const BROKER_PAUSE: Duration = Duration::from_secs(2);

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

    /// How a torrent of our engine that rests is woken, before the engine is given a peer for it.
    pub fn set_waker(&self, waker: Waker) {
        let _ = self.orders.send(Order::Waker(waker));
    }

    /// Brings in wallet and DHT, and takes up the channels that an earlier run left open: from now on `dp_pay` is spoken on new connections. To be called
    /// once, before the engine starts, within the runtime that wallet and DHT live on. The broker
    /// need not be reachable; until it was met once, peers are served and used without payment.
    pub fn enable_payments(&self, payments: Payments) {
        let (conflicts, mut found) = mpsc::unbounded_channel();
        let wallet = payments.wallet.clone();
        let runtime = tokio::runtime::Handle::current();
        let purse = purse::Purse::new(payments, runtime.clone(), conflicts);
        let leftovers = Arc::clone(&purse);
        let _ = self.orders.send(Order::Purse(purse));
        let orders = self.orders.clone();
        runtime.spawn(async move {
            let kept = leftovers.take_up_leftovers().await;
            let _ = orders.send(Order::Keep(kept));
        });
        let orders = self.orders.clone();
        runtime.spawn(async move {
            while let Some(conflict) = found.recv().await {
                if orders.send(Order::Conflict(Box::new(conflict))).is_err() {
                    return;
                }
            }
        });
        let orders = self.orders.clone();
        runtime.spawn(async move {
            while !orders.is_closed() {
                match wallet.broker().await {
                    Ok(broker) => {
                        let _ = orders.send(Order::Broker(Box::new(broker)));
                        return;
                    }
                    Err(CashierError::Closed) => return,
                    Err(error) => tracing::debug!(%error, "the broker was not met yet"),
                }
                tokio::time::sleep(BROKER_PAUSE).await;
            }
        });
    }

    /// Closes all channels, then all connections, and takes no new ones. Returns our spends that
    /// stay open because their payees gave no close in time, over the gateway's whole life.
    pub async fn close_all(&self, deadline: Duration) -> Vec<OpenSpendLeft> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::CloseAll(deadline, answer));
        answered.await.unwrap_or_default()
    }

    /// Sets a torrent's terms, also of one that is running.
    pub fn set_torrent(&self, info_hash: InfoHash, terms: TorrentTerms) {
        let _ = self.orders.send(Order::SetTorrent(info_hash, terms));
    }

    /// A torrent's terms as they are.
    #[cfg(test)]
    pub(crate) async fn terms_of(&self, info_hash: InfoHash) -> Option<TorrentTerms> {
        let (answer, told) = tokio::sync::oneshot::channel();
        let _ = self.orders.send(Order::TermsOf(info_hash, answer));
        told.await.ok().flatten()
    }

    /// Sets a torrent's limits on speed, also of one that is running.
    pub fn set_limits(&self, info_hash: InfoHash, limits: Limits) {
        let _ = self.orders.send(Order::SetLimits(info_hash, limits));
    }

    /// Sets which pieces of a torrent are paid for: those that its chosen files lie in. None: all.
    pub fn choose_pieces(&self, info_hash: InfoHash, chosen: Option<&PieceSet>) {
        let chosen = chosen.map(|chosen| {
            let mut bits = Bits::default();
            bits.add_all(chosen.as_bitfield());
            bits
        });
        let _ = self.orders.send(Order::Choose(info_hash, chosen));
    }

    /// Forgets a torrent; its connections are the engine's to close.
    pub fn remove_torrent(&self, info_hash: InfoHash) {
        let _ = self.orders.send(Order::RemoveTorrent(info_hash));
    }

    /// How to read a torrent's verified content ([`content_of`]); done only where deliveries of a
    /// block differ. Without it some of these cases stay undecided: nobody is paid or blamed then.
    pub fn set_content(&self, info_hash: InfoHash, reader: ContentReader) {
        let _ = self.orders.send(Order::Content(info_hash, reader));
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
