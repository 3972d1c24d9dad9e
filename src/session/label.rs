//! Labels: a word by which whoever keeps many torrents finds some of them. A torrent has one at most.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::act::check_count;
use super::entry::Entry;
use super::problems::to_its_end;
use super::run::Running;
use super::view::{ActionResult, Advice, LabelRequest, Problem, ProblemCode};
use super::{Session, lock};
use crate::torrent::check_label;
use crate::units::InfoHash;

/// Most labels among the torrents.
const MOST_LABELS: usize = 100;

fn refused(label: &str, error: String) -> Problem {
    let shown: String = crate::torrent::printable(label).chars().take(80).collect();
    let problem = Problem::new(ProblemCode::BadRequest, error, Advice::OtherValue);
    problem.about(shown)
}

/// A label as it is kept.
pub(super) fn checked(label: &str) -> Result<String, Problem> {
    let kept = check_label(label).map_err(|fault| refused(label, fault.to_string()));
    kept.map(str::to_owned)
}

/// Refuses one more label than there may be, beside those of the torrents that are given it.
pub(super) fn check_room(
    torrents: &BTreeMap<InfoHash, Entry>,
    label: &str,
    given: &[InfoHash],
) -> Result<(), Problem> {
    let given: HashSet<&InfoHash> = given.iter().collect();
    let others = torrents.iter().filter(|(hash, _)| !given.contains(hash));
    let used = others.filter_map(|(_, entry)| entry.saved.label.as_deref());
    let used: HashSet<&str> = used.collect();
    if used.len() < MOST_LABELS || used.contains(label) {
        return Ok(());
    }
    let error = format!("there are {MOST_LABELS} labels already, which is the most");
    Err(refused(label, error))
}

/// Gives torrents a label, or takes it away, if there is room for it. Returns what those had whose label is
/// another now.
fn relabel(
    torrents: &mut BTreeMap<InfoHash, Entry>,
    label: Option<&str>,
    given: &[InfoHash],
) -> Result<HashMap<InfoHash, Option<String>>, Problem> {
    if let Some(label) = label {
        check_room(torrents, label, given)?;
    }
    let mut had = HashMap::new();
    for hash in given {
        let Some(entry) = torrents.get_mut(hash) else {
            continue;
        };
        if entry.saved.label.as_deref() != label {
            let old = std::mem::replace(&mut entry.saved.label, label.map(str::to_owned));
            entry.unsaved = true;
            had.insert(*hash, old);
        }
    }
    Ok(had)
}

impl Running {
    /// Gives torrents a label, or takes it away, and writes down each whose label is another now.
    async fn label(
        &self,
        label: Option<&str>,
        given: Vec<InfoHash>,
    ) -> Result<ActionResult, Problem> {
        let mut had = relabel(&mut lock(&self.torrents), label, &given)?;
        let mut result = ActionResult::default();
        for hash in given {
            let kept = match had.remove(&hash) {
                Some(old) => self.keep_label(hash, label, old).await,
                None => self.entry(hash).map(|_| ()),
            };
            result.note(hash, kept);
        }
        Ok(result)
    }

    /// Writes down a torrent's label. Where that fails it has the one that it had.
    async fn keep_label(
        &self,
        hash: InfoHash,
        label: Option<&str>,
        old: Option<String>,
    ) -> Result<(), Problem> {
        let ((), written) = self.hold(hash, |_| ()).await?;
        written.map_err(|error| {
            if let Some(entry) = lock(&self.torrents).get_mut(&hash)
                && entry.saved.label.as_deref() == label
            {
                entry.saved.label = old;
            }
            self.not_written(&error)
        })
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
        let (doing, given) = (Arc::clone(&run), request.info_hashes);
        let done = to_its_end(async move { doing.label(label.as_deref(), given).await }).await;
        self.look(&run).await;
        done.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::entry::tests::saved;

    #[test]
    fn labels_that_are_replaced_make_room_for_the_one_in_their_place() {
        let hash = |n: usize| InfoHash([u8::try_from(n).expect("few"); 20]);
        let labelled = |n: usize| {
            let mut entry = Entry::new(saved());
            entry.saved.label = Some(format!("label {}", n.min(MOST_LABELS - 1)));
            (hash(n), entry)
        };
        // The last two have the same.
        let mut all: BTreeMap<_, _> = (0..=MOST_LABELS).map(labelled).collect();
        let (last, other) = (hash(MOST_LABELS), hash(MOST_LABELS - 1));
        relabel(&mut all, Some("new"), &[last]).expect_err("the other has it still");
        let had = relabel(&mut all, Some("new"), &[last, other, hash(200)]).expect("room");
        assert_eq!(had.len(), 2);
        assert_eq!(had[&last].as_deref(), Some("label 99"));
        assert_eq!(all[&last].saved.label.as_deref(), Some("new"));
        // Those that have it already are not written once more.
        let had = relabel(&mut all, Some("new"), &[last, hash(0)]).expect("one that is there");
        assert!(had.keys().eq(&[hash(0)]), "{had:?}");
        let had = relabel(&mut all, None, &[last]).expect("taken away");
        assert_eq!(had[&last].as_deref(), Some("new"));
        assert_eq!(all[&last].saved.label, None);
    }
}
