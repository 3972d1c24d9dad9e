//! Builds the rooms, joins them, shuts them down: one wallet, one DHT node, one gateway, one engine.

mod left;
mod router;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;

use crate::cashier::wallet::{
    CashierError, Cheat, Keeper, Passphrase, Wallet, WalletConfig, WalletHandle,
};
use crate::dht::tracker::Tracker;
use crate::dht::{DhtConfig, DhtError, DhtNode};
use crate::engine::{
    AddTorrent, Engine, EngineConfig, EngineError, Handle, RestTimes, TorrentSource,
};
use crate::gateway::{
    FreePolicy, Gateway, GatewayConfig, GatewayError, Payments, TorrentTerms, content_of,
};
use crate::torrent::Metainfo;
use crate::units::{AT_HAND, InfoHash, PricePerGib, Units};
use crate::wallet::keeping::Rules;

pub use self::left::StaysOpen;
pub use self::router::{Cause, Forwarding, Router};

/// How long closing channels may take when a node stops.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// How long a node looks for DHT nodes before its wallet reads slots.
const SETTLE_DHT: Duration = Duration::from_secs(30);

/// In the home: who left owing us, by address prefix.
const DEBTS_FILE: &str = "debts";
/// Likewise: which payees are not paid for a while.
const AVOIDED_FILE: &str = "avoided";

/// Why a node did not start, or did not take a torrent.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] CashierError),
    /// The gateway's doors.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The DHT.
    #[error(transparent)]
    Dht(#[from] DhtError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The DHT and its peers are IPv4 only so far.
    #[error("cannot listen on {0}: only IPv4 addresses are served so far; give one to --listen")]
    OnlyIpv4(SocketAddr),
}

/// How to run a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The wallet's directory.
    pub home: PathBuf,
    /// What opens the wallet.
    pub passphrase: Passphrase,
    /// The broker's address; none: where the wallet met it first.
    pub broker_url: Option<String>,
    /// Where peers reach us (TCP), and the DHT's port (UDP) where it is free.
    pub listen: SocketAddr,
    /// Whether the router is asked to forward its port, unless it is for this machine only.
    pub forward_port: bool,
    /// DHT nodes to start from; empty: mainline's own.
    pub bootstrap: Vec<String>,
    /// Answers that a place of the DHT needs: 8; less only in tests.
    pub min_answers: u32,
    /// Milliseconds after which a spend to us is undecided: 60 000. Less only in tests.
    pub accept_deadline_ms: u64,
    /// Certified payee keys at hand; 0 for a node that only pays.
    pub payee_keys: u32,
    /// Units that the wallet keeps at hand in small coins, bought without being asked for.
    pub at_hand: Units,
    /// What the wallet redeems and presents by itself.
    pub keep: Rules,
    /// Most memory for unfinished pieces.
    pub piece_memory_bytes: u64,
    /// Where notes of verified pieces are kept for a fast start; none: files are hashed at each.
    pub resume_dir: Option<PathBuf>,
    /// In what the wallet cheats; none but in `dpay demo --cheat`.
    pub cheat: Option<Cheat>,
}

/// What a torrent costs and may cost.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What we ask.
    pub price: PricePerGib,
    /// The highest price we pay; none: nothing is paid for this torrent.
    pub max_price: Option<PricePerGib>,
    /// Whom we serve for nothing.
    pub free: FreePolicy,
    /// The most this torrent may cost in all; none: what the wallet has.
    pub budget: Option<Units>,
    /// Whether we take payment.
    pub earns: bool,
}

/// A running node.
pub struct Node {
    /// The wallet.
    pub wallet: WalletHandle,
    /// The DHT.
    pub dht: DhtNode,
    /// Between the swarm and the engine.
    pub gateway: Gateway,
    /// librqbit.
    pub engine: Engine,
    /// What the router forwards.
    pub router: Router,
    _keeper: Keeper,
    _tracker: Tracker,
    private: Arc<Mutex<HashSet<InfoHash>>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("listen", &self.gateway.listen_addr())
            .finish_non_exhaustive()
    }
}

async fn start_dht(config: &NodeConfig, port: u16) -> Result<DhtNode, DhtError> {
    let ip = match config.listen.ip() {
        std::net::IpAddr::V4(ip) => ip,
        std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let mut dht = DhtConfig {
        bind: SocketAddrV4::new(ip, port),
        min_answers: config.min_answers,
        accept_deadline_ms: config.accept_deadline_ms,
        clients: if config.payee_keys > 0 { 4 } else { 2 },
        ..DhtConfig::default()
    };
    if !config.bootstrap.is_empty() {
        dht.bootstrap.clone_from(&config.bootstrap);
    }
    match DhtNode::start(dht.clone()).await {
        Err(DhtError::Bind { .. }) => {
            dht.bind = SocketAddrV4::new(ip, 0);
            DhtNode::start(dht).await
        }
        started => started,
    }
}

impl Node {
    /// Opens the wallet, starts every part and joins them. Channels that an earlier run left open
    /// are taken up: their payers may come back.
    ///
    /// # Errors
    /// The first part that does not start.
    pub async fn start(config: NodeConfig) -> Result<Node, NodeError> {
        if config.listen.is_ipv6() {
            return Err(NodeError::OnlyIpv4(config.listen));
        }
        let mut wallet = WalletConfig::new(&config.home, config.broker_url.clone());
        wallet.payee_keys = config.payee_keys;
        wallet.limits.at_hand = usize::try_from(config.at_hand.0 / AT_HAND.0).unwrap_or(usize::MAX);
        wallet.keep = Some(config.keep);
        wallet.cheat.clone_from(&config.cheat);
        let wallet = Wallet::open(wallet, &config.passphrase).await?;
        let mut gateway_config = GatewayConfig::new(config.listen);
        gateway_config.debts_file = Some(config.home.join(DEBTS_FILE));
        gateway_config.avoided_file = Some(config.home.join(AVOIDED_FILE));
        let gateway = Gateway::start(&gateway_config)?;
        let port = gateway.listen_addr().port();
        let dht = start_dht(&config, port).await?;
        tokio::spawn(give_slots(wallet.clone(), dht.clone()));
        let private: Arc<Mutex<HashSet<InfoHash>>> = Arc::default();
        let known = Arc::clone(&private);
        let is_private = Arc::new(move |info_hash: &InfoHash| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.contains(info_hash)
        });
        let tracker = Tracker::start(dht.clone(), port, is_private).await?;
        gateway.enable_payments(Payments {
            wallet: wallet.clone(),
            dht: Some(dht.clone()),
        });
        let socks_url = gateway.socks_url().to_owned();
        let mut engine = EngineConfig::behind_gateway(port, socks_url, gateway.on_piece());
        engine.trackers = vec![tracker.url().to_owned()];
        engine.piece_memory_bytes = config.piece_memory_bytes;
        engine.resume_dir.clone_from(&config.resume_dir);
        engine.rest = Some(RestTimes::default());
        let engine = Engine::start(engine).await?;
        gateway.set_engine_listen(engine.listen_addr());
        gateway.set_waker(engine.waker());
        let is_for_others = !gateway.listen_addr().ip().is_loopback();
        let router = match config.forward_port && is_for_others {
            true => Router::start(port, dht.addr().port()),
            false => Router::off(),
        };
        Ok(Node {
            router,
            _keeper: Keeper::start(wallet.clone(), dht.clone()),
            wallet,
            dht,
            gateway,
            engine,
            _tracker: tracker,
            private,
        })
    }

    /// Adds a torrent under terms. What is there already is checked and kept.
    ///
    /// # Errors
    /// A torrent that is none, files that cannot be written, or a wallet that cannot note the budget.
    pub async fn add(
        &self,
        source: TorrentSource,
        output_dir: PathBuf,
        initial_peers: Vec<SocketAddr>,
        terms: Terms,
    ) -> Result<Handle, NodeError> {
        self.add_files(source, output_dir, initial_peers, terms, None)
            .await
    }

    /// As [`Node::add`], fetching only the files of these indexes where they are given. Of a magnet
    /// link the handle comes at once, and its terms count from when its metadata is known
    /// ([`Node::set_terms`]): until then nothing is paid.
    ///
    /// # Errors
    /// As [`Node::add`].
    pub async fn add_files(
        &self,
        source: TorrentSource,
        output_dir: PathBuf,
        initial_peers: Vec<SocketAddr>,
        terms: Terms,
        only_files: Option<Vec<usize>>,
    ) -> Result<Handle, NodeError> {
        let add = AddTorrent {
            source,
            output_dir,
            initial_peers,
            overwrite: true,
            only_files: only_files.clone(),
            paused: false,
            looks_only: false,
        };
        let handle = self.start_adding(add, terms).await?;
        if handle.metainfo().is_none() {
            let metainfo = handle.wait_metadata().await?;
            self.choose_files(&metainfo, only_files.as_deref());
            self.set_terms(&metainfo, terms).await?;
        }
        Ok(handle)
    }

    /// As [`Node::add_files`], but does not wait for a magnet's metadata.
    ///
    /// # Errors
    /// As [`Node::add`].
    pub async fn start_adding(&self, add: AddTorrent, terms: Terms) -> Result<Handle, NodeError> {
        let known = match &add.source {
            TorrentSource::Bytes(bytes) => Some(Arc::new(
                Metainfo::decode(bytes).map_err(EngineError::from)?,
            )),
            TorrentSource::Metainfo(metainfo) => Some(Arc::clone(metainfo)),
            TorrentSource::Magnet(_) => None,
        };
        if let Some(metainfo) = &known {
            self.choose_files(metainfo, add.only_files.as_deref());
            self.set_terms(metainfo, terms).await?;
        }
        let handle = self.engine.add(add).await?;
        self.gateway
            .set_content(handle.info_hash(), content_of(handle.clone()));
        Ok(handle)
    }

    /// Sets the files of a torrent that are paid for, by index, also of one that runs; none: all. To be
    /// called before the engine fetches others.
    pub fn choose_files(&self, metainfo: &Metainfo, only_files: Option<&[usize]>) {
        let chosen = only_files.map(|only| {
            let only: HashSet<usize> = only.iter().copied().collect();
            metainfo.span(|index| only.contains(&(index as usize)))
        });
        let info_hash = metainfo.info_hash();
        self.gateway.choose_pieces(info_hash, chosen.as_ref());
    }

    /// Sets a torrent's terms, also of one that runs: for connections that are made from then on.
    ///
    /// # Errors
    /// A wallet that cannot note the budget; nothing is paid on new connections then.
    pub async fn set_terms(&self, metainfo: &Metainfo, terms: Terms) -> Result<(), NodeError> {
        let noted = self.note_budget(metainfo.info_hash(), terms.budget).await;
        self.tell_terms(metainfo, terms, noted.is_ok());
        noted
    }

    /// Has the wallet note what a torrent may cost.
    ///
    /// # Errors
    /// A wallet that cannot.
    pub async fn note_budget(
        &self,
        info_hash: InfoHash,
        budget: Option<Units>,
    ) -> Result<(), NodeError> {
        Ok(self.wallet.set_budget(info_hash, budget).await?)
    }

    /// Tells the gateway a torrent's terms. A budget that the wallet has not noted binds nothing: nothing is
    /// paid then.
    pub fn tell_terms(&self, metainfo: &Metainfo, terms: Terms, is_noted: bool) {
        let info_hash = metainfo.info_hash();
        if metainfo.is_private() {
            let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
            private.insert(info_hash);
        }
        let max_price = terms.max_price.filter(|_| is_noted);
        self.gateway.set_torrent(
            info_hash,
            TorrentTerms {
                price: terms.price,
                max_price: max_price.unwrap_or(PricePerGib::MIN),
                free: terms.free,
                piece_length_bytes: metainfo.piece_length_bytes(),
                length_bytes: metainfo.length_bytes(),
                pays: max_price.is_some(),
                earns: terms.earns,
            },
        );
    }
}

impl Node {
    /// Takes a torrent out, and deletes its files if asked to.
    ///
    /// # Errors
    /// A torrent that is not there, or a file that resists.
    pub async fn remove(&self, info_hash: InfoHash, delete: bool) -> Result<(), NodeError> {
        let removed = self.engine.remove(info_hash, delete).await;
        self.gateway.remove_torrent(info_hash);
        Ok(removed?)
    }

    /// Takes a torrent out of the engine with the notes of its verified pieces, to be added again at once:
    /// what it pays and asks stays as it is.
    ///
    /// # Errors
    /// A torrent that is not there.
    pub async fn set_aside(&self, info_hash: InfoHash) -> Result<(), NodeError> {
        Ok(self.engine.set_aside(info_hash).await?)
    }
}

/// Gives the wallet the DHT once it knows enough nodes to read a slot, or after a while anyway.
async fn give_slots(wallet: WalletHandle, dht: DhtNode) {
    let nodes = usize::try_from(dht.min_answers()).unwrap_or(usize::MAX);
    if !dht.settled(nodes, SETTLE_DHT).await {
        tracing::warn!("few DHT nodes are known: what earlier runs left waits to be read");
    }
    let _ = wallet.set_slots(Arc::new(dht)).await;
}
