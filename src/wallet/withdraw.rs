//! Taking money out: withdrawals from the balance at the broker (`docs/protocol.md` section 10).
//!
//! A request is a row before it is sent, and is sent again with the same id until it is answered; a
//! refused one is over. There is one at a time: who asks for the same again while it is not answered
//! waits for it. Who asks for the bond leaves: nothing is bought by itself from then on, until
//! somebody buys.

use serde::{Deserialize, Serialize};

use super::change::{Change, Effect, JournalKind, JournalLine};
use super::error::WalletError;
use super::keeping::settled_by;
use super::rows::{HoldingState, Meta, Origin, RequestId, Rows};
use super::view::WithdrawingLine;
use crate::units::{Day, Units, UnixMs};

/// Most bytes that a destination may have.
pub const MAX_DESTINATION: usize = 200;

/// How long a withdrawal is shown that was paid out.
const SHOWN_PAID_MS: u64 = 30 * 86_400_000;
/// How long a withdrawal in the broker's queue is shown and asked about: some brokers do not tell that it was
/// paid out.
const SHOWN_QUEUED_MS: u64 = 90 * 86_400_000;

/// How far a withdrawal has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WithdrawalState {
    /// Fixed, and perhaps sent; asked again until answered.
    Pending,
    /// It is in the broker's queue, or [paid out](WithdrawalRow::paid).
    Done {
        /// The broker's id of it.
        withdrawal: String,
        /// The broker's signature, then the text that it signed: the receipt.
        answer: Vec<u8>,
    },
    /// The broker refused it: nothing was withdrawn, and it is over.
    Refused {
        /// The broker's reason.
        why: String,
    },
}

/// Units asked of the broker. Durable before it is sent. All but the state is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalRow {
    /// The request.
    pub request: RequestId,
    /// How much.
    pub units: Units,
    /// Where to, in words that the broker's operator understands.
    pub destination: String,
    /// Whether the bond was asked for too.
    pub bond: bool,
    /// When it was fixed.
    pub at: UnixMs,
    /// How far it has come.
    pub state: WithdrawalState,
    /// When the broker's operator paid it out, as the broker says.
    pub paid: Option<UnixMs>,
}

/// What somebody wants to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawAsk {
    /// How much; none: all that can be had now.
    pub units: Option<Units>,
    /// Where to.
    pub destination: String,
    /// The bond too.
    pub bond: bool,
}

/// An account's money, as the broker said just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Free to spend and withdraw.
    pub balance: Units,
    /// Redeemed, within the hold.
    pub pending: Units,
    /// The bond.
    pub bond: Units,
    /// Coins bought and not redeemed by anybody.
    pub outstanding: Units,
    /// The balance, and the bond where it is free; nothing for a suspended account.
    pub withdrawable: Units,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the balance is {:#}, {} are pending for the broker's hold, and {} are bond",
            self.balance, self.pending, self.bond
        )?;
        if !self.bond.is_zero() && self.withdrawable <= self.balance {
            write!(
                f,
                ", bound while coins are outstanding ({:#} are) and for a hold after the last is redeemed",
                self.outstanding
            )?;
        }
        Ok(())
    }
}

impl WithdrawAsk {
    /// Whether it can be asked at all.
    ///
    /// # Errors
    /// [`WalletError::Destination`].
    pub fn check(&self) -> Result<(), WalletError> {
        let text = &self.destination;
        let is_good = !text.trim().is_empty()
            && text.len() <= MAX_DESTINATION
            && !text.chars().any(char::is_control);
        match is_good {
            true => Ok(()),
            false => Err(WalletError::Destination(text.len())),
        }
    }

    fn is_for(&self, row: &WithdrawalRow) -> bool {
        self.destination == row.destination
            && self.bond == row.bond
            && self.units.is_none_or(|units| units == row.units)
    }
}

/// Withdrawals that are not answered.
pub fn open(rows: &Rows) -> impl Iterator<Item = &WithdrawalRow> {
    let rows = rows.withdrawals.values();
    rows.filter(|row| row.state == WithdrawalState::Pending)
}

/// Withdrawals that are not answered, that are in the broker's queue, or that were paid out lately.
pub fn waiting(rows: &Rows, now: UnixMs) -> impl Iterator<Item = WithdrawingLine> {
    let shown = move |row: &&WithdrawalRow| match row.state {
        WithdrawalState::Pending => true,
        WithdrawalState::Done { .. } => match row.paid {
            Some(paid) => paid.plus_ms(SHOWN_PAID_MS) > now,
            None => row.at.plus_ms(SHOWN_QUEUED_MS) > now,
        },
        WithdrawalState::Refused { .. } => false,
    };
    let rows = rows.withdrawals.values().filter(shown);
    rows.map(|row| WithdrawingLine {
        request: row.request.to_string(),
        units: row.units,
        destination: row.destination.clone(),
        since: row.at,
        is_queued: row.state != WithdrawalState::Pending,
        paid: row.paid,
    })
}

/// Withdrawals of which the broker may say that they were paid out, with its ids of them.
pub fn unpaid(rows: &Rows, now: UnixMs) -> impl Iterator<Item = (RequestId, String)> {
    let rows = rows.withdrawals.values();
    rows.filter_map(move |row| match &row.state {
        WithdrawalState::Done { withdrawal, .. }
            if row.paid.is_none() && row.at.plus_ms(SHOWN_QUEUED_MS) > now =>
        {
            Some((row.request, withdrawal.clone()))
        }
        _ => None,
    })
}

/// Notes that the broker says that it was paid out, once.
#[must_use]
pub fn paid_out(rows: &Rows, request: &RequestId, at: UnixMs) -> Change {
    let mut change = Change::on(rows);
    let is_queued = |row: &&WithdrawalRow| {
        matches!(row.state, WithdrawalState::Done { .. }) && row.paid.is_none()
    };
    if let Some(row) = rows.withdrawals.get(request).filter(is_queued) {
        change.journal.push(line(row, JournalKind::PaidOut, at));
        change.withdrawals.push(WithdrawalRow {
            paid: Some(at),
            ..row.clone()
        });
    }
    change
}

/// The withdrawal that is not answered yet, where `ask` is the same once more.
///
/// # Errors
/// [`WalletError::WithdrawalOpen`] where it is another one.
pub fn begun(rows: &Rows, ask: &WithdrawAsk) -> Result<Option<RequestId>, WalletError> {
    match open(rows).next() {
        None => Ok(None),
        Some(row) if ask.is_for(row) => Ok(Some(row.request)),
        Some(row) => Err(WalletError::WithdrawalOpen(row.units)),
    }
}

/// Says that nothing is bought by itself any more. Buying ends that.
#[must_use]
pub fn leave(rows: &Rows) -> Change {
    let mut change = Change::on(rows);
    if !rows.meta.buys_nothing {
        change.meta = Some(Meta {
            buys_nothing: true,
            ..rows.meta.clone()
        });
    }
    change
}

/// Fixes a withdrawal. Only once this is durable may it be sent. What is more than `standing` has is
/// left to the broker to refuse, but for the bond, which is not taken unasked.
///
/// # Errors
/// Nothing to withdraw, more than the balance where the bond is not asked for, or a destination that is
/// none.
pub fn begin(
    rows: &Rows,
    request: RequestId,
    ask: &WithdrawAsk,
    standing: &Standing,
    now: UnixMs,
) -> Result<Change, WalletError> {
    ask.check()?;
    if rows.withdrawals.contains_key(&request) || begun(rows, ask)?.is_some() {
        return Err(WalletError::Overflow);
    }
    let most = match ask.bond {
        true => standing.withdrawable,
        false => standing.withdrawable.min(standing.balance),
    };
    let units = match ask.units {
        None if most.is_zero() => return Err(WalletError::NothingToWithdraw(*standing)),
        None => most,
        Some(units) if !ask.bond && units > standing.balance => {
            return Err(WalletError::BeyondBalance(units, *standing));
        }
        Some(units) => units,
    };
    let mut change = Change::on(rows);
    change.withdrawals.push(WithdrawalRow {
        request,
        units,
        destination: ask.destination.clone(),
        bond: ask.bond,
        at: now,
        state: WithdrawalState::Pending,
        paid: None,
    });
    change.effects.push(Effect::SendWithdrawal(request));
    Ok(change)
}

/// Notes that the broker has taken it into its queue, as `withdrawal`; `answer` is its signed text.
///
/// # Errors
/// An unknown request.
pub fn withdrawn(
    rows: &Rows,
    request: &RequestId,
    withdrawal: String,
    answer: Vec<u8>,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let state = WithdrawalState::Done { withdrawal, answer };
    end(rows, request, state, JournalKind::Withdrawn, now)
}

/// Notes that the broker refused it.
///
/// # Errors
/// An unknown request.
pub fn refused(
    rows: &Rows,
    request: &RequestId,
    why: &str,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let why = why.to_owned();
    let state = WithdrawalState::Refused { why };
    end(rows, request, state, JournalKind::WithdrawalRefused, now)
}

/// An answer to what is answered changes nothing.
fn end(
    rows: &Rows,
    request: &RequestId,
    state: WithdrawalState,
    kind: JournalKind,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let unknown = || WalletError::BrokerAnswer(format!("no withdrawal {request} was asked for"));
    let row = rows.withdrawals.get(request).ok_or_else(unknown)?;
    let mut change = Change::on(rows);
    if row.state != WithdrawalState::Pending {
        return Ok(change);
    }
    change.journal.push(line(row, kind, now));
    change.withdrawals.push(WithdrawalRow {
        state,
        ..row.clone()
    });
    Ok(change)
}

fn line(row: &WithdrawalRow, kind: JournalKind, at: UnixMs) -> JournalLine {
    JournalLine {
        at,
        kind,
        units: row.units,
        info_hash: None,
        peer: Some(row.destination.clone()),
        reference: row.request.to_string(),
    }
}

/// The day on which the last coin that may still be outstanding is settled: the bond is free then at the
/// latest, as the hold of what was redeemed before is over. None where every coin was redeemed whole.
#[must_use]
pub fn bond_until(rows: &Rows, hold_ms: u64, today: Day) -> Option<Day> {
    let coins = rows.holdings.values().filter(|row| {
        row.origin == Origin::Bought && !matches!(row.state, HoldingState::Redeemed { .. })
    });
    let until = coins.map(|row| settled_by(row.holding.expires, hold_ms));
    until.max().filter(|day| *day >= today)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, Side};
    use super::*;

    const RICH: Standing = Standing {
        balance: Units(500),
        pending: Units(70),
        bond: Units(1_000),
        outstanding: Units::ZERO,
        withdrawable: Units(1_500),
    };

    fn ask(units: Option<u64>, bond: bool) -> WithdrawAsk {
        WithdrawAsk {
            units: units.map(Units),
            destination: "IBAN 1".to_owned(),
            bond,
        }
    }

    /// What is asked of the broker then.
    fn asked(units: Option<u64>, bond: bool, standing: &Standing) -> Result<u64, WalletError> {
        let side = Side::new(1);
        let request = RequestId([9; 16]);
        let change = begin(&side.rows, request, &ask(units, bond), standing, NOW)?;
        assert_eq!(change.effects, [Effect::SendWithdrawal(request)]);
        Ok(change.withdrawals[0].units.0)
    }

    #[test]
    fn all_is_the_balance_and_with_the_bond_what_the_broker_lets_go() {
        assert_eq!(asked(None, false, &RICH), Ok(500));
        assert_eq!(asked(None, true, &RICH), Ok(1_500));
        let bound = Standing {
            withdrawable: Units(500),
            outstanding: Units(64),
            ..RICH
        };
        assert_eq!(asked(None, true, &bound), Ok(500));
        let poor = Standing {
            balance: Units::ZERO,
            withdrawable: Units::ZERO,
            ..bound
        };
        let nothing = asked(None, true, &poor).expect_err("nothing");
        assert_eq!(nothing, WalletError::NothingToWithdraw(poor));
        let text = nothing.to_string();
        for what in ["70 are pending", "1000 are bond", "64 units are"] {
            assert!(text.contains(what), "{text}");
        }
        // The bond alone is not all without being asked for.
        let only_bond = Standing {
            withdrawable: Units(1_000),
            outstanding: Units::ZERO,
            ..poor
        };
        assert!(asked(None, false, &only_bond).is_err());
        assert_eq!(asked(None, true, &only_bond), Ok(1_000));
    }

    #[test]
    fn the_bond_is_not_taken_unasked_and_the_rest_is_the_brokers_to_refuse() {
        assert_eq!(asked(Some(500), false, &RICH), Ok(500));
        let beyond = asked(Some(501), false, &RICH).expect_err("the bond");
        assert_eq!(beyond, WalletError::BeyondBalance(Units(501), RICH));
        assert_eq!(asked(Some(501), true, &RICH), Ok(501));
        assert_eq!(asked(Some(9_999), true, &RICH), Ok(9_999));
    }

    #[test]
    fn a_destination_is_text_of_one_line_and_at_most_200_bytes() {
        for (text, is_good) in [
            ("", false),
            ("  ", false),
            ("a\nb", false),
            ("a", true),
            (&"x".repeat(200), true),
            (&"x".repeat(201), false),
        ] {
            let ask = WithdrawAsk {
                destination: text.to_owned(),
                ..ask(None, false)
            };
            assert_eq!(ask.check().is_ok(), is_good, "{text:?}");
        }
    }

    #[test]
    fn one_is_open_at_a_time_and_answered_once() {
        let mut side = Side::new(1);
        let first = side.request();
        let change = begin(&side.rows, first, &ask(None, false), &RICH, NOW);
        side.write(change.expect("there"));
        side.crash();
        assert_eq!(open(&side.rows).count(), 1, "it is on disk");
        let line = waiting(&side.rows, NOW.plus_ms(SHOWN_QUEUED_MS)).next();
        let line = line.expect("waits however long it takes");
        assert_eq!((line.since, line.is_queued), (NOW, false));
        assert_eq!(begun(&side.rows, &ask(Some(500), false)), Ok(Some(first)));
        assert_eq!(begun(&side.rows, &ask(None, false)), Ok(Some(first)));
        for other in [ask(Some(5), false), ask(None, true)] {
            let open = WalletError::WithdrawalOpen(Units(500));
            assert_eq!(begun(&side.rows, &other), Err(open));
        }
        let second = side.request();
        assert!(begin(&side.rows, second, &ask(None, false), &RICH, NOW).is_err());
        let change = withdrawn(&side.rows, &first, "w".to_owned(), vec![1], NOW);
        side.write(change.expect("known"));
        let late = refused(&side.rows, &first, "late", NOW).expect("known");
        assert!(late.is_empty(), "what is answered stays so");
        assert_eq!(begun(&side.rows, &ask(None, false)), Ok(None));
        let shown = |now| waiting(&side.rows, now).map(|line| (line.units, line.is_queued));
        assert!(shown(NOW).eq([(Units(500), true)]), "it is to be paid out");
        assert_eq!(shown(NOW.plus_ms(SHOWN_QUEUED_MS)).count(), 0);
        let line = side.journal.last().expect("a line");
        assert_eq!(
            (line.kind, line.units),
            (JournalKind::Withdrawn, Units(500))
        );
        assert!(refused(&side.rows, &second, "unknown", NOW).is_err());
    }

    #[test]
    fn who_leaves_has_nothing_bought_until_somebody_buys() {
        let mut side = Side::new(1);
        side.write(leave(&side.rows));
        assert!(side.disk.meta.buys_nothing);
        assert!(leave(&side.rows).is_empty());
        assert_eq!(bond_until(&side.rows, 0, NOW.day()), None);
        side.buy(&[64], NOW);
        assert!(!side.disk.meta.buys_nothing);
        // 60 days after its purchase and a hold, on whatever hour of that day.
        let hour_ms = 3_600_000;
        for (hold_ms, days) in [
            (0, 60),
            (23 * hour_ms, 60),
            (47 * hour_ms, 61),
            (48 * hour_ms, 62),
        ] {
            let settled = Some(NOW.day().plus(days));
            assert_eq!(bond_until(&side.rows, hold_ms, NOW.day()), settled);
        }
    }
}
