//! The files of the log: one a day, more of a day that says much, and all of them within a bound.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::units::Day;
use crate::{clock, report};

/// How much stays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The newest days, each of which has a file at least.
    pub days: u32,
    /// Of one file.
    pub part_bytes: u64,
    /// Of all of them: the oldest go.
    pub most_bytes: u64,
}

/// A file's place among all: its day, and its number among those of the day.
type Place = (Day, u32);

/// Writes lines into them. What is given at once is never parted.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    bounds: Bounds,
    place: Place,
    file: File,
    bytes: u64,
}

impl Files {
    /// Goes on where an earlier run ended.
    pub fn open(folder: &Path, bounds: Bounds) -> io::Result<Files> {
        fs::create_dir_all(folder)?;
        let today = clock::now().day();
        let known = places(folder)?;
        let newest = known.into_iter().filter(|(day, _)| *day == today).max();
        let place = newest.unwrap_or((today, 0));
        let (file, bytes) = append(folder, place)?;
        let files = Files {
            folder: folder.to_path_buf(),
            bounds,
            place,
            file,
            bytes,
        };
        files.clear();
        Ok(files)
    }

    /// Makes room for a line, in a new file where this one is full or of another day.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let (day, number) = self.place;
        let today = clock::now().day();
        let is_full = self.bytes > 0 && self.bytes + bytes > self.bounds.part_bytes;
        let next = match (day == today, is_full) {
            (true, false) => return Ok(()),
            (true, true) => (day, number.saturating_add(1)),
            (false, _) => (today, 0),
        };
        (self.file, self.bytes) = append(&self.folder, next)?;
        self.place = next;
        self.clear();
        Ok(())
    }

    /// Removes the oldest, until the newest have room to grow. One that cannot be removed hinders no line: the
    /// next file that is begun tries again.
    fn clear(&self) {
        let Ok(mut places) = places(&self.folder) else {
            return;
        };
        places.sort_unstable();
        let days: BTreeSet<Day> = places.iter().map(|(day, _)| *day).collect();
        let newest = days.iter().rev().nth(self.bounds.days.max(1) as usize - 1);
        let mut bytes = self.bounds.part_bytes.saturating_sub(self.bytes);
        for place in places.into_iter().rev() {
            let path = path(&self.folder, place);
            bytes = bytes.saturating_add(fs::metadata(&path).map_or(0, |known| known.len()));
            let is_old = newest.is_some_and(|newest| place.0 < *newest);
            if place != self.place && (is_old || bytes > self.bounds.most_bytes) {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl Write for Files {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let bytes = lines.len() as u64;
        self.make_room(bytes)?;
        self.file.write_all(lines)?;
        self.bytes += bytes;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn path(folder: &Path, (day, number): Place) -> PathBuf {
    let day = report::date(day);
    folder.join(match number {
        0 => format!("node.{day}.log"),
        more => format!("node.{day}.{more}.log"),
    })
}

fn append(folder: &Path, place: Place) -> io::Result<(File, u64)> {
    let path = path(folder, place);
    let file = File::options().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// The files that are ours, by their names.
fn places(folder: &Path) -> io::Result<Vec<Place>> {
    let place = |name: &str| {
        let name = name.strip_prefix("node.")?.strip_suffix(".log")?;
        let (day, number) = name.split_once('.').unwrap_or((name, "0"));
        Some((report::parse_date(day)?, number.parse().ok()?))
    };
    let mut places = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let known = name.to_str().and_then(place);
        // Nothing else is ours, such as a name with zeros in front of its number.
        places.extend(known.filter(|place| path(folder, *place) == folder.join(&name)));
    }
    Ok(places)
}
