//! Tests of reading metainfo: what strangers may send.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn info(body: &str) -> Vec<u8> {
    format!("d4:infod{body}ee").into_bytes()
}

fn single(length: u64, piece_length: u64, hashes: usize) -> Vec<u8> {
    let hashes_text = "h".repeat(hashes * 20);
    info(&format!(
        "6:lengthi{length}e4:name1:a12:piece lengthi{piece_length}e6:pieces{}:{hashes_text}",
        hashes * 20
    ))
}

fn folder(files: &[(&[&str], u64, &str)]) -> Vec<u8> {
    let mut list = String::new();
    let mut total = 0;
    for (path, length, attributes) in files {
        total += length;
        list.push('d');
        if !attributes.is_empty() {
            list += &format!("4:attr{}:{attributes}", attributes.len());
        }
        list += &format!("6:lengthi{length}e4:pathl");
        for part in *path {
            list += &format!("{}:{part}", part.len());
        }
        list += "ee";
    }
    let hashes = total.div_ceil(16384) as usize * 20;
    info(&format!(
        "5:filesl{list}e4:name1:f12:piece lengthi16384e6:pieces{hashes}:{}",
        "h".repeat(hashes)
    ))
}

fn refusal(bytes: &[u8]) -> String {
    Metainfo::decode(bytes).expect_err("refused").to_string()
}

#[test]
fn a_single_file_is_read() {
    let torrent = Metainfo::decode(&single(40_000, 16_384, 3)).expect("reads");
    assert_eq!(torrent.name(), "a");
    assert_eq!(torrent.length_bytes(), 40_000);
    assert_eq!(torrent.piece_count(), 3);
    assert_eq!(torrent.piece_size_bytes(PieceIndex(0)), Some(16_384));
    assert_eq!(
        torrent.piece_size_bytes(PieceIndex(2)),
        Some(40_000 - 2 * 16_384)
    );
    assert_eq!(torrent.piece_size_bytes(PieceIndex(3)), None);
    assert!(!torrent.is_multi_file() && !torrent.is_private());
}

#[test]
fn the_last_piece_of_an_exact_multiple_is_whole() {
    let torrent = Metainfo::decode(&single(32_768, 16_384, 2)).expect("reads");
    assert_eq!(torrent.piece_size_bytes(PieceIndex(1)), Some(16_384));
    assert!(refusal(&single(32_768, 16_384, 3)).contains("need 2 piece hashes, it has 3"));
    assert!(refusal(&single(32_769, 16_384, 2)).contains("need 3 piece hashes, it has 2"));
}

#[test]
fn the_info_hash_is_over_the_raw_bytes() {
    let bytes =
        b"d4:infod4:name1:a6:lengthi1e6:pieces20:hhhhhhhhhhhhhhhhhhhh12:piece lengthi16384eee";
    let torrent = Metainfo::decode(bytes).expect("reads unsorted keys");
    let raw = &bytes[7..bytes.len() - 1];
    assert_eq!(torrent.info_bytes(), raw);
    assert_eq!(torrent.info_hash().0, <[u8; 20]>::from(Sha1::digest(raw)));
    assert_eq!(torrent.encode(), bytes);
}

#[test]
fn folders_are_read_with_offsets_and_padding() {
    let torrent = Metainfo::decode(&folder(&[
        (&["a"], 5, ""),
        (&[".pad", "9"], 9, "p"),
        (&["d", "empty"], 0, ""),
        (&[".pad", "9"], 9, "p"),
        (&["d", "b"], 7, "x"),
    ]))
    .expect("reads");
    let offsets: Vec<u64> = torrent.files().iter().map(|f| f.offset_bytes).collect();
    assert_eq!(offsets, [0, 5, 14, 14, 23]);
    let padding: Vec<bool> = torrent.files().iter().map(|f| f.padding).collect();
    assert_eq!(padding, [false, true, false, true, false]);
    assert_eq!(torrent.files()[4].relative_path(), PathBuf::from("d/b"));
    assert!(torrent.is_multi_file());
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    for path in [
        &[".."][..],
        &["a", ".."],
        &["a/b"],
        &["/"],
        &["a\\b"],
        &["."],
        &[""],
    ] {
        assert!(
            refusal(&folder(&[(path, 1, "")])).contains("bad name"),
            "{path:?}"
        );
    }
    assert!(refusal(&folder(&[(&[], 1, "")])).contains("\"path\""));
    let evil = info("6:lengthi1e4:name2:..12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh");
    assert!(refusal(&evil).contains("leave its folder"));
    assert!(refusal(&folder(&[(&["a"; 65], 1, "")])).contains("64 folders"));
}

#[test]
fn files_that_clash_are_refused() {
    assert!(refusal(&folder(&[(&["a"], 1, ""), (&["a"], 1, "")])).contains("twice"));
    assert!(refusal(&folder(&[(&["a", "b"], 1, ""), (&["a"], 1, "")])).contains("twice"));
}

#[test]
fn sizes_that_overflow_are_refused() {
    let half = i64::MAX as u64;
    assert_eq!(
        Metainfo::decode(&info(&format!(
            "5:filesld6:lengthi{half}e4:pathl1:aeed6:lengthi{half}e4:pathl1:beed6:lengthi{half}e4:pathl1:ceee4:name1:f12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh"
        ))),
        Err(MetainfoError::TooLong)
    );
    assert_eq!(
        Metainfo::decode(&single(half, 16_384, 1)),
        Err(MetainfoError::TooLong)
    );
    assert!(refusal(&single(0, 16_384, 0)).contains("empty"));
    for piece_length in ["0", "-1", "67108865", "9223372036854775807"] {
        let bytes = info(&format!(
            "6:lengthi1e4:name1:a12:piece lengthi{piece_length}e6:pieces20:hhhhhhhhhhhhhhhhhhhh"
        ));
        assert!(refusal(&bytes).contains("piece length"), "{piece_length}");
    }
    let negative =
        info("6:lengthi-1e4:name1:a12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh");
    assert!(refusal(&negative).contains("\"length\" is -1"));
}

#[test]
fn what_is_no_torrent_says_so() {
    assert!(refusal(b"<html>").starts_with("this is not a torrent: unexpected byte 0x3c"));
    assert!(refusal(b"").starts_with("this is not a torrent"));
    assert!(refusal(b"de").contains("\"info\""));
    assert!(refusal(b"i1e").contains("\"info\""));
    assert!(refusal(&vec![b'l'; MAX_TORRENT_BYTES + 1]).contains("the most is"));
    let v2 =
        info("9:file treed1:ad0:d6:lengthi1eeee12:meta versioni2e4:name1:a12:piece lengthi16384e");
    assert_eq!(Metainfo::decode(&v2), Err(MetainfoError::OnlyVersion2));
    let both =
        info("5:filesle6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh");
    assert!(refusal(&both).contains("\"files\""));
    let odd = info("6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces21:hhhhhhhhhhhhhhhhhhhhh");
    assert!(refusal(&odd).contains("piece hashes"));
}

#[test]
fn trackers_of_all_tiers_are_kept_and_odd_ones_dropped() {
    let mut bytes = b"d8:announce10:http://x/a13:announce-listll10:http://y/a6:wss://el6:foobarel12:udp://z:80/aee".to_vec();
    bytes.extend_from_slice(&single(1, 16_384, 1)[1..]);
    let torrent = Metainfo::decode(&bytes).expect("reads");
    assert_eq!(
        torrent.trackers(),
        [
            vec!["http://y/a".to_owned()],
            vec!["udp://z:80/a".to_owned()]
        ]
    );
}

#[test]
fn the_private_flag_is_0_or_1() {
    let body = |private: &str| {
        info(&format!(
            "6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh7:private{private}"
        ))
    };
    assert!(Metainfo::decode(&body("i1e")).expect("reads").is_private());
    assert!(!Metainfo::decode(&body("i0e")).expect("reads").is_private());
    assert!(refusal(&body("i2e")).contains("private"));
    assert!(refusal(&body("1:1")).contains("private"));
}

#[test]
fn an_info_dictionary_alone_gives_the_same_torrent() {
    let whole = Metainfo::decode(&single(40_000, 16_384, 3)).expect("reads");
    let alone = Metainfo::decode_info(whole.info_bytes(), Vec::new()).expect("reads");
    assert_eq!(alone, whole);
}

proptest! {
    #[test]
    fn any_change_is_refused_or_read_without_panic(
        at in 0usize..200, byte: u8, cut in 0usize..300,
    ) {
        let mut bytes = folder(&[(&["a"], 5, ""), (&["d", "b"], 7, "x")]);
        if let Some(old) = bytes.get_mut(at) {
            *old = byte;
        }
        bytes.truncate(cut.max(at));
        if let Ok(torrent) = Metainfo::decode(&bytes) {
            prop_assert_eq!(Metainfo::decode(&torrent.encode()), Ok(torrent));
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_panic(bytes: Vec<u8>) {
        let _ = Metainfo::decode(&bytes);
    }
}

#[test]
fn files_span_the_pieces_that_they_lie_in() {
    let files: [(&[&str], u64, &str); 5] = [
        (&["a"], 10, ""),
        (&["b"], 20_000, ""),
        (&["c"], 0, ""),
        (&["d"], 12_768, ""),
        (&["e"], 100, ""),
    ];
    let torrent = Metainfo::decode(&folder(&files)).expect("reads");
    let span = |wanted: &[u32]| torrent.span_bytes(|index| wanted.contains(&index));
    assert_eq!(torrent.length_bytes(), 2 * 16_384 + 110);
    assert_eq!(span(&[0]), 16_384, "ten bytes in a whole piece");
    assert_eq!(span(&[0, 1]), 2 * 16_384, "no piece twice");
    assert_eq!(span(&[2]), 0);
    assert_eq!(span(&[3]), 16_384 + 110, "the last piece is short");
    assert_eq!(span(&[0, 4]), 16_384 + 110);
    assert_eq!(span(&[0, 1, 2, 3, 4]), torrent.length_bytes());
    let pieces = torrent.span(|index| index == 3);
    let pieces: Vec<u32> = pieces.iter().map(|piece| piece.0).collect();
    assert_eq!(pieces, [1, 2], "also those that only a part of it lies in");
}
