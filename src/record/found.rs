//! A close as a payer finds it in its slot, without anybody who hands it over.

use super::item::{Item, SEQ};
use super::parts::{ClosePart, OpenSpend};
use super::slot::{PLACES, Slot};
use super::value::{Value, open};
use crate::coin::statement::{Close, Statement};
use crate::coin::{HoldingId, Signature};

/// What lies in a close slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundClose {
    /// No close, or not in all three places yet.
    None,
    /// A close; its signatures and its chain value are still to be checked.
    Close(Box<ClosePart>),
    /// Two items of one place: a double close, and its proof.
    Two(Box<(Item, Item)>),
}

/// Looks for the close of `spend`, a spend of `holding`, among the signed items that nodes gave for
/// the three places of its slot.
#[must_use]
pub fn find_close(
    holding: &HoldingId,
    spend: &OpenSpend,
    places: &[Vec<Item>; PLACES],
) -> FoundClose {
    let c = spend.commitment(holding);
    let key = spend.record_key.of_close(&c);
    let salts = Slot::close(holding, &c).salts();
    let mut found: Option<(Close, [Option<Signature>; PLACES])> = None;
    for (place, items) in places.iter().enumerate() {
        let mut ours = items.iter().filter(|item| item.salt == salts[place]);
        let (Some(item), rival) = (ours.next(), ours.next()) else {
            continue;
        };
        if let Some(rival) = rival {
            return FoundClose::Two(Box::new((item.clone(), rival.clone())));
        }
        let close = (item.seq == SEQ)
            .then(|| Value::from_bencoded(&item.value).ok())
            .flatten()
            .and_then(|value| open(&key, &value).ok());
        let Some(Statement::Close(close)) = close else {
            continue;
        };
        let (first, signatures) = found.get_or_insert((close, [None; PLACES]));
        if *first == close && close.spend == c {
            signatures[place] = Some(item.signature);
        }
    }
    match found {
        Some((close, [Some(first), Some(second), Some(third)])) => {
            FoundClose::Close(Box::new(ClosePart {
                k: close.k,
                wk: close.wk,
                signatures: [first, second, third],
            }))
        }
        _ => FoundClose::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::keys::SecretKey;
    use crate::coin::{ChainValue, PseudonymCertificate, RecordKey};
    use crate::units::Day;

    fn spend() -> (HoldingId, OpenSpend, SecretKey) {
        let key = |byte| SecretKey::from_bytes([byte; 32]);
        let (holder, payee, broker) = (key(1), key(2), key(3));
        let certificate = PseudonymCertificate::issue(&broker, payee.public(), Day(9));
        let id = HoldingId([4; 32]);
        let anchor = ChainValue([5; 32]);
        let open = OpenSpend::sign(&holder, &id, certificate, anchor, RecordKey([6; 32]));
        (id, open, payee)
    }

    fn places(items: [Item; PLACES]) -> [Vec<Item>; PLACES] {
        items.map(|item| vec![item])
    }

    #[test]
    fn a_close_in_three_places_is_found_whole_and_in_two_places_not() {
        let (id, open, payee) = spend();
        let close = ClosePart::sign(&payee, &id, &open, 3, ChainValue([7; 32]));
        let mut lying = places(close.record(&id, &open).items());
        assert_eq!(
            find_close(&id, &open, &lying),
            FoundClose::Close(Box::new(close))
        );
        lying[1].clear();
        assert_eq!(find_close(&id, &open, &lying), FoundClose::None);
        assert_eq!(
            find_close(&id, &open, &Default::default()),
            FoundClose::None
        );
    }

    #[test]
    fn two_closes_of_one_spend_are_two_and_never_mixed() {
        let (id, open, payee) = spend();
        let close = |k| ClosePart::sign(&payee, &id, &open, k, ChainValue([7; 32]));
        let [first, second] = [3, 4].map(|k| close(k).record(&id, &open).items());
        let mut lying = places(first.clone());
        lying[2].push(second[2].clone());
        let two = Box::new((first[2].clone(), second[2].clone()));
        assert_eq!(find_close(&id, &open, &lying), FoundClose::Two(two));
        let mixed = [first[0].clone(), second[1].clone(), first[2].clone()];
        assert_eq!(find_close(&id, &open, &places(mixed)), FoundClose::None);
    }

    #[test]
    fn what_is_no_close_of_this_spend_is_none() {
        let (id, open, payee) = spend();
        let close = ClosePart::sign(&payee, &id, &open, 3, ChainValue([7; 32]));
        let mut items = close.record(&id, &open).items();
        for item in &mut items {
            item.value = b"3:abc".to_vec();
        }
        assert_eq!(find_close(&id, &open, &places(items)), FoundClose::None);
        let other = HoldingId([9; 32]);
        let items = close.record(&other, &open).items();
        assert_eq!(find_close(&id, &open, &places(items)), FoundClose::None);
    }
}
