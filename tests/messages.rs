//! `dp_pay` messages as bytes (`docs/protocol.md` section 8): one encoding each, bounds, decoders
//! that never panic. The bytes themselves are frozen in `tests/vectors`.

use dpay::coin::{ChainValue, Commitment, PseudonymCertificate, PublicKey, RecordKey, Signature};
use dpay::record::{ClosePart, OpenSpend};
use dpay::units::{Day, PricePerGib, Units};
use dpay::wire::bencode::{self, BencodeError, Value};
use dpay::wire::message::{
    Due, FreePolicy, MAX_MESSAGE_BYTES, MAX_PATH_BYTES, MAX_PROOF_BYTES, Message, Offer,
    OpenedState, Recipient, RefuseReason, WaitReason, WireError,
};
use proptest::prelude::*;

fn certificate(fill: u8) -> PseudonymCertificate {
    PseudonymCertificate {
        broker: PublicKey([fill; 32]),
        holder: PublicKey([fill.wrapping_add(1); 32]),
        expires: Day(20_030),
        signature: Signature([fill.wrapping_add(2); 64]),
    }
}

fn open(fill: u8) -> OpenSpend {
    OpenSpend {
        payee: PublicKey([fill.wrapping_add(1); 32]),
        anchor: ChainValue([fill.wrapping_add(3); 32]),
        record_key: RecordKey([fill.wrapping_add(4); 32]),
        signatures: [Signature([fill.wrapping_add(5); 64]); 3],
        payee_certificate: certificate(fill),
    }
}

fn close(k: u32, fill: u8) -> ClosePart {
    ClosePart {
        k,
        wk: ChainValue([fill; 32]),
        signatures: [Signature([fill.wrapping_add(6); 64]); 3],
    }
}

fn due(why: WaitReason) -> Due {
    Due {
        served_bytes: 5 << 20,
        due: Units(5),
        acknowledged: Units(3),
        window_bytes: 0,
        why,
    }
}

/// One message of each kind and form, by name.
fn named() -> Vec<(&'static str, Message)> {
    let spend = Commitment([0xC0; 32]);
    let wk = ChainValue([0x3A; 32]);
    let offer = Offer {
        version: 1,
        price: PricePerGib::new(1024).expect("a price"),
        brokers: vec![
            (PublicKey([0xB1; 32]), "https://broker.example".to_owned()),
            (PublicKey([0xB2; 32]), String::new()),
        ],
        smallest_channel: Units(16),
        free: FreePolicy::Leftover,
    };
    vec![
        ("offer", Message::Offer(offer)),
        (
            "propose",
            Message::Propose {
                channel: 0,
                path: vec![0x50; 159],
            },
        ),
        (
            "key",
            Message::Key {
                channel: 1,
                certificate: certificate(0x10),
            },
        ),
        (
            "open",
            Message::Open {
                channel: u32::MAX,
                open: open(0x20),
            },
        ),
        (
            "opened provisional",
            Message::Opened {
                channel: 0,
                state: OpenedState::Provisional,
            },
        ),
        (
            "opened accepted",
            Message::Opened {
                channel: 0,
                state: OpenedState::Accepted,
            },
        ),
        (
            "refused",
            Message::Refused {
                channel: 0,
                reason: RefuseReason::Seen,
                close: None,
            },
        ),
        (
            "refused with a close",
            Message::Refused {
                channel: 0,
                reason: RefuseReason::Undecided,
                close: Some(close(0, 0x30)),
            },
        ),
        (
            "tick",
            Message::Tick {
                channel: 0,
                k: 4096,
                wk,
            },
        ),
        ("due", Message::Due(due(WaitReason::Ticks))),
        (
            "resume",
            Message::Resume {
                channel: 2,
                spend,
                k: 8,
                wk,
            },
        ),
        (
            "resumed",
            Message::Resumed {
                channel: 2,
                k: 7,
                wk,
            },
        ),
        ("close_request", Message::CloseRequest { spend, k: 0, wk }),
        (
            "close",
            Message::Close {
                spend,
                close: close(7, 0x40),
            },
        ),
        (
            "conflict",
            Message::Conflict {
                proof: vec![0x77; 400],
            },
        ),
    ]
}

#[test]
fn every_message_reads_back_and_knows_its_way() {
    for (name, message) in named() {
        let bytes = message.encode();
        assert!(bytes.len() <= MAX_MESSAGE_BYTES);
        assert_eq!(Message::decode(&bytes), Ok(Some(message.clone())), "{name}");
        let to_payee = ["propose", "open", "tick", "resume", "close_request"];
        let expected = match message.kind() {
            "conflict" => Recipient::Either,
            kind if to_payee.contains(&kind) => Recipient::Payee,
            _ => Recipient::Payer,
        };
        assert_eq!(message.recipient(), expected, "{name}");
    }
}

#[test]
fn unknown_keys_are_skipped_and_unknown_kinds_ignored() {
    let with_more = b"d1:ai-5e7:channeli3e4:kind6:opened5:state8:accepted1:zl2:xyd0:0:eee";
    let opened = Message::Opened {
        channel: 3,
        state: OpenedState::Accepted,
    };
    assert_eq!(Message::decode(with_more), Ok(Some(opened)));
    assert_eq!(Message::decode(b"d4:kind7:receipt1:xi1ee"), Ok(None));
    let out_of_order = b"d7:channeli3e4:kind6:opened5:state8:accepted1:ai5ee";
    let error = WireError::Bencode(BencodeError::KeyOrder(44));
    assert_eq!(Message::decode(out_of_order), Err(error));
    assert!(Message::decode(b"d4:kind7:receipt1:xi01ee").is_err());
}

/// The message of this name with one field set to another value, or taken out.
fn changed(
    name: &str,
    field: &str,
    value: Option<Value<'_>>,
) -> Result<Option<Message>, WireError> {
    let (_, message) = (named().into_iter())
        .find(|(known, _)| *known == name)
        .expect("a name");
    let bytes = message.encode();
    let Ok(Value::Dict(mut entries)) = bencode::decode(&bytes) else {
        panic!("{name} is a dictionary");
    };
    entries.retain(|(key, _)| *key != field.as_bytes());
    entries.extend(value.map(|value| (field.as_bytes(), value)));
    Message::decode(&bencode::encode(&Value::Dict(entries)))
}

#[test]
fn fields_of_a_wrong_type_size_or_range_are_errors() {
    let bytes = |n: usize| vec![0x61; n];
    let (short, long, path, proof) = (
        bytes(31),
        bytes(33),
        bytes(MAX_PATH_BYTES + 1),
        bytes(MAX_PROOF_BYTES + 1),
    );
    let cases = [
        ("tick", "k", Some(Value::Int(0))),
        ("tick", "k", Some(Value::Int(4097))),
        ("tick", "k", Some(Value::Int(-1))),
        ("tick", "k", Some(Value::Bytes(b"5"))),
        ("tick", "k", None),
        ("tick", "wk", Some(Value::Bytes(&short))),
        ("tick", "wk", Some(Value::Bytes(&long))),
        ("tick", "channel", Some(Value::Int(1 << 32))),
        ("close_request", "k", Some(Value::Int(4097))),
        ("propose", "path", Some(Value::Bytes(&path))),
        ("conflict", "proof", Some(Value::Bytes(&proof))),
        ("open", "open", Some(Value::Bytes(&short))),
        ("key", "certificate", Some(Value::Bytes(&short))),
        ("close", "close", Some(Value::Bytes(&short))),
        ("refused with a close", "close", Some(Value::Int(1))),
        ("refused", "reason", Some(Value::Bytes(b"whim"))),
        ("opened accepted", "state", Some(Value::Bytes(b"Accepted"))),
        ("offer", "price", Some(Value::Int(15))),
        ("offer", "price", Some(Value::Int(65_537))),
        ("offer", "smallest", Some(Value::Int(0))),
        ("offer", "smallest", Some(Value::Int(4097))),
        ("offer", "version", Some(Value::Int(2))),
        ("offer", "brokers", Some(Value::List(Vec::new()))),
        ("due", "served", Some(Value::Int(1 << 64))),
        ("due", "why", Some(Value::Bytes(b"\xff"))),
        ("tick", "kind", Some(Value::Int(1))),
        ("tick", "kind", None),
    ];
    for (name, field, value) in cases {
        let result = changed(name, field, value.clone());
        assert!(result.is_err(), "{name} {field} {value:?}: {result:?}");
    }
}

#[test]
fn a_url_is_short_printable_and_there_are_at_most_eight() {
    let key = [0xB1; 32];
    let with = |urls: &[&[u8]]| {
        let pair = |url| Value::List(vec![Value::Bytes(&key), url]);
        let list = urls.iter().map(|url| pair(Value::Bytes(url)));
        changed("offer", "brokers", Some(Value::List(list.collect())))
    };
    assert!(with(&[&b"http://a"[..]; 8]).is_ok());
    assert!(with(&[&[b'a'; 256][..]]).is_ok());
    for urls in [
        &[&b"http://a"[..]; 9][..],
        &[&[b'a'; 257][..]],
        &[b"http://a b"],
        &[b"http://a\n"],
        &[b"http://\x1b[31m"],
        &["http://\u{fc}".as_bytes()],
    ] {
        assert!(with(urls).is_err(), "{urls:?}");
    }
}

#[test]
fn longer_than_any_message_is_an_error_before_anything_is_read() {
    let bytes = vec![b'l'; MAX_MESSAGE_BYTES + 1];
    let error = WireError::TooLong(MAX_MESSAGE_BYTES + 1);
    assert_eq!(Message::decode(&bytes), Err(error));
}

fn any_message() -> impl Strategy<Value = Message> {
    let id = any::<[u8; 32]>();
    let word = prop::sample::select(RefuseReason::ALL);
    let wait = prop::sample::select(WaitReason::ALL);
    let free = prop::sample::select(FreePolicy::ALL);
    let broker = (id, "[!-~]{0,256}").prop_map(|(key, url)| (PublicKey(key), url));
    let offer = (
        Just(1u64),
        16u64..=65_536,
        prop::collection::vec(broker, 1..=8),
        1u64..=4096,
        free,
    );
    let optional_close = prop::option::of((0u32..=4096, any::<u8>()));
    prop_oneof![
        offer.prop_map(|(version, price, brokers, smallest, free)| {
            Message::Offer(Offer {
                version,
                price: PricePerGib::new(price).expect("a price"),
                brokers,
                smallest_channel: Units(smallest),
                free,
            })
        }),
        (
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..=MAX_PATH_BYTES)
        )
            .prop_map(|(channel, path)| Message::Propose { channel, path }),
        (any::<u32>(), any::<u8>()).prop_map(|(channel, fill)| Message::Key {
            channel,
            certificate: certificate(fill),
        }),
        (any::<u32>(), any::<u8>()).prop_map(|(channel, fill)| Message::Open {
            channel,
            open: open(fill),
        }),
        (any::<u32>(), word, optional_close).prop_map(|(channel, reason, parts)| {
            Message::Refused {
                channel,
                reason,
                close: parts.map(|(k, fill)| close(k, fill)),
            }
        }),
        (any::<u32>(), 1u32..=4096, id).prop_map(|(channel, k, wk)| Message::Tick {
            channel,
            k,
            wk: ChainValue(wk),
        }),
        (any::<[u64; 4]>(), wait).prop_map(
            |([served_bytes, due, acknowledged, window_bytes], why)| {
                Message::Due(Due {
                    served_bytes,
                    due: Units(due),
                    acknowledged: Units(acknowledged),
                    window_bytes,
                    why,
                })
            }
        ),
        (any::<u32>(), id, 1u32..=4096, id).prop_map(|(channel, spend, k, wk)| Message::Resume {
            channel,
            spend: Commitment(spend),
            k,
            wk: ChainValue(wk),
        }),
        (any::<u32>(), 0u32..=4096, id).prop_map(|(channel, k, wk)| Message::Resumed {
            channel,
            k,
            wk: ChainValue(wk),
        }),
        (id, 0u32..=4096, id).prop_map(|(spend, k, wk)| Message::CloseRequest {
            spend: Commitment(spend),
            k,
            wk: ChainValue(wk),
        }),
        (id, any::<u32>(), any::<u8>()).prop_map(|(spend, k, fill)| Message::Close {
            spend: Commitment(spend),
            close: close(k, fill),
        }),
        prop::collection::vec(any::<u8>(), 0..=MAX_PROOF_BYTES)
            .prop_map(|proof| Message::Conflict { proof }),
    ]
}

proptest! {
    #[test]
    fn decoding_what_was_encoded_is_the_identity(message in any_message()) {
        let bytes = message.encode();
        prop_assert!(bytes.len() <= MAX_MESSAGE_BYTES);
        prop_assert_eq!(Message::decode(&bytes), Ok(Some(message)));
    }

    /// A changed byte gives an error, an unknown kind, or another message with that very encoding
    /// (or one more key that is skipped, which only a changed key's name can bring about).
    #[test]
    fn no_message_has_a_second_encoding(message in any_message(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(Some(other)) = Message::decode(&bytes) {
            prop_assert!(other != message || other.encode().len() < bytes.len());
            if other.encode().len() == bytes.len() {
                prop_assert_eq!(other.encode(), bytes);
            }
        }
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn decoding_a_damaged_message_never_panics(
        message in any_message(), cut in any::<prop::sample::Index>(), tail in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = message.encode();
        bytes.truncate(cut.index(bytes.len()));
        bytes.extend(tail);
        let _ = Message::decode(&bytes);
    }
}
