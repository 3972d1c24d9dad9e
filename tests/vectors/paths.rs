//! Cases about paths and proofs.

use dpay::coin::chain::Chain;
use dpay::coin::{CertificateError, CoinCertificate, PseudonymCertificate};
use dpay::record::{
    ClosePart, FraudProof, Holding, Link, LinkFault, OpenSpend, Path, PathCache, PathError,
    ProofCertificate, ProofError, Role, SignedRecord,
};
use dpay::units::Units;
use serde_json::{Value, json};

use crate::read;

pub fn path_build(input: &Value) -> Value {
    let broker = read::secret(input, "broker_private");
    let first = &input["first_holder"];
    let mut holder = (read::secret(first, "private"), read::seed(first, "seed"));
    let coin = CoinCertificate::issue(
        &broker,
        Units(read::number(input, "value")),
        holder.0.public(),
        read::day(input, "issued"),
        read::day(input, "expires"),
        read::array(input, "nonce"),
    );
    let mut path = Path {
        coin,
        links: Vec::new(),
    };
    for step in read::list(input, "links") {
        let holding = path.holding().expect("a holding");
        let payee = read::secret(&step["payee"], "private");
        let certificate =
            PseudonymCertificate::issue(&broker, payee.public(), read::day(step, "cert_expires"));
        let value = u32::try_from(holding.value.0).expect("a small value");
        let chain = Chain::new(holder.1.chain_tip(&holding.id), value);
        let key = holder.1.record_key(&holding.id);
        let spend = OpenSpend::sign(&holder.0, &holding.id, certificate, chain.anchor(), key);
        let k = read::number32(step, "k");
        let wk = chain.reveal(k).expect("a value of the chain");
        let close = ClosePart::sign(&payee, &holding.id, &spend, k, wk);
        let role = match read::number(step, "role") {
            1 => Role::PayeeShare,
            2 => Role::Change,
            other => panic!("role {other}"),
        };
        if role == Role::PayeeShare {
            holder = (payee, read::seed(&step["payee"], "seed"));
        }
        path = path.extend(Link { role, spend, close });
    }
    let bytes = path.encode();
    let holding = path.holding().expect("a holding");
    let links: Vec<Value> = (path.links.iter())
        .map(|link| json!({"bytes": hex::encode(link.encode()), "size": link.encode().len()}))
        .collect();
    json!({
        "path": hex::encode(&bytes),
        "size": bytes.len(),
        "links": links,
        "holding": holding.id,
        "value": holding.value,
        "holder": holding.key,
    })
}

fn coin_reason(fault: CertificateError) -> &'static str {
    match fault {
        CertificateError::Length { .. } => "length",
        CertificateError::Version(_) => "version",
        CertificateError::Kind { .. } => "kind",
        CertificateError::BrokerNotAccepted(_) => "broker_not_accepted",
        CertificateError::Value(_) => "value",
        CertificateError::HolderKey(_) => "weak_holder_key",
        CertificateError::Signature => "signature",
        CertificateError::Expired { .. } => "expired",
    }
}

pub fn link_reason(fault: LinkFault) -> String {
    match fault {
        LinkFault::Length { .. } => "length".into(),
        LinkFault::Role(_) => "role".into(),
        LinkFault::PayeeKey(_) => "weak_payee_key".into(),
        LinkFault::Certificate(fault) => format!("cert_{}", coin_reason(fault)),
        LinkFault::CertificateOfAnotherKey(_) => "cert_of_another_key".into(),
        LinkFault::CertificateOfAnotherBroker(_) => "cert_of_another_broker".into(),
        LinkFault::AboveValue { .. } => "k_above_value".into(),
        LinkFault::EmptyShare => "share_of_value_0".into(),
        LinkFault::SpendSignature(place) => format!("spend_signature_{place}"),
        LinkFault::CloseSignature(place) => format!("close_signature_{place}"),
        LinkFault::Chain => "chain".into(),
    }
}

fn path_reason(error: PathError) -> String {
    match error {
        PathError::Length { .. } => "path_length".into(),
        PathError::TooManyLinks { .. } => "path_too_many_links".into(),
        PathError::Coin(fault) => format!("coin_{}", coin_reason(fault)),
        PathError::Link { index, fault } => format!("link {index}: {}", link_reason(fault)),
    }
}

pub fn path(input: &Value) -> Value {
    let bytes = read::bytes(input, "path");
    let brokers = read::brokers(input);
    let accepts = |key: &_| brokers.contains(key);
    let margin = read::number32(input, "margin");
    let today = (!input["day"].is_null()).then(|| (read::day(input, "day"), margin));
    let max_links = usize::try_from(read::number(input, "max_links")).expect("a small number");
    let verified = Path::decode_verified(&bytes, max_links, &accepts, today);

    // The two steps apart say the same, with a cache or without, cold or warm.
    let mut cache = PathCache::new(3);
    for _ in 0..3 {
        let apart = Path::decode(&bytes, max_links)
            .and_then(|path| path.verify_cached(&accepts, today, &mut cache));
        match &verified {
            Ok((_, holding)) => assert_eq!(apart, Ok(*holding)),
            Err(_) => assert!(apart.is_err()),
        }
        assert!(cache.len() <= 3);
    }
    match verified {
        Ok((path, holding)) => {
            assert_eq!(path.encode(), bytes);
            assert_eq!(path.holding(), Ok(holding));
            json!({
                "ok": true,
                "holding": holding.id,
                "value": holding.value,
                "holder": holding.key,
                "links": links(&path),
            })
        }
        Err(error) => json!({"ok": false, "reason": path_reason(error)}),
    }
}

fn links(path: &Path) -> Vec<Value> {
    let holdings = path.holdings().expect("values that fit");
    let records = path.records();
    assert_eq!(records.len(), 2 * path.links.len());
    assert_eq!(holdings.len(), path.links.len() + 1);
    let targets = |record: &SignedRecord| record.items().map(|item| item.target());
    let salts = |record: &SignedRecord| record.items().map(|item| item.salt);
    (records.chunks_exact(2).zip(&path.links).zip(&holdings))
        .map(|((pair, link), before): ((_, _), &Holding)| {
            let (spend, close) = (&pair[0], &pair[1]);
            assert!(spend.verify() && close.verify());
            assert_eq!(spend.commitment(), link.spend.commitment(&before.id));
            json!({
                "holding": before.id,
                "value": before.value,
                "holder": before.key,
                "spend_c": spend.commitment(),
                "spend_v": hex::encode(spend.value.content()),
                "close_slot": close.slot,
                "close_c": close.commitment(),
                "close_v": hex::encode(close.value.content()),
                "spend_salts": salts(spend),
                "close_salts": salts(close),
                "spend_targets": targets(spend),
                "close_targets": targets(close),
            })
        })
        .collect()
}

pub fn proof_reason(error: ProofError) -> String {
    const ORDINAL: [&str; 2] = ["first", "second"];
    match error {
        ProofError::Length(_) => "proof_length".into(),
        ProofError::Certificate(CertificateError::BrokerNotAccepted(_)) => {
            "broker_not_accepted".into()
        }
        ProofError::Certificate(fault) => format!("certificate_{}", coin_reason(fault)),
        ProofError::ValueLength(_) => "v_length".into(),
        ProofError::AnotherKey(i) => format!("{}_item_of_another_key", ORDINAL[usize::from(i)]),
        ProofError::DifferentSalts => "different_salts".into(),
        ProofError::SameItem => "same_item".into(),
        ProofError::Order => "order".into(),
        ProofError::ItemSignature(i) => format!("{}_item_signature", ORDINAL[usize::from(i)]),
    }
}

pub fn fraud_proof(input: &Value) -> Value {
    let brokers = read::brokers(input);
    let accepts = |key: &_| brokers.contains(key);
    let items = read::list(input, "items");
    let (first, second) = (read::item(&items[0]), read::item(&items[1]));
    let checked =
        ProofCertificate::decode(&read::bytes(input, "certificate")).and_then(|certificate| {
            let checked = FraudProof::check(&accepts, &certificate, &first, &second);
            // As bytes it is worth exactly as much.
            if let Ok(proof) = FraudProof::new(certificate, first.clone(), second.clone()) {
                let read = FraudProof::decode(&proof.encode()).expect("our own bytes");
                assert_eq!(read, proof);
                assert_eq!(read.verify(&accepts).is_ok(), checked.is_ok());
            } else {
                assert!(checked.is_err());
            }
            checked
        });
    match checked {
        Ok(key) => json!({"ok": true, "key": key}),
        Err(error) => json!({"ok": false, "reason": proof_reason(error)}),
    }
}
