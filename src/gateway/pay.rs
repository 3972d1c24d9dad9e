//! A connection's two machines of payment, and what they want done.
//!
//! Bytes count from the first proposal on, at both ends. So that our first requests come after our
//! first proposal in the stream, they wait until the payer has proposed or has found that it will
//! not; that takes one question to our own wallet.

use std::collections::HashMap;
use std::sync::Arc;

use super::link::Link;
use super::purse::{Answer, Worker};
use super::report::{Close, GatewayEvent, Why};
use crate::channel::{Kept, Payee, PayeeStatus, PayeeTerms, Payer, PayerTerms};
use crate::coin::{ChainValue, Commitment, HoldingId};
use crate::dht::Acceptance;
use crate::record::{OpenSpend, Slot, Verdict};
use crate::units::{InfoHash, Units, UnixMs};
use crate::wire::codes::{FreePolicy, WaitReason};
use crate::wire::message::{Message, OpenedState, Recipient};

/// Our requests wait no longer than this for the payer to make up its mind.
const MIND_MS: u64 = 500;
/// Messages kept that came before we knew the torrent or the broker.
const MAX_EARLY: usize = 16;
/// Least value of a holding that we take.
const SMALLEST_CHANNEL: Units = Units(16);
/// Peers served before acceptance at once (`docs/protocol.md` section 7).
pub const MAX_PROVISIONAL: usize = 16;

/// Both machines of one connection.
pub struct Pay {
    /// Under which the peer takes our messages.
    pub(super) peer_pay_id: u8,
    pub(super) info_hash: InfoHash,
    pub(super) payer: Option<Payer>,
    pub(super) payee: Option<Payee>,
    pub(super) worker: Worker,
    /// Spends to us, for putting their closes.
    pub(super) received: HashMap<Commitment, (HoldingId, Box<OpenSpend>)>,
    /// When our opens went out, to tell how long acceptance took.
    pub(super) opened_at: HashMap<u32, UnixMs>,
    /// The payer has made up its mind once.
    pub(super) decided: bool,
    /// The peer offers no service without payment.
    pub(super) serves_payers_only: bool,
    since: UnixMs,
    pub(super) is_provisional: bool,
    /// It is counted among those whom we pay for its torrent.
    pub(super) is_seller: bool,
    /// Units paid ahead on this connection, as the ledger of them knows.
    pub(super) ahead: Units,
}

impl Pay {
    /// How the payee stands, if there is one.
    pub fn payee_status(&self) -> Option<PayeeStatus> {
        self.payee.as_ref().map(Payee::status)
    }

    /// When one of the machines wants to be woken.
    pub fn next_timeout(&self) -> Option<UnixMs> {
        let payer = self.payer.as_ref().and_then(Payer::next_timeout);
        let payee = self.payee.as_ref().and_then(Payee::next_timeout);
        payer.into_iter().chain(payee).min()
    }

    /// Whether both machines have nothing left to do after a stop.
    pub fn is_done(&self) -> bool {
        self.payer.as_ref().is_none_or(Payer::is_done)
            && self.payee.as_ref().is_none_or(Payee::is_done)
    }

    pub(super) fn is_decided(&self, now: UnixMs) -> bool {
        self.decided || self.payer.is_none() || now.since_ms(self.since) >= MIND_MS
    }
}

/// Whether the other item lies in the slot of a spend to us: the payer signed both. Further up the path
/// somebody before it did.
fn is_of_payer(
    received: &HashMap<Commitment, (HoldingId, Box<OpenSpend>)>,
    outcome: &Acceptance,
) -> bool {
    let salt = outcome.conflict.as_ref().map(|(ours, _)| ours.salt);
    let lies_there =
        |id: &HoldingId| salt.is_some_and(|salt| Slot::spend(id).salts().contains(&salt));
    received.values().any(|(id, _)| lies_there(id))
}

impl Link {
    /// Starts the machines once both ends speak `dp_pay` and torrent and broker are known.
    pub fn start_paying(&mut self, now: UnixMs) -> Result<(), Close> {
        if self.pay.is_some() || self.our_pay_id.is_none() {
            self.stop_where_terms_forbid(now);
            return Ok(());
        }
        let (Some(peer_pay_id), Some(info_hash)) = (self.peer_pay_id, self.info_hash()) else {
            return Ok(());
        };
        let (Some(terms), Some(purse)) = (
            self.shared.terms(info_hash),
            self.shared.purse.borrow().clone(),
        ) else {
            return Ok(());
        };
        let Some(broker) = self.shared.broker.borrow().clone() else {
            return Ok(());
        };
        let piece_length_bytes = u64::from(terms.piece_length_bytes);
        let payer = terms.pays.then(|| {
            let terms = PayerTerms {
                piece_length_bytes,
                max_price: terms.max_price,
                broker: broker.key,
                is_known_payee: false,
                recalls: true,
                ahead: (self.shared.ahead.borrow()).left(now, self.address.ip()),
                is_avoided: (self.shared.avoided.borrow()).contains(now, &self.peer_name()),
            };
            Payer::new(terms, now)
        });
        let payee = terms.earns.then(|| {
            let terms = PayeeTerms {
                piece_length_bytes,
                price: terms.price,
                brokers: vec![(broker.key, broker.url.clone())],
                smallest_channel: SMALLEST_CHANNEL,
                free: terms.free,
                is_provisional: false,
            };
            Payee::new(terms, now)
        });
        let worker = purse.worker(info_hash, self.peer_name(), self.commands.clone());
        self.pay = Some(Box::new(Pay {
            peer_pay_id,
            info_hash,
            payer,
            payee,
            worker,
            received: HashMap::new(),
            opened_at: HashMap::new(),
            decided: false,
            serves_payers_only: false,
            since: now,
            is_provisional: false,
            is_seller: false,
            ahead: Units::ZERO,
        }));
        self.update_wanted(now);
        for message in std::mem::take(&mut self.early) {
            self.hear(now, &message)?;
        }
        self.settle(now);
        Ok(())
    }

    /// A `dp_pay` message came.
    pub fn pay_message(&mut self, now: UnixMs, payload: &[u8]) -> Result<(), Close> {
        let wrong = |error: &dyn std::fmt::Display| Close::Payment(error.to_string());
        let Some(message) = Message::decode(payload).map_err(|e| wrong(&e))? else {
            return Ok(());
        };
        if self.pay.is_none() {
            if self.early.len() < MAX_EARLY {
                self.early.push(message);
            }
            return Ok(());
        }
        self.hear(now, &message)?;
        self.settle(now);
        Ok(())
    }

    fn hear(&mut self, now: UnixMs, message: &Message) -> Result<(), Close> {
        tracing::trace!(peer = %self.address, kind = message.kind(), "dp_pay received");
        let may_provide = self.may_provide(now);
        if let Message::Offer(_) = message {
            // The first channel is sized by who is paid already.
            self.update_wanted(now);
        }
        let Some(pay) = &mut self.pay else {
            return Ok(());
        };
        let recipient = message.recipient();
        let mut fault = None;
        if recipient != Recipient::Payee
            && let Some(payer) = &mut pay.payer
        {
            fault = payer.handle_message(now, message).err();
        }
        if recipient != Recipient::Payer
            && let Some(payee) = &mut pay.payee
        {
            if matches!(message, Message::Propose { .. } | Message::Resume { .. }) {
                payee.set_provisional(may_provide);
            }
            fault = fault.or(payee.handle_message(now, message).err());
        }
        let accepted_ms = match message {
            Message::Opened {
                channel,
                state: OpenedState::Accepted,
            } => pay.opened_at.remove(channel).map(|at| now.since_ms(at)),
            _ => None,
        };
        let info_hash = pay.info_hash;
        let peer = self.address;
        if let Message::Offer(offer) = message {
            pay.serves_payers_only = offer.free == FreePolicy::Off;
            self.snapshot.borrow_mut().price = Some(offer.price);
        }
        if let Message::Due(due) = message {
            self.note_due(due.why);
        }
        if let Message::Opened { .. } = message {
            self.snapshot.borrow_mut().why = None;
        }
        if let Some(acceptance_ms) = accepted_ms {
            self.shared.tell(GatewayEvent::PaymentAccepted {
                info_hash,
                peer,
                acceptance_ms,
                by_us: false,
                copies: Vec::new(),
            });
        }
        match fault {
            Some(fault) => Err(Close::Payment(fault.to_string())),
            None => Ok(()),
        }
    }

    /// Why the seeder waits. That it is not paid, and why, says more, until a payment is opened again.
    fn note_due(&self, reason: WaitReason) {
        let mut snapshot = self.snapshot.borrow_mut();
        if !matches!(snapshot.why, Some(Why::Free(_))) {
            let waits = reason != WaitReason::None;
            snapshot.why = waits.then_some(Why::SeederWaits(reason));
        }
    }

    /// Whether this peer may be served before acceptance: not too many at once are, and nobody of
    /// its neighbourhood left owing.
    fn may_provide(&self, now: UnixMs) -> bool {
        let is_one = self.pay.as_ref().is_some_and(|pay| pay.is_provisional);
        let others = self.shared.provisional.get() - usize::from(is_one);
        let debts = self.shared.debts.borrow();
        others < MAX_PROVISIONAL && !debts.owes(now, self.address.ip())
    }

    /// An errand was done.
    ///
    /// # Errors
    /// The peer showed nothing of the spend that it wants to resume.
    pub fn answered(&mut self, now: UnixMs, answer: Answer) -> Result<(), Close> {
        // What is opened now is sized by who is paid by now, not by who was when it was asked.
        self.update_wanted(now);
        let Some(pay) = &mut self.pay else {
            return Ok(());
        };
        let mut taken_up = Ok(());
        match (answer, &mut pay.payer, &mut pay.payee) {
            (Answer::Reserved(channel, reserved), Some(payer), _) => {
                payer.handle_reserved(now, channel, reserved.map(|reserved| *reserved));
            }
            (Answer::OpenDurable(channel, holding, open, chain), Some(payer), _) => {
                let spend = open.commitment(&holding);
                self.shared.shelf.borrow_mut().use_ours(spend);
                payer.handle_open_durable(now, channel, holding, *open, chain);
            }
            (Answer::CommitFailed(channel, why), Some(payer), _) => {
                payer.handle_commit_failed(now, channel, why);
            }
            (Answer::Checked(channel, answer), _, Some(payee)) => {
                payee.handle_checked(now, channel, answer);
            }
            (Answer::Key(channel, index, certificate), _, Some(payee)) => {
                payee.handle_key(now, channel, index, certificate);
            }
            (Answer::NoKey(channel), _, Some(payee)) => payee.handle_no_key(now, channel),
            (Answer::Recorded(channel, answer), _, Some(payee)) => {
                payee.handle_open_recorded(now, channel, answer);
            }
            (Answer::Judged { channel, outcome }, _, Some(payee)) => {
                let (info_hash, peer) = (pay.info_hash, self.address);
                match &outcome.verdict {
                    Verdict::Accepted => self.shared.tell(GatewayEvent::PaymentAccepted {
                        info_hash,
                        peer,
                        acceptance_ms: outcome.elapsed_ms,
                        by_us: true,
                        copies: outcome.per_record.iter().map(|r| r.copies).collect(),
                    }),
                    Verdict::Conflict(_) => {
                        if is_of_payer(&pay.received, &outcome) {
                            self.shared.debts.borrow_mut().note_fraud(now, peer.ip());
                        }
                        self.shared.tell(GatewayEvent::Conflict {
                            items: outcome.conflict.clone().map(Box::new),
                            info_hash,
                            peer,
                        });
                    }
                    Verdict::Undecided { why } => {
                        tracing::info!(%peer, ?why, "a spend stays undecided");
                    }
                }
                payee.handle_verdict(now, channel, outcome.verdict);
            }
            (Answer::Closed(channel, close), _, Some(payee)) => {
                payee.handle_closed(now, channel, close);
            }
            (Answer::Recalled(recalled), Some(payer), _) => {
                let mut shelf = self.shared.shelf.borrow_mut();
                let ours = recalled.into_iter().filter(|past| {
                    let spend = past.open.commitment(&past.reserved.holding.id);
                    shelf.use_ours(spend)
                });
                let ahead = (self.shared.ahead.borrow()).may_resume(now, self.address.ip());
                payer.handle_recalled(now, ours.collect(), ahead);
            }
            (Answer::KeptClosed(spend, close), _, Some(payee)) => {
                self.shared.shelf.borrow_mut().close(&spend);
                payee.handle_kept_closed(spend, close);
            }
            (Answer::TakenUp(channel, spend, kept), _, Some(payee)) => {
                match &kept {
                    Kept::Open(open) => {
                        let received = (open.holding.id, Box::new(open.open));
                        pay.received.insert(spend, received);
                    }
                    _ => self.shared.shelf.borrow_mut().close(&spend),
                }
                taken_up = payee.handle_taken_up(now, channel, kept);
            }
            _ => {}
        }
        self.settle(now);
        taken_up.map_err(|fault| Close::Payment(fault.to_string()))
    }

    /// The payer of a spend on this connection shows itself on another one.
    pub fn let_go(&mut self, now: UnixMs, spend: &Commitment, k: u32, wk: &ChainValue) {
        if let Some(payee) = self.pay.as_mut().and_then(|pay| pay.payee.as_mut()) {
            payee.handle_let_go(spend, k, wk);
        }
        self.settle(now);
    }

    /// Does all that the machines want, then lets requests through that may go now.
    pub fn settle(&mut self, now: UnixMs) {
        self.act(now);
        self.let_requests_through(now);
        self.act(now);
        self.let_asking_through(now);
    }

    fn act(&mut self, now: UnixMs) {
        let Some(mut pay) = self.pay.take() else {
            return;
        };
        let mut acted = false;
        while let Some(action) = pay.payer.as_mut().and_then(Payer::poll_action) {
            acted = true;
            self.act_as_payer(now, &mut pay, action);
        }
        while let Some(action) = pay.payee.as_mut().and_then(Payee::poll_action) {
            acted = true;
            self.act_as_payee(now, &mut pay, action);
        }
        if acted {
            let free = pay.payer.as_ref().and_then(|payer| payer.status().free);
            pay.decided |= free.is_some();
            let is_provisional = pay.payee_status().is_some_and(|s| s.is_provisional);
            self.count_provisional(&mut pay, is_provisional);
            let is_seller = (pay.payer.as_ref()).is_some_and(|payer| payer.status().channels > 0);
            self.count_seller(&mut pay, is_seller);
            self.count_ahead(now, &mut pay);
            self.show_accounts(&pay);
        }
        self.pay = Some(pay);
    }

    /// A block of this peer came in.
    pub fn pay_delivered(&mut self, now: UnixMs, bytes: u64) {
        if let Some(payer) = self.pay.as_mut().and_then(|pay| pay.payer.as_mut()) {
            payer.handle_delivered(now, bytes);
            self.act(now);
        }
    }

    /// Blocks of this peer lie in verified pieces now (none: only what is wanted changed).
    pub fn pay_verified(&mut self, now: UnixMs, bytes: u64) {
        if bytes > 0
            && let Some(payer) = self.pay.as_mut().and_then(|pay| pay.payer.as_mut())
        {
            payer.handle_verified(now, bytes);
        }
        self.update_wanted(now);
        self.act(now);
    }

    /// Tells the payer what the torrent still needs of this peer: of the chosen files, and what our engine asks
    /// it for beyond these, as where fewer are chosen than before.
    pub fn update_wanted(&mut self, now: UnixMs) {
        let Some(pay) = self.pay.as_mut() else {
            return;
        };
        let is_seller = pay.is_seller;
        let Some(payer) = pay.payer.as_mut() else {
            return;
        };
        let info_hash = self.engine.as_ref().or(self.peer.as_ref());
        let Some(info_hash) = info_hash.map(|handshake| handshake.info_hash) else {
            return;
        };
        let torrents = self.shared.torrents.borrow();
        let Some(torrent) = torrents.get(&info_hash) else {
            return;
        };
        let Some(terms) = torrent.terms.filter(|_| !self.lingers.get()) else {
            payer.handle_wanted(now, 0);
            return;
        };
        let piece = u64::from(terms.piece_length_bytes);
        let has = Arc::clone(&self.snapshot.borrow().has);
        let chosen = torrent.chosen.as_ref();
        let chosen = chosen.map(|chosen| self.asked.and_asked(chosen, &self.asking));
        let wanted = has.bytes_beyond(&torrent.have, chosen.as_deref(), piece, terms.length_bytes);
        let others = torrent.sellers.saturating_sub(u32::from(is_seller));
        payer.handle_sellers(others.saturating_add(1));
        payer.handle_wanted(now, wanted);
    }

    /// The machines' own deadlines, and what lingers.
    pub fn pay_tick(&mut self, now: UnixMs) {
        self.update_wanted(now);
        if let Some(pay) = &mut self.pay {
            if let Some(payer) = &mut pay.payer
                && payer.next_timeout().is_some_and(|at| at <= now)
            {
                payer.handle_timeout(now);
            }
            if let Some(payee) = &mut pay.payee
                && payee.next_timeout().is_some_and(|at| at <= now)
            {
                payee.handle_timeout(now);
            }
            self.act(now);
        }
    }

    /// Closes all channels; the connection may go when both machines are done.
    pub fn stop_paying(&mut self, now: UnixMs) {
        if let Some(pay) = &mut self.pay {
            if let Some(payer) = &mut pay.payer {
                payer.handle_stop(now);
            }
            if let Some(payee) = &mut pay.payee {
                payee.handle_stop(now);
            }
        }
        self.act(now);
    }

    /// A watched record of a spend to us has a rival.
    pub fn conflict_found(&mut self, now: UnixMs, channel: u32, other: crate::record::Item) {
        if let Some(payee) = self.pay.as_mut().and_then(|pay| pay.payee.as_mut()) {
            payee.handle_verdict(now, channel, Verdict::Conflict(Box::new(other)));
        }
        self.settle(now);
    }

    /// The connection is gone: what is open is closed or left to the wallet.
    pub fn end_paying(&mut self, now: UnixMs) {
        let Some(pay) = &mut self.pay else {
            return;
        };
        if let Some(status) = pay.payee_status() {
            let unpaid = status.due.saturating_sub(status.paid);
            let mut debts = self.shared.debts.borrow_mut();
            debts.note(now, self.address.ip(), unpaid, status.due);
        }
        if let Some(payer) = &mut pay.payer {
            payer.handle_disconnect(now);
        }
        if let Some(payee) = &mut pay.payee {
            payee.handle_disconnect();
        }
        self.act(now);
        self.shared.shelf.borrow_mut().leave_all(self.id);
        if let Some(mut pay) = self.pay.take() {
            self.count_provisional(&mut pay, false);
            self.count_seller(&mut pay, false);
            self.leave_ahead(now, &pay);
            self.show_accounts(&pay);
        }
    }
}
