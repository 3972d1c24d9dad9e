//! Cases about keys, certificates, chains and amounts.

use dpay::coin::chain::{Chain, tick_pays};
use dpay::coin::hash::tagged;
use dpay::coin::{CoinCertificate, KeyFault, PseudonymCertificate, PublicKey};
use dpay::units::{PricePerGib, Units};
use hkdf::Hkdf;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::read;

pub fn hash(input: &Value) -> Value {
    let tag = read::text(input, "tag");
    let parts: Vec<Vec<u8>> = read::list(input, "parts")
        .iter()
        .map(|part| hex::decode(part.as_str().expect("hex")).expect("hex"))
        .collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let mut preimage = vec![u8::try_from(tag.len()).expect("a short tag")];
    preimage.extend_from_slice(tag.as_bytes());
    preimage.extend(parts.concat());
    let digest = tagged(tag, &slices);
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&preimage)), digest);
    json!({"preimage": hex::encode(preimage), "digest": hex::encode(digest)})
}

pub fn hkdf(input: &Value) -> Value {
    let (tag, id) = (read::text(input, "tag"), read::bytes(input, "id"));
    let seed = read::seed(input, "seed");
    let (prk, _) = Hkdf::<Sha256>::extract(None, seed.as_entropy());
    let info = [tag.as_bytes(), &id].concat();
    json!({
        "prk": hex::encode(prk),
        "info": hex::encode(info),
        "okm": hex::encode(seed.derive(tag, &id)),
    })
}

pub fn keys(input: &Value) -> Value {
    let seed = read::seed(input, "seed");
    let secret = match input["index"].as_u64() {
        None => seed.account_key(),
        Some(index) => seed.holder_key(u32::try_from(index).expect("an index")),
    };
    json!({"private": hex::encode(secret.to_bytes()), "public": secret.public()})
}

pub fn key_fault(key: &PublicKey) -> Option<&'static str> {
    match key.check() {
        Ok(()) => None,
        Err(KeyFault::NotAPoint) => Some("not a point"),
        Err(KeyFault::NotCanonical) => Some("not a canonical encoding of a point"),
        Err(KeyFault::SmallOrder) => Some("small order"),
    }
}

pub fn signature(input: &Value) -> Value {
    let key = read::key(input, "key");
    let message = read::bytes(input, "message");
    let valid = key.verify_strict(&message, &read::signature(input, "signature"));
    json!({"valid": valid, "key_fault": key_fault(&key)})
}

pub fn coin_certificate(input: &Value) -> Value {
    let coin = CoinCertificate::issue(
        &read::secret(input, "broker_private"),
        Units(read::number(input, "value")),
        read::key(input, "first_holder_key"),
        read::day(input, "issued"),
        read::day(input, "expires"),
        read::array(input, "nonce"),
    );
    let bytes = coin.encode();
    assert_eq!(CoinCertificate::decode(&bytes), Ok(coin));
    assert_eq!(coin.check(&|key| *key == coin.broker, None), Ok(()));
    json!({
        "broker_key": coin.broker,
        "body": hex::encode(coin.body()),
        "signed_message": hex::encode(coin.signed_message()),
        "signature": coin.signature,
        "certificate": hex::encode(bytes),
        "size": bytes.len(),
        "coin_id": coin.id(),
    })
}

pub fn pseudonym_certificate(input: &Value) -> Value {
    let certificate = PseudonymCertificate::issue(
        &read::secret(input, "broker_private"),
        read::key(input, "holder_key"),
        read::day(input, "expires"),
    );
    let bytes = certificate.encode();
    assert_eq!(PseudonymCertificate::decode(&bytes), Ok(certificate));
    assert!(certificate.verify());
    json!({
        "broker_key": certificate.broker,
        "body": hex::encode(certificate.body()),
        "signed_message": hex::encode(certificate.signed_message()),
        "signature": certificate.signature,
        "certificate": hex::encode(bytes),
        "size": bytes.len(),
    })
}

pub fn chain(input: &Value) -> Value {
    let tip = read::seed(input, "seed").chain_tip(&read::holding(input, "holding"));
    let chain = Chain::new(tip, read::number32(input, "value"));
    let shown: Map<String, Value> = read::list(input, "show")
        .iter()
        .map(|k| {
            let k = u32::try_from(k.as_u64().expect("a number")).expect("a small one");
            (k.to_string(), json!(chain.reveal(k)))
        })
        .collect();
    json!({"tip": tip, "w": shown, "anchor": chain.anchor()})
}

pub fn tick(input: &Value) -> Value {
    let paid = tick_pays(
        read::number32(input, "k"),
        &read::chain_value(input, "wk"),
        read::number32(input, "last_k"),
        &read::chain_value(input, "last_wk"),
        4096,
    );
    json!({"paid_now": paid})
}

pub fn due(input: &Value) -> Value {
    let price = PricePerGib::new(read::number(input, "price")).expect("a price");
    json!({"units": price.due(read::number(input, "bytes"))})
}
