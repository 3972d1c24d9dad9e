//! `dpay bench`: speed as ratios, measured in one run on one machine, in alternating pairs.

mod wallet;
pub mod broker;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::demo::{TempDir, write_payload};
use super::node::{process_cpu_ms, process_peak_kib};
use super::stop::Stop;
use super::world::{Proc, World, WorldOptions};
use crate::coin::chain::{Chain, leads_to};
use crate::coin::ids::ChainValue;
use crate::config::Global;
use crate::engine::{AddTorrent, Engine, EngineConfig, TorrentSource};
use crate::random;

const LIMIT: Duration = Duration::from_secs(1200);
const DEPOSIT_UNITS: u64 = 10_000_000;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// A paid download against plain librqbit, and the gateway with and without payment
    Swarm(SwarmArgs),
    /// Verifying ticks: time a unit
    Tick(TickArgs),
    /// A wallet with many holdings: from its start to its first answer
    Wallet(wallet::WalletArgs),
    /// Purchases and redemptions of a broker against the signatures that they need
    Broker(broker::BrokerArgs),
    /// Coins opened with two payees, in every way a cheat could try, on a DHT of many nodes
    DoubleSpend(super::double_spend::DoubleSpendArgs),
    /// What payments cost the DHT: packets a channel and a paid GiB
    DhtCost(super::dht_cost::DhtCostArgs),
    /// One side of a plain librqbit pair
    #[command(hide = true)]
    PlainPeer(PlainArgs),
}

/// Options of `dpay bench swarm`.
#[derive(Debug, clap::Args)]
pub struct SwarmArgs {
    /// Size of the payload in MiB
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(8..=65_536))]
    pub size_mib: u64,
    /// Piece length in KiB
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub piece_kib: u32,
    /// Rounds; each downloads once in every way
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Price in units per GiB
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub price: u64,
    /// Work below this directory instead of the system's temporary one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Options of `dpay bench tick`.
#[derive(Debug, clap::Args)]
pub struct TickArgs {
    /// Whole coins of 4096 units to verify
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub coins: u32,
}

/// Options of the hidden plain peer.
#[derive(Debug, clap::Args)]
pub struct PlainArgs {
    torrent: PathBuf,
    folder: PathBuf,
    #[arg(long)]
    peer: Option<std::net::SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Plain,
    Paid,
    GatewayFree,
}

/// One download, per GiB of payload from the moment that its mark was passed: the first acceptance of a
/// payment, or the first verified piece where nothing is paid.
#[derive(Clone, Debug, Serialize)]
struct Run {
    way: Way,
    wall_s_per_gib: f64,
    cpu_s_per_gib: f64,
    whole_wall_s: f64,
    leecher_peak_memory_kib: u64,
    acceptance_ms: Vec<u64>,
    units_paid: u64,
}

/// Runs what was asked for.
///
/// # Errors
/// When a part does not start or a download does not finish.
pub async fn run(command: BenchCommand, global: &Global) -> Result<u8> {
    match command {
        BenchCommand::Swarm(args) => swarm(args, global).await,
        BenchCommand::Tick(args) => {
            tick(&args, global.json);
            Ok(super::EXIT_DONE)
        }
        BenchCommand::Wallet(args) => wallet::run(&args, global.json).await,
        BenchCommand::Broker(args) => broker::run(&args, global.json).await,
        BenchCommand::DoubleSpend(args) => super::double_spend::run(args, global).await,
        BenchCommand::DhtCost(args) => super::dht_cost::run(args, global).await,
        BenchCommand::PlainPeer(args) => plain_peer(args).await,
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

async fn swarm(args: SwarmArgs, global: &Global) -> Result<u8> {
    let temporary = TempDir::within(args.dir.as_deref())?;
    let root = temporary.path.clone();
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let world = World::start(&exe, &root, WorldOptions::default()).await?;
    let data = root.join("payload");
    std::fs::create_dir_all(&data)?;
    let payload = data.join("payload.bin");
    write_payload(&payload, args.size_mib << 20)?;
    let torrent = root.join("payload.torrent");
    let kib = args.piece_kib.to_string();
    let (from, to) = (payload.display().to_string(), torrent.display().to_string());
    world
        .must("maker", &["create", &from, "-o", &to, "--piece-kib", &kib])
        .await?;
    world.wallet("seeder", 0).await?;
    world.wallet("leecher", DEPOSIT_UNITS).await?;
    let bench = Bench {
        world,
        exe,
        root,
        data,
        torrent,
        args,
    };
    let mut runs = Vec::new();
    for round in 0..bench.args.rounds {
        for way in [Way::Plain, Way::Paid, Way::GatewayFree] {
            let run = bench.one(way).await?;
            if !global.json {
                eprintln!(
                    "round {}: {way:?} {:.2} s wall, {:.2} s CPU a GiB, {} MiB at most",
                    round + 1,
                    run.wall_s_per_gib,
                    run.cpu_s_per_gib,
                    run.leecher_peak_memory_kib / 1024
                );
            }
            runs.push(run);
        }
    }
    let line = summarise(&runs, &bench.args);
    super::say(global.json, &line, || table(&line));
    Ok(super::EXIT_DONE)
}

struct Bench {
    world: World,
    exe: PathBuf,
    root: PathBuf,
    data: PathBuf,
    torrent: PathBuf,
    args: SwarmArgs,
}

/// What both sides had used when the leecher said something.
struct Mark {
    at: Instant,
    bytes: u64,
    cpu_ms: u64,
}

impl Bench {
    async fn one(&self, way: Way) -> Result<Run> {
        let output = self.root.join("downloaded");
        if output.exists() {
            std::fs::remove_dir_all(&output)?;
        }
        let (mut seeder, address) = self.seeder(way).await?;
        let started = Instant::now();
        let mut leecher = self.leecher(way, &address, &output)?;
        let mut mark = None;
        let (done, end) = loop {
            let line = tokio::time::timeout(LIMIT, leecher.next())
                .await
                .context("a download did not finish")??;
            let Some(line) = line else {
                anyhow::bail!("a leecher failed: {}", leecher.stderr().await);
            };
            let marks = match way {
                Way::Paid => line["event"] == "accepted",
                _ => line["event"] == "progress" && line["bytes"].as_u64() > Some(0),
            };
            if marks && mark.is_none() {
                mark = Some(now(&line, &seeder));
            }
            if line["event"] == "done" {
                let end = now(&line, &seeder);
                break (line, end);
            }
        };
        let whole = started.elapsed();
        let peak = done["peak_memory_kib"].as_u64().unwrap_or(0);
        leecher.finish(LIMIT).await?;
        let code = seeder.stop(LIMIT).await?;
        ensure!(code == 0, "the seeder failed: {}", seeder.stderr().await);
        let mark = mark.with_context(|| format!("{way:?}: nothing was ever accepted"))?;
        let bytes = end.bytes.saturating_sub(mark.bytes);
        ensure!(
            bytes > end.bytes / 2,
            "{way:?}: less than half of the payload came after the mark; take a larger --size-mib"
        );
        let gib = bytes as f64 / (1u64 << 30) as f64;
        Ok(Run {
            way,
            wall_s_per_gib: (end.at - mark.at).as_secs_f64() / gib,
            cpu_s_per_gib: (end.cpu_ms.saturating_sub(mark.cpu_ms)) as f64 / 1000.0 / gib,
            whole_wall_s: whole.as_secs_f64(),
            leecher_peak_memory_kib: peak,
            acceptance_ms: numbers(&done["acceptance_ms"]),
            units_paid: done["units_paid"].as_u64().unwrap_or(0),
        })
    }

    async fn seeder(&self, way: Way) -> Result<(Proc, String)> {
        let price = self.args.price.to_string();
        match way {
            Way::Plain => {
                let args = [
                    "bench".to_owned(),
                    "plain-peer".into(),
                    self.torrent.display().to_string(),
                    self.data.display().to_string(),
                ];
                let mut seeder = Proc::start("plain seeder", &self.exe, &args)?;
                let ready = seeder.wait_for("ready", LIMIT).await?;
                let address = ready["listen"].as_str().context("no address")?.to_owned();
                Ok((seeder, address))
            }
            Way::Paid | Way::GatewayFree => {
                let free = if way == Way::Paid { "off" } else { "on" };
                let extra = ["--price", price.as_str(), "--free", free];
                self.world
                    .seeder("seeder", &self.torrent, &self.data, &extra)
                    .await
            }
        }
    }

    fn leecher(&self, way: Way, peer: &str, output: &Path) -> Result<Proc> {
        let torrent = self.torrent.display().to_string();
        match way {
            Way::Plain => {
                let args = [
                    "bench".to_owned(),
                    "plain-peer".into(),
                    torrent,
                    output.display().to_string(),
                    "--peer".into(),
                    peer.to_owned(),
                ];
                Proc::start("plain leecher", &self.exe, &args)
            }
            Way::Paid => self
                .world
                .download("leecher", &torrent, output, &["--peer", peer]),
            Way::GatewayFree => {
                let extra = ["--peer", peer, "--free-only"];
                self.world.download("leecher", &torrent, output, &extra)
            }
        }
    }
}

fn now(line: &Value, seeder: &Proc) -> Mark {
    let seeder_cpu = seeder
        .id()
        .map_or(0, |pid| process_cpu_ms(&pid.to_string()));
    Mark {
        at: Instant::now(),
        bytes: line["bytes"].as_u64().unwrap_or(0),
        cpu_ms: line["cpu_ms"].as_u64().unwrap_or(0) + seeder_cpu,
    }
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len();
    match n {
        0 => f64::NAN,
        n if n % 2 == 1 => numbers[n / 2],
        n => f64::midpoint(numbers[n / 2 - 1], numbers[n / 2]),
    }
}

/// Medians of the ratios of each round's pair.
fn summarise(runs: &[Run], args: &SwarmArgs) -> Value {
    let of = |way: Way| runs.iter().filter(move |run| run.way == way);
    let ratio = |a: Way, b: Way, value: fn(&Run) -> f64| {
        median(of(a).zip(of(b)).map(|(a, b)| value(a) / value(b)).collect())
    };
    let memory = |way: Way| {
        median(
            of(way)
                .map(|run| run.leecher_peak_memory_kib as f64 / 1024.0)
                .collect(),
        )
    };
    let wall = |run: &Run| run.wall_s_per_gib;
    let cpu = |run: &Run| run.cpu_s_per_gib;
    let accepted: Vec<f64> = of(Way::Paid)
        .filter_map(|run| run.acceptance_ms.first().map(|&ms| ms as f64))
        .collect();
    json!({
        "size_mib": args.size_mib,
        "piece_kib": args.piece_kib,
        "rounds": args.rounds,
        "paid_to_plain_wall": ratio(Way::Paid, Way::Plain, wall),
        "paid_to_plain_cpu": ratio(Way::Paid, Way::Plain, cpu),
        "paid_to_gateway_free_wall": ratio(Way::Paid, Way::GatewayFree, wall),
        "paid_to_gateway_free_cpu": ratio(Way::Paid, Way::GatewayFree, cpu),
        "leecher_memory_mib": {
            "plain": memory(Way::Plain),
            "paid": memory(Way::Paid),
            "gateway_free": memory(Way::GatewayFree),
        },
        "first_acceptance_ms": median(accepted),
        "runs": runs,
    })
}

fn table(line: &Value) -> String {
    let ratio = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
    let memory = |way: &str| line["leecher_memory_mib"][way].as_f64().unwrap_or(f64::NAN);
    format!(
        "medians of {} rounds, {} MiB in pieces of {} KiB, after the first acceptance:\n\
         paid / plain librqbit      wall {:.3}   CPU {:.3}\n\
         paid / gateway unpaid      wall {:.3}   CPU {:.3}\n\
         leecher's memory           {:.0} MiB paid, {:.0} MiB unpaid, {:.0} MiB plain\n\
         first acceptance           {:.0} ms",
        line["rounds"],
        line["size_mib"],
        line["piece_kib"],
        ratio("paid_to_plain_wall"),
        ratio("paid_to_plain_cpu"),
        ratio("paid_to_gateway_free_wall"),
        ratio("paid_to_gateway_free_cpu"),
        memory("paid"),
        memory("gateway_free"),
        memory("plain"),
        ratio("first_acceptance_ms"),
    )
}

async fn plain_peer(args: PlainArgs) -> Result<u8> {
    let stop = Stop::new(true);
    let engine = Engine::start(EngineConfig::plain(([127, 0, 0, 1], 0).into())).await?;
    let started = Instant::now();
    let handle = engine
        .add(AddTorrent {
            source: TorrentSource::Bytes(super::node::read_torrent(&args.torrent)?),
            output_dir: args.folder.clone(),
            initial_peers: args.peer.into_iter().collect(),
            overwrite: true,
        })
        .await?;
    if args.peer.is_none() {
        handle.wait_finished().await?;
        let listen = engine.listen_addr().to_string();
        println!("{}", json!({"event": "ready", "listen": listen}));
        stop.wait().await;
        return Ok(super::EXIT_DONE);
    }
    let say = |event: &str| {
        let line = json!({
            "event": event,
            "bytes": handle.progress().bytes_have,
            "cpu_ms": process_cpu_ms("self"),
            "peak_memory_kib": process_peak_kib("self"),
            "wall_seconds": started.elapsed().as_secs_f64(),
        });
        println!("{line}");
    };
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = handle.wait_finished() => {
                done?;
                say("done");
                return Ok(super::EXIT_DONE);
            }
            () = stop.wait() => return Ok(super::EXIT_INTERRUPTED),
            _ = tick.tick() => say("progress"),
        }
    }
}
