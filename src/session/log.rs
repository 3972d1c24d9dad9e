//! The log: the newest lines in memory for the page, more of them in files.

mod files;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::layer::{Context, Filter, Layer};

use files::{Bounds, Files};

use super::view::LogLine;
use crate::clock;
use crate::config::settings::LogLevel;
use crate::engine::TrackerBook;
use crate::units::InfoHash;

/// Lines kept in memory.
const KEPT: usize = 5000;
/// Longest line, in bytes.
const LINE_BYTES: usize = 2000;
/// Most bytes of a file of lines, and of all files.
const PART_BYTES: u64 = 8 << 20;
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<LogLine>,
    last_id: u64,
}

/// The log of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LogBook {
    inner: Arc<Inner>,
    /// What trackers answered, which is heard where logs are.
    pub trackers: TrackerBook,
}

#[derive(Debug, Default)]
struct Inner {
    lines: Mutex<Lines>,
    level: AtomicU8,
    file: Mutex<Option<(NonBlocking, WorkerGuard)>>,
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        _ => 3,
    }
}

impl LogBook {
    /// Keeps lines of this level and above.
    pub fn set_level(&self, level: LogLevel) {
        let rank = match level {
            LogLevel::Error => 0,
            LogLevel::Warn => 1,
            LogLevel::Info => 2,
            LogLevel::Debug => 3,
        };
        self.inner.level.store(rank, Ordering::Relaxed);
    }

    /// From now on writes all lines to files in `folder`: of the newest `keep` days, and 64 MiB at most.
    ///
    /// # Errors
    /// A folder that cannot be made or written to.
    pub fn write_to(&self, folder: &Path, keep: u32) -> std::io::Result<()> {
        let bounds = Bounds {
            days: keep,
            part_bytes: PART_BYTES,
            most_bytes: MOST_BYTES,
        };
        self.write_within(folder, bounds)
    }

    fn write_within(&self, folder: &Path, bounds: Bounds) -> std::io::Result<()> {
        let opened = tracing_appender::non_blocking(Files::open(folder, bounds)?);
        *self.file() = Some(opened);
        Ok(())
    }

    fn file(&self) -> std::sync::MutexGuard<'_, Option<(NonBlocking, WorkerGuard)>> {
        self.inner
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.inner
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a line.
    pub fn note(&self, level: Level, part: &str, mut text: String, info_hash: Option<InfoHash>) {
        if text.len() > LINE_BYTES {
            let mut end = LINE_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(" ...");
        }
        // A line break from a stranger must not look like another line.
        let text = crate::torrent::printable(&text);
        let at = clock::now();
        let level = level.as_str().to_ascii_lowercase();
        if let Some((file, _)) = &mut *self.file() {
            let at = crate::report::moment(at);
            // At once, so that nothing of another line comes between.
            let _ = file.write_all(format!("{at} {level:<5} {part}: {text}\n").as_bytes());
        }
        let mut lines = self.lines();
        lines.last_id += 1;
        let id = lines.last_id;
        let part = part.to_owned();
        lines.lines.push_back(LogLine {
            id,
            at,
            level,
            part,
            text,
            info_hash,
        });
        if lines.lines.len() > KEPT {
            lines.lines.pop_front();
        }
    }

    /// The newest `limit` lines after `after`, oldest first.
    #[must_use]
    pub fn tail(&self, after: u64, limit: usize, of: Option<InfoHash>) -> Vec<LogLine> {
        let lines = self.lines();
        let wanted = lines.lines.iter().rev().take_while(|line| line.id > after);
        let wanted = wanted.filter(|line| of.is_none() || line.info_hash == of);
        let mut tail: Vec<LogLine> = wanted.take(limit).cloned().collect();
        tail.reverse();
        tail
    }
}

#[derive(Default)]
struct Said {
    text: String,
    info_hash: Option<InfoHash>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let shown = format!("{value:?}");
        if field.name() == "info_hash" {
            self.info_hash = shown.parse().ok();
        }
        let _ = match field.name() {
            "message" => write!(self.text, "{shown}"),
            name => write!(self.text, " {name}={shown}"),
        };
    }
}

impl<S: Subscriber> Layer<S> for LogBook {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut said = Said::default();
        event.record(&mut said);
        let part = meta.target();
        self.note(
            *meta.level(),
            part,
            said.text.trim().to_owned(),
            said.info_hash,
        );
    }
}

impl<S> Filter<S> for LogBook {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        // What others say only where it is a failure or a warning.
        let own = meta.target().starts_with("dpay");
        let most = self.inner.level.load(Ordering::Relaxed);
        rank(*meta.level()) <= if own { most } else { most.min(1) }
    }

    fn callsite_enabled(&self, meta: &'static Metadata<'static>) -> Interest {
        // What is never kept need not be asked about each time.
        let least = if meta.target().starts_with("dpay") {
            3
        } else {
            1
        };
        match rank(*meta.level()) <= least && *meta.level() != Level::TRACE {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<tracing_subscriber::filter::LevelFilter> {
        Some(tracing_subscriber::filter::LevelFilter::DEBUG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("text")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn of_days_and_bytes_that_are_too_many_the_oldest_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, bytes: u64| {
            let file = std::fs::File::create(dir.path().join(name)).expect("made");
            file.set_len(bytes).expect("has room");
        };
        put("node.2001-01-01.log", MOST_BYTES);
        put("node.2001-01-02.log", 10);
        put("node.2001-01-02.1.log", 10);
        put("node.2001-01-02.notes.log", MOST_BYTES);
        LogBook::default().write_to(dir.path(), 30).expect("opens");
        let today = crate::report::date(clock::now().day());
        let own = format!("node.{today}.log");
        let left = [
            "node.2001-01-02.1.log",
            "node.2001-01-02.log",
            "node.2001-01-02.notes.log",
            &own,
        ];
        assert_eq!(
            names(dir.path()),
            left,
            "by bytes, and none that is not ours"
        );
        put("node.2001-01-01.log", 10);
        LogBook::default().write_to(dir.path(), 2).expect("opens");
        assert_eq!(names(dir.path()), left, "by days");
    }

    #[test]
    fn what_is_logged_in_a_day_stays_within_the_bound_and_ends_with_the_newest_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let bounds = Bounds {
            days: 30,
            part_bytes: 1000,
            most_bytes: 3000,
        };
        for run in 0..2 {
            let book = LogBook::default();
            book.write_within(dir.path(), bounds).expect("opens");
            for n in 0..100 {
                let text = format!("line {n} of run {run} {}", "x".repeat(60));
                book.note(Level::INFO, "dpay", text, None);
            }
        }
        let read = |name: &String| std::fs::read_to_string(dir.path().join(name)).expect("text");
        let texts: Vec<String> = names(dir.path()).iter().map(read).collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        assert!((1000..=3000).contains(&bytes), "{bytes}");
        let (all, fits) = (texts.concat(), |text: &String| text.len() <= 1000);
        assert!(texts.iter().all(fits), "{texts:?}");
        assert!(
            all.contains("line 99 of run 1 ") && !all.contains("of run 0"),
            "{all}"
        );
        assert!(all.lines().all(|line| line.ends_with("xxx")), "{all}");
    }
}
