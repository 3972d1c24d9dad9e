//! When a record is read and put again after it was accepted (`docs/protocol.md` section 6,
//! step 5): all places at 5 s and 2 min, then one place every 5 min in turn while the channel is
//! open; afterwards one place an hour, with jitter. Pure: ages in, times out.

/// Age of the first check, in milliseconds.
const FIRST_MS: u64 = 5_000;
/// Age of the second check, in milliseconds.
const SECOND_MS: u64 = 120_000;
/// Between checks while the channel is open, in milliseconds.
const OPEN_MS: u64 = 300_000;
/// Between checks after the channel was closed, before jitter, in milliseconds.
const CLOSED_MS: u64 = 3_600_000;

/// Which of a record's places to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// All three.
    All,
    /// One of them, 0 to 2.
    One(u8),
}

impl Places {
    /// Whether `place` is among them.
    #[must_use]
    pub const fn includes(self, place: u8) -> bool {
        match self {
            Places::All => true,
            Places::One(only) => only == place,
        }
    }
}

/// A check that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueRecheck {
    /// Age at which it falls due, in milliseconds; greater than the age asked about.
    pub at_ms: u64,
    /// What it looks at.
    pub places: Places,
}

/// The first check after `age_ms`, the milliseconds since the record was accepted, while its
/// channel is open.
#[must_use]
pub const fn next_recheck(age_ms: u64) -> DueRecheck {
    if age_ms < FIRST_MS {
        return DueRecheck {
            at_ms: FIRST_MS,
            places: Places::All,
        };
    }
    if age_ms < SECOND_MS {
        return DueRecheck {
            at_ms: SECOND_MS,
            places: Places::All,
        };
    }
    let turn = age_ms / OPEN_MS;
    DueRecheck {
        at_ms: turn.saturating_add(1).saturating_mul(OPEN_MS),
        places: in_turn(turn),
    }
}

/// The first check after `age_ms`, the milliseconds since the channel was closed. `jitter` (any
/// number) moves it by up to a quarter of an hour, so that many records do not come at once.
#[must_use]
pub const fn next_recheck_closed(age_ms: u64, jitter: u64) -> DueRecheck {
    let turn = age_ms / CLOSED_MS;
    let hour_ms = turn.saturating_add(1).saturating_mul(CLOSED_MS);
    DueRecheck {
        at_ms: hour_ms.saturating_add(jitter % (CLOSED_MS / 4)),
        places: in_turn(turn),
    }
}

const fn in_turn(turn: u64) -> Places {
    match turn % 3 {
        0 => Places::One(0),
        1 => Places::One(1),
        _ => Places::One(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_at_five_seconds_and_two_minutes_then_one_every_five_minutes() {
        let mut age_ms = 0;
        let mut seen = Vec::new();
        for _ in 0..6 {
            let due = next_recheck(age_ms);
            assert!(due.at_ms > age_ms);
            seen.push((due.at_ms / 1000, due.places));
            age_ms = due.at_ms;
        }
        assert_eq!(
            seen,
            [
                (5, Places::All),
                (120, Places::All),
                (300, Places::One(0)),
                (600, Places::One(1)),
                (900, Places::One(2)),
                (1200, Places::One(0)),
            ]
        );
    }

    #[test]
    fn after_closing_one_place_an_hour_in_turn() {
        let mut age_ms = 0;
        let mut places = Vec::new();
        for jitter in [0, 899_999, 7, u64::MAX, 900_000] {
            let due = next_recheck_closed(age_ms, jitter);
            assert!(due.at_ms > age_ms && due.at_ms - age_ms < 2 * CLOSED_MS);
            places.push(due.places);
            age_ms = due.at_ms;
        }
        let turns: Vec<Places> = [0, 1, 2, 0, 1].map(Places::One).to_vec();
        assert_eq!(places, turns);
    }

    #[test]
    fn the_end_of_time_is_no_fault() {
        assert_eq!(next_recheck(u64::MAX).at_ms, u64::MAX);
        assert_eq!(next_recheck_closed(u64::MAX, 5).at_ms, u64::MAX);
    }
}
