//! What a wallet has to do by itself, and when: look for closes that never came, read closes back,
//! keep records in the DHT, show the broker what it should know, and redeem in time
//! (`docs/protocol.md` sections 5 and 6).
//!
//! Pure: rows, a diary of this run and the moment go in, due work comes out. Whatever is due is due
//! until it was done, so a process that was away catches up when it comes back.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::error::WalletError;
use super::rows::{HoldingRow, HoldingState, Origin, Passing, ReceivedRow, Rows, SpendRow};
use super::trade::SETTLE_DAYS;
use crate::coin::ids::{Commitment, HoldingId};
use crate::units::{Day, Units, UnixMs};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The hold of a broker that did not say what its hold is.
pub const HOLD_MS: u64 = 48 * HOUR_MS;

/// Ages at which a missing close is looked for; then every day.
const POLLS_MS: [u64; 3] = [15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS];
/// Age from which the broker is asked for a missing close too.
const ASK_BROKER_MS: u64 = DAY_MS;
/// Waits between tries to read a close back; the last one repeats.
const READ_BACK_MS: [u64; 4] = [3_000, 30_000, 5 * MINUTE_MS, HOUR_MS];
/// What is to be presented or redeemed waits this long for company, so that it goes in one batch,
/// and so that it is done within a day of a close.
pub const BATCH_MS: u64 = 18 * HOUR_MS;
/// Days before a coin's expiry from which what is under it is redeemed and no longer kept.
pub const RENEW_DAYS: u32 = 3;

/// What the wallet keeps by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Units of shares and change kept to pay with; what is beyond is redeemed.
    pub keep: Units,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { keep: Units(1024) }
    }
}

/// What happened in this run and need not survive it.
#[derive(Clone, Debug, Default)]
pub struct Diary {
    /// When the run began.
    pub started: UnixMs,
    /// Channels that are open in this run, ours and others': nothing is done about them here.
    pub live: BTreeSet<Commitment>,
    /// When the records of a received spend were last put again.
    pub put: BTreeMap<Commitment, UnixMs>,
    /// How often a close was read back in vain, and when last.
    pub tried: BTreeMap<Commitment, (u32, UnixMs)>,
}

/// One thing to do in the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Look for the close of a spend of ours whose payee never sent one.
    FindClose {
        /// The spend.
        spend: Commitment,
        /// Whether to ask the broker where the DHT has none.
        asks_broker: bool,
    },
    /// Read the close of a spend of ours back, so that its change may be spent on.
    ReadBack {
        /// The spend.
        spend: Commitment,
    },
    /// Put the close of a received spend, and read it back.
    PutClose {
        /// The spend.
        spend: Commitment,
    },
    /// Read one place of the records of a received spend and put them again.
    PutAgain {
        /// The spend.
        spend: Commitment,
        /// The place, 0 to 2.
        place: u8,
    },
}

/// What is to be done in the DHT now. With `all`, also what would be due only later.
#[must_use]
pub fn tasks(rows: &Rows, diary: &Diary, hold_ms: u64, now: UnixMs, all: bool) -> Vec<Task> {
    let ours = rows.spends.values().filter_map(|row| {
        let is_live = diary.live.contains(&row.spend);
        match &row.close {
            None if !is_live => find_close(rows, row, now, all),
            None => None,
            Some(_) => read_back(rows, row, diary, now, all),
        }
    });
    let theirs = rows.received.values().filter_map(|row| {
        let closed = row.closed.filter(|_| row.close().is_some())?;
        if !row.put {
            return put_close(row, closed, diary, now, all);
        }
        put_again(rows, row, closed, diary, hold_ms, now)
    });
    ours.chain(theirs).collect()
}

fn find_close(rows: &Rows, row: &SpendRow, now: UnixMs, all: bool) -> Option<Task> {
    let holding = rows.holdings.get(&row.holding)?;
    if !matches!(holding.state, HoldingState::Locked { .. }) {
        return None;
    }
    let is_due = all || now >= next_poll(row, now);
    is_due.then_some(Task::FindClose {
        spend: row.spend,
        asks_broker: all || now.since_ms(ended(row, now)) >= ASK_BROKER_MS,
    })
}

/// When a connection ended, as far as that is known: by a clock that was set back since it is not, and long ago.
fn ended(row: &SpendRow, now: UnixMs) -> UnixMs {
    let mut known = row.ended.into_iter().chain([row.opened]);
    known.find(|at| *at <= now).unwrap_or(UnixMs(0))
}

/// When the close of a spend of ours is looked for next, if it does not come by itself.
#[must_use]
pub fn next_poll(row: &SpendRow, now: UnixMs) -> UnixMs {
    let base = ended(row, now);
    let is_known = |polled: &UnixMs| (base..=now).contains(polled);
    let Some(polled) = row.polled.filter(is_known) else {
        return base.plus_ms(POLLS_MS[0]);
    };
    let age_ms = polled.since_ms(base);
    match POLLS_MS.iter().find(|poll| **poll > age_ms) {
        Some(poll) => base.plus_ms(*poll),
        None => polled.plus_ms(DAY_MS),
    }
}

fn read_back(rows: &Rows, row: &SpendRow, diary: &Diary, now: UnixMs, all: bool) -> Option<Task> {
    let change = rows.holdings.get(&row.holding.change())?;
    if change.passing != Passing::AfterReadBack || !change.is_idle(now) {
        return None;
    }
    let (tries, last) = diary
        .tried
        .get(&row.spend)
        .copied()
        .unwrap_or((0, change.since));
    let wait_ms = READ_BACK_MS
        .get(usize::try_from(tries).unwrap_or(usize::MAX))
        .or(READ_BACK_MS.last())?;
    (all || !now.is_within(*wait_ms, last)).then_some(Task::ReadBack { spend: row.spend })
}

fn put_close(
    row: &ReceivedRow,
    closed: UnixMs,
    diary: &Diary,
    now: UnixMs,
    all: bool,
) -> Option<Task> {
    // Whoever closed it in this run puts it at once; this is for when that did not do.
    let last = diary.put.get(&row.spend).copied().unwrap_or(closed);
    let is_due = all || closed < diary.started || !now.is_within(5 * MINUTE_MS, last);
    is_due.then_some(Task::PutClose { spend: row.spend })
}

/// One place an hour, at a minute of the hour that the commitment draws, in turn.
fn put_again(
    rows: &Rows,
    row: &ReceivedRow,
    closed: UnixMs,
    diary: &Diary,
    hold_ms: u64,
    now: UnixMs,
) -> Option<Task> {
    if diary.live.contains(&row.spend) || !is_kept_in_dht(rows, row, hold_ms, now) {
        return None;
    }
    let jitter_ms = {
        let [a, b, c, ..] = row.spend.0;
        u64::from(u32::from_be_bytes([0, a, b, c])) % HOUR_MS
    };
    let turn = |at: UnixMs| at.0.saturating_sub(jitter_ms) / HOUR_MS;
    let last = diary.put.get(&row.spend).copied();
    let last = last.unwrap_or(closed.max(diary.started));
    // What is later than now was put before the clock was set back, nobody knows how long ago.
    (turn(now) > turn(last) || last > now).then(|| Task::PutAgain {
        spend: row.spend,
        place: u8::try_from(turn(now) % 3).unwrap_or_default(),
    })
}

/// Whether the records of a received spend must lie in the DHT still: something was earned by it,
/// and that is neither paid by the broker nor shown to it for longer than its hold.
#[must_use]
pub fn is_kept_in_dht(rows: &Rows, row: &ReceivedRow, hold_ms: u64, now: UnixMs) -> bool {
    if row.k == 0 || !row.accepted || settles(row.holding.expires) <= now.day() {
        return false;
    }
    let is_known = |since: UnixMs| now.since_ms(since) >= hold_ms && now >= since;
    if row.presented.is_some_and(is_known) {
        return false;
    }
    let share = rows.holdings.get(&row.holding.id.payee_share());
    !share.is_some_and(|share| match share.state {
        HoldingState::Redeemed { pending_until, .. } => now >= pending_until,
        _ => false,
    })
}

/// The day from which the broker redeems nothing under a coin any more.
#[must_use]
pub const fn settles(expires: Day) -> Day {
    expires.plus(SETTLE_DAYS)
}

/// The day on which the broker settles what is under a coin: until then, for a hold, it may be shown paths.
#[must_use]
pub fn settled_by(expires: Day, hold_ms: u64) -> Day {
    let days = u32::try_from(hold_ms / DAY_MS).unwrap_or(u32::MAX);
    settles(expires).plus(days)
}

/// What the broker is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Showing {
    /// The path of the share that this received spend made, which is kept.
    Share(Commitment),
    /// A spend of ours that passed a share or change on, with the path before it.
    PassedOn(Commitment),
}

/// What is to be presented now, in one batch: as soon as something has waited for [`BATCH_MS`] (or
/// at once with `all`), everything that waits.
#[must_use]
pub fn to_present(rows: &Rows, now: UnixMs, all: bool) -> Vec<Showing> {
    let shares = rows.received.values().filter_map(|row| {
        let closed = row
            .closed
            .filter(|_| row.k > 0 && row.presented.is_none())?;
        let share = rows.holdings.get(&row.holding.id.payee_share())?;
        let is_kept = is_ours(share, now) || matches!(share.state, HoldingState::Reserved { .. });
        is_kept.then_some((closed, row.holding.expires, Showing::Share(row.spend)))
    });
    let passed = rows.spends.values().filter_map(|row| {
        let holding = rows.holdings.get(&row.holding)?;
        let is_passed = holding.origin != Origin::Bought && row.presented.is_none();
        let expires = holding.holding.expires;
        is_passed.then_some((row.opened, expires, Showing::PassedOn(row.spend)))
    });
    let waiting = shares
        .chain(passed)
        .filter(|(_, expires, _)| now.day() < settles(*expires));
    batch(waiting.map(|(since, _, what)| (since, what)), now, all)
}

/// All of them, once one has waited long enough.
fn batch<T>(waiting: impl Iterator<Item = (UnixMs, T)>, now: UnixMs, all: bool) -> Vec<T> {
    let waiting: Vec<_> = waiting.collect();
    let is_due = |(since, _): &(UnixMs, T)| all || !now.is_within(BATCH_MS, *since);
    if !waiting.iter().any(is_due) {
        return Vec::new();
    }
    waiting.into_iter().map(|(_, what)| what).collect()
}

/// What is to be redeemed now, some of it after a reading of its slot: at once what expires soon, coins too; in one batch what cannot be
/// spent on and what goes beyond the units that are kept.
#[must_use]
pub fn to_redeem(rows: &Rows, rules: &Rules, now: UnixMs, all: bool) -> Vec<HoldingId> {
    let idle = || {
        rows.holdings
            .values()
            .filter(move |row| is_ours(row, now) && now.day() < settles(row.holding.expires))
    };
    let expiring = idle().filter(|row| expires_soon(row, now));
    let mut kept: Vec<&HoldingRow> = idle()
        .filter(|row| row.origin != Origin::Bought && !expires_soon(row, now))
        .collect();
    kept.sort_by_key(|row| std::cmp::Reverse((row.holding.expires, row.holding.value)));
    let mut sum = Units::ZERO;
    let surplus = kept.into_iter().filter(|row| {
        let more = sum.checked_add(row.holding.value);
        match more.filter(|more| may_travel(row) && *more <= rules.keep) {
            Some(more) => {
                sum = more;
                false
            }
            None => true,
        }
    });
    let surplus = batch(surplus.map(|row| (row.since, row.holding.id)), now, all);
    let expiring = expiring.map(|row| row.holding.id);
    expiring.chain(surplus).collect()
}

/// Whether nothing was signed for it, as far as this wallet knows: of what an earlier run left, the
/// slot is read before anything is.
fn is_ours(row: &HoldingRow, now: UnixMs) -> bool {
    row.is_idle(now) || row.state == HoldingState::Unread
}

fn expires_soon(row: &HoldingRow, now: UnixMs) -> bool {
    now.day().plus(RENEW_DAYS) >= row.holding.expires
}

/// Whether it can be spent on, or will once its close was read back.
fn may_travel(row: &HoldingRow) -> bool {
    let read = HoldingRow {
        passing: match row.passing {
            Passing::AfterReadBack => Passing::Yes,
            other => other,
        },
        ..row.clone()
    };
    read.is_spendable()
}

/// Notes that a close was looked for and not found.
///
/// # Errors
/// An unknown spend.
pub fn polled(rows: &Rows, spend: &Commitment, now: UnixMs) -> Result<Change, WalletError> {
    let unknown = || WalletError::UnknownSpend(*spend);
    let mut row = rows.spends.get(spend).ok_or_else(unknown)?.clone();
    let mut change = Change::on(rows);
    if row.close.is_none() {
        row.polled = Some(now);
        change.spends.push(row);
    }
    Ok(change)
}

/// Notes what the broker was shown and took. What is shown of a spend that passed a share on shows
/// the share too.
#[must_use]
pub fn presented(rows: &Rows, shown: &[Showing], now: UnixMs) -> Change {
    let mut change = Change::on(rows);
    let mut shares: BTreeSet<Commitment> = BTreeSet::new();
    let mut passed: BTreeSet<HoldingId> = BTreeSet::new();
    for what in shown {
        match what {
            Showing::Share(spend) => {
                shares.insert(*spend);
            }
            Showing::PassedOn(spend) => {
                let Some(row) = rows.spends.get(spend) else {
                    continue;
                };
                passed.insert(row.holding);
                if row.presented.is_none() {
                    let mut row = row.clone();
                    row.presented = Some(now);
                    change.spends.push(row);
                }
            }
        }
    }
    for row in rows.received.values().filter(|row| row.presented.is_none()) {
        let is_shown =
            shares.contains(&row.spend) || passed.contains(&row.holding.id.payee_share());
        if is_shown {
            let mut row = row.clone();
            row.presented = Some(now);
            change.received.push(row);
        }
    }
    change
}
