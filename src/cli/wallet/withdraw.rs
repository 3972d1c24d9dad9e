//! `dpay wallet withdraw`: take money out of the account at the broker.

use anyhow::{Context, Result, bail};
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::{WalletGlobal, finish, open, patiently, read_slots};
use crate::broker::terms::MAX_TRANSFER;
use crate::cashier::wallet::{WalletHandle, WithdrawReport};
use crate::http::node::client::{NodeClient, NodeClientError};
use crate::report::date;
use crate::session::view::{WithdrawRequest, Withdrawn};
use crate::units::{Day, Units};
use crate::wallet::withdraw::{Standing, WithdrawAsk};

/// What to withdraw, and where to.
#[derive(Clone, Debug, Args)]
pub struct WithdrawArgs {
    /// Units of the balance at the broker, or `all` that can be had now.
    #[arg(value_name = "UNITS|all", value_parser = amount)]
    pub units: Amount,
    /// Where to, in words that the broker's operator understands: one line of at most 200 bytes.
    #[arg(long, value_name = "TEXT")]
    pub to: String,
    /// The bond too, for whoever leaves: redeems all first, and buys nothing by itself from then on, until
    /// `dpay wallet buy`.
    #[arg(long)]
    pub bond: bool,
}

/// What the broker is waited for.
const WHAT: &str = "the withdrawal";
/// What it means that there is no report: nothing was fixed, so that nothing is sent again.
const NOT_MADE: &str = "this withdrawal was not made, and is not asked for again by itself";

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// All that can be had now.
    All,
    /// So many units.
    Units(Units),
}

fn amount(text: &str) -> Result<Amount, String> {
    if text == "all" {
        return Ok(Amount::All);
    }
    let units = text
        .parse()
        .ok()
        .filter(|n| (1..=MAX_TRANSFER.0).contains(n));
    let wrong = || format!("neither `all` nor a number from 1 to {MAX_TRANSFER}");
    units.map(|n| Amount::Units(Units(n))).ok_or_else(wrong)
}

/// What is shown of a withdrawal, whoever made it.
struct Shown {
    units: Units,
    receipt: String,
    withdrawal: Option<String>,
    error: Option<String>,
    redeemed: Units,
    not_redeemed: Units,
    left: Option<Standing>,
    bond_until: Option<Day>,
}

impl From<WithdrawReport> for Shown {
    fn from(report: WithdrawReport) -> Shown {
        let redeemed = report.redeemed.unwrap_or_default();
        let missing = [redeemed.unanswered, redeemed.unread];
        Shown {
            units: report.units,
            receipt: report.request.to_string(),
            withdrawal: report.withdrawal,
            error: report.error,
            redeemed: redeemed.credited,
            not_redeemed: Units::checked_sum(missing).unwrap_or(Units(u64::MAX)),
            left: report.left,
            bond_until: report.bond_until,
        }
    }
}

impl From<Withdrawn> for Shown {
    fn from(done: Withdrawn) -> Shown {
        let left = done.balance.map(|balance| Standing {
            balance,
            pending: done.pending.unwrap_or_default(),
            bond: done.bond.unwrap_or_default(),
            outstanding: done.outstanding.unwrap_or_default(),
            withdrawable: done.withdrawable.unwrap_or_default(),
        });
        Shown {
            units: done.units,
            receipt: done.reference,
            withdrawal: done.withdrawal,
            error: done.error,
            redeemed: done.redeemed,
            not_redeemed: done.not_redeemed,
            left,
            bond_until: done.bond_until,
        }
    }
}

/// Withdraws, by the running node where there is one: it is the wallet's one writer.
pub(super) async fn run(args: WithdrawArgs, global: &WalletGlobal) -> Result<()> {
    let ask = WithdrawAsk {
        units: match args.units {
            Amount::All => None,
            Amount::Units(units) => Some(units),
        },
        destination: args.to,
        bond: args.bond,
    };
    ask.check()?;
    if let Some(node) = NodeClient::find(&global.home).await {
        let request = WithdrawRequest {
            units: ask.units,
            destination: ask.destination.clone(),
            bond: ask.bond,
        };
        let asked = node.change(Method::POST, "/wallet/withdraw", &request);
        let done: Withdrawn = match patiently(WHAT, asked).await {
            Err(error @ NodeClientError::Refused(_)) => {
                return Err(anyhow::Error::new(error).context(NOT_MADE));
            }
            done => done?,
        };
        return show(&done.into(), &ask, global.json);
    }
    let wallet = open(global).await?;
    if ask.bond {
        read_slots(&wallet, global).await;
    }
    let done = withdraw(&wallet, ask, global.json).await;
    finish(wallet, done).await
}

async fn withdraw(wallet: &WalletHandle, ask: WithdrawAsk, is_json: bool) -> Result<()> {
    let report = patiently(WHAT, wallet.withdraw(ask.clone())).await;
    let report = report.context(NOT_MADE)?;
    show(&report.into(), &ask, is_json)
}

/// Prints it; an error where it is not answered, so that the exit code says it too.
fn show(done: &Shown, ask: &WithdrawAsk, is_json: bool) -> Result<()> {
    if is_json {
        let left = done.left;
        let told = json!({
            "units_withdrawn": done.units,
            "withdrawal": done.withdrawal,
            "receipt": done.receipt,
            "error": done.error,
            "units_redeemed": done.redeemed,
            "units_not_redeemed": done.not_redeemed,
            "balance": left.map(|left| left.balance),
            "pending": left.map(|left| left.pending),
            "bond": left.map(|left| left.bond),
            "outstanding": left.map(|left| left.outstanding),
            "bond_until": done.bond_until,
            "buys_nothing": ask.bond,
        });
        println!("{told}");
    } else {
        text(done, ask);
    }
    if done.withdrawal.is_none() {
        bail!(
            "the withdrawal of {:#} is not answered yet: {}; it is asked for again by itself while a node \
             runs, and by the next `dpay wallet withdraw`; the same once more withdraws nothing twice",
            done.units,
            done.error.as_deref().unwrap_or("the broker did not answer")
        );
    }
    Ok(())
}

fn text(done: &Shown, ask: &WithdrawAsk) {
    if !done.redeemed.is_zero() {
        println!("redeemed {:#} first", done.redeemed);
    }
    if !done.not_redeemed.is_zero() {
        println!(
            "{:#} could not be redeemed now: `dpay wallet redeem --all` says why",
            done.not_redeemed
        );
    }
    if let Some(id) = &done.withdrawal {
        println!(
            "{:#} wait to be paid out to {:?} by the broker's operator, as withdrawal {id}",
            done.units, ask.destination
        );
    }
    if let Some(left) = &done.left {
        println!("left at the broker: {left}");
        if ask.bond
            && let Some(stays) = stays(left, done.bond_until, &ask.destination)
        {
            println!("{stays}");
        }
    }
    if ask.bond {
        println!("nothing is bought by itself any more; `dpay wallet buy` ends that");
    }
}

/// What whoever leaves did not get, when it can be had, and how: one withdrawal is no standing order.
fn stays(left: &Standing, bond_until: Option<Day>, to: &str) -> Option<String> {
    let last = match bond_until {
        Some(day) => format!("is redeemed, and on {} at the latest", date(day)),
        None => "is redeemed or settled".to_owned(),
    };
    let (what, when) = match (left.bond.is_zero(), left.outstanding.is_zero()) {
        (true, _) if left.pending.is_zero() => return None,
        (true, _) => (
            format!("{} pending units", left.pending),
            "when the broker's hold is over".to_owned(),
        ),
        (false, true) => (
            format!("the bond of {:#}", left.bond),
            "a hold of the broker after the last coin was redeemed".to_owned(),
        ),
        (false, false) => (
            format!("the bond of {:#}", left.bond),
            format!("a hold of the broker after the last outstanding coin {last}"),
        ),
    };
    Some(format!(
        "not withdrawn: {what}, free {when}; nothing more goes out by itself, so run then again: \
         dpay wallet withdraw all --bond --to {to:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_is_told_what_stays_until_when_and_what_to_run_then() {
        let left = Standing {
            bond: Units(1_000),
            outstanding: Units(64),
            ..Standing::default()
        };
        let told = |left: &Standing, until| stays(left, until, "IBAN 1").unwrap_or_default();
        let bound = told(&left, Some(Day(20_000)));
        for what in ["1000 units", "2024-10-04", "all --bond --to \"IBAN 1\""] {
            assert!(bound.contains(what), "{bound}");
        }
        let redeemed = Standing {
            outstanding: Units::ZERO,
            ..left
        };
        let soon = told(&redeemed, None);
        assert!(soon.contains("after the last coin was redeemed"), "{soon}");
        let pending = Standing {
            pending: Units(70),
            ..Standing::default()
        };
        let soon = told(&pending, None);
        assert!(soon.contains("70 pending units"), "{soon}");
        assert_eq!(stays(&Standing::default(), None, "IBAN 1"), None);
    }

    #[test]
    fn an_amount_is_all_or_a_number_that_a_withdrawal_can_have() {
        assert_eq!(amount("all"), Ok(Amount::All));
        assert_eq!(amount("17"), Ok(Amount::Units(Units(17))));
        for wrong in ["0", "-1", "1.5", "All", "", "1000000000000001"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
    }
}
