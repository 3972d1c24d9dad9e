//! Frames come out the same however the stream is cut, and nothing from strangers panics.

use proptest::prelude::*;

use super::*;

/// What a reader says of a stream, with payload joined, so that cuts do not show.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Handshake(Handshake),
    Frame(Kind, Vec<u8>),
    Piece(Block, Vec<u8>),
}

fn read(reader: &mut FrameReader, chunks: &[&[u8]]) -> Result<Vec<Seen>, FrameError> {
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut at = 0;
        while let Some(part) = reader.next(chunk, &mut at)? {
            match part {
                Part::Handshake(handshake, raw) => {
                    assert_eq!(raw.bytes, handshake.encode());
                    seen.push(Seen::Handshake(handshake));
                }
                Part::Frame(kind, raw) => {
                    if let Some(range) = raw.range {
                        assert_eq!(&chunk[range], raw.bytes);
                    }
                    seen.push(Seen::Frame(kind, raw.bytes.to_vec()));
                }
                Part::PieceHead(block, raw) => {
                    assert_eq!(raw.bytes.len(), PIECE_HEAD_BYTES);
                    seen.push(Seen::Piece(block, Vec::new()));
                }
                Part::Payload { range, last } => {
                    let Some(Seen::Piece(block, payload)) = seen.last_mut() else {
                        panic!("payload without a head");
                    };
                    payload.extend_from_slice(&chunk[range]);
                    assert_eq!(last, payload.len() == block.length_bytes as usize);
                }
            }
        }
        assert_eq!(at, chunk.len(), "a reader uses up its input");
    }
    Ok(seen)
}

fn piece(block: Block, payload: &[u8]) -> Vec<u8> {
    let mut out = (9 + block.length_bytes).to_be_bytes().to_vec();
    out.push(7);
    out.extend_from_slice(&block.piece.to_be_bytes());
    out.extend_from_slice(&block.begin.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let block = (any::<u32>(), any::<u32>(), 1u32..200);
    prop_oneof![
        Just(KEEP_ALIVE.to_vec()),
        (0u8..4).prop_map(|id| vec![0, 0, 0, 1, id]),
        any::<u32>().prop_map(|index| [&[0, 0, 0, 5, 4][..], &index.to_be_bytes()].concat()),
        (block.clone(), any::<bool>()).prop_map(|((piece, begin, length_bytes), back)| {
            let block = Block {
                piece,
                begin,
                length_bytes,
            };
            if back {
                cancel(block).to_vec()
            } else {
                request(block).to_vec()
            }
        }),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(id, payload)| extended(id, &payload)),
        (block, any::<u8>()).prop_map(|((index, begin, length_bytes), fill)| {
            let block = Block {
                piece: index,
                begin,
                length_bytes,
            };
            piece(block, &vec![fill; length_bytes as usize])
        }),
        (21u8..255, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(id, body)| {
            let length = u32::try_from(body.len() + 1).expect("short");
            [&length.to_be_bytes()[..], &[id], &body].concat()
        }),
    ]
}

fn cut(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (head, tail) = rest.split_at((*cut).min(rest.len()));
        chunks.push(head.to_vec());
        rest = tail;
    }
    chunks.push(rest.to_vec());
    chunks
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_frames(
        messages in prop::collection::vec(any_message(), 0..20),
        cuts in prop::collection::vec(0usize..90, 0..60),
        peer_id in any::<[u8; 20]>(),
    ) {
        let handshake = Handshake {
            reserved: [0, 0, 0, 0, 0, 0x10, 0, 0],
            info_hash: InfoHash([7; 20]),
            peer_id: PeerId(peer_id),
        };
        let mut stream = handshake.encode().to_vec();
        stream.extend(messages.concat());
        let whole = read(&mut FrameReader::new(), &[&stream]).expect("valid");
        let chunks = cut(&stream, &cuts);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let mut reader = FrameReader::new();
        prop_assert_eq!(&read(&mut reader, &chunks).expect("valid"), &whole);
        prop_assert!(reader.is_at_boundary());
        prop_assert_eq!(whole.len(), messages.len() + 1);
    }

    #[test]
    fn bytes_of_strangers_never_panic(
        stream in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(0usize..40, 0..20),
    ) {
        let chunks = cut(&stream, &cuts);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let _ = read(&mut FrameReader::after_handshake(), &chunks);
        let _ = read(&mut FrameReader::new(), &chunks);
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_is_kept() {
    let mut head = (MAX_FRAME_BYTES + 1).to_be_bytes().to_vec();
    head.push(ID_BITFIELD);
    let mut reader = FrameReader::after_handshake();
    assert_eq!(
        read(&mut reader, &[&head]),
        Err(FrameError::TooLong {
            id: ID_BITFIELD,
            length_bytes: MAX_FRAME_BYTES + 1,
            limit_bytes: MAX_FRAME_BYTES
        })
    );
    let mut head = (MAX_BLOCK_BYTES + 10).to_be_bytes().to_vec();
    head.push(ID_PIECE);
    let mut reader = FrameReader::after_handshake();
    assert!(matches!(
        read(&mut reader, &[&head]),
        Err(FrameError::TooLong { id: ID_PIECE, .. })
    ));
}

#[test]
fn a_request_of_the_wrong_length_is_refused() {
    let mut reader = FrameReader::after_handshake();
    assert_eq!(
        read(&mut reader, &[&[0, 0, 0, 12, ID_REQUEST]]),
        Err(FrameError::BadLength {
            id: ID_REQUEST,
            length_bytes: 12
        })
    );
}

#[test]
fn http_is_not_bittorrent() {
    let mut reader = FrameReader::new();
    assert_eq!(
        read(&mut reader, &[b"GET /announce"]),
        Err(FrameError::NotBitTorrent)
    );
}

#[test]
fn a_reader_in_the_middle_of_a_piece_is_not_at_a_boundary() {
    let block = Block {
        piece: 1,
        begin: 0,
        length_bytes: 8,
    };
    let bytes = piece(block, &[9; 8]);
    let mut reader = FrameReader::after_handshake();
    read(&mut reader, &[&bytes[..17]]).expect("valid");
    assert!(!reader.is_at_boundary());
}
