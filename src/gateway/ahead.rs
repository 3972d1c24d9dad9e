//! What was paid ahead of bytes that never came.
//!
//! Taking a channel up again pays one unit ahead, and blocks of unfinished pieces are paid at risk
//! (`docs/protocol.md` sections 7 and 8). A payee that hangs up each time and comes again would be paid for
//! nothing, so what a connection leaves unearned is remembered by neighbourhood for an hour: as long as it
//! is, channels with it are closed and not taken up, and so much less is paid at risk.

use std::collections::HashMap;
use std::net::IpAddr;

use super::debts::{Prefix, prefix};
use super::link::Link;
use super::pay::Pay;
use crate::channel::Payer;
use crate::units::{Units, UnixMs};

/// What a neighbourhood may have ahead when a channel is taken up.
const MOST: Units = Units(16);
/// Forgotten after this.
const REMEMBERED_MS: u64 = 3_600_000;
const MAX_ENTRIES: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Entry {
    since: UnixMs,
    /// By channels taken up on connections that stand.
    standing: Units,
    /// By channels taken up on connections that have ended.
    resumed: Units,
    /// On connections that have ended, in whatever way.
    left: Units,
}

impl Entry {
    fn is_live(&self, now: UnixMs) -> bool {
        let is_recent = now.since_ms(self.since) < REMEMBERED_MS;
        is_recent
            && [self.standing, self.resumed, self.left]
                .iter()
                .any(|units| !units.is_zero())
    }
}

/// Units paid ahead that nothing verified has fallen due for, by neighbourhood.
#[derive(Debug, Default)]
pub struct Ahead(HashMap<Prefix, Entry>);

impl Ahead {
    /// How many more may be paid to take channels with a peer at this address up.
    #[must_use]
    pub fn may_resume(&self, now: UnixMs, address: IpAddr) -> Units {
        let entry = self.0.get(&prefix(address));
        match entry.filter(|entry| entry.is_live(now)) {
            Some(entry) => MOST
                .saturating_sub(entry.standing)
                .saturating_sub(entry.resumed),
            // Where too many are remembered, nobody else is trusted.
            None if entry.is_none() && self.0.len() >= MAX_ENTRIES => Units::ZERO,
            None => MOST,
        }
    }

    /// What ended connections to this address left unearned.
    #[must_use]
    pub fn left(&self, now: UnixMs, address: IpAddr) -> Units {
        let entry = self.0.get(&prefix(address));
        let live = entry.filter(|entry| entry.is_live(now));
        live.map_or(Units::ZERO, |entry| entry.left)
    }

    /// A connection to this address has taken channels up for `units`, and `before` until now.
    pub fn stands(&mut self, now: UnixMs, address: IpAddr, before: Units, units: Units) {
        if let Some(entry) = self.entry(now, address) {
            let sum = entry.standing.checked_add(units);
            entry.standing = sum.unwrap_or(Units(u64::MAX)).saturating_sub(before);
        }
    }

    /// A connection to this address, which stood for `resumed`, ended with `units` unearned in all.
    pub fn ended(&mut self, now: UnixMs, address: IpAddr, resumed: Units, units: Units) {
        if resumed.is_zero() && units.is_zero() {
            return;
        }
        let add = |sum: Units, more| sum.checked_add(more).unwrap_or(Units(u64::MAX));
        if let Some(entry) = self.entry(now, address) {
            entry.standing = entry.standing.saturating_sub(resumed);
            entry.resumed = add(entry.resumed, resumed);
            entry.left = add(entry.left, units);
        }
    }

    fn entry(&mut self, now: UnixMs, address: IpAddr) -> Option<&mut Entry> {
        self.0.retain(|_, entry| entry.is_live(now));
        let is_full = self.0.len() >= MAX_ENTRIES;
        let entry = self.0.entry(prefix(address));
        if is_full && matches!(entry, std::collections::hash_map::Entry::Vacant(_)) {
            return None;
        }
        Some(entry.or_insert(Entry {
            since: now,
            standing: Units::ZERO,
            resumed: Units::ZERO,
            left: Units::ZERO,
        }))
    }
}

impl Link {
    /// Tells the ledger what channels taken up on this connection still have to earn.
    pub(super) fn count_ahead(&self, now: UnixMs, pay: &mut Pay) {
        let ahead = (pay.payer.as_ref()).map_or(Units::ZERO, Payer::resumed_ahead);
        if ahead != pay.ahead {
            let mut ledger = self.shared.ahead.borrow_mut();
            ledger.stands(now, self.address.ip(), pay.ahead, ahead);
            pay.ahead = ahead;
        }
    }

    /// The connection has ended.
    pub(super) fn leave_ahead(&self, now: UnixMs, pay: &Pay) {
        let ahead = |payer: &Payer| payer.ahead().max(payer.resumed_ahead());
        let ahead = pay.payer.as_ref().map_or(Units::ZERO, ahead);
        let mut ledger = self.shared.ahead.borrow_mut();
        ledger.ended(now, self.address.ip(), pay.ahead, ahead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_ahead_are_few_until_they_are_earned_or_an_hour_has_passed() {
        let mut ahead = Ahead::default();
        let (now, peer) = (UnixMs(1_000), IpAddr::from([192, 0, 2, 7]));
        let (near, far) = (IpAddr::from([192, 0, 2, 9]), IpAddr::from([192, 0, 3, 7]));
        ahead.stands(now, peer, Units(0), Units(4));
        ahead.stands(now, near, Units(0), Units(12));
        assert_eq!(ahead.may_resume(now, peer), Units(0));
        assert_eq!(ahead.may_resume(now, far), MOST);
        assert_eq!(ahead.left(now, peer), Units(0), "they may yet earn it");
        ahead.stands(now, near, Units(12), Units(2));
        ahead.ended(now, peer, Units(4), Units(90));
        assert_eq!(ahead.may_resume(now, near), Units(10), "at risk is another");
        assert_eq!(ahead.left(now, near), Units(90));
        let later = now.plus_ms(REMEMBERED_MS);
        assert_eq!(ahead.may_resume(later, peer), MOST);
        ahead.stands(later, far, Units(0), Units(16));
        ahead.ended(later, far, Units(16), Units(16));
        assert_eq!(ahead.left(later, near), Units(0));
        assert_eq!(ahead.may_resume(later, far), Units(0));
    }
}
