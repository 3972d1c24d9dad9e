//! An engine: one librqbit session, and the torrents in it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use librqbit::api::TorrentIdOrHash;
use librqbit::storage::StorageFactoryExt;
use librqbit::{
    AddTorrentOptions, ConnectionOptions, ListenerMode, ListenerOptions, PeerConnectionOptions,
    Session, SessionOptions, SessionPersistenceConfig,
};
use librqbit_core::hash_id::Id20;
use librqbit_core::peer_id::generate_azereus_style;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::durable;
use super::fetch::fetch;
use super::handle::{self, Handle, Ready, Stage};
use super::memory::{Budget, MemoryUse};
use super::notes::Notes;
use super::rest::{self, Rest};
use super::storage::{Ledgers, PieceStorageFactory};
use super::threads::{CHECKS, Threads};
use super::{AddTorrent, EngineConfig, EngineError, TorrentSource};
use crate::torrent::{Magnet, Metainfo};
use crate::units::InfoHash;

/// What librqbit asks for at a time.
const BLOCK_BYTES: u64 = 16 * 1024;
/// Fewest blocks asked of one peer at a time, and librqbit's own number of them.
const LEAST_WINDOW: usize = 16;
const MOST_WINDOW: usize = 128;

/// One librqbit session, on threads of its own; in plain mode on the caller's runtime, which must be
/// multi-threaded then, as librqbit blocks its worker for disk and hashing. [`Engine::stop`] ends it
/// in order, dropping it at once.
pub struct Engine {
    pub(super) inner: Arc<Inner>,
    listen_addr: SocketAddr,
    peer_id: [u8; 20],
}

pub(super) struct Inner {
    own: Weak<Inner>,
    pub(super) session: Arc<Session>,
    pub(super) trackers: Vec<String>,
    /// Of verified pieces.
    pub(super) notes: Option<Notes>,
    budget: Arc<Budget>,
    pub(super) ledgers: Ledgers,
    /// `None` in plain mode.
    factory: Option<PieceStorageFactory>,
    /// `None` in plain mode.
    threads: Option<Arc<Threads>>,
    pub(super) torrents: Mutex<HashMap<InfoHash, Handle>>,
    /// Told whenever the check of a torrent's files has ended.
    checked: Notify,
    /// The number of the next torrent in librqbit, which would give one number to two that are added at once,
    /// and take the second for the first.
    next_number: AtomicUsize,
}

impl Engine {
    /// Starts a session: it listens when this returns.
    ///
    /// # Errors
    /// [`EngineError::Start`] if the address is taken or the proxy's URL is wrong,
    /// [`EngineError::Tracker`] if a tracker's URL is.
    pub async fn start(config: EngineConfig) -> Result<Engine, EngineError> {
        let is_url = |tracker: &&String| url::Url::parse(tracker).is_err();
        if let Some(wrong) = config.trackers.iter().find(is_url) {
            return Err(EngineError::Tracker(wrong.clone()));
        }
        // Every file of every torrent is kept open; failing to raise the limit shows when adding.
        let _ = librqbit::try_increase_nofile_limit();
        let budget = Budget::new(config.piece_memory_bytes);
        let ledgers = Ledgers::default();
        let peer_id = generate_azereus_style(*b"DY", (0, 1, 0, 0));
        let mut options = session_options(&config, peer_id);
        let factory = (!config.plain).then(|| PieceStorageFactory {
            files: librqbit::storage::filesystem::FilesystemStorageFactory::default(),
            looks_in: None,
            budget: Arc::clone(&budget),
            ledgers: Arc::clone(&ledgers),
            sink: Arc::clone(&config.on_piece),
        });
        options.default_storage_factory = factory.clone().map(StorageFactoryExt::boxed);
        let notes = config.resume_dir.map(Notes::open);
        let listen = config.listen;
        let failed = |reason: String| EngineError::Start { listen, reason };
        let threads = match config.plain {
            true => None,
            false => Some(Threads::start().map_err(|error| failed(error.to_string()))?),
        };
        let start = Session::new_with_opts(PathBuf::new(), options);
        let started = match &threads {
            Some(threads) => threads.session(start).await,
            None => start.await,
        };
        let session = started.map_err(|error| failed(format!("{error:#}")))?;
        let engine = Engine {
            listen_addr: session.listen_addr().unwrap_or(listen),
            peer_id: peer_id.0,
            inner: Arc::new_cyclic(|own| Inner {
                own: own.clone(),
                session,
                trackers: config.trackers,
                notes,
                budget,
                ledgers,
                factory,
                threads: threads.map(Arc::new),
                torrents: Mutex::default(),
                checked: Notify::new(),
                next_number: AtomicUsize::default(),
            }),
        };
        if let Some(times) = config.rest {
            tokio::spawn(rest::look_after(engine.weak(), times));
        }
        Ok(engine)
    }

    pub(super) fn weak(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// Where it listens for peers.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen_addr
    }

    /// Its peer id in handshakes.
    #[must_use]
    pub fn peer_id(&self) -> [u8; 20] {
        self.peer_id
    }

    /// Memory that unfinished pieces hold.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.inner.budget.usage()
    }

    pub(super) fn session(&self) -> &Session {
        &self.inner.session
    }

    /// Adds a torrent and starts it. Returns at once for a magnet link, whose metadata is then
    /// asked of peers until some peer gives it or the torrent is removed. A torrent that is there
    /// already is returned as it is.
    ///
    /// # Errors
    /// [`EngineError`]: the description is unusable, content exists, or files cannot be made.
    pub async fn add(&self, add: AddTorrent) -> Result<Handle, EngineError> {
        let (info_hash, known) = match &add.source {
            TorrentSource::Bytes(bytes) => known(Metainfo::decode(bytes)?.into()),
            TorrentSource::Metainfo(metainfo) => known(Arc::clone(metainfo)),
            TorrentSource::Magnet(link) => {
                let magnet = Magnet::parse(link)?;
                (magnet.info_hash, Err(magnet))
            }
        };
        let (handle, is_new) = self.enter(info_hash, add.looks_only);
        if !is_new {
            return Ok(handle);
        }
        match known {
            Ok(metainfo) => {
                let ready = self.inner.take(metainfo, &add).await;
                let ready = ready.inspect_err(|error| {
                    handle.stage.send_replace(Stage::Failed(error.clone()));
                    self.inner.torrents.lock().remove(&info_hash);
                    self.inner.ledgers.lock().remove(&info_hash);
                })?;
                self.inner.set_ready(&handle, ready);
            }
            Err(magnet) => {
                let fetch = fetch(Arc::downgrade(&self.inner), handle.clone(), magnet, add);
                tokio::spawn(fetch);
            }
        }
        Ok(handle)
    }

    /// The torrent's handle, new unless it is there and has not failed to be added.
    fn enter(&self, info_hash: InfoHash, looks_only: bool) -> (Handle, bool) {
        let mut torrents = self.inner.torrents.lock();
        if let Some(there) = torrents.get(&info_hash)
            && matches!(*there.stage.borrow(), Stage::Fetching | Stage::Ready(_))
        {
            return (there.clone(), false);
        }
        let handle = Handle {
            info_hash,
            session: Arc::downgrade(&self.inner.session),
            threads: self.inner.threads.clone(),
            stage: Arc::new(watch::Sender::new(Stage::Fetching)),
            rest: Arc::new(Rest::default()),
            looks_only,
        };
        torrents.insert(info_hash, handle.clone());
        (handle, true)
    }

    /// A torrent that was added.
    #[must_use]
    pub fn get(&self, info_hash: InfoHash) -> Option<Handle> {
        self.inner.torrents.lock().get(&info_hash).cloned()
    }

    /// Returns when checks of files have ended since it last did; for one who waits.
    pub async fn has_checked(&self) {
        self.inner.checked.notified().await;
    }

    /// All torrents that were added, in no order.
    #[must_use]
    pub fn torrents(&self) -> Vec<Handle> {
        self.inner.torrents.lock().values().cloned().collect()
    }

    /// Stops all torrents and the session, and notes which pieces there are; takes about a second, and as long
    /// as the disk takes for what was written lately.
    pub async fn stop(&self) {
        self.inner.session.stop().await;
        if let Some(notes) = &self.inner.notes {
            for handle in self.torrents() {
                let Stage::Ready(ready) = handle.stage.borrow().clone() else {
                    continue;
                };
                let session = Arc::clone(&self.inner.session);
                let have = handle::have(session, handle.info_hash, &ready.metainfo);
                if have.is_none() && ready.is_half_checked() {
                    notes.take_away(handle.info_hash);
                    continue;
                }
                notes.finish(&ready, have.as_ref()).await;
            }
            notes.close().await;
        }
        self.let_go();
    }

    fn let_go(&self) {
        for (_, handle) in self.inner.torrents.lock().drain() {
            handle.stage.send_replace(Stage::Gone);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.inner.session.cancellation_token().cancel();
        self.let_go();
    }
}

type Known = Result<Arc<Metainfo>, Magnet>;

fn known(metainfo: Arc<Metainfo>) -> (InfoHash, Known) {
    (metainfo.info_hash(), Ok(metainfo))
}

fn session_options(config: &EngineConfig, peer_id: Id20) -> SessionOptions {
    SessionOptions {
        dht: None,
        disable_local_service_discovery: true,
        concurrent_init_limit: Some(CHECKS),
        persistence: config.resume_dir.clone().map(|folder| {
            // Which torrents there are is not librqbit's to remember, only which pieces are good.
            let _ = std::fs::remove_file(folder.join("session.json"));
            SessionPersistenceConfig::Json {
                folder: Some(folder),
            }
        }),
        fastresume: config.resume_dir.is_some(),
        peer_id: Some(peer_id),
        client_name_and_version: Some(concat!("DPay ", env!("CARGO_PKG_VERSION")).to_owned()),
        listen: Some(ListenerOptions {
            mode: ListenerMode::TcpOnly,
            listen_addr: config.listen,
            announce_port: config.announce_port,
            enable_upnp_port_forwarding: false,
            ..ListenerOptions::default()
        }),
        connect: Some(ConnectionOptions {
            proxy_url: config.socks_url.clone(),
            ..ConnectionOptions::default()
        }),
        ..SessionOptions::default()
    }
}

impl Inner {
    /// Gives librqbit a torrent that was found sound.
    pub(super) async fn take(
        &self,
        metainfo: Arc<Metainfo>,
        add: &AddTorrent,
    ) -> Result<Ready, EngineError> {
        let info_hash = metainfo.info_hash();
        let content_path = add.output_dir.join(metainfo.name());
        if !add.overwrite && content_path.symlink_metadata().is_ok() {
            return Err(EngineError::Exists(content_path));
        }
        let folder = match metainfo.is_multi_file() {
            true => &content_path,
            false => &add.output_dir,
        };
        let looking = self.factory.clone().filter(|_| add.looks_only);
        let looking = looking.map(|factory| PieceStorageFactory {
            looks_in: Some(folder.clone()),
            ..factory
        });
        let folder = folder.to_str().map(str::to_owned);
        let options = AddTorrentOptions {
            preferred_id: Some(self.next_number.fetch_add(1, Ordering::Relaxed)),
            overwrite: true,
            output_folder: Some(folder.ok_or_else(|| EngineError::Folder(add.output_dir.clone()))?),
            initial_peers: Some(add.initial_peers.clone()),
            only_files: add.only_files.clone(),
            paused: add.paused,
            trackers: (!metainfo.is_private()).then(|| self.trackers.clone()),
            storage_factory: looking.map(StorageFactoryExt::boxed),
            peer_opts: self.threads.is_some().then(|| PeerConnectionOptions {
                max_request_window: Some(request_window(metainfo.length_bytes())),
                ..PeerConnectionOptions::default()
            }),
            ..AddTorrentOptions::default()
        };
        let before = (self.notes.as_ref()).map(|notes| (notes, notes.doubt(&metainfo)));
        // Written anew from what was read: librqbit sees the info dictionary and trackers only.
        let source = librqbit::AddTorrent::from_bytes(asked(&metainfo).encode());
        let session = Arc::clone(&self.session);
        let adding = async move { session.add_torrent(source, Some(options)).await };
        let added = match &self.threads {
            Some(threads) => threads.torrents(adding).await,
            None => adding.await,
        };
        let managed = match added {
            Ok(response) => response.into_handle(),
            Err(error) => {
                if let Some((notes, before)) = before {
                    notes.put_back(info_hash, before);
                }
                return Err(add_failed(info_hash, format!("{error:#}")));
            }
        };
        let managed = managed.ok_or_else(|| add_failed(info_hash, "bug: only listed".into()))?;
        let taken = managed.info_hash();
        if taken.0 != info_hash.0 {
            let reason = format!("bug: it was taken for {}", hex::encode(taken.0));
            return Err(add_failed(info_hash, reason));
        }
        let ledger = self.ledgers.lock().get(&info_hash).cloned();
        Ok(Ready {
            managed,
            metainfo,
            content_path,
            ledger: ledger.filter(|_| self.threads.is_some()),
            found: OnceLock::new(),
        })
    }

    /// Makes a torrent usable through its handle, unless it was removed meanwhile.
    pub(super) fn set_ready(&self, handle: &Handle, ready: Ready) {
        let ready = Arc::new(ready);
        let now_ready = handle.stage.send_if_modified(|stage| {
            let waited_for = matches!(stage, Stage::Fetching);
            if waited_for {
                *stage = Stage::Ready(Arc::clone(&ready));
            }
            waited_for
        });
        if now_ready {
            let inner = self.own.clone();
            tokio::spawn(note_found(inner, handle.clone(), ready));
            return;
        }
        let session = Arc::clone(&self.session);
        let id = TorrentIdOrHash::Hash(Id20::new(handle.info_hash.0));
        tokio::spawn(async move { session.delete(id, false).await });
    }
}

/// What librqbit is given: of a private torrent it asks one tracker, and takes any where there are several.
fn asked(metainfo: &Arc<Metainfo>) -> Arc<Metainfo> {
    let first = metainfo.trackers().iter().flatten().next();
    match first.filter(|_| metainfo.is_private()) {
        Some(first) => Arc::new(Metainfo::clone(metainfo).with_trackers(vec![vec![first.clone()]])),
        None => Arc::clone(metainfo),
    }
}

/// Blocks asked of one peer at a time: at most an eighth of the torrent, so that of a small one every
/// seeder gets a share, and never less than keeps a connection busy.
fn request_window(length_bytes: u64) -> usize {
    let blocks = usize::try_from(length_bytes / BLOCK_BYTES).unwrap_or(usize::MAX);
    (blocks / 8).clamp(LEAST_WINDOW, MOST_WINDOW)
}

fn add_failed(info_hash: InfoHash, reason: String) -> EngineError {
    EngineError::Add { info_hash, reason }
}

/// Notes what librqbit found on the disk as soon as it has looked, and sees to it that what is whole stays there.
async fn note_found(inner: Weak<Inner>, handle: Handle, ready: Arc<Ready>) {
    let mut stages = handle.stage.subscribe();
    while matches!(*stages.borrow_and_update(), Stage::Ready(_)) {
        let Some(session) = handle.session.upgrade() else {
            return;
        };
        if let Some(found) = handle::have(session, handle.info_hash, &ready.metainfo) {
            let _ = ready.found.set(found);
            if let Some(inner) = inner.upgrade() {
                inner.checked.notify_one();
            }
            return durable::settle(inner, &handle, &ready).await;
        }
        let _ = tokio::time::timeout(Duration::from_millis(20), stages.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_is_asked_for_at_most_an_eighth_of_a_small_torrent() {
        assert_eq!(request_window(4 << 20), 32);
        assert_eq!(request_window(1 << 30), MOST_WINDOW);
        assert_eq!(request_window(1), LEAST_WINDOW);
    }
}
