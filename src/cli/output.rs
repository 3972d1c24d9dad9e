//! Standard output and standard error.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};

/// Writes to standard output. Where nobody reads it any more the work goes on unseen: a download that
/// pays is not to end in the middle because of `| head`.
///
/// # Panics
/// If it cannot be written for another reason, such as a full disk.
pub(crate) fn put(what: Arguments<'_>) {
    let mut out = stdout().lock();
    match out.write_fmt(what).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            panic!("standard output cannot be written: {error}")
        }
        _ => {}
    }
}

/// Writes to standard error, where somebody reads it: there is nobody else to tell.
pub(crate) fn put_error(what: Arguments<'_>) {
    let _ = stderr().lock().write_fmt(what);
}
