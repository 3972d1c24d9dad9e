//! Notes of verified pieces, so that a start does not hash what is on the disk: a file of bits a torrent, as
//! librqbit reads it. It writes them only now and then; what it has not written when the engine stops is
//! written here, and after a run that did not get to that, notes of what is not whole are not believed:
//! pieces that lie on the disk would be fetched, and paid for, once more. Nor are notes of what is whole, unless
//! its files had been synced: after a power cut they may say more than the disk holds.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::durable::sync_folder;
use super::handle::Ready;
use crate::torrent::{Metainfo, PieceSet};
use crate::units::InfoHash;

/// Says that all notes were written when the last run ended, after the content that they are of.
const WHOLE: &str = "whole";
/// The end of the name of a file that says that all of a torrent was there and synced.
const SYNCED: &str = "synced";
/// Torrents whose files are synced at a time.
const AT_A_TIME: usize = 2;

pub(super) struct Notes {
    folder: PathBuf,
    /// Torrents whose notes may be believed in this run.
    believed: Mutex<HashSet<InfoHash>>,
    /// Torrents that are whole and synced, each with its file.
    settled: Mutex<HashSet<InfoHash>>,
    /// Torrents that were set aside before their files were synced.
    aside: Mutex<HashMap<InfoHash, Arc<Ready>>>,
    syncing: Semaphore,
    is_whole: bool,
}

impl Notes {
    /// Those of earlier runs, in this folder.
    pub(super) fn open(folder: PathBuf) -> Notes {
        let is_whole = std::fs::remove_file(folder.join(WHOLE)).is_ok();
        if is_whole {
            // It must not come back by a power cut in this run.
            let _ = sync_folder(&folder);
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let settled = entries.filter_map(|entry| hash_of(&entry.path(), SYNCED));
        Notes {
            settled: Mutex::new(settled.collect()),
            folder,
            believed: Mutex::default(),
            aside: Mutex::default(),
            syncing: Semaphore::new(AT_A_TIME),
            is_whole,
        }
    }

    /// Whether all of a torrent is known to be on the disk.
    pub(super) fn is_settled(&self, info_hash: InfoHash) -> bool {
        self.settled.lock().contains(&info_hash)
    }

    /// Syncs the files of a torrent that is whole, and notes that for good.
    pub(super) async fn settle(&self, info_hash: InfoHash, ready: &Ready) {
        let Ok(_permit) = self.syncing.acquire().await else {
            return;
        };
        if !ready.sync().await {
            return;
        }
        self.aside.lock().remove(&info_hash);
        let path = self.mark(info_hash);
        match write_whole(&path, &[])
            .await
            .and_then(|()| sync_folder(&self.folder))
        {
            Ok(()) => {
                self.settled.lock().insert(info_hash);
            }
            Err(error) => tracing::warn!("{}: {error}", path.display()),
        }
    }

    /// A torrent is not whole (any more): what is written to it from now on is not synced.
    pub(super) fn unsettle(&self, info_hash: InfoHash) {
        if self.settled.lock().remove(&info_hash) {
            let _ = std::fs::remove_file(self.mark(info_hash));
            let _ = sync_folder(&self.folder);
        }
    }

    fn mark(&self, info_hash: InfoHash) -> PathBuf {
        self.folder.join(format!("{info_hash}.{SYNCED}"))
    }

    /// As librqbit names them.
    fn path(&self, info_hash: InfoHash) -> PathBuf {
        self.folder.join(format!("{info_hash}.bitv"))
    }

    /// Before librqbit reads the notes of a torrent: takes away those that may lack pieces, or have some that
    /// the disk does not hold.
    pub(super) fn doubt(&self, metainfo: &Metainfo) {
        let info_hash = metainfo.info_hash();
        if !self.is_full(metainfo) {
            self.unsettle(info_hash);
        }
        let is_first = self.believed.lock().insert(info_hash);
        if is_first && !self.is_whole && !self.is_settled(info_hash) {
            self.take_away(info_hash);
        }
    }

    /// Takes away the notes of a torrent unless they say that all of it is there: of one that stopped with an
    /// error, librqbit does not say which pieces it has.
    pub(super) fn distrust(&self, metainfo: &Metainfo) {
        if !self.is_full(metainfo) {
            self.take_away(metainfo.info_hash());
        }
    }

    /// Whether notes of a torrent say that all of it is there.
    fn is_full(&self, metainfo: &Metainfo) -> bool {
        let noted = std::fs::read(self.path(metainfo.info_hash())).ok();
        let noted = noted.map(|bits| PieceSet::from_bitfield(&bits, metainfo.piece_count()));
        noted.is_some_and(|noted| noted.is_full())
    }

    fn take_away(&self, info_hash: InfoHash) {
        if std::fs::remove_file(self.path(info_hash)).is_ok() {
            tracing::info!("{info_hash}: its notes may be wrong: its files are hashed anew");
        }
    }

    /// Writes which pieces there are.
    async fn write(&self, info_hash: InfoHash, have: &PieceSet) {
        let path = self.path(info_hash);
        let noted = tokio::fs::read(&path).await;
        if noted.is_ok_and(|noted| noted == have.as_bitfield()) {
            return;
        }
        if let Err(error) = write_whole(&path, have.as_bitfield()).await {
            tracing::warn!("{}: {error}: its files are hashed anew", path.display());
            let _ = tokio::fs::remove_file(&path).await;
        }
    }

    /// A torrent is set aside with these notes; what was written to its files is synced in time.
    pub(super) async fn set_aside(&self, info_hash: InfoHash, ready: Arc<Ready>, have: &PieceSet) {
        self.write(info_hash, have).await;
        if ready.is_dirty() {
            self.aside.lock().insert(info_hash, ready);
        }
    }

    /// At the end of the run: which pieces a torrent has, noted once they are on the disk.
    pub(super) async fn finish(&self, ready: &Ready, have: Option<&PieceSet>) {
        let info_hash = ready.metainfo.info_hash();
        let is_doubtful = ready.is_dirty() || (!self.is_whole && !self.is_settled(info_hash));
        if is_doubtful && !ready.sync().await {
            return self.take_away(info_hash);
        }
        match have {
            Some(have) => self.write(info_hash, have).await,
            None => self.distrust(&ready.metainfo),
        }
    }

    /// All are written. What an earlier crash left in doubt and nobody asked for since stays in doubt: it is
    /// taken away.
    pub(super) async fn close(&self) {
        let aside: Vec<_> = self.aside.lock().drain().collect();
        for (info_hash, ready) in aside {
            if !ready.sync().await {
                self.take_away(info_hash);
            }
        }
        if !self.is_whole {
            self.forget_doubtful();
        }
        let path = self.folder.join(WHOLE);
        let written = match sync_folder(&self.folder) {
            Ok(()) => write_whole(&path, &[]).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!("{}: {error}: files are hashed anew", path.display());
        }
    }

    fn forget_doubtful(&self) {
        let believed = self.believed.lock();
        let entries = std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten();
        let noted = entries.filter_map(|entry| hash_of(&entry.path(), "bitv"));
        let is_doubtful = |hash: &InfoHash| !believed.contains(hash) && !self.is_settled(*hash);
        noted
            .filter(is_doubtful)
            .for_each(|hash| self.take_away(hash));
    }
}

/// The torrent that a file is named after, if its name has this end.
fn hash_of(path: &Path, end: &str) -> Option<InfoHash> {
    let name = path.file_stem().and_then(|name| name.to_str());
    let name = name.filter(|_| path.extension().is_some_and(|ending| ending == end));
    name?.parse().ok()
}

/// Not into the file that librqbit may still write into, but in its place.
async fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    tokio::fs::write(&new, bytes).await?;
    tokio::fs::File::open(&new).await?.sync_all().await?;
    tokio::fs::rename(&new, path).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::PieceIndex;

    #[test]
    fn notes_of_what_stopped_with_an_error_are_kept_only_where_all_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let notes = Notes::open(dir.path().to_owned());
        let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let path = notes.path(metainfo.info_hash());
        let pieces = metainfo.piece_count();
        let mut bits = PieceSet::new(pieces);
        for piece in 0..pieces {
            std::fs::write(&path, bits.as_bitfield()).expect("written");
            notes.distrust(&metainfo);
            assert!(!path.exists(), "{piece} of {pieces}");
            bits.insert(PieceIndex(piece));
        }
        std::fs::write(&path, bits.as_bitfield()).expect("written");
        notes.distrust(&metainfo);
        assert!(path.exists(), "all of it");
    }

    #[test]
    fn after_a_run_that_did_not_end_only_what_was_synced_is_believed() {
        let dir = tempfile::tempdir().expect("a folder");
        let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let (hash, pieces) = (metainfo.info_hash(), metainfo.piece_count());
        let mut bits = PieceSet::new(pieces);
        (0..pieces).for_each(|piece| {
            bits.insert(PieceIndex(piece));
        });
        let notes = || Notes::open(dir.path().to_owned());
        let path = notes().path(hash);
        let note = || std::fs::write(&path, bits.as_bitfield()).expect("written");

        note();
        notes().doubt(&metainfo);
        assert!(!path.exists(), "all of it, but perhaps not on the disk");
        note();
        std::fs::write(notes().mark(hash), b"").expect("written");
        notes().doubt(&metainfo);
        assert!(path.exists(), "all of it, and synced");
        // Without notes it is hashed; what it lacks is fetched, and is not synced then.
        std::fs::remove_file(&path).expect("removed");
        notes().doubt(&metainfo);
        note();
        notes().doubt(&metainfo);
        assert!(!path.exists(), "it was synced before it was fetched anew");

        // After a run that ended in order all are believed, and once only.
        note();
        std::fs::write(dir.path().join(WHOLE), b"").expect("written");
        let orderly = notes();
        orderly.doubt(&metainfo);
        assert!(path.exists() && !dir.path().join(WHOLE).exists());
    }
}
