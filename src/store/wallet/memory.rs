//! The memory store: [`Change::apply`] on a map. For tests, the simulator and the contract suite.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{StoreError, WalletStore};
use crate::wallet::{Change, HoldingState, JournalLine, Rows};

/// Rows and journal in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<(Rows, Vec<JournalLine>)>,
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
        inner.1.extend(durable.journal);
        Ok(())
    }

    async fn journal(&self, limit: u32) -> Result<Vec<JournalLine>, StoreError> {
        let inner = self.inner.lock();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let skip = inner.1.len().saturating_sub(limit);
        Ok(inner.1.iter().skip(skip).cloned().collect())
    }

    async fn close(&self) {}
}
