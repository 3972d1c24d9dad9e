//! A torrent's row as it is now: from what is kept, what the engine says, and the peers.

use std::io::ErrorKind;

use super::entry::{Entry, row_of};
use super::paying::Paid;
use super::view::{Saying, State, TorrentRow};
use crate::clock;
use crate::engine::{Brief, TorrentState};
use crate::gateway::Why;

/// What the peers of a torrent come to.
#[derive(Clone, Debug, Default)]
pub(super) struct OfPeers {
    pub sellers: u32,
    pub peers: u32,
    pub paid: Paid,
    pub why: Option<Why>,
    /// How many pieces each has.
    pub pieces_have: Vec<u32>,
}

/// A torrent's row as it is now.
pub(super) fn row_now(entry: &mut Entry, of_peers: Option<&OfPeers>) -> TorrentRow {
    let Some(brief) = entry.handle.as_ref().map(|handle| handle.brief()) else {
        let mut row = row_of(&entry.saved);
        row.units_paid = entry.units_paid;
        row.units_earned = entry.units_earned;
        row.waits = renewed(entry).or(row.waits);
        if entry.queued && row.state == State::Checking {
            row.state = State::Queued;
        }
        if let Some(error) = &entry.error {
            row.state = State::Failed;
            row.error = Some(error.clone());
        }
        return row;
    };
    let state = state_of(entry, &brief.state);
    let is_known = match state {
        State::Downloading | State::Seeding | State::Paused => true,
        // What failed before its files were checked has what it had.
        State::Failed => brief.bytes_have > 0,
        _ => false,
    };
    if is_known && entry.saved.have_bytes != brief.bytes_have {
        entry.saved.have_bytes = brief.bytes_have;
        entry.unsaved = true;
    }
    if brief.state == TorrentState::Downloading && entry.saved.completed.take().is_some() {
        // It was whole until its files were checked.
        entry.unsaved = true;
    }
    let mut row = row_of(&entry.saved);
    row.state = state;
    if state != State::Failed {
        row.have_bytes = brief.bytes_have;
    }
    if let TorrentState::Failed(error) = &brief.state {
        row.error = Some(error.clone());
        row.waits = brief.refused.and_then(what_to_mend);
    }
    let wanted = entry.saved.wanted_bytes;
    if brief.state == TorrentState::Seeding && state == State::Seeding && row.completed.is_none() {
        row.completed = Some(clock::now());
    }
    row.progress = match (state, wanted) {
        (State::Seeding, _) => 1.0,
        (_, 0) => 0.0,
        (_, wanted) => (row.have_bytes as f64 / wanted as f64).min(1.0),
    };
    fill_speeds(&mut row, &brief, of_peers);
    row.seeds = seeds(entry, of_peers);
    row.waits = renewed(entry).or(row.waits);
    row.units_paid = entry.units_paid;
    row.units_earned = entry.units_earned;
    row
}

/// What a torrent does that the engine is being given anew: with trackers and peers, or after a yes.
fn renewed(entry: &Entry) -> Option<Saying> {
    let is_renewed = entry.renewing.is_some() && !entry.saved.paused;
    is_renewed.then(|| Saying::new("renewing", "it is being started anew", &[]))
}

/// What a person mends when the system refused something.
fn what_to_mend(refused: ErrorKind) -> Option<Saying> {
    let (code, text) = match refused {
        ErrorKind::StorageFull => ("disk_full", "disk full: make room, then resume"),
        ErrorKind::PermissionDenied => (
            "not_permitted",
            "may not write in its folder: allow it, then resume",
        ),
        ErrorKind::NotFound => (
            "file_gone",
            "a file is gone: put it back, or check the files",
        ),
        ErrorKind::NotADirectory => (
            "no_folder",
            "its folder is a folder no more: put it back, then resume",
        ),
        _ => return None,
    };
    Some(Saying::new(code, text, &[]))
}

fn state_of(entry: &Entry, state: &TorrentState) -> State {
    match state {
        TorrentState::Failed(_) => State::Failed,
        TorrentState::Checking => State::Checking,
        _ if entry.saved.paused => State::Paused,
        TorrentState::FetchingMetadata => State::FetchingMetadata,
        _ if entry.saved.asking => State::Asking,
        TorrentState::Downloading => State::Downloading,
        TorrentState::Seeding => State::Seeding,
        TorrentState::Paused if entry.queued => State::Queued,
        TorrentState::Paused => State::Paused,
    }
}

/// Peers that have all of it, as they say.
fn seeds(entry: &Entry, of_peers: Option<&OfPeers>) -> u32 {
    let Some(of) = of_peers else {
        return 0;
    };
    let metainfo = entry.handle.as_ref().and_then(|handle| handle.metainfo());
    let pieces = metainfo.map_or(u32::MAX, |metainfo| metainfo.piece_count());
    let whole = of.pieces_have.iter().filter(|have| **have >= pieces);
    u32::try_from(whole.count()).unwrap_or(u32::MAX)
}

fn fill_speeds(row: &mut TorrentRow, brief: &Brief, of_peers: Option<&OfPeers>) {
    row.down_bytes_per_s = brief.download_bytes_per_s;
    row.up_bytes_per_s = brief.upload_bytes_per_s;
    row.peers_seen = brief.peers_seen;
    if row.state == State::Downloading && brief.download_bytes_per_s > 0 {
        let missing = row.wanted_bytes.saturating_sub(row.have_bytes);
        row.eta_s = Some(missing.div_ceil(brief.download_bytes_per_s));
    }
    if let Some(of) = of_peers {
        row.peers = of.peers;
        row.sellers = of.sellers;
        row.paying_price = of.paid.price();
        if row.state == State::Downloading && brief.download_bytes_per_s == 0 {
            row.waits = of.why.map(Saying::from);
        }
    }
    if row.state == State::Downloading && row.peers == 0 {
        row.waits = Some(Saying::new("no_peers", "no peers yet", &[]));
    }
}
