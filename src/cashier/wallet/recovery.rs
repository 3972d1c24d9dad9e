//! Asking the broker for what a wallet from words, or from a backup, does not know of itself
//! (`docs/protocol.md` section 11). Until that is done nothing is bought, certified or redeemed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::CashierError;
use super::door::{BrokerDoor, DoorError};
use super::errands::{Errand, News};
use super::purse::Purse;
use super::reading::standing;
use crate::broker::answer::HoldingStatus;
use crate::coin::Seed;
use crate::coin::keys::PublicKey;
use crate::http::client::RecoveredPage;
use crate::random;
use crate::units::UnixMs;
use crate::wallet::reading::{Found, Sight, found, judge};
use crate::wallet::recover::{self, KeyIndices};
use crate::wallet::{HoldingState, RequestId};

/// Indices are looked at this far beyond the last that the broker knows.
const GAP: u32 = 1_000;

/// All that the broker knows of the account, with the indices of its keys.
pub(super) struct Recovered {
    pages: Vec<RecoveredPage>,
    ours: KeyIndices,
}

/// Asks page by page, then finds the keys.
async fn ask(door: Arc<dyn BrokerDoor>, seed: Seed, next_key: u32) -> Result<Recovered, DoorError> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = door.recover(after).await?;
        after = page.next.clone();
        pages.push(page);
        if after.is_none() {
            break;
        }
    }
    let keys = pages
        .iter()
        .flat_map(|page| page.keys.iter().map(|(key, _)| *key));
    let keys: BTreeSet<PublicKey> = keys.collect();
    let finding = tokio::task::spawn_blocking(move || indices(&seed, &keys, next_key));
    let ours = finding.await;
    let ours = ours.map_err(|_| DoorError::Answer("its keys could not be looked at".to_owned()))?;
    Ok(Recovered { pages, ours })
}

/// The indices of `keys`, which are counted up from 0 with gaps of less than [`GAP`].
fn indices(seed: &Seed, keys: &BTreeSet<PublicKey>, next_key: u32) -> KeyIndices {
    let mut found = BTreeMap::new();
    let mut end = next_key.saturating_add(GAP);
    let mut index = 0;
    while index < end && found.len() < keys.len() {
        let key = seed.holder_key(index).public();
        if keys.contains(&key) {
            found.insert(key, index);
            end = end.max(index.saturating_add(GAP));
        }
        index = index.saturating_add(1);
    }
    found
}

impl Purse {
    /// Asks for what is missing, where something is.
    pub(super) fn send_recovery(&mut self) {
        let (seed, next_key) = (self.seed.clone(), self.rows.meta.next_key);
        self.desk.start(Errand::Recover, move |door| async move {
            News::Recovered(ask(door, seed, next_key).await.map(Box::new))
        });
    }

    /// Takes over what the broker told.
    pub(super) async fn recovered(
        &mut self,
        told: Result<Box<Recovered>, DoorError>,
        now: UnixMs,
    ) -> Result<(), CashierError> {
        let told = told?;
        // Indices that are taken over were not taken in this run.
        let born = self.reader.born().clone();
        let taken = self.take_over(&told, now).await;
        *self.reader.born() = born;
        self.reader.look_at_all(&self.rows);
        taken
    }

    async fn take_over(&mut self, told: &Recovered, now: UnixMs) -> Result<(), CashierError> {
        for page in &told.pages {
            let keys = page.keys.iter();
            let known = keys.filter_map(|(key, c)| Some((*told.ours.get(key)?, *c)));
            let known: Vec<_> = known.collect();
            self.apply(recover::keys(&self.rows, &known)?).await?;
            let coins = recover::coins(&self.rows, &page.coins, &told.ours, now)?;
            self.apply(coins).await?;
        }
        for found in told.pages.iter().flat_map(|page| &page.holdings) {
            // What is over is history, unless these rows take it for money.
            let is_over = matches!(
                found.known.state,
                HoldingStatus::Split | HoldingStatus::Redeemed | HoldingStatus::Settled
            );
            if is_over && !self.rows.holdings.contains_key(&found.known.id) {
                continue;
            }
            while let Some(change) = recover::step(&self.rows, &found.path, &told.ours, now)? {
                self.apply(change).await?;
            }
            self.take_standing(found, now).await?;
        }
        self.apply(recover::told(&self.rows)).await?;
        Ok(())
    }

    /// Takes over what stands in the slot of the last holding of a path.
    async fn take_standing(
        &mut self,
        told: &crate::http::client::FoundHolding,
        now: UnixMs,
    ) -> Result<(), CashierError> {
        let is_unsigned =
            |state: &HoldingState| matches!(state, HoldingState::Unread | HoldingState::Available);
        let row = self.rows.holdings.get(&told.known.id);
        let Some(row) = row.filter(|row| is_unsigned(&row.state)) else {
            return Ok(());
        };
        let sight = Sight {
            items: Vec::new(),
            broker: standing(&told.known),
        };
        let judged = judge(&self.seed, &row.holding, &sight);
        // Nothing at the broker does not mean nothing in the DHT.
        if judged == Found::Clean {
            return Ok(());
        }
        let request = RequestId(random::bytes());
        let change = found(&self.rows, &told.known.id, &judged, request, now)?;
        self.apply(change).await?;
        if let Found::Spend {
            open,
            close: Some(close),
        } = judged
        {
            let spend = open.commitment(&told.known.id);
            self.payer_closed(&spend, &close, now).await?;
        }
        Ok(())
    }
}
