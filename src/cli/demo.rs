//! `dpay demo`: the whole main job on loopback, each part a child process of this same binary: a
//! broker, DHT nodes, seeders, and a leecher that downloads from them and pays per verified piece.

mod caught;
mod cheat;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use stage::Stage;

use super::scratch::udp_packets_sent;
pub(super) use super::scratch::{TempDir, write_payload};
use super::world::{Proc, World, WorldOptions};
use crate::config::Global;
use crate::session::log::LogBook;

/// The sample that the demonstration downloads when no size is given.
pub(super) const SAMPLE_NAME: &str = "lighthouse-log.txt";
pub(super) const SAMPLE: &[u8] = include_bytes!("../../torrents/lighthouse-log.txt");
/// How long a seeder may take to stop, closing its channels.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(3600);

/// Options of `dpay demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Size of the payload in MiB, made of fixed bytes (default: the sample of 4 MiB)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub size_mib: Option<u64>,
    /// Piece length in KiB, a power of two from 16 to 16384
    #[arg(long, value_name = "N")]
    pub piece_kib: Option<u32>,
    /// Number of seeders
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub seeders: u8,
    /// Price that every seeder asks, in units per GiB
    #[arg(long, value_name = "UNITS_PER_GIB", default_value_t = 16_384, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    pub price: u64,
    /// Number of DHT nodes, a process each
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(8..=64))]
    pub dht_nodes: u8,
    /// Keep everything below this directory instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Let the leecher cheat instead: it spends one coin with two seeders at once, and redeems another
    /// after its channel was accepted
    #[arg(long, conflicts_with = "ui")]
    pub cheat: bool,
    /// Open such a world behind the node's page instead, with play money, until told to stop
    #[arg(long, conflicts_with_all = ["size_mib", "piece_kib", "seeders", "price", "dht_nodes", "keep"])]
    pub ui: bool,
    /// Address of that page (port 0: any free one)
    #[arg(
        long,
        value_name = "ADDR",
        requires = "ui",
        default_value = "127.0.0.1:0"
    )]
    pub web: std::net::SocketAddr,
}

/// What one seeder did and got.
#[derive(Debug, Serialize)]
pub struct SeederRow {
    /// Its name in the demonstration.
    pub name: String,
    /// Pieces it delivered, counted in whole piece lengths of its intact blocks.
    pub pieces: f64,
    /// Bytes of intact blocks that the leecher had from it.
    pub bytes: u64,
    /// Units the broker credited to it.
    pub units_earned: u64,
}

/// What the demonstration found.
#[derive(Debug, Serialize)]
pub struct DemoReport {
    /// Pieces of the torrent.
    pub pieces_total: u64,
    /// Pieces verified by the leecher.
    pub pieces_verified: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Whether the downloaded bytes have the SHA-256 of the seeded ones.
    pub sha256_ok: bool,
    /// Units the leecher ticked away.
    pub units_paid: u64,
    /// Units the broker credited to the seeders.
    pub units_earned: u64,
    /// Units of change the broker credited back to the leecher.
    pub units_change: u64,
    /// A row a seeder.
    pub seeders: Vec<SeederRow>,
    /// Whether the broker's books add up.
    pub broker_audit_ok: bool,
    /// Requests the broker answered, of all kinds.
    pub broker_requests: u64,
    /// Records put, over all parties: one count a place.
    pub dht_puts: u64,
    /// Reads of places, over all parties.
    pub dht_gets: u64,
    /// Requests sent for these, over all parties, at least.
    pub dht_requests: u64,
    /// UDP packets sent on this machine, by any program, from the start of the download until all seeders
    /// had stopped, less those by which nodes wake themselves: requests and answers, look-ups of
    /// peers and upkeep included. Meaningful where nothing else uses the network; 0 where the system does not tell.
    pub udp_packets: u64,
    /// From `open` to `opened: accepted`, per channel.
    pub acceptance_ms: Vec<u64>,
    /// From the start of the download to its last verified piece, in seconds.
    pub download_seconds: f64,
    /// All of it, in seconds.
    pub wall_seconds: f64,
}

pub(super) struct Steps {
    bar: Option<ProgressBar>,
}

impl Steps {
    pub(super) fn new(json: bool) -> Steps {
        let bar = (!json).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Steps { bar }
    }

    fn say(&self, text: String) {
        if let Some(bar) = &self.bar {
            if bar.is_hidden() {
                eprintln!("{text}");
            }
            bar.set_message(text);
        }
    }

    fn pieces(&self, have: u64, total: u64, units: u64) {
        if let Some(bar) = &self.bar {
            if bar.length().is_none() && total > 0 {
                bar.set_length(total);
                if let Ok(style) =
                    ProgressStyle::with_template("{bar:40.green} {pos}/{len} pieces  {msg}")
                {
                    bar.set_style(style);
                }
            }
            bar.set_position(have);
            bar.set_message(format!("{units} units paid"));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn number(value: &Value, key: &str) -> Result<u64> {
    value[key]
        .as_u64()
        .with_context(|| format!("no number {key} in {value}"))
}

/// Runs the demonstration and prints what came of it.
///
/// # Errors
/// When a part does not start, the download does not finish, or a promise does not hold.
pub async fn run(args: DemoArgs, global: &Global, book: &LogBook) -> Result<u8> {
    let temporary;
    let root = match &args.keep {
        Some(dir) => {
            fs::create_dir_all(dir)?;
            dir.clone()
        }
        None => {
            temporary = TempDir::within(None)?;
            temporary.path.clone()
        }
    };
    if args.ui {
        let node = super::daemon::NodeArgs {
            web: Some(args.web),
            downloads: Some(root.join("downloads")),
            command: None,
        };
        let home = root.join("home");
        return super::daemon::serve(&node, global, &home, book, true).await;
    }
    let steps = Steps::new(global.json);
    if args.cheat {
        let report = cheat::play(&args, &root, &steps).await?;
        drop(steps);
        return report.show(args.keep.as_deref(), global.json);
    }
    let report = play(&args, &root, &steps).await?;
    drop(steps);
    if global.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print_table(&report);
    }
    let is_paid = report.units_paid == report.units_earned;
    let is_whole = report.sha256_ok && report.pieces_verified == report.pieces_total;
    Ok(if is_whole && is_paid && report.broker_audit_ok {
        super::EXIT_DONE
    } else {
        super::EXIT_CHECK
    })
}

pub(super) async fn play(args: &DemoArgs, root: &Path, steps: &Steps) -> Result<DemoReport> {
    let started = Instant::now();
    let options = WorldOptions {
        dht_nodes: usize::from(args.dht_nodes),
        ..WorldOptions::default()
    };
    let mut stage = Stage::set(args, root, steps, options).await?;
    let sent_before = udp_packets_sent();
    let mut leecher = stage.leecher(args, &[])?;
    let done = follow(&mut leecher, steps).await?;

    steps.say("seeders close and redeem".into());
    let mut stopped = Vec::new();
    for (name, seeder, _) in &mut stage.seeders {
        stopped.push(stage::stop(name, seeder).await?);
    }
    let sent = udp_packets_sent().saturating_sub(sent_before);
    let lines = stopped.iter().chain([&done]);
    let wakes: u64 = lines.filter_map(|line| line["dht_wakes"].as_u64()).sum();
    let mut report = settle(&stage.world, args, &stage.seeders, &stopped, &done).await?;
    report.udp_packets = sent.saturating_sub(wakes);
    report.sha256_ok = stage.is_same()?;
    steps.say("stopping".into());
    report.broker_requests = stage.stop_broker().await?;
    report.wall_seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

async fn follow(leecher: &mut Proc, steps: &Steps) -> Result<Value> {
    let deadline = tokio::time::Instant::now() + DOWNLOAD_TIMEOUT;
    loop {
        let line = tokio::time::timeout_at(deadline, leecher.next())
            .await
            .context("the download did not finish within an hour")??;
        let Some(line) = line else {
            anyhow::bail!("the leecher failed: {}", leecher.stderr().await);
        };
        match line["event"].as_str() {
            Some("progress") => steps.pieces(
                line["pieces_verified"].as_u64().unwrap_or(0),
                line["pieces_total"].as_u64().unwrap_or(0),
                line["units_paid"].as_u64().unwrap_or(0),
            ),
            Some("done") => {
                leecher.finish(STOP_TIMEOUT).await?;
                return Ok(line);
            }
            _ => {}
        }
    }
}

async fn settle(
    world: &World,
    args: &DemoArgs,
    seeders: &[(String, Proc, String)],
    stopped: &[Value],
    done: &Value,
) -> Result<DemoReport> {
    let mut rows = Vec::new();
    let mut units_earned = 0u64;
    let (mut dht_puts, mut dht_gets) = (number(done, "dht_puts")?, number(done, "dht_gets")?);
    let mut dht_requests = number(done, "dht_requests")?;
    let piece_bytes = number(done, "piece_length_bytes")?.max(1);
    for ((name, _, address), line) in seeders.iter().zip(stopped) {
        let redeemed = world.must(name, &["wallet", "redeem", "--all"]).await?;
        let units = number(&redeemed, "units_earned")?;
        units_earned = units_earned.checked_add(units).context("too many units")?;
        dht_puts += number(line, "dht_puts")?;
        dht_gets += number(line, "dht_gets")?;
        dht_requests += number(line, "dht_requests")?;
        let bytes = done["seeders"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|peer| peer["address"] == address.as_str())
            .filter_map(|peer| peer["bytes"].as_u64())
            .sum::<u64>();
        rows.push(SeederRow {
            name: name.clone(),
            pieces: bytes as f64 / piece_bytes as f64,
            bytes,
            units_earned: units,
        });
    }
    let change = world
        .must("leecher", &["wallet", "redeem", "--all"])
        .await?;
    let home = world.home("broker").display().to_string();
    let audit = world
        .run(&[
            "broker".into(),
            "audit".into(),
            "--json".into(),
            "--home".into(),
            home,
        ])
        .await?;
    debug_assert_eq!(rows.len(), usize::from(args.seeders));
    Ok(DemoReport {
        pieces_total: number(done, "pieces_total")?,
        pieces_verified: number(done, "pieces_verified")?,
        bytes: number(done, "bytes")?,
        sha256_ok: false,
        units_paid: number(done, "units_paid")?,
        units_earned,
        units_change: number(&change, "units_change")?,
        seeders: rows,
        broker_audit_ok: audit.code == 0,
        broker_requests: 0,
        dht_puts,
        dht_gets,
        dht_requests,
        udp_packets: 0,
        acceptance_ms: done["acceptance_ms"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect(),
        download_seconds: done["wall_seconds"].as_f64().unwrap_or(0.0),
        wall_seconds: 0.0,
    })
}

fn print_table(report: &DemoReport) {
    use comfy_table::{CellAlignment, Table};
    let mut table = Table::new();
    table.set_header(["seeder", "pieces", "bytes", "units earned"]);
    for row in &report.seeders {
        table.add_row([
            row.name.clone(),
            format!("{:.1}", row.pieces),
            row.bytes.to_string(),
            row.units_earned.to_string(),
        ]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    let yes = |good: bool| if good { "yes" } else { "NO" };
    println!(
        "pieces verified     {} of {}, {} bytes, SHA-256 equal: {}",
        report.pieces_verified,
        report.pieces_total,
        report.bytes,
        yes(report.sha256_ok)
    );
    println!(
        "the leecher         paid {} units, has {} units of change back",
        report.units_paid, report.units_change
    );
    println!("the seeders         earned {} units", report.units_earned);
    println!(
        "the broker          answered {} requests; no unit is missing: {}",
        report.broker_requests,
        yes(report.broker_audit_ok)
    );
    println!(
        "the DHT             {} puts, {} reads of places; acceptance {:?} ms",
        report.dht_puts, report.dht_gets, report.acceptance_ms
    );
    println!(
        "time                {:.1} s, of which the download {:.1} s",
        report.wall_seconds, report.download_seconds
    );
}
