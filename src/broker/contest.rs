//! Two statements in one slot (`docs/protocol.md` section 10): what was presented is kept as evidence,
//! the slot is read twice, and nothing below it moves until that is decided.

use super::answer::{ConflictShown, ItemAnswer, NoticeKind, Refusal, RefusalCode};
use super::cases::{ContestRow, ContestState, EvidenceRow, ProofRow, Reading};
use super::desk::{Desk, Stop};
use super::presented::{Presented, first_item};
use super::rows::{HoldingRow, Row, RowKey};
use super::terms::Terms;
use super::verdict;
use super::walk::{Asked, Clash};
use crate::coin::ids::HoldingId;
use crate::record::{FraudProof, Slot};

/// Most presentations kept about one slot.
const MAX_EVIDENCE: u32 = 256;
/// Most of them by one account.
const MAX_EVIDENCE_EACH: usize = 32;

/// A statement against another one that stands. While the first is younger than the hold, and no
/// contest about the slot was decided, they are compared with what the DHT holds; later the second is
/// refused, and the DHT only tells who lost.
pub(super) fn clash(
    desk: &mut Desk<'_>,
    terms: &Terms,
    asked: &Asked<'_>,
    presented: &Presented,
    clash: &Clash<'_>,
) -> Result<ItemAnswer, Stop> {
    let slot = clash.refused.slot;
    desk.want(&[
        RowKey::Contest(slot),
        RowKey::Holder(clash.refused.signer),
        RowKey::Proof(clash.refused.signer, slot.salt(0)),
    ])?;
    let known = desk.contest(&slot)?;
    let decided = matches!(&known, Some(c) if matches!(c.state, ContestState::Decided(_)));
    let young = desk.now < clash.since.plus_ms(terms.hold_ms) && !decided;
    let conflict = show(clash, young)?;
    keep_proof(desk, clash, &conflict)?;
    let waits = known.as_ref().is_some_and(ContestRow::is_open);
    if young && !waits {
        let mut row = clash.row.clone();
        let mut contest = open(desk, &row, clash, known, false)?;
        keep(desk, &mut contest, asked, presented)?;
        row.contested = Some(slot);
        announce(desk, terms, &row, &contest)?;
        desk.put(Row::Holding(Box::new(row)))?;
        let answer = contested(terms, &contest, Some(conflict));
        desk.put(Row::Contest(Box::new(contest)))?;
        return Ok(answer);
    }
    if !decided {
        let mut contest = match known {
            Some(contest) if contest.is_open() => contest,
            known => open(desk, &clash.row, clash, known, true)?,
        };
        keep(desk, &mut contest, asked, presented)?;
        desk.put(Row::Contest(Box::new(contest)))?;
    }
    Ok(refused(clash.row.id, conflict))
}

/// Something through a contested slot: kept, and walked once that is decided.
pub(super) fn frozen(
    desk: &mut Desk<'_>,
    terms: &Terms,
    asked: &Asked<'_>,
    presented: &Presented,
    row: &HoldingRow,
    clash: Option<&Clash<'_>>,
) -> Result<ItemAnswer, Stop> {
    let slot = row.contested.unwrap_or_else(|| Slot::spend(&row.id));
    desk.want(&[RowKey::Contest(slot)])?;
    let contest = desk.contest(&slot)?.filter(ContestRow::is_open);
    let mut contest = contest.ok_or_else(|| {
        Stop::Broken(format!("holding {} is contested without a contest", row.id))
    })?;
    if !keep(desk, &mut contest, asked, presented)? {
        return Err(Stop::refuse(
            RefusalCode::TooMany,
            format!(
                "{} statements are kept about the contested holding {}, and no more of this account",
                contest.evidence, row.id
            ),
            format!(
                "send it again after {} (unix seconds), when it is decided",
                contest.decide_after(terms.contest_gap_ms).unix_s()
            ),
        ));
    }
    let conflict = clash.map(|clash| show(clash, true)).transpose()?;
    let answer = contested(terms, &contest, conflict);
    desk.put(Row::Contest(Box::new(contest)))?;
    Ok(answer)
}

/// Takes a reading of a contested slot. The second one at least a gap after the first decides; so
/// does the deadline, one hold after the contest began, with whatever was read until then.
pub(super) fn read(
    desk: &mut Desk<'_>,
    terms: &Terms,
    slot: &Slot,
    reading: &Reading,
    min_answers: u32,
) -> Result<bool, Stop> {
    let Some(mut contest) = desk.contest(slot)? else {
        return Ok(false);
    };
    let ContestState::Waiting(first) = contest.state.clone() else {
        return Ok(false);
    };
    let overdue = contest
        .opened
        .plus_ms(terms.hold_ms.max(terms.contest_gap_ms))
        <= desk.now;
    let usable = reading.is_usable(min_answers);
    if desk.now < contest.due {
        return Ok(false);
    }
    let readings = match first {
        Some(first) if usable || overdue => vec![first, reading.clone()],
        None if overdue => vec![reading.clone()],
        first => {
            let next = first.or_else(|| usable.then(|| reading.clone()));
            contest.state = ContestState::Waiting(next);
            contest.due = desk.now.plus_ms(terms.contest_gap_ms);
            desk.put(Row::Contest(Box::new(contest)))?;
            return Ok(false);
        }
    };
    verdict::decide(desk, terms, contest, &readings)?;
    Ok(true)
}

/// Everything kept about a slot, in the order presented.
pub(super) fn evidence(
    desk: &mut Desk<'_>,
    contest: &ContestRow,
) -> Result<Vec<EvidenceRow>, Stop> {
    let keys: Vec<RowKey> = (1..=contest.evidence)
        .map(|n| RowKey::Evidence(contest.slot, n))
        .collect();
    desk.want(&keys)?;
    let mut all = Vec::with_capacity(keys.len());
    for key in keys {
        match desk.row(&key)? {
            Some(Row::Evidence(row)) => all.push(row),
            _ => return Err(Stop::Broken(format!("evidence {key:?} is missing"))),
        }
    }
    Ok(all)
}

/// A contest that begins now, or again after it was dropped.
fn open(
    desk: &mut Desk<'_>,
    row: &HoldingRow,
    clash: &Clash<'_>,
    known: Option<ContestRow>,
    late: bool,
) -> Result<ContestRow, Stop> {
    let signer = clash.refused.signer;
    let offender = desk.account_behind(&signer)?;
    desk.want(&[RowKey::Account(offender), RowKey::Coin(row.coin)])?;
    let mut account = desk.account(&offender)?;
    account.contests = account.contests.saturating_add(1);
    desk.put(Row::Account(account))?;
    if !late && let Some(mut coin) = desk.coin(&row.coin)? {
        coin.contests = coin.contests.saturating_add(1);
        desk.put(Row::Coin(coin))?;
    }
    Ok(ContestRow {
        slot: clash.refused.slot,
        holding: row.id,
        coin: row.coin,
        signer,
        offender,
        late,
        opened: desk.now,
        evidence: known.map_or(0, |contest| contest.evidence),
        due: desk.now,
        state: ContestState::Waiting(None),
    })
}

/// Ends a contest: it no longer holds up its coin, nor the one who signed twice.
pub(super) fn end(
    desk: &mut Desk<'_>,
    mut contest: ContestRow,
    state: ContestState,
) -> Result<(), Stop> {
    desk.want(&[
        RowKey::Account(contest.offender),
        RowKey::Coin(contest.coin),
    ])?;
    let mut account = desk.account(&contest.offender)?;
    account.contests = account.contests.saturating_sub(1);
    desk.put(Row::Account(account))?;
    if !contest.late
        && let Some(mut coin) = desk.coin(&contest.coin)?
    {
        coin.contests = coin.contests.saturating_sub(1);
        desk.put(Row::Coin(coin))?;
    }
    contest.state = state;
    desk.put(Row::Contest(Box::new(contest)))
}

/// Keeps what was presented, once. False: there is no room for more.
fn keep(
    desk: &mut Desk<'_>,
    contest: &mut ContestRow,
    asked: &Asked<'_>,
    presented: &Presented,
) -> Result<bool, Stop> {
    let known = evidence(desk, contest)?;
    if known.iter().any(|row| row.bytes == presented.evidence()) {
        return Ok(true);
    }
    let mine = known
        .iter()
        .filter(|row| row.presenter == *asked.me)
        .count();
    if contest.evidence >= MAX_EVIDENCE || mine >= MAX_EVIDENCE_EACH {
        return Ok(false);
    }
    contest.evidence = contest.evidence.saturating_add(1);
    let record = presented.record_in(&contest.slot);
    desk.put_new(Row::Evidence(EvidenceRow {
        slot: contest.slot,
        number: contest.evidence,
        c: record.map(crate::record::SignedRecord::commitment),
        presenter: *asked.me,
        at: desk.now,
        bytes: presented.evidence().to_vec(),
    }));
    Ok(true)
}

/// Tells everyone whose credit now waits.
fn announce(
    desk: &mut Desk<'_>,
    terms: &Terms,
    row: &HoldingRow,
    contest: &ContestRow,
) -> Result<(), Stop> {
    let what = NoticeKind::Contested {
        holding: row.id,
        decide_after_unix_ms: contest.decide_after(terms.contest_gap_ms),
    };
    for account in verdict::credited(desk, row)? {
        desk.notify(&account, what.clone())?;
    }
    Ok(())
}

fn keep_proof(
    desk: &mut Desk<'_>,
    clash: &Clash<'_>,
    conflict: &ConflictShown,
) -> Result<(), Stop> {
    let (key, salt) = (clash.refused.signer, clash.refused.slot.salt(0));
    if desk.row(&RowKey::Proof(key, salt))?.is_some() {
        return Ok(());
    }
    let proof = hex::decode(&conflict.proof)
        .map_err(|e| Stop::Broken(format!("a proof that is no hex: {e}")))?;
    desk.put(Row::Proof(ProofRow {
        key,
        salt,
        at: desk.now,
        proof,
    }))
}

fn show(clash: &Clash<'_>, within_hold: bool) -> Result<ConflictShown, Stop> {
    let items = (first_item(&clash.stands), first_item(clash.refused));
    let proof = FraudProof::new(clash.certificate, items.0, items.1)
        .map_err(|e| Stop::Broken(format!("holding {}: {e}", clash.row.id)))?;
    Ok(ConflictShown {
        holding: clash.row.id,
        slot: clash.refused.slot,
        since_unix_ms: clash.since,
        within_hold,
        stands: clash.stands.commitment(),
        refused: clash.refused.commitment(),
        proof: hex::encode(proof.encode()),
    })
}

fn contested(terms: &Terms, contest: &ContestRow, conflict: Option<ConflictShown>) -> ItemAnswer {
    ItemAnswer::Contested {
        holding: contest.holding,
        decide_after_unix_ms: contest.decide_after(terms.contest_gap_ms),
        conflict: conflict.map(Box::new),
    }
}

fn refused(holding: HoldingId, conflict: ConflictShown) -> ItemAnswer {
    let mut refusal = Refusal::new(
        RefusalCode::Conflict,
        format!("another statement about holding {holding} stands for good"),
        "keep this answer: it proves a double spend by the one who signed both; if the DHT holds your \
         statement, what you lost is paid from that account as far as it has money",
    );
    refusal.conflict = Some(Box::new(conflict));
    ItemAnswer::Refused(refusal)
}
