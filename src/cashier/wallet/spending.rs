//! Spending a reserved holding, the same open once more, and the close that came for it.

use super::purse::{Outcome, Purse};
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::chain::Chain;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{ClosePart, OpenSpend};
use crate::units::{InfoHash, UnixMs};
use crate::wallet::{WalletError, paying, sign};

/// To whom a reserved holding is spent, and for what.
#[derive(Clone, Debug)]
pub(super) struct SpendTo {
    pub(super) holding: HoldingId,
    pub(super) payee: PublicKey,
    pub(super) certificate: PseudonymCertificate,
    pub(super) info_hash: InfoHash,
    /// The payee's address.
    pub(super) peer: String,
}

impl Purse {
    pub(super) async fn commit(&mut self, to: SpendTo, now: UnixMs) -> Outcome<(OpenSpend, Chain)> {
        let row = self.rows.holdings.get(&to.holding);
        let row = row.ok_or(WalletError::UnknownHolding(to.holding))?;
        if self
            .desk
            .spent
            .as_ref()
            .is_some_and(|s| s.is_suspended(&to.payee))
        {
            return Err(WalletError::PayeeCertificate("its key is suspended").into());
        }
        let (draft, chain) = sign::draft_spend(&self.seed, &row.holding, to.payee);
        let key_index = row.key_index;
        let spend = draft.spend;
        let commit = paying::Commit {
            holding: to.holding,
            draft,
            certificate: to.certificate,
            info_hash: to.info_hash,
            peer: to.peer,
        };
        self.apply(paying::commit(&self.rows, commit, now)?).await?;
        self.keeping.diary.live.insert(spend);
        let row = self.rows.spends.get(&spend);
        let row = row.ok_or(WalletError::UnknownSpend(spend))?;
        Ok((sign::sign_spend(&self.seed, key_index, row), chain))
    }

    pub(super) fn open_again(&self, spend: &Commitment) -> Outcome<(OpenSpend, Chain)> {
        let unknown = || WalletError::UnknownSpend(*spend);
        let row = self.rows.spends.get(spend).ok_or_else(unknown)?;
        let holding = self.rows.holdings.get(&row.holding).ok_or_else(unknown)?;
        let open = sign::sign_spend(&self.seed, holding.key_index, row);
        Ok((open, sign::chain(&self.seed, &holding.holding)))
    }

    pub(super) async fn payer_closed(
        &mut self,
        spend: &Commitment,
        close: &ClosePart,
        now: UnixMs,
    ) -> Outcome<()> {
        self.flush().await?;
        let (open, _) = self.open_again(spend)?;
        let change = paying::closed(&self.rows, spend, &open, close, now);
        self.done(change).await
    }
}
