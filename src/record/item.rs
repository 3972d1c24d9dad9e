//! Mutable items of BEP 44, and a record as three of them (`docs/protocol.md` section 4).
//!
//! All items of ours have seq = 2^63 - 1: there is no higher one, so a node as it is keeps the first
//! value. Two items are the same if (seq, v) are; their signatures do not matter to that.

use sha1::{Digest, Sha1};

use super::slot::{PLACES, Salt, Slot, Target};
use super::value::{Value, seal};
use crate::coin::{Commitment, PublicKey, RecordKey, SecretKey, Signature, Statement};

/// The sequence number of every record.
pub const SEQ: i64 = i64::MAX;

/// The most bytes that v may have, bencoded.
pub const MAX_ITEM_VALUE_BYTES: usize = 1000;

/// A mutable item as a node gave it or as we put it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// k, the key that signs.
    pub key: PublicKey,
    /// The salt; together with k it gives the target.
    pub salt: Salt,
    /// The sequence number.
    pub seq: i64,
    /// v as raw bencoded bytes, 1 to 1 000.
    pub value: Vec<u8>,
    /// Over [`Item::signable`].
    pub signature: Signature,
}

impl Item {
    /// The bytes that are signed: salt, seq and v, bencoded one after another.
    #[must_use]
    pub fn signable(&self) -> Vec<u8> {
        signable(&self.salt, self.seq, &self.value)
    }

    /// Where the item lies.
    #[must_use]
    pub fn target(&self) -> Target {
        target(&self.key, &self.salt)
    }

    /// Whether the signature is strictly valid: what we ask of payments.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.key.verify_strict(&self.signable(), &self.signature)
    }

    /// Whether the holder of the key signed it in any form: what makes it occupy a slot.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.key.verify_signed(&self.signable(), &self.signature)
    }

    /// Whether both are copies of one item: equal (seq, v), whatever the signatures.
    #[must_use]
    pub fn is_copy_of(&self, other: &Item) -> bool {
        self.seq == other.seq && self.value == other.value
    }
}

/// SHA-1 of key and salt.
#[must_use]
pub fn target(key: &PublicKey, salt: &Salt) -> Target {
    let mut hash = Sha1::new();
    hash.update(key.0);
    hash.update(salt.0);
    Target(hash.finalize().into())
}

fn signable(salt: &Salt, seq: i64, value: &[u8]) -> Vec<u8> {
    let seq = seq.to_string();
    let mut out = Vec::with_capacity(64 + seq.len() + value.len());
    out.extend_from_slice(b"4:salt32:");
    out.extend_from_slice(&salt.0);
    out.extend_from_slice(b"3:seqi");
    out.extend_from_slice(seq.as_bytes());
    out.extend_from_slice(b"e1:v");
    out.extend_from_slice(value);
    out
}

/// A record with the three signatures that let anyone put it again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedRecord {
    /// The holder (spend, redeem) or the payee (close).
    pub signer: PublicKey,
    /// Where it lies.
    pub slot: Slot,
    /// What it says, sealed.
    pub value: Value,
    /// One for each place.
    pub signatures: [Signature; PLACES],
}

impl SignedRecord {
    /// Seals and signs a statement for all places of `slot`. **A wallet does this once for each key
    /// and slot, ever:** what is signed must be durable before.
    #[must_use]
    pub fn sign(
        signer: &SecretKey,
        slot: Slot,
        key: &RecordKey,
        statement: &Statement,
    ) -> SignedRecord {
        let value = seal(key, &statement.encode());
        let signatures =
            (slot.salts()).map(|salt| signer.sign(&signable(&salt, SEQ, value.as_bencoded())));
        SignedRecord {
            signer: signer.public(),
            slot,
            value,
            signatures,
        }
    }

    /// c of the record.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        self.value.commitment()
    }

    /// The item of place 0, 1 or 2; `None` for any other place.
    #[must_use]
    pub fn item(&self, place: u8) -> Option<Item> {
        let signature = *self.signatures.get(usize::from(place))?;
        Some(self.item_with(place, signature))
    }

    /// The items, in the order of the places.
    #[must_use]
    pub fn items(&self) -> [Item; PLACES] {
        let [first, second, third] = self.signatures;
        [
            self.item_with(0, first),
            self.item_with(1, second),
            self.item_with(2, third),
        ]
    }

    fn item_with(&self, place: u8, signature: Signature) -> Item {
        Item {
            key: self.signer,
            salt: self.slot.salt(place),
            seq: SEQ,
            value: self.value.as_bencoded().to_vec(),
            signature,
        }
    }

    /// What the signature for a place is made of.
    fn message(&self, place: u8) -> Vec<u8> {
        signable(&self.slot.salt(place), SEQ, self.value.as_bencoded())
    }

    /// The first place whose signature is not strictly valid.
    #[must_use]
    pub fn first_bad_place(&self) -> Option<u8> {
        let Ok(signer) = self.signer.valid() else {
            return Some(0);
        };
        let signed: [_; PLACES] =
            std::array::from_fn(|place| (self.message(place as u8), self.signatures[place]));
        signer.first_bad(&signed).map(|place| place as u8)
    }

    /// Whether all three signatures are strictly valid.
    #[must_use]
    pub fn verify(&self) -> bool {
        self.first_bad_place().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::statement::Redeem;
    use crate::coin::{HoldingId, Statement};

    fn record(account: u8) -> SignedRecord {
        let id = HoldingId([1; 32]);
        let statement = Statement::Redeem(Redeem {
            holding: id,
            account: PublicKey([account; 32]),
        });
        let signer = SecretKey::from_bytes([9; 32]);
        SignedRecord::sign(&signer, Slot::spend(&id), &RecordKey([3; 32]), &statement)
    }

    #[test]
    fn a_signed_record_is_three_strict_items_at_three_targets() {
        let record = record(2);
        assert!(record.verify());
        let items = record.items();
        for (place, item) in items.iter().enumerate() {
            assert!(item.is_strict() && item.is_signed());
            assert_eq!(record.item(place as u8).as_ref(), Some(item));
        }
        assert_eq!(record.item(3), None);
        assert_ne!(items[0].target(), items[1].target());
        assert_ne!(items[1].target(), items[2].target());
    }

    #[test]
    fn the_first_bad_signature_is_named() {
        let mut record = record(2);
        record.signatures.swap(1, 2);
        assert_eq!(record.first_bad_place(), Some(1));
        assert!(!record.verify());
    }

    #[test]
    fn copies_are_told_by_seq_and_value_alone() {
        let [ours, ..] = record(2).items();
        let mut copy = ours.clone();
        copy.signature = Signature([0; 64]);
        assert!(copy.is_copy_of(&ours) && !copy.is_signed());
        let [other, ..] = record(4).items();
        assert!(!other.is_copy_of(&ours));
        copy.seq = 5;
        assert!(!copy.is_copy_of(&ours));
    }
}
