//! `dpay bench`: speed as ratios, measured in one run on one machine, in alternating pairs.

pub mod broker;
mod checks;
mod client;
mod compared;
mod figures;
mod first_byte;
mod idle;
mod pair;
mod plain;
mod swarm;
mod wallet;

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::coin::chain::{Chain, leads_to};
use crate::coin::ids::ChainValue;
use crate::config::Global;
use crate::gateway::digest::{DigestKey, Digester};
use crate::random;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// A paid download against plain librqbit, and the gateway with and without payment
    Swarm(swarm::SwarmArgs),
    /// Time to the first byte of a paid seeder and of a free one, in round trips
    FirstByte(first_byte::FirstByteArgs),
    /// Verifying ticks: time a unit
    Tick(TickArgs),
    /// Telling a good block from a bad one: time a GiB
    Digest(DigestArgs),
    /// A wallet with many holdings: from its start to its first answer
    Wallet(wallet::WalletArgs),
    /// Purchases and redemptions of a broker against the signatures that they need
    Broker(broker::BrokerArgs),
    /// Coins opened with two payees, in every way a cheat could try, on a DHT of many nodes
    DoubleSpend(super::double_spend::DoubleSpendArgs),
    /// What payments cost the DHT: packets a channel and a paid GiB
    DhtCost(super::dht_cost::DhtCostArgs),
    /// A node that seeds many torrents while nobody wants them: CPU and memory
    Idle(idle::IdleArgs),
    /// One side of a plain librqbit pair
    #[command(hide = true)]
    PlainPeer(plain::PlainArgs),
}

/// Options of `dpay bench tick`.
#[derive(Debug, clap::Args)]
pub struct TickArgs {
    /// Whole coins of 4096 units to verify
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub coins: u32,
}

/// Options of `dpay bench digest`.
#[derive(Debug, clap::Args)]
pub struct DigestArgs {
    /// MiB to digest, in blocks of 16 KiB
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub size_mib: u32,
}

/// Runs what was asked for.
///
/// # Errors
/// When a part does not start or a download does not finish.
pub async fn run(command: BenchCommand, global: &Global) -> Result<u8> {
    match command {
        BenchCommand::Swarm(args) => swarm::run(args, global).await,
        BenchCommand::FirstByte(args) => first_byte::run(args, global).await,
        BenchCommand::Tick(args) => {
            tick(&args, global.json);
            Ok(super::EXIT_DONE)
        }
        BenchCommand::Digest(args) => {
            digest(&args, global.json);
            Ok(super::EXIT_DONE)
        }
        BenchCommand::Wallet(args) => wallet::run(&args, global.json).await,
        BenchCommand::Broker(args) => broker::run(&args, global.json).await,
        BenchCommand::DoubleSpend(args) => super::double_spend::run(args, global).await,
        BenchCommand::DhtCost(args) => super::dht_cost::run(args, global).await,
        BenchCommand::Idle(args) => idle::run(&args, global.json).await,
        BenchCommand::PlainPeer(args) => plain::run(args).await,
    }
}

fn tick(args: &TickArgs, json: bool) {
    let chain = Chain::new(ChainValue(random::bytes()), 4096);
    let anchor = chain.anchor();
    let values: Vec<ChainValue> = (0..=4096).filter_map(|k| chain.reveal(k)).collect();
    let started = Instant::now();
    let mut good = 0u64;
    for _ in 0..args.coins {
        let mut last = anchor;
        for value in &values[1..] {
            good += u64::from(leads_to(value, 1, &last));
            last = *value;
        }
    }
    let ns = started.elapsed().as_nanos() as f64 / good.max(1) as f64;
    super::say(json, &json!({"ticks": good, "ns_per_unit": ns}), || {
        format!("{good} ticks of one unit verified, {ns:.0} ns each")
    });
}

fn digest(args: &DigestArgs, json: bool) {
    const MIB: usize = 1 << 20;
    let mut digester = Digester::new(DigestKey::new(&random::bytes()));
    let content = vec![7u8; MIB];
    let started = Instant::now();
    for _ in 0..args.size_mib {
        for block in content.chunks(16 * 1024) {
            digester.update(black_box(block));
            black_box(digester.finish());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let ms_per_gib = seconds * 1_000.0 * 1_024.0 / f64::from(args.size_mib);
    let line = json!({"mib": args.size_mib, "ms_per_gib": ms_per_gib});
    super::say(json, &line, || {
        format!("{} MiB digested, {ms_per_gib:.0} ms a GiB", args.size_mib)
    });
}
