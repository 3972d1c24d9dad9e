//! An answer as it is kept for when it is asked for again.
//!
//! Certificates of coins are most of an answer to a purchase, and the coins' rows hold them anyway: each
//! is kept as the id of its coin, behind a byte that no JSON holds, and put back to the byte.

use super::answer::Answer;
use super::desk::{Desk, Stop};
use super::rows::RowKey;
use crate::coin::certificate::CoinCertificate;
use crate::coin::ids::HoldingId;
use crate::units::{hex_bytes, hex_of};

/// Comes before a coin's id.
const COIN: u8 = 1;

/// The coins that an answer sells: certificate, as it stands in the answer, and id.
pub(super) fn sold(answer: &Answer) -> Vec<(String, HoldingId)> {
    let Answer::Purchase { coins, .. } = answer else {
        return Vec::new();
    };
    let coins = coins.iter().filter_map(|text| {
        let certificate = hex_bytes::<{ CoinCertificate::SIZE }>(text)?;
        let id = HoldingId::of_coin(certificate.first_chunk()?);
        Some((text.clone(), id))
    });
    coins.collect()
}

/// The body of an answer that sells these coins, in this order, without their certificates.
pub(super) fn shorten(body: &[u8], sold: &[(String, HoldingId)]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::with_capacity(body.len()), body);
    for (text, id) in sold {
        let text = text.as_bytes();
        let Some(at) = rest.windows(text.len()).position(|part| part == text) else {
            continue;
        };
        kept.extend_from_slice(&rest[..at]);
        kept.push(COIN);
        kept.extend_from_slice(&id.0);
        rest = &rest[at.saturating_add(text.len())..];
    }
    kept.extend_from_slice(rest);
    kept.shrink_to_fit();
    kept
}

/// The body as it was sent.
pub(super) fn restore(desk: &mut Desk<'_>, kept: &[u8]) -> Result<Vec<u8>, Stop> {
    let (mut parts, mut coins, mut rest) = (Vec::new(), Vec::new(), kept);
    while let Some(at) = rest.iter().position(|byte| *byte == COIN) {
        let after = &rest[at.saturating_add(1)..];
        let (id, after) = after.split_first_chunk().ok_or_else(damaged)?;
        parts.push(&rest[..at]);
        coins.push(HoldingId(*id));
        rest = after;
    }
    let keys: Vec<RowKey> = coins.iter().copied().map(RowKey::Coin).collect();
    desk.want(&keys)?;
    let mut body = Vec::new();
    for (part, id) in parts.into_iter().zip(coins) {
        let coin = desk.coin(&id)?.ok_or_else(damaged)?;
        body.extend_from_slice(part);
        body.extend_from_slice(hex_of(&coin.certificate).as_bytes());
    }
    body.extend_from_slice(rest);
    Ok(body)
}

fn damaged() -> Stop {
    Stop::Broken("a kept answer names a coin that is not there".to_owned())
}
