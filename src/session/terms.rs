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
    };
    changed(terms, change)
}

/// Terms with a change.
pub(super) fn changed(terms: Terms, change: &TermsChange) -> Terms {
    // A limit of no bytes at all is none.
    let speed =
        |limit, change: Option<Option<u32>>| change.unwrap_or(limit).filter(|speed| *speed > 0);
    Terms {
        pays: change.pays.unwrap_or(terms.pays),
        max_price: change.max_price.unwrap_or(terms.max_price),
        budget: change.budget.unwrap_or(terms.budget),
        earns: change.earns.unwrap_or(terms.earns),
        price: change.price.unwrap_or(terms.price),
        free: change.free.unwrap_or(terms.free),
        download_bytes_per_s: speed(terms.download_bytes_per_s, change.download_bytes_per_s),
        upload_bytes_per_s: speed(terms.upload_bytes_per_s, change.upload_bytes_per_s),
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
