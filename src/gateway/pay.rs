//! A connection's two machines of payment, and what they want done.
//!
//! Bytes count from the first proposal on, at both ends. So that our first requests come after our
//! first proposal in the stream, they wait until the payer has proposed or has found that it will
//! not; that takes one question to our own wallet.

use std::collections::HashMap;

use super::hold::Account;
use super::link::{Link, PeerKind};
use super::purse::{Answer, Errand, Worker};
use super::report::{Close, GatewayEvent};
use crate::cashier::wallet::ReserveRequest;
use crate::channel::{
    FreeReason, NoReserve, Payee, PayeeAction, PayeeStatus, PayeeTerms, Payer, PayerAction,
    PayerTerms,
};
use crate::coin::{Commitment, HoldingId};
use crate::record::{OpenSpend, Verdict};
use crate::units::{InfoHash, Units, UnixMs};
use crate::wire::frame;
use crate::wire::message::{Message, OpenedState, Recipient};

/// Our requests wait no longer than this for the payer to make up its mind.
const MIND_MS: u64 = 500;
/// A payer whose channels are used up and that proposes nothing for so long is served as one that
/// does not pay.
const USED_UP_MS: u64 = 5_000;
/// Messages kept that came before we knew the torrent or the broker.
const MAX_EARLY: usize = 16;
/// Least value of a holding that we take.
const SMALLEST_CHANNEL: Units = Units(16);
/// Peers served before acceptance at once (`docs/protocol.md` section 7).
pub const MAX_PROVISIONAL: usize = 16;

/// Both machines of one connection.
pub struct Pay {
    /// Under which the peer takes our messages.
    peer_pay_id: u8,
    info_hash: InfoHash,
    payer: Option<Payer>,
    payee: Option<Payee>,
    worker: Worker,
    /// Spends to us, for putting their closes.
    received: HashMap<Commitment, (HoldingId, Box<OpenSpend>)>,
    /// When our opens went out, to tell how long acceptance took.
    opened_at: HashMap<u32, UnixMs>,
    /// The payer has made up its mind once.
    decided: bool,
    since: UnixMs,
    is_provisional: bool,
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

    fn is_decided(&self, now: UnixMs) -> bool {
        self.decided || self.payer.is_none() || now.since_ms(self.since) >= MIND_MS
    }
}

impl Link {
    /// Starts the machines once both ends speak `dp_pay` and torrent and broker are known.
    pub fn start_paying(&mut self, now: UnixMs) -> Result<(), Close> {
        if self.pay.is_some() || self.our_pay_id.is_none() {
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
        let worker = purse.worker(info_hash, self.address.to_string(), self.commands.clone());
        self.pay = Some(Box::new(Pay {
            peer_pay_id,
            info_hash,
            payer,
            payee,
            worker,
            received: HashMap::new(),
            opened_at: HashMap::new(),
            decided: false,
            since: now,
            is_provisional: false,
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
            if matches!(message, Message::Propose { .. }) {
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
            self.snapshot.borrow_mut().price = Some(offer.price);
        }
        if let Message::Due(due) = message {
            let why = (due.why != crate::wire::message::WaitReason::None)
                .then(|| format!("the seeder waits for: {}", due.why));
            self.snapshot.borrow_mut().why = why;
        }
        if let Some(acceptance_ms) = accepted_ms {
            self.shared.tell(GatewayEvent::PaymentAccepted {
                info_hash,
                peer,
                acceptance_ms,
                by_us: false,
            });
        }
        if matches!(message, Message::Conflict { .. }) {
            self.shared.tell(GatewayEvent::Conflict { info_hash, peer });
        }
        match fault {
            Some(fault) => Err(Close::Payment(fault.to_string())),
            None => Ok(()),
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
    pub fn answered(&mut self, now: UnixMs, answer: Answer) {
        let Some(pay) = &mut self.pay else {
            return;
        };
        match (answer, &mut pay.payer, &mut pay.payee) {
            (Answer::Reserved(channel, reserved), Some(payer), _) => {
                payer.handle_reserved(now, channel, reserved.map(|reserved| *reserved));
            }
            (Answer::OpenDurable(channel, holding, open, chain), Some(payer), _) => {
                payer.handle_open_durable(now, channel, holding, *open, chain);
            }
            (Answer::CommitFailed(channel), Some(payer), _) => {
                payer.handle_commit_failed(now, channel);
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
            (
                Answer::Judged {
                    channel,
                    verdict,
                    elapsed_ms,
                },
                _,
                Some(payee),
            ) => {
                let (info_hash, peer) = (pay.info_hash, self.address);
                match &verdict {
                    Verdict::Accepted => self.shared.tell(GatewayEvent::PaymentAccepted {
                        info_hash,
                        peer,
                        acceptance_ms: elapsed_ms,
                        by_us: true,
                    }),
                    Verdict::Conflict(_) => {
                        self.shared.tell(GatewayEvent::Conflict { info_hash, peer });
                    }
                    Verdict::Undecided { why } => {
                        tracing::info!(%peer, ?why, "a spend stays undecided");
                    }
                }
                payee.handle_verdict(now, channel, verdict);
            }
            (Answer::Closed(channel, close), _, Some(payee)) => {
                payee.handle_closed(now, channel, close);
            }
            _ => {}
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
            self.act_as_payee(&mut pay, action);
        }
        if acted {
            let free = pay.payer.as_ref().and_then(|payer| payer.status().free);
            pay.decided |= free.is_some();
            let is_provisional = pay.payee_status().is_some_and(|s| s.is_provisional);
            self.count_provisional(&mut pay, is_provisional);
            self.show_accounts(&pay);
        }
        self.pay = Some(pay);
    }

    fn count_provisional(&self, pay: &mut Pay, is_provisional: bool) {
        if is_provisional != pay.is_provisional {
            pay.is_provisional = is_provisional;
            let count = self.shared.provisional.get();
            self.shared.provisional.set(match is_provisional {
                true => count + 1,
                false => count.saturating_sub(1),
            });
        }
    }

    fn say(&mut self, pay: &Pay, message: &Message) {
        tracing::trace!(peer = %self.address, kind = message.kind(), "dp_pay sent");
        let payload = message.encode();
        self.to_peer
            .inject(&frame::extended(pay.peer_pay_id, &payload));
    }

    fn act_as_payer(&mut self, now: UnixMs, pay: &mut Pay, action: PayerAction) {
        match action {
            PayerAction::Send(message) => {
                pay.decided |= matches!(message, Message::Propose { .. });
                if let Message::Open { channel, .. } = &message {
                    pay.opened_at.insert(*channel, now);
                }
                self.say(pay, &message);
            }
            PayerAction::Reserve {
                channel,
                at_least,
                at_most,
            } => {
                let request = ReserveRequest {
                    info_hash: pay.info_hash,
                    at_least,
                    at_most,
                };
                pay.worker.send(Errand::Reserve { channel, request });
            }
            PayerAction::Commit {
                channel,
                holding,
                payee,
                certificate,
            } => pay.worker.send(Errand::Commit {
                channel,
                holding,
                payee,
                certificate,
            }),
            PayerAction::Release { holding, .. } => pay.worker.send(Errand::Release(holding)),
            PayerAction::Ticked { spend, k, .. } => {
                self.shared.ticks.borrow_mut().paid.insert(spend, k);
            }
            PayerAction::Closed { spend, close, .. } => {
                self.note_paid(pay, spend);
                pay.worker.send(Errand::PayerClosed(spend, close));
            }
            PayerAction::Ended { spend, k } => {
                let ticked = self.note_paid(pay, spend);
                if !ticked && k > 0 {
                    pay.worker.send(Errand::PayerTicks(vec![(spend, k)]));
                }
                pay.worker.send(Errand::PayerEnded(spend));
                self.shared.left_open(spend, k, self.address);
            }
            PayerAction::GoesFree(reason) => {
                pay.decided = true;
                self.tell_free(pay.info_hash, reason);
            }
        }
    }

    /// Ticks of a channel that is over are noted before its end is.
    fn note_paid(&self, pay: &Pay, spend: Commitment) -> bool {
        let Some(k) = self.shared.ticks.borrow_mut().paid.remove(&spend) else {
            return false;
        };
        pay.worker.send(Errand::PayerTicks(vec![(spend, k)]));
        true
    }

    fn tell_free(&self, info_hash: InfoHash, reason: FreeReason) {
        let peer = self.address;
        self.snapshot.borrow_mut().why = Some(reason.to_string());
        self.shared.tell(match reason {
            FreeReason::Price { asked, limit } => GatewayEvent::PriceAboveLimit {
                info_hash,
                peer,
                asked,
                limit,
            },
            FreeReason::Wallet(NoReserve::OverBudget) => {
                GatewayEvent::BudgetUsedUp { info_hash, peer }
            }
            other => GatewayEvent::GoesFree {
                info_hash,
                peer,
                why: other.to_string(),
            },
        });
    }

    fn act_as_payee(&mut self, pay: &mut Pay, action: PayeeAction) {
        match action {
            PayeeAction::Send(message) => self.say(pay, &message),
            PayeeAction::Check {
                channel,
                path,
                holding,
            } => pay.worker.send(Errand::Check {
                channel,
                holding,
                path: Box::new(path),
            }),
            PayeeAction::NeedKey { channel } => pay.worker.send(Errand::NeedKey(channel)),
            PayeeAction::KeyUnused { index } => pay.worker.send(Errand::KeyUnused(index)),
            PayeeAction::RecordOpen {
                channel,
                path,
                open,
                holding,
            } => {
                let spend = open.commitment(&holding.id);
                pay.received.insert(spend, (holding.id, open.clone()));
                pay.worker.send(Errand::RecordOpen {
                    channel,
                    path: Box::new(path),
                    open,
                    holding,
                });
            }
            PayeeAction::Accept {
                channel,
                records,
                spend,
            } => {
                self.shared.note_channel(spend, self.id, channel);
                pay.worker.send(Errand::Accept {
                    channel,
                    records,
                    spend,
                });
            }
            PayeeAction::Ticked { spend, k, wk } => {
                self.shared.ticks.borrow_mut().earned.insert(spend, (k, wk));
            }
            PayeeAction::Close {
                channel,
                spend,
                k,
                wk,
            } => {
                self.shared.ticks.borrow_mut().earned.remove(&spend);
                pay.worker.send(Errand::Close {
                    channel,
                    spend,
                    k,
                    wk,
                    opened: pay.received.remove(&spend),
                });
            }
        }
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

    /// Tells the payer what the torrent still needs of this peer.
    pub fn update_wanted(&mut self, now: UnixMs) {
        let Some(payer) = self.pay.as_mut().and_then(|pay| pay.payer.as_mut()) else {
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
        let has = &self.peer_has;
        let wanted = has.bytes_beyond(&torrent.have, piece, terms.length_bytes);
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
            payee.handle_disconnect(now);
        }
        self.act(now);
        if let Some(mut pay) = self.pay.take() {
            self.count_provisional(&mut pay, false);
            self.show_accounts(&pay);
        }
    }

    /// On what account a held block may be served now, if on any.
    pub fn account_for(&mut self, now: UnixMs, bytes: u64) -> Option<Account> {
        let admitted = self.hold.admitted_bytes(Account::Paid);
        let waits_ms = self.hold.waiting_since().map_or(0, |at| now.since_ms(at));
        let take = || {
            let mut free = self.shared.free.borrow_mut();
            free.take(now, self.id, bytes).then_some(Account::Free)
        };
        if self.kind == PeerKind::Unknown {
            return None;
        }
        let Some(payee) = self.pay.as_mut().and_then(|pay| pay.payee.as_mut()) else {
            return take();
        };
        let status = payee.status();
        let is_under_payment = status.channels > 0 || status.is_provisional || status.is_accepted;
        if is_under_payment && payee.allowance_bytes() >= admitted + bytes {
            return Some(Account::Paid);
        }
        let is_used_up = status.channels == 0
            && status.left.is_zero()
            && status.due <= status.paid
            && waits_ms >= USED_UP_MS;
        if (!is_under_payment || is_used_up)
            && let Some(account) = take()
        {
            return Some(account);
        }
        payee.handle_held(now);
        None
    }

    /// Paid bytes were handed to the socket.
    pub fn pay_served(&mut self, now: UnixMs, bytes: u64) {
        if let Some(payee) = self.pay.as_mut().and_then(|pay| pay.payee.as_mut()) {
            payee.handle_served(now, bytes);
        }
    }

    /// Whether our engine's requests may go out.
    pub fn may_ask(&self, now: UnixMs) -> bool {
        match (self.kind, &self.pay) {
            (PeerKind::Unknown, _) => false,
            (PeerKind::Pays, Some(pay)) => pay.is_decided(now),
            _ => true,
        }
    }

    fn show_accounts(&self, pay: &Pay) {
        let mut snapshot = self.snapshot.borrow_mut();
        if let Some(payer) = &pay.payer {
            let status = payer.status();
            snapshot.paid = status.paid;
            snapshot.paying = status.channels;
            snapshot.left = status.left;
        }
        if let Some(payee) = &pay.payee {
            let status = payee.status();
            snapshot.earned = status.paid;
            snapshot.owed = status.due.saturating_sub(status.paid);
            snapshot.earning = status.channels;
            snapshot.window_bytes = payee.allowance_bytes();
        }
    }

    /// Brings the snapshot up to date.
    pub fn show(&self) {
        if let Some(pay) = &self.pay {
            self.show_accounts(pay);
        }
        self.snapshot.borrow_mut().held_requests = self.hold.held() as u64;
    }
}
