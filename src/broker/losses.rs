//! Who lost by a double spend: suspension, and compensation from the balance and bond of the account
//! that signed twice (`docs/protocol.md` section 10).

use std::collections::BTreeSet;

use super::answer::{NoticeKind, ProofTaken, ProofVerdict, RefusalCode};
use super::cases::{ContestRow, LossRow, ProofRow};
use super::change::Ledger;
use super::desk::{Desk, Stop};
use super::presented::Tail;
use super::rows::{HoldingRow, HoldingState, Row, RowKey};
use super::verdict::Kept;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{FraudProof, Slot};
use crate::units::Units;

/// What an account lost.
pub(super) struct Claim {
    loser: PublicKey,
    holding: HoldingId,
    units: Units,
}

/// Claims of those who presented through a statement that lost and that the DHT holds, in the order
/// presented: each for the last holding of its path, unless somebody shows that it was split.
pub(super) fn of_evidence(
    desk: &mut Desk<'_>,
    contest: &ContestRow,
    kept: &[Kept],
    lost: &dyn Fn(&Commitment) -> bool,
) -> Result<Vec<Claim>, Stop> {
    let mut claims = Vec::new();
    let statements: BTreeSet<Commitment> = kept
        .iter()
        .filter_map(|k| k.row.c)
        .filter(|c| lost(c))
        .collect();
    for c in statements {
        let branch: Vec<&Kept> = kept.iter().filter(|k| k.row.c == Some(c)).collect();
        let steps = branch.iter().flat_map(|k| k.presented.steps());
        let split: BTreeSet<HoldingId> = steps.map(|step| step.holding.id).collect();
        let mut claimed = BTreeSet::new();
        for kept in branch {
            let leaf = kept.presented.leaf();
            let holding = leaf.holding;
            let open_here = matches!(leaf.tail, Tail::Open(_)) && holding.id == contest.holding;
            if open_here || split.contains(&holding.id) || !claimed.insert(holding.id) {
                continue; // what the payee of an open spend earned is known once it is closed
            }
            let loser = match &leaf.tail {
                Tail::Redeem(part) => part.account,
                _ => desk.account_behind(&holding.key)?,
            };
            claims.push((
                kept.row.number,
                Claim {
                    loser,
                    holding: holding.id,
                    units: holding.value,
                },
            ));
        }
    }
    claims.sort_by_key(|(number, _)| *number);
    let mut claims: Vec<Claim> = claims.into_iter().map(|(_, claim)| claim).collect();
    claims.retain(|claim| claim.loser != contest.offender);
    Ok(claims)
}

/// Claims of those who held something below the statement that stood and lost.
pub(super) fn of_rows(
    desk: &mut Desk<'_>,
    contest: &ContestRow,
    top: &HoldingRow,
    below: &[HoldingRow],
) -> Result<Vec<Claim>, Stop> {
    let mut claims = Vec::new();
    let known: BTreeSet<HoldingId> = below.iter().map(|row| row.id).collect();
    for row in std::iter::once(top).chain(below) {
        match &row.state {
            HoldingState::Redeemed { account, .. } => claims.push(Claim {
                loser: *account,
                holding: row.id,
                units: row.value,
            }),
            HoldingState::Split { spend, k, .. } => {
                let open = crate::record::OpenSpend::decode(spend)
                    .map_err(|e| super::walk::damaged(row, &e))?;
                let (share, change) = (Units(u64::from(*k)), row.id.change());
                let rest = row.value.saturating_sub(share);
                for (id, key, units) in [
                    (row.id.payee_share(), open.payee, share),
                    (change, row.key, rest),
                ] {
                    if !units.is_zero() && !known.contains(&id) {
                        desk.want(&[RowKey::Holder(key)])?;
                        claims.push(Claim {
                            loser: desk.account_behind(&key)?,
                            holding: id,
                            units,
                        });
                    }
                }
            }
            HoldingState::Fixed { .. } if row.id != top.id => {
                desk.want(&[RowKey::Holder(row.key)])?;
                claims.push(Claim {
                    loser: desk.account_behind(&row.key)?,
                    holding: row.id,
                    units: row.value,
                });
            }
            HoldingState::Fixed { .. } | HoldingState::Void => {}
        }
    }
    claims.retain(|claim| claim.loser != contest.offender);
    Ok(claims)
}

/// Suspends the account that signed twice if anybody lost by it, and pays as far as it has money;
/// warns it otherwise.
pub(super) fn take(
    desk: &mut Desk<'_>,
    offender: &PublicKey,
    signer: &PublicKey,
    slot: &Slot,
    claims: Vec<Claim>,
) -> Result<(), Stop> {
    desk.want(&[RowKey::Account(*offender)])?;
    if claims.is_empty() {
        return desk.notify(offender, NoticeKind::Warned { key: *signer });
    }
    let mut account = desk.account(offender)?;
    let newly = account.suspended.is_none();
    account.suspended = account.suspended.or(Some(desk.now));
    for claim in claims {
        account.losses = account.losses.saturating_add(1);
        account.owed = account.owed.checked_add(claim.units).ok_or_else(|| {
            Stop::Broken(format!(
                "what account {offender} owes for {slot} does not fit"
            ))
        })?;
        desk.put_new(Row::Loss(LossRow {
            offender: *offender,
            number: account.losses,
            loser: claim.loser,
            holding: claim.holding,
            units: claim.units,
            paid: Units::ZERO,
        }));
    }
    desk.put(Row::Account(account))?;
    if newly {
        desk.notify(offender, NoticeKind::Suspended { key: *signer })?;
    }
    compensate(desk, offender)
}

/// Pays what an account owes to those who lost, from its balance and then its bond, first come first
/// served. Called whenever it gets money.
pub(super) fn compensate(desk: &mut Desk<'_>, offender: &PublicKey) -> Result<(), Stop> {
    loop {
        let account = desk.account(offender)?;
        if account.owed.is_zero() || (account.balance.is_zero() && account.bond.is_zero()) {
            return Ok(());
        }
        let key = RowKey::Loss(*offender, account.losses_paid.saturating_add(1));
        desk.want(std::slice::from_ref(&key))?;
        let Some(Row::Loss(mut loss)) = desk.row(&key)? else {
            return Err(Stop::Broken(format!("{key:?} is owed and missing")));
        };
        desk.want(&[RowKey::Account(loss.loser)])?;
        let missing = loss.units.saturating_sub(loss.paid);
        let from_balance = missing.min(account.balance);
        let from_bond = missing.saturating_sub(from_balance).min(account.bond);
        let to = Ledger::Balance(loss.loser);
        let reference = loss.holding.to_string();
        desk.transfer(Ledger::Balance(*offender), to, from_balance, &reference)?;
        desk.transfer(Ledger::Bond(*offender), to, from_bond, &reference)?;
        let units = from_balance
            .checked_add(from_bond)
            .ok_or_else(|| Stop::Broken(format!("{key:?} does not fit")))?;
        let missing = missing.saturating_sub(units);
        loss.paid = loss.units.saturating_sub(missing);
        let mut account = desk.account(offender)?;
        account.owed = account
            .owed
            .checked_sub(units)
            .ok_or_else(|| Stop::Broken(format!("account {offender} owes less than its losses")))?;
        if missing.is_zero() {
            account.losses_paid = loss.number;
        }
        desk.put(Row::Account(account))?;
        let what = NoticeKind::Compensated {
            holding: loss.holding,
            units,
            missing,
        };
        let loser = loss.loser;
        desk.put(Row::Loss(loss))?;
        desk.notify(&loser, what)?;
    }
}

/// Takes a proof of fraud, whose every signature was checked. By itself it only warns: who lost has
/// to present.
pub(super) fn proof(desk: &mut Desk<'_>, proof: &FraudProof) -> Result<ProofTaken, Stop> {
    let (key, salt) = (proof.key(), proof.salt());
    desk.want(&[RowKey::Holder(key), RowKey::Proof(key, salt)])?;
    let Some(holder) = desk.holder(&key)? else {
        return Err(Stop::refuse(
            RefusalCode::NotFound,
            format!("this broker certified the holder key {key} and has no account for it"),
            "ask the operator whether the broker was restored from an old backup",
        ));
    };
    desk.want(&[RowKey::Account(holder.account)])?;
    let known = desk.row(&RowKey::Proof(key, salt))?.is_some();
    if !known {
        desk.put(Row::Proof(ProofRow {
            key,
            salt,
            at: desk.now,
            proof: proof.encode(),
        }))?;
    }
    let verdict = if desk.account(&holder.account)?.suspended.is_some() {
        ProofVerdict::Suspended
    } else {
        if !known {
            desk.notify(&holder.account, NoticeKind::Warned { key })?;
        }
        ProofVerdict::Warned
    };
    Ok(ProofTaken {
        key,
        verdict,
        known,
    })
}
