//! Payment where a test plays the engine, or the peer, against real gateways, wallets, broker and DHT.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use dpay::engine::PieceEvent;
use dpay::gateway::{Close, FreePolicy, Gateway, GatewayConfig, GatewayEvent, TorrentTerms};
use dpay::torrent::PieceSet;
use dpay::units::{InfoHash, PieceIndex, PricePerGib, Units};
use dpay::wire::codes::WaitReason;
use dpay::wire::extended::{DP_PAY, ExtendedHandshake};
use dpay::wire::frame::{self, Block, PeerId, UNCHOKE};
use dpay::wire::message::{Due, Message, Offer};
use tokio::net::TcpListener;

use crate::raw::{ENGINE, End};
use crate::support::{LOOPBACK, Node, World, broker_key, make, socks, terms, within};

const BLOCK_BYTES: u32 = 16 * 1024;
const BLOCKS: u32 = 64;
const INTERESTED: [u8; 5] = [0, 0, 0, 1, 2];
const ID_UNCHOKE: u8 = 1;
const ID_REQUEST: u8 = 6;
const ID_PIECE: u8 = 7;
const ID_EXTENDED: u8 = 20;

/// What an engine says of itself.
fn extended() -> Vec<u8> {
    frame::extended(0, b"d1:mdee")
}

fn request(begin: u32) -> Vec<u8> {
    let block = Block {
        piece: 0,
        begin,
        length_bytes: BLOCK_BYTES,
    };
    frame::request(block).to_vec()
}

/// The engine's end of a connection to a seeder that serves.
async fn served_by(gateway: &Gateway, info_hash: InfoHash, seeder: &Node) -> End {
    let address = seeder.gateway.listen_addr();
    let mut engine = End(socks(gateway, address).await.expect("connects"));
    engine.shake_for(info_hash, ENGINE).await;
    engine.shaken().await;
    engine.send(&extended()).await;
    engine.send(&INTERESTED).await;
    engine.frame_of(ID_UNCHOKE).await;
    engine
}

/// Fetches blocks of the first piece.
async fn fetch(engine: &mut End, blocks: std::ops::Range<u32>) {
    for block in blocks.clone() {
        engine.send(&request(block * BLOCK_BYTES)).await;
    }
    for _ in blocks {
        engine.frame_of(ID_PIECE).await;
    }
}

/// Its gateway hangs up.
async fn ended(engine: &mut End) {
    while engine.any_frame().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_seeders_in_one_piece_the_one_with_a_bad_block_of_64_is_not_paid() {
    let world = World::new().await;
    let (leecher, wallet) = world.payer(1024).await;
    let seeders = [
        world.node(0).await,
        world.node(0).await,
        world.node(0).await,
    ];
    let mut metainfo = None;
    for seeder in &seeders {
        let made = make(seeder.dir.path(), "file.bin", 1024, 4 << 20);
        seeder.add(&made, &[], FreePolicy::Off).await;
        metainfo = Some(made);
    }
    let metainfo = metainfo.expect("made");
    let info_hash = metainfo.info_hash();
    // A unit for each block.
    let dear = TorrentTerms {
        price: PricePerGib::MAX,
        max_price: PricePerGib::MAX,
        ..terms(&metainfo, FreePolicy::Off)
    };
    for node in seeders.iter().chain([&leecher]) {
        node.gateway.set_torrent(info_hash, dear);
    }
    // After its engine looked at it, the second one's disk changes one block.
    let disk = seeders[1].dir.path().join("file.bin");
    let disk = std::fs::File::options().write(true).open(disk);
    let disk = disk.expect("is there");
    disk.write_all_at(&[0xee; BLOCK_BYTES as usize], 30 * u64::from(BLOCK_BYTES))
        .expect("writes");

    let mut ends = Vec::new();
    for seeder in &seeders {
        ends.push(served_by(&leecher.gateway, info_hash, seeder).await);
    }
    for (end, blocks) in ends.iter_mut().zip([0..22, 22..43, 43..BLOCKS]) {
        fetch(end, blocks).await;
    }
    let tell = leecher.gateway.on_piece();
    let piece = PieceIndex(0);
    tell(PieceEvent::Failed { info_hash, piece });
    // The order has gone to the gateway's thread before anything that follows.
    leecher.gateway.snapshot().await;
    fetch(&mut ends[0], 0..BLOCKS).await;
    tell(PieceEvent::Verified { info_hash, piece });

    within(10, ended(&mut ends[1])).await;
    let right = [Units(22 + 64), Units(21)];
    let paid = async {
        loop {
            let peers = leecher.gateway.snapshot().await;
            let paid = [&seeders[0], &seeders[2]].map(|seeder| {
                let address = Some(seeder.gateway.listen_addr());
                let mut peers = peers.iter().filter(|peer| peer.address == address);
                peers.next().map_or(Units::ZERO, |peer| peer.paid)
            });
            if paid == right {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(30, paid).await;
    let left = within(40, leecher.gateway.close_all(Duration::from_secs(30))).await;
    assert_eq!(left, []);
    for (seeder, earned) in seeders.iter().zip([right[0], Units::ZERO, right[1]]) {
        within(40, seeder.gateway.close_all(Duration::from_secs(30))).await;
        let wallet = seeder.wallet.clone().expect("a wallet");
        let report = wallet.redeem_earned().await.expect("redeems");
        assert_eq!((report.credited, report.refused), (earned, vec![]));
    }
    let paid = wallet.balance().await.expect("is there").books.paid;
    assert_eq!(paid, Units(22 + 64 + 21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_the_chosen_files_locks_coins_for_its_piece_and_not_for_all_of_the_torrent()
 {
    let world = World::new().await;
    let (leecher, wallet) = world.payer(256).await;
    let seeder = world.node(0).await;
    // All of it costs 384 units, the chosen pieces 16 and each other one 2.
    let metainfo = make(seeder.dir.path(), "file.bin", 256, 48 << 20);
    let info_hash = metainfo.info_hash();
    let price = PricePerGib::new(8192).expect("in range");
    let dear = TorrentTerms {
        price,
        max_price: price,
        ..terms(&metainfo, FreePolicy::Off)
    };
    seeder.add(&metainfo, &[], FreePolicy::Off).await;
    seeder.gateway.set_torrent(info_hash, dear);
    leecher.gateway.set_torrent(info_hash, dear);
    let mut chosen = PieceSet::new(192);
    (0..8).for_each(|piece| assert!(chosen.insert(PieceIndex(piece))));
    leecher.gateway.choose_pieces(info_hash, Some(&chosen));

    let address = seeder.gateway.listen_addr();
    let mut engine = End(socks(&leecher.gateway, address).await.expect("connects"));
    engine.shake_for(info_hash, ENGINE).await;
    engine.shaken().await;
    let beyond = Block {
        piece: 100,
        begin: 0,
        length_bytes: BLOCK_BYTES,
    };
    // Before anything is offered.
    engine.send(&frame::request(beyond)).await;
    engine.send(&extended()).await;
    engine.send(&INTERESTED).await;
    let reserved = async {
        loop {
            let balance = wallet.balance().await.expect("is there");
            if !balance.reserved.is_zero() {
                return balance.reserved;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(within(30, reserved).await, Units(64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_waits_for_payment_while_nothing_moves_is_left() {
    const STUCK: Duration = Duration::from_secs(2);
    let world = World::new().await;
    let mut config = GatewayConfig::new(LOOPBACK);
    config.stuck_ms = 2_000;
    let leecher = world.node_with(0, config).await;
    let wallet = leecher.wallet.clone().expect("a wallet");
    wallet.meet().await.expect("the broker is there");
    let metainfo = make(leecher.dir.path(), "file.bin", 64, 1 << 20);
    let info_hash = metainfo.info_hash();
    let gateway = &leecher.gateway;
    gateway.set_torrent(info_hash, terms(&metainfo, FreePolicy::On));
    let mut events = gateway.events();

    let listener = TcpListener::bind(LOOPBACK).await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let mut engine = End(socks(gateway, address).await.expect("connects"));
    let (peer, _) = within(5, listener.accept()).await.expect("accepts");
    let mut peer = End(peer);
    engine.shake_for(info_hash, ENGINE).await;
    peer.shaken().await;
    peer.shake_for(info_hash, PeerId([1; 20])).await;
    engine.shaken().await;
    engine.send(&extended()).await;
    let told = peer.frame_of(ID_EXTENDED).await;
    let told = ExtendedHandshake::decode(&told[6..]).expect("reads");
    let pay_id = told.message_id(DP_PAY).expect("it pays");
    peer.send(&frame::extended(0, b"d1:md6:dp_payi7eee")).await;
    let offer = Message::Offer(Offer {
        version: 1,
        price: PricePerGib::new(1000).expect("in range"),
        brokers: vec![(broker_key().public(), world.broker.url())],
        smallest_channel: Units(16),
        free: FreePolicy::On,
    });
    peer.send(&frame::extended(pay_id, &offer.encode())).await;
    // It has all sixteen pieces, and serves.
    peer.send(&[0, 0, 0, 3, 5, 0xff, 0xff]).await;
    peer.send(&UNCHOKE).await;
    engine.frame_of(ID_UNCHOKE).await;
    engine.send(&INTERESTED).await;
    engine.send(&request(0)).await;
    peer.frame_of(ID_REQUEST).await;
    let waits = Message::Due(Due {
        acknowledged: Units::ZERO,
        due: Units(2),
        served_bytes: 2 << 20,
        why: WaitReason::Ticks,
        window_bytes: 0,
    });
    let since = std::time::Instant::now();
    peer.send(&frame::extended(pay_id, &waits.encode())).await;
    let why = async {
        loop {
            if let Ok(GatewayEvent::Closed { why, .. }) = events.recv().await {
                return why;
            }
        }
    };
    assert_eq!(within(20, why).await, Close::Stuck);
    assert!(since.elapsed() >= STUCK, "{:?}", since.elapsed());
    within(10, ended(&mut engine)).await;
}
