//! What the gateway's events tell: into the log, and as notices.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::run::Running;
use super::view::event::{Level, NoticeCode};
use super::view::saying::free_reason;
use super::{Session, lock};
use crate::gateway::GatewayEvent;
use crate::units::{InfoHash, PricePerGib};

/// Prices of a torrent's seeders that are told within [`PRICES_WITHIN`], at most: who asks another one each time
/// does not fill the notices. So many of the newest are remembered, and not told again.
const MOST_PRICES: usize = 20;
/// See [`MOST_PRICES`].
const PRICES_WITHIN: Duration = Duration::from_secs(3600);

/// A price and the limit that it is above.
type Above = (PricePerGib, PricePerGib);

/// Whether a price is to be told, and notes it then.
fn is_news(told: &mut VecDeque<(Instant, Above)>, at: Above, now: Instant) -> bool {
    if told.iter().any(|(_, known)| *known == at) {
        return false;
    }
    if told.len() >= MOST_PRICES {
        let oldest = told.front().map(|(then, _)| *then);
        if oldest.is_some_and(|then| now.duration_since(then) < PRICES_WITHIN) {
            return false;
        }
        told.pop_front();
    }
    told.push_back((now, at));
    true
}

/// The same is said of a peer so often within [`COMINGS_WITHIN`], and then counted.
const MOST_COMINGS: u32 = 3;
/// See [`MOST_COMINGS`].
const COMINGS_WITHIN: Duration = Duration::from_secs(3600);
/// Of so many is known how often they were said, at most.
const COMINGS_KNOWN: usize = 4096;

/// How peers come and go: one that does so again and again does not fill the log.
#[derive(Debug, Default)]
pub(super) struct Comings {
    /// Since when, and how often, this was said.
    said: HashMap<(Option<InfoHash>, String), (Instant, u32)>,
}

impl Comings {
    /// What the log says of it; nothing where it said so often enough.
    fn line(&mut self, hash: Option<InfoHash>, text: String, now: Instant) -> Option<String> {
        let is_recent = |since: Instant| now.duration_since(since) < COMINGS_WITHIN;
        if self.said.len() >= COMINGS_KNOWN {
            self.said.retain(|_, (since, _)| is_recent(*since));
        }
        let key = (hash, text);
        if self.said.len() >= COMINGS_KNOWN && !self.said.contains_key(&key) {
            return Some(key.1);
        }
        let text = key.1.clone();
        let (since, times) = self.said.entry(key).or_insert((now, 0));
        let counted = times.saturating_sub(MOST_COMINGS);
        if !is_recent(*since) {
            (*since, *times) = (now, 0);
        }
        *times = times.saturating_add(1);
        match *times {
            1 if counted > 0 => Some(format!(
                "{text} (and {counted} times more since it was last said)"
            )),
            ..MOST_COMINGS => Some(text),
            MOST_COMINGS => Some(format!(
                "{text} (said {MOST_COMINGS} times; for an hour it is only counted)"
            )),
            _ => None,
        }
    }
}

impl Session {
    /// Notes what an event tells.
    pub(super) fn hear(&self, run: &Running, event: &GatewayEvent) {
        let note = |level, text: String, hash: Option<InfoHash>| {
            self.book().note(level, "dpay::gateway", text, hash);
        };
        let come_or_gone = |text: String, hash: Option<InfoHash>| {
            let line = lock(&run.comings).line(hash, text, Instant::now());
            if let Some(line) = line {
                note(tracing::Level::INFO, line, hash);
            }
        };
        match event {
            GatewayEvent::Closed {
                info_hash,
                peer,
                why,
                last,
            } => {
                run.account(last);
                lock(&run.peers).remove(&last.connection);
                come_or_gone(format!("{peer}: {why}"), *info_hash);
            }
            GatewayEvent::Connected {
                info_hash,
                peer,
                inbound,
            } => {
                let who = if *inbound { "dialled us" } else { "answers" };
                come_or_gone(format!("{peer} {who}"), Some(*info_hash));
            }
            GatewayEvent::PaymentAccepted {
                info_hash,
                peer,
                acceptance_ms,
                by_us,
                ..
            } => {
                let who = if *by_us { "from" } else { "by" };
                let text = format!("payment accepted {who} {peer} after {acceptance_ms} ms");
                note(tracing::Level::INFO, text, Some(*info_hash));
            }
            GatewayEvent::BudgetUsedUp {
                info_hash, is_own, ..
            } => self.budget_used_up(run, *info_hash, *is_own),
            GatewayEvent::PriceAboveLimit {
                info_hash,
                asked,
                limit,
                ..
            } => self.price_above_limit(run, *info_hash, (*asked, *limit)),
            other => self.hear_trouble(other),
        }
    }

    /// Once for each price that seeders of a torrent ask, at each limit.
    fn price_above_limit(&self, run: &Running, hash: InfoHash, at: Above) {
        let name = {
            let mut torrents = lock(&run.torrents);
            let Some(entry) = torrents.get_mut(&hash) else {
                return;
            };
            if !is_news(&mut entry.told_prices, at, Instant::now()) {
                return;
            }
            entry.saved.name.clone()
        };
        let (asked, limit) = at;
        let text = format!(
            "{}: a seeder asks {asked} units per GiB, more than its limit of {limit}, and is not paid",
            crate::torrent::printable(&name)
        );
        let values = [
            ("name", name),
            ("asked", asked.to_string()),
            ("limit", limit.to_string()),
        ];
        let code = NoticeCode::PriceAboveLimit;
        self.notice(Level::Info, code, text, &values, Some(hash));
    }

    fn hear_trouble(&self, event: &GatewayEvent) {
        match event {
            GatewayEvent::GoesFree {
                info_hash,
                peer,
                why,
            } => {
                let (code, mut values) = free_reason(*why);
                values.extend([
                    ("peer", peer.to_string()),
                    ("why", why.to_string()),
                    ("code", code.to_owned()),
                ]);
                let text = format!("{peer} is not paid: {why}");
                let (level, hash) = (Level::Info, Some(*info_hash));
                self.notice(level, NoticeCode::GoesFree, text, &values, hash);
            }
            GatewayEvent::Conflict {
                info_hash, peer, ..
            } => self.notice(
                Level::Error,
                NoticeCode::DoubleSpend,
                format!("{peer} has spent a coin twice: it is not taken"),
                &[("peer", peer.to_string())],
                Some(*info_hash),
            ),
            GatewayEvent::Garbage { info_hash, peer } => self.notice(
                Level::Warning,
                NoticeCode::Garbage,
                format!("{peer} sent garbage and is blocked"),
                &[("peer", peer.to_string())],
                Some(*info_hash),
            ),
            _ => {}
        }
    }

    /// Once for each budget of a torrent's own, and once for those of all torrents together: every seeder
    /// finds them used up, as soon as what is left is less than a coin.
    fn budget_used_up(&self, run: &Running, hash: InfoHash, is_own: bool) {
        let Ok(entry) = run.entry(hash) else {
            return;
        };
        let Some(limit) = entry.saved.terms.budget.filter(|_| is_own) else {
            let paid = lock(&run.balance).books.paid;
            let least = lock(&run.spent).least_left(&self.settings(), paid);
            if let Some((which, limit)) = least {
                self.tell_budget_of_all(run, which, limit);
            }
            return;
        };
        let mut torrents = lock(&run.torrents);
        let told = torrents
            .get_mut(&hash)
            .and_then(|entry| entry.told_budget.replace(limit));
        drop(torrents);
        if told == Some(limit) {
            return;
        }
        let name = entry.saved.name;
        // What is promised to channels counts at the wallet at once, and is seen here a moment later.
        let is_all = entry.units_paid >= limit;
        let shown = crate::torrent::printable(&name);
        let (code, text) = match is_all {
            true => (
                NoticeCode::BudgetReached,
                format!("{shown}: its budget of {limit:#} is used up: it goes on with free peers"),
            ),
            false => (
                NoticeCode::BudgetRest,
                format!(
                    "{shown}: less than another coin is left of its budget of {limit:#} beside what is \
                     paid or promised: it goes on with free peers"
                ),
            ),
        };
        let values = [
            ("which", "torrent".to_owned()),
            ("limit", limit.to_string()),
            ("name", name),
        ];
        self.notice(Level::Warning, code, text, &values, Some(hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_comes_again_and_again_is_said_three_times_an_hour_and_counted() {
        let (mut comings, begin) = (Comings::default(), Instant::now());
        let mut said = |text: &str, seconds| {
            let now = begin + Duration::from_secs(seconds);
            comings.line(None, text.to_owned(), now)
        };
        let lines = (0..20).filter_map(|minute| said("7.7.7.7:7 answers", minute * 60));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].ends_with("it is only counted)"), "{lines:?}");
        assert!(said("7.7.7.8:7 answers", 1200).is_some(), "another one");
        let again = said("7.7.7.7:7 answers", 3600).expect("an hour later");
        assert!(again.contains("17 times more"), "{again}");
        for number in 0..COMINGS_KNOWN + 10 {
            assert!(said(&format!("{number} dials us"), 3700).is_some());
        }
        assert!(comings.said.len() <= COMINGS_KNOWN);
    }

    #[test]
    fn the_newest_prices_are_remembered_and_no_more_than_twenty_are_told_in_an_hour() {
        let (mut told, begin) = (VecDeque::new(), Instant::now());
        let price = |units: u64| PricePerGib::try_from(units).expect("a price");
        let above = |units| (price(units), price(16));
        let mut tell = |price, seconds| {
            let now = begin + Duration::from_secs(seconds);
            is_news(&mut told, above(price), now)
        };
        let at_once = (100..140).filter(|price| tell(*price, *price));
        assert!(at_once.eq(100..120), "twenty, and then it is quiet");
        assert!(!tell(119, 4000), "told before");
        assert!(tell(140, 4000), "after an hour another one is news");
        assert!(!tell(140, 4001));
        assert!(tell(100, 4002), "of the oldest nobody knows any more");
        assert!(!tell(119, 4003), "of the newest one does");
    }
}
