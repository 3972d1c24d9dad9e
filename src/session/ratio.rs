//! A seed that has shared as much as its ratio limit says is paused, and goes on by itself where that limit is
//! raised or lifted: unless somebody paused it.

use std::sync::Arc;

use super::run::Running;
use super::view::State;
use super::{Session, lock};

impl Session {
    /// Pauses seeds that have shared enough, and resumes those that were paused for that and have not any more.
    pub(super) async fn hold_to_ratio(&self, run: &Arc<Running>) {
        let _one = run.holding_ratio.lock().await;
        let limit = self.settings().seeding.ratio_limit_percent;
        let (mut enough, mut again) = (Vec::new(), Vec::new());
        for (hash, entry) in lock(&run.torrents).iter() {
            let saved = &entry.saved;
            if entry.row.state == State::Seeding && saved.has_shared_enough(limit) {
                enough.push(*hash);
            } else if saved.paused && saved.ratio_reached && saved.may_share_more(limit) {
                again.push(*hash);
            }
        }
        for hash in enough {
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
