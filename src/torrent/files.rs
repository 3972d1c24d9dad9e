//! The list of files in an info dictionary (BEP 3; padding of BEP 47).

use std::collections::HashSet;
use std::path::PathBuf;

use super::bencode::{Dict, Value};
use super::metainfo::MetainfoError;
use super::names;

/// Most files in one torrent.
const MAX_FILES: usize = 100_000;

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentFile {
    /// Path below the torrent's folder; for a single-file torrent its name alone. From strangers,
    /// but safe to join to a folder. Bytes that are not UTF-8 are replaced.
    pub path: Vec<String>,
    /// Length in bytes, often 0.
    pub length_bytes: u64,
    /// Where it begins in the torrent.
    pub offset_bytes: u64,
    /// Padding (BEP 47): all zero, never stored.
    pub padding: bool,
}

impl TorrentFile {
    /// The path below the torrent's folder.
    #[must_use]
    pub fn relative_path(&self) -> PathBuf {
        self.path.iter().collect()
    }
}

/// The files, and whether they lie in a folder. Offsets are not set yet.
pub(super) fn read(info: &Dict<'_>, name: &str) -> Result<(Vec<TorrentFile>, bool), MetainfoError> {
    let list = match (info.get("files"), info.get("length")) {
        (Some(files), None) => files.as_list().ok_or(MetainfoError::Field("files"))?,
        (None, Some(_)) => {
            let file = TorrentFile {
                path: vec![name.to_owned()],
                length_bytes: length(info)?,
                offset_bytes: 0,
                padding: false,
            };
            return Ok((vec![file], false));
        }
        _ => return Err(MetainfoError::Field("files")),
    };
    if list.len() > MAX_FILES {
        return Err(MetainfoError::TooMany("100000 files"));
    }
    let files = list.iter().map(read_file);
    let files: Vec<TorrentFile> = files.collect::<Result<_, _>>()?;
    check_clashes(&files)?;
    Ok((files, true))
}

fn read_file(entry: &Value<'_>) -> Result<TorrentFile, MetainfoError> {
    let entry = entry.as_dict().ok_or(MetainfoError::Field("files"))?;
    let parts = entry.get("path").and_then(Value::as_list);
    let parts = parts.ok_or(MetainfoError::Field("path"))?;
    if parts.is_empty() {
        return Err(MetainfoError::Field("path"));
    }
    if parts.len() > names::MAX_PATH_PARTS {
        return Err(MetainfoError::TooMany("64 folders in a path"));
    }
    let part =
        |value: &Value<'_>| checked_name(value.as_bytes().ok_or(MetainfoError::Field("path"))?);
    let attributes = entry.get("attr").and_then(Value::as_bytes);
    Ok(TorrentFile {
        path: parts.iter().map(part).collect::<Result<_, _>>()?,
        length_bytes: length(entry)?,
        offset_bytes: 0,
        padding: attributes.is_some_and(|attributes| attributes.contains(&b'p')),
    })
}

/// Refuses two files of one path, and a file where another needs a folder.
pub(super) fn check_clashes(files: &[TorrentFile]) -> Result<(), MetainfoError> {
    let stored = || files.iter().filter(|file| !file.padding);
    let mut paths: HashSet<&[String]> = HashSet::new();
    let twice = stored().find(|file| !paths.insert(&file.path));
    let needs_folder = |file: &&TorrentFile| {
        let mut above = (1..file.path.len()).filter_map(|end| file.path.get(..end));
        above.any(|folder| paths.contains(folder))
    };
    match twice.or_else(|| stored().find(needs_folder)) {
        None => Ok(()),
        Some(file) => {
            let path = names::printable(&file.path.join("/"));
            Err(MetainfoError::Clash(path.chars().take(200).collect()))
        }
    }
}

pub(super) fn number(dict: &Dict<'_>, field: &'static str) -> Result<i64, MetainfoError> {
    let number = dict.get(field).and_then(Value::as_int);
    number.ok_or(MetainfoError::Field(field))
}

fn length(dict: &Dict<'_>) -> Result<u64, MetainfoError> {
    let value = number(dict, "length")?;
    u64::try_from(value).map_err(|_| MetainfoError::Range {
        field: "length",
        value,
    })
}

pub(super) fn checked_name(name: &[u8]) -> Result<String, MetainfoError> {
    let text = String::from_utf8_lossy(name).into_owned();
    match names::check(name) {
        Ok(()) => Ok(text),
        Err(fault) => Err(MetainfoError::Name {
            name: names::printable(&text).chars().take(80).collect(),
            fault,
        }),
    }
}
