//! The payee's side: receive an open, its ticks, close it, keep the share
//! (`docs/protocol.md` sections 3, 5 and 6).

use super::change::{Change, Effect, JournalKind, JournalLine};
use super::error::WalletError;
use super::paying::{extend, with_books};
use super::rows::{HoldingRow, HoldingState, Origin, Passing, ReceivedRow, ReceivedState, Rows};
use crate::coin::chain::leads_to;
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::record::{ClosePart, Holding, MAX_LINKS_PROPOSE, OpenSpend, Path, Role};
use crate::units::{InfoHash, Units, UnixMs};

/// Whether `holding` was never opened with us before.
///
/// # Errors
/// [`WalletError::OpenedBefore`].
pub fn check(rows: &Rows, holding: &HoldingId) -> Result<(), WalletError> {
    if rows.received_by_holding.contains_key(holding) {
        return Err(WalletError::OpenedBefore(*holding));
    }
    Ok(())
}

/// A payer's open, as it came.
#[derive(Clone, Debug)]
pub struct Open {
    /// The path that was proposed.
    pub path: Path,
    /// The open that spends its holding to us.
    pub open: OpenSpend,
    /// The torrent that will be served.
    pub info_hash: InfoHash,
    /// The payer's address.
    pub peer: String,
}

/// Records a validly signed open. From now on its holding is never accepted with another
/// statement. The same open again changes nothing.
///
/// # Errors
/// A path or signature that does not hold, a key that is not ours, a holding that was opened
/// before.
pub fn record_open(rows: &Rows, received: Open, now: UnixMs) -> Result<Change, WalletError> {
    let Open {
        path,
        open,
        info_hash,
        peer,
    } = received;
    let bad = |why: &dyn std::fmt::Display| WalletError::BadOpen(why.to_string());
    let pinned = rows.meta.broker.as_ref().map(|broker| broker.key);
    let accepts = |key: &_| pinned.as_ref() == Some(key);
    let holding = path
        .verify(&accepts, Some((now.day(), 1)))
        .map_err(|e| bad(&e))?;
    let spend = open.commitment(&holding.id);
    let mut change = Change::on(rows);
    if rows.received.contains_key(&spend) {
        return Ok(change);
    }
    check(rows, &holding.id)?;
    let mut key = rows
        .keys
        .values()
        .find(|row| row.certificate.holder == open.payee && now.day() < row.certificate.expires)
        .cloned()
        .ok_or(WalletError::NotOurKey(open.payee))?;
    if path.links.len() > MAX_LINKS_PROPOSE {
        return Err(bad(&"its path leaves no room for our share"));
    }
    open.verify(&holding).map_err(|e| bad(&e))?;
    let row = ReceivedRow {
        spend,
        path: path.encode(),
        key_index: key.index,
        k: 0,
        wk: open.anchor,
        state: ReceivedState::Open,
        accepted: false,
        put: false,
        info_hash,
        peer,
        opened: now,
        closed: None,
        presented: None,
        holding,
        open,
    };
    if !key.used {
        key.used = true;
        change.keys.push(key);
    }
    change
        .journal
        .push(line(&row, JournalKind::Received, row.holding.value, now));
    change.received.push(row);
    Ok(change)
}

/// Notes that the records of a received spend were accepted in the DHT.
///
/// # Errors
/// An unknown spend.
pub fn accepted(rows: &Rows, spend: &Commitment) -> Result<Change, WalletError> {
    flag(rows, spend, |row| &mut row.accepted)
}

/// Notes that the close of a received spend was put into the DHT.
///
/// # Errors
/// An unknown spend.
pub fn put(rows: &Rows, spend: &Commitment) -> Result<Change, WalletError> {
    flag(rows, spend, |row| &mut row.put)
}

fn flag(
    rows: &Rows,
    spend: &Commitment,
    flag: impl Fn(&mut ReceivedRow) -> &mut bool,
) -> Result<Change, WalletError> {
    let mut row = find(rows, spend)?.clone();
    let mut change = Change::on(rows);
    let flag = flag(&mut row);
    if !*flag {
        *flag = true;
        change.received.push(row);
    }
    Ok(change)
}

/// Takes ticks, one change for all. What is unknown, closed or not higher than before is left out;
/// so is what the chain does not prove, whose commitments are returned. A spend may occur once.
///
/// # Errors
/// [`WalletError::Overflow`] where the sums do not fit.
pub fn ticks(
    rows: &Rows,
    came: &[(Commitment, u32, ChainValue)],
) -> Result<(Change, Vec<Commitment>), WalletError> {
    let mut change = Change::on(rows);
    let mut bad = Vec::new();
    let mut earned = Units::ZERO;
    for (spend, k, wk) in came {
        let Some(row) = rows.received.get(spend) else {
            continue;
        };
        let again = change.received.iter().any(|r| r.spend == *spend);
        if row.state != ReceivedState::Open || *k <= row.k || again {
            continue;
        }
        if !proves(row, *k, wk) {
            bad.push(*spend);
            continue;
        }
        let more = Units(u64::from(k.saturating_sub(row.k)));
        earned = earned.checked_add(more).ok_or(WalletError::Overflow)?;
        let mut row = row.clone();
        (row.k, row.wk) = (*k, *wk);
        change.received.push(row);
    }
    if !change.received.is_empty() {
        change.meta = Some(with_books(rows, |books| {
            books.earned = books.earned.checked_add(earned)?;
            Some(())
        })?);
    }
    Ok((change, bad))
}

/// Whether `wk` pays `k` units of the row's chain; `k` is not below the row's.
fn proves(row: &ReceivedRow, k: u32, wk: &ChainValue) -> bool {
    let more = k.saturating_sub(row.k);
    u64::from(k) <= row.holding.value.0 && leads_to(wk, more, &row.wk)
}

/// Fixes the close of a received spend at (`k`, `wk`), or at what was ticked if that is more. Only
/// once this is durable may it be signed. A close that is fixed stays as it is.
///
/// # Errors
/// An unknown spend, or a chain value that does not prove `k`.
pub fn fix_close(
    rows: &Rows,
    spend: &Commitment,
    k: u32,
    wk: &ChainValue,
) -> Result<Change, WalletError> {
    let mut row = find(rows, spend)?.clone();
    let mut change = Change::on(rows);
    change.effects.push(Effect::SignClose(*spend));
    if row.state != ReceivedState::Open {
        return Ok(change);
    }
    if k > row.k {
        if !proves(&row, k, wk) {
            return Err(WalletError::OutOfChain { spend: *spend, k });
        }
        let more = Units(u64::from(k.saturating_sub(row.k)));
        change.meta = Some(with_books(rows, |books| {
            books.earned = books.earned.checked_add(more)?;
            Some(())
        })?);
        (row.k, row.wk) = (k, *wk);
    }
    row.state = ReceivedState::Closing;
    change.received.push(row);
    Ok(change)
}

/// Keeps the signed close and the share that it makes. The same again changes nothing.
///
/// # Errors
/// An unknown spend, or a close that is not the one that was fixed.
pub fn close_signed(
    rows: &Rows,
    spend: &Commitment,
    close: &ClosePart,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let mut row = find(rows, spend)?.clone();
    let mut change = Change::on(rows);
    if let ReceivedState::Closed { .. } = row.state {
        return Ok(change);
    }
    let is_fixed = row.state == ReceivedState::Closing && (row.k, row.wk) == (close.k, close.wk);
    if !is_fixed {
        return Err(WalletError::BadClose(*spend));
    }
    row.state = ReceivedState::Closed {
        signatures: close.signatures,
    };
    row.closed = Some(now);
    let earned = Units(u64::from(row.k));
    change
        .journal
        .push(line(&row, JournalKind::Earned, earned, now));
    if row.k > 0 {
        change.holdings.push(share_of(&row, close, now)?);
    }
    change.received.push(row);
    Ok(change)
}

fn share_of(row: &ReceivedRow, close: &ClosePart, now: UnixMs) -> Result<HoldingRow, WalletError> {
    let path = extend(&row.path, Role::PayeeShare, &row.open, close)
        .ok_or(WalletError::UnknownSpend(row.spend))?;
    Ok(HoldingRow {
        holding: Holding {
            id: row.holding.id.payee_share(),
            value: Units(u64::from(row.k)),
            key: row.open.payee,
            ..row.holding
        },
        key_index: row.key_index,
        origin: Origin::Earned,
        path,
        passing: match row.accepted {
            true => Passing::Yes,
            false => Passing::Never,
        },
        since: now,
        info_hash: Some(row.info_hash),
        peer: Some(row.peer.clone()),
        state: HoldingState::Available,
    })
}

/// The row of a received spend.
pub(super) fn find<'a>(rows: &'a Rows, spend: &Commitment) -> Result<&'a ReceivedRow, WalletError> {
    rows.received
        .get(spend)
        .ok_or(WalletError::UnknownSpend(*spend))
}

fn line(row: &ReceivedRow, kind: JournalKind, units: Units, at: UnixMs) -> JournalLine {
    JournalLine {
        at,
        kind,
        units,
        info_hash: Some(row.info_hash),
        peer: Some(row.peer.clone()),
        reference: row.spend.to_string(),
    }
}
