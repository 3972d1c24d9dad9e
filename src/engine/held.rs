//! One unfinished piece: what is there, what is written, and whether its check has begun.

use std::ops::Range;

use anyhow::Context;
use librqbit::storage::TorrentStorage;

use super::map::FileMap;
use super::memory::Reservation;
use super::ranges::Ranges;

/// Most bytes in one write. Writes of 1 MiB took half as long again on ext4 when the page cache
/// first had to find room in such large parts; from 256 KiB on larger ones gain nothing.
const WRITE_BYTES: usize = 256 << 10;

/// Where the bytes of an unfinished piece are.
enum Place {
    /// Nothing has come yet.
    Nowhere,
    /// In memory, up to the highest byte that came; the reservation lasts as long.
    Memory(
        Vec<u8>,
        #[expect(dead_code, reason = "kept to be dropped")] Reservation,
    ),
    /// In the files: there was no memory.
    Files,
}

/// An unfinished piece.
///
/// Invariant: once a write returned and the piece is complete, the files hold all of it.
pub(super) struct Held {
    piece: u32,
    length: u32,
    place: Place,
    present: Ranges,
    /// Present in memory and not in the files.
    unwritten: Ranges,
    /// Complete and read since: its hash check has begun.
    checked: bool,
    /// The number of the last write.
    pub touched: u64,
}

impl Held {
    pub fn new(piece: u32, map: &FileMap) -> Held {
        let mut held = Held {
            piece,
            length: map.piece_bytes(piece),
            place: Place::Nowhere,
            present: Ranges::default(),
            unwritten: Ranges::default(),
            checked: false,
            touched: 0,
        };
        held.forget(map);
        held
    }

    /// Nothing is present but padding, which nobody sends.
    fn forget(&mut self, map: &FileMap) {
        self.present.clear();
        self.unwritten.clear();
        self.checked = false;
        let parts = map.parts(self.piece, 0..self.length);
        for part in parts.filter(|part| part.padding) {
            self.present.insert(part.range);
        }
    }

    pub fn is_complete(&self) -> bool {
        self.present.contains(&(0..self.length))
    }

    pub fn wants_memory(&self) -> bool {
        matches!(self.place, Place::Nowhere)
    }

    pub fn holds_memory(&self) -> bool {
        matches!(self.place, Place::Memory(..))
    }

    /// To be called before a write: forgets a piece whose check began and that is fetched again.
    /// True if so, which means that the check failed.
    pub fn begin_again(&mut self, map: &FileMap) -> bool {
        let again = self.checked;
        if again {
            self.forget(map);
        }
        again
    }

    pub fn hold(&mut self, reservation: Reservation) {
        self.place = Place::Memory(Vec::with_capacity(self.length as usize), reservation);
    }

    /// Lets go of the memory, writing what no file holds.
    pub fn spill(&mut self, map: &FileMap, files: &dyn TorrentStorage) -> anyhow::Result<()> {
        self.flush(map, files)?;
        self.place = Place::Files;
        Ok(())
    }

    /// Takes bytes; writes the whole piece if that completes it.
    pub fn write(
        &mut self,
        range: Range<u32>,
        bytes: &[u8],
        map: &FileMap,
        files: &dyn TorrentStorage,
    ) -> anyhow::Result<()> {
        match &mut self.place {
            Place::Memory(buffer, _) => {
                put(buffer, range.start as usize, bytes);
                self.unwritten.insert(range.clone());
                self.present.insert(range);
                if self.is_complete() {
                    self.flush(map, files)?;
                }
            }
            Place::Nowhere | Place::Files => {
                write_files(self.piece, range.clone(), bytes, map, files)?;
                self.present.insert(range);
            }
        }
        Ok(())
    }

    /// Reads from memory; false if the files have to be asked.
    pub fn read(
        &mut self,
        range: Range<u32>,
        out: &mut [u8],
        map: &FileMap,
        files: &dyn TorrentStorage,
    ) -> anyhow::Result<bool> {
        self.checked |= self.is_complete();
        if let Place::Memory(buffer, _) = &self.place
            && self.present.contains(&range)
            && let Some(bytes) = buffer.get(range.start as usize..range.end as usize)
        {
            out.copy_from_slice(bytes);
            return Ok(true);
        }
        self.flush(map, files)?;
        Ok(false)
    }

    fn flush(&mut self, map: &FileMap, files: &dyn TorrentStorage) -> anyhow::Result<()> {
        let Place::Memory(buffer, _) = &self.place else {
            return Ok(());
        };
        for range in self.unwritten.iter() {
            let bytes = buffer.get(range.start as usize..range.end as usize);
            let bytes = bytes.context("bug: bytes that came are not in memory")?;
            write_files(self.piece, range, bytes, map, files)?;
        }
        self.unwritten.clear();
        Ok(())
    }
}

/// Writes `bytes` at `at`, growing the buffer; in order it is a plain append.
fn put(buffer: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if buffer.len() == at {
        buffer.extend_from_slice(bytes);
        return;
    }
    if buffer.len() < end {
        buffer.resize(end, 0);
    }
    if let Some(place) = buffer.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

fn write_files(
    piece: u32,
    range: Range<u32>,
    bytes: &[u8],
    map: &FileMap,
    files: &dyn TorrentStorage,
) -> anyhow::Result<()> {
    let mut rest = bytes;
    for part in map.parts(piece, range) {
        let (now, later) = rest.split_at(rest.len().min(part.range.len()));
        if !part.padding {
            let mut at = part.file_offset;
            for slice in now.chunks(WRITE_BYTES) {
                // Not the vectored call: librqbit's takes a short write (disk full) for a whole one.
                files.pwrite_all(part.file, at, slice)?;
                at += slice.len() as u64;
            }
        }
        rest = later;
    }
    Ok(())
}
