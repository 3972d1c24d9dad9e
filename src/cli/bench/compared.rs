//! Two rates of one kind of request, side by side.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

/// One side of the comparison.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Rate {
    items: u64,
    seconds: f64,
}

impl Rate {
    pub(super) fn add(&mut self, items: usize, time: Duration) {
        self.items += items as u64;
        self.seconds += time.as_secs_f64();
    }

    pub(super) fn per_s(self) -> f64 {
        self.items as f64 / self.seconds
    }
}

/// Both sides for one kind of request.
#[derive(Clone, Debug, Default)]
pub(super) struct Compared {
    pub(super) bare: Rate,
    pub(super) broker: Rate,
    /// Parts that both have done.
    pub(super) parts: usize,
    pub(super) latencies_ms: Vec<f64>,
}

impl Compared {
    pub(super) fn ratio(&self) -> f64 {
        self.broker.per_s() / self.bare.per_s()
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
            "bare_per_s": self.bare.per_s(), "broker_per_s": self.broker.per_s(),
            "ratio": self.ratio(), "items": self.broker.items,
            "request_p50_ms": self.percentile_ms(50), "request_p95_ms": self.percentile_ms(95),
            "request_p99_ms": self.percentile_ms(99),
        })
    }
}
