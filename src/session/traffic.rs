//! Bytes sent and received, by day and torrent, and by day and peer, to be compared with what was earned and paid. Kept
//! in `traffic.json`; a crash loses half a minute of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::write_private;
use crate::report::{self, By, Kind, Range};
use crate::units::{Day, InfoHash};

const FILE: &str = "traffic.json";

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

/// Bytes by day and torrent, and by day and peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Traffic {
    days: BTreeMap<u32, BTreeMap<String, Bytes>>,
    /// Of peers that speak `dp_pay`, by address without port.
    #[serde(default)]
    peers: BTreeMap<u32, BTreeMap<String, Bytes>>,
    #[serde(skip)]
    unsaved: bool,
}

impl Traffic {
    /// As it was left.
    pub fn read(home: &Path) -> Traffic {
        let bytes = std::fs::read(home.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// As it was left; none where no node ever noted any.
    pub fn left_in(home: &Path) -> Option<Traffic> {
        home.join(FILE).exists().then(|| Traffic::read(home))
    }

    /// Writes it, where it has changed.
    pub fn write(&mut self, home: &Path) -> std::io::Result<()> {
        if self.unsaved {
            write_private(&home.join(FILE), &serde_json::to_vec(self)?)?;
            self.unsaved = false;
        }
        Ok(())
    }

    /// Notes bytes; `peer` where it speaks `dp_pay`.
    pub fn add(&mut self, day: Day, hash: InfoHash, peer: Option<IpAddr>, down: u64, up: u64) {
        if down == 0 && up == 0 {
            return;
        }
        let torrents = self.days.entry(day.0).or_default();
        torrents.entry(hash.to_string()).or_default().add(down, up);
        if let Some(peer) = peer.map(|peer| peer.to_string()) {
            let peers = self.peers.entry(day.0).or_default();
            if peers.len() < MOST_PEERS || peers.contains_key(&peer) {
                peers.entry(peer).or_default().add(down, up);
            }
        }
        self.unsaved = true;
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

fn sums(
    days: &BTreeMap<u32, BTreeMap<String, Bytes>>,
    kind: Kind,
    by: By,
    range: Range,
) -> BTreeMap<String, u64> {
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

    #[test]
    fn bytes_by_torrent_and_by_peer_have_their_own_sums() {
        let mut traffic = Traffic::default();
        let hash = |byte: u8| InfoHash([byte; 20]);
        let peer = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
        traffic.add(Day(1), hash(1), peer(1), 10, 1);
        traffic.add(Day(1), hash(2), peer(1), 20, 2);
        traffic.add(Day(2), hash(1), peer(2), 40, 4);
        traffic.add(Day(2), hash(1), None, 80, 8);
        let all = Range::default();
        let up = traffic.by_key(Kind::Earnings, By::Peer, all);
        let wanted = [("", 8u64), ("10.0.0.1", 3), ("10.0.0.2", 4)];
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
}
