//! Payees that are not paid for a while, over restarts: a day after one showed a conflict, ten minutes
//! after it refused spends otherwise (`docs/protocol.md` section 5).

use std::collections::HashMap;
use std::path::PathBuf;

use crate::units::UnixMs;
use crate::wire::codes::RefuseReason;

const CONFLICT_MS: u64 = 24 * 3_600_000;
const OTHER_MS: u64 = 10 * 60_000;
/// Payees avoided at once, at most.
const MAX_AVOIDED: usize = 1_000;

/// Until when each payee is not paid, by its address.
#[derive(Debug, Default)]
pub struct Avoided {
    until: HashMap<String, UnixMs>,
    file: Option<PathBuf>,
}

fn read(line: &str) -> Option<(String, UnixMs)> {
    let (until, peer) = line.split_once(' ')?;
    Some((peer.to_owned(), UnixMs(until.parse().ok()?)))
}

impl Avoided {
    /// What earlier runs wrote down, as far as it can be read: one line for each payee, with the end
    /// (unix milliseconds) and its address.
    #[must_use]
    pub fn load(file: Option<PathBuf>) -> Avoided {
        let text = file.as_ref().map(std::fs::read_to_string);
        let text = text.and_then(Result::ok).unwrap_or_default();
        Avoided {
            until: text.lines().filter_map(read).take(MAX_AVOIDED).collect(),
            file,
        }
    }

    /// A payee refused a spend with nothing paid.
    pub fn note(&mut self, now: UnixMs, peer: String, reason: RefuseReason) {
        let ms = match reason {
            RefuseReason::Conflict => CONFLICT_MS,
            _ => OTHER_MS,
        };
        self.until.retain(|_, until| *until > now);
        if self.until.len() < MAX_AVOIDED {
            self.until.insert(peer, now.plus_ms(ms));
            self.save();
        }
    }

    /// Whether a payee is not paid at present.
    #[must_use]
    pub fn contains(&self, now: UnixMs, peer: &str) -> bool {
        self.until.get(peer).is_some_and(|until| *until > now)
    }

    /// At once: it happens seldom, and a coin's link hangs on it.
    fn save(&self) {
        let Some(file) = &self.file else {
            return;
        };
        let lines = self.until.iter();
        let text: String = lines
            .map(|(peer, at)| format!("{} {peer}\n", at.0))
            .collect();
        let part = file.with_extension("part");
        let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, file));
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "who is avoided is not written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_avoids_whom_this_one_does_and_no_longer() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = Some(dir.path().join("avoided"));
        let (now, liar, doubtful) = (UnixMs(5), "1.2.3.4:5", "[2001:db8::1]:6");
        let mut avoided = Avoided::load(file.clone());
        assert!(!avoided.contains(now, liar));
        avoided.note(now, liar.to_owned(), RefuseReason::Conflict);
        avoided.note(now, doubtful.to_owned(), RefuseReason::Undecided);
        let mut next = Avoided::load(file.clone());
        for (at, both) in [(now, true), (now.plus_ms(OTHER_MS), false)] {
            assert!(next.contains(at, liar));
            assert_eq!(next.contains(at, doubtful), both);
        }
        let tomorrow = now.plus_ms(CONFLICT_MS);
        assert!(!next.contains(tomorrow, liar));
        next.note(tomorrow, "1.2.3.5:5".to_owned(), RefuseReason::Path);
        assert_eq!(
            Avoided::load(file).until.len(),
            1,
            "what is over is forgotten"
        );
    }

    #[test]
    fn lines_that_nobody_wrote_are_skipped() {
        for line in ["", "5", "x 1.2.3.4:5", "-1 1.2.3.4:5"] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }
}
