//! One channel as its payee sees it: the states, and what each holds.

use crate::channel::{
    IDLE_MS, KEY_LIFE_MS, KeptOpen, OWN_ANSWER_MS, PROOF_MS, PeerFault, VERDICT_MS, conflict,
};
use crate::coin::chain::{on_one_chain, tick_pays};
use crate::coin::{ChainValue, Commitment, PublicKey};
use crate::record::{Holding, Item, OpenSpend, Path, SignedRecord};
use crate::units::{Units, UnixMs};
use crate::wire::message::RefuseReason;

/// A holding that was proposed: its path is verified.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub path: Path,
    pub holding: Holding,
}

/// A holding that is spent to us: the open is verified.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub path: Path,
    pub holding: Holding,
    pub open: OpenSpend,
    pub spend: Commitment,
    /// Units ticked, and the value that shows it: the anchor for none.
    pub k: u32,
    pub wk: ChainValue,
    /// Units that count for earlier connections.
    pub base: u32,
    /// Bytes that earlier connections left unpaid.
    pub carried_bytes: u64,
    /// Whether it was accepted: else what is ticked is taken, but buys nothing.
    pub is_accepted: bool,
}

impl Opened {
    pub fn new(proposal: &Proposal, open: OpenSpend) -> Opened {
        Opened {
            path: proposal.path.clone(),
            holding: proposal.holding,
            open,
            spend: open.commitment(&proposal.holding.id),
            k: 0,
            wk: open.anchor,
            base: 0,
            carried_bytes: 0,
            is_accepted: false,
        }
    }

    /// As the wallet kept it: so far nothing is paid on this connection.
    pub fn kept(kept: KeptOpen) -> Opened {
        Opened {
            spend: kept.open.commitment(&kept.holding.id),
            path: kept.path,
            holding: kept.holding,
            open: kept.open,
            k: kept.k,
            wk: kept.wk,
            base: kept.k,
            carried_bytes: kept.unpaid_bytes,
            is_accepted: kept.is_accepted,
        }
    }

    /// Whether (`k`, `wk`) is a tick of this spend, new or old.
    pub fn shows(&self, k: u32, wk: &ChainValue) -> bool {
        u64::from(k) <= self.holding.value.0 && on_one_chain(k, wk, self.k, &self.wk)
    }

    /// Takes a tick; whether it says anything new. The last one may come again.
    ///
    /// Over the life of a channel this costs at most as many hashes as the holding has units: a tick
    /// is hashed only down to the one before, and a bad one is the last.
    pub fn tick(&mut self, channel: u32, k: u32, wk: &ChainValue) -> Result<bool, PeerFault> {
        if (k, wk) == (self.k, &self.wk) {
            return Ok(false);
        }
        // A holding's value was checked with its path: at most 4 096 units.
        let value = u32::try_from(self.holding.value.0).unwrap_or(0);
        match tick_pays(k, wk, self.k, &self.wk, value) {
            Some(_) => {
                self.k = k;
                self.wk = *wk;
                Ok(true)
            }
            None => Err(PeerFault::OutOfChain { channel, k }),
        }
    }

    pub fn ticked(&self) -> Units {
        Units(u64::from(self.k))
    }

    /// Units that count as paid on this connection.
    pub fn paid(&self) -> Units {
        match self.is_accepted {
            true => Units(u64::from(self.k.saturating_sub(self.base))),
            false => Units::ZERO,
        }
    }

    /// The spend, then all of the path.
    pub fn records(&self) -> Vec<SignedRecord> {
        conflict::records(&self.path, &self.holding, &self.open)
    }

    /// The proof that `other` conflicts with a record of this channel, as bytes; `None` if it is in
    /// no slot of ours.
    pub fn proof(&self, other: &Item) -> Option<Vec<u8>> {
        let proof = conflict::rival_proof(&self.path, &self.holding, &self.open, other)?;
        Some(proof.encode())
    }

    /// Whether a key signs anything that this channel rests on.
    pub fn rests_on(&self, key: &PublicKey) -> bool {
        let links = &mut self.path.links.iter();
        self.open.payee == *key
            || self.path.coin.holder == *key
            || links.any(|link| link.spend.payee == *key)
    }
}

/// What a `resume` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub spend: Commitment,
    pub k: u32,
    pub wk: ChainValue,
    /// Whether it is to be closed at once: `close_request` came meanwhile.
    pub closes: bool,
}

/// Where a channel is. Each variant says which arrows lead out of it.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// The wallet looks whether the holding was seen or is spent. Good: Keying or Keyed. Else refused.
    Checking(Proposal),
    /// The wallet looks for a key. Found: Keyed. Else refused.
    Keying(Proposal),
    /// `key` is sent. Good `open`: Recording. Late: refused. Proposed again: gone.
    Keyed(Proposal),
    /// The wallet looks for the spend that `resume` names. Open: Accepted, Deciding or Unproven.
    /// Closed: the close is sent. Unknown, late: refused.
    Resuming(Claim),
    /// Taken up by an old tick, which anybody may have overheard. A new one: Accepted or Deciding.
    /// Late, disconnect: left to the wallet again. `close_request`, stop: Closing.
    Unproven(Opened),
    /// The wallet records the open. Recorded: Deciding. Seen: refused. `close_request`, late, stop:
    /// Closing.
    Recording(Opened),
    /// The slots are read. Accepted: Accepted. Conflict, undecided, late, `close_request`, stop: Closing.
    Deciding(Opened),
    /// Ticks pay. Ticked through, `close_request`, conflict, idle, stop: Closing. Disconnect: left to
    /// the wallet, as Recording and Deciding are.
    Accepted(Opened),
    /// The wallet writes and signs the close. Done: closed, and the payer is told; with a reason it
    /// is told by `refused`. Late: gone, the close is the wallet's.
    Closing(Opened, Option<RefuseReason>),
}

/// A channel and the moment when it came into its state.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub state: State,
    pub since: UnixMs,
}

impl Channel {
    pub const fn new(state: State, since: UnixMs) -> Channel {
        Channel { state, since }
    }

    /// When the state must have been left; `active` was the last moment of service or a tick.
    pub fn deadline(&self, active: UnixMs) -> UnixMs {
        match self.state {
            State::Checking(_)
            | State::Keying(_)
            | State::Recording(_)
            | State::Resuming(_)
            | State::Closing(..) => self.since.plus_ms(OWN_ANSWER_MS),
            State::Unproven(_) => self.since.plus_ms(PROOF_MS),
            State::Keyed(_) => self.since.plus_ms(KEY_LIFE_MS),
            State::Deciding(_) => self.since.plus_ms(VERDICT_MS),
            State::Accepted(_) => self.since.max(active).plus_ms(IDLE_MS),
        }
    }

    /// The spend, once it is known.
    pub const fn opened(&self) -> Option<&Opened> {
        match &self.state {
            State::Recording(opened)
            | State::Unproven(opened)
            | State::Deciding(opened)
            | State::Accepted(opened)
            | State::Closing(opened, _) => Some(opened),
            _ => None,
        }
    }

    /// The holding, once it is known.
    pub const fn holding(&self) -> Option<&Holding> {
        match &self.state {
            State::Checking(proposal) | State::Keying(proposal) | State::Keyed(proposal) => {
                Some(&proposal.holding)
            }
            State::Resuming(_) => None,
            State::Recording(opened)
            | State::Unproven(opened)
            | State::Deciding(opened)
            | State::Accepted(opened)
            | State::Closing(opened, _) => Some(&opened.holding),
        }
    }

    /// Units that this channel pays in all on this connection, as far as that is certain: its value
    /// while it is accepted, what was ticked once it closes.
    pub fn worth(&self) -> Units {
        match &self.state {
            State::Accepted(opened) => {
                let base = Units(u64::from(opened.base));
                opened.holding.value.saturating_sub(base)
            }
            State::Closing(opened, _) => opened.paid(),
            _ => Units::ZERO,
        }
    }
}
