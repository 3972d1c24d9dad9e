//! The durable steps of a wallet, named: what a process may be killed before or after.

use super::change::Change;
use super::rows::{HoldingState, PurchaseState, ReceivedState, Rows};
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
    /// A budget is set.
    Budget,
    /// Anything else: freezing, notices, recovery.
    Other,
}

impl Step {
    /// All of them.
    pub const ALL: [Step; 21] = [
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
        Step::Budget,
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
            Step::Budget => "wallet.budget",
            Step::Other => "wallet.other",
        }
    }

    /// Which step `change` is, decided on `rows`.
    #[must_use]
    pub fn of(change: &Change, rows: &Rows) -> Step {
        payer(change, rows)
            .or_else(|| payee(change, rows))
            .or_else(|| broker(change, rows))
            .unwrap_or(Step::Other)
    }
}

fn payer(change: &Change, rows: &Rows) -> Option<Step> {
    let row = change.spends.first()?;
    Some(match rows.spends.get(&row.spend) {
        None => Step::Commit,
        Some(old) if old.close.is_none() && row.close.is_some() => Step::Closed,
        Some(old) if old.last_k != row.last_k => Step::TicksSent,
        Some(old) if old.ended != row.ended => Step::Ended,
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
            _ if row.paid.is_some() => Step::Other,
            _ => Step::Withdrawn,
        });
    }
    if !change.keys.is_empty() {
        return Some(Step::Certified);
    }
    if !change.budgets.is_empty() {
        return Some(Step::Budget);
    }
    let is_frozen = |state: &HoldingState| matches!(state, HoldingState::Frozen { .. });
    if change.holdings.iter().any(|row| is_frozen(&row.state)) {
        return Some(Step::Other);
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
    use super::super::{earning, keys, paying, trade};
    use super::*;

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
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<_> = Step::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
