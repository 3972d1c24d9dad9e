//! How fast bytes come and how long acceptance takes: what decides how early the next channel opens.

use crate::units::UnixMs;

/// Shortest stretch over which a rate is taken: at 1 GiB a second the first channel lasts for 64 ms.
const STRETCH_MS: u64 = 50;
/// Taken for acceptance before the first was seen.
const FIRST_ACCEPTANCE_MS: u64 = 1_000;
/// No acceptance is planned to take longer.
const MAX_ACCEPTANCE_MS: u64 = 60_000;

/// A rate and a duration that follow a rise at once and a fall slowly: by half in ten stretches, by half
/// in three acceptances. The first acceptance is taken as it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    since: UnixMs,
    bytes: u64,
    bytes_per_s: u64,
    acceptance_ms: Option<u64>,
}

impl Pace {
    pub(super) const fn new(now: UnixMs) -> Pace {
        Pace {
            since: now,
            bytes: 0,
            bytes_per_s: 0,
            acceptance_ms: None,
        }
    }

    pub(super) fn delivered(&mut self, now: UnixMs, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let elapsed_ms = now.since_ms(self.since);
        if elapsed_ms >= STRETCH_MS {
            let rate = self.bytes.saturating_mul(1_000) / elapsed_ms;
            self.bytes_per_s = rate.max(self.bytes_per_s / 16 * 15);
            self.since = now;
            self.bytes = 0;
        }
    }

    pub(super) fn accepted(&mut self, took_ms: u64) {
        let took_ms = took_ms.min(MAX_ACCEPTANCE_MS);
        let before_ms = self.acceptance_ms.unwrap_or(took_ms);
        self.acceptance_ms = Some(took_ms.max(before_ms / 4 * 3));
    }

    /// Bytes that come within two acceptance times at the present rate.
    pub(super) fn ahead_bytes(&self) -> u64 {
        let acceptance_ms = self.acceptance_ms.unwrap_or(FIRST_ACCEPTANCE_MS);
        self.bytes_per_s
            .saturating_mul(2 * acceptance_ms)
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
    fn the_first_acceptance_counts_as_it_was() {
        let mut pace = Pace::new(UnixMs(0));
        pace.delivered(UnixMs(50), 50_000);
        pace.accepted(46);
        assert_eq!(pace.ahead_bytes(), 92_000);
    }

    #[test]
    fn a_fall_is_followed_slowly() {
        let mut pace = Pace::new(UnixMs(0));
        pace.delivered(UnixMs(1_000), 1_600_000);
        pace.delivered(UnixMs(1_050), 0);
        assert_eq!(pace.bytes_per_s, 1_500_000);
        pace.accepted(1_000);
        pace.accepted(10);
        assert_eq!(pace.acceptance_ms, Some(750));
    }
}
