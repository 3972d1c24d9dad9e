//! `dpay bench wallet`: how long a wallet with many holdings takes from its start to its first answer, and to
//! say that a budget leaves nothing, which every channel that waits asks again every ten seconds.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::cashier::wallet::{Passphrase, ReserveRequest, Wallet, WalletConfig, WalletHandle};
use crate::channel::NoReserve;
use crate::cli::demo::TempDir;
use crate::cli::{EXIT_DONE, say};
use crate::coin::Seed;
use crate::coin::certificate::CoinCertificate;
use crate::coin::keys::SecretKey;
use crate::record;
use crate::store::wallet::{SqliteOptions, SqliteStore, WalletStore};
use crate::units::{InfoHash, Units};
use crate::wallet::{Change, HoldingRow, HoldingState, Meta, Origin, Passing, PinnedBroker, SIZES};
use crate::{clock, random};

/// Holdings in one change while the wallet is made.
const BATCH: usize = 2_000;

/// How often it is asked for what a budget does not leave.
const ASKS: u32 = 100;

/// Options of `dpay bench wallet`.
#[derive(Debug, clap::Args)]
pub struct WalletArgs {
    /// Holdings in the wallet
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub holdings: u32,
    /// How often it is opened
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
}

/// Makes the wallet, opens it again and again, and prints the median and the slowest.
///
/// # Errors
/// A wallet that cannot be made or opened.
pub async fn run(args: &WalletArgs, is_json: bool) -> Result<u8> {
    let home = TempDir::within(None)?;
    let words = Wallet::init(&home.path, None, &Passphrase::none()).await?;
    let seed = Seed::from_words(&words).context("its own words")?;
    let made = Instant::now();
    fill(&home.path, &seed, args.holdings).await?;
    let made_ms = millis(made);
    let mut ready_ms = Vec::new();
    let mut refused_us = Vec::new();
    let mut unread = Units::ZERO;
    for _ in 0..args.rounds {
        let start = Instant::now();
        let wallet = Wallet::open(WalletConfig::new(&home.path, None), &Passphrase::none()).await?;
        unread = wallet.balance().await?.unread;
        ready_ms.push(millis(start));
        refused_us.push(refused(&wallet).await?);
        wallet.shutdown().await?;
    }
    ready_ms.sort_by(f64::total_cmp);
    refused_us.sort_by(f64::total_cmp);
    let median = ready_ms[ready_ms.len() / 2];
    let refused = refused_us[refused_us.len() / 2];
    let slowest = ready_ms.last().copied().unwrap_or_default();
    let line = json!({
        "holdings": args.holdings,
        "units": unread,
        "made_ms": made_ms,
        "rounds": args.rounds,
        "ready_ms_median": median,
        "ready_ms_slowest": slowest,
        "refused_us_median": refused,
    });
    say(is_json, &line, || {
        format!(
            "{} holdings: ready {median:.0} ms after the start (median of {}; slowest {slowest:.0} ms); a budget \
             that is used up is told in {refused:.0} us",
            args.holdings, args.rounds
        )
    });
    Ok(EXIT_DONE)
}

/// Microseconds until it says that the budget for all torrents leaves nothing.
async fn refused(wallet: &WalletHandle) -> Result<f64> {
    wallet.pay_up_to(Some(Units::ZERO)).await?;
    let wish = ReserveRequest {
        info_hash: InfoHash([7; 20]),
        at_least: Units(16),
        at_most: Units(64),
        then: Units::ZERO,
    };
    let start = Instant::now();
    for _ in 0..ASKS {
        if wallet.reserve(wish).await != Err(NoReserve::OverBudgetOfAll) {
            bail!("the wallet gives what the budget does not leave");
        }
    }
    Ok(millis(start) * 1000.0 / f64::from(ASKS))
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Coins of all sizes, as if they had been bought one after another.
async fn fill(home: &Path, seed: &Seed, holdings: u32) -> Result<()> {
    let store = SqliteStore::open(home, SqliteOptions::default()).await?;
    let mut rows = store.load().await?;
    let broker = SecretKey::from_bytes(random::bytes());
    rows.meta.broker = Some(PinnedBroker {
        key: broker.public(),
        url: "http://127.0.0.1:9".to_owned(),
    });
    let today = clock::now().day();
    let indices: Vec<u32> = (0..holdings).collect();
    for batch in indices.chunks(BATCH) {
        let mut change = Change::on(&rows);
        let mut bought = rows.meta.books.bought;
        for index in batch {
            let value = Units(SIZES[usize::try_from(*index)? % SIZES.len()]);
            let holder = seed.holder_key(*index).public();
            let coin = CoinCertificate::issue(
                &broker,
                value,
                holder,
                today,
                today.plus(30),
                random::bytes(),
            );
            let path = record::Path {
                coin,
                links: Vec::new(),
            };
            bought = bought.checked_add(value).context("too many units")?;
            change.holdings.push(HoldingRow {
                holding: path.holding().context("a coin")?,
                key_index: *index,
                origin: Origin::Bought,
                path: path.encode(),
                passing: Passing::Yes,
                since: clock::now(),
                info_hash: None,
                peer: None,
                state: HoldingState::Available,
            });
        }
        let mut meta = Meta {
            next_key: batch.last().copied().unwrap_or_default() + 1,
            ..rows.meta.clone()
        };
        meta.books.bought = bought;
        change.meta = Some(meta);
        store.apply(&change).await?;
        change.apply(&mut rows)?;
    }
    store.close().await;
    Ok(())
}
