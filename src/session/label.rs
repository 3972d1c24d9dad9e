//! Labels: a word by which whoever keeps many torrents finds some of them. A torrent has one at most.

use std::collections::HashSet;

use super::act::check_count;
use super::run::Running;
use super::view::{ActionFailure, ActionResult, Advice, LabelRequest, Problem, ProblemCode};
use super::{Session, lock};

/// Most characters of a label.
const MOST_CHARS: usize = 40;
/// Most labels among the torrents.
const MOST_LABELS: usize = 100;

fn refused(label: &str, error: String) -> Problem {
    let shown: String = crate::torrent::printable(label).chars().take(80).collect();
    let problem = Problem::new(ProblemCode::BadRequest, error, Advice::OtherValue);
    problem.about(shown)
}

/// A label as it is kept: without space around it.
fn checked(label: &str) -> Result<String, Problem> {
    let label = label.trim();
    let length = label.chars().count();
    if !(1..=MOST_CHARS).contains(&length) || label.chars().any(char::is_control) {
        let error = format!(
            "a label has 1 to {MOST_CHARS} characters and no control characters; this has {length}"
        );
        return Err(refused(label, error));
    }
    Ok(label.to_owned())
}

impl Running {
    /// Refuses one more label than there may be.
    fn check_new_label(&self, label: &str) -> Result<(), Problem> {
        let torrents = lock(&self.torrents);
        let used = torrents
            .values()
            .filter_map(|entry| entry.saved.label.as_deref());
        let used: HashSet<&str> = used.collect();
        if used.len() < MOST_LABELS || used.contains(label) {
            return Ok(());
        }
        let error = format!("there are {MOST_LABELS} labels already, which is the most");
        Err(refused(label, error))
    }
}

impl Session {
    /// Gives torrents a label, or takes it away; each for itself.
    ///
    /// # Errors
    /// No running node, too many torrents or labels, a label that is none.
    pub async fn label(&self, request: LabelRequest) -> Result<ActionResult, Problem> {
        let run = self.running()?;
        check_count(request.info_hashes.len())?;
        let label = request.label.as_deref().map(checked).transpose()?;
        if let Some(label) = &label {
            run.check_new_label(label)?;
        }
        let mut result = ActionResult::default();
        for hash in request.info_hashes {
            match run.change(hash, |entry| entry.saved.label.clone_from(&label)) {
                Ok(()) => result.done.push(hash),
                Err(problem) => result.failed.push(ActionFailure {
                    info_hash: hash,
                    problem,
                }),
            }
        }
        self.look(&run).await;
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_line_of_1_to_40_characters() {
        assert_eq!(checked("  films "), Ok("films".to_owned()));
        assert_eq!(checked(&"영".repeat(40)), Ok("영".repeat(40)));
        for none in ["", "  ", "a\nb", "a\u{7f}", "\u{9b}31m", &"x".repeat(41)] {
            let problem = checked(none).expect_err(none);
            assert_eq!(problem.code, ProblemCode::BadRequest, "{none:?}");
        }
    }
}
