//! Gateways over real sockets, with real engines behind them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dpay::engine::{AddTorrent, Engine, EngineConfig, Handle, TorrentSource};
use dpay::gateway::{FreePolicy, Gateway, GatewayConfig, TorrentTerms};
use dpay::torrent::{Layout, Metainfo, MetainfoBuilder, PieceLength};
use dpay::units::PricePerGib;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// An engine behind a gateway.
struct Node {
    engine: Engine,
    gateway: Gateway,
    dir: TempDir,
}

async fn node() -> Node {
    let gateway = Gateway::start(&GatewayConfig::new(LOOPBACK)).expect("starts");
    let config = EngineConfig::behind_gateway(
        gateway.listen_addr().port(),
        gateway.socks_url().to_owned(),
        gateway.on_piece(),
    );
    let engine = Engine::start(config).await.expect("starts");
    gateway.set_engine_listen(engine.listen_addr());
    let dir = tempfile::tempdir().expect("makes a folder");
    Node {
        engine,
        gateway,
        dir,
    }
}

fn terms(metainfo: &Metainfo, free: FreePolicy) -> TorrentTerms {
    TorrentTerms {
        price: PricePerGib::new(1000).expect("in range"),
        max_price: PricePerGib::new(2000).expect("in range"),
        free,
        piece_length_bytes: metainfo.piece_length_bytes(),
        length_bytes: metainfo.length_bytes(),
        pays: true,
        earns: true,
    }
}

impl Node {
    async fn add(&self, metainfo: &Metainfo, peers: &[SocketAddr], free: FreePolicy) -> Handle {
        self.gateway
            .set_torrent(metainfo.info_hash(), terms(metainfo, free));
        let add = AddTorrent {
            source: TorrentSource::Bytes(metainfo.encode()),
            output_dir: self.dir.path().to_owned(),
            initial_peers: peers.to_vec(),
            overwrite: true,
        };
        let handle = self.engine.add(add).await.expect("adds");
        handle.wait_checked().await.expect("checks");
        handle
    }
}

fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn make(dir: &Path, name: &str, piece_kib: u32, length: usize) -> Metainfo {
    let layout = Layout::File {
        length_bytes: length as u64,
    };
    let piece_length = PieceLength::from_kib(piece_kib).expect("a power of two");
    let mut builder = MetainfoBuilder::new(name, layout, piece_length).expect("usable");
    let bytes = content(length, 7);
    builder.update(&bytes).expect("fits");
    std::fs::write(dir.join(name), bytes).expect("writes");
    builder.finish().expect("complete")
}

async fn within<F: Future>(seconds: u64, future: F) -> F::Output {
    let limit = Duration::from_secs(seconds);
    tokio::time::timeout(limit, future).await.expect("in time")
}

fn same(a: &Node, b: &Node, name: &str) {
    let read = |node: &Node| std::fs::read(node.dir.path().join(name)).expect("is there");
    assert!(read(a) == read(b), "{name} differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_through_two_gateways_and_every_byte_has_a_sender() {
    let (seeder, leecher) = (node().await, node().await);
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 5_000_001);
    seeder.add(&metainfo, &[], FreePolicy::On).await;
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    let mut most = 0;
    let watch = async {
        loop {
            for peer in leecher.gateway.snapshot().await {
                most = most.max(peer.verified_bytes);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        done = within(60, handle.wait_finished()) => done.expect("finishes"),
        () = watch => {}
    }
    same(&seeder, &leecher, "file.bin");
    assert!(most > 0, "deliveries are attributed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_dials_a_leecher_serves_it_too() {
    let (seeder, leecher) = (node().await, node().await);
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 1_000_000);
    let handle = leecher.add(&metainfo, &[], FreePolicy::On).await;
    let peers = [leecher.gateway.listen_addr()];
    seeder.add(&metainfo, &peers, FreePolicy::On).await;
    within(60, handle.wait_finished()).await.expect("finishes");
    same(&seeder, &leecher, "file.bin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_free_off_a_peer_that_does_not_pay_gets_nothing_until_it_is_on() {
    let (seeder, leecher) = (node().await, node().await);
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 300_000);
    seeder.add(&metainfo, &[], FreePolicy::Off).await;
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    // Long enough for librqbit to hang up if nobody kept it company.
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert_eq!(handle.progress().bytes_have, 0);
    assert_eq!(leecher.gateway.snapshot().await.len(), 1);
    let free = terms(&metainfo, FreePolicy::On);
    seeder.gateway.set_torrent(metainfo.info_hash(), free);
    within(60, handle.wait_finished()).await.expect("finishes");
    same(&seeder, &leecher, "file.bin");
}

#[tokio::test]
async fn streams_that_are_not_bittorrent_are_relayed_as_they_are() {
    let gateway = Gateway::start(&GatewayConfig::new(LOOPBACK)).expect("starts");
    let server = TcpListener::bind(LOOPBACK).await.expect("binds");
    let target = server.local_addr().expect("address");
    let mut client = socks(&gateway, target).await.expect("connects");
    client
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .await
        .expect("writes");
    let (mut served, _) = within(5, server.accept()).await.expect("accepts");
    let mut asked = [0; 18];
    served.read_exact(&mut asked).await.expect("reads");
    assert_eq!(&asked, b"GET / HTTP/1.0\r\n\r\n");
    served.write_all(b"hello").await.expect("writes");
    drop(served);
    let mut answer = Vec::new();
    within(5, client.read_to_end(&mut answer))
        .await
        .expect("reads");
    assert_eq!(answer, b"hello");
}

#[tokio::test]
async fn the_gateway_does_not_let_our_engine_reach_itself() {
    let gateway = Gateway::start(&GatewayConfig::new(LOOPBACK)).expect("starts");
    let refused = socks(&gateway, gateway.listen_addr()).await;
    assert_eq!(refused.err(), Some(2));
}

/// A connection through the gateway's SOCKS server, or its reply.
async fn socks(gateway: &Gateway, target: SocketAddr) -> Result<TcpStream, u8> {
    let url = url::Url::parse(gateway.socks_url()).expect("a URL");
    let address = (url.host_str().expect("host"), url.port().expect("port"));
    let mut client = TcpStream::connect(address).await.expect("connects");
    let (user, password) = (url.username(), url.password().expect("password"));
    let mut hello = vec![5, 1, 2, 1, user.len() as u8];
    hello.extend(user.as_bytes());
    hello.push(password.len() as u8);
    hello.extend(password.as_bytes());
    let SocketAddr::V4(target) = target else {
        panic!("an IPv4 address");
    };
    hello.extend([5, 1, 0, 1]);
    hello.extend(target.ip().octets());
    hello.extend(target.port().to_be_bytes());
    client.write_all(&hello).await.expect("writes");
    let mut told = [0; 14];
    client.read_exact(&mut told).await.expect("reads");
    assert_eq!(told[..4], [5, 2, 1, 0]);
    match told[5] {
        0 => Ok(client),
        reply => Err(reply),
    }
}
