//! The list of torrents, and the same in JSON: a row is written out when it has changed, so that a list of
//! thousands costs what moves in it.

use std::collections::HashMap;
use std::sync::Arc;

use super::view::{Problem, TorrentList, TorrentRow};
use super::{Session, lock};
use crate::units::InfoHash;

/// Rows as they were last written out. An entry's row is never changed in place while it is here.
#[derive(Debug, Default)]
pub(super) struct Listed(HashMap<InfoHash, (Arc<TorrentRow>, Box<[u8]>)>);

impl Listed {
    /// A `TorrentList` of these rows in JSON.
    fn json(&mut self, rows: &[Arc<TorrentRow>]) -> serde_json::Result<Vec<u8>> {
        if self.0.len() > rows.len().saturating_mul(2) {
            self.0.clear();
        }
        let mut list = br#"{"torrents":["#.to_vec();
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            let known = self.0.get(&row.info_hash);
            match known.filter(|(known, _)| Arc::ptr_eq(known, row)) {
                Some((_, text)) => list.extend_from_slice(text),
                None => {
                    let text = serde_json::to_vec(&**row)?.into_boxed_slice();
                    list.extend_from_slice(&text);
                    self.0.insert(row.info_hash, (Arc::clone(row), text));
                }
            }
        }
        list.extend_from_slice(b"]}");
        Ok(list)
    }
}

impl Session {
    fn rows(&self) -> Result<Vec<Arc<TorrentRow>>, Problem> {
        let run = self.running()?;
        let torrents = lock(&run.torrents);
        let mut rows: Vec<_> = (torrents.values())
            .map(|entry| Arc::clone(&entry.row))
            .collect();
        drop(torrents);
        rows.sort_by_key(|row| (row.added, row.info_hash));
        Ok(rows)
    }

    /// All torrents, in the order in which they were added.
    ///
    /// # Errors
    /// No running node.
    pub fn list(&self) -> Result<TorrentList, Problem> {
        let rows = self.rows()?.into_iter();
        Ok(TorrentList {
            torrents: rows.map(Arc::unwrap_or_clone).collect(),
        })
    }

    /// The same in JSON.
    ///
    /// # Errors
    /// No running node.
    pub fn list_json(&self) -> Result<Vec<u8>, Problem> {
        let (rows, run) = (self.rows()?, self.running()?);
        let json = lock(&run.listed).json(&rows);
        json.map_err(|error| {
            let advice = super::view::Advice::SeeLog;
            Problem::new(
                super::view::ProblemCode::Internal,
                error.to_string(),
                advice,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Units;

    fn row(byte: u8) -> TorrentRow {
        let row = serde_json::json!({
            "info_hash": InfoHash([byte; 20]), "name": format!("\"{byte}\" of many"), "state": "paused",
            "size_bytes": 1, "wanted_bytes": 1, "have_bytes": 0, "progress": 0.5, "down_bytes_per_s": 0,
            "up_bytes_per_s": 0, "sellers": 0, "peers": 0, "seeds": 0, "peers_seen": 0, "price": 1000,
            "units_paid": 0, "units_earned": 0, "pays": true, "downloaded_bytes": 0, "uploaded_bytes": 0,
            "added": byte, "private": false,
        });
        serde_json::from_value(row).expect("a row")
    }

    #[test]
    fn the_list_in_json_is_the_list_whatever_changed_since() {
        let mut listed = Listed::default();
        let mut rows: Vec<_> = (0..20).map(|byte| Arc::new(row(byte))).collect();
        for turn in 0..rows.len() {
            let text = listed.json(&rows).expect("written");
            let list: TorrentList = serde_json::from_slice(&text).expect("reads");
            let wanted: Vec<_> = rows.iter().map(|row| TorrentRow::clone(row)).collect();
            assert_eq!(list.torrents, wanted, "turn {turn}");
            let changed = Arc::make_mut(&mut rows[turn / 2]);
            changed.units_paid = Units(turn as u64);
            changed.error = Some("it \"stopped\"".to_owned());
            if turn % 2 == 1 {
                rows.pop();
            }
        }
        assert_eq!(listed.json(&[]).expect("written"), br#"{"torrents":[]}"#);
        assert!(listed.0.is_empty(), "nothing is kept of those that went");
    }
}
