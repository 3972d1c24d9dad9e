//! What the machines of payment want done, carried out: messages sent, errands given to wallet and DHT,
//! ticks put aside to be noted together.

use super::link::Link;
use super::pay::Pay;
use super::purse::Errand;
use super::report::GatewayEvent;
use crate::cashier::wallet::{ConflictRole, ReserveRequest};
use crate::channel::{FreeReason, NoReserve, PayeeAction, PayerAction};
use crate::coin::{ChainValue, Commitment};
use crate::units::{InfoHash, UnixMs};
use crate::wire::frame;
use crate::wire::message::Message;

impl Link {
    pub(super) fn say(&mut self, pay: &Pay, message: &Message) {
        tracing::trace!(peer = %self.address, kind = message.kind(), "dp_pay sent");
        let payload = message.encode();
        self.to_peer
            .inject(&frame::extended(pay.peer_pay_id, &payload));
    }

    pub(super) fn act_as_payer(&mut self, now: UnixMs, pay: &mut Pay, action: PayerAction) {
        match action {
            PayerAction::Send(message) => {
                pay.decided |= matches!(message, Message::Propose { .. } | Message::Resume { .. });
                if let Message::Open { channel, .. } = &message {
                    pay.opened_at.insert(*channel, now);
                }
                self.say(pay, &message);
            }
            PayerAction::Reserve {
                channel,
                at_least,
                at_most,
                then,
            } => {
                let request = ReserveRequest {
                    info_hash: pay.info_hash,
                    at_least,
                    at_most,
                    then,
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
            PayerAction::Recall => pay.worker.send(Errand::Recall),
            PayerAction::Resumed { spend } => {
                self.shared.open_spends.borrow_mut().remove(&spend);
                pay.worker.send(Errand::PayerResumed(spend));
            }
            PayerAction::Avoid { reason } => {
                let mut avoided = self.shared.avoided.borrow_mut();
                avoided.note(now, self.peer_name(), reason);
            }
            PayerAction::Conflict { proof } => {
                let role = ConflictRole::Payer;
                self.tell_conflict(pay);
                pay.worker.send(Errand::Conflict { proof, role });
            }
            PayerAction::Closed { spend, close, .. } => {
                self.shared.shelf.borrow_mut().drop_ours(&spend);
                self.shared.open_spends.borrow_mut().remove(&spend);
                self.note_paid(pay, spend);
                pay.worker.send(Errand::PayerClosed(spend, close));
            }
            PayerAction::Ended { spend, k } => {
                self.shared.shelf.borrow_mut().drop_ours(&spend);
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

    fn tell_conflict(&self, pay: &Pay) {
        self.shared.tell(GatewayEvent::Conflict {
            items: None,
            info_hash: pay.info_hash,
            peer: self.address,
        });
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
        self.shared.tell(match reason {
            FreeReason::Price { asked, limit } => GatewayEvent::PriceAboveLimit {
                info_hash,
                peer,
                asked,
                limit,
            },
            FreeReason::Wallet(why @ (NoReserve::OverBudget | NoReserve::OverBudgetOfAll)) => {
                GatewayEvent::BudgetUsedUp {
                    info_hash,
                    peer,
                    is_own: why == NoReserve::OverBudget,
                }
            }
            other => GatewayEvent::GoesFree {
                info_hash,
                peer,
                why: other,
            },
        });
    }

    /// Asks the wallet for a spend to us, unless another connection has it. That one lets it go if
    /// `shown` is a new tick.
    pub(super) fn take_up(
        &self,
        now: UnixMs,
        pay: &Pay,
        spend: Commitment,
        channel: u32,
        shown: Option<(u32, ChainValue)>,
    ) {
        let place = (self.id, channel);
        if let Some(unpaid_bytes) = self.shared.take_up(now, spend, shown, place) {
            // The last ticks of the other connection, or its echo would pass for new.
            let noted = self.shared.ticks.borrow_mut().earned.remove(&spend);
            let last = self.shared.shelf.borrow().last(&spend).or(noted);
            pay.worker.send(Errand::TakeUp {
                channel,
                spend,
                unpaid_bytes,
                last,
            });
        }
    }

    pub(super) fn act_as_payee(&mut self, now: UnixMs, pay: &mut Pay, action: PayeeAction) {
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
                let place = (self.id, channel);
                self.shared.shelf.borrow_mut().hold(now, spend, place);
                pay.received.insert(spend, (holding.id, open.clone()));
                pay.worker.send(Errand::RecordOpen {
                    channel,
                    path: Box::new(path),
                    open,
                });
            }
            PayeeAction::Accept {
                channel,
                records,
                spend,
            } => pay.worker.send(Errand::Accept {
                channel,
                records,
                spend,
            }),
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
                self.shared.shelf.borrow_mut().close(&spend);
                pay.worker.send(Errand::Close {
                    channel,
                    spend,
                    k,
                    wk,
                    opened: pay.received.remove(&spend),
                });
            }
            other => self.act_on_kept(now, pay, other),
        }
    }

    /// What concerns channels that outlive their connection, and conflicts.
    fn act_on_kept(&mut self, now: UnixMs, pay: &mut Pay, action: PayeeAction) {
        match action {
            PayeeAction::TakeUp {
                channel,
                spend,
                k,
                wk,
            } => self.take_up(now, pay, spend, channel, Some((k, wk))),
            PayeeAction::CloseKept { spend, k, wk }
                if self.shared.shelf.borrow().place(&spend).is_none() =>
            {
                pay.worker.send(Errand::CloseKept { spend, k, wk });
            }
            PayeeAction::Conflict { proof } => {
                let role = ConflictRole::Payee;
                pay.worker.send(Errand::Conflict { proof, role });
            }
            PayeeAction::Left {
                spend,
                k,
                wk,
                unpaid_bytes,
                is_proven,
            } => {
                pay.received.remove(&spend);
                self.shared
                    .left(now, spend, self.id, unpaid_bytes, is_proven);
                self.shared.shelf.borrow_mut().note_last(&spend, (k, wk));
            }
            _ => {}
        }
    }
}
