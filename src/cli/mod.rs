//! One file a subcommand; text for people, `--json` for programs.
//!
//! Exit codes: 0 done, 1 failed (the error says why), 2 wrong usage, 3 a check found what must not be
//! (an audit, a verification), 130 interrupted before the work was done.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde_json::Value;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Global;
use crate::session::log::LogBook;
use crate::session::view::Action;

/// As the standard library's, but whoever closes standard output early (`| head`) stops nothing.
macro_rules! print {
    ($($what:tt)*) => { $crate::cli::output::put(format_args!($($what)*)) };
}
/// As [`print!`], with the line's end.
macro_rules! println {
    () => { print!("\n") };
    ($($what:tt)*) => { print!("{}\n", format_args!($($what)*)) };
}
/// The same for standard error.
macro_rules! eprintln {
    ($($what:tt)*) => { $crate::cli::output::put_error(format_args!("{}\n", format_args!($($what)*))) };
}

pub mod add;
pub mod bench;
pub mod broker;
pub mod create;
pub mod daemon;
pub mod demo;
pub mod dht_cost;
pub mod dht_net;
pub mod dht_node;
pub mod double_spend;
pub mod download;
pub mod label;
pub mod limit;
pub mod node;
pub(crate) mod output;
#[cfg(test)]
mod papers;
pub mod play;
pub mod remote;
pub mod report;
mod scratch;
pub mod seed;
pub mod service;
pub mod settings;
pub mod stop;
pub mod totals;
pub mod verify_proof;
pub mod wallet;
pub mod world;

/// The work was done.
pub const EXIT_DONE: u8 = 0;
/// The work failed; the error says why.
pub const EXIT_FAILED: u8 = 1;
/// A check found what must not be.
pub const EXIT_CHECK: u8 = 3;
/// Interrupted before the work was done.
pub const EXIT_INTERRUPTED: u8 = 130;

/// A BitTorrent client that pays seeders per verified piece.
#[derive(Debug, Parser)]
#[command(name = "dpay", version, about, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found what must not be, 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node: many torrents, a page to look at, an API
    Node(daemon::NodeArgs),
    /// Play the whole main job on loopback: broker, DHT, seeders, and a leecher that pays
    Demo(demo::DemoArgs),
    /// Download a torrent and pay the seeders that ask for it
    Download(download::DownloadArgs),
    /// Seed torrents and be paid
    Seed(seed::SeedArgs),
    #[command(flatten)]
    Remote(RemoteCommand),
    /// Make a .torrent file
    Create(create::CreateArgs),
    /// Make and use a wallet
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Run a broker and keep its books
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Check a proof of fraud, with nothing but the file and the broker's key
    VerifyProof(verify_proof::VerifyProofArgs),
    /// Measure speed, as ratios
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print a systemd unit for the node or the broker
    Service(service::ServiceArgs),
    /// Print completions for a shell
    Completions(service::CompletionsArgs),
    /// Write man pages into a folder
    Man(service::ManArgs),
    #[command(hide = true)]
    DhtNode,
}

/// Commands about a node that may be running.
#[derive(Debug, Subcommand)]
enum RemoteCommand {
    /// Add torrents to the running node
    Add(add::AddArgs),
    /// List the running node's torrents
    List,
    /// Pause torrents of the running node
    Pause(remote::WhichArgs),
    /// Resume torrents of the running node
    Resume(remote::WhichArgs),
    /// Look anew at what the running node has of torrents on the disk
    Recheck(remote::WhichArgs),
    /// Take torrents out of the running node
    Remove(remote::RemoveArgs),
    /// Show a torrent's files, and choose those to download
    Files(remote::FilesArgs),
    /// Show and set how fast the running node may be, what torrents may cost and what they ask
    Limit(limit::LimitArgs),
    /// Show and set labels of the running node's torrents
    Label(label::LabelArgs),
    /// Open the running node's page in a browser, logged in
    Open,
    /// Show and change the node's settings
    #[command(subcommand)]
    Config(settings::ConfigCommand),
    /// Show what was earned and spent
    Report(report::ReportArgs),
}

/// Parses the command line, runs it, prints the error chain.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let book = LogBook::default();
    let keeps_book = matches!(&cli.command, Command::Node(_) | Command::Demo(_));
    log(&cli.global, keeps_book.then(|| book.clone()));
    crate::clock::shift(cli.global.clock_offset_s);
    let json = cli.global.json;
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the program's threads")
        .and_then(|runtime| {
            let done = runtime.block_on(run(cli, book));
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            done
        });
    match done {
        Ok(EXIT_DONE) if output::failed() => ExitCode::from(EXIT_FAILED),
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let text = output::error_text(&error);
            eprintln!("dpay: {text}");
            if json {
                println!("{}", serde_json::json!({"event": "error", "error": text}));
            }
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn run(cli: Cli, book: LogBook) -> Result<u8> {
    let Cli { global, command } = cli;
    match command {
        Command::Node(args) => daemon::run(args, &global, &book).await,
        Command::Demo(args) => demo::run(args, &global, &book).await,
        Command::Download(args) => download::run(args, &global).await,
        Command::Seed(args) => seed::run(args, &global).await,
        Command::Create(args) => create::run(args, global.json).map(|()| EXIT_DONE),
        Command::Wallet(command) => {
            let home = global.home()?;
            let of_wallet = wallet::WalletGlobal {
                broker_url: global.broker_of(&home)?,
                home,
                json: global.json,
                passphrase: wallet::PassphraseSource::choose(global.passphrase_file.clone()),
                dht: Some(wallet::dht_of(&global)),
            };
            wallet::run(command, &of_wallet).await.map(|()| EXIT_DONE)
        }
        Command::Broker(command) => run_broker(command, &global).await,
        Command::VerifyProof(args) => verify_proof::run(&args, global.json),
        Command::Bench(command) => bench::run(command, &global).await,
        Command::Service(args) => service::unit(args, &global),
        Command::Completions(args) => Ok(service::completions(args)),
        Command::Man(args) => service::man(&args),
        Command::DhtNode => dht_node::run(&global).await,
        Command::Remote(command) => run_remote(command, &global).await,
    }
}

async fn run_remote(command: RemoteCommand, global: &Global) -> Result<u8> {
    match command {
        RemoteCommand::Add(args) => add::add(args, global).await,
        RemoteCommand::List => remote::list(global).await,
        RemoteCommand::Pause(which) => remote::act(Action::Pause, &which, global).await,
        RemoteCommand::Resume(which) => remote::act(Action::Resume, &which, global).await,
        RemoteCommand::Recheck(which) => remote::act(Action::Recheck, &which, global).await,
        RemoteCommand::Remove(args) => {
            let action = match args.data {
                true => Action::RemoveWithData,
                false => Action::Remove,
            };
            remote::act(action, &args.which, global).await
        }
        RemoteCommand::Files(args) => remote::files(args, global).await,
        RemoteCommand::Limit(args) => limit::limit(args, global).await,
        RemoteCommand::Label(args) => label::label(args, global).await,
        RemoteCommand::Open => remote::open(global).await,
        RemoteCommand::Config(command) => settings::run(command, global).await,
        RemoteCommand::Report(args) => report::run(args, global).await,
    }
}

async fn run_broker(command: broker::BrokerCommand, global: &Global) -> Result<u8> {
    let of_broker = broker::BrokerGlobal {
        home: global.home()?,
        json: global.json,
        dht_bootstrap: global.dht_bootstrap.clone(),
        dht_min_answers: global.dht_min_answers,
    };
    match command {
        broker::BrokerCommand::Run(mut args) => {
            if let Some(listen) = global.listen {
                args.listen = listen;
            }
            let stop = stop::Stop::new(global.with_parent);
            broker::serve(args, &of_broker, async move { stop.wait().await }).await?;
            Ok(EXIT_DONE)
        }
        other => broker::run(other, &of_broker).await,
    }
}

/// What is logged, on standard error: warnings of ours; with -v what is done, with -vv every step. The
/// environment variable `RUST_LOG` overrides it.
fn log(global: &Global, book: Option<LogBook>) {
    let level = match global.verbose {
        // The DHT's crate repeats twice a second that nobody answers; we say it once.
        0 => "error,mainline=off,dpay=warn",
        1 => "warn,dpay=info",
        _ => "info,dpay=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let printed = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // Where nobody reads it, it would be told there that nobody does, and end in a panic.
        .log_internal_errors(false)
        .with_filter(filter);
    let trackers = book.as_ref().map(|book| book.trackers.clone());
    let trackers = trackers.map(|trackers| trackers.clone().with_filter(trackers));
    let kept = book.map(|book| book.clone().with_filter(book));
    let _ = tracing_subscriber::registry()
        .with(printed)
        .with(kept)
        .with(trackers)
        .try_init();
}

/// Says one thing: a JSON line, or a line of text.
fn say(json: bool, line: &Value, text: impl FnOnce() -> String) {
    if json {
        println!("{line}");
    } else {
        println!("{}", text());
    }
}
