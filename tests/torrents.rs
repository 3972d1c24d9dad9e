//! The sample torrents: each is what our maker makes of its payload, byte for byte, and the engine
//! reads it as we do.

use std::path::{Path, PathBuf};

use dpay::cli::create::{self, CreateArgs};
use dpay::torrent::Metainfo;

/// Payload, piece length in KiB, torrent.
const SAMPLES: [(&str, u32, &str); 3] = [
    ("lighthouse-log.txt", 64, "lighthouse-log.txt.torrent"),
    ("exact-multiple.bin", 16, "exact-multiple.bin.torrent"),
    ("odd names, 이상한 이름", 16, "odd-names.torrent"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("torrents")
}

fn args(payload: &str, piece_kib: u32) -> CreateArgs {
    CreateArgs {
        path: folder().join(payload),
        output: None,
        name: None,
        piece_kib: Some(piece_kib),
        trackers: Vec::new(),
        comment: Some("DPay sample, CC0".to_owned()),
        private: false,
        force: false,
    }
}

#[test]
fn each_sample_is_what_our_maker_makes_of_its_payload() {
    for (payload, piece_kib, torrent) in SAMPLES {
        let made = create::make(&args(payload, piece_kib), |_, _| {}).expect("makes");
        let path = folder().join(torrent);
        let bytes = std::fs::read(&path).expect("is there");
        assert!(
            made.metainfo.encode() == bytes,
            "{torrent} differs: make it anew"
        );
        assert!(made.skipped.is_empty());
        assert_eq!(Metainfo::decode(&bytes), Ok(made.metainfo));
    }
}

#[test]
fn the_readme_names_every_sample_with_its_info_hash() {
    let readme = std::fs::read_to_string(folder().join("README.md")).expect("is there");
    for (payload, _, torrent) in SAMPLES {
        let bytes = std::fs::read(folder().join(torrent)).expect("is there");
        let info_hash = Metainfo::decode(&bytes).expect("reads").info_hash();
        for word in [payload, torrent, &info_hash.to_string()] {
            assert!(readme.contains(word), "README.md does not say {word}");
        }
    }
}

#[test]
fn librqbit_reads_every_sample_as_we_do() {
    for (_, _, torrent) in SAMPLES {
        let bytes = std::fs::read(folder().join(torrent)).expect("is there");
        let ours = Metainfo::decode(&bytes).expect("reads");
        let theirs = librqbit_core::torrent_metainfo::torrent_from_bytes(&bytes).expect("reads");
        assert_eq!(theirs.info_hash.0, ours.info_hash().0);
        let info = theirs.info.data.validate().expect("is valid");
        assert_eq!(info.lengths().total_pieces(), ours.piece_count());
        assert_eq!(info.lengths().total_length(), ours.length_bytes());
        assert_eq!(info.info().pieces.as_ref().len(), ours.pieces().len() * 20);
        let files: Vec<_> = info
            .iter_file_details()
            .map(|file| (file.filename.to_pathbuf(), file.len))
            .collect();
        let wanted = ours.files().iter();
        let wanted: Vec<_> = wanted
            .map(|file| (file.relative_path(), file.length_bytes))
            .collect();
        assert_eq!(files, wanted);
    }
}

#[test]
fn the_samples_hold_what_they_are_there_for() {
    let read = |torrent: &str| {
        let bytes = std::fs::read(folder().join(torrent)).expect("is there");
        Metainfo::decode(&bytes).expect("reads")
    };
    let exact = read("exact-multiple.bin.torrent");
    assert_eq!(
        exact.length_bytes() % u64::from(exact.piece_length_bytes()),
        0
    );
    let odd = read("odd-names.torrent");
    assert!(
        odd.files()
            .iter()
            .filter(|file| file.length_bytes == 0)
            .count()
            >= 3
    );
    let hidden = |file: &dpay::torrent::TorrentFile| file.path.iter().any(|p| p.starts_with('.'));
    assert!(odd.files().iter().any(hidden));
    let long = odd
        .files()
        .iter()
        .flat_map(|file| &file.path)
        .map(String::len)
        .max();
    assert!(long > Some(200));
}
