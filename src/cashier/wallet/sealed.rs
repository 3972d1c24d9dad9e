//! Bytes encrypted under a passphrase: the form of the seed file and of backups.
//!
//! Integers big-endian: a name of 8 bytes that says what is inside, version u8 = 1, flags u8 (bit 0: the
//! passphrase is empty), Argon2id memory in KiB u32, passes u32, lanes u32, salt 16, nonce 24, then the
//! content under XChaCha20-Poly1305 with all before the ciphertext as associated data.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::home::{HomeError, Passphrase};

const VERSION: u8 = 1;
const FLAG_EMPTY: u8 = 1;
const HEAD: usize = 8 + 1 + 1 + 12 + 16 + 24;
/// Bytes beside the content.
pub(super) const OVERHEAD: usize = HEAD + 16;
/// Cost for a passphrase: 64 MiB, three passes.
const COST: (u32, u32, u32) = (64 * 1024, 3, 1);
/// Cost where the passphrase is empty and cost would protect nothing.
const NO_COST: (u32, u32, u32) = (8, 1, 1);
/// A file that asks for more memory than this is not ours: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;

/// Whether sealed bytes say that they need a passphrase. Bytes that are too short do.
pub(super) fn needs_passphrase(sealed: &[u8]) -> bool {
    sealed.get(9).is_none_or(|flags| flags & FLAG_EMPTY == 0)
}

/// Seals `content`. Salt and nonce are random and never used again. None only where Argon2 refuses.
pub(super) fn seal(
    name: &[u8; 8],
    content: &[u8],
    passphrase: &Passphrase,
    (salt, nonce): ([u8; 16], [u8; 24]),
) -> Option<Vec<u8>> {
    let (flags, cost) = match passphrase.is_none() {
        true => (FLAG_EMPTY, NO_COST),
        false => (0, COST),
    };
    let mut out = Vec::with_capacity(OVERHEAD.saturating_add(content.len()));
    out.extend_from_slice(name);
    out.extend_from_slice(&[VERSION, flags]);
    for number in [cost.0, cost.1, cost.2] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&salt);
    out.extend_from_slice(&nonce);
    let payload = Payload {
        msg: content,
        aad: &out,
    };
    let cipher = cipher(passphrase, &salt, cost)?;
    let boxed = cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
    out.extend_from_slice(&boxed);
    Some(out)
}

/// Opens what [`seal`] made; `path` is for messages.
///
/// # Errors
/// [`HomeError::NoSeedFile`] for bytes of another form, [`HomeError::Passphrase`].
pub(super) fn unseal(
    path: &Path,
    name: &[u8; 8],
    sealed: &[u8],
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, HomeError> {
    let no_file = || HomeError::NoSeedFile(path.to_path_buf());
    let (head, boxed) = sealed.split_at_checked(HEAD).ok_or_else(no_file)?;
    if !head.starts_with(name) || head[8] != VERSION {
        return Err(no_file());
    }
    let number = |at: usize| -> Option<u32> {
        let four = head.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    let cost = match (number(10), number(14), number(18)) {
        (Some(memory), Some(passes), Some(lanes))
            if memory <= MAX_MEMORY_KIB && passes <= MAX_PASSES && lanes <= MAX_LANES =>
        {
            (memory, passes, lanes)
        }
        _ => return Err(no_file()),
    };
    let salt: [u8; 16] = head[22..38].try_into().map_err(|_| no_file())?;
    let nonce: [u8; 24] = head[38..HEAD].try_into().map_err(|_| no_file())?;
    let cipher = cipher(passphrase, &salt, cost).ok_or_else(no_file)?;
    let payload = Payload {
        msg: boxed,
        aad: head,
    };
    let opened = cipher.decrypt(&XNonce::from(nonce), payload);
    let wrong = |_| HomeError::Passphrase(path.to_path_buf());
    opened.map(Zeroizing::new).map_err(wrong)
}

fn cipher(
    passphrase: &Passphrase,
    salt: &[u8; 16],
    (memory, passes, lanes): (u32, u32, u32),
) -> Option<XChaCha20Poly1305> {
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0u8; 32]);
    argon
        .hash_password_into(passphrase.bytes(), salt, key.as_mut())
        .ok()?;
    XChaCha20Poly1305::new_from_slice(key.as_ref()).ok()
}
