//! Nodes in one process: an engine, a gateway, and where wanted a wallet, beside a broker and DHT
//! nodes, all real.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dpay::broker::{Broker, Operation, Terms};
use dpay::cashier::wallet::{Passphrase, Wallet, WalletConfig, WalletHandle};
use dpay::coin::SecretKey;
use dpay::dht::{DhtConfig, DhtNode, run_nodes};
use dpay::engine::{AddTorrent, Engine, EngineConfig, Handle, RestTimes, TorrentSource};
use dpay::gateway::{FreePolicy, Gateway, GatewayConfig, Payments, TorrentTerms};
use dpay::http::broker::{BrokerServer, RateLimit};
use dpay::store::broker::MemoryBrokerStore;
use dpay::torrent::{Layout, Metainfo, MetainfoBuilder, PieceLength};
use dpay::units::{PricePerGib, Units};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An engine behind a gateway.
pub struct Node {
    pub engine: Engine,
    pub gateway: Gateway,
    pub dir: TempDir,
    pub wallet: Option<WalletHandle>,
    _home: Option<TempDir>,
}

/// One without payment.
pub async fn node() -> Node {
    node_with(GatewayConfig::new(LOOPBACK), None, None, None).await
}

/// One without payment whose seeds rest.
pub async fn resting_node(times: RestTimes) -> Node {
    node_with(GatewayConfig::new(LOOPBACK), None, None, Some(times)).await
}

async fn node_with(
    config: GatewayConfig,
    payments: Option<Payments>,
    home: Option<TempDir>,
    rest: Option<RestTimes>,
) -> Node {
    let gateway = Gateway::start(&config).expect("starts");
    let wallet = payments.as_ref().map(|p| p.wallet.clone());
    if let Some(payments) = payments {
        gateway.enable_payments(payments);
    }
    let mut config = EngineConfig::behind_gateway(
        gateway.listen_addr().port(),
        gateway.socks_url().to_owned(),
        gateway.on_piece(),
    );
    config.rest = rest;
    let engine = Engine::start(config).await.expect("starts");
    gateway.set_engine_listen(engine.listen_addr());
    gateway.set_waker(engine.waker());
    let dir = tempfile::tempdir().expect("makes a folder");
    Node {
        engine,
        gateway,
        dir,
        wallet,
        _home: home,
    }
}

pub fn terms(metainfo: &Metainfo, free: FreePolicy) -> TorrentTerms {
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
    pub async fn add(&self, metainfo: &Metainfo, peers: &[SocketAddr], free: FreePolicy) -> Handle {
        self.gateway
            .set_torrent(metainfo.info_hash(), terms(metainfo, free));
        let add = add(metainfo, self.dir.path(), peers);
        let handle = self.engine.add(add).await.expect("adds");
        handle.wait_checked().await.expect("checks");
        handle
    }
}

fn add(metainfo: &Metainfo, dir: &Path, peers: &[SocketAddr]) -> AddTorrent {
    AddTorrent {
        source: TorrentSource::Bytes(metainfo.encode()),
        output_dir: dir.to_owned(),
        initial_peers: peers.to_vec(),
        overwrite: true,
        only_files: None,
        paused: false,
        looks_only: false,
    }
}

pub fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub fn make(dir: &Path, name: &str, piece_kib: u32, length: usize) -> Metainfo {
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

pub async fn within<F: Future>(seconds: u64, future: F) -> F::Output {
    let limit = Duration::from_secs(seconds);
    tokio::time::timeout(limit, future).await.expect("in time")
}

pub fn same(a: &Node, b: &Node, name: &str) {
    let read = |node: &Node| std::fs::read(node.dir.path().join(name)).expect("is there");
    assert!(read(a) == read(b), "{name} differs");
}

/// The key of the world's broker.
pub fn broker_key() -> SecretKey {
    SecretKey::from_bytes([0xb0; 32])
}

/// A broker and a DHT.
pub struct World {
    pub broker: BrokerServer,
    nodes: Vec<DhtNode>,
}

impl World {
    pub async fn new() -> World {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let terms = Terms {
            hold_ms: 0,
            bond: Units(50_000),
            ..Terms::default()
        };
        let broker = Arc::new(Broker::new(broker_key(), terms));
        let limit = RateLimit {
            per_second: 0,
            burst: 0,
        };
        let clock = Arc::new(dpay::clock::now);
        let store = Arc::new(MemoryBrokerStore::new());
        let server = BrokerServer::start(LOOPBACK, broker, store, clock, limit);
        World {
            broker: server.await.expect("starts"),
            nodes: run_nodes(12, Ipv4Addr::LOCALHOST).await.expect("settles"),
        }
    }

    /// A node with `units` in its account.
    pub async fn node(&self, units: u64) -> Node {
        self.node_with(units, GatewayConfig::new(LOOPBACK)).await
    }

    /// A node with 200 000 units and so many more in coins, and its wallet.
    pub async fn payer(&self, coins: u64) -> (Node, WalletHandle) {
        let node = self.node(200_000).await;
        let wallet = node.wallet.clone().expect("a wallet");
        wallet.buy(Units(coins)).await.expect("buys");
        (node, wallet)
    }

    /// A node with `units` in its account, and a gateway of its own kind.
    pub async fn node_with(&self, units: u64, config: GatewayConfig) -> Node {
        let home = tempfile::tempdir().expect("makes a folder");
        let path = home.path().join("wallet");
        let pass = Passphrase::none();
        Wallet::init(&path, None, &pass).await.expect("makes");
        let wallet = WalletConfig::new(&path, Some(self.broker.url()));
        let wallet = Wallet::open(wallet, &pass).await.expect("opens");
        if units > 0 {
            let operation = Operation::Deposit {
                account: wallet.account(),
                units: Units(units),
                reference: wallet.account().to_string(),
            };
            let cashier = self.broker.cashier();
            cashier.operate(operation).await.expect("deposits");
        }
        let bootstrap = self.nodes.iter().take(3).map(|n| n.addr().to_string());
        let dht = DhtNode::start(DhtConfig {
            bind: "127.0.0.1:0".parse().expect("address"),
            bootstrap: bootstrap.collect(),
            request_timeout_ms: 400,
            ..DhtConfig::default()
        });
        let dht = dht.await.expect("starts");
        assert!(dht.settled(12, Duration::from_secs(20)).await);
        let payments = Payments {
            wallet,
            dht: Some(dht),
        };
        node_with(config, Some(payments), Some(home), None).await
    }
}

/// A connection through the gateway's SOCKS server, or its reply.
pub async fn socks(gateway: &Gateway, target: SocketAddr) -> Result<TcpStream, u8> {
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
