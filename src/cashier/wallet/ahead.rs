//! Holdings of earlier runs that are promised to channels before their slots are read, or so long before
//! they are spent that the reading has grown old. A proposal signs nothing: so the payee answers, and
//! serves before acceptance, while the slot is read. What signs, the spend, waits for a reading of the
//! last seconds (`docs/protocol.md` section 11).

use std::collections::BTreeMap;

use super::CashierError;
use super::purse::{Outcome, Purse, Reply, give};
use super::reader::{GOOD_TO_SPEND_MS, Job};
use super::spending::SpendTo;
use crate::clock;
use crate::coin::chain::Chain;
use crate::coin::ids::HoldingId;
use crate::record::OpenSpend;
use crate::units::UnixMs;
use crate::wallet::{HoldingRow, HoldingState};

/// A spend waits no longer than this for the reading of its slot, in milliseconds: then nothing is
/// signed, and the channel tries again with what is read by then.
const WAIT_MS: u64 = 5_000;

pub(super) type CommitReply = Reply<Outcome<(OpenSpend, Chain)>>;

/// A spend that waits for its slot to be read.
pub(super) struct Waiting {
    to: Box<SpendTo>,
    until: UnixMs,
    reply: CommitReply,
}

/// What is promised and not read, each with the spend that waits for it.
pub(super) type Ahead = BTreeMap<HoldingId, Option<Waiting>>;

impl Purse {
    /// Whether `row` may be promised now, and is read at once if it has to be.
    pub(super) fn may_promise(&self, row: &HoldingRow, now: UnixMs) -> bool {
        let is_held_off = self.reader.is_held_off(&Job::Spend(row.holding.id), now);
        self.reader.may_sign(row, GOOD_TO_SPEND_MS, now) || self.reader.can_read() && !is_held_off
    }

    /// Has what was promised read, unless it was or is being read.
    pub(super) fn read_ahead(&mut self, row: &HoldingRow, now: UnixMs) {
        let id = row.holding.id;
        if !self.ahead.contains_key(&id) && !self.reader.may_sign(row, GOOD_TO_SPEND_MS, now) {
            self.reader.read_at.remove(&id);
            self.reader.hurry(id);
            self.ahead.insert(id, None);
        }
    }

    /// Spends a promised holding: at once where its slot was read within [`GOOD_TO_SPEND_MS`], else
    /// once it is read, or read again.
    pub(super) async fn commit_when_read(&mut self, to: SpendTo, reply: CommitReply, now: UnixMs) {
        let id = to.holding;
        let row = self.rows.holdings.get(&id);
        let is_promised = |row: &&HoldingRow| matches!(row.state, HoldingState::Reserved { .. });
        if let Some(row) = row.filter(is_promised).cloned() {
            self.read_ahead(&row, now);
        }
        let can_read = self.reader.can_read();
        match self.ahead.get_mut(&id) {
            None => self.serve_commit(to, reply, now).await,
            Some(waiting) => {
                *waiting = Some(Waiting {
                    to: Box::new(to),
                    until: now.plus_ms(WAIT_MS),
                    reply,
                });
                if !can_read {
                    self.break_promise(&id);
                }
            }
        }
    }

    /// The slot of a holding was looked at: what was promised of it is spent, or the promise broken.
    pub(super) async fn settle_ahead(&mut self, id: &HoldingId, now: UnixMs) {
        let Some(waiting) = self.ahead.get_mut(id) else {
            return;
        };
        let row = self.rows.holdings.get(id);
        let is_read = row.is_none_or(|row| {
            !matches!(row.state, HoldingState::Reserved { .. })
                || self.reader.may_sign(row, GOOD_TO_SPEND_MS, now)
        });
        if !is_read {
            // It is read again; who waits already asks again itself.
            if waiting.is_some() {
                self.break_promise(id);
            }
            return;
        }
        if let Some(Some(waiting)) = self.ahead.remove(id) {
            self.serve_commit(*waiting.to, waiting.reply, now).await;
        }
    }

    /// What was promised ahead of its reading is not any more: it is unread, as before.
    pub(super) fn break_promise(&mut self, id: &HoldingId) {
        let Some(waiting) = self.ahead.remove(id) else {
            return;
        };
        if let Some(row) = self.rows.holdings.get_mut(id)
            && matches!(
                row.state,
                HoldingState::Reserved { .. } | HoldingState::Available
            )
        {
            row.state = HoldingState::Unread;
        }
        if let Some(waiting) = waiting {
            let why = match self.is_list_new(clock::now()) {
                true => CashierError::NotRead(*id),
                false => CashierError::ListOld(*id),
            };
            give(waiting.reply, Err(why));
        }
    }

    /// Breaks the promises whose time is over.
    pub(super) fn break_old_promises(&mut self, now: UnixMs) {
        let is_over = |(id, waiting): &(&HoldingId, &Option<Waiting>)| match waiting {
            Some(waiting) => now.is_due(waiting.until, WAIT_MS),
            None => (self.rows.holdings.get(*id)).is_none_or(|row| row.is_idle(now)),
        };
        let over: Vec<HoldingId> = (self.ahead.iter().filter(is_over))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.break_promise(&id);
        }
    }
}
