//! Cases about the messages of the peer wire.

use dpay::coin::PseudonymCertificate;
use dpay::record::{ClosePart, OpenSpend};
use dpay::units::{PricePerGib, Units};
use dpay::wire::message::{Due, FreePolicy, Message, Offer, OpenedState, RefuseReason, WaitReason};
use serde_json::{Value, json};

use crate::read;

fn offer(input: &Value) -> Offer {
    let brokers = read::list(input, "brokers").iter().map(|broker| {
        let text = |i: usize| broker[i].as_str().expect("text");
        (text(0).parse().expect("a key"), text(1).to_owned())
    });
    Offer {
        version: read::number(input, "version"),
        price: PricePerGib::new(read::number(input, "price")).expect("a price"),
        brokers: brokers.collect(),
        smallest_channel: Units(read::number(input, "smallest")),
        free: FreePolicy::from_word(read::text(input, "free")).expect("a policy"),
    }
}

fn due(input: &Value) -> Due {
    Due {
        served_bytes: read::number(input, "served"),
        due: Units(read::number(input, "due")),
        acknowledged: Units(read::number(input, "acknowledged")),
        window_bytes: read::number(input, "window"),
        why: WaitReason::from_word(read::text(input, "why")).expect("a reason"),
    }
}

fn close(input: &Value) -> ClosePart {
    ClosePart::decode(&read::bytes(input, "close")).expect("a close")
}

/// The message whose keys and values `input` names.
fn message_of(input: &Value) -> Message {
    let channel = || read::number32(input, "channel");
    let k = || read::number32(input, "k");
    let wk = || read::chain_value(input, "wk");
    let spend = || read::commitment(input, "c");
    match read::text(input, "kind") {
        "offer" => Message::Offer(offer(input)),
        "propose" => Message::Propose {
            channel: channel(),
            path: read::bytes(input, "path"),
        },
        "key" => Message::Key {
            channel: channel(),
            certificate: PseudonymCertificate::decode(&read::bytes(input, "certificate"))
                .expect("a certificate"),
        },
        "open" => Message::Open {
            channel: channel(),
            open: OpenSpend::decode(&read::bytes(input, "open")).expect("an open spend"),
        },
        "opened" => Message::Opened {
            channel: channel(),
            state: OpenedState::from_word(read::text(input, "state")).expect("a state"),
        },
        "refused" => Message::Refused {
            channel: channel(),
            reason: RefuseReason::from_word(read::text(input, "reason")).expect("a reason"),
            close: (!input["close"].is_null()).then(|| close(input)),
        },
        "tick" => Message::Tick {
            channel: channel(),
            k: k(),
            wk: wk(),
        },
        "due" => Message::Due(due(input)),
        "resumed" => Message::Resumed {
            channel: channel(),
            k: k(),
            wk: wk(),
        },
        "resume" => Message::Resume {
            channel: channel(),
            spend: spend(),
            k: k(),
            wk: wk(),
        },
        "close_request" => Message::CloseRequest {
            spend: spend(),
            k: k(),
            wk: wk(),
        },
        "close" => Message::Close {
            spend: spend(),
            close: close(input),
        },
        "conflict" => Message::Conflict {
            proof: read::bytes(input, "proof"),
        },
        other => panic!("the kind {other} is unknown"),
    }
}

pub fn message_build(input: &Value) -> Value {
    let message = message_of(input);
    let bytes = message.encode();
    assert_eq!(Message::decode(&bytes).as_ref(), Ok(&Some(message)));
    json!({"bytes": hex::encode(bytes)})
}

pub fn message(input: &Value) -> Value {
    match Message::decode(&read::bytes(input, "bytes")) {
        Ok(message) => json!({"ok": true, "kind": message.map(|message| message.kind())}),
        Err(_) => json!({"ok": false}),
    }
}
