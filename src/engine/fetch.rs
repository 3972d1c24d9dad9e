//! A magnet's metadata, asked of peers until one gives it.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use librqbit::{AddTorrentOptions, AddTorrentResponse, Session};
use tokio::task::JoinSet;

use super::handle::{Handle, Stage};
use super::session::Inner;
use super::{AddTorrent, EngineError};
use crate::torrent::{Magnet, Metainfo};

/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Asks peers for a magnet's metadata until one gives it, then adds the torrent.
pub(super) async fn fetch(inner: Weak<Inner>, handle: Handle, magnet: Magnet, mut add: AddTorrent) {
    let mut gone = handle.stage.subscribe();
    let asking = async {
        let (metainfo, peers) = ask_until_known(&inner, &magnet, &add).await?;
        for peer in peers {
            if !add.initial_peers.contains(&peer) {
                add.initial_peers.push(peer);
            }
        }
        let inner = inner.upgrade().ok_or(EngineError::Gone(magnet.info_hash))?;
        let ready = inner.take(Arc::new(metainfo), &add).await?;
        inner.set_ready(&handle, ready);
        Ok::<(), EngineError>(())
    };
    let outcome = tokio::select! {
        outcome = asking => outcome,
        _ = gone.wait_for(|stage| matches!(stage, Stage::Gone)) => Ok(()),
    };
    if let Err(error) = outcome {
        handle.stage.send_if_modified(|stage| {
            let waited_for = matches!(stage, Stage::Fetching);
            if waited_for {
                *stage = Stage::Failed(error);
            }
            waited_for
        });
    }
}

async fn ask_until_known(
    inner: &Weak<Inner>,
    magnet: &Magnet,
    add: &AddTorrent,
) -> Result<(Metainfo, Vec<SocketAddr>), EngineError> {
    let info_hash = magnet.info_hash;
    let failed = |reason: String| EngineError::Metadata { info_hash, reason };
    let mut wait = Duration::from_secs(1);
    loop {
        let engine = inner.upgrade().ok_or(EngineError::Gone(info_hash))?;
        let mut peers = add.initial_peers.clone();
        peers.extend(&magnet.peers);
        let mut link = Magnet::new(info_hash);
        link.trackers.extend_from_slice(&magnet.trackers);
        link.trackers.extend_from_slice(&engine.trackers);
        if peers.is_empty() && link.trackers.is_empty() {
            return Err(failed("the link names no peers and no trackers".into()));
        }
        let session = Arc::clone(&engine.session);
        drop(engine);
        // A task of its own, ended with this one: hostile metadata can make librqbit panic.
        let mut asking = JoinSet::new();
        asking.spawn(ask(session, link.to_string(), peers));
        match asking.join_next().await {
            Some(Ok(Ok((torrent, seen)))) => {
                let whole = Metainfo::decode(&torrent)?;
                let trackers = magnet
                    .trackers
                    .iter()
                    .map(|url| vec![url.clone()])
                    .collect();
                let metainfo = Metainfo::decode_info(whole.info_bytes(), trackers)?;
                return match metainfo.info_hash() == info_hash {
                    true => Ok((metainfo, seen)),
                    false => Err(failed("a peer gave that of another torrent".into())),
                };
            }
            Some(Ok(Err(error))) => tracing::debug!("no metadata of {info_hash} yet: {error:#}"),
            Some(Err(_)) | None => return Err(failed("it is malformed".into())),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// A torrent file that librqbit made from the metadata, and the peers heard of.
async fn ask(
    session: Arc<Session>,
    link: String,
    peers: Vec<SocketAddr>,
) -> anyhow::Result<(bytes::Bytes, Vec<SocketAddr>)> {
    let options = AddTorrentOptions {
        list_only: true,
        output_folder: Some(String::new()),
        initial_peers: Some(peers),
        ..AddTorrentOptions::default()
    };
    let source = librqbit::AddTorrent::from_url(link);
    match session.add_torrent(source, Some(options)).await? {
        AddTorrentResponse::ListOnly(listed) => Ok((listed.torrent_bytes, listed.seen_peers)),
        _ => anyhow::bail!("bug: the torrent was added, not listed"),
    }
}
