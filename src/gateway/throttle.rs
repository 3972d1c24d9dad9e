//! Limits on a torrent's speed: requests wait until their blocks may move. Both directions are held at
//! the request, so that nothing else on the connection (payment, `have`, keep-alives) ever waits.

use crate::units::UnixMs;

/// Payload that may move at once after a pause, in milliseconds of the limit.
const BURST_MS: u64 = 250;

/// The most payload a second; `None`: no limit; 0: nothing moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Coming in.
    pub down_bytes_per_s: Option<u32>,
    /// Going out.
    pub up_bytes_per_s: Option<u32>,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Coming in.
    Down,
    /// Going out.
    Up,
}

/// One torrent's limits and what they have let through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    limits: Limits,
    /// When what was let through has had its time, in microseconds.
    down_us: u64,
    up_us: u64,
}

impl Throttle {
    /// Sets the limits.
    pub fn set(&mut self, limits: Limits) {
        *self = Throttle {
            limits,
            ..Throttle::default()
        };
    }

    /// Whether a block may move now: as soon as all before it have had their time, however large it is.
    #[must_use]
    pub fn is_open(&self, now: UnixMs, way: Way) -> bool {
        let (limit, until_us) = match way {
            Way::Down => (self.limits.down_bytes_per_s, self.down_us),
            Way::Up => (self.limits.up_bytes_per_s, self.up_us),
        };
        limit != Some(0) && until_us <= now.0.saturating_mul(1000)
    }

    /// A block moves.
    pub fn count(&mut self, now: UnixMs, way: Way, bytes: u64) {
        let (limit, until_us) = match way {
            Way::Down => (self.limits.down_bytes_per_s, &mut self.down_us),
            Way::Up => (self.limits.up_bytes_per_s, &mut self.up_us),
        };
        let Some(limit) = limit.filter(|limit| *limit > 0) else {
            return;
        };
        let needs_us = bytes.saturating_mul(1_000_000) / u64::from(limit);
        let burst_us = now.0.saturating_sub(BURST_MS).saturating_mul(1000);
        *until_us = (*until_us).max(burst_us).saturating_add(needs_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 16 * 1024;

    /// Bytes let through in ten seconds by somebody who asks every 10 ms for as much as there is.
    fn through(throttle: &mut Throttle, way: Way) -> u64 {
        let mut bytes = 0;
        for ms in (0..10_000).step_by(10) {
            for _ in 0..100 {
                let now = UnixMs(1_000_000 + ms);
                if !throttle.is_open(now, way) {
                    break;
                }
                throttle.count(now, way, BLOCK);
                bytes += BLOCK;
            }
        }
        bytes
    }

    #[test]
    fn what_moves_in_ten_seconds_is_ten_times_the_limit_at_any_limit() {
        for limit in [1_000u32, 16_384, 100_000, 5_000_000] {
            let mut throttle = Throttle::default();
            throttle.set(Limits {
                down_bytes_per_s: Some(limit),
                up_bytes_per_s: None,
            });
            let wanted = u64::from(limit) * 10;
            let moved = through(&mut throttle, Way::Down);
            let burst = u64::from(limit) * BURST_MS / 1000 + BLOCK;
            assert!(
                moved >= wanted - wanted / 20 && moved <= wanted + burst,
                "{moved} bytes at {limit}"
            );
        }
    }

    #[test]
    fn without_a_limit_everything_moves_and_the_ways_are_apart() {
        let mut throttle = Throttle::default();
        assert_eq!(through(&mut throttle, Way::Up), 1000 * 100 * BLOCK);
        throttle.set(Limits {
            down_bytes_per_s: Some(1),
            up_bytes_per_s: None,
        });
        assert!(throttle.is_open(UnixMs(5_000), Way::Down));
        throttle.count(UnixMs(5_000), Way::Down, BLOCK);
        assert!(!throttle.is_open(UnixMs(5_001), Way::Down));
        assert!(throttle.is_open(UnixMs(5_001), Way::Up));
        throttle.set(Limits::default());
        assert!(throttle.is_open(UnixMs(5_002), Way::Down));
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        let mut throttle = Throttle::default();
        throttle.set(Limits {
            down_bytes_per_s: Some(0),
            up_bytes_per_s: None,
        });
        assert_eq!(through(&mut throttle, Way::Down), 0);
        assert_eq!(through(&mut throttle, Way::Up), 1000 * 100 * BLOCK);
    }
}
