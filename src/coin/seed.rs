//! The wallet's seed and everything derived from it (`docs/protocol.md` section 2).
//!
//! The seed is the entropy behind 24 English words of BIP 39 itself, not the longer value that BIP 39
//! stretches out of them. derive(tag, id) is HKDF-SHA-256 with the seed as key material, no salt, and
//! the tag followed by the id as info; no tag is a prefix of another.

use std::fmt;

use bip39::{Language, Mnemonic};
use hkdf::Hkdf;
use sha2::Sha256;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::ids::{ChainValue, HoldingId, RecordKey};
use super::keys::SecretKey;

/// How many words show a seed.
pub const SEED_WORDS: usize = 24;

/// Why words are no seed. Never holds the words themselves.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SeedError {
    /// Not 24 words.
    #[error("a seed has 24 words, these are {0}")]
    WordCount(usize),
    /// A word that is not on the English list of BIP 39; counted from 1.
    #[error("word {0} is not on the English list of BIP 39: look for a typing error")]
    UnknownWord(usize),
    /// The words are all known but do not belong together.
    #[error("the words' check sum is wrong: a word is mistaken or two are swapped")]
    Checksum,
}

/// A wallet's seed: 32 bytes that every key of the wallet comes from. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// From 32 random bytes, or from those that a store kept.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 32]) -> Seed {
        Seed(entropy)
    }

    /// From 24 English words; case and the space between them do not matter.
    ///
    /// # Errors
    /// Which rule of BIP 39 the words break.
    pub fn from_words(words: &str) -> Result<Seed, SeedError> {
        let lower = Zeroizing::new(words.to_lowercase());
        let count = lower.split_whitespace().count();
        if count != SEED_WORDS {
            return Err(SeedError::WordCount(count));
        }
        let mnemonic =
            Mnemonic::parse_in(Language::English, lower.as_str()).map_err(|e| match e {
                bip39::Error::UnknownWord(index) => SeedError::UnknownWord(index + 1),
                _ => SeedError::Checksum,
            })?;
        let entropy = Zeroizing::new(mnemonic.to_entropy());
        match <[u8; 32]>::try_from(entropy.as_slice()) {
            Ok(entropy) => Ok(Seed(entropy)),
            Err(_) => Err(SeedError::WordCount(count)),
        }
    }

    /// The seed as 24 English words. Show them to their owner and to nobody else.
    #[must_use]
    pub fn words(&self) -> String {
        // 32 bytes are always 24 words: from_entropy_in fails for other lengths only.
        Mnemonic::from_entropy_in(Language::English, &self.0)
            .map(|mnemonic| mnemonic.to_string())
            .unwrap_or_default()
    }

    /// The seed's 32 bytes. For a store that encrypts them.
    #[must_use]
    pub fn as_entropy(&self) -> &[u8; 32] {
        &self.0
    }

    /// derive(tag, id): 32 bytes that only this seed's owner knows.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "HKDF gives up to 8 160 bytes; a key of zeros would be worse than a stop"
    )]
    pub fn derive(&self, tag: &str, id: &[u8]) -> [u8; 32] {
        let mut okm = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(&[tag.as_bytes(), id], &mut okm)
            .expect("32 bytes are within HKDF's limit");
        okm
    }

    /// The key of the account at the broker; its public key is the account's id.
    #[must_use]
    pub fn account_key(&self) -> SecretKey {
        SecretKey::from_bytes(self.derive("DPay1/account", &[]))
    }

    /// Holder key `index`. Each index is used once, also after a restore.
    #[must_use]
    pub fn holder_key(&self, index: u32) -> SecretKey {
        SecretKey::from_bytes(self.derive("DPay1/holder", &index.to_be_bytes()))
    }

    /// w(V), the end of the hash chain of the holding `id`.
    #[must_use]
    pub fn chain_tip(&self, id: &HoldingId) -> ChainValue {
        ChainValue(self.derive("DPay1/chain", &id.0))
    }

    /// The record key of the spend or the redeem of the holding `id`.
    #[must_use]
    pub fn record_key(&self, id: &HoldingId) -> RecordKey {
        RecordKey(self.derive("DPay1/record", &id.0))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_the_seed_whatever_their_case_and_spacing() {
        let seed = Seed::from_entropy([0x5a; 32]);
        let words = seed.words();
        assert_eq!(words.split(' ').count(), SEED_WORDS);
        let untidy = format!("  {}\n", words.to_uppercase().replace(' ', " \t "));
        let again = Seed::from_words(&untidy).expect("the same words");
        assert_eq!(again.as_entropy(), seed.as_entropy());
    }

    #[test]
    fn zero_entropy_has_the_words_that_bip_39_lists() {
        let words = Seed::from_entropy([0; 32]).words();
        assert_eq!(words, format!("{}art", "abandon ".repeat(23)));
    }

    #[test]
    fn mistaken_words_are_refused_with_the_reason() {
        let words = Seed::from_entropy([0; 32]).words();
        let fault = |text: &str| Seed::from_words(text).err();
        assert_eq!(fault("abandon"), Some(SeedError::WordCount(1)));
        assert_eq!(
            fault(&words.replace(" art", " able")),
            Some(SeedError::Checksum)
        );
        assert_eq!(
            fault(&words.replacen("abandon", "dpay", 1)),
            Some(SeedError::UnknownWord(1))
        );
    }

    #[test]
    fn a_seed_is_not_shown() {
        assert_eq!(
            format!("{:?}", Seed::from_entropy([1; 32])),
            "Seed(not shown)"
        );
    }
}
