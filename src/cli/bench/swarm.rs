//! `dpay bench swarm`: a paid download against plain librqbit, in pairs that alternate.
//!
//! Each round downloads once in every way, every other round in the opposite order, so that a drift
//! of the machine meets all ways alike. Figures are per GiB of payload from a mark on that is the same
//! in every way: the first look at the download that finds a verified piece, after the first
//! acceptance where units are paid. The wall clock stops at the last verified piece; CPU counts to the
//! end, closing of channels included, on both sides. A ratio is taken within a round; of several rounds
//! the median, the least and the greatest are told.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::figures::{Spread, words};
use super::pair::{Bench, LIMIT, PayloadArgs, Way};
use crate::cli::node::process_cpu_ms;
use crate::cli::world::Proc;
use crate::config::Global;

/// A spend that is not accepted within this time never will be in this world.
const ACCEPT_LIMIT: Duration = Duration::from_secs(70);

/// How often a download is done until it can be measured.
const TRIES: u32 = 3;

/// Options of `dpay bench swarm`.
#[derive(Clone, Debug, clap::Args)]
pub struct SwarmArgs {
    /// Size of the payload in MiB
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(64..=65_536))]
    pub size_mib: u64,
    /// Rounds; each downloads once in every way
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Download in these ways only, in this order
    #[arg(long, value_name = "WAY", value_delimiter = ',', default_values_t = Way::ALL)]
    pub ways: Vec<Way>,
    /// Add every run to this file, a line each, and tell the figures of all rounds in it
    #[arg(long, value_name = "FILE")]
    pub runs: Option<PathBuf>,
    /// What is downloaded.
    #[command(flatten)]
    pub payload: PayloadArgs,
}

/// One download.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    round: u32,
    way: Way,
    size_mib: u64,
    piece_kib: u32,
    price: u64,
    wall_s_per_gib: f64,
    leecher_cpu_s_per_gib: f64,
    seeder_cpu_s_per_gib: f64,
    closing_s: f64,
    leecher_peak_memory_mib: f64,
    acceptance_ms: Vec<u64>,
    units_paid: u64,
}

impl Run {
    fn cpu_s_per_gib(&self) -> f64 {
        self.leecher_cpu_s_per_gib + self.seeder_cpu_s_per_gib
    }
}

/// Measures, and tells the figures.
///
/// # Errors
/// When a part does not start or a download does not finish.
pub async fn run(args: SwarmArgs, global: &Global) -> Result<u8> {
    let mut runs = match &args.runs {
        Some(file) => earlier(file, &args)?,
        None => Vec::new(),
    };
    let first = runs.iter().map(|run| run.round).max().unwrap_or(0) + 1;
    let bench = Bench::start(&args.payload, args.size_mib).await?;
    for round in first..first + args.rounds {
        let mut ways = args.ways.clone();
        if round % 2 == 0 {
            ways.reverse();
        }
        for way in ways {
            let run = one_in_few(&bench, &args, round, way).await?;
            if !global.json {
                eprintln!("{}", line(&run));
            }
            if let Some(file) = &args.runs {
                keep(file, &run)?;
            }
            runs.push(run);
        }
    }
    let summary = summary(&runs, &args);
    super::super::say(global.json, &summary, || table(&runs, &args));
    Ok(crate::cli::EXIT_DONE)
}

fn earlier(file: &Path, args: &SwarmArgs) -> Result<Vec<Run>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut runs = Vec::new();
    for line in text.lines() {
        let run: Run = serde_json::from_str(line)
            .with_context(|| format!("{} has a line that is no run: {line}", file.display()))?;
        let as_run = (run.size_mib, run.piece_kib, run.price);
        let as_asked = (args.size_mib, args.payload.piece_kib, args.payload.price);
        ensure!(
            as_run == as_asked,
            "{} holds runs of {} MiB in pieces of {} KiB at {} units per GiB; ask for the same, or name another file",
            file.display(),
            run.size_mib,
            run.piece_kib,
            run.price
        );
        runs.push(run);
    }
    Ok(runs)
}

fn keep(file: &Path, run: &Run) -> Result<()> {
    let mut open = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    writeln!(open, "{}", serde_json::to_string(run)?)?;
    Ok(())
}

/// What both sides had used when the leecher said something.
struct Mark {
    at: Instant,
    bytes: u64,
    leecher_ms: u64,
    seeder_ms: u64,
}

impl Mark {
    fn new(line: &Value, seeder: &Proc) -> Mark {
        let seeder_ms = seeder.id().map(|pid| process_cpu_ms(&pid.to_string()));
        Mark {
            at: Instant::now(),
            bytes: line["bytes"].as_u64().unwrap_or(0),
            leecher_ms: line["cpu_ms"].as_u64().unwrap_or(0),
            seeder_ms: seeder_ms.unwrap_or(0),
        }
    }
}

/// A download that told nothing before most of it was there says nothing, and is done again.
async fn one_in_few(bench: &Bench, args: &SwarmArgs, round: u32, way: Way) -> Result<Run> {
    for _ in 1..TRIES {
        if let Some(run) = one(bench, args, round, way).await? {
            return Ok(run);
        }
    }
    let run = one(bench, args, round, way).await?;
    run.with_context(|| {
        format!("{way:?}: {TRIES} downloads were done before they could be measured; take a larger --size-mib")
    })
}

async fn one(bench: &Bench, args: &SwarmArgs, round: u32, way: Way) -> Result<Option<Run>> {
    let (mut seeder, address) = bench.seeder(way).await?;
    let mut leecher = bench.leecher(way, &address)?;
    if way == Way::Paid {
        leecher.wait_for("accepted", ACCEPT_LIMIT).await?;
    }
    let begins = |line: &Value| {
        line["event"] == "complete"
            || (line["event"] == "progress" && line["bytes"].as_u64() > Some(0))
    };
    let mut line = leecher.wait_until("a piece", LIMIT, begins).await?;
    let began = Mark::new(&line, &seeder);
    if line["event"] != "complete" {
        line = leecher.wait_for("complete", LIMIT).await?;
    }
    let complete = Mark::new(&line, &seeder);
    let done = leecher.wait_for("done", LIMIT).await?;
    let end = Mark::new(&done, &seeder);
    leecher.finish(LIMIT).await?;
    let code = seeder.stop(LIMIT).await?;
    ensure!(code == 0, "the seeder failed: {}", seeder.stderr().await);
    let bytes = complete.bytes.saturating_sub(began.bytes);
    if bytes <= complete.bytes / 4 {
        return Ok(None);
    }
    let gib = bytes as f64 / (1u64 << 30) as f64;
    let cpu = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1000.0 / gib;
    let acceptance = done["acceptance_ms"].as_array().into_iter().flatten();
    Ok(Some(Run {
        round,
        way,
        size_mib: args.size_mib,
        piece_kib: args.payload.piece_kib,
        price: args.payload.price,
        wall_s_per_gib: (complete.at - began.at).as_secs_f64() / gib,
        leecher_cpu_s_per_gib: cpu(began.leecher_ms, end.leecher_ms),
        seeder_cpu_s_per_gib: cpu(began.seeder_ms, end.seeder_ms),
        closing_s: (end.at - complete.at).as_secs_f64(),
        leecher_peak_memory_mib: done["peak_memory_kib"].as_u64().unwrap_or(0) as f64 / 1024.0,
        acceptance_ms: acceptance.filter_map(Value::as_u64).collect(),
        units_paid: done["units_paid"].as_u64().unwrap_or(0),
    }))
}

fn line(run: &Run) -> String {
    format!(
        "round {}, {:?}: {:.2} s wall, {:.2} s CPU a GiB ({:.2} leecher, {:.2} seeder), {:.0} MiB at most, closed in {:.2} s",
        run.round,
        run.way,
        run.wall_s_per_gib,
        run.cpu_s_per_gib(),
        run.leecher_cpu_s_per_gib,
        run.seeder_cpu_s_per_gib,
        run.leecher_peak_memory_mib,
        run.closing_s,
    )
}

/// The ratio of two ways within each round that has both.
fn ratio(runs: &[Run], a: Way, b: Way, figure: fn(&Run) -> f64) -> Option<Spread> {
    let of = |way: Way| runs.iter().filter(move |run| run.way == way);
    let pairs = of(a).filter_map(|a| Some((a, of(b).find(|b| b.round == a.round)?)));
    Spread::of(pairs.map(|(a, b)| figure(a) / figure(b)))
}

fn wall(run: &Run) -> f64 {
    run.wall_s_per_gib
}

/// Each pair of ways that is compared, for programs and for people.
const PAIRS: [(&str, &str, Way, Way); 4] = [
    (
        "paid_to_plain",
        "paid / plain librqbit",
        Way::Paid,
        Way::Plain,
    ),
    (
        "gateway_free_to_plain",
        "unpaid / plain librqbit",
        Way::GatewayFree,
        Way::Plain,
    ),
    (
        "paid_to_gateway_free",
        "paid / unpaid",
        Way::Paid,
        Way::GatewayFree,
    ),
    (
        "plain_to_plain",
        "plain / plain (noise)",
        Way::PlainAgain,
        Way::Plain,
    ),
];

fn memory(runs: &[Run], way: Way) -> Option<Spread> {
    let of_way = runs.iter().filter(|run| run.way == way);
    Spread::of(of_way.map(|run| run.leecher_peak_memory_mib))
}

fn first_acceptance(runs: &[Run]) -> Option<Spread> {
    let first = runs.iter().filter_map(|run| run.acceptance_ms.first());
    Spread::of(first.map(|&ms| ms as f64))
}

fn summary(runs: &[Run], args: &SwarmArgs) -> Value {
    let mut summary = json!({
        "size_mib": args.size_mib,
        "piece_kib": args.payload.piece_kib,
        "leecher_memory_mib": {
            "plain": memory(runs, Way::Plain),
            "paid": memory(runs, Way::Paid),
            "gateway_free": memory(runs, Way::GatewayFree),
        },
        "first_acceptance_ms": first_acceptance(runs),
        "runs": runs,
    });
    for (key, _, a, b) in PAIRS {
        summary[format!("{key}_wall")] = json!(ratio(runs, a, b, wall));
        summary[format!("{key}_cpu")] = json!(ratio(runs, a, b, Run::cpu_s_per_gib));
    }
    summary
}

fn table(runs: &[Run], args: &SwarmArgs) -> String {
    let rounds = runs.iter().filter(|run| run.way == Way::Paid).count();
    let mut text = format!(
        "medians (least to greatest) of {rounds} pairs, {} MiB in pieces of {} KiB, after the first acceptance:",
        args.size_mib, args.payload.piece_kib
    );
    for (_, name, a, b) in PAIRS {
        text.push_str(&format!(
            "\n{name:<25}  wall {:<25}  CPU {}",
            words(ratio(runs, a, b, wall)),
            words(ratio(runs, a, b, Run::cpu_s_per_gib)),
        ));
    }
    let mib = |way| memory(runs, way).map_or(f64::NAN, |spread| spread.median);
    text.push_str(&format!(
        "\nleecher's memory           {:.0} MiB paid, {:.0} MiB unpaid, {:.0} MiB plain",
        mib(Way::Paid),
        mib(Way::GatewayFree),
        mib(Way::Plain),
    ));
    let ms = first_acceptance(runs).map_or(f64::NAN, |spread| spread.median);
    text.push_str(&format!("\nfirst acceptance           {ms:.0} ms"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(round: u32, way: Way, wall_s_per_gib: f64) -> Run {
        Run {
            round,
            way,
            size_mib: 64,
            piece_kib: 1024,
            price: 1000,
            wall_s_per_gib,
            leecher_cpu_s_per_gib: 1.0,
            seeder_cpu_s_per_gib: 1.0,
            closing_s: 0.0,
            leecher_peak_memory_mib: 1.0,
            acceptance_ms: Vec::new(),
            units_paid: 0,
        }
    }

    #[test]
    fn ratios_are_taken_within_rounds_whatever_their_order() {
        let runs = [
            run(1, Way::Plain, 1.0),
            run(1, Way::Paid, 2.0),
            run(2, Way::Paid, 30.0),
            run(2, Way::Plain, 10.0),
            run(3, Way::Paid, 7.0),
        ];
        let spread = ratio(&runs, Way::Paid, Way::Plain, wall).expect("two pairs");
        assert_eq!((spread.min, spread.max, spread.count), (2.0, 3.0, 2));
    }

    #[test]
    fn runs_are_kept_and_found_again_and_others_are_not_mixed_in() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("runs");
        keep(&file, &run(1, Way::Paid, 2.0)).expect("written");
        keep(&file, &run(1, Way::Plain, 2.0)).expect("written");
        let mut args = SwarmArgs {
            size_mib: 64,
            rounds: 1,
            ways: Way::ALL.to_vec(),
            runs: None,
            payload: PayloadArgs {
                piece_kib: 1024,
                price: 1000,
                dir: None,
            },
        };
        assert_eq!(earlier(&file, &args).expect("the same").len(), 2);
        args.size_mib = 128;
        assert!(earlier(&file, &args).is_err());
    }
}
