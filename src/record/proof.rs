//! Proof of a double spend or a double close: two items that one key signed for one salt, and the
//! certificate that names the key (`docs/protocol.md` section 4).
//!
//! Nothing is decrypted and no path is needed. Expiry, slot and content are not looked at.

use thiserror::Error;

use super::item::{Item, MAX_ITEM_VALUE_BYTES};
use super::slot::Salt;
use crate::coin::{
    CertificateError, CoinCertificate, PseudonymCertificate, PublicKey, Reader, Signature,
};

/// Why two items prove nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProofError {
    /// The bytes end too early or go on too long.
    #[error("a proof of {0} bytes: too few or too many for what it says it holds")]
    Length(usize),
    /// The certificate is not good.
    #[error("the certificate: {0}")]
    Certificate(CertificateError),
    /// A value of no bytes, or of more than 1 000.
    #[error("an item's value of {0} bytes: 1 to 1000 are possible")]
    ValueLength(usize),
    /// An item is signed by another key than the certificate names; items count from 0.
    #[error("item {0} is of another key than the certificate names")]
    AnotherKey(u8),
    /// The items are of different salts.
    #[error("the items are of different salts")]
    DifferentSalts,
    /// Equal (seq, v): one item, however often it is signed.
    #[error("both are the same item")]
    SameItem,
    /// The items of the bytes are not in ascending order of (seq, v).
    #[error("the items are not in ascending order")]
    Order,
    /// An item is not signed by the key; items count from 0.
    #[error("item {0} is not signed by the key")]
    ItemSignature(u8),
}

/// The certificate that names the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofCertificate {
    /// Names the first holder: spends of the coin and its changes.
    Coin(CoinCertificate),
    /// Names a payee: closes, and spends of payees' shares.
    Payee(PseudonymCertificate),
}

impl ProofCertificate {
    /// The key that is named.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        match self {
            ProofCertificate::Coin(coin) => coin.holder,
            ProofCertificate::Payee(payee) => payee.holder,
        }
    }

    /// The broker that signed.
    #[must_use]
    pub fn broker(&self) -> PublicKey {
        match self {
            ProofCertificate::Coin(coin) => coin.broker,
            ProofCertificate::Payee(payee) => payee.broker,
        }
    }

    /// Whether it is good, whatever the date.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, accepts: &dyn Fn(&PublicKey) -> bool) -> Result<(), CertificateError> {
        match self {
            ProofCertificate::Coin(coin) => coin.check(accepts, None),
            ProofCertificate::Payee(payee) => payee.check(accepts, None),
        }
    }

    /// The certificate's own bytes: 158 or 134.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ProofCertificate::Coin(coin) => coin.encode().to_vec(),
            ProofCertificate::Payee(payee) => payee.encode().to_vec(),
        }
    }

    /// Reads a certificate of either kind from the front of `bytes`; returns it and the rest.
    fn decode_front(bytes: &[u8]) -> Result<(ProofCertificate, &[u8]), ProofError> {
        let too_short = ProofError::Length(bytes.len());
        // The second byte is the kind. Any other than 2 is read as a coin, which names the fault.
        if bytes.get(1) == Some(&2) {
            let (front, rest) =
                (bytes.split_at_checked(PseudonymCertificate::SIZE)).ok_or(too_short)?;
            let payee = PseudonymCertificate::decode(front).map_err(ProofError::Certificate)?;
            Ok((ProofCertificate::Payee(payee), rest))
        } else {
            let (front, rest) = bytes
                .split_at_checked(CoinCertificate::SIZE)
                .ok_or(too_short)?;
            let coin = CoinCertificate::decode(front).map_err(ProofError::Certificate)?;
            Ok((ProofCertificate::Coin(coin), rest))
        }
    }

    /// Reads a certificate of either kind.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn decode(bytes: &[u8]) -> Result<ProofCertificate, ProofError> {
        match ProofCertificate::decode_front(bytes)? {
            (certificate, []) => Ok(certificate),
            _ => Err(ProofError::Length(bytes.len())),
        }
    }
}

/// Two different items of one key and salt, in ascending order of (seq, v), and the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FraudProof {
    certificate: ProofCertificate,
    items: [Item; 2],
}

impl FraudProof {
    /// Puts a proof together from two items in any order. Signatures are not checked here.
    ///
    /// # Errors
    /// What keeps the two from being a proof.
    pub fn new(
        certificate: ProofCertificate,
        first: Item,
        second: Item,
    ) -> Result<FraudProof, ProofError> {
        check_form(&certificate, &first, &second)?;
        let items = if rank(&first) < rank(&second) {
            [first, second]
        } else {
            [second, first]
        };
        Ok(FraudProof { certificate, items })
    }

    /// The certificate that names the key.
    #[must_use]
    pub fn certificate(&self) -> &ProofCertificate {
        &self.certificate
    }

    /// The two items, in ascending order.
    #[must_use]
    pub fn items(&self) -> &[Item; 2] {
        &self.items
    }

    /// The salt of both.
    #[must_use]
    pub fn salt(&self) -> Salt {
        self.items[0].salt
    }

    /// The key that signed both, once [`FraudProof::verify`] says so.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.certificate.key()
    }

    /// Whether this proves that the holder of [`FraudProof::key`] signed two items for one slot.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, accepts: &dyn Fn(&PublicKey) -> bool) -> Result<PublicKey, ProofError> {
        let [first, second] = &self.items;
        FraudProof::check(accepts, &self.certificate, first, second)
    }

    /// As [`FraudProof::verify`], for two items in the order in which they were given.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(
        accepts: &dyn Fn(&PublicKey) -> bool,
        certificate: &ProofCertificate,
        first: &Item,
        second: &Item,
    ) -> Result<PublicKey, ProofError> {
        certificate
            .check(accepts)
            .map_err(ProofError::Certificate)?;
        check_form(certificate, first, second)?;
        for (index, item) in [(0, first), (1, second)] {
            if !item.is_signed() {
                return Err(ProofError::ItemSignature(index));
            }
        }
        Ok(certificate.key())
    }

    /// Certificate, salt, then for each item seq, length of v, v, signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.certificate.encode();
        out.extend_from_slice(&self.salt().0);
        for item in &self.items {
            out.extend_from_slice(&item.seq.to_be_bytes());
            // At most 1 000 bytes: checked when the proof was made.
            out.extend_from_slice(&(item.value.len() as u16).to_be_bytes());
            out.extend_from_slice(&item.value);
            out.extend_from_slice(&item.signature.0);
        }
        out
    }

    /// Reads a proof. Certificate and signatures are not checked here.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn decode(bytes: &[u8]) -> Result<FraudProof, ProofError> {
        let wrong_length = ProofError::Length(bytes.len());
        let (certificate, rest) = ProofCertificate::decode_front(bytes)?;
        let mut reader = Reader::new(rest);
        let salt = Salt(reader.array().ok_or(wrong_length)?);
        let mut item = || {
            let seq = reader.i64().ok_or(wrong_length)?;
            let length = usize::from(reader.u16().ok_or(wrong_length)?);
            if length == 0 || length > MAX_ITEM_VALUE_BYTES {
                return Err(ProofError::ValueLength(length));
            }
            Ok(Item {
                key: certificate.key(),
                salt,
                seq,
                value: reader.slice(length).ok_or(wrong_length)?.to_vec(),
                signature: Signature(reader.array().ok_or(wrong_length)?),
            })
        };
        let (first, second) = (item()?, item()?);
        if !reader.is_empty() {
            return Err(wrong_length);
        }
        if rank(&first) > rank(&second) {
            return Err(ProofError::Order);
        }
        FraudProof::new(certificate, first, second)
    }
}

fn rank(item: &Item) -> (i64, &[u8]) {
    (item.seq, &item.value)
}

/// Everything about two items but their signatures.
fn check_form(
    certificate: &ProofCertificate,
    first: &Item,
    second: &Item,
) -> Result<(), ProofError> {
    for (index, item) in [(0, first), (1, second)] {
        if item.key != certificate.key() {
            return Err(ProofError::AnotherKey(index));
        }
        if item.value.is_empty() || item.value.len() > MAX_ITEM_VALUE_BYTES {
            return Err(ProofError::ValueLength(item.value.len()));
        }
    }
    if first.salt != second.salt {
        return Err(ProofError::DifferentSalts);
    }
    if first.is_copy_of(second) {
        return Err(ProofError::SameItem);
    }
    Ok(())
}
