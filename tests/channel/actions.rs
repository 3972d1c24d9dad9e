//! What the machines of a pair want done, carried out as gateway and wallet would.

use dpay::channel::{PayeeAction, PayerAction};

use crate::world::{Event, WALLET_MS, World};

impl World {
    /// Does what the machines of a pair want done, until they want nothing.
    pub fn drive(&mut self, index: usize) {
        loop {
            let pair = &mut self.pairs[index];
            let (no_payer, no_payee) = (pair.payer_crashed, pair.payee_crashed);
            if let Some(action) = pair.payer.poll_action().filter(|_| !no_payer) {
                self.payer_action(index, action);
            } else if let Some(action) = pair.payee.poll_action().filter(|_| !no_payee) {
                self.payee_action(index, action);
            } else {
                break;
            }
        }
        self.serve(index);
        self.purse.assert_balanced();
    }

    fn payer_action(&mut self, index: usize, action: PayerAction) {
        let latency_ms = self.pairs[index].setup.latency_ms;
        match action {
            PayerAction::Send(mut message) => {
                assert!(self.pairs[index].connected, "nothing is sent after the end");
                let tamper = self.pairs[index].tamper.as_mut();
                if tamper.is_none_or(|tamper| tamper(&mut message)) {
                    self.after(index, latency_ms, Event::ToPayee(message.encode()));
                }
            }
            PayerAction::Reserve {
                channel,
                at_least,
                at_most,
                ..
            } => {
                self.after(
                    index,
                    WALLET_MS,
                    Event::Reserve {
                        channel,
                        at_least,
                        at_most,
                    },
                );
            }
            PayerAction::Commit {
                channel,
                holding,
                payee,
                certificate,
            } => {
                assert_eq!(payee, certificate.holder);
                let to = certificate;
                self.after(
                    index,
                    WALLET_MS,
                    Event::Commit {
                        channel,
                        holding,
                        to,
                    },
                );
            }
            PayerAction::Release { holding, .. } => self.purse.release(holding),
            PayerAction::Ticked { spend, k, .. } => self.purse.ticked(self.now, &spend, k),
            PayerAction::Closed { spend, close, .. } => self.purse.settle(&spend, &close),
            PayerAction::Conflict { .. } => self.pairs[index].conflicts += 1,
            PayerAction::Avoid { .. } => self.pairs[index].avoided += 1,
            PayerAction::Recall => self.after(index, WALLET_MS, Event::Recall),
            PayerAction::Resumed { .. } => self.pairs[index].resumed += 1,
            PayerAction::Ended { spend, .. } => {
                self.purse.ended(&spend);
                self.pairs[index].ended += 1;
            }
            PayerAction::GoesFree(reason) => self.pairs[index].free.push(reason),
        }
    }

    fn payee_action(&mut self, index: usize, action: PayeeAction) {
        let setup = &self.pairs[index].setup;
        let (latency_ms, acceptance_ms) = (setup.latency_ms, setup.acceptance_ms);
        match action {
            PayeeAction::Send(message) => {
                let pair = &self.pairs[index];
                assert!(pair.payee_connected, "nothing is sent after the end");
                let sent_at = self.pairs[index].sent_until.max(self.now);
                let at = sent_at.plus_ms(latency_ms);
                self.at(index, at, Event::ToPayer(message.encode()));
            }
            PayeeAction::Check {
                channel, holding, ..
            } => {
                let holding = holding.id;
                self.after(index, WALLET_MS, Event::Checked { channel, holding });
            }
            PayeeAction::NeedKey { channel } => {
                self.after(index, WALLET_MS, Event::Key { channel });
            }
            PayeeAction::Conflict { .. } => self.pairs[index].conflicts += 1,
            PayeeAction::KeyUnused { .. } => {}
            PayeeAction::RecordOpen {
                channel, holding, ..
            } => {
                let holding = holding.id;
                self.purse.hold(&holding, index);
                self.after(index, WALLET_MS, Event::Recorded { channel, holding });
            }
            PayeeAction::Accept {
                channel,
                spend,
                records,
            } => {
                assert!(records.iter().all(dpay::record::SignedRecord::verify));
                self.after(index, acceptance_ms, Event::Verdict { channel, spend });
            }
            PayeeAction::Ticked { spend, k, wk } => self.purse.received(self.now, &spend, k, wk),
            PayeeAction::TakeUp {
                channel,
                spend,
                k,
                wk,
            } => {
                let take_up = Event::TakeUp {
                    channel,
                    spend,
                    k,
                    wk,
                };
                self.after(index, WALLET_MS, take_up);
            }
            PayeeAction::CloseKept { spend, k, wk } => {
                self.after(index, WALLET_MS, Event::CloseKept { spend, k, wk });
            }
            PayeeAction::Left {
                spend,
                unpaid_bytes,
                ..
            } => self.purse.left(&spend, index, unpaid_bytes),
            PayeeAction::Close {
                channel,
                spend,
                k,
                wk,
            } => {
                self.after(
                    index,
                    WALLET_MS,
                    Event::Closed {
                        channel,
                        spend,
                        k,
                        wk,
                    },
                );
            }
        }
    }
}
