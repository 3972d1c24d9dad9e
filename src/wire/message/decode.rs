//! Reading the fields of each kind of message: types, sizes and ranges.

use super::{
    Due, FreePolicy, MAX_BROKERS, MAX_PATH_BYTES, MAX_PROOF_BYTES, MAX_URL_BYTES, Message, Offer,
    OpenedState, RefuseReason, VERSION, Value, WaitReason, WireError,
};
use crate::coin::{ChainValue, Commitment, PseudonymCertificate, PublicKey};
use crate::record::{ClosePart, OpenSpend};
use crate::units::{MAX_COIN_UNITS, PricePerGib, Units};

/// The message of this kind with these entries; `None` for a kind that is not known.
pub(super) fn message(
    kind: &[u8],
    entries: &[(&[u8], Value<'_>)],
) -> Result<Option<Message>, WireError> {
    let of = |kind| Fields { kind, entries };
    Ok(Some(match kind {
        b"offer" => decode_offer(&of("offer"))?,
        b"propose" => decode_propose(&of("propose"))?,
        b"key" => decode_key(&of("key"))?,
        b"open" => decode_open(&of("open"))?,
        b"opened" => decode_opened(&of("opened"))?,
        b"refused" => decode_refused(&of("refused"))?,
        b"tick" => decode_tick(&of("tick"))?,
        b"due" => decode_due(&of("due"))?,
        b"resume" => decode_resume(&of("resume"))?,
        b"resumed" => decode_resumed(&of("resumed"))?,
        b"close_request" => decode_close_request(&of("close_request"))?,
        b"close" => decode_close(&of("close"))?,
        b"conflict" => decode_conflict(&of("conflict"))?,
        _ => return Ok(None),
    }))
}

fn decode_offer(fields: &Fields<'_>) -> Result<Message, WireError> {
    let version = fields.uint("version", VERSION..=VERSION)?;
    let price = PricePerGib::new(fields.uint("price", 0..=u64::MAX)?)
        .map_err(|_| fields.wrong("price", "outside 16 to 65536 units per GiB"))?;
    let Value::List(list) = fields.get("brokers")? else {
        return Err(fields.wrong("brokers", "not a list"));
    };
    if list.is_empty() || list.len() > MAX_BROKERS {
        return Err(fields.wrong("brokers", "not one to eight brokers"));
    }
    let mut brokers = Vec::with_capacity(list.len());
    for entry in list {
        brokers.push(
            broker(entry).ok_or_else(|| fields.wrong("brokers", "not a key and a plain URL"))?,
        );
    }
    Ok(Message::Offer(Offer {
        version,
        price,
        brokers,
        smallest_channel: Units(fields.uint("smallest", 1..=MAX_COIN_UNITS)?),
        free: fields.word("free", FreePolicy::from_word)?,
    }))
}

/// A broker's key and URL. A URL is printable ASCII without spaces, so that it can be shown.
fn broker(entry: &Value<'_>) -> Option<(PublicKey, String)> {
    let Value::List(pair) = entry else {
        return None;
    };
    let [Value::Bytes(key), Value::Bytes(url)] = pair.as_slice() else {
        return None;
    };
    let plain = url.len() <= MAX_URL_BYTES && url.iter().all(u8::is_ascii_graphic);
    let url = std::str::from_utf8(url).ok().filter(|_| plain)?;
    Some((PublicKey::from_slice(key)?, url.to_owned()))
}

fn decode_propose(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Propose {
        channel: fields.channel()?,
        path: fields.bounded("path", MAX_PATH_BYTES)?,
    })
}

fn decode_key(fields: &Fields<'_>) -> Result<Message, WireError> {
    let certificate = PseudonymCertificate::decode(fields.bytes("certificate")?)
        .map_err(|_| fields.wrong("certificate", "not a pseudonym certificate"))?;
    Ok(Message::Key {
        channel: fields.channel()?,
        certificate,
    })
}

fn decode_open(fields: &Fields<'_>) -> Result<Message, WireError> {
    let open = OpenSpend::decode(fields.bytes("open")?)
        .map_err(|_| fields.wrong("open", "not an open spend"))?;
    Ok(Message::Open {
        channel: fields.channel()?,
        open,
    })
}

fn decode_opened(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Opened {
        channel: fields.channel()?,
        state: fields.word("state", OpenedState::from_word)?,
    })
}

fn decode_refused(fields: &Fields<'_>) -> Result<Message, WireError> {
    let close = match fields.find("close") {
        Some(_) => Some(fields.close()?),
        None => None,
    };
    Ok(Message::Refused {
        channel: fields.channel()?,
        reason: fields.word("reason", RefuseReason::from_word)?,
        close,
    })
}

fn decode_tick(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Tick {
        channel: fields.channel()?,
        k: fields.k(1)?,
        wk: fields.wk()?,
    })
}

fn decode_due(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Due(Due {
        served_bytes: fields.uint("served", 0..=u64::MAX)?,
        due: Units(fields.uint("due", 0..=u64::MAX)?),
        acknowledged: Units(fields.uint("acknowledged", 0..=u64::MAX)?),
        window_bytes: fields.uint("window", 0..=u64::MAX)?,
        why: fields.word("why", WaitReason::from_word)?,
    }))
}

fn decode_resume(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Resume {
        channel: fields.channel()?,
        spend: fields.spend()?,
        k: fields.k(1)?,
        wk: fields.wk()?,
    })
}

fn decode_resumed(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Resumed {
        channel: fields.channel()?,
        k: fields.k(0)?,
        wk: fields.wk()?,
    })
}

fn decode_close_request(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::CloseRequest {
        spend: fields.spend()?,
        k: fields.k(0)?,
        wk: fields.wk()?,
    })
}

fn decode_close(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Close {
        spend: fields.spend()?,
        close: fields.close()?,
    })
}

fn decode_conflict(fields: &Fields<'_>) -> Result<Message, WireError> {
    Ok(Message::Conflict {
        proof: fields.bounded("proof", MAX_PROOF_BYTES)?,
    })
}

/// The fields of a message whose kind is known.
struct Fields<'a> {
    kind: &'static str,
    entries: &'a [(&'a [u8], Value<'a>)],
}

impl<'a> Fields<'a> {
    fn wrong(&self, field: &'static str, problem: &'static str) -> WireError {
        WireError::Field {
            kind: self.kind,
            field,
            problem,
        }
    }

    fn find(&self, field: &'static str) -> Option<&'a Value<'a>> {
        let mut entries = self.entries.iter();
        entries
            .find(|(key, _)| *key == field.as_bytes())
            .map(|(_, value)| value)
    }

    fn get(&self, field: &'static str) -> Result<&'a Value<'a>, WireError> {
        self.find(field).ok_or(WireError::Missing {
            kind: self.kind,
            field,
        })
    }

    fn uint(
        &self,
        field: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, WireError> {
        let Value::Int(number) = self.get(field)? else {
            return Err(self.wrong(field, "not a number"));
        };
        u64::try_from(*number)
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.wrong(field, "out of range"))
    }

    fn bytes(&self, field: &'static str) -> Result<&'a [u8], WireError> {
        match self.get(field)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong(field, "not a byte string")),
        }
    }

    fn bounded(&self, field: &'static str, most: usize) -> Result<Vec<u8>, WireError> {
        let bytes = self.bytes(field)?;
        if bytes.len() > most {
            return Err(self.wrong(field, "too long"));
        }
        Ok(bytes.to_vec())
    }

    fn id(&self, field: &'static str) -> Result<[u8; 32], WireError> {
        let bytes = self.bytes(field)?;
        bytes
            .try_into()
            .map_err(|_| self.wrong(field, "not 32 bytes"))
    }

    fn word<T>(
        &self,
        field: &'static str,
        from_word: impl Fn(&str) -> Option<T>,
    ) -> Result<T, WireError> {
        let word = std::str::from_utf8(self.bytes(field)?).ok();
        word.and_then(from_word)
            .ok_or_else(|| self.wrong(field, "not a known word"))
    }

    fn channel(&self) -> Result<u32, WireError> {
        let channel = self.uint("channel", 0..=u64::from(u32::MAX))?;
        u32::try_from(channel).map_err(|_| self.wrong("channel", "out of range"))
    }

    fn k(&self, least: u64) -> Result<u32, WireError> {
        let k = self.uint("k", least..=MAX_COIN_UNITS)?;
        u32::try_from(k).map_err(|_| self.wrong("k", "out of range"))
    }

    fn wk(&self) -> Result<ChainValue, WireError> {
        self.id("wk").map(ChainValue)
    }

    fn spend(&self) -> Result<Commitment, WireError> {
        self.id("c").map(Commitment)
    }

    fn close(&self) -> Result<ClosePart, WireError> {
        ClosePart::decode(self.bytes("close")?).map_err(|_| self.wrong("close", "not a close"))
    }
}
