//! The gateway's thread: opens the doors, takes orders, gives free peers their turns.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::LocalSet;

use super::avoided::Avoided;
use super::debts::Debts;
use super::digest::DigestKey;
use super::free::TICK_MS;
use super::purse::Purse;
use super::report::{GatewayEvent, OpenSpendLeft, PeerSnapshot};
use super::shared::{Command, ContentReader, Shared};
use super::shelf::Shelf;
use super::socks::Login;
use super::terms::{GatewayConfig, TorrentTerms};
use super::throttle::Limits;
use super::wants::Bits;
use super::{doors, output};
use crate::coin::Commitment;
use crate::dht::WatchConflict;
use crate::engine::{PieceEvent, Waker};
use crate::units::InfoHash;
use crate::wallet::PinnedBroker;
use crate::{clock, random};

/// Between looks whether everything is closed.
const CLOSE_LOOK: Duration = Duration::from_millis(50);

/// What the thread is told from outside.
pub enum Order {
    Piece(PieceEvent),
    EngineListen(SocketAddr),
    Waker(Waker),
    SetTorrent(InfoHash, TorrentTerms),
    #[cfg(test)]
    TermsOf(InfoHash, oneshot::Sender<Option<TorrentTerms>>),
    SetLimits(InfoHash, Limits),
    Choose(InfoHash, Option<Bits>),
    RemoveTorrent(InfoHash),
    Content(InfoHash, ContentReader),
    Snapshot(oneshot::Sender<Vec<PeerSnapshot>>),
    Purse(Arc<Purse>),
    Broker(Box<PinnedBroker>),
    Conflict(Box<WatchConflict>),
    /// Spends to us that an earlier run left open.
    Keep(Vec<Commitment>),
    CloseAll(Duration, oneshot::Sender<Vec<OpenSpendLeft>>),
    Stop,
}

/// What the thread starts with.
pub struct Start {
    pub config: GatewayConfig,
    pub listen: SocketAddr,
    pub peers: std::net::TcpListener,
    pub engine: std::net::TcpListener,
    pub login: Login,
    pub events: broadcast::Sender<GatewayEvent>,
}

/// Starts the thread.
pub fn spawn(start: Start, inbox: mpsc::UnboundedReceiver<Order>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name("gateway".to_owned());
    thread.spawn(move || {
        let local = LocalSet::new();
        let outcome = local.block_on(&runtime, run(start, inbox));
        if let Err(error) = outcome {
            tracing::error!(%error, "the gateway cannot work");
        }
    })?;
    Ok(())
}

async fn run(start: Start, mut inbox: mpsc::UnboundedReceiver<Order>) -> io::Result<()> {
    let peers = TcpListener::from_std(start.peers)?;
    let engine = TcpListener::from_std(start.engine)?;
    let config = start.config;
    let shared = Rc::new(Shared {
        torrents: RefCell::default(),
        connections: RefCell::default(),
        block_list: RefCell::default(),
        free: RefCell::default(),
        digest_key: DigestKey::new(&random::bytes()),
        pool: output::Pool::default(),
        engine_listen: Cell::new(config.engine_listen),
        waker: RefCell::default(),
        listen: start.listen,
        advertised_port: config.advertised_port.unwrap_or(start.listen.port()),
        default_free: config.default_free,
        own_ids: RefCell::default(),
        events: start.events,
        last_id: Cell::new(0),
        purse: RefCell::default(),
        broker: RefCell::default(),
        ticks: RefCell::default(),
        provisional: Cell::new(0),
        debts: RefCell::new(Debts::load(config.debts_file, clock::now())),
        ahead: RefCell::default(),
        avoided: RefCell::new(Avoided::load(config.avoided_file)),
        shunned: RefCell::default(),
        shelf: RefCell::new(Shelf::new(config.keep_ms)),
        stuck_ms: config.stuck_ms,
        open_spends: RefCell::default(),
        departed: RefCell::default(),
        stopping: Cell::new(false),
    });
    tokio::task::spawn_local(doors::serve_socks(Rc::clone(&shared), engine, start.login));
    tokio::task::spawn_local(doors::serve_peers(Rc::clone(&shared), peers));
    let mut turns = tokio::time::interval(Duration::from_millis(TICK_MS));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::Stop) | None => return Ok(()),
                Some(order) => obey(&shared, order),
            },
            _ = turns.tick() => {
                shared.flush_ticks();
                let is_stopping = shared.stopping.get();
                shared.close_overdue(clock::now(), is_stopping);
                shared.debts.borrow_mut().save(clock::now(), false);
                if shared.free.borrow_mut().tick(clock::now()) {
                    look(&shared);
                }
            }
        }
    }
}

fn obey(shared: &Rc<Shared>, order: Order) {
    match order {
        Order::Piece(PieceEvent::Verified { info_hash, piece }) => {
            shared.piece_verified(clock::now(), info_hash, piece.0);
        }
        Order::Piece(PieceEvent::Failed { info_hash, piece }) => {
            shared.piece_failed(clock::now(), info_hash, piece.0);
        }
        Order::EngineListen(address) => shared.engine_listen.set(Some(address)),
        Order::Waker(waker) => *shared.waker.borrow_mut() = Some(waker),
        Order::SetTorrent(info_hash, terms) => {
            let mut torrents = shared.torrents.borrow_mut();
            let before = torrents.entry(info_hash).or_default().terms.replace(terms);
            drop(torrents);
            if before != Some(terms) {
                shared.shunned.borrow_mut().forget(info_hash);
            }
            look(shared);
        }
        #[cfg(test)]
        Order::TermsOf(info_hash, answer) => {
            let torrents = shared.torrents.borrow();
            let _ = answer.send(torrents.get(&info_hash).and_then(|torrent| torrent.terms));
        }
        Order::SetLimits(info_hash, limits) => {
            let mut torrents = shared.torrents.borrow_mut();
            torrents.entry(info_hash).or_default().throttle.set(limits);
            drop(torrents);
            look(shared);
        }
        Order::Choose(info_hash, chosen) => {
            let mut torrents = shared.torrents.borrow_mut();
            let known = &mut torrents.entry(info_hash).or_default().chosen;
            let is_new = *known != chosen;
            *known = chosen;
            drop(torrents);
            if is_new {
                look(shared);
            }
        }
        Order::RemoveTorrent(info_hash) => {
            shared.torrents.borrow_mut().remove(&info_hash);
        }
        Order::Content(info_hash, reader) => {
            let mut torrents = shared.torrents.borrow_mut();
            torrents.entry(info_hash).or_default().content = Some(reader);
        }
        Order::Snapshot(answer) => {
            let connections = shared.connections.borrow();
            let all = connections.values().map(|h| h.snapshot.borrow().clone());
            let _ = answer.send(all.collect());
        }
        Order::Purse(purse) => *shared.purse.borrow_mut() = Some(purse),
        Order::Broker(broker) => {
            *shared.broker.borrow_mut() = Some(*broker);
            look(shared);
        }
        Order::Conflict(found) => shared.conflict(&found),
        Order::Keep(spends) => {
            let mut shelf = shared.shelf.borrow_mut();
            for spend in spends {
                shelf.keep(clock::now(), spend);
            }
        }
        Order::CloseAll(deadline, answer) => {
            let shared = Rc::clone(shared);
            tokio::task::spawn_local(async move {
                let _ = tokio::time::timeout(deadline, close_all(&shared)).await;
                shared.debts.borrow_mut().save(clock::now(), true);
                let open = shared.open_spends.borrow().values().cloned().collect();
                let _ = answer.send(open);
            });
        }
        Order::Stop => {}
    }
}

/// Ends when every connection has ended, everything spent to us is closed and all errands are done.
async fn close_all(shared: &Shared) {
    shared.stopping.set(true);
    for handle in shared.connections.borrow().values() {
        let _ = handle.commands.send(Command::Stop);
    }
    let is_idle = || {
        let purse = shared.purse.borrow();
        shared.connections.borrow().is_empty()
            && purse.as_ref().is_none_or(|p| p.is_idle())
            && !(purse.is_some() && shared.shelf.borrow().keeps_any())
    };
    loop {
        shared.flush_ticks();
        shared.close_overdue(clock::now(), true);
        tokio::time::sleep(CLOSE_LOOK).await;
        if is_idle() {
            return;
        }
    }
}

fn look(shared: &Shared) {
    for handle in shared.connections.borrow().values() {
        let _ = handle.commands.send(Command::Look);
    }
}
