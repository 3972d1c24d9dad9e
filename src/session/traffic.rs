//! Bytes sent and received, by day and torrent, and by day and peer, to be compared with what was earned and paid. Kept
//! in `traffic.json`, and what came since that was written, once a second, in `traffic.new.json`. What a crash
//! loses of it all the same is made up for by the units of the wallet, which loses none: what they paid for
//! came.

mod copied;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(super) use copied::write;

use crate::report::{self, By, Kind, Range};
use crate::units::{Day, InfoHash, PricePerGib, Units};
use crate::wallet::deals::TorrentSums;

const FILE: &str = "traffic.json";
/// What came since that was written.
const NEW_FILE: &str = "traffic.new.json";
/// Bytes of a GiB.
const GIB: u128 = 1 << 30;

/// Peers noted of one day; what more there are is among the others in reports by peer.
const MOST_PEERS: usize = 5_000;

/// Bytes of one torrent, or of one peer, on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bytes {
    down: u64,
    up: u64,
}

impl Bytes {
    fn add(&mut self, down: u64, up: u64) {
        self.down = self.down.saturating_add(down);
        self.up = self.up.saturating_add(up);
    }
}

/// Units of one torrent whose bytes are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Covered {
    paid: Units,
    earned: Units,
    /// At which price was paid last.
    price: Option<PricePerGib>,
}

type Days = BTreeMap<u32, BTreeMap<String, Bytes>>;

fn add_to(days: &mut Days, day: u32, key: &str, bytes: Bytes) {
    let sums = days.entry(day).or_default();
    let sum = sums.entry(key.to_owned()).or_default();
    sum.add(bytes.down, bytes.up);
}

fn add_all(days: &mut Days, more: &Days) {
    for (day, parts) in more {
        for (key, bytes) in parts {
            add_to(days, *day, key, *bytes);
        }
    }
}

/// What came since all was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Recent {
    /// Since which writing: of another one it is in what was written.
    turn: u64,
    days: Days,
    peers: Days,
    covered: BTreeMap<String, Covered>,
    #[serde(skip)]
    unsaved: bool,
}

/// Bytes by day and torrent, and by day and peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Traffic {
    days: Days,
    /// Of peers that speak `dp_pay`, by the address at which they are met again.
    #[serde(default)]
    peers: Days,
    /// By torrent; none in a file of before that was noted.
    #[serde(default)]
    covered: Option<BTreeMap<String, Covered>>,
    /// How often it was written.
    #[serde(default)]
    turn: u64,
    #[serde(skip)]
    recent: Recent,
    /// By torrent, the units that were found uncovered when it was last looked.
    #[serde(skip)]
    missed: BTreeMap<InfoHash, TorrentSums>,
    #[serde(skip)]
    unsaved: bool,
}

impl Traffic {
    /// As it was left.
    pub fn read(home: &Path) -> Traffic {
        let path = home.join(FILE);
        let mut traffic = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => Traffic {
                covered: Some(BTreeMap::new()),
                ..Traffic::default()
            },
        };
        let recent = std::fs::read(home.join(NEW_FILE)).unwrap_or_default();
        let recent: Recent = serde_json::from_slice(&recent).unwrap_or_default();
        match recent.turn == traffic.turn {
            true => traffic.take_in(recent),
            // It is in what was written; what comes now is written beside that.
            false => traffic.recent.turn = traffic.turn,
        }
        traffic
    }

    fn take_in(&mut self, recent: Recent) {
        add_all(&mut self.days, &recent.days);
        add_all(&mut self.peers, &recent.peers);
        // Of a file that says nothing of units, all bytes are taken to be there ([`Traffic::begin`]).
        if let Some(covered) = &mut self.covered {
            covered.extend(recent.covered.iter().map(|(key, of)| (key.clone(), *of)));
        }
        self.recent = recent;
        self.unsaved = true;
    }

    /// As it was left; none where no node ever noted any.
    pub fn left_in(home: &Path) -> Option<Traffic> {
        let is_there = |file: &str| home.join(file).exists();
        (is_there(FILE) || is_there(NEW_FILE)).then(|| Traffic::read(home))
    }

    fn has_changed(&mut self) {
        self.unsaved = true;
        self.recent.unsaved = true;
    }

    /// Notes bytes; `peer` where it speaks `dp_pay`.
    pub fn add(&mut self, day: Day, hash: InfoHash, peer: Option<SocketAddr>, down: u64, up: u64) {
        if down == 0 && up == 0 {
            return;
        }
        let bytes = Bytes { down, up };
        let hash = hash.to_string();
        add_to(&mut self.days, day.0, &hash, bytes);
        add_to(&mut self.recent.days, day.0, &hash, bytes);
        if let Some(peer) = peer.map(|peer| peer.to_string()) {
            let peers = self.peers.entry(day.0).or_default();
            if peers.len() < MOST_PEERS || peers.contains_key(&peer) {
                add_to(&mut self.peers, day.0, &peer, bytes);
                add_to(&mut self.recent.peers, day.0, &peer, bytes);
            }
        }
        self.has_changed();
    }

    fn cover(&mut self, hash: InfoHash, change: impl FnOnce(&mut Covered)) {
        let key = hash.to_string();
        let covered = self.covered.get_or_insert_default();
        let of = covered.entry(key.clone()).or_default();
        change(of);
        self.recent.covered.insert(key, *of);
        self.has_changed();
    }

    /// Notes units whose bytes are noted: paid, at a price, and earned.
    pub fn add_units(
        &mut self,
        hash: InfoHash,
        (paid, price): (Units, Option<PricePerGib>),
        earned: Units,
    ) {
        if paid.is_zero() && earned.is_zero() {
            return;
        }
        self.cover(hash, |of| {
            of.paid = sum(of.paid, paid);
            of.earned = sum(of.earned, earned);
            if !paid.is_zero() {
                of.price = price.or(of.price);
            }
        });
    }

    /// At the start: of a file that says nothing of units, all bytes are taken to be there.
    pub fn begin(&mut self, sums: &BTreeMap<InfoHash, TorrentSums>) {
        if self.covered.is_some() {
            return;
        }
        let all = sums.iter().map(|(hash, of)| {
            let covered = Covered {
                paid: of.paid,
                earned: of.earned,
                price: None,
            };
            (hash.to_string(), covered)
        });
        self.covered = Some(all.collect());
        self.unsaved = true;
    }

    /// Where the wallet has paid or earned more units than bytes are noted for, and had already when it was
    /// last asked, a crash lost the bytes: those that they stand for are added. How many.
    pub fn make_up(
        &mut self,
        day: Day,
        hash: InfoHash,
        sums: TorrentSums,
        (max_price, price): (PricePerGib, PricePerGib),
    ) -> (u64, u64) {
        let known = (self.covered.as_ref()).and_then(|all| all.get(&hash.to_string()));
        let of = known.copied().unwrap_or_default();
        let now = TorrentSums {
            paid: sums.paid.saturating_sub(of.paid),
            earned: sums.earned.saturating_sub(of.earned),
        };
        let before = match now == TorrentSums::default() {
            true => self.missed.remove(&hash),
            false => self.missed.insert(hash, now),
        };
        let before = before.unwrap_or_default();
        let (paid, earned) = (now.paid.min(before.paid), now.earned.min(before.earned));
        if paid.is_zero() && earned.is_zero() {
            return (0, 0);
        }
        let down = bytes_of(paid, of.price.unwrap_or(max_price));
        let up = bytes_of(earned, price);
        self.add(day, hash, None, down, up);
        self.add_units(hash, (paid, None), earned);
        self.missed.remove(&hash);
        (down, up)
    }

    /// Bytes of a torrent, ever: received and sent.
    pub fn of(&self, hash: InfoHash) -> (u64, u64) {
        let hash = hash.to_string();
        let mut sum = Bytes::default();
        for bytes in self
            .days
            .values()
            .filter_map(|torrents| torrents.get(&hash))
        {
            sum.add(bytes.down, bytes.up);
        }
        (sum.down, sum.up)
    }

    /// Bytes by the keys of a report. What peers moved that are not noted one by one has no key.
    pub fn by_key(&self, kind: Kind, by: By, range: Range) -> BTreeMap<String, u64> {
        let mut sums = sums(&self.days, kind, by, range);
        if by == By::Peer {
            let peers = self::sums(&self.peers, kind, by, range);
            let noted = peers.values().fold(0u64, |a, b| a.saturating_add(*b));
            let all = sums.values().fold(0u64, |a, b| a.saturating_add(*b));
            sums = peers;
            if all > noted {
                sums.insert(String::new(), all - noted);
            }
        }
        sums.retain(|_, bytes| *bytes > 0);
        sums
    }
}

fn sum(a: Units, b: Units) -> Units {
    a.checked_add(b).unwrap_or(a)
}

/// Bytes that so many units pay for.
fn bytes_of(units: Units, price: PricePerGib) -> u64 {
    let bytes = u128::from(units.0) * GIB / u128::from(price.get().max(1));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn sums(days: &Days, kind: Kind, by: By, range: Range) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (day, parts) in days.iter().filter(|(day, _)| range.holds(Day(**day))) {
        for (part, bytes) in parts {
            let key = match by {
                By::Torrent | By::Peer => part.clone(),
                by => report::key_of_day(Day(*day), by),
            };
            let amount = match kind {
                Kind::Earnings => bytes.up,
                Kind::Spending => bytes.down,
            };
            let sum = sums.entry(key).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Traffic {
        fn write(&mut self, home: &Path) -> std::io::Result<()> {
            let copy = self.copy_all()?;
            copy.map_or(Ok(()), |copy| copy.write(home))
        }

        fn write_recent(&mut self, home: &Path) -> std::io::Result<()> {
            let copy = self.copy_recent()?;
            copy.map_or(Ok(()), |copy| copy.write(home))
        }
    }

    #[test]
    fn what_an_earlier_version_left_has_the_bytes_of_all_that_was_paid() {
        let dir = tempfile::tempdir().expect("a directory");
        let hash = InfoHash([1; 20]);
        let file = format!(r#"{{"days":{{"1":{{"{hash}":{{"down":70,"up":0}}}}}}}}"#);
        std::fs::write(dir.path().join(FILE), file).expect("written");
        let mut traffic = Traffic::read(dir.path());
        let paid = TorrentSums {
            paid: Units(9),
            earned: Units(3),
        };
        traffic.begin(&[(hash, paid)].into());
        let price = PricePerGib::new(1000).expect("a price");
        let prices = (price, price);
        for _ in 0..3 {
            assert_eq!(traffic.make_up(Day(2), hash, paid, prices), (0, 0));
        }
        assert_eq!(traffic.of(hash), (70, 0));
    }

    #[test]
    fn what_comes_right_after_a_start_is_there_after_a_kill() {
        let dir = tempfile::tempdir().expect("a directory");
        let hash = InfoHash([1; 20]);
        for round in 1..4 {
            let mut traffic = Traffic::read(dir.path());
            traffic.add(Day(1), hash, None, 10, 1);
            traffic.write_recent(dir.path()).expect("written");
            drop(traffic);
            let mut traffic = Traffic::read(dir.path());
            assert_eq!(traffic.of(hash), (10 * round, round));
            traffic.write(dir.path()).expect("written");
        }
    }

    #[test]
    fn bytes_by_torrent_and_by_peer_have_their_own_sums() {
        let mut traffic = Traffic::default();
        let hash = |byte: u8| InfoHash([byte; 20]);
        let peer = |port: u16| Some(SocketAddr::from(([10, 0, 0, 1], port)));
        traffic.add(Day(1), hash(1), peer(1), 10, 1);
        traffic.add(Day(1), hash(2), peer(1), 20, 2);
        traffic.add(Day(2), hash(1), peer(2), 40, 4);
        traffic.add(Day(2), hash(1), None, 80, 8);
        let all = Range::default();
        let up = traffic.by_key(Kind::Earnings, By::Peer, all);
        let wanted = [("", 8u64), ("10.0.0.1:1", 3), ("10.0.0.1:2", 4)];
        assert_eq!(up, wanted.map(|(key, sum)| (key.to_owned(), sum)).into());
        let down = traffic.by_key(Kind::Spending, By::Torrent, all);
        assert_eq!(down.values().copied().collect::<Vec<_>>(), [130, 20]);
        let first = Range {
            since: None,
            until: Some(Day(1)),
        };
        let down = traffic.by_key(Kind::Spending, By::Day, first);
        assert_eq!(down.values().sum::<u64>(), 30);
        assert_eq!(traffic.of(hash(1)), (130, 13));
        for by in [By::Day, By::Week, By::Month, By::Torrent, By::Peer] {
            let down = traffic.by_key(Kind::Spending, by, all);
            assert_eq!(down.values().sum::<u64>(), 150, "by {by:?}");
        }
    }

    #[test]
    fn what_was_written_before_peers_were_noted_is_read() {
        let read: Traffic = serde_json::from_str(r#"{"days":{}}"#).expect("is read");
        assert_eq!(read, Traffic::default());
    }

    fn price(units: u64) -> PricePerGib {
        PricePerGib::new(units).expect("a price")
    }

    #[test]
    fn a_kill_after_any_write_loses_nothing_of_it_and_counts_nothing_twice() {
        let home = tempfile::tempdir().expect("a directory");
        let hash = InfoHash([1; 20]);
        let peer = Some(SocketAddr::from(([10, 0, 0, 1], 1)));
        let mut traffic = Traffic::read(home.path());
        let mut down = 0;
        for step in 0..12_u64 {
            traffic.add(Day(1), hash, peer, 100 + step, step);
            traffic.add_units(hash, (Units(1), Some(price(2000))), Units::ZERO);
            down += 100 + step;
            traffic.write_recent(home.path()).expect("writes");
            if step % 5 == 4 {
                traffic.write(home.path()).expect("writes");
            }
            let left = Traffic::left_in(home.path()).expect("is there");
            assert_eq!(left.of(hash).0, down, "after step {step}");
            let by_peer = left.by_key(Kind::Spending, By::Peer, Range::default());
            assert_eq!(by_peer["10.0.0.1:1"], down, "after step {step}");
            if step % 3 == 2 {
                // Killed.
                traffic = Traffic::read(home.path());
            }
        }
        let covered = traffic.covered.expect("noted")[&hash.to_string()];
        assert_eq!(
            (covered.paid, covered.price),
            (Units(12), Some(price(2000)))
        );
    }

    #[test]
    fn units_without_bytes_are_made_up_for_once_and_only_when_they_stay() {
        let hash = InfoHash([1; 20]);
        let prices = (price(16_384), price(1024));
        let sums = |paid, earned| TorrentSums {
            paid: Units(paid),
            earned: Units(earned),
        };
        let mut traffic = Traffic::default();
        traffic.begin(&BTreeMap::new());
        // On its way: the connection's own figures come a look later.
        assert_eq!(traffic.make_up(Day(1), hash, sums(2, 0), prices), (0, 0));
        traffic.add(Day(1), hash, None, 1 << 20, 0);
        traffic.add_units(hash, (Units(2), Some(price(2048))), Units::ZERO);
        assert_eq!(traffic.make_up(Day(1), hash, sums(2, 0), prices), (0, 0));
        // Lost: three units at the price that was paid last, and one that was earned.
        assert_eq!(traffic.make_up(Day(1), hash, sums(5, 1), prices), (0, 0));
        let made_up = traffic.make_up(Day(1), hash, sums(5, 1), prices);
        assert_eq!(made_up, (3 << 19, 1 << 20));
        for _ in 0..3 {
            assert_eq!(traffic.make_up(Day(1), hash, sums(5, 1), prices), (0, 0));
        }
        assert_eq!(traffic.of(hash), ((1 << 20) + (3 << 19), 1 << 20));
    }

    #[test]
    fn what_was_paid_before_units_were_noted_is_not_made_up_for() {
        let hash = InfoHash([1; 20]);
        let mut traffic: Traffic = serde_json::from_str(r#"{"days":{}}"#).expect("is read");
        let sums = TorrentSums {
            paid: Units(9),
            earned: Units(9),
        };
        traffic.begin(&BTreeMap::from([(hash, sums)]));
        for _ in 0..3 {
            let made_up = traffic.make_up(Day(1), hash, sums, (price(16), price(16)));
            assert_eq!(made_up, (0, 0));
        }
    }
}
