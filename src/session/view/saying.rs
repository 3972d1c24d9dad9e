//! Sentences of the node that the page says in its own language.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channel::{FreeReason, NoReserve};
use crate::gateway::Why;

/// A sentence: `text` is English; `code` and `values` are what it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Saying {
    /// Which sentence.
    pub code: String,
    /// The values in it.
    pub values: BTreeMap<String, String>,
    /// The sentence in English.
    pub text: String,
}

impl Saying {
    /// A sentence.
    #[must_use]
    pub fn new(code: &str, text: impl Into<String>, values: &[(&str, String)]) -> Saying {
        let values = values.iter();
        Saying {
            code: code.to_owned(),
            values: values
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            text: text.into(),
        }
    }
}

/// The code of why a seeder is not paid, and the values in it.
#[must_use]
pub fn free_reason(why: FreeReason) -> (&'static str, Vec<(&'static str, String)>) {
    match why {
        FreeReason::Price { asked, limit } => {
            let values = [("asked", asked.to_string()), ("limit", limit.to_string())];
            return ("price", values.to_vec());
        }
        FreeReason::PriceForPieces { asked } => {
            return ("price_for_pieces", vec![("asked", asked.to_string())]);
        }
        FreeReason::Refused(reason) => {
            return ("refused", vec![("reason", reason.word().to_owned())]);
        }
        _ => {}
    }
    let code = match why {
        FreeReason::Broker => "broker",
        FreeReason::Wallet(NoReserve::OverBudget) => "budget",
        FreeReason::Wallet(NoReserve::OverBudgetOfAll) => "budget_of_all",
        FreeReason::Wallet(NoReserve::NoFunds) => "no_funds",
        FreeReason::Wallet(NoReserve::Unanswered) => "ordered",
        FreeReason::Wallet(NoReserve::TooSmall) => "coins_small",
        FreeReason::Wallet(NoReserve::NotYet) => "buying",
        FreeReason::Wallet(NoReserve::PriceAboveLimit) => "price_limit",
        FreeReason::Wallet(NoReserve::WalletLimit) => "wallet_limit",
        FreeReason::NoSpend => "no_spend",
        FreeReason::ListOld => "list_old",
        FreeReason::NoWallet => "no_wallet",
        FreeReason::Avoided => "avoided",
        FreeReason::NoAnswer => "no_answer",
        _ => "no_service",
    };
    (code, Vec::new())
}

impl From<Why> for Saying {
    fn from(why: Why) -> Saying {
        match why {
            Why::SeederWaits(reason) => {
                Saying::new(&format!("waits_{reason}"), why.to_string(), &[])
            }
            Why::Free(reason) => {
                let (code, values) = free_reason(reason);
                Saying::new(code, why.to_string(), &values)
            }
        }
    }
}
