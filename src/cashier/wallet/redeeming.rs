//! Redeeming what may be signed for, after what may not yet was read.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use super::CashierError;
use super::purse::{Purse, give};
use super::reader::{GOOD_MS, Job};
use super::told::RedeemReport;
use super::waiting::{Waiter, WaiterReply};
use crate::clock;
use crate::coin::ids::HoldingId;
use crate::units::{Units, UnixMs};
use crate::wallet::trade::{self, Redeemable};
use crate::wallet::{HoldingRow, HoldingState, RequestId, choose};

type RedeemReply = oneshot::Sender<Result<RedeemReport, CashierError>>;

/// A redemption that waits for readings.
pub(super) struct Unread {
    which: Redeemable,
    /// Still to be read.
    left: BTreeSet<HoldingId>,
    /// Read and not asked for yet.
    ready: usize,
    requests: BTreeSet<RequestId>,
    reply: RedeemReply,
}

impl Purse {
    /// Where the reading of `id` is over or is given up, goes on with the redemptions that wait for it.
    pub(super) async fn read_or_not(&mut self, id: &HoldingId, is_over: bool) {
        if !is_over && self.reader.can_read() {
            self.reader.urgent.insert(Job::Spend(*id));
            return;
        }
        for mut waits in std::mem::take(&mut self.desk.unread) {
            if waits.left.remove(id) {
                waits.ready = waits.ready.saturating_add(1);
            }
            self.redeem_read(waits).await;
        }
    }

    /// Goes on without what cannot be read now.
    pub(super) async fn give_up_readings(&mut self) {
        for mut waits in std::mem::take(&mut self.desk.unread) {
            waits.left.clear();
            self.redeem_read(waits).await;
        }
        for (_, until, _) in &mut self.keeping.due {
            *until = UnixMs(0);
        }
        self.redeem_due(clock::now()).await;
    }

    /// What a spend that was taken over left is read too, where somebody waits to redeem.
    pub(super) fn read_change_too(&mut self, id: &HoldingId) {
        let change = id.change();
        let row = self.rows.holdings.get(&change);
        if row.is_none_or(|row| row.state != HoldingState::Unread) {
            return;
        }
        for waits in &mut self.desk.unread {
            if waits.left.contains(id) {
                waits.left.insert(change);
                self.reader.urgent.insert(Job::Spend(change));
            }
        }
    }

    /// Redeems what may be signed for, after what may not yet was read.
    pub(super) async fn redeem_when_read(&mut self, which: Redeemable, reply: RedeemReply) {
        let now = clock::now();
        // Somebody asks: what did not answer for a while is tried once more.
        self.reader.failures = 0;
        let rows = self.rows.holdings.values();
        let unread: Vec<HoldingRow> = rows
            .filter(|row| {
                let is_frozen = matches!(row.state, HoldingState::Frozen { .. });
                let wants = match which {
                    Redeemable::Nothing => row.state == HoldingState::Unread,
                    Redeemable::Earned | Redeemable::All => trade::would_redeem(row, which, now),
                };
                is_frozen || wants && !self.reader.may_sign(row, GOOD_MS, now)
            })
            .cloned()
            .collect();
        let mut left = BTreeSet::new();
        for row in unread {
            self.is_read(&row, GOOD_MS, now);
            // What is frozen is looked at now, however long ago that was tried.
            self.reader.again.remove(&Job::Spend(row.holding.id));
            if self.reader.can_read() {
                left.insert(row.holding.id);
            }
        }
        let waits = Unread {
            which,
            left,
            ready: 0,
            requests: BTreeSet::new(),
            reply,
        };
        self.redeem_read(waits).await;
    }

    /// Asks for what was read in whole batches, and waits for the rest.
    async fn redeem_read(&mut self, mut waits: Unread) {
        let is_over = waits.left.is_empty();
        if is_over || waits.ready >= choose::MAX_BATCH {
            waits.ready = 0;
            match self.begin_redemptions(waits.which).await {
                Ok(requests) => waits.requests.extend(requests),
                Err(error) => return give(waits.reply, Err(error)),
            }
        }
        if is_over {
            let reply = WaiterReply::Redeem(waits.which, waits.reply);
            self.desk.waiters.push(Waiter::new(waits.requests, reply));
        } else {
            self.desk.unread.push(waits);
        }
    }

    /// What another run signed for.
    pub(super) fn frozen_units(&self) -> Units {
        let rows = self.rows.holdings.values();
        let frozen = rows.filter(|row| matches!(row.state, HoldingState::Frozen { .. }));
        Units::checked_sum(frozen.map(|row| row.holding.value)).unwrap_or(Units(u64::MAX))
    }

    /// What could be redeemed but for a reading.
    pub(super) fn unread_units(&self, which: Redeemable) -> Units {
        let now = clock::now();
        let rows = self.rows.holdings.values();
        let unread = rows.filter(|row| {
            row.state == HoldingState::Unread && trade::would_redeem(row, which, now)
        });
        Units::checked_sum(unread.map(|row| row.holding.value)).unwrap_or(Units(u64::MAX))
    }
}
