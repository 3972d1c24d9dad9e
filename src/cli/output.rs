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

/// What went wrong, from the outside in, each cause once; and what to do where a disk has no room.
pub(crate) fn error_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Many say what the system said, which is their cause as well.
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let of_system = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            )
        })
    };
    if error.chain().any(of_system) && !text.contains("make room") {
        text.push_str("; make room there, and try again");
    }
    text
}

/// Writes to standard error, where somebody reads it: there is nobody else to tell.
pub(crate) fn put_error(what: Arguments<'_>) {
    let _ = stderr().lock().write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_said_once_and_where_there_is_no_room_what_to_do() {
        #[derive(Debug, thiserror::Error)]
        #[error("/home: {source}")]
        struct At {
            source: std::io::Error,
        }
        let source = std::io::Error::from(ErrorKind::StorageFull);
        let system = source.to_string();
        let error = anyhow::Error::new(At { source }).context("it does not start");
        let said = format!("it does not start: /home: {system}; make room there, and try again");
        assert_eq!(error_text(&error), said);
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(error_text(&error), "outer: inner");
    }
}
