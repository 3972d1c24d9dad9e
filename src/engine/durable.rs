//! Content on the disk for good. The system writes what it was given when it likes, up to half a minute later;
//! notes of pieces are worth something after a power cut only where the content was written before them. So
//! the files of a torrent are synced once when it is complete, and at the end of the run where something was
//! written to them since; never while pieces come in, and never on a thread that moves any.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::handle::{Handle, Ready, Stage};
use super::session::Inner;
use crate::torrent::Metainfo;

/// Between two looks at a torrent whose pieces come in, whether it is complete.
const LOOK: Duration = Duration::from_secs(1);

/// The files of a torrent.
fn files(metainfo: &Metainfo, content_path: &Path) -> Vec<PathBuf> {
    if !metainfo.is_multi_file() {
        return vec![content_path.to_owned()];
    }
    let stored = metainfo.files().iter().filter(|file| !file.padding);
    let paths = stored.map(|file| content_path.join(file.relative_path()));
    paths.collect()
}

/// Waits until a torrent's files are on the disk, with their names.
fn sync_files(metainfo: &Metainfo, content_path: &Path) -> std::io::Result<()> {
    let mut folders: Vec<PathBuf> = content_path
        .parent()
        .map(Path::to_owned)
        .into_iter()
        .collect();
    for path in files(metainfo, content_path) {
        match File::open(&path) {
            Ok(file) => file.sync_data()?,
            // A file that is not wanted need not be there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        let own = path
            .ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(content_path));
        folders.extend(own.map(Path::to_owned));
    }
    folders.sort_unstable();
    folders.dedup();
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// Waits until the names in a folder are on the disk.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Ready {
    /// Whether something was written to its files since they were last synced.
    pub(super) fn is_dirty(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.is_dirty())
    }

    /// Waits until all that was written to its files is on the disk. False: that could not be.
    pub(super) async fn sync(&self) -> bool {
        let begun = self
            .ledger
            .as_ref()
            .map(|ledger| (ledger.begun(), ledger.open_count()));
        let (metainfo, path) = (Arc::clone(&self.metainfo), self.content_path.clone());
        let work = move || sync_files(&metainfo, &path);
        let done = tokio::task::spawn_blocking(work).await;
        match done {
            Ok(Ok(())) => {
                if let (Some(ledger), Some((begun, 0))) = (&self.ledger, begun) {
                    ledger.note_synced(begun);
                }
                true
            }
            Ok(Err(error)) => {
                let path = self.content_path.display();
                tracing::warn!("{path} may not be on the disk: {error}");
                false
            }
            Err(_) => false,
        }
    }

    /// Whether all pieces are there: found, or verified since.
    fn is_whole(&self) -> bool {
        self.known().is_some_and(|all| all.is_full())
    }
}

/// Syncs a torrent's files as soon as all of it is there, and notes that they are; whenever something is written
/// to them after that, once more. Ends with the torrent.
pub(super) async fn settle(inner: Weak<Inner>, handle: &Handle, ready: &Ready) {
    let mut stages = handle.stage.subscribe();
    let info_hash = handle.info_hash;
    let Some(ledger) = &ready.ledger else {
        return;
    };
    loop {
        {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            let Some(notes) = &inner.notes else {
                return;
            };
            let is_settled = notes.is_settled(info_hash) && !ready.is_dirty();
            match ready.is_whole() {
                true if is_settled => {}
                true => notes.settle(info_hash, ready).await,
                false => notes.unsettle(info_hash),
            }
        }
        tokio::select! {
            () = ledger.heard() => {}
            _ = stages.wait_for(|stage| !matches!(stage, Stage::Ready(_))) => return,
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_torrent_are_synced_and_those_that_are_not_there_are_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let path = dir.path().join(metainfo.name());
        sync_files(&metainfo, &path).expect("nothing is there yet");
        std::fs::write(&path, b"content").expect("written");
        sync_files(&metainfo, &path).expect("synced");
        let gone = dir.path().join("no/folder").join(metainfo.name());
        assert!(sync_files(&metainfo, &gone).is_err(), "nor is its folder");
    }
}
