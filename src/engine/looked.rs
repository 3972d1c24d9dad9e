//! Files that are only looked at, where nothing may be written yet: what is there is read, what is not is not
//! made, and what comes all the same is refused.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use librqbit::storage::TorrentStorage;
use librqbit::{ManagedTorrentShared, TorrentMetadata};
use parking_lot::Mutex;

/// A torrent's files, read only.
pub(super) struct Looked {
    folder: PathBuf,
    /// None where there is no such file.
    files: Vec<Option<Mutex<File>>>,
}

impl Looked {
    /// The files below a folder, found by [`TorrentStorage::init`].
    pub fn in_folder(folder: &Path) -> Looked {
        Looked {
            folder: folder.to_owned(),
            files: Vec::new(),
        }
    }
}

impl TorrentStorage for Looked {
    fn init(&mut self, _: &ManagedTorrentShared, metadata: &TorrentMetadata) -> anyhow::Result<()> {
        let infos = metadata.file_infos.iter();
        let open = |path: &Path| File::open(self.folder.join(path)).ok().map(Mutex::new);
        self.files = infos.map(|info| open(&info.relative_filename)).collect();
        Ok(())
    }

    fn pread_exact(&self, file_id: usize, offset: u64, buf: &mut [u8]) -> anyhow::Result<()> {
        let file = self.files.get(file_id).and_then(Option::as_ref);
        let mut file = file.context("no such file")?.lock();
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.read_exact(buf)?)
    }

    fn pwrite_all(&self, _: usize, _: u64, _: &[u8]) -> anyhow::Result<()> {
        bail!("nothing of it is written yet")
    }

    fn remove_file(&self, _: usize, _: &Path) -> anyhow::Result<()> {
        bail!("nothing of it is removed")
    }

    fn remove_directory_if_empty(&self, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn ensure_file_length(&self, _: usize, _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    fn take(&self) -> anyhow::Result<Box<dyn TorrentStorage>> {
        let files = self.files.iter();
        let files = files.map(|file| file.as_ref().map(|file| file.lock().try_clone()));
        let files: Result<Vec<_>, _> = files.map(Option::transpose).collect();
        Ok(Box::new(Looked {
            folder: self.folder.clone(),
            files: files?
                .into_iter()
                .map(|file| file.map(Mutex::new))
                .collect(),
        }))
    }
}
