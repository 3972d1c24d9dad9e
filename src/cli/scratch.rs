//! Temporary directories and fixed payloads, for what plays on loopback.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::store::lock::Lock;
use crate::{clock, random};

/// Fixed bytes that do not repeat, so that no two pieces are alike.
pub(super) fn write_payload(path: &Path, bytes: u64) -> Result<()> {
    use std::io::Write;
    let mut file = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..bytes / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    file.flush()?;
    Ok(())
}

/// The file by which a directory is known for one of these; locked while whoever made it lives.
const MARK: &str = "dpay-scratch.lock";
/// Before the name of a directory, which is [`NAME_BYTES`] in hex.
const PREFIX: &str = "dpay-";
const NAME_BYTES: usize = 6;
/// One that nobody has is left alone so long: it may just be being made.
const YOUNG_MS: u64 = 5 * 60 * 1000;

/// A directory that goes when it is dropped, or else when another is made after this process was killed.
pub(super) struct TempDir {
    pub(super) path: PathBuf,
    _lock: Lock,
}

impl TempDir {
    /// Makes one below `parent`, or where the system keeps such things, and removes those there that a
    /// process which was killed has left.
    pub(super) fn within(parent: Option<&Path>) -> Result<TempDir> {
        let name = format!("{PREFIX}{}", hex::encode(random::bytes::<NAME_BYTES>()));
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = parent.join(name);
        // A wallet's home may be in it, or be it.
        let mut private = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut private, 0o700);
        (private.create(&path)).with_context(|| format!("cannot make {}", path.display()))?;
        let lock = match Lock::take(&path.join(MARK)) {
            Ok(lock) => lock,
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                bail!("cannot lock {}: {error:?}", path.join(MARK).display());
            }
        };
        remove_left(&parent, &path);
        Ok(TempDir { path, _lock: lock })
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories below `parent` that are like `own` and that nobody has any more.
fn remove_left(parent: &Path, own: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if !is_left(&path, own) {
            continue;
        }
        // Nobody else takes it for left meanwhile.
        let Ok(_lock) = Lock::take(&path.join(MARK)) else {
            continue;
        };
        match fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!(
                "{} was left by a process that is gone, and is removed",
                path.display()
            ),
            Err(error) => tracing::warn!(
                "{} is left by a process that is gone: {error}",
                path.display()
            ),
        }
    }
}

/// Whether a directory was made by [`TempDir`] for the user who made `own`, and neither who made it nor one of
/// its children lives.
fn is_left(path: &Path, own: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_prefix(PREFIX));
    let is_named = name.is_some_and(|name| {
        let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        name.len() == 2 * NAME_BYTES && name.chars().all(is_hex)
    });
    // Links are not followed.
    let (Ok(folder), Ok(mark), Ok(own)) = (
        fs::symlink_metadata(path),
        fs::symlink_metadata(path.join(MARK)),
        fs::symlink_metadata(own),
    ) else {
        return false;
    };
    let age = mark.modified().ok().and_then(age_ms);
    is_named
        && folder.is_dir()
        && mark.is_file()
        && is_of_same_user(&folder, &own)
        && is_of_same_user(&mark, &own)
        && age.is_some_and(|age| age >= YOUNG_MS)
        && !has_taken_lock(path)
}

fn age_ms(modified: std::time::SystemTime) -> Option<u64> {
    let modified = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    let modified = u64::try_from(modified.as_millis()).ok()?;
    clock::now().0.checked_sub(modified)
}

#[cfg(unix)]
fn is_of_same_user(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn is_of_same_user(_one: &fs::Metadata, _other: &fs::Metadata) -> bool {
    true
}

/// Whether somebody has a lock in a directory, or in one of the homes in it: children that close their channels.
fn has_taken_lock(path: &Path) -> bool {
    let within = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let is_taken =
        |path: &Path| path.extension().is_some_and(|end| end == "lock") && Lock::is_taken(path);
    within(path).any(|entry| {
        let path = entry.path();
        is_taken(&path) || within(&path).any(|entry| is_taken(&entry.path()))
    })
}

/// UDP packets sent in this network namespace since the machine started, as Linux tells; 0 elsewhere.
pub(super) fn udp_packets_sent() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/net/snmp") else {
        return 0;
    };
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    let sent = columns.find(|(name, _)| *name == "OutDatagrams");
    sent.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}
