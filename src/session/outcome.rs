//! A change that could not be written down: which part of it holds all the same, and which was refused.

use std::path::Path;

use serde_json::Value;

use super::run::holds_until_stop;
use super::view::{Advice, InPart, Problem, ProblemCode, Terms};

/// What became of a change, by the names of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    holding: Vec<String>,
    refused: Vec<String>,
}

impl Outcome {
    /// Of one that was asked for: each setting as it was, as it was to be, and as it is now.
    pub fn of(change: impl IntoIterator<Item = (String, [Value; 3])>) -> Outcome {
        let mut outcome = Outcome::default();
        for (name, [before, wanted, now]) in change {
            match () {
                () if wanted == before => {}
                () if wanted == now => outcome.holding.push(name),
                () => outcome.refused.push(name),
            }
        }
        outcome
    }

    /// Of a torrent's terms.
    pub fn of_terms(before: &Terms, wanted: &Terms, now: &Terms) -> Outcome {
        let all = [before, wanted, now];
        let [before, wanted, now] =
            all.map(|terms| serde_json::to_value(terms).unwrap_or_default());
        let fields = wanted.as_object().into_iter().flatten();
        Outcome::of(fields.map(|(field, wanted)| {
            let was = |terms: &Value| terms.get(field).cloned().unwrap_or_default();
            (setting(field), [was(&before), wanted.clone(), was(&now)])
        }))
    }

    /// What is said of it.
    pub fn problem(self, home: &Path, error: &dyn std::fmt::Display) -> Problem {
        let Outcome { holding, refused } = self;
        if refused.is_empty() {
            return holds_until_stop(home, error);
        }
        let (new, old) = (holding.join(", "), refused.join(", "));
        let place = home.display();
        let text = format!(
            "nothing could be written down: {place}: {error}; now in effect: {new}; as before: {old}"
        );
        let problem = Problem::new(ProblemCode::Disk, text, Advice::HoldsUntilStop).about(place);
        Problem {
            in_part: Some(Box::new(InPart { holding, refused })),
            ..problem
        }
    }
}

/// The setting that a field of a torrent's terms is taken from.
fn setting(field: &str) -> String {
    match field {
        "pays" | "max_price" => format!("spending.{field}"),
        "budget" => "spending.budget_torrent".to_owned(),
        "download_bytes_per_s" | "upload_bytes_per_s" => format!("limits.{field}"),
        _ => format!("seeding.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, keys};
    use crate::session::terms::{changed, terms_of_new, tightened};
    use crate::session::view::TermsChange;
    use crate::units::Units;

    #[test]
    fn what_holds_and_what_was_refused_of_a_mixed_change_is_told_apart() {
        let before = terms_of_new(&Settings::default(), &TermsChange::default(), false);
        let change = TermsChange {
            pays: Some(before.pays),
            budget: Some(Some(Units(9))),
            earns: Some(!before.earns),
            upload_bytes_per_s: Some(Some(20_000)),
            ..TermsChange::default()
        };
        let wanted = changed(before, &change);
        let outcome = Outcome::of_terms(&before, &wanted, &tightened(before, wanted));
        assert_eq!(outcome.holding, ["spending.budget_torrent"]);
        assert_eq!(
            outcome.refused,
            ["seeding.earns", "limits.upload_bytes_per_s"]
        );
        let problem = outcome.problem(Path::new("/home"), &"no space");
        assert!(
            problem
                .error
                .contains("now in effect: spending.budget_torrent;"),
            "{problem}"
        );
        assert!(
            problem
                .error
                .ends_with("as before: seeding.earns, limits.upload_bytes_per_s"),
            "{problem}"
        );
    }

    #[test]
    fn each_field_of_the_terms_has_its_setting() {
        let terms = terms_of_new(&Settings::default(), &TermsChange::default(), false);
        let terms = serde_json::to_value(terms).expect("json");
        for field in terms.as_object().expect("an object").keys() {
            let name = setting(field);
            assert!(keys::find(&name).is_some(), "{field} as {name}");
        }
    }
}
