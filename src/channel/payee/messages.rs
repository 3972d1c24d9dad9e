//! What a payee does with the payer's messages, and with states that lasted too long.

use super::channel::{Channel, Claim, Opened, Proposal, State};
use super::{OWN_ANSWER_MS, Payee, PayeeAction};
use crate::channel::conflict::{MAX_PROOFS, convicted};
use crate::channel::{MAX_CHANNELS, MAX_FAILED_PROPOSALS, PeerFault};
use crate::coin::certificate::PAYEE_MARGIN_DAYS;
use crate::coin::{CertificateError, ChainValue, Commitment};
use crate::record::{Holding, MAX_LINKS_PROPOSE, OpenSpend, Path, PathError};
use crate::units::{Units, UnixMs};
use crate::wire::message::{Message, OpenedState, RefuseReason};

impl Payee {
    /// A message from the payer.
    ///
    /// # Errors
    /// The payer did what no honest one does: drop the connection, then call
    /// [`Payee::handle_disconnect`], which closes its channels at the last good tick.
    pub fn handle_message(&mut self, now: UnixMs, message: &Message) -> Result<(), PeerFault> {
        match message {
            Message::Propose { channel, path } => self.on_propose(now, *channel, path),
            Message::Open { channel, open } => self.on_open(now, *channel, open),
            Message::Tick { channel, k, wk } => self.on_tick(now, *channel, *k, wk),
            Message::Resume {
                channel,
                spend,
                k,
                wk,
            } => {
                let claim = Claim {
                    spend: *spend,
                    k: *k,
                    wk: *wk,
                    closes: false,
                };
                self.on_resume(now, *channel, claim)
            }
            Message::CloseRequest { spend, k, wk } => self.on_close_request(now, spend, *k, wk),
            Message::Conflict { proof } => self.on_conflict(proof),
            _ => Err(PeerFault::Unexpected {
                kind: message.kind(),
            }),
        }
    }

    /// -> Checking, or refused. All that costs anything is counted.
    fn on_propose(&mut self, now: UnixMs, channel: u32, path: &[u8]) -> Result<(), PeerFault> {
        if self.failures >= MAX_FAILED_PROPOSALS {
            return Err(PeerFault::TooManyProposals);
        }
        self.begin(channel)?;
        let in_use = self.channels.len();
        let proposal = match self.stopping {
            true => Err(RefuseReason::Stopping),
            false if in_use >= MAX_CHANNELS => Err(RefuseReason::Busy),
            false => self.verify_path(now, path),
        };
        let taken = proposal.and_then(|(path, holding)| {
            self.replace(&holding)?;
            Ok(Proposal { path, holding })
        });
        match taken {
            Ok(proposal) => {
                self.actions.push_back(PayeeAction::Check {
                    channel,
                    path: proposal.path.clone(),
                    holding: proposal.holding,
                });
                let checking = Channel::new(State::Checking(proposal), now);
                self.channels.insert(channel, checking);
            }
            Err(reason) => self.refuse(channel, reason),
        }
        Ok(())
    }

    /// A new channel's number.
    pub(super) fn begin(&mut self, channel: u32) -> Result<(), PeerFault> {
        if channel < self.next_channel {
            return Err(PeerFault::ChannelReused(channel));
        }
        self.next_channel = channel.saturating_add(1);
        Ok(())
    }

    fn verify_path(&self, now: UnixMs, path: &[u8]) -> Result<(Path, Holding), RefuseReason> {
        let accepts =
            |broker: &_| (self.terms.brokers.iter()).any(|(accepted, _)| accepted == broker);
        let today = Some((now.day(), PAYEE_MARGIN_DAYS));
        let (path, holding) = Path::decode_verified(path, MAX_LINKS_PROPOSE, &accepts, today)
            .map_err(|fault| match fault {
                PathError::Coin(CertificateError::BrokerNotAccepted(_)) => RefuseReason::Broker,
                PathError::Coin(CertificateError::Expired { .. }) => RefuseReason::Expired,
                _ => RefuseReason::Path,
            })?;
        match holding.value < self.terms.smallest_channel {
            true => Err(RefuseReason::TooSmall),
            false => Ok((path, holding)),
        }
    }

    /// A holding may be proposed again as long as it was not opened: the older proposal has failed.
    fn replace(&mut self, holding: &Holding) -> Result<(), RefuseReason> {
        let mut channels = self.channels.iter();
        let is_same = |channel: &Channel| channel.holding().is_some_and(|h| h.id == holding.id);
        let older = channels.find(|(_, channel)| is_same(channel));
        match older {
            Some((_, channel)) if channel.opened().is_some() => Err(RefuseReason::Seen),
            Some((id, _)) => {
                let id = *id;
                self.channels.remove(&id);
                self.failures = self.failures.saturating_add(1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Keyed -> Recording. The same open again is answered again. It may be to a key that was given on
    /// an earlier connection, where that open was lost: the wallet knows its keys.
    fn on_open(&mut self, now: UnixMs, channel: u32, open: &OpenSpend) -> Result<(), PeerFault> {
        let Some(known) = self.known(channel, "open")? else {
            return Ok(());
        };
        if let Some(opened) = known.opened() {
            if opened.open != *open {
                return Err(PeerFault::OtherOpen(channel));
            }
            let state = match known.state {
                State::Deciding(_) => OpenedState::Provisional,
                State::Accepted(_) => OpenedState::Accepted,
                _ => return Ok(()),
            };
            self.send(Message::Opened { channel, state });
            return Ok(());
        }
        let State::Keyed(proposal) = &known.state else {
            return Err(PeerFault::Unexpected { kind: "open" });
        };
        open.verify(&proposal.holding)
            .map_err(|fault| PeerFault::BadOpen { channel, fault })?;
        let proposal = proposal.clone();
        let key = self.key.as_mut();
        if let Some(key) = key.filter(|key| key.certificate == open.payee_certificate) {
            key.is_used = true;
        }
        let opened = Opened::new(&proposal, *open);
        let recording = Channel::new(State::Recording(opened), now);
        self.channels.insert(channel, recording);
        self.actions.push_back(PayeeAction::RecordOpen {
            channel,
            path: proposal.path,
            open: Box::new(*open),
            holding: proposal.holding,
        });
        Ok(())
    }

    /// Accepted, Deciding: counts; ticked through -> Closing. Once closing, ticks come too late.
    fn on_tick(
        &mut self,
        now: UnixMs,
        channel: u32,
        k: u32,
        wk: &ChainValue,
    ) -> Result<(), PeerFault> {
        if self.known(channel, "tick")?.is_none() {
            return Ok(());
        }
        let known = self.channels.get_mut(&channel).map(|c| &mut c.state);
        match known {
            Some(State::Accepted(opened) | State::Deciding(opened) | State::Unproven(opened)) => {
                if opened.tick(channel, k, wk)? {
                    let spend = opened.spend;
                    self.active = now;
                    self.actions
                        .push_back(PayeeAction::Ticked { spend, k, wk: *wk });
                    self.go_on(now, channel);
                }
                self.close_if_ticked_through(now, channel);
                Ok(())
            }
            Some(State::Closing(..)) => Ok(()),
            _ => Err(PeerFault::Unexpected { kind: "tick" }),
        }
    }

    /// Recording, Unproven, Deciding, Accepted -> Closing, at the payer's last tick if that is higher.
    /// Any other spend is the wallet's, if it is known at all.
    fn on_close_request(
        &mut self,
        now: UnixMs,
        spend: &Commitment,
        k: u32,
        wk: &ChainValue,
    ) -> Result<(), PeerFault> {
        let found = self.channels.iter_mut().find_map(|(id, channel)| {
            let opened = match &mut channel.state {
                State::Recording(opened)
                | State::Unproven(opened)
                | State::Deciding(opened)
                | State::Accepted(opened) => opened,
                _ => return None,
            };
            (opened.spend == *spend).then_some((*id, opened))
        });
        let Some((channel, opened)) = found else {
            self.close_elsewhere(spend, k, wk);
            return Ok(());
        };
        if k > opened.k && opened.tick(channel, k, wk)? {
            let (spend, wk) = (*spend, *wk);
            self.actions.push_back(PayeeAction::Ticked { spend, k, wk });
        }
        self.close(now, channel, None);
        Ok(())
    }

    /// The payer shows a proof of fraud: it is kept if it is about anything on this connection.
    fn on_conflict(&mut self, proof: &[u8]) -> Result<(), PeerFault> {
        self.proofs = self.proofs.saturating_add(1);
        if self.proofs > MAX_PROOFS {
            return Err(PeerFault::Unexpected { kind: "conflict" });
        }
        let accepts =
            |broker: &_| (self.terms.brokers.iter()).any(|(accepted, _)| accepted == broker);
        let key = convicted(proof, &accepts)?;
        let mut opened = self.channels.values().filter_map(Channel::opened);
        if opened.any(|opened| opened.rests_on(&key)) {
            let proof = proof.to_vec();
            self.actions.push_back(PayeeAction::Conflict { proof });
        }
        Ok(())
    }

    /// The channel; `None` where it is over, which a crossing message may not know.
    fn known(&self, channel: u32, kind: &'static str) -> Result<Option<&Channel>, PeerFault> {
        match self.channels.get(&channel) {
            None if channel >= self.next_channel => {
                Err(PeerFault::UnknownChannel { kind, channel })
            }
            known => Ok(known),
        }
    }

    /// Refuses a proposal, which counts as failed unless we are the reason.
    pub(super) fn refuse(&mut self, channel: u32, reason: RefuseReason) {
        self.channels.remove(&channel);
        let is_ours = matches!(
            reason,
            RefuseReason::Busy
                | RefuseReason::NoKey
                | RefuseReason::Stopping
                | RefuseReason::Late
                | RefuseReason::Unknown
        );
        if !is_ours {
            self.failures = self.failures.saturating_add(1);
        }
        self.send(Message::Refused {
            channel,
            reason,
            close: None,
        });
    }

    /// Recording, Unproven, Deciding, Accepted -> Closing, at what is ticked.
    pub(super) fn close(&mut self, now: UnixMs, channel: u32, refusal: Option<RefuseReason>) {
        let Some(known) = self.channels.get_mut(&channel) else {
            return;
        };
        let (State::Recording(opened)
        | State::Unproven(opened)
        | State::Deciding(opened)
        | State::Accepted(opened)) = &known.state
        else {
            return;
        };
        let opened = opened.clone();
        if refusal.is_some() {
            self.failures = self.failures.saturating_add(1);
        }
        self.actions.push_back(PayeeAction::Close {
            channel,
            spend: opened.spend,
            k: opened.k,
            wk: opened.wk,
        });
        *known = Channel::new(State::Closing(opened, refusal), now);
    }

    /// Accepted -> Closing where every unit is ticked.
    pub(super) fn close_if_ticked_through(&mut self, now: UnixMs, channel: u32) {
        let known = self.channels.get(&channel).map(|c| &c.state);
        if let Some(State::Accepted(opened)) = known
            && opened.ticked() >= opened.holding.value
        {
            self.close(now, channel, None);
        }
    }

    /// A channel is over: what was paid stays paid.
    pub(super) fn finish(&mut self, opened: &Opened) {
        let done = self.done_units.checked_add(opened.paid());
        self.done_units = done.unwrap_or(Units(u64::MAX));
    }

    /// Nothing spent yet: refused. Spent: Closing.
    pub(super) fn leave(&mut self, now: UnixMs, channel: u32, reason: RefuseReason) {
        let state = self.channels.get(&channel).map(|c| &c.state);
        match state {
            Some(State::Checking(_) | State::Keying(_) | State::Keyed(_) | State::Resuming(_)) => {
                self.refuse(channel, reason)
            }
            Some(State::Recording(_) | State::Deciding(_)) => {
                self.close(now, channel, Some(reason));
            }
            Some(State::Accepted(_) | State::Unproven(_)) => self.close(now, channel, None),
            Some(State::Closing(..)) | None => {}
        }
    }

    /// A state lasted too long.
    pub(super) fn expire(&mut self, now: UnixMs, channel: u32) {
        let reason = match self.channels.get(&channel).map(|c| &c.state) {
            Some(State::Checking(_) | State::Keying(_) | State::Resuming(_)) => RefuseReason::Busy,
            Some(State::Unproven(_)) => return self.leave_open(channel, false),
            Some(State::Keyed(_)) => RefuseReason::Late,
            Some(State::Recording(_) | State::Deciding(_)) => RefuseReason::Undecided,
            Some(State::Closing(opened, _)) => {
                let opened = opened.clone();
                self.finish(&opened);
                self.channels.remove(&channel);
                return;
            }
            Some(State::Accepted(_)) | None => RefuseReason::Late,
        };
        self.leave(now, channel, reason);
    }

    /// Keying -> Keyed, if the connection has a key that is still certified.
    pub(super) fn give_key(&mut self, now: UnixMs, channel: u32) -> bool {
        let today = UnixMs(now.0.saturating_add(OWN_ANSWER_MS)).day();
        let key = self.key.filter(|key| key.certificate.is_live(today));
        let state = self.channels.get(&channel).map(|c| &c.state);
        let (Some(key), Some(State::Keying(proposal))) = (key, state) else {
            return false;
        };
        let keyed = Channel::new(State::Keyed(proposal.clone()), now);
        self.channels.insert(channel, keyed);
        // How much is served before acceptance: the payer waits for a piece only if one comes.
        self.tell_due();
        self.send(Message::Key {
            channel,
            certificate: key.certificate,
        });
        true
    }

    /// The channels that wait for a key.
    pub(super) fn keying(&self) -> Vec<u32> {
        let keying = |c: &Channel| matches!(c.state, State::Keying(_));
        (self.channels.iter())
            .filter_map(|(id, c)| keying(c).then_some(*id))
            .collect()
    }

    /// Whether a key was asked for another channel already.
    pub(super) fn waits_for_key(&self, channel: u32) -> bool {
        self.keying().iter().any(|other| *other != channel)
    }

    /// A key that nobody opened to may be given again.
    pub(super) fn return_key(&mut self) {
        if let Some(key) = self.key.take().filter(|key| !key.is_used) {
            let index = key.index;
            self.actions.push_back(PayeeAction::KeyUnused { index });
        }
    }
}
