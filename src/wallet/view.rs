//! What a wallet shows: available, locked with whom, why and until when, earned, pending.

use serde::{Deserialize, Serialize};

use super::choose::is_free;
use super::freeze::Freeze;
use super::keeping::{HOLD_MS, next_poll, settled_by};
use super::rows::{Books, HoldingState, Origin, PurchaseState, ReceivedState, Rows};
use super::withdraw;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::units::{Day, InfoHash, Units, UnixMs};

/// Why units are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockReason {
    /// Its channel is open, or was when the wallet last ran.
    Open,
    /// Its connection ended, and the payee has not closed yet.
    WaitingForClose,
}

impl LockReason {
    /// For programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LockReason::Open => "open",
            LockReason::WaitingForClose => "waiting_for_close",
        }
    }

    /// For people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            LockReason::Open => "channel open",
            LockReason::WaitingForClose => "waiting for the payee's close",
        }
    }
}

/// One channel that units are locked in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedLine {
    /// The spend.
    pub spend: Commitment,
    /// Units not paid yet: what comes back if nothing more is ticked.
    pub units: Units,
    /// Units paid in it.
    pub paid: Units,
    /// The payee's address.
    pub peer: String,
    /// The payee's key.
    pub payee: PublicKey,
    /// The torrent.
    pub info_hash: InfoHash,
    /// Since when.
    pub since: UnixMs,
    /// Why.
    pub why: LockReason,
    /// When its close is looked for next, once its connection ended.
    pub looked_for: Option<UnixMs>,
    /// The day on which it resolves by itself at the latest: the coin's settlement.
    pub until: Day,
}

/// One holding that nothing is signed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenLine {
    /// The holding.
    pub holding: HoldingId,
    /// What it is worth; less comes back if part of it was paid.
    pub units: Units,
    /// What was found.
    pub why: Freeze,
    /// The commitment that was found.
    pub seen: Option<Commitment>,
    /// Since when.
    pub since: UnixMs,
    /// What happens next, in words.
    pub next: String,
    /// The day on which it resolves by itself at the latest: the coin's settlement.
    pub until: Day,
}

/// Credits that turn into balance at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLine {
    /// How much.
    pub units: Units,
    /// When.
    pub until: UnixMs,
}

/// Units that were asked of the broker to be withdrawn, and that may still have to be paid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawingLine {
    /// The request. Once it is queued it has a receipt by this name.
    pub request: String,
    /// How much.
    pub units: Units,
    /// Where to.
    pub destination: String,
    /// Since when.
    pub since: UnixMs,
    /// Whether the broker has taken it into its queue.
    pub is_queued: bool,
    /// When it was paid out, if the broker says so.
    #[serde(default)]
    pub paid: Option<UnixMs>,
}

/// Why something could not be written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwritten {
    /// There is no room.
    pub is_full: bool,
    /// What the system says.
    pub error: String,
}

/// A wallet's money at one moment. All amounts but `broker_*` are what the wallet itself holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The account at the broker, which deposits go to.
    pub account: Option<PublicKey>,
    /// Coins that channels can be opened with.
    pub available: Units,
    /// The first day on which coins at hand expire, and what of them does.
    pub next_expiry: Option<(Day, Units)>,
    /// Number of available coins by value, ascending.
    pub coins: Vec<(Units, u32)>,
    /// Coins promised to channels that are being opened.
    pub reserved: Units,
    /// From an earlier run, with slots that were not read since: not spent or redeemed before that.
    pub unread: Units,
    /// The part of `unread` that are shares of closed channels.
    pub unread_earned: Units,
    /// The part of `unread` that closes left of our coins.
    pub unread_change: Units,
    /// From an earlier run, where the broker has been out of reach for so long that it cannot be read: not
    /// paid with before the broker answers.
    pub waits_for_broker: Units,
    /// In holdings whose slot holds what this wallet does not know. Not money before that is cleared.
    pub frozen: Units,
    /// Each of these holdings.
    pub frozen_in: Vec<FrozenLine>,
    /// The broker is still to be asked for what a restored wallet lacks: nothing is used before.
    pub needs_recovery: bool,
    /// Units in open channels and in channels whose payee has not closed.
    pub locked: Units,
    /// Each of these channels.
    pub locked_in: Vec<LockedLine>,
    /// What closes left of our coins.
    pub change: Units,
    /// Shares of closed channels.
    pub earned: Units,
    /// Of change and shares: what channels can be opened with. The rest is only redeemed, or its
    /// close was not read back yet.
    pub travels: Units,
    /// Ticks received in channels that are not closed yet.
    pub earning: Units,
    /// Asked to be redeemed, not answered yet.
    pub redeeming: Units,
    /// Redeemed within the broker's hold: credited, not withdrawable yet.
    pub pending: Units,
    /// By when they turn into balance, the next first.
    pub pending_in: Vec<PendingLine>,
    /// When the last pending credit turns into balance.
    pub pending_until: Option<UnixMs>,
    /// Refused by the broker.
    pub refused: Units,
    /// Coins that were ordered and did not come yet.
    pub ordered: Units,
    /// Asked of the broker to be withdrawn, and not answered yet.
    pub withdrawing: Units,
    /// Each of these, and those that the broker took into its queue in the last weeks; the newest first.
    #[serde(default)]
    pub withdrawing_in: Vec<WithdrawingLine>,
    /// Nothing is bought by itself, as the bond was asked for; buying ends that.
    pub buys_nothing: bool,
    /// The day on which the last coin that may still be outstanding is settled: the bond is free then at
    /// the latest.
    pub bond_until: Option<Day>,
    /// How long the broker holds back what is redeemed, and waits with a settlement.
    #[serde(default)]
    pub hold_ms: u64,
    /// Units held in all.
    pub held: Units,
    /// Sums since the wallet began.
    pub books: Books,
    /// Whether `bought + earned - paid - redeemed` is what is held.
    pub books_agree: bool,
    /// The pinned broker's key.
    pub broker: Option<PublicKey>,
    /// The pinned broker's URL.
    pub broker_url: Option<String>,
    /// Balance at the broker, where it could be asked.
    pub broker_balance: Option<Units>,
    /// What of it buys coins now: a bond may have to be made of it first.
    pub broker_buyable: Option<Units>,
    /// Pending credits at the broker, where it could be asked.
    pub broker_pending: Option<Units>,
    /// Bond at the broker, where it could be asked.
    pub broker_bond: Option<Units>,
    /// What could be withdrawn now, where it could be asked: the balance, and the bond if it is free.
    pub broker_withdrawable: Option<Units>,
    /// Coins that were bought and that nobody has redeemed, where it could be asked.
    pub broker_outstanding: Option<Units>,
    /// Whether the broker has suspended the account, where it could be asked.
    pub broker_suspended: Option<bool>,
    /// Why the broker could not be asked.
    pub broker_error: Option<String>,
    /// Why what was paid and earned last is in memory only, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<Unwritten>,
}

impl Balance {
    /// What there is to pay with: what is available, and what an earlier run left, which is read before
    /// it is used.
    #[must_use]
    pub fn at_hand(&self) -> Units {
        let sum = self.available.checked_add(self.unread);
        sum.unwrap_or(self.available)
    }

    /// Shares of closed channels, those of an earlier run too.
    #[must_use]
    pub fn earned_in_all(&self) -> Units {
        let sum = self.earned.checked_add(self.unread_earned);
        sum.unwrap_or(self.earned)
    }

    /// Coins, those of an earlier run too.
    #[must_use]
    pub fn coins_in_all(&self) -> Units {
        let not_coins = self.unread_earned.checked_add(self.unread_change);
        let coins = self.unread.saturating_sub(not_coins.unwrap_or(self.unread));
        self.available.checked_add(coins).unwrap_or(self.available)
    }

    /// The balance that `rows` show at `now`, without what only the broker knows, of which the hold is the
    /// usual one.
    #[must_use]
    pub fn of(rows: &Rows, now: UnixMs) -> Balance {
        Balance::by(rows, HOLD_MS, now)
    }

    /// The same with the hold that the broker says it has.
    #[must_use]
    pub fn by(rows: &Rows, hold_ms: u64, now: UnixMs) -> Balance {
        let mut balance = Balance {
            hold_ms,
            account: rows.meta.account,
            books: rows.meta.books,
            needs_recovery: rows.meta.needs_recovery,
            books_agree: rows.is_balanced(),
            held: rows.held().unwrap_or(Units(u64::MAX)),
            broker: rows.meta.broker.as_ref().map(|broker| broker.key),
            broker_url: rows.meta.broker.as_ref().map(|broker| broker.url.clone()),
            buys_nothing: rows.meta.buys_nothing,
            bond_until: withdraw::bond_until(rows, hold_ms, now.day()),
            ..Balance::default()
        };
        for row in withdraw::open(rows) {
            add(&mut balance.withdrawing, row.units);
        }
        balance.withdrawing_in = withdraw::waiting(rows, now).collect();
        balance
            .withdrawing_in
            .sort_by_key(|line| std::cmp::Reverse(line.since));
        balance.add_holdings(rows, now);
        balance.add_channels(rows);
        balance.coins.sort_unstable();
        balance.pending_in.sort_unstable_by_key(|line| line.until);
        balance
    }

    fn add_holdings(&mut self, rows: &Rows, now: UnixMs) {
        for row in rows.holdings.values() {
            let value = row.holding.value;
            let state = if row.is_idle(now) {
                &HoldingState::Available
            } else {
                &row.state
            };
            if row.origin != Origin::Bought && is_free(row, now) {
                add(&mut self.travels, value);
            }
            match (state, row.origin) {
                (HoldingState::Available, Origin::Bought) => {
                    add(&mut self.available, value);
                    count(&mut self.coins, value);
                    self.note_expiry(row.holding.expires, value);
                }
                (HoldingState::Available, Origin::Change) => add(&mut self.change, value),
                (HoldingState::Available, Origin::Earned) => add(&mut self.earned, value),
                (HoldingState::Reserved { .. }, _) => add(&mut self.reserved, value),
                (HoldingState::Unread, origin) => {
                    add(&mut self.unread, value);
                    match origin {
                        Origin::Bought => self.note_expiry(row.holding.expires, value),
                        Origin::Change => add(&mut self.unread_change, value),
                        Origin::Earned => add(&mut self.unread_earned, value),
                    }
                }
                (HoldingState::Frozen { why, seen, since }, _) => {
                    add(&mut self.frozen, value);
                    self.frozen_in.push(FrozenLine {
                        holding: row.holding.id,
                        units: value,
                        why: *why,
                        seen: *seen,
                        since: *since,
                        next: why.next().to_owned(),
                        until: settled_by(row.holding.expires, self.hold_ms),
                    });
                }
                (HoldingState::Redeeming { .. }, _) => add(&mut self.redeeming, value),
                (HoldingState::Redeemed { pending_until, .. }, _) if now < *pending_until => {
                    add(&mut self.pending, value);
                    self.pending_until = self.pending_until.max(Some(*pending_until));
                    self.add_pending(value, *pending_until);
                }
                (HoldingState::Refused { .. }, _) => add(&mut self.refused, value),
                (HoldingState::Redeemed { .. }, _)
                | (HoldingState::Locked { .. } | HoldingState::Closed { .. }, _) => {}
            }
        }
        for row in rows.purchases.values() {
            if row.state == PurchaseState::Pending {
                for (value, _) in &row.coins {
                    add(&mut self.ordered, *value);
                }
            }
        }
    }

    fn note_expiry(&mut self, day: Day, value: Units) {
        self.next_expiry = match self.next_expiry {
            Some((first, units)) if first < day => Some((first, units)),
            Some((first, mut units)) if first == day => {
                add(&mut units, value);
                Some((first, units))
            }
            _ => Some((day, value)),
        };
    }

    fn add_pending(&mut self, units: Units, until: UnixMs) {
        match self.pending_in.iter_mut().find(|line| line.until == until) {
            Some(line) => add(&mut line.units, units),
            None => self.pending_in.push(PendingLine { units, until }),
        }
    }

    fn add_channels(&mut self, rows: &Rows) {
        for row in rows.open_spends() {
            let paid = Units(u64::from(row.last_k));
            let units = row.value.saturating_sub(paid);
            if units.is_zero() {
                continue;
            }
            let expires = rows.holdings.get(&row.holding).map(|h| h.holding.expires);
            add(&mut self.locked, units);
            self.locked_in.push(LockedLine {
                spend: row.spend,
                units,
                paid,
                peer: row.peer.clone(),
                payee: row.payee,
                info_hash: row.info_hash,
                since: row.opened,
                why: match row.ended {
                    Some(_) => LockReason::WaitingForClose,
                    None => LockReason::Open,
                },
                looked_for: row.ended.map(|_| next_poll(row, UnixMs(u64::MAX))),
                until: settled_by(expires.unwrap_or_default(), self.hold_ms),
            });
        }
        for row in rows.received.values() {
            if !matches!(row.state, ReceivedState::Closed { .. }) {
                add(&mut self.earning, Units(u64::from(row.k)));
            }
        }
    }
}

fn add(sum: &mut Units, value: Units) {
    *sum = sum.checked_add(value).unwrap_or(Units(u64::MAX));
}

fn count(coins: &mut Vec<(Units, u32)>, value: Units) {
    match coins.iter_mut().find(|(v, _)| *v == value) {
        Some((_, number)) => *number = number.saturating_add(1),
        None => coins.push((value, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, Side};
    use super::*;

    #[test]
    fn the_first_day_of_expiry_is_told_with_all_that_expires_on_it() {
        let mut side = Side::new(1);
        assert_eq!(Balance::of(&side.rows, NOW).next_expiry, None);
        side.buy(&[64, 16, 16], NOW);
        let soon = NOW.day().plus(3);
        for row in side.rows.holdings.values_mut() {
            if row.holding.value == Units(16) {
                row.holding.expires = soon;
            }
        }
        let next = Balance::of(&side.rows, NOW).next_expiry;
        assert_eq!(next, Some((soon, Units(32))));
        // What waits to be read after a start expires as well.
        for row in side.rows.holdings.values_mut() {
            row.state = HoldingState::Unread;
        }
        let balance = Balance::of(&side.rows, NOW);
        assert_eq!(balance.available, Units::ZERO);
        assert_eq!(balance.next_expiry, next);
    }
}
