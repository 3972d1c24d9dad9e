//! The durable steps of a wallet, named: what a process may be killed before or after.

use super::change::{Change, JournalKind};
use super::rows::{PurchaseState, ReceivedState, Rows};
use super::withdraw::WithdrawalState;

/// What a change makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The broker is pinned.
    Pin,
    /// Holder key indices are taken.
    TakeKeys,
    /// Certified payee keys are kept.
    Certified,
    /// A purchase is fixed, before it is sent.
    Order,
    /// Coins of a purchase are kept.
    Bought,
    /// A spend is fixed, before it is signed.
    Commit,
    /// Ticks that were sent are noted.
    TicksSent,
    /// The end of a connection is noted.
    Ended,
    /// A payee's close is kept, with its change.
    Closed,
    /// A received spend is recorded, before it is accepted.
    RecordOpen,
    /// A received spend is noted as accepted.
    Accepted,
    /// Ticks that came are noted.
    TicksCame,
    /// A close is fixed, before it is signed.
    FixClose,
    /// A signed close is kept, with its share.
    CloseSigned,
    /// A close is noted as put.
    ClosePut,
    /// A redemption is fixed, before it is signed.
    Redeem,
    /// The broker's answer to a redemption is kept.
    Redeemed,
    /// A withdrawal is fixed, before it is sent.
    Withdraw,
    /// The broker's answer to a withdrawal is kept.
    Withdrawn,
    /// The broker's operator has paid a withdrawal out.
    PaidOut,
    /// A budget is set.
    Budget,
    /// Something found in a holding's slot is noted, before which nothing is signed for it.
    Freeze,
    /// A statement, a coin or a share of a lost journal is taken over.
    Recover,
    /// All that the broker told of a lost journal is taken over.
    Recovered,
    /// A payee's close was read back: its change may be spent on.
    ReadBack,
    /// What the broker was shown is noted.
    Presented,
    /// What the broker settled is noted.
    Settled,
    /// A notice of the broker is noted, with what it moves.
    Notice,
    /// Anything else. It moves no unit.
    Other,
}

impl Step {
    /// All of them.
    pub const ALL: [Step; 29] = [
        Step::Pin,
        Step::TakeKeys,
        Step::Certified,
        Step::Order,
        Step::Bought,
        Step::Commit,
        Step::TicksSent,
        Step::Ended,
        Step::Closed,
        Step::RecordOpen,
        Step::Accepted,
        Step::TicksCame,
        Step::FixClose,
        Step::CloseSigned,
        Step::ClosePut,
        Step::Redeem,
        Step::Redeemed,
        Step::Withdraw,
        Step::Withdrawn,
        Step::PaidOut,
        Step::Budget,
        Step::Freeze,
        Step::Recover,
        Step::Recovered,
        Step::ReadBack,
        Step::Presented,
        Step::Settled,
        Step::Notice,
        Step::Other,
    ];

    /// Its name, as `DPAY_KILL_AT` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Step::Pin => "wallet.pin",
            Step::TakeKeys => "wallet.take_keys",
            Step::Certified => "wallet.certified",
            Step::Order => "wallet.order",
            Step::Bought => "wallet.bought",
            Step::Commit => "wallet.commit",
            Step::TicksSent => "wallet.ticks_sent",
            Step::Ended => "wallet.ended",
            Step::Closed => "wallet.closed",
            Step::RecordOpen => "wallet.record_open",
            Step::Accepted => "wallet.accepted",
            Step::TicksCame => "wallet.ticks_came",
            Step::FixClose => "wallet.fix_close",
            Step::CloseSigned => "wallet.close_signed",
            Step::ClosePut => "wallet.close_put",
            Step::Redeem => "wallet.redeem",
            Step::Redeemed => "wallet.redeemed",
            Step::Withdraw => "wallet.withdraw",
            Step::Withdrawn => "wallet.withdrawn",
            Step::PaidOut => "wallet.paid_out",
            Step::Budget => "wallet.budget",
            Step::Freeze => "wallet.freeze",
            Step::Recover => "wallet.recover",
            Step::Recovered => "wallet.recovered",
            Step::ReadBack => "wallet.read_back",
            Step::Presented => "wallet.presented",
            Step::Settled => "wallet.settled",
            Step::Notice => "wallet.notice",
            Step::Other => "wallet.other",
        }
    }

    /// Which step `change` is, decided on `rows`.
    #[must_use]
    pub fn of(change: &Change, rows: &Rows) -> Step {
        told(change, rows)
            .or_else(|| payer(change, rows))
            .or_else(|| payee(change, rows))
            .or_else(|| broker(change, rows))
            .unwrap_or(Step::Other)
    }
}

/// What was learned from outside: of a lost journal, from a slot, or from the broker.
fn told(change: &Change, rows: &Rows) -> Option<Step> {
    if let Some(meta) = &change.meta {
        if meta.last_notice != rows.meta.last_notice {
            return Some(Step::Notice);
        }
        if rows.meta.needs_recovery && !meta.needs_recovery {
            return Some(Step::Recovered);
        }
    }
    change.journal.iter().find_map(|line| match line.kind {
        JournalKind::Recovered => Some(Step::Recover),
        JournalKind::Frozen | JournalKind::Thawed => Some(Step::Freeze),
        JournalKind::Settled => Some(Step::Settled),
        _ => None,
    })
}

fn payer(change: &Change, rows: &Rows) -> Option<Step> {
    let row = change.spends.first()?;
    Some(match rows.spends.get(&row.spend) {
        None => Step::Commit,
        Some(old) if old.close.is_none() && row.close.is_some() => Step::Closed,
        Some(old) if old.last_k != row.last_k => Step::TicksSent,
        Some(old) if old.ended != row.ended => Step::Ended,
        Some(old) if old.presented != row.presented => Step::Presented,
        Some(_) if !change.holdings.is_empty() => Step::ReadBack,
        Some(_) => Step::Other,
    })
}

fn payee(change: &Change, rows: &Rows) -> Option<Step> {
    let row = change.received.first()?;
    let Some(old) = rows.received.get(&row.spend) else {
        return Some(Step::RecordOpen);
    };
    Some(match (&old.state, &row.state) {
        (ReceivedState::Open, ReceivedState::Closing) => Step::FixClose,
        (ReceivedState::Closing, ReceivedState::Closed { .. }) => Step::CloseSigned,
        _ if !old.accepted && row.accepted => Step::Accepted,
        _ if !old.put && row.put => Step::ClosePut,
        _ if old.k != row.k => Step::TicksCame,
        _ if old.presented != row.presented => Step::Presented,
        _ => Step::Other,
    })
}

fn broker(change: &Change, rows: &Rows) -> Option<Step> {
    if let Some(row) = change.purchases.first() {
        return Some(match row.state {
            PurchaseState::Pending => Step::Order,
            _ => Step::Bought,
        });
    }
    if let Some(row) = change.redemptions.first() {
        return Some(match row.answers {
            None => Step::Redeem,
            Some(_) => Step::Redeemed,
        });
    }
    if let Some(row) = change.withdrawals.first() {
        return Some(match row.state {
            WithdrawalState::Pending => Step::Withdraw,
            _ if row.paid.is_some() => Step::PaidOut,
            _ => Step::Withdrawn,
        });
    }
    if !change.keys.is_empty() {
        return Some(Step::Certified);
    }
    if !change.budgets.is_empty() {
        return Some(Step::Budget);
    }
    let meta = change.meta.as_ref()?;
    if meta.broker != rows.meta.broker {
        return Some(Step::Pin);
    }
    (meta.next_key != rows.meta.next_key).then_some(Step::TakeKeys)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, Side};
    use super::super::freeze::Freeze;
    use super::super::notices::{Event, Told};
    use super::super::reading::Found;
    use super::super::rows::RequestId;
    use super::super::{earning, keys, notices, paying, reading, recover, settled, trade};
    use super::*;
    use crate::units::Units;

    fn steps(side: &Side) -> Vec<Step> {
        let mut rows = Rows::default();
        let durable = side.log.iter().filter(|change| !change.is_volatile());
        durable
            .map(|change| {
                let step = Step::of(change, &rows);
                change.apply(&mut rows).expect("as it was written");
                step
            })
            .collect()
    }

    #[test]
    fn every_change_of_a_payment_is_the_step_it_is_named_after() {
        let (mut payer, mut payee) = (Side::new(1), Side::new(2));
        payer.buy(&[64], NOW);
        payee.certify(1, NOW);
        let row = payer.reserve(1, 64, NOW).expect("there");
        let key = keys::pick(&payee.rows, &Default::default(), NOW).expect("certified");
        let paid = payer.commit(&row.holding.id, key.certificate, NOW);
        let (open, chain) = paid.expect("reserved");
        let spend = payee.receive(&row.path, open, NOW).expect("good");
        payee.write(earning::accepted(&payee.rows, &spend).expect("known"));
        payer.write(paying::ticks(&payer.rows, &[(spend, 9)]).expect("fits"));
        let wk = chain.reveal(9).expect("in chain");
        let (change, _) = earning::ticks(&payee.rows, &[(spend, 9, wk)]).expect("fits");
        payee.write(change);
        payer.write(paying::ended(&payer.rows, &[spend], NOW));
        let close = payee.close(&spend, NOW);
        payee.write(earning::put(&payee.rows, &spend).expect("known"));
        let change = paying::closed(&payer.rows, &spend, &open, &close, NOW);
        payer.write(change.expect("good"));
        let ids = trade::redeemable(&payer.rows, trade::Redeemable::All, NOW);
        let request = payer.request();
        let change = trade::begin_redemption(&payer.rows, request, &ids, NOW);
        payer.write(change.expect("available"));
        let wanted = [
            Step::Order,
            Step::Bought,
            Step::Commit,
            Step::TicksSent,
            Step::Ended,
            Step::Closed,
            Step::Redeem,
        ];
        assert_eq!(steps(&payer)[2..], wanted);
        let wanted = [
            Step::TakeKeys,
            Step::Certified,
            Step::RecordOpen,
            Step::Accepted,
            Step::TicksCame,
            Step::FixClose,
            Step::CloseSigned,
            Step::ClosePut,
        ];
        assert_eq!(steps(&payee)[2..], wanted);
        assert_eq!(steps(&payee)[1], Step::Pin);
    }

    #[test]
    fn what_is_learned_from_outside_is_a_step_of_its_own() {
        let mut side = Side::new(1);
        side.buy(&[64, 64], NOW);
        let mut ids = side.rows.holdings.keys().copied();
        let (one, other) = (ids.next().expect("two"), ids.next().expect("two"));
        let seen = None;
        let why = Freeze::Foreign;
        let found = |rows: &Rows, what: &Found| {
            reading::found(rows, &one, what, RequestId([7; 16]), NOW).expect("there")
        };
        let frozen = found(&side.rows, &Found::Frozen { why, seen });
        let redeem = found(&side.rows, &Found::Redeem);
        let is_told = settled::settled(&side.rows, &other, Units(64), NOW).expect("there");
        let notice = Told {
            number: 1,
            at: NOW,
            what: Event::Settled(other, Units(64)),
            reference: other.to_string(),
        };
        let noticed = notices::told(&side.rows, &notice).expect("fits");
        let ask = recover::ask_first(&side.rows);
        for (change, wanted) in [
            (frozen, Step::Freeze),
            (redeem, Step::Recover),
            (is_told, Step::Settled),
            (noticed, Step::Notice),
            (ask.clone(), Step::Other),
        ] {
            assert_eq!(Step::of(&change, &side.rows), wanted);
        }
        side.write(ask);
        let change = recover::told(&side.rows);
        assert_eq!(Step::of(&change, &side.rows), Step::Recovered);
    }

    #[test]
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<_> = Step::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
