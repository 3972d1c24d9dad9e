//! A presented path from root to leaf against the rows (`docs/protocol.md` section 10).
//!
//! First everything is compared, then everything is written: a path that conflicts anywhere leaves
//! no trace but the conflict itself, which is kept as evidence.

use super::answer::{ConflictShown, ItemAnswer, Refusal, RefusalCode};
use super::change::Ledger;
use super::desk::{Desk, Stop};
use super::operate::pay;
use super::presented::{Leaf, Presented, Step, Tail, first_item};
use super::rows::{
    CoinRow, ConflictRow, CreditRow, HoldingRow, HoldingState, Row, RowKey, SpentRow,
};
use super::terms::Terms;
use crate::coin::ids::Commitment;
use crate::coin::keys::PublicKey;
use crate::record::{
    ClosePart, FraudProof, Holding, OpenSpend, ProofCertificate, RedeemPart, SignedRecord, Slot,
};
use crate::units::UnixMs;

/// Most conflicting statements kept about one holding; each is signed by its holder.
const MAX_CONFLICTS: u32 = 16;

/// Two statements in one slot.
struct Clash<'p> {
    row: HoldingRow,
    certificate: ProofCertificate,
    since: UnixMs,
    stands: SignedRecord,
    refused: &'p SignedRecord,
}

/// Walks one path and redeems its leaf if `redeem`.
pub(super) fn walk(
    desk: &mut Desk<'_>,
    terms: &Terms,
    me: &PublicKey,
    presented: &Presented,
    redeem: bool,
) -> Result<ItemAnswer, Stop> {
    let leaf = presented.leaf();
    let id = leaf.holding.id;
    let coin = sold_coin(desk, presented)?;
    check_purpose(desk, terms, me, presented, redeem, &coin)?;
    let mut rows = Vec::new();
    for step in presented.steps() {
        if let Err(clash) = compare_step(desk, step, &mut rows)? {
            return refuse(desk, terms, me, presented, clash);
        }
    }
    let fresh = match compare_leaf(desk, leaf, &mut rows)? {
        Ok(fresh) => fresh,
        Err(clash) => return refuse(desk, terms, me, presented, clash),
    };
    if redeem && fresh {
        desk.want(&[RowKey::Account(coin.account)])?;
    }
    for row in rows {
        desk.put(row)?;
    }
    if !redeem {
        return Ok(ItemAnswer::Presented { holding: id });
    }
    if fresh {
        credit(desk, terms, me, &leaf.holding, coin)?;
    }
    match desk.credit(&id)? {
        Some(credit) => Ok(ItemAnswer::Redeemed {
            holding: id,
            units: credit.units,
            pending_until_unix_ms: credit.pending_until,
            paid: credit.paid,
        }),
        None => Err(Stop::Broken(format!(
            "holding {id} is redeemed without a credit"
        ))),
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

/// Dates, and that a redeem names the account that asks. What already happened is answered again
/// whatever the date.
fn check_purpose(
    desk: &mut Desk<'_>,
    terms: &Terms,
    me: &PublicKey,
    presented: &Presented,
    redeem: bool,
    coin: &CoinRow,
) -> Result<(), Stop> {
    let leaf = presented.leaf();
    if redeem {
        let Tail::Redeem(part) = &leaf.tail else {
            return Err(Stop::Broken("a redeem without its statement".to_owned()));
        };
        if part.account != *me {
            return Err(Stop::refuse(
                RefusalCode::OtherAccount,
                format!("the redeem is to account {}", part.account),
                "send it from that account",
            ));
        }
    }
    let known = desk.credit(&leaf.holding.id)?.is_some();
    let open = if redeem {
        known || Terms::redeems(coin.expires, desk.now)
    } else {
        terms.takes_presented(coin.expires, desk.now)
    };
    if !open {
        return Err(Stop::refuse(
            RefusalCode::Expired,
            format!("the coin expired on day {}", coin.expires.0),
            "nothing more can be done with it; it is settled by itself",
        ));
    }
    Ok(())
}

/// One link against its row. Adds what is new to `rows`.
fn compare_step<'p>(
    desk: &mut Desk<'_>,
    step: &'p Step,
    rows: &mut Vec<Row>,
) -> Result<Result<(), Clash<'p>>, Stop> {
    let (c, close_c) = (
        step.spend_record.commitment(),
        step.close_record.commitment(),
    );
    let row = desk.holding(&step.holding.id)?;
    if let Some(row) = &row {
        if row.state.commitment() != c {
            let stands = standing(row, &step.holding)?;
            return Ok(Err(clash(
                row,
                step.certificate,
                stands,
                &step.spend_record,
            )));
        }
        if let HoldingState::Split {
            close_c: stands,
            close,
            closed,
            ..
        } = &row.state
        {
            if *stands == close_c {
                return Ok(Ok(()));
            }
            let close = ClosePart::decode(close).map_err(|e| damaged(row, &e))?;
            let stands = close.record(&step.holding.id, &step.spend);
            let payee = ProofCertificate::Payee(step.spend.payee_certificate);
            let mut clash = clash(row, payee, stands, &step.close_record);
            clash.since = *closed;
            return Ok(Err(clash));
        }
    } else {
        rows.push(spent(step.spend_record.slot, c, desk.now));
    }
    let mut row = row.unwrap_or_else(|| new_row(&step.holding, &step.certificate, desk.now));
    row.state = HoldingState::Split {
        c,
        spend: step.spend.encode().to_vec(),
        close_c,
        close: step.close.encode().to_vec(),
        k: step.close.k,
        closed: desk.now,
    };
    rows.push(Row::Holding(row));
    rows.push(spent(step.close_record.slot, close_c, desk.now));
    Ok(Ok(()))
}

/// What follows the path against its row; whether it is new. Adds it to `rows` then.
fn compare_leaf<'p>(
    desk: &mut Desk<'_>,
    leaf: &'p Leaf,
    rows: &mut Vec<Row>,
) -> Result<Result<bool, Clash<'p>>, Stop> {
    let Some(record) = &leaf.record else {
        return Ok(Ok(false));
    };
    let c = record.commitment();
    if let Some(row) = desk.holding(&leaf.holding.id)? {
        if row.state.commitment() == c {
            return Ok(Ok(false));
        }
        let stands = standing(&row, &leaf.holding)?;
        return Ok(Err(clash(&row, leaf.certificate, stands, record)));
    }
    let mut row = new_row(&leaf.holding, &leaf.certificate, desk.now);
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
        Tail::None => return Ok(Ok(false)),
    };
    rows.push(Row::Holding(row));
    rows.push(spent(record.slot, c, desk.now));
    Ok(Ok(true))
}

/// Turns a redeemed holding's value into a credit. Never above the coin's value.
fn credit(
    desk: &mut Desk<'_>,
    terms: &Terms,
    me: &PublicKey,
    holding: &Holding,
    mut coin: CoinRow,
) -> Result<(), Stop> {
    let credited = coin.credited.checked_add(holding.value);
    coin.credited = credited.filter(|c| *c <= coin.value).ok_or_else(|| {
        Stop::Broken(format!(
            "holding {} of {} units would bring coin {} of {} units above its value, {} are credited",
            holding.id, holding.value, coin.id, coin.value, coin.credited
        ))
    })?;
    let buyer = coin.account;
    desk.transfer(
        Ledger::Outstanding(buyer),
        Ledger::Pending(*me),
        holding.value,
        &holding.id.to_string(),
    )?;
    let mut account = desk.account(&buyer)?;
    account.last_redeemed = desk.now;
    desk.put(Row::Account(account))?;
    let credit = CreditRow {
        holding: holding.id,
        coin: coin.id,
        account: *me,
        units: holding.value,
        pending_until: desk.now.plus_ms(terms.hold_ms),
        paid: false,
    };
    desk.put(Row::Coin(coin))?;
    desk.put(Row::Credit(credit.clone()))?;
    if terms.hold_ms == 0 {
        pay(desk, credit)?;
    }
    Ok(())
}

/// Keeps the conflict and refuses, showing both statements.
fn refuse(
    desk: &mut Desk<'_>,
    terms: &Terms,
    me: &PublicKey,
    presented: &Presented,
    clash: Clash<'_>,
) -> Result<ItemAnswer, Stop> {
    let refused = clash.refused.commitment();
    let mut row = clash.row;
    let key = RowKey::Conflict(row.id, refused);
    desk.want(std::slice::from_ref(&key))?;
    if desk.row(&key)?.is_none() && row.conflicts < MAX_CONFLICTS {
        row.conflicts = row.conflicts.saturating_add(1);
        desk.put(Row::Conflict(ConflictRow {
            holding: row.id,
            c: refused,
            presenter: *me,
            at: desk.now,
            evidence: presented.evidence().to_vec(),
        }))?;
        desk.put(Row::Holding(row.clone()))?;
    }
    let stands = clash.stands;
    let items = (first_item(&stands), first_item(clash.refused));
    let proof = FraudProof::new(clash.certificate, items.0, items.1)
        .map_err(|e| Stop::Broken(format!("holding {}: {e}", row.id)))?;
    let within_hold = desk.now < clash.since.plus_ms(terms.hold_ms);
    let what_to_do = if within_hold {
        "keep this answer: it proves a double spend; the statement is kept for a contest"
    } else {
        "keep this answer: it proves a double spend by the one who signed both"
    };
    let mut refusal = Refusal::new(
        RefusalCode::Conflict,
        format!(
            "another statement about holding {} stands since it was presented",
            row.id
        ),
        what_to_do,
    );
    refusal.conflict = Some(Box::new(ConflictShown {
        holding: row.id,
        slot: clash.refused.slot,
        since_unix_ms: clash.since,
        within_hold,
        stands: stands.commitment(),
        refused,
        proof: hex::encode(proof.encode()),
    }));
    Ok(ItemAnswer::Refused(refusal))
}

fn clash<'p>(
    row: &HoldingRow,
    certificate: ProofCertificate,
    stands: SignedRecord,
    refused: &'p SignedRecord,
) -> Clash<'p> {
    Clash {
        row: row.clone(),
        certificate,
        since: row.since,
        stands,
        refused,
    }
}

/// The record that stands in a holding's spend slot.
fn standing(row: &HoldingRow, holding: &Holding) -> Result<SignedRecord, Stop> {
    match &row.state {
        HoldingState::Fixed { spend, .. } | HoldingState::Split { spend, .. } => {
            let open = OpenSpend::decode(spend).map_err(|e| damaged(row, &e))?;
            Ok(open.record(holding))
        }
        HoldingState::Redeemed { redeem, .. } => {
            let part = RedeemPart::decode(redeem).map_err(|e| damaged(row, &e))?;
            Ok(part.record(holding))
        }
    }
}

fn damaged(row: &HoldingRow, error: &dyn std::fmt::Display) -> Stop {
    Stop::Broken(format!(
        "the statement stored for holding {}: {error}",
        row.id
    ))
}

/// A row to be filled; its state is set by the caller.
fn new_row(holding: &Holding, certificate: &ProofCertificate, now: UnixMs) -> HoldingRow {
    HoldingRow {
        id: holding.id,
        coin: holding.coin,
        value: holding.value,
        key: holding.key,
        certificate: certificate.encode(),
        since: now,
        conflicts: 0,
        state: HoldingState::Fixed {
            c: Commitment([0; 32]),
            spend: Vec::new(),
        },
    }
}

fn spent(slot: Slot, c: Commitment, at: UnixMs) -> Row {
    Row::Spent(SpentRow { slot, c, at })
}
