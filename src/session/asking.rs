//! A torrent that waits for a yes: nothing of it is fetched, paid or written before. Peers are met all the
//! same, as they tell their prices only to who wants something.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::Session;
use super::add::decide;
use super::entry::Entry;
use super::run::Running;
use super::view::{Advice, Problem, ProblemCode};
use crate::engine::TorrentState;
use crate::gateway::Limits;
use crate::units::InfoHash;

/// How fast a torrent may be: nothing of one that asks is fetched, nor before the engine may write it.
pub(super) fn limits_of(entry: &Entry) -> Limits {
    let terms = &entry.saved.terms;
    let looks_only = entry
        .handle
        .as_ref()
        .is_some_and(|handle| handle.looks_only());
    Limits {
        down_bytes_per_s: match entry.saved.asking || looks_only {
            true => Some(0),
            false => terms.download_bytes_per_s,
        },
        up_bytes_per_s: terms.upload_bytes_per_s,
    }
}

/// What a torrent that waits for a yes says to who wants something of it.
pub(super) fn asks_first(hash: InfoHash) -> Problem {
    let error = "it waits for a yes to what it may cost; nothing is fetched before";
    Problem::new(ProblemCode::Conflict, error, Advice::SayYes).about(hash)
}

/// Makes a folder; of one that asks only sees that it can be made, and leaves nothing behind.
pub(super) fn make_folder(folder: &Path, asks: bool) -> std::io::Result<()> {
    let missing = folder.ancestors().take_while(|folder| !folder.exists());
    let missing: Vec<_> = missing.collect();
    let made = std::fs::create_dir_all(folder);
    if asks {
        for folder in missing {
            let _ = std::fs::remove_dir(folder);
        }
    }
    made
}

impl Session {
    /// A torrent that was asking goes on, paid for as its terms say.
    pub(super) fn start_wanted<'a>(
        &'a self,
        run: &'a Arc<Running>,
        hash: InfoHash,
    ) -> BoxFuture<'a, Result<(), Problem>> {
        // Boxed, as putting a torrent into the engine may come here again.
        Box::pin(async move {
            let entry = run.entry(hash)?;
            let looks_only = entry.handle.is_some_and(|handle| handle.looks_only());
            if looks_only || entry.renewing.is_some() {
                // The engine has it anew, to be written.
                self.renew(run, hash);
                return Ok(());
            }
            let applied = run.apply_terms(hash).await;
            run.reconnect(hash).await?;
            applied
        })
    }

    /// A yes to what had no size in sight: it goes on where it costs no more than is paid without asking, and
    /// asks where it may cost more.
    pub(super) async fn confirm_unseen(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
    ) -> Result<(), Problem> {
        let limit = self.settings().spending.ask_above;
        let lowered = run.entry(hash)?.lowered;
        let _one = run.sourcing.lock().await;
        let changed = run.change(hash, |entry| {
            let paid = entry.saved.terms.pays;
            entry.pay_unless_lowered(lowered);
            let saved = &mut entry.saved;
            // One that was to have free peers only was not asked about.
            saved.asking |= !paid;
            saved.asks_above = saved.asking;
            if saved.size_bytes > 0 || limit.is_none() {
                decide(saved, limit);
            }
            (saved.asking, saved.name.clone())
        });
        let (asks, name) = changed.await?;
        if !asks {
            return self.start_wanted(run, hash).await;
        }
        if !run.entry(hash)?.saved.asks_above {
            self.say_asks(hash, &name);
        }
        Ok(())
    }

    /// What asks and is whole on the disk costs nothing: it seeds.
    pub(super) async fn begin_whole(&self, run: &Arc<Running>, hash: InfoHash) {
        let _one = run.sourcing.lock().await;
        if !run.entry(hash).is_ok_and(|entry| asks_though_whole(&entry)) {
            return;
        }
        let begun = run.change(hash, |entry| {
            entry.saved.asking = false;
            entry.saved.asks_above = false;
        });
        let begun = match begun.await {
            Ok(()) => self.start_wanted(run, hash).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = begun {
            tracing::warn!(info_hash = %hash, "whole, but it does not seed: {problem}");
        }
    }
}

/// Whether a torrent waits for a yes, and is whole on the disk.
pub(super) fn asks_though_whole(entry: &Entry) -> bool {
    let handle = entry.handle.as_ref().filter(|_| !entry.saved.paused);
    // A part that is there is whole only as long as nobody wants the rest.
    let wants_all = entry.saved.only_files.is_none() && entry.missing_bytes() == 0;
    entry.saved.asking
        && wants_all
        && handle.is_some_and(|handle| handle.brief().state == TorrentState::Seeding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_only_tried_is_gone_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (tried, there) = (dir.path().join("a/b"), dir.path().join("c"));
        std::fs::create_dir(&there).expect("made");
        make_folder(&tried, true).expect("can be made");
        make_folder(&there, true).expect("is there");
        assert!(!dir.path().join("a").exists() && there.exists());
        make_folder(&tried, false).expect("can be made");
        assert!(tried.exists());
        std::fs::write(there.join("file"), "").expect("written");
        assert!(make_folder(&there.join("file/x"), true).is_err());
    }
}
