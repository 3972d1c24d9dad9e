//! The value of a record: a commitment and a sealed statement (`docs/protocol.md` section 4).
//!
//! The cipher does not commit to its key by itself: one ciphertext could open to two statements
//! under two keys. So the value starts with c, a hash over record key and plaintext, and whoever
//! opens the box computes c again.

use std::fmt;

use chacha20poly1305::aead::Aead;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use thiserror::Error;

use crate::coin::hash::tagged;
use crate::coin::statement::STATEMENT_LEN;
use crate::coin::{Commitment, RecordKey, Statement, StatementError};

/// Bytes of c and the box together.
const CONTENT_LEN: usize = 146;
/// `146:` before them: a bencoded byte string.
const PREFIX: &[u8; 4] = b"146:";
const NONCE_LEN: usize = 24;

/// v of a record as the DHT carries it, bencoded: `146:`, c (32 bytes), box (114 bytes).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value([u8; Value::LEN]);

/// Why a value does not open.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// The value is not 146 bytes.
    #[error("a record's value has 146 bytes, this has {0}")]
    Length(usize),
    /// The bytes are not the bencoded string of 146 bytes.
    #[error("not a bencoded byte string of 146 bytes")]
    Bencoding,
    /// The box does not open with this key.
    #[error("the box does not open with this record key")]
    Box,
    /// The box opens, but c belongs to another key or plaintext.
    #[error("the commitment is not that of this record key and statement")]
    Commitment,
    /// The box opens to something that is no statement.
    #[error("the box holds no statement: {0}")]
    Statement(#[from] StatementError),
}

impl Value {
    /// Bytes with the bencoded length before them.
    pub const LEN: usize = PREFIX.len() + CONTENT_LEN;

    /// From c and box as they are inside the byte string.
    ///
    /// # Errors
    /// [`OpenError::Length`] unless there are 146 bytes.
    pub fn from_content(content: &[u8]) -> Result<Value, OpenError> {
        if content.len() != CONTENT_LEN {
            return Err(OpenError::Length(content.len()));
        }
        let mut out = [0; Value::LEN];
        out[..PREFIX.len()].copy_from_slice(PREFIX);
        out[PREFIX.len()..].copy_from_slice(content);
        Ok(Value(out))
    }

    /// From the bencoded byte string.
    ///
    /// # Errors
    /// [`OpenError::Bencoding`] for anything but `146:` and 146 bytes.
    pub fn from_bencoded(bytes: &[u8]) -> Result<Value, OpenError> {
        match <[u8; Value::LEN]>::try_from(bytes) {
            Ok(all) if all.starts_with(PREFIX) => Ok(Value(all)),
            _ => Err(OpenError::Bencoding),
        }
    }

    /// The bencoded byte string: what an item carries as v and what is signed.
    #[must_use]
    pub fn as_bencoded(&self) -> &[u8; Value::LEN] {
        &self.0
    }

    /// c and box, 146 bytes.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.0[PREFIX.len()..]
    }

    /// c, as it stands in the value.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        let mut c = [0; 32];
        c.copy_from_slice(&self.content()[..32]);
        Commitment(c)
    }

    fn sealed_box(&self) -> &[u8] {
        &self.content()[Commitment::LEN..]
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value(c {})", self.commitment())
    }
}

/// c: the commitment to a record key and a plaintext.
#[must_use]
pub fn commitment(key: &RecordKey, plaintext: &[u8; STATEMENT_LEN]) -> Commitment {
    Commitment(tagged("DPay1/commit", &[&key.0, plaintext]))
}

/// The record key of the close of the spend that has the record key `key` and the commitment `spend`.
#[must_use]
pub fn close_record_key(key: &RecordKey, spend: &Commitment) -> RecordKey {
    key.of_close(spend)
}

fn cipher(key: &RecordKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&tagged("DPay1/seal", &[&key.0]).into())
}

fn nonce(c: &Commitment) -> XNonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&c.0[..NONCE_LEN]);
    nonce.into()
}

/// Seals a plaintext under a record key. The same arguments give the same value.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "the cipher fails for texts of 256 GiB and more only; this one has 98 bytes"
)]
pub fn seal(key: &RecordKey, plaintext: &[u8; STATEMENT_LEN]) -> Value {
    let c = commitment(key, plaintext);
    let sealed = cipher(key)
        .encrypt(&nonce(&c), plaintext.as_slice())
        .expect("98 bytes are within the cipher's limit");
    let mut out = [0; Value::LEN];
    out[..4].copy_from_slice(PREFIX);
    out[4..36].copy_from_slice(&c.0);
    out[36..].copy_from_slice(&sealed);
    Value(out)
}

/// Opens a value with its record key and computes the commitment again.
///
/// # Errors
/// [`OpenError::Box`] or [`OpenError::Commitment`].
pub fn open_plaintext(key: &RecordKey, value: &Value) -> Result<[u8; STATEMENT_LEN], OpenError> {
    let c = value.commitment();
    let opened = cipher(key)
        .decrypt(&nonce(&c), value.sealed_box())
        .map_err(|_| OpenError::Box)?;
    let plaintext: [u8; STATEMENT_LEN] = opened
        .as_slice()
        .try_into()
        .map_err(|_| StatementError::Length(opened.len()))?;
    if commitment(key, &plaintext) != c {
        return Err(OpenError::Commitment);
    }
    Ok(plaintext)
}

/// Opens a value and reads the statement in it.
///
/// # Errors
/// Why it does not open, or what it holds is no statement.
pub fn open(key: &RecordKey, value: &Value) -> Result<Statement, OpenError> {
    Ok(Statement::decode(&open_plaintext(key, value)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::{HoldingId, PublicKey, statement::Redeem};

    fn statement() -> Statement {
        Statement::Redeem(Redeem {
            holding: HoldingId([1; 32]),
            account: PublicKey([2; 32]),
        })
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_only() {
        let key = RecordKey([3; 32]);
        let value = seal(&key, &statement().encode());
        assert_eq!(open(&key, &value), Ok(statement()));
        assert_eq!(open(&RecordKey([4; 32]), &value), Err(OpenError::Box));
    }

    #[test]
    fn a_commitment_changed_behind_the_nonce_is_found() {
        let key = RecordKey([3; 32]);
        let value = seal(&key, &statement().encode());
        let mut content = value.content().to_vec();
        content[31] ^= 1;
        let changed = Value::from_content(&content).expect("146 bytes");
        assert_eq!(open(&key, &changed), Err(OpenError::Commitment));
    }

    #[test]
    fn a_value_is_a_byte_string_of_146_bytes_and_nothing_else() {
        let value = seal(&RecordKey([3; 32]), &statement().encode());
        assert_eq!(Value::from_bencoded(value.as_bencoded()), Ok(value));
        assert_eq!(Value::from_content(&[0; 145]), Err(OpenError::Length(145)));
        let mut bytes = *value.as_bencoded();
        bytes[0] = b'0';
        assert_eq!(Value::from_bencoded(&bytes), Err(OpenError::Bencoding));
        assert_eq!(
            Value::from_bencoded(value.content()),
            Err(OpenError::Bencoding)
        );
    }
}
