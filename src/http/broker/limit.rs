//! How many requests an address may make: a bucket each, refilled steadily.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::units::UnixMs;

/// Addresses remembered; when there are more, those with a full bucket are forgotten.
const MAX_ADDRESSES: usize = 10_000;

/// Requests that one address may make. Behind a proxy all clients have its address: limit there, and
/// set 0, so that nothing is counted by address here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// In the long run, each second; 0: no limit.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        RateLimit {
            per_second: 50,
            burst: 500,
        }
    }
}

/// The buckets: thousandths of a request used, and when that was reckoned.
pub(super) struct Limiter {
    limit: RateLimit,
    used: Mutex<HashMap<IpAddr, (u64, UnixMs)>>,
}

impl Limiter {
    pub(super) fn new(limit: RateLimit) -> Self {
        Limiter {
            limit,
            used: Mutex::new(HashMap::new()),
        }
    }

    /// Whether this address may make a request now.
    pub(super) fn take(&self, address: IpAddr, now: UnixMs) -> bool {
        if self.limit.per_second == 0 {
            return true;
        }
        let burst = u64::from(self.limit.burst).saturating_mul(1000);
        let mut used = self.used.lock();
        if used.len() >= MAX_ADDRESSES && !used.contains_key(&address) {
            used.retain(|_, bucket| self.left(*bucket, now) > 0);
            if used.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let bucket = used.entry(address).or_insert((0, now));
        let left = self.left(*bucket, now);
        if left.saturating_add(1000) > burst {
            return false;
        }
        *bucket = (left.saturating_add(1000), now);
        true
    }

    /// What is still used of a bucket; each millisecond gives back `per_second` thousandths.
    fn left(&self, (used, at): (u64, UnixMs), now: UnixMs) -> u64 {
        let back = now
            .since_ms(at)
            .saturating_mul(u64::from(self.limit.per_second));
        used.saturating_sub(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_burst_then_its_rate_and_others_are_not_touched() {
        let limiter = Limiter::new(RateLimit {
            per_second: 2,
            burst: 3,
        });
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = UnixMs(1_000_000);
        assert!((0..3).all(|_| limiter.take(a, now)));
        assert!(!limiter.take(a, now));
        assert!(limiter.take(b, now));
        assert!(!limiter.take(a, now.plus_ms(400)));
        assert!(limiter.take(a, now.plus_ms(500)));
        assert!(!limiter.take(a, now.plus_ms(500)));
    }
}
