//! Who left owing us, by address prefix, for a day (`docs/protocol.md` section 7): nobody of that
//! neighbourhood is served before its payment is accepted.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::units::{Units, UnixMs};

const REMEMBERED_MS: u64 = 24 * 3600 * 1000;
const MAX_ENTRIES: usize = 10_000;

/// Three bytes of an IPv4 address, six of an IPv6 one.
type Prefix = (bool, [u8; 6]);

/// Debts of connections that have ended.
#[derive(Debug, Default)]
pub struct Debts {
    by_prefix: HashMap<Prefix, (UnixMs, Units)>,
}

fn prefix(address: IpAddr) -> Prefix {
    let mut bytes = [0; 6];
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            bytes[..3].copy_from_slice(&v4.octets()[..3]);
            (true, bytes)
        }
        IpAddr::V6(v6) => {
            bytes.copy_from_slice(&v6.octets()[..6]);
            (false, bytes)
        }
    }
}

impl Debts {
    /// A connection ended with `unpaid` of the units that fell `due`. Any peer that goes away in the
    /// middle leaves the last window unpaid; it is remembered where that was an eighth of all.
    pub fn note(&mut self, now: UnixMs, address: IpAddr, unpaid: Units, due: Units) {
        if unpaid.is_zero() || unpaid.0 < due.0 / 8 {
            return;
        }
        if self.by_prefix.len() >= MAX_ENTRIES {
            self.by_prefix
                .retain(|_, (at, _)| now.since_ms(*at) < REMEMBERED_MS);
        }
        if self.by_prefix.len() >= MAX_ENTRIES {
            return;
        }
        let entry = self.by_prefix.entry(prefix(address));
        let (at, sum) = entry.or_insert((now, Units::ZERO));
        *at = now;
        *sum = sum.checked_add(unpaid).unwrap_or(*sum);
    }

    /// Whether somebody near this address left owing within a day.
    #[must_use]
    pub fn owes(&self, now: UnixMs, address: IpAddr) -> bool {
        let entry = self.by_prefix.get(&prefix(address));
        entry.is_some_and(|(at, _)| now.since_ms(*at) < REMEMBERED_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbourhood_is_remembered_for_a_day() {
        let mut debts = Debts::default();
        let address = |text: &str| text.parse::<IpAddr>().expect("address");
        debts.note(UnixMs(0), address("1.2.3.4"), Units(3), Units(4));
        assert!(debts.owes(UnixMs(1), address("1.2.3.99")));
        assert!(debts.owes(UnixMs(1), address("::ffff:1.2.3.5")));
        assert!(!debts.owes(UnixMs(1), address("1.2.4.4")));
        assert!(!debts.owes(UnixMs(REMEMBERED_MS), address("1.2.3.4")));
    }

    #[test]
    fn who_paid_nearly_all_owes_nothing_worth_remembering() {
        let mut debts = Debts::default();
        let address: IpAddr = "2001:db8::1".parse().expect("address");
        debts.note(UnixMs(0), address, Units(3), Units(100));
        debts.note(UnixMs(0), address, Units(0), Units(0));
        assert!(!debts.owes(UnixMs(1), address));
    }
}
