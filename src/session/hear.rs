//! What the gateway's events tell: into the log, and as notices.

use super::run::Running;
use super::view::event::{Level, NoticeCode};
use super::view::saying::free_reason;
use super::{Session, lock};
use crate::gateway::GatewayEvent;
use crate::units::{InfoHash, PricePerGib};

/// Prices of a torrent's seeders that are told, at most.
const MOST_PRICES: usize = 20;

impl Session {
    /// Notes what an event tells.
    pub(super) fn hear(&self, run: &Running, event: &GatewayEvent) {
        let note = |level, text: String, hash: Option<InfoHash>| {
            self.book().note(level, "dpay::gateway", text, hash);
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
                note(tracing::Level::INFO, format!("{peer}: {why}"), *info_hash);
            }
            GatewayEvent::Connected {
                info_hash,
                peer,
                inbound,
            } => {
                let who = if *inbound { "dialled us" } else { "answers" };
                note(
                    tracing::Level::INFO,
                    format!("{peer} {who}"),
                    Some(*info_hash),
                );
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
    fn price_above_limit(&self, run: &Running, hash: InfoHash, at: (PricePerGib, PricePerGib)) {
        let name = {
            let mut torrents = lock(&run.torrents);
            let Some(entry) = torrents.get_mut(&hash) else {
                return;
            };
            if entry.told_prices.len() >= MOST_PRICES || !entry.told_prices.insert(at) {
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
                format!(
                    "{shown}: its budget of {limit} units is used up: it goes on with free peers"
                ),
            ),
            false => (
                NoticeCode::BudgetRest,
                format!(
                    "{shown}: less than another coin is left of its budget of {limit} units beside what is \
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
