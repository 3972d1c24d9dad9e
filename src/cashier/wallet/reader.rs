//! What is to be read, in which order, and what was read when: the bookkeeping of the start-up reading.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::CashierError;
use super::door::DoorError;
use super::slots::{Reading, SlotReader};
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::record::ClosePart;
use crate::units::{AT_HAND, UnixMs};
use crate::wallet::reading::{Born, Standing};
use crate::wallet::{Change, HoldingRow, HoldingState, Rows};

/// Slots that are read at once; each has three places.
pub(super) const AT_ONCE: usize = 4;
/// How long a reading is good for to redeem by, and a copy of the spent list to read by.
pub(super) const GOOD_MS: u64 = 60_000;
/// How long a reading is good for to promise and to spend by: another copy of the wallet may spend too.
pub(super) const GOOD_TO_SPEND_MS: u64 = 10_000;
/// Holdings that are read ahead of need.
pub(super) const STOCK: usize = 32;
/// Between two readings that nobody waits for: each is three look-ups, and they would come when a download
/// begins.
pub(super) const AHEAD_EVERY_MS: u64 = 1_000;
/// First wait after a reading that decided nothing; doubled each time up to [`RETRY_MOST_MS`].
pub(super) const RETRY_FIRST_MS: u64 = 1_000;
pub(super) const RETRY_MOST_MS: u64 = 60_000;
/// Before a frozen holding is looked at again in the same run; doubled each time up to a day.
pub(super) const FROZEN_FIRST_MS: u64 = 60_000;
pub(super) const FROZEN_MOST_MS: u64 = 24 * 3_600_000;
/// Readings of one slot in vain after which nobody waits for the next one.
pub(super) const TRIES: u32 = 3;
/// Readings in a row, of any slot, that decided nothing: from then on nothing is expected of the DHT.
pub(super) const PATIENCE: u32 = 6;
/// Undecided readings of a close slot after which whoever waits for the close is told so.
pub(super) const CLOSE_PATIENCE: u32 = 8;

/// One slot to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// The spend slot of a holding.
    Spend(HoldingId),
    /// The close slot of a received spend.
    Close(Commitment),
}

/// What a job brought.
pub(super) struct Seen {
    pub(super) reading: Reading,
    /// What the broker knows; asked where the slot or the spent list holds something.
    pub(super) standing: Result<Standing, DoorError>,
}

/// When a slot is looked at again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    at: UnixMs,
    /// How long after the last time that is.
    pause_ms: u64,
    /// How often it was looked at in vain.
    tries: u32,
}

pub(super) type CloseReply = oneshot::Sender<Result<ClosePart, CashierError>>;

/// What is read, what is to be read, and who waits for it.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) slots: Option<Arc<dyn SlotReader>>,
    /// The DHT will come.
    pub(super) is_expected: bool,
    pub(super) born: Born,
    pub(super) queue: VecDeque<HoldingId>,
    /// When the next of them is read, if nobody waits for it.
    ahead_at: UnixMs,
    /// What a channel or a payee's close waits for: read before what is only redeemed.
    pub(super) first: BTreeSet<Job>,
    pub(super) urgent: BTreeSet<Job>,
    pub(super) busy: BTreeSet<Job>,
    pub(super) read_at: BTreeMap<HoldingId, UnixMs>,
    pub(super) again: BTreeMap<Job, Again>,
    /// Readings in a row that decided nothing.
    pub(super) failures: u32,
    pub(super) closes: BTreeMap<Commitment, (u32, ChainValue, Vec<CloseReply>)>,
}

impl Reader {
    /// A reader for rows as they were loaded: what is available in them becomes unread.
    pub(super) fn new(rows: &mut Rows, is_expected: bool) -> Reader {
        let mut reader = Reader {
            is_expected,
            ..Reader::default()
        };
        reader.born.mark(rows);
        reader.look_at_all(rows);
        reader
    }

    /// Puts everything that is to be read into the order in which it is most likely used.
    pub(super) fn look_at_all(&mut self, rows: &Rows) {
        let mut order: Vec<&HoldingRow> = rows.holdings.values().filter(|row| waits(row)).collect();
        // Coins of the size that first channels take come first, then other coins, then the rest.
        order.sort_by_key(|row| {
            let is_first = row.holding.value == AT_HAND;
            (!row.is_spendable(), !is_first, row.holding.expires)
        });
        self.queue = order.into_iter().map(|row| row.holding.id).collect();
    }

    /// Puts what a change adds unread at the end of what is read ahead.
    pub(super) fn await_new(&mut self, rows: &Rows, change: &Change) {
        let new = change.holdings.iter().filter(|row| {
            row.state == HoldingState::Unread && !rows.holdings.contains_key(&row.holding.id)
        });
        self.queue.extend(new.map(|row| row.holding.id));
    }

    /// Takes the DHT.
    pub(super) fn set_slots(&mut self, slots: Arc<dyn SlotReader>) {
        self.slots = Some(slots);
        self.failures = 0;
        self.again.clear();
    }

    /// Whether what is unread may be counted on.
    pub(super) fn works(&self) -> bool {
        (self.slots.is_some() || self.is_expected) && self.failures < PATIENCE
    }

    pub(super) fn can_read(&self) -> bool {
        self.slots.is_some() && self.works()
    }

    /// Whether a newer copy of the spent list is needed than that which was last asked for at `at`.
    pub(super) fn wants_list(&self, at: UnixMs, now: UnixMs) -> bool {
        let is_ahead = !self.queue.is_empty() && self.read_at.len() < STOCK;
        let is_spend = |job: &Job| matches!(job, Job::Spend(_));
        let is_asked = || self.asked().any(is_spend);
        let mut again = self.again.iter();
        let is_due =
            again.any(|(job, again)| is_spend(job) && now.is_due(again.at, again.pause_ms));
        let is_needed = is_ahead || is_asked() || is_due;
        self.slots.is_some() && !now.is_within(GOOD_MS, at) && is_needed
    }

    /// There is no spent list, without which no spend slot is read: nobody waits for what was to be read.
    pub(super) fn read_nothing(&self, rows: &mut Rows) {
        let wanted = self.asked().filter_map(|job| match job {
            Job::Spend(id) => Some(*id),
            Job::Close(_) => None,
        });
        rows.unreadable.extend(wanted);
    }

    /// Whether `row` may be signed for now: made in this run, or read within `good_ms`.
    pub(super) fn may_sign(&self, row: &HoldingRow, good_ms: u64, now: UnixMs) -> bool {
        let is_fresh = |at: &UnixMs| now.is_within(good_ms, *at);
        self.born.has(row.key_index) || self.read_at.get(&row.holding.id).is_some_and(is_fresh)
    }

    /// Reads this one next.
    pub(super) fn hurry(&mut self, id: HoldingId) {
        self.first.insert(Job::Spend(id));
    }

    /// What somebody waits for, in the order in which it is read.
    fn asked(&self) -> impl Iterator<Item = &Job> {
        self.first.iter().chain(&self.urgent)
    }

    pub(super) fn born(&mut self) -> &mut Born {
        &mut self.born
    }

    /// What to read next. Without a new spent list only close slots: a redeem of a lost run would not be
    /// seen.
    pub(super) fn next(&mut self, has_list: bool, now: UnixMs) -> Option<Job> {
        let may = |job: &Job| {
            (has_list || matches!(job, Job::Close(_)))
                && !self.busy.contains(job)
                && !self.is_held_off(job, now)
        };
        let asked = self.asked().find(|job| may(job)).copied();
        if let Some(job) = asked {
            self.first.remove(&job);
            self.urgent.remove(&job);
            return Some(job);
        }
        let again = self.again.keys().find(|job| may(job)).copied();
        if again.is_some()
            || !has_list
            || self.read_at.len() >= STOCK
            || !now.is_due(self.ahead_at, AHEAD_EVERY_MS)
        {
            return again;
        }
        let next = self.queue.pop_front()?;
        self.ahead_at = now.plus_ms(AHEAD_EVERY_MS);
        Some(Job::Spend(next))
    }

    /// Whether it was looked at in vain and is not to be looked at again yet.
    pub(super) fn is_held_off(&self, job: &Job, now: UnixMs) -> bool {
        let again = self.again.get(job);
        again.is_some_and(|again| !now.is_due(again.at, again.pause_ms))
    }

    /// Notes that `job` decided nothing, or that it is to be looked at again.
    pub(super) fn later(&mut self, job: Job, (first_ms, most_ms): (u64, u64), now: UnixMs) -> u32 {
        let tries = self
            .again
            .get(&job)
            .map_or(0, |again| again.tries)
            .saturating_add(1);
        let pause_ms = first_ms
            .saturating_mul(1 << tries.saturating_sub(1).min(20))
            .min(most_ms);
        let at = now.plus_ms(pause_ms);
        let again = Again {
            at,
            pause_ms,
            tries,
        };
        self.again.insert(job, again);
        tries
    }
}

/// Whether a holding is looked at after a start.
pub(super) fn waits(row: &HoldingRow) -> bool {
    matches!(
        row.state,
        HoldingState::Unread | HoldingState::Frozen { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::PublicKey;
    use crate::record::Slot;
    use crate::wallet::fixture::{NOW, Side};

    struct NoSlots;

    #[async_trait::async_trait]
    impl SlotReader for NoSlots {
        async fn read(&self, _: &PublicKey, _: &Slot) -> Reading {
            Reading::default()
        }
    }

    #[test]
    fn what_a_channel_or_a_close_waits_for_is_read_before_what_is_redeemed() {
        let mut reader = Reader::default();
        let now = UnixMs(1_000_000);
        let spend = |n: u8| Job::Spend(HoldingId([n; 32]));
        reader.urgent.extend((1..100).map(spend));
        reader.hurry(HoldingId([200; 32]));
        reader.hurry(HoldingId([7; 32]));
        let close = Job::Close(Commitment([1; 32]));
        reader.first.insert(close);
        let mut next = || reader.next(true, now);
        let wanted = [spend(7), spend(200), close, spend(1)];
        assert_eq!([(); 4].map(|()| next()), wanted.map(Some));
        let left = 99 - 2;
        assert_eq!((0..200).filter_map(|_| next()).count(), left, "none twice");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_reading_good_for_longer() {
        let mut side = Side::new(1);
        side.buy(&[64], NOW);
        let row = side.rows.holdings.values().next().cloned().expect("bought");
        let mut reader = Reader::new(&mut side.rows, true);
        reader.set_slots(Arc::new(NoSlots));
        reader.read_at.insert(row.holding.id, NOW);
        let back = UnixMs(NOW.0 - 3 * 3_600_000);
        for good_ms in [GOOD_TO_SPEND_MS, GOOD_MS] {
            let may_sign = |now| reader.may_sign(&row, good_ms, now);
            assert!(may_sign(NOW) && may_sign(NOW.plus_ms(good_ms - 1)));
            assert!(!may_sign(NOW.plus_ms(good_ms)) && !may_sign(back));
        }
        reader.hurry(row.holding.id);
        assert!(!reader.wants_list(NOW, NOW.plus_ms(GOOD_MS - 1)));
        assert!(reader.wants_list(NOW, NOW.plus_ms(GOOD_MS)) && reader.wants_list(NOW, back));
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_pause() {
        let mut reader = Reader::default();
        let (job, now) = (Job::Spend(HoldingId([1; 32])), UnixMs(100_000_000));
        reader.later(job, (RETRY_FIRST_MS, RETRY_MOST_MS), now);
        assert_eq!(reader.next(true, now), None);
        let back = UnixMs(now.0 - 3 * 3_600_000);
        assert_eq!(reader.next(true, back), Some(job));
    }
}
