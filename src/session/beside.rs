//! What a beat finds to do that takes as long as the engine or the disk takes: done beside it, so that the next
//! beat comes in time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::asking::asks_though_whole;
use super::entry::Entry;
use super::run::Running;
use super::traffic::{self, Traffic};
use super::{Session, lock, ratio};
use crate::clock;
use crate::units::InfoHash;

/// Between two looks at what the engine does.
const APART: Duration = Duration::from_millis(100);

/// What is done beside the beats, each kind once at a time.
#[derive(Debug, Default)]
pub(super) struct Beside {
    beginning: Arc<tokio::sync::Mutex<()>>,
    applying: Arc<tokio::sync::Mutex<()>>,
    holding: Arc<tokio::sync::Mutex<()>>,
    turning: Arc<tokio::sync::Mutex<()>>,
    righting: Arc<Mutex<Following>>,
    saving: Arc<Mutex<Following>>,
    /// Held from when a copy of the traffic is taken until it is written: the last one taken is the last one
    /// written.
    writing: Mutex<()>,
}

/// What is to follow on what is under way.
#[derive(Debug, Default)]
struct Following {
    /// Whether all is to be done, or what came since.
    due: Option<bool>,
    is_under_way: bool,
}

impl Following {
    /// What is to be done next; none: nothing is under way any more.
    fn next(&mut self) -> Option<bool> {
        let due = self.due.take();
        self.is_under_way = due.is_some();
        due
    }
}

/// Does `work` until `over`. What falls on one that is under way follows it at once, all that did with one more.
fn follow<F: Future<Output = ()> + Send>(
    following: &Arc<Mutex<Following>>,
    over: CancellationToken,
    all: bool,
    work: impl Fn(bool) -> F + Send + Sync + 'static,
) {
    let mut now = lock(following);
    now.due = Some(all || now.due == Some(true));
    if std::mem::replace(&mut now.is_under_way, true) {
        return;
    }
    drop(now);
    let following = Arc::clone(following);
    tokio::spawn(over.run_until_cancelled_owned(async move {
        loop {
            let next = lock(&following).next();
            match next {
                Some(all) => work(all).await,
                None => return,
            }
        }
    }));
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

    /// The engine does what the list says: also what changes while that is seen to.
    pub(super) fn put_all_right(&self, run: &Arc<Running>) {
        let (session, of) = (self.clone(), Arc::clone(run));
        follow(&run.beside.righting, run.over.clone(), true, move |_| {
            let (session, of) = (session.clone(), Arc::clone(&of));
            async move {
                session.put_right(&of).await;
                tokio::time::sleep(APART).await;
            }
        });
    }

    /// A new day begins where there is one; settings that hold and are not written down are, if that is due.
    pub(super) fn turn_day_beside(&self, run: &Arc<Running>, saves: bool) {
        let (session, of) = (self.clone(), Arc::clone(run));
        once(&run.beside.turning, run.over.clone(), async move {
            {
                let _alone = session.inner.setting.lock().await;
                of.turn_day(&session.settings(), clock::now().day()).await;
            }
            if saves {
                session.save_settings().await;
            }
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

    /// Writes what was transferred since all of that was written, or `all` that has changed. Where a slow disk
    /// has the last one still, this one follows it.
    pub fn save_beside(self: &Arc<Self>, all: bool) {
        let run = Arc::clone(self);
        follow(&self.beside.saving, self.over.clone(), all, move |all| {
            let run = Arc::clone(&run);
            async move { run.save(all).await }
        });
    }

    /// Writes what was transferred since all of that was written, or `all` that has changed; all that can be,
    /// where some cannot.
    pub async fn save(self: &Arc<Self>, all: bool) {
        let kept = match all {
            true => self.shelf.save_all(&self.torrents).await,
            false => Ok(()),
        };
        let run = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || {
            let _one = lock(&run.beside.writing);
            let take = match all {
                true => Traffic::copy_all,
                false => Traffic::copy_recent,
            };
            traffic::write(&run.traffic, take, &run.home)
        });
        let written = written
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        if let Err(error) = &written {
            tracing::error!("what was transferred is not saved: {error}");
        }
        // What came since is little: that it is written does not say that all can be.
        if all || written.is_err() {
            self.note_written(kept.and(written));
        }
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

    #[tokio::test]
    async fn a_save_that_falls_on_one_under_way_follows_it_at_once() {
        let (saving, over) = (Arc::default(), CancellationToken::new());
        let (done, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (go, told) = tokio::sync::watch::channel(0);
        let save = |all| {
            let (done, told) = (done.clone(), told.clone());
            follow(&saving, over.clone(), all, move |all| {
                let (done, mut told) = (done.clone(), told.clone());
                async move {
                    told.mark_unchanged();
                    done.send(all).expect("heard");
                    told.changed().await.expect("told");
                }
            });
        };
        save(false);
        assert_eq!(begun.recv().await, Some(false));
        for all in [false, true, false] {
            save(all);
        }
        assert!(begun.try_recv().is_err());
        go.send_modify(|n| *n += 1);
        assert_eq!(begun.recv().await, Some(true));
        go.send_modify(|n| *n += 1);
        // One for all that fell on it, and then it is not under way any more.
        while lock(&saving).is_under_way {
            tokio::task::yield_now().await;
        }
        assert!(begun.try_recv().is_err());
        save(false);
        assert_eq!(begun.recv().await, Some(false));
    }
}
