//! What a wallet signs, as pure functions of the seed and of rows that are durable
//! (`docs/protocol.md` sections 2 and 4).
//!
//! Ed25519 here is deterministic: the same row gives the same bytes, so signing again after a crash
//! is no second signature. The rows see to it that a slot is never signed for twice.

use super::rows::{HoldingRow, ReceivedRow, SpendRow};
use crate::coin::Seed;
use crate::coin::chain::Chain;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::coin::statement::{Close, Redeem, Spend, Statement};
use crate::record::{ClosePart, Holding, OpenSpend, RedeemPart, SignedRecord, Slot, commitment};

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
pub fn sign_spend(seed: &Seed, holding: &HoldingRow, row: &SpendRow) -> OpenSpend {
    let record_key = seed.record_key(&row.holding);
    let statement = Statement::Spend(Spend {
        holding: row.holding,
        payee: row.payee,
        anchor: row.anchor,
    });
    let record = SignedRecord::sign(
        &seed.holder_key(holding.key_index),
        Slot::spend(&row.holding),
        &record_key,
        &statement,
    );
    OpenSpend {
        payee: row.payee,
        anchor: row.anchor,
        record_key,
        signatures: record.signatures,
        payee_certificate: row.payee_certificate.clone(),
    }
}

/// Signs the close that `row` fixes.
#[must_use]
pub fn sign_close(seed: &Seed, row: &ReceivedRow) -> ClosePart {
    let statement = Statement::Close(Close {
        spend: row.spend,
        k: row.k,
        wk: row.wk,
    });
    let record = SignedRecord::sign(
        &seed.holder_key(row.key_index),
        Slot::close(&row.holding.id, &row.spend),
        &row.open.record_key.of_close(&row.spend),
        &statement,
    );
    ClosePart {
        k: row.k,
        wk: row.wk,
        signatures: record.signatures,
    }
}

/// Signs the redemption of a holding that is `Redeeming`.
#[must_use]
pub fn sign_redeem(seed: &Seed, row: &HoldingRow) -> RedeemPart {
    let account = seed.account_key().public();
    let holding: HoldingId = row.holding.id;
    let record_key = seed.record_key(&holding);
    let statement = Statement::Redeem(Redeem { holding, account });
    let record = SignedRecord::sign(
        &seed.holder_key(row.key_index),
        Slot::spend(&holding),
        &record_key,
        &statement,
    );
    RedeemPart {
        account,
        record_key,
        signatures: record.signatures,
    }
}
