//! How fast bytes come and how long acceptance takes: what decides how early the next channel opens.

use crate::units::UnixMs;

/// Shortest stretch over which a rate is taken.
const STRETCH_MS: u64 = 500;
/// Taken for acceptance before the first was seen.
const FIRST_ACCEPTANCE_MS: u64 = 1_000;
/// No acceptance is planned to take longer.
const MAX_ACCEPTANCE_MS: u64 = 60_000;

/// A rate and a duration that follow a rise at once and a fall slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    since: UnixMs,
    bytes: u64,
    bytes_per_s: u64,
    acceptance_ms: u64,
}

impl Pace {
    pub(super) const fn new(now: UnixMs) -> Pace {
        Pace {
            since: now,
            bytes: 0,
            bytes_per_s: 0,
            acceptance_ms: FIRST_ACCEPTANCE_MS,
        }
    }

    pub(super) fn delivered(&mut self, now: UnixMs, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let elapsed_ms = now.since_ms(self.since);
        if elapsed_ms >= STRETCH_MS {
            let rate = self.bytes.saturating_mul(1_000) / elapsed_ms;
            self.bytes_per_s = rate.max(self.bytes_per_s / 4 * 3);
            self.since = now;
            self.bytes = 0;
        }
    }

    pub(super) fn accepted(&mut self, took_ms: u64) {
        let took_ms = took_ms.min(MAX_ACCEPTANCE_MS);
        self.acceptance_ms = took_ms.max(self.acceptance_ms / 4 * 3);
    }

    /// Bytes that come within two acceptance times at the present rate.
    pub(super) const fn ahead_bytes(&self) -> u64 {
        self.bytes_per_s
            .saturating_mul(2 * self.acceptance_ms)
            .saturating_div(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_acceptance_times_are_planned_for() {
        let mut pace = Pace::new(UnixMs(0));
        assert_eq!(pace.ahead_bytes(), 0);
        pace.delivered(UnixMs(500), 1_000_000);
        assert_eq!(pace.ahead_bytes(), 4_000_000);
        pace.accepted(3_000);
        assert_eq!(pace.ahead_bytes(), 12_000_000);
    }

    #[test]
    fn a_fall_is_followed_slowly() {
        let mut pace = Pace::new(UnixMs(0));
        pace.delivered(UnixMs(1_000), 1_000_000);
        pace.delivered(UnixMs(2_000), 0);
        assert_eq!(pace.bytes_per_s, 750_000);
        pace.accepted(10);
        assert_eq!(pace.acceptance_ms, 750);
    }
}
