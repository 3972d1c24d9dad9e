//! What the storage knows of one torrent's pieces and others ask for: verified, failed, open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{PieceEvent, PieceSink};
use crate::torrent::PieceSet;
use crate::units::{InfoHash, PieceIndex};

/// One torrent's pieces since it was added; outlives the storage, which librqbit replaces when a
/// torrent is paused or fails.
pub(super) struct Ledger {
    info_hash: InfoHash,
    sink: PieceSink,
    verified: Mutex<PieceSet>,
    failed: AtomicU32,
    open: AtomicUsize,
    /// Pieces ever begun, and how many had been when the files were last synced.
    begun: AtomicU64,
    synced: AtomicU64,
    /// Told of each verified piece.
    news: Notify,
}

impl Ledger {
    pub fn new(info_hash: InfoHash, pieces: u32, sink: PieceSink) -> Arc<Ledger> {
        Arc::new(Ledger {
            info_hash,
            sink,
            verified: Mutex::new(PieceSet::new(pieces)),
            failed: AtomicU32::new(0),
            open: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            news: Notify::new(),
        })
    }

    /// Notes and tells that `piece` passed its hash check.
    pub fn verified(&self, piece: u32) {
        let piece = PieceIndex(piece);
        self.verified.lock().insert(piece);
        (self.sink)(PieceEvent::Verified {
            info_hash: self.info_hash,
            piece,
        });
        self.news.notify_one();
    }

    /// Waits until a piece is verified that was not heard of yet. For one listener.
    pub async fn heard(&self) {
        self.news.notified().await;
    }

    /// Pieces ever begun: as long as it stays, nothing was written.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Whether something was written since the files were last synced.
    pub fn is_dirty(&self) -> bool {
        self.begun() != self.synced.load(Ordering::Acquire) || self.open_count() > 0
    }

    /// The files were synced when so many pieces had been begun, and none of them was open.
    pub fn note_synced(&self, begun: u64) {
        self.synced.store(begun, Ordering::Release);
    }

    /// Notes and tells that `piece` failed its hash check.
    pub fn failed(&self, piece: u32) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        (self.sink)(PieceEvent::Failed {
            info_hash: self.info_hash,
            piece: PieceIndex(piece),
        });
    }

    /// Pieces verified since the torrent was added.
    pub fn verified_set(&self) -> PieceSet {
        self.verified.lock().clone()
    }

    pub fn failed_count(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Pieces begun whose verdict is not known.
    pub fn open_count(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Counts a piece as open until the mark is dropped.
    pub fn open(self: &Arc<Self>) -> OpenMark {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.begun.fetch_add(1, Ordering::AcqRel);
        OpenMark(Arc::clone(self))
    }
}

pub(super) struct OpenMark(Arc<Ledger>);

impl Drop for OpenMark {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
