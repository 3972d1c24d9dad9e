//! A torrent in the engine: what it is, how far it is, pausing it, waiting for it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use librqbit::api::TorrentIdOrHash;
use librqbit::{
    Api, ManagedTorrent, ManagedTorrentState, Session, TorrentStats, TorrentStatsState,
};
use librqbit_core::hash_id::Id20;
use tokio::sync::watch;

use super::EngineError;
use super::ledger::Ledger;
use super::rest::Rest;
use super::threads::Threads;
use crate::torrent::{Metainfo, PieceSet};
use crate::units::InfoHash;

/// How often a state is looked at while waiting; librqbit's own notices can be missed.
const POLL: Duration = Duration::from_millis(50);

/// What a torrent is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorrentState {
    /// Asking peers for a magnet's metadata.
    FetchingMetadata,
    /// Hashing what is on the disk.
    Checking,
    /// Fetching pieces, and serving those it has.
    Downloading,
    /// Complete, and serving.
    Seeding,
    /// Neither fetches nor serves.
    Paused,
    /// Stopped by a failure, which the text describes.
    Failed(String),
}

/// How far a torrent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub state: TorrentState,
    /// Length of all files; 0 until the metadata is known.
    pub bytes_total: u64,
    /// Bytes of verified pieces; while checking, bytes looked at.
    pub bytes_have: u64,
    /// Pieces in all; 0 until the metadata is known.
    pub pieces_total: u32,
    /// Pieces that are good, found or fetched.
    pub pieces_have: u32,
    /// Pieces verified since the torrent was added; 0 in plain mode.
    pub pieces_verified: u32,
    /// Pieces that failed their check since the torrent was added; 0 in plain mode.
    pub pieces_failed: u32,
    /// Payload coming in.
    pub download_bytes_per_s: u64,
    /// Payload going out.
    pub upload_bytes_per_s: u64,
    /// Payload sent since the torrent was last started.
    pub uploaded_bytes: u64,
    /// Connections in use.
    pub peers_live: u32,
    /// Peers ever heard of since the torrent was last started.
    pub peers_seen: u32,
}

/// A torrent librqbit has taken.
pub(super) struct Ready {
    pub managed: Arc<ManagedTorrent>,
    pub metainfo: Arc<Metainfo>,
    pub content_path: PathBuf,
    /// `None` in plain mode.
    pub ledger: Option<Arc<Ledger>>,
    /// What librqbit had when it had checked the files.
    pub found: OnceLock<PieceSet>,
}

impl Ready {
    /// The pieces that were found, and those verified since; `None` until the files were checked.
    pub fn known(&self) -> Option<PieceSet> {
        let mut all = self.found.get()?.clone();
        if let Some(ledger) = &self.ledger {
            all.union(&ledger.verified_set());
        }
        Some(all)
    }

    /// What it had when it failed, if it has failed: librqbit says nothing of it then.
    pub fn left(&self) -> Option<PieceSet> {
        let failed = |state: &ManagedTorrentState| matches!(state, ManagedTorrentState::Error(_));
        self.managed.with_state(failed).then(|| self.known())?
    }

    /// Indexes of these files; none: of all.
    pub fn indexes(&self, files: Option<Vec<usize>>) -> HashSet<usize> {
        let all = || (0..self.metainfo.files().len()).collect();
        files.map_or_else(all, HashSet::from_iter)
    }

    /// Whether it runs; nothing while its files are checked, or it has failed.
    pub fn runs(&self) -> Option<bool> {
        self.managed.with_state(|state| match state {
            ManagedTorrentState::Live(_) => Some(true),
            ManagedTorrentState::Paused(_) => Some(false),
            _ => None,
        })
    }

    /// Bytes of the pieces that it has; while checking, bytes looked at.
    pub fn bytes_have(&self, stats: &TorrentStats) -> u64 {
        let Some(left) = self.left() else {
            return stats.progress_bytes;
        };
        let sizes = left
            .iter()
            .filter_map(|p| self.metainfo.piece_size_bytes(p));
        sizes.map(u64::from).sum()
    }
}

/// How far adding a torrent is: `Fetching` to `Ready` or `Failed`; any to `Gone`.
#[derive(Clone)]
pub(super) enum Stage {
    Fetching,
    Ready(Arc<Ready>),
    Failed(EngineError),
    Gone,
}

/// A torrent in the engine. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct Handle {
    pub(super) info_hash: InfoHash,
    pub(super) session: Weak<Session>,
    /// `None` in plain mode.
    pub(super) threads: Option<Arc<Threads>>,
    pub(super) stage: Arc<watch::Sender<Stage>>,
    pub(super) rest: Arc<Rest>,
    pub(super) looks_only: bool,
}

impl Handle {
    /// Whether both are of one time that it was added.
    #[must_use]
    pub fn is(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.stage, &other.stage)
    }

    /// Which torrent.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Whether it writes nothing ([`AddTorrent::looks_only`](super::AddTorrent::looks_only)).
    #[must_use]
    pub fn looks_only(&self) -> bool {
        self.looks_only
    }

    /// Its description, once known.
    #[must_use]
    pub fn metainfo(&self) -> Option<Arc<Metainfo>> {
        self.ready().ok().map(|ready| Arc::clone(&ready.metainfo))
    }

    /// Whether it is private (BEP 27), once known.
    #[must_use]
    pub fn is_private(&self) -> Option<bool> {
        self.metainfo().map(|metainfo| metainfo.is_private())
    }

    /// Its file, or the folder of its files, once known.
    #[must_use]
    pub fn content_path(&self) -> Option<PathBuf> {
        self.ready().ok().map(|ready| ready.content_path.clone())
    }

    /// The pieces that were good on the disk when the torrent was added; `None` until they are
    /// checked.
    #[must_use]
    pub fn pieces_at_start(&self) -> Option<PieceSet> {
        let ready = self.ready().ok()?;
        let mut found = ready.found.get()?.clone();
        // librqbit was asked just after the check: what it fetched in between was not found.
        if let Some(ledger) = &ready.ledger {
            found.subtract(&ledger.verified_set());
        }
        Some(found)
    }

    /// The pieces that are good now, or were when it failed; `None` while they are being checked.
    #[must_use]
    pub fn pieces_have(&self) -> Option<PieceSet> {
        let session = self.session.upgrade()?;
        let ready = self.ready().ok()?;
        have(session, self.info_hash, &ready.metainfo).or_else(|| ready.left())
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut progress = Progress {
            state: TorrentState::FetchingMetadata,
            bytes_total: 0,
            bytes_have: 0,
            pieces_total: 0,
            pieces_have: 0,
            pieces_verified: 0,
            pieces_failed: 0,
            download_bytes_per_s: 0,
            upload_bytes_per_s: 0,
            uploaded_bytes: 0,
            peers_live: 0,
            peers_seen: 0,
        };
        match self.ready() {
            Ok(ready) => self.measure(&ready, &mut progress),
            Err(EngineError::NotYet(_)) => {}
            Err(error) => progress.state = TorrentState::Failed(error.to_string()),
        }
        progress
    }

    fn measure(&self, ready: &Ready, progress: &mut Progress) {
        let stats = ready.managed.stats();
        progress.state = self.state_of(ready, &stats);
        progress.bytes_total = ready.metainfo.length_bytes();
        progress.bytes_have = ready.bytes_have(&stats);
        progress.pieces_total = ready.metainfo.piece_count();
        progress.uploaded_bytes = stats.uploaded_bytes;
        if let Some(have) = self.pieces_have() {
            progress.pieces_have = have.count();
        }
        if let Some(ledger) = &ready.ledger {
            progress.pieces_verified = ledger.verified_set().count();
            progress.pieces_failed = ledger.failed_count();
        }
        if let Some(live) = stats.live {
            progress.download_bytes_per_s = live.download_speed.as_bytes();
            progress.upload_bytes_per_s = live.upload_speed.as_bytes();
            progress.peers_live = live.snapshot.peer_stats.live;
            progress.peers_seen = live.snapshot.peer_stats.seen;
        }
    }

    pub(super) fn state_of(&self, ready: &Ready, stats: &TorrentStats) -> TorrentState {
        match stats.state {
            TorrentStatsState::Error => {
                // Not librqbit's text, which may hold a backtrace. Which torrent, is known here.
                TorrentState::Failed(match self.check_running(ready) {
                    Err(EngineError::Stopped { reason, .. }) => {
                        format!("{reason}; mend it and resume the torrent")
                    }
                    Err(error) => error.to_string(),
                    Ok(()) => String::new(),
                })
            }
            TorrentStatsState::Paused if self.rest.is_resting() => TorrentState::Seeding,
            TorrentStatsState::Paused => TorrentState::Paused,
            TorrentStatsState::Initializing { .. } => TorrentState::Checking,
            TorrentStatsState::Live if stats.finished => TorrentState::Seeding,
            TorrentStatsState::Live => TorrentState::Downloading,
        }
    }

    /// Waits until its description is known: at once unless it is a magnet's.
    ///
    /// # Errors
    /// Why there will be none.
    pub async fn wait_metadata(&self) -> Result<Arc<Metainfo>, EngineError> {
        let mut stages = self.stage.subscribe();
        let known = stages
            .wait_for(|stage| !matches!(stage, Stage::Fetching))
            .await;
        drop(known);
        self.ready().map(|ready| Arc::clone(&ready.metainfo))
    }

    /// Waits until what is on the disk is checked; from then on it serves, unless paused. Returns
    /// the pieces found good.
    ///
    /// # Errors
    /// Why it will not be.
    pub async fn wait_checked(&self) -> Result<PieceSet, EngineError> {
        self.wait_metadata().await?;
        loop {
            if let Some(found) = self.pieces_at_start() {
                return Ok(found);
            }
            self.check_running(&*self.ready()?)?;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until all pieces are verified and all piece events are out. Waits on while paused.
    ///
    /// # Errors
    /// Why it will not be: removed, failed, or the disk is full.
    pub async fn wait_finished(&self) -> Result<(), EngineError> {
        self.wait_metadata().await?;
        loop {
            let ready = self.ready()?;
            self.check_running(&ready)?;
            let told = ready
                .ledger
                .as_ref()
                .is_none_or(|ledger| ledger.open_count() == 0);
            if told && ready.found.get().is_some() && ready.managed.stats().finished {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops fetching and serving. Pieces not yet complete are fetched anew later. Nothing if it
    /// is paused already.
    ///
    /// # Errors
    /// [`EngineError::NotYet`] for a magnet without metadata, or while its files are checked;
    /// [`EngineError::Stopped`] if it has failed.
    pub async fn pause(&self) -> Result<(), EngineError> {
        let (session, ready) = self.parts()?;
        let _turn = self.rest.end().await;
        match ready.runs() {
            Some(true) => {}
            Some(false) => return Ok(()),
            None => {
                self.check_running(&ready)?;
                return Err(EngineError::NotYet(self.info_hash));
            }
        }
        let paused = session.pause(&ready.managed).await;
        paused.map_err(|error| self.stopped(&error))
    }

    /// Goes on after [`Handle::pause`], or after a failure (then the files are checked anew). Nothing while its
    /// files are checked: that ends as it was begun, see [`Handle::runs`].
    ///
    /// # Errors
    /// As [`Handle::pause`].
    pub async fn resume(&self) -> Result<(), EngineError> {
        let (session, ready) = self.parts()?;
        let _turn = self.rest.end().await;
        let has_failed = self.check_running(&ready).is_err();
        if ready.runs() != Some(false) && !has_failed {
            return Ok(());
        }
        requeue(&session, &ready).await;
        let resumed = self.start(session, ready).await;
        resumed.map_err(|error| self.stopped(&error))
    }

    /// Whether it runs, or rests until somebody wants it; nothing while its files are checked, or it has failed.
    #[must_use]
    pub fn runs(&self) -> Option<bool> {
        let runs = self.ready().ok()?.runs()?;
        Some(runs || self.rest.is_resting())
    }

    /// Whether it does nothing more until it is resumed, or added anew.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match self.ready() {
            Ok(ready) => self.check_running(&ready).is_err(),
            Err(error) => !matches!(error, EngineError::NotYet(_)),
        }
    }

    /// Has librqbit run it.
    pub(super) async fn start(
        &self,
        session: Arc<Session>,
        ready: Arc<Ready>,
    ) -> anyhow::Result<()> {
        let unpausing = async move { session.unpause(&ready.managed).await };
        match &self.threads {
            Some(threads) => threads.torrents(unpausing).await,
            None => unpausing.await,
        }
    }

    pub(super) fn parts(&self) -> Result<(Arc<Session>, Arc<Ready>), EngineError> {
        let ready = self.ready()?;
        let session = self.session.upgrade();
        Ok((session.ok_or(EngineError::Gone(self.info_hash))?, ready))
    }

    pub(super) fn ready(&self) -> Result<Arc<Ready>, EngineError> {
        match &*self.stage.borrow() {
            Stage::Fetching => Err(EngineError::NotYet(self.info_hash)),
            Stage::Ready(ready) => Ok(Arc::clone(ready)),
            Stage::Failed(error) => Err(error.clone()),
            Stage::Gone => Err(EngineError::Gone(self.info_hash)),
        }
    }

    pub(super) fn check_running(&self, ready: &Ready) -> Result<(), EngineError> {
        ready.managed.with_state(|state| match state {
            ManagedTorrentState::Error(error) => Err(self.stopped(error)),
            _ if self.session.strong_count() == 0 => Err(EngineError::Gone(self.info_hash)),
            _ => Ok(()),
        })
    }

    pub(super) fn stopped(&self, error: &anyhow::Error) -> EngineError {
        // What is to be mended first, where it happened behind.
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        let reason = match causes.split_last() {
            Some((cause, [])) => cause.clone(),
            Some((cause, wheres)) => format!("{cause} ({})", wheres.join(": ")),
            None => String::new(),
        };
        EngineError::Stopped {
            info_hash: self.info_hash,
            reason,
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", self.info_hash)
    }
}

/// Makes librqbit fetch anew what it does not have. A piece whose hash check was cut off by the
/// pause is otherwise neither fetched nor had, and the torrent never ends. Taking all files out of
/// the selection and the wanted ones back in while paused does it.
async fn requeue(session: &Arc<Session>, ready: &Ready) {
    let is_paused = |state: &ManagedTorrentState| matches!(state, ManagedTorrentState::Paused(_));
    if !ready.managed.with_state(is_paused) {
        return;
    }
    let wanted = ready.indexes(ready.managed.only_files());
    for files in [HashSet::new(), wanted] {
        if let Err(error) = session.update_only_files(&ready.managed, &files).await {
            tracing::warn!("could not queue unfinished pieces again: {error:#}");
        }
    }
}

/// The pieces librqbit has, if it knows.
pub(super) fn have(
    session: Arc<Session>,
    info_hash: InfoHash,
    metainfo: &Metainfo,
) -> Option<PieceSet> {
    let id = TorrentIdOrHash::Hash(Id20::new(info_hash.0));
    let (bits, _) = Api::new(session, None).api_dump_haves(id).ok()?;
    Some(PieceSet::from_bitfield(
        bits.as_raw_slice(),
        metainfo.piece_count(),
    ))
}

/// Deletes a torrent's files below the folder it was added into, and the folders this leaves empty;
/// that folder itself stays.
///
/// # Errors
/// [`EngineError::Delete`] if a file resists.
pub fn delete_content(metainfo: &Metainfo, output_dir: &Path) -> Result<(), EngineError> {
    let root = match metainfo.is_multi_file() {
        true => output_dir.join(metainfo.name()),
        false => output_dir.to_owned(),
    };
    let mut folders = HashSet::new();
    for file in metainfo.files().iter().filter(|file| !file.padding) {
        let file = file.relative_path();
        let path = root.join(&file);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let reason = error.to_string();
                return Err(EngineError::Delete { path, reason });
            }
            _ => {}
        }
        folders.extend(file.ancestors().skip(1).map(|folder| root.join(folder)));
    }
    let mut folders: Vec<PathBuf> = folders.into_iter().collect();
    folders.sort_unstable_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    for folder in folders.iter().filter(|folder| *folder != output_dir) {
        // Not empty: somebody else's files.
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}
