//! Keeping an eye on an accepted spend: reading and putting its records again on schedule, and
//! telling when another item shows up (`docs/protocol.md` section 6, step 5).

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{DhtNode, next_recheck, next_recheck_closed};
use crate::coin::Commitment;
use crate::record::{Item, SignedRecord};
use crate::units::UnixMs;
use crate::{clock, random};

/// Another item lies where one of a spend's records should: close, present both, contest.
#[derive(Clone, Debug)]
pub struct WatchConflict {
    /// The commitment of the first record watched, which is the spend that was accepted.
    pub spend: Commitment,
    /// The item that should be there.
    pub ours: Item,
    /// The item that is.
    pub other: Item,
}

/// Watches the records of one accepted spend until dropped, or until it has reported a conflict.
#[derive(Debug)]
pub struct Watch {
    closed: watch::Sender<Option<UnixMs>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Starts watching `records`, the spend's own first, from now on.
    #[must_use]
    pub fn start(
        node: DhtNode,
        records: Vec<SignedRecord>,
        conflicts: mpsc::UnboundedSender<WatchConflict>,
    ) -> Watch {
        let (closed, is_closed) = watch::channel(None);
        let task = tokio::spawn(keep_watch(node, records, is_closed, conflicts));
        Watch { closed, task }
    }

    /// The channel was closed: from now on one place an hour.
    pub fn closed(&self) {
        self.closed.send_replace(Some(clock::now()));
    }

    /// Whether it ended by reporting a conflict.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

async fn keep_watch(
    node: DhtNode,
    records: Vec<SignedRecord>,
    mut is_closed: watch::Receiver<Option<UnixMs>>,
    conflicts: mpsc::UnboundedSender<WatchConflict>,
) {
    let Some(spend) = records.first().map(SignedRecord::commitment) else {
        return;
    };
    let accepted = clock::now();
    // What was due last, so that a clock that is set back does not repeat it.
    let mut done_ms = 0;
    loop {
        let closed = *is_closed.borrow_and_update();
        let since = closed.unwrap_or(accepted);
        let tempo = u64::from(node.watch_tempo);
        let age_ms = clock::now().since_ms(since).saturating_mul(tempo);
        let age_ms = age_ms.max(done_ms);
        let due = if closed.is_some() {
            next_recheck_closed(age_ms, u64::from_le_bytes(random::bytes()))
        } else {
            next_recheck(age_ms)
        };
        let wait = Duration::from_millis(due.at_ms.saturating_sub(age_ms) / tempo);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = is_closed.changed() => {
                if changed.is_err() {
                    return;
                }
                done_ms = 0;
                continue;
            }
        }
        done_ms = due.at_ms;
        if let Some((ours, other)) = node.check_again(&records, due.places).await.conflict {
            let _ = conflicts.send(WatchConflict { spend, ours, other });
            return;
        }
    }
}
