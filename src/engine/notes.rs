//! Notes of verified pieces, so that a start does not hash what is on the disk: a file of bits a torrent, as
//! librqbit reads it. It writes them only now and then; what it has not written when the engine stops is
//! written here, and after a run that had a torrent and did not get to that, its notes are not believed where
//! they are not of all of it: pieces that lie on the disk would be fetched, and paid for, once more. Nor are
//! notes of what is whole, unless its files had been synced: after a power cut they may say more than the disk
//! holds. What a run did not have, it leaves as it was, however it ends.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::durable::sync_folder;
use super::handle::Ready;
use crate::torrent::{Metainfo, PieceSet};
use crate::units::InfoHash;

/// The end of the name of a file that says that the notes of a torrent were written when it was last let go
/// of, after the content that they are of. It is taken away when the torrent comes again.
const NOTED: &str = "noted";
/// What an earlier version said of all torrents at once.
const ALL_NOTED: &str = "whole";
/// The end of the name of a file that says that all of a torrent was there and synced.
const SYNCED: &str = "synced";
/// Torrents whose files are synced at a time.
const AT_A_TIME: usize = 2;

/// What was said of a torrent's notes before it was given to librqbit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    is_noted: bool,
    is_written: bool,
    is_first: bool,
}

pub(super) struct Notes {
    folder: PathBuf,
    /// Torrents that came in this run, and whether their notes were believed then.
    believed: Mutex<HashMap<InfoHash, bool>>,
    /// Torrents that are whole and synced, each with its file.
    settled: Mutex<HashSet<InfoHash>>,
    /// Torrents that were set aside before their files were synced.
    aside: Mutex<HashMap<InfoHash, Arc<Ready>>>,
    /// Torrents whose notes are written, after their content was synced.
    written: Mutex<HashSet<InfoHash>>,
    syncing: Semaphore,
}

impl Notes {
    /// Those of earlier runs, in this folder.
    pub(super) fn open(folder: PathBuf) -> Notes {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let settled = entries.filter_map(|entry| hash_of(&entry.path(), SYNCED));
        let notes = Notes {
            settled: Mutex::new(settled.collect()),
            folder,
            believed: Mutex::default(),
            aside: Mutex::default(),
            written: Mutex::default(),
            syncing: Semaphore::new(AT_A_TIME),
        };
        notes.take_over();
        notes
    }

    /// What an earlier version said of all torrents is said of each.
    fn take_over(&self) {
        let all = self.folder.join(ALL_NOTED);
        if !all.exists() {
            return;
        }
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let noted = entries
            .flatten()
            .filter_map(|entry| hash_of(&entry.path(), "bitv"));
        let done = self.note_all(noted);
        // Whether that worked or not: later it would say it of what this run writes.
        let gone = std::fs::remove_file(&all).and_then(|()| sync_folder(&self.folder));
        if let Err(error) = done.and(gone) {
            tracing::warn!("{}: {error}", all.display());
        }
    }

    /// Notes that the notes of these torrents are written; settled ones need no such word.
    fn note_all(&self, torrents: impl Iterator<Item = InfoHash>) -> std::io::Result<()> {
        let unsettled: Vec<_> = torrents.filter(|hash| !self.is_settled(*hash)).collect();
        if unsettled.is_empty() {
            return Ok(());
        }
        // The notes before the word that they are written.
        sync_folder(&self.folder)?;
        for info_hash in unsettled {
            std::fs::write(self.file(info_hash, NOTED), b"")?;
        }
        sync_folder(&self.folder)
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
        self.settle_after(info_hash, ready.sync()).await;
    }

    async fn settle_after(&self, info_hash: InfoHash, synced: impl Future<Output = bool>) {
        if !synced.await {
            return;
        }
        self.aside.lock().remove(&info_hash);
        let path = self.file(info_hash, SYNCED);
        match write_whole(&path, &[])
            .await
            .and_then(|()| sync_folder(&self.folder))
        {
            Ok(()) => {
                self.settled.lock().insert(info_hash);
            }
            Err(error) => tracing::warn!("{}: {error}", path.display()),
        }
        if !self.believed.lock().contains_key(&info_hash) {
            // It was taken out meanwhile.
            self.unsettle(info_hash);
        }
    }

    /// A torrent is not whole (any more): what is written to it from now on is not synced.
    pub(super) fn unsettle(&self, info_hash: InfoHash) {
        if self.settled.lock().remove(&info_hash) {
            let _ = std::fs::remove_file(self.file(info_hash, SYNCED));
            let _ = sync_folder(&self.folder);
        }
    }

    /// A torrent is taken out: whoever adds it again has other files, or none.
    pub(super) fn forget(&self, info_hash: InfoHash) {
        self.aside.lock().remove(&info_hash);
        self.believed.lock().remove(&info_hash);
        self.unsettle(info_hash);
        let noted = std::fs::remove_file(self.file(info_hash, NOTED));
        self.take_away(info_hash);
        if noted.is_ok() {
            let _ = sync_folder(&self.folder);
        }
    }

    fn file(&self, info_hash: InfoHash, end: &str) -> PathBuf {
        self.folder.join(format!("{info_hash}.{end}"))
    }

    /// As librqbit names them.
    fn path(&self, info_hash: InfoHash) -> PathBuf {
        self.file(info_hash, "bitv")
    }

    /// Before librqbit reads the notes of a torrent: takes away those that may lack pieces, or have some that
    /// the disk does not hold. What was said of them before.
    pub(super) fn doubt(&self, metainfo: &Metainfo) -> Before {
        let info_hash = metainfo.info_hash();
        if !self.is_full(metainfo) {
            self.unsettle(info_hash);
        }
        let is_noted = std::fs::remove_file(self.file(info_hash, NOTED)).is_ok();
        if is_noted {
            // It must not come back by a power cut in this run.
            let _ = sync_folder(&self.folder);
        }
        let is_written = self.written.lock().remove(&info_hash);
        let is_first = !self.believed.lock().contains_key(&info_hash);
        if is_first {
            let is_believed = is_noted || self.is_settled(info_hash);
            self.believed.lock().insert(info_hash, is_believed);
            if !is_believed {
                self.take_away(info_hash);
            }
        }
        Before {
            is_noted,
            is_written,
            is_first,
        }
    }

    /// librqbit did not take a torrent: what was said of its notes holds still.
    pub(super) fn put_back(&self, info_hash: InfoHash, before: Before) {
        if before.is_first {
            self.believed.lock().remove(&info_hash);
        }
        if before.is_written {
            self.written.lock().insert(info_hash);
        }
        if before.is_noted
            && let Err(error) = self.note_all([info_hash].into_iter())
        {
            tracing::warn!("{info_hash}: {error}: its files are hashed anew");
        }
    }

    /// Whether content of a torrent may not be on the disk, written in this run or in one that did not end.
    fn may_lack(&self, info_hash: InfoHash, ready: &Ready) -> bool {
        let is_believed = self.believed.lock().get(&info_hash).copied();
        ready.is_dirty() || (is_believed != Some(true) && !self.is_settled(info_hash))
    }

    /// Takes away the notes of a torrent unless they say that all of it is there: of one that stopped with an
    /// error, librqbit does not say which pieces it has.
    pub(super) fn distrust(&self, metainfo: &Metainfo) {
        if !self.is_full(metainfo) {
            self.take_away(metainfo.info_hash());
        }
    }

    /// The pieces that a torrent has by its notes, if there are any.
    pub(super) fn noted(&self, metainfo: &Metainfo) -> Option<PieceSet> {
        let bits = std::fs::read(self.path(metainfo.info_hash())).ok()?;
        Some(PieceSet::from_bitfield(&bits, metainfo.piece_count()))
    }

    /// Whether notes of a torrent say that all of it is there.
    fn is_full(&self, metainfo: &Metainfo) -> bool {
        self.noted(metainfo).is_some_and(|noted| noted.is_full())
    }

    /// Takes away the notes of a torrent: its files are hashed anew.
    pub(super) fn take_away(&self, info_hash: InfoHash) {
        self.written.lock().remove(&info_hash);
        if std::fs::remove_file(self.path(info_hash)).is_ok() {
            tracing::info!("{info_hash}: its notes may be wrong: its files are hashed anew");
        }
    }

    /// Writes which pieces there are.
    async fn write(&self, info_hash: InfoHash, have: &PieceSet) {
        let path = self.path(info_hash);
        let noted = tokio::fs::read(&path).await;
        let written = match noted.is_ok_and(|noted| noted == have.as_bitfield()) {
            // What librqbit wrote may not be on the disk yet.
            true => sync_file(&path).await,
            false => write_whole(&path, have.as_bitfield()).await,
        };
        if let Err(error) = written {
            tracing::warn!("{}: {error}: its files are hashed anew", path.display());
            let _ = tokio::fs::remove_file(&path).await;
        }
    }

    /// A torrent is set aside with these notes; what was written to its files is synced in time.
    pub(super) async fn set_aside(&self, info_hash: InfoHash, ready: Arc<Ready>, have: &PieceSet) {
        self.write(info_hash, have).await;
        match self.may_lack(info_hash, &ready) {
            true => drop(self.aside.lock().insert(info_hash, ready)),
            false => drop(self.written.lock().insert(info_hash)),
        }
    }

    /// At the end of the run: which pieces a torrent has, noted once they are on the disk.
    pub(super) async fn finish(&self, ready: &Ready, have: Option<&PieceSet>) {
        let info_hash = ready.metainfo.info_hash();
        if self.may_lack(info_hash, ready) && !ready.sync().await {
            return self.take_away(info_hash);
        }
        self.written.lock().insert(info_hash);
        match have {
            Some(have) => self.write(info_hash, have).await,
            None => self.distrust(&ready.metainfo),
        }
    }

    /// All are written. What an earlier crash left in doubt and nobody asked for since stays in doubt.
    pub(super) async fn close(&self) {
        let aside: Vec<_> = self.aside.lock().drain().collect();
        for (info_hash, ready) in aside {
            match ready.sync().await {
                true => drop(self.written.lock().insert(info_hash)),
                false => self.take_away(info_hash),
            }
        }
        let written = std::mem::take(&mut *self.written.lock());
        if let Err(error) = self.note_all(written.into_iter()) {
            let folder = self.folder.display();
            tracing::warn!("{folder}: {error}: files are hashed anew");
        }
    }
}

/// The torrent that a file is named after, if its name has this end.
fn hash_of(path: &Path, end: &str) -> Option<InfoHash> {
    let name = path.file_stem().and_then(|name| name.to_str());
    let name = name.filter(|_| path.extension().is_some_and(|ending| ending == end));
    name?.parse().ok()
}

async fn sync_file(path: &Path) -> std::io::Result<()> {
    tokio::fs::File::open(path).await?.sync_all().await
}

/// Not into the file that librqbit may still write into, but in its place.
async fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    tokio::fs::write(&new, bytes).await?;
    sync_file(&new).await?;
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
        std::fs::write(notes().file(hash, SYNCED), b"").expect("written");
        notes().doubt(&metainfo);
        assert!(path.exists(), "all of it, and synced");
        // Without notes it is hashed; what it lacks is fetched, and is not synced then.
        std::fs::remove_file(&path).expect("removed");
        notes().doubt(&metainfo);
        note();
        notes().doubt(&metainfo);
        assert!(!path.exists(), "it was synced before it was fetched anew");

        // What was noted in order is believed, after any number of runs without it, and once only; so too
        // where an earlier version said that all is.
        let all = dir.path().join(ALL_NOTED);
        let noted = notes().file(hash, NOTED);
        for said in [&noted, &all] {
            note();
            std::fs::write(said, b"").expect("written");
            drop((notes(), notes()));
            assert!(noted.exists() && !all.exists());
            notes().doubt(&metainfo);
            assert!(path.exists() && !noted.exists());
            notes().doubt(&metainfo);
            assert!(!path.exists(), "a run that had it did not end");
        }
    }

    #[tokio::test]
    async fn what_was_taken_out_while_it_was_synced_is_not_settled() {
        let dir = tempfile::tempdir().expect("a folder");
        let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let hash = metainfo.info_hash();
        let notes = Notes::open(dir.path().to_owned());
        for is_taken_out in [true, false] {
            notes.doubt(&metainfo);
            let synced = async {
                if is_taken_out {
                    notes.forget(hash);
                }
                true
            };
            notes.settle_after(hash, synced).await;
            assert_eq!(notes.is_settled(hash), !is_taken_out);
            assert_eq!(notes.file(hash, SYNCED).exists(), !is_taken_out);
        }
    }

    #[test]
    fn what_librqbit_did_not_take_is_noted_as_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let hash = metainfo.info_hash();
        let notes = Notes::open(dir.path().to_owned());
        let (path, noted) = (notes.path(hash), notes.file(hash, NOTED));
        std::fs::write(&path, [0x80]).expect("written");
        std::fs::write(&noted, b"").expect("written");
        for _ in 0..2 {
            let before = notes.doubt(&metainfo);
            assert!(!noted.exists());
            notes.put_back(hash, before);
            assert!(noted.exists() && path.exists());
        }
        // Set aside in this run, before its files were synced or after it, it is no more than it was.
        notes.doubt(&metainfo);
        for is_written in [false, true] {
            if is_written {
                notes.written.lock().insert(hash);
            }
            let before = notes.doubt(&metainfo);
            notes.put_back(hash, before);
            assert_eq!(notes.written.lock().contains(&hash), is_written);
            assert!(!noted.exists() && path.exists());
        }
        // What nobody noted does not become noted so.
        drop(notes);
        let notes = Notes::open(dir.path().to_owned());
        let before = notes.doubt(&metainfo);
        notes.put_back(hash, before);
        assert!(!noted.exists() && !path.exists());
    }

    #[test]
    fn what_an_earlier_version_said_of_all_is_said_of_none_where_it_cannot_be_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let hash = metainfo.info_hash();
        let path = dir.path().join(format!("{hash}.bitv"));
        std::fs::write(&path, [0x80]).expect("written");
        std::fs::write(dir.path().join(ALL_NOTED), b"").expect("written");
        // As on a full disk, the file cannot be made.
        let in_its_place = dir.path().join(format!("{hash}.{NOTED}/something"));
        std::fs::create_dir_all(&in_its_place).expect("made");
        let notes = Notes::open(dir.path().to_owned());
        assert!(!dir.path().join(ALL_NOTED).exists());
        notes.doubt(&metainfo);
        assert!(
            !path.exists(),
            "it is hashed anew, in this run and in the next"
        );
    }

    #[tokio::test]
    async fn what_is_taken_away_is_not_said_to_be_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let notes = Notes::open(dir.path().to_owned());
        let (kept, gone) = (InfoHash([1; 20]), InfoHash([2; 20]));
        notes.written.lock().extend([kept, gone]);
        notes.take_away(gone);
        notes.close().await;
        assert!(notes.file(kept, NOTED).exists() && !notes.file(gone, NOTED).exists());
    }
}
