//! What a beat finds to do that takes as long as the engine or the disk takes: done beside it, so that the next
//! beat comes in time.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::asking::asks_though_whole;
use super::entry::Entry;
use super::run::Running;
use super::traffic::{self, Copied, Traffic};
use super::{Session, lock, ratio};
use crate::units::InfoHash;

/// What is done beside the beats, each kind once at a time.
#[derive(Debug, Default)]
pub(super) struct Beside {
    beginning: Arc<tokio::sync::Mutex<()>>,
    applying: Arc<tokio::sync::Mutex<()>>,
    holding: Arc<tokio::sync::Mutex<()>>,
    saving: Arc<tokio::sync::Mutex<()>>,
    /// Held from when a copy of the traffic is taken until it is written: the last one taken is the last one
    /// written.
    pub writing: Mutex<()>,
}

/// Does `work` until `over`, unless the last of its kind is not done yet: the next beat finds it again.
fn once(
    kind: &Arc<tokio::sync::Mutex<()>>,
    over: CancellationToken,
    work: impl Future<Output = ()> + Send + 'static,
) {
    if let Ok(one) = Arc::clone(kind).try_lock_owned() {
        tokio::spawn(async move {
            let _one = one;
            over.run_until_cancelled(work).await;
        });
    }
}

impl Session {
    /// What has shared enough is paused, and what may share more again goes on.
    pub(super) fn hold_all_to_ratio(&self, run: &Arc<Running>) {
        let limit = self.settings().seeding.ratio_limit_percent;
        if run
            .those_that(|entry| ratio::is_to_change(entry, limit))
            .is_empty()
        {
            return;
        }
        let (session, of) = (self.clone(), Arc::clone(run));
        once(&run.beside.holding, run.over.clone(), async move {
            session.hold_to_ratio(&of).await;
        });
    }

    /// What asks and is whole on the disk seeds.
    pub(super) fn begin_all_whole(&self, run: &Arc<Running>) {
        let whole = run.those_that(asks_though_whole);
        if whole.is_empty() {
            return;
        }
        let (session, of) = (self.clone(), Arc::clone(run));
        once(&run.beside.beginning, run.over.clone(), async move {
            for hash in whole {
                session.begin_whole(&of, hash).await;
            }
        });
    }
}

impl Running {
    fn those_that(&self, are: impl Fn(&Entry) -> bool) -> Vec<InfoHash> {
        let torrents = lock(&self.torrents);
        let found = torrents.iter().filter(|(_, entry)| are(entry));
        found.map(|(hash, _)| *hash).collect()
    }

    /// Has what a full disk kept from being noted take effect after all.
    pub fn apply_late_beside(self: &Arc<Self>) {
        let late = self.those_that(|entry| entry.unapplied);
        if late.is_empty() {
            return;
        }
        let run = Arc::clone(self);
        once(&self.beside.applying, self.over.clone(), async move {
            run.apply_late(late).await;
        });
    }

    /// Writes what was transferred since all of that was written, or `all` that has changed; not where a slow
    /// disk has the last one still.
    pub fn save_beside(self: &Arc<Self>, all: bool) {
        let run = Arc::clone(self);
        once(&self.beside.saving, self.over.clone(), async move {
            let written = tokio::task::spawn_blocking(move || {
                let written = match all {
                    true => run.save(),
                    false => {
                        let _one = lock(&run.beside.writing);
                        run.write_traffic(Traffic::copy_recent)
                    }
                };
                run.note_written(written);
            });
            let _ = written.await;
        });
    }

    /// Writes a copy of what was transferred. Hold [`Beside::writing`].
    pub fn write_traffic(
        &self,
        take: fn(&mut Traffic) -> std::io::Result<Option<Copied>>,
    ) -> std::io::Result<()> {
        traffic::write(&self.traffic, take, &self.home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_takes_long_keeps_neither_its_beat_nor_work_of_another_kind_and_is_not_begun_twice()
     {
        let (beside, over) = (Beside::default(), CancellationToken::new());
        let (done, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let begin = |kind, name: &'static str| {
            let done = done.clone();
            once(kind, over.clone(), async move {
                done.send(name).expect("heard");
                std::future::pending::<()>().await;
            });
        };
        begin(&beside.beginning, "first");
        begin(&beside.beginning, "the same again");
        begin(&beside.applying, "another");
        assert_eq!(begun.recv().await, Some("first"));
        assert_eq!(begun.recv().await, Some("another"));
        // It ends with the node, and then the next may begin.
        over.cancel();
        let _ended = beside.beginning.lock().await;
        assert!(begun.try_recv().is_err());
    }
}
