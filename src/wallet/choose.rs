//! Which holding goes into a channel, and which coins to buy (`docs/protocol.md` section 5).

use super::rows::{HoldingRow, HoldingState, PurchaseState, Rows, SpendRow};
use crate::units::{InfoHash, Units, UnixMs};

/// Values in which coins are sold, ascending.
pub const SIZES: [u64; 5] = [16, 64, 256, 1024, 4096];
/// The coin that is kept at hand.
pub const AT_HAND: Units = Units(64);
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
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            channels: 32,
            at_hand: 8,
            reserve_ms: 120_000,
        }
    }
}

/// What a channel wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The torrent that is paid for.
    pub info_hash: InfoHash,
    /// The smallest value that suits.
    pub at_least: Units,
    /// The greatest value that is of use. Below the smallest coin it counts as the smallest coin.
    pub at_most: Units,
}

/// What the broker would sell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Units that the balance and the bond allow to buy; `None` while that is unknown.
    pub buyable: Option<Units>,
    /// Balance at the broker, as last known: part of what "half the wallet" is half of.
    pub balance: Units,
    /// Whether the last request failed: then nothing is waited for.
    pub unreachable: bool,
}

/// Why no holding is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCoin {
    /// What the torrent's budget leaves is less than any coin.
    OverBudget,
    /// Nothing that fits, and nothing to buy it with or nobody to buy it from.
    NoFunds,
    /// Nothing that fits yet: buy these.
    NotYet {
        /// Values to buy.
        buy: Vec<Units>,
    },
    /// Too much is locked with payees that have not shown good faith.
    WalletLimit,
}

/// Whether a payee has shown good faith by this channel: it closed, or was paid three quarters of
/// it for pieces that verified.
fn shows_faith(row: &SpendRow) -> bool {
    let ticked_far = u64::from(row.last_k).saturating_mul(4) >= row.value.0.saturating_mul(3);
    row.close.as_ref().is_some_and(|close| close.k > 0) || ticked_far
}

/// Channels locked with payees that have not shown good faith: their number and what is locked in
/// them. Running reservations count.
#[must_use]
pub fn exposed(rows: &Rows, now: UnixMs) -> (usize, Units) {
    let faithful = |row: &SpendRow| {
        rows.spends.values().any(|other| {
            (other.payee == row.payee || (!row.peer.is_empty() && other.peer == row.peer))
                && shows_faith(other)
        })
    };
    let locked = rows
        .spends
        .values()
        .filter(|row| row.close.is_none() && !faithful(row))
        .map(|row| row.value.saturating_sub(Units(u64::from(row.last_k))));
    let reserved = rows.holdings.values().filter_map(|row| match row.state {
        HoldingState::Reserved { until, .. } if now < until => Some(row.holding.value),
        _ => None,
    });
    let amounts: Vec<Units> = locked.chain(reserved).collect();
    let sum = Units::checked_sum(amounts.iter().copied()).unwrap_or(Units(u64::MAX));
    (amounts.len(), sum)
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
    let idle = match row.state {
        HoldingState::Available => true,
        HoldingState::Reserved { until, .. } => now >= until,
        _ => false,
    };
    idle && row.is_spendable() && now.day().plus(1) < row.holding.expires
}

fn free(rows: &Rows, now: UnixMs) -> impl Iterator<Item = &HoldingRow> {
    rows.holdings.values().filter(move |row| is_free(row, now))
}

/// Chooses a holding for `wish`: the smallest that fits. Where the budget or the wallet limit
/// leaves less than the wish, or nothing that fits can be had, a smaller one.
///
/// # Errors
/// [`NoCoin`]: why none is given, and what to buy.
pub fn choose<'a>(
    rows: &'a Rows,
    limits: &Limits,
    funds: &Funds,
    wish: &Wish,
    now: UnixMs,
) -> Result<&'a HoldingRow, NoCoin> {
    let smallest = Units(SIZES[0]);
    let budget_rest = match rows.budgets.get(&wish.info_hash) {
        Some(budget) => budget.saturating_sub(rows.committed(&wish.info_hash, now)),
        None => Units(u64::MAX),
    };
    let limit_rest = limit_rest(rows, limits, funds, now).ok_or(NoCoin::WalletLimit)?;
    let cap = wish.at_most.max(smallest).min(budget_rest).min(limit_rest);
    let least = wish.at_least.min(cap);
    let fits = free(rows, now)
        .filter(|row| row.holding.value >= least && row.holding.value <= cap)
        .min_by_key(|row| (row.holding.value, row.holding.expires));
    if let Some(row) = fits {
        return Ok(row);
    }
    let smaller = free(rows, now)
        .filter(|row| row.holding.value <= cap)
        .max_by_key(|row| row.holding.value);
    match size_for(least, cap) {
        Some(size) if size >= least => match buyable(rows, funds, size) {
            Some(buy) => Err(NoCoin::NotYet { buy }),
            None => smaller.ok_or(NoCoin::NoFunds),
        },
        Some(size) => match (smaller, buyable(rows, funds, size)) {
            (Some(row), _) if row.holding.value >= size => Ok(row),
            (_, Some(buy)) => Err(NoCoin::NotYet { buy }),
            (row, None) => row.ok_or(NoCoin::NoFunds),
        },
        None => smaller.ok_or(if budget_rest < smallest {
            NoCoin::OverBudget
        } else {
            NoCoin::WalletLimit
        }),
    }
}

/// The coin to buy for a wish between `least` and `cap`: the smallest that fits, else the greatest
/// below.
fn size_for(least: Units, cap: Units) -> Option<Units> {
    let sizes = SIZES.iter().map(|size| Units(*size));
    sizes
        .clone()
        .find(|size| *size >= least && *size <= cap)
        .or_else(|| sizes.filter(|size| *size <= cap).next_back())
}

/// What to buy so that a coin of `size` comes, or of the next smaller size that there is money
/// for. Empty while such a coin is already on its way; `None` if it cannot be had.
fn buyable(rows: &Rows, funds: &Funds, size: Units) -> Option<Vec<Units>> {
    if funds.unreachable {
        return None;
    }
    if coming(rows).any(|value| value == size) {
        return Some(Vec::new());
    }
    let affordable = |value: &Units| funds.buyable.is_none_or(|buyable| *value <= buyable);
    let mut sizes = SIZES.iter().rev().map(|value| Units(*value));
    sizes
        .find(|value| *value <= size && affordable(value))
        .map(|value| vec![value])
}

fn coming(rows: &Rows) -> impl Iterator<Item = Units> {
    rows.purchases
        .values()
        .filter(|row| row.state == PurchaseState::Pending)
        .flat_map(|row| row.coins.iter().map(|(value, _)| *value))
}

/// Coins to buy so that enough are at hand after `also` was bought: up to [`Limits::at_hand`] of 64
/// units, as far as the money goes.
#[must_use]
pub fn top_up(
    rows: &Rows,
    limits: &Limits,
    funds: &Funds,
    also: &[Units],
    now: UnixMs,
) -> Vec<Units> {
    let Some(buyable) = funds.buyable.filter(|_| !funds.unreachable) else {
        return Vec::new();
    };
    let spent: u64 = also
        .iter()
        .map(|value| value.0)
        .fold(0, u64::saturating_add);
    let affordable = buyable.saturating_sub(Units(spent)).0 / AT_HAND.0;
    let at_hand = free(rows, now)
        .map(|row| row.holding.value)
        .chain(coming(rows))
        .chain(also.iter().copied())
        .filter(|value| *value == AT_HAND)
        .count();
    let missing = limits.at_hand.saturating_sub(at_hand);
    let room = MAX_BATCH.saturating_sub(also.len());
    let count = missing
        .min(room)
        .min(usize::try_from(affordable).unwrap_or(usize::MAX));
    vec![AT_HAND; count]
}

/// Coins that make up at least `units` together: greatest first, the rest rounded up to the
/// smallest coin.
#[must_use]
pub fn split(units: Units) -> Vec<Units> {
    let smallest = SIZES[0];
    let mut rest = units.0.div_ceil(smallest).saturating_mul(smallest);
    let mut coins = Vec::new();
    for size in SIZES.iter().rev() {
        while rest >= *size && coins.len() < 4096 {
            coins.push(Units(*size));
            rest = rest.saturating_sub(*size);
        }
    }
    coins
}
