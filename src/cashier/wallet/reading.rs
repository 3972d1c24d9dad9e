//! The start-up reading: before anything of an earlier run is signed for, its slot is read
//! (`docs/protocol.md` section 11). It goes on in the background and nobody waits for it but whoever
//! asked for just that holding: to channels, what is not read is not there.
//!
//! A reading grows old in seconds. So two copies of one wallet that run at once see each other's spends,
//! unless both sign within the time that a record takes into the DHT.

use std::sync::Arc;

use super::CashierError;
use super::checks::SpentCopy;
use super::door::{BrokerDoor, DoorError};
use super::errands::News;
use super::purse::{Purse, give};
use super::reader::{
    AT_ONCE, CLOSE_PATIENCE, CloseReply, FROZEN_FIRST_MS, FROZEN_MOST_MS, GOOD_MS, Job,
    RETRY_FIRST_MS, RETRY_MOST_MS, Seen, TRIES, waits,
};
use super::slots::{Reading, SlotReader};
use crate::broker::answer::HoldingStatus;
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::http::client::KnownHolding;
use crate::random;
use crate::record::{ClosePart, Slot};
use crate::units::{Units, UnixMs};
use crate::wallet::reading::{self, Found, FoundClose, Sight, Standing};
use crate::wallet::trade::SETTLE_DAYS;
use crate::wallet::{HoldingRow, HoldingState, ReceivedState, RequestId};

async fn look(
    slots: Arc<dyn SlotReader>,
    door: Option<Arc<dyn BrokerDoor>>,
    (key, slot, holding): (PublicKey, Slot, Option<HoldingId>),
    is_listed: bool,
) -> Seen {
    let reading = slots.read(&key, &slot).await;
    let standing = match (holding, door) {
        (Some(id), Some(door)) if is_listed || !reading.items.is_empty() => {
            standing_of(&*door, id).await
        }
        _ => Ok(Standing::Nothing),
    };
    Seen { reading, standing }
}

/// What stands at the broker in the spend slot of a holding of ours.
async fn standing_of(door: &dyn BrokerDoor, id: HoldingId) -> Result<Standing, DoorError> {
    let known = door.holding(id).await?;
    Ok(standing(&known))
}

/// The same from what the broker showed.
pub(super) fn standing(known: &KnownHolding) -> Standing {
    let Some(c) = known.c else {
        return Standing::Nothing;
    };
    match known.state {
        HoldingStatus::Unknown => Standing::Nothing,
        HoldingStatus::Redeemed => Standing::Redeem { c },
        HoldingStatus::Fixed | HoldingStatus::Split => Standing::Spend {
            c,
            open: known.open.map(Box::new),
            close: known.close.map(Box::new),
        },
        HoldingStatus::Contested | HoldingStatus::Settled => Standing::Spend {
            c,
            open: None,
            close: None,
        },
    }
}

/// Whose items lie in which slot, and the holding that the broker can be asked about.
type Place = (PublicKey, Slot, Option<HoldingId>);

impl Purse {
    /// Whether the copy of the spent list is new enough to read slots by.
    pub(super) fn is_list_new(&self, now: UnixMs) -> bool {
        let is_new = now.is_within(GOOD_MS, self.desk.spent_at);
        let list = self.desk.spent.as_ref();
        is_new && list.is_some_and(|list| list.is_fresh(now))
    }

    /// What could be paid with once it is read, where the broker gives no list to read it by.
    pub(super) fn waiting_for_list(&self, now: UnixMs) -> Units {
        if !self.desk.is_out() || self.is_list_new(now) {
            return Units::ZERO;
        }
        let is_usable =
            |state: &HoldingState| matches!(state, HoldingState::Available | HoldingState::Unread);
        let rows = self.rows.holdings.values().filter(|row| {
            (is_usable(&row.state) || row.is_idle(now)) && !self.reader.born.has(row.key_index)
        });
        let sum = Units::checked_sum(rows.map(|row| row.holding.value));
        sum.unwrap_or(Units(u64::MAX))
    }

    /// Starts readings as far as there is room for them.
    pub(super) async fn send_readings(&mut self, now: UnixMs) {
        let Some(slots) = self.reader.slots.clone() else {
            return;
        };
        let is_new = self.is_list_new(now);
        let list = self.desk.spent.clone().filter(|_| is_new);
        while self.reader.busy.len() < AT_ONCE {
            let Some(job) = self.reader.next(list.is_some(), now) else {
                return;
            };
            let Some((what, is_listed)) = self.target(&job, list.as_deref(), now) else {
                self.reader.again.remove(&job);
                if let Job::Spend(id) = job {
                    // Nothing to wait for.
                    self.read_or_not(&id, true).await;
                }
                continue;
            };
            let (door, Some(post)) = (self.desk.door.clone(), self.desk.post.clone()) else {
                return;
            };
            self.reader.busy.insert(job);
            let looking = look(Arc::clone(&slots), door, what, is_listed);
            tokio::spawn(async move {
                let _ = post.send(News::Seen(job, Box::new(looking.await)));
            });
        }
    }

    /// Where a job looks, and whether the broker is asked in any case. None where there is nothing to
    /// look for any more.
    fn target(
        &self,
        job: &Job,
        list: Option<&dyn SpentCopy>,
        now: UnixMs,
    ) -> Option<(Place, bool)> {
        match job {
            Job::Spend(id) => {
                let is_wanted = |row: &&HoldingRow| waits(row) || self.ahead.contains_key(id);
                let row = self.rows.holdings.get(id).filter(is_wanted)?;
                let slot = Slot::spend(id);
                let is_over = now.day() >= row.holding.expires.plus(SETTLE_DAYS);
                let is_frozen = matches!(row.state, HoldingState::Frozen { .. });
                let is_known = is_frozen || list.is_some_and(|list| list.lists(&slot));
                (!is_over).then_some(((row.holding.key, slot, Some(*id)), is_known))
            }
            Job::Close(spend) => {
                let row = self.rows.received.get(spend)?;
                let slot = Slot::close(&row.holding.id, spend);
                Some(((row.open.payee, slot, None), false))
            }
        }
    }

    /// Takes what a reading brought.
    pub(super) async fn seen(&mut self, job: Job, seen: Seen, now: UnixMs) {
        self.reader.busy.remove(&job);
        let is_decided = seen.reading.is_complete || !seen.reading.items.is_empty();
        self.reader.failures = match is_decided {
            true => 0,
            false => self.reader.failures.saturating_add(1),
        };
        if !self.reader.works() {
            self.give_up_readings().await;
        }
        match job {
            Job::Spend(id) => {
                self.seen_spend(&id, seen, is_decided, now).await;
                self.settle_ahead(&id, now).await;
            }
            Job::Close(spend) => {
                self.seen_close(&spend, &seen.reading, is_decided, now)
                    .await
            }
        }
    }

    async fn seen_spend(&mut self, id: &HoldingId, seen: Seen, is_decided: bool, now: UnixMs) {
        let job = Job::Spend(*id);
        let is_empty = seen.reading.items.is_empty();
        let standing = match seen.standing {
            Ok(standing) => standing,
            // What the slot shows is enough to sign nothing; the broker is asked again later.
            Err(_) if !is_empty => Standing::Nothing,
            Err(_) => return self.read_in_vain(id, now).await,
        };
        if !is_decided && standing == Standing::Nothing {
            return self.read_in_vain(id, now).await;
        }
        self.rows.unreadable.remove(id);
        let Some(row) = self.rows.holdings.get(id) else {
            return;
        };
        let sight = Sight {
            items: seen.reading.items,
            broker: standing,
        };
        let found = reading::judge(&self.seed, &row.holding, &sight);
        if let Err(error) = self.take_found(id, &found, now).await {
            tracing::error!("what was read of holding {id} is not noted: {error}");
            return self.read_in_vain(id, now).await;
        }
        let row = self.rows.holdings.get(id);
        let is_frozen = row.is_some_and(|row| matches!(row.state, HoldingState::Frozen { .. }));
        match found {
            _ if is_frozen => {
                self.reader
                    .later(job, (FROZEN_FIRST_MS, FROZEN_MOST_MS), now);
            }
            Found::Frozen { .. } => {
                self.reader.again.remove(&job);
            }
            Found::Clean => {
                self.reader.again.remove(&job);
                self.reader.read_at.insert(*id, now);
            }
            Found::Spend { .. } | Found::Redeem => {
                self.reader.again.remove(&job);
                self.read_change_too(id);
            }
        }
        self.read_or_not(id, true).await;
    }

    /// It is read again later; after some tries nobody waits for that, and what it would have been used for
    /// something else is bought for.
    async fn read_in_vain(&mut self, id: &HoldingId, now: UnixMs) {
        let retry = (RETRY_FIRST_MS, RETRY_MOST_MS);
        let tries = self.reader.later(Job::Spend(*id), retry, now);
        if tries >= TRIES {
            self.rows.unreadable.insert(*id);
        }
        self.read_or_not(id, tries >= TRIES).await;
    }

    async fn take_found(
        &mut self,
        id: &HoldingId,
        found: &Found,
        now: UnixMs,
    ) -> Result<(), CashierError> {
        let request = RequestId(random::bytes());
        let change = reading::found(&self.rows, id, found, request, now)?;
        self.apply(change).await?;
        if let Found::Spend {
            open,
            close: Some(close),
        } = found
        {
            self.payer_closed(&open.commitment(id), close, now).await?;
        }
        Ok(())
    }

    /// Flips a holding whose reading has grown old back to unread, and reads it next. Whether it may be
    /// signed for now.
    pub(super) fn is_read(&mut self, row: &HoldingRow, good_ms: u64, now: UnixMs) -> bool {
        if self.reader.may_sign(row, good_ms, now) {
            return true;
        }
        let id = row.holding.id;
        self.reader.read_at.remove(&id);
        if let Some(row) = self.rows.holdings.get_mut(&id)
            && row.is_idle(now)
        {
            row.state = HoldingState::Unread;
        }
        self.reader.hurry(id);
        false
    }

    /// Closes a received spend, after its close slot was read where that is needed.
    pub(super) async fn close_when_read(
        &mut self,
        spend: Commitment,
        (k, wk): (u32, ChainValue),
        reply: CloseReply,
    ) {
        let row = self.rows.received.get(&spend);
        let is_clear = row.is_none_or(|row| {
            row.state != ReceivedState::Open || self.reader.born.has(row.key_index)
        });
        if is_clear {
            let closed = self.close(&spend, k, &wk).await;
            return give(reply, closed);
        }
        if self.reader.slots.is_none() {
            return give(reply, Err(CashierError::Unread(spend)));
        }
        let waits = self
            .reader
            .closes
            .entry(spend)
            .or_insert((k, wk, Vec::new()));
        if k > waits.0 {
            (waits.0, waits.1) = (k, wk);
        }
        waits.2.push(reply);
        self.reader.first.insert(Job::Close(spend));
    }

    async fn seen_close(
        &mut self,
        spend: &Commitment,
        reading: &Reading,
        is_decided: bool,
        now: UnixMs,
    ) {
        let job = Job::Close(*spend);
        if !is_decided {
            let tries = self.reader.later(job, (RETRY_FIRST_MS, RETRY_MOST_MS), now);
            if tries >= CLOSE_PATIENCE {
                self.reader.again.remove(&job);
                self.answer_closes(spend, None);
            }
            return;
        }
        self.reader.again.remove(&job);
        let (Some(row), Some((k, wk, _))) =
            (self.rows.received.get(spend), self.reader.closes.get(spend))
        else {
            return;
        };
        let (k, wk) = (*k, *wk);
        let closed = match reading::judge_close(row, &reading.items) {
            FoundClose::Clean => self.close(spend, k, &wk).await.ok(),
            FoundClose::Ours { k, wk } => self.close_again(spend, (k, wk)).await.ok(),
            FoundClose::Other(why) => {
                tracing::error!("spend {spend} is not closed: {}", why.text());
                None
            }
        };
        self.answer_closes(spend, closed);
    }

    async fn close_again(
        &mut self,
        spend: &Commitment,
        at: (u32, ChainValue),
    ) -> Result<ClosePart, CashierError> {
        self.flush().await?;
        let change = reading::adopt_close(&self.rows, spend, at)?;
        self.apply(change).await?;
        self.sign_close(spend).await
    }

    fn answer_closes(&mut self, spend: &Commitment, closed: Option<ClosePart>) {
        let Some((_, _, replies)) = self.reader.closes.remove(spend) else {
            return;
        };
        for reply in replies {
            give(reply, closed.ok_or(CashierError::Unread(*spend)));
        }
    }
}
