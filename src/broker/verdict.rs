//! Which of several statements in one slot stands, and the tree below it built again from what was
//! presented (`docs/protocol.md` section 10).

use std::collections::{BTreeMap, BTreeSet};

use super::answer::{CreditState, NoticeKind};
use super::cases::{ContestRow, ContestState, EvidenceRow, Reading};
use super::change::Ledger;
use super::contest;
use super::desk::{Desk, Stop};
use super::losses;
use super::presented::{Presented, Tail};
use super::rows::{CreditRow, HoldingRow, HoldingState, Row, RowKey};
use super::spent::FREE;
use super::terms::Terms;
use super::walk::{self, Asked, damaged, spent, standing, standing_close};
use crate::coin::ids::Commitment;
use crate::coin::keys::PublicKey;
use crate::record::{OpenSpend, Slot};

/// What was presented through the slot.
pub(super) struct Kept {
    pub(super) row: EvidenceRow,
    pub(super) presented: Presented,
}

/// One statement in the contested slot.
struct Candidate {
    c: Commitment,
    copies: u32,
    /// A spend to another account than the one that signed.
    to_somebody_else: bool,
}

/// Decides: the statement with more copies; in a tie a spend to somebody else before a redeem, then
/// the one presented first. A late contest decides nothing but who lost.
pub(super) fn decide(
    desk: &mut Desk<'_>,
    terms: &Terms,
    contest: ContestRow,
    readings: &[Reading],
) -> Result<(), Stop> {
    let copies = |c: &Commitment| -> u32 {
        let each = readings.iter().map(|reading| reading.copies_of(c));
        each.fold(0, u32::saturating_add)
    };
    let Some(mut row) = desk.holding(&contest.holding)? else {
        return contest::end(desk, contest, ContestState::Dropped);
    };
    let kept = kept(desk, &contest)?;
    let stands = standing_in(&row, &contest.slot)?;
    let below = below(desk, &row)?;
    let winner = if contest.late {
        stands
    } else {
        choose(desk, &row, &contest.slot, stands, &kept, &copies)?
    };
    let mut claims = losses::of_evidence(desk, &contest, &kept, &|c: &Commitment| {
        *c != winner && *c != stands && copies(c) > 0
    })?;
    let relied = relied(desk, &row, &kept, stands, winner)?;
    if winner != stands {
        if copies(&stands) > 0 {
            claims.extend(losses::of_rows(desk, &contest, &row, &below)?);
        }
        unseat(desk, &mut row, &contest.slot, below)?;
    }
    if !contest.late {
        row.contested = None;
        desk.put(Row::Holding(Box::new(row)))?;
    }
    let (slot, offender, signer) = (contest.slot, contest.offender, contest.signer);
    let (holding, late) = (contest.holding, contest.late);
    contest::end(desk, contest, ContestState::Decided(winner))?;
    if !late {
        replay(desk, terms, &kept, winner)?;
    }
    for (account, won) in relied {
        let what = NoticeKind::ContestDecided {
            holding,
            stands: winner,
            won,
        };
        desk.notify(&account, what)?;
    }
    losses::take(desk, &offender, &signer, &slot, claims)
}

fn kept(desk: &mut Desk<'_>, contest: &ContestRow) -> Result<Vec<Kept>, Stop> {
    let mut all = Vec::new();
    let mut keys = vec![
        RowKey::Account(contest.offender),
        RowKey::Coin(contest.coin),
    ];
    for row in contest::evidence(desk, contest)? {
        let presented = Presented::kept(&row.bytes)
            .map_err(|e| Stop::Broken(format!("evidence {} in {}: {e}", row.number, row.slot)))?;
        keys.extend(presented.keys());
        keys.extend(presented.holder_keys());
        keys.push(RowKey::Account(row.presenter));
        all.push(Kept { row, presented });
    }
    desk.want(&keys)?;
    Ok(all)
}

/// Commitment of what stands in a slot of this holding.
fn standing_in(row: &HoldingRow, slot: &Slot) -> Result<Commitment, Stop> {
    if *slot == Slot::spend(&row.id) {
        Ok(standing(row)?.commitment())
    } else {
        Ok(standing_close(row)?.commitment())
    }
}

fn choose(
    desk: &mut Desk<'_>,
    row: &HoldingRow,
    slot: &Slot,
    stands: Commitment,
    kept: &[Kept],
    copies: &dyn Fn(&Commitment) -> u32,
) -> Result<Commitment, Stop> {
    let me = desk.account_behind(&row.key)?;
    let payee = match &row.state {
        HoldingState::Fixed { spend, .. } | HoldingState::Split { spend, .. } => Some(
            OpenSpend::decode(spend)
                .map_err(|e| damaged(row, &e))?
                .payee,
        ),
        _ => None,
    };
    let mut candidates = Vec::new();
    let mut add = |desk: &mut Desk<'_>, c: Commitment, payee: Option<PublicKey>| {
        let to = payee.map(|key| desk.account_behind(&key)).transpose()?;
        candidates.push(Candidate {
            c,
            copies: copies(&c),
            to_somebody_else: to.is_some_and(|account| account != me),
        });
        Ok::<(), Stop>(())
    };
    add(desk, stands, payee)?;
    let mut seen = BTreeSet::from([stands]);
    for kept in kept {
        if let Some(c) = kept.row.c
            && seen.insert(c)
        {
            add(desk, c, kept.presented.payee_in(slot))?;
        }
    }
    // The first of the best: `max_by_key` would take the last.
    let mut best: Option<Candidate> = None;
    for candidate in candidates {
        let rank = |c: &Candidate| (c.copies, c.to_somebody_else);
        if best.as_ref().is_none_or(|b| rank(&candidate) > rank(b)) {
            best = Some(candidate);
        }
    }
    Ok(best.map_or(stands, |candidate| candidate.c))
}

/// Who is told, and whether what it relied on stands: whoever presented, and whoever has a credit
/// below what stood before.
fn relied(
    desk: &mut Desk<'_>,
    row: &HoldingRow,
    kept: &[Kept],
    stands: Commitment,
    winner: Commitment,
) -> Result<BTreeMap<PublicKey, bool>, Stop> {
    let mut relied: BTreeMap<PublicKey, bool> = BTreeMap::new();
    for kept in kept {
        let won = relied.entry(kept.row.presenter).or_default();
        *won |= kept.row.c == Some(winner);
    }
    for account in credited(desk, row)? {
        *relied.entry(account).or_default() |= stands == winner;
    }
    let accounts: Vec<RowKey> = relied.keys().map(|id| RowKey::Account(*id)).collect();
    desk.want(&accounts)?;
    Ok(relied)
}

/// All known holdings below this one, those further up first.
pub(super) fn below(desk: &mut Desk<'_>, row: &HoldingRow) -> Result<Vec<HoldingRow>, Stop> {
    let mut all = Vec::new();
    let mut level = row.shares();
    while !level.is_empty() {
        let keys: Vec<RowKey> = level
            .iter()
            .flat_map(|id| [RowKey::Holding(*id), RowKey::Credit(*id)])
            .collect();
        desk.want(&keys)?;
        let mut next = Vec::new();
        for id in level {
            if let Some(row) = desk.holding(&id)? {
                next.extend(row.shares());
                all.push(row);
            }
        }
        level = next;
    }
    Ok(all)
}

/// The accounts with a pending credit for this holding or one below it.
pub(super) fn credited(desk: &mut Desk<'_>, row: &HoldingRow) -> Result<BTreeSet<PublicKey>, Stop> {
    let mut accounts = BTreeSet::new();
    let mut rows = below(desk, row)?;
    rows.push(row.clone());
    for row in rows {
        if matches!(row.state, HoldingState::Redeemed { .. })
            && let Some(credit) = desk.credit(&row.id)?
            && credit.state == CreditState::Pending
        {
            accounts.insert(credit.account);
        }
    }
    let keys: Vec<RowKey> = accounts.iter().map(|id| RowKey::Account(*id)).collect();
    desk.want(&keys)?;
    Ok(accounts)
}

/// Takes away what stands in the slot, and everything below it.
fn unseat(
    desk: &mut Desk<'_>,
    row: &mut HoldingRow,
    slot: &Slot,
    below: Vec<HoldingRow>,
) -> Result<(), Stop> {
    for row in below {
        void(desk, row, slot)?;
    }
    if *slot == Slot::spend(&row.id) {
        void(desk, row.clone(), slot)?;
        row.state = HoldingState::Void;
    } else if let HoldingState::Split { c, spend, .. } = row.state.clone() {
        free(desk, slot)?;
        row.state = HoldingState::Fixed { c, spend };
    }
    Ok(())
}

/// Makes a holding unknown again: its credit goes back, its slots are free, and what was or is being
/// decided about them, but for the slot that is decided now, was about a tree that is gone.
fn void(desk: &mut Desk<'_>, mut row: HoldingRow, now_decided: &Slot) -> Result<(), Stop> {
    let mut slots = vec![Slot::spend(&row.id)];
    match &row.state {
        HoldingState::Split { c, .. } => slots.push(Slot::close(&row.id, c)),
        HoldingState::Redeemed { .. } => cancel(desk, &row)?,
        HoldingState::Fixed { .. } | HoldingState::Void => {}
    }
    let keys: Vec<RowKey> = slots
        .iter()
        .flat_map(|slot| [RowKey::Contest(*slot), RowKey::Spent(*slot)])
        .collect();
    desk.want(&keys)?;
    for slot in &slots {
        free(desk, slot)?;
        let contest = desk.contest(slot)?.filter(|_| slot != now_decided);
        match contest {
            Some(contest) if contest.is_open() => {
                contest::end(desk, contest, ContestState::Dropped)?;
            }
            Some(mut contest) => {
                contest.state = ContestState::Dropped;
                desk.put(Row::Contest(Box::new(contest)))?;
            }
            None => {}
        }
    }
    row.contested = None;
    row.state = HoldingState::Void;
    desk.put(Row::Holding(Box::new(row)))
}

/// The spent list says that nothing stands in this slot any more.
fn free(desk: &mut Desk<'_>, slot: &Slot) -> Result<(), Stop> {
    desk.want(&[RowKey::Spent(*slot)])?;
    desk.put(spent(*slot, FREE, desk.now))
}

/// A pending credit goes back to the coin's buyer as outstanding.
fn cancel(desk: &mut Desk<'_>, row: &HoldingRow) -> Result<(), Stop> {
    desk.want(&[RowKey::Credit(row.id), RowKey::Coin(row.coin)])?;
    let (Some(credit), Some(mut coin)) = (desk.credit(&row.id)?, desk.coin(&row.coin)?) else {
        return Err(damaged(row, &"it has no credit or no coin"));
    };
    if credit.state != CreditState::Pending {
        return Err(damaged(row, &"its credit was paid while it was contested"));
    }
    desk.want(&[
        RowKey::Account(credit.account),
        RowKey::Account(coin.account),
    ])?;
    let credited = coin.credited.checked_sub(credit.units);
    coin.credited = credited.ok_or_else(|| damaged(row, &"its coin was credited less"))?;
    desk.transfer(
        Ledger::Pending(credit.account),
        Ledger::Outstanding(coin.account),
        credit.units,
        &credit.holding.to_string(),
    )?;
    desk.put(Row::Coin(coin))?;
    let what = NoticeKind::CreditCancelled {
        holding: credit.holding,
        units: credit.units,
    };
    desk.notify(&credit.account, what)?;
    desk.put(Row::Credit(CreditRow {
        state: CreditState::Cancelled,
        ..credit
    }))
}

/// Walks again what was kept: what goes through the statement that stands takes its place, in the
/// order presented; what no longer fits is left out.
fn replay(
    desk: &mut Desk<'_>,
    terms: &Terms,
    kept: &[Kept],
    winner: Commitment,
) -> Result<(), Stop> {
    for kept in kept.iter().filter(|k| k.row.c.is_none_or(|c| c == winner)) {
        let asked = Asked {
            me: &kept.row.presenter,
            redeem: matches!(kept.presented.leaf().tail, Tail::Redeem(_)),
            at: kept.row.at,
        };
        match walk::walk(desk, terms, &asked, &kept.presented) {
            Ok(_) | Err(Stop::Refused(_)) => {}
            Err(stop) => return Err(stop),
        }
    }
    Ok(())
}
