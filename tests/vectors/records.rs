//! Cases about statements, records and items.

use dpay::coin::RecordKey;
use dpay::coin::hash::tagged;
use dpay::coin::statement::{Close, Redeem, Spend, Statement, StatementError};
use dpay::record::{
    Item, OpenError, SEQ, SignedRecord, Slot, Value as RecordValue, close_record_key, commitment,
    open, open_plaintext, seal,
};
use serde_json::{Value, json};

use crate::read;

pub fn ids(input: &Value) -> Value {
    let holding = read::holding(input, "holding");
    let spend = Slot::spend(&holding);
    let close = Slot::close(&holding, &read::commitment(input, "c_of_spend"));
    json!({
        "payee_share": holding.payee_share(),
        "change": holding.change(),
        "spend_slot": spend,
        "close_slot": close,
        "spend_salts": spend.salts(),
        "close_salts": close.salts(),
    })
}

/// The statement of a case, its record key, its slot, and for a close the spend's record key.
fn statement_of(input: &Value) -> (Statement, RecordKey, Slot, Option<RecordKey>) {
    let holding = read::holding(input, "holding");
    let derived = || read::seed(input, "seed").record_key(&holding);
    match read::text(input, "kind") {
        "spend" => {
            let spend = Spend {
                holding,
                payee: read::key(input, "payee_key"),
                anchor: read::chain_value(input, "anchor"),
            };
            (
                Statement::Spend(spend),
                derived(),
                Slot::spend(&holding),
                None,
            )
        }
        "redeem" => {
            let account = read::key(input, "account");
            let redeem = Redeem { holding, account };
            (
                Statement::Redeem(redeem),
                derived(),
                Slot::spend(&holding),
                None,
            )
        }
        "close" => {
            let of_spend = read::record_key(input, "record_key");
            let close = Close {
                spend: read::commitment(input, "c_of_spend"),
                k: read::number32(input, "k"),
                wk: read::chain_value(input, "wk"),
            };
            let key = close_record_key(&of_spend, &close.spend);
            let slot = Slot::close(&holding, &close.spend);
            (Statement::Close(close), key, slot, Some(of_spend))
        }
        other => panic!("kind {other} is unknown"),
    }
}

pub fn record(input: &Value) -> Value {
    let (statement, key, slot, of_spend) = statement_of(input);
    let signer = read::secret(input, "signer_private");
    let record = SignedRecord::sign(&signer, slot, &key, &statement);
    assert!(record.verify());
    let plaintext = statement.encode();
    assert_eq!(open(&key, &record.value), Ok(statement));
    assert_eq!(record.commitment(), commitment(&key, &plaintext));
    assert_eq!(record.value, seal(&key, &plaintext));
    let (c, sealed) = record.value.content().split_at(32);
    let places: Vec<Value> = (record.items().iter())
        .map(|item| {
            assert!(item.is_strict() && item.is_signed());
            json!({
                "salt": item.salt,
                "target": item.target(),
                "signable": hex::encode(item.signable()),
                "signature": item.signature,
            })
        })
        .collect();
    let mut out = json!({
        "signer_key": record.signer,
        "plaintext": hex::encode(plaintext),
        "plaintext_size": plaintext.len(),
        "record_key": key,
        "c": record.commitment(),
        "seal_key": hex::encode(tagged("DPay1/seal", &[&key.0])),
        "nonce": hex::encode(&c[..24]),
        "box": hex::encode(sealed),
        "box_size": sealed.len(),
        "v": hex::encode(record.value.content()),
        "v_size": record.value.content().len(),
        "v_bencoded": hex::encode(record.value.as_bencoded()),
        "slot": slot,
        "seq": SEQ.to_string(),
        "places": places,
    });
    if let Some(of_spend) = of_spend {
        out["record_key_of_spend"] = json!(of_spend);
    }
    out
}

pub fn statement(input: &Value) -> Value {
    let bytes = read::bytes(input, "plaintext");
    let reason = match Statement::decode(&bytes) {
        Ok(statement) => {
            assert_eq!(statement.encode().as_slice(), bytes);
            return match statement {
                Statement::Spend(Spend {
                    holding,
                    payee,
                    anchor,
                }) => json!({
                    "ok": true, "kind": "spend",
                    "holding": holding, "payee_key": payee, "anchor": anchor,
                }),
                Statement::Close(Close { spend, k, wk }) => json!({
                    "ok": true, "kind": "close", "c_of_spend": spend, "k": k, "wk": wk,
                }),
                Statement::Redeem(Redeem { holding, account }) => json!({
                    "ok": true, "kind": "redeem", "holding": holding, "account": account,
                }),
            };
        }
        Err(StatementError::Length(_)) => "statement_length",
        Err(StatementError::Version(_)) => "statement_version",
        Err(StatementError::Kind(_)) => "statement_kind",
        Err(StatementError::Padding) => "statement_padding",
    };
    json!({"ok": false, "reason": reason})
}

pub fn open_box(input: &Value) -> Value {
    let key = read::record_key(input, "record_key");
    let opened = RecordValue::from_content(&read::bytes(input, "v"))
        .and_then(|value| open_plaintext(&key, &value));
    let reason = match opened {
        Ok(plaintext) => return json!({"ok": true, "plaintext": hex::encode(plaintext)}),
        Err(OpenError::Length(_) | OpenError::Bencoding) => "v_length",
        Err(OpenError::Box) => "box",
        Err(OpenError::Commitment) => "commitment",
        Err(OpenError::Statement(_)) => "statement",
    };
    json!({"ok": false, "reason": reason})
}

/// An item in a slot that a strict check refuses, beside the honest one of the same slot.
pub fn squat(input: &Value) -> Value {
    let item = Item {
        key: read::key(input, "key"),
        salt: read::salt(input, "salt"),
        seq: SEQ,
        value: read::bytes(input, "v_bencoded"),
        signature: read::signature(input, "signature"),
    };
    let honest = Item {
        value: read::bytes(input, "honest_v_bencoded"),
        signature: read::signature(input, "honest_signature"),
        ..item.clone()
    };
    assert!(honest.is_strict() && honest.is_signed());
    json!({
        "target": item.target(),
        "signable": hex::encode(item.signable()),
        "strict": item.is_strict(),
        "evidence": item.is_signed(),
        "v_is_string": RecordValue::from_bencoded(&item.value).is_ok(),
    })
}
