//! Reading and writing metainfo files (BEP 3; the private flag of BEP 27; padding of BEP 47).
//!
//! A [`Metainfo`] that exists is sound: names stay in their folder, the number of hashes fits the
//! length, sums do not overflow. It keeps the info dictionary's raw bytes, which the info hash is
//! over.

use sha1::{Digest, Sha1};
use thiserror::Error;

use super::bencode::{self, BencodeError, Dict, Value};
use super::files::{self, TorrentFile};
use super::names::NameFault;
use super::pieces::PieceSet;
use crate::units::{InfoHash, PieceIndex};

/// Largest metainfo file read.
const MAX_TORRENT_BYTES: usize = 32 << 20;

/// Piece lengths read from others; ours are 16 KiB to 16 MiB.
const PIECE_LENGTHS: std::ops::RangeInclusive<i64> = 1024..=64 << 20;

/// Most trackers of a torrent; what a file has beyond is dropped.
pub const MAX_TRACKERS: usize = 100;

/// Bytes of a request on the wire; blocks are counted in 32 bits.
const BLOCK_BYTES: u64 = 16 << 10;

/// Why bytes are not a torrent that we take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetainfoError {
    /// More bytes than any real torrent has.
    #[error("this is not a torrent: {0} bytes, the most is {MAX_TORRENT_BYTES}")]
    TooBig(usize),
    /// Not bencode.
    #[error("this is not a torrent: {0}")]
    Bencode(#[from] BencodeError),
    /// A field is missing or of the wrong kind.
    #[error("this is not a torrent: its field {0:?} is missing or malformed")]
    Field(&'static str),
    /// A number outside its range.
    #[error("this torrent cannot be used: its {field:?} is {value}")]
    Range {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// Only version 2 (BEP 52).
    #[error("this torrent is of version 2 only (BEP 52); DPay reads version 1 and hybrid torrents")]
    OnlyVersion2,
    /// A name that could leave its folder, or that no file system takes.
    #[error("this torrent cannot be used: bad name {name:?}: {fault}")]
    Name {
        /// The name, shortened, fit for printing.
        name: String,
        /// What is wrong.
        fault: NameFault,
    },
    /// Two files of one path, or a file where another needs a folder.
    #[error("this torrent cannot be used: {0:?} is there twice")]
    Clash(String),
    /// Too many files, or too many parts in a path.
    #[error("this torrent cannot be used: it has more than {0}")]
    TooMany(&'static str),
    /// No bytes to share.
    #[error("this torrent cannot be used: all its files are empty")]
    Empty,
    /// The total does not fit.
    #[error("this torrent cannot be used: its files are too long together")]
    TooLong,
    /// Hashes do not fit the length.
    #[error(
        "this torrent is malformed: {length_bytes} bytes need {needed} piece hashes, it has {got}"
    )]
    Pieces {
        /// Total length.
        length_bytes: u64,
        /// Hashes needed.
        needed: u64,
        /// Hashes there (rounded down).
        got: u64,
    },
}

/// A torrent's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    info_hash: InfoHash,
    info_bytes: Vec<u8>,
    name: String,
    multi_file: bool,
    files: Vec<TorrentFile>,
    length_bytes: u64,
    piece_length_bytes: u32,
    pieces: Vec<[u8; 20]>,
    private: bool,
    trackers: Vec<Vec<String>>,
    comment: Option<String>,
    created_by: Option<String>,
}

impl Metainfo {
    /// Reads a `.torrent` file.
    ///
    /// # Errors
    /// [`MetainfoError`] says which rule the bytes break; the text is fit for a user.
    pub fn decode(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        if bytes.len() > MAX_TORRENT_BYTES {
            return Err(MetainfoError::TooBig(bytes.len()));
        }
        let value = bencode::read(bytes)?;
        let top = value.as_dict().ok_or(MetainfoError::Field("info"))?;
        let info = top.get("info").and_then(Value::as_dict);
        let (Some(info), Some(raw)) = (info, top.raw("info")) else {
            return Err(MetainfoError::Field("info"));
        };
        let mut metainfo = Metainfo::read_info(info, raw)?;
        metainfo.trackers = read_trackers(top);
        metainfo.comment = text(top, "comment");
        metainfo.created_by = text(top, "created by");
        Ok(metainfo)
    }

    /// Reads an info dictionary alone, as peers send it for a magnet link (BEP 9).
    ///
    /// # Errors
    /// As [`Metainfo::decode`].
    pub fn decode_info(
        info_bytes: &[u8],
        trackers: Vec<Vec<String>>,
    ) -> Result<Metainfo, MetainfoError> {
        if info_bytes.len() > MAX_TORRENT_BYTES {
            return Err(MetainfoError::TooBig(info_bytes.len()));
        }
        let value = bencode::read(info_bytes)?;
        let info = value.as_dict().ok_or(MetainfoError::Field("info"))?;
        let mut metainfo = Metainfo::read_info(info, info_bytes)?;
        metainfo.trackers = trackers;
        Ok(metainfo)
    }

    fn read_info(info: &Dict<'_>, raw: &[u8]) -> Result<Metainfo, MetainfoError> {
        let pieces = match info.get("pieces").map(Value::as_bytes) {
            Some(Some(pieces)) => pieces,
            None if info.get("file tree").is_some() => return Err(MetainfoError::OnlyVersion2),
            _ => return Err(MetainfoError::Field("pieces")),
        };
        let piece_length = files::number(info, "piece length")?;
        if !PIECE_LENGTHS.contains(&piece_length) {
            return Err(MetainfoError::Range {
                field: "piece length",
                value: piece_length,
            });
        }
        let name = info.get("name").and_then(Value::as_bytes);
        let name = files::checked_name(name.ok_or(MetainfoError::Field("name"))?)?;
        let private = match info.get("private").map(Value::as_int) {
            None | Some(Some(0)) => false,
            Some(Some(1)) => true,
            _ => return Err(MetainfoError::Field("private")),
        };
        let (files, multi_file) = files::read(info, &name)?;
        let mut metainfo = Metainfo {
            info_hash: InfoHash(Sha1::digest(raw).into()),
            info_bytes: raw.to_vec(),
            name,
            multi_file,
            files,
            length_bytes: 0,
            // In range, checked above.
            piece_length_bytes: u32::try_from(piece_length).unwrap_or(u32::MAX),
            pieces: pieces.as_chunks().0.to_vec(),
            private,
            trackers: Vec::new(),
            comment: None,
            created_by: None,
        };
        metainfo.length_bytes = metainfo.lay_out()?;
        metainfo.check_pieces(pieces.len())?;
        Ok(metainfo)
    }

    /// Sets each file's offset and returns the total length.
    fn lay_out(&mut self) -> Result<u64, MetainfoError> {
        let mut offset = 0u64;
        for file in &mut self.files {
            file.offset_bytes = offset;
            offset = offset
                .checked_add(file.length_bytes)
                .ok_or(MetainfoError::TooLong)?;
        }
        match offset {
            0 => Err(MetainfoError::Empty),
            _ => Ok(offset),
        }
    }

    fn check_pieces(&self, hash_bytes: usize) -> Result<(), MetainfoError> {
        let piece_length = u64::from(self.piece_length_bytes);
        let needed = self.length_bytes.div_ceil(piece_length);
        let blocks = needed.saturating_mul(piece_length.div_ceil(BLOCK_BYTES));
        if blocks > u64::from(u32::MAX) {
            return Err(MetainfoError::TooLong);
        }
        let got = self.pieces.len() as u64;
        if got != needed || !hash_bytes.is_multiple_of(20) {
            return Err(MetainfoError::Pieces {
                length_bytes: self.length_bytes,
                needed,
                got,
            });
        }
        Ok(())
    }

    /// The same torrent with other trackers.
    #[must_use]
    pub fn with_trackers(mut self, tiers: Vec<Vec<String>>) -> Metainfo {
        self.trackers = tiers;
        self
    }

    pub(super) fn with_comment(mut self, comment: Option<String>) -> Metainfo {
        self.comment = comment;
        self
    }

    /// The file's bytes: canonical except for the info dictionary, which stays as it was read.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        if let Some(first) = self.trackers.iter().flatten().next() {
            bencode::put_bytes(&mut out, b"announce");
            bencode::put_bytes(&mut out, first.as_bytes());
        }
        if self.trackers.iter().flatten().count() > 1 {
            bencode::put_bytes(&mut out, b"announce-list");
            out.push(b'l');
            for tier in &self.trackers {
                bencode::put_strings(&mut out, tier);
            }
            out.push(b'e');
        }
        for (key, value) in [("comment", &self.comment), ("created by", &self.created_by)] {
            if let Some(value) = value {
                bencode::put_bytes(&mut out, key.as_bytes());
                bencode::put_bytes(&mut out, value.as_bytes());
            }
        }
        bencode::put_bytes(&mut out, b"info");
        out.extend_from_slice(&self.info_bytes);
        out.push(b'e');
        out
    }

    /// SHA-1 of the info dictionary's raw bytes.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// The info dictionary's raw bytes.
    #[must_use]
    pub fn info_bytes(&self) -> &[u8] {
        &self.info_bytes
    }

    /// Name of the file or folder; from strangers, but safe to join to a folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its files lie in a folder called [`Metainfo::name`].
    #[must_use]
    pub fn is_multi_file(&self) -> bool {
        self.multi_file
    }

    /// The files in order, at least one.
    #[must_use]
    pub fn files(&self) -> &[TorrentFile] {
        &self.files
    }

    /// Length of all files together, padding included; not 0.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Length of the pieces that the files of these indexes lie in: who fetches the files fetches, and pays
    /// for, all of it.
    #[must_use]
    pub fn span_bytes(&self, is_wanted: impl Fn(u32) -> bool) -> u64 {
        let span = self.span(is_wanted);
        let sizes = span.iter().filter_map(|piece| self.piece_size_bytes(piece));
        sizes.map(u64::from).sum()
    }

    /// The pieces that the files of these indexes lie in.
    #[must_use]
    pub fn span(&self, is_wanted: impl Fn(u32) -> bool) -> PieceSet {
        let mut span = PieceSet::new(self.piece_count());
        let piece_bytes = u64::from(self.piece_length_bytes).max(1);
        let piece_at = |byte: u64| u32::try_from(byte / piece_bytes).unwrap_or(u32::MAX);
        let files = self.files.iter().zip(0u32..);
        for (file, _) in files.filter(|(file, index)| file.length_bytes > 0 && is_wanted(*index)) {
            let last_byte = file.offset_bytes.saturating_add(file.length_bytes - 1);
            for piece in piece_at(file.offset_bytes)..=piece_at(last_byte) {
                span.insert(PieceIndex(piece));
            }
        }
        span
    }

    /// Length of every piece but the last: 1 KiB to 64 MiB.
    #[must_use]
    pub fn piece_length_bytes(&self) -> u32 {
        self.piece_length_bytes
    }

    /// SHA-1 of each piece.
    #[must_use]
    pub fn pieces(&self) -> &[[u8; 20]] {
        &self.pieces
    }

    /// How many pieces, at least one.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        // At most 2^32 blocks, and a piece has at least one.
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }

    /// Length of one piece: the last may be shorter. `None` if there is no such piece.
    #[must_use]
    pub fn piece_size_bytes(&self, piece: PieceIndex) -> Option<u32> {
        if piece.0 >= self.piece_count() {
            return None;
        }
        let begins = u64::from(piece.0) * u64::from(self.piece_length_bytes);
        let rest = self.length_bytes.saturating_sub(begins);
        Some(
            u32::try_from(rest).map_or(self.piece_length_bytes, |r| r.min(self.piece_length_bytes)),
        )
    }

    /// Whether peers may come from its own trackers only (BEP 27): such a torrent must be kept out
    /// of the DHT.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Tiers of tracker URLs (BEP 12): http, https or udp, from strangers.
    #[must_use]
    pub fn trackers(&self) -> &[Vec<String>] {
        &self.trackers
    }

    /// A comment, from strangers.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The program that made the file, from strangers.
    #[must_use]
    pub fn created_by(&self) -> Option<&str> {
        self.created_by.as_deref()
    }
}

fn text(dict: &Dict<'_>, field: &str) -> Option<String> {
    let bytes = dict.get(field)?.as_bytes()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The tiers of `announce-list`, or `announce` alone (BEP 12); what is not a tracker is dropped.
fn read_trackers(top: &Dict<'_>) -> Vec<Vec<String>> {
    let url = |value: &Value<'_>| {
        let url = std::str::from_utf8(value.as_bytes()?).ok()?;
        is_tracker(url).then(|| url.to_owned())
    };
    let mut left = MAX_TRACKERS;
    let mut tiers = Vec::new();
    for tier in top
        .get("announce-list")
        .and_then(Value::as_list)
        .unwrap_or_default()
    {
        let urls = tier.as_list().unwrap_or_default();
        let urls: Vec<String> = urls.iter().filter_map(url).take(left).collect();
        left -= urls.len();
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    if tiers.is_empty() {
        tiers.extend(top.get("announce").and_then(url).map(|url| vec![url]));
    }
    tiers
}

/// Whether `url` is one that a client can ask.
#[must_use]
pub fn is_tracker(url: &str) -> bool {
    url.len() <= 2048
        && url::Url::parse(url)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "udp") && url.has_host())
}

#[cfg(test)]
#[path = "metainfo_tests.rs"]
mod tests;
