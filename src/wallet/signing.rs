//! Under which times requests that take money are signed, over restarts, and when a refusal that may not be
//! for good is believed all the same (`docs/protocol.md` section 10).

use super::change::Change;
use super::rows::{Meta, Rows};
use crate::units::UnixMs;

/// A row is good for requests signed within so long.
const AHEAD_MS: u64 = 15_000;
/// A request is begun only where it may be signed under times so much later.
const ROOM_MS: u64 = 2_000;
/// Twice as long as a signed request is good for: the broker's clock may be behind as much as ours is ahead.
const EXPIRY_MS: u64 = 20 * 60_000;
/// Whatever a clock was set to, a refusal is not doubted for longer.
const DOUBT_MS: u64 = 24 * 3_600_000;

/// Makes room for times to sign under, where the `next` one is too near to the greatest that is kept. Only
/// once this is durable may something be signed under them: no later run goes back behind it.
#[must_use]
pub fn ahead(rows: &Rows, next: UnixMs, now: UnixMs) -> Option<Change> {
    let needed = next.plus_ms(ROOM_MS);
    if needed <= rows.meta.signed_until {
        return None;
    }
    let mut change = Change::on(rows);
    change.meta = Some(Meta {
        signed_until: now.plus_ms(AHEAD_MS).max(needed.plus_ms(ROOM_MS)),
        ..rows.meta.clone()
    });
    Some(change)
}

/// What a run resumes with where an earlier one, by a clock that was far ahead, left a time that is further
/// ahead than any refusal is doubted for.
#[must_use]
pub fn resumed(rows: &Rows, now: UnixMs) -> Option<Change> {
    let most = now.plus_ms(DOUBT_MS);
    if rows.meta.signed_until <= most {
        return None;
    }
    let mut change = Change::on(rows);
    change.meta = Some(Meta {
        signed_until: most,
        ..rows.meta.clone()
    });
    Some(change)
}

/// When a refusal counts of a request that is `since` then on its way, though an earlier try of it may have
/// been signed under a time up to `until`. What was signed has run out by then.
#[must_use]
pub fn doubted_until(since: UnixMs, until: UnixMs) -> UnixMs {
    let expired = since.plus_ms(EXPIRY_MS);
    expired.max(until.min(since.plus_ms(DOUBT_MS)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, Side};
    use super::*;

    #[test]
    fn times_to_sign_under_are_kept_in_steps_and_never_lie_behind_what_was_signed() {
        let mut side = Side::new(1);
        let (mut now, mut greatest, mut rows) = (NOW, UnixMs(0), 0);
        for _ in 0..200 {
            now = now.plus_ms(1_000);
            let next = now.max(greatest.plus_ms(1));
            if let Some(change) = ahead(&side.rows, next, now) {
                side.write(change);
                rows += 1;
            }
            greatest = next;
            side.crash();
            assert!(side.rows.meta.signed_until >= greatest.plus_ms(ROOM_MS));
        }
        assert!(rows <= 200 / 10, "{rows} rows in 200 s");
    }

    #[test]
    fn a_wallet_that_starts_again_and_again_signs_hardly_ahead_of_its_clock() {
        let mut side = Side::new(1);
        for _ in 0..50 {
            let next = NOW.max(side.rows.meta.signed_until.plus_ms(1));
            if let Some(change) = ahead(&side.rows, next, NOW) {
                side.write(change);
            }
        }
        let ahead_ms = side.rows.meta.signed_until.since_ms(NOW);
        assert!(ahead_ms < 5 * 60_000, "{ahead_ms} ms");
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_is_forgotten_a_day_after_the_next_start() {
        const YEAR_MS: u64 = 365 * 24 * 3_600_000;
        let mut side = Side::new(1);
        let wrong = NOW.plus_ms(YEAR_MS);
        let change = ahead(&side.rows, wrong, wrong).expect("it is new");
        side.write(change);
        side.write(resumed(&side.rows, NOW).expect("far ahead"));
        side.crash();
        assert_eq!(side.rows.meta.signed_until, NOW.plus_ms(DOUBT_MS));
        assert!(
            resumed(&side.rows, NOW.plus_ms(1)).is_none(),
            "a later start does not set it anew"
        );
    }

    #[test]
    fn a_refusal_counts_once_nothing_that_was_signed_is_good_any_more() {
        let at = |until: u64| doubted_until(NOW, UnixMs(until)).since_ms(NOW);
        assert_eq!(at(0), EXPIRY_MS);
        assert_eq!(at(NOW.0 + 3_600_000), 3_600_000);
        assert_eq!(at(u64::MAX), DOUBT_MS, "a clock that was years ahead");
    }
}
