//! What comes from our engine: blocks it serves, requests it makes, its extended handshake.

use super::hold::Account;
use super::link::Link;
use super::report::Close;
use super::shared::OpenedBy;
use super::throttle::Way;
use super::wants::Bits;
use crate::units::UnixMs;
use crate::wire::extended::{DP_PAY, ExtendedHandshake};
use crate::wire::frame::{self, Block, Handshake, Kind, Part, Raw};

impl Link {
    /// Bytes came from our engine.
    ///
    /// # Errors
    /// Why the connection must end.
    pub fn read_from_engine(&mut self, now: UnixMs, input: &[u8]) -> Result<(), Close> {
        let mut reader = std::mem::take(&mut self.from_engine);
        let mut at = 0;
        while let Some(part) = reader.next(input, &mut at).map_err(Close::EngineFrame)? {
            match part {
                Part::Handshake(handshake, raw) => self.engine_handshake(now, handshake, &raw)?,
                Part::Frame(kind, raw) => self.engine_frame(now, kind, &raw)?,
                Part::PieceHead(block, raw) => {
                    self.serving = Some((block, self.hold.serve(block)));
                    self.to_peer.pass_frame(raw.bytes, raw.range.clone());
                    self.to_peer.set_inside_frame(true);
                }
                Part::Payload { range, last } => {
                    self.to_peer.pass(range);
                    if last {
                        self.served(now);
                    }
                }
            }
        }
        self.from_engine = reader;
        Ok(())
    }

    fn engine_handshake(
        &mut self,
        now: UnixMs,
        handshake: Handshake,
        raw: &Raw<'_>,
    ) -> Result<(), Close> {
        self.shared.note_own_id(handshake.peer_id);
        if self.opened_by == OpenedBy::Us {
            self.refuse_shunned(now, handshake.info_hash)?;
        }
        if let Some(peer) = &self.peer {
            if peer.peer_id == handshake.peer_id {
                return Err(Close::Ourselves);
            }
            if peer.info_hash != handshake.info_hash {
                return Err(Close::OtherTorrent(handshake.info_hash));
            }
        }
        self.snapshot.borrow_mut().info_hash = Some(handshake.info_hash);
        self.engine = Some(handshake);
        self.to_peer.pass_frame(raw.bytes, raw.range.clone());
        Ok(())
    }

    fn engine_frame(&mut self, now: UnixMs, kind: Kind, raw: &Raw<'_>) -> Result<(), Close> {
        match kind {
            Kind::Request(block) => {
                if !self.asking.is_empty() || !self.may_ask(now) || !self.may_ask_for(now, block) {
                    self.asking.push_back(block);
                    return Ok(());
                }
                self.ask(now, block);
            }
            Kind::Cancel(block) => {
                if let Some(at) = self.asking.iter().position(|waits| *waits == block) {
                    self.asking.remove(at);
                    return Ok(());
                }
                self.asked.cancel(block);
            }
            Kind::Choke => {
                self.engine_unchokes = false;
                self.hold.forget_admitted();
                self.update_choke(now);
                return Ok(());
            }
            Kind::Unchoke => {
                self.engine_unchokes = true;
                self.update_choke(now);
                return Ok(());
            }
            Kind::Extended(0) => {
                self.engine_extended_handshake(raw);
                return self.start_paying(now);
            }
            Kind::Bitfield => self.note_own(|have| {
                have.add_all(raw.bytes.get(5..).unwrap_or_default());
            }),
            Kind::Have(piece) => self.note_own(|have| have.add(piece)),
            Kind::KeepAlive
            | Kind::Interested
            | Kind::NotInterested
            | Kind::Extended(_)
            | Kind::Unknown(_) => {}
        }
        self.to_peer.pass_frame(raw.bytes, raw.range.clone());
        Ok(())
    }

    /// Notes pieces that we have, for all connections of the torrent.
    fn note_own(&self, note: impl FnOnce(&mut Bits)) {
        if let Some(info_hash) = self.info_hash() {
            let mut torrents = self.shared.torrents.borrow_mut();
            note(&mut torrents.entry(info_hash).or_default().have);
        }
    }

    /// Sends our engine's requests out that waited.
    pub fn let_asking_through(&mut self, now: UnixMs) {
        if self.asking.is_empty() || !self.may_ask(now) {
            return;
        }
        for block in std::mem::take(&mut self.asking) {
            if !self.may_ask_for(now, block) {
                self.asking.push_back(block);
                continue;
            }
            self.ask(now, block);
            self.to_peer.inject(&frame::request(block));
        }
    }

    /// Whether a block may be asked for now, by what may be begun and by the torrent's limit.
    fn may_ask_for(&mut self, now: UnixMs, block: Block) -> bool {
        self.shared.may_move(now, self.info_hash(), Way::Down) && self.may_begin(block.piece)
    }

    /// A block is asked for.
    fn ask(&mut self, now: UnixMs, block: Block) {
        self.shared.moves(now, self.info_hash(), Way::Down, block);
        self.begun.insert(block.piece);
        self.asked.ask(block);
    }

    /// Whether a block of this piece may be asked for: a peer that is paid is asked for no more pieces
    /// at once than window and risk hold, or it could wait for payment with all of them unfinished. As
    /// long as it owes us blocks: once they came, others have the rest.
    fn may_begin(&mut self, piece: u32) -> bool {
        if self.begun.contains(&piece) || !self.asked.is_waiting() {
            return true;
        }
        let payer = self.pay.as_ref().and_then(|pay| pay.payer.as_ref());
        let most = payer.map_or(usize::MAX, |payer| payer.pieces_at_once());
        if self.begun.len() < most {
            return true;
        }
        if let Some(info_hash) = self.info_hash() {
            let torrents = self.shared.torrents.borrow();
            if let Some(torrent) = torrents.get(&info_hash) {
                self.begun.retain(|begun| !torrent.have.contains(*begun));
            }
        }
        self.begun.len() < most
    }

    /// Our engine's extended handshake: our extension, port and the peer's address are put in.
    fn engine_extended_handshake(&mut self, raw: &Raw<'_>) {
        let Ok(mut handshake) = ExtendedHandshake::decode(raw.extended_payload()) else {
            self.to_peer.pass_frame(raw.bytes, raw.range.clone());
            return;
        };
        if self.shared.purse.borrow().is_some() {
            let id = handshake.unused_id();
            handshake.set_message(DP_PAY, id);
            self.our_pay_id = Some(id);
        }
        handshake.set_port(self.shared.advertised_port);
        handshake.set_your_ip(self.address.ip());
        self.to_peer.push(&frame::extended(0, &handshake.encode()));
    }

    fn served(&mut self, now: UnixMs) {
        self.to_peer.set_inside_frame(false);
        let Some((block, account)) = self.serving.take() else {
            return;
        };
        let bytes = u64::from(block.length_bytes);
        {
            let mut snapshot = self.snapshot.borrow_mut();
            snapshot.up_bytes += bytes;
            if account != Some(Account::Paid) {
                snapshot.free_up_bytes += bytes;
            }
        }
        if account == Some(Account::Paid) {
            self.shared.free.borrow_mut().paid_served(bytes);
            self.pay_served(now, bytes);
        }
        if self.hold.held() > 0 || self.hold.admitted_bytes(Account::Paid) == 0 {
            self.settle(now);
        }
    }
}
