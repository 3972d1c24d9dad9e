//! The spent list: hourly chunks and their index as signed bytes, and the look-up a payee keeps.
//!
//! All integers big-endian; a signature is the broker's over `H(tag, SHA-256(all bytes before it))`.
//!
//! | chunk, tag `DPay1/spent` | size | index, tag `DPay1/spent-index` | size |
//! | --- | --- | --- | --- |
//! | version u8 = 1, kind u8 = 6 | 2 | version u8 = 1, kind u8 = 7 | 2 |
//! | broker key | 32 | broker key | 32 |
//! | hour u32: unix seconds / 3 600 | 4 | as of u64: unix seconds | 8 |
//! | number of entries u32 | 4 | number of chunks u32 | 4 |
//! | entries: first 8 bytes of the slot, first 16 of c | 24 each | hour u32, entries u32 | 8 each |
//! | signature | 64 | signature | 64 |
//!
//! A chunk only grows while its hour lasts, and entries keep their order; so a payee fetches again
//! what has more entries than it has. The list of suspended keys is a chunk of kind 8 whose entries
//! are the first 16 bytes of each key (tag `DPay1/suspended`, its u32 hour being the hour of the copy).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::coin::hash::tagged;
use crate::coin::ids::Commitment;
use crate::coin::keys::{PublicKey, SecretKey, Signature};
use crate::record::Slot;
use crate::units::UnixMs;

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 24;
/// Most entries of one chunk that a payee reads: 24 MB.
pub const MAX_ENTRIES: u32 = 1_000_000;
/// A coin's life and the time until it is settled, in hours.
const COIN_HOURS: u64 = (30 + 30) * 24;
/// At least so many hours stay listed beyond a coin's.
const LISTED_BEYOND_HOURS: u64 = 7 * 24;
/// A copy older than this is no copy.
pub const MAX_AGE_S: u64 = 3600;

/// In place of c: what stood in the slot lost a contest, and nothing stands there now.
pub const FREE: Commitment = Commitment([0xff; 32]);
/// In place of c: the slot of a coin of a suspended account, about which nothing was presented.
pub const WITHHELD: Commitment = Commitment([0; 32]);

const CHUNK: Kind = Kind(6, "DPay1/spent");
const INDEX: Kind = Kind(7, "DPay1/spent-index");
const SUSPENDED: Kind = Kind(8, "DPay1/suspended");

/// Kind byte and signing tag of a signed list.
#[derive(Clone, Copy)]
struct Kind(u8, &'static str);

/// Why bytes from the broker's address are no list of this broker.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SpentError {
    /// Lengths or leading bytes are wrong.
    #[error("not a list of kind {wanted}: {got_bytes} bytes that do not fit together")]
    Malformed {
        /// The kind wanted.
        wanted: u8,
        /// Length of what came.
        got_bytes: usize,
    },
    /// More entries than a reader takes.
    #[error("the list has {got} entries, more than the {most} that are read")]
    TooLong {
        /// Entries that it says it has.
        got: u32,
        /// Most that are read.
        most: u32,
    },
    /// Signed for or by somebody else.
    #[error("the list is of broker {0}, or its signature is wrong")]
    Signature(PublicKey),
    /// Another hour than was asked for.
    #[error("asked for the chunk of hour {asked}, got that of hour {got}")]
    Hour {
        /// Asked for.
        asked: u32,
        /// What came.
        got: u32,
    },
    /// Fewer entries than the index promises.
    #[error("the chunk of hour {hour} has {got} entries, its index says {listed}")]
    Short {
        /// The hour.
        hour: u32,
        /// Entries that came.
        got: u32,
        /// Entries that the index lists.
        listed: u32,
    },
    /// The index is older than the copy at hand.
    #[error("the index is as of {got} (unix seconds), a later one of {have} was seen before")]
    Older {
        /// Time of what came.
        got: u64,
        /// Time of what is known.
        have: u64,
    },
}

/// Hours that stay listed where a redemption is held for so long: a coin's life, its settlement, and a week, or
/// the hold and a day where that is longer.
#[must_use]
pub fn listed_hours(hold_ms: u64) -> u32 {
    let hold_and_a_day = hold_ms.div_ceil(3_600_000).saturating_add(24);
    let hours = COIN_HOURS.saturating_add(hold_and_a_day.max(LISTED_BEYOND_HOURS));
    u32::try_from(hours).unwrap_or(u32::MAX)
}

/// The hour that a moment lies in.
#[must_use]
pub fn hour_of(at: UnixMs) -> u32 {
    u32::try_from(at.unix_s() / 3600).unwrap_or(u32::MAX)
}

/// A chunk's bytes, signed.
#[must_use]
pub fn encode_chunk(broker: &SecretKey, hour: u32, entries: &[(Slot, Commitment)]) -> Vec<u8> {
    let mut body = Vec::with_capacity(entries.len().saturating_mul(ENTRY_BYTES));
    for (slot, c) in entries {
        body.extend_from_slice(&slot.as_bytes()[..8]);
        body.extend_from_slice(&c.as_bytes()[..16]);
    }
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    seal(broker, CHUNK, &hour.to_be_bytes(), count, &body)
}

/// An index's bytes, signed: hours with the number of entries of their chunks.
#[must_use]
pub fn encode_index(broker: &SecretKey, as_of: UnixMs, chunks: &[(u32, u32)]) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunks.len().saturating_mul(8));
    for (hour, entries) in chunks {
        body.extend_from_slice(&hour.to_be_bytes());
        body.extend_from_slice(&entries.to_be_bytes());
    }
    let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    seal(broker, INDEX, &as_of.unix_s().to_be_bytes(), count, &body)
}

/// The bytes of the list of suspended keys, signed.
#[must_use]
pub fn encode_suspended(broker: &SecretKey, as_of: UnixMs, keys: &[PublicKey]) -> Vec<u8> {
    let body: Vec<u8> = keys.iter().flat_map(|k| k.0[..16].to_vec()).collect();
    let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    seal(
        broker,
        SUSPENDED,
        &hour_of(as_of).to_be_bytes(),
        count,
        &body,
    )
}

fn seal(broker: &SecretKey, kind: Kind, when: &[u8], count: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![1, kind.0];
    out.extend_from_slice(broker.public().as_bytes());
    out.extend_from_slice(when);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(body);
    let signature = broker.sign(&list_hash(kind, &out));
    out.extend_from_slice(signature.as_bytes());
    out
}

fn list_hash(kind: Kind, before_signature: &[u8]) -> [u8; 32] {
    let digest: [u8; 32] = Sha256::digest(before_signature).into();
    tagged(kind.1, &[&digest])
}

/// Checks a list and gives its time field (`N` bytes), number of entries, and entries.
fn open<'b, const N: usize>(
    broker: &PublicKey,
    kind: Kind,
    entry_bytes: usize,
    bytes: &'b [u8],
) -> Result<([u8; N], u32, &'b [u8]), SpentError> {
    let malformed = || SpentError::Malformed {
        wanted: kind.0,
        got_bytes: bytes.len(),
    };
    let (signed, signature) = bytes.split_last_chunk::<64>().ok_or_else(malformed)?;
    let (head, rest) = signed.split_first_chunk::<2>().ok_or_else(malformed)?;
    let (key, rest) = rest.split_first_chunk::<32>().ok_or_else(malformed)?;
    let (when, rest) = rest.split_first_chunk::<N>().ok_or_else(malformed)?;
    let (count, entries) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
    let count = u32::from_be_bytes(*count);
    if head == &[1, kind.0] && count > MAX_ENTRIES {
        return Err(SpentError::TooLong {
            got: count,
            most: MAX_ENTRIES,
        });
    }
    let expected = usize::try_from(count)
        .ok()
        .and_then(|n| n.checked_mul(entry_bytes));
    if head != &[1, kind.0] || expected != Some(entries.len()) {
        return Err(malformed());
    }
    let good = PublicKey(*key) == *broker
        && broker.verify_strict(&list_hash(kind, signed), &Signature(*signature));
    if !good {
        return Err(SpentError::Signature(PublicKey(*key)));
    }
    Ok((*when, count, entries))
}

/// An index as read: which hours have how many entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentIndex {
    /// When it was made, unix seconds by the broker's clock.
    pub as_of_unix_s: u64,
    /// Entries by hour.
    pub chunks: BTreeMap<u32, u32>,
}

impl SpentIndex {
    /// Reads an index of this broker.
    ///
    /// # Errors
    /// [`SpentError`] if the bytes are none.
    pub fn decode(broker: &PublicKey, bytes: &[u8]) -> Result<Self, SpentError> {
        let (as_of, _, entries) = open::<8>(broker, INDEX, 8, bytes)?;
        let mut chunks = BTreeMap::new();
        for entry in entries.chunks_exact(8) {
            let (hour, count) = entry.split_at(4);
            chunks.insert(be_u32(hour), be_u32(count));
        }
        Ok(SpentIndex {
            as_of_unix_s: u64::from_be_bytes(as_of),
            chunks,
        })
    }
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| (n << 8) | u32::from(*b))
}

/// What the spent list says about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Nothing, or that nothing stands there any more.
    No,
    /// The slot is fixed by a statement whose commitment starts with these bytes. Another slot with
    /// the same first 8 bytes looks the same: fetch the full entry.
    By([u8; 16]),
    /// Withheld: an unfixed coin of a suspended account.
    Withheld,
}

/// A copy of one broker's spent list, with its suspended keys.
#[derive(Clone, Debug)]
pub struct SpentList {
    broker: PublicKey,
    as_of_unix_s: u64,
    hours: BTreeMap<u32, u32>,
    entries: HashMap<[u8; 8], (u32, [u8; 16])>,
    suspended: BTreeSet<[u8; 16]>,
}

impl SpentList {
    /// An empty copy, older than anything.
    #[must_use]
    pub fn new(broker: PublicKey) -> Self {
        SpentList {
            broker,
            as_of_unix_s: 0,
            hours: BTreeMap::new(),
            entries: HashMap::new(),
            suspended: BTreeSet::new(),
        }
    }

    /// The broker whose list this is.
    #[must_use]
    pub fn broker(&self) -> &PublicKey {
        &self.broker
    }

    /// When the copy was last complete, unix seconds by the broker's clock; 0: never.
    #[must_use]
    pub fn as_of_unix_s(&self) -> u64 {
        self.as_of_unix_s
    }

    /// Whether the copy is at most an hour old, so that it may decide a payment. One from later than in an
    /// hour is not known to be: the clock was set back.
    #[must_use]
    pub fn is_fresh(&self, now: UnixMs) -> bool {
        now.unix_s().abs_diff(self.as_of_unix_s) <= MAX_AGE_S
    }

    /// Whether the copy is from later than in an hour: the broker's clock was wrong then, or ours is now.
    #[must_use]
    pub fn is_ahead(&self, now: UnixMs) -> bool {
        self.as_of_unix_s > now.unix_s().saturating_add(MAX_AGE_S)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the list says about a spend or close slot.
    #[must_use]
    pub fn lookup(&self, slot: &Slot) -> Listed {
        let Some(prefix) = slot.as_bytes().first_chunk::<8>() else {
            return Listed::No;
        };
        match self.entries.get(prefix) {
            None => Listed::No,
            Some((_, c)) if c[..] == FREE.0[..16] => Listed::No,
            Some((_, c)) if c[..] == WITHHELD.0[..16] => Listed::Withheld,
            Some((_, c)) => Listed::By(*c),
        }
    }

    /// Whether the slot is listed with another statement than `c`; withheld does not count.
    #[must_use]
    pub fn contradicts(&self, slot: &Slot, c: &Commitment) -> bool {
        matches!(self.lookup(slot), Listed::By(listed) if listed[..] != c.as_bytes()[..16])
    }

    /// Whether a holder key is suspended.
    #[must_use]
    pub fn is_suspended(&self, key: &PublicKey) -> bool {
        key.0
            .first_chunk::<16>()
            .is_some_and(|prefix| self.suspended.contains(prefix))
    }

    /// The hours whose chunks have to be fetched before [`SpentList::complete`].
    #[must_use]
    pub fn missing(&self, index: &SpentIndex) -> Vec<u32> {
        let newer = |hour: &u32, count: &u32| self.hours.get(hour).is_none_or(|have| have < count);
        index
            .chunks
            .iter()
            .filter(|(hour, count)| newer(hour, count))
            .map(|(hour, _)| *hour)
            .collect()
    }

    /// Takes the chunk of `hour`.
    ///
    /// # Errors
    /// [`SpentError`]; the copy is then unchanged.
    pub fn take_chunk(
        &mut self,
        hour: u32,
        index: &SpentIndex,
        bytes: &[u8],
    ) -> Result<(), SpentError> {
        let (when, count, entries) = open::<4>(&self.broker, CHUNK, ENTRY_BYTES, bytes)?;
        let got = u32::from_be_bytes(when);
        if got != hour {
            return Err(SpentError::Hour { asked: hour, got });
        }
        let listed = index.chunks.get(&hour).copied().unwrap_or(0);
        if count < listed {
            return Err(SpentError::Short {
                hour,
                got: count,
                listed,
            });
        }
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let Some((slot, rest)) = entry.split_first_chunk::<8>() else {
                continue;
            };
            let Some(c) = rest.first_chunk::<16>() else {
                continue;
            };
            match self.entries.get(slot) {
                Some((later, _)) if *later > hour => {} // a later entry replaced this one
                _ => {
                    self.entries.insert(*slot, (hour, *c));
                }
            }
        }
        self.hours.insert(hour, count);
        Ok(())
    }

    /// Takes the list of suspended keys.
    ///
    /// # Errors
    /// [`SpentError`]; the copy is then unchanged.
    pub fn take_suspended(&mut self, bytes: &[u8]) -> Result<(), SpentError> {
        let (_, _, keys) = open::<4>(&self.broker, SUSPENDED, 16, bytes)?;
        self.suspended = keys
            .chunks_exact(16)
            .filter_map(|k| k.first_chunk::<16>().copied())
            .collect();
        Ok(())
    }

    /// Says that all that `index` lists was taken: drops what it no longer lists, and dates the copy.
    ///
    /// # Errors
    /// [`SpentError::Older`] if a later index was seen, [`SpentError::Short`] if a chunk is missing.
    pub fn complete(&mut self, index: &SpentIndex) -> Result<(), SpentError> {
        if index.as_of_unix_s < self.as_of_unix_s {
            return Err(SpentError::Older {
                got: index.as_of_unix_s,
                have: self.as_of_unix_s,
            });
        }
        if let Some(hour) = self.missing(index).first().copied() {
            return Err(SpentError::Short {
                hour,
                got: self.hours.get(&hour).copied().unwrap_or(0),
                listed: index.chunks.get(&hour).copied().unwrap_or(0),
            });
        }
        self.hours.retain(|hour, _| index.chunks.contains_key(hour));
        self.entries
            .retain(|_, (hour, _)| index.chunks.contains_key(hour));
        self.as_of_unix_s = index.as_of_unix_s;
        Ok(())
    }
}

#[cfg(test)]
#[path = "spent_tests.rs"]
mod tests;
