//! An answer as it is kept for when it is asked for again.
//!
//! Certificates of coins are most of an answer to a purchase, and the coins' rows hold them anyway: each
//! is kept as the id of its coin, behind a byte that no JSON holds, and put back to the byte.

use super::desk::{Desk, Stop};
use super::rows::RowKey;
use crate::coin::certificate::CoinCertificate;
use crate::coin::ids::HoldingId;
use crate::units::hex_of;

/// Comes before a coin's id.
const COIN: u8 = 1;
/// Where the coins of an answer go.
const NO_COINS: &[u8] = br#""coins":[]"#;

/// A coin that an answer sells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sold {
    pub(super) id: HoldingId,
    pub(super) certificate: [u8; CoinCertificate::SIZE],
}

/// The JSON of an answer as it is kept: with these coins in its list, which was written as an empty one.
pub(super) fn shortened(json: Vec<u8>, sold: &[Sold]) -> Vec<u8> {
    let list = json.windows(NO_COINS.len()).position(|w| w == NO_COINS);
    let Some(list) = list.filter(|_| !sold.is_empty()) else {
        return json;
    };
    let (before, after) = json.split_at(list.saturating_add(NO_COINS.len()).saturating_sub(1));
    let mut kept = Vec::with_capacity(json.len().saturating_add(sold.len().saturating_mul(36)));
    kept.extend_from_slice(before);
    for (n, coin) in sold.iter().enumerate() {
        kept.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
        kept.push(COIN);
        kept.extend_from_slice(&coin.id.0);
        kept.push(b'"');
    }
    kept.extend_from_slice(after);
    kept
}

/// The answer as it is sent: with the certificates of these coins, in the order in which it names them.
pub(super) fn whole(kept: Vec<u8>, sold: &[Sold]) -> Vec<u8> {
    if sold.is_empty() {
        return kept;
    }
    let more = sold.len().saturating_mul(2 * CoinCertificate::SIZE);
    let mut body = Vec::with_capacity(kept.len().saturating_add(more));
    let mut rest = kept.as_slice();
    for coin in sold {
        let Some((before, _, after)) = first_coin(rest) else {
            break;
        };
        body.extend_from_slice(before);
        body.extend_from_slice(hex_of(&coin.certificate).as_bytes());
        rest = after;
    }
    body.extend_from_slice(rest);
    body
}

/// The coins that a kept answer names.
pub(super) fn sold(desk: &mut Desk<'_>, kept: &[u8]) -> Result<Vec<Sold>, Stop> {
    let (mut ids, mut rest) = (Vec::new(), kept);
    while let Some((_, id, after)) = first_coin(rest) {
        ids.push(id);
        rest = after;
    }
    if rest.contains(&COIN) {
        return Err(damaged());
    }
    let keys: Vec<RowKey> = ids.iter().copied().map(RowKey::Coin).collect();
    desk.want(&keys)?;
    let coins = ids.into_iter().map(|id| {
        let certificate = desk.coin(&id)?.map(|coin| coin.certificate.try_into());
        match certificate {
            Some(Ok(certificate)) => Ok(Sold { id, certificate }),
            _ => Err(damaged()),
        }
    });
    coins.collect()
}

/// What stands before the first coin, its id, and what comes after.
fn first_coin(kept: &[u8]) -> Option<(&[u8], HoldingId, &[u8])> {
    let at = kept.iter().position(|byte| *byte == COIN)?;
    let (id, after) = kept[at.saturating_add(1)..].split_first_chunk()?;
    Some((&kept[..at], HoldingId(*id), after))
}

fn damaged() -> Stop {
    Stop::Broken("a kept answer names a coin that is not there".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_take_their_places_whatever_their_ids() {
        let json = br#"{"route":"\"coins\":[]","coins":[],"account":{}}"#;
        let coin = |n: u8| Sold {
            id: HoldingId([n; 32]),
            certificate: [n; CoinCertificate::SIZE],
        };
        assert_eq!(whole(shortened(json.to_vec(), &[]), &[]), json);
        let sold = [coin(COIN), coin(0x5d), coin(0)];
        let kept = shortened(json.to_vec(), &sold);
        let texts: Vec<String> = sold.iter().map(|c| hex::encode(c.certificate)).collect();
        let list = format!(r#""coins":["{}"]"#, texts.join("\",\""));
        let text = String::from_utf8(json.to_vec()).unwrap();
        let sent = text.replacen(r#","coins":[]"#, &format!(",{list}"), 1);
        assert_eq!(String::from_utf8(whole(kept, &sold)).unwrap(), sent);
    }
}
