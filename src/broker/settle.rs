//! What is left of a coin when its time is over (`docs/protocol.md` section 5): each holding that was
//! neither split nor redeemed goes to the account behind its key. Exactly the coin's value in all.

use super::answer::{CreditState, NoticeKind};
use super::change::Ledger;
use super::desk::{Desk, Stop};
use super::losses;
use super::rows::{CoinRow, CreditRow, HoldingState, Row, RowKey};
use super::terms::Terms;
use super::walk::add_credit;
use crate::coin::certificate::CoinCertificate;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::record::OpenSpend;
use crate::units::Units;

/// A position in the tree.
struct Position {
    id: HoldingId,
    value: Units,
    key: PublicKey,
}

/// Settles a coin if nothing about it can change any more. False: not yet.
pub(super) fn settle(desk: &mut Desk<'_>, terms: &Terms, id: &HoldingId) -> Result<bool, Stop> {
    let Some(coin) = desk.coin(id)? else {
        return Ok(false);
    };
    if coin.settled || coin.contests > 0 || terms.takes_presented(coin.expires, desk.now) {
        return Ok(false);
    }
    let Some(left) = left(desk, &coin)? else {
        return Ok(false);
    };
    let mut keys = vec![RowKey::Account(coin.account)];
    keys.extend(left.iter().map(|p| RowKey::Holder(p.key)));
    desk.want(&keys)?;
    let mut accounts = Vec::with_capacity(left.len());
    for position in &left {
        let holder = desk.holder(&position.key)?;
        accounts.push(holder.map(|row| row.account).ok_or_else(|| {
            Stop::Broken(format!(
                "holding {} of {} units lies under the key {}, which no account has",
                position.id, position.value, position.key
            ))
        })?);
    }
    let keys: Vec<RowKey> = accounts.iter().map(|a| RowKey::Account(*a)).collect();
    desk.want(&keys)?;
    for (position, account) in left.iter().zip(accounts) {
        pay_out(desk, id, position, account)?;
    }
    let Some(mut coin) = desk.coin(id)? else {
        return Ok(false);
    };
    if coin.credited != coin.value {
        return Err(Stop::Broken(format!(
            "coin {id} of {} units would be settled at {}",
            coin.value, coin.credited
        )));
    }
    coin.settled = true;
    desk.put(Row::Coin(coin))?;
    Ok(true)
}

/// The holdings that nobody redeemed or split; none where a credit is still pending.
fn left(desk: &mut Desk<'_>, coin: &CoinRow) -> Result<Option<Vec<Position>>, Stop> {
    let certificate = CoinCertificate::decode(&coin.certificate)
        .map_err(|e| Stop::Broken(format!("the certificate of coin {}: {e}", coin.id)))?;
    let mut left = Vec::new();
    let mut level = vec![Position {
        id: coin.id,
        value: coin.value,
        key: certificate.holder,
    }];
    while !level.is_empty() {
        let keys: Vec<RowKey> = level
            .iter()
            .flat_map(|p| [RowKey::Holding(p.id), RowKey::Credit(p.id)])
            .collect();
        desk.want(&keys)?;
        let mut next = Vec::new();
        for position in level {
            let row = desk.holding(&position.id)?;
            match row.map(|row| row.state) {
                Some(HoldingState::Redeemed { .. }) => {
                    let credit = desk.credit(&position.id)?;
                    if credit.is_none_or(|c| c.state != CreditState::Paid) {
                        return Ok(None);
                    }
                }
                Some(HoldingState::Split { spend, k, .. }) => {
                    let open = OpenSpend::decode(&spend).map_err(|e| {
                        Stop::Broken(format!("the spend of holding {}: {e}", position.id))
                    })?;
                    let share = Units(u64::from(k));
                    next.push(Position {
                        id: position.id.payee_share(),
                        value: share,
                        key: open.payee,
                    });
                    next.push(Position {
                        id: position.id.change(),
                        value: position.value.saturating_sub(share),
                        key: position.key,
                    });
                }
                Some(HoldingState::Fixed { .. } | HoldingState::Void) | None => left.push(position),
            }
        }
        next.retain(|position| !position.value.is_zero());
        level = next;
    }
    Ok(Some(left))
}

fn pay_out(
    desk: &mut Desk<'_>,
    coin: &HoldingId,
    position: &Position,
    account: PublicKey,
) -> Result<(), Stop> {
    let Some(row) = desk.coin(coin)? else {
        return Ok(());
    };
    let credit = CreditRow {
        holding: position.id,
        coin: *coin,
        account,
        units: position.value,
        pending_until: desk.now,
        state: CreditState::Settled,
    };
    add_credit(desk, row, credit, Ledger::Balance(account))?;
    let what = NoticeKind::Settled {
        coin: *coin,
        holding: position.id,
        units: position.value,
    };
    desk.notify(&account, what)?;
    losses::compensate(desk, &account)
}
