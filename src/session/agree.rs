//! The engine and the list agree: what the engine runs, and which files it fetches, is compared with what the list
//! says, and what differs is put right. librqbit ends a check of files as it was begun, whatever is asked of it
//! meanwhile: what it ended as is looked at as soon as it has.

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
    /// Whether it is not as the list says, where it is among those that have to wait, or is not.
    fn is_misplaced(&self, waits: bool) -> bool {
        let stands_still = self.saved.paused || waits;
        let is_left_alone = self.is_unknown() || self.renewing.is_some() || self.has_failed();
        let is_wrong = || self.runs_against(stands_still) || self.fetches_others();
        !is_left_alone && (self.queued != waits || is_wrong())
    }

    /// Whether the engine runs it though it is to stand still, or the other way round.
    fn runs_against(&self, stands_still: bool) -> bool {
        let runs = self.handle.as_ref().and_then(Handle::runs);
        runs == Some(stands_still)
    }

    /// Whether the engine fetches other files than were chosen.
    fn fetches_others(&self) -> bool {
        let handle = self.handle.as_ref();
        handle.and_then(|handle| handle.fetches(self.saved.files())) == Some(false)
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

    /// Tells the engine which files are wanted, if it does not know; what is being checked, or given to it anew, is
    /// compared when that is over.
    pub async fn choose(&self, hash: InfoHash) -> Result<(), Problem> {
        let _alone = self.telling.lock().await;
        let entry = self.entry(hash)?;
        let Some(handle) = entry.handle.as_ref().filter(|_| entry.fetches_others()) else {
            return Ok(());
        };
        match handle.choose_files(entry.saved.files()).await {
            Err(EngineError::NotYet(_) | EngineError::Gone(_)) => Ok(()),
            // What waits for whoever mends it is told when it is given to the engine anew.
            Err(EngineError::Stopped { .. }) if handle.has_failed() => Ok(()),
            chosen => chosen.map_err(engine_problem),
        }
    }
}

impl Session {
    /// Has the engine do what the list says: first it holds back what has to wait, and then starts what has not
    /// any more.
    pub(super) async fn put_right(&self, run: &Arc<Running>) {
        let limit = self.settings().limits.downloads_at_once;
        for (hash, _) in run.misplaced(limit) {
            // It may have changed since.
            let waits = run.take_place(hash, limit);
            if let Err(problem) = self.put_one_right(run, hash, waits).await {
                tracing::warn!(info_hash = %hash, "it is not as the list says: {problem}");
            }
        }
    }

    /// Has the engine do with a torrent what the list says, but does not meddle with a check: what that ends
    /// as is looked at afterwards.
    async fn put_one_right(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
        waits: bool,
    ) -> Result<(), Problem> {
        let entry = run.entry(hash)?;
        // One that has failed waits for whoever mends it.
        if entry.renewing.is_some() || entry.has_failed() {
            return Ok(());
        }
        // Before it goes on: of what is not wanted any more nothing is fetched. What is to stand still does so
        // whatever the engine says to that.
        let chosen = run.choose(hash).await;
        if chosen.is_err() && !entry.stands_still() {
            return chosen;
        }
        // What is paused is not given to the engine.
        let is_due = match &entry.handle {
            None => !waits && entry.goes_on(),
            Some(_) => entry.runs_against(entry.stands_still()),
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
            // Nothing that could be paused: taken out until it is resumed, with what was noted of it if that may
            // be right.
            Err(EngineError::NotYet(_)) => run.set_aside(hash).await.map(|_| ()),
            Err(EngineError::Stopped { .. } | EngineError::Gone(_)) => self.let_go(run, hash).await,
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
