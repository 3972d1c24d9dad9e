//! Serving peers that do not pay: `off`, `leftover` or `on` (`docs/protocol.md` section 9).
//!
//! `leftover` is bandwidth that paying peers do not use at the moment. Nobody tells us how much
//! there is, so it is felt out: while paying peers are served at once, or nobody pays, there is no
//! limit; while they always wait for more, free peers get a rate that grows as long as the
//! paying ones' rate does not fall by a tenth, and is halved when it does. Peers that give us
//! something go before strangers, who take turns.

use std::collections::BTreeMap;

use super::attribution::ConnectionId;
use super::terms::FreePolicy;
use crate::units::UnixMs;

/// How often [`FreeShare::tick`] wants to be called.
pub const TICK_MS: u64 = 500;
/// Free peers that are served at a time while there is a limit.
const SLOTS: usize = 5;
/// Of these, how many may go to peers that give us something.
const RECIPROCATING_SLOTS: usize = 4;
/// After so long the next stranger has its turn.
const TURN_MS: u64 = 20_000;
const FLOOR_BYTES_PER_S: u64 = 16 * 1024;
const BUCKET_BYTES: u64 = 256 * 1024;
const CEILING_BYTES_PER_S: u64 = 1 << 32;

#[derive(Debug)]
struct FreePeer {
    policy: FreePolicy,
    wants: bool,
    received_bytes: u64,
    choked: bool,
}

/// What peers that do not pay may have, over all torrents.
#[derive(Debug, Default)]
pub struct FreeShare {
    peers: BTreeMap<ConnectionId, FreePeer>,
    limit_bytes_per_s: Option<u64>,
    tokens_bytes: u64,
    filled_at: UnixMs,
    ticked_at: UnixMs,
    turned_at: UnixMs,
    turn: u64,
    paying_busy: usize,
    paying_was_idle: bool,
    paid_bytes: u64,
    best_bytes_per_s: u64,
}

impl FreeShare {
    /// A connection begins, under a policy; also called when the policy changes.
    pub fn join(&mut self, id: ConnectionId, policy: FreePolicy) {
        let choked = match policy {
            FreePolicy::Off => true,
            FreePolicy::On => false,
            FreePolicy::Leftover => self.limit_bytes_per_s.is_some(),
        };
        let peer = self.peers.entry(id).or_insert(FreePeer {
            policy,
            wants: false,
            received_bytes: 0,
            choked,
        });
        if peer.policy != policy {
            peer.policy = policy;
            peer.choked = choked;
        }
    }

    /// A connection ends.
    pub fn leave(&mut self, id: ConnectionId) {
        self.peers.remove(&id);
    }

    /// A peer wants something from us for nothing, or no more.
    pub fn set_wants(&mut self, id: ConnectionId, wants: bool) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.wants = wants;
        }
    }

    /// A peer gave us this much of a torrent.
    pub fn received(&mut self, id: ConnectionId, bytes: u64) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.received_bytes = peer.received_bytes.saturating_add(bytes);
        }
    }

    /// Paid bytes were served.
    pub fn paid_served(&mut self, bytes: u64) {
        self.paid_bytes = self.paid_bytes.saturating_add(bytes);
    }

    /// A paying peer has begun or ceased to wait for blocks that it may have.
    pub fn set_paying_busy(&mut self, is_busy: bool) {
        if is_busy {
            self.paying_busy += 1;
        } else {
            self.paying_busy = self.paying_busy.saturating_sub(1);
            self.paying_was_idle |= self.paying_busy == 0;
        }
    }

    /// Whether a free peer is to be told to ask for nothing.
    #[must_use]
    pub fn is_choked(&self, id: ConnectionId) -> bool {
        self.peers.get(&id).is_none_or(|peer| peer.choked)
    }

    /// Whether a free peer may have this many bytes now; they are counted as given.
    pub fn take(&mut self, now: UnixMs, id: ConnectionId, bytes: u64) -> bool {
        let Some(peer) = self.peers.get(&id) else {
            return false;
        };
        if peer.choked {
            return false;
        }
        let Some(limit) = self.limit_bytes_per_s else {
            return true;
        };
        if peer.policy == FreePolicy::On {
            return true;
        }
        let since_ms = now.since_ms(self.filled_at).min(10_000);
        let filled = limit.saturating_mul(since_ms) / 1000;
        if filled > 0 {
            let bucket = BUCKET_BYTES.max(limit / 4);
            self.tokens_bytes = self.tokens_bytes.saturating_add(filled).min(bucket);
            self.filled_at = now;
        }
        match self.tokens_bytes.checked_sub(bytes) {
            Some(rest) => {
                self.tokens_bytes = rest;
                true
            }
            None => false,
        }
    }

    /// Sets rate and turns anew. True where somebody is choked or unchoked by it.
    pub fn tick(&mut self, now: UnixMs) -> bool {
        let since_ms = now.since_ms(self.ticked_at).max(1);
        self.ticked_at = now;
        let rate = self.paid_bytes.saturating_mul(1000) / since_ms;
        self.paid_bytes = 0;
        let is_saturated = self.paying_busy > 0 && !self.paying_was_idle;
        self.paying_was_idle = self.paying_busy == 0;
        self.limit_bytes_per_s = self.next_limit(rate, is_saturated);
        if now.since_ms(self.turned_at) >= TURN_MS {
            self.turned_at = now;
            self.turn = self.turn.wrapping_add(1);
        }
        let changed = self.choose();
        for peer in self.peers.values_mut() {
            // Half is forgotten in some 20 seconds.
            peer.received_bytes -= peer.received_bytes / 64;
        }
        changed
    }

    fn next_limit(&mut self, rate: u64, is_saturated: bool) -> Option<u64> {
        if !is_saturated {
            if self.paying_busy == 0 && rate == 0 {
                self.best_bytes_per_s = 0;
                return None;
            }
            let limit = self.limit_bytes_per_s?;
            let limit = limit + limit / 4 + 4 * FLOOR_BYTES_PER_S;
            return Some(limit.min(CEILING_BYTES_PER_S));
        }
        let fading = self.best_bytes_per_s - self.best_bytes_per_s / 1024;
        self.best_bytes_per_s = rate.max(fading);
        let floor = FLOOR_BYTES_PER_S.max(self.best_bytes_per_s / 16);
        let Some(limit) = self.limit_bytes_per_s else {
            return Some(floor);
        };
        let limit = if rate < self.best_bytes_per_s / 10 * 9 {
            limit / 2
        } else {
            limit + limit / 8
        };
        Some(limit.clamp(floor, CEILING_BYTES_PER_S))
    }

    /// Who is served and who is choked.
    fn choose(&mut self) -> bool {
        let mut ranked: Vec<(ConnectionId, u64)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.wants && peer.policy == FreePolicy::Leftover)
            .map(|(id, peer)| (*id, peer.received_bytes))
            .collect();
        ranked.sort_by_key(|(_, received)| std::cmp::Reverse(*received));
        let giving = ranked.iter().filter(|(_, received)| *received > 0).count();
        let strangers = ranked.split_off(giving.min(RECIPROCATING_SLOTS));
        let mut served: Vec<ConnectionId> = ranked.iter().map(|(id, _)| *id).collect();
        let turn = usize::try_from(self.turn).unwrap_or_default();
        let rest = SLOTS - served.len();
        let in_turn = strangers.iter().cycle().skip(turn % strangers.len().max(1));
        served.extend(in_turn.take(rest.min(strangers.len())).map(|(id, _)| *id));
        let is_limited = self.limit_bytes_per_s.is_some();
        let mut changed = false;
        for (id, peer) in &mut self.peers {
            let choked = match peer.policy {
                FreePolicy::Off => true,
                FreePolicy::On => false,
                FreePolicy::Leftover => is_limited && peer.wants && !served.contains(id),
            };
            changed |= choked != peer.choked;
            peer.choked = choked;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: ConnectionId = ConnectionId(1);

    fn share(policy: FreePolicy) -> FreeShare {
        let mut share = FreeShare::default();
        share.join(STRANGER, policy);
        share.set_wants(STRANGER, true);
        share.tick(UnixMs(500));
        share
    }

    #[test]
    fn without_paying_peers_leftover_is_everything() {
        let mut share = share(FreePolicy::Leftover);
        assert!(!share.is_choked(STRANGER));
        for _ in 0..1000 {
            assert!(share.take(UnixMs(500), STRANGER, 16 * 1024));
        }
    }

    #[test]
    fn off_gives_nothing_and_on_gives_all() {
        let mut off = share(FreePolicy::Off);
        assert!(off.is_choked(STRANGER));
        assert!(!off.take(UnixMs(500), STRANGER, 1));
        let mut on = share(FreePolicy::On);
        on.set_paying_busy(true);
        on.tick(UnixMs(1000));
        on.tick(UnixMs(1500));
        assert!(on.take(UnixMs(1500), STRANGER, 1 << 30));
    }

    /// A line of 10 MB/s that both share: free bytes are taken from the paying peer.
    fn run(share: &mut FreeShare, from_ms: u64, ticks: u64, line: u64) -> (u64, u64) {
        let (mut free, mut paid) = (0, 0);
        for tick in 1..=ticks {
            let now = UnixMs(from_ms + tick * TICK_MS);
            let mut taken = 0;
            for step in 0..10 {
                let at = UnixMs(now.0 - TICK_MS + step * 50);
                while taken < line / 2 && share.take(at, STRANGER, 16 * 1024) {
                    taken += 16 * 1024;
                }
            }
            let rest = (line / 2).saturating_sub(taken);
            share.paid_served(rest);
            share.tick(now);
            free += taken;
            paid += rest;
        }
        (free, paid)
    }

    #[test]
    fn a_paying_peer_that_always_waits_keeps_most_of_the_line() {
        let mut share = share(FreePolicy::Leftover);
        share.set_paying_busy(true);
        run(&mut share, 500, 4, 10_000_000);
        let (free, paid) = run(&mut share, 2500, 200, 10_000_000);
        assert!(free * 5 < paid, "free {free}, paid {paid}");
        assert!(free > 0);
    }

    #[test]
    fn what_a_paying_peer_does_not_use_goes_to_free_peers() {
        let mut share = share(FreePolicy::Leftover);
        share.set_paying_busy(true);
        // The paying peer takes 1 MB/s whatever the free ones do.
        let mut free: u64 = 0;
        for tick in 1..=100 {
            let now = UnixMs(500 + tick * TICK_MS);
            let mut taken = 0;
            while taken < 5_000_000 && share.take(now, STRANGER, 16 * 1024) {
                taken += 16 * 1024;
            }
            free += taken;
            share.paid_served(500_000);
            share.tick(now);
        }
        assert!(free > 200_000_000, "free {free}");
        share.set_paying_busy(false);
        share.tick(UnixMs(60_000));
        share.tick(UnixMs(60_500));
        assert!(share.take(UnixMs(60_500), STRANGER, 1 << 30));
    }

    #[test]
    fn reciprocating_peers_go_before_strangers_who_take_turns() {
        let mut share = FreeShare::default();
        share.set_paying_busy(true);
        for id in 0..20 {
            share.join(ConnectionId(id), FreePolicy::Leftover);
            share.set_wants(ConnectionId(id), true);
        }
        share.received(ConnectionId(19), 1 << 20);
        share.tick(UnixMs(500));
        let mut served = std::collections::BTreeSet::new();
        for turn in 0..30 {
            share.received(ConnectionId(19), 1 << 20);
            share.tick(UnixMs(1000 + turn * TURN_MS));
            assert!(!share.is_choked(ConnectionId(19)));
            let now = (0..20).map(ConnectionId).filter(|id| !share.is_choked(*id));
            let now: Vec<_> = now.collect();
            assert_eq!(now.len(), SLOTS);
            served.extend(now);
        }
        assert_eq!(served.len(), 20);
    }
}
