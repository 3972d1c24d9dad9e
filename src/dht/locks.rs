//! One operation per DHT target at a time: a lock per target, made when first asked for and
//! forgotten when nobody holds it or waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// A 160-bit position in the DHT.
pub(super) type TargetBytes = [u8; 20];

/// The locks of all targets in use.
#[derive(Debug, Default)]
pub(super) struct TargetLocks {
    in_use: Mutex<HashMap<TargetBytes, Arc<AsyncMutex<()>>>>,
}

/// Holds one target, or waits for it, until dropped.
pub(super) struct TargetGuard {
    locks: Arc<TargetLocks>,
    target: TargetBytes,
    held: Option<OwnedMutexGuard<()>>,
}

impl TargetLocks {
    /// Waits until nobody else holds `target`, in the order of asking.
    pub(super) async fn lock(self: &Arc<Self>, target: TargetBytes) -> TargetGuard {
        // Made first, so that a wait that is given up is forgotten too.
        let mut guard = TargetGuard {
            locks: Arc::clone(self),
            target,
            held: None,
        };
        let lock = Arc::clone(self.in_use.lock().entry(target).or_default());
        guard.held = Some(lock.lock_owned().await);
        guard
    }
}

impl Drop for TargetGuard {
    fn drop(&mut self) {
        self.held = None;
        let mut in_use = self.locks.in_use.lock();
        let only_the_map = in_use
            .get(&self.target)
            .is_some_and(|lock| Arc::strong_count(lock) == 1);
        if only_the_map {
            in_use.remove(&self.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_target_is_held_by_one_and_forgotten_when_free() {
        let locks = Arc::new(TargetLocks::default());
        let first = locks.lock([1; 20]).await;
        let other = locks.lock([2; 20]).await;
        let waited = locks.lock([1; 20]).now_or_never();
        assert!(waited.is_none(), "the same target waits");
        drop(first);
        assert_eq!(locks.in_use.lock().len(), 1);
        drop(locks.lock([1; 20]).await);
        drop(other);
        assert_eq!(locks.in_use.lock().len(), 0);
    }
}
