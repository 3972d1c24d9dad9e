//! The payer of one connection: opens channels as the torrent needs them and ticks for what is
//! verified (`docs/protocol.md` sections 5, 7 and 8).
//!
//! It never stops a torrent: where it cannot or may not pay, it says why
//! ([`PayerAction::GoesFree`]) and the peer is used as any other, for as long as it serves.

mod action;
mod channel;
mod messages;
mod pace;
mod plan;
mod resume;
mod status;

use std::collections::{BTreeMap, VecDeque};

use self::channel::{Channel, Spent, State};
use self::pace::Pace;
use super::window::PROVISIONAL_MAX_BYTES;
use super::{HELD_MS, NoReserve, OWN_ANSWER_MS, Reserved, Windows, earliest};
use crate::coin::{Chain, HoldingId};
use crate::record::OpenSpend;
use crate::units::{Units, UnixMs};
use crate::wire::message::{Message, Offer, RefuseReason, WaitReason};

pub use self::action::{PayerAction, PayerTerms};
pub use self::status::{FreeReason, PayerStatus};

/// Nothing wanted for this long closes the channels, so that their change comes back.
const UNWANTED_MS: u64 = 60_000;

/// A payee's offer that was found acceptable.
#[derive(Clone, Copy, Debug)]
struct OfferTerms {
    windows: Windows,
    smallest_channel: Units,
}

/// Why nothing is proposed at present, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Free {
    reason: FreeReason,
    /// `None`: not again on this connection.
    retry_at: Option<UnixMs>,
}

/// The paying side of one connection.
#[derive(Clone, Debug)]
pub struct Payer {
    terms: PayerTerms,
    /// As it came; a second one must be equal.
    offer: Option<Offer>,
    offer_terms: Option<OfferTerms>,
    free: Option<Free>,
    /// The reason that was last told.
    told: Option<FreeReason>,
    channels: BTreeMap<u32, Channel>,
    next_channel: u32,
    /// Whether the wallet is to be asked for spends of earlier connections, once anything is wanted.
    recall_due: bool,
    /// Since when the wallet is asked for spends of earlier connections.
    recalling: Option<UnixMs>,
    /// Channels of earlier connections taken up.
    resumes: u32,
    /// Units ticked on channels that are over, less what their closes gave back.
    done_units: Units,
    /// Blocks need no new plan until so many bytes came, if nothing but blocks comes.
    enough_until_bytes: u64,
    failures: u32,
    /// How often in a row the wallet said that nothing is there yet.
    not_yet: u32,
    /// Spends that were refused with nothing paid.
    used_up: u32,
    /// Proofs of fraud that the payee showed.
    proofs: u32,
    /// Whether bytes count: from the first proposal on.
    counts: bool,
    accepted_once: bool,
    verified_once: bool,
    verified_bytes: u64,
    delivered_bytes: u64,
    wanted_bytes: u64,
    /// How many payees are paid for what is wanted, this one included.
    sellers: u32,
    /// Bytes paid at our own risk: delivered, not verified.
    risked_bytes: u64,
    /// What the payee last granted before acceptance.
    granted_bytes: u64,
    held: Option<(UnixMs, WaitReason)>,
    /// Since when the payee waits for ticks and nothing came or verified.
    owing_since: Option<UnixMs>,
    /// Whether the payee says that the channels buy too little for what is asked of it.
    is_short: bool,
    /// Whether a channel was closed because nothing came: none is opened until something does.
    is_idle: bool,
    unwanted_since: Option<UnixMs>,
    active: UnixMs,
    pace: Pace,
    stopping: bool,
    actions: VecDeque<PayerAction>,
}

impl Payer {
    /// A payer that waits for the payee's offer.
    #[must_use]
    pub fn new(terms: PayerTerms, now: UnixMs) -> Payer {
        Payer {
            terms,
            offer: None,
            offer_terms: None,
            free: None,
            told: None,
            channels: BTreeMap::new(),
            next_channel: 0,
            recall_due: false,
            recalling: None,
            resumes: 0,
            done_units: Units::ZERO,
            enough_until_bytes: 0,
            failures: 0,
            not_yet: 0,
            used_up: 0,
            proofs: 0,
            counts: false,
            accepted_once: false,
            verified_once: false,
            verified_bytes: 0,
            delivered_bytes: 0,
            wanted_bytes: 0,
            sellers: 1,
            risked_bytes: 0,
            granted_bytes: 0,
            held: None,
            owing_since: None,
            is_short: false,
            is_idle: false,
            unwanted_since: None,
            active: now,
            pace: Pace::new(now),
            stopping: false,
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do. Call until `None` after every `handle_*`.
    pub fn poll_action(&mut self) -> Option<PayerAction> {
        self.actions.pop_front()
    }

    /// A block of `bytes` arrived from the payee; its piece is not verified yet.
    pub fn handle_delivered(&mut self, now: UnixMs, bytes: u64) {
        self.pace.delivered(now, bytes);
        if self.counts {
            self.delivered_bytes = self.count(self.delivered_bytes, bytes);
        }
        self.held = None;
        self.owing_since = None;
        let was_idle = std::mem::take(&mut self.is_idle);
        if was_idle || self.came_bytes() >= self.enough_until_bytes {
            self.plan(now);
        }
    }

    /// `bytes` that the payee delivered intact lie in pieces that are verified now.
    pub fn handle_verified(&mut self, now: UnixMs, bytes: u64) {
        self.verified_once = true;
        self.active = now;
        if self.counts {
            self.verified_bytes = self.count(self.verified_bytes, bytes);
        }
        self.wanted_bytes = self.wanted_bytes.saturating_sub(bytes);
        self.held = self.held.map(|(_, why)| (now, why));
        self.owing_since = self.owing_since.map(|_| now);
        self.pay(now);
        self.commit_keyed(now);
        self.plan(now);
    }

    /// What the torrent still needs at most from this payee: bytes of pieces that it has and that
    /// are not verified.
    pub fn handle_wanted(&mut self, now: UnixMs, bytes: u64) {
        self.wanted_bytes = bytes;
        self.unwanted_since = match (bytes, self.unwanted_since) {
            (0, None) => Some(now),
            (0, since) => since,
            _ => None,
        };
        self.plan(now);
    }

    /// The wallet's answer to [`PayerAction::Reserve`].
    pub fn handle_reserved(
        &mut self,
        now: UnixMs,
        channel: u32,
        answer: Result<Reserved, NoReserve>,
    ) {
        let waits = matches!(
            self.channels.get(&channel).map(|c| &c.state),
            Some(State::Reserving)
        );
        match answer {
            Ok(reserved) if waits => {
                let Some(channel) = self.newest(channel) else {
                    return self.release(&reserved, None);
                };
                self.not_yet = 0;
                self.free = None;
                self.told = None;
                self.counts = true;
                self.send(Message::Propose {
                    channel,
                    path: reserved.path.clone(),
                });
                self.insert(channel, State::Proposed(reserved), now);
                self.plan(now);
            }
            Ok(reserved) => self.release(&reserved, None),
            Err(why) if waits => {
                self.channels.remove(&channel);
                self.go_free(now, FreeReason::Wallet(why));
                self.plan(now);
            }
            Err(_) => {}
        }
    }

    /// The wallet's answer to [`PayerAction::Commit`]: the spend is durable and signed.
    pub fn handle_open_durable(
        &mut self,
        now: UnixMs,
        channel: u32,
        holding: HoldingId,
        open: OpenSpend,
        chain: Chain,
    ) {
        match self.channels.remove(&channel).map(|c| c.state) {
            Some(State::Committing(reserved)) if reserved.holding.id == holding => {
                self.send(Message::Open { channel, open });
                let spent = Spent::new(reserved.holding, open, chain);
                self.insert(channel, State::Opening(spent), now);
                self.plan(now);
            }
            other => {
                if let Some(state) = other {
                    self.insert(channel, state, now);
                }
                let spend = open.commitment(&holding);
                self.actions.push_back(PayerAction::Ended { spend, k: 0 });
            }
        }
    }

    /// The wallet could not spend the holding; nothing was signed, the holding is the wallet's.
    pub fn handle_commit_failed(&mut self, now: UnixMs, channel: u32, why: FreeReason) {
        let state = self.channels.get(&channel).map(|c| &c.state);
        if matches!(state, Some(State::Committing(_))) {
            self.channels.remove(&channel);
            self.go_free(now, why);
            self.plan(now);
        }
    }

    /// Asks the payee to close everything; nothing new is opened. A channel that is on its way is
    /// waited for if something verified is still owed. What is not closed within half a minute ends
    /// without. [`Payer::is_done`] says when the connection may go; it may go before.
    pub fn handle_stop(&mut self, now: UnixMs) {
        self.stopping = true;
        self.plan(now);
    }

    /// The connection is gone. What is spent and not closed stays open, for a later connection.
    pub fn handle_disconnect(&mut self, now: UnixMs) {
        self.stopping = true;
        self.close_all(now);
        self.actions
            .retain(|action| !matches!(action, PayerAction::Send(_)));
        for channel in std::mem::take(&mut self.channels).into_values() {
            if let Some(spent) = channel.spent() {
                self.end(spent);
            }
        }
    }

    /// Whether every channel is resolved after a stop or disconnect.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stopping && self.channels.is_empty() && self.actions.is_empty()
    }

    /// When [`Payer::handle_timeout`] is due, if ever.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMs> {
        let deadlines = self.channels.values().map(|c| c.deadline(self.active));
        earliest([
            deadlines.min(),
            self.recalling.map(|since| since.plus_ms(OWN_ANSWER_MS)),
            self.held.map(|(since, _)| since.plus_ms(HELD_MS)),
            self.unwanted_deadline(),
            self.free.and_then(|free| free.retry_at),
        ])
    }

    /// Something is due: resolves what has waited too long.
    pub fn handle_timeout(&mut self, now: UnixMs) {
        self.end_wait(now);
        let recalled_by = self.recalling.map(|since| since.plus_ms(OWN_ANSWER_MS));
        if recalled_by.is_some_and(|at| at <= now) {
            self.recalling = None;
        }
        if self.unwanted_deadline().is_some_and(|at| at <= now) {
            self.unwanted_since = None;
            self.close_all(now);
        }
        let due = |c: &Channel| c.deadline(self.active) <= now;
        let late: Vec<u32> = (self.channels.iter())
            .filter_map(|(id, c)| due(c).then_some(*id))
            .collect();
        for channel in late {
            self.expire(now, channel);
        }
        let retry_at = self.free.and_then(|free| free.retry_at);
        if retry_at.is_some_and(|at| at <= now) {
            self.free = None;
        }
        self.plan(now);
    }

    fn unwanted_deadline(&self) -> Option<UnixMs> {
        let since = self.unwanted_since.filter(|_| !self.channels.is_empty());
        since.map(|since| since.plus_ms(UNWANTED_MS))
    }

    /// Requests were held for five seconds and nothing was verified: open at last, or where ticks
    /// are waited for pay what was delivered, up to one window beyond what is verified, less what
    /// earlier connections paid so in vain.
    fn end_wait(&mut self, now: UnixMs) {
        let Some((since, why)) = self.held else {
            return;
        };
        let Some(terms) = self.offer_terms.filter(|_| now.since_ms(since) >= HELD_MS) else {
            return;
        };
        self.held = Some((now, why));
        if why == WaitReason::Ticks {
            let risk_bytes = self.risk_bytes(&terms.windows);
            let most = self.verified_bytes.saturating_add(risk_bytes);
            self.risked_bytes = self.risked_bytes.max(self.delivered_bytes.min(most));
            self.pay(now);
        }
        self.commit_all_keyed(now);
    }

    /// Ticks for what is owed, over the accepted channels in the order of their numbers.
    fn pay(&mut self, now: UnixMs) {
        let Some(terms) = self.offer_terms else {
            return;
        };
        let payable_bytes = self.verified_bytes.max(self.risked_bytes);
        let due = terms.windows.price().due(payable_bytes);
        let mut owed = due.saturating_sub(self.paid());
        for (id, channel) in &mut self.channels {
            let State::Paying(spent) = &mut channel.state else {
                continue;
            };
            let Some((more, wk)) = spent.tick(owed) else {
                continue;
            };
            owed = owed.saturating_sub(more);
            let (spend, k) = (spent.spend, spent.k);
            let tick = Message::Tick {
                channel: *id,
                k,
                wk,
            };
            self.actions.push_back(PayerAction::Send(tick));
            self.actions.push_back(PayerAction::Ticked { spend, k, wk });
            if spent.left().is_zero() {
                *channel = Channel::new(State::Closing(spent.clone()), now);
            }
        }
    }

    /// Units ticked on this connection, less what closes gave back.
    fn paid(&self) -> Units {
        let open = self.channels.values().filter_map(Channel::spent);
        let ticked = open.map(Spent::paid);
        Units::checked_sum(ticked.chain([self.done_units])).unwrap_or(Units(u64::MAX))
    }

    /// Units that the channels pay in all: those that are accepted.
    fn capacity(&self) -> Units {
        let accepted = self.channels.values().filter(|c| !c.is_pending());
        let worth = accepted.map(Channel::worth);
        Units::checked_sum(worth.chain([self.done_units])).unwrap_or(Units(u64::MAX))
    }

    /// Units that the channels pay in all, if those on their way are accepted.
    fn planned_capacity(&self) -> Units {
        let worth = self.channels.values().map(Channel::worth);
        Units::checked_sum(worth.chain([self.done_units])).unwrap_or(Units(u64::MAX))
    }

    /// `bytes` more, but never beyond what the payee serves under payment: what comes beyond that
    /// comes free.
    fn count(&self, counted: u64, bytes: u64) -> u64 {
        let Some(terms) = self.offer_terms else {
            return counted;
        };
        let limit = match self.accepted_once {
            true => terms.windows.price().bytes_bought(self.capacity()),
            false => terms.windows.provisional_bytes(),
        };
        counted.saturating_add(bytes).min(limit).max(counted)
    }

    /// A payee takes numbers in rising order. If another channel was begun while the wallet was asked,
    /// this one gets the next number.
    fn newest(&mut self, channel: u32) -> Option<u32> {
        if channel.checked_add(1) == Some(self.next_channel) {
            return Some(channel);
        }
        self.channels.remove(&channel);
        self.number()
    }

    fn number(&mut self) -> Option<u32> {
        let channel = self.next_channel;
        self.next_channel = channel.checked_add(1)?;
        Some(channel)
    }

    fn insert(&mut self, channel: u32, state: State, now: UnixMs) {
        self.channels.insert(channel, Channel::new(state, now));
    }

    fn send(&mut self, message: Message) {
        self.actions.push_back(PayerAction::Send(message));
    }

    fn release(&mut self, reserved: &Reserved, refused: Option<RefuseReason>) {
        let holding = reserved.holding.id;
        self.actions
            .push_back(PayerAction::Release { holding, refused });
    }

    /// Whether a payee of this kind must show a verified piece before it gets a spend.
    fn waits_for_piece(&self) -> bool {
        let is_stranger = !(self.terms.is_known_payee || self.verified_once);
        let piece = self.terms.piece_length_bytes;
        is_stranger && piece <= PROVISIONAL_MAX_BYTES && self.granted_bytes >= piece
    }

    /// Whether a channel would pay for anything: for what is verified, or what is to come.
    fn has_use(&self) -> bool {
        self.wanted_bytes > 0 || !self.owed().is_zero()
    }

    /// Units due for verified bytes and not ticked.
    fn owed(&self) -> Units {
        self.due_verified().saturating_sub(self.paid())
    }

    /// Units due for verified bytes.
    fn due_verified(&self) -> Units {
        let windows = self.offer_terms.map(|terms| terms.windows);
        let due = windows.map(|windows| windows.price().due(self.verified_bytes));
        due.unwrap_or_default()
    }

    /// The most that may be paid at risk: a window, less what earlier connections paid so in vain.
    fn risk_bytes(&self, windows: &Windows) -> u64 {
        let in_vain_bytes = windows.paid_bytes(self.terms.ahead);
        (windows.accepted_bytes(self.paid())).saturating_sub(in_vain_bytes)
    }

    fn commit_keyed(&mut self, now: UnixMs) {
        if self.has_use() && !self.waits_for_piece() {
            self.commit_all_keyed(now);
        }
    }

    /// Keyed -> Committing.
    fn commit_all_keyed(&mut self, now: UnixMs) {
        for (id, channel) in &mut self.channels {
            let State::Keyed(reserved, certificate) = &channel.state else {
                continue;
            };
            self.actions.push_back(PayerAction::Commit {
                channel: *id,
                holding: reserved.holding.id,
                payee: certificate.holder,
                certificate: *certificate,
            });
            *channel = Channel::new(State::Committing(reserved.clone()), now);
        }
    }
}
