//! Streaming a file of a torrent: only one that is chosen is fetched for that, as nothing else was agreed to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};

use super::Session;
use super::details::{known, media_type};
use super::entry::Entry;
use super::run::Running;
use super::view::{Advice, Problem, ProblemCode};
use crate::engine::FileBytes;
use crate::torrent::{Metainfo, TorrentFile};
use crate::units::InfoHash;

/// How long a stream waits for a torrent that the engine is being given anew.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A file to be sent, with what it is.
pub struct Content {
    /// Its bytes.
    pub bytes: Box<dyn FileBytes>,
    /// How many.
    pub length_bytes: u64,
    /// Its name. From strangers.
    pub name: String,
    /// Its media type, where a browser can play or show it safely.
    pub media_type: Option<String>,
    /// Resolves when the file is chosen no longer: to read on would have it fetched all the same.
    pub until: BoxFuture<'static, ()>,
}

/// A torrent, as soon as it `is_whole` on the disk, or the engine has it as it is to have it: between a yes and
/// that a stream would break off.
///
/// # Errors
/// Unknown torrent; one that takes longer than until `late`.
async fn settled(
    look: impl Fn() -> Result<Entry, Problem>,
    is_whole: impl Fn(&Entry) -> bool,
    late: Instant,
) -> Result<Entry, Problem> {
    loop {
        let entry = look()?;
        if is_whole(&entry) || !entry.is_changing() {
            return Ok(entry);
        }
        if Instant::now() >= late {
            let error = "the torrent is being started anew";
            let problem = Problem::new(ProblemCode::Busy, error, Advice::AskAgain);
            return Err(problem.about(entry.saved.info_hash));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether all of a file is known to be on the disk.
fn is_whole(entry: &Entry, index: u32, length_bytes: u64) -> bool {
    let handle = entry.handle.as_ref();
    let have = handle.and_then(|handle| handle.file_bytes_have().get(index as usize).copied());
    // The engine may just have let go of it, or not know its pieces yet.
    let is_known_by_us = handle.is_none() || entry.is_changing();
    have == Some(length_bytes)
        || (is_known_by_us && entry.saved.have_bytes >= entry.saved.size_bytes)
}

impl Session {
    /// A file's bytes, also while it is being downloaded.
    ///
    /// # Errors
    /// No such file, metadata not known; a file that is not whole, of a torrent that is paused or waits for a
    /// yes, or that is not chosen; a torrent that the engine is being given anew for long.
    pub async fn content(&self, hash: InfoHash, index: u32) -> Result<Content, Problem> {
        let run = self.running()?;
        run.entry(hash)?;
        let metainfo = known(&run, hash)?;
        let file = metainfo
            .files()
            .get(index as usize)
            .filter(|file| !file.padding);
        let file = file.ok_or_else(|| {
            Problem::new(
                ProblemCode::NotFound,
                format!("the torrent has no file {index}"),
                Advice::SeeFiles,
            )
        })?;
        let name = file.path.last().cloned().unwrap_or_default();
        let is_whole = |entry: &Entry| is_whole(entry, index, file.length_bytes);
        let late = Instant::now() + SETTLES_WITHIN;
        let entry = settled(|| run.entry(hash), is_whole, late).await?;
        let mut until = std::future::pending().boxed();
        let bytes: Box<dyn FileBytes> = if is_whole(&entry) {
            Box::new(open(&path_of(&entry, &metainfo, file)).await?)
        } else if !entry.saved.wants(index) {
            let shown = crate::torrent::printable(&name);
            let error = format!("{shown} is not chosen: nothing of it is fetched");
            let problem = Problem::new(ProblemCode::Conflict, error, Advice::ChooseFileFirst);
            return Err(problem.about(shown));
        } else if entry.saved.asking {
            return Err(super::asking::asks_first(hash));
        } else {
            let waits = || {
                Problem::new(
                    ProblemCode::Conflict,
                    "the torrent is paused or queued, and the file is not whole",
                    Advice::ResumeFirst,
                )
            };
            let handle = entry
                .handle
                .clone()
                .filter(|_| !entry.stands_still())
                .ok_or_else(waits)?;
            until = run.until_not_chosen(hash, index).boxed();
            handle
                .stream(index as usize)
                .await
                .map_err(super::problems::engine_problem)?
        };
        Ok(Content {
            bytes,
            length_bytes: file.length_bytes,
            media_type: media_type(&name),
            name,
            until,
        })
    }
}

impl Running {
    /// Resolves when a file is chosen no longer, or its torrent is gone.
    fn until_not_chosen(
        self: &Arc<Running>,
        hash: InfoHash,
        index: u32,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (mut choices, run) = (self.choices.subscribe(), Arc::downgrade(self));
        async move {
            loop {
                let entry = run.upgrade().and_then(|run| run.entry(hash).ok());
                let is_chosen = entry.is_some_and(|entry| entry.saved.wants(index));
                if !is_chosen || choices.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

fn path_of(entry: &Entry, metainfo: &Metainfo, file: &TorrentFile) -> PathBuf {
    match metainfo.is_multi_file() {
        true => entry
            .saved
            .folder
            .join(metainfo.name())
            .join(file.relative_path()),
        false => entry.saved.folder.join(metainfo.name()),
    }
}

async fn open(path: &Path) -> Result<tokio::fs::File, Problem> {
    tokio::fs::File::open(path).await.map_err(|error| {
        Problem::new(
            ProblemCode::Disk,
            format!("{}: {error}", path.display()),
            Advice::PutBackOrResume,
        )
        .about(path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewed() -> Entry {
        let mut saved = crate::session::entry::tests::saved();
        (saved.size_bytes, saved.have_bytes) = (10, 4);
        let mut entry = Entry::new(saved);
        entry.renewing = Some(false);
        entry
    }

    #[tokio::test]
    async fn a_stream_waits_for_a_torrent_that_is_given_to_the_engine_anew() {
        let entry = renewed();
        let by_engine = |entry: &Entry| is_whole(entry, 0, 10);
        let late = Instant::now();
        let busy = settled(|| Ok(entry.clone()), by_engine, late).await;
        let busy = busy.expect_err("it is late");
        assert_eq!(busy.code, ProblemCode::Busy, "{busy:?}");

        let looks = std::cell::Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            let mut entry = entry.clone();
            entry.renewing = Some(true).filter(|_| looks.get() < 3);
            Ok(entry)
        };
        let late = Instant::now() + SETTLES_WITHIN;
        let entry = settled(look, by_engine, late).await.expect("in time");
        assert_eq!((looks.get(), entry.renewing), (3, None));
    }

    #[tokio::test]
    async fn what_is_whole_on_the_disk_waits_for_nothing() {
        let mut entry = renewed();
        entry.saved.have_bytes = 10;
        assert!(entry.is_changing());
        let late = Instant::now();
        let whole = |entry: &Entry| is_whole(entry, 0, 10);
        let found = settled(|| Ok(entry.clone()), whole, late).await;
        assert!(found.expect("at once").is_changing());
    }
}
