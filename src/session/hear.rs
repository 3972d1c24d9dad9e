//! What the gateway's events tell: into the log, and as notices.

use super::run::Running;
use super::view::event::{Level, NoticeCode};
use super::view::saying::free_reason;
use super::{Session, lock};
use crate::gateway::GatewayEvent;
use crate::units::InfoHash;

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
            other => self.hear_trouble(other),
        }
    }

    fn hear_trouble(&self, event: &GatewayEvent) {
        match event {
            GatewayEvent::PriceAboveLimit {
                info_hash,
                peer,
                asked,
                limit,
            } => self.notice(
                Level::Info,
                NoticeCode::PriceAboveLimit,
                format!("{peer} asks {asked} units per GiB, more than the limit of {limit}"),
                &[
                    ("peer", peer.to_string()),
                    ("asked", asked.to_string()),
                    ("limit", limit.to_string()),
                ],
                Some(*info_hash),
            ),
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
                let text = format!("{peer} is used without being paid: {why}");
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
        let text = format!(
            "{}: its budget of {limit} units is used up: it goes on with free peers",
            crate::torrent::printable(&name)
        );
        let values = [
            ("which", "torrent".to_owned()),
            ("limit", limit.to_string()),
            ("name", name),
        ];
        let code = NoticeCode::BudgetReached;
        self.notice(Level::Warning, code, text, &values, Some(hash));
    }
}
