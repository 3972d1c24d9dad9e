//! A presented path from root to leaf against the rows (`docs/protocol.md` section 10).
//!
//! First everything is compared, then everything is written: a path that conflicts anywhere leaves
//! no trace but the conflict itself, which is kept as evidence.

use super::answer::{CreditState, ItemAnswer, RefusalCode};
use super::change::Ledger;
use super::contest;
use super::desk::{Desk, Stop};
use super::operate::pay;
use super::presented::{Leaf, Presented, Step, Tail};
use super::rows::{CoinRow, CreditRow, HoldingRow, HoldingState, Row, RowKey, SpentRow};
use super::terms::Terms;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{
    ClosePart, Holding, OpenSpend, ProofCertificate, RedeemPart, SignedRecord, Slot,
};
use crate::units::UnixMs;

/// Who presents a path, and what for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The account.
    pub(super) me: &'a PublicKey,
    /// Whether the redeem that follows the path shall be credited.
    pub(super) redeem: bool,
    /// When it was presented: now, or when what is kept as evidence came.
    pub(super) at: UnixMs,
}

/// Two statements in one slot.
pub(super) struct Clash<'p> {
    pub(super) row: HoldingRow,
    pub(super) certificate: ProofCertificate,
    /// Since when the first stands.
    pub(super) since: UnixMs,
    pub(super) stands: SignedRecord,
    pub(super) refused: &'p SignedRecord,
}

/// A statement against the row of its holding.
enum Met<'p> {
    /// The row says the same, or nothing yet.
    Agrees,
    /// The row says something else.
    Clashes(Box<Clash<'p>>),
    /// The row is contested; it may say something else besides.
    Frozen(Box<HoldingRow>, Option<Box<Clash<'p>>>),
}

/// Walks one path and redeems its leaf if that is asked for.
pub(super) fn walk(
    desk: &mut Desk<'_>,
    terms: &Terms,
    asked: &Asked<'_>,
    presented: &Presented,
) -> Result<ItemAnswer, Stop> {
    let leaf = presented.leaf();
    let coin = sold_coin(desk, presented)?;
    if let Some(answer) = known_credit(desk, asked, leaf, &coin)? {
        return Ok(answer);
    }
    check_date(terms, asked, &coin)?;
    let mut rows = Vec::new();
    let mut met = Met::Agrees;
    for step in presented.steps() {
        met = compare_step(desk, step, &mut rows)?;
        if !matches!(met, Met::Agrees) {
            break;
        }
    }
    if matches!(met, Met::Agrees) {
        met = compare_leaf(desk, leaf, &mut rows)?;
    }
    match met {
        Met::Agrees => {}
        Met::Clashes(clash) => return contest::clash(desk, terms, asked, presented, &clash),
        Met::Frozen(row, clash) => {
            return contest::frozen(desk, terms, asked, presented, &row, clash.as_deref());
        }
    }
    if asked.redeem {
        desk.want(&[RowKey::Account(coin.account)])?;
    }
    for row in rows {
        desk.put(row)?;
    }
    if asked.redeem {
        credit(desk, terms, asked.me, &leaf.holding, coin)
    } else {
        Ok(ItemAnswer::Presented {
            holding: leaf.holding.id,
        })
    }
}

fn sold_coin(desk: &mut Desk<'_>, presented: &Presented) -> Result<CoinRow, Stop> {
    let id = presented.coin().id();
    desk.coin(&id)?.ok_or_else(|| {
        Stop::refuse(
            RefusalCode::UnknownCoin,
            format!("this broker has no record of selling coin {id}"),
            "ask the operator whether the broker was restored from an old backup",
        )
    })
}

/// What already happened is answered again whatever the date: the same redeem, or a settled holding.
fn known_credit(
    desk: &mut Desk<'_>,
    asked: &Asked<'_>,
    leaf: &Leaf,
    coin: &CoinRow,
) -> Result<Option<ItemAnswer>, Stop> {
    if !asked.redeem {
        return Ok(None);
    }
    let Tail::Redeem(part) = &leaf.tail else {
        return Err(Stop::Broken("a redeem without its statement".to_owned()));
    };
    if part.account != *asked.me {
        return Err(Stop::refuse(
            RefusalCode::OtherAccount,
            format!("the redeem is to account {}", part.account),
            "send it from that account",
        ));
    }
    let c = leaf.record.as_ref().map(SignedRecord::commitment);
    let row = desk.holding(&leaf.holding.id)?;
    let same = row.is_some_and(|row| row.state.commitment() == c);
    let credit = desk.credit(&leaf.holding.id)?;
    Ok(credit
        .filter(|credit| credit.account == *asked.me && credit.counts() && (same || coin.settled))
        .map(|credit| redeemed(&credit)))
}

fn redeemed(credit: &CreditRow) -> ItemAnswer {
    ItemAnswer::Redeemed {
        holding: credit.holding,
        units: credit.units,
        pending_until_unix_ms: credit.pending_until,
        paid: credit.state != CreditState::Pending,
    }
}

fn check_date(terms: &Terms, asked: &Asked<'_>, coin: &CoinRow) -> Result<(), Stop> {
    let open = if asked.redeem {
        Terms::redeems(coin.expires, asked.at)
    } else {
        terms.takes_presented(coin.expires, asked.at)
    };
    if open && !coin.settled {
        return Ok(());
    }
    Err(Stop::refuse(
        RefusalCode::Expired,
        format!("the coin expired on day {}", coin.expires.0),
        "nothing more can be done with it; it is settled by itself",
    ))
}

/// One link against its row. Adds what is new to `rows`.
fn compare_step<'p>(
    desk: &mut Desk<'_>,
    step: &'p Step,
    rows: &mut Vec<Row>,
) -> Result<Met<'p>, Stop> {
    let (c, close_c) = (
        step.spend_record.commitment(),
        step.close_record.commitment(),
    );
    let row = desk.holding(&step.holding.id)?;
    if let Some(row) = &row {
        let clash = step_clash(row, step, c, close_c)?;
        if row.contested.is_some() {
            return Ok(Met::Frozen(Box::new(row.clone()), clash));
        }
        if let Some(clash) = clash {
            return Ok(Met::Clashes(clash));
        }
        if matches!(row.state, HoldingState::Split { .. }) {
            return Ok(Met::Agrees);
        }
    } else {
        rows.push(spent(step.spend_record.slot, c, desk.now));
    }
    let mut row =
        row.unwrap_or_else(|| new_row(&step.holding, step.parent, &step.certificate, desk.now));
    row.state = HoldingState::Split {
        c,
        spend: step.spend.encode().to_vec(),
        close_c,
        close: step.close.encode().to_vec(),
        k: step.close.k,
        closed: desk.now,
    };
    rows.push(Row::Holding(Box::new(row)));
    rows.push(spent(step.close_record.slot, close_c, desk.now));
    Ok(Met::Agrees)
}

fn step_clash<'p>(
    row: &HoldingRow,
    step: &'p Step,
    c: Commitment,
    close_c: Commitment,
) -> Result<Option<Box<Clash<'p>>>, Stop> {
    if row.state.commitment() != Some(c) {
        return Ok(Some(Box::new(Clash {
            row: row.clone(),
            certificate: step.certificate,
            since: row.since,
            stands: standing(row)?,
            refused: &step.spend_record,
        })));
    }
    let HoldingState::Split {
        close_c: stands,
        closed,
        ..
    } = &row.state
    else {
        return Ok(None);
    };
    if *stands == close_c {
        return Ok(None);
    }
    Ok(Some(Box::new(Clash {
        row: row.clone(),
        certificate: ProofCertificate::Payee(step.spend.payee_certificate),
        since: *closed,
        stands: standing_close(row)?,
        refused: &step.close_record,
    })))
}

/// What follows the path against its row. Adds it to `rows` where it is new.
fn compare_leaf<'p>(
    desk: &mut Desk<'_>,
    leaf: &'p Leaf,
    rows: &mut Vec<Row>,
) -> Result<Met<'p>, Stop> {
    let Some(record) = &leaf.record else {
        return Ok(Met::Agrees);
    };
    let c = record.commitment();
    if let Some(row) = desk.holding(&leaf.holding.id)? {
        let clash = if row.state.commitment() == Some(c) {
            None
        } else {
            Some(Box::new(Clash {
                row: row.clone(),
                certificate: leaf.certificate,
                since: row.since,
                stands: standing(&row)?,
                refused: record,
            }))
        };
        return Ok(match (row.contested, clash) {
            (Some(_), clash) => Met::Frozen(Box::new(row), clash),
            (None, Some(clash)) => Met::Clashes(clash),
            (None, None) => Met::Agrees,
        });
    }
    let mut row = new_row(&leaf.holding, leaf.parent, &leaf.certificate, desk.now);
    row.state = match &leaf.tail {
        Tail::Open(open) => HoldingState::Fixed {
            c,
            spend: open.encode().to_vec(),
        },
        Tail::Redeem(part) => HoldingState::Redeemed {
            c,
            redeem: part.encode().to_vec(),
            account: part.account,
        },
        Tail::None => return Ok(Met::Agrees),
    };
    rows.push(Row::Holding(Box::new(row)));
    rows.push(spent(record.slot, c, desk.now));
    Ok(Met::Agrees)
}

/// Turns a redeemed holding's value into a credit. Never above the coin's value.
fn credit(
    desk: &mut Desk<'_>,
    terms: &Terms,
    me: &PublicKey,
    holding: &Holding,
    coin: CoinRow,
) -> Result<ItemAnswer, Stop> {
    let buyer = coin.account;
    let credit = CreditRow {
        holding: holding.id,
        coin: coin.id,
        account: *me,
        units: holding.value,
        pending_until: desk.now.plus_ms(terms.hold_ms),
        state: CreditState::Pending,
    };
    add_credit(desk, coin, credit.clone(), Ledger::Pending(*me))?;
    let mut account = desk.account(&buyer)?;
    account.last_redeemed = desk.now;
    desk.put(Row::Account(account))?;
    if terms.hold_ms > 0 {
        return Ok(redeemed(&credit));
    }
    let paid = pay(desk, credit)?;
    Ok(redeemed(&paid))
}

/// Moves a holding's value from the buyer's outstanding coins to `to`.
pub(super) fn add_credit(
    desk: &mut Desk<'_>,
    mut coin: CoinRow,
    credit: CreditRow,
    to: Ledger,
) -> Result<(), Stop> {
    let credited = coin.credited.checked_add(credit.units);
    coin.credited = credited.filter(|c| *c <= coin.value).ok_or_else(|| {
        Stop::Broken(format!(
            "holding {} of {} units would bring coin {} of {} units above its value, {} are credited",
            credit.holding, credit.units, coin.id, coin.value, coin.credited
        ))
    })?;
    let from = Ledger::Outstanding(coin.account);
    desk.transfer(from, to, credit.units, &credit.holding.to_string())?;
    desk.put(Row::Coin(coin))?;
    desk.put(Row::Credit(credit))
}

/// The record that stands in a holding's spend slot.
pub(super) fn standing(row: &HoldingRow) -> Result<SignedRecord, Stop> {
    let holding = holding_of(row)?;
    match &row.state {
        HoldingState::Fixed { spend, .. } | HoldingState::Split { spend, .. } => {
            let open = OpenSpend::decode(spend).map_err(|e| damaged(row, &e))?;
            Ok(open.record(&holding))
        }
        HoldingState::Redeemed { redeem, .. } => {
            let part = RedeemPart::decode(redeem).map_err(|e| damaged(row, &e))?;
            Ok(part.record(&holding))
        }
        HoldingState::Void => Err(damaged(row, &"it is void")),
    }
}

/// The record that stands in its close slot.
pub(super) fn standing_close(row: &HoldingRow) -> Result<SignedRecord, Stop> {
    let HoldingState::Split { spend, close, .. } = &row.state else {
        return Err(damaged(row, &"it is not split"));
    };
    let open = OpenSpend::decode(spend).map_err(|e| damaged(row, &e))?;
    let close = ClosePart::decode(close).map_err(|e| damaged(row, &e))?;
    Ok(close.record(&row.id, &open))
}

/// As much of a holding as its records need.
fn holding_of(row: &HoldingRow) -> Result<Holding, Stop> {
    let certificate = ProofCertificate::decode(&row.certificate).map_err(|e| damaged(row, &e))?;
    Ok(Holding {
        id: row.id,
        value: row.value,
        key: row.key,
        broker: certificate.broker(),
        coin: row.coin,
        expires: crate::units::Day(0),
    })
}

pub(super) fn damaged(row: &HoldingRow, error: &dyn std::fmt::Display) -> Stop {
    Stop::Broken(format!(
        "the statement stored for holding {}: {error}",
        row.id
    ))
}

/// A row to be filled; its state is set by the caller.
fn new_row(
    holding: &Holding,
    parent: Option<HoldingId>,
    certificate: &ProofCertificate,
    now: UnixMs,
) -> HoldingRow {
    HoldingRow {
        id: holding.id,
        coin: holding.coin,
        parent,
        value: holding.value,
        key: holding.key,
        certificate: certificate.encode(),
        since: now,
        state: HoldingState::Void,
        contested: None,
    }
}

pub(super) fn spent(slot: Slot, c: Commitment, at: UnixMs) -> Row {
    Row::Spent(SpentRow { slot, c, at })
}
