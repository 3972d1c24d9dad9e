//! Why nothing is signed for a holding: what was found in its slot is not of these rows.

use serde::{Deserialize, Serialize};

/// Why a holding is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freeze {
    /// Our own spend lies in the slot, and these rows do not know it.
    OwnSpend,
    /// Something that our key signed lies in the slot and does not open with our record key.
    Foreign,
    /// More than one statement lies in the slot.
    Rivals,
    /// The broker knows a statement of which nothing more could be learned yet.
    Listed,
}

impl Freeze {
    /// All of them.
    pub const ALL: [Freeze; 4] = [
        Freeze::OwnSpend,
        Freeze::Foreign,
        Freeze::Rivals,
        Freeze::Listed,
    ];

    /// Its name on disk and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Freeze::OwnSpend => "own_spend",
            Freeze::Foreign => "foreign",
            Freeze::Rivals => "rivals",
            Freeze::Listed => "listed",
        }
    }

    /// What was found, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Freeze::OwnSpend => "spent by this wallet in a run whose journal is lost, or by a copy",
            Freeze::Foreign => "signed for by somebody who has this wallet's keys",
            Freeze::Rivals => "signed for twice: this wallet ran in two places at once",
            Freeze::Listed => "the broker knows of a statement about it",
        }
    }

    /// What happens next, for people.
    #[must_use]
    pub const fn next(self) -> &'static str {
        match self {
            Freeze::OwnSpend => {
                "the broker is asked again until the payee shows it; else settlement"
            }
            Freeze::Foreign | Freeze::Rivals => "left to the broker, and to settlement",
            Freeze::Listed => "the broker is asked again",
        }
    }
}
