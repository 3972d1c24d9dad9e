//! What makes our servers keep the first value they are given at the highest seq, as nodes of
//! libtorrent do (`docs/protocol.md` section 4): a second one, which only a cheat signs, is not
//! taken. The crate's server alone would let it overwrite the record that a payee relies on.

use std::fmt::{self, Write};
use std::net::SocketAddrV4;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use mainline::{RequestFilter, RequestSpecific};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::locks::TargetBytes;
use crate::coin::{PublicKey, Signature};
use crate::record::{Item, SEQ, Salt};

/// Longest text of a put that is looked at, in bytes: one of 1 000 bytes with its keys takes 6 000.
const MAX_TEXT_BYTES: usize = 16_384;

/// Remembers what was put first. Clones share one memory.
#[derive(Clone)]
pub(super) struct FirstKept {
    /// SHA-256 of the first v, by target; the one that was asked for longest ago is forgotten first.
    values: Arc<Mutex<LruCache<TargetBytes, [u8; 32]>>>,
}

impl FirstKept {
    /// Remembers as many values as the server keeps.
    pub(super) fn new(values: NonZeroUsize) -> Self {
        FirstKept {
            values: Arc::new(Mutex::new(LruCache::new(values))),
        }
    }

    /// Whether the server may take `item`. What its key did not sign the server refuses by itself,
    /// and it must not be remembered: anybody could keep a record out with it.
    fn may_take(&self, item: &Item) -> bool {
        if item.seq != SEQ || !item.is_signed() {
            return true;
        }
        let value: [u8; 32] = Sha256::digest(&item.value).into();
        let mut values = self.values.lock();
        *values.get_or_insert(item.target().0, || value) == value
    }
}

impl fmt::Debug for FirstKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstKept").finish_non_exhaustive()
    }
}

impl RequestFilter for FirstKept {
    fn allow_request(&self, request: &RequestSpecific, _from: SocketAddrV4) -> bool {
        put_item(&request.request_type).is_none_or(|item| self.may_take(&item))
    }
}

/// The item that a request puts. The crate does not export the type of `request_type`, so that the
/// one way to see into it is its text; where that changes,
/// `our_nodes_keep_the_first_record` in `tests/dht.rs` fails.
fn put_item(request_type: &impl fmt::Debug) -> Option<Item> {
    let mut text = PutText(String::new());
    write!(text, "{request_type:?}").ok()?;
    let text = text.0.split_once("PutMutableRequestArguments")?.1;
    let seq = text.split_once(" seq: ")?.1.split_once(',')?.0;
    // The crate takes byte strings only, and shows what is in them.
    let content = list(text, " v: [")?;
    let mut value = format!("{}:", content.len()).into_bytes();
    value.extend_from_slice(&content);
    Some(Item {
        key: PublicKey(list(text, " k: [")?.try_into().ok()?),
        salt: Salt(list(text, " salt: Some([")?.try_into().ok()?),
        seq: seq.parse().ok()?,
        value,
        signature: Signature(list(text, " sig: [")?.try_into().ok()?),
    })
}

/// The bytes of the list that follows `name`.
fn list(text: &str, name: &str) -> Option<Vec<u8>> {
    let list = text.split_once(name)?.1.split_once(']')?.0;
    list.split(", ").map(|byte| byte.parse().ok()).collect()
}

/// Text of a put; writing anything else, or too much, is an error, which ends the writing.
struct PutText(String);

impl Write for PutText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.is_empty() && !part.starts_with("Put") {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        match self.0.len() > MAX_TEXT_BYTES {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::SecretKey;

    fn item(value: &[u8], seq: i64) -> Item {
        let secret = SecretKey::from_bytes([7; 32]);
        let mut item = Item {
            key: secret.public(),
            salt: Salt([9; 32]),
            seq,
            value: value.to_vec(),
            signature: Signature([0; 64]),
        };
        item.signature = secret.sign(&item.signable());
        item
    }

    fn memory() -> FirstKept {
        FirstKept::new(NonZeroUsize::new(2).expect("two"))
    }

    #[test]
    fn a_second_value_at_the_highest_seq_is_not_taken() {
        let kept = memory();
        assert!(kept.may_take(&item(b"1:a", SEQ)));
        assert!(kept.may_take(&item(b"1:a", SEQ)));
        assert!(!kept.may_take(&item(b"1:b", SEQ)));
        assert!(kept.may_take(&item(b"1:b", SEQ - 1)));
    }

    #[test]
    fn what_its_key_did_not_sign_keeps_nothing_out() {
        let kept = memory();
        let mut forged = item(b"1:b", SEQ);
        forged.signature = item(b"1:a", SEQ).signature;
        // The server refuses it.
        assert!(kept.may_take(&forged));
        assert!(kept.may_take(&item(b"1:a", SEQ)));
    }

    #[test]
    fn only_puts_are_read() {
        #[derive(Debug)]
        struct GetValue {
            _k: [u8; 2],
        }
        assert_eq!(put_item(&GetValue { _k: [1, 2] }), None);
        assert_eq!(put_item(&"Put"), None);
    }
}
