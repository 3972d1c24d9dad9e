//! Cases about what is signed between accounts and brokers, and about the spent list.

use dpay::broker::RequestId;
use dpay::broker::signing::{answer_hash, answer_is_signed, body_hash, request_hash, sign_answer};
use dpay::broker::spent::{encode_chunk, encode_index, encode_suspended};
use dpay::coin::{Commitment, PublicKey};
use dpay::record::Slot;
use dpay::units::UnixMs;
use serde_json::{Value, json};

use crate::read;

pub fn request(input: &Value) -> Value {
    let broker = read::key(input, "broker_key");
    let account = read::secret(input, "account_private");
    let id = RequestId(read::array(input, "request_id"));
    let time = UnixMs(read::number(input, "time"));
    let body = body_hash(read::text(input, "route"), &read::bytes(input, "body"));
    let signed = request_hash(&broker, &account.public(), &id, time, &body);
    json!({
        "account": account.public(),
        "body_hash": body,
        "request_hash": hex::encode(signed),
        "signature": account.sign(&signed),
    })
}

pub fn answer(input: &Value) -> Value {
    let broker = read::secret(input, "broker_private");
    let body = read::bytes(input, "body");
    let signature = sign_answer(&broker, &body);
    assert!(answer_is_signed(&broker.public(), &body, &signature));
    json!({
        "broker_key": broker.public(),
        "answer_hash": hex::encode(answer_hash(&body)),
        "signature": signature,
    })
}

pub fn spent_list(input: &Value) -> Value {
    let broker = read::secret(input, "broker_private");
    let as_of = || UnixMs(read::number(input, "as_of") * 1000);
    let hex_at = |entry: &Value, i: usize| entry[i].as_str().expect("hex").to_owned();
    let number_at = |entry: &Value, i: usize| {
        u32::try_from(entry[i].as_u64().expect("a number")).expect("a small one")
    };
    let bytes = match read::text(input, "list") {
        "chunk" => {
            let entries: Vec<(Slot, Commitment)> = read::list(input, "entries")
                .iter()
                .map(|entry| {
                    let slot = hex_at(entry, 0).parse().expect("a slot");
                    (slot, hex_at(entry, 1).parse().expect("a commitment"))
                })
                .collect();
            encode_chunk(&broker, read::number32(input, "hour"), &entries)
        }
        "index" => {
            let chunks: Vec<(u32, u32)> = read::list(input, "chunks")
                .iter()
                .map(|entry| (number_at(entry, 0), number_at(entry, 1)))
                .collect();
            encode_index(&broker, as_of(), &chunks)
        }
        "suspended" => {
            let keys: Vec<PublicKey> = read::list(input, "keys")
                .iter()
                .map(|key| key.as_str().expect("hex").parse().expect("a key"))
                .collect();
            encode_suspended(&broker, as_of(), &keys)
        }
        other => panic!("the list {other} is unknown"),
    };
    json!({"bytes": hex::encode(bytes)})
}
