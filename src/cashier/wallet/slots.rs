//! The DHT as a wallet sees it: what lies in a slot of its own.

use async_trait::async_trait;

use crate::coin::keys::PublicKey;
use crate::dht::DhtNode;
use crate::record::{Item, Slot};

/// What the nodes around the three places of a slot said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Items that the key signed, from whatever place and node. Else strangers' data.
    pub items: Vec<Item>,
    /// Whether enough nodes answered at every place, and none with something unreadable that may hide
    /// an item, so that "nothing" means nothing.
    pub is_complete: bool,
}

/// Reads slots.
#[async_trait]
pub trait SlotReader: Send + Sync {
    /// Reads all three places of `slot`, which `key` signs for, from all nodes that answer.
    async fn read(&self, key: &PublicKey, slot: &Slot) -> Reading;
}

#[async_trait]
impl SlotReader for DhtNode {
    async fn read(&self, key: &PublicKey, slot: &Slot) -> Reading {
        let mut reading = Reading {
            items: Vec::new(),
            is_complete: true,
        };
        for place in self.read_slot(key, slot).await.places {
            reading.is_complete &=
                place.valid_answers() >= self.min_answers() && place.invalid == 0;
            reading
                .items
                .extend(place.items.into_iter().map(|(item, _)| item));
        }
        reading
    }
}
