//! Channels that outlive their connection: taken up again from the wallet, or closed at last
//! (`docs/protocol.md` section 8).

use super::channel::{Spent, State};
use super::{FreeReason, Payer, PayerAction};
use crate::channel::{PeerFault, Recalled};
use crate::coin::ChainValue;
use crate::units::{Units, UnixMs};
use crate::wire::message::{Message, RefuseReason};

/// Spends of earlier connections that are taken up on one connection.
const MAX_RECALLED: usize = 4;

impl Payer {
    /// The wallet's answer to [`PayerAction::Recall`]. -> Resuming, for at most `ahead` of them, as each
    /// pays a unit ahead; the others, and where every unit is ticked or none may be: Closing.
    pub fn handle_recalled(&mut self, now: UnixMs, recalled: Vec<Recalled>, ahead: Units) {
        let waits = self.recalling.take().is_some() && !self.stopping;
        for (n, past) in recalled.into_iter().enumerate() {
            let is_taken_up = waits && n < MAX_RECALLED;
            match is_taken_up.then(|| self.number()).flatten() {
                Some(channel) => self.recall(now, channel, past, ahead),
                None => self.forget(&Spent::recalled(&past)),
            }
        }
        self.plan(now);
    }

    /// Units that were paid to take channels up, and that nothing verified has fallen due for.
    #[must_use]
    pub fn resumed_ahead(&self) -> Units {
        Units(u64::from(self.resumes)).saturating_sub(self.due_verified())
    }

    /// Units paid on this connection that nothing verified has fallen due for.
    #[must_use]
    pub fn ahead(&self) -> Units {
        self.paid().saturating_sub(self.due_verified())
    }

    fn recall(&mut self, now: UnixMs, channel: u32, past: Recalled, ahead: Units) {
        let spent = Spent::recalled(&past);
        let may_pay = past.may_pay && u64::from(self.resumes) < ahead.0;
        match spent.next().filter(|_| may_pay) {
            Some((k, wk)) => {
                self.counts = true;
                self.resumes += 1;
                self.send(Message::Resume {
                    channel,
                    spend: spent.spend,
                    k,
                    wk,
                });
                self.insert(channel, State::Resuming(spent, Box::new(past)), now);
            }
            None if past.is_same_peer => self.ask_to_close(now, channel, spent),
            None => self.forget(&spent),
        }
    }

    /// Resuming -> Opening. A payee that had the tick already, because we lost count in a crash, gets
    /// a new one: until then it serves nothing, as our `resume` might be somebody's echo.
    pub(super) fn on_resumed(
        &mut self,
        now: UnixMs,
        channel: u32,
        k: u32,
        wk: &ChainValue,
    ) -> Result<(), PeerFault> {
        let Some(known) = self.known(channel, "resumed")? else {
            return Ok(());
        };
        let State::Resuming(spent, _) = &known.state else {
            return match known.state {
                State::Closing(_) => Ok(()),
                _ => Err(PeerFault::Unexpected { kind: "resumed" }),
            };
        };
        let mut spent = spent.clone();
        if spent.chain.reveal(k) != Some(*wk) {
            return Err(PeerFault::BadResumed { channel, k });
        }
        let lost_count = k > spent.k;
        spent.base = k.max(spent.k);
        spent.k = spent.base;
        let spend = spent.spend;
        self.actions.push_back(PayerAction::Resumed { spend });
        let Some((k, wk)) = spent.next() else {
            // Ticked through: the payee closes unasked.
            self.note(&spent);
            self.insert(channel, State::Closing(spent), now);
            return Ok(());
        };
        spent.k = k;
        if lost_count {
            self.resumes += 1;
            self.send(Message::Tick { channel, k, wk });
        }
        self.note(&spent);
        self.insert(channel, State::Opening(spent), now);
        Ok(())
    }

    fn note(&mut self, spent: &Spent) {
        self.actions.push_back(PayerAction::Ticked {
            spend: spent.spend,
            k: spent.k,
            wk: spent.last_value(),
        });
    }

    /// Resuming -> Again where the very payee never had the open: its holding is proposed once more,
    /// for the same open, paid from the start. Else it is left to the wallet.
    pub(super) fn on_resume_refused(&mut self, now: UnixMs, past: Recalled, reason: RefuseReason) {
        let mut spent = Spent::recalled(&past);
        let is_lost = reason == RefuseReason::Unknown && past.is_same_peer;
        let is_sent_again = is_lost && !self.stopping;
        match is_sent_again.then(|| self.number()).flatten() {
            Some(channel) => {
                (spent.k, spent.base) = (0, 0);
                let path = past.reserved.path;
                self.send(Message::Propose { channel, path });
                self.insert(channel, State::Again(spent), now);
            }
            None => self.forget(&spent),
        }
        if reason != RefuseReason::Unknown {
            self.go_free(now, FreeReason::Refused(reason));
        }
        self.plan(now);
    }

    /// Again -> Opening, whatever key was given: a holding is spent once.
    pub(super) fn send_again(&mut self, now: UnixMs, channel: u32) -> Result<(), PeerFault> {
        if let Some(State::Again(spent)) = self.channels.remove(&channel).map(|c| c.state) {
            let open = spent.open;
            self.send(Message::Open { channel, open });
            self.insert(channel, State::Opening(spent), now);
        }
        Ok(())
    }

    /// Resuming -> ended: the payee does not answer.
    pub(super) fn end_late_resume(&mut self, now: UnixMs, channel: u32) {
        if let Some(State::Resuming(spent, _)) = self.channels.remove(&channel).map(|c| c.state) {
            self.forget(&spent);
        }
        self.failures = self.failures.saturating_add(1);
        self.go_free(now, FreeReason::NoAnswer);
    }

    /// A spend of an earlier connection that is not in use on this one.
    pub(super) fn forget(&mut self, spent: &Spent) {
        let (spend, k) = (spent.spend, spent.k);
        self.actions.push_back(PayerAction::Ended { spend, k });
    }
}
