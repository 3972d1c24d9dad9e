//! Bytes sent and received, by day and torrent, to be compared with what was earned and paid. Kept
//! in `traffic.json`; a crash loses half a minute of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::write_private;
use crate::report::{self, By, Kind, Range};
use crate::units::{Day, InfoHash};

const FILE: &str = "traffic.json";

/// Bytes of one torrent on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bytes {
    down: u64,
    up: u64,
}

/// Bytes by day and torrent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Traffic {
    days: BTreeMap<u32, BTreeMap<String, Bytes>>,
    #[serde(skip)]
    unsaved: bool,
}

impl Traffic {
    /// As it was left.
    pub fn read(home: &Path) -> Traffic {
        let bytes = std::fs::read(home.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Writes it, where it has changed.
    pub fn write(&mut self, home: &Path) -> std::io::Result<()> {
        if self.unsaved {
            write_private(&home.join(FILE), &serde_json::to_vec(self)?)?;
            self.unsaved = false;
        }
        Ok(())
    }

    /// Notes bytes.
    pub fn add(&mut self, day: Day, hash: InfoHash, down: u64, up: u64) {
        if down == 0 && up == 0 {
            return;
        }
        let bytes = self
            .days
            .entry(day.0)
            .or_default()
            .entry(hash.to_string())
            .or_default();
        bytes.down = bytes.down.saturating_add(down);
        bytes.up = bytes.up.saturating_add(up);
        self.unsaved = true;
    }

    /// Bytes by the keys of a report; none where it is by peer, which is not noted.
    pub fn by_key(&self, kind: Kind, by: By, range: Range) -> Option<BTreeMap<String, u64>> {
        if by == By::Peer {
            return None;
        }
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (day, torrents) in &self.days {
            if !range.holds(Day(*day)) {
                continue;
            }
            for (hash, bytes) in torrents {
                let key = match by {
                    By::Torrent => hash.clone(),
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
        Some(sums)
    }
}
