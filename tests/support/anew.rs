//! Signing once more what was signed: Ed25519 allows any number of valid signatures of one message by one key.

use curve25519_dalek::{EdwardsPoint, Scalar, scalar::clamp_integer};
use dpay::coin::{HoldingId, SecretKey, Signature};
use dpay::record::{ClosePart, OpenSpend};
use sha2::{Digest, Sha512};

/// A signature with a nonce of its own: strictly valid, and of other bytes than that of every other nonce.
fn sign_anew(key: &SecretKey, message: &[u8], nonce: u8) -> Signature {
    let expanded: [u8; 64] = Sha512::digest(key.to_bytes()).into();
    let low = std::array::from_fn(|n| expanded[n]);
    let secret = Scalar::from_bytes_mod_order(clamp_integer(low));
    let nonce = Scalar::from_bytes_mod_order_wide(&[nonce; 64]);
    let point = EdwardsPoint::mul_base(&nonce).compress();
    let hash = Sha512::new()
        .chain_update(point.as_bytes())
        .chain_update(key.public().0)
        .chain_update(message);
    let s = Scalar::from_bytes_mod_order_wide(&hash.finalize().into()) * secret + nonce;
    let mut signature = Signature([0; 64]);
    signature.0[..32].copy_from_slice(point.as_bytes());
    signature.0[32..].copy_from_slice(s.as_bytes());
    signature
}

/// The same close under other signatures, all three of them.
pub fn close_anew(
    payee: &SecretKey,
    holding: &HoldingId,
    open: &OpenSpend,
    close: &ClosePart,
    nonce: u8,
) -> ClosePart {
    let items = close.record(holding, open).items();
    let signatures = items.map(|item| sign_anew(payee, &item.signable(), nonce));
    assert!(signatures != close.signatures);
    ClosePart {
        signatures,
        ..*close
    }
}
