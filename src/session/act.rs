//! Doing things with torrents: pause, resume, remove, confirm, terms, files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::add::check_files;
use super::asking::asks_first;
use super::entry::{Entry, Saved};
use super::less::FREE_ONLY;
use super::problems::{engine_problem, node_problem, to_its_end};
use super::run::Running;
use super::terms::check_terms;
use super::view::{
    Action, ActionRequest, ActionResult, Advice, Event, FileChoice, FilesChosen, Problem,
    ProblemCode, Terms, TermsChange, TermsOf, TermsRequest,
};
use super::{Session, lock};
use crate::engine::EngineError;
use crate::node::NodeError;
use crate::units::{InfoHash, Units};

/// How long a torrent that is removed may be being given to the engine anew, and how often that is looked at.
const RENEWED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Most torrents in one request.
const MOST: usize = 10_000;

/// A yes or no to the estimate has been said.
fn answered(entry: &mut Entry) {
    entry.saved.asks_above = false;
    entry.saved.asking = false;
}

fn pause(entry: &mut Entry) {
    entry.saved.paused = true;
    entry.saved.ratio_reached = false;
}

/// Refuses more torrents than one request may have.
pub(super) fn check_count(number: usize) -> Result<(), Problem> {
    if number <= MOST {
        return Ok(());
    }
    let error = format!("{number} torrents at once, and {MOST} at most");
    Err(Problem::new(
        ProblemCode::BadRequest,
        error,
        Advice::NameFewer,
    ))
}

impl Session {
    /// Does something with some torrents; each for itself.
    ///
    /// # Errors
    /// No running node, or too many at once.
    pub async fn act(&self, request: ActionRequest) -> Result<ActionResult, Problem> {
        let run = self.running()?;
        check_count(request.info_hashes.len())?;
        let session = self.clone();
        to_its_end(async move { session.act_on_each(&run, request).await }).await
    }

    async fn act_on_each(&self, run: &Arc<Running>, request: ActionRequest) -> ActionResult {
        let mut result = ActionResult::default();
        if matches!(
            request.action,
            Action::Pause | Action::Remove | Action::RemoveWithData
        ) {
            let halts = request.info_hashes.iter();
            let halts = halts.map(|hash| self.halt(run, *hash));
            let _ = join_all(halts).await;
        }
        if request.action == Action::FreeOnly {
            let lowers = request.info_hashes.iter();
            let _ = join_all(lowers.map(|hash| run.lower(*hash, &FREE_ONLY))).await;
        }
        for hash in request.info_hashes {
            let done = match request.action {
                Action::Pause => self.pause(run, hash).await,
                Action::Resume => self.resume(run, hash).await,
                Action::Recheck => self.recheck(run, hash).await,
                Action::Remove => self.remove(run, hash, false).await,
                Action::RemoveWithData => self.remove(run, hash, true).await,
                Action::Confirm => self.confirm(run, hash, true).await,
                Action::ConfirmUnseen => self.confirm_unseen(run, hash).await,
                Action::FreeOnly => self.confirm(run, hash, false).await,
            };
            result.note(hash, done);
        }
        self.put_all_right(run);
        self.look(run).await;
        result
    }

    pub(super) async fn pause(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        let _ = self.halt(run, hash).await;
        let kept = run.insist(hash, pause).await?;
        // A resume that was being written meanwhile was asked for before.
        self.agree(run, hash).await?;
        kept
    }

    /// Has a torrent stand still before anything is written: a disk may take its time, and what runs is paid for.
    async fn halt(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        run.at_once(hash, pause)?;
        self.agree(run, hash).await
    }

    /// Takes a torrent out of the engine with what that noted of its pieces, not out of the list.
    pub(super) async fn let_go(&self, run: &Running, hash: InfoHash) -> Result<(), Problem> {
        let taken = lock(&run.torrents).get(&hash).map(|one| one.handle.clone());
        match run.node.remove(hash, false).await {
            // Only the notes of it may have been there.
            Ok(()) | Err(NodeError::Engine(EngineError::Gone(_))) => {}
            Err(error) => return Err(node_problem(&error)),
        }
        // Only now: what the engine has still is seen. It may have been given it anew meanwhile.
        if let Some(entry) = lock(&run.torrents).get_mut(&hash)
            && let (Some(now), Some(Some(taken))) = (&entry.handle, &taken)
            && now.is(taken)
        {
            entry.handle = None;
        }
        Ok(())
    }

    async fn resume(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        let limit = self.settings().seeding.ratio_limit_percent;
        let was = run.change(hash, |entry| {
            let was_paused = std::mem::replace(&mut entry.saved.paused, false);
            // Unless it has another limit by now.
            let reached = std::mem::take(&mut entry.saved.ratio_reached);
            entry.saved.past_ratio |= reached && entry.saved.has_shared_enough(limit);
            let has_failed = entry.has_failed();
            entry.error = None;
            let is_refused = entry.saved.asking && !was_paused && !has_failed;
            (is_refused, has_failed && entry.handle.is_some())
        });
        match was.await? {
            (true, _) => return Err(asks_first(hash)),
            // What is there is looked at anew, also where it has to wait then.
            (_, true) => self.let_go(run, hash).await?,
            (false, false) => {}
        }
        let waits = run.take_place(hash, self.settings().limits.downloads_at_once);
        match run.entry(hash)?.handle {
            None => self.wake(run, hash).await,
            Some(_) if waits => Ok(()),
            Some(_) => self.agree(run, hash).await,
        }
    }

    /// Forgets what was verified and looks at the files anew; one that is paused stays so. One that was whole counts
    /// as that until it turns out not to be.
    async fn recheck(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        if run.entry(hash)?.saved.size_bytes == 0 {
            return Err(Problem::new(
                ProblemCode::Conflict,
                "the metadata of this torrent is not known yet",
                Advice::WaitForMetadata,
            ));
        }
        self.let_go(run, hash).await?;
        let forgotten = run.change(hash, |entry| {
            entry.saved.have_bytes = 0;
            entry.down_at_check = entry.saved.down_bytes;
        });
        forgotten.await?;
        self.wake(run, hash).await
    }

    async fn remove(&self, run: &Arc<Running>, hash: InfoHash, data: bool) -> Result<(), Problem> {
        let entry = run.entry(hash)?;
        let metainfo = run.metainfo(hash);
        // Where its data cannot be deleted it stays, and stands still also after the next start.
        let _ = run.insist(hash, pause).await?;
        self.let_go(run, hash).await?;
        // Who is giving it to the engine anew sees that it is paused, and is soon done.
        let late = Instant::now() + RENEWED_WITHIN;
        while run.entry(hash)?.renewing.is_some() && Instant::now() < late {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        // What was being taken out is noted only then.
        self.let_go(run, hash).await?;
        if data && let Some(metainfo) = metainfo {
            crate::engine::delete_content(&metainfo, &entry.saved.folder)
                .map_err(engine_problem)?;
        }
        self.forget(run, hash).await;
        self.book().trackers.forget(hash);
        Ok(())
    }

    /// Takes a torrent off the list.
    pub(super) async fn forget(&self, run: &Running, hash: InfoHash) {
        let turn = run.shelf.turn().await;
        let gone = lock(&run.torrents).remove(&hash);
        run.shelf.remove(&turn, hash);
        drop(turn);
        if gone.is_some_and(|entry| entry.handle.is_some()) {
            // The engine was given it meanwhile.
            let _ = run.node.remove(hash, false).await;
        }
        self.tell(Event::Torrents {
            changed: Vec::new(),
            removed: vec![hash],
        });
    }

    /// A yes to the estimate: with payment, or free peers only.
    pub(super) async fn confirm(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
        pays: bool,
    ) -> Result<(), Problem> {
        match pays {
            true => self.confirm_paid(run, hash).await,
            false => self.confirm_free(run, hash).await,
        }
    }

    async fn confirm_paid(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        let lowered = run.entry(hash)?.lowered;
        let _one = run.sourcing.lock().await;
        let answer = run.change(hash, |entry| {
            entry.pay_unless_lowered(lowered);
            answered(entry);
        });
        answer.await?;
        self.start_wanted(run, hash).await
    }

    async fn confirm_free(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        let was_asking = run.entry(hash)?.saved.asking;
        run.lower(hash, &FREE_ONLY).await?;
        let _one = run.sourcing.lock().await;
        let kept = run.insist(hash, |entry| {
            entry.saved.terms.pays = false;
            answered(entry);
        });
        let kept = kept.await?;
        if was_asking {
            self.start_wanted(run, hash).await?;
        } else {
            // A yes that was being written meanwhile was said before.
            run.apply_terms(hash).await?;
        }
        kept
    }

    /// Changes a torrent's terms. What is paid less for by them holds at once, even where it cannot be kept.
    ///
    /// # Errors
    /// Unknown torrent, terms that cannot be, no running node.
    pub async fn change_terms(
        &self,
        hash: InfoHash,
        change: TermsChange,
    ) -> Result<Terms, Problem> {
        let run = self.running()?;
        check_terms(&change)?;
        let session = self.clone();
        to_its_end(async move {
            let terms = run.change_terms(hash, &change).await;
            session.look_at_terms(&run, &change).await;
            terms
        })
        .await?
    }

    /// Changes the terms of torrents; each for itself, as [`Session::change_terms`] does.
    ///
    /// # Errors
    /// No running node, too many torrents, terms that cannot be.
    pub async fn change_terms_of_many(
        &self,
        request: TermsRequest,
    ) -> Result<ActionResult, Problem> {
        let run = self.running()?;
        check_count(request.info_hashes.len())?;
        check_terms(&request.change)?;
        let session = self.clone();
        to_its_end(async move {
            let mut result = ActionResult::default();
            let change = &request.change;
            let asked = request.info_hashes.iter();
            let asked = join_all(asked.map(|hash| run.lower(*hash, change))).await;
            for (hash, asked) in request.info_hashes.into_iter().zip(asked) {
                let terms = match asked {
                    Ok(asked) => run.keep_terms(hash, change, asked).await,
                    Err(problem) => Err(problem),
                };
                result.note(hash, terms.map(|_| ()));
            }
            session.look_at_terms(&run, &request.change).await;
            result
        })
        .await
    }

    /// The terms of all torrents.
    ///
    /// # Errors
    /// No running node.
    pub fn terms_of_all(&self) -> Result<Vec<TermsOf>, Problem> {
        let run = self.running()?;
        let torrents = lock(&run.torrents);
        let each = torrents.iter().map(|(hash, entry)| TermsOf {
            info_hash: *hash,
            terms: entry.saved.terms,
        });
        Ok(each.collect())
    }

    /// Has changed terms show, and a ratio limit among them hold.
    async fn look_at_terms(&self, run: &Arc<Running>, change: &TermsChange) {
        if change.ratio_limit_percent.is_some() {
            self.hold_to_ratio(run).await;
        }
        self.look(run).await;
    }

    /// Whether a torrent that pays, and of which more is wanted now, may cost so much that a yes is due.
    fn asks_for_more(&self, entry: &Entry, before: &Saved, limit: Option<Units>) -> bool {
        let saved = &entry.saved;
        let wanted = saved.only_files.as_ref();
        let is_more = match wanted {
            Some(wanted) => !wanted.iter().all(|index| before.wants(*index)),
            None => before.only_files.is_some(),
        };
        let pays = saved.terms.pays && !saved.asking;
        let costs = |limit| saved.may_cost_more(entry.missing_bytes(), limit);
        pays && is_more && limit.is_some_and(costs)
    }

    /// Chooses the files to download. Where they may cost more than is paid without asking, the torrent
    /// waits for a yes again; whether it does.
    ///
    /// # Errors
    /// Files that are none, a torrent whose metadata is not known.
    pub async fn choose_files(
        &self,
        hash: InfoHash,
        choice: FileChoice,
    ) -> Result<FilesChosen, Problem> {
        let (run, session) = (self.running()?, self.clone());
        to_its_end(async move { session.choose_files_of(&run, hash, choice).await }).await?
    }

    async fn choose_files_of(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
        choice: FileChoice,
    ) -> Result<FilesChosen, Problem> {
        run.entry(hash)?;
        let metainfo = run.metainfo(hash).ok_or_else(|| {
            Problem::new(
                ProblemCode::Conflict,
                "the files of this torrent are not known yet",
                Advice::WaitForMetadata,
            )
        })?;
        check_files(&metainfo, &choice.wanted)?;
        let stored = metainfo
            .files()
            .iter()
            .zip(0u32..)
            .filter(|(file, _)| !file.padding);
        let all = stored
            .clone()
            .all(|(_, index)| choice.wanted.contains(&index));
        let only = (!all).then_some(choice.wanted);
        let limit = self.settings().spending.ask_above;
        let choice = run.at_once(hash, |entry| {
            entry.choice = entry.choice.wrapping_add(1);
            entry.choice
        })?;
        let is_fewer = run.narrow(hash, &metainfo, only.as_deref()).await?;
        let change = |entry: &mut Entry| {
            // Where others were chosen meanwhile, those hold.
            if entry.choice != choice {
                return (false, String::new());
            }
            let before = entry.saved.clone();
            entry.saved.want(&metainfo, only.clone());
            entry.saved.completed = None;
            let asks = self.asks_for_more(entry, &before, limit);
            entry.saved.asking |= asks;
            (asks, entry.saved.name.clone())
        };
        let (kept, (asks, name)) = match is_fewer {
            true => {
                let kept = run.insist(hash, |entry| drop(change(entry))).await?;
                (kept, (false, String::new()))
            }
            false => (Ok(()), run.change(hash, change).await?),
        };
        run.choices.send_replace(());
        run.apply_choice(&metainfo).await?;
        if asks {
            self.say_asks(hash, &name);
            run.apply_terms(hash).await?;
            run.reconnect(hash).await?;
        }
        run.choose(hash).await?;
        self.look(run).await;
        kept?;
        let asking = run.entry(hash)?.saved.asking;
        Ok(FilesChosen { asking })
    }
}
