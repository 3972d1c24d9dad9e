//! Copies of what was transferred, taken while nobody adds to it and written while anybody may.

use std::path::Path;
use std::sync::Mutex;

use super::{FILE, NEW_FILE, Recent, Traffic, add_all};
use crate::config::write_private;
use crate::session::lock;

/// A copy of what is to be written.
#[derive(Debug)]
pub struct Copied {
    file: &'static str,
    bytes: Vec<u8>,
    /// Of all: what had come since the one before.
    before: Option<Recent>,
}

impl Copied {
    /// Writes it where it belongs in the home.
    pub fn write(&self, home: &Path) -> std::io::Result<()> {
        write_private(&home.join(self.file), &self.bytes)
    }
}

impl Traffic {
    /// A copy of all of it, where it has changed. What comes from now on counts as come since.
    pub fn copy_all(&mut self) -> std::io::Result<Option<Copied>> {
        if !self.unsaved {
            return Ok(None);
        }
        self.turn += 1;
        let bytes = serde_json::to_vec(self).inspect_err(|_| self.turn -= 1)?;
        let since = Recent {
            turn: self.turn,
            ..Recent::default()
        };
        self.unsaved = false;
        Ok(Some(Copied {
            file: FILE,
            bytes,
            before: Some(std::mem::replace(&mut self.recent, since)),
        }))
    }

    /// A copy of what came since all was written, where that has changed: little, so that it can be often.
    pub fn copy_recent(&mut self) -> std::io::Result<Option<Copied>> {
        if !self.recent.unsaved {
            return Ok(None);
        }
        let bytes = serde_json::to_vec(&self.recent)?;
        self.recent.unsaved = false;
        Ok(Some(Copied {
            file: NEW_FILE,
            bytes,
            before: None,
        }))
    }

    /// A copy could not be written. What came since the last one of all that was counts from there again.
    pub fn put_back(&mut self, copy: Copied) {
        if let Some(before) = copy.before {
            self.turn = before.turn;
            self.unsaved = true;
            let since = std::mem::replace(&mut self.recent, before);
            add_all(&mut self.recent.days, &since.days);
            add_all(&mut self.recent.peers, &since.peers);
            self.recent.covered.extend(since.covered);
        }
        self.recent.unsaved = true;
    }
}

/// Nobody who notes what is transferred waits for the disk.
pub fn write(
    traffic: &Mutex<Traffic>,
    take: fn(&mut Traffic) -> std::io::Result<Option<Copied>>,
    home: &Path,
) -> std::io::Result<()> {
    let Some(copy) = take(&mut lock(traffic))? else {
        return Ok(());
    };
    let written = copy.write(home);
    if written.is_err() {
        lock(traffic).put_back(copy);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Day, InfoHash};

    #[test]
    fn what_could_not_be_written_is_written_later_with_what_came_since() {
        let dir = tempfile::tempdir().expect("a directory");
        let (hash, gone) = (InfoHash([1; 20]), dir.path().join("gone"));
        let traffic = Mutex::new(Traffic::read(dir.path()));
        let add = |bytes| lock(&traffic).add(Day(1), hash, None, bytes, 0);
        let left = || Traffic::left_in(dir.path()).map_or(0, |left| left.of(hash).0);
        let mut sum = 0;
        for round in 1..20 {
            add(round);
            write(&traffic, Traffic::copy_recent, &gone).expect_err("no such folder");
            sum += round;
            let take = match round % 3 {
                0 => Traffic::copy_all,
                _ => Traffic::copy_recent,
            };
            write(&traffic, take, dir.path()).expect("written");
            assert_eq!(left(), sum, "round {round}");
            // All of it fails between its copy and its end, in which more comes.
            let copy = lock(&traffic).copy_all().expect("a copy");
            add(1);
            sum += 1;
            if let Some(copy) = copy {
                lock(&traffic).put_back(copy);
            }
            write(&traffic, Traffic::copy_recent, dir.path()).expect("written");
            assert_eq!(left(), sum, "after round {round}");
        }
    }
}
