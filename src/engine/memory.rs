//! The bound on memory that unfinished pieces hold, over all torrents of an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much memory unfinished pieces hold, and how often the bound was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Held now.
    pub held_bytes: u64,
    /// The most ever held.
    pub peak_bytes: u64,
    /// The bound.
    pub bound_bytes: u64,
    /// Pieces that were written block by block for want of memory.
    pub spilled_pieces: u64,
}

/// Shared by all torrents of an engine.
#[derive(Debug)]
pub(super) struct Budget {
    bound_bytes: u64,
    held_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    spilled_pieces: AtomicU64,
}

impl Budget {
    pub fn new(bound_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            bound_bytes,
            held_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            spilled_pieces: AtomicU64::new(0),
        })
    }

    /// Takes `bytes` until the reservation is dropped, if the bound allows.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let fits = |held: u64| {
            held.checked_add(bytes)
                .filter(|sum| *sum <= self.bound_bytes)
        };
        let before = self
            .held_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        self.peak_bytes.fetch_max(before + bytes, Ordering::Relaxed);
        Some(Reservation {
            budget: Arc::clone(self),
            bytes,
        })
    }

    pub fn count_spilled(&self) {
        self.spilled_pieces.fetch_add(1, Ordering::Relaxed);
    }

    pub fn usage(&self) -> MemoryUse {
        MemoryUse {
            held_bytes: self.held_bytes.load(Ordering::Relaxed),
            peak_bytes: self.peak_bytes.load(Ordering::Relaxed),
            bound_bytes: self.bound_bytes,
            spilled_pieces: self.spilled_pieces.load(Ordering::Relaxed),
        }
    }
}

/// Memory taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget
            .held_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_is_given_and_drops_give_back() {
        let budget = Budget::new(100);
        let first = budget.reserve(60).expect("fits");
        assert!(budget.reserve(41).is_none());
        assert!(budget.reserve(u64::MAX).is_none());
        let second = budget.reserve(40).expect("fits");
        assert_eq!(budget.usage().held_bytes, 100);
        drop((first, second));
        assert_eq!(budget.usage().held_bytes, 0);
        assert_eq!(budget.usage().peak_bytes, 100);
    }
}
