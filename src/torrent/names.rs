//! Names of files and folders inside a torrent: which are taken, which refused (BEP 3).
//!
//! A name becomes a path on our disk, so a name that could leave its folder is refused, not
//! mended: librqbit refuses the same, and a mended name would not match what other clients store.

use thiserror::Error;

/// Longest name of one file or folder that common file systems take.
const MAX_NAME_BYTES: usize = 255;

/// Deepest path inside a torrent.
pub(super) const MAX_PATH_PARTS: usize = 64;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameFault {
    /// No bytes at all.
    #[error("it is empty")]
    Empty,
    /// `.` or `..`.
    #[error("it would leave its folder")]
    Traversal,
    /// A slash, a backslash or a zero byte.
    #[error("it contains a slash, a backslash or a zero byte")]
    Separator,
    /// Longer than 255 bytes.
    #[error("it has {0} bytes, more than {MAX_NAME_BYTES}")]
    TooLong(usize),
}

/// Checks one part of a path.
pub(super) fn check(name: &[u8]) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if name == b"." || name == b".." {
        return Err(NameFault::Traversal);
    }
    if name.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0)) {
        return Err(NameFault::Separator);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameFault::TooLong(name.len()));
    }
    Ok(())
}

/// `text` fit for a terminal, a log or a list: control characters, those that reorder text and those that
/// nobody sees are replaced, the rest stays as it is. Names come from strangers.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut before = ' ';
    let shown = text.chars().map(|c| {
        let joins = matches!(c, '\u{200c}' | '\u{200d}') && needs_joiners(before);
        before = c;
        match c.is_control() || (hides(c) && !joins) {
            true => char::REPLACEMENT_CHARACTER,
            false => c,
        }
    });
    shown.collect()
}

/// Whether a character is not seen, or reorders what is.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether text after this character may be written with joiners: scripts beyond Latin, Greek and Cyrillic, emoji.
fn needs_joiners(c: char) -> bool {
    c >= '\u{600}' && !hides(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        assert_eq!(check(b""), Err(NameFault::Empty));
        assert_eq!(check(b"."), Err(NameFault::Traversal));
        assert_eq!(check(b".."), Err(NameFault::Traversal));
        for name in [&b"a/b"[..], b"/etc", b"a\\b", b"a\0b"] {
            assert_eq!(check(name), Err(NameFault::Separator));
        }
        assert_eq!(check(&[b'a'; 256]), Err(NameFault::TooLong(256)));
    }

    #[test]
    fn odd_but_harmless_names_are_taken() {
        for name in [
            "...",
            "..a",
            " ",
            ".hidden",
            "한국어 파일",
            "Icon\r",
            "a:b*c?",
        ] {
            assert_eq!(check(name.as_bytes()), Ok(()), "{name:?}");
        }
        assert_eq!(check(&[b'a'; 255]), Ok(()));
    }

    #[test]
    fn control_and_reordering_characters_are_not_printed() {
        assert_eq!(
            printable("a\u{1b}[2Jb\u{202e}c 한"),
            "a\u{fffd}[2Jb\u{fffd}c 한"
        );
    }

    #[test]
    fn what_nobody_sees_is_made_visible_and_joiners_stay_where_they_are_needed() {
        let hidden = "a\u{200b}b\u{200d}c\u{feff}d\u{2060}e\u{61c}f\u{2067}g\u{e0041}";
        let shown = "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g\u{fffd}";
        assert_eq!(printable(hidden), shown);
        for name in ["می\u{200c}خواهم", "👩\u{200d}👩\u{200d}👧", "한국어"] {
            assert_eq!(printable(name), name);
        }
    }
}
