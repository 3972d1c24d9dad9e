//! The DHT as a wallet sees it: what lies in a slot of its own (`docs/protocol.md` section 11).

use async_trait::async_trait;

use crate::coin::keys::PublicKey;
use crate::dht::{DhtNode, SlotReading};
use crate::record::{Item, Slot};

/// What the nodes around the three places of a slot said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Items that the key signed, from whatever place and node. Else strangers' data.
    pub items: Vec<Item>,
    /// Whether enough nodes gave a valid answer at every place, so that "nothing" means nothing. An
    /// invalid answer counts as none at all, however many there are.
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
        reading_of(&self.read_slot(key, slot).await, self.min_answers())
    }
}

/// Who wants to hide an item says that it has none, which is valid; so an invalid answer shows a node
/// that is broken, or wants to keep us from reading. It hides nothing from us that another node shows, and
/// any share of them that were too large would be a veto: one machine can be any number of nodes.
fn reading_of(slot: &SlotReading, min_answers: u32) -> Reading {
    Reading {
        items: slot.items().map(|(item, _)| item.clone()).collect(),
        is_complete: slot.is_sure(min_answers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::{PublicKey, Signature};
    use crate::dht::PlaceItems;
    use crate::record::{PLACES, SEQ};

    fn slot(none: u32, invalid: [u32; PLACES]) -> SlotReading {
        SlotReading {
            places: invalid.map(|invalid| PlaceItems {
                none,
                invalid,
                ..PlaceItems::default()
            }),
        }
    }

    #[test]
    fn invalid_answers_neither_keep_a_slot_from_being_read_nor_count_for_it() {
        let is_complete = |reading: &SlotReading| reading_of(reading, 8).is_complete;
        assert!(is_complete(&slot(8, [0; 3])));
        assert!(is_complete(&slot(8, [0, 1, 0])), "one broken node");
        assert!(is_complete(&slot(8, [0, 0, 60])), "one machine as 60 nodes");
        assert!(!is_complete(&slot(7, [0; 3])));
        assert!(!is_complete(&slot(7, [60; 3])), "they are no answers");
        let mut uneven = slot(8, [0; 3]);
        uneven.places[1].none = 7;
        assert!(!is_complete(&uneven), "at every place");
    }

    #[test]
    fn what_a_single_honest_node_shows_is_seen_among_any_number_of_invalid_answers() {
        let key = PublicKey([1; 32]);
        let item = Item {
            key,
            salt: Slot::spend(&crate::coin::HoldingId([2; 32])).salts()[2],
            seq: SEQ,
            value: b"1:x".to_vec(),
            signature: Signature([0; 64]),
        };
        let mut reading = slot(20, [60; 3]);
        reading.places[2].items.push((item.clone(), 1));
        assert_eq!(reading_of(&reading, 8).items, [item]);
    }
}
