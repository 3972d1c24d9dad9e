//! One connection between a peer and our engine, without its sockets: what is passed, held, put in
//! and noted. Bytes in by `read_from_*`, bytes out by the two [`Output`]s.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::asked::{Arrival, Asked};
use super::attribution::ConnectionId;
use super::digest::Digester;
use super::hold::{Account, Hold};
use super::output::Output;
use super::pay::Pay;
use super::report::{Close, GatewayEvent, PeerSnapshot};
use super::shared::{Command, OpenedBy, Shared};
use crate::units::{InfoHash, UnixMs};
use crate::wire::extended::{self, DP_PAY, ExtendedHandshake};
use crate::wire::frame::{self, Block, FrameReader, Handshake, Kind, Part, Raw};
use crate::wire::message::Message;
use tokio::sync::mpsc;

/// What we know of the peer's ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// It has yet to send its extended handshake.
    Unknown,
    /// An ordinary BitTorrent peer.
    Foreign,
    /// It speaks `dp_pay`.
    Pays,
}

/// A block that is coming in.
#[derive(Debug)]
pub(super) struct Arriving {
    block: Block,
    arrival: Arrival,
}

/// One connection.
pub struct Link {
    /// Its name in this process.
    pub id: ConnectionId,
    /// What is shared with the others.
    pub shared: Rc<Shared>,
    /// Who dialled.
    pub opened_by: OpenedBy,
    /// The peer's end of the connection.
    pub address: SocketAddr,
    /// Towards the peer.
    pub to_peer: Output,
    /// Towards our engine.
    pub to_engine: Output,
    /// How it stands, for all to see.
    pub snapshot: Rc<RefCell<PeerSnapshot>>,
    /// When something last came from the peer.
    pub heard_at: Rc<Cell<UnixMs>>,
    /// Our engine has hung up, and only payments are being settled.
    pub lingers: Rc<Cell<bool>>,
    /// The peer serves only who pays, and we do not pay it.
    pub is_unserved: Rc<Cell<bool>>,
    pub(super) unserved_since: Option<UnixMs>,
    /// Our engine is to be hung up on, for this reason.
    pub(super) given_up: Option<Close>,
    from_peer: FrameReader,
    pub(super) from_engine: FrameReader,
    pub(super) opened_at: UnixMs,
    pub(super) peer: Option<Handshake>,
    pub(super) engine: Option<Handshake>,
    pub(super) kind: PeerKind,
    /// The id under which the peer sends us `dp_pay`.
    pub(super) our_pay_id: Option<u8>,
    /// The id under which the peer takes `dp_pay`.
    pub(super) peer_pay_id: Option<u8>,
    pub(super) pay: Option<Box<Pay>>,
    /// Messages that came before the machines were there.
    pub(super) early: Vec<Message>,
    /// Reaches this connection's own task.
    pub(super) commands: mpsc::UnboundedSender<Command>,
    /// Our engine's requests that wait for the payer to make up its mind.
    pub(super) asking: VecDeque<Block>,
    /// Pieces that the peer was asked for; verified ones are taken out when there are many.
    pub(super) begun: BTreeSet<u32>,
    /// Since when the peer's channels are used up and it asks for more.
    pub(super) used_up_since: Option<UnixMs>,
    /// Bytes of this peer that verified, as far as we were told.
    pub(super) verified_bytes: u64,
    /// We are shutting down.
    pub(super) stopping: bool,
    /// Our engine has hung up: when to wait no longer, and whether channels are being closed.
    pub(super) lingering: Option<(UnixMs, bool)>,
    pub(super) asked: Asked,
    arriving: Option<Arriving>,
    digester: Digester,
    pub(super) hold: Hold,
    pub(super) serving: Option<(Block, Option<Account>)>,
    pub(super) engine_unchokes: bool,
    pub(super) told_unchoked: bool,
    pub(super) peer_chokes: bool,
    pub(super) peer_wants: bool,
    pub(super) paying_busy: bool,
    pub(super) beat: super::beat::Beat,
}

impl Link {
    /// A connection that nothing has passed on yet.
    #[must_use]
    pub fn new(
        now: UnixMs,
        id: ConnectionId,
        shared: Rc<Shared>,
        opened_by: OpenedBy,
        address: SocketAddr,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        let digester = Digester::new(Rc::clone(&shared.digest_key));
        let snapshot = PeerSnapshot {
            connection: id.0,
            address: Some(address),
            inbound: opened_by == OpenedBy::Peer,
            ..PeerSnapshot::default()
        };
        Self {
            id,
            shared,
            opened_by,
            address,
            to_peer: Output::default(),
            to_engine: Output::default(),
            snapshot: Rc::new(RefCell::new(snapshot)),
            heard_at: Rc::new(Cell::new(now)),
            lingers: Rc::default(),
            is_unserved: Rc::default(),
            unserved_since: None,
            given_up: None,
            from_peer: FrameReader::new(),
            from_engine: FrameReader::new(),
            opened_at: now,
            peer: None,
            engine: None,
            kind: PeerKind::Unknown,
            our_pay_id: None,
            peer_pay_id: None,
            pay: None,
            early: Vec::new(),
            commands,
            asking: VecDeque::new(),
            begun: BTreeSet::new(),
            used_up_since: None,
            verified_bytes: 0,
            stopping: false,
            lingering: None,
            asked: Asked::default(),
            arriving: None,
            digester,
            hold: Hold::default(),
            serving: None,
            engine_unchokes: false,
            told_unchoked: false,
            peer_chokes: true,
            peer_wants: false,
            paying_busy: false,
            beat: super::beat::Beat::new(now),
        }
    }

    /// The torrent, once either side has named it.
    #[must_use]
    pub fn info_hash(&self) -> Option<InfoHash> {
        let handshake = self.engine.as_ref().or(self.peer.as_ref());
        handshake.map(|handshake| handshake.info_hash)
    }

    /// The address at which the peer is met again: where it listens, as far as we know.
    #[must_use]
    pub fn peer_name(&self) -> String {
        let listens_on = self.snapshot.borrow().listens_on;
        let address = match self.opened_by {
            OpenedBy::Us => self.address,
            OpenedBy::Peer => listens_on.unwrap_or(self.address),
        };
        address.to_string()
    }

    /// The peer's handshake, once it came.
    #[must_use]
    pub const fn peer_handshake(&self) -> Option<&Handshake> {
        self.peer.as_ref()
    }

    /// Bytes came from the peer.
    ///
    /// # Errors
    /// Why the connection must end.
    pub fn read_from_peer(&mut self, now: UnixMs, input: &[u8]) -> Result<(), Close> {
        self.heard_at.set(now);
        let mut reader = std::mem::take(&mut self.from_peer);
        let mut at = 0;
        while let Some(part) = reader.next(input, &mut at).map_err(Close::Frame)? {
            match part {
                Part::Handshake(handshake, raw) => {
                    self.peer_handshake_came(now, handshake, &raw)?
                }
                Part::Frame(kind, raw) => self.peer_frame(now, kind, &raw)?,
                Part::PieceHead(block, raw) => self.block_begins(block, &raw),
                Part::Payload { range, last } => {
                    if let Some(arriving) = &self.arriving {
                        if arriving.arrival == Arrival::Expected {
                            let bytes = input.get(range.clone()).unwrap_or_default();
                            self.digester.update(bytes);
                        }
                        if arriving.arrival != Arrival::Again {
                            self.to_engine.pass(range);
                        }
                    }
                    if last {
                        self.block_ends(now);
                    }
                }
            }
        }
        self.from_peer = reader;
        Ok(())
    }

    fn peer_handshake_came(
        &mut self,
        now: UnixMs,
        handshake: Handshake,
        raw: &Raw<'_>,
    ) -> Result<(), Close> {
        if let Some(engine) = &self.engine
            && engine.info_hash != handshake.info_hash
        {
            return Err(Close::OtherTorrent(handshake.info_hash));
        }
        let info_hash = handshake.info_hash;
        self.shared
            .admit(now, self.id, info_hash, handshake.peer_id)?;
        self.peer = Some(handshake);
        if !handshake.is_extended() {
            self.set_kind(PeerKind::Foreign);
        }
        {
            let mut snapshot = self.snapshot.borrow_mut();
            snapshot.info_hash = Some(info_hash);
            snapshot.peer_id = Some(handshake.peer_id);
        }
        let policy = self.shared.free_policy(info_hash);
        self.shared.free.borrow_mut().join(self.id, policy);
        self.to_engine.pass_frame(raw.bytes, raw.range.clone());
        self.shared.tell(GatewayEvent::Connected {
            info_hash,
            peer: self.address,
            inbound: self.opened_by == OpenedBy::Peer,
        });
        Ok(())
    }

    fn peer_frame(&mut self, now: UnixMs, kind: Kind, raw: &Raw<'_>) -> Result<(), Close> {
        match kind {
            Kind::Request(block) => {
                if !self.hold.push(now, block) {
                    return Err(Close::TooManyRequests);
                }
                self.let_requests_through(now);
                return Ok(());
            }
            Kind::Cancel(block) => {
                if self.hold.cancel(block) {
                    return Ok(());
                }
            }
            Kind::Choke => {
                self.peer_chokes = true;
                self.asked.choke();
            }
            Kind::Unchoke => {
                self.peer_chokes = false;
                self.to_engine.pass_frame(raw.bytes, raw.range.clone());
                for block in self.asked.unchoke() {
                    self.to_peer.inject(&frame::request(block));
                }
                return Ok(());
            }
            Kind::Extended(0) => {
                self.peer_extended_handshake(raw);
                self.start_paying(now)?;
                self.update_choke(now);
                self.settle(now);
                return Ok(());
            }
            Kind::Extended(id) if Some(id) == self.our_pay_id => {
                return self.pay_message(now, raw.extended_payload());
            }
            Kind::Extended(_)
                if !self.engine.is_some_and(|e| e.is_extended())
                    || !extended::is_sane(raw.extended_payload()) =>
            {
                return Ok(());
            }
            Kind::Unknown(_) => return Ok(()),
            Kind::Interested => self.peer_wants = true,
            Kind::NotInterested => self.peer_wants = false,
            Kind::Have(piece) => {
                Arc::make_mut(&mut self.snapshot.borrow_mut().has).add(piece);
            }
            Kind::Bitfield => {
                let pieces = raw.bytes.get(5..).unwrap_or_default();
                Arc::make_mut(&mut self.snapshot.borrow_mut().has).add_all(pieces);
                self.pay_verified(now, 0);
            }
            Kind::KeepAlive | Kind::Extended(_) => {}
        }
        self.to_engine.pass_frame(raw.bytes, raw.range.clone());
        Ok(())
    }

    /// The peer's extended handshake: our extension is taken out, and the address put in that the
    /// engine cannot see.
    fn peer_extended_handshake(&mut self, raw: &Raw<'_>) {
        let Ok(mut handshake) = ExtendedHandshake::decode(raw.extended_payload()) else {
            self.set_kind(PeerKind::Foreign);
            self.to_engine.pass_frame(raw.bytes, raw.range.clone());
            return;
        };
        let engine_can = self.engine.is_none_or(|engine| engine.is_extended());
        self.peer_pay_id = handshake
            .message_id(DP_PAY)
            .filter(|_| engine_can && self.shared.purse.borrow().is_some());
        self.set_kind(match self.peer_pay_id {
            Some(_) => PeerKind::Pays,
            None => PeerKind::Foreign,
        });
        handshake.remove_message(DP_PAY);
        if self.opened_by == OpenedBy::Peer {
            handshake.set_speaker_ip(self.address.ip());
        }
        {
            let mut snapshot = self.snapshot.borrow_mut();
            snapshot.client = handshake.client().or(snapshot.client.take());
            if let Some(port) = handshake.port() {
                snapshot.listens_on = Some(SocketAddr::new(self.address.ip(), port));
            }
        }
        if self.engine.is_none_or(|engine| engine.is_extended()) {
            self.to_engine
                .push(&frame::extended(0, &handshake.encode()));
        }
    }

    pub(super) fn set_kind(&mut self, kind: PeerKind) {
        self.kind = kind;
        self.snapshot.borrow_mut().dp_pay = kind == PeerKind::Pays;
    }

    fn block_begins(&mut self, block: Block, raw: &Raw<'_>) {
        let arrival = self.asked.arrive(block);
        self.digester.reset();
        self.arriving = Some(Arriving { block, arrival });
        if arrival != Arrival::Again {
            self.to_engine.pass_frame(raw.bytes, raw.range.clone());
            self.to_engine.set_inside_frame(true);
        }
    }

    fn block_ends(&mut self, now: UnixMs) {
        self.to_engine.set_inside_frame(false);
        let Some(Arriving { block, arrival }) = self.arriving.take() else {
            return;
        };
        if arrival != Arrival::Expected {
            return;
        }
        let digest = self.digester.finish();
        let bytes = u64::from(block.length_bytes);
        self.snapshot.borrow_mut().down_bytes += bytes;
        self.shared.free.borrow_mut().received(self.id, bytes);
        self.pay_delivered(now, bytes);
        let Some(info_hash) = self.info_hash() else {
            return;
        };
        let late = {
            let mut torrents = self.shared.torrents.borrow_mut();
            let torrent = torrents.entry(info_hash).or_default();
            torrent.attribution.delivered(self.id, block, digest)
        };
        if let Some(verdict) = late {
            self.shared.carry_out(now, info_hash, verdict);
        }
    }
}
