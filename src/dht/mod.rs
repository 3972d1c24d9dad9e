//! The distributed hash table: where records lie, and where peers are found. The only room that
//! names the `mainline` crate.
//!
//! A record lies in three places as BEP 44 mutable items; `docs/protocol.md` section 6 says how a
//! payee reads them, puts what is missing and reads back ([`DhtNode::accept`]), and how it keeps an
//! eye on them afterwards ([`Watch`]). Peers come from BEP 5 ([`DhtNode::get_peers`]) and reach the
//! torrent engine through a tracker on loopback ([`tracker::Tracker`]).
//!
//! What wallets and gateways ask of a [`DhtNode`]:
//!
//! | wanted | call | cost |
//! | --- | --- | --- |
//! | what lies in a slot, putting nothing: at start, or whether a close is there | [`DhtNode::read_slot`] | 3 look-ups |
//! | whether a spend may be relied on, with all records of its path | [`DhtNode::accept`] | 6 look-ups and up to 3 puts a record |
//! | a record of one's own, put: a close, as soon as it is signed | [`DhtNode::put`] | 3 look-ups and up to 3 puts |
//! | the same, and read back: a close that is put again, or whose change is to be spent | [`DhtNode::publish`] | the same, for one |
//! | whether accepted records still lie there alone, putting them again | [`DhtNode::check_again`] | 1 look-up and 1 put a place |
//! | that on schedule, until another item shows up | [`Watch`] | see [`next_recheck`] |
//!
//! A [`PlaceItems`] tells distinct signed items with their copies, nodes that have none, and
//! invalid answers; fewer than [`DhtConfig::min_answers`] valid answers in a place say nothing.
//! A spend is accepted only by the node that was the first to put it (`own.rs`), and what was passed on
//! only where nodes keep a first value (`keeping.rs`).
//! All of these wait for nodes that do not answer, at most one request timeout a look-up.
//!
//! What the crate does and this room has to mind:
//!
//! - A look-up that is asked for while one on the same target runs joins it and loses its own
//!   `seq`, which would let unsigned junk hide a record. So one operation runs per target at a
//!   time, on one client, and it runs to its end even when nobody waits for it any more.
//! - More than four operations in flight overflow a client's receive buffer. So each client has
//!   four permits, and a node may have up to four clients.
//! - Its threads see what is asked, and tell what they found, only between packets, and sleep
//!   50 ms where none comes. So an empty datagram wakes a client now and then while it works: an
//!   acceptance on loopback takes 40 ms instead of 340.
//! - Its threads may panic on hostile input. Then the operation fails and the client is replaced.

mod accept;
mod counters;
mod door;
mod first_kept;
mod keeping;
mod locks;
mod neighbours;
mod net;
mod node;
mod own;
mod peers;
mod place;
mod pool;
mod query;
pub mod rogue;
mod schedule;
pub mod tracker;
mod watch;

pub use accept::{Acceptance, Recheck, RecordReading};
pub use counters::Counters;
pub use net::{Net, NetPlan, run_nodes};
pub use node::{ACCEPT_DEADLINE_MS, DhtConfig, DhtNode};
pub use place::{PlaceItems, Put, SlotReading};
pub use schedule::{DueRecheck, Places, next_recheck, next_recheck_closed};
pub use watch::{Watch, WatchConflict};

use thiserror::Error;

/// Why a node did not start or an operation did not finish. None of these is a peer's fault.
#[derive(Debug, Error)]
pub enum DhtError {
    /// A setting outside its range.
    #[error("DHT setting {name} = {value} is outside {range}: correct it in the configuration")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// The UDP address could not be bound.
    #[error("could not bind the DHT to UDP {addr}: {source}")]
    Bind {
        /// The address asked for.
        addr: std::net::SocketAddrV4,
        /// The system's answer.
        source: std::io::Error,
    },
    /// An operation took longer than any look-up should.
    #[error("a DHT operation did not finish within {limit_ms} ms; its client was replaced")]
    Timeout {
        /// How long it was given, in milliseconds.
        limit_ms: u64,
    },
    /// The thread behind a client is gone.
    #[error("a DHT client stopped working in the middle of an operation; it was replaced")]
    ClientLost,
    /// No node near the target answered, so there was nowhere to put.
    #[error("no DHT node answered: check the network and the bootstrap list")]
    NoNodes,
    /// Nodes were started but did not find each other.
    #[error("{settled} of {count} DHT nodes knew enough of the others after {waited_ms} ms")]
    NotSettled {
        /// Nodes that had settled.
        settled: usize,
        /// Nodes started.
        count: usize,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
}
