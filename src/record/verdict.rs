//! What a read of a slot says, and whether a payment is accepted (`docs/protocol.md` section 6).
//!
//! One other item anywhere refuses: a majority would be wrong, since whoever holds most nodes of one
//! place could then hide an item from everybody.

use thiserror::Error;

use super::item::Item;
use super::slot::PLACES;

/// Copies that must be read in a place for it to count as taken by our record.
pub const COPIES_WANTED: u32 = 4;
/// Places that must be taken by our record.
pub const PLACES_WANTED: usize = 2;
/// Valid answers, a value or none, that must come from each place.
pub const MIN_ANSWERS: u32 = 8;

/// What all answering nodes of one place said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceReading {
    /// Answers that carried our item: equal (seq, v).
    pub ours: u32,
    /// Answers without a value.
    pub none: u32,
    /// Answers that were no signed item of this place. They are no valid answers, and they may hide
    /// something.
    pub invalid: u32,
    /// Signed items of this place with another (seq, v), each once.
    pub others: Vec<Item>,
}

impl PlaceReading {
    /// Counts one answer that carried `item`, where `ours` is the item that we look for.
    pub fn count_item(&mut self, ours: &Item, item: Item) {
        if item.key != ours.key || item.salt != ours.salt {
            self.invalid = self.invalid.saturating_add(1);
        } else if item.is_copy_of(ours) {
            self.ours = self.ours.saturating_add(1);
        } else if !item.is_signed() {
            self.invalid = self.invalid.saturating_add(1);
        } else if !self.others.iter().any(|other| other.is_copy_of(&item)) {
            self.others.push(item);
        }
    }

    /// Counts one answer without a value.
    pub fn count_none(&mut self) {
        self.none = self.none.saturating_add(1);
    }

    /// Counts one answer that could not be read or is not signed.
    pub fn count_invalid(&mut self) {
        self.invalid = self.invalid.saturating_add(1);
    }

    /// Valid answers: our item, another signed one (each counted once), or none.
    #[must_use]
    pub fn answers(&self) -> u32 {
        let others = u32::try_from(self.others.len()).unwrap_or(u32::MAX);
        self.ours.saturating_add(self.none).saturating_add(others)
    }
}

/// Why nothing can be said yet. Places count from 0.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Doubt {
    /// Too few valid answers came from a place.
    #[error("place {place} gave {answers} valid answers, {wanted} are needed")]
    TooFewAnswers {
        /// The place.
        place: u8,
        /// Valid answers that came.
        answers: u32,
        /// Valid answers that are needed.
        wanted: u32,
    },
    /// A place without enough copies gave invalid answers, which may hide another item.
    #[error("place {place} gave {invalid} invalid answers and only {copies} copies")]
    InvalidAnswers {
        /// The place.
        place: u8,
        /// Invalid answers that came.
        invalid: u32,
        /// Copies of our item that came.
        copies: u32,
    },
    /// Fewer than two places hold enough copies.
    #[error("copies read in the three places: {copies:?}; at least 4 are needed in each of two")]
    TooFewCopies {
        /// Copies read in each place.
        copies: [u32; PLACES],
    },
    /// Our spend lay in a place before we put it, or something lay there when we did.
    #[error(
        "place {place} was taken before we put our record there: somebody else did, as a payer does that writes \
         over what another payee accepted"
    )]
    NotFirst {
        /// The place.
        place: u8,
    },
    /// The path has links, and the DHT's nodes may have let their records be overwritten.
    #[error(
        "the DHT nodes that were tried let a record be overwritten, so nothing that was passed on is accepted"
    )]
    Overwritable,
}

/// What three places say about one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Our record holds the slot.
    Accepted,
    /// Somebody signed another item for the slot: a double spend, or a double close.
    Conflict(Box<Item>),
    /// Neither: read again, and refuse if it stays so.
    Undecided {
        /// What is missing.
        why: Doubt,
    },
}

/// Another item in any of the places, however few nodes hold it.
#[must_use]
pub fn conflict(readings: &[PlaceReading; PLACES]) -> Option<&Item> {
    readings.iter().find_map(|reading| reading.others.first())
}

/// Judges a reading of all three places, taken after the record was put.
///
/// Another item anywhere is a conflict. Else accepted where each place gave at least `min_answers`
/// valid answers, two places hold at least 4 copies each, and no place below that bar gave invalid
/// answers.
#[must_use]
pub fn judge(readings: &[PlaceReading; PLACES], min_answers: u32) -> Verdict {
    if let Some(other) = conflict(readings) {
        return Verdict::Conflict(Box::new(other.clone()));
    }
    match doubt(readings, min_answers) {
        Some(why) => Verdict::Undecided { why },
        None => Verdict::Accepted,
    }
}

fn doubt(readings: &[PlaceReading; PLACES], min_answers: u32) -> Option<Doubt> {
    for (place, reading) in (0u8..).zip(readings) {
        if reading.answers() < min_answers {
            return Some(Doubt::TooFewAnswers {
                place,
                answers: reading.answers(),
                wanted: min_answers,
            });
        }
        if reading.ours < COPIES_WANTED && reading.invalid > 0 {
            return Some(Doubt::InvalidAnswers {
                place,
                invalid: reading.invalid,
                copies: reading.ours,
            });
        }
    }
    let copies = [readings[0].ours, readings[1].ours, readings[2].ours];
    let taken = copies.iter().filter(|n| **n >= COPIES_WANTED).count();
    (taken < PLACES_WANTED).then_some(Doubt::TooFewCopies { copies })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::{PublicKey, SecretKey, Signature};
    use crate::record::Salt;

    fn place(ours: u32, none: u32, invalid: u32) -> PlaceReading {
        PlaceReading {
            ours,
            none,
            invalid,
            others: Vec::new(),
        }
    }

    fn item(value: &[u8]) -> Item {
        let secret = SecretKey::from_bytes([8; 32]);
        let mut item = Item {
            key: secret.public(),
            salt: Salt([1; 32]),
            seq: 7,
            value: value.to_vec(),
            signature: Signature([0; 64]),
        };
        item.signature = secret.sign(&item.signable());
        item
    }

    #[test]
    fn four_copies_in_two_places_and_eight_answers_in_each_are_accepted() {
        let readings = [place(4, 4, 0), place(4, 4, 3), place(0, 8, 0)];
        assert_eq!(judge(&readings, MIN_ANSWERS), Verdict::Accepted);
    }

    #[test]
    fn one_other_item_anywhere_is_a_conflict_whatever_else_is_read() {
        let mut readings = [place(20, 0, 0), place(20, 0, 0), place(20, 0, 0)];
        readings[2].others.push(item(b"1:x"));
        let verdict = judge(&readings, MIN_ANSWERS);
        assert_eq!(verdict, Verdict::Conflict(Box::new(item(b"1:x"))));
        let silent = [place(0, 0, 0), place(0, 0, 0), readings[2].clone()];
        assert!(matches!(judge(&silent, 8), Verdict::Conflict(_)));
    }

    #[test]
    fn invalid_answers_are_no_answers() {
        let readings = [place(7, 0, 9), place(20, 0, 0), place(20, 0, 0)];
        let why = Doubt::TooFewAnswers {
            place: 0,
            answers: 7,
            wanted: 8,
        };
        assert_eq!(judge(&readings, 8), Verdict::Undecided { why });
        assert_eq!(judge(&readings, 7), Verdict::Accepted);
    }

    #[test]
    fn a_place_with_invalid_answers_and_too_few_copies_is_undecided() {
        let readings = [place(20, 0, 0), place(20, 0, 0), place(3, 9, 1)];
        let why = Doubt::InvalidAnswers {
            place: 2,
            invalid: 1,
            copies: 3,
        };
        assert_eq!(judge(&readings, 8), Verdict::Undecided { why });
    }

    #[test]
    fn copies_in_one_place_only_are_too_few() {
        let readings = [place(20, 0, 0), place(3, 9, 0), place(3, 9, 0)];
        let why = Doubt::TooFewCopies { copies: [20, 3, 3] };
        assert_eq!(judge(&readings, 8), Verdict::Undecided { why });
    }

    #[test]
    fn answers_are_sorted_by_what_they_carry() {
        let ours = item(b"1:a");
        let mut reading = PlaceReading::default();
        let mut copy = ours.clone();
        copy.signature = Signature([0; 64]);
        reading.count_item(&ours, copy);
        reading.count_item(&ours, item(b"1:b"));
        reading.count_item(&ours, item(b"1:b"));
        let mut forged = item(b"1:c");
        forged.signature = ours.signature;
        reading.count_item(&ours, forged);
        let mut elsewhere = ours.clone();
        elsewhere.key = PublicKey([3; 32]);
        reading.count_item(&ours, elsewhere);
        reading.count_none();
        reading.count_invalid();
        assert_eq!((reading.ours, reading.none, reading.invalid), (1, 1, 3));
        assert_eq!(reading.others, vec![item(b"1:b")]);
        assert_eq!(reading.answers(), 3);
    }
}
