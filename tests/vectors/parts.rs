//! Cases of our own file: layouts that are handed over, second encodings, evidence, the verdict.

use dpay::coin::{CertificateError, CoinCertificate, PseudonymCertificate, PublicKey, Seed};
use dpay::record::{
    ClosePart, Doubt, FraudProof, Item, Link, LinkFault, OpenSpend, PlaceReading, ProofCertificate,
    RedeemPart, Salt, Verdict, judge,
};
use serde_json::{Value, json};

use crate::paths::{link_reason, proof_reason};
use crate::read;

pub fn seed_words(input: &Value) -> Value {
    let seed = read::seed(input, "seed");
    let words = seed.words();
    let again = Seed::from_words(&words).expect("our own words");
    assert_eq!(again.as_entropy(), seed.as_entropy());
    json!({"words": words})
}

pub fn signed(input: &Value) -> Value {
    let key = read::key(input, "key");
    let message = read::bytes(input, "message");
    let signature = read::signature(input, "signature");
    json!({
        "strict": key.verify_strict(&message, &signature),
        "signed": key.verify_signed(&message, &signature),
    })
}

pub fn open_spend(input: &Value) -> Value {
    let certificate = PseudonymCertificate::decode(&read::bytes(input, "payee_certificate"));
    let holding = read::holding(input, "holding");
    let open = OpenSpend::sign(
        &read::secret(input, "holder_private"),
        &holding,
        certificate.expect("a certificate"),
        read::chain_value(input, "anchor"),
        read::record_key(input, "record_key"),
    );
    let bytes = open.encode();
    assert_eq!(OpenSpend::decode(&bytes), Ok(open));
    json!({"bytes": hex::encode(bytes), "size": bytes.len(), "c": open.commitment(&holding)})
}

pub fn close_part(input: &Value) -> Value {
    let holding = read::holding(input, "holding");
    let open = OpenSpend::decode(&read::bytes(input, "open")).expect("an open spend");
    let close = ClosePart::sign(
        &read::secret(input, "payee_private"),
        &holding,
        &open,
        read::number32(input, "k"),
        read::chain_value(input, "wk"),
    );
    let bytes = close.encode();
    assert_eq!(ClosePart::decode(&bytes), Ok(close));
    let record = close.record(&holding, &open);
    assert!(record.verify());
    json!({"bytes": hex::encode(bytes), "size": bytes.len(), "c": record.commitment()})
}

pub fn redeem_part(input: &Value) -> Value {
    let holding = read::holding(input, "holding");
    let redeem = RedeemPart::sign(
        &read::secret(input, "holder_private"),
        &holding,
        read::key(input, "account"),
        read::record_key(input, "record_key"),
    );
    let bytes = redeem.encode();
    assert_eq!(RedeemPart::decode(&bytes), Ok(redeem));
    json!({"bytes": hex::encode(bytes), "size": bytes.len(), "c": redeem.commitment(&holding)})
}

pub fn fraud_proof_bytes(input: &Value) -> Value {
    let certificate = ProofCertificate::decode(&read::bytes(input, "certificate"));
    let items = read::list(input, "items");
    let (first, second) = (read::item(&items[0]), read::item(&items[1]));
    let proof = FraudProof::new(certificate.expect("a certificate"), first, second);
    let bytes = proof.expect("two different items").encode();
    json!({"bytes": hex::encode(&bytes), "size": bytes.len()})
}

fn certificate_reason(fault: CertificateError) -> String {
    match fault {
        CertificateError::Length { .. } => "length".into(),
        CertificateError::Version(_) => "version".into(),
        CertificateError::Kind { .. } => "kind".into(),
        other => other.to_string(),
    }
}

/// Whether bytes are one of the layouts; if so they must be its only encoding.
pub fn decode(input: &Value) -> Value {
    let bytes = read::bytes(input, "bytes");
    let part = |fault: LinkFault| link_reason(fault);
    let encoded = match read::text(input, "layout") {
        "coin_certificate" => CoinCertificate::decode(&bytes)
            .map(|coin| coin.encode().to_vec())
            .map_err(certificate_reason),
        "pseudonym_certificate" => PseudonymCertificate::decode(&bytes)
            .map(|certificate| certificate.encode().to_vec())
            .map_err(certificate_reason),
        "open_spend" => OpenSpend::decode(&bytes)
            .map(|open| open.encode().to_vec())
            .map_err(part),
        "close_part" => ClosePart::decode(&bytes)
            .map(|close| close.encode().to_vec())
            .map_err(part),
        "redeem_part" => RedeemPart::decode(&bytes)
            .map(|redeem| redeem.encode().to_vec())
            .map_err(part),
        "link" => Link::decode(&bytes)
            .map(|link| link.encode().to_vec())
            .map_err(part),
        "fraud_proof" => FraudProof::decode(&bytes)
            .map(|proof| proof.encode())
            .map_err(proof_reason),
        other => panic!("the layout {other} is unknown"),
    };
    match encoded {
        Ok(again) => {
            assert_eq!(again, bytes);
            json!({"ok": true})
        }
        Err(reason) => json!({"ok": false, "reason": reason}),
    }
}

/// A reading with `others` items that differ from ours; their content does not matter here.
fn reading(place: &Value) -> PlaceReading {
    let others = (0..read::number(place, "others")).map(|n| Item {
        key: PublicKey([1; 32]),
        salt: Salt([2; 32]),
        seq: i64::try_from(n).expect("a small number"),
        value: b"1:x".to_vec(),
        signature: dpay::coin::Signature([0; 64]),
    });
    PlaceReading {
        ours: read::number32(place, "ours"),
        none: read::number32(place, "none"),
        invalid: read::number32(place, "invalid"),
        others: others.collect(),
    }
}

pub fn verdict(input: &Value) -> Value {
    let places = read::list(input, "places");
    let readings = [
        reading(&places[0]),
        reading(&places[1]),
        reading(&places[2]),
    ];
    let why = match judge(&readings, read::number32(input, "min_answers")) {
        Verdict::Accepted => return json!({"verdict": "accepted"}),
        Verdict::Conflict(_) => return json!({"verdict": "conflict"}),
        Verdict::Undecided { why } => why,
    };
    let (why, place) = match why {
        Doubt::TooFewAnswers { place, .. } => ("too_few_answers", Some(place)),
        Doubt::InvalidAnswers { place, .. } => ("invalid_answers", Some(place)),
        Doubt::TooFewCopies { .. } => ("too_few_copies", None),
        Doubt::NotFirst { .. } | Doubt::Overwritable => {
            panic!("{why} is not what one reading says")
        }
    };
    json!({"verdict": "undecided", "why": why, "place": place})
}
