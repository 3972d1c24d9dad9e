//! Temporary directories and fixed payloads, for what plays on loopback.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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

/// A directory that goes when it is dropped.
pub(super) struct TempDir {
    pub(super) path: PathBuf,
}

impl TempDir {
    /// Makes one below `parent`, or where the system keeps such things.
    pub(super) fn within(parent: Option<&Path>) -> Result<TempDir> {
        let name = format!("dpay-{}", hex::encode(crate::random::bytes::<6>()));
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = parent.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(TempDir { path })
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
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
