//! An order of coins: as many purchases as it needs, fixed together, so that a crash leaves all of it or
//! nothing, and known as one order ever after.

use super::change::{Change, Effect};
use super::choose::{MAX_BATCH, SIZES};
use super::error::WalletError;
use super::keys;
use super::rows::{PurchaseRow, PurchaseState, RequestId, Rows};
use crate::units::{Units, UnixMs};

impl RequestId {
    /// The `n`th request of an order, which has as many as it needs.
    #[must_use]
    pub fn of_order(order: [u8; 12], n: u32) -> RequestId {
        let mut id = [0; 16];
        id[..12].copy_from_slice(&order);
        id[12..].copy_from_slice(&n.to_be_bytes());
        RequestId(id)
    }

    /// What all requests of one order have in common.
    #[must_use]
    pub fn order(&self) -> [u8; 12] {
        let (order, _) = self.0.split_first_chunk().unwrap_or((&[0; 12], &[]));
        *order
    }
}

/// Coins that make up at least `units` together: greatest first, the rest rounded up to the
/// smallest coin.
#[must_use]
pub fn split(units: Units) -> Vec<Units> {
    let smallest = SIZES[0];
    let mut rest = units.0.div_ceil(smallest).saturating_mul(smallest);
    let mut coins = Vec::new();
    for size in SIZES.iter().rev() {
        while rest >= *size && coins.len() < 4096 {
            coins.push(Units(*size));
            rest = rest.saturating_sub(*size);
        }
    }
    coins
}

/// Fixes an order of coins, all of it or nothing: purchases of at most [`MAX_BATCH`] coins each, whose
/// requests name the order. Each coin gets a holder key of its own.
///
/// # Errors
/// A value that is not sold, or no coins.
pub fn begin(
    rows: &Rows,
    order: [u8; 12],
    coins: &[Units],
    now: UnixMs,
) -> Result<Change, WalletError> {
    if let Some(odd) = coins.iter().find(|value| !SIZES.contains(&value.0)) {
        return Err(WalletError::Amount(*odd));
    }
    if coins.is_empty() {
        return Err(WalletError::Amount(Units::ZERO));
    }
    let count = u32::try_from(coins.len()).map_err(|_| WalletError::Overflow)?;
    let (mut change, indices) = keys::take(rows, count)?;
    if let Some(meta) = &mut change.meta {
        meta.buys_nothing = false;
    }
    let coins: Vec<(Units, u32)> = coins.iter().copied().zip(indices).collect();
    for (n, coins) in (0..).zip(coins.chunks(MAX_BATCH)) {
        let request = RequestId::of_order(order, n);
        if rows.purchases.contains_key(&request) {
            return Err(WalletError::Overflow);
        }
        change.purchases.push(PurchaseRow {
            request,
            coins: coins.to_vec(),
            at: now,
            state: PurchaseState::Pending,
        });
        change.effects.push(Effect::SendPurchase(request));
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, Side};
    use super::*;

    #[test]
    fn an_order_is_fixed_whole_in_requests_that_name_it() {
        let mut side = Side::new(1);
        let coins = vec![Units(16); 70];
        let change = begin(&side.rows, [9; 12], &coins, NOW).expect("sold");
        let effects = side.write(change);
        let requests: Vec<_> = (0..3).map(|n| RequestId::of_order([9; 12], n)).collect();
        let sent: Vec<Effect> = requests.iter().copied().map(Effect::SendPurchase).collect();
        assert_eq!(effects, sent);
        side.crash();
        let rows: Vec<_> = side.rows.purchases.values().collect();
        assert_eq!(
            rows.iter().map(|row| row.coins.len()).collect::<Vec<_>>(),
            [32, 32, 6]
        );
        assert!(rows.iter().all(|row| row.request.order() == [9; 12]));
        let indices = rows
            .iter()
            .flat_map(|row| row.coins.iter().map(|(_, index)| *index));
        assert!(indices.eq(0..70), "a key of its own for each");
        let again = begin(&side.rows, [9; 12], &coins, NOW);
        assert!(again.is_err(), "an order is fixed once");
        assert!(begin(&side.rows, [8; 12], &[], NOW).is_err());
    }
}
