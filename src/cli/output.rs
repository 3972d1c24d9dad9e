//! Standard output and standard error.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

/// Something could not be written that somebody wanted to read.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Writes to standard output. Where nobody reads it any more (`| head`), or its disk is full, the work goes
/// on: a download that pays is not to end in the middle. What was not written is told once, and makes the
/// program fail in the end ([`failed`]).
pub(crate) fn put(what: Arguments<'_>) {
    let mut out = stdout().lock();
    match out.write_fmt(what).and_then(|()| out.flush()) {
        Err(error)
            if error.kind() != ErrorKind::BrokenPipe && !FAILED.swap(true, Ordering::Relaxed) =>
        {
            put_error(format_args!(
                "dpay: standard output cannot be written: {error}; see where it goes, and ask again\n"
            ));
        }
        _ => {}
    }
}

/// Whether something is missing from standard output.
pub(crate) fn failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// Writes to standard error, where somebody reads it: there is nobody else to tell.
pub(crate) fn put_error(what: Arguments<'_>) {
    let _ = stderr().lock().write_fmt(what);
}
