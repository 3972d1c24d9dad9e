//! Reads the inputs of a case: hex, numbers, text, typed values.

use dpay::coin::{
    ChainValue, Commitment, HoldingId, PublicKey, RecordKey, SecretKey, Seed, Signature,
};
use dpay::record::{Item, Salt};
use dpay::units::Day;
use serde_json::Value;

pub fn text<'a>(input: &'a Value, name: &str) -> &'a str {
    (input[name].as_str()).unwrap_or_else(|| panic!("{name} is no text in {input}"))
}

pub fn bytes(input: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(input, name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub fn array<const N: usize>(input: &Value, name: &str) -> [u8; N] {
    let bytes = bytes(input, name);
    let length = bytes.len();
    bytes
        .try_into()
        .unwrap_or_else(|_| panic!("{name} has {length} bytes, not {N}"))
}

pub fn number(input: &Value, name: &str) -> u64 {
    (input[name].as_u64()).unwrap_or_else(|| panic!("{name} is no number in {input}"))
}

pub fn number32(input: &Value, name: &str) -> u32 {
    u32::try_from(number(input, name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub fn day(input: &Value, name: &str) -> Day {
    Day(number32(input, name))
}

pub fn list<'a>(input: &'a Value, name: &str) -> &'a [Value] {
    (input[name].as_array()).unwrap_or_else(|| panic!("{name} is no list in {input}"))
}

macro_rules! typed {
    ($($function:ident -> $type:ident),* $(,)?) => {$(
        pub fn $function(input: &Value, name: &str) -> $type {
            $type(array(input, name))
        }
    )*};
}

typed!(
    key -> PublicKey,
    signature -> Signature,
    holding -> HoldingId,
    chain_value -> ChainValue,
    commitment -> Commitment,
    record_key -> RecordKey,
    salt -> Salt,
);

pub fn secret(input: &Value, name: &str) -> SecretKey {
    SecretKey::from_bytes(array(input, name))
}

pub fn seed(input: &Value, name: &str) -> Seed {
    Seed::from_entropy(array(input, name))
}

pub fn brokers(input: &Value) -> Vec<PublicKey> {
    list(input, "brokers")
        .iter()
        .map(|key| key.as_str().expect("text").parse().expect("a key"))
        .collect()
}

/// An item as the cases write it: k, salt, seq as text, v_bencoded, signature.
pub fn item(input: &Value) -> Item {
    Item {
        key: key(input, "k"),
        salt: salt(input, "salt"),
        seq: text(input, "seq").parse().expect("a sequence number"),
        value: bytes(input, "v_bencoded"),
        signature: signature(input, "signature"),
    }
}
