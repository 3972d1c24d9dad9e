//! What the broker tells an account without being asked for: into the journal, and into the balances
//! (`docs/protocol.md` section 10).

use super::change::{Change, JournalKind, JournalLine};
use super::error::WalletError;
use super::paying::with_books;
use super::rows::{HoldingState, Meta, RequestId, Rows};
use crate::coin::ids::HoldingId;
use crate::units::{Units, UnixMs};

/// A notice of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number; counts from 1 without gaps.
    pub number: u64,
    /// When it happened.
    pub at: UnixMs,
    /// What happened.
    pub what: Event,
    /// What it is about: a holding or a key.
    pub reference: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A credit went back: the statement under it lost a contest.
    Cancelled(HoldingId, Units),
    /// The broker paid for a loss by somebody else's double spend.
    Compensated(Units),
    /// A coin's time was over, and this account got what nobody redeemed of it.
    Settled(HoldingId, Units),
    /// This account is suspended.
    Suspended,
    /// Something to know that moves nothing.
    Other,
}

/// Takes a notice. One that is in the journal already changes nothing.
///
/// # Errors
/// Sums that do not fit.
pub fn told(rows: &Rows, notice: &Told) -> Result<Change, WalletError> {
    let mut change = Change::on(rows);
    if notice.number <= rows.meta.last_notice {
        return Ok(change);
    }
    let mut meta = rows.meta.clone();
    // A holding that is settled by its close or a look at the broker has its line from there.
    let mut has_line = true;
    let (kind, units) = match notice.what {
        Event::Cancelled(holding, units) => {
            if let Some(back) = cancelled(rows, &holding, &mut change) {
                meta = with_books(rows, |books| {
                    books.redeemed = books.redeemed.checked_sub(back)?;
                    Some(())
                })?;
            }
            (JournalKind::Cancelled, units)
        }
        Event::Settled(holding, units) => {
            if let Some(settled) = settled(rows, &holding, notice.at, &mut change) {
                meta = with_books(rows, |books| {
                    books.redeemed = books.redeemed.checked_add(settled)?;
                    Some(())
                })?;
            } else {
                has_line = !rows.holdings.contains_key(&holding);
            }
            (JournalKind::Settled, units)
        }
        Event::Compensated(units) => (JournalKind::Compensated, units),
        Event::Suspended => (JournalKind::Suspended, Units::ZERO),
        Event::Other => (JournalKind::Notice, Units::ZERO),
    };
    change.meta = Some(Meta {
        last_notice: notice.number,
        ..meta
    });
    if has_line {
        change.journal.push(JournalLine {
            at: notice.at,
            kind,
            units,
            info_hash: None,
            peer: None,
            reference: notice.reference.clone(),
        });
    }
    Ok(change)
}

/// A cancelled credit is no money: what was redeemed counts as refused. How much the books give back.
fn cancelled(rows: &Rows, holding: &HoldingId, change: &mut Change) -> Option<Units> {
    let mut row = rows.holdings.get(holding)?.clone();
    if !matches!(row.state, HoldingState::Redeemed { .. }) {
        return None;
    }
    row.state = HoldingState::Refused {
        why: "the broker took the credit back: what it hung on was spent twice and lost".to_owned(),
    };
    let value = row.holding.value;
    change.holdings.push(row);
    Some(value)
}

/// What nobody signed for, or nobody could go on from, is balance now.
fn settled(rows: &Rows, holding: &HoldingId, at: UnixMs, change: &mut Change) -> Option<Units> {
    let mut row = rows.holdings.get(holding)?.clone();
    let is_held = matches!(
        row.state,
        HoldingState::Unread
            | HoldingState::Available
            | HoldingState::Frozen { .. }
            | HoldingState::Refused { .. }
    );
    if !is_held {
        return None;
    }
    row.state = HoldingState::Redeemed {
        request: RequestId([0; 16]),
        at,
        pending_until: at,
    };
    let value = row.holding.value;
    change.holdings.push(row);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, REST, Side};
    use super::super::trade::{self, Redeemable, Redeemed};
    use super::*;
    use crate::wallet::Balance;

    fn notice(number: u64, what: Event) -> Told {
        Told {
            number,
            at: NOW,
            what,
            reference: "about".to_owned(),
        }
    }

    #[test]
    fn a_cancelled_credit_is_no_money_and_a_notice_counts_once() {
        let mut side = Side::new(1);
        side.buy(&[64, 16], NOW);
        let ids = trade::redeemable(&side.rows, Redeemable::All, NOW);
        let request = side.request();
        let change = trade::begin_redemption(&side.rows, request, &ids, NOW);
        side.write(change.expect("available"));
        let credited = |id: &HoldingId| Redeemed::Credited {
            units: side.rows.holdings[id].holding.value,
            pending_until: NOW.plus_ms(1000),
        };
        let outcomes: Vec<_> = ids.iter().map(credited).collect();
        let change = trade::redeemed(&side.rows, &request, &outcomes, vec![1], REST, NOW);
        side.write(change.expect("fits"));
        assert_eq!(Balance::of(&side.rows, NOW).pending, Units(80));
        let value = side.rows.holdings[&ids[0]].holding.value;
        let cancelled = notice(1, Event::Cancelled(ids[0], value));
        for _ in 0..2 {
            let change = told(&side.rows, &cancelled).expect("fits");
            side.write(change);
        }
        let balance = Balance::of(&side.rows, NOW);
        assert_eq!(balance.pending.checked_add(value), Some(Units(80)));
        assert_eq!(balance.refused, value);
        let lines = side
            .journal
            .iter()
            .filter(|line| line.kind == JournalKind::Cancelled);
        assert_eq!(lines.count(), 1);
    }

    #[test]
    fn a_settled_coin_leaves_the_wallet() {
        let mut side = Side::new(1);
        side.buy(&[64], NOW);
        let coin = *side.rows.holdings.keys().next().expect("bought");
        let change = told(&side.rows, &notice(1, Event::Settled(coin, Units(64))));
        side.write(change.expect("fits"));
        let change = told(&side.rows, &notice(2, Event::Compensated(Units(5))));
        side.write(change.expect("fits"));
        assert_eq!(side.held(), 0);
        assert_eq!(side.rows.meta.last_notice, 2);
    }

    #[test]
    fn a_holding_is_settled_once_in_the_history_whoever_tells_first() {
        for is_told_first in [true, false] {
            let mut side = Side::new(1);
            side.buy(&[64], NOW);
            let coin = *side.rows.holdings.keys().next().expect("bought");
            let change = crate::wallet::settled::settled(&side.rows, &coin, Units(64), NOW);
            let told = || notice(1, Event::Settled(coin, Units(64)));
            if is_told_first {
                side.write(super::told(&side.rows, &told()).expect("fits"));
                let later = crate::wallet::settled::settled(&side.rows, &coin, Units(64), NOW);
                side.write(later.expect("nothing more"));
            } else {
                side.write(change.expect("fits"));
                side.write(super::told(&side.rows, &told()).expect("fits"));
            }
            let lines = side.journal.iter();
            let lines = lines.filter(|line| line.kind == JournalKind::Settled);
            assert_eq!(lines.count(), 1);
            assert_eq!(side.rows.meta.last_notice, 1);
        }
    }
}
