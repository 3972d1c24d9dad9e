//! What trackers answered. librqbit tells nobody but its log, so this listens to that: a layer that sees
//! `librqbit_tracker_comms` and nothing else, and keeps the last word of each tracker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::units::{InfoHash, UnixMs};

/// Who is listened to.
const TARGET: &str = "librqbit_tracker_comms";
/// Trackers of torrents that are remembered.
const MOST: usize = 50_000;
/// Longest reason kept, in bytes.
const REASON_BYTES: usize = 300;

/// The last word of a tracker about one torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackerWord {
    /// When it was last heard, or given up on for the moment.
    pub at: Option<UnixMs>,
    /// Why it gave nothing; none: it answered.
    pub error: Option<String>,
    /// Peers in its answer, where it is known.
    pub peers: Option<u32>,
    /// When it is asked again, where it is known.
    pub next: Option<UnixMs>,
}

type Words = HashMap<(InfoHash, String), TrackerWord>;

/// What trackers answered. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrackerBook {
    words: Arc<Mutex<Words>>,
}

impl TrackerBook {
    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last word of a tracker about a torrent; none: it has not answered yet.
    #[must_use]
    pub fn word(&self, info_hash: InfoHash, url: &str) -> Option<TrackerWord> {
        // As librqbit writes it.
        let url = url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.to_string());
        self.words().get(&(info_hash, url)).cloned()
    }

    /// Forgets a torrent's trackers.
    pub fn forget(&self, info_hash: InfoHash) {
        self.words().retain(|(hash, _), _| *hash != info_hash);
    }

    fn note(&self, of: &Of, said: &Said) {
        let now = clock::now();
        let mut words = self.words();
        if words.len() >= MOST {
            return;
        }
        let word = words.entry((of.info_hash, of.url.clone())).or_default();
        let after = |pause: Option<Duration>| {
            let ms = u64::try_from(pause?.as_millis()).ok()?;
            Some(now.plus_ms(ms))
        };
        let text = said.text.as_str();
        if let Some(reason) = after_any(text, FAILURES) {
            word.error = Some(shortened(reason));
            word.at = Some(now);
            word.next = after(said.retry_in.as_deref().and_then(pause));
        } else if let Some(rest) = text.strip_prefix("sleeping for ") {
            // Over HTTP this is all that is said of an answer.
            let time = rest.split_once(" after").map(|(time, _)| time);
            *word = TrackerWord {
                at: Some(now),
                next: after(time.and_then(pause)),
                ..TrackerWord::default()
            };
        } else if text == "received announce response" {
            *word = TrackerWord {
                at: Some(now),
                peers: said.len,
                ..TrackerWord::default()
            };
        } else if text == "sleeping" {
            word.next = after(said.interval.as_deref().and_then(pause));
        }
    }
}

/// How failures begin.
const FAILURES: &[&str] = &[
    "error calling tracker: ",
    "error reading announce response: ",
    "error resolving tracker: ",
];

fn after_any<'a>(text: &'a str, beginnings: &[&str]) -> Option<&'a str> {
    beginnings.iter().find_map(|begin| text.strip_prefix(begin))
}

fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

/// A duration as it is written for debugging: `1800s`, `9.73s`, `250ms`; perhaps within `Some()`.
fn pause(text: &str) -> Option<Duration> {
    let text = text.strip_prefix("Some(").unwrap_or(text);
    let text = text.strip_suffix(')').unwrap_or(text);
    let (number, scale) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let seconds: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(seconds * scale).ok()
}

/// Which tracker of which torrent a span is about.
struct Of {
    info_hash: InfoHash,
    url: String,
}

#[derive(Default)]
struct Named {
    info_hash: Option<InfoHash>,
    url: Option<String>,
}

impl Visit for Named {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "tracker" => self.url = Some(format!("{value:?}")),
            "info_hash" => self.info_hash = format!("{value:?}").parse().ok(),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Said {
    text: String,
    retry_in: Option<String>,
    interval: Option<String>,
    len: Option<u32>,
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "len" {
            self.len = u32::try_from(value).ok();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let shown = format!("{value:?}");
        match field.name() {
            "message" => self.text = shown,
            "retry_in" => self.retry_in = Some(shown),
            "interval" => self.interval = Some(shown),
            _ => {}
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TrackerBook {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut named = Named::default();
        attributes.record(&mut named);
        if let (
            Named {
                info_hash: Some(info_hash),
                url: Some(url),
            },
            Some(span),
        ) = (named, context.span(id))
        {
            span.extensions_mut().insert(Of { info_hash, url });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of) = span.extensions().get::<Of>() {
                return self.note(of, &said);
            }
        }
    }
}

impl<S> Filter<S> for TrackerBook {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        meta.target().starts_with(TARGET)
    }

    fn callsite_enabled(&self, meta: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        match meta.target().starts_with(TARGET) {
            true => tracing::subscriber::Interest::always(),
            false => tracing::subscriber::Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_as_they_are_written() {
        for pause_ms in [250u64, 1_000, 1_800_000, 9_730] {
            let written = format!("{:?}", Duration::from_millis(pause_ms));
            assert_eq!(pause(&written), Some(Duration::from_millis(pause_ms)));
        }
        assert_eq!(pause("Some(30s)"), Some(Duration::from_secs(30)));
        assert_eq!(pause("None"), None);
    }
}
