//! `dp_pay` messages, and frames in a BitTorrent byte stream, to and from bytes (BEP 3, BEP 10, `docs/protocol.md` section 8).

pub mod bencode;
pub mod codes;
pub mod extended;
pub mod frame;
pub mod message;
