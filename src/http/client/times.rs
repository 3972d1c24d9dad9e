//! The times under which requests are signed: each later than those before it. So what a broker refuses
//! ends all that was signed until then (`docs/protocol.md` section 10).

use parking_lot::Mutex;

use crate::broker::signing::MAX_SKEW_MS;
use crate::units::UnixMs;

/// The times under which one account's requests are signed. A wallet, which lives on after this process,
/// says what an earlier run signed under ([`Times::resume`]), and lets requests that take money be signed
/// only up to a time that is on disk ([`Times::allow`]).
#[derive(Debug)]
pub struct Times {
    inner: Mutex<Inner>,
}

#[derive(Clone, Copy, Debug)]
struct Inner {
    /// The greatest under which a request may have been signed, in this run or before.
    greatest: UnixMs,
    /// Requests that take money are signed under none after this.
    until: UnixMs,
    /// The latest that a broker's clock is known to have shown.
    learned: UnixMs,
}

/// How far ahead of the clock requests are signed. The broker's clock may be behind, and it allows
/// [`MAX_SKEW_MS`].
const AHEAD_MOST_MS: u64 = MAX_SKEW_MS / 2;

/// A time to sign under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signing {
    pub(super) at: UnixMs,
    /// A later time under which something may have been signed before: a clock was set back, by more than a
    /// broker allows. What is refused now may then happen yet.
    pub(super) before: Option<UnixMs>,
}

impl Default for Times {
    fn default() -> Times {
        let (greatest, until) = (UnixMs(0), UnixMs(u64::MAX));
        let inner = Inner {
            greatest,
            until,
            learned: UnixMs(0),
        };
        Times {
            inner: Mutex::new(inner),
        }
    }
}

impl Inner {
    fn next(&self, now: UnixMs) -> Signing {
        // A clock of ours that is behind says less of the broker's than its answers did.
        let is_behind = self.learned.since_ms(now) < MAX_SKEW_MS;
        let now = now.max(if is_behind { self.learned } else { now });
        let ahead_ms = self.greatest.since_ms(now);
        if now > self.greatest {
            let before = None;
            return Signing { at: now, before };
        }
        match ahead_ms < AHEAD_MOST_MS {
            true => Signing {
                at: self.greatest.plus_ms(1),
                before: None,
            },
            false => Signing {
                at: now,
                before: Some(self.greatest),
            },
        }
    }
}

impl Times {
    /// Goes on after an earlier run, which signed nothing that takes money under a later time than this.
    pub fn resume(&self, signed_until: UnixMs) {
        let mut inner = self.inner.lock();
        inner.greatest = inner.greatest.max(signed_until);
        inner.until = signed_until;
    }

    /// Lets requests that take money be signed under times up to this, which no later run goes back behind.
    pub fn allow(&self, until: UnixMs) {
        let mut inner = self.inner.lock();
        inner.until = inner.until.max(until);
    }

    /// The time that would be signed under now.
    #[must_use]
    pub fn next(&self, now: UnixMs) -> UnixMs {
        self.inner.lock().next(now).at
    }

    /// A time to sign under; none where the request takes money and that time is not allowed.
    pub(super) fn sign(&self, takes_money: bool, now: UnixMs) -> Option<Signing> {
        let mut inner = self.inner.lock();
        let signing = inner.next(now);
        if takes_money && signing.at > inner.until {
            return None;
        }
        inner.greatest = inner.greatest.max(signing.at);
        Some(signing)
    }

    /// What comes is signed under a later time than that of an answer: a broker takes nothing that was signed
    /// before the account had money, and our clock may be behind.
    pub(super) fn learn(&self, at: UnixMs, now: UnixMs) {
        if at.since_ms(now) < MAX_SKEW_MS {
            let mut inner = self.inner.lock();
            inner.greatest = inner.greatest.max(at);
            inner.learned = inner.learned.max(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000_000);

    fn at(times: &Times, now: UnixMs) -> UnixMs {
        times.sign(true, now).expect("allowed").at
    }

    #[test]
    fn each_time_is_later_than_those_before_it_also_where_the_clock_is_set_back() {
        let times = Times::default();
        assert_eq!(at(&times, NOW), NOW);
        assert_eq!(at(&times, NOW), NOW.plus_ms(1));
        let back = UnixMs(NOW.0 - AHEAD_MOST_MS + 10);
        assert_eq!(at(&times, back), NOW.plus_ms(2));
        times.learn(NOW.plus_ms(500), NOW);
        assert_eq!(at(&times, NOW), NOW.plus_ms(501));
        // Nobody who says it is next year sets this clock.
        times.learn(NOW.plus_ms(MAX_SKEW_MS), NOW);
        assert_eq!(at(&times, NOW), NOW.plus_ms(502));
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_remembered_by_what_is_signed_before_that_time() {
        let times = Times::default();
        times.resume(NOW.plus_ms(AHEAD_MOST_MS + 5));
        let signing = times.sign(true, NOW).expect("allowed");
        let before = Some(NOW.plus_ms(AHEAD_MOST_MS + 5));
        assert_eq!(signing, Signing { at: NOW, before });
        let later = NOW.plus_ms(10);
        assert_eq!(times.next(later), NOW.plus_ms(AHEAD_MOST_MS + 6));
        assert_eq!(times.sign(true, later), None, "that is not allowed yet");
    }

    #[test]
    fn nothing_is_signed_so_far_ahead_that_a_broker_a_little_behind_refuses_it() {
        let times = Times::default();
        let greatest = NOW.plus_ms(MAX_SKEW_MS - 1);
        times.sign(false, greatest).expect("allowed");
        assert_eq!(at(&times, NOW), NOW);
        // Where the broker itself is so far ahead, what is signed follows it.
        let times = Times::default();
        times.learn(greatest, NOW);
        let signing = times.sign(true, NOW).expect("allowed");
        let (at, before) = (greatest.plus_ms(1), None);
        assert_eq!(signing, Signing { at, before });
    }

    #[test]
    fn what_takes_money_is_signed_up_to_a_time_that_is_kept_and_no_further() {
        let times = Times::default();
        times.resume(NOW);
        assert_eq!(times.sign(true, NOW), None);
        assert!(times.sign(false, NOW).is_some(), "it takes no money");
        times.allow(NOW.plus_ms(100));
        assert_eq!(at(&times, NOW.plus_ms(100)), NOW.plus_ms(100));
        assert_eq!(times.sign(true, NOW.plus_ms(101)), None);
        times.allow(NOW);
        assert_eq!(times.sign(true, NOW.plus_ms(101)), None, "never taken back");
        times.allow(NOW.plus_ms(101));
        assert!(times.sign(true, NOW.plus_ms(101)).is_some());
    }
}
