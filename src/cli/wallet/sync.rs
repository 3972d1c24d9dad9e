//! `dpay wallet sync`: one round of what a running node does by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde_json::json;

use super::{SETTLE_DHT, SyncArgs, WalletGlobal, check, finish, open, show};
use crate::cashier::wallet::keeper::round;
use crate::cashier::wallet::{PresentReport, RedeemReport, Round, WalletHandle};
use crate::dht::DhtNode;
use crate::units::Units;
use crate::wallet::keeping::Rules;

/// How long what an earlier run left is read.
const READ_LIMIT: Duration = Duration::from_secs(300);
/// Between looks at how far that is.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// What a round came to.
struct Told {
    round: Round,
    presented: PresentReport,
    redeemed: RedeemReport,
    /// Of earlier runs, and not read.
    unread: Units,
    frozen: Units,
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
            unread: Units::ZERO,
            frozen: Units::ZERO,
        });
    }
    if !args.due {
        read(wallet).await?;
    }
    let rules = Rules {
        keep: Units(args.keep),
    };
    let mut redeemed = wallet.redeem_due(rules).await?;
    // What is kept need not be read before it is used.
    redeemed.unread = Units::ZERO;
    let presented = wallet.present().await?;
    let left = wallet.balance().await?;
    Ok(Told {
        round,
        presented,
        redeemed,
        unread: left.unread,
        frozen: left.frozen,
    })
}

/// Reads what an earlier run left: until then it cannot be used. What is not read in time stays as it is.
async fn read(wallet: &WalletHandle) -> Result<()> {
    let bar = ProgressBar::new_spinner();
    let reading = tokio::time::timeout(READ_LIMIT, wallet.read_all());
    tokio::pin!(reading);
    loop {
        tokio::select! {
            ended = &mut reading => {
                bar.finish_and_clear();
                return match ended {
                    Ok(read) => Ok(read?),
                    Err(_) => Ok(()),
                };
            }
            () = tokio::time::sleep(SHOW_EVERY) => {
                let balance = wallet.balance().await?;
                bar.set_message(format!(
                    "reading the DHT: {:#} of an earlier run are left, {} are frozen",
                    balance.unread, balance.frozen
                ));
                bar.tick();
            }
        }
    }
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
                "units_unread": told.unread,
                "units_frozen": told.frozen,
            })
        );
        return Ok(());
    }
    println!(
        "done in the DHT: {}; closes found: {}; paths presented: {}; units redeemed: {}",
        told.round.chores, told.round.closes_found, told.presented.taken, told.redeemed.credited
    );
    if told.round.rivals > 0 {
        println!(
            "{} records have another item beside them: a double spend; what is yours was presented",
            told.round.rivals
        );
    }
    if !told.unread.is_zero() {
        println!("{:#} of an earlier run could not be read yet", told.unread);
    }
    if !told.frozen.is_zero() {
        println!("{}", show::frozen(told.frozen));
    }
    for why in &told.presented.refused {
        println!("not taken by the broker: {why}");
    }
    for error in &told.round.errors {
        println!("not done yet: {error}");
    }
    Ok(())
}
