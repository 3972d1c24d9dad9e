//! What a torrent may cost and asks: from the settings, and changed.

use super::view::{Advice, FreeService, Problem, ProblemCode, Terms, TermsChange};
use crate::config::Settings;
use crate::config::settings::Free;
use crate::units::Units;

/// The terms of a new torrent.
pub(super) fn terms_of_new(settings: &Settings, change: &TermsChange, automatic: bool) -> Terms {
    let (spending, seeding) = (&settings.spending, &settings.seeding);
    let terms = Terms {
        pays: spending.pays && (!automatic || spending.budget_automatic.is_some()),
        max_price: spending.max_price,
        budget: match automatic {
            true => spending.budget_automatic,
            false => spending.budget_torrent,
        },
        earns: seeding.earns,
        price: seeding.price,
        free: match seeding.free {
            Free::Off => FreeService::Off,
            Free::Leftover => FreeService::Leftover,
            Free::On => FreeService::On,
        },
        download_bytes_per_s: None,
        upload_bytes_per_s: None,
        ratio_limit_percent: None,
    };
    changed(terms, change)
}

/// Terms with a change.
pub(super) fn changed(terms: Terms, change: &TermsChange) -> Terms {
    // A limit of nothing at all is none.
    let limit = |old, change: Option<Option<u32>>| change.unwrap_or(old).filter(|limit| *limit > 0);
    Terms {
        pays: change.pays.unwrap_or(terms.pays),
        max_price: change.max_price.unwrap_or(terms.max_price),
        budget: change.budget.unwrap_or(terms.budget),
        earns: change.earns.unwrap_or(terms.earns),
        price: change.price.unwrap_or(terms.price),
        free: change.free.unwrap_or(terms.free),
        download_bytes_per_s: limit(terms.download_bytes_per_s, change.download_bytes_per_s),
        upload_bytes_per_s: limit(terms.upload_bytes_per_s, change.upload_bytes_per_s),
        ratio_limit_percent: (change.ratio_limit_percent).unwrap_or(terms.ratio_limit_percent),
    }
}

/// Of changed terms what pays less: all else stays as it was.
pub(super) fn tightened(before: Terms, after: Terms) -> Terms {
    let budgets = [before.budget, after.budget];
    Terms {
        pays: before.pays && after.pays,
        max_price: before.max_price.min(after.max_price),
        budget: budgets.into_iter().flatten().min(),
        ..before
    }
}

/// How often each of what a torrent may cost was asked to be less. What was asked for before that, and is written
/// only after it, holds no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lowered {
    pays: u32,
    max_price: u32,
    budget: u32,
}

impl Lowered {
    /// Notes a change of these terms.
    pub fn note(&mut self, now: &Terms, change: &TermsChange) {
        let budget = |budget: Option<Units>| budget.map_or(u64::MAX, |units| units.0);
        let lowers = [
            (&mut self.pays, change.pays == Some(false)),
            (
                &mut self.max_price,
                change.max_price.is_some_and(|price| price <= now.max_price),
            ),
            (
                &mut self.budget,
                (change.budget).is_some_and(|to| budget(to) <= budget(now.budget)),
            ),
        ];
        for (count, lowers) in lowers {
            *count = count.wrapping_add(u32::from(lowers));
        }
    }

    /// Of what was wanted `then`, what holds `now`: no more than it is where less was asked for since.
    pub fn bound(self, then: Lowered, now: Terms, wanted: Terms) -> Terms {
        let tight = tightened(now, wanted);
        let of = |field: fn(&Lowered) -> u32| match field(&self) == field(&then) {
            true => wanted,
            false => tight,
        };
        Terms {
            pays: of(|lowered| lowered.pays).pays,
            max_price: of(|lowered| lowered.max_price).max_price,
            budget: of(|lowered| lowered.budget).budget,
            ..wanted
        }
    }
}

/// Refuses terms that cannot be.
pub(super) fn check_terms(change: &TermsChange) -> Result<(), Problem> {
    match change.budget {
        Some(Some(Units::ZERO)) => Err(Problem::new(
            ProblemCode::BadRequest,
            "a budget of 0 units pays for nothing",
            Advice::GiveBudget,
        )
        .about("budget: 0")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_change_that_cannot_be_kept_only_what_pays_less_holds() {
        let before = terms_of_new(&Settings::default(), &TermsChange::default(), false);
        let change = TermsChange {
            max_price: Some(before.max_price),
            budget: Some(Some(Units(50))),
            free: Some(FreeService::On),
            ..TermsChange::default()
        };
        let tight = tightened(before, changed(before, &change));
        assert_eq!((tight.budget, tight.free), (Some(Units(50)), before.free));
        let more = TermsChange {
            budget: Some(None),
            pays: Some(false),
            ..TermsChange::default()
        };
        let tighter = tightened(tight, changed(tight, &more));
        assert_eq!((tighter.budget, tighter.pays), (Some(Units(50)), false));
        let again = TermsChange {
            pays: Some(true),
            ..TermsChange::default()
        };
        assert_eq!(tightened(tighter, changed(tighter, &again)), tighter);
    }

    #[test]
    fn what_was_asked_to_be_less_meanwhile_is_no_more_than_that() {
        let now = terms_of_new(&Settings::default(), &TermsChange::default(), false);
        let less = TermsChange {
            pays: Some(false),
            budget: Some(Some(Units(9))),
            ..TermsChange::default()
        };
        let more = TermsChange {
            pays: Some(true),
            max_price: Some(crate::units::PricePerGib::MIN),
            budget: Some(Some(Units(90))),
            earns: Some(!now.earns),
            ..TermsChange::default()
        };
        let then = Lowered::default();
        let mut since = then;
        since.note(&now, &less);
        let low = tightened(now, changed(now, &less));
        let bound = since.bound(then, low, changed(low, &more));
        assert_eq!((bound.pays, bound.budget), (false, Some(Units(9))));
        assert_eq!(
            (bound.max_price, bound.earns),
            (more.max_price.expect("one"), !now.earns)
        );
        // What is asked for after it holds as it is asked for.
        let after = since.bound(since, low, changed(low, &more));
        assert_eq!((after.pays, after.budget), (true, Some(Units(90))));
    }
}
