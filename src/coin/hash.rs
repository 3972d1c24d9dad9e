//! The one hash of the protocol: SHA-256 under a tag (`docs/protocol.md` section 4).

use sha2::{Digest, Sha256};

/// H(tag, x..): SHA-256 over the tag's length in one byte, the tag, and the parts one after another.
///
/// The parts of one tag have fixed sizes, so that two lists of parts never run together to the same
/// bytes. A tag has at most 255 bytes; all tags are constants of this crate.
#[must_use]
pub fn tagged(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    debug_assert!(tag.len() <= 255, "tags are short constants");
    let mut hash = Sha256::new();
    hash.update([tag.len() as u8]);
    hash.update(tag.as_bytes());
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_part_of_the_hash_with_its_length() {
        let expected: [u8; 32] = Sha256::digest(b"\x04DPayxy").into();
        assert_eq!(tagged("DPay", &[b"x", b"y"]), expected);
        assert_ne!(tagged("DPayx", &[b"y"]), expected);
    }
}
