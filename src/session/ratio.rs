//! A seed that has shared as much as its ratio limit says is paused, and goes on by itself where that limit is
//! raised or lifted: unless somebody paused it.

use std::sync::Arc;

use super::entry::Entry;
use super::run::Running;
use super::view::{Problem, State};
use super::{Session, lock};
use crate::units::InfoHash;

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
            tracing::info!(info_hash = %hash, "it has shared as much as its ratio limit says, and is paused");
            // Whoever resumed it meanwhile wants it to go on.
            let pause = |entry: &mut Entry| {
                if is_enough(entry, limit) {
                    (entry.saved.paused, entry.saved.ratio_reached) = (true, true);
                }
            };
            let kept = run.insist(hash, pause).await;
            self.follow_ratio(run, hash, kept.flatten()).await;
        }
        for hash in again {
            tracing::info!(info_hash = %hash, "its ratio limit is raised or lifted, and it goes on");
            // Whoever paused it meanwhile wants it to stand still.
            let resume = |entry: &mut Entry| {
                if is_to_go_on(entry, limit) {
                    (entry.saved.paused, entry.saved.ratio_reached) = (false, false);
                }
            };
            let kept = run.change(hash, resume).await;
            self.follow_ratio(run, hash, kept).await;
        }
    }

    /// Has the engine do what the ratio limit says of a torrent.
    async fn follow_ratio(&self, run: &Arc<Running>, hash: InfoHash, kept: Result<(), Problem>) {
        let agreed = self.agree(run, hash).await;
        if let Err(problem) = agreed.and(kept) {
            tracing::warn!(info_hash = %hash, "{problem}");
        }
    }
}
