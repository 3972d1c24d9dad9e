//! What a wallet signs, as pure functions of the seed and of rows that are durable
//! (`docs/protocol.md` sections 2 and 4).
//!
//! Ed25519 here is deterministic: the same row gives the same bytes, so signing again after a crash
//! is no second signature. The rows see to it that a slot is never signed for twice.

use super::rows::{HoldingRow, ReceivedRow, SpendRow};
use crate::coin::Seed;
use crate::coin::chain::Chain;
use crate::coin::ids::Commitment;
use crate::coin::keys::PublicKey;
use crate::coin::statement::{Spend, Statement};
use crate::record::{ClosePart, Holding, OpenSpend, RedeemPart, commitment};

/// A spend that is not signed yet: what its row will fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendDraft {
    /// The statement.
    pub statement: Spend,
    /// Its commitment.
    pub spend: Commitment,
}

/// Drafts the spend of `holding` to `payee`, with the chain that will pay.
#[must_use]
pub fn draft_spend(seed: &Seed, holding: &Holding, payee: PublicKey) -> (SpendDraft, Chain) {
    let chain = chain(seed, holding);
    let statement = Spend {
        holding: holding.id,
        payee,
        anchor: chain.anchor(),
    };
    let spend = spend_commitment(seed, statement);
    (SpendDraft { statement, spend }, chain)
}

/// The chain that pays out of `holding`.
#[must_use]
pub fn chain(seed: &Seed, holding: &Holding) -> Chain {
    let value = u32::try_from(holding.value.0).unwrap_or(u32::MAX);
    Chain::new(seed.chain_tip(&holding.id), value)
}

fn spend_commitment(seed: &Seed, statement: Spend) -> Commitment {
    let key = seed.record_key(&statement.holding);
    commitment(&key, &Statement::Spend(statement).encode())
}

/// Signs the spend that `row` fixes.
#[must_use]
pub fn sign_spend(seed: &Seed, key_index: u32, row: &SpendRow) -> OpenSpend {
    OpenSpend::sign(
        &seed.holder_key(key_index),
        &row.holding,
        row.payee_certificate,
        row.anchor,
        seed.record_key(&row.holding),
    )
}

/// Signs the close that `row` fixes.
#[must_use]
pub fn sign_close(seed: &Seed, row: &ReceivedRow) -> ClosePart {
    let payee = seed.holder_key(row.key_index);
    ClosePart::sign(&payee, &row.holding.id, &row.open, row.k, row.wk)
}

/// Signs the redemption of a holding that is `Redeeming`.
#[must_use]
pub fn sign_redeem(seed: &Seed, row: &HoldingRow) -> RedeemPart {
    let account = seed.account_key().public();
    let id = row.holding.id;
    let holder = seed.holder_key(row.key_index);
    RedeemPart::sign(&holder, &id, account, seed.record_key(&id))
}
