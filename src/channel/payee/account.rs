//! What was served, what is due and paid, and how much more may be served
//! (`docs/protocol.md` section 7).

use super::channel::{Channel, Opened, State};
use super::{Due, Payee, WaitReason};
use crate::units::Units;

/// How a payee's account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayeeStatus {
    /// Bytes served under payment.
    pub served_bytes: u64,
    /// Units due for them.
    pub due: Units,
    /// Units ticked.
    pub paid: Units,
    /// Units that accepted channels can still pay.
    pub left: Units,
    /// Channels in use, accepted or on their way.
    pub channels: usize,
    /// Whether a proposal was good and nothing is accepted yet: one of the 16 peers that may be
    /// served provisionally at once.
    pub is_provisional: bool,
    /// Whether a channel was accepted: from then on the peer is never to be served without payment.
    pub is_accepted: bool,
}

impl Payee {
    /// How many more bytes may be served to this peer under payment right now. Serve a block only
    /// if all of it fits.
    #[must_use]
    pub fn allowance_bytes(&self) -> u64 {
        self.limit_bytes().saturating_sub(self.served_bytes)
    }

    /// Bytes that may be served in all, as things are.
    fn limit_bytes(&self) -> u64 {
        if self.stopping {
            0
        } else if self.accepted_once {
            self.windows.limit_bytes(self.paid(), self.capacity())
        } else if self.proposed_once && self.terms.is_provisional {
            self.windows.provisional_bytes()
        } else {
            0
        }
    }

    /// Units ticked on all channels that were ever accepted.
    pub(super) fn paid(&self) -> Units {
        let open = self.channels.values().filter_map(Channel::opened);
        let paid = open.map(Opened::paid);
        Units::checked_sum(paid.chain([self.done_units])).unwrap_or(Units(u64::MAX))
    }

    /// Units that channels pay in all: those that are accepted and those that were closed.
    fn capacity(&self) -> Units {
        let worth = self.channels.values().map(Channel::worth);
        Units::checked_sum(worth.chain([self.done_units])).unwrap_or(Units(u64::MAX))
    }

    /// The account, as `due` tells it.
    pub(super) fn due(&self) -> Due {
        let why = match self.held {
            Some(_) => self.wait_reason(),
            None => WaitReason::None,
        };
        Due {
            served_bytes: self.served_bytes,
            due: self.windows.price().due(self.served_bytes),
            acknowledged: self.paid(),
            window_bytes: self.allowance_bytes(),
            why,
        }
    }

    /// What must come before more is served.
    fn wait_reason(&self) -> WaitReason {
        let is_unproven = |c: &Channel| matches!(c.state, State::Unproven(_));
        let is_deciding = |c: &Channel| matches!(c.state, State::Recording(_) | State::Deciding(_));
        if self.accepted_once {
            let bought_bytes = self.windows.price().bytes_bought(self.capacity());
            match bought_bytes == self.limit_bytes() {
                true => WaitReason::Coin,
                false => WaitReason::Ticks,
            }
        } else if self.channels.values().any(is_unproven) {
            WaitReason::Ticks
        } else if self.channels.values().any(is_deciding) {
            WaitReason::Accept
        } else if self.proposed_once {
            WaitReason::Open
        } else {
            WaitReason::Propose
        }
    }

    /// How the account stands.
    #[must_use]
    pub fn status(&self) -> PayeeStatus {
        PayeeStatus {
            served_bytes: self.served_bytes,
            due: self.windows.price().due(self.served_bytes),
            paid: self.paid(),
            left: self.capacity().saturating_sub(self.paid()),
            channels: self.channels.len(),
            is_provisional: self.proposed_once && !self.accepted_once && !self.stopping,
            is_accepted: self.accepted_once,
        }
    }
}
