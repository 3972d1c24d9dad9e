//! A wallet from what the broker knows of its account: for a wallet that has only its words, or an old
//! backup (`docs/protocol.md` section 11).
//!
//! A path tells everything that happened to the holdings on it. Walking it from the root, every holding
//! under a key of ours becomes a row, and every spend and close of ours is taken over, in the order in
//! which they were made. Each step is a change of its own and changes nothing where it is known already.

use std::collections::BTreeMap;

use super::change::{Change, JournalKind, JournalLine};
use super::earning::close_signed;
use super::error::WalletError;
use super::paying::with_books;
use super::reading::{Found, LOST_PEER, adopt_close, found};
use super::rows::{
    HoldingRow, HoldingState, Meta, Origin, Passing, PayeeKeyRow, ReceivedRow, ReceivedState,
    RequestId, Rows,
};
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::keys::PublicKey;
use crate::record::{Holding, Link, Path, Role};
use crate::units::{InfoHash, Units, UnixMs};

/// Indices of our holder keys.
pub type KeyIndices = BTreeMap<PublicKey, u32>;

/// Says that all is to be asked of the broker before anything is bought, certified or signed.
#[must_use]
pub fn ask_first(rows: &Rows) -> Change {
    needs(rows, true)
}

/// Says that the broker told all.
#[must_use]
pub fn told(rows: &Rows) -> Change {
    needs(rows, false)
}

fn needs(rows: &Rows, needs_recovery: bool) -> Change {
    let mut change = Change::on(rows);
    if rows.meta.needs_recovery != needs_recovery {
        change.meta = Some(Meta {
            needs_recovery,
            ..rows.meta.clone()
        });
    }
    change
}

/// Takes the holder keys that the broker knows: none of them is given to a payer again, and the next
/// index is above all of them.
///
/// # Errors
/// [`WalletError::Overflow`] where there is no next index.
pub fn keys(
    rows: &Rows,
    known: &[(u32, Option<PseudonymCertificate>)],
) -> Result<Change, WalletError> {
    let mut change = Change::on(rows);
    let highest = known.iter().map(|(index, _)| *index).max();
    if let Some(highest) = highest.filter(|highest| *highest >= rows.meta.next_key) {
        change.meta = Some(Meta {
            next_key: highest.checked_add(1).ok_or(WalletError::Overflow)?,
            ..rows.meta.clone()
        });
    }
    let old = rows.keys.values().filter(|row| !row.used);
    let old = old.map(|row| (row.index, Some(row.certificate)));
    for (index, certificate) in known.iter().copied().chain(old) {
        let is_used = rows.keys.get(&index).is_some_and(|row| row.used);
        let is_there = change.keys.iter().any(|row| row.index == index);
        if let Some(certificate) = certificate.filter(|_| !is_used && !is_there) {
            change.keys.push(PayeeKeyRow {
                index,
                certificate,
                used: true,
            });
        }
    }
    Ok(change)
}

/// Takes coins about which the broker knows nothing more than that it sold them.
///
/// # Errors
/// [`WalletError::Overflow`] where the sums do not fit.
pub fn coins(
    rows: &Rows,
    sold: &[CoinCertificate],
    ours: &KeyIndices,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let mut change = Change::on(rows);
    let mut bought = Units::ZERO;
    for coin in sold {
        let path = Path {
            coin: *coin,
            links: Vec::new(),
        };
        let (Ok(holding), Some(index)) = (path.holding(), ours.get(&coin.holder)) else {
            continue;
        };
        let is_known = rows.holdings.contains_key(&holding.id)
            || change
                .holdings
                .iter()
                .any(|row| row.holding.id == holding.id);
        if is_known {
            continue;
        }
        bought = bought
            .checked_add(holding.value)
            .ok_or(WalletError::Overflow)?;
        let row = row_of(holding, *index, Origin::Bought, &path, now);
        change.journal.push(line(&row, now));
        change.holdings.push(row);
    }
    change.meta = Some(with_books(rows, |books| {
        books.bought = books.bought.checked_add(bought)?;
        Some(())
    })?);
    Ok(change)
}

/// The next thing to take over on the way along `path`, whose signatures hold. `None` once all of it is
/// known: then what stands in the last holding's slot is taken over by [`found`].
///
/// # Errors
/// Sums that do not fit, or a path whose values do not.
pub fn step(
    rows: &Rows,
    path: &Path,
    ours: &KeyIndices,
    now: UnixMs,
) -> Result<Option<Change>, WalletError> {
    let mut walked = Path {
        coin: path.coin,
        links: Vec::new(),
    };
    let bad = |e: &dyn std::fmt::Display| WalletError::BrokerAnswer(e.to_string());
    let mut at = walked.holding().map_err(|e| bad(&e))?;
    if ours.contains_key(&at.key) && !rows.holdings.contains_key(&at.id) {
        return coins(rows, &[path.coin], ours, now).map(Some);
    }
    for link in &path.links {
        let spend = link.spend.commitment(&at.id);
        if ours.contains_key(&at.key) {
            let is_open = |row: &HoldingRow| {
                matches!(
                    row.state,
                    HoldingState::Unread | HoldingState::Available | HoldingState::Frozen { .. }
                )
            };
            if rows.holdings.get(&at.id).is_some_and(is_open) {
                let taken = Found::Spend {
                    open: Box::new(link.spend),
                    close: None,
                };
                return found(rows, &at.id, &taken, RequestId([0; 16]), now).map(Some);
            }
            if rows
                .spends
                .get(&spend)
                .is_some_and(|row| row.close.is_none())
            {
                let closed = super::paying::closed(rows, &spend, &link.spend, &link.close, now);
                return closed.map(Some);
            }
        }
        let next = link.next(&at).map_err(|e| bad(&e))?;
        if link.role == Role::PayeeShare
            && let Some(index) = ours.get(&next.key)
            && let Some(change) = share(rows, (&walked, &at), link, (next, *index), now)?
        {
            return Ok(Some(change));
        }
        walked.links.push(*link);
        at = next;
    }
    Ok(None)
}

/// What is still to be done to have the share that `link` pays to a key of ours.
fn share(
    rows: &Rows,
    (path, parent): (&Path, &Holding),
    link: &Link,
    (next, index): (Holding, u32),
    now: UnixMs,
) -> Result<Option<Change>, WalletError> {
    let spend = link.spend.commitment(&parent.id);
    match rows.received.get(&spend).map(|row| &row.state) {
        Some(ReceivedState::Open) => {
            return adopt_close(rows, &spend, (link.close.k, link.close.wk)).map(Some);
        }
        Some(ReceivedState::Closing) => {
            return close_signed(rows, &spend, &link.close, now).map(Some);
        }
        Some(ReceivedState::Closed { .. }) => return Ok(None),
        None if rows.holdings.contains_key(&next.id) => return Ok(None),
        None => {}
    }
    let mut change = Change::on(rows);
    change.received.push(ReceivedRow {
        spend,
        holding: *parent,
        path: path.encode(),
        open: link.spend,
        key_index: index,
        k: link.close.k,
        wk: link.close.wk,
        state: ReceivedState::Closed {
            signatures: link.close.signatures,
        },
        accepted: true,
        put: true,
        info_hash: InfoHash([0; 20]),
        peer: LOST_PEER.to_owned(),
        opened: now,
        closed: Some(now),
        presented: Some(now),
    });
    let mut longer = path.clone();
    longer.links.push(*link);
    let row = row_of(next, index, Origin::Earned, &longer, now);
    change.meta = Some(with_books(rows, |books| {
        books.earned = books.earned.checked_add(next.value)?;
        Some(())
    })?);
    change.journal.push(line(&row, now));
    change.holdings.push(row);
    Ok(Some(change))
}

/// What was earned in a lost journal is only redeemed: whether its spend was accepted is not known.
fn row_of(
    holding: Holding,
    key_index: u32,
    origin: Origin,
    path: &Path,
    now: UnixMs,
) -> HoldingRow {
    HoldingRow {
        passing: match origin {
            Origin::Bought => Passing::Yes,
            Origin::Earned | Origin::Change => Passing::Never,
        },
        since: now,
        holding,
        key_index,
        origin,
        path: path.encode(),
        info_hash: None,
        peer: None,
        state: HoldingState::Unread,
    }
}

fn line(row: &HoldingRow, at: UnixMs) -> JournalLine {
    JournalLine {
        at,
        kind: JournalKind::Recovered,
        units: row.holding.value,
        info_hash: None,
        peer: None,
        reference: row.holding.id.to_string(),
    }
}
