//! What a payer does with the payee's messages, and with states that lasted too long.

use super::channel::{Channel, Spent, State};
use super::{FreeReason, OfferTerms, Payer, PayerAction};
use crate::channel::conflict::{MAX_PROOFS, convicted};
use crate::channel::{MAX_FAILED_PROPOSALS, PeerFault, Windows};
use crate::coin::{Commitment, PseudonymCertificate};
use crate::record::ClosePart;
use crate::units::{Units, UnixMs};
use crate::wire::message::{Due, Message, Offer, OpenedState, RefuseReason, WaitReason};

impl Payer {
    /// A message from the payee.
    ///
    /// # Errors
    /// The payee did what no honest one does: drop the connection, then call
    /// [`Payer::handle_disconnect`].
    pub fn handle_message(&mut self, now: UnixMs, message: &Message) -> Result<(), PeerFault> {
        match message {
            Message::Offer(offer) => self.on_offer(now, offer),
            Message::Key {
                channel,
                certificate,
            } => self.on_key(now, *channel, certificate),
            Message::Opened { channel, state } => self.on_opened(now, *channel, *state),
            Message::Refused {
                channel,
                reason,
                close,
            } => self.on_refused(now, *channel, *reason, close.as_ref()),
            Message::Resumed { channel, k, wk } => self.on_resumed(now, *channel, *k, wk),
            Message::Due(due) => {
                self.on_due(now, due);
                Ok(())
            }
            Message::Close { spend, close } => self.on_close(now, spend, close),
            Message::Conflict { proof } => self.on_conflict(proof),
            _ => Err(PeerFault::Unexpected {
                kind: message.kind(),
            }),
        }
    }

    fn on_offer(&mut self, now: UnixMs, offer: &Offer) -> Result<(), PeerFault> {
        match &self.offer {
            Some(known) if known == offer => return Ok(()),
            Some(_) => return Err(PeerFault::OfferChanged),
            None => self.offer = Some(offer.clone()),
        }
        let windows = Windows::new(self.terms.piece_length_bytes, offer.price);
        let takes_our_coins = (offer.brokers.iter()).any(|(key, _)| *key == self.terms.broker);
        let problem = if self.terms.is_avoided {
            Some(FreeReason::Avoided)
        } else if !takes_our_coins {
            Some(FreeReason::Broker)
        } else if offer.price > self.terms.max_price {
            Some(FreeReason::Price {
                asked: offer.price,
                limit: self.terms.max_price,
            })
        } else if !windows.buys_two_pieces() {
            Some(FreeReason::PriceForPieces { asked: offer.price })
        } else {
            None
        };
        if let Some(reason) = problem {
            self.go_free(now, reason);
            return Ok(());
        }
        self.offer_terms = Some(OfferTerms {
            windows,
            smallest_channel: offer.smallest_channel,
        });
        self.recall_due = self.terms.recalls;
        self.plan(now);
        Ok(())
    }

    /// Proposed -> Keyed, and on to Committing where there is nothing to wait for.
    fn on_key(
        &mut self,
        now: UnixMs,
        channel: u32,
        certificate: &PseudonymCertificate,
    ) -> Result<(), PeerFault> {
        let Some(known) = self.known(channel, "key")? else {
            return Ok(());
        };
        let reserved = match &known.state {
            State::Proposed(reserved) => reserved,
            State::Again(_) => return self.send_again(now, channel),
            _ => return Err(PeerFault::Unexpected { kind: "key" }),
        };
        let bad = |problem| PeerFault::BadKey { channel, problem };
        if certificate.broker != reserved.holding.broker {
            return Err(bad("is certified by another broker"));
        }
        if !certificate.is_live(now.day()) {
            return Err(bad("has an expired certificate"));
        }
        if certificate.holder.check().is_err() || !certificate.verify() {
            return Err(bad("is not certified"));
        }
        let keyed = State::Keyed(reserved.clone(), *certificate);
        self.insert(channel, keyed, now);
        self.commit_keyed(now);
        Ok(())
    }

    /// Opening -> Paying.
    fn on_opened(
        &mut self,
        now: UnixMs,
        channel: u32,
        state: OpenedState,
    ) -> Result<(), PeerFault> {
        let Some(known) = self.known(channel, "opened")? else {
            return Ok(());
        };
        match (&known.state, state) {
            (State::Opening(spent), OpenedState::Accepted) => {
                let (spent, took_ms) = (spent.clone(), now.since_ms(known.since));
                self.insert(channel, State::Paying(spent), now);
                self.accepted_once = true;
                self.is_short = false;
                self.pace.accepted(took_ms);
                self.pay(now);
                self.plan(now);
                Ok(())
            }
            (State::Opening(_) | State::Paying(_) | State::Closing(_), _) => Ok(()),
            _ => Err(PeerFault::Unexpected { kind: "opened" }),
        }
    }

    /// Proposed, Keyed: the holding is free again. Committing: the spend ends unused. Opening,
    /// Closing: closed if the close is good.
    fn on_refused(
        &mut self,
        now: UnixMs,
        channel: u32,
        reason: RefuseReason,
        close: Option<&ClosePart>,
    ) -> Result<(), PeerFault> {
        let Some(known) = self.known(channel, "refused")? else {
            return Ok(());
        };
        match (known.state.clone(), close) {
            (State::Proposed(reserved) | State::Keyed(reserved, _), None) => {
                self.release(&reserved, Some(reason));
                self.channels.remove(&channel);
            }
            (State::Committing(_), None) => {
                self.channels.remove(&channel);
            }
            (State::Resuming(_, past), None) => {
                self.channels.remove(&channel);
                self.on_resume_refused(now, *past, reason);
                return Ok(());
            }
            (State::Again(spent), None) => {
                self.channels.remove(&channel);
                self.forget(&spent);
            }
            (State::Opening(spent) | State::Closing(spent), Some(close)) => {
                spent.check(close)?;
                self.channels.remove(&channel);
                self.finish(now, &spent, close);
                if close.k == 0 {
                    self.avoid(reason);
                }
            }
            (State::Opening(spent) | State::Closing(spent), None) => {
                self.channels.remove(&channel);
                self.end(&spent);
            }
            _ => return Err(PeerFault::Unexpected { kind: "refused" }),
        }
        self.failures = self.failures.saturating_add(1);
        self.go_free(now, FreeReason::Refused(reason));
        self.plan(now);
        Ok(())
    }

    /// A spend was refused with nothing paid, and its coin has one link less. As undecided that may be
    /// the DHT's doing: only the third time, else at once, this payee is paid no more. One that is
    /// about to go does no harm.
    fn avoid(&mut self, reason: RefuseReason) {
        self.used_up = self.used_up.saturating_add(1);
        let is_doubt = reason == RefuseReason::Undecided && self.used_up < MAX_FAILED_PROPOSALS;
        if !is_doubt && reason != RefuseReason::Stopping {
            self.failures = MAX_FAILED_PROPOSALS;
            self.actions.push_back(PayerAction::Avoid { reason });
        }
    }

    /// Requests are held back, or no more; before acceptance also how much is granted.
    fn on_due(&mut self, now: UnixMs, due: &Due) {
        if self.offer_terms.is_none() {
            return;
        }
        self.granted_bytes = due.window_bytes;
        self.held = match (due.why, self.held) {
            (WaitReason::None, _) => None,
            (why, Some((since, _))) => Some((since, why)),
            (why, None) => Some((now, why)),
        };
        self.owing_since = match due.why {
            WaitReason::Ticks => self.owing_since.or(Some(now)),
            _ => None,
        };
        self.is_short |= due.why == WaitReason::Coin;
        self.is_idle &= due.why == WaitReason::None;
        self.plan(now);
    }

    /// Opening, Paying, Closing -> closed. A close of another spend is one that we gave up on.
    fn on_close(
        &mut self,
        now: UnixMs,
        spend: &Commitment,
        close: &ClosePart,
    ) -> Result<(), PeerFault> {
        let found = (self.channels.iter()).find_map(|(id, channel)| {
            let spent = channel.spent().filter(|spent| spent.spend == *spend)?;
            Some((*id, spent.clone()))
        });
        let Some((id, spent)) = found else {
            return Ok(());
        };
        spent.check(close)?;
        self.channels.remove(&id);
        self.finish(now, &spent, close);
        self.plan(now);
        Ok(())
    }

    /// A good close: what it leaves of the ticks is paid, the rest is owed again.
    fn finish(&mut self, now: UnixMs, spent: &Spent, close: &ClosePart) {
        // What was ticked on earlier connections paid there.
        let paid = Units(u64::from(close.k.min(spent.k).saturating_sub(spent.base)));
        self.done_units = self.done_units.checked_add(paid).unwrap_or(self.done_units);
        self.actions.push_back(PayerAction::Closed {
            spend: spent.spend,
            close: *close,
            ticked: spent.k,
        });
        self.pay(now);
    }

    /// No close came: what was ticked counts as paid.
    pub(super) fn end(&mut self, spent: &Spent) {
        let ticked = spent.paid();
        self.done_units = (self.done_units.checked_add(ticked)).unwrap_or(self.done_units);
        let (spend, k) = (spent.spend, spent.k);
        self.actions.push_back(PayerAction::Ended { spend, k });
    }

    /// The payee shows a proof of fraud: it is kept if this connection pays anything.
    fn on_conflict(&mut self, proof: &[u8]) -> Result<(), PeerFault> {
        self.proofs = self.proofs.saturating_add(1);
        if self.proofs > MAX_PROOFS {
            return Err(PeerFault::Unexpected { kind: "conflict" });
        }
        convicted(proof, &|broker| *broker == self.terms.broker)?;
        if self.channels.values().any(|c| c.spent().is_some()) {
            let proof = proof.to_vec();
            self.actions.push_back(PayerAction::Conflict { proof });
        }
        Ok(())
    }

    /// The channel; `None` where it is over, which a crossing message may not know.
    pub(super) fn known(
        &self,
        channel: u32,
        kind: &'static str,
    ) -> Result<Option<&Channel>, PeerFault> {
        match self.channels.get(&channel) {
            Some(known) if matches!(known.state, State::Reserving) => {
                Err(PeerFault::UnknownChannel { kind, channel })
            }
            None if channel >= self.next_channel => {
                Err(PeerFault::UnknownChannel { kind, channel })
            }
            known => Ok(known),
        }
    }

    /// Every spend is to be closed, every holding that is not spent is free again.
    pub(super) fn close_all(&mut self, now: UnixMs) {
        let all: Vec<u32> = self.channels.keys().copied().collect();
        for channel in all {
            self.leave(now, channel);
        }
    }

    /// Reserving -> gone. Proposed, Keyed -> released. Again -> ended. Resuming, Opening, Paying ->
    /// Closing. Committing stays:
    /// once durable it is sent, so that the payee can close it.
    fn leave(&mut self, now: UnixMs, channel: u32) {
        let Some(known) = self.channels.remove(&channel) else {
            return;
        };
        match known.state.clone() {
            State::Reserving => {}
            State::Proposed(reserved) | State::Keyed(reserved, _) => self.release(&reserved, None),
            State::Again(spent) => self.forget(&spent),
            State::Resuming(spent, _) | State::Opening(spent) | State::Paying(spent) => {
                self.ask_to_close(now, channel, spent);
            }
            State::Committing(_) | State::Closing(_) => {
                self.channels.insert(channel, known);
            }
        }
    }

    pub(super) fn ask_to_close(&mut self, now: UnixMs, channel: u32, spent: Spent) {
        self.send(Message::CloseRequest {
            spend: spent.spend,
            k: spent.k,
            wk: spent.last_value(),
        });
        self.insert(channel, State::Closing(spent), now);
    }

    /// A state lasted too long.
    pub(super) fn expire(&mut self, now: UnixMs, channel: u32) {
        let Some(known) = self.channels.get(&channel) else {
            return;
        };
        let reason = match &known.state {
            State::Reserving => FreeReason::NoWallet,
            State::Committing(_) => {
                self.channels.remove(&channel);
                self.go_free(now, FreeReason::NoWallet);
                return;
            }
            State::Keyed(..) if !self.has_use() => {
                self.leave(now, channel);
                return;
            }
            State::Keyed(..) if self.delivered_bytes > 0 => {
                self.commit_all_keyed(now);
                return;
            }
            State::Keyed(..) => FreeReason::NoService,
            State::Resuming(..) => {
                self.end_late_resume(now, channel);
                return;
            }
            State::Proposed(_) | State::Again(_) | State::Opening(_) => FreeReason::NoAnswer,
            State::Paying(_) => {
                self.is_idle = true;
                self.leave(now, channel);
                return;
            }
            State::Closing(spent) => {
                let spent = spent.clone();
                self.channels.remove(&channel);
                self.end(&spent);
                return;
            }
        };
        if reason == FreeReason::NoAnswer {
            self.failures = self.failures.saturating_add(1);
        }
        self.leave(now, channel);
        self.go_free(now, reason);
    }
}
