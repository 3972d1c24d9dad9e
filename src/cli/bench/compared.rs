//! Two rates of one kind of request, side by side.

use std::time::Duration;

use serde_json::json;

use super::figures::Spread;

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
            "request_p50_ms": self.percentile_ms(50), "request_p95_ms": self.percentile_ms(95),
            "request_p99_ms": self.percentile_ms(99),
        })
    }
}
