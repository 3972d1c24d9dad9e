//! One place of a slot: read from all nodes that answer, and put. What nodes give is checked again
//! here; the crate's own check of signatures and its choice of the "most recent" are not relied on.

use std::sync::Arc;

use futures::StreamExt;
use mainline::async_dht::AsyncDht;
use mainline::errors::PutMutableError;
use mainline::{GetMutableOutcome, MutableItem};

use super::counters::count;
use super::pool::Pool;
use super::{DhtError, DhtNode};
use crate::coin::{PublicKey, Signature};
use crate::record::{Item, PLACES, PlaceReading, SEQ, Salt, Slot};

/// Asks nodes for nothing but what lies at the highest seq. A query without a seq would be
/// answered with unsigned junk that anybody may have put there.
const BELOW_RECORDS: i64 = SEQ - 1;
/// Asks for signed items of any seq that a node would show when asked with one.
const BELOW_ALL: i64 = 0;
/// Longest v that a node stores, bencoded, in bytes.
const MAX_VALUE_BYTES: usize = 1000;

/// All that the nodes around one place said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceItems {
    /// Distinct signed items by (seq, v), each with the number of nodes that gave it. Signed by
    /// the key that was asked for; for the rest, strangers' data.
    pub items: Vec<(Item, u32)>,
    /// Nodes that said they have nothing, or nothing at a record's seq.
    pub none: u32,
    /// Nodes whose answer was malformed or badly signed.
    pub invalid: u32,
}

impl PlaceItems {
    /// Answers that count: an item or none.
    #[must_use]
    pub fn valid_answers(&self) -> u32 {
        let copies = self.items.iter().map(|(_, copies)| copies);
        copies.fold(self.none, |sum, copies| sum.saturating_add(*copies))
    }

    /// Nodes that gave `item`, whatever its signature.
    #[must_use]
    pub fn copies_of(&self, item: &Item) -> u32 {
        let same = self.items.iter().find(|(other, _)| other.is_copy_of(item));
        same.map_or(0, |(_, copies)| *copies)
    }

    /// The first item that is not a copy of `ours`.
    #[must_use]
    pub fn other_than(&self, ours: &Item) -> Option<&Item> {
        let mut items = self.items.iter().map(|(item, _)| item);
        items.find(|item| !item.is_copy_of(ours))
    }

    /// The same, seen from the item that should lie here.
    #[must_use]
    pub fn reading(&self, ours: &Item) -> PlaceReading {
        let others = self.items.iter().map(|(item, _)| item);
        PlaceReading {
            ours: self.copies_of(ours),
            none: self.none,
            invalid: self.invalid,
            others: others
                .filter(|item| !item.is_copy_of(ours))
                .cloned()
                .collect(),
        }
    }

    fn add(&mut self, item: Item) {
        match self
            .items
            .iter_mut()
            .find(|(known, _)| known.is_copy_of(&item))
        {
            Some((_, copies)) => *copies = copies.saturating_add(1),
            None => self.items.push((item, 1)),
        }
    }
}

/// All that the nodes said about the three places of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotReading {
    /// In the order of the places.
    pub places: [PlaceItems; PLACES],
}

impl SlotReading {
    /// Whether each place gave enough valid answers to say what lies there: at least the node's
    /// [`DhtNode::min_answers`].
    #[must_use]
    pub fn is_sure(&self, min_answers: u32) -> bool {
        let mut places = self.places.iter();
        places.all(|place| place.valid_answers() >= min_answers)
    }

    /// The distinct signed items of all places, with the number of nodes that gave each.
    pub fn items(&self) -> impl Iterator<Item = &(Item, u32)> {
        self.places.iter().flat_map(|place| &place.items)
    }
}

/// What became of a put, in one place or in all of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// So many nodes took it, or had it already. Not evidence that they keep it.
    Taken(u32),
    /// Most nodes hold something that the cas does not name (301), or something newer (302).
    SlotTaken,
    /// No node took it, or fewer than have to.
    Nowhere,
}

impl DhtNode {
    /// Reads the three places of a slot, from all nodes that answer. A place that could not be
    /// read has no answers.
    pub async fn read_slot(&self, key: &PublicKey, slot: &Slot) -> SlotReading {
        let reads = slot.salts().map(|salt| self.read_place(*key, salt));
        let places = futures::future::join_all(reads).await;
        let mut reading = SlotReading::default();
        for (place, items) in reading.places.iter_mut().zip(places) {
            *place = items;
        }
        reading
    }

    /// Reads one place.
    pub(super) async fn read_place(&self, key: PublicKey, salt: Salt) -> PlaceItems {
        let target = crate::record::item::target(&key, &salt).0;
        let pool = Arc::clone(&self.pool);
        let read = self.pool.run(target, move |dht| read(pool, dht, key, salt));
        read.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a place could not be read");
            PlaceItems::default()
        })
    }

    /// Puts an item at its place; with `cas` only where nothing lies or what is there is one below
    /// a record's seq, which no record is.
    pub(super) async fn put_place(&self, item: &Item, cas: bool) -> Put {
        let Some(content) = content_of(&item.value) else {
            return Put::Nowhere;
        };
        let target = item.target().0;
        let (key, signature) = (item.key.0, item.signature.0);
        let own = cas.then(|| (Arc::clone(&self.pool), item.clone()));
        let item = MutableItem::new_signed_unchecked(
            key,
            signature,
            content,
            item.seq,
            Some(&item.salt.0),
        );
        let cas = cas.then_some(BELOW_RECORDS);
        let put = move |dht: AsyncDht| async move {
            let result = dht.put_mutable(item, cas).await;
            // While nobody else of this node is at the place.
            if let (Ok(_), Some((pool, item))) = (&result, own) {
                pool.own.note(&item);
            }
            result
        };
        let result = self.pool.run(target, put).await;
        let tally = &self.pool.tally;
        count(&tally.puts, 1);
        match result {
            Ok(Ok(outcome)) => {
                count(&tally.requests, u64::from(outcome.stored_at));
                Put::Taken(outcome.stored_at)
            }
            Ok(Err(PutMutableError::Concurrency(_))) => Put::SlotTaken,
            Ok(Err(PutMutableError::Query(_))) | Err(DhtError::NoNodes) => Put::Nowhere,
            Err(error) => {
                tracing::warn!(%error, "a put failed");
                Put::Nowhere
            }
        }
    }
}

/// One look-up; a second one where nodes hold items below a record's seq, to see what they are.
async fn read(pool: Arc<Pool>, dht: AsyncDht, key: PublicKey, salt: Salt) -> PlaceItems {
    let mut place = PlaceItems::default();
    let outcome = look_up(&pool, &dht, &key, &salt, BELOW_RECORDS, &mut place).await;
    place.none = outcome.no_values.saturating_add(outcome.no_more_recent);
    place.invalid = place
        .invalid
        .saturating_add(outcome.invalid_values)
        .saturating_add(outcome.invalid_responses);
    if outcome.no_more_recent > 0 {
        let mut below = PlaceItems::default();
        look_up(&pool, &dht, &key, &salt, BELOW_ALL, &mut below).await;
        for (item, copies) in below.items {
            if place.copies_of(&item) == 0 {
                // These nodes are among `none` already.
                let counted = copies.min(place.none);
                place.none -= counted;
                place.items.push((item, counted.max(1)));
            }
        }
    }
    count(&pool.tally.valid_answers, place.valid_answers().into());
    count(&pool.tally.invalid_answers, place.invalid.into());
    place
}

async fn look_up(
    pool: &Pool,
    dht: &AsyncDht,
    key: &PublicKey,
    salt: &Salt,
    more_recent_than: i64,
    place: &mut PlaceItems,
) -> GetMutableOutcome {
    count(&pool.tally.gets, 1);
    let found = dht.get_mutable_detailed(&key.0, Some(&salt.0), Some(more_recent_than));
    // The end first: who waits for each answer is woken for each.
    let outcome = found.outcome.recv().await;
    let mut items = found.items;
    while let Some(item) = items.next().await {
        match checked(&item, key, salt, place) {
            Some(item) => place.add(item),
            None => place.invalid = place.invalid.saturating_add(1),
        }
    }
    // To every node that a look-up visits goes the question and a ping.
    count(&pool.tally.requests, u64::from(outcome.queried) * 2);
    count(&pool.tally.unanswered, outcome.timed_out().into());
    outcome
}

/// The item if it is what was asked for: the key's, under this salt, and signed. Copies of what is in
/// `place` to the last bit are not verified again: most nodes give the same.
fn checked(item: &MutableItem, key: &PublicKey, salt: &Salt, place: &PlaceItems) -> Option<Item> {
    if item.key() != &key.0 || item.salt() != Some(&salt.0[..]) {
        return None;
    }
    let mut value = format!("{}:", item.value().len()).into_bytes();
    value.extend_from_slice(item.value());
    let item = Item {
        key: *key,
        salt: *salt,
        seq: item.seq(),
        value,
        signature: Signature(*item.signature()),
    };
    let is_known = place.items.iter().any(|(known, _)| *known == item);
    let is_good = is_known || item.value.len() <= MAX_VALUE_BYTES && item.is_signed();
    is_good.then_some(item)
}

/// What is inside a bencoded byte string, which is the only kind of v that the crate can put.
fn content_of(value: &[u8]) -> Option<&[u8]> {
    let colon = value.iter().position(|byte| *byte == b':')?;
    let (length, content) = (value.get(..colon)?, value.get(colon + 1..)?);
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    (content.len() == length).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::SecretKey;

    fn item(seq: i64, content: &str) -> Item {
        let signer = SecretKey::from_bytes([7; 32]);
        let mut item = Item {
            key: signer.public(),
            salt: Salt([1; 32]),
            seq,
            value: format!("{}:{content}", content.len()).into_bytes(),
            signature: Signature([0; 64]),
        };
        item.signature = signer.sign(&item.signable());
        item
    }

    fn as_crate_item(item: &Item) -> MutableItem {
        let content = content_of(&item.value).expect("a byte string");
        let salt = Some(&item.salt.0[..]);
        MutableItem::new_signed_unchecked(item.key.0, item.signature.0, content, item.seq, salt)
    }

    #[test]
    fn an_item_goes_through_the_crate_unchanged_and_one_of_another_key_does_not() {
        let ours = item(SEQ, "hello");
        let nothing = PlaceItems::default();
        assert_eq!(
            checked(&as_crate_item(&ours), &ours.key, &ours.salt, &nothing),
            Some(ours.clone())
        );
        let stranger = SecretKey::from_bytes([8; 32]).public();
        let none = checked(&as_crate_item(&ours), &stranger, &ours.salt, &nothing);
        assert_eq!(none, None);
        assert_eq!(
            checked(&as_crate_item(&ours), &ours.key, &Salt([2; 32]), &nothing),
            None
        );
        let mut known = PlaceItems::default();
        known.add(ours.clone());
        let mut forged = ours.clone();
        forged.seq = 5;
        for place in [&nothing, &known] {
            let none = checked(&as_crate_item(&forged), &ours.key, &ours.salt, place);
            assert_eq!(none, None);
        }
        let mut resigned = ours.clone();
        resigned.signature = Signature([1; 64]);
        let none = checked(&as_crate_item(&resigned), &ours.key, &ours.salt, &known);
        assert_eq!(none, None);
    }

    #[test]
    fn copies_are_counted_by_seq_and_value() {
        let (ours, other, lower) = (item(SEQ, "a"), item(SEQ, "b"), item(5, "a"));
        let mut place = PlaceItems {
            none: 3,
            invalid: 1,
            ..PlaceItems::default()
        };
        for found in [&ours, &other, &ours, &lower] {
            place.add(found.clone());
        }
        assert_eq!(place.valid_answers(), 7);
        let reading = place.reading(&ours);
        assert_eq!((reading.ours, reading.none, reading.invalid), (2, 3, 1));
        assert_eq!(reading.others, [other.clone(), lower]);
        assert_eq!(place.other_than(&ours), Some(&other));
    }

    #[test]
    fn only_a_byte_string_has_content() {
        assert_eq!(content_of(b"3:abc"), Some(&b"abc"[..]));
        for bad in [&b"3:ab"[..], b"2:abc", b"i5e", b"", b":", b"de"] {
            assert_eq!(content_of(bad), None);
        }
    }
}
