//! `dp_pay` messages: what two gateways tell each other about payment (`docs/protocol.md`
//! section 8), as the payload of an extended message (BEP 10).
//!
//! Each is one canonically bencoded dictionary with the text `kind`. Keys that a kind does not name
//! are skipped and kinds that are not known are ignored, so that a later version can add both; but
//! the dictionary as a whole must be canonical, and what is known has one encoding only. A decoded
//! message is what a stranger wrote: sizes and forms are checked here, signatures are not.

mod decode;

use thiserror::Error;

use super::bencode::{self, BencodeError, Value};
pub use super::codes::{FreePolicy, OpenedState, RefuseReason, WaitReason};
use crate::coin::{ChainValue, Commitment, PseudonymCertificate, PublicKey};
use crate::record::{ClosePart, OpenSpend};
use crate::units::{PricePerGib, Units};

/// The protocol version that an offer names.
pub const VERSION: u64 = 1;
/// Most bytes of any message, also of kinds that are not known.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;
/// Most bytes of a path: a coin and eight links.
pub const MAX_PATH_BYTES: usize = 159 + 8 * 651;
/// Most bytes of the proof in `conflict`: certificate, salt, two items of the largest size.
pub const MAX_PROOF_BYTES: usize = 158 + 32 + 2 * (8 + 2 + 1000 + 64);
/// Most brokers in an offer.
pub const MAX_BROKERS: usize = 8;
/// Most bytes of a broker's URL.
pub const MAX_URL_BYTES: usize = 256;

/// Why bytes are no message. The sender is at fault, whatever it is.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// More bytes than any message has.
    #[error("a message of {0} bytes; the largest has {MAX_MESSAGE_BYTES}")]
    TooLong(usize),
    /// Not one canonically bencoded value.
    #[error("not canonical bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// Not a dictionary with a text `kind`.
    #[error("not a dictionary with a kind")]
    NoKind,
    /// A field that the kind must have is not there.
    #[error("{kind:?} without {field:?}")]
    Missing {
        /// The message's kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field is of another type, size or range.
    #[error("{field:?} in {kind:?} is {problem}")]
    Field {
        /// The message's kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What a payee asks and accepts. Sent once, first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Protocol version, 1.
    pub version: u64,
    /// Price of everything served under payment on this connection.
    pub price: PricePerGib,
    /// Brokers whose coins are taken, one to eight, and where to reach them. A URL is printable
    /// ASCII of at most 256 bytes, as the stranger wrote it.
    pub brokers: Vec<(PublicKey, String)>,
    /// Least value of a holding to open a channel with.
    pub smallest_channel: Units,
    /// Whom the payee serves without payment.
    pub free: FreePolicy,
}

/// How the payee's account stands, and why it holds requests back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Bytes served under payment on this connection, over all channels.
    pub served_bytes: u64,
    /// Units due for them.
    pub due: Units,
    /// Units ticked so far, over all channels.
    pub acknowledged: Units,
    /// Bytes that may still be served before the next tick.
    pub window_bytes: u64,
    /// Why requests are held back, if they are.
    pub why: WaitReason,
}

/// One message. A channel's number is chosen by the payer and unique in its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Payee: price and terms.
    Offer(Offer),
    /// Payer: the path that proves a holding.
    Propose {
        /// The new channel.
        channel: u32,
        /// `record::Path`, encoded; at most [`MAX_PATH_BYTES`].
        path: Vec<u8>,
    },
    /// Payee: the holder key to spend to, inside of its certificate.
    Key {
        /// The proposed channel.
        channel: u32,
        /// Names the key.
        certificate: PseudonymCertificate,
    },
    /// Payer: the spend. Durable before it is sent.
    Open {
        /// The proposed channel.
        channel: u32,
        /// The spend, less what the path tells.
        open: OpenSpend,
    },
    /// Payee: how far acceptance is.
    Opened {
        /// The channel.
        channel: u32,
        /// How far.
        state: OpenedState,
    },
    /// Payee: no payment on this channel.
    Refused {
        /// The channel.
        channel: u32,
        /// Why.
        reason: RefuseReason,
        /// After a valid open: the close at what was ticked, usually nothing.
        close: Option<ClosePart>,
    },
    /// Payer: `k` units in all are paid on this channel.
    Tick {
        /// The channel.
        channel: u32,
        /// Units, 1 to 4 096.
        k: u32,
        /// The chain value that hashes to the anchor in `k` steps.
        wk: ChainValue,
    },
    /// Payee: the account.
    Due(Due),
    /// Payer: takes up a channel of an earlier connection.
    Resume {
        /// The channel's number on this connection.
        channel: u32,
        /// c of the spend.
        spend: Commitment,
        /// One above the last tick sent.
        k: u32,
        /// Its chain value.
        wk: ChainValue,
    },
    /// Payee: it has the spend that `resume` names, with these ticks.
    Resumed {
        /// The channel.
        channel: u32,
        /// Units ticked before the `resume`. Not below its k: the payee waits for a new tick.
        k: u32,
        /// The chain value that shows it, the anchor for none.
        wk: ChainValue,
    },
    /// Payer: please close at `k`, the last tick sent.
    CloseRequest {
        /// c of the spend.
        spend: Commitment,
        /// Units, 0 where none was ticked.
        k: u32,
        /// Its chain value.
        wk: ChainValue,
    },
    /// Payee: the close, as it goes to the DHT.
    Close {
        /// c of the spend.
        spend: Commitment,
        /// k, wk and the three signatures.
        close: ClosePart,
    },
    /// Either: two items of one slot.
    Conflict {
        /// `record::FraudProof`, encoded; at most [`MAX_PROOF_BYTES`].
        proof: Vec<u8>,
    },
}

/// Which of the two machines on a connection a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The receiver's payer.
    Payer,
    /// The receiver's payee.
    Payee,
    /// Both.
    Either,
}

impl Message {
    /// Whom the message is for: its kind gives the direction.
    #[must_use]
    pub const fn recipient(&self) -> Recipient {
        match self {
            Message::Offer(_)
            | Message::Key { .. }
            | Message::Opened { .. }
            | Message::Refused { .. }
            | Message::Resumed { .. }
            | Message::Due(_)
            | Message::Close { .. } => Recipient::Payer,
            Message::Propose { .. }
            | Message::Open { .. }
            | Message::Tick { .. }
            | Message::Resume { .. }
            | Message::CloseRequest { .. } => Recipient::Payee,
            Message::Conflict { .. } => Recipient::Either,
        }
    }

    /// The text `kind` of the message.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Message::Offer(_) => "offer",
            Message::Propose { .. } => "propose",
            Message::Key { .. } => "key",
            Message::Open { .. } => "open",
            Message::Opened { .. } => "opened",
            Message::Refused { .. } => "refused",
            Message::Tick { .. } => "tick",
            Message::Due(_) => "due",
            Message::Resume { .. } => "resume",
            Message::Resumed { .. } => "resumed",
            Message::CloseRequest { .. } => "close_request",
            Message::Close { .. } => "close",
            Message::Conflict { .. } => "conflict",
        }
    }

    /// The message's only encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Message::Offer(offer) => self.encode_offer(offer),
            Message::Propose { channel, path } => {
                self.dict(&[("channel", int(*channel)), ("path", Value::Bytes(path))])
            }
            Message::Key {
                channel,
                certificate,
            } => self.dict(&[
                ("certificate", Value::Bytes(&certificate.encode())),
                ("channel", int(*channel)),
            ]),
            Message::Open { channel, open } => self.dict(&[
                ("channel", int(*channel)),
                ("open", Value::Bytes(&open.encode())),
            ]),
            Message::Opened { channel, state } => {
                self.dict(&[("channel", int(*channel)), ("state", text(state.word()))])
            }
            Message::Refused {
                channel,
                reason,
                close,
            } => {
                let close = close.as_ref().map(ClosePart::encode);
                let mut fields = vec![("channel", int(*channel)), ("reason", text(reason.word()))];
                fields.extend(close.as_ref().map(|close| ("close", Value::Bytes(close))));
                self.dict(&fields)
            }
            Message::Tick { channel, k, wk } | Message::Resumed { channel, k, wk } => self.dict(&[
                ("channel", int(*channel)),
                ("k", int(*k)),
                ("wk", id(&wk.0)),
            ]),
            Message::Due(due) => self.dict(&[
                ("acknowledged", int(due.acknowledged.0)),
                ("due", int(due.due.0)),
                ("served", int(due.served_bytes)),
                ("why", text(due.why.word())),
                ("window", int(due.window_bytes)),
            ]),
            Message::Resume {
                channel,
                spend,
                k,
                wk,
            } => self.dict(&[
                ("c", id(&spend.0)),
                ("channel", int(*channel)),
                ("k", int(*k)),
                ("wk", id(&wk.0)),
            ]),
            Message::CloseRequest { spend, k, wk } => {
                self.dict(&[("c", id(&spend.0)), ("k", int(*k)), ("wk", id(&wk.0))])
            }
            Message::Close { spend, close } => self.dict(&[
                ("c", id(&spend.0)),
                ("close", Value::Bytes(&close.encode())),
            ]),
            Message::Conflict { proof } => self.dict(&[("proof", Value::Bytes(proof))]),
        }
    }

    fn encode_offer(&self, offer: &Offer) -> Vec<u8> {
        let brokers = offer.brokers.iter();
        let brokers = brokers.map(|(key, url)| Value::List(vec![id(&key.0), text(url)]));
        self.dict(&[
            ("brokers", Value::List(brokers.collect())),
            ("free", text(offer.free.word())),
            ("price", int(offer.price.get())),
            ("smallest", int(offer.smallest_channel.0)),
            ("version", int(offer.version)),
        ])
    }

    fn dict(&self, fields: &[(&'static str, Value<'_>)]) -> Vec<u8> {
        let mut entries = vec![(&b"kind"[..], text(self.kind()))];
        let fields = fields.iter();
        entries.extend(fields.map(|(key, value)| (key.as_bytes(), value.clone())));
        bencode::encode(&Value::Dict(entries))
    }

    /// Reads a message from a stranger. `Ok(None)`: a kind that is not known, to be ignored.
    ///
    /// # Errors
    /// [`WireError`] where the bytes are no message; the sender is at fault.
    pub fn decode(bytes: &[u8]) -> Result<Option<Message>, WireError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(WireError::TooLong(bytes.len()));
        }
        let Value::Dict(entries) = bencode::decode(bytes)? else {
            return Err(WireError::NoKind);
        };
        let kind = entries.iter().find(|(key, _)| *key == b"kind");
        let Some((_, Value::Bytes(kind))) = kind else {
            return Err(WireError::NoKind);
        };
        decode::message(kind, &entries)
    }
}

fn int<'a>(number: impl Into<u64>) -> Value<'a> {
    Value::Int(i128::from(number.into()))
}

fn text(text: &str) -> Value<'_> {
    Value::Bytes(text.as_bytes())
}

fn id(bytes: &[u8; 32]) -> Value<'_> {
    Value::Bytes(bytes)
}
