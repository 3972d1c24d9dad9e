//! Making metainfo files (BEP 3): a state machine fed with the content's bytes, in order.
//!
//! One hash a piece and none beyond the end: some clients refuse a file with a hash too many.

use sha1::{Digest, Sha1};
use thiserror::Error;

use super::bencode;
use super::files::{self, TorrentFile};
use super::metainfo::{self, Metainfo, MetainfoError};

/// Length of a piece in the torrents we make: a power of two, 16 KiB to 16 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PieceLength(u32);

impl PieceLength {
    /// 16 KiB.
    pub const MIN: PieceLength = PieceLength(16 << 10);
    /// 16 MiB.
    pub const MAX: PieceLength = PieceLength(16 << 20);

    /// A length of `kib` KiB.
    ///
    /// # Errors
    /// [`MakeError::PieceLength`] unless it is a power of two from 16 to 16384.
    pub fn from_kib(kib: u32) -> Result<PieceLength, MakeError> {
        if kib.is_power_of_two() && (16..=16384).contains(&kib) {
            Ok(PieceLength(kib << 10))
        } else {
            Err(MakeError::PieceLength(kib))
        }
    }

    /// The default for content of `length_bytes`: the shortest that gives at most 1024 pieces,
    /// so that both the file and what is lost with a bad piece stay small.
    #[must_use]
    pub fn for_length(length_bytes: u64) -> PieceLength {
        let mut piece = PieceLength::MIN;
        while piece < PieceLength::MAX && length_bytes.div_ceil(u64::from(piece.0)) > 1024 {
            piece = PieceLength(piece.0 << 1);
        }
        piece
    }

    /// The length in bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.0
    }
}

impl std::str::FromStr for PieceLength {
    type Err = MakeError;
    /// From a number of KiB.
    fn from_str(text: &str) -> Result<Self, MakeError> {
        PieceLength::from_kib(text.parse().unwrap_or(0))
    }
}

/// What a torrent is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One file.
    File {
        /// Its length.
        length_bytes: u64,
    },
    /// A folder: paths below it and lengths, in the order of the content's bytes.
    Folder(Vec<(Vec<String>, u64)>),
}

/// Why a torrent cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MakeError {
    /// Not a power of two in range.
    #[error("the piece length must be a power of two from 16 to 16384 KiB, not {0}")]
    PieceLength(u32),
    /// What would be made is no torrent that we would read.
    #[error(transparent)]
    Unusable(#[from] MetainfoError),
    /// A tracker's URL is none.
    #[error("{0:?} is not the URL of a tracker (http, https or udp)")]
    Tracker(String),
    /// More bytes came than the layout says: a file grew while it was read.
    #[error(
        "the content is longer than the {0} bytes announced; did a file change while it was read?"
    )]
    TooLong(u64),
    /// Fewer bytes came than the layout says: a file shrank while it was read.
    #[error(
        "the content ended after {got} of {announced} bytes; did a file change while it was read?"
    )]
    TooShort {
        /// Bytes the layout says.
        announced: u64,
        /// Bytes that came.
        got: u64,
    },
}

/// Makes a torrent: feed the content with [`MetainfoBuilder::update`], then
/// [`MetainfoBuilder::finish`]. The same input gives the same bytes, so no date is written.
pub struct MetainfoBuilder {
    name: String,
    layout: Layout,
    piece_length: PieceLength,
    length_bytes: u64,
    private: bool,
    trackers: Vec<String>,
    comment: Option<String>,
    hasher: Sha1,
    fed_bytes: u64,
    pieces: Vec<u8>,
}

impl MetainfoBuilder {
    /// A torrent called `name`.
    ///
    /// # Errors
    /// [`MakeError::Unusable`] for names, paths or lengths that a torrent cannot have.
    pub fn new(name: &str, layout: Layout, piece_length: PieceLength) -> Result<Self, MakeError> {
        let files: Vec<TorrentFile> = match &layout {
            Layout::File { length_bytes } => vec![file(vec![name.to_owned()], *length_bytes)],
            Layout::Folder(files) => files.iter().map(|(p, l)| file(p.clone(), *l)).collect(),
        };
        let mut lengths = files.iter().map(|file| file.length_bytes);
        let length_bytes = lengths
            .try_fold(0u64, u64::checked_add)
            .filter(|sum| i64::try_from(*sum).is_ok())
            .ok_or(MetainfoError::TooLong)?;
        if length_bytes == 0 {
            return Err(MetainfoError::Empty.into());
        }
        files::check_clashes(&files)?;
        let builder = MetainfoBuilder {
            name: name.to_owned(),
            layout,
            piece_length,
            length_bytes,
            private: false,
            trackers: Vec::new(),
            comment: None,
            hasher: Sha1::new(),
            fed_bytes: 0,
            pieces: Vec::new(),
        };
        // Whatever else a reader would refuse is refused before the content is read.
        let hashes = length_bytes.div_ceil(u64::from(piece_length.0));
        if hashes > 1_500_000 {
            return Err(MetainfoError::TooLong.into());
        }
        let placeholder = vec![0; usize::try_from(hashes * 20).unwrap_or(0)];
        Metainfo::decode_info(&builder.info(&placeholder), Vec::new())?;
        Ok(builder)
    }

    /// Marks it private (BEP 27): peers from its own trackers only.
    #[must_use]
    pub fn private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }

    /// Adds a tracker, each its own tier.
    ///
    /// # Errors
    /// [`MakeError::Tracker`] if it is no URL of a tracker.
    pub fn tracker(mut self, url: &str) -> Result<Self, MakeError> {
        if !metainfo::is_tracker(url) {
            return Err(MakeError::Tracker(url.chars().take(200).collect()));
        }
        self.trackers.push(url.to_owned());
        Ok(self)
    }

    /// Sets the comment.
    #[must_use]
    pub fn comment(mut self, comment: &str) -> Self {
        self.comment = Some(comment.to_owned());
        self
    }

    /// Bytes the content must have in all.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Takes the next bytes of the content.
    ///
    /// # Errors
    /// [`MakeError::TooLong`] if they go beyond what the layout announced.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), MakeError> {
        let piece_length = u64::from(self.piece_length.0);
        if bytes.len() as u64 > self.length_bytes - self.fed_bytes {
            return Err(MakeError::TooLong(self.length_bytes));
        }
        while !bytes.is_empty() {
            let room = piece_length - self.fed_bytes % piece_length;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(0)));
            self.hasher.update(now);
            self.fed_bytes += now.len() as u64;
            bytes = later;
            if self.fed_bytes.is_multiple_of(piece_length) || self.fed_bytes == self.length_bytes {
                self.pieces.extend_from_slice(&self.hasher.finalize_reset());
            }
        }
        Ok(())
    }

    /// The torrent, once all content was fed.
    ///
    /// # Errors
    /// [`MakeError::TooShort`] if content is missing.
    pub fn finish(self) -> Result<Metainfo, MakeError> {
        if self.fed_bytes != self.length_bytes {
            return Err(MakeError::TooShort {
                announced: self.length_bytes,
                got: self.fed_bytes,
            });
        }
        let trackers: Vec<Vec<String>> = self.trackers.iter().map(|t| vec![t.clone()]).collect();
        let made = Metainfo::decode_info(&self.info(&self.pieces), trackers)?;
        Ok(made.with_comment(self.comment))
    }

    /// The info dictionary, keys sorted.
    fn info(&self, pieces: &[u8]) -> Vec<u8> {
        let mut out = vec![b'd'];
        let key = |out: &mut Vec<u8>, key: &str| bencode::put_bytes(out, key.as_bytes());
        match &self.layout {
            Layout::File { length_bytes } => {
                key(&mut out, "length");
                bencode::put_int(&mut out, *length_bytes);
            }
            Layout::Folder(files) => {
                key(&mut out, "files");
                out.push(b'l');
                for (path, length_bytes) in files {
                    out.push(b'd');
                    key(&mut out, "length");
                    bencode::put_int(&mut out, *length_bytes);
                    key(&mut out, "path");
                    bencode::put_strings(&mut out, path);
                    out.push(b'e');
                }
                out.push(b'e');
            }
        }
        key(&mut out, "name");
        bencode::put_bytes(&mut out, self.name.as_bytes());
        key(&mut out, "piece length");
        bencode::put_int(&mut out, u64::from(self.piece_length.0));
        key(&mut out, "pieces");
        bencode::put_bytes(&mut out, pieces);
        if self.private {
            key(&mut out, "private");
            bencode::put_int(&mut out, 1);
        }
        out.push(b'e');
        out
    }
}

fn file(path: Vec<String>, length_bytes: u64) -> TorrentFile {
    TorrentFile {
        path,
        length_bytes,
        offset_bytes: 0,
        padding: false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn make(length: usize, piece_kib: u32, chunk: usize) -> Metainfo {
        let layout = Layout::File {
            length_bytes: length as u64,
        };
        let piece = PieceLength::from_kib(piece_kib).expect("a power of two");
        let mut builder = MetainfoBuilder::new("x", layout, piece).expect("usable");
        let content: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
        for chunk in content.chunks(chunk) {
            builder.update(chunk).expect("fits");
        }
        let made = builder.finish().expect("complete");
        let pieces: Vec<[u8; 20]> = content
            .chunks(piece_kib as usize * 1024)
            .map(|piece| Sha1::digest(piece).into())
            .collect();
        assert_eq!(made.pieces(), pieces);
        made
    }

    #[test]
    fn one_hash_a_piece_and_none_beyond_the_end() {
        assert_eq!(make(16384, 16, 1000).piece_count(), 1);
        assert_eq!(make(16385, 16, 1000).piece_count(), 2);
        assert_eq!(make(32768, 16, 16384).piece_count(), 2);
        assert_eq!(make(1, 16384, 1).piece_count(), 1);
    }

    #[test]
    fn a_folder_with_empty_files_is_made() {
        let files = vec![
            (vec!["a".to_owned()], 3),
            (vec!["d".to_owned(), "empty".to_owned()], 0),
            (vec!["한국어 파일.txt".to_owned()], 2),
        ];
        let mut builder = MetainfoBuilder::new("folder", Layout::Folder(files), PieceLength::MIN)
            .expect("usable")
            .private(true)
            .comment("hello")
            .tracker("http://tracker.example/announce")
            .expect("a tracker")
            .tracker("udp://tracker.example:80")
            .expect("a tracker");
        builder.update(b"abcde").expect("fits");
        let made = builder.finish().expect("complete");
        assert!(made.is_private() && made.is_multi_file());
        assert_eq!(made.comment(), Some("hello"));
        assert_eq!(made.trackers().len(), 2);
        assert_eq!(Metainfo::decode(&made.encode()), Ok(made));
    }

    #[test]
    fn content_that_changed_meanwhile_is_refused() {
        let new = || {
            MetainfoBuilder::new("x", Layout::File { length_bytes: 5 }, PieceLength::MIN)
                .expect("usable")
        };
        let mut builder = new();
        builder.update(b"abc").expect("fits");
        assert_eq!(builder.update(b"def"), Err(MakeError::TooLong(5)));
        let mut builder = new();
        builder.update(b"abcd").expect("fits");
        let short = MakeError::TooShort {
            announced: 5,
            got: 4,
        };
        assert_eq!(builder.finish().map(|_| ()), Err(short));
    }

    #[test]
    fn what_no_reader_takes_is_not_made() {
        let refuse =
            |name: &str, layout: Layout| match MetainfoBuilder::new(name, layout, PieceLength::MIN)
            {
                Ok(_) => panic!("made"),
                Err(error) => error.to_string(),
            };
        assert!(refuse("x", Layout::File { length_bytes: 0 }).contains("empty"));
        assert!(refuse("x", Layout::Folder(vec![])).contains("empty"));
        assert!(refuse("..", Layout::File { length_bytes: 1 }).contains("bad name"));
        let files = vec![(vec!["a".to_owned(), "..".to_owned()], 1)];
        assert!(refuse("x", Layout::Folder(files)).contains("bad name"));
        let files = vec![(vec!["a\\b".to_owned()], 1)];
        assert!(refuse("x", Layout::Folder(files)).contains("backslash"));
        let twice = vec![(vec!["a".to_owned()], 1), (vec!["a".to_owned()], 1)];
        assert!(refuse("x", Layout::Folder(twice)).contains("twice"));
        let long = Layout::File {
            length_bytes: u64::MAX,
        };
        assert!(refuse("x", long).contains("too long"));
    }

    #[test]
    fn piece_lengths_are_powers_of_two_in_range() {
        for kib in [16, 32, 1024, 16384] {
            let length = PieceLength::from_kib(kib).expect("in range");
            assert_eq!(length.bytes(), kib * 1024);
        }
        for kib in [0, 1, 8, 17, 24, 1000, 32768, u32::MAX] {
            assert_eq!(PieceLength::from_kib(kib), Err(MakeError::PieceLength(kib)));
        }
        assert!("256k".parse::<PieceLength>().is_err());
    }

    #[test]
    fn the_default_piece_length_gives_about_a_thousand_pieces() {
        let kib = |bytes| PieceLength::for_length(bytes).bytes() >> 10;
        assert_eq!(kib(1), 16);
        assert_eq!(kib(16 << 20), 16);
        assert_eq!(kib((16 << 20) + 1), 32);
        assert_eq!(kib(1 << 30), 1024);
        assert_eq!(kib(16 << 30), 16384);
        assert_eq!(kib(u64::MAX), 16384);
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_give_the_same_torrent(length in 1usize..200_000, chunk in 1usize..70_000) {
            prop_assert_eq!(make(length, 16, chunk), make(length, 16, length));
        }
    }
}
