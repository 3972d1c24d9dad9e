//! Paying per piece, both sides: `payer` and `payee` (`docs/protocol.md` sections 3, 7 and 8).
//!
//! Two state machines for each connection, without IO, clock or randomness: events go in by
//! `handle_*` with `now` as an argument, actions come out by `poll_action`, and `next_timeout` says
//! when `handle_timeout` is due. A peer may be payer and payee at once; the two machines share
//! nothing. Bytes, units due and units paid are counted per connection and direction, over all of
//! its channels.
//!
//! ```text
//! payer                                 payee
//!   |  <-------------- offer ------------ |
//!   |  propose (path) ------------------> |  check, provisional allowance
//!   |  <-------- due, key --------------- |
//!   |  (first piece verified) open -----> |  record, look up
//!   |  <--------- opened provisional ---- |
//!   |  <--------- opened accepted ------- |  window
//!   |  tick, tick, tick ----------------> |
//!   |  close_request -------------------> |  close: durable, signed, put
//!   |  <------------- close ------------- |
//! ```
//!
//! A channel outlives its connection: the wallet keeps it on both sides, and on a new connection the
//! payer shows by `resume` that it is the one who paid.
//!
//! Nothing signed leaves `poll_action` before the event that says that it is durable
//! ([`Payer::handle_open_durable`], [`Payee::handle_open_recorded`], [`Payee::handle_closed`]).
//! Every state has a deadline and resolves by itself.

use thiserror::Error;

use crate::coin::{Chain, ChainValue};
use crate::record::{ClosePart, Holding, LinkFault, OpenSpend, Path, ProofError, SignedRecord};
use crate::units::UnixMs;

pub mod conflict;
pub mod payee;
pub mod payer;
pub mod window;

pub use payee::{Payee, PayeeAction, PayeeStatus, PayeeTerms};
pub use payer::{FreeReason, Payer, PayerAction, PayerStatus, PayerTerms};
pub use window::Windows;

/// Proposals that may fail on one connection.
pub const MAX_FAILED_PROPOSALS: u32 = 3;
/// Channels that may be in use at once on one connection and in one direction.
pub const MAX_CHANNELS: usize = 16;
/// Spends of earlier connections that a payee looks up on one connection.
pub const MAX_RESUMES: u32 = 16;

/// One's own store or wallet must answer within this.
const OWN_ANSWER_MS: u64 = 60_000;
/// A proposal must be answered by a key within this.
const KEY_ANSWER_MS: u64 = 60_000;
/// A key is good for this long.
const KEY_LIFE_MS: u64 = 15 * 60_000;
/// An open must be judged within this, or it is undecided.
const VERDICT_MS: u64 = 60_000;
/// A payer waits this much longer than a payee may take.
const VERDICT_GRACE_MS: u64 = 30_000;
/// A channel without ticks and service is closed after this, with or without a connection.
pub const IDLE_MS: u64 = 15 * 60_000;
/// A payee that waits for ticks so long, while nothing moves, is left.
pub const STUCK_MS: u64 = 120_000;
/// A payer that resumed with an old tick must send a new one within this.
const PROOF_MS: u64 = 60_000;
/// Requests held this long with nothing verified make the payer pay delivered blocks.
const HELD_MS: u64 = 5_000;

/// A holding set aside for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The holding.
    pub holding: Holding,
    /// The path that proves it, encoded.
    pub path: Vec<u8>,
}

/// A spend of ours without a close, made on an earlier connection perhaps to this payee.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// What it spends, and the path that proves it.
    pub reserved: Reserved,
    /// The open, byte for byte as it was sent or was to be sent.
    pub open: OpenSpend,
    /// The chain that pays out of it.
    pub chain: Chain,
    /// The last tick that the wallet knows of; after a crash more may have been sent.
    pub last_k: u32,
    /// Whether the payee was met at the very address of this one. Only then is the open, if it was
    /// lost, sent again.
    pub is_same_peer: bool,
    /// Whether the budgets still allow what is left of it. Else it is only asked to be closed.
    pub may_pay: bool,
}

/// What a payee's wallet knows of a spend that a payer wants to take up.
#[derive(Clone, Debug)]
pub enum Kept {
    /// Nothing: the open never came.
    Unknown,
    /// It is closed.
    Closed(Box<ClosePart>),
    /// It is open.
    Open(Box<KeptOpen>),
}

/// A received spend that is open.
#[derive(Clone, Debug)]
pub struct KeptOpen {
    /// The path as it was proposed.
    pub path: Path,
    /// What it proves.
    pub holding: Holding,
    /// The open as it came.
    pub open: OpenSpend,
    /// Units ticked.
    pub k: u32,
    /// The value that shows it, the anchor for none.
    pub wk: ChainValue,
    /// Whether its records were accepted.
    pub is_accepted: bool,
    /// Bytes that its earlier connections left unpaid.
    pub unpaid_bytes: u64,
}

impl KeptOpen {
    /// The spend, then all of the path, as they lie in the DHT.
    #[must_use]
    pub fn records(&self) -> Vec<SignedRecord> {
        conflict::records(&self.path, &self.holding, &self.open)
    }
}

/// Why no holding is set aside. The payer goes on without paying and asks again where that may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum NoReserve {
    /// The budget for this torrent does not allow it.
    #[error("the budget of this torrent is used up")]
    OverBudget,
    /// What may be paid for all torrents, today or in all, does not allow it.
    #[error("the budget for all torrents is used up, or promised to other seeders")]
    OverBudgetOfAll,
    /// Neither holdings nor balance are there.
    #[error("the wallet has no money for it")]
    NoFunds,
    /// There is money, but no single holding is large enough, and no larger coin can be bought.
    #[error("no coin of the wallet is large enough for a channel with it, and none can be bought")]
    TooSmall,
    /// A coin is ordered, and the broker has not answered for it, so that it is not ordered once more.
    #[error("a coin is ordered, and the broker has not answered yet; it is asked again")]
    Unanswered,
    /// A coin is being bought.
    #[error("a coin is being bought")]
    NotYet,
    /// The limit on the price is lower now.
    #[error("the price is above the limit")]
    PriceAboveLimit,
    /// Too much is locked with payees that never closed.
    #[error("too much of the wallet is locked in open channels")]
    WalletLimit,
}

/// What a peer did that no honest peer does. The connection is to be dropped; what was ticked
/// before stays good.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerFault {
    /// A message that fits to no state, or to the other side only.
    #[error("{kind:?} does not fit to the state of the channel")]
    Unexpected {
        /// The kind of the message.
        kind: &'static str,
    },
    /// A message about a channel that was never proposed.
    #[error("{kind:?} for channel {channel}, which was never proposed")]
    UnknownChannel {
        /// The kind of the message.
        kind: &'static str,
        /// The channel.
        channel: u32,
    },
    /// A new channel whose number is not above all earlier ones.
    #[error("channel {0} was used before")]
    ChannelReused(u32),
    /// A proposal after three failed ones.
    #[error("a proposal after {MAX_FAILED_PROPOSALS} failed ones")]
    TooManyProposals,
    /// A second offer that differs from the first.
    #[error("the offer was changed")]
    OfferChanged,
    /// The payee's key is not one that a payer may spend to.
    #[error("channel {channel}: the payee's key {problem}")]
    BadKey {
        /// The channel.
        channel: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An open that spends nothing to this payee.
    #[error("channel {channel}: the open is not good: {fault}")]
    BadOpen {
        /// The channel.
        channel: u32,
        /// What is wrong with it.
        fault: LinkFault,
    },
    /// An open for another key than was given, or another open after the first.
    #[error("channel {0}: the open is for another key, or not the first")]
    OtherOpen(u32),
    /// A tick whose value does not hash to the last one, or beyond the holding's value.
    #[error("channel {channel}: the tick at {k} is out of chain")]
    OutOfChain {
        /// The channel.
        channel: u32,
        /// Units that it claims to pay in all.
        k: u32,
    },
    /// A payee claims ticks that were never sent.
    #[error("channel {channel}: the payee claims {k} units that it does not show")]
    BadResumed {
        /// The channel.
        channel: u32,
        /// Units that it claims.
        k: u32,
    },
    /// A proof of fraud that proves nothing.
    #[error("the proof of fraud does not hold: {0}")]
    BadProof(ProofError),
    /// A close that is not good for the spend.
    #[error("the close is not good: {0}")]
    BadClose(LinkFault),
}

/// The earliest of some moments.
fn earliest(moments: impl IntoIterator<Item = Option<UnixMs>>) -> Option<UnixMs> {
    moments.into_iter().flatten().min()
}
