//! `dpay wallet sync`: one round of what a running node does by itself.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::json;

use super::{SETTLE_DHT, SyncArgs, WalletGlobal, check, finish, open};
use crate::cashier::wallet::keeper::round;
use crate::cashier::wallet::{PresentReport, RedeemReport, Round, WalletHandle};
use crate::dht::DhtNode;
use crate::units::Units;
use crate::wallet::keeping::Rules;

/// What a round came to.
struct Told {
    round: Round,
    presented: PresentReport,
    redeemed: RedeemReport,
}

pub(super) async fn run(args: SyncArgs, global: &WalletGlobal) -> Result<()> {
    let wallet = open(global).await?;
    let told = once(args, global, &wallet).await;
    let told = match told {
        Ok(told) => {
            say(&told, global.json)?;
            check(&told.redeemed)
        }
        Err(error) => Err(error),
    };
    finish(wallet, told).await
}

async fn once(args: SyncArgs, global: &WalletGlobal, wallet: &WalletHandle) -> Result<Told> {
    let config = global.dht.clone().context("no DHT is named")?;
    let dht = DhtNode::start(config).await?;
    let nodes = usize::try_from(dht.min_answers()).unwrap_or(usize::MAX);
    dht.settled(nodes, SETTLE_DHT).await;
    wallet.set_slots(Arc::new(dht.clone())).await?;
    let met = wallet.meet().await;
    let mut round = round(wallet, &dht, !args.due).await?;
    if let Err(error) = met {
        round.errors.push(error.to_string());
        return Ok(Told {
            round,
            presented: PresentReport::default(),
            redeemed: RedeemReport::default(),
        });
    }
    let rules = Rules {
        keep: Units(args.keep),
    };
    let mut redeemed = wallet.redeem_due(rules).await?;
    // What is kept need not be read before it is used.
    redeemed.unread = Units::ZERO;
    let presented = wallet.present().await?;
    Ok(Told {
        round,
        presented,
        redeemed,
    })
}

fn say(told: &Told, is_json: bool) -> Result<()> {
    if is_json {
        println!(
            "{}",
            json!({
                "chores": told.round.chores,
                "closes_found": told.round.closes_found,
                "rivals": told.round.rivals,
                "errors": told.round.errors,
                "presented": told.presented.taken,
                "present_refused": told.presented.refused,
                "units_redeemed": told.redeemed.credited,
                "pending_until_unix_ms": told.redeemed.pending_until,
            })
        );
        return Ok(());
    }
    println!(
        "{} things done in the DHT; {} closes found; {} paths presented; {} units redeemed",
        told.round.chores, told.round.closes_found, told.presented.taken, told.redeemed.credited
    );
    if told.round.rivals > 0 {
        println!(
            "{} records have another item beside them: a double spend; what is yours was presented",
            told.round.rivals
        );
    }
    for why in &told.presented.refused {
        println!("not taken by the broker: {why}");
    }
    for error in &told.round.errors {
        println!("not done yet: {error}");
    }
    Ok(())
}
