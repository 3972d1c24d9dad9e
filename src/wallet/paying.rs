//! The payer's side: reserve, commit, tick, take the payee's close (`docs/protocol.md` sections 3 and 5).

use super::change::{Change, Effect, JournalKind, JournalLine};
use super::choose::{Funds, Limits, NoCoin, Wish, best_unread, choose, larger_unread};
use super::error::WalletError;
use super::reading::LOST_PEER;
use super::rows::{Books, HoldingRow, HoldingState, Meta, Origin, Passing, Rows, SpendRow};
use super::sign::SpendDraft;
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::ids::{Commitment, HoldingId};
use crate::record::{ClosePart, Holding, Link, LinkFault, MAX_LINKS_REDEEM, OpenSpend, Path, Role};
use crate::units::{InfoHash, Units, UnixMs};

/// Promises a holding to a channel. Volatile: nothing is written.
///
/// # Errors
/// [`NoCoin`]: why none is given, and what to buy.
pub fn reserve(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Result<(Change, HoldingRow), NoCoin> {
    let row = choose(rows, limits, funds, wish, now)?;
    Ok(promised(rows, row, limits, wish, now))
}

/// Promises the holding of an earlier run that suits best, though its slot is still to be read: it is
/// committed only after that.
#[must_use]
pub fn reserve_unread(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Option<(Change, HoldingRow)> {
    let best = best_unread(rows, limits, funds, wish, now);
    let larger = || larger_unread(rows, limits, funds, wish, now);
    let row = rows.holdings.get(&best.or_else(larger)?)?;
    Some(promised(rows, row, limits, wish, now))
}

fn promised(
    rows: &Rows,
    row: &HoldingRow,
    limits: &Limits,
    wish: &Wish,
    now: UnixMs,
) -> (Change, HoldingRow) {
    let mut row = row.clone();
    row.state = HoldingState::Reserved {
        until: now.plus_ms(limits.reserve_ms),
        info_hash: wish.info_hash,
    };
    let mut change = Change::on(rows);
    change.holdings.push(row.clone());
    (change, row)
}

/// Takes a promise back. A holding that is not reserved stays what it is.
///
/// # Errors
/// An unknown holding.
pub fn release(rows: &Rows, holding: &HoldingId) -> Result<Change, WalletError> {
    let row = find(rows, holding)?;
    let mut change = Change::on(rows);
    if matches!(row.state, HoldingState::Reserved { .. }) {
        let mut row = row.clone();
        row.state = HoldingState::Available;
        change.holdings.push(row);
    }
    Ok(change)
}

/// To whom a holding is committed, and for what.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The holding, reserved before.
    pub holding: HoldingId,
    /// What will be signed.
    pub draft: SpendDraft,
    /// The certificate of the payee's key.
    pub certificate: PseudonymCertificate,
    /// The torrent that is paid for.
    pub info_hash: InfoHash,
    /// The payee's address.
    pub peer: String,
}

/// Fixes the one spend of a holding. Only once this is durable may it be signed.
///
/// # Errors
/// A holding that is not reserved or too old, or a payee whose certificate does not hold.
pub fn commit(rows: &Rows, commit: Commit, now: UnixMs) -> Result<Change, WalletError> {
    let mut row = find(rows, &commit.holding)?.clone();
    if !matches!(row.state, HoldingState::Reserved { .. }) {
        return Err(WalletError::NotReserved {
            holding: commit.holding,
            state: state_name(&row.state),
        });
    }
    if now.day().plus(1) >= row.holding.expires {
        return Err(WalletError::Expired(commit.holding));
    }
    check_payee(&row.holding, &commit, now)?;
    let spend = SpendRow {
        spend: commit.draft.spend,
        holding: commit.holding,
        value: row.holding.value,
        payee: commit.draft.statement.payee,
        payee_certificate: commit.certificate,
        anchor: commit.draft.statement.anchor,
        last_k: 0,
        info_hash: commit.info_hash,
        peer: commit.peer,
        opened: now,
        ended: None,
        close: None,
        polled: None,
        presented: None,
    };
    row.state = HoldingState::Locked { spend: spend.spend };
    row.info_hash = Some(spend.info_hash);
    row.peer = Some(spend.peer.clone());
    let mut change = Change::on(rows);
    change
        .journal
        .push(line(&spend, JournalKind::Locked, spend.value, now));
    change.effects.push(Effect::SignSpend(spend.spend));
    change.holdings.push(row);
    change.spends.push(spend);
    Ok(change)
}

fn check_payee(holding: &Holding, commit: &Commit, now: UnixMs) -> Result<(), WalletError> {
    let certificate = &commit.certificate;
    let bad = |why| Err(WalletError::PayeeCertificate(why));
    if commit.draft.statement.holding != commit.holding {
        return bad("the draft spends another holding");
    }
    if certificate.broker != holding.broker {
        return bad("it is of another broker than the coin");
    }
    if certificate.holder != commit.draft.statement.payee {
        return bad("it certifies another key");
    }
    if now.day() >= certificate.expires {
        return bad("it has expired");
    }
    if !certificate.verify() {
        return bad("the broker did not sign it");
    }
    Ok(())
}

/// Notes ticks that were sent, one change for all. What is unknown, closed, not higher than before
/// or above the value is left out.
///
/// # Errors
/// [`WalletError::Overflow`] where the sums do not fit.
pub fn ticks(rows: &Rows, sent: &[(Commitment, u32)]) -> Result<Change, WalletError> {
    let mut change = Change::on(rows);
    let mut paid = Units::ZERO;
    for (spend, k) in sent {
        let Some(row) = rows.spends.get(spend) else {
            continue;
        };
        let in_range = *k > row.last_k && u64::from(*k) <= row.value.0;
        if row.close.is_some() || !in_range || change.spends.iter().any(|r| r.spend == *spend) {
            continue;
        }
        let more = Units(u64::from(k.saturating_sub(row.last_k)));
        paid = paid.checked_add(more).ok_or(WalletError::Overflow)?;
        let mut row = row.clone();
        row.last_k = *k;
        change.spends.push(row);
    }
    if !change.spends.is_empty() {
        change.meta = Some(with_books(rows, |books| {
            books.paid = books.paid.checked_add(paid)?;
            Some(())
        })?);
    }
    Ok(change)
}

/// Notes that the connections of these spends ended: what is left is locked until a close comes.
#[must_use]
pub fn ended(rows: &Rows, spends: &[Commitment], now: UnixMs) -> Change {
    let mut change = Change::on(rows);
    for row in spends.iter().filter_map(|spend| rows.spends.get(spend)) {
        if row.ended.is_none() && row.close.is_none() {
            let mut row = row.clone();
            row.ended = Some(now);
            change.spends.push(row);
        }
    }
    change
}

/// Notes that a spend's channel is in use again, on a new connection.
///
/// # Errors
/// An unknown spend.
pub fn resumed(rows: &Rows, spend: &Commitment) -> Result<Change, WalletError> {
    let row = rows.spends.get(spend);
    let row = row.ok_or(WalletError::UnknownSpend(*spend))?;
    let mut change = Change::on(rows);
    if row.ended.is_some() && row.close.is_none() {
        let mut row = row.clone();
        row.ended = None;
        change.spends.push(row);
    }
    Ok(change)
}

/// Takes the payee's close of a spend of ours: so many units are paid, the rest is change. `open`
/// is the open that was sent. The same close again changes nothing.
///
/// A close below the last tick is taken too: it is the payee's loss, and the change is only
/// redeemed, as the payee may still sign another close. Other change is spent on once
/// [`read_back`] was noted.
///
/// # Errors
/// An unknown spend, a close that does not hold, or a second close.
pub fn closed(
    rows: &Rows,
    spend: &Commitment,
    open: &OpenSpend,
    close: &ClosePart,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let unknown = || WalletError::UnknownSpend(*spend);
    let row = rows.spends.get(spend).ok_or_else(unknown)?;
    let parent = find(rows, &row.holding)?;
    check_close(row, &parent.holding, open, close)?;
    let mut change = Change::on(rows);
    if let Some(old) = &row.close {
        if (old.k, old.wk) == (close.k, close.wk) {
            return Ok(change);
        }
        return Err(WalletError::TwoCloses {
            spend: *spend,
            first: old.k,
            second: close.k,
        });
    }
    let k = Units(u64::from(close.k));
    let rest = row.value.checked_sub(k).ok_or(WalletError::Overflow)?;
    change.meta = Some(with_books(rows, |books| {
        let before = books.paid.checked_sub(Units(u64::from(row.last_k)))?;
        books.paid = before.checked_add(k)?;
        Some(())
    })?);
    change.journal.push(line(row, JournalKind::Paid, k, now));
    if !rest.is_zero() {
        change
            .journal
            .push(line(row, JournalKind::Change, rest, now));
        change
            .holdings
            .push(change_of(parent, row, (open, close), rest, now)?);
    }
    let mut parent = parent.clone();
    parent.state = HoldingState::Closed {
        spend: *spend,
        k: close.k,
    };
    change.holdings.push(parent);
    let mut row = row.clone();
    row.last_k = close.k;
    row.close = Some(*close);
    row.ended = row.ended.or(Some(now));
    change.spends.push(row);
    Ok(change)
}

/// Notes that the close of a spend of ours was read back from the DHT, with nothing beside it: its
/// change may be spent on.
///
/// # Errors
/// An unknown spend.
pub fn read_back(rows: &Rows, spend: &Commitment, now: UnixMs) -> Result<Change, WalletError> {
    let unknown = || WalletError::UnknownSpend(*spend);
    let row = rows.spends.get(spend).ok_or_else(unknown)?;
    let mut change = Change::on(rows);
    if let Some(rest) = rows.holdings.get(&row.holding.change())
        && rest.passing == Passing::AfterReadBack
    {
        let mut rest = rest.clone();
        rest.passing = Passing::Yes;
        change.holdings.push(rest);
        let mut row = row.clone();
        row.polled = Some(now);
        change.spends.push(row);
    }
    Ok(change)
}

fn check_close(
    row: &SpendRow,
    parent: &Holding,
    open: &OpenSpend,
    close: &ClosePart,
) -> Result<(), WalletError> {
    match close.verify(parent, open) {
        Ok(()) => Ok(()),
        Err(LinkFault::CloseSignature(_)) => Err(WalletError::BadClose(row.spend)),
        Err(_) => Err(WalletError::OutOfChain {
            spend: row.spend,
            k: close.k,
        }),
    }
}

fn change_of(
    parent: &HoldingRow,
    row: &SpendRow,
    (open, close): (&OpenSpend, &ClosePart),
    value: Units,
    now: UnixMs,
) -> Result<HoldingRow, WalletError> {
    let path = extend(&parent.path, Role::Change, open, close)
        .ok_or(WalletError::UnknownHolding(row.holding))?;
    Ok(HoldingRow {
        holding: Holding {
            id: parent.holding.id.change(),
            value,
            ..parent.holding
        },
        key_index: parent.key_index,
        origin: Origin::Change,
        path,
        passing: match close.k >= row.last_k && row.peer != LOST_PEER {
            true => Passing::AfterReadBack,
            false => Passing::Never,
        },
        since: now,
        info_hash: Some(row.info_hash),
        peer: Some(row.peer.clone()),
        state: HoldingState::Available,
    })
}

/// The encoded path of one part of the holding that `path` proves.
pub(super) fn extend(
    path: &[u8],
    role: Role,
    open: &OpenSpend,
    close: &ClosePart,
) -> Option<Vec<u8>> {
    let path = Path::decode(path, MAX_LINKS_REDEEM).ok()?;
    let link = Link {
        role,
        spend: *open,
        close: *close,
    };
    Some(path.extend(link).encode())
}

/// The row of a holding.
pub(super) fn find<'a>(rows: &'a Rows, id: &HoldingId) -> Result<&'a HoldingRow, WalletError> {
    rows.holdings
        .get(id)
        .ok_or(WalletError::UnknownHolding(*id))
}

/// The once-only rows with their sums changed by `edit`, which says `None` where they do not fit.
pub(super) fn with_books(
    rows: &Rows,
    edit: impl FnOnce(&mut Books) -> Option<()>,
) -> Result<Meta, WalletError> {
    let mut meta = rows.meta.clone();
    edit(&mut meta.books).ok_or(WalletError::Overflow)?;
    Ok(meta)
}

/// What a state is called in messages.
#[must_use]
pub fn state_name(state: &HoldingState) -> &'static str {
    match state {
        HoldingState::Available => "available",
        HoldingState::Unread => "not read since the start",
        HoldingState::Frozen { .. } => "frozen",
        HoldingState::Reserved { .. } => "reserved",
        HoldingState::Locked { .. } => "locked",
        HoldingState::Closed { .. } => "closed",
        HoldingState::Redeeming { .. } => "redeeming",
        HoldingState::Redeemed { .. } => "redeemed",
        HoldingState::Refused { .. } => "refused",
    }
}

fn line(row: &SpendRow, kind: JournalKind, units: Units, at: UnixMs) -> JournalLine {
    JournalLine {
        at,
        kind,
        units,
        info_hash: Some(row.info_hash),
        peer: Some(row.peer.clone()),
        reference: row.spend.to_string(),
    }
}
