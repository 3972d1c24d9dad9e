//! What a running node is asked, as it is the wallet's one writer.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::json;

use super::{WalletGlobal, check, check_bought, patiently, show};
use crate::cashier::wallet::RedeemReport;
use crate::http::node::client::NodeClient;
use crate::session::view::{
    Bought, BuyRequest, Money, NodeView, RedeemRequest, Redeemed, Stage, WalletView,
};
use crate::units::Units;
use crate::wallet::Balance;

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

/// What a running node knows of the account, as it has the wallet open: nobody has to give the passphrase.
pub(super) async fn account_by_node(balance: &mut Balance, global: &WalletGlobal) -> Result<()> {
    let how = "give the passphrase by file or environment to see it";
    let node = NodeClient::find(&global.home).await.context(how)?;
    let view: WalletView = node.get("/wallet").await.context(how)?;
    balance.broker_balance = view.broker_balance;
    balance.broker_pending = view.broker_pending;
    balance.broker_bond = view.broker_bond;
    balance.broker_withdrawable = view.withdrawable;
    balance.broker_outstanding = view.outstanding;
    balance.broker_error = view.broker_error;
    balance.waits_for_broker = view.waits_for_broker;
    if balance.broker_balance.is_none() && balance.broker_error.is_none() {
        bail!("the node has not heard from the broker yet; ask again in a moment");
    }
    Ok(())
}

/// Which coins are ready and which wait to be read again is known to the running node alone.
pub(super) async fn wallet_by_node(balance: &mut Balance, global: &WalletGlobal) {
    let Some(node) = NodeClient::find(&global.home).await else {
        return;
    };
    let Ok(view) = node.get::<WalletView>("/wallet").await else {
        if let Ok(node) = node.get::<NodeView>("/node").await
            && node.stage == Stage::Locked
        {
            let why = match node.passphrase_refused {
                true => ": the passphrase that it was started with is wrong",
                false => "",
            };
            eprintln!(
                "the wallet of the node that runs here is locked{why}; give it on the node's page"
            );
        }
        return;
    };
    balance.available = view.available;
    balance.unread = view.unread;
    balance.waits_for_broker = view.waits_for_broker;
    let coins = view.coins.iter().map(|coin| (coin.value, coin.count));
    balance.coins = coins.collect();
}

/// The running node is the wallet's one writer: it is asked to buy.
pub(super) async fn buy_by_node(
    node: &NodeClient,
    units: Units,
    global: &WalletGlobal,
) -> Result<()> {
    let request = BuyRequest { units };
    let asked = node.change(Method::POST, "/wallet/buy", &request);
    let bought: Bought = patiently("the purchase", asked).await?;
    if global.json {
        let told = json!({
            "units_bought": bought.units,
            "coins": bought.coins,
            "units_ordered": bought.ordered,
            "error": bought.error,
        });
        println!("{told}");
    } else if bought.coins > 0 {
        println!("bought {} coins worth {:#}", bought.coins, bought.units);
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
    let asked = node.change(Method::POST, "/wallet/redeem", &request);
    let redeemed: Redeemed = patiently("what is redeemed", asked).await?;
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
