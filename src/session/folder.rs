//! The folder for downloads: whether it can be written, and how much room there is. A disk may take its time to
//! say so (a share in the network, a disk that sleeps): nobody waits for it but whoever asks for just that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::view::Saying;
use super::{Session, lock};

/// How long a look is good for.
const GOOD_FOR: Duration = Duration::from_secs(3);
/// How long a disk is waited for; what it says later is there for the next who asks.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a look at a folder saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FolderLook {
    pub folder: PathBuf,
    /// Bytes free where it is, or will be.
    pub free_bytes: Option<u64>,
    /// Why nothing can be written to it, or where it will be.
    pub problem: Option<Saying>,
}

impl FolderLook {
    /// Looks. Waits for the disk.
    fn at(folder: PathBuf) -> FolderLook {
        FolderLook {
            free_bytes: free_bytes(&folder),
            problem: folder_problem(&folder),
            folder,
        }
    }
}

/// The last look, and the one that is under way.
#[derive(Debug, Default)]
pub(super) struct Looks {
    last: Option<(Instant, FolderLook)>,
    begun: Option<PathBuf>,
}

impl Looks {
    /// Whether a look at this folder is due, and begun with this.
    fn begin(&mut self, folder: &Path, now: Instant) -> bool {
        let of = |at: Instant, seen: &Path| seen == folder && now.duration_since(at) < GOOD_FOR;
        let is_known = (self.last.as_ref()).is_some_and(|(at, look)| of(*at, &look.folder));
        // A disk that does not answer is not asked once more for each who looks.
        if is_known || self.begun.as_deref() == Some(folder) {
            return false;
        }
        self.begun = Some(folder.to_owned());
        true
    }
}

impl Session {
    /// The folder that downloads go to; that of the play world goes with it.
    pub(super) fn downloads_folder(&self) -> PathBuf {
        if let Some(world) = &lock(&self.inner.play).world {
            return world.home().join("downloads");
        }
        let given = self.inner.options.downloads.clone();
        let set = given.or_else(|| self.settings().folders.downloads);
        set.unwrap_or_else(|| {
            let dirs = directories::UserDirs::new();
            let system = dirs.as_ref().and_then(|dirs| dirs.download_dir());
            system.map_or_else(
                || self.inner.options.home.join("downloads"),
                Path::to_path_buf,
            )
        })
    }

    /// What was last seen of the folder for downloads.
    pub(super) fn seen_folder(&self, folder: &Path) -> Option<FolderLook> {
        let looks = lock(&self.inner.looks);
        let last = looks.last.as_ref().map(|(_, look)| look);
        last.filter(|look| look.folder == folder).cloned()
    }

    /// Looks at the folder for downloads, unless it was just looked at. True: it is not as it was seen before.
    pub(super) async fn look_at_folder(&self) -> bool {
        let folder = self.downloads_folder();
        if !lock(&self.inner.looks).begin(&folder, Instant::now()) {
            return false;
        }
        let (session, before) = (self.clone(), self.seen_folder(&folder));
        let looking = tokio::task::spawn_blocking(move || {
            let look = FolderLook::at(folder);
            let mut looks = lock(&session.inner.looks);
            looks.begun = None;
            looks.last = Some((Instant::now(), look.clone()));
            look
        });
        let seen = tokio::time::timeout(PATIENCE, looking).await;
        matches!(seen, Ok(Ok(look)) if before.as_ref() != Some(&look))
    }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn folder_problem(folder: &Path) -> Option<Saying> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let (code, text) = if !there.is_dir() {
        (
            "folder_is_file",
            "a file stands where the folder for downloads should be",
        )
    } else if rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
        (
            "folder_not_writable",
            "the node may not write in the folder for downloads",
        )
    } else {
        return None;
    };
    Some(Saying::new(code, text, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_looked_at_once_in_a_while_and_another_one_at_once() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        let (one, other) = (Path::new("/one"), Path::new("/other"));
        assert!(looks.begin(one, now));
        assert!(!looks.begin(one, now), "the disk was asked already");
        looks.last = Some((now, FolderLook::at(one.to_owned())));
        looks.begun = None;
        assert!(!looks.begin(one, now + GOOD_FOR / 2), "it is known");
        assert!(looks.begin(other, now));
        looks.begun = None;
        assert!(looks.begin(one, now + GOOD_FOR));
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        std::fs::write(&file, b"x").expect("written");
        let look = FolderLook::at(dir.path().join("not/there/yet"));
        assert!(
            look.problem.is_none() && look.free_bytes > Some(0),
            "{look:?}"
        );
        let look = FolderLook::at(file);
        assert_eq!(look.problem.expect("a problem").code, "folder_is_file");
    }
}
