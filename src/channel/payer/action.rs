//! What a payer is told at the start, and what it wants done.

use super::FreeReason;
#[cfg(doc)]
use super::Payer;
use crate::coin::{ChainValue, Commitment, HoldingId, PseudonymCertificate, PublicKey};
use crate::record::ClosePart;
use crate::units::{PricePerGib, Units};
use crate::wire::message::{Message, RefuseReason};

/// What a payer knows before it meets the payee.
#[derive(Clone, Debug)]
pub struct PayerTerms {
    /// Length of the torrent's pieces.
    pub piece_length_bytes: u64,
    /// Highest price that is paid.
    pub max_price: PricePerGib,
    /// The broker whose coins the wallet has.
    pub broker: PublicKey,
    /// Whether the payee was honest before. A stranger gets its `open` only after its first
    /// verified piece, where it serves one provisionally.
    pub is_known_payee: bool,
    /// Whether the wallet is asked for spends of earlier connections before anything is opened.
    pub recalls: bool,
    /// Units that earlier connections to this payee paid at risk or ahead, for nothing so far. It is
    /// paid so much less at risk.
    pub ahead: Units,
    /// Whether this payee is not to be paid, as [`PayerAction::Avoid`] said on an earlier connection.
    pub is_avoided: bool,
}

/// What the driver of a [`Payer`] is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayerAction {
    /// Send to the payee.
    Send(Message),
    /// Which spends without a close may lie with this payee, for this torrent and on no connection?
    /// Answer by [`Payer::handle_recalled`]. Each that is handed over ends by [`PayerAction::Closed`]
    /// or [`PayerAction::Ended`].
    Recall,
    /// The payee has the spend of an earlier connection: its channel is in use again.
    Resumed {
        /// c of the spend.
        spend: Commitment,
    },
    /// Set a holding aside; answer by [`Payer::handle_reserved`], at once.
    Reserve {
        /// The channel it is for.
        channel: u32,
        /// Least value with which paying gets on.
        at_least: Units,
        /// Most that this payee is trusted with, or that is needed.
        at_most: Units,
        /// What the channel after this one will want at most; zero where this one does for all that is
        /// needed.
        then: Units,
    },
    /// Write the spend, then sign it; answer by [`Payer::handle_open_durable`], or by
    /// [`Payer::handle_commit_failed`] if nothing was signed.
    Commit {
        /// The channel it is for.
        channel: u32,
        /// The holding to spend.
        holding: HoldingId,
        /// The payee's holder key.
        payee: PublicKey,
        /// Its certificate: the broker's word is checked, the spent list is not.
        certificate: PseudonymCertificate,
    },
    /// The holding is not spent here: it is free again.
    Release {
        /// The holding.
        holding: HoldingId,
        /// Why the payee did not take it, if it said so.
        refused: Option<RefuseReason>,
    },
    /// A tick was sent.
    Ticked {
        /// c of the spend.
        spend: Commitment,
        /// Units paid in all on this channel.
        k: u32,
        /// What shows it.
        wk: ChainValue,
    },
    /// The payee shows that somebody signed two items of one slot, and the proof holds: this wallet,
    /// if it runs twice, or whoever held the coin before. Keep it.
    Conflict {
        /// `record::FraudProof`, encoded.
        proof: Vec<u8>,
    },
    /// The payee took spends and refused them with nothing paid, which uses up a coin's links: it is
    /// not paid on this connection any more, nor should it be on others for a while.
    Avoid {
        /// What it said.
        reason: RefuseReason,
    },
    /// The payee closed; the close is good.
    Closed {
        /// c of the spend.
        spend: Commitment,
        /// The close.
        close: ClosePart,
        /// Units ticked; more than the close says if the last ticks crossed it.
        ticked: u32,
    },
    /// The channel is over here and no close came: the cashier looks for it.
    Ended {
        /// c of the spend.
        spend: Commitment,
        /// Units ticked.
        k: u32,
    },
    /// The peer is not paid from now on, or not beyond what is open, and why.
    GoesFree(FreeReason),
}
