//! `dpay broker`: run a broker, book deposits, pay out withdrawals, audit the books.
//!
//! All but `run` work on the home's database beside a running broker.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;

use crate::broker::audit::{AuditReport, Auditor};
use crate::broker::rows::WithdrawalRow;
use crate::broker::terms::{
    DEFAULT_BOND, DEFAULT_CONTEST_GAP_S, DEFAULT_HOLD_S, DEFAULT_UNITS_PER_CREDIT, MAX_TRANSFER,
};
use crate::broker::{Broker, Operated, Operation, Terms, WithdrawalId};
use crate::cashier::broker::rounds::Referee;
use crate::cashier::broker::{BrokerCashier, Clock};
use crate::coin::keys::PublicKey;
use crate::dht::{DhtConfig, DhtNode};
use crate::http::broker::{BrokerServer, RateLimit};
use crate::report::moment;
use crate::store::broker::{
    BrokerHome, BrokerStore, BrokerStoreError, Identity, SqliteBrokerStore, SqliteLimits,
};
use crate::units::Units;
use crate::{clock, random};

/// Where a broker listens unless told otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7480);

/// In place of addresses: the public DHT's own nodes to start from.
const MAINLINE: &str = "mainline";

/// What every `dpay broker` command is told.
#[derive(Clone, Debug)]
pub struct BrokerGlobal {
    /// The broker's home directory.
    pub home: PathBuf,
    /// JSON instead of text.
    pub json: bool,
    /// DHT nodes to start from, `host:port` each or `mainline`; empty: no DHT.
    pub dht_bootstrap: Vec<String>,
    /// Valid answers that a place needs: 8, less only in tests.
    pub dht_min_answers: u32,
}

/// Commands for a broker's operator.
#[derive(Clone, Debug, Subcommand)]
pub enum BrokerCommand {
    /// Run a broker until Ctrl-C; its key and database are made at the first run.
    Run(RunArgs),
    /// Book money that came in for an account; the same reference is booked once.
    Deposit(DepositArgs),
    /// List withdrawals that wait to be paid out, or mark one as paid.
    Withdrawals(WithdrawalsArgs),
    /// Recompute the books from the journal and compare; fails if a unit is missing.
    Audit,
}

/// Terms and address of a broker.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Address to listen on, from the options that all commands share.
    #[arg(skip = DEFAULT_LISTEN)]
    pub listen: SocketAddr,
    /// Seconds that redeemed units stay pending; 0 pays at once (only where double spends cost
    /// nothing, as in tests).
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_HOLD_S)]
    pub hold: u64,
    /// Units taken from an account's balance at its first purchase; its outstanding coins never
    /// exceed them.
    #[arg(long, value_name = "UNITS", default_value_t = DEFAULT_BOND.0)]
    pub bond: u64,
    /// Name of the currency; fixed at the first run [default: credit].
    #[arg(long, value_name = "NAME")]
    pub currency: Option<String>,
    /// Units that make one of it; fixed at the first run [default: 100000].
    #[arg(long, value_name = "N")]
    pub units_per_credit: Option<u64>,
    /// Seconds between the two readings that decide a contest.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_CONTEST_GAP_S, hide = true)]
    pub contest_gap: u64,
    /// Requests that one address may make each second; 0: no limit, and new holder keys are not counted by
    /// address either (behind a proxy, where all clients have its address).
    #[arg(long, value_name = "N", default_value_t = RateLimit::default().per_second)]
    pub requests_per_second: u32,
}

/// A deposit.
#[derive(Clone, Debug, Args)]
pub struct DepositArgs {
    /// The account's id, in hex.
    #[arg(long, value_name = "HEX")]
    pub account: PublicKey,
    /// How much, in units.
    #[arg(long, value_name = "N")]
    pub units: u64,
    /// What identifies the payment outside, such as a bank's reference.
    #[arg(long, value_name = "TEXT")]
    pub reference: String,
}

/// Which withdrawals, or which one is paid.
#[derive(Clone, Debug, Args)]
pub struct WithdrawalsArgs {
    /// Mark this withdrawal as paid out.
    #[arg(long, value_name = "ID")]
    pub mark_paid: Option<WithdrawalId>,
    /// List those paid out too.
    #[arg(long)]
    pub all: bool,
}

/// Says where the broker is once it answers.
#[derive(Debug, Serialize)]
struct Ready {
    event: &'static str,
    broker_url: String,
    broker_key: PublicKey,
    /// Whether it has a DHT to read contested slots from.
    decides_contests: bool,
}

/// Exit code of an audit that found the books out of balance.
const EXIT_UNBALANCED: u8 = 3;

/// Runs one command and gives the exit code: 0, or 3 if an audit found a unit missing.
///
/// # Errors
/// What went wrong, with what to do about it.
pub async fn run(command: BrokerCommand, global: &BrokerGlobal) -> Result<u8> {
    match command {
        BrokerCommand::Run(args) => serve(args, global, stop_signal()).await.map(|()| 0),
        BrokerCommand::Deposit(args) => deposit(args, global).await.map(|()| 0),
        BrokerCommand::Withdrawals(args) => withdrawals(args, global).await.map(|()| 0),
        BrokerCommand::Audit => audit(global).await,
    }
}

/// Runs a broker until `stop`, or until another program brings its database to a later form.
///
/// # Errors
/// Such a form; a broker that runs there already; a home that cannot be used, terms that make no sense, an address in use.
pub async fn serve(
    args: RunArgs,
    global: &BrokerGlobal,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let home = BrokerHome::open_or_make(&global.home, random::bytes())?;
    let _lock = home.lock()?;
    let store = open_store(&home).await?;
    let terms = terms(&args, &store).await?;
    let identity = Identity {
        broker: home.key().public(),
        currency: Some((terms.currency.clone(), terms.units_per_credit)),
    };
    store.identify(&identity).await?;
    let broker = Arc::new(Broker::new(home.key().clone(), terms));
    let limit = RateLimit {
        per_second: args.requests_per_second,
        burst: args.requests_per_second.saturating_mul(10),
    };
    let referee = referee(global).await?;
    let has_dht = referee.is_some();
    let server = BrokerServer::start_with(
        args.listen,
        broker.clone(),
        Arc::new(store.clone()),
        system_clock(),
        limit,
        referee,
    )
    .await?;
    announce(&server, &broker, global, has_dht)?;
    let ended = tokio::select! {
        () = stop => None,
        later = server.cashier().ended() => Some(later),
    };
    let requests = server.stop().await;
    store.close().await;
    let line = serde_json::json!({"event": "stopped", "requests": requests});
    super::say(global.json, &line, || {
        format!("stopped after {requests} requests")
    });
    match ended {
        None => Ok(()),
        Some(true) => bail!(BrokerStoreError::Later),
        Some(false) => bail!(
            "the part that keeps the books failed; the log says why. Nothing that was answered is lost: start \
             the broker again"
        ),
    }
}

/// Where contested slots are read; none without a DHT to start from.
async fn referee(global: &BrokerGlobal) -> Result<Option<Referee>> {
    if global.dht_bootstrap.is_empty() {
        return Ok(None);
    }
    let mut config = DhtConfig {
        min_answers: global.dht_min_answers,
        ..DhtConfig::default()
    };
    if global.dht_bootstrap != [MAINLINE] {
        config.bootstrap = global.dht_bootstrap.clone();
    }
    let dht = DhtNode::start(config).await?;
    Ok(Some(Referee {
        slots: Arc::new(dht),
        min_answers: global.dht_min_answers,
    }))
}

fn announce(
    server: &BrokerServer,
    broker: &Broker,
    global: &BrokerGlobal,
    has_dht: bool,
) -> Result<()> {
    let ready = Ready {
        event: "ready",
        broker_url: server.url(),
        broker_key: broker.public(),
        decides_contests: has_dht,
    };
    if global.json {
        println!("{}", serde_json::to_string(&ready)?);
        return Ok(());
    }
    let terms = broker.terms();
    println!("broker {} at {}", ready.broker_key, ready.broker_url);
    println!(
        "{} units are one {}; hold {} s; bond {:#}; home {}",
        terms.units_per_credit,
        terms.currency,
        terms.hold_ms / 1000,
        terms.bond,
        global.home.display()
    );
    if !has_dht {
        println!(
            "no DHT: two statements in one slot stay contested and undecided; give --dht-bootstrap, \
             {MAINLINE} for the public one"
        );
    }
    println!("Ctrl-C stops it");
    Ok(())
}

/// The terms asked for; currency and unit as the database has them, unless it is new.
async fn terms(args: &RunArgs, store: &SqliteBrokerStore) -> Result<Terms> {
    let kept = store.currency().await?;
    let (name, units) = match kept {
        Some((name, units)) => (Some(name), Some(units)),
        None => (None, None),
    };
    let given = args.currency.clone();
    let currency = given.or(name).unwrap_or_else(|| "credit".to_owned());
    if currency.is_empty() || currency.len() > 32 || currency.chars().any(char::is_control) {
        bail!("{currency:?} is no name of a currency; choose 1 to 32 printable characters");
    }
    let units_per_credit = args.units_per_credit.or(units);
    let units_per_credit = units_per_credit.unwrap_or(DEFAULT_UNITS_PER_CREDIT);
    if units_per_credit == 0 {
        bail!("--units-per-credit 0: a credit has at least one unit");
    }
    if args.bond > MAX_TRANSFER.0 {
        bail!("--bond {}: at most {MAX_TRANSFER:#}", args.bond);
    }
    let hold_ms = args.hold.checked_mul(1000).filter(|ms| *ms < 1 << 48);
    let hold_ms = hold_ms.with_context(|| format!("--hold {} s is too long", args.hold))?;
    let gap_ms = args
        .contest_gap
        .checked_mul(1000)
        .filter(|ms| *ms < 1 << 48);
    Ok(Terms {
        currency,
        units_per_credit,
        hold_ms,
        bond: Units(args.bond),
        contest_gap_ms: gap_ms
            .with_context(|| format!("--contest-gap {} s is too long", args.contest_gap))?,
    })
}

async fn open_store(home: &BrokerHome) -> Result<SqliteBrokerStore> {
    let identity = Identity {
        broker: home.key().public(),
        currency: None,
    };
    let path = home.database();
    SqliteBrokerStore::open(&path, &identity, SqliteLimits::default())
        .await
        .with_context(|| format!("cannot open {}", path.display()))
}

/// The database of a home that a broker ran in before.
async fn existing(home: &Path) -> Result<(BrokerHome, SqliteBrokerStore)> {
    let home = BrokerHome::open(home)?;
    let store = open_store(&home).await?;
    Ok((home, store))
}

async fn operate(global: &BrokerGlobal, operation: Operation) -> Result<Operated> {
    let (home, store) = existing(&global.home).await?;
    let broker = Arc::new(Broker::new(home.key().clone(), Terms::default()));
    let (cashier, till) = BrokerCashier::start(broker, Arc::new(store.clone()), system_clock());
    let done = cashier.operate(operation).await;
    drop(cashier);
    till.await.context("the cashier stopped")?;
    store.close().await;
    Ok(done?)
}

async fn deposit(args: DepositArgs, global: &BrokerGlobal) -> Result<()> {
    let operation = Operation::Deposit {
        account: args.account,
        units: Units(args.units),
        reference: args.reference,
    };
    let done = operate(global, operation).await?;
    if global.json {
        println!("{}", serde_json::to_string(&done)?);
    } else if let Operated::Deposit {
        account,
        units,
        again,
        is_new,
        balance,
    } = done
    {
        let what = if again { "was booked before" } else { "booked" };
        println!("{units:#} for account {account} {what}; its balance is {balance:#}");
        if is_new {
            println!(
                "The account is new here: compare all of it with what its owner gave you. Another one may \
                 have the money for good."
            );
        }
    }
    Ok(())
}

async fn withdrawals(args: WithdrawalsArgs, global: &BrokerGlobal) -> Result<()> {
    if let Some(id) = args.mark_paid {
        let done = operate(global, Operation::MarkPaid(id)).await?;
        if global.json {
            println!("{}", serde_json::to_string(&done)?);
        } else if let Operated::Paid { withdrawal, again } = done {
            let what = if again {
                "was marked before"
            } else {
                "is marked as paid out"
            };
            println!("withdrawal {id} of {:#} {what}", withdrawal.units);
        }
        return Ok(());
    }
    let (_, store) = existing(&global.home).await?;
    let rows = store.withdrawals(args.all).await?;
    store.close().await;
    if global.json {
        println!("{}", serde_json::to_string(&rows)?);
    } else if rows.is_empty() {
        println!("no withdrawals wait");
    } else {
        println!("{}", table(&rows));
    }
    Ok(())
}

fn table(rows: &[WithdrawalRow]) -> Table {
    let mut table = Table::new();
    table.set_header([
        "id",
        "account",
        "units",
        "to",
        "asked for (UTC)",
        "paid (UTC)",
    ]);
    for row in rows {
        // A stranger's text goes to a terminal.
        let to = crate::torrent::printable(&row.destination);
        table.add_row([
            row.id.to_string(),
            row.account.to_string(),
            row.units.to_string(),
            to,
            moment(row.requested),
            row.paid.map_or_else(String::new, moment),
        ]);
    }
    table
}

async fn audit(global: &BrokerGlobal) -> Result<u8> {
    let (_, store) = existing(&global.home).await?;
    let mut auditor = Auditor::default();
    store.audit(&mut auditor).await?;
    store.close().await;
    let report = auditor.finish();
    if global.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print_report(&report);
    }
    Ok(if report.balanced { 0 } else { EXIT_UNBALANCED })
}

fn print_report(report: &AuditReport) {
    let mut table = Table::new();
    table.set_header(["books", "units"]);
    for (name, units) in [
        ("deposits", report.deposits),
        ("- withdrawals", report.withdrawals),
        ("= balances", report.balances),
        ("+ pending", report.pending),
        ("+ bonds", report.bonds),
        ("+ outstanding coins", report.outstanding),
        ("+ fees", report.fees),
    ] {
        table.add_row([name.to_owned(), units.to_string()]);
    }
    println!("{table}");
    for fault in &report.faults {
        println!("FAULT {fault}");
    }
    if report.more_faults > 0 {
        println!("and {} more", report.more_faults);
    }
    if report.names_twice > 0 {
        println!(
            "{} coins or holder keys stand in the books twice",
            report.names_twice
        );
    }
    if report.balanced {
        println!(
            "{} journal lines; every unit is accounted for",
            report.journal_lines
        );
    } else {
        println!("the books do not balance; stop the broker and compare with a backup");
    }
}

fn system_clock() -> Clock {
    Arc::new(clock::now)
}

/// Ctrl-C, or the signal that services are stopped with.
async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
