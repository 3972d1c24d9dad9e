//! `dpay wallet`: make a wallet, see what is in it, buy coins, redeem what was earned.
//!
//! `balance` and `history` only read and work beside a running node; the others are the wallet's one
//! writer while they run.

mod by_node;
mod keep;
mod passphrase;
mod patience;
mod receipts;
pub(super) mod show;
mod sync;
mod withdraw;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::settings;
use crate::cashier::wallet::counter::Counter;
use crate::cashier::wallet::{
    Account, BrokerDoor, Passphrase, RedeemReport, Wallet, WalletConfig, WalletHandle, home,
};
use crate::config::{Global, Settings, keys};
use crate::dht::{DhtConfig, DhtNode};
use crate::http::node::client::NodeClient;
use crate::units::Units;
use crate::wallet::keeping::Rules;
use crate::wallet::{Balance, PinnedBroker};

use by_node::{account_by_node, buy_by_node, played, redeem_by_node, wallet_by_node};
pub use keep::{BackupArgs, NewPassphraseArgs, RestoreArgs};
pub use passphrase::PassphraseSource;
use patience::patiently;
pub use withdraw::{Amount, WithdrawArgs};

/// How long a command looks for DHT nodes before it asks them.
const SETTLE_DHT: Duration = Duration::from_secs(10);
/// The setting that says where the broker is.
const BROKER: &str = "broker.url";
/// How long `balance` waits for the broker.
const ASK_BROKER: Duration = Duration::from_secs(3);

/// What every `dpay wallet` command is told.
#[derive(Clone, Debug)]
pub struct WalletGlobal {
    /// The wallet's home directory.
    pub home: PathBuf,
    /// Where the broker is; none: where it was met first.
    pub broker_url: Option<String>,
    /// JSON instead of text.
    pub json: bool,
    /// Where the passphrase comes from.
    pub passphrase: PassphraseSource,
    /// The DHT, which is read before anything of an earlier run is signed for; none: no such thing is.
    pub dht: Option<DhtConfig>,
}

/// The DHT as the common flags say, for a command that only reads.
#[must_use]
pub fn dht_of(global: &Global) -> DhtConfig {
    let mut dht = DhtConfig {
        min_answers: global.dht_min_answers,
        ..DhtConfig::default()
    };
    if !global.dht_bootstrap.is_empty() {
        dht.bootstrap.clone_from(&global.dht_bootstrap);
    }
    dht
}

/// Commands for a wallet's owner.
#[derive(Clone, Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a wallet and show its 24 words, once.
    Init(InitArgs),
    /// Show what is available, locked (with whom, why, until when), earned and pending.
    Balance,
    /// Buy coins for units of the balance at the broker.
    Buy(BuyArgs),
    /// Turn what was earned, and change, into balance at the broker.
    Redeem(RedeemArgs),
    /// Take money out of the balance at the broker; its operator pays it out.
    Withdraw(WithdrawArgs),
    /// Show what was bought, paid, earned and redeemed, the newest last; or the proofs behind a line.
    History(HistoryArgs),
    /// Write the whole wallet into one encrypted file, also while it is in use.
    Backup(BackupArgs),
    /// Change the passphrase of the wallet, also while a node runs.
    Passphrase(NewPassphraseArgs),
    /// Make a wallet again, in an empty home, from a backup or from its 24 words.
    Restore(RestoreArgs),
    /// Do once, now, what a running node does by itself: look for closes that never came, put records
    /// again, present what was passed on, redeem what is not kept.
    Sync(SyncArgs),
}

/// How a wallet is made.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// Take the 24 words in this file instead of new ones.
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// No passphrase: whoever can read the file has the money.
    #[arg(long)]
    pub no_passphrase: bool,
}

/// How much to buy.
#[derive(Clone, Debug, Args)]
pub struct BuyArgs {
    /// Units; rounded up to a multiple of 16, the smallest coin.
    #[arg(value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub units: u64,
}

/// What to redeem.
#[derive(Clone, Debug, Args)]
pub struct RedeemArgs {
    /// Unspent coins too.
    #[arg(long)]
    pub all: bool,
}

/// How much history.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// Most lines to show.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Show the receipts of this line instead: its number, or the beginning of its receipt's id
    #[arg(long, value_name = "N|ID")]
    pub show: Option<String>,
}

/// What a round of keeping does.
#[derive(Clone, Copy, Debug, Args)]
pub struct SyncArgs {
    /// Units of shares and change to keep for paying; what is beyond is redeemed.
    #[arg(long, value_name = "UNITS", default_value_t = Rules::default().keep.0)]
    pub keep: u64,
    /// Only what is due now, not also what would be due later.
    #[arg(long)]
    pub due: bool,
}

/// Runs one command.
///
/// # Errors
/// What went wrong, with what to do about it.
pub async fn run(command: WalletCommand, global: &WalletGlobal) -> Result<()> {
    let played = match command {
        WalletCommand::Balance | WalletCommand::History(_) | WalletCommand::Backup(_) => {
            played(global).await
        }
        _ => None,
    };
    let global = played.as_ref().unwrap_or(global);
    match command {
        WalletCommand::Init(args) => init(args, global).await,
        WalletCommand::Backup(args) => keep::backup(args, global).await,
        WalletCommand::Restore(args) => keep::restore(args, global).await,
        WalletCommand::Passphrase(args) => keep::change_passphrase(args, global).await,
        WalletCommand::Balance => balance(global).await,
        WalletCommand::Buy(args) => {
            if let Some(node) = NodeClient::find(&global.home).await {
                return buy_by_node(&node, Units(args.units), global).await;
            }
            let wallet = open(global).await?;
            let bought = buy(&wallet, Units(args.units), global).await;
            finish(wallet, bought).await
        }
        WalletCommand::Redeem(args) => {
            if let Some(node) = NodeClient::find(&global.home).await {
                return redeem_by_node(&node, args.all, global).await;
            }
            let wallet = open(global).await?;
            read_slots(&wallet, global).await;
            let redeemed = redeem(&wallet, args.all, global).await;
            finish(wallet, redeemed).await
        }
        WalletCommand::Withdraw(args) => withdraw::run(args, global).await,
        WalletCommand::History(args) => history(&args, global).await,
        WalletCommand::Sync(args) => sync::run(args, global).await,
    }
}

async fn history(args: &HistoryArgs, global: &WalletGlobal) -> Result<()> {
    let reader = Wallet::read(&global.home).await?;
    let Some(what) = &args.show else {
        return show::history(
            &reader.history(args.limit).await?,
            &global.home,
            global.json,
        );
    };
    let receipts = reader.receipts(what).await?;
    if receipts.is_empty() {
        bail!(
            "no line of the history has the number {what:?} or a receipt that begins so (six signs or \
             more); `dpay wallet history` shows both"
        );
    }
    receipts::show(&receipts, global.json)
}

async fn open(global: &WalletGlobal) -> Result<WalletHandle> {
    let passphrase = global.passphrase.open(&global.home)?;
    let config = WalletConfig::for_command(&global.home, global.broker_url.clone());
    Ok(Wallet::open(config, &passphrase).await?)
}

/// Joins the DHT, where something of an earlier run may have to be read before it is redeemed. Without
/// it the rest is redeemed all the same.
async fn read_slots(wallet: &WalletHandle, global: &WalletGlobal) {
    let of_earlier = |balance: &Balance| !balance.unread.is_zero() || !balance.frozen.is_zero();
    // What the broker tells first, after a restore, may have to be read too.
    let balance = wallet.balance().await;
    let is_needed = balance.is_ok_and(|b| of_earlier(&b) || b.needs_recovery);
    let Some(config) = global.dht.clone().filter(|_| is_needed) else {
        return;
    };
    match DhtNode::start(config).await {
        Ok(dht) => {
            let nodes = usize::try_from(dht.min_answers()).unwrap_or(usize::MAX);
            dht.settled(nodes, SETTLE_DHT).await;
            let _ = wallet.set_slots(Arc::new(dht)).await;
        }
        Err(error) => tracing::warn!("{error}; what is of earlier runs stays as it is"),
    }
}

/// Closes the wallet whatever came of the command.
async fn finish(wallet: WalletHandle, done: Result<()>) -> Result<()> {
    let closed = wallet.shutdown().await;
    done?;
    Ok(closed?)
}

async fn init(args: InitArgs, global: &WalletGlobal) -> Result<()> {
    let words = match &args.words {
        Some(path) => Some(Zeroizing::new(
            std::fs::read_to_string(path)
                .with_context(|| format!("the words file {}", path.display()))?,
        )),
        None => None,
    };
    if home::has_wallet(&global.home) {
        bail!(home::HomeError::Exists(global.home.clone()));
    }
    let passphrase = if args.no_passphrase {
        Passphrase::none()
    } else {
        global.passphrase.make()?
    };
    let broker = broker_setting(global)?;
    // Before: a node that runs here takes up the wallet as soon as it is there.
    remember_broker(broker, global).await?;
    let given = words.as_deref().map(String::as_str);
    let words = Wallet::init(&global.home, given, &passphrase).await?;
    let balance = Wallet::read(&global.home).await?.balance().await?;
    let account = balance.account.context("a new wallet has an account")?;
    if global.json {
        let mut made = json!({ "home": global.home, "account": account });
        if given.is_none() {
            made["words"] = json!(*words);
        }
        println!("{made}");
    } else {
        let words = given.is_none().then_some(words.as_str());
        let settings = Settings::read(&global.home)?;
        show::made(&global.home, &account, words, settings.rules.at_hand);
    }
    Ok(())
}

/// The broker that was named, as the value of a setting: wrong ones are refused before anything is made.
fn broker_setting(global: &WalletGlobal) -> Result<Option<Value>> {
    let Some(url) = &global.broker_url else {
        return Ok(None);
    };
    let value = Value::String(url.clone());
    keys::set(&Settings::default(), [(BROKER, value.clone())])?;
    Ok(Some(value))
}

/// Writes the broker of a new wallet down in its home: later commands need not name it.
async fn remember_broker(broker: Option<Value>, global: &WalletGlobal) -> Result<()> {
    let Some(url) = broker else {
        return Ok(());
    };
    let node = NodeClient::find(&global.home).await;
    settings::put(&global.home, node.as_ref(), BROKER, url)
        .await
        .map(drop)
}

async fn balance(global: &WalletGlobal) -> Result<()> {
    let reader = Wallet::read(&global.home).await?;
    let mut balance = reader.balance().await?;
    let account = ask_account(&balance, global).await;
    let hold_ms = account.iter().flatten().find_map(|account| account.hold_ms);
    if let Some(hold_ms) = hold_ms {
        balance = reader.balance_by(hold_ms).await?;
    }
    wallet_by_node(&mut balance, global).await;
    let told = match account {
        Ok(Some(account)) => {
            add_account(&mut balance, &account);
            Ok(())
        }
        Ok(None) => account_by_node(&mut balance, global).await,
        Err(error) => Err(error),
    };
    if let Err(error) = told {
        balance.broker_error = Some(format!("{error:#}"));
    }
    // One that was only named so far.
    let named = global.broker_url.clone();
    balance.broker_url = balance.broker_url.or(named);
    show::balance(&balance, &global.home, global.json)
}

/// Asks the broker for the account's money, where that needs nobody at the keyboard; none: a passphrase
/// that nobody gave.
async fn ask_account(balance: &Balance, global: &WalletGlobal) -> Result<Option<Account>> {
    let pinned = match (balance.broker, &balance.broker_url) {
        (Some(key), Some(url)) => Some(PinnedBroker {
            key,
            url: url.clone(),
        }),
        _ => None,
    };
    let url = global.broker_url.clone();
    let Some(url) = url.or_else(|| balance.broker_url.clone()) else {
        bail!("no broker is named yet: give --broker URL");
    };
    let passphrase = match home::needs_passphrase(&global.home)? {
        true => global.passphrase.given()?,
        false => Some(Passphrase::none()),
    };
    let Some(passphrase) = passphrase else {
        return Ok(None);
    };
    let seed = home::read_seed(&global.home, &passphrase)?;
    let counter = Counter::new(&url, pinned.as_ref(), seed.account_key())?;
    let asked = async {
        counter.meet().await?;
        counter.account().await
    };
    let account = tokio::time::timeout(ASK_BROKER, asked)
        .await
        .with_context(|| format!("the broker at {url} did not answer in time"))??;
    Ok(Some(account))
}

fn add_account(balance: &mut Balance, account: &Account) {
    balance.broker_balance = Some(account.balance);
    balance.broker_buyable = Some(account.buyable);
    balance.broker_pending = Some(account.pending);
    balance.broker_bond = Some(account.bond);
    balance.broker_withdrawable = Some(account.withdrawable.saturating_sub(balance.withdrawing));
    balance.broker_outstanding = Some(account.outstanding);
    balance.broker_suspended = Some(account.is_suspended);
}

async fn buy(wallet: &WalletHandle, units: Units, global: &WalletGlobal) -> Result<()> {
    let bought = patiently("the purchase", wallet.buy(units)).await?;
    let sum = bought.units();
    if global.json {
        let told = json!({
            "units_bought": sum,
            "coins": bought.coins,
            "units_ordered": bought.ordered,
            "error": bought.error,
        });
        println!("{told}");
    } else if !bought.coins.is_empty() {
        println!("bought {} coins worth {sum:#}", bought.coins.len());
    }
    check_bought(bought.ordered, bought.error.as_deref())
}

/// An error where not everything came, so that the exit code says it too.
fn check_bought(ordered: Units, error: Option<&str>) -> Result<()> {
    match error {
        _ if !ordered.is_zero() => bail!(
            "{ordered:#} are ordered and did not come yet: {}; they come by themselves when the \
             broker answers the wallet, and asking for as many again before that buys no more",
            error.unwrap_or("the broker did not answer")
        ),
        Some(error) => bail!("not everything was sold: {error}"),
        None => Ok(()),
    }
}

async fn redeem(wallet: &WalletHandle, all: bool, global: &WalletGlobal) -> Result<()> {
    let report = match all {
        true => patiently("what is redeemed", wallet.redeem_all()).await?,
        false => patiently("what is redeemed", wallet.redeem_earned()).await?,
    };
    show::redeemed(&report, global.json)?;
    check(&report)
}

/// An error where not everything was credited, so that the exit code says it too.
fn check(report: &RedeemReport) -> Result<()> {
    if !report.unanswered.is_zero() {
        let why = report
            .error
            .as_deref()
            .unwrap_or("the broker did not answer");
        bail!(
            "{:#} are not answered yet: {why}; the next redeem asks again",
            report.unanswered
        );
    }
    if !report.unread.is_zero() {
        bail!(
            "{:#} are of an earlier run and could not be read in the DHT: nothing was signed for \
             them; check the network (and --dht-bootstrap) and redeem again",
            report.unread
        );
    }
    if !report.refused.is_empty() {
        bail!(
            "the broker refused {} holdings; they are kept and listed by `dpay wallet balance`",
            report.refused.len()
        );
    }
    Ok(())
}
