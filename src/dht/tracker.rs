//! An HTTP tracker on loopback that answers the torrent engine from the DHT (BEP 3, BEP 23 compact
//! peers; BEP 5 behind it), so that one DHT node serves both payments and peers.
//!
//! An announce starts a look-up unless one runs, and is answered as soon as the first peers are
//! found; the look-up goes on, announces this machine's gateway and keeps what it found for the
//! next announce. What is seeded asks only as often as it has to be announced. The path holds a random token, so other programs on this machine cannot ask.
//! **Private torrents are refused** (BEP 27): the engine would hand them to any tracker it has.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::query::{self, Announce};
use super::{DhtError, DhtNode};
use crate::units::{InfoHash, UnixMs};
use crate::{clock, random};

/// Seconds until the engine asks again when it has peers.
const INTERVAL_S: u32 = 30;
/// Seconds until it asks again while none are known.
const INTERVAL_WITHOUT_PEERS_S: u32 = 5;
/// Longest wait for the first peers of a look-up.
const FIRST_PEERS_LIMIT: Duration = Duration::from_secs(3);
/// After the first peers, a moment for those that come right behind.
const GATHER: Duration = Duration::from_millis(30);
/// Torrents remembered; the one not asked for longest goes first.
const MAX_TORRENTS: usize = 10_000;
/// Peers remembered per torrent.
const MAX_PEERS: usize = 500;
/// Peers in one answer.
const MAX_PEERS_ANSWERED: usize = 200;
/// A peer that no look-up has shown for this long is forgotten, in milliseconds.
const PEER_LIFE_MS: u64 = 30 * 60_000;
/// Between announcements of one torrent, in milliseconds; nodes forget after some 30 minutes.
const ANNOUNCE_EVERY_MS: u64 = 10 * 60_000;
/// What is seeded is announced at most this much later, each at another time, in milliseconds.
const SPREAD_MS: u64 = 5 * 60_000;

/// Says whether a torrent is known to be private.
pub type IsPrivate = Arc<dyn Fn(&InfoHash) -> bool + Send + Sync>;

/// The tracker. It ends when dropped.
pub struct Tracker {
    addr: SocketAddr,
    url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL holds the token.
        f.debug_struct("Tracker")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Tracker {
    /// Starts a tracker on a free port of 127.0.0.1. It announces this machine at TCP
    /// `gateway_port` for every torrent it is asked for, and refuses those that `is_private` names.
    ///
    /// # Errors
    /// [`DhtError::Bind`].
    pub async fn start(
        node: DhtNode,
        gateway_port: u16,
        is_private: IsPrivate,
    ) -> Result<Tracker, DhtError> {
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let bind = |source| DhtError::Bind { addr: any, source };
        let listener = tokio::net::TcpListener::bind(any).await.map_err(bind)?;
        let addr = listener.local_addr().map_err(bind)?;
        let path = format!("/{}/announce", hex::encode(random::bytes::<16>()));
        let desk = Arc::new(Desk {
            node,
            gateway_port,
            is_private,
            torrents: Mutex::default(),
        });
        let app = Router::new().route(&path, get(announce)).with_state(desk);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the loopback tracker stopped");
            }
        });
        Ok(Tracker {
            addr,
            url: format!("http://{addr}{path}"),
            serving,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The announce URL for the engine. Holds the token: not for logs.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// How far the look-up of a torrent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Looking,
    Found,
    Ended,
}

struct Torrent {
    /// Peers and when a look-up last showed them.
    peers: HashMap<SocketAddrV4, UnixMs>,
    /// The last look-up.
    progress: watch::Receiver<Progress>,
    announced: Option<UnixMs>,
    asked: UnixMs,
}

struct Desk {
    node: DhtNode,
    gateway_port: u16,
    is_private: IsPrivate,
    torrents: Mutex<HashMap<InfoHash, Torrent>>,
}

async fn announce(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let body = match query::parse(query.as_deref().unwrap_or_default()) {
        Ok(announce) => answer(&desk, announce).await,
        Err(reason) => failure(reason),
    };
    ([(CONTENT_TYPE, "text/plain")], body)
}

async fn answer(desk: &Arc<Desk>, announce: Announce) -> Vec<u8> {
    let info_hash = announce.info_hash;
    if (desk.is_private)(&info_hash) {
        return failure("this torrent is private: its peers come from its own trackers only");
    }
    if announce.stopped {
        desk.torrents.lock().remove(&info_hash);
        return success(&[], INTERVAL_S);
    }
    if announce.seeding
        && let Some(rest_s) = desk.rest_s(&info_hash)
    {
        return success(&desk.peers(&info_hash), rest_s);
    }
    let mut progress = desk.look(info_hash);
    let first = progress.wait_for(|progress| *progress != Progress::Looking);
    let found = matches!(
        tokio::time::timeout(FIRST_PEERS_LIMIT, first).await,
        Ok(Ok(progress)) if *progress == Progress::Found
    );
    if found {
        tokio::time::sleep(GATHER).await;
    }
    let peers = desk.peers(&info_hash);
    success(&peers, interval_s(&peers))
}

impl Desk {
    /// Seconds until a torrent that was announced of late is to be announced again.
    fn rest_s(&self, info_hash: &InfoHash) -> Option<u32> {
        let now = clock::now();
        let mut torrents = self.torrents.lock();
        let torrent = torrents.get_mut(info_hash)?;
        torrent.asked = now;
        let due = torrent.announced?.plus_ms(ANNOUNCE_EVERY_MS);
        let spread = SPREAD_MS * u64::from(random::bytes::<1>()[0]) / 256;
        (due > now).then(|| u32::try_from((due.since_ms(now) + spread) / 1000).unwrap_or(u32::MAX))
    }

    /// Starts a look-up unless one runs, and says how to follow it.
    fn look(self: &Arc<Self>, info_hash: InfoHash) -> watch::Receiver<Progress> {
        let now = clock::now();
        let (report, progress) = watch::channel(Progress::Looking);
        let mut torrents = self.torrents.lock();
        match torrents.get_mut(&info_hash) {
            Some(torrent) => {
                torrent.asked = now;
                // The sender lives as long as its look-up.
                if torrent.progress.has_changed().is_ok() {
                    return torrent.progress.clone();
                }
                torrent.progress = progress.clone();
            }
            None => {
                make_room(&mut torrents);
                let torrent = Torrent {
                    peers: HashMap::new(),
                    progress: progress.clone(),
                    announced: None,
                    asked: now,
                };
                torrents.insert(info_hash, torrent);
            }
        }
        drop(torrents);
        tokio::spawn(Arc::clone(self).look_up(info_hash, report));
        progress
    }

    async fn look_up(self: Arc<Self>, info_hash: InfoHash, report: watch::Sender<Progress>) {
        let own = self.own_address().await;
        let mut answers = self.node.get_peers(info_hash);
        while let Some(mut peers) = answers.next().await {
            peers.retain(|peer| Some(*peer) != own);
            if !peers.is_empty() && self.keep(&info_hash, &peers) {
                report.send_replace(Progress::Found);
            }
        }
        report.send_if_modified(|progress| {
            let unfound = *progress == Progress::Looking;
            if unfound {
                *progress = Progress::Ended;
            }
            unfound
        });
        self.announce_when_due(info_hash).await;
    }

    /// The address under which others would show us ourselves.
    async fn own_address(&self) -> Option<SocketAddrV4> {
        let ip = *self.node.public_address().await?.ip();
        Some(SocketAddrV4::new(ip, self.gateway_port))
    }

    /// Remembers peers. False if the torrent was stopped meanwhile.
    fn keep(&self, info_hash: &InfoHash, found: &[SocketAddrV4]) -> bool {
        let now = clock::now();
        let mut torrents = self.torrents.lock();
        let Some(torrent) = torrents.get_mut(info_hash) else {
            return false;
        };
        torrent
            .peers
            .retain(|_, seen| now.since_ms(*seen) < PEER_LIFE_MS);
        for peer in found {
            if torrent.peers.len() < MAX_PEERS || torrent.peers.contains_key(peer) {
                torrent.peers.insert(*peer, now);
            }
        }
        true
    }

    async fn announce_when_due(&self, info_hash: InfoHash) {
        let now = clock::now();
        let due = self.torrents.lock().get(&info_hash).is_some_and(|torrent| {
            torrent
                .announced
                .is_none_or(|last| now.since_ms(last) >= ANNOUNCE_EVERY_MS)
        });
        if !due {
            return;
        }
        match self.node.announce_peer(info_hash, self.gateway_port).await {
            Ok(()) => {
                if let Some(torrent) = self.torrents.lock().get_mut(&info_hash) {
                    torrent.announced = Some(now);
                }
            }
            Err(error) => tracing::info!(%info_hash, %error, "not announced to the DHT yet"),
        }
    }

    /// The peers known, last seen first.
    fn peers(&self, info_hash: &InfoHash) -> Vec<SocketAddrV4> {
        let torrents = self.torrents.lock();
        let Some(torrent) = torrents.get(info_hash) else {
            return Vec::new();
        };
        let mut peers: Vec<_> = torrent
            .peers
            .iter()
            .map(|(peer, seen)| (*seen, *peer))
            .collect();
        peers.sort_unstable_by(|a, b| b.cmp(a));
        peers.truncate(MAX_PEERS_ANSWERED);
        peers.into_iter().map(|(_, peer)| peer).collect()
    }
}

fn make_room(torrents: &mut HashMap<InfoHash, Torrent>) {
    if torrents.len() < MAX_TORRENTS {
        return;
    }
    let oldest = torrents
        .iter()
        .min_by_key(|(_, torrent)| torrent.asked)
        .map(|(info_hash, _)| *info_hash);
    if let Some(oldest) = oldest {
        torrents.remove(&oldest);
    }
}

fn interval_s(peers: &[SocketAddrV4]) -> u32 {
    if peers.is_empty() {
        INTERVAL_WITHOUT_PEERS_S
    } else {
        INTERVAL_S
    }
}

fn success(peers: &[SocketAddrV4], interval_s: u32) -> Vec<u8> {
    let length = peers.len() * 6;
    let mut body = format!("d8:intervali{interval_s}e5:peers{length}:").into_bytes();
    for peer in peers {
        body.extend_from_slice(&peer.ip().octets());
        body.extend_from_slice(&peer.port().to_be_bytes());
    }
    body.push(b'e');
    body
}

fn failure(reason: &str) -> Vec<u8> {
    format!("d14:failure reason{}:{reason}e", reason.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compact_and_ask_again_soon_without_peers() {
        let peer: SocketAddrV4 = "127.0.0.1:258".parse().expect("address");
        assert_eq!(
            success(&[peer], interval_s(&[peer])),
            b"d8:intervali30e5:peers6:\x7f\0\0\x01\x01\x02e"
        );
        assert_eq!(success(&[], interval_s(&[])), b"d8:intervali5e5:peers0:e");
        assert_eq!(failure("no"), b"d14:failure reason2:noe");
    }
}
