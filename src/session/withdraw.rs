//! Taking money out of the account at the broker.

use super::Session;
use super::money::problem;
use super::view::{Advice, Problem, ProblemCode, WithdrawRequest, Withdrawn};
use crate::broker::terms::MAX_TRANSFER;
use crate::cashier::wallet::WithdrawReport;
use crate::units::Units;
use crate::wallet::withdraw::WithdrawAsk;

fn view(report: WithdrawReport) -> Withdrawn {
    let redeemed = report.redeemed.unwrap_or_default();
    let missing = [redeemed.unanswered, redeemed.unread];
    let left = report.left;
    Withdrawn {
        units: report.units,
        reference: report.request.to_string(),
        withdrawal: report.withdrawal,
        error: report.error,
        redeemed: redeemed.credited,
        not_redeemed: Units::checked_sum(missing).unwrap_or(Units(u64::MAX)),
        balance: left.map(|left| left.balance),
        withdrawable: left.map(|left| left.withdrawable),
        pending: left.map(|left| left.pending),
        bond: left.map(|left| left.bond),
        outstanding: left.map(|left| left.outstanding),
        bond_until: report.bond_until,
    }
}

impl Session {
    /// Withdraws from the balance at the broker.
    ///
    /// # Errors
    /// Nothing was withdrawn: an ask that makes no sense, the broker's refusal, or that it cannot be
    /// reached.
    pub async fn withdraw(&self, request: WithdrawRequest) -> Result<Withdrawn, Problem> {
        let bad = |error: String| Problem::new(ProblemCode::BadRequest, error, Advice::SeeApi);
        if let Some(units) = request.units
            && (units.is_zero() || units > MAX_TRANSFER)
        {
            return Err(bad(format!("{units:#} cannot be withdrawn at once")));
        }
        let ask = WithdrawAsk {
            units: request.units,
            destination: request.destination,
            bond: request.bond,
        };
        ask.check().map_err(|error| bad(error.to_string()))?;
        let run = self.running()?;
        let report = run.node.wallet.withdraw(ask).await;
        // Also after a failure: the bond may have been asked for, and with it everything redeemed.
        self.look(&run).await;
        report.map(view).map_err(|error| problem(&error))
    }
}
