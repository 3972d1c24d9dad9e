//! Dying on purpose, for tests: `DPAY_KILL_AT=NAME[.before][:N]` ends this process, as a power cut would,
//! right after the N-th time (or before it) that the durable step of this name is written. Not documented
//! for users, and without the variable nothing happens.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Point {
    name: String,
    is_before: bool,
    left: AtomicU32,
}

fn point() -> Option<&'static Point> {
    static POINT: OnceLock<Option<Point>> = OnceLock::new();
    POINT
        .get_or_init(|| {
            let text = std::env::var("DPAY_KILL_AT").ok()?;
            let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
            let (name, is_before) = match name.strip_suffix(".before") {
                Some(name) => (name, true),
                None => (name, false),
            };
            Some(Point {
                name: name.to_owned(),
                is_before,
                left: AtomicU32::new(count.parse().unwrap_or(1)),
            })
        })
        .as_ref()
}

fn pass(name: &str, is_before: bool) {
    let Some(point) = point().filter(|p| p.name == name && p.is_before == is_before) else {
        return;
    };
    if point.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}

/// Called right before a step is written.
pub(crate) fn before(name: &str) {
    pass(name, true);
}

/// Called right after a step is durable, before anything is done about it.
pub(crate) fn after(name: &str) {
    pass(name, false);
}
