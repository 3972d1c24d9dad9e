//! What lies in a slot of ours, against what the rows know (`docs/protocol.md` sections 6 and 11).
//!
//! A copy of this wallet, or a run whose journal is lost, may have signed for what these rows take for
//! unsigned. So before a holding of an earlier run is signed for, its spend slot is read, and before a
//! received spend is closed, its close slot. What turns out to be our own statement is taken over;
//! anything else freezes the holding.
//!
//! What was made in this run needs no reading: a holder key signs only after its index was taken,
//! durably, so under an index that this run took nothing can have been signed before.

use std::collections::BTreeSet;

use super::change::{Change, Effect, JournalKind, JournalLine};
use super::error::WalletError;
use super::freeze::Freeze;
use super::paying::{find, with_books};
use super::rows::{
    HoldingRow, HoldingState, ReceivedRow, ReceivedState, RedemptionRow, RequestId, Rows, SpendRow,
};
use super::sign;
use crate::coin::Seed;
use crate::coin::chain::leads_to;
use crate::coin::ids::{ChainValue, Commitment, HoldingId, RecordKey};
use crate::coin::statement::{Redeem, Statement};
use crate::record::{ClosePart, Holding, Item, OpenSpend, SEQ, Value, commitment, open};
use crate::units::{InfoHash, Units, UnixMs};

/// Who was paid where only the slot tells of a spend.
pub(super) const LOST_PEER: &str = "unknown: the spend is of a lost journal";

/// What the broker knows about a holding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or it was not asked.
    #[default]
    Nothing,
    /// A spend, and its close once that was presented.
    Spend {
        /// Its commitment.
        c: Commitment,
        /// The spend itself, where the broker shows it.
        open: Option<Box<OpenSpend>>,
        /// The payee's close.
        close: Option<Box<ClosePart>>,
    },
    /// A redeem.
    Redeem {
        /// Its commitment.
        c: Commitment,
    },
}

/// What was seen of one spend slot from outside the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Items that our key signed, from all places. Strangers' data but for the signature.
    pub items: Vec<Item>,
    /// What the broker says.
    pub broker: Standing,
}

/// What a spend slot turned out to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it may be signed for.
    Clean,
    /// Our own spend, with all that is needed to go on from it.
    Spend {
        /// The spend.
        open: Box<OpenSpend>,
        /// Its close, where the broker has it.
        close: Option<Box<ClosePart>>,
    },
    /// Our own redeem, which can be asked for again.
    Redeem,
    /// Something that cannot be gone on from now.
    Frozen {
        /// What.
        why: Freeze,
        /// Its commitment.
        seen: Option<Commitment>,
    },
}

/// Distinct items by (seq, v).
fn distinct(items: &[Item]) -> Vec<&Item> {
    let mut kept: Vec<&Item> = Vec::new();
    for item in items {
        if !kept.iter().any(|other| other.is_copy_of(item)) {
            kept.push(item);
        }
    }
    kept
}

/// The commitment of an item and the statement in it, where it opens.
fn read_item(item: &Item, key: &RecordKey) -> Option<(Commitment, Statement)> {
    let value = Value::from_bencoded(&item.value).ok()?;
    let statement = open(key, &value).ok().filter(|_| item.seq == SEQ)?;
    Some((value.commitment(), statement))
}

/// Judges what was seen of the spend slot of `holding`, a holding that the rows take for unsigned.
#[must_use]
pub fn judge(seed: &Seed, holding: &Holding, sight: &Sight) -> Found {
    let items = distinct(&sight.items);
    let frozen = |why, seen| Found::Frozen { why, seen };
    let [item] = items.as_slice() else {
        return match items.is_empty() {
            true => judge_standing(seed, holding, &sight.broker),
            false => frozen(Freeze::Rivals, None),
        };
    };
    let opened = read_item(item, &seed.record_key(&holding.id));
    let Some((c, statement)) = opened else {
        return frozen(Freeze::Foreign, None);
    };
    let known = match &sight.broker {
        Standing::Nothing => None,
        Standing::Spend { c, .. } | Standing::Redeem { c } => Some(*c),
    };
    if known.is_some_and(|known| known != c) {
        return frozen(Freeze::Rivals, Some(c));
    }
    match statement {
        Statement::Spend(spend) if spend.anchor == sign::chain(seed, holding).anchor() => {
            match judge_standing(seed, holding, &sight.broker) {
                found @ Found::Spend { .. } => found,
                _ => frozen(Freeze::OwnSpend, Some(c)),
            }
        }
        Statement::Redeem(_) if c == redeem_commitment(seed, &holding.id) => Found::Redeem,
        _ => frozen(Freeze::Foreign, Some(c)),
    }
}

fn judge_standing(seed: &Seed, holding: &Holding, shown: &Standing) -> Found {
    let frozen = |why, c| Found::Frozen { why, seen: Some(c) };
    match shown {
        Standing::Nothing => Found::Clean,
        Standing::Redeem { c } if *c == redeem_commitment(seed, &holding.id) => Found::Redeem,
        Standing::Redeem { c } => frozen(Freeze::Foreign, *c),
        Standing::Spend { c, open: None, .. } => frozen(Freeze::Listed, *c),
        Standing::Spend {
            c,
            open: Some(open),
            close,
        } => {
            let is_it = open.commitment(&holding.id) == *c && open.verify(holding).is_ok();
            let is_ours = open.record_key == seed.record_key(&holding.id)
                && open.anchor == sign::chain(seed, holding).anchor();
            match (is_it, is_ours) {
                (true, true) => Found::Spend {
                    open: open.clone(),
                    close: close.clone(),
                },
                (true, false) => frozen(Freeze::Foreign, *c),
                (false, _) => frozen(Freeze::Listed, *c),
            }
        }
    }
}

/// c of our redeem of a holding: there is only one.
fn redeem_commitment(seed: &Seed, id: &HoldingId) -> Commitment {
    let statement = Statement::Redeem(Redeem {
        holding: *id,
        account: seed.account_key().public(),
    });
    commitment(&seed.record_key(id), &statement.encode())
}

/// Whether a statement that our key signed was seen: it stays signed, though the DHT forgets it and the broker
/// has not been shown it.
fn is_signed_for(state: &HoldingState) -> bool {
    match state {
        HoldingState::Frozen { why, seen, .. } => *why != Freeze::Listed || seen.is_some(),
        _ => false,
    }
}

/// Notes what a spend slot turned out to hold. `request` names the redemption that is asked for again
/// where a redeem was found. A holding that was signed for meanwhile stays as it is; a promise stands
/// where nothing was found.
///
/// # Errors
/// An unknown holding.
pub fn found(
    rows: &Rows,
    id: &HoldingId,
    found: &Found,
    request: RequestId,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let mut row = find(rows, id)?.clone();
    let mut change = Change::on(rows);
    let is_promised = matches!(row.state, HoldingState::Reserved { .. });
    let is_open = matches!(
        row.state,
        HoldingState::Unread | HoldingState::Available | HoldingState::Frozen { .. }
    );
    if !is_open && !is_promised {
        return Ok(change);
    }
    match found {
        Found::Clean if is_promised || is_signed_for(&row.state) => return Ok(change),
        Found::Clean => {
            if let HoldingState::Frozen { .. } = row.state {
                change.journal.push(line(&row, JournalKind::Thawed, now));
            }
            row.state = HoldingState::Available;
        }
        Found::Frozen { why, seen } => {
            if matches!(&row.state, HoldingState::Frozen { why: w, seen: s, .. } if (w, s) == (why, seen))
            {
                return Ok(change);
            }
            row.state = HoldingState::Frozen {
                why: *why,
                seen: *seen,
                since: now,
            };
            change.journal.push(line(&row, JournalKind::Frozen, now));
        }
        Found::Spend { open, .. } => {
            let spend = adopted(&row, open, now);
            row.state = HoldingState::Locked { spend: spend.spend };
            row.peer = Some(spend.peer.clone());
            change.journal.push(line(&row, JournalKind::Recovered, now));
            change.spends.push(spend);
        }
        Found::Redeem => {
            row.state = HoldingState::Redeeming { request };
            change.journal.push(line(&row, JournalKind::Recovered, now));
            change.redemptions.push(RedemptionRow {
                request,
                holdings: vec![*id],
                at: now,
                answers: None,
            });
            change.effects.push(Effect::SendRedemption(request));
        }
    }
    change.holdings.push(row);
    Ok(change)
}

/// The row of a spend whose own row is lost. What was ticked is not known: its close tells.
fn adopted(row: &HoldingRow, open: &OpenSpend, now: UnixMs) -> SpendRow {
    SpendRow {
        spend: open.commitment(&row.holding.id),
        holding: row.holding.id,
        value: row.holding.value,
        payee: open.payee,
        payee_certificate: open.payee_certificate,
        anchor: open.anchor,
        last_k: 0,
        info_hash: InfoHash([0; 20]),
        peer: LOST_PEER.to_owned(),
        opened: now,
        ended: Some(now),
        close: None,
        polled: None,
        presented: None,
    }
}

/// What a close slot of ours turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundClose {
    /// Nothing: it may be closed.
    Clean,
    /// Our own close, from a lost journal: the same is signed again.
    Ours {
        /// Units.
        k: u32,
        /// The chain value that pays them.
        wk: ChainValue,
    },
    /// What is no close of ours: nothing is signed beside it.
    Other(Freeze),
}

/// Judges what was seen of the close slot of a received spend that the rows take for open.
#[must_use]
pub fn judge_close(row: &ReceivedRow, items: &[Item]) -> FoundClose {
    let items = distinct(items);
    let [item] = items.as_slice() else {
        return match items.is_empty() {
            true => FoundClose::Clean,
            false => FoundClose::Other(Freeze::Rivals),
        };
    };
    match read_item(item, &row.open.record_key.of_close(&row.spend)) {
        Some((_, Statement::Close(close)))
            if close.spend == row.spend
                && u64::from(close.k) <= row.holding.value.0
                && leads_to(&close.wk, close.k, &row.open.anchor) =>
        {
            FoundClose::Ours {
                k: close.k,
                wk: close.wk,
            }
        }
        _ => FoundClose::Other(Freeze::Foreign),
    }
}

/// Fixes the close of a received spend exactly as a lost journal had it, so that signing it again makes
/// the same bytes. A close that is fixed stays as it is.
///
/// # Errors
/// An unknown spend, or sums that do not fit.
pub fn adopt_close(
    rows: &Rows,
    spend: &Commitment,
    (k, wk): (u32, ChainValue),
) -> Result<Change, WalletError> {
    let mut row = super::earning::find(rows, spend)?.clone();
    let mut change = Change::on(rows);
    change.effects.push(Effect::SignClose(*spend));
    if row.state != ReceivedState::Open {
        return Ok(change);
    }
    let before = Units(u64::from(row.k));
    change.meta = Some(with_books(rows, |books| {
        let without = books.earned.checked_sub(before)?;
        books.earned = without.checked_add(Units(u64::from(k)))?;
        Some(())
    })?);
    (row.k, row.wk, row.state) = (k, wk, ReceivedState::Closing);
    change.received.push(row);
    Ok(change)
}

fn line(row: &HoldingRow, kind: JournalKind, at: UnixMs) -> JournalLine {
    JournalLine {
        at,
        kind,
        units: row.holding.value,
        info_hash: row.info_hash,
        peer: row.peer.clone(),
        reference: row.holding.id.to_string(),
    }
}

/// What this run made itself.
#[derive(Clone, Debug, Default)]
pub struct Born {
    keys: BTreeSet<u32>,
}

impl Born {
    /// Notes the holder keys that `change` takes anew, and marks the holdings in it that are new to
    /// `rows` and under older keys as unread: what a spend of an earlier run leaves may be known to a
    /// copy of this wallet too.
    pub fn note(&mut self, rows: &Rows, change: &mut Change) {
        if let Some(meta) = &change.meta {
            self.keys.extend(rows.meta.next_key..meta.next_key);
        }
        for row in &mut change.holdings {
            let is_new = !rows.holdings.contains_key(&row.holding.id);
            if is_new && row.state == HoldingState::Available && !self.has(row.key_index) {
                row.state = HoldingState::Unread;
            }
        }
    }

    /// Marks what was loaded from disk: only what was made in this run is available.
    pub fn mark(&self, rows: &mut Rows) {
        for row in rows.holdings.values_mut() {
            if row.state == HoldingState::Available && !self.has(row.key_index) {
                row.state = HoldingState::Unread;
            }
        }
    }

    /// Whether the index of a holder key was taken in this run.
    #[must_use]
    pub fn has(&self, key_index: u32) -> bool {
        self.keys.contains(&key_index)
    }
}
