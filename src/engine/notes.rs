//! Notes of verified pieces, so that a start does not hash what is on the disk: a file of bits a torrent, as
//! librqbit reads it. It writes them only now and then; what it has not written when the engine stops is
//! written here, and after a run that did not get to that, notes of what is not whole are not believed:
//! pieces that lie on the disk would be fetched, and paid for, once more.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::torrent::{Metainfo, PieceSet};
use crate::units::InfoHash;

/// Says that all notes were written when the last run ended.
const WHOLE: &str = "whole";

#[derive(Debug)]
pub(super) struct Notes {
    folder: PathBuf,
    /// Torrents whose notes may be believed in this run.
    believed: Mutex<HashSet<InfoHash>>,
    is_whole: bool,
}

impl Notes {
    /// Those of earlier runs, in this folder.
    pub(super) fn open(folder: PathBuf) -> Notes {
        let is_whole = std::fs::remove_file(folder.join(WHOLE)).is_ok();
        Notes {
            folder,
            believed: Mutex::default(),
            is_whole,
        }
    }

    /// As librqbit names them.
    fn path(&self, info_hash: InfoHash) -> PathBuf {
        self.folder.join(format!("{info_hash}.bitv"))
    }

    /// Before librqbit reads the notes of a torrent: takes away those that may lack pieces.
    pub(super) fn doubt(&self, metainfo: &Metainfo) {
        if self.believed.lock().insert(metainfo.info_hash()) && !self.is_whole {
            self.distrust(metainfo);
        }
    }

    /// Takes away the notes of a torrent unless they say that all of it is there: of one that stopped with an
    /// error, librqbit does not say which pieces it has.
    pub(super) fn distrust(&self, metainfo: &Metainfo) {
        let info_hash = metainfo.info_hash();
        let path = self.path(info_hash);
        let noted = std::fs::read(&path).ok();
        let noted = noted.map(|bits| PieceSet::from_bitfield(&bits, metainfo.piece_count()));
        if noted.is_some_and(|noted| !noted.is_full()) {
            tracing::info!("{info_hash}: its notes may lack pieces: its files are hashed anew");
            let _ = std::fs::remove_file(path);
        }
    }

    /// Writes which pieces there are.
    pub(super) async fn write(&self, info_hash: InfoHash, have: &PieceSet) {
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

    /// All are written. What an earlier crash left in doubt and nobody asked for since stays in doubt: it is
    /// taken away.
    pub(super) async fn close(&self) {
        if !self.is_whole {
            self.forget_doubtful();
        }
        let path = self.folder.join(WHOLE);
        if let Err(error) = write_whole(&path, &[]).await {
            tracing::warn!("{}: {error}: files are hashed anew", path.display());
        }
    }
}

impl Notes {
    fn forget_doubtful(&self) {
        let believed = self.believed.lock();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten() {
            let Ok(path) = entry.map(|entry| entry.path()) else {
                continue;
            };
            let name = path.file_stem().and_then(|name| name.to_str());
            let hash = name.and_then(|name| name.parse::<InfoHash>().ok());
            let is_doubtful = hash.is_some_and(|hash| !believed.contains(&hash));
            // Of a whole torrent all bits are set, but for those after the last piece.
            let is_whole = |bits: Vec<u8>| {
                bits.split_last()
                    .is_some_and(|(last, rest)| *last != 0 && rest.iter().all(|byte| *byte == 0xff))
            };
            if is_doubtful && !std::fs::read(&path).is_ok_and(is_whole) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
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
}
