//! What all connections of the gateway's thread share: torrents, the table of connections, the block
//! list, what free peers may have.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::ahead::Ahead;
use super::attribution::{Attribution, ConnectionId, Verdict};
use super::avoided::Avoided;
use super::blocklist::BlockList;
use super::debts::Debts;
use super::digest::{Digest, DigestKey, Digester};
use super::free::FreeShare;
use super::output::Pool;
use super::purse::{Answer, Purse};
use super::report::{Close, GatewayEvent, OpenSpendLeft, PeerSnapshot};
use super::shelf::{Place, Shelf, Taken};
use super::shunned::Shunned;
use super::terms::{FreePolicy, TorrentTerms};
use super::throttle::{Throttle, Way};
use super::wants::Bits;
use crate::coin::{ChainValue, Commitment};
use crate::dht::WatchConflict;
use crate::engine::Waker;
use crate::record::Item;
use crate::units::{InfoHash, Units, UnixMs};
use crate::wallet::PinnedBroker;
use crate::wire::frame::{Block, PeerId};

/// Two peers that dial each other at once do so within this time.
const CROSSING_MS: u64 = 1_000;
/// A connection so silent gives way to a new one of the same peer.
const STALE_MS: u64 = 30_000;
/// Own peer ids remembered; an engine has one a session.
const MAX_OWN_IDS: usize = 16;

/// Ended connections remembered.
const MAX_DEPARTED: usize = 256;

/// Reads a stretch (piece, begin, length) of a verified piece.
pub type ContentReader = Arc<dyn Fn(u32, u32, u32) -> Option<Vec<u8>> + Send + Sync>;

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// Our engine, through SOCKS.
    Us,
    /// The peer.
    Peer,
}

/// What a connection's task is told.
#[derive(Debug)]
pub enum Command {
    /// A piece of the torrent is verified; so many bytes of it are this peer's.
    Verified(u64),
    /// An errand was done.
    Answer(Box<Answer>),
    /// A payer shows itself elsewhere by this tick of a spend that is on this connection.
    LetGo(Commitment, u32, ChainValue),
    /// A spend that was asked for on this channel is on no other connection any more.
    Free(Commitment, u32),
    /// Another item lies in a slot of the spend on this channel.
    Conflict(u32, Box<Item>),
    /// Channels are to be closed, then the connection.
    Stop,
    /// The torrent's terms or the free peers' turns have changed.
    Look,
    /// The connection is to end.
    Close(Close),
}

/// The table's entry for one connection.
pub struct Handle {
    /// Reaches its task.
    pub commands: mpsc::UnboundedSender<Command>,
    /// Its torrent and peer, once both are known.
    pub peer: Option<(InfoHash, PeerId)>,
    /// Who dialled.
    pub opened_by: OpenedBy,
    /// Since when it stands.
    pub since: UnixMs,
    /// When something last came from the peer.
    pub heard_at: Rc<Cell<UnixMs>>,
    /// Our engine has hung up, and only payments are being settled.
    pub lingers: Rc<Cell<bool>>,
    /// The peer serves only who pays, and we do not pay it.
    pub is_unserved: Rc<Cell<bool>>,
    /// How it stands.
    pub snapshot: Rc<RefCell<PeerSnapshot>>,
}

/// One torrent.
#[derive(Default)]
pub struct Torrent {
    /// What it costs, once set.
    pub terms: Option<TorrentTerms>,
    /// Who delivered what.
    pub attribution: Attribution,
    /// Pieces that we have.
    pub have: Bits,
    /// Pieces that the chosen files lie in; none: all are wanted, for all we know.
    pub chosen: Option<Bits>,
    /// Reads verified content in doubt.
    pub content: Option<ContentReader>,
    /// How fast it may be.
    pub throttle: Throttle,
    /// Connections on which we pay, or are about to.
    pub sellers: u32,
}

/// Ticks that the wallet has not heard of yet.
#[derive(Debug, Default)]
pub struct Ticks {
    /// Sent.
    pub paid: HashMap<Commitment, u32>,
    /// Received.
    pub earned: HashMap<Commitment, (u32, ChainValue)>,
}

/// Shared by all connections; lives on the gateway's thread.
pub struct Shared {
    /// Torrents by info hash.
    pub torrents: RefCell<HashMap<InfoHash, Torrent>>,
    /// Connections that stand.
    pub connections: RefCell<BTreeMap<ConnectionId, Handle>>,
    /// Who is refused.
    pub block_list: RefCell<BlockList>,
    /// What free peers may have.
    pub free: RefCell<FreeShare>,
    /// The key of content digests.
    pub digest_key: Rc<DigestKey>,
    /// Read buffers.
    pub pool: Pool,
    /// Our engine's listener.
    pub engine_listen: Cell<Option<SocketAddr>>,
    /// Wakes torrents of our engine that rest.
    pub waker: RefCell<Option<Waker>>,
    /// Where strangers reach us.
    pub listen: SocketAddr,
    /// The port peers are told.
    pub advertised_port: u16,
    /// Free policy of torrents without terms.
    pub default_free: FreePolicy,
    /// Peer ids our engine uses.
    pub own_ids: RefCell<Vec<PeerId>>,
    /// Where events go.
    pub events: broadcast::Sender<GatewayEvent>,
    /// The last connection id given.
    pub last_id: Cell<u64>,
    /// Wallet and DHT, if there is payment.
    pub purse: RefCell<Option<Arc<Purse>>>,
    /// The wallet's broker, once met.
    pub broker: RefCell<Option<PinnedBroker>>,
    /// Ticks to be noted.
    pub ticks: RefCell<Ticks>,
    /// Peers that are served before acceptance.
    pub provisional: Cell<usize>,
    /// Who left owing.
    pub debts: RefCell<Debts>,
    /// Units paid ahead for nothing yet.
    pub ahead: RefCell<Ahead>,
    /// Payees that are not paid until then, by address.
    pub avoided: RefCell<Avoided>,
    /// Whom our engine dials in vain for a while.
    pub shunned: RefCell<Shunned>,
    /// Where each open spend is.
    pub shelf: RefCell<Shelf>,
    /// Milliseconds for which a payee may wait for ticks while nothing moves.
    pub stuck_ms: u64,
    /// Our spends that are on no connection and without a close.
    pub open_spends: RefCell<HashMap<Commitment, OpenSpendLeft>>,
    /// Connections that have ended.
    pub departed: RefCell<VecDeque<(ConnectionId, PeerSnapshot)>>,
    /// No new connections.
    pub stopping: Cell<bool>,
}

impl Shared {
    /// A fresh connection id.
    pub fn next_id(&self) -> ConnectionId {
        self.last_id.set(self.last_id.get() + 1);
        ConnectionId(self.last_id.get())
    }

    /// Tells whoever listens.
    pub fn tell(&self, event: GatewayEvent) {
        tracing::debug!(?event, "gateway");
        let _ = self.events.send(event);
    }

    /// The terms of a torrent, once set.
    #[must_use]
    pub fn terms(&self, info_hash: InfoHash) -> Option<TorrentTerms> {
        self.torrents.borrow().get(&info_hash)?.terms
    }

    /// Whether a torrent's limit lets a block move now.
    #[must_use]
    pub fn may_move(&self, now: UnixMs, info_hash: Option<InfoHash>, way: Way) -> bool {
        let torrents = self.torrents.borrow();
        let torrent = info_hash.and_then(|info_hash| torrents.get(&info_hash));
        torrent.is_none_or(|torrent| torrent.throttle.is_open(now, way))
    }

    /// A block of a torrent moves.
    pub fn moves(&self, now: UnixMs, info_hash: Option<InfoHash>, way: Way, block: Block) {
        let mut torrents = self.torrents.borrow_mut();
        if let Some(torrent) = info_hash.and_then(|info_hash| torrents.get_mut(&info_hash)) {
            let bytes = u64::from(block.length_bytes);
            torrent.throttle.count(now, way, bytes);
        }
    }

    /// Whom this torrent serves for nothing.
    #[must_use]
    pub fn free_policy(&self, info_hash: InfoHash) -> FreePolicy {
        self.terms(info_hash)
            .map_or(self.default_free, |terms| terms.free)
    }

    /// Remembers an id that our engine uses.
    pub fn note_own_id(&self, id: PeerId) {
        let mut own = self.own_ids.borrow_mut();
        if !own.contains(&id) {
            own.push(id);
            if own.len() > MAX_OWN_IDS {
                own.remove(0);
            }
        }
    }

    /// Takes a connection's peer into the table, or says why not. Of two connections to one peer
    /// that crossed each other, both ends keep the one that the greater peer id opened; otherwise
    /// the first stays.
    ///
    /// # Errors
    /// Why this connection must end.
    pub fn admit(
        &self,
        now: UnixMs,
        id: ConnectionId,
        info_hash: InfoHash,
        peer_id: PeerId,
    ) -> Result<(), Close> {
        if self.stopping.get() {
            return Err(Close::Stopped);
        }
        if self.own_ids.borrow().contains(&peer_id) {
            return Err(Close::Ourselves);
        }
        if self.block_list.borrow().refuses_id(now, peer_id) {
            return Err(Close::Blocked);
        }
        let mut connections = self.connections.borrow_mut();
        let Some(opened_by) = connections.get(&id).map(|handle| handle.opened_by) else {
            return Err(Close::Stopped);
        };
        let wanted = Some((info_hash, peer_id));
        for (other, handle) in connections.iter() {
            if *other == id || handle.peer != wanted {
                continue;
            }
            if !self.gives_way(now, handle, opened_by, peer_id) {
                return Err(Close::Second(peer_id));
            }
            let _ = handle.commands.send(Command::Close(Close::Second(peer_id)));
        }
        if let Some(handle) = connections.get_mut(&id) {
            handle.peer = wanted;
        }
        Ok(())
    }

    /// The connection that our engine opened to a peer for a torrent.
    pub fn dialled(
        &self,
        address: SocketAddr,
        info_hash: InfoHash,
    ) -> Option<mpsc::UnboundedSender<Command>> {
        let connections = self.connections.borrow();
        let is_it = |handle: &&Handle| {
            let snapshot = handle.snapshot.borrow();
            handle.opened_by == OpenedBy::Us
                && snapshot.address == Some(address)
                && snapshot.info_hash == Some(info_hash)
        };
        let found = connections.values().find(is_it);
        found.map(|handle| handle.commands.clone())
    }

    /// Whether a standing connection gives way to a new one of the same peer.
    fn gives_way(&self, now: UnixMs, old: &Handle, new: OpenedBy, peer_id: PeerId) -> bool {
        if old.lingers.get() || now.since_ms(old.heard_at.get()) >= STALE_MS {
            return true;
        }
        if old.opened_by == new || now.since_ms(old.since) >= CROSSING_MS {
            return false;
        }
        let ours_is_greater = self.own_ids.borrow().iter().any(|own| *own > peer_id);
        (new == OpenedBy::Us) == ours_is_greater
    }

    /// A piece verified: tells each deliverer, and drops who lied.
    pub fn piece_verified(&self, now: UnixMs, info_hash: InfoHash, piece: u32) {
        let verdict = match self.torrents.borrow_mut().get_mut(&info_hash) {
            Some(torrent) => {
                torrent.have.add(piece);
                let content = torrent.content.clone();
                let read = |begin: u32, length: u32| -> Option<Digest> {
                    let bytes = content.as_ref()?(piece, begin, length)?;
                    Some(Digester::of(&self.digest_key, &bytes))
                };
                torrent.attribution.verified(piece, read)
            }
            None => return,
        };
        for (id, handle) in self.connections.borrow().iter() {
            let is_of_torrent = handle.peer.is_some_and(|(of, _)| of == info_hash);
            if is_of_torrent && !verdict.pay.iter().any(|(paid, _)| paid == id) {
                let _ = handle.commands.send(Command::Verified(0));
            }
        }
        self.carry_out(now, info_hash, verdict);
    }

    /// Takes a spend to us up on a connection's channel; `None` where another connection has it. That
    /// one is asked to let it go.
    pub fn take_up(
        &self,
        now: UnixMs,
        spend: Commitment,
        shown: Option<(u32, ChainValue)>,
        place: Place,
    ) -> Option<u64> {
        match self.shelf.borrow_mut().take(now, spend, place) {
            Taken::Yes { unpaid_bytes } => Some(unpaid_bytes),
            Taken::HeldBy(id) => {
                if let Some(handle) = self.connections.borrow().get(&id)
                    && let Some((k, wk)) = shown
                {
                    let _ = handle.commands.send(Command::LetGo(spend, k, wk));
                }
                None
            }
        }
    }

    /// A connection left a spend to us open.
    pub fn left(
        &self,
        now: UnixMs,
        spend: Commitment,
        from: ConnectionId,
        unpaid_bytes: u64,
        is_proven: bool,
    ) {
        let mut shelf = self.shelf.borrow_mut();
        let asked = shelf.leave(now, spend, from, unpaid_bytes, is_proven);
        if let Some((id, channel)) = asked
            && let Some(handle) = self.connections.borrow().get(&id)
        {
            let _ = handle.commands.send(Command::Free(spend, channel));
        }
    }

    /// Closes spends to us that nobody came back for in time, or all that are on no connection.
    pub fn close_overdue(&self, now: UnixMs, all: bool) {
        let Some(purse) = self.purse.borrow().clone() else {
            return;
        };
        for (spend, last) in self.shelf.borrow_mut().overdue(now, all) {
            purse.close_kept(spend, last);
        }
    }

    /// A watched spend has a rival in the DHT.
    pub fn conflict(&self, found: &WatchConflict) {
        let place = self.shelf.borrow().place(&found.spend);
        if let Some(purse) = self.purse.borrow().clone() {
            if place.is_none() {
                let last = self.shelf.borrow().last(&found.spend);
                purse.close_kept(found.spend, last);
            }
            purse.rival_found(found.clone());
        }
        let Some((id, channel)) = place else {
            self.shelf.borrow_mut().close(&found.spend);
            return;
        };
        if let Some(handle) = self.connections.borrow().get(&id) {
            let conflict = Command::Conflict(channel, Box::new(found.other.clone()));
            let _ = handle.commands.send(conflict);
            let address = handle.snapshot.borrow().address;
            if let (Some((info_hash, _)), Some(peer)) = (handle.peer, address) {
                self.tell(GatewayEvent::Conflict {
                    items: Some(Box::new((found.ours.clone(), found.other.clone()))),
                    info_hash,
                    peer,
                });
            }
        }
    }

    /// A spend of ours is on no connection any more, without its close.
    pub fn left_open(&self, spend: Commitment, k: u32, peer: SocketAddr) {
        let left = OpenSpendLeft {
            spend,
            units: Units(u64::from(k)),
            peer,
        };
        self.open_spends.borrow_mut().insert(spend, left);
    }

    /// Hands the ticks on to the wallet.
    pub fn flush_ticks(&self) {
        let Some(purse) = self.purse.borrow().clone() else {
            return;
        };
        let ticks = std::mem::take(&mut *self.ticks.borrow_mut());
        if ticks.paid.is_empty() && ticks.earned.is_empty() {
            return;
        }
        let earned = ticks.earned.into_iter().map(|(c, (k, wk))| (c, k, wk));
        purse.note_ticks(ticks.paid.into_iter().collect(), earned.collect());
    }

    /// A piece failed its check.
    pub fn piece_failed(&self, now: UnixMs, info_hash: InfoHash, piece: u32) {
        let liar = (self.torrents.borrow_mut().get_mut(&info_hash)).and_then(|torrent| {
            let piece_bytes = torrent.terms.map_or(0, |terms| terms.piece_bytes(piece));
            torrent.attribution.failed(piece, piece_bytes)
        });
        let verdict = Verdict {
            liars: liar.into_iter().collect(),
            ..Verdict::default()
        };
        self.carry_out(now, info_hash, verdict);
    }

    /// Pays and drops as a verdict says.
    pub fn carry_out(&self, now: UnixMs, info_hash: InfoHash, verdict: Verdict) {
        let connections = self.connections.borrow();
        for (id, bytes) in verdict.pay {
            if let Some(handle) = connections.get(&id) {
                handle.snapshot.borrow_mut().verified_bytes += bytes;
                let _ = handle.commands.send(Command::Verified(bytes));
            }
        }
        for id in verdict.liars {
            let liar = match connections.get(&id) {
                Some(handle) => {
                    let _ = handle.commands.send(Command::Close(Close::Garbage));
                    handle.snapshot.borrow().clone()
                }
                None => match self.departed.borrow().iter().find(|(gone, _)| *gone == id) {
                    Some((_, snapshot)) => snapshot.clone(),
                    None => continue,
                },
            };
            self.block(now, info_hash, &liar);
        }
    }

    fn block(&self, now: UnixMs, info_hash: InfoHash, liar: &PeerSnapshot) {
        let Some(peer) = liar.address else {
            return;
        };
        let dialled = (!liar.inbound).then_some(peer);
        let addresses: Vec<_> = dialled.into_iter().chain(liar.listens_on).collect();
        let mut list = self.block_list.borrow_mut();
        list.block(now, liar.peer_id, &addresses);
        self.tell(GatewayEvent::Garbage { info_hash, peer });
    }

    /// Remembers a connection that has ended, as what it delivered may turn out to be garbage later.
    pub fn depart(&self, id: ConnectionId, snapshot: PeerSnapshot) {
        let mut departed = self.departed.borrow_mut();
        departed.push_back((id, snapshot));
        if departed.len() > MAX_DEPARTED {
            departed.pop_front();
        }
    }
}
