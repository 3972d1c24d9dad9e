//! Reads a stretch of a verified piece from the files, for the rare case that deliveries of a block
//! differ and nothing else says which was right.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::shared::ContentReader;
use crate::engine::Handle;
use crate::torrent::{Metainfo, TorrentFile};

/// A reader of what an engine has on disk of a torrent.
#[must_use]
pub fn content_of(handle: Handle) -> ContentReader {
    Arc::new(move |piece, begin, length_bytes| {
        let metainfo = handle.metainfo()?;
        let folder = handle.content_path()?;
        let start = u64::from(piece) * u64::from(metainfo.piece_length_bytes()) + u64::from(begin);
        read(&metainfo, &folder, start, length_bytes)
    })
}

/// Bytes of the torrent from `start` on; `None` where files are short or not there.
fn read(metainfo: &Metainfo, content: &Path, start: u64, length_bytes: u32) -> Option<Vec<u8>> {
    let end = start.checked_add(u64::from(length_bytes))?;
    let mut out = Vec::with_capacity(length_bytes as usize);
    for file in metainfo.files() {
        let file_end = file.offset_bytes.checked_add(file.length_bytes)?;
        let (from, to) = (start.max(file.offset_bytes), end.min(file_end));
        if from < to {
            let bytes = usize::try_from(to - from).ok()?;
            let path = if metainfo.is_multi_file() {
                content.join(file.relative_path())
            } else {
                content.to_path_buf()
            };
            read_file(file, &path, from - file.offset_bytes, bytes, &mut out)?;
        }
    }
    (out.len() == length_bytes as usize).then_some(out)
}

fn read_file(
    file: &TorrentFile,
    path: &Path,
    from: u64,
    bytes: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    let begin = out.len();
    out.resize(begin + bytes, 0);
    if file.padding {
        return Some(());
    }
    let mut open = File::open(path).ok()?;
    open.seek(SeekFrom::Start(from)).ok()?;
    open.read_exact(out.get_mut(begin..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::{Layout, MetainfoBuilder, PieceLength};

    #[test]
    fn a_stretch_over_several_files_is_read_as_one() {
        let dir = tempfile::tempdir().expect("makes a folder");
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let parts = [
            ("a", 0..30_000),
            ("b", 30_000..30_000),
            ("c", 30_000..100_000),
        ];
        let files = parts.iter().map(|(name, range)| {
            std::fs::write(dir.path().join(name), &bytes[range.clone()]).expect("writes");
            (vec![(*name).to_owned()], range.len() as u64)
        });
        let layout = Layout::Folder(files.collect());
        let piece_length = PieceLength::from_kib(16).expect("a power of two");
        let mut builder = MetainfoBuilder::new("t", layout, piece_length).expect("usable");
        builder.update(&bytes).expect("fits");
        let metainfo = builder.finish().expect("complete");
        let got = read(&metainfo, dir.path(), 20_000, 40_000).expect("is there");
        assert!(got == bytes[20_000..60_000]);
        assert_eq!(read(&metainfo, dir.path(), 90_000, 20_000), None);
    }
}
