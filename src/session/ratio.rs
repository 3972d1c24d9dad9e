//! A seed that has shared as much as its ratio limit says is paused, and goes on by itself where that limit is
//! raised or lifted: unless somebody paused it.

use std::sync::Arc;

use super::entry::Entry;
use super::run::Running;
use super::view::State;
use super::{Session, lock};

fn is_enough(entry: &Entry, limit: Option<u32>) -> bool {
    entry.row.state == State::Seeding && !entry.saved.paused && entry.saved.has_shared_enough(limit)
}

fn is_to_go_on(entry: &Entry, limit: Option<u32>) -> bool {
    let saved = &entry.saved;
    saved.paused && saved.ratio_reached && saved.may_share_more(limit)
}

/// Whether the ratio limit has something to change about a torrent.
pub(super) fn is_to_change(entry: &Entry, limit: Option<u32>) -> bool {
    is_enough(entry, limit) || is_to_go_on(entry, limit)
}

impl Session {
    /// Pauses seeds that have shared enough, and resumes those that were paused for that and have not any more.
    pub(super) async fn hold_to_ratio(&self, run: &Arc<Running>) {
        let _one = run.holding_ratio.lock().await;
        let limit = self.settings().seeding.ratio_limit_percent;
        let (mut enough, mut again) = (Vec::new(), Vec::new());
        for (hash, entry) in lock(&run.torrents).iter() {
            if is_enough(entry, limit) {
                enough.push(*hash);
            } else if is_to_go_on(entry, limit) {
                again.push(*hash);
            }
        }
        for hash in enough {
            // Whoever resumed it meanwhile wants it to go on.
            if !run.entry(hash).is_ok_and(|entry| is_enough(&entry, limit)) {
                continue;
            }
            tracing::info!(info_hash = %hash, "it has shared as much as its ratio limit says, and is paused");
            if let Err(problem) = self.pause(run, hash, true).await {
                tracing::warn!(info_hash = %hash, "{problem}");
            }
        }
        for hash in again {
            tracing::info!(info_hash = %hash, "its ratio limit is raised or lifted, and it goes on");
            if let Err(problem) = self.resume(run, hash).await {
                tracing::warn!(info_hash = %hash, "{problem}");
            }
        }
    }
}
