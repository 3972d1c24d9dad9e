//! Channels that outlive their connection: left to the wallet at its end, taken up again by `resume`
//! (`docs/protocol.md` section 8).

use super::channel::{Channel, Claim, Opened, State};
use super::{Payee, PayeeAction};
use crate::channel::{Kept, MAX_CHANNELS, MAX_RESUMES, PeerFault};
use crate::coin::{ChainValue, Commitment};
use crate::record::ClosePart;
use crate::units::UnixMs;
use crate::wire::message::{Message, OpenedState, RefuseReason};

impl Payee {
    /// -> Resuming, or refused.
    pub(super) fn on_resume(
        &mut self,
        now: UnixMs,
        channel: u32,
        claim: Claim,
    ) -> Result<(), PeerFault> {
        self.begin(channel)?;
        if self.resumes >= MAX_RESUMES {
            return Err(PeerFault::TooManyProposals);
        }
        self.resumes = self.resumes.saturating_add(1);
        let is_here = |c: &Channel| match &c.state {
            State::Resuming(other) => other.spend == claim.spend,
            _ => c.opened().is_some_and(|opened| opened.spend == claim.spend),
        };
        if self.channels.values().any(is_here) {
            return Err(PeerFault::Unexpected { kind: "resume" });
        }
        if self.stopping {
            self.refuse(channel, RefuseReason::Stopping);
        } else if self.channels.len() >= MAX_CHANNELS {
            self.refuse(channel, RefuseReason::Busy);
        } else {
            let resuming = Channel::new(State::Resuming(claim), now);
            self.channels.insert(channel, resuming);
            self.actions.push_back(PayeeAction::TakeUp {
                channel,
                spend: claim.spend,
                k: claim.k,
                wk: claim.wk,
            });
        }
        Ok(())
    }

    /// Answer to [`PayeeAction::TakeUp`].
    ///
    /// # Errors
    /// The payer shows no tick of the spend: drop the connection, as after a bad message.
    pub fn handle_taken_up(
        &mut self,
        now: UnixMs,
        channel: u32,
        kept: Kept,
    ) -> Result<(), PeerFault> {
        let state = self.channels.get(&channel).map(|c| &c.state);
        let (claim, kept) = match (state, kept) {
            (Some(State::Resuming(claim)), Kept::Open(kept)) => (*claim, kept),
            (Some(State::Resuming(claim)), Kept::Closed(close)) => {
                let spend = claim.spend;
                self.channels.remove(&channel);
                self.handle_kept_closed(spend, *close);
                return Ok(());
            }
            (Some(State::Resuming(_)), Kept::Unknown) => {
                self.refuse(channel, RefuseReason::Unknown);
                return Ok(());
            }
            (_, Kept::Open(kept)) => {
                self.give_back(&Opened::kept(*kept), 0, false);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let opened = Opened::kept(*kept);
        if claim.spend != opened.spend || !opened.shows(claim.k, &claim.wk) {
            self.channels.remove(&channel);
            self.give_back(&opened, 0, false);
            return Err(PeerFault::OutOfChain {
                channel,
                k: claim.k,
            });
        }
        self.resume(now, channel, opened, &claim);
        Ok(())
    }

    /// Resuming -> Unproven; with a new tick on to Accepted or Deciding. What was ticked through, or
    /// left too much unpaid before, is closed.
    fn resume(&mut self, now: UnixMs, channel: u32, mut opened: Opened, claim: &Claim) {
        let (k, wk) = (opened.k, opened.wk);
        self.send(Message::Resumed { channel, k, wk });
        let is_proven = claim.k > opened.k;
        if is_proven {
            // What lies between was sent on an earlier connection and lost by us.
            (opened.k, opened.wk) = (claim.k, claim.wk);
            opened.base = match claim.closes {
                true => claim.k,
                false => claim.k.saturating_sub(1),
            };
            self.actions.push_back(PayeeAction::Ticked {
                spend: opened.spend,
                k: claim.k,
                wk: claim.wk,
            });
        }
        let window_bytes = self.windows.accepted_bytes(opened.ticked());
        let is_over = claim.closes
            || opened.ticked() >= opened.holding.value
            || is_proven && opened.carried_bytes > window_bytes;
        let unproven = Channel::new(State::Unproven(opened), now);
        self.channels.insert(channel, unproven);
        if is_over {
            self.close(now, channel, None);
        } else if is_proven {
            self.go_on(now, channel);
        }
    }

    /// Unproven -> Accepted or Deciding: a new tick came.
    pub(super) fn go_on(&mut self, now: UnixMs, channel: u32) {
        let Some(known) = self.channels.get_mut(&channel) else {
            return;
        };
        let State::Unproven(opened) = &known.state else {
            return;
        };
        let opened = opened.clone();
        self.active = now;
        self.proposed_once = true;
        let state = if opened.is_accepted {
            *known = Channel::new(State::Accepted(opened), now);
            self.accepted_once = true;
            OpenedState::Accepted
        } else {
            let (records, spend) = (opened.records(), opened.spend);
            *known = Channel::new(State::Deciding(opened), now);
            self.actions.push_back(PayeeAction::Accept {
                channel,
                records,
                spend,
            });
            OpenedState::Provisional
        };
        self.send(Message::Opened { channel, state });
        self.tell_due();
    }

    /// The payer of a spend on this connection shows itself on another one by a new tick: the
    /// channel is left to the wallet, for the other connection to take up. Anything else changes
    /// nothing.
    pub fn handle_let_go(&mut self, spend: &Commitment, k: u32, wk: &ChainValue) {
        let found = self.channels.iter().find_map(|(id, channel)| {
            let opened = match &channel.state {
                State::Unproven(opened) | State::Deciding(opened) | State::Accepted(opened) => {
                    opened
                }
                _ => return None,
            };
            (opened.spend == *spend).then_some((*id, opened))
        });
        if let Some((channel, opened)) = found
            && k > opened.k
            && opened.shows(k, wk)
        {
            self.leave_open(channel, true);
        }
    }

    /// A close is asked for whose spend is on no channel of this connection, or not yet.
    pub(super) fn close_elsewhere(&mut self, spend: &Commitment, k: u32, wk: &ChainValue) {
        let (spend, wk) = (*spend, *wk);
        let mut states = self.channels.values_mut().map(|channel| &mut channel.state);
        let claim = states.find_map(|state| match state {
            State::Resuming(claim) if claim.spend == spend => Some(claim),
            _ => None,
        });
        if let Some(claim) = claim {
            *claim = Claim {
                spend,
                k,
                wk,
                closes: true,
            };
        } else if self.resumes < MAX_RESUMES {
            self.resumes = self.resumes.saturating_add(1);
            self.actions
                .push_back(PayeeAction::CloseKept { spend, k, wk });
        }
    }

    /// Answer to [`PayeeAction::CloseKept`], if the spend is known and closed now.
    pub fn handle_kept_closed(&mut self, spend: Commitment, close: ClosePart) {
        self.send(Message::Close { spend, close });
    }

    /// Everything spent to us stays open for a later connection, the rest is forgotten; what is being
    /// closed is closed.
    pub(super) fn leave_all(&mut self) {
        let unpaid_bytes = self.unpaid_bytes();
        for (channel, known) in std::mem::take(&mut self.channels) {
            match &known.state {
                State::Recording(opened) | State::Deciding(opened) | State::Accepted(opened) => {
                    self.give_back(opened, unpaid_bytes, true);
                    self.finish(opened);
                }
                State::Unproven(opened) => self.give_back(opened, 0, false),
                State::Closing(..) => {
                    self.channels.insert(channel, known);
                }
                _ => {}
            }
        }
    }

    /// One channel of a connection that goes on is left to the wallet.
    pub(super) fn leave_open(&mut self, channel: u32, is_proven: bool) {
        let unpaid_bytes = match is_proven {
            true => self.unpaid_bytes(),
            false => 0,
        };
        let known = self.channels.remove(&channel);
        if let Some(opened) = known.as_ref().and_then(Channel::opened) {
            self.give_back(opened, unpaid_bytes, is_proven);
            self.finish(opened);
        }
    }

    fn give_back(&mut self, opened: &Opened, unpaid_bytes: u64, is_proven: bool) {
        self.actions.push_back(PayeeAction::Left {
            spend: opened.spend,
            k: opened.k,
            wk: opened.wk,
            unpaid_bytes: opened.carried_bytes.saturating_add(unpaid_bytes),
            is_proven,
        });
    }

    /// Bytes served here that no tick pays for.
    fn unpaid_bytes(&self) -> u64 {
        let paid_bytes = self.windows.paid_bytes(self.paid());
        self.served_bytes.saturating_sub(paid_bytes)
    }
}
