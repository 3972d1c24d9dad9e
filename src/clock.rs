//! The only file that reads the clock. Everything else takes `now` as an argument.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::units::UnixMs;

static OFFSET_MS: AtomicI64 = AtomicI64::new(0);

/// Shifts this process's clock, so that deadlines of days can be tested on real processes.
pub fn shift(offset_s: i64) {
    OFFSET_MS.store(offset_s.saturating_mul(1000), Ordering::Relaxed);
}

/// The system's time now, shifted by [`shift`].
#[must_use]
pub fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    UnixMs(ms.saturating_add_signed(OFFSET_MS.load(Ordering::Relaxed)))
}
