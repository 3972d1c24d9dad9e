//! What nobody redeemed in time: the broker settles every coin by itself, and what lies under our
//! keys comes back (`docs/protocol.md` section 5).

use super::change::{Change, JournalKind, JournalLine};
use super::error::WalletError;
use super::keeping::settles;
use super::paying::{find, with_books};
use super::rows::{HoldingState, RequestId, Rows};
use crate::coin::ids::HoldingId;
use crate::units::{Units, UnixMs};

/// Holdings whose coin's time is over and of which the broker has not said what became of them.
/// Channels that never closed are asked about with their close.
pub fn unsettled(rows: &Rows, now: UnixMs) -> impl Iterator<Item = HoldingId> {
    rows.holdings
        .values()
        .filter(move |row| {
            let is_open = !matches!(
                row.state,
                HoldingState::Closed { .. }
                    | HoldingState::Redeemed { .. }
                    | HoldingState::Locked { .. }
                    | HoldingState::Redeeming { .. }
            );
            is_open && now.day() >= settles(row.holding.expires)
        })
        .map(|row| row.holding.id)
}

/// Notes that the broker settled a holding: its whole value went to our account, whatever was
/// ticked in a channel that its payee never closed. What is redeemed or closed stays as it is.
///
/// # Errors
/// An unknown holding, or another amount than it is worth.
pub fn settled(
    rows: &Rows,
    id: &HoldingId,
    units: Units,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let mut row = find(rows, id)?.clone();
    let mut change = Change::on(rows);
    let ticked = match &row.state {
        HoldingState::Closed { .. } | HoldingState::Redeemed { .. } => return Ok(change),
        HoldingState::Locked { spend } => rows.spends.get(spend).map_or(0, |row| row.last_k),
        _ => 0,
    };
    if units != row.holding.value {
        return Err(WalletError::BrokerAnswer(format!(
            "holding {id} of {} units was settled at {units}",
            row.holding.value
        )));
    }
    change.meta = Some(with_books(rows, |books| {
        books.paid = books.paid.checked_sub(Units(u64::from(ticked)))?;
        books.redeemed = books.redeemed.checked_add(units)?;
        Some(())
    })?);
    change.journal.push(JournalLine {
        at: now,
        kind: JournalKind::Settled,
        units,
        info_hash: row.info_hash,
        peer: row.peer.clone(),
        reference: id.to_string(),
    });
    row.state = HoldingState::Redeemed {
        request: RequestId([0; 16]),
        at: now,
        pending_until: now,
    };
    change.holdings.push(row);
    Ok(change)
}
