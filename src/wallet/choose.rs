//! Which holding goes into a channel, and which coins to buy (`docs/protocol.md` section 5).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::rows::{
    HoldingRow, HoldingState, Origin, PurchaseRow, PurchaseState, RequestId, Rows, SpendRow,
};
use crate::coin::ids::HoldingId;
use crate::units::{AT_HAND, InfoHash, Units, UnixMs};

/// Values in which coins are sold, ascending.
pub const SIZES: [u64; 5] = [16, 64, 256, 1024, 4096];
/// The greatest coin.
pub const GREATEST: Units = Units(4096);
/// One channel draws at most this part of what may be paid in all.
const GRANTS: u64 = 8;
/// Most coins in one purchase, and most holdings in one redemption.
pub const MAX_BATCH: usize = 32;

/// What a wallet holds itself to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most channels with payees that have not shown good faith.
    pub channels: usize,
    /// Coins of 64 units kept at hand.
    pub at_hand: usize,
    /// How long a reservation lasts without a commit, in milliseconds.
    pub reserve_ms: u64,
    /// The most that may ever have been paid, open channels counted in full; none: whatever there is.
    pub pay_up_to: Option<Units>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            channels: 32,
            at_hand: 8,
            reserve_ms: 120_000,
            pay_up_to: None,
        }
    }
}

/// What a channel wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The torrent that is paid for.
    pub info_hash: InfoHash,
    /// The smallest value that is of use.
    pub at_least: Units,
    /// The greatest value that is of use, and the one that suits best. Rounded up to a coin.
    pub at_most: Units,
}

/// What the broker would sell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Units that the balance and the bond allow to buy; `None` while that is unknown.
    pub buyable: Option<Units>,
    /// Balance at the broker, as last known: part of what "half the wallet" is half of.
    pub balance: Units,
    /// Whether the last request failed: then nothing is waited for.
    pub unreachable: bool,
    /// Whether slots of earlier runs' holdings are being read: then those count as at hand.
    pub is_reading: bool,
    /// Purchases that the broker does not answer, though it answers others: nobody waits for their coins, and
    /// none of their sizes is bought once more meanwhile, but coins of other sizes are.
    pub held: BTreeSet<RequestId>,
}

impl Funds {
    /// Whether a coin of this size is in a purchase that the broker does not answer.
    fn is_held(&self, rows: &Rows, size: Units) -> bool {
        let held = pending(rows).filter(|row| self.held.contains(&row.request));
        coins(held).any(|value| value == size)
    }
}

/// Why no holding is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCoin {
    /// What the torrent's budget leaves is less than the wish.
    OverBudget,
    /// What may be paid in all leaves less than the wish.
    OverBudgetOfAll,
    /// Nothing that fits, and nothing to buy it with or nobody to buy it from.
    NoFunds,
    /// What is there is enough, but no single holding is, and there is nothing to buy one with.
    TooSmall,
    /// Nothing that fits yet: [`orders`] says what to buy.
    NotYet,
    /// What fits is ordered, the broker does not answer for it, and nothing else that fits can be bought.
    Unanswered,
    /// Too much is locked with payees that have not shown good faith.
    WalletLimit,
}

/// Whether a payee has shown good faith by this channel: it closed, or was paid three quarters of
/// it for pieces that verified.
fn shows_faith(row: &SpendRow) -> bool {
    let ticked_far = u64::from(row.last_k).saturating_mul(4) >= row.value.0.saturating_mul(3);
    row.close.as_ref().is_some_and(|close| close.k > 0) || ticked_far
}

/// A payee's good faith in one channel counts for channels of so many times its value.
const FAITH_TIMES: u64 = 4;

/// Channels locked with payees that have not shown good faith in one of a quarter of the value: their number
/// and what is locked in them. Running reservations count.
#[must_use]
pub fn exposed(rows: &Rows, now: UnixMs) -> (usize, Units) {
    let faithful = |row: &SpendRow| {
        rows.spends.values().any(|other| {
            (other.payee == row.payee || (!row.peer.is_empty() && other.peer == row.peer))
                && other.value.0.saturating_mul(FAITH_TIMES) >= row.value.0
                && shows_faith(other)
        })
    };
    let locked = rows
        .open_spends()
        .filter(|row| !faithful(row))
        .map(|row| row.value.saturating_sub(Units(u64::from(row.last_k))));
    let reserved = rows.holdings.values().filter_map(|row| match row.state {
        HoldingState::Reserved { until, .. } if now < until => Some(row.holding.value),
        _ => None,
    });
    let amounts: Vec<Units> = locked.chain(reserved).collect();
    let sum = Units::checked_sum(amounts.iter().copied()).unwrap_or(Units(u64::MAX));
    (amounts.len(), sum)
}

impl Rows {
    /// What was ever paid and may yet be: ticks, and what is left of open channels and reserved.
    #[must_use]
    pub fn committed_in_all(&self, now: UnixMs) -> Units {
        let reserved = self.holdings.values().filter_map(|row| match row.state {
            HoldingState::Reserved { until, .. } if now < until => Some(row.holding.value),
            _ => None,
        });
        let open = self.open_spends();
        let left = open.map(|row| row.value.saturating_sub(Units(u64::from(row.last_k))));
        let sum = Units::checked_sum(reserved.chain(left).chain([self.meta.books.paid]));
        sum.unwrap_or(Units(u64::MAX))
    }
}

/// Whether open channels may yet pay more than the budgets allow, as they were lowered meanwhile.
pub fn overspent(rows: &Rows, limits: &Limits, info_hash: &InfoHash, now: UnixMs) -> bool {
    let own = rows.budgets.get(info_hash);
    own.is_some_and(|own| rows.committed(info_hash, now) > *own)
        || (limits.pay_up_to).is_some_and(|most| rows.committed_in_all(now) > most)
}

/// What the wallet limits leave for one more channel; `None` where there may be none.
fn limit_rest(rows: &Rows, limits: &Limits, funds: &Funds, now: UnixMs) -> Option<Units> {
    let (channels, locked) = exposed(rows, now);
    if channels == 0 {
        return Some(Units(u64::MAX));
    }
    if channels >= limits.channels {
        return None;
    }
    let total = rows.held()?.checked_add(funds.balance)?;
    Some(Units(total.0 / 2).saturating_sub(locked))
}

/// Whether `row` could go into a channel now: never signed for, not promised, not too old.
#[must_use]
pub fn is_free(row: &HoldingRow, now: UnixMs) -> bool {
    row.is_idle(now) && row.is_spendable() && now.day().plus(1) < row.holding.expires
}

/// Whether `row` will be free once its slot was read, whenever that is.
#[must_use]
pub fn is_unread(row: &HoldingRow, now: UnixMs) -> bool {
    let is_live = now.day().plus(1) < row.holding.expires;
    row.state == HoldingState::Unread && row.is_spendable() && is_live
}

/// The holding of an earlier run that would suit `wish` best if its slot were read.
#[must_use]
pub fn best_unread(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Option<HoldingId> {
    let Room { least, most, .. } = room(rows, limits, funds, wish, now).ok()?;
    best_of(unread(rows, now), least, most).map(|row| row.holding.id)
}

/// The holding of an earlier run that would be used for `wish` if its slot were read, though it is larger
/// than what suits: nothing else comes soon.
#[must_use]
pub fn larger_unread(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Option<HoldingId> {
    let room = room(rows, limits, funds, wish, now).ok()?;
    let larger = room.larger(unread(rows, now));
    let larger = larger.filter(|_| room.is_sold() && !room.comes_soon(rows, funds));
    larger.map(|row| row.holding.id)
}

/// What suits best of those that fit: shares and change before coins, but small ones after; then the
/// greatest, the shortest path, the oldest.
fn best_of<'a>(
    rows: impl Iterator<Item = &'a HoldingRow>,
    least: Units,
    most: Units,
) -> Option<&'a HoldingRow> {
    rows.filter(|row| row.holding.value >= least && row.holding.value <= most)
        .max_by_key(|row| {
            let rank = match (goes_first(row, most), travels(row)) {
                (true, _) => 2,
                (false, false) => 1,
                (false, true) => 0,
            };
            let age = (Reverse(row.links()), Reverse(row.holding.expires));
            (rank, row.holding.value, age)
        })
}

/// Those that will be free soon: their slots are read, and have not been in vain again and again.
fn unread(rows: &Rows, now: UnixMs) -> impl Iterator<Item = &HoldingRow> {
    let is_soon =
        move |row: &&HoldingRow| is_unread(row, now) && !rows.unreadable.contains(&row.holding.id);
    rows.holdings.values().filter(is_soon)
}

fn free(rows: &Rows, now: UnixMs) -> impl Iterator<Item = &HoldingRow> {
    rows.holdings.values().filter(move |row| is_free(row, now))
}

/// What a holding for a wish may be worth, given budget and limits.
struct Room {
    least: Units,
    most: Units,
    /// What budget and limits leave: no less than `most`.
    limit: Units,
    /// What is the reason where no coin is small enough.
    bound_by: NoCoin,
}

impl Room {
    fn fits(&self, value: Units) -> bool {
        value >= self.least && value <= self.most
    }

    /// Whether a coin is sold that fits.
    fn is_sold(&self) -> bool {
        SIZES.iter().any(|size| self.fits(Units(*size)))
    }

    /// Whether a coin that fits is on its way, or can be bought.
    fn comes_soon(&self, rows: &Rows, funds: &Funds) -> bool {
        let affordable = |size: &Units| funds.buyable.is_none_or(|most| *size <= most);
        let mut sizes = SIZES.iter().map(|size| Units(*size)).filter(affordable);
        let comes = pending(rows).filter(|row| !funds.held.contains(&row.request));
        !funds.unreachable
            && (coins(comes).any(|value| self.fits(value))
                || sizes.any(|size| self.fits(size) && !funds.is_held(rows, size)))
    }

    /// The smallest of those that are worth more than what suits, as far as budget and limits go: what
    /// is not ticked comes back as change. A wallet that has nothing smaller, and can have none, would
    /// else have money that it cannot use.
    fn larger<'a>(&self, rows: impl Iterator<Item = &'a HoldingRow>) -> Option<&'a HoldingRow> {
        let larger =
            |row: &&HoldingRow| row.holding.value > self.most && row.holding.value <= self.limit;
        rows.filter(larger)
            .min_by_key(|row| (row.holding.value, row.links(), row.holding.expires))
    }
}

/// The room that `wish` has.
fn room(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Result<Room, NoCoin> {
    let least = wish.at_least.max(Units(1));
    let own = rows.budgets.get(&wish.info_hash);
    let own = own.map(|budget| budget.saturating_sub(rows.committed(&wish.info_hash, now)));
    let own = own.unwrap_or(Units(u64::MAX));
    let of_all = limits.pay_up_to;
    let of_all = of_all.map(|most| most.saturating_sub(rows.committed_in_all(now)));
    let grant = of_all.map_or(Units(u64::MAX), |rest| grant(rest, least));
    let of_all = of_all.unwrap_or(Units(u64::MAX));
    let (budget_rest, over) = match own <= of_all {
        true => (own, NoCoin::OverBudget),
        false => (of_all, NoCoin::OverBudgetOfAll),
    };
    if budget_rest < least {
        return Err(over);
    }
    let limit_rest = limit_rest(rows, limits, funds, now).ok_or(NoCoin::WalletLimit)?;
    if limit_rest < least {
        return Err(NoCoin::WalletLimit);
    }
    let most = round_up(wish.at_most.max(least));
    Ok(Room {
        least,
        most: most.min(budget_rest).min(limit_rest).min(grant),
        limit: budget_rest.min(limit_rest),
        bound_by: match budget_rest < limit_rest {
            true => over,
            false => NoCoin::WalletLimit,
        },
    })
}

/// The most that one channel draws from what may be paid in all: an eighth of what is left, so that
/// something is left for the next torrent, but a coin as it is at hand, or the smallest of use.
fn grant(rest: Units, least: Units) -> Units {
    Units(rest.0 / GRANTS).max(AT_HAND).max(round_up(least))
}

/// The smallest coin that is worth `value`, or the greatest coin.
fn round_up(value: Units) -> Units {
    let mut sizes = SIZES.iter().map(|size| Units(*size));
    sizes.find(|size| *size >= value).unwrap_or(GREATEST)
}

/// Whether somebody else had it before, or will have: a share, or change.
fn travels(row: &HoldingRow) -> bool {
    row.origin != Origin::Bought
}

/// Whether a holding that travels is worth taking before a coin: it is no less than a quarter of
/// what suits best.
fn goes_first(row: &HoldingRow, most: Units) -> bool {
    travels(row) && row.holding.value.0.saturating_mul(4) >= most.0
}

/// Chooses a holding for `wish` among those between what is of use and what suits best: shares and
/// change before coins, so that money travels before more is bought, but small ones after; then
/// the greatest, which leaves least over; the shortest path; the oldest. What is at hand is given
/// at once, even where a greater one would suit better. Where nothing fits and nothing that fits comes
/// soon, the smallest that is too large.
///
/// # Errors
/// [`NoCoin`]: why none is given.
pub fn choose<'a>(
    rows: &'a Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Result<&'a HoldingRow, NoCoin> {
    let room = room(rows, limits, funds, wish, now)?;
    if let Some(row) = best_of(free(rows, now), room.least, room.most) {
        return Ok(row);
    }
    if funds.is_reading && best_unread(rows, limits, funds, wish, now).is_some() {
        return Err(NoCoin::NotYet);
    }
    if !room.is_sold() {
        return Err(room.bound_by);
    }
    if room.comes_soon(rows, funds) {
        return Err(NoCoin::NotYet);
    }
    if let Some(row) = room.larger(free(rows, now)) {
        return Ok(row);
    }
    let is_of_use = |row: &HoldingRow| {
        is_unread(row, now) && row.holding.value >= room.least && row.holding.value <= room.limit
    };
    if funds.is_reading && rows.holdings.values().any(is_of_use) {
        return Err(NoCoin::NotYet);
    }
    if coming(rows).any(|value| room.fits(value)) {
        return Err(NoCoin::Unanswered);
    }
    let at_hand = || free(rows, now).map(|row| row.holding.value);
    let all = Units::checked_sum(at_hand()).unwrap_or(Units(u64::MAX));
    match all >= room.least && at_hand().all(|value| value < room.least) {
        true => Err(NoCoin::TooSmall),
        false => Err(NoCoin::NoFunds),
    }
}

/// The coin to buy because `given` is not what suits `wish` best, if one may be had for it at all.
/// Where a share or change of a good size is given, none is.
#[must_use]
pub fn missed_size(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    given: Option<&HoldingRow>,
    now: UnixMs,
) -> Option<Units> {
    let Room { least, most, .. } = room(rows, limits, funds, wish, now).ok()?;
    let mut sizes = SIZES.iter().rev().map(|size| Units(*size));
    let fits = |size: &Units| *size >= least && *size <= most;
    let best = sizes.find(|size| fits(size) && !funds.is_held(rows, *size))?;
    let is_missed = given.is_none_or(|row| row.holding.value < best && !goes_first(row, most));
    is_missed.then_some(best)
}

/// The coin to buy for a later `wish`, so that it is there by then: none where what is at hand does, or where
/// it would cost more than a quarter of what could be bought.
#[must_use]
pub fn size_ahead(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Option<Units> {
    let Room { least, most, .. } = room(rows, limits, funds, wish, now).ok()?;
    let given = best_of(free(rows, now), least, most);
    let size = missed_size(rows, limits, funds, wish, given, now)?;
    let is_small = |buyable: Units| size.0.saturating_mul(4) <= buyable.0;
    funds.buyable.is_some_and(is_small).then_some(size)
}

fn pending(rows: &Rows) -> impl Iterator<Item = &PurchaseRow> {
    let rows = rows.purchases.values();
    rows.filter(|row| row.state == PurchaseState::Pending)
}

fn coins<'a>(rows: impl Iterator<Item = &'a PurchaseRow>) -> impl Iterator<Item = Units> {
    rows.flat_map(|row| row.coins.iter().map(|(value, _)| *value))
}

fn coming(rows: &Rows) -> impl Iterator<Item = Units> {
    coins(pending(rows))
}

/// Coins to order: one of each size in `wanted` that is neither at hand nor on its way (or the next
/// smaller one that there is money for and that the broker answers for, but none below the value beside the
/// size, the least that is of use), then coins of 64 units up to [`Limits::at_hand`]. Shares and
/// change that could stand for such a coin are counted.
#[must_use]
pub fn orders(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    wanted: &[(Units, Units)],
    now: UnixMs,
) -> Vec<Units> {
    let Some(mut rest) = funds.buyable.filter(|_| !funds.unreachable) else {
        return Vec::new();
    };
    let at_hand_most = Units(AT_HAND.0.saturating_mul(4));
    let is_small = |row: &&HoldingRow| match travels(row) {
        true => row.holding.value <= at_hand_most,
        false => row.holding.value == AT_HAND,
    };
    // While the DHT does not answer, what is still to be read is of no use where a coin is wanted, but it is
    // there: else each start would buy as much again.
    let small_ones = (rows.holdings.values())
        .filter(|row| is_free(row, now) || is_unread(row, now))
        .filter(is_small)
        .count();
    let read_soon = unread(rows, now).filter(|_| funds.is_reading);
    let mut have: Vec<Units> = (free(rows, now).chain(read_soon))
        .filter(|row| !travels(row))
        .map(|row| row.holding.value)
        .chain(coming(rows))
        .collect();
    let mut orders = Vec::new();
    let order = |size: Units, rest: &mut Units, orders: &mut Vec<Units>| {
        if orders.len() < MAX_BATCH
            && let Some(left) = rest.checked_sub(size)
        {
            *rest = left;
            orders.push(size);
        }
    };
    for (size, least) in wanted {
        let mut sizes = SIZES.iter().rev().map(|value| Units(*value));
        let fits = |value: &Units| value >= least && value <= size && *value <= rest;
        let affordable = sizes.find(|value| fits(value) && !funds.is_held(rows, *value));
        if let Some(value) = affordable.filter(|value| !have.contains(value)) {
            order(value, &mut rest, &mut orders);
            have.push(value);
        }
    }
    let come = coming(rows).chain(orders.iter().copied());
    let come = come.filter(|value| *value == AT_HAND).count();
    for _ in come.saturating_add(small_ones)..limits.at_hand {
        order(AT_HAND, &mut rest, &mut orders);
    }
    orders
}
