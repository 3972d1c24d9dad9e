//! Looking at one torrent: files, pieces, peers, channels, trackers, log.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::run::{Running, SeenPeer};
use super::view::event::Log;
use super::view::{
    Advice, ChannelRow, FileRow, PeerRow, PieceMap, Problem, ProblemCode, Side, TorrentDetail,
    TrackerRow, Transport,
};
use super::{Session, lock};
use crate::torrent::{Magnet, Metainfo};
use crate::units::{InfoHash, Units};
use crate::wallet::keeping::settled_by;

/// Lines of a torrent's log.
const LOG_LINES: usize = 500;
/// Kinds of files that browsers play or show without running anything in them.
const SHOWN: [&str; 3] = ["video/", "audio/", "image/"];

/// The media type of a file that a browser can play or show without running anything.
pub(super) fn media_type(name: &str) -> Option<String> {
    let kind = mime_guess::from_path(name).first()?.to_string();
    // Pictures in SVG can hold scripts.
    let safe = SHOWN.iter().any(|shown| kind.starts_with(shown)) && !kind.contains("svg");
    safe.then_some(kind)
}

impl Session {
    /// One torrent in full.
    ///
    /// # Errors
    /// Unknown torrent, no running node.
    pub fn detail(&self, hash: InfoHash) -> Result<TorrentDetail, Problem> {
        let run = self.running()?;
        let entry = run.entry(hash)?;
        let metainfo = run.metainfo(hash);
        let about =
            |of: fn(&Metainfo) -> Option<&str>| metainfo.as_deref().and_then(of).map(str::to_owned);
        let mut magnet = Magnet::new(hash);
        magnet.name = Some(entry.saved.name.clone());
        if let Some(metainfo) = &metainfo {
            magnet.trackers = metainfo.trackers().iter().flatten().cloned().collect();
        }
        let failed = entry
            .handle
            .as_ref()
            .map(|handle| handle.progress().pieces_failed);
        Ok(TorrentDetail {
            terms: entry.saved.terms,
            content: metainfo.as_ref().map(|metainfo| {
                entry
                    .saved
                    .folder
                    .join(metainfo.name())
                    .display()
                    .to_string()
            }),
            folder: entry.saved.folder.display().to_string(),
            files: metainfo
                .as_ref()
                .map_or(0, |m| u32::try_from(m.files().len()).unwrap_or(u32::MAX)),
            pieces: metainfo.as_ref().map_or(0, |m| m.piece_count()),
            piece_bytes: metainfo.as_ref().map_or(0, |m| m.piece_length_bytes()),
            pieces_failed: failed.unwrap_or(0),
            comment: about(Metainfo::comment),
            created_by: about(Metainfo::created_by),
            magnet: magnet.to_string(),
            automatic: entry.saved.automatic,
            row: Arc::unwrap_or_clone(entry.row),
        })
    }

    /// A torrent's files, without padding.
    ///
    /// # Errors
    /// Unknown torrent, metadata not known, no running node.
    pub fn files(&self, hash: InfoHash) -> Result<Vec<FileRow>, Problem> {
        let run = self.running()?;
        let entry = run.entry(hash)?;
        let metainfo = known(&run, hash)?;
        let have = entry.handle.as_ref().map(|handle| handle.file_bytes_have());
        let have = have.unwrap_or_default();
        let is_whole = entry.saved.have_bytes >= entry.saved.size_bytes;
        let files = metainfo
            .files()
            .iter()
            .zip(0u32..)
            .filter(|(file, _)| !file.padding);
        let row = |(file, index): (&crate::torrent::TorrentFile, u32)| FileRow {
            index,
            path: crate::torrent::printable(&file.path.join("/")),
            size_bytes: file.length_bytes,
            have_bytes: match have.get(index as usize) {
                Some(have) => *have,
                None if is_whole => file.length_bytes,
                None => 0,
            },
            wanted: entry.saved.wants(index),
            media_type: file.path.last().and_then(|name| media_type(name)),
        };
        Ok(files.map(row).collect())
    }

    /// Which pieces are there.
    ///
    /// # Errors
    /// Unknown torrent, metadata not known, no running node.
    pub fn pieces(&self, hash: InfoHash) -> Result<PieceMap, Problem> {
        let run = self.running()?;
        let entry = run.entry(hash)?;
        let metainfo = known(&run, hash)?;
        let have = entry
            .handle
            .as_ref()
            .and_then(|handle| handle.pieces_have());
        let have = have.unwrap_or_else(|| crate::torrent::PieceSet::new(metainfo.piece_count()));
        Ok(PieceMap {
            pieces: metainfo.piece_count(),
            have: have.count(),
            bitmap: STANDARD.encode(have.as_bitfield()),
        })
    }

    /// A torrent's connected peers.
    ///
    /// # Errors
    /// Unknown torrent, no running node.
    pub fn peers(&self, hash: InfoHash) -> Result<Vec<PeerRow>, Problem> {
        let run = self.running()?;
        run.entry(hash)?;
        let pieces = run.metainfo(hash).map_or(0, |known| known.piece_count());
        let peers = lock(&run.peers);
        let mut rows: Vec<PeerRow> = peers
            .values()
            .filter(|peer| !peer.is_gone && peer.snapshot.info_hash == Some(hash))
            .map(|peer| peer_row(peer, pieces))
            .collect();
        rows.sort_by_key(|row| row.connection);
        Ok(rows)
    }

    /// Channels that are not settled, of one torrent or of all.
    ///
    /// # Errors
    /// No running node.
    pub async fn channels(&self, of: Option<InfoHash>) -> Result<Vec<ChannelRow>, Problem> {
        let run = self.running()?;
        if let Some(hash) = of {
            run.entry(hash)?;
        }
        let open = run.node.wallet.open_channels().await;
        let open = open.map_err(|error| super::money::problem(&error))?;
        let ours = open.spent.iter().map(|spent| ChannelRow {
            spend: spent.spend.to_string(),
            side: Side::Payer,
            info_hash: spent.info_hash,
            peer: spent.peer.clone(),
            units_ticked: Units(u64::from(spent.last_k)),
            units_value: spent.holding.value,
            accepted: None,
            closing: false,
            opened: Some(spent.since),
            until: Some(settled_by(spent.holding.expires, open.hold_ms)),
        });
        let theirs = open.received.iter().map(|received| ChannelRow {
            spend: received.spend.to_string(),
            side: Side::Payee,
            info_hash: received.info_hash,
            peer: received.peer.clone(),
            units_ticked: Units(u64::from(received.k)),
            units_value: received.holding.value,
            accepted: Some(received.accepted),
            closing: received.close.is_some(),
            opened: None,
            until: Some(settled_by(received.holding.expires, open.hold_ms)),
        });
        let all = ours.chain(theirs);
        Ok(all
            .filter(|row| of.is_none_or(|hash| hash == row.info_hash))
            .collect())
    }

    /// A torrent's trackers.
    ///
    /// # Errors
    /// Unknown torrent, no running node.
    pub fn trackers(&self, hash: InfoHash) -> Result<Vec<TrackerRow>, Problem> {
        let run = self.running()?;
        let entry = run.entry(hash)?;
        let tiers: Vec<Vec<String>> = match (run.metainfo(hash), &entry.saved.magnet) {
            (Some(metainfo), _) => metainfo.trackers().to_vec(),
            (None, link) => super::sources::tiers_of(link.as_deref()),
        };
        let runs = entry.handle.is_some() && !entry.stands_still();
        let words = &self.book().trackers;
        let first = tiers.iter().flatten().next();
        let row = |url: &String, tier: u32| {
            let mut word = words.word(hash, url).filter(|_| runs).unwrap_or_default();
            if entry.saved.private && first != Some(url) {
                let why = "not asked: of a private torrent only the first tracker is";
                word.error = Some(why.to_owned());
            }
            TrackerRow {
                url: Some(url.clone()),
                tier,
                dht: false,
                works: word.at.map(|_| word.error.is_none()),
                error: word.error,
                peers: word.peers,
                heard: word.at,
                next: word.next,
            }
        };
        let row = &row;
        let rows = tiers.iter().zip(0u32..);
        let mut rows: Vec<TrackerRow> = rows
            .flat_map(|(tier, number)| tier.iter().map(move |url| row(url, number)))
            .collect();
        if !entry.saved.private {
            let tier = u32::try_from(tiers.len()).unwrap_or(u32::MAX);
            let nodes = *lock(&run.dht_nodes);
            rows.push(TrackerRow {
                url: None,
                tier,
                dht: true,
                works: nodes.map(|nodes| nodes > 0),
                error: None,
                peers: nodes,
                heard: None,
                next: None,
            });
        }
        Ok(rows)
    }

    /// A torrent's part of the log.
    ///
    /// # Errors
    /// Unknown torrent, no running node.
    pub fn log_of(&self, hash: InfoHash) -> Result<Log, Problem> {
        self.running()?.entry(hash)?;
        let lines = self.book().tail(0, LOG_LINES, Some(hash));
        Ok(Log { lines })
    }
}

pub(super) fn known(run: &Running, hash: InfoHash) -> Result<std::sync::Arc<Metainfo>, Problem> {
    run.metainfo(hash).ok_or_else(|| {
        Problem::new(
            ProblemCode::Conflict,
            "the metadata of this torrent is not known yet",
            Advice::WaitForMetadata,
        )
    })
}

fn peer_row(seen: &SeenPeer, pieces: u32) -> PeerRow {
    let peer = &seen.snapshot;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    PeerRow {
        connection: peer.connection,
        address: peer
            .address
            .map_or_else(String::new, |address| address.to_string()),
        client: peer.client.clone(),
        transport: Transport::Tcp,
        inbound: peer.inbound,
        progress: match pieces {
            0 => 0.0,
            pieces => (f64::from(peer.has.count()) / f64::from(pieces)).min(1.0),
        },
        dp_pay: peer.dp_pay,
        down_bytes_per_s: seen.down_bytes_per_s,
        up_bytes_per_s: seen.up_bytes_per_s,
        down_bytes: peer.down_bytes,
        verified_bytes: peer.verified_bytes,
        up_bytes: peer.up_bytes,
        free_up_bytes: peer.free_up_bytes,
        price: peer.price,
        units_paid: peer.paid,
        units_earned: peer.earned,
        units_owed: peer.owed,
        window_bytes: peer.window_bytes,
        held_requests: peer.held_requests,
        waits: peer.why.map(Into::into),
        paying_channels: count(peer.paying),
        units_left: peer.left,
        earning_channels: count(peer.earning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_run_is_shown_by_browsers() {
        assert_eq!(media_type("film.mp4").as_deref(), Some("video/mp4"));
        assert_eq!(media_type("a.PNG").as_deref(), Some("image/png"));
        for name in [
            "page.html",
            "picture.svg",
            "script.js",
            "a.xhtml",
            "a.pdf",
            "none",
            "a.svgz",
        ] {
            assert_eq!(media_type(name), None, "{name}");
        }
    }
}
