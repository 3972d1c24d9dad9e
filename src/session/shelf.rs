//! The torrents' files: `torrents/INFO_HASH.json` in the home, beside it the `.torrent` once it is known. So a
//! restart finds everything as it was.
//!
//! What is kept is copied while the list is held and written while it is not, so that nobody who looks at the
//! list waits for the disk. Who copies has the turn until it is written: what was copied last stays.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use super::entry::{Entry, Saved};
use super::lock;
use crate::config::write_private;
use crate::torrent::Metainfo;
use crate::units::InfoHash;

/// The folder of the torrents' files, in the home.
const FOLDER: &str = "torrents";

/// The list.
pub(super) type Torrents = Mutex<BTreeMap<InfoHash, Entry>>;

/// Held by the one who writes, or takes files away.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Why a change is not kept.
#[derive(Debug)]
pub(super) enum NotKept {
    /// The torrent is not on the list.
    Unknown,
    /// What the system says.
    Disk(io::Error),
}

/// Writes a file for good.
type ToDisk = dyn Fn(&Path, &[u8]) -> io::Result<()> + Send + Sync;

/// The names of the torrents of a home, as they were last written there.
pub fn names_in(home: &Path) -> BTreeMap<InfoHash, String> {
    let saved = Shelf::in_home(home).read().unwrap_or_default();
    saved
        .into_iter()
        .map(|one| (one.info_hash, one.name))
        .collect()
}

/// The torrents' files.
#[derive(Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
    turn: Arc<tokio::sync::Mutex<()>>,
    to_disk: Arc<ToDisk>,
}

impl Shelf {
    /// The files in `home`; makes the folder.
    pub fn open(home: &Path) -> io::Result<Shelf> {
        let shelf = Shelf::in_home(home);
        std::fs::create_dir_all(&shelf.folder)?;
        Ok(shelf)
    }

    /// The files in `home`, to be read; makes nothing.
    pub fn in_home(home: &Path) -> Shelf {
        Shelf {
            folder: home.join(FOLDER),
            turn: Arc::default(),
            to_disk: Arc::new(write_private),
        }
    }

    fn path(&self, info_hash: InfoHash, end: &str) -> PathBuf {
        self.folder.join(format!("{info_hash}.{end}"))
    }

    /// All torrents, in the order in which they were added. Files that cannot be read are left
    /// where they are, and named in the log.
    pub fn read(&self) -> io::Result<Vec<Saved>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let read = std::fs::read(&path).map_err(|error| error.to_string());
            let parsed = read.and_then(|bytes| {
                serde_json::from_slice::<Saved>(&bytes).map_err(|error| error.to_string())
            });
            match parsed {
                Ok(saved) => all.push(saved),
                Err(error) => tracing::error!("{}: {error}", path.display()),
            }
        }
        all.sort_by_key(|saved| (saved.added, saved.info_hash));
        Ok(all)
    }

    /// The turn to write, or to take files away.
    pub async fn turn(&self) -> Turn {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Writes a torrent's file. The turn lasts until that is done, also where nobody waits for it any more.
    async fn write(&self, turn: Turn, saved: &Saved) -> (io::Result<()>, Option<Turn>) {
        let path = self.path(saved.info_hash, "json");
        let (to_disk, saved) = (Arc::clone(&self.to_disk), saved.clone());
        let work = move || {
            let bytes = serde_json::to_vec(&saved).map_err(io::Error::from);
            (bytes.and_then(|bytes| to_disk(&path, &bytes)), Some(turn))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| (Err(io::Error::other(error)), None))
    }

    /// Changes an entry once the change is written: what is refused has not happened. `change` is asked
    /// twice, for what is to be written and for what holds then.
    ///
    /// # Errors
    /// No such torrent, or a disk that does not take it.
    pub async fn change<T>(
        &self,
        torrents: &Torrents,
        hash: InfoHash,
        change: impl Fn(&mut Entry) -> T,
    ) -> Result<T, NotKept> {
        let turn = self.turn().await;
        let saved = {
            let mut torrents = lock(torrents);
            let entry = torrents.get_mut(&hash).ok_or(NotKept::Unknown)?;
            let mut next = entry.clone();
            change(&mut next);
            // Whoever asked may be gone when it is written: then what holds is written over it.
            entry.unsaved = true;
            next.saved
        };
        let (written, _turn) = self.write(turn, &saved).await;
        written.map_err(NotKept::Disk)?;
        let mut torrents = lock(torrents);
        let entry = torrents.get_mut(&hash).ok_or(NotKept::Unknown)?;
        let changed = change(entry);
        entry.unsaved = entry.saved != saved;
        Ok(changed)
    }

    /// Changes an entry at once; it is due to be written.
    ///
    /// # Errors
    /// No such torrent.
    pub fn at_once<T>(
        &self,
        torrents: &Torrents,
        hash: InfoHash,
        change: impl Fn(&mut Entry) -> T,
    ) -> Result<T, NotKept> {
        let mut torrents = lock(torrents);
        let entry = torrents.get_mut(&hash).ok_or(NotKept::Unknown)?;
        entry.unsaved = true;
        Ok(change(entry))
    }

    /// Changes an entry at once, and then writes it. `change` is asked again when its turn to be written has
    /// come: what was being written meanwhile was asked for before it.
    ///
    /// # Errors
    /// As [`Shelf::change`]; the change holds also where the disk does not take it, and is due to be written.
    pub async fn hold<T>(
        &self,
        torrents: &Torrents,
        hash: InfoHash,
        change: impl Fn(&mut Entry) -> T,
    ) -> Result<(T, io::Result<()>), NotKept> {
        let copied = |entry: &mut Entry| (change(entry), entry.saved.clone());
        let hold = || self.at_once(torrents, hash, copied);
        hold()?;
        let turn = self.turn().await;
        let (changed, saved) = hold()?;
        Ok((changed, self.write_copy(torrents, turn, &saved).await))
    }

    /// Writes an entry if it differs from its file.
    async fn save(&self, torrents: &Torrents, hash: InfoHash) -> io::Result<()> {
        let turn = self.turn().await;
        let copy = |entry: &Entry| entry.unsaved.then(|| entry.saved.clone());
        let Some(saved) = lock(torrents).get(&hash).and_then(copy) else {
            return Ok(());
        };
        self.write_copy(torrents, turn, &saved).await
    }

    /// Writes a copy of an entry, and notes whether the entry is as that is.
    async fn write_copy(&self, torrents: &Torrents, turn: Turn, copy: &Saved) -> io::Result<()> {
        let (written, _turn) = self.write(turn, copy).await;
        if let Some(entry) = lock(torrents).get_mut(&copy.info_hash) {
            entry.unsaved = written.is_err() || entry.saved != *copy;
        }
        written
    }

    /// Writes all entries that differ from their files; all that can be, where some cannot.
    pub async fn save_all(&self, torrents: &Torrents) -> io::Result<()> {
        let unsaved: Vec<InfoHash> = {
            let torrents = lock(torrents);
            let unsaved = torrents.iter().filter(|(_, entry)| entry.unsaved);
            unsaved.map(|(hash, _)| *hash).collect()
        };
        let mut kept = Ok(());
        for hash in unsaved {
            let saved = self.save(torrents, hash).await;
            if let Err(error) = &saved {
                tracing::error!("{hash} is not saved: {error}");
            }
            kept = kept.and(saved);
        }
        kept
    }

    /// Keeps a torrent's description.
    pub fn write_metainfo(&self, _turn: &Turn, metainfo: &Metainfo) -> io::Result<()> {
        let path = self.path(metainfo.info_hash(), "torrent");
        (self.to_disk)(&path, &metainfo.encode())
    }

    /// A torrent's description, where it is known.
    pub fn metainfo(&self, info_hash: InfoHash) -> Option<Arc<Metainfo>> {
        let bytes = std::fs::read(self.path(info_hash, "torrent")).ok()?;
        Metainfo::decode(&bytes).ok().map(Arc::new)
    }

    /// Forgets a torrent.
    pub fn remove(&self, _turn: &Turn, info_hash: InfoHash) {
        for end in ["json", "torrent"] {
            let path = self.path(info_hash, end);
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::error!("{}: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::session::entry::tests::saved;

    const HASH: InfoHash = InfoHash([1; 20]);

    /// A disk that says when it is to write, and does when it is told to.
    struct Slow {
        _home: tempfile::TempDir,
        shelf: Shelf,
        torrents: Arc<Torrents>,
        asked: UnboundedReceiver<()>,
        go: mpsc::Sender<io::Result<()>>,
    }

    impl Slow {
        fn new() -> Slow {
            let home = tempfile::tempdir().expect("a directory");
            let ((ask, asked), (go, told)) = (unbounded_channel(), mpsc::channel());
            let told = Mutex::new(told);
            let mut shelf = Shelf::open(home.path()).expect("a folder");
            shelf.to_disk = Arc::new(move |path, bytes| {
                ask.send(()).map_err(io::Error::other)?;
                lock(&told).recv().map_err(io::Error::other)??;
                write_private(path, bytes)
            });
            Slow {
                _home: home,
                shelf,
                torrents: Arc::new(Mutex::new([(HASH, Entry::new(saved()))].into())),
                asked,
                go,
            }
        }

        /// Begins to keep a change, made at once or once it is written.
        fn begin(
            &self,
            at_once: bool,
            change: fn(&mut Entry),
        ) -> tokio::task::JoinHandle<io::Result<()>> {
            let (shelf, torrents) = (self.shelf.clone(), Arc::clone(&self.torrents));
            tokio::spawn(async move {
                let done = match at_once {
                    true => shelf
                        .hold(&torrents, HASH, change)
                        .await
                        .map(|(_, kept)| kept),
                    false => shelf.change(&torrents, HASH, change).await.map(Ok),
                };
                match done {
                    Ok(kept) => kept,
                    Err(NotKept::Disk(error)) => Err(error),
                    Err(NotKept::Unknown) => panic!("it is there"),
                }
            })
        }

        /// A torrent as it is listed: nobody waits for that.
        fn listed(&self) -> Entry {
            let torrents = self.torrents.try_lock().expect("nobody holds the list");
            torrents[&HASH].clone()
        }

        async fn until(&self, is_so: impl Fn(&Entry) -> bool) {
            while !is_so(&self.listed()) {
                tokio::task::yield_now().await;
            }
        }

        fn written(&self) -> Saved {
            self.shelf.read().expect("read").remove(0)
        }
    }

    fn pause(entry: &mut Entry) {
        entry.saved.paused = true;
    }

    fn label(entry: &mut Entry) {
        entry.saved.label = Some("film".to_owned());
    }

    #[tokio::test]
    async fn who_looks_at_the_list_does_not_wait_for_the_disk_and_who_changed_it_does() {
        let mut disk = Slow::new();
        let labelled = disk.begin(false, label);
        disk.asked.recv().await.expect("writes");
        assert_eq!(disk.listed().saved.label, None, "not kept yet");
        // What is paid less for holds at once, and is answered when it is written.
        let paused = disk.begin(true, pause);
        disk.until(|entry| entry.saved.paused).await;
        assert!(!labelled.is_finished() && !paused.is_finished());
        disk.go.send(Ok(())).expect("heard");
        labelled.await.expect("ends").expect("kept");
        assert!(disk.listed().saved.label.is_some());
        disk.asked.recv().await.expect("writes");
        assert!(!disk.written().paused && !paused.is_finished());
        disk.go.send(Ok(())).expect("heard");
        paused.await.expect("ends").expect("kept");
        assert_eq!(disk.written(), disk.listed().saved);
        assert!(!disk.listed().unsaved);
    }

    #[tokio::test]
    async fn an_older_copy_never_takes_the_place_of_a_newer_one() {
        let mut disk = Slow::new();
        // Nobody waits for it any more while it is being written.
        let labelled = disk.begin(false, label);
        disk.asked.recv().await.expect("writes");
        labelled.abort();
        labelled.await.expect_err("aborted");
        let turn = disk.shelf.turn.try_lock();
        assert!(turn.is_err(), "it lasts until that is written");
        let paused = disk.begin(true, pause);
        disk.until(|entry| entry.saved.paused).await;
        disk.go.send(Ok(())).expect("heard");
        disk.go.send(Ok(())).expect("heard");
        paused.await.expect("ends").expect("kept");
        let written = disk.written();
        assert_eq!((written.paused, written.label), (true, None));
        assert_eq!(disk.written(), disk.listed().saved);
    }

    #[tokio::test]
    async fn of_two_that_contradict_each_other_the_one_that_was_asked_for_last_holds() {
        let mut disk = Slow::new();
        lock(&disk.torrents)
            .get_mut(&HASH)
            .map(pause)
            .expect("is there");
        let resumed = disk.begin(false, |entry| entry.saved.paused = false);
        disk.asked.recv().await.expect("writes");
        let paused = disk.begin(true, pause);
        disk.until(|entry| entry.unsaved).await;
        tokio::task::yield_now().await;
        for _ in 0..2 {
            disk.go.send(Ok(())).expect("heard");
        }
        resumed.await.expect("ends").expect("kept");
        paused.await.expect("ends").expect("kept");
        assert!(disk.listed().saved.paused && disk.written().paused);
        assert!(!disk.listed().unsaved);
    }

    #[tokio::test]
    async fn what_comes_while_it_is_written_is_saved_after_it() {
        let mut disk = Slow::new();
        let paused = disk.begin(true, pause);
        disk.asked.recv().await.expect("writes");
        let came = |entry: &mut Entry| (entry.saved.down_bytes, entry.unsaved) = (7, true);
        lock(&disk.torrents)
            .get_mut(&HASH)
            .map(came)
            .expect("is there");
        disk.go.send(Ok(())).expect("heard");
        paused.await.expect("ends").expect("kept");
        assert_eq!(disk.written().down_bytes, 0);
        assert!(disk.listed().unsaved);
        disk.go.send(Ok(())).expect("heard");
        disk.shelf.save_all(&disk.torrents).await.expect("kept");
        assert_eq!(disk.written().down_bytes, 7);
        assert!(!disk.listed().unsaved);
    }

    #[tokio::test]
    async fn what_a_disk_refuses_has_not_happened_unless_it_had_to_hold_at_once() {
        let disk = Slow::new();
        let full = || Err(io::ErrorKind::StorageFull.into());
        disk.go.send(full()).expect("heard");
        let refused = disk.begin(false, label).await.expect("ends");
        assert_eq!(
            refused.expect_err("full").kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(disk.listed().saved.label, None);
        disk.go.send(full()).expect("heard");
        let refused = disk.begin(true, pause).await.expect("ends");
        assert_eq!(
            refused.expect_err("full").kind(),
            io::ErrorKind::StorageFull
        );
        assert!(disk.listed().saved.paused && disk.listed().unsaved);
        disk.go.send(Ok(())).expect("heard");
        disk.shelf.save_all(&disk.torrents).await.expect("kept");
        assert!(disk.written().paused && !disk.listed().unsaved);
    }
}
