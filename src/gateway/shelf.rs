//! Channels that outlive their connections: where each open spend is, and when one that nobody came
//! back for is closed (`docs/protocol.md` section 8). The wallet has the rest.

use std::collections::{HashMap, HashSet};

use super::attribution::ConnectionId;
use crate::coin::{ChainValue, Commitment};
use crate::units::UnixMs;

/// A connection's channel.
pub type Place = (ConnectionId, u32);

/// A spend to us that is open.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where it is in use.
    held: Option<Place>,
    /// Where it is asked for meanwhile.
    asked: Option<Place>,
    /// When it is closed, unless it is in use.
    until: UnixMs,
    unpaid_bytes: u64,
    /// The last tick, where a connection left it in this run: the wallet may not know it yet.
    last: Option<(u32, ChainValue)>,
}

/// What came of asking for a spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is this place's now; its earlier connections left so much unpaid.
    Yes {
        /// Bytes served and not paid.
        unpaid_bytes: u64,
    },
    /// Another connection has it.
    HeldBy(ConnectionId),
}

/// Where every open spend is.
#[derive(Debug)]
pub struct Shelf {
    keep_ms: u64,
    received: HashMap<Commitment, Entry>,
    ours: HashSet<Commitment>,
}

impl Shelf {
    /// Spends to us are kept for `keep_ms` milliseconds after their connection.
    #[must_use]
    pub fn new(keep_ms: u64) -> Shelf {
        Shelf {
            keep_ms,
            received: HashMap::new(),
            ours: HashSet::new(),
        }
    }

    /// A spend to us is on a channel, from its beginning.
    pub fn hold(&mut self, now: UnixMs, spend: Commitment, place: Place) {
        let entry = Entry {
            held: Some(place),
            asked: None,
            until: now.plus_ms(self.keep_ms),
            unpaid_bytes: 0,
            last: None,
        };
        self.received.insert(spend, entry);
    }

    /// A spend to us from an earlier run.
    pub fn keep(&mut self, now: UnixMs, spend: Commitment) {
        let until = now.plus_ms(self.keep_ms);
        self.received.entry(spend).or_insert(Entry {
            held: None,
            asked: None,
            until,
            unpaid_bytes: 0,
            last: None,
        });
    }

    /// A payer asks for a spend on a new connection.
    pub fn take(&mut self, now: UnixMs, spend: Commitment, place: Place) -> Taken {
        self.keep(now, spend);
        match self.received.get_mut(&spend) {
            Some(entry) => match entry.held {
                Some((id, _)) if id != place.0 => {
                    entry.asked = Some(place);
                    Taken::HeldBy(id)
                }
                _ => {
                    entry.held = Some(place);
                    Taken::Yes {
                        unpaid_bytes: entry.unpaid_bytes,
                    }
                }
            },
            None => Taken::Yes { unpaid_bytes: 0 },
        }
    }

    /// A connection does not use a spend any more; where it is asked for meanwhile.
    pub fn leave(
        &mut self,
        now: UnixMs,
        spend: Commitment,
        from: ConnectionId,
        unpaid_bytes: u64,
        is_proven: bool,
    ) -> Option<Place> {
        self.keep(now, spend);
        let entry = self.received.get_mut(&spend)?;
        if entry.held.is_some_and(|(id, _)| id != from) {
            return None;
        }
        entry.held = None;
        entry.unpaid_bytes = entry.unpaid_bytes.max(unpaid_bytes);
        if is_proven {
            entry.until = now.plus_ms(self.keep_ms);
        }
        entry.asked.take()
    }

    /// A connection has ended, and uses nothing any more.
    pub fn leave_all(&mut self, id: ConnectionId) {
        for entry in self.received.values_mut() {
            entry.held = entry.held.filter(|(holder, _)| *holder != id);
        }
    }

    /// Whether a spend to us is kept that is not in use.
    #[must_use]
    pub fn keeps_any(&self) -> bool {
        self.received.values().any(|entry| entry.held.is_none())
    }

    /// A spend to us is being closed.
    pub fn close(&mut self, spend: &Commitment) {
        self.received.remove(spend);
    }

    /// Where a spend to us is in use.
    #[must_use]
    pub fn place(&self, spend: &Commitment) -> Option<Place> {
        self.received.get(spend)?.held
    }

    /// The last tick of a spend to us that a connection has left.
    pub fn note_last(&mut self, spend: &Commitment, last: (u32, ChainValue)) {
        if let Some(entry) = self.received.get_mut(spend) {
            let known = entry.last.map_or(0, |(k, _)| k);
            if last.0 >= known {
                entry.last = Some(last);
            }
        }
    }

    /// The last tick of a spend to us, where a connection left it in this run.
    #[must_use]
    pub fn last(&self, spend: &Commitment) -> Option<(u32, ChainValue)> {
        self.received.get(spend)?.last
    }

    /// The spends to us that nobody came back for in time, or all that are not in use, with their last
    /// ticks. They are to be closed now.
    pub fn overdue(
        &mut self,
        now: UnixMs,
        all: bool,
    ) -> Vec<(Commitment, Option<(u32, ChainValue)>)> {
        let is_over = |entry: &Entry| entry.held.is_none() && (all || entry.until <= now);
        let over = self.received.iter().filter(|(_, entry)| is_over(entry));
        let over: Vec<_> = over.map(|(spend, entry)| (*spend, entry.last)).collect();
        for (spend, _) in &over {
            self.received.remove(spend);
        }
        over
    }

    /// A spend of ours is on a channel now. False: it was already.
    pub fn use_ours(&mut self, spend: Commitment) -> bool {
        self.ours.insert(spend)
    }

    /// A spend of ours is on no channel any more.
    pub fn drop_ours(&mut self, spend: &Commitment) {
        self.ours.remove(spend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEND: Commitment = Commitment([1; 32]);
    const FIRST: Place = (ConnectionId(1), 0);
    const SECOND: Place = (ConnectionId(2), 4);

    #[test]
    fn a_spend_is_on_one_connection_at_a_time() {
        let mut shelf = Shelf::new(1_000);
        shelf.hold(UnixMs(0), SPEND, FIRST);
        let held = Taken::HeldBy(FIRST.0);
        assert_eq!(shelf.take(UnixMs(1), SPEND, SECOND), held);
        assert_eq!(
            shelf.leave(UnixMs(2), SPEND, SECOND.0, 9, true),
            None,
            "not its own"
        );
        assert_eq!(
            shelf.leave(UnixMs(2), SPEND, FIRST.0, 5, true),
            Some(SECOND)
        );
        let taken = Taken::Yes { unpaid_bytes: 5 };
        assert_eq!(shelf.take(UnixMs(3), SPEND, SECOND), taken);
        assert_eq!(shelf.place(&SPEND), Some(SECOND));
    }

    #[test]
    fn what_nobody_comes_back_for_is_over_after_a_while_and_an_echo_does_not_delay_it() {
        let mut shelf = Shelf::new(1_000);
        shelf.hold(UnixMs(0), SPEND, FIRST);
        assert_eq!(shelf.overdue(UnixMs(5_000), false), []);
        shelf.leave(UnixMs(5_000), SPEND, FIRST.0, 0, true);
        shelf.take(UnixMs(5_500), SPEND, SECOND);
        assert_eq!(shelf.overdue(UnixMs(6_500), false), [], "in use");
        shelf.leave(UnixMs(6_500), SPEND, SECOND.0, 0, false);
        assert_eq!(shelf.overdue(UnixMs(6_500), false), [(SPEND, None)]);
        assert_eq!(shelf.place(&SPEND), None);
    }

    #[test]
    fn a_spend_is_closed_at_the_last_tick_though_the_wallet_may_not_know_it() {
        let mut shelf = Shelf::new(1_000);
        shelf.hold(UnixMs(0), SPEND, FIRST);
        shelf.leave(UnixMs(1), SPEND, FIRST.0, 0, true);
        let last = (7, ChainValue([7; 32]));
        shelf.note_last(&SPEND, last);
        shelf.note_last(&SPEND, (3, ChainValue([3; 32])));
        assert_eq!(shelf.overdue(UnixMs(1), true), [(SPEND, Some(last))]);
    }

    #[test]
    fn what_was_left_open_by_an_earlier_run_is_kept_as_long() {
        let mut shelf = Shelf::new(1_000);
        shelf.keep(UnixMs(0), SPEND);
        assert_eq!(shelf.overdue(UnixMs(999), false), []);
        assert_eq!(shelf.overdue(UnixMs(0), true), [(SPEND, None)]);
        assert_eq!(shelf.overdue(UnixMs(1_000), false), []);
    }

    #[test]
    fn a_spend_of_ours_is_used_once_at_a_time() {
        let mut shelf = Shelf::new(1_000);
        assert!(shelf.use_ours(SPEND));
        assert!(!shelf.use_ours(SPEND));
        shelf.drop_ours(&SPEND);
        assert!(shelf.use_ours(SPEND));
    }
}
