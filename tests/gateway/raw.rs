//! The gateway between an engine and peers that the tests play themselves, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use dpay::engine::PieceEvent;
use dpay::gateway::{Close, FreePolicy, Gateway, GatewayConfig, GatewayEvent, TorrentTerms};
use dpay::units::{InfoHash, PieceIndex, PricePerGib};
use dpay::wire::extended::{DP_PAY, ExtendedHandshake};
use dpay::wire::frame::{self, Block, CHOKE, Handshake, KEEP_ALIVE, PeerId, UNCHOKE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{LOOPBACK, socks, within};

const TORRENT: InfoHash = InfoHash([0x77; 20]);
pub const ENGINE: PeerId = PeerId([b'e'; 20]);
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const EXTENDED: u8 = 20;

/// One end of a connection.
pub struct End(pub TcpStream);

impl End {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("writes");
    }

    async fn shake(&mut self, peer_id: PeerId) {
        self.shake_for(TORRENT, peer_id).await;
    }

    pub async fn shake_for(&mut self, info_hash: InfoHash, peer_id: PeerId) {
        let handshake = Handshake {
            reserved: [0, 0, 0, 0, 0, 0x10, 0, 0],
            info_hash,
            peer_id,
        };
        self.send(&handshake.encode()).await;
    }

    pub async fn shaken(&mut self) -> PeerId {
        let mut bytes = [0; 68];
        let read = self.0.read_exact(&mut bytes);
        within(5, read).await.expect("a handshake");
        Handshake::decode(&bytes).expect("a handshake").peer_id
    }

    /// The next frame, its prefix included.
    pub async fn any_frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 4];
        within(8, self.0.read_exact(&mut frame)).await.ok()?;
        let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        frame.resize(4 + length as usize, 0);
        within(8, self.0.read_exact(&mut frame[4..])).await.ok()?;
        Some(frame)
    }

    /// The next frame that is no keep-alive.
    pub async fn frame(&mut self) -> Vec<u8> {
        loop {
            let frame = self.any_frame().await.expect("a frame");
            if frame != KEEP_ALIVE {
                return frame;
            }
        }
    }

    /// Reads on until a frame of this kind.
    pub async fn frame_of(&mut self, id: u8) -> Vec<u8> {
        loop {
            let frame = self.frame().await;
            if frame[4] == id {
                return frame;
            }
        }
    }

    pub async fn is_closed(&mut self) -> bool {
        while let Some(frame) = self.any_frame().await {
            assert_eq!(frame, KEEP_ALIVE);
        }
        true
    }
}

/// A gateway, and a listener in the place of its engine's.
struct Setup {
    gateway: Gateway,
    engine: TcpListener,
}

async fn setup(free: FreePolicy) -> Setup {
    let gateway = Gateway::start(&GatewayConfig::new(LOOPBACK)).expect("starts");
    let engine = TcpListener::bind(LOOPBACK).await.expect("binds");
    gateway.set_engine_listen(engine.local_addr().expect("address"));
    let setup = Setup { gateway, engine };
    setup.set(free);
    setup
}

impl Setup {
    fn set(&self, free: FreePolicy) {
        let terms = TorrentTerms {
            price: PricePerGib::MIN,
            max_price: PricePerGib::MIN,
            free,
            piece_length_bytes: 32 * 1024,
            length_bytes: 1 << 20,
            pays: true,
            earns: true,
        };
        self.gateway.set_torrent(TORRENT, terms);
    }

    /// A connection that the engine opens to a peer: the engine's end, then the peer's.
    async fn dial(&self, listener: &TcpListener, peer_id: PeerId) -> (End, End) {
        let address = listener.local_addr().expect("address");
        let engine = socks(&self.gateway, address).await.expect("connects");
        let mut engine = End(engine);
        let (peer, _) = within(5, listener.accept()).await.expect("accepts");
        let mut peer = End(peer);
        engine.shake(ENGINE).await;
        assert_eq!(peer.shaken().await, ENGINE);
        peer.shake(peer_id).await;
        (engine, peer)
    }

    /// A connection that a peer opens: the engine's end, then the peer's.
    async fn accept(&self, peer_id: PeerId) -> (End, End) {
        let peer = TcpStream::connect(self.gateway.listen_addr()).await;
        let mut peer = End(peer.expect("connects"));
        peer.shake(peer_id).await;
        let (engine, _) = within(5, self.engine.accept()).await.expect("accepts");
        let mut engine = End(engine);
        assert_eq!(engine.shaken().await, peer_id);
        engine.shake(ENGINE).await;
        assert_eq!(peer.shaken().await, ENGINE);
        (engine, peer)
    }

    fn tell(&self, event: PieceEvent) {
        self.gateway.on_piece()(event);
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind(LOOPBACK).await.expect("binds")
}

/// What a client without our extension says of itself.
fn foreign() -> Vec<u8> {
    frame::extended(0, b"d1:md6:ut_pexi1ee1:pi6999e1:v4:teste")
}

fn block(piece: u32, begin: u32) -> Block {
    Block {
        piece,
        begin,
        length_bytes: 16 * 1024,
    }
}

fn piece(block: Block, fill: u8) -> Vec<u8> {
    let mut out = (9 + block.length_bytes).to_be_bytes().to_vec();
    out.push(PIECE);
    out.extend(block.piece.to_be_bytes());
    out.extend(block.begin.to_be_bytes());
    out.resize(13 + block.length_bytes as usize, fill);
    out
}

#[tokio::test]
async fn the_extended_handshake_gets_what_the_engine_cannot_know() {
    let setup = setup(FreePolicy::On).await;
    let (mut engine, mut peer) = setup.accept(PeerId([1; 20])).await;
    let own = b"d1:md6:ut_pexi1ee6:yourip4:\x7f\0\0\x09e";
    engine.send(&frame::extended(0, own)).await;
    let frame = peer.frame().await;
    let told = ExtendedHandshake::decode(&frame[6..]).expect("reads");
    assert_eq!(told.port(), Some(setup.gateway.listen_addr().port()));
    assert_eq!(told.message_id(DP_PAY), None, "there is no wallet");
    assert!(frame.windows(12).any(|w| w == b"6:yourip4:\x7f\0"));
    assert!(!frame.ends_with(b"\x09e"));
    let with_ours = b"d1:md6:dp_payi7e6:ut_pexi1ee1:pi6999ee";
    peer.send(&frame::extended(0, with_ours)).await;
    let frame = engine.frame().await;
    let told = ExtendedHandshake::decode(&frame[6..]).expect("reads");
    assert_eq!(told.message_id(DP_PAY), None);
    assert_eq!(told.message_id("ut_pex"), Some(1));
    assert!(frame.windows(10).any(|w| w == b"4:ipv44:\x7f\0"));
    let snapshot = setup.gateway.snapshot().await;
    let listens_on: Option<SocketAddr> = "127.0.0.1:6999".parse().ok();
    assert_eq!(snapshot[0].listens_on, listens_on);
}

#[tokio::test]
async fn a_peer_that_is_dialled_and_shakes_hands_first_is_handled_like_any_other() {
    let setup = setup(FreePolicy::Off).await;
    let peers = listener().await;
    let address = peers.local_addr().expect("address");
    let mut engine = End(socks(&setup.gateway, address).await.expect("connects"));
    let (peer, _) = within(5, peers.accept()).await.expect("accepts");
    let (mut peer, peer_id) = (End(peer), PeerId([1; 20]));
    peer.shake(peer_id).await;
    assert_eq!(engine.shaken().await, peer_id);
    engine.shake(ENGINE).await;
    assert_eq!(peer.shaken().await, ENGINE);
    let snapshot = setup.gateway.snapshot().await;
    assert_eq!(snapshot.len(), 1, "it is not relayed past the gateway");
    assert_eq!(snapshot[0].peer_id, Some(peer_id));
    peer.send(&foreign()).await;
    engine.frame().await;
    engine.send(&UNCHOKE).await;
    let have = [0, 0, 0, 5, 4, 0, 0, 0, 1];
    engine.send(&have).await;
    assert_eq!(peer.frame().await, have, "nothing is free: it stays choked");
    let mut ends = (engine, peer);
    for begin in [0, 16 * 1024] {
        fetch(&mut ends, block(0, begin), 1).await;
    }
    let (info_hash, piece) = (TORRENT, PieceIndex(0));
    setup.tell(PieceEvent::Verified { info_hash, piece });
    let snapshot = setup.gateway.snapshot().await;
    assert_eq!(snapshot[0].verified_bytes, 32 * 1024);
}

#[tokio::test]
async fn messages_that_no_engine_knows_are_kept_from_it() {
    let setup = setup(FreePolicy::On).await;
    let peers = listener().await;
    let (mut engine, mut peer) = setup.dial(&peers, PeerId([1; 20])).await;
    assert_eq!(engine.shaken().await, PeerId([1; 20]));
    peer.send(&[0, 0, 0, 3, 9, 0x1a, 0xe1]).await;
    peer.send(&[0, 0, 0, 1, 14]).await;
    let have = [0, 0, 0, 5, 4, 0, 0, 0, 3];
    peer.send(&have).await;
    assert_eq!(engine.frame().await, have);
}

#[tokio::test]
async fn both_sides_are_kept_company() {
    let setup = setup(FreePolicy::On).await;
    let (mut engine, mut peer) = setup.accept(PeerId([1; 20])).await;
    let from = std::time::Instant::now();
    for end in [&mut engine, &mut peer] {
        assert_eq!(end.any_frame().await.expect("a frame"), KEEP_ALIVE);
    }
    assert!(from.elapsed() < Duration::from_secs(6));
    // Not in the middle of a frame.
    let mut request = frame::request(block(0, 0)).to_vec();
    let rest = request.split_off(9);
    peer.send(&foreign()).await;
    engine.frame().await;
    peer.send(&request).await;
    assert_eq!(engine.any_frame().await.expect("a frame"), KEEP_ALIVE);
    peer.send(&rest).await;
    assert_eq!(engine.frame().await, frame::request(block(0, 0)));
}

#[tokio::test]
async fn what_a_choke_lost_is_asked_again_and_comes_once() {
    let setup = setup(FreePolicy::On).await;
    let peers = listener().await;
    let (mut engine, mut peer) = setup.dial(&peers, PeerId([1; 20])).await;
    engine.shaken().await;
    peer.send(&foreign()).await;
    engine.frame().await;
    peer.send(&UNCHOKE).await;
    assert_eq!(engine.frame().await, UNCHOKE);
    for begin in [0, 16 * 1024] {
        engine.send(&frame::request(block(0, begin))).await;
        assert_eq!(peer.frame().await, frame::request(block(0, begin)));
    }
    peer.send(&piece(block(0, 0), 1)).await;
    assert_eq!(engine.frame().await, piece(block(0, 0), 1));
    peer.send(&CHOKE).await;
    peer.send(&UNCHOKE).await;
    assert_eq!(engine.frame().await, CHOKE);
    assert_eq!(engine.frame().await, UNCHOKE);
    assert_eq!(peer.frame().await, frame::request(block(0, 16 * 1024)));
    // A peer that had kept the request sends the block twice; the engine sees it once.
    peer.send(&piece(block(0, 16 * 1024), 2)).await;
    peer.send(&piece(block(0, 16 * 1024), 2)).await;
    peer.send(&[0, 0, 0, 5, 4, 0, 0, 0, 3]).await;
    assert_eq!(engine.frame().await, piece(block(0, 16 * 1024), 2));
    assert_eq!(engine.frame().await, [0, 0, 0, 5, 4, 0, 0, 0, 3]);
}

#[tokio::test]
async fn requests_that_trickle_in_while_blocks_come_go_out_though_no_more_blocks_come() {
    let setup = setup(FreePolicy::On).await;
    let peers = listener().await;
    let (mut engine, mut peer) = setup.dial(&peers, PeerId([1; 20])).await;
    engine.shaken().await;
    peer.send(&foreign()).await;
    engine.frame().await;
    let many = (0..32).map(|n| block(n, 0));
    for block in many.clone() {
        engine.send(&frame::request(block)).await;
    }
    for block in many {
        assert_eq!(peer.frame().await, frame::request(block));
    }
    peer.send(&piece(block(0, 0), 1)).await;
    assert_eq!(engine.frame().await, piece(block(0, 0), 1));
    // Thirty-one blocks are on their way, and none comes any more.
    engine.send(&frame::request(block(32, 0))).await;
    let asked = within(1, peer.frame()).await;
    assert_eq!(asked, frame::request(block(32, 0)));
}

#[tokio::test]
async fn a_second_connection_to_one_peer_is_closed_and_the_first_stays() {
    let setup = setup(FreePolicy::On).await;
    let (mut engine, mut peer) = setup.accept(PeerId([1; 20])).await;
    let second = TcpStream::connect(setup.gateway.listen_addr()).await;
    let mut second = End(second.expect("connects"));
    second.shake(PeerId([1; 20])).await;
    assert!(second.is_closed().await);
    peer.send(&[0, 0, 0, 5, 4, 0, 0, 0, 3]).await;
    assert_eq!(engine.frame().await, [0, 0, 0, 5, 4, 0, 0, 0, 3]);
    let other = InfoHash([0x78; 20]);
    let mut third = TcpStream::connect(setup.gateway.listen_addr())
        .await
        .expect("connects");
    let handshake = Handshake {
        reserved: [0; 8],
        info_hash: other,
        peer_id: PeerId([1; 20]),
    };
    third.write_all(&handshake.encode()).await.expect("writes");
    within(5, setup.engine.accept())
        .await
        .expect("another torrent is another matter");
}

#[tokio::test]
async fn our_own_peer_id_is_refused() {
    let setup = setup(FreePolicy::On).await;
    let mut events = setup.gateway.events();
    let _first = setup.accept(PeerId([1; 20])).await;
    let own = TcpStream::connect(setup.gateway.listen_addr()).await;
    let mut own = End(own.expect("connects"));
    own.shake(ENGINE).await;
    assert!(own.is_closed().await);
    loop {
        let event = within(5, events.recv()).await.expect("an event");
        if let GatewayEvent::Closed { why, .. } = event {
            assert_eq!(why, Close::Ourselves);
            return;
        }
    }
}

#[tokio::test]
async fn foreign_peers_are_choked_and_unchoked_as_the_free_policy_says() {
    let setup = setup(FreePolicy::Off).await;
    let (mut engine, mut peer) = setup.accept(PeerId([1; 20])).await;
    peer.send(&foreign()).await;
    engine.frame().await;
    engine.send(&UNCHOKE).await;
    engine.send(&[0, 0, 0, 5, 4, 0, 0, 0, 1]).await;
    assert_eq!(peer.frame().await, [0, 0, 0, 5, 4, 0, 0, 0, 1]);
    setup.set(FreePolicy::On);
    assert_eq!(peer.frame().await, UNCHOKE);
    peer.send(&frame::request(block(1, 0))).await;
    assert_eq!(engine.frame().await, frame::request(block(1, 0)));
    setup.set(FreePolicy::Off);
    assert_eq!(peer.frame().await, CHOKE);
    peer.send(&frame::request(block(2, 0))).await;
    peer.send(&frame::cancel(block(2, 0))).await;
    peer.send(&[0, 0, 0, 1, 2]).await;
    assert_eq!(engine.frame().await, [0, 0, 0, 1, 2], "held, and cancelled");
    engine.send(&piece(block(1, 0), 5)).await;
    assert_eq!(peer.frame().await, piece(block(1, 0), 5));
    let snapshot = &setup.gateway.snapshot().await[0];
    assert_eq!((snapshot.up_bytes, snapshot.dp_pay), (16 * 1024, false));
}

/// Lets the engine fetch a block from a peer that answers with `fill`.
async fn fetch(ends: &mut (End, End), wanted: Block, fill: u8) {
    let (engine, peer) = ends;
    engine.send(&frame::request(wanted)).await;
    let request = peer.frame().await;
    assert_eq!(
        (request[4], &request[..]),
        (REQUEST, &frame::request(wanted)[..])
    );
    peer.send(&piece(wanted, fill)).await;
    assert_eq!(engine.frame().await, piece(wanted, fill));
}

#[tokio::test]
async fn who_sent_the_one_bad_block_is_dropped_and_blocked_and_the_others_are_credited() {
    let setup = setup(FreePolicy::On).await;
    let peers = [listener().await, listener().await, listener().await];
    let mut ends = Vec::new();
    for (number, peer) in (1u8..).zip(&peers) {
        let mut pair = setup.dial(peer, PeerId([number; 20])).await;
        pair.0.shaken().await;
        pair.1.send(&foreign()).await;
        assert_eq!(pair.0.frame().await[4], EXTENDED);
        ends.push(pair);
    }
    // Two pieces of two blocks; in the first, the second peer lies.
    fetch(&mut ends[0], block(0, 0), 1).await;
    fetch(&mut ends[1], block(0, 16 * 1024), 66).await;
    fetch(&mut ends[2], block(0, 16 * 1024), 2).await;
    let piece = PieceIndex(0);
    let info_hash = TORRENT;
    setup.tell(PieceEvent::Failed { info_hash, piece });
    // The order has gone to the gateway's thread before anything that follows.
    setup.gateway.snapshot().await;
    fetch(&mut ends[0], block(0, 0), 1).await;
    fetch(&mut ends[2], block(0, 16 * 1024), 2).await;
    setup.tell(PieceEvent::Verified { info_hash, piece });
    assert!(ends[1].0.is_closed().await);
    let snapshot = setup.gateway.snapshot().await;
    let verified: Vec<_> = snapshot.iter().map(|s| s.verified_bytes).collect();
    assert_eq!(verified, [2 * 16 * 1024, 2 * 16 * 1024]);
    let address = peers[1].local_addr().expect("address");
    assert_eq!(socks(&setup.gateway, address).await.err(), Some(2));
    let again = TcpStream::connect(setup.gateway.listen_addr()).await;
    let mut again = End(again.expect("connects"));
    again.shake(PeerId([2; 20])).await;
    assert!(again.is_closed().await, "blocked by its peer id");
}

#[tokio::test]
async fn where_deliveries_differ_the_content_on_disk_decides() {
    let setup = setup(FreePolicy::On).await;
    let read = |_, _, length: u32| Some(vec![1; length as usize]);
    setup
        .gateway
        .set_content(TORRENT, std::sync::Arc::new(read));
    let peers = [listener().await, listener().await];
    let mut ends = Vec::new();
    for (number, peer) in (1u8..).zip(&peers) {
        let mut pair = setup.dial(peer, PeerId([number; 20])).await;
        pair.0.shaken().await;
        pair.1.send(&foreign()).await;
        pair.0.frame().await;
        ends.push(pair);
    }
    fetch(&mut ends[0], block(0, 0), 1).await;
    fetch(&mut ends[1], block(0, 0), 2).await;
    let piece = PieceIndex(0);
    let info_hash = TORRENT;
    setup.tell(PieceEvent::Verified { info_hash, piece });
    assert!(ends[1].0.is_closed().await);
    let snapshot = setup.gateway.snapshot().await;
    assert_eq!(snapshot.len(), 1);
    assert_eq!(snapshot[0].verified_bytes, 16 * 1024);
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_dropped() {
    let setup = setup(FreePolicy::On).await;
    let (_engine, mut peer) = setup.accept(PeerId([1; 20])).await;
    peer.send(&[0xff, 0xff, 0xff, 0xff, 5]).await;
    assert!(peer.is_closed().await);
}
