//! Why a wallet does not do what was asked. The variant says who is at fault.

use thiserror::Error;

use super::withdraw::{MAX_DESTINATION, Standing};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::units::Units;

/// Why a decision was refused. Nothing changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WalletError {
    /// Our side: no such holding.
    #[error("holding {0} is not in this wallet")]
    UnknownHolding(HoldingId),
    /// Our side: no such spend.
    #[error("spend {0} is not in this wallet")]
    UnknownSpend(Commitment),
    /// Our side: a holding must be reserved before it is spent.
    #[error("holding {holding} is {state}, not reserved: reserve one first")]
    NotReserved {
        /// The holding.
        holding: HoldingId,
        /// What it is doing.
        state: &'static str,
    },
    /// Our side: too near its expiry to be spent or redeemed.
    #[error("holding {0} is past the day until which that is possible")]
    Expired(HoldingId),
    /// The peer: its key's certificate does not hold.
    #[error("the payee's certificate is no good: {0}")]
    PayeeCertificate(&'static str),
    /// The peer: a path or an open that does not hold.
    #[error("the payer's open is no good: {0}")]
    BadOpen(String),
    /// The peer: the holding was opened with another statement before.
    #[error("holding {0} was opened before with another statement")]
    OpenedBefore(HoldingId),
    /// The peer: an open to a key that is not ours or not certified.
    #[error("the open pays {0}, which is no certified key of this wallet")]
    NotOurKey(PublicKey),
    /// The peer: a tick or close that is not in the chain.
    #[error("{k} units of spend {spend} are not proven by the chain value given")]
    OutOfChain {
        /// The spend.
        spend: Commitment,
        /// Units claimed.
        k: u32,
    },
    /// The peer: a close whose signatures do not hold.
    #[error("the close of spend {0} is not signed by its payee")]
    BadClose(Commitment),
    /// The peer: two closes of one spend. The pair proves it.
    #[error("the payee of spend {spend} signed two closes, at {first} and at {second} units")]
    TwoCloses {
        /// The spend.
        spend: Commitment,
        /// Units of the close that is kept.
        first: u32,
        /// Units of the other one.
        second: u32,
    },
    /// The peer, or our own DHT node: two items that prove nothing.
    #[error("the proof of fraud does not hold: {0}")]
    BadProof(String),
    /// The broker: it answered with something else than what was asked for.
    #[error("the broker's answer is not what was asked for: {0}")]
    BrokerAnswer(String),
    /// The broker: its key is not the pinned one.
    #[error(
        "the broker at {url} has the key {found}, this wallet is bound to {pinned}: \
         use the broker's own URL, or another home directory for another broker"
    )]
    BrokerChanged {
        /// Where it was asked.
        url: String,
        /// The key at first use.
        pinned: PublicKey,
        /// The key now.
        found: PublicKey,
    },
    /// Our side: the database belongs to another seed.
    #[error(
        "the wallet's database is of account {owner}, the seed is of account {seed}: put the right \
         seed beside it, or move the database away"
    )]
    OtherSeed {
        /// The account that the rows belong to.
        owner: PublicKey,
        /// The account of the seed.
        seed: PublicKey,
    },
    /// Our side: an amount that no purchase can have.
    #[error("{0:#} cannot be bought: coins come in {sizes:?} units", sizes = super::choose::SIZES)]
    Amount(Units),
    /// Our side: a destination that no withdrawal can have.
    #[error(
        "a withdrawal goes to a text of one line with 1 to {MAX_DESTINATION} bytes, not of {0}"
    )]
    Destination(usize),
    /// Our side: one withdrawal at a time.
    #[error(
        "a withdrawal of {0:#} is not answered yet: it is asked for again by itself; ask for another \
         one once it is answered"
    )]
    WithdrawalOpen(Units),
    /// Our side: more than the balance, and the bond was not asked for.
    #[error("{0:#} cannot be withdrawn: {1}; withdraw less, or ask for the bond too (--bond)")]
    BeyondBalance(Units, Standing),
    /// Our side: nothing is free at the broker.
    #[error("nothing can be withdrawn now: {0}; ask again when something is free")]
    NothingToWithdraw(Standing),
    /// Our side: sums that do not fit, or holder keys used up.
    #[error("a sum or a counter of this wallet is full: nothing was changed")]
    Overflow,
}
