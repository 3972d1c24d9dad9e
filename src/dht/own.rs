//! Which items this node itself was the first to put in their places: its puts with cas that nodes took.
//! A put with cas says so on every kind of node, also on those that let a value be overwritten, since
//! nothing can be taken away again (`docs/protocol.md` section 6).

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

use super::locks::TargetBytes;
use crate::record::Item;

/// Items remembered: those of many more acceptances than run at the same time.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// The v of each item, by target.
pub(super) struct OwnPuts(Mutex<LruCache<TargetBytes, Vec<u8>>>);

impl Default for OwnPuts {
    fn default() -> Self {
        OwnPuts(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl OwnPuts {
    /// Nodes took `item` where nothing lay.
    pub(super) fn note(&self, item: &Item) {
        self.0.lock().put(item.target().0, item.value.clone());
    }

    /// Whether `item` was noted.
    pub(super) fn has(&self, item: &Item) -> bool {
        let mut values = self.0.lock();
        let value = values.get(&item.target().0);
        value.is_some_and(|value| *value == item.value)
    }
}
