//! Whether the nodes of this DHT keep the first value at the highest seq: tried with an item of no use. Where
//! they do not, what was passed on is not accepted, as its records may have been written over others
//! (`docs/protocol.md` section 6).

use super::place::Put;
use super::{DhtNode, PlaceItems};
use crate::clock;
use crate::coin::statement::Spend;
use crate::coin::{ChainValue, HoldingId, RecordKey, SecretKey, Statement};
use crate::random;
use crate::record::{Item, PLACES, SignedRecord, Slot};
use crate::units::UnixMs;

/// How long nodes that keep are believed to.
const GOOD_FOR_MS: u64 = 3_600_000;
/// One in so many that must keep: so few are found in a place of one's choice only by very many tries.
const ONE_IN: u32 = 4;

/// When nodes were last seen to keep the first value.
pub(super) type SeenKeeping = tokio::sync::Mutex<Option<UnixMs>>;

impl DhtNode {
    /// Whether at least one node in four keeps the first value. Looks at most once an hour as long as
    /// they do; who asks meanwhile waits for the same answer.
    pub(super) async fn nodes_keep_first(&self) -> bool {
        let mut seen = self.seen_keeping.lock().await;
        if seen.is_some_and(|seen| clock::now().is_within(GOOD_FOR_MS, seen)) {
            return true;
        }
        let keep = self.try_overwriting().await;
        *seen = keep.then(clock::now);
        keep
    }

    /// Puts two values in one place, as a cheat would, and looks which of them lies there.
    async fn try_overwriting(&self) -> bool {
        let [first, second] = rivals();
        self.read_place(first.key, first.salt).await;
        if !matches!(self.put_place(&first, true).await, Put::Taken(_)) {
            return false;
        }
        self.put_place(&second, false).await;
        keeps(&self.read_place(first.key, first.salt).await, &first)
    }
}

fn keeps(place: &PlaceItems, first: &Item) -> bool {
    let kept = place.copies_of(first);
    let overwritten = place
        .items
        .iter()
        .filter(|(item, _)| !item.is_copy_of(first));
    let all = overwritten.fold(kept, |sum, (_, copies)| sum.saturating_add(*copies));
    kept > 0 && kept.saturating_mul(ONE_IN) >= all
}

/// Two items of one place, as good as those of spends.
fn rivals() -> [Item; 2] {
    let holding = HoldingId(random::bytes());
    let key = SecretKey::from_bytes(random::bytes());
    let item = || {
        let statement = Statement::Spend(Spend {
            holding,
            payee: key.public(),
            anchor: ChainValue(random::bytes()),
        });
        let record_key = RecordKey(random::bytes());
        let record = SignedRecord::sign(&key, Slot::spend(&holding), &record_key, &statement);
        let [item, ..]: [Item; PLACES] = record.items();
        item
    };
    [item(), item()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_in_four_must_keep_the_first_value() {
        let [first, second] = rivals();
        assert_eq!(first.target(), second.target());
        let place = |kept, overwritten| PlaceItems {
            items: vec![(second.clone(), overwritten), (first.clone(), kept)],
            none: 5,
            invalid: 0,
        };
        assert!(keeps(&place(20, 0), &first) && keeps(&place(5, 15), &first));
        assert!(!keeps(&place(4, 16), &first) && !keeps(&place(0, 20), &first));
        assert!(!keeps(&PlaceItems::default(), &first));
    }
}
