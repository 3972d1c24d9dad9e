//! What is hashed and signed in a request and in an answer.
//!
//! A request is signed by the account's key over
//! `H("DPay1/request", broker key, account key, request id, u64 unix ms, body hash)` with
//! `body hash = H("DPay1/body", SHA-256(route), SHA-256(body))` and the route as `POST /v1/purchase`.
//! The broker's key is in it, so a request to one broker is none to another. An answer is signed by
//! the broker over `H("DPay1/answer", SHA-256(answer body))`; the answer names account, request id
//! and body hash itself, so it stands as evidence without anything else.

use sha2::{Digest, Sha256};

use super::{BodyHash, RequestId};
use crate::coin::hash::tagged;
use crate::coin::keys::{PublicKey, SecretKey, Signature};
use crate::units::UnixMs;

/// Header with the account's public key, in hex.
pub const ACCOUNT_HEADER: &str = "dpay-account";
/// Header with the request id, in hex.
pub const REQUEST_HEADER: &str = "dpay-request-id";
/// Header with the account's time, in unix milliseconds.
pub const TIME_HEADER: &str = "dpay-time";
/// Header with the signature of a request or an answer, in hex.
pub const SIGNATURE_HEADER: &str = "dpay-signature";
/// A request's time may differ from the broker's by this much.
pub const MAX_SKEW_MS: u64 = 10 * 60 * 1000;

/// Hash of a request's route (`POST /v1/..`) and body.
#[must_use]
pub fn body_hash(route: &str, body: &[u8]) -> BodyHash {
    let route: [u8; 32] = Sha256::digest(route.as_bytes()).into();
    let body: [u8; 32] = Sha256::digest(body).into();
    BodyHash(tagged("DPay1/body", &[&route, &body]))
}

/// The 32 bytes that the account's key signs.
#[must_use]
pub fn request_hash(
    broker: &PublicKey,
    account: &PublicKey,
    id: &RequestId,
    time: UnixMs,
    body: &BodyHash,
) -> [u8; 32] {
    tagged(
        "DPay1/request",
        &[
            broker.as_bytes(),
            account.as_bytes(),
            id.as_bytes(),
            &time.0.to_be_bytes(),
            body.as_bytes(),
        ],
    )
}

/// The 32 bytes that the broker's key signs under an answer's body.
#[must_use]
pub fn answer_hash(body: &[u8]) -> [u8; 32] {
    let body: [u8; 32] = Sha256::digest(body).into();
    tagged("DPay1/answer", &[&body])
}

/// The broker's signature under an answer's body.
#[must_use]
pub fn sign_answer(broker: &SecretKey, body: &[u8]) -> Signature {
    broker.sign(&answer_hash(body))
}

/// Whether `signature` is the broker's under this answer's body.
#[must_use]
pub fn answer_is_signed(broker: &PublicKey, body: &[u8], signature: &Signature) -> bool {
    broker.verify_strict(&answer_hash(body), signature)
}
