//! Where a piece's bytes lie in a torrent's files, and back.

use std::ops::Range;

/// One file as the storage sees it.
#[derive(Clone, Debug)]
struct FileSpan {
    begins: u64,
    length_bytes: u64,
    padding: bool,
}

/// A part of a piece that lies in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub file: usize,
    pub file_offset: u64,
    /// Within the piece.
    pub range: Range<u32>,
    /// In a file that is never stored and reads as zero.
    pub padding: bool,
}

/// The files of a torrent laid end to end and cut into pieces.
#[derive(Debug)]
pub(super) struct FileMap {
    files: Vec<FileSpan>,
    piece_length: u64,
    total: u64,
}

impl FileMap {
    /// From each file's length and whether it is padding.
    pub fn new(files: impl IntoIterator<Item = (u64, bool)>, piece_length_bytes: u32) -> FileMap {
        let mut total = 0u64;
        let span = |(length_bytes, padding)| {
            let begins = total;
            total = total.saturating_add(length_bytes);
            FileSpan {
                begins,
                length_bytes,
                padding,
            }
        };
        let files = files.into_iter().map(span).collect();
        FileMap {
            files,
            piece_length: u64::from(piece_length_bytes.max(1)),
            total,
        }
    }

    /// Length of `piece`, 0 if there is none.
    pub fn piece_bytes(&self, piece: u32) -> u32 {
        let begins = u64::from(piece) * self.piece_length;
        let bytes = self.total.saturating_sub(begins).min(self.piece_length);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// The pieces that `length` bytes at `offset` of `file` lie in, each with the range within it.
    /// `None` if the file has no such bytes.
    pub fn pieces(
        &self,
        file: usize,
        offset: u64,
        length: usize,
    ) -> Option<impl Iterator<Item = (u32, Range<u32>)>> {
        let span = self.files.get(file)?;
        let end_in_file = offset.checked_add(length as u64)?;
        if end_in_file > span.length_bytes {
            return None;
        }
        let (mut at, end) = (span.begins + offset, span.begins + end_in_file);
        let piece_length = self.piece_length;
        Some(std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let piece = at / piece_length;
            let begins = piece * piece_length;
            let stop = end.min(begins + piece_length);
            let range = u32::try_from(at - begins).ok()?..u32::try_from(stop - begins).ok()?;
            at = stop;
            Some((u32::try_from(piece).ok()?, range))
        }))
    }

    /// The parts of files that `range` of `piece` lies in, in order; empty files have none.
    pub fn parts(&self, piece: u32, range: Range<u32>) -> impl Iterator<Item = Part> {
        let begins = u64::from(piece) * self.piece_length;
        let (start, end) = (
            begins + u64::from(range.start),
            begins + u64::from(range.end),
        );
        let first = self
            .files
            .partition_point(|span| span.begins + span.length_bytes <= start);
        let spans = self.files.iter().enumerate().skip(first);
        spans
            .take_while(move |(_, span)| span.begins < end)
            .filter(|(_, span)| span.length_bytes > 0)
            .filter_map(move |(file, span)| {
                let from = start.max(span.begins);
                let to = end.min(span.begins + span.length_bytes);
                Some(Part {
                    file,
                    file_offset: from - span.begins,
                    range: u32::try_from(from - begins).ok()?..u32::try_from(to - begins).ok()?,
                    padding: span.padding,
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_piece_over_several_files_is_cut_at_their_ends() {
        // Files of 5, 0, 3 (padding) and 12 bytes; pieces of 8.
        let map = FileMap::new([(5, false), (0, false), (3, true), (12, false)], 8);
        let parts: Vec<Part> = map.parts(0, 0..8).collect();
        let part = |file, file_offset, range, padding| Part {
            file,
            file_offset,
            range,
            padding,
        };
        assert_eq!(parts, [part(0, 0, 0..5, false), part(2, 0, 5..8, true)]);
        assert_eq!(
            map.parts(1, 2..8).collect::<Vec<_>>(),
            [part(3, 2, 2..8, false)]
        );
        assert_eq!(
            (map.piece_bytes(0), map.piece_bytes(2), map.piece_bytes(3)),
            (8, 4, 0)
        );
        assert_eq!(
            map.pieces(3, 6, 4)
                .expect("in the file")
                .collect::<Vec<_>>(),
            [(1, 6..8), (2, 0..2)]
        );
        assert!(map.pieces(3, 6, 7).is_none());
        assert!(map.pieces(4, 0, 1).is_none());
    }

    proptest! {
        #[test]
        fn parts_and_pieces_are_inverse(
            lengths in proptest::collection::vec((0u64..50, any::<bool>()), 1..8),
            piece_length in 1u32..40,
        ) {
            let map = FileMap::new(lengths.clone(), piece_length);
            let total: u64 = lengths.iter().map(|(length, _)| length).sum();
            let mut covered = 0u64;
            for piece in 0..total.div_ceil(u64::from(piece_length)) as u32 {
                let mut at = 0;
                for part in map.parts(piece, 0..map.piece_bytes(piece)) {
                    prop_assert_eq!(part.range.start, at);
                    at = part.range.end;
                    let back: Vec<_> = map.pieces(part.file, part.file_offset, part.range.len()).expect("in the file").collect();
                    prop_assert_eq!(back, vec![(piece, part.range.clone())]);
                    covered += part.range.len() as u64;
                }
                prop_assert_eq!(at, map.piece_bytes(piece));
            }
            prop_assert_eq!(covered, total);
        }
    }
}
