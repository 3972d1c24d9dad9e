//! The watch folder: torrents and links that appear in it are added. A file may be in the middle of being written:
//! what cannot be read yet is tried again as it changes, and is broken only once it has not changed for a while.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Session;
use super::fetch::{self, Found};
use super::run::Running;
use super::view::event::{Level, NoticeCode};
use super::view::{AddRequest, Added, Advice, Problem, ProblemCode};

/// How often the folder is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// What cannot be read and has not changed for so long is broken.
const BROKEN_AFTER: Duration = Duration::from_secs(60);
/// Largest file that is looked into.
const MAX_BYTES: u64 = 32 << 20;
/// Most links in one file.
const MAX_LINKS: usize = 1000;

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    /// A file, by what changes as it is written.
    File {
        bytes: u64,
        modified: Option<SystemTime>,
    },
    /// What cannot be read, and why.
    Odd(String),
}

impl Sight {
    fn of(metadata: std::io::Result<Metadata>) -> Sight {
        match metadata {
            Err(error) => Sight::Odd(error.to_string()),
            Ok(metadata) if !metadata.is_file() => Sight::Odd("it is no file".to_owned()),
            Ok(metadata) if metadata.len() > MAX_BYTES => {
                let bytes = metadata.len();
                Sight::Odd(format!(
                    "it has {bytes} bytes, and {MAX_BYTES} at most are read"
                ))
            }
            Ok(metadata) => Sight::File {
                bytes: metadata.len(),
                modified: metadata.modified().ok(),
            },
        }
    }
}

/// How far a name is; anything that changes is `New` again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Seen, not tried.
    New,
    /// It could not be read as it is.
    Unread,
    /// Added, or told.
    Done,
}

/// What is to be done with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    /// It did not change since the last look: add it if it can be read.
    Try,
    /// It has not changed for long: add what of it can be read, and tell what cannot.
    Judge,
    /// Tell why it is passed over.
    Tell(String),
}

#[derive(Debug)]
struct Seen {
    sight: Sight,
    since: Instant,
    stage: Stage,
}

impl Seen {
    fn due(&self, now: Instant) -> Option<Due> {
        match (self.stage, &self.sight) {
            (Stage::New, Sight::File { .. }) => Some(Due::Try),
            (Stage::New, Sight::Odd(why)) => Some(Due::Tell(why.clone())),
            (Stage::Unread, _) => {
                let is_old = now.duration_since(self.since) >= BROKEN_AFTER;
                is_old.then_some(Due::Judge)
            }
            (Stage::Done, _) => None,
        }
    }
}

/// What was seen of the folder.
#[derive(Debug, Default)]
struct Watched {
    seen: HashMap<PathBuf, Seen>,
}

impl Watched {
    /// What is to be done, after a look that found this.
    fn look(&mut self, found: Vec<(PathBuf, Sight)>, now: Instant) -> Vec<(PathBuf, Due)> {
        let there: HashSet<&PathBuf> = found.iter().map(|(path, _)| path).collect();
        self.seen.retain(|path, _| there.contains(path));
        let mut due = Vec::new();
        for (path, sight) in found {
            match self.seen.get(&path) {
                Some(seen) if seen.sight == sight => {
                    due.extend(seen.due(now).map(|due| (path, due)));
                }
                _ => {
                    let (since, stage) = (now, Stage::New);
                    let seen = Seen {
                        sight,
                        since,
                        stage,
                    };
                    self.seen.insert(path, seen);
                }
            }
        }
        due
    }

    fn mark(&mut self, path: &Path, stage: Stage) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.stage = stage;
        }
    }
}

/// Torrents and links in a folder.
fn watched(folder: &Path) -> Vec<(PathBuf, Sight)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let named = paths.filter(|path| ends(path, "torrent") || ends(path, "magnet"));
    named
        .map(|path| {
            let sight = Sight::of(std::fs::metadata(&path));
            (path, sight)
        })
        .collect()
}

fn ends(path: &Path, wanted: &str) -> bool {
    let end = path.extension();
    end.is_some_and(|end| end.eq_ignore_ascii_case(wanted))
}

/// What a file names: one torrent, or a link a line.
fn read(path: &Path, bytes: &[u8]) -> Vec<Result<Found, Problem>> {
    if !ends(path, "magnet") {
        return vec![fetch::decode(bytes)];
    }
    let text = String::from_utf8_lossy(bytes);
    let links: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match links.len() {
        0 => vec![fetch::link("")],
        1..=MAX_LINKS => links.into_iter().map(fetch::link).collect(),
        links => {
            let error = format!("it has {links} links, and {MAX_LINKS} at most are taken");
            let code = ProblemCode::BadTorrent;
            vec![Err(Problem::new(code, error, Advice::NameFewer))]
        }
    }
}

impl Session {
    /// Adds what appears in the watch folder, until it is dropped.
    pub(super) async fn watch_folder(&self, run: &Arc<Running>) {
        if run.home != self.inner.options.home {
            // In the play world nothing lasts: what lies there waits for the real node.
            return;
        }
        let mut all = Watched::default();
        let mut tick = tokio::time::interval(WATCH_EVERY);
        loop {
            tick.tick().await;
            let Some(folder) = self.settings().folders.watch else {
                continue;
            };
            let found = tokio::task::spawn_blocking(move || watched(&folder)).await;
            for (path, due) in all.look(found.unwrap_or_default(), Instant::now()) {
                let stage = self.do_due(run, &path, due).await;
                all.mark(&path, stage);
            }
        }
    }

    async fn do_due(&self, run: &Arc<Running>, path: &Path, due: Due) -> Stage {
        let is_first = due == Due::Try;
        let bytes = match due {
            Due::Tell(why) => Err(Problem::new(
                ProblemCode::BadTorrent,
                why,
                Advice::GiveTorrentFile,
            )),
            Due::Try | Due::Judge => tokio::fs::read(path).await.map_err(|error| {
                let code = ProblemCode::Disk;
                Problem::new(code, error.to_string(), Advice::LetReadWrite)
            }),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(problem) => {
                self.tell_not_added(path, problem.about(path.display()));
                return Stage::Done;
            }
        };
        let named = read(path, &bytes);
        if is_first && named.iter().any(Result::is_err) {
            return Stage::Unread;
        }
        self.take_watched(run, path, named).await;
        Stage::Done
    }

    async fn take_watched(
        &self,
        run: &Arc<Running>,
        path: &Path,
        named: Vec<Result<Found, Problem>>,
    ) {
        let mut end = "added";
        for found in named {
            let added = async {
                let found = found?;
                // One that is there keeps the label that it has.
                let is_new = run.entry(found.info_hash()).is_err();
                let request = AddRequest {
                    // A file is no yes to what waits for one.
                    confirmed: is_new,
                    label: self.settings().folders.watch_label.filter(|_| is_new),
                    ..AddRequest::default()
                };
                self.add_found(run, found, request, true).await
            };
            match added.await {
                Ok(added) => self.tell_added(path, added),
                Err(problem) => {
                    end = "failed";
                    self.tell_not_added(path, problem);
                }
            }
        }
        let mut done = path.as_os_str().to_owned();
        done.push(format!(".{end}"));
        if let Err(error) = tokio::fs::rename(path, &done).await {
            tracing::warn!("{} could not be renamed: {error}", path.display());
        }
    }

    fn tell_added(&self, path: &Path, added: Added) {
        let file = path.display().to_string();
        let name = crate::torrent::printable(&added.name);
        let (code, text) = match added.already {
            true => (
                NoticeCode::WatchThere,
                format!("{name}, named by {file}, is there already"),
            ),
            false => (NoticeCode::WatchAdded, format!("added {name} from {file}")),
        };
        let values = [("name", added.name), ("file", file)];
        self.notice(Level::Info, code, text, &values, Some(added.info_hash));
    }

    fn tell_not_added(&self, path: &Path, problem: Problem) {
        let file = path.display().to_string();
        let text = format!("{file} was not added: {problem}");
        let values = [vec![("file", file)], problem.values()].concat();
        self.notice(Level::Warning, NoticeCode::WatchFailed, text, &values, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64) -> Sight {
        Sight::File {
            bytes,
            modified: None,
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_tried_as_it_grows_and_judged_once_it_stands_still() {
        let (mut all, begin) = (Watched::default(), Instant::now());
        let path = PathBuf::from("slow.torrent");
        let mut look = |seconds, bytes| {
            let now = begin + Duration::from_secs(seconds);
            let mut due = all.look(vec![(path.clone(), file(bytes))], now);
            let due = due.pop().map(|(_, due)| due);
            if due.is_some() {
                all.mark(&path, Stage::Unread);
            }
            due
        };
        assert_eq!(look(0, 1000), None);
        assert_eq!(look(2, 1000), Some(Due::Try));
        assert_eq!(look(50, 1000), None, "it waits for more");
        assert_eq!(look(59, 2000), None, "it grows");
        assert_eq!(look(61, 2000), Some(Due::Try), "and is tried again");
        assert_eq!(look(118, 2000), None);
        assert_eq!(look(119, 2000), Some(Due::Judge));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_told_once() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("folder.torrent")).expect("made");
        std::fs::write(dir.path().join("UPPER.TORRENT"), "x").expect("written");
        std::fs::write(dir.path().join("notes.txt"), "x").expect("written");
        std::os::unix::fs::symlink("nowhere", dir.path().join("link.magnet")).expect("made");
        let (mut all, now) = (Watched::default(), Instant::now());
        let mut look = || {
            let mut due = all.look(watched(dir.path()), now);
            for (path, _) in &due {
                all.mark(path, Stage::Done);
            }
            due.sort_by_key(|(path, _)| path.clone());
            let kinds = due.into_iter().map(|(path, due)| {
                let name = path.file_name().expect("a name").to_owned();
                (name, matches!(due, Due::Tell(_)))
            });
            kinds.collect::<Vec<_>>()
        };
        assert!(look().is_empty());
        let named = [
            ("UPPER.TORRENT", false),
            ("folder.torrent", true),
            ("link.magnet", true),
        ];
        assert_eq!(
            look(),
            named.map(|(name, told)| (std::ffi::OsString::from(name), told))
        );
        assert!(look().is_empty());
    }

    #[test]
    fn each_line_of_a_magnet_file_is_a_link() {
        let links = |text: &str| {
            let found = read(Path::new("two.magnet"), text.as_bytes());
            found.iter().map(Result::is_ok).collect::<Vec<_>>()
        };
        let (one, two) = ("a".repeat(40), "b".repeat(40));
        let both = format!("magnet:?xt=urn:btih:{one}\r\n\nmagnet:?xt=urn:btih:{two}\n");
        assert_eq!(links(&both), [true, true]);
        assert_eq!(links(&format!("{one}\nmagnet:?xt=ur")), [true, false]);
        assert_eq!(links("\n"), [false]);
        assert_eq!(links(&format!("{one}\n").repeat(MAX_LINKS + 1)), [false]);
    }
}
