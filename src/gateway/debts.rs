//! Who left owing us or spent a coin twice, by address prefix, for a day (`docs/protocol.md` section 7):
//! nobody of that neighbourhood is served before its payment is accepted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::units::{Units, UnixMs};

const REMEMBERED_MS: u64 = 24 * 3600 * 1000;
const MAX_ENTRIES: usize = 10_000;
/// The file is written no more often than this, and at the end.
const SAVE_MS: u64 = 60_000;

/// Three bytes of an IPv4 address, six of an IPv6 one.
pub(super) type Prefix = (bool, [u8; 6]);

/// Debts of connections that have ended.
#[derive(Debug, Default)]
pub struct Debts {
    by_prefix: HashMap<Prefix, (UnixMs, Units)>,
    file: Option<PathBuf>,
    is_changed: bool,
    saved: UnixMs,
}

/// The neighbourhood of an address.
pub(super) fn prefix(address: IpAddr) -> Prefix {
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

fn read(line: &str) -> Option<(Prefix, (UnixMs, Units))> {
    let mut words = line.split(' ');
    let is_v4 = words.next()? == "4";
    let prefix = hex::decode(words.next()?).ok()?.try_into().ok()?;
    let at = words.next()?.parse().ok()?;
    let units = words.next()?.parse().ok()?;
    Some(((is_v4, prefix), (UnixMs(at), Units(units))))
}

impl Debts {
    /// What an earlier run wrote down, as far as it can be read: one line for each neighbourhood, with
    /// `4` or `6`, its prefix in hex, when (unix milliseconds) and units.
    #[must_use]
    pub fn load(file: Option<PathBuf>, now: UnixMs) -> Debts {
        let text = file.as_ref().map(std::fs::read_to_string);
        let text = text.and_then(Result::ok).unwrap_or_default();
        let lines = text.lines().filter_map(read).take(MAX_ENTRIES);
        let recent = lines.filter(|(_, (at, _))| now.since_ms(*at) < REMEMBERED_MS);
        Debts {
            by_prefix: recent.collect(),
            file,
            is_changed: false,
            saved: now,
        }
    }

    /// Writes down what has changed; not `at_once`: if the last time is a minute ago.
    pub fn save(&mut self, now: UnixMs, at_once: bool) {
        let Some(file) = self.file.as_ref().filter(|_| self.is_changed) else {
            return;
        };
        if !at_once && now.since_ms(self.saved) < SAVE_MS {
            return;
        }
        let lines = self.by_prefix.iter().map(|((is_v4, prefix), (at, units))| {
            let version = if *is_v4 { 4 } else { 6 };
            format!("{version} {} {} {}\n", hex::encode(prefix), at.0, units.0)
        });
        let part = file.with_extension("part");
        let text: String = lines.collect();
        let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, file));
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "debts are not written down");
        }
        self.is_changed = false;
        self.saved = now;
    }

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
        self.is_changed = true;
        let entry = self.by_prefix.entry(prefix(address));
        let (at, sum) = entry.or_insert((now, Units::ZERO));
        *at = now;
        *sum = sum.checked_add(unpaid).unwrap_or(*sum);
    }

    /// Somebody at this address spent a coin twice: remembered like one that left owing.
    pub fn note_fraud(&mut self, now: UnixMs, address: IpAddr) {
        self.note(now, address, Units(1), Units(1));
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
    fn the_next_run_remembers_what_is_not_a_day_old() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = Some(dir.path().join("debts"));
        let mut debts = Debts::load(file.clone(), UnixMs(0));
        let (old, new): (IpAddr, IpAddr) = (
            [1, 2, 3, 4].into(),
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        );
        debts.note(UnixMs(5), old, Units(3), Units(4));
        debts.note(UnixMs(1_000), new, Units(2), Units(2));
        debts.save(UnixMs(1_001), false);
        assert!(
            Debts::load(file.clone(), UnixMs(1_002))
                .by_prefix
                .is_empty(),
            "not yet"
        );
        debts.save(UnixMs(1_002), true);
        let again = Debts::load(file, UnixMs(REMEMBERED_MS + 500));
        assert!(again.owes(UnixMs(REMEMBERED_MS + 500), new));
        assert!(!again.owes(UnixMs(REMEMBERED_MS - 500), old));
    }

    #[test]
    fn lines_that_nobody_wrote_are_skipped() {
        let lines = [
            "",
            "4",
            "4 0102 5 5",
            "4 010203000000 x 5",
            "4 010203000000 5",
            "6 zz 1 1",
        ];
        assert!(lines.into_iter().all(|line| read(line).is_none()));
        assert!(read("4 010203000000 5 7").is_some());
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
