//! The only file that reads the clock. Everything else takes `now` as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::units::UnixMs;

/// The system's time now.
#[must_use]
pub fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
