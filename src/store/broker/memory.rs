//! The broker's rows in memory: `Change::apply` on a map. For simulation and tests.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{BrokerStore, BrokerStoreError};
use crate::broker::audit::Auditor;
use crate::broker::change::{Change, JournalLine};
use crate::broker::rows::{Row, RowKey, Rows, SpentRow, Stored, WithdrawalRow};
use crate::broker::spent::hour_of;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::UnixMs;

/// All rows and the journal, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryBrokerStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rows: Rows,
    journal: Vec<JournalLine>,
}

impl MemoryBrokerStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn select<T>(&self, pick: impl Fn(&Row) -> Option<T>) -> Vec<T> {
        let inner = self.0.lock();
        let rows = inner.rows.iter().filter_map(|(_, s)| s.row.as_ref());
        rows.filter_map(pick).collect()
    }
}

#[async_trait]
impl BrokerStore for MemoryBrokerStore {
    async fn load(&self, keys: &[RowKey]) -> Result<Rows, BrokerStoreError> {
        let inner = self.0.lock();
        Ok(inner.pick(keys.iter()))
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), BrokerStoreError> {
        let mut inner = self.0.lock();
        let touched: Vec<RowKey> = changes
            .iter()
            .flat_map(|c| {
                let read = c.conditions.iter().map(|(key, _)| key.clone());
                read.chain(c.writes.iter().map(|w| w.row.key()))
            })
            .collect();
        let mut rows = inner.pick(touched.iter());
        for change in changes {
            change.apply(&mut rows)?;
        }
        for (key, stored) in rows.iter().filter(|(_, s)| s.version > 0) {
            inner.rows.set(key.clone(), stored.clone());
        }
        for change in changes {
            inner.journal.extend(change.journal.iter().cloned());
        }
        Ok(())
    }

    async fn ripe_credits(
        &self,
        account: &PublicKey,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<HoldingId>, BrokerStoreError> {
        let mut ripe = self.select(|row| match row {
            Row::Credit(r) if r.account == *account && !r.paid && r.pending_until <= now => {
                Some((r.pending_until, r.holding))
            }
            _ => None,
        });
        ripe.sort_unstable();
        ripe.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ripe.into_iter().map(|(_, id)| id).collect())
    }

    async fn spent_hours(&self, from_hour: u32) -> Result<Vec<(u32, u32)>, BrokerStoreError> {
        let mut hours: BTreeMap<u32, u32> = BTreeMap::new();
        for hour in self.select(|row| match row {
            Row::Spent(r) => Some(hour_of(r.at)).filter(|h| *h >= from_hour),
            _ => None,
        }) {
            let count = hours.entry(hour).or_default();
            *count = count.saturating_add(1);
        }
        Ok(hours.into_iter().collect())
    }

    async fn spent_in(&self, hour: u32) -> Result<Vec<SpentRow>, BrokerStoreError> {
        let mut spent = self.select(|row| match row {
            Row::Spent(r) if hour_of(r.at) == hour => Some(r.clone()),
            _ => None,
        });
        spent.sort_unstable_by_key(|r| (r.at, r.slot));
        Ok(spent)
    }

    async fn suspended_keys(&self) -> Result<Vec<PublicKey>, BrokerStoreError> {
        let accounts = self.select(|row| match row {
            Row::Account(r) if r.suspended => Some(r.id),
            _ => None,
        });
        let mut keys = self.select(|row| match row {
            Row::Holder(r) if accounts.contains(&r.account) => Some(r.key),
            _ => None,
        });
        keys.sort_unstable();
        Ok(keys)
    }

    async fn withdrawals(&self, all: bool) -> Result<Vec<WithdrawalRow>, BrokerStoreError> {
        let mut rows = self.select(|row| match row {
            Row::Withdrawal(r) if all || r.paid.is_none() => Some(r.clone()),
            _ => None,
        });
        rows.sort_unstable_by_key(|r| (r.requested, r.id));
        Ok(rows)
    }

    async fn audit(&self, auditor: &mut Auditor) -> Result<(), BrokerStoreError> {
        let inner = self.0.lock();
        inner.journal.iter().for_each(|line| auditor.line(line));
        for row in inner.rows.iter().filter_map(|(_, s)| s.row.clone()) {
            auditor.row(row);
        }
        Ok(())
    }
}

impl Inner {
    fn pick<'k>(&self, keys: impl Iterator<Item = &'k RowKey>) -> Rows {
        let mut rows = Rows::default();
        for key in keys {
            let stored: Stored = self.rows.get(key).cloned().unwrap_or_default();
            rows.set(key.clone(), stored);
        }
        rows
    }
}
