//! What the broker's spent list says about a path (`docs/protocol.md` section 6).

use super::keeping::decode;
use super::purse::Purse;
use crate::coin::ids::Commitment;
use crate::coin::keys::PublicKey;
use crate::record::{Holding, Path, Slot};
use crate::units::UnixMs;
use crate::wallet::earning;
use crate::wire::message::RefuseReason;

/// A copy of a broker's spent list.
pub trait SpentCopy: Send + Sync + std::fmt::Debug {
    /// Whether it is at most an hour old.
    fn is_fresh(&self, now: UnixMs) -> bool;
    /// Whether the slot is listed at all, or withheld.
    fn lists(&self, slot: &Slot) -> bool;
    /// Whether the slot is listed with another statement than `c`.
    fn contradicts(&self, slot: &Slot, c: &Commitment) -> bool;
    /// Whether the key is of a suspended account.
    fn is_suspended(&self, key: &PublicKey) -> bool;
}

/// What the spent list could say about a holding that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpentCheck {
    /// A copy at most an hour old lists nothing against it.
    Clear,
    /// There is no copy at most an hour old: serve no more than the provisional window.
    ProvisionalOnly,
}

/// Looks `holding` and the path that proves it up in a copy of the spent list.
///
/// # Errors
/// [`RefuseReason::Spent`] where the holding's spend slot is listed, a slot on its path is listed
/// with another statement, or the spender's key is suspended.
pub fn look_up(
    copy: Option<&dyn SpentCopy>,
    holding: &Holding,
    path: &Path,
    now: UnixMs,
) -> Result<SpentCheck, RefuseReason> {
    let Some(copy) = copy else {
        return Ok(SpentCheck::ProvisionalOnly);
    };
    let contradicted = || {
        path.records()
            .iter()
            .any(|record| copy.contradicts(&record.slot, &record.commitment()))
    };
    if copy.lists(&Slot::spend(&holding.id)) || copy.is_suspended(&holding.key) || contradicted() {
        return Err(RefuseReason::Spent);
    }
    if copy.is_fresh(now) {
        Ok(SpentCheck::Clear)
    } else {
        Ok(SpentCheck::ProvisionalOnly)
    }
}

impl Purse {
    /// Of what is proposed.
    pub(super) fn check(
        &self,
        holding: &Holding,
        path: &Path,
        now: UnixMs,
    ) -> Result<SpentCheck, RefuseReason> {
        earning::check(&self.rows, &holding.id).map_err(|_| RefuseReason::Seen)?;
        look_up(self.desk.spent.as_deref(), holding, path, now)
    }

    /// Of a spend whose open is recorded.
    pub(super) fn listed(
        &self,
        spend: &Commitment,
        now: UnixMs,
    ) -> Result<SpentCheck, RefuseReason> {
        let row = self.rows.received.get(spend);
        let row = row.ok_or(RefuseReason::Unknown)?;
        let path = decode(&row.path, &row.holding.id).ok_or(RefuseReason::Busy)?;
        look_up(self.desk.spent.as_deref(), &row.holding, &path, now)
    }
}
