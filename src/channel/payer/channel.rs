//! One channel as its payer sees it: the states, and what each holds.

use crate::channel::{
    IDLE_MS, KEY_ANSWER_MS, OWN_ANSWER_MS, PeerFault, Recalled, Reserved, VERDICT_GRACE_MS,
    VERDICT_MS,
};
use crate::coin::{Chain, ChainValue, Commitment, PseudonymCertificate};
use crate::record::{ClosePart, Holding, OpenSpend};
use crate::units::{Units, UnixMs};

/// A payee's close must come within this, or the cashier looks for it.
const CLOSE_ANSWER_MS: u64 = 30_000;

/// A holding that is spent to the payee: the open is durable, so it may have been sent.
#[derive(Clone, Debug)]
pub(super) struct Spent {
    pub holding: Holding,
    pub open: OpenSpend,
    pub chain: Chain,
    pub spend: Commitment,
    /// Units ticked.
    pub k: u32,
    /// Units that count for earlier connections.
    pub base: u32,
}

impl Spent {
    pub fn new(holding: Holding, open: OpenSpend, chain: Chain) -> Spent {
        let spend = open.commitment(&holding.id);
        Spent {
            holding,
            open,
            chain,
            spend,
            k: 0,
            base: 0,
        }
    }

    /// As the wallet has it: so far nothing is paid on this connection.
    pub fn recalled(past: &Recalled) -> Spent {
        let new = Spent::new(past.reserved.holding, past.open, past.chain.clone());
        Spent {
            k: past.last_k,
            base: past.last_k,
            ..new
        }
    }

    /// Ticks `owed` units or what is left of them; the number ticked, and the value to send.
    ///
    /// `None` where nothing is owed, nothing is left, or the chain is shorter than the holding.
    pub fn tick(&mut self, owed: Units) -> Option<(Units, ChainValue)> {
        let more = owed.min(self.left());
        let k = self.k.checked_add(u32::try_from(more.0).ok()?)?;
        let wk = self.chain.reveal(k).filter(|_| !more.is_zero())?;
        self.k = k;
        Some((more, wk))
    }

    /// The next tick, if any is left.
    pub fn next(&self) -> Option<(u32, ChainValue)> {
        let k = self.k.checked_add(1)?;
        Some((k, self.chain.reveal(k)?))
    }

    /// Units that are not ticked.
    pub fn left(&self) -> Units {
        self.holding.value.saturating_sub(self.ticked())
    }

    /// Units ticked on this connection.
    pub fn paid(&self) -> Units {
        Units(u64::from(self.k.saturating_sub(self.base)))
    }

    pub fn ticked(&self) -> Units {
        Units(u64::from(self.k))
    }

    /// The value of the last tick, or the anchor.
    pub fn last_value(&self) -> ChainValue {
        self.chain.reveal(self.k).unwrap_or(self.open.anchor)
    }

    /// Whether the close is good: within the holding, signed, and at a value of the chain.
    pub fn check(&self, close: &ClosePart) -> Result<(), PeerFault> {
        close
            .verify(&self.holding, &self.open)
            .map_err(PeerFault::BadClose)
    }
}

/// Where a channel is. Each variant says which arrows lead out of it.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// The wallet is asked for a holding. Reserved: Proposed. None, late: gone.
    Reserving,
    /// `propose` is sent. `key`: Keyed. `refused`, late, stop: the holding is released.
    Proposed(Reserved),
    /// The payee's key is known. First piece verified, held, or no need to wait: Committing.
    /// `refused`, late, stop: the holding is released.
    Keyed(Reserved, PseudonymCertificate),
    /// The wallet writes and signs the spend. Durable: Opening. `refused`, late, disconnect: gone,
    /// and the spend ends unused when it becomes durable.
    Committing(Reserved),
    /// `resume` is sent for a spend of an earlier connection. `resumed`: Opening. `refused` as unknown
    /// by the very peer: Again. `close`: closed. Any other refusal, late: ended. Stop: Closing.
    Resuming(Spent, Box<Recalled>),
    /// The payee never had the open: `propose` is sent again. `key`: the same open is sent, Opening.
    /// Refused, late, stop: ended.
    Again(Spent),
    /// `open` is sent, or the payee has it from before. `opened accepted`: Paying. `refused` with a
    /// close: closed. Late, stop: Closing.
    Opening(Spent),
    /// Accepted. Ticks pay. Ticked through, idle, stop: Closing. `close`: closed.
    Paying(Spent),
    /// `close_request` is sent, or all is ticked. `close`: closed. Late, disconnect: ended, and the
    /// cashier looks for the close.
    Closing(Spent),
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

    /// When the state must have been left. An idle channel is closed; `active` was the last moment
    /// at which something was verified on the connection.
    pub fn deadline(&self, active: UnixMs) -> UnixMs {
        match self.state {
            State::Reserving | State::Committing(..) => self.since.plus_ms(OWN_ANSWER_MS),
            State::Proposed(_) | State::Keyed(..) | State::Resuming(..) | State::Again(_) => {
                self.since.plus_ms(KEY_ANSWER_MS)
            }
            State::Opening(_) => self.since.plus_ms(VERDICT_MS + VERDICT_GRACE_MS),
            State::Paying(_) => self.since.max(active).plus_ms(IDLE_MS),
            State::Closing(_) => self.since.plus_ms(CLOSE_ANSWER_MS),
        }
    }

    /// The spend, once it is durable.
    pub const fn spent(&self) -> Option<&Spent> {
        match &self.state {
            State::Resuming(spent, _)
            | State::Again(spent)
            | State::Opening(spent)
            | State::Paying(spent)
            | State::Closing(spent) => Some(spent),
            _ => None,
        }
    }

    /// Whether the channel is on its way to acceptance.
    pub const fn is_pending(&self) -> bool {
        !matches!(self.state, State::Paying(_) | State::Closing(_))
    }

    /// Units that ticks on this channel pay or will have paid on this connection: its value, what was ticked once it
    /// closes, and nothing while no holding is known.
    pub fn worth(&self) -> Units {
        match &self.state {
            State::Reserving => Units::ZERO,
            State::Proposed(reserved) | State::Keyed(reserved, _) | State::Committing(reserved) => {
                reserved.holding.value
            }
            State::Resuming(spent, _)
            | State::Again(spent)
            | State::Opening(spent)
            | State::Paying(spent) => {
                let base = Units(u64::from(spent.base));
                spent.holding.value.saturating_sub(base)
            }
            State::Closing(spent) => spent.paid(),
        }
    }
}
