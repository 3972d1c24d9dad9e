//! What a node counts: operations, requests, answers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What a node has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Look-ups of values.
    pub gets: u64,
    /// Items put.
    pub puts: u64,
    /// Look-ups of peers.
    pub peer_lookups: u64,
    /// Announcements as a peer.
    pub announces: u64,
    /// Requests sent for the above, at least: the crate tells the nodes that a look-up visited
    /// (two packets each) and the nodes that took a put, not those that refused it.
    pub requests: u64,
    /// Answers to look-ups that could be used.
    pub valid_answers: u64,
    /// Answers to look-ups that were malformed or badly signed.
    pub invalid_answers: u64,
    /// Nodes that were asked and did not answer in time.
    pub unanswered: u64,
    /// Clients that had to be replaced.
    pub clients_replaced: u64,
    /// Empty datagrams by which the node woke its own clients; they do not leave the machine.
    pub wakes: u64,
}

/// [`Counters`] as they are counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) gets: AtomicU64,
    pub(super) puts: AtomicU64,
    pub(super) peer_lookups: AtomicU64,
    pub(super) announces: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) valid_answers: AtomicU64,
    pub(super) invalid_answers: AtomicU64,
    pub(super) unanswered: AtomicU64,
    pub(super) clients_replaced: AtomicU64,
    pub(super) wakes: AtomicU64,
}

/// Adds to one of the counters.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Tally {
    /// The counters now.
    pub(super) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            gets: read(&self.gets),
            puts: read(&self.puts),
            peer_lookups: read(&self.peer_lookups),
            announces: read(&self.announces),
            requests: read(&self.requests),
            valid_answers: read(&self.valid_answers),
            invalid_answers: read(&self.invalid_answers),
            unanswered: read(&self.unanswered),
            clients_replaced: read(&self.clients_replaced),
            wakes: read(&self.wakes),
        }
    }
}
