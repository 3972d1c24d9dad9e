//! What a connection does by the clock: keep-alives, hanging up on silence, choking and serving those
//! who wait.

use super::hold::Account;
use super::link::{Link, PeerKind};
use super::report::Close;
use super::shared::Command;
use super::throttle::Way;
use crate::units::UnixMs;
use crate::wire::frame::{self, CHOKE, KEEP_ALIVE, UNCHOKE};

/// A direction in which nothing passed for so long gets a keep-alive; librqbit hangs up after 10 s.
const KEEP_ALIVE_MS: u64 = 4_000;
/// A peer that owes us blocks and has not said a byte for so long is given up: our engine would
/// wait for ever, as we keep it company.
const OWING_SILENT_MS: u64 = 30_000;
/// Any peer that says nothing for so long is given up (clients send keep-alives every 2 minutes).
const SILENT_MS: u64 = 150_000;
/// A peer that promised an extended handshake and sent none for so long is taken as it is.
const UNKNOWN_MS: u64 = 3_000;
/// How soon to look again at requests that wait for leftovers.
const LOOK_MS: u64 = 50;
/// After our engine hung up, pieces that the peer has a part in may still verify for so long.
const LINGER_MS: u64 = 15_000;
/// Then closing channels may take so long.
const CLOSING_MS: u64 = 10_000;
/// How soon to look at anything else.
const IDLE_LOOK_MS: u64 = 1_000;

/// What was last seen of the two directions.
#[derive(Debug)]
pub struct Beat {
    peer: (u64, UnixMs),
    engine: (u64, UnixMs),
}

impl Beat {
    /// From now on.
    #[must_use]
    pub const fn new(now: UnixMs) -> Self {
        Self {
            peer: (0, now),
            engine: (0, now),
        }
    }
}

impl Link {
    /// Does what is due. Returns when to be called again.
    ///
    /// # Errors
    /// Why the connection must end.
    pub fn tick(&mut self, now: UnixMs) -> Result<UnixMs, Close> {
        self.keep_alive(now);
        let silent_ms = now.since_ms(self.heard_at.get());
        let owes = self.asked.is_waiting() && !self.peer_chokes && self.kind != PeerKind::Pays;
        if silent_ms >= SILENT_MS || (owes && silent_ms >= OWING_SILENT_MS) {
            return Err(Close::Silent(silent_ms / 1000));
        }
        if self.kind == PeerKind::Unknown && now.since_ms(self.opened_at) >= UNKNOWN_MS {
            self.set_kind(PeerKind::Foreign);
        }
        self.update_choke(now);
        self.pay_tick(now);
        self.settle(now);
        self.give_up_if_stuck(now);
        self.give_up_if_unserved(now);
        self.linger(now);
        self.show();
        let look_ms = if self.hold.held() > 0 || !self.asking.is_empty() {
            LOOK_MS
        } else {
            IDLE_LOOK_MS
        };
        Ok(now.plus_ms(look_ms))
    }

    /// Gives the connection up where the peer has kept requests of ours back for so long that neither side
    /// will move again. What it delivered may verify yet, and is paid.
    fn give_up_if_stuck(&mut self, now: UnixMs) {
        let is_asked = self.asked.is_waiting();
        let payer = self.pay.as_mut().and_then(|pay| pay.payer.as_mut());
        let Some(payer) = payer.filter(|_| self.lingering.is_none()) else {
            return;
        };
        if !is_asked {
            payer.handle_unasked(now);
        } else if payer.is_stuck(now, self.shared.stuck_ms) {
            self.given_up = Some(Close::Stuck);
        }
    }

    /// When to be called next at the latest, where payment wants it sooner than `look`.
    #[must_use]
    pub fn due(&self, look: UnixMs) -> UnixMs {
        let due = self.pay.as_ref().and_then(|pay| pay.next_timeout());
        due.map_or(look, |due| look.min(due))
    }

    /// Does as it is told.
    ///
    /// # Errors
    /// Why the connection must end.
    pub fn obey(&mut self, now: UnixMs, command: Command) -> Result<(), Close> {
        match command {
            Command::Close(why) => Err(why),
            Command::Verified(bytes) => {
                self.verified_bytes += bytes;
                self.pay_verified(now, bytes);
                self.let_asking_through(now);
                self.linger(now);
                Ok(())
            }
            Command::Answer(answer) => self.answered(now, *answer),
            Command::LetGo(spend, k, wk) => {
                self.let_go(now, &spend, k, &wk);
                Ok(())
            }
            Command::Free(spend, channel) => {
                if let Some(pay) = &self.pay {
                    self.take_up(now, pay, spend, channel, None);
                }
                Ok(())
            }
            Command::Conflict(channel, other) => {
                self.conflict_found(now, channel, *other);
                Ok(())
            }
            Command::Stop => {
                self.stopping = true;
                self.stop_paying(now);
                Ok(())
            }
            Command::Look => {
                if let Some(info_hash) = self.info_hash() {
                    let policy = self.shared.free_policy(info_hash);
                    self.shared.free.borrow_mut().join(self.id, policy);
                }
                self.start_paying(now)?;
                self.update_wanted(now);
                self.update_choke(now);
                self.settle(now);
                Ok(())
            }
        }
    }

    /// Our engine hung up: nothing more goes to it. What the peer delivered may still verify by what
    /// others deliver; then it is paid, and the channels are closed.
    pub fn engine_hung_up(&mut self, now: UnixMs) {
        if self.lingering.is_some() {
            return;
        }
        self.to_engine.close();
        self.hold.forget_held();
        self.hold.forget_admitted();
        self.asking.clear();
        self.lingers.set(true);
        self.lingering = Some((now.plus_ms(LINGER_MS), false));
        self.update_wanted(now);
        self.linger(now);
    }

    /// Once nothing of this peer is awaited any more, closes the channels.
    fn linger(&mut self, now: UnixMs) {
        let Some((until, false)) = self.lingering else {
            return;
        };
        let is_unverified = self.info_hash().is_some_and(|info_hash| {
            let torrents = self.shared.torrents.borrow();
            let torrent = torrents.get(&info_hash);
            torrent.is_some_and(|torrent| torrent.attribution.is_awaited(self.id))
        });
        // What verified may still wait in our queue, behind the engine's end.
        let is_unpaid = self.snapshot.borrow().verified_bytes > self.verified_bytes;
        // A payer settles in its own time: its ticks and its request to close are on their way.
        let payee = self.pay.as_ref().and_then(|pay| pay.payee_status());
        let is_owed = payee.is_some_and(|status| status.channels > 0);
        let awaited = is_unverified || is_unpaid || is_owed;
        if !awaited || now >= until || self.pay.is_none() {
            self.lingering = Some((now.plus_ms(CLOSING_MS), true));
            self.stop_paying(now);
        }
    }

    /// Whether the connection may end: our engine has hung up or we are shutting down, and nothing
    /// is left to be settled with the peer.
    #[must_use]
    pub fn may_end(&self, now: UnixMs) -> bool {
        let is_closing = match self.lingering {
            Some((until, true)) if now >= until => return true,
            Some((_, is_closing)) => is_closing,
            None => false,
        };
        (is_closing || self.stopping) && self.pay.as_ref().is_none_or(|pay| pay.is_done())
    }

    /// The connection has ended.
    pub fn end(&mut self, now: UnixMs, _why: &Close) {
        self.end_paying(now);
        let mut free = self.shared.free.borrow_mut();
        free.leave(self.id);
        if self.paying_busy {
            self.paying_busy = false;
            free.set_paying_busy(false);
        }
    }

    /// Puts a keep-alive into a direction that was still for too long, once its handshake passed.
    fn keep_alive(&mut self, now: UnixMs) {
        let to_peer = self.to_peer.pushed_bytes();
        if to_peer != self.beat.peer.0 {
            self.beat.peer = (to_peer, now);
        } else if self.engine.is_some() && now.since_ms(self.beat.peer.1) >= KEEP_ALIVE_MS - 500 {
            self.to_peer.inject(&KEEP_ALIVE);
            self.beat.peer = (self.to_peer.pushed_bytes(), now);
        }
        let to_engine = self.to_engine.pushed_bytes();
        if to_engine != self.beat.engine.0 {
            self.beat.engine = (to_engine, now);
        } else if self.peer.is_some() && now.since_ms(self.beat.engine.1) >= KEEP_ALIVE_MS - 500 {
            self.to_engine.inject(&KEEP_ALIVE);
            self.beat.engine = (self.to_engine.pushed_bytes(), now);
        }
    }

    /// Tells a foreign peer when it may ask and when not. A peer that pays is never choked: what
    /// it may not have yet is held.
    pub fn update_choke(&mut self, now: UnixMs) {
        let may_ask = match self.kind {
            PeerKind::Unknown => now.since_ms(self.opened_at) >= UNKNOWN_MS,
            PeerKind::Pays => true,
            PeerKind::Foreign => !self.shared.free.borrow().is_choked(self.id),
        };
        let unchoked = self.engine_unchokes && may_ask;
        if unchoked == self.told_unchoked || self.engine.is_none() {
            return;
        }
        self.told_unchoked = unchoked;
        if unchoked {
            self.to_peer.inject(&UNCHOKE);
        } else {
            self.to_peer.inject(&CHOKE);
            self.hold.forget_held();
        }
    }

    /// Lets held requests through to the engine as far as the peer may have the blocks.
    pub fn let_requests_through(&mut self, now: UnixMs) {
        while let Some(block) = self.hold.first() {
            if !self.shared.may_move(now, self.info_hash(), Way::Up) {
                break;
            }
            let bytes = u64::from(block.length_bytes);
            let Some(account) = self.account_for(now, bytes) else {
                break;
            };
            self.shared.moves(now, self.info_hash(), Way::Up, block);
            let Some(block) = self.hold.admit(account) else {
                break;
            };
            self.to_engine.inject(&frame::request(block));
        }
        let wants_free = self.peer_wants && !self.is_under_payment();
        let mut free = self.shared.free.borrow_mut();
        free.set_wants(self.id, wants_free);
        let busy = self.hold.admitted_bytes(Account::Paid) > 0;
        if busy != self.paying_busy {
            self.paying_busy = busy;
            free.set_paying_busy(busy);
        }
    }
}
