//! Labels, by which whoever keeps many torrents finds some of them: what may be one.

use thiserror::Error;

/// Most characters of a label.
const MOST_CHARS: usize = 40;

/// Why a text is no label.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "a label has 1 to {MOST_CHARS} characters, one that can be seen among them, and no control \
     characters; this has {chars}"
)]
pub struct LabelFault {
    /// Its characters.
    chars: usize,
}

/// A label as it is kept: without space around it.
///
/// # Errors
/// [`LabelFault`].
pub fn check_label(text: &str) -> Result<&str, LabelFault> {
    let label = text.trim();
    let chars = label.chars().count();
    let is_seen = !label.chars().all(is_unseen);
    match (1..=MOST_CHARS).contains(&chars) && !label.chars().any(char::is_control) && is_seen {
        true => Ok(label),
        false => Err(LabelFault { chars }),
    }
}

/// Whether a character leaves the line as it was: space, and those that are made to be ignored or look empty.
fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_line_of_1_to_40_characters_of_which_one_can_be_seen() {
        assert_eq!(check_label("  films "), Ok("films"));
        let most = "영".repeat(40);
        assert_eq!(check_label(&most), Ok(most.as_str()));
        let family = "\u{1f468}\u{200d}\u{1f469}";
        assert_eq!(check_label(family), Ok(family));
        let unseen = [
            "\u{200b}",
            "\u{2060}\u{feff}",
            "\u{3164}",
            "\u{2800} \u{ad}",
        ];
        let none = ["", "  ", "a\nb", "a\u{7f}", "\u{9b}31m", &"x".repeat(41)];
        for none in none.into_iter().chain(unseen) {
            check_label(none).expect_err(none);
        }
    }
}
