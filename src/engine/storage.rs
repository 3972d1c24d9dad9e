//! The storage that librqbit is given: its own files, with unfinished pieces kept in memory.
//!
//! librqbit writes each block of 16 KiB as it comes and reads the piece back to hash it. Here a
//! piece stays in memory from its first block on, is written with few large writes when its last
//! block comes, and is hashed from memory; then it is let go. It is written
//! before the verdict, not after, because librqbit stops a torrent whose write failed (disk full)
//! but takes no notice when the call after the verdict fails: a piece would count as had that no
//! disk holds. A piece that fails its check is simply overwritten later, as in librqbit alone.
//!
//! How a failed check shows: librqbit tells the storage only of success. It hashes a piece through
//! reads, and nothing else reads a piece that is not verified; after a failure it fetches the
//! whole piece again. So a write to a piece that was complete and read means that it failed.

use std::any::TypeId;
use std::collections::HashMap;
use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use librqbit::storage::filesystem::FilesystemStorageFactory;
use librqbit::storage::{BoxStorageFactory, StorageFactory, StorageFactoryExt, TorrentStorage};
use librqbit::{ManagedTorrentShared, TorrentMetadata};
use librqbit_core::lengths::ValidPieceIndex;
use parking_lot::Mutex;

use super::PieceSink;
use super::held::Held;
use super::ledger::{Ledger, OpenMark};
use super::looked::Looked;
use super::map::FileMap;
use super::memory::Budget;
use crate::units::InfoHash;

/// The ledgers of an engine's torrents.
pub(super) type Ledgers = Arc<Mutex<HashMap<InfoHash, Arc<Ledger>>>>;

/// Makes the storages of an engine's torrents.
#[derive(Clone)]
pub(super) struct PieceStorageFactory {
    pub files: FilesystemStorageFactory,
    /// The folder of a torrent whose files are only read, and none made.
    pub looks_in: Option<PathBuf>,
    pub budget: Arc<Budget>,
    pub ledgers: Ledgers,
    pub sink: PieceSink,
}

impl StorageFactory for PieceStorageFactory {
    type Storage = PieceStorage;

    fn create(
        &self,
        shared: &ManagedTorrentShared,
        metadata: &TorrentMetadata,
    ) -> anyhow::Result<PieceStorage> {
        let lengths = metadata.lengths();
        let files = metadata.file_infos.iter();
        let files = files.map(|file| (file.len, file.attrs.padding));
        let info_hash = InfoHash(shared.info_hash.0);
        let new = || Ledger::new(info_hash, lengths.total_pieces(), Arc::clone(&self.sink));
        let ledger = Arc::clone(self.ledgers.lock().entry(info_hash).or_insert_with(new));
        let stored: Box<dyn TorrentStorage> = match &self.looks_in {
            Some(folder) => Box::new(Looked::in_folder(folder)),
            None => Box::new(self.files.create(shared, metadata)?),
        };
        Ok(PieceStorage {
            files: stored,
            map: Arc::new(FileMap::new(files, lengths.default_piece_length())),
            open: Mutex::new(HashMap::new()),
            budget: Arc::clone(&self.budget),
            ledger,
            clock: AtomicU64::new(0),
        })
    }

    fn is_type_id(&self, type_id: TypeId) -> bool {
        self.files.is_type_id(type_id)
    }

    fn clone_box(&self) -> BoxStorageFactory {
        self.clone().boxed()
    }
}

/// An open piece, behind its own lock so that connections do not wait for each other's disk.
type Slot = Arc<Mutex<OpenPiece>>;

struct OpenPiece {
    held: Held,
    _mark: OpenMark,
}

/// One torrent's storage.
pub(super) struct PieceStorage {
    files: Box<dyn TorrentStorage>,
    map: Arc<FileMap>,
    /// Pieces begun and not verified. Never locked while a slot's lock is awaited.
    open: Mutex<HashMap<u32, Slot>>,
    budget: Arc<Budget>,
    ledger: Arc<Ledger>,
    /// Counts writes, to find the piece that waits longest.
    clock: AtomicU64,
}

impl PieceStorage {
    fn slot(&self, piece: u32) -> Slot {
        let mut open = self.open.lock();
        let new = || {
            Arc::new(Mutex::new(OpenPiece {
                held: Held::new(piece, &self.map),
                _mark: self.ledger.open(),
            }))
        };
        Arc::clone(open.entry(piece).or_insert_with(new))
    }

    /// Takes the part of a block that lies in one piece; writes the piece if that completes it.
    fn take_block(&self, piece: u32, range: Range<u32>, bytes: &[u8]) -> anyhow::Result<()> {
        let slot = self.slot(piece);
        let mut open = slot.lock();
        let held = &mut open.held;
        if held.begin_again(&self.map) {
            self.ledger.failed(piece);
        }
        held.touched = self.clock.fetch_add(1, Ordering::Relaxed);
        if held.wants_memory() {
            let length = u64::from(self.map.piece_bytes(piece));
            let reserved = self.budget.reserve(length);
            match reserved.or_else(|| self.reserve_by_spilling(piece, length)) {
                Some(reservation) => held.hold(reservation),
                None => {
                    held.spill(&self.map, &*self.files)?;
                    self.budget.count_spilled();
                }
            }
        }
        held.write(range, bytes, &self.map, &*self.files)
    }

    /// Makes room for `length` bytes by letting go of the open piece that waits longest.
    fn reserve_by_spilling(&self, except: u32, length: u64) -> Option<super::memory::Reservation> {
        let others = |(other, slot): (&u32, &Slot)| (*other != except).then(|| Arc::clone(slot));
        let others: Vec<Slot> = self.open.lock().iter().filter_map(others).collect();
        // Not waiting for their locks: who holds one may be waiting for ours.
        let age = |slot: &Slot| {
            let open = slot.try_lock()?;
            let held = &open.held;
            held.holds_memory()
                .then(|| (!held.is_complete(), held.touched))
        };
        let ages = others.iter().filter_map(|slot| Some((age(slot)?, slot)));
        let (_, oldest) = ages.min_by_key(|(age, _)| *age)?;
        let mut oldest = oldest.try_lock()?;
        match oldest.held.spill(&self.map, &*self.files) {
            Ok(()) => self.budget.count_spilled(),
            Err(error) => {
                tracing::warn!("could not write an unfinished piece to make room: {error:#}");
                return None;
            }
        }
        self.budget.reserve(length)
    }

    fn write(&self, file: usize, offset: u64, bufs: [&[u8]; 2]) -> anyhow::Result<usize> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        let pieces = self.map.pieces(file, offset, length);
        let mut rest = bufs;
        for (piece, range) in pieces.context("write beyond the end of a file")? {
            let mut range = range;
            for buf in &mut rest {
                let (now, later) = buf.split_at(buf.len().min(range.len()));
                if !now.is_empty() {
                    // Fits: no longer than the range.
                    let middle = range.start + u32::try_from(now.len())?;
                    self.take_block(piece, range.start..middle, now)?;
                    range.start = middle;
                }
                *buf = later;
            }
        }
        Ok(length)
    }
}

impl TorrentStorage for PieceStorage {
    fn init(
        &mut self,
        shared: &ManagedTorrentShared,
        metadata: &TorrentMetadata,
    ) -> anyhow::Result<()> {
        self.files.init(shared, metadata)
    }

    fn pread_exact(&self, file_id: usize, offset: u64, buf: &mut [u8]) -> anyhow::Result<()> {
        if self.open.lock().is_empty() {
            return self.files.pread_exact(file_id, offset, buf);
        }
        let pieces = self.map.pieces(file_id, offset, buf.len());
        let (mut buf, mut offset) = (buf, offset);
        for (piece, range) in pieces.context("read beyond the end of a file")? {
            let (now, later) = buf.split_at_mut(range.len());
            let slot = self.open.lock().get(&piece).cloned();
            let served = match slot {
                Some(slot) => slot.lock().held.read(range, now, &self.map, &*self.files)?,
                None => false,
            };
            if !served {
                self.files.pread_exact(file_id, offset, now)?;
            }
            offset += now.len() as u64;
            buf = later;
        }
        Ok(())
    }

    fn pwrite_all(&self, file_id: usize, offset: u64, buf: &[u8]) -> anyhow::Result<()> {
        self.write(file_id, offset, [buf, &[]]).map(|_| ())
    }

    fn pwrite_all_vectored(
        &self,
        file_id: usize,
        offset: u64,
        bufs: [IoSlice<'_>; 2],
    ) -> anyhow::Result<usize> {
        let [first, second] = &bufs;
        self.write(file_id, offset, [first, second])
    }

    fn remove_file(&self, file_id: usize, filename: &Path) -> anyhow::Result<()> {
        self.files.remove_file(file_id, filename)
    }

    fn remove_directory_if_empty(&self, path: &Path) -> anyhow::Result<()> {
        self.files.remove_directory_if_empty(path)
    }

    fn ensure_file_length(&self, file_id: usize, length: u64) -> anyhow::Result<()> {
        self.files.ensure_file_length(file_id, length)
    }

    /// librqbit asks for all unfinished pieces again after this, so they are let go.
    fn take(&self) -> anyhow::Result<Box<dyn TorrentStorage>> {
        let files = self.files.take()?;
        self.open.lock().clear();
        Ok(Box::new(PieceStorage {
            files,
            map: Arc::clone(&self.map),
            open: Mutex::new(HashMap::new()),
            budget: Arc::clone(&self.budget),
            ledger: Arc::clone(&self.ledger),
            clock: AtomicU64::new(0),
        }))
    }

    fn on_piece_completed(&self, piece_index: ValidPieceIndex) -> anyhow::Result<()> {
        let piece = piece_index.get();
        // The mark that a piece is open goes after the event: who waits for no open pieces has
        // then seen all events.
        let slot = self.open.lock().remove(&piece);
        self.ledger.verified(piece);
        drop(slot);
        self.files.on_piece_completed(piece_index)
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
