//! Two rates of one kind of request, side by side.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use super::figures::{Spread, words};

/// One side of the comparison.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    items: u64,
    seconds: f64,
}

impl Rate {
    pub(super) fn of(items: usize, time: Duration) -> Rate {
        Rate {
            items: items as u64,
            seconds: time.as_secs_f64(),
        }
    }

    /// The rate of the same items where the cores are all its own for this share of the time.
    fn within(self, share: f64) -> Rate {
        Rate {
            items: self.items,
            seconds: self.seconds * share,
        }
    }

    fn and(self, other: Rate) -> Rate {
        Rate {
            items: self.items + other.items,
            seconds: self.seconds + other.seconds,
        }
    }

    pub(super) fn per_s(self) -> f64 {
        self.items as f64 / self.seconds
    }
}

/// A part that both sides have done, one right after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) bare: Rate,
    pub(super) broker: Rate,
    /// Bare, with signatures made and checked in the broker's way, if that is another one.
    pub(super) together: Option<Rate>,
    /// CPU time of the client while it asked the broker.
    pub(super) client: Duration,
    /// CPU time of both meanwhile.
    pub(super) cpu: Duration,
}

/// Both sides for one kind of request.
#[derive(Clone, Debug, Default)]
pub(super) struct Compared {
    pub(super) parts: Vec<Part>,
    pub(super) latencies_ms: Vec<f64>,
}

impl Compared {
    pub(super) fn bare(&self) -> Rate {
        let parts = self.parts.iter().map(|part| part.bare);
        parts.fold(Rate::default(), Rate::and)
    }

    pub(super) fn broker(&self) -> Rate {
        let parts = self.parts.iter().map(|part| part.broker);
        parts.fold(Rate::default(), Rate::and)
    }

    /// Bare, with signatures made and checked in the broker's way, if that is another one.
    pub(super) fn together(&self) -> Option<Rate> {
        let parts = self.parts.iter().map(|part| part.together);
        parts.reduce(|a, b| Some(a?.and(b?))).flatten()
    }

    /// The share of all cores that the client took while it asked the broker.
    pub(super) fn client_share(&self) -> f64 {
        self.share(|part| part.client)
    }

    /// The share of all cores that both had meanwhile: the rest they waited, or something else ran.
    pub(super) fn busy_share(&self) -> f64 {
        self.share(|part| part.cpu)
    }

    fn share(&self, of: impl Fn(&Part) -> Duration) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpu: Duration = self.parts.iter().map(of).sum();
        cpu.as_secs_f64() / (self.broker().seconds * cores as f64)
    }

    /// The ratio if the client ran on another machine: on the cores that it leaves.
    pub(super) fn ratio_beside_client(&self) -> f64 {
        let alone = self.broker().within(1.0 - self.client_share());
        alone.per_s() / self.bare().per_s()
    }

    /// Of all parts together: one that was disturbed counts for as long as it took.
    pub(super) fn ratio(&self) -> f64 {
        self.broker().per_s() / self.bare().per_s()
    }

    /// Of each part by itself: one that was disturbed does not move the median.
    pub(super) fn of_parts(&self) -> Option<Spread> {
        let each = self.parts.iter();
        Spread::of(each.map(|part| part.broker.per_s() / part.bare.per_s()))
    }

    pub(super) fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let at = sorted.len().saturating_sub(1) * percent / 100;
        sorted.get(at).copied().unwrap_or_default()
    }

    pub(super) fn json(&self, kind: &str, signatures: usize) -> serde_json::Value {
        json!({
            "event": "bench_broker", "kind": kind, "signatures_of_a_request": signatures,
            "bare_per_s": self.bare().per_s(), "broker_per_s": self.broker().per_s(),
            "ratio": self.ratio(), "ratio_of_parts": self.of_parts(), "items": self.broker().items,
            "client_share": self.client_share(),
            "busy_share": self.busy_share(), "ratio_beside_client": self.ratio_beside_client(),
            "bare_together_per_s": self.together().map(Rate::per_s),
            "request_p50_ms": self.percentile_ms(50), "request_p95_ms": self.percentile_ms(95),
            "request_p99_ms": self.percentile_ms(99),
        })
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (broker, bare) = (self.broker().per_s(), self.bare().per_s());
        write!(
            f,
            "{broker:.0} a second, bare {bare:.0}, ratio {:.3}",
            self.ratio()
        )?;
        if let Some(together) = self.together().map(Rate::per_s) {
            let ratio = broker / together;
            write!(f, " (done together {together:.0}, ratio {ratio:.3})")?;
        }
        write!(
            f,
            "; of {} parts each {}; the cores are busy {:.1} %, with the client {:.1} %, ratio on the rest {:.3}; \
             a request takes {:.0} ms (p50), {:.0} (p95), {:.0} (p99)",
            self.parts.len(),
            words(self.of_parts()),
            self.busy_share() * 100.0,
            self.client_share() * 100.0,
            self.ratio_beside_client(),
            self.percentile_ms(50),
            self.percentile_ms(95),
            self.percentile_ms(99),
        )
    }
}
