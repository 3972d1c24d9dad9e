//! What a running node is asked, as it is the wallet's one writer.

use std::path::PathBuf;

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::json;

use super::{WalletGlobal, check, check_bought, show};
use crate::cashier::wallet::RedeemReport;
use crate::http::node::client::NodeClient;
use crate::session::view::{Bought, BuyRequest, Money, NodeView, RedeemRequest, Redeemed};
use crate::units::Units;

/// The play wallet, while the node that runs here pays from it; says so.
pub(super) async fn played(global: &WalletGlobal) -> Option<WalletGlobal> {
    let node = NodeClient::find(&global.home).await?;
    let view: NodeView = node.get("/node").await.ok()?;
    if view.money != Money::Play {
        return None;
    }
    eprintln!("play money: the node that runs here plays, and this is its play wallet");
    Some(WalletGlobal {
        home: PathBuf::from(view.wallet_home),
        broker_url: None,
        ..global.clone()
    })
}

/// The running node is the wallet's one writer: it is asked to buy.
pub(super) async fn buy_by_node(
    node: &NodeClient,
    units: Units,
    global: &WalletGlobal,
) -> Result<()> {
    let request = BuyRequest { units };
    let bought: Bought = node.change(Method::POST, "/wallet/buy", &request).await?;
    if global.json {
        let told = json!({
            "units_bought": bought.units,
            "coins": bought.coins,
            "units_ordered": bought.ordered,
            "error": bought.error,
        });
        println!("{told}");
    } else if bought.coins > 0 {
        println!("bought {} coins worth {} units", bought.coins, bought.units);
    }
    check_bought(bought.ordered, bought.error.as_deref())
}

/// The running node is the wallet's one writer: it is asked to redeem.
pub(super) async fn redeem_by_node(
    node: &NodeClient,
    all: bool,
    global: &WalletGlobal,
) -> Result<()> {
    let request = RedeemRequest { all };
    let redeemed: Redeemed = node
        .change(Method::POST, "/wallet/redeem", &request)
        .await?;
    let report = RedeemReport {
        credited: redeemed.units,
        earned: redeemed.earned,
        change: redeemed.change,
        coins: redeemed.coins,
        pending_until: redeemed.pending_until,
        unanswered: redeemed.unanswered,
        unread: redeemed.unread,
        error: redeemed.error,
        ..RedeemReport::default()
    };
    show::redeemed(&report, global.json)?;
    if let Some(refused) = redeemed.refused.first() {
        bail!(
            "the broker refused {} holdings: {refused}",
            redeemed.refused.len()
        );
    }
    check(&report)
}
