//! BitTorrent frames in a byte stream (BEP 3, BEP 10), found without copying payload.
//!
//! A [`FrameReader`] is fed the stream in reads of any size. Small frames come out whole (put
//! together in a side buffer only where a read ends inside one); of a `piece` message comes the
//! head, then its payload as ranges of the caller's buffer. Lengths are from strangers and checked
//! before anything is kept.

use std::ops::Range;

use thiserror::Error;

use crate::units::InfoHash;

crate::bytes_newtype!(
    /// The 20 bytes by which a BitTorrent client names itself in the handshake.
    PeerId,
    20
);

/// Bytes of the BEP 3 handshake.
pub const HANDSHAKE_BYTES: usize = 68;
/// Bytes of a `piece` message before its payload: length, id, piece, begin.
pub const PIECE_HEAD_BYTES: usize = 13;
/// Longest block that is let through; clients ask for 16 KiB, few for more.
pub const MAX_BLOCK_BYTES: u32 = 128 * 1024;
/// Longest frame that is not a `piece`, after its length prefix. A bitfield of two million pieces.
pub const MAX_FRAME_BYTES: u32 = 256 * 1024;
/// What opens a BEP 3 handshake.
pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// A keep-alive: a frame of length zero.
pub const KEEP_ALIVE: [u8; 4] = [0; 4];
/// A whole `choke` frame.
pub const CHOKE: [u8; 5] = [0, 0, 0, 1, 0];
/// A whole `unchoke` frame.
pub const UNCHOKE: [u8; 5] = [0, 0, 0, 1, 1];

const ID_HAVE: u8 = 4;
const ID_BITFIELD: u8 = 5;
const ID_REQUEST: u8 = 6;
const ID_PIECE: u8 = 7;
const ID_CANCEL: u8 = 8;
const ID_EXTENDED: u8 = 20;

/// Why a stream is not BitTorrent, or more than we are ready to hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The stream does not open with the protocol's name.
    #[error("the stream does not open with a BitTorrent handshake")]
    NotBitTorrent,
    /// A frame longer than its kind may be.
    #[error("message {id} of {length_bytes} bytes is over the limit of {limit_bytes}")]
    TooLong {
        /// The message id.
        id: u8,
        /// The length it claims, from the stranger.
        length_bytes: u32,
        /// The most we take.
        limit_bytes: u32,
    },
    /// A frame whose length does not fit its kind.
    #[error("message {id} cannot have {length_bytes} bytes")]
    BadLength {
        /// The message id.
        id: u8,
        /// The length it claims, from the stranger.
        length_bytes: u32,
    },
}

/// A stretch of a piece, as `request`, `cancel` and `piece` name it. All fields from strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// Index of the piece.
    pub piece: u32,
    /// Offset within the piece.
    pub begin: u32,
    /// Bytes of the block.
    pub length_bytes: u32,
}

/// The BEP 3 handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Eight bytes of capability bits.
    pub reserved: [u8; 8],
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who speaks.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Reads the 68 bytes.
    ///
    /// # Errors
    /// [`FrameError::NotBitTorrent`] where they do not open with the protocol's name.
    pub fn decode(bytes: &[u8; HANDSHAKE_BYTES]) -> Result<Self, FrameError> {
        let (name, rest) = bytes.split_at(PROTOCOL.len());
        if name != PROTOCOL {
            return Err(FrameError::NotBitTorrent);
        }
        let mut handshake = Handshake {
            reserved: [0; 8],
            info_hash: InfoHash([0; 20]),
            peer_id: PeerId([0; 20]),
        };
        handshake.reserved.copy_from_slice(&rest[..8]);
        handshake.info_hash.0.copy_from_slice(&rest[8..28]);
        handshake.peer_id.0.copy_from_slice(&rest[28..48]);
        Ok(handshake)
    }

    /// The 68 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_BYTES] {
        let mut out = [0; HANDSHAKE_BYTES];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id.0);
        out
    }

    /// Whether the speaker knows the extension protocol (BEP 10).
    #[must_use]
    pub const fn is_extended(&self) -> bool {
        self.reserved[5] & 0x10 != 0
    }
}

/// What a small frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Length zero.
    KeepAlive,
    /// No requests will be answered from now on.
    Choke,
    /// Requests will be answered.
    Unchoke,
    /// The sender wants pieces.
    Interested,
    /// The sender wants nothing.
    NotInterested,
    /// The sender has this piece.
    Have(u32),
    /// Which pieces the sender has.
    Bitfield,
    /// Asks for a block.
    Request(Block),
    /// Takes a request back.
    Cancel(Block),
    /// An extended message with this id (0: the extended handshake).
    Extended(u8),
    /// An id that BEP 3 and BEP 10 do not know.
    Unknown(u8),
}

/// Whole bytes of a frame: within the caller's input, or put together from several reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// The frame, its length prefix included.
    pub bytes: &'a [u8],
    /// Where it lies in the input; `None` if it was put together.
    pub range: Option<Range<usize>>,
}

impl Raw<'_> {
    /// The payload of an extended message, after length, id and extended id; empty for others.
    #[must_use]
    pub fn extended_payload(&self) -> &[u8] {
        self.bytes.get(6..).unwrap_or_default()
    }
}

/// What the reader found next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The handshake, first of all.
    Handshake(Handshake, Raw<'a>),
    /// A whole frame that is not a `piece`.
    Frame(Kind, Raw<'a>),
    /// The 13 bytes that open a `piece`; its payload follows.
    PieceHead(Block, Raw<'a>),
    /// Payload of the last `piece` head.
    Payload {
        /// Where it lies in the input.
        range: Range<usize>,
        /// Whether the frame ends here.
        last: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Handshake,
    Boundary,
    Payload { left: u32 },
}

/// Finds frames in one direction of a connection.
#[derive(Debug)]
pub struct FrameReader {
    state: State,
    /// Begin of a frame that an earlier read ended in.
    carry: Vec<u8>,
    /// The carry was given out whole and is to be emptied.
    spent: bool,
}

impl FrameReader {
    /// For a stream that opens with a handshake.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Handshake,
            carry: Vec::new(),
            spent: false,
        }
    }

    /// For a stream whose handshake has been taken off.
    #[must_use]
    pub const fn after_handshake() -> Self {
        Self {
            state: State::Boundary,
            carry: Vec::new(),
            spent: false,
        }
    }

    /// Whether nothing of an unfinished frame has been seen.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.state == State::Boundary && (self.carry.is_empty() || self.spent)
    }

    /// The next part in `input` from `at`, which moves on. `None`: all of `input` is used up.
    ///
    /// # Errors
    /// [`FrameError`] when the stream is not BitTorrent or out of bounds; the connection is of no
    /// more use then.
    pub fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        at: &mut usize,
    ) -> Result<Option<Part<'a>>, FrameError> {
        if self.spent {
            self.carry.clear();
            self.spent = false;
        }
        if let State::Payload { left } = &mut self.state {
            let rest_bytes = input.len().saturating_sub(*at);
            if rest_bytes == 0 {
                return Ok(None);
            }
            let taken = rest_bytes.min(*left as usize);
            let range = *at..*at + taken;
            *at += taken;
            *left -= u32::try_from(taken).unwrap_or(*left);
            let last = *left == 0;
            if last {
                self.state = State::Boundary;
            }
            return Ok(Some(Part::Payload { range, last }));
        }
        if self.carry.is_empty() {
            let rest = input.get(*at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            match head_needs(&self.state, rest)? {
                Need::Have(bytes) => {
                    let range = *at..*at + bytes;
                    *at += bytes;
                    let raw = Raw {
                        bytes: &rest[..bytes],
                        range: Some(range),
                    };
                    return part(&mut self.state, raw).map(Some);
                }
                Need::More(_) => {
                    self.carry.extend_from_slice(rest);
                    *at = input.len();
                    return Ok(None);
                }
            }
        }
        loop {
            match head_needs(&self.state, &self.carry)? {
                Need::Have(_) => {
                    self.spent = true;
                    let raw = Raw {
                        bytes: &self.carry,
                        range: None,
                    };
                    return part(&mut self.state, raw).map(Some);
                }
                Need::More(total_bytes) => {
                    let rest = input.get(*at..).unwrap_or_default();
                    if rest.is_empty() {
                        return Ok(None);
                    }
                    let taken = rest.len().min(total_bytes - self.carry.len());
                    self.carry.extend_from_slice(&rest[..taken]);
                    *at += taken;
                }
            }
        }
    }
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

enum Need {
    /// The head or frame is complete in this many bytes.
    Have(usize),
    /// At least this many bytes in all are needed; more than there are.
    More(usize),
}

/// How much of `seen` is the next head or small frame, with every bound checked.
fn head_needs(state: &State, seen: &[u8]) -> Result<Need, FrameError> {
    let enough = |bytes: usize| {
        if seen.len() >= bytes {
            Need::Have(bytes)
        } else {
            Need::More(bytes)
        }
    };
    if *state == State::Handshake {
        let name_bytes = seen.len().min(PROTOCOL.len());
        if seen[..name_bytes] != PROTOCOL[..name_bytes] {
            return Err(FrameError::NotBitTorrent);
        }
        return Ok(enough(HANDSHAKE_BYTES));
    }
    let Some(prefix) = seen.first_chunk::<4>() else {
        return Ok(Need::More(4));
    };
    let length_bytes = u32::from_be_bytes(*prefix);
    if length_bytes == 0 {
        return Ok(Need::Have(4));
    }
    let Some(&id) = seen.get(4) else {
        return Ok(Need::More(5));
    };
    let (least, most) = match id {
        0..=3 => (1, 1),
        ID_HAVE => (5, 5),
        ID_REQUEST | ID_CANCEL => (13, 13),
        ID_PIECE => (10, 9 + MAX_BLOCK_BYTES),
        ID_BITFIELD | ID_EXTENDED => (2, MAX_FRAME_BYTES),
        _ => (1, MAX_FRAME_BYTES),
    };
    if length_bytes > most && most > 13 {
        return Err(FrameError::TooLong {
            id,
            length_bytes,
            limit_bytes: most,
        });
    }
    if length_bytes < least || length_bytes > most {
        return Err(FrameError::BadLength { id, length_bytes });
    }
    if id == ID_PIECE {
        return Ok(enough(PIECE_HEAD_BYTES));
    }
    Ok(enough(4 + length_bytes as usize))
}

fn part<'a>(state: &mut State, raw: Raw<'a>) -> Result<Part<'a>, FrameError> {
    if *state == State::Handshake {
        let Some(bytes) = raw.bytes.first_chunk() else {
            return Err(FrameError::NotBitTorrent);
        };
        let handshake = Handshake::decode(bytes)?;
        *state = State::Boundary;
        return Ok(Part::Handshake(handshake, raw));
    }
    let length_bytes = be32(raw.bytes, 0);
    if length_bytes == 0 {
        return Ok(Part::Frame(Kind::KeepAlive, raw));
    }
    let kind = match raw.bytes.get(4).copied().unwrap_or(u8::MAX) {
        0 => Kind::Choke,
        1 => Kind::Unchoke,
        2 => Kind::Interested,
        3 => Kind::NotInterested,
        ID_HAVE => Kind::Have(be32(raw.bytes, 5)),
        ID_BITFIELD => Kind::Bitfield,
        ID_REQUEST => Kind::Request(block(raw.bytes, be32(raw.bytes, 13))),
        ID_CANCEL => Kind::Cancel(block(raw.bytes, be32(raw.bytes, 13))),
        ID_PIECE => {
            let left = length_bytes.saturating_sub(9);
            *state = State::Payload { left };
            return Ok(Part::PieceHead(block(raw.bytes, left), raw));
        }
        ID_EXTENDED => Kind::Extended(raw.bytes.get(5).copied().unwrap_or_default()),
        id => Kind::Unknown(id),
    };
    Ok(Part::Frame(kind, raw))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(four) => u32::from_be_bytes(*four),
        None => 0,
    }
}

fn block(bytes: &[u8], length_bytes: u32) -> Block {
    Block {
        piece: be32(bytes, 5),
        begin: be32(bytes, 9),
        length_bytes,
    }
}

fn asking(id: u8, block: Block) -> [u8; 17] {
    let mut out = [0; 17];
    out[3] = 13;
    out[4] = id;
    out[5..9].copy_from_slice(&block.piece.to_be_bytes());
    out[9..13].copy_from_slice(&block.begin.to_be_bytes());
    out[13..].copy_from_slice(&block.length_bytes.to_be_bytes());
    out
}

/// A whole `request` frame.
#[must_use]
pub fn request(block: Block) -> [u8; 17] {
    asking(ID_REQUEST, block)
}

/// A whole `cancel` frame.
#[must_use]
pub fn cancel(block: Block) -> [u8; 17] {
    asking(ID_CANCEL, block)
}

/// A whole extended message (BEP 10) under the id that its receiver announced for it.
#[must_use]
pub fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + payload.len());
    let length_bytes = u32::try_from(payload.len() + 2).unwrap_or(u32::MAX);
    out.extend_from_slice(&length_bytes.to_be_bytes());
    out.push(ID_EXTENDED);
    out.push(id);
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests;
