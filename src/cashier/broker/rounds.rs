//! What a broker does by itself, at its start and then again and again: pay credits whose hold is over,
//! read contested slots, settle coins, and put the coins of suspended accounts on the spent list.
//!
//! Each step is one operation of the cashier, so it happens whole or not at all, and what was missed
//! while the broker was away is made up for in the first round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{BrokerCashier, BrokerCashierError, Clock};
use crate::broker::cases::{ContestRow, Reading};
use crate::broker::{Broker, Operated, Operation};
use crate::coin::certificate::REDEEM_GRACE_DAYS;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::dht::{DhtNode, SlotReading};
use crate::record::{SEQ, Slot, Value};
use crate::store::broker::{BrokerStore, BrokerStoreError};
use crate::units::{Day, UnixMs};

/// Longest pause between two rounds.
const EVERY: Duration = Duration::from_secs(30);
/// Shortest pause, where contests are decided faster, as in tests.
const EVERY_LEAST: Duration = Duration::from_millis(200);
/// Rows taken from the store at once.
const PAGE: u32 = 256;
/// Operations given to the cashier at once, so that it makes them durable together.
const TOGETHER: usize = 32;
/// Slots read from the DHT at once.
const READERS: usize = 4;

/// Reads the three places of a slot from all nodes that answer.
#[async_trait]
pub trait SlotSource: Send + Sync {
    /// What they said; a place that could not be read has no answers.
    async fn read(&self, key: &PublicKey, slot: &Slot) -> SlotReading;
}

#[async_trait]
impl SlotSource for DhtNode {
    async fn read(&self, key: &PublicKey, slot: &Slot) -> SlotReading {
        self.read_slot(key, slot).await
    }
}

/// Where contested slots are read.
#[derive(Clone)]
pub struct Referee {
    /// The DHT.
    pub slots: Arc<dyn SlotSource>,
    /// Valid answers that each of two places must give for a reading to count: 8, less only in tests.
    pub min_answers: u32,
}

/// The broker's own work.
pub struct Rounds {
    cashier: BrokerCashier,
    broker: Arc<Broker>,
    store: Arc<dyn BrokerStore>,
    clock: Clock,
    referee: Option<Referee>,
    /// Contests that waited for a DHT when that was last said.
    waiting: AtomicUsize,
}

impl Rounds {
    /// The work of this broker. Without a referee its contests stay open.
    #[must_use]
    pub fn new(
        cashier: BrokerCashier,
        broker: Arc<Broker>,
        store: Arc<dyn BrokerStore>,
        clock: Clock,
        referee: Option<Referee>,
    ) -> Self {
        Rounds {
            cashier,
            broker,
            store,
            clock,
            referee,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Goes round until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let gap = Duration::from_millis(self.broker.terms().contest_gap_ms / 4);
        let pause = gap.clamp(EVERY_LEAST, EVERY);
        loop {
            let round = async {
                if let Err(error) = self.round().await {
                    tracing::warn!(%error, "the broker's own work is tried again later");
                }
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// All that is due now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn round(&self) -> Result<(), BrokerStoreError> {
        let now = (self.clock)();
        self.ripen(now).await?;
        self.judge(now).await?;
        self.settle(now).await?;
        self.withhold().await
    }

    async fn ripen(&self, now: UnixMs) -> Result<(), BrokerStoreError> {
        loop {
            let ripe = self.store.ripe_credits(None, now, PAGE).await?;
            let more = ripe.len() == PAGE as usize;
            if ripe.is_empty() || !self.operate(Operation::Ripen(ripe)).await || !more {
                return Ok(());
            }
        }
    }

    async fn judge(&self, now: UnixMs) -> Result<(), BrokerStoreError> {
        let due = self.store.due_contests(now, PAGE).await?;
        let Some(referee) = &self.referee else {
            if self.waiting.swap(due.len(), Ordering::Relaxed) != due.len() && !due.is_empty() {
                tracing::warn!(
                    contests = due.len(),
                    "contests cannot be decided without the DHT and stay open: run the broker with \
                     --dht-bootstrap"
                );
            }
            return Ok(());
        };
        let readings = futures::stream::iter(due).map(|contest| self.read(referee, contest, now));
        readings
            .buffer_unordered(READERS)
            .collect::<Vec<()>>()
            .await;
        Ok(())
    }

    async fn read(&self, referee: &Referee, contest: ContestRow, now: UnixMs) {
        let said = referee.slots.read(&contest.signer, &contest.slot).await;
        let operation = Operation::Read {
            slot: contest.slot,
            reading: count(&said, now),
            min_answers: referee.min_answers,
        };
        match self.cashier.operate(operation).await {
            Ok(Operated::Read { decided: true }) => {
                tracing::info!(slot = %contest.slot, "a contest is decided");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, slot = %contest.slot, "a contest waits"),
        }
    }

    async fn settle(&self, now: UnixMs) -> Result<(), BrokerStoreError> {
        // Under a coin that expired later, paths may still be presented.
        let held = UnixMs(now.0.saturating_sub(self.broker.terms().hold_ms));
        let before = Day(held.day().0.saturating_sub(REDEEM_GRACE_DAYS));
        let mut after: Option<(Day, HoldingId)> = None;
        loop {
            let coins = self
                .store
                .unsettled_coins(before.plus(1), after, PAGE)
                .await?;
            let Some(last) = coins.last().copied() else {
                return Ok(());
            };
            let settling =
                futures::stream::iter(coins).map(|(_, id)| self.operate(Operation::Settle(id)));
            settling
                .buffer_unordered(TOGETHER)
                .collect::<Vec<bool>>()
                .await;
            after = Some(last);
        }
    }

    async fn withhold(&self) -> Result<(), BrokerStoreError> {
        for account in self.store.unlisted_accounts(PAGE).await? {
            let mut after = None;
            loop {
                let coins = self.store.whole_coins_of(&account, after, PAGE).await?;
                let coins: Vec<HoldingId> = coins.iter().map(|coin| coin.id).collect();
                after = coins.last().copied();
                let all = coins.len() < PAGE as usize;
                let listed = Operation::Withhold {
                    account,
                    coins,
                    all,
                };
                if !self.operate(listed).await || all {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether it was done; if not, it is tried again in the next round.
    async fn operate(&self, operation: Operation) -> bool {
        match self.cashier.operate(operation).await {
            Ok(_) => true,
            Err(BrokerCashierError::Busy) => false,
            Err(error) => {
                tracing::warn!(%error, "a step of the broker's own work waits");
                false
            }
        }
    }
}

/// Copies of each statement over the three places. Items that are no records of ours stand for no
/// statement that anybody presented.
fn count(said: &SlotReading, now: UnixMs) -> Reading {
    let mut reading = Reading {
        at_unix_ms: now,
        ..Reading::default()
    };
    for (place, answers) in said.places.iter().zip(&mut reading.answers) {
        *answers = place.valid_answers();
        for (item, copies) in &place.items {
            let Some(value) = Value::from_bencoded(&item.value)
                .ok()
                .filter(|_| item.seq == SEQ)
            else {
                continue;
            };
            let c = value.commitment();
            match reading.copies.iter_mut().find(|(known, _)| *known == c) {
                Some((_, sum)) => *sum = sum.saturating_add(*copies),
                None => reading.copies.push((c, *copies)),
            }
        }
    }
    reading
}
