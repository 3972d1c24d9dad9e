//! The memory store: [`Change::apply`] on a map. For tests, the simulator and the contract suite.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{StoreError, WalletStore};
use crate::wallet::{Change, HoldingState, JournalEntry, Rows};

/// Rows and journal in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<(Rows, Vec<JournalEntry>)>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }
}

#[async_trait]
impl WalletStore for MemoryStore {
    async fn load(&self) -> Result<Rows, StoreError> {
        Ok(self.inner.lock().0.clone())
    }

    async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        if change.is_volatile() {
            return Ok(());
        }
        let mut durable = change.clone();
        for row in &mut durable.holdings {
            if row.state.is_volatile() {
                row.state = HoldingState::Available;
            }
        }
        let mut inner = self.inner.lock();
        durable.apply(&mut inner.0)?;
        for line in durable.journal {
            let number = u64::try_from(inner.1.len()).unwrap_or(u64::MAX);
            let number = number.saturating_add(1);
            inner.1.push(JournalEntry { number, line });
        }
        Ok(())
    }

    async fn journal(&self, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        let inner = self.inner.lock();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let skip = inner.1.len().saturating_sub(limit);
        Ok(inner.1.iter().skip(skip).cloned().collect())
    }

    async fn journal_of(&self, what: &str) -> Result<Vec<JournalEntry>, StoreError> {
        let is_it = |entry: &&JournalEntry| {
            entry.number.to_string() == what
                || (what.len() >= 6 && entry.line.reference.starts_with(what))
        };
        Ok(self.inner.lock().1.iter().filter(is_it).cloned().collect())
    }

    async fn close(&self) {}
}
