//! One answer for many torrents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Problem, Source, TermsChange};
use crate::units::InfoHash;

/// What is said of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManyAnswer {
    /// A yes to what they may cost; false: from free peers only.
    pub pays: bool,
    /// The yes was given without a size in sight: one that may cost more than the setting `spending.ask_above`
    /// waits for a yes of its own.
    #[serde(default)]
    pub asks_above: bool,
    /// Only add them, do not start them.
    #[serde(default)]
    pub paused: bool,
    /// The folder to put new ones into; none: the setting `folders.downloads`.
    pub folder: Option<String>,
    /// Their label; none: those that have one keep it.
    #[schema(min_length = 1, max_length = 40)]
    pub label: Option<String>,
    /// Where their terms differ from the settings.
    #[serde(default)]
    pub terms: TermsChange,
}

/// Torrents that are given one answer: new ones, and some that wait for a yes. 1000 at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManyRequest {
    /// Where new ones come from. One that is there already is left as it is, unless it waits for a yes.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Some of the list that wait for a yes.
    #[serde(default)]
    pub info_hashes: Vec<InfoHash>,
    /// What is said of all of them.
    pub answer: ManyAnswer,
}

/// How far that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManyView {
    /// All, since there was nothing left to do.
    pub total: u32,
    /// Of them done.
    pub done: u32,
    /// Of them refused; they are kept until they are tried again or forgotten.
    pub refused: u32,
    /// Why, of the first ten of those.
    pub problems: Vec<ManyRefused>,
}

/// One that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManyRefused {
    /// Its name or address. From strangers.
    pub label: String,
    /// Why.
    pub problem: Problem,
}
