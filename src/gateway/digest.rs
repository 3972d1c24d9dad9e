//! A fast keyed hash of a block's content, to tell a peer's good block from a bad one.
//!
//! Two layers, both universal with a key that is random per process and whose results never leave
//! it: NH (as in UMAC, RFC 4418 section 5.2) over chunks of 1 KiB, collisions 2^-32; then a
//! polynomial over the prime 2^61 - 1, collisions below 2^-53 for blocks up to 128 KiB. A peer
//! learns nothing of the key, as all it sees is whether it was dropped; a bad block that passes for
//! the good one, once in 2^32, costs the leecher the price of that block.
//! Plain integer code that the compiler vectorises: some 10 GB/s on baseline x86-64.

use std::rc::Rc;

const CHUNK_BYTES: usize = 1024;
const CHUNK_WORDS: usize = CHUNK_BYTES / 4;
const PRIME: u64 = (1 << 61) - 1;
/// Random bytes that a key is made of.
pub const KEY_BYTES: usize = CHUNK_WORDS * 4 + 8;

/// The secret half of the hash.
pub struct DigestKey {
    words: [u32; CHUNK_WORDS],
    point: u64,
}

impl DigestKey {
    /// A key from random bytes.
    #[must_use]
    pub fn new(random: &[u8; KEY_BYTES]) -> Rc<Self> {
        let mut key = DigestKey {
            words: [0; CHUNK_WORDS],
            point: 0,
        };
        let (words, point) = random.split_at(CHUNK_WORDS * 4);
        for (word, bytes) in key.words.iter_mut().zip(words.chunks_exact(4)) {
            *word = le32(bytes);
        }
        let point = u64::from(le32(point)) | u64::from(le32(&point[4..])) << 32;
        key.point = point % (PRIME - 2) + 2;
        Rc::new(key)
    }
}

/// What a block's content came to. Equal contents give equal digests; others almost never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u64);

/// Hashes one block at a time as its bytes come by.
pub struct Digester {
    key: Rc<DigestKey>,
    partial: Box<[u8; CHUNK_BYTES]>,
    filled: usize,
    length_bytes: u64,
    sum: u64,
}

impl Digester {
    /// Ready for the first block.
    #[must_use]
    pub fn new(key: Rc<DigestKey>) -> Self {
        Self {
            key,
            partial: Box::new([0; CHUNK_BYTES]),
            filled: 0,
            length_bytes: 0,
            sum: 1,
        }
    }

    /// Takes in more of the block.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.length_bytes += bytes.len() as u64;
        if self.filled > 0 {
            let taken = bytes.len().min(CHUNK_BYTES - self.filled);
            let (head, rest) = bytes.split_at(taken);
            self.partial[self.filled..self.filled + taken].copy_from_slice(head);
            self.filled += taken;
            bytes = rest;
            if self.filled < CHUNK_BYTES {
                return;
            }
            self.sum = absorb(self.sum, &self.key, &self.partial);
            self.filled = 0;
        }
        let mut chunks = bytes.chunks_exact(CHUNK_BYTES);
        for chunk in &mut chunks {
            if let Some(chunk) = chunk.first_chunk() {
                self.sum = absorb(self.sum, &self.key, chunk);
            }
        }
        let rest = chunks.remainder();
        self.partial[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    /// The block's digest; the next block begins.
    pub fn finish(&mut self) -> Digest {
        if self.filled > 0 {
            self.partial[self.filled..].fill(0);
            self.sum = absorb(self.sum, &self.key, &self.partial);
        }
        let sum = step(self.sum, self.key.point, self.length_bytes);
        self.reset();
        Digest(sum)
    }

    /// Forgets a block that did not end.
    pub fn reset(&mut self) {
        self.filled = 0;
        self.length_bytes = 0;
        self.sum = 1;
    }

    /// The digest of a block that is at hand whole.
    pub fn of(key: &Rc<DigestKey>, block: &[u8]) -> Digest {
        let mut digester = Digester::new(Rc::clone(key));
        digester.update(block);
        digester.finish()
    }
}

fn le32(bytes: &[u8]) -> u32 {
    match bytes.first_chunk() {
        Some(four) => u32::from_le_bytes(*four),
        None => 0,
    }
}

fn absorb(sum: u64, key: &DigestKey, chunk: &[u8; CHUNK_BYTES]) -> u64 {
    let word = nh(&key.words, chunk);
    let sum = step(sum, key.point, word & 0xffff_ffff);
    step(sum, key.point, word >> 32)
}

/// sum x point + word, modulo 2^61 - 1; word below the prime.
fn step(sum: u64, point: u64, word: u64) -> u64 {
    let product = u128::from(sum) * u128::from(point) + u128::from(word);
    let low = (product & u128::from(PRIME)) as u64;
    let high = (product >> 61) as u64;
    let folded = low + high;
    if folded >= PRIME {
        folded - PRIME
    } else {
        folded
    }
}

fn nh(key: &[u32; CHUNK_WORDS], chunk: &[u8; CHUNK_BYTES]) -> u64 {
    let mut sums = [0u64; 4];
    for (group, key) in chunk.chunks_exact(32).zip(key.chunks_exact(8)) {
        let (Some(group), Some(key)): (Option<&[u8; 32]>, Option<&[u32; 8]>) =
            (group.first_chunk(), key.first_chunk())
        else {
            continue;
        };
        for lane in 0..4 {
            let word = |at: usize| {
                u32::from_le_bytes([group[at], group[at + 1], group[at + 2], group[at + 3]])
            };
            let low = word(lane * 4).wrapping_add(key[lane]);
            let high = word(lane * 4 + 16).wrapping_add(key[lane + 4]);
            let product = u64::from(low).wrapping_mul(u64::from(high));
            sums[lane] = sums[lane].wrapping_add(product);
        }
    }
    sums.into_iter().fold(0u64, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Rc<DigestKey> {
        let mut random = [0u8; KEY_BYTES];
        let mut word = 1u32;
        for byte in &mut random {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (word >> 24) as u8;
        }
        DigestKey::new(&random)
    }

    proptest! {
        #[test]
        fn any_cutting_of_a_block_gives_the_same_digest(
            block in prop::collection::vec(any::<u8>(), 1..5000),
            cuts in prop::collection::vec(0usize..1500, 0..10),
        ) {
            let key = key();
            let mut digester = Digester::new(Rc::clone(&key));
            let mut rest = &block[..];
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                digester.update(head);
                rest = tail;
            }
            digester.update(rest);
            prop_assert_eq!(digester.finish(), Digester::of(&key, &block));
        }

        #[test]
        fn one_changed_byte_changes_the_digest(
            block in prop::collection::vec(any::<u8>(), 1..3000),
            at in any::<prop::sample::Index>(),
            change in 1u8..=255,
        ) {
            let key = key();
            let mut other = block.clone();
            other[at.index(block.len())] ^= change;
            prop_assert_ne!(Digester::of(&key, &other), Digester::of(&key, &block));
        }

        #[test]
        fn zeros_at_the_end_change_the_digest(length in 1usize..3000, more in 1usize..2000) {
            let key = key();
            prop_assert_ne!(
                Digester::of(&key, &vec![0; length]),
                Digester::of(&key, &vec![0; length + more])
            );
        }
    }
}
