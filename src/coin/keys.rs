//! Keys and signatures: Ed25519 with two degrees of validity (`docs/protocol.md` section 2).
//!
//! *Strictly valid* is asked of certificates and of signatures in opens, paths and closes. *Signed*
//! is asked of items read from the DHT or brought as evidence: nodes store what a strict check
//! refuses, and nobody without the key can make such an item either.

use std::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::Identity as _;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha512};
use thiserror::Error;
use zeroize::Zeroizing;

pub use super::seed::{Seed, SeedError};
use crate::bytes_newtype;

bytes_newtype!(
    /// An Ed25519 public key. From a stranger it may be any 32 bytes: [`PublicKey::check`] says.
    PublicKey,
    32
);

bytes_newtype!(
    /// An Ed25519 signature: R, then S. From a stranger it may be any 64 bytes.
    Signature,
    64
);

/// Why 32 bytes are no key that this protocol accepts.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyFault {
    /// The bytes decode to no point of the curve.
    #[error("not a point of the curve")]
    NotAPoint,
    /// The bytes decode to a point that is encoded otherwise.
    #[error("not the canonical encoding of its point")]
    NotCanonical,
    /// The point has small order: signatures under it prove nothing.
    #[error("a point of small order")]
    SmallOrder,
}

impl PublicKey {
    /// Whether this is a valid key: the canonical encoding of a point that is not of small order.
    /// (A point that only has a part of small order is valid.)
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), KeyFault> {
        self.valid().map(|_| ())
    }

    /// The key's point, for many signatures by one key.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn valid(&self) -> Result<ValidKey, KeyFault> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| KeyFault::NotAPoint)?;
        if !self.is_canonical() {
            return Err(KeyFault::NotCanonical);
        }
        if key.is_weak() {
            return Err(KeyFault::SmallOrder);
        }
        Ok(ValidKey(key))
    }

    /// Whether the bytes, which decode to a point, are how that point is encoded: y is below
    /// p = 2^255 - 19, and the sign of x = 0, which is so for y = 1 and y = -1 alone, is not negative.
    fn is_canonical(&self) -> bool {
        let (low, high) = (self.0[0], self.0[31]);
        let middle = |byte: u8| self.0[1..31].iter().all(|b| *b == byte);
        let near_p = high & 0x7f == 0x7f && middle(0xff);
        let negative = high & 0x80 != 0;
        let one = low == 1 && high & 0x7f == 0 && middle(0);
        let minus_one = low == 0xec && near_p;
        !(near_p && low >= 0xed) && !(negative && (one || minus_one))
    }

    /// Strict validity: the key is valid, S < L, R is canonical and not of small order, and the
    /// equation holds without a cofactor.
    #[must_use]
    pub fn verify_strict(&self, message: &[u8], signature: &Signature) -> bool {
        self.valid()
            .is_ok_and(|key| key.verify_strict(message, signature))
    }

    /// Whether the message is signed at all: the key is valid and the equation holds once S is
    /// reduced mod L, whatever R is. For items from the DHT and for evidence, never for payment.
    #[must_use]
    pub fn verify_signed(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(ValidKey(key)) = self.valid() else {
            return false;
        };
        let (Some(r_bytes), Some(s_bytes)) = (
            signature.0.first_chunk::<32>(),
            signature.0.last_chunk::<32>(),
        ) else {
            return false;
        };
        let Some(r) = CompressedEdwardsY(*r_bytes).decompress() else {
            return false;
        };
        let s = Scalar::from_bytes_mod_order(*s_bytes);
        let mut hash = Sha512::new();
        hash.update(r_bytes);
        hash.update(self.0);
        hash.update(message);
        let h = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-key.to_edwards(), &s) == r
    }
}

/// A public key that was checked, as a point.
#[derive(Clone, Copy, Debug)]
pub struct ValidKey(VerifyingKey);

impl ValidKey {
    /// As [`PublicKey::verify_strict`].
    #[must_use]
    pub fn verify_strict(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        // R is compared as bytes with the encoding of the point it must be, so it is canonical.
        self.0.verify_strict(message, &signature).is_ok()
    }

    /// The first of these messages whose signature is not strictly valid: says of each what
    /// [`ValidKey::verify_strict`] says. Each R that must be is computed, and all are encoded together and
    /// compared as bytes: that takes one inversion, and what is given need not be decoded.
    #[must_use]
    pub fn first_bad<M: AsRef<[u8]>>(&self, signed: &[(M, Signature)]) -> Option<usize> {
        let minus_key = -self.0.to_edwards();
        // Where S is not below L no R is good, and the point of small order that stands for it is none either.
        let expected = signed.iter().map(|(message, Signature(signature))| {
            let (r, s) = signature.split_at(32);
            let s = s.try_into().map(Scalar::from_canonical_bytes);
            let Some(s) = s.ok().and_then(|s| s.into_option()) else {
                return EdwardsPoint::identity();
            };
            let hash = [r, self.0.as_bytes(), message.as_ref()]
                .iter()
                .fold(Sha512::new(), |hash, part| hash.chain_update(part));
            let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
            EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &minus_key, &s)
        });
        let expected: Vec<_> = expected.collect();
        let encoded = EdwardsPoint::compress_batch_alloc(&expected);
        let mut each = expected.iter().zip(&encoded).zip(signed);
        each.position(|((point, r), (_, signature))| {
            point.is_small_order() || signature.0[..32] != *r.as_bytes()
        })
    }
}

/// An Ed25519 private key. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From the 32 bytes of an RFC 8032 private key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(&bytes))
    }

    /// The 32 bytes of the RFC 8032 private key. For a store that encrypts them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` by plain Ed25519 (RFC 8032 section 5.1).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// What [`SecretKey::sign`] makes of each message, to the byte. The points R are encoded together:
    /// that takes one inversion, where each alone takes one of its own, a fifth of its time.
    #[must_use]
    pub fn sign_each(&self, messages: &[[u8; 32]]) -> Vec<Signature> {
        let hash = |parts: [&[u8]; 3]| {
            let hash = parts
                .iter()
                .fold(Sha512::new(), |h, part| h.chain_update(part));
            Zeroizing::new(<[u8; 64]>::from(hash.finalize()))
        };
        let expanded = hash([self.0.as_bytes(), &[], &[]]);
        let (low, prefix) = expanded.split_at(32);
        let low = Zeroizing::new(std::array::from_fn(|n| low[n]));
        let secret = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*low)));
        let nonces = messages
            .iter()
            .map(|message| Scalar::from_bytes_mod_order_wide(&hash([prefix, message, &[]])));
        let nonces = Zeroizing::new(nonces.collect::<Vec<_>>());
        let points: Vec<_> = nonces.iter().map(EdwardsPoint::mul_base).collect();
        let points = EdwardsPoint::compress_batch_alloc(&points);
        let public = self.public();
        let each = points.iter().zip(nonces.iter()).zip(messages);
        each.map(|((point, nonce), message)| {
            let k = hash([point.as_bytes(), public.as_bytes(), message]);
            let s = Scalar::from_bytes_mod_order_wide(&k) * *secret + nonce;
            let mut signature = Signature([0; 64]);
            signature.0[..32].copy_from_slice(point.as_bytes());
            signature.0[32..].copy_from_slice(s.as_bytes());
            signature
        })
        .collect()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_is_valid_in_both_degrees() {
        let secret = SecretKey::from_bytes([5; 32]);
        let signature = secret.sign(b"a message");
        assert!(secret.public().verify_strict(b"a message", &signature));
        assert!(secret.public().verify_signed(b"a message", &signature));
        assert!(!secret.public().verify_strict(b"another", &signature));
        assert!(!secret.public().verify_signed(b"another", &signature));
    }

    #[test]
    fn many_messages_are_signed_as_each_of_them() {
        for count in [0, 1, 2, 31, 32, 33] {
            for n in 0..8u8 {
                let secret =
                    SecretKey::from_bytes(Sha512::digest([n, count])[..32].try_into().unwrap());
                let messages: Vec<[u8; 32]> = (0..count)
                    .map(|m| Sha512::digest([n, m, 1])[..32].try_into().unwrap())
                    .collect();
                let each: Vec<Signature> = messages.iter().map(|m| secret.sign(m)).collect();
                assert_eq!(secret.sign_each(&messages), each);
            }
        }
    }

    /// Keys with and without a part of small order, and signatures under them of every kind that a strict check
    /// tells apart.
    #[test]
    fn signatures_checked_together_are_what_each_of_them_is() {
        let torsion = curve25519_dalek::constants::EIGHT_TORSION;
        let order = {
            let mut l = [0u8; 32];
            l[..16].copy_from_slice(&0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes());
            l[31] = 0x10;
            l
        };
        let (mut good, mut bad) = (0, 0);
        for n in 0..24u8 {
            let digest = |parts: &[&[u8]]| {
                let hash = parts.iter().fold(Sha512::new(), |h, p| h.chain_update(p));
                Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
            };
            let secret = digest(&[b"key", &[n]]);
            let point = EdwardsPoint::mul_base(&secret) + torsion[usize::from(n % 8)];
            let key = PublicKey(point.compress().to_bytes());
            let valid = key.valid().unwrap();
            let mut signed = Vec::new();
            for m in 0..40u8 {
                let message = [n, m];
                let nonce = digest(&[b"nonce", &message]);
                let r = match m % 4 {
                    0 | 1 => EdwardsPoint::mul_base(&nonce),
                    2 => EdwardsPoint::mul_base(&nonce) + torsion[usize::from(m / 4 % 8)],
                    _ => torsion[usize::from(m / 4 % 8)],
                };
                let nonce = if m % 4 == 3 { Scalar::ZERO } else { nonce };
                let mut r = r.compress().to_bytes();
                if m == 3 {
                    // The identity, encoded as y = 1 + p.
                    r = [0xff; 32];
                    (r[0], r[31]) = (0xee, 0x7f);
                }
                let k = digest(&[&r, &key.0, &message]);
                let mut s = (nonce + k * secret).to_bytes();
                if m % 4 == 1 && m % 8 == 5 {
                    // The same number and L.
                    let mut carry = 0u16;
                    for (byte, add) in s.iter_mut().zip(order) {
                        carry += u16::from(*byte) + u16::from(add);
                        *byte = carry.to_le_bytes()[0];
                        carry >>= 8;
                    }
                }
                let mut bytes = [0; 64];
                bytes[..32].copy_from_slice(&r);
                bytes[32..].copy_from_slice(&s);
                signed.push((message, Signature(bytes)));
                let mut other = Signature(bytes);
                other.0[usize::from(m)] ^= 1;
                signed.push((message, other));
            }
            let of_library = |(message, signature): &([u8; 2], Signature)| {
                let key = VerifyingKey::from_bytes(&key.0).unwrap();
                let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
                key.verify_strict(message, &signature).is_ok()
            };
            let each: Vec<bool> = signed.iter().map(of_library).collect();
            for (one, holds) in signed.iter().zip(&each) {
                assert_eq!(valid.first_bad(&[*one]).is_none(), *holds, "{n} {one:?}");
                if let Some(first) = each.iter().position(|holds| *holds) {
                    let two = [signed[first], *one];
                    assert_eq!(valid.first_bad(&two), (!holds).then_some(1), "{n} {one:?}");
                }
            }
            assert_eq!(
                valid.first_bad(&signed),
                each.iter().position(|holds| !holds)
            );
            good += each.iter().filter(|holds| **holds).count();
            bad += each.iter().filter(|holds| !**holds).count();
        }
        assert!(good > 100 && bad > 1000, "{good} hold, {bad} do not");
    }

    #[test]
    fn an_identity_key_signs_nothing_in_either_degree() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let key = PublicKey(identity);
        assert_eq!(key.check(), Err(KeyFault::SmallOrder));
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!key.verify_strict(b"anything", &Signature(signature)));
        assert!(!key.verify_signed(b"anything", &Signature(signature)));
    }

    #[test]
    fn the_identity_with_a_sign_bit_is_not_canonical() {
        let mut identity = [0; 32];
        identity[0] = 1;
        identity[31] = 0x80;
        assert_eq!(PublicKey(identity).check(), Err(KeyFault::NotCanonical));
    }

    #[test]
    fn a_key_is_canonical_where_its_point_is_encoded_like_that() {
        let mut near = vec![[0u8; 32], [0xff; 32]];
        for low in 0..=255u8 {
            for (middle, high) in [
                (0u8, 0u8),
                (0, 0x80),
                (0xff, 0x7f),
                (0xff, 0xff),
                (0xff, 0x7e),
            ] {
                let mut bytes = [middle; 32];
                (bytes[0], bytes[31]) = (low, high);
                near.push(bytes);
            }
        }
        let drawn = (0..500u32).map(|n| Sha512::digest(n.to_be_bytes())[..32].try_into().unwrap());
        let mut refused = 0;
        for bytes in near.into_iter().chain(drawn) {
            let Ok(key) = VerifyingKey::from_bytes(&bytes) else {
                continue;
            };
            let canonical = key.to_edwards().compress().to_bytes() == bytes;
            assert_eq!(PublicKey(bytes).is_canonical(), canonical, "{bytes:02x?}");
            refused += u32::from(!canonical);
        }
        assert!(refused > 20, "only {refused} of them are not canonical");
    }

    #[test]
    fn secret_keys_are_not_shown() {
        let secret = SecretKey::from_bytes([0xab; 32]);
        assert!(!format!("{secret:?}").contains("abab"));
    }
}
