//! The broker's rows in memory: `Change::apply` on a map. For simulation and tests.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{BrokerStore, BrokerStoreError};
use crate::broker::answer::CreditState;
use crate::broker::audit::Auditor;
use crate::broker::cases::ContestRow;
use crate::broker::change::{Change, JournalLine};
use crate::broker::rows::{
    CoinRow, HolderRow, HoldingRow, HoldingState, Row, RowKey, Rows, SpentRow, Stored,
    WithdrawalRow,
};
use crate::broker::spent::hour_of;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::{Day, UnixMs};

/// All rows and the journal, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryBrokerStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rows: Rows,
    journal: Vec<JournalLine>,
    spent: Vec<SpentRow>,
}

impl MemoryBrokerStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn select<T>(&self, pick: impl Fn(&Row) -> Option<T>) -> Vec<T> {
        let inner = self.0.lock();
        let rows = inner.rows.iter().filter_map(|(_, s)| s.row.as_deref());
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
            for write in &change.writes {
                if let Row::Spent(row) = write.row.as_ref() {
                    let mut entry = row.clone();
                    let last = inner.spent.last().map(|before| before.at);
                    entry.at = last.map_or(entry.at, |last| last.max(entry.at));
                    inner.spent.push(entry);
                }
            }
        }
        Ok(())
    }

    async fn ripe_credits(
        &self,
        account: Option<&PublicKey>,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<HoldingId>, BrokerStoreError> {
        let ripe = self.select(|row| match row {
            Row::Credit(r)
                if account.is_none_or(|a| r.account == *a)
                    && r.state == CreditState::Pending
                    && r.pending_until <= now =>
            {
                Some((r.pending_until, r.holding))
            }
            _ => None,
        });
        Ok(first(ripe, None, limit, |(_, id)| id))
    }

    async fn due_contests(
        &self,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<ContestRow>, BrokerStoreError> {
        let mut due = self.select(|row| match row {
            Row::Contest(r) if r.is_open() && r.due <= now => Some((**r).clone()),
            _ => None,
        });
        due.sort_unstable_by_key(|r| (r.due, r.slot));
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(due)
    }

    async fn unsettled_coins(
        &self,
        expired_before: Day,
        after: Option<(Day, HoldingId)>,
        limit: u32,
    ) -> Result<Vec<(Day, HoldingId)>, BrokerStoreError> {
        let coins = self.select(|row| match row {
            Row::Coin(r) if !r.settled && r.expires < expired_before => Some((r.expires, r.id)),
            _ => None,
        });
        Ok(first(coins, after, limit, |coin| coin))
    }

    async fn unlisted_accounts(&self, limit: u32) -> Result<Vec<PublicKey>, BrokerStoreError> {
        let accounts = self.select(|row| match row {
            Row::Account(r) if r.suspended.is_some() && !r.withheld => Some(r.id),
            _ => None,
        });
        Ok(first(accounts, None, limit, |id| id))
    }

    async fn holders_of(
        &self,
        account: &PublicKey,
        after: Option<PublicKey>,
        limit: u32,
    ) -> Result<Vec<HolderRow>, BrokerStoreError> {
        let rows = self.select(|row| match row {
            Row::Holder(r) if r.account == *account => Some((r.key, r.clone())),
            _ => None,
        });
        Ok(page(rows, after, limit))
    }

    async fn whole_coins_of(
        &self,
        account: &PublicKey,
        after: Option<HoldingId>,
        limit: u32,
    ) -> Result<Vec<CoinRow>, BrokerStoreError> {
        let known = self.select(|row| match row {
            Row::Holding(r) if r.state != HoldingState::Void => Some(r.id),
            _ => None,
        });
        let rows = self.select(|row| match row {
            Row::Coin(r) if r.account == *account && !r.settled && !known.contains(&r.id) => {
                Some((r.id, r.clone()))
            }
            _ => None,
        });
        Ok(page(rows, after, limit))
    }

    async fn holdings_of(
        &self,
        account: &PublicKey,
        after: Option<HoldingId>,
        limit: u32,
    ) -> Result<Vec<HoldingRow>, BrokerStoreError> {
        let keys = self.select(|row| match row {
            Row::Holder(r) if r.account == *account => Some(r.key),
            _ => None,
        });
        let rows = self.select(|row| match row {
            Row::Holding(r) if keys.contains(&r.key) && r.state != HoldingState::Void => {
                Some((r.id, (**r).clone()))
            }
            Row::Holding(r) => {
                let payee = r.payee().filter(|payee| keys.contains(payee));
                payee.map(|_| (r.id, (**r).clone()))
            }
            _ => None,
        });
        Ok(page(rows, after, limit))
    }

    async fn spent_hours(&self, from_hour: u32) -> Result<Vec<(u32, u32)>, BrokerStoreError> {
        let mut hours: BTreeMap<u32, u32> = BTreeMap::new();
        let all = self.0.lock().spent.clone();
        for hour in all
            .iter()
            .map(|r| hour_of(r.at))
            .filter(|h| *h >= from_hour)
        {
            let count = hours.entry(hour).or_default();
            *count = count.saturating_add(1);
        }
        Ok(hours.into_iter().collect())
    }

    async fn spent_in(
        &self,
        hour: u32,
        skip: u32,
        take: u32,
    ) -> Result<Vec<SpentRow>, BrokerStoreError> {
        let mut spent = self.0.lock().spent.clone();
        spent.retain(|r| hour_of(r.at) == hour);
        let spent = spent.into_iter().skip(skip as usize);
        Ok(spent.take(take as usize).collect())
    }

    async fn suspended_keys(&self) -> Result<Vec<PublicKey>, BrokerStoreError> {
        let accounts = self.select(|row| match row {
            Row::Account(r) if r.suspended.is_some() => Some(r.id),
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
        for row in inner
            .rows
            .iter()
            .filter_map(|(_, s)| s.row.as_deref().cloned())
        {
            auditor.row(row);
        }
        Ok(())
    }
}

/// The first ones in order, after this one.
fn first<K: Ord, T>(
    mut all: Vec<K>,
    after: Option<K>,
    limit: u32,
    give: impl Fn(K) -> T,
) -> Vec<T> {
    all.retain(|key| after.as_ref().is_none_or(|after| key > after));
    all.sort_unstable();
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    all.into_iter().map(give).collect()
}

/// The first rows in order of their keys, after this key.
fn page<K: Ord + Copy, T>(mut rows: Vec<(K, T)>, after: Option<K>, limit: u32) -> Vec<T> {
    rows.retain(|(key, _)| after.is_none_or(|after| *key > after));
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    rows.into_iter().map(|(_, row)| row).collect()
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
