//! Rows about double spends: contests with their evidence, proofs, losses, and what accounts are told.

use serde::{Deserialize, Serialize};

use super::answer::NoticeKind;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{Salt, Slot};
use crate::units::{Units, UnixMs};

/// Two or more statements in one slot, presented to this broker.
///
/// `Waiting -> Decided` the slot was read twice, or could not be read for a whole hold;
/// `Waiting -> Dropped` what the slot belongs to lost a contest further up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContestRow {
    /// The contested spend or close slot.
    pub slot: Slot,
    /// The holding that it is about.
    pub holding: HoldingId,
    /// The coin above it.
    pub coin: HoldingId,
    /// The key that signed both statements.
    pub signer: PublicKey,
    /// The account behind that key.
    pub offender: PublicKey,
    /// The first statement stood for longer than the hold: it stays, and the slot is read only to see
    /// who lost.
    pub late: bool,
    /// When the second statement came.
    pub opened: UnixMs,
    /// Evidence rows kept about it.
    pub evidence: u32,
    /// When the slot is to be read next.
    pub due: UnixMs,
    /// How far it is.
    pub state: ContestState,
}

/// How far a contest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContestState {
    /// The slot is still to be read: for the first time, or again.
    Waiting(Option<Reading>),
    /// This statement stands, for good.
    Decided(Commitment),
    /// There is nothing left to decide.
    Dropped,
}

impl ContestRow {
    /// Whether it is still to be decided.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, ContestState::Waiting(_))
    }

    /// When it can be decided at the earliest, if readings are `gap_ms` apart.
    #[must_use]
    pub fn decide_after(&self, gap_ms: u64) -> UnixMs {
        match self.state {
            ContestState::Waiting(None) => self.due.plus_ms(gap_ms),
            _ => self.due,
        }
    }
}

/// What the nodes around a slot's three places said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// When.
    pub at_unix_ms: UnixMs,
    /// Copies of each statement, over all places.
    pub copies: Vec<(Commitment, u32)>,
    /// Valid answers from each place, a value or none.
    pub answers: [u32; 3],
}

impl Reading {
    /// Copies of one statement.
    #[must_use]
    pub fn copies_of(&self, c: &Commitment) -> u32 {
        let found = self.copies.iter().find(|(other, _)| other == c);
        found.map_or(0, |(_, copies)| *copies)
    }

    /// Whether two places gave at least this many valid answers.
    #[must_use]
    pub fn is_usable(&self, min_answers: u32) -> bool {
        self.answers.iter().filter(|n| **n >= min_answers).count() >= 2
    }
}

/// What was presented through a contested slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRow {
    /// The slot.
    pub slot: Slot,
    /// Counts from 1 in the order presented.
    pub number: u32,
    /// Commitment of the statement in that slot; none: it says nothing about it.
    pub c: Option<Commitment>,
    /// Who presented it.
    pub presenter: PublicKey,
    /// When.
    pub at: UnixMs,
    /// Path and tail as presented (`Presented::evidence`).
    pub bytes: Vec<u8>,
}

/// A proof of fraud that the broker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRow {
    /// The holder key that signed both items.
    pub key: PublicKey,
    /// Their salt.
    pub salt: Salt,
    /// When it came.
    pub at: UnixMs,
    /// Its bytes.
    pub proof: Vec<u8>,
}

/// What somebody lost since an account signed twice. Paid from that account's balance and bond, in
/// the order of the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossRow {
    /// The account that signed twice.
    pub offender: PublicKey,
    /// Counts the losses by that account from 1.
    pub number: u64,
    /// The account that lost.
    pub loser: PublicKey,
    /// The holding that it lost.
    pub holding: HoldingId,
    /// What that was worth.
    pub units: Units,
    /// What was paid so far.
    pub paid: Units,
}

/// Something that an account is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRow {
    /// The account.
    pub account: PublicKey,
    /// Counts the account's notices from 1.
    pub number: u64,
    /// When.
    pub at: UnixMs,
    /// What.
    pub what: NoticeKind,
}
