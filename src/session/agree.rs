//! The engine and the list agree: what the engine runs is compared with what the list says, and what differs is put
//! right. librqbit ends a check of files as it was begun, whatever is asked of it meanwhile: what it ended as is
//! looked at afterwards.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::entry::Entry;
use super::problems::engine_problem;
use super::queue::waiting;
use super::run::Running;
use super::view::Problem;
use super::{Session, lock};
use crate::engine::{EngineError, Handle};
use crate::units::InfoHash;

impl Entry {
    /// Whether it is not as the list says, where it is among those that have to wait, or is not: the engine
    /// may end a check otherwise than was asked for while it lasted.
    fn is_misplaced(&self, waits: bool) -> bool {
        let runs = || self.handle.as_ref().and_then(Handle::runs);
        let stands_still = self.saved.paused || waits;
        let is_left_alone = self.is_unknown() || self.renewing.is_some() || self.has_failed();
        !is_left_alone && (self.queued != waits || runs() == Some(stands_still))
    }
}

impl Running {
    /// Those that are not as the list says, and whether each is to stand still: first those that are.
    fn misplaced(&self, limit: Option<u32>) -> Vec<(InfoHash, bool)> {
        let torrents = lock(&self.torrents);
        let waiting = waiting(&torrents, limit);
        let all = torrents
            .iter()
            .map(|(hash, entry)| (*hash, entry, waiting.contains(hash)));
        let wrong = all.filter(|(_, entry, waits)| entry.is_misplaced(*waits));
        let mut wrong: Vec<_> = wrong
            .map(|(hash, entry, waits)| (hash, entry.saved.paused || waits))
            .collect();
        wrong.sort_by_key(|(_, stands_still)| !stands_still);
        wrong
    }

    /// Whether any is not as the list says.
    pub fn has_misplaced(&self, limit: Option<u32>) -> bool {
        !self.misplaced(limit).is_empty()
    }
}

impl Session {
    /// Holds back what has to wait, and starts what has not any more.
    pub(super) async fn hold_to_queue(&self, run: &Arc<Running>) {
        let _one = run.queueing.lock().await;
        let limit = self.settings().limits.downloads_at_once;
        for (hash, _) in run.misplaced(limit) {
            // It may have changed since.
            let waits = run.take_place(hash, limit);
            if let Err(problem) = self.put_right(run, hash, waits).await {
                tracing::warn!(info_hash = %hash, "it is not as the list says: {problem}");
            }
        }
    }

    /// Has the engine do with a torrent what the list says, but does not meddle with a check: what that ends
    /// as is looked at afterwards.
    async fn put_right(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
        waits: bool,
    ) -> Result<(), Problem> {
        let entry = run.entry(hash)?;
        let runs = entry.handle.as_ref().and_then(Handle::runs);
        // What is paused is not given to the engine, and one that has failed waits for whoever mends it.
        let is_due = match (&entry.handle, runs) {
            _ if entry.renewing.is_some() || entry.has_failed() => false,
            (None, _) => !waits && entry.goes_on(),
            (Some(_), runs) => runs == Some(entry.stands_still()),
        };
        match is_due {
            true => self.agree(run, hash).await,
            false => Ok(()),
        }
    }

    /// Has the engine pause a torrent, or go on with it, as the list says: also where somebody says otherwise
    /// meanwhile.
    pub(super) fn agree<'a>(
        &'a self,
        run: &'a Arc<Running>,
        hash: InfoHash,
    ) -> BoxFuture<'a, Result<(), Problem>> {
        // Boxed, as putting a torrent into the engine may come here again.
        Box::pin(async move {
            loop {
                let entry = run.entry(hash)?;
                let still = entry.stands_still();
                match still {
                    true => self.stand_still(run, hash, entry.handle).await?,
                    false => self.go_on(run, hash, entry.handle).await?,
                }
                if run.entry(hash)?.stands_still() == still {
                    return Ok(());
                }
            }
        })
    }

    async fn stand_still(
        &self,
        run: &Running,
        hash: InfoHash,
        handle: Option<Handle>,
    ) -> Result<(), Problem> {
        let Some(handle) = handle else {
            return Ok(());
        };
        match handle.pause().await {
            // Nothing that could be paused: let go of until it is resumed.
            Err(EngineError::NotYet(_) | EngineError::Stopped { .. } | EngineError::Gone(_)) => {
                self.let_go(run, hash).await
            }
            paused => paused.map_err(engine_problem),
        }
    }

    async fn go_on(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
        handle: Option<Handle>,
    ) -> Result<(), Problem> {
        let Some(handle) = handle else {
            return self.wake(run, hash).await;
        };
        match handle.resume().await {
            Ok(()) => run.apply_terms(hash).await,
            // It fetches its metadata already.
            Err(EngineError::NotYet(_)) => Ok(()),
            Err(EngineError::Gone(_) | EngineError::Metadata { .. } | EngineError::Add { .. }) => {
                run.set_aside(hash).await?;
                self.wake(run, hash).await
            }
            Err(error) => Err(engine_problem(error)),
        }
    }
}
