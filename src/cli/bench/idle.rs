//! `dpay bench idle`: what a node with many seeding torrents costs while nobody wants anything of it,
//! once they rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cli::demo::TempDir;
use crate::cli::node::{process_cpu_ms, process_kib};
use crate::cli::world::{Proc, World, WorldOptions};
use crate::cli::{EXIT_DONE, say};
use crate::engine::RestTimes;
use crate::http::node::client::NodeClient;
use crate::random;
use crate::session::view::{State, TorrentList};
use crate::torrent::{Layout, MetainfoBuilder, PieceLength};

/// Bytes of each torrent: one piece.
const PAYLOAD: usize = 16 * 1024;
/// Torrents added by one command.
const TOGETHER: usize = 100;
/// Longest wait for anything but the measurement itself.
const LIMIT: Duration = Duration::from_secs(240);
/// Pieces of the measurement; two quiet ones in a row mean that the node is idle.
const STEP: Duration = Duration::from_secs(10);

/// Options of `dpay bench idle`.
#[derive(Debug, clap::Args)]
pub struct IdleArgs {
    /// Torrents that are seeded
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub torrents: u32,
    /// Seconds to measure
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=7200))]
    pub seconds: u64,
    /// Print the node's process id and go on measuring until interrupted, for a profiler
    #[arg(long)]
    pub stay: bool,
}

/// Starts DHT nodes, a broker and a node, seeds, waits until the node is idle, measures, prints.
///
/// # Errors
/// When a part does not start, or the node does not come to rest.
pub async fn run(args: &IdleArgs, is_json: bool) -> Result<u8> {
    let temporary = TempDir::within(None)?;
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let world = World::start(&exe, &temporary.path, WorldOptions::default()).await?;
    world.wallet("node", 0).await?;
    let command = ["node", "--web", "127.0.0.1:0"].map(str::to_owned);
    let mut node = world.spawn("node", &command)?;
    node.wait_for("ready", LIMIT).await?;
    let pid = node.id().context("the node has ended")?.to_string();
    let started_kib = process_kib(&pid);
    seed(&world, args.torrents as usize).await?;
    wait_for_rest(&pid).await?;
    loop {
        measure(args, &pid, started_kib, is_json).await;
        if !args.stay {
            break;
        }
    }
    stop(node).await
}

async fn stop(mut node: Proc) -> Result<u8> {
    let code = node.stop(LIMIT).await?;
    ensure!(
        code == 0,
        "the node ended with code {code}: {}",
        node.stderr().await
    );
    Ok(EXIT_DONE)
}

/// Makes payloads and torrents, and adds them where the payloads are.
async fn seed(world: &World, count: usize) -> Result<()> {
    let data = world.root.join("payload");
    std::fs::create_dir_all(&data)?;
    let torrents = (0..count).map(|n| make(&data, n));
    let torrents = torrents.collect::<Result<Vec<PathBuf>>>()?;
    let folder = data.display().to_string();
    for some in torrents.chunks(TOGETHER) {
        let names: Vec<String> = some.iter().map(|path| path.display().to_string()).collect();
        let mut command = vec!["add", "--output", &folder];
        command.extend(names.iter().map(String::as_str));
        world.must("node", &command).await?;
    }
    let client = NodeClient::find(&world.home("node")).await;
    let client = client.context("the node does not answer")?;
    let all = async {
        loop {
            let list: TorrentList = client.get("/torrents").await?;
            let seeding = |state: &State| *state == State::Seeding;
            let seeds = list
                .torrents
                .iter()
                .filter(|row| seeding(&row.state))
                .count();
            if seeds == count {
                return Ok::<_, anyhow::Error>(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, all).await;
    waited.context("not all torrents are seeded")?
}

fn make(data: &Path, n: usize) -> Result<PathBuf> {
    let name = format!("payload-{n}.bin");
    let mut bytes = vec![0; PAYLOAD];
    bytes[..32].copy_from_slice(&random::bytes::<32>());
    std::fs::write(data.join(&name), &bytes)?;
    let layout = Layout::File {
        length_bytes: PAYLOAD as u64,
    };
    let mut maker = MetainfoBuilder::new(&name, layout, PieceLength::for_length(PAYLOAD as u64))?;
    maker.update(&bytes)?;
    let path = data.join(format!("payload-{n}.torrent"));
    std::fs::write(&path, maker.finish()?.encode())?;
    Ok(path)
}

/// Until all torrents may be at rest and two steps in a row cost about the same.
async fn wait_for_rest(pid: &str) -> Result<()> {
    tokio::time::sleep(RestTimes::default().after + STEP).await;
    let rest = async {
        let mut last = u64::MAX;
        loop {
            let before = process_cpu_ms(pid);
            tokio::time::sleep(STEP).await;
            let used = process_cpu_ms(pid) - before;
            if used.abs_diff(last) <= last / 4 + 20 {
                return;
            }
            last = used;
        }
    };
    let waited = tokio::time::timeout(LIMIT, rest).await;
    waited.context("the node does not come to rest")
}

async fn measure(args: &IdleArgs, pid: &str, started_kib: u64, is_json: bool) {
    let before = process_cpu_ms(pid);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let cpu_ms = process_cpu_ms(pid) - before;
    let percent = cpu_ms as f64 / (args.seconds as f64 * 10.0);
    let rss_kib = process_kib(pid);
    let line = json!({
        "event": "bench_idle", "torrents": args.torrents, "seconds": args.seconds, "pid": pid,
        "cpu_percent": percent, "rss_kib": rss_kib, "rss_kib_without_torrents": started_kib,
    });
    say(is_json, &line, || {
        format!(
            "{} torrents seeded and idle: {percent:.1} % of a core over {} s, {} MiB ({} MiB before they \
             were added)",
            args.torrents,
            args.seconds,
            rss_kib / 1024,
            started_kib / 1024,
        ) + &if args.stay {
            format!(" (process {pid})")
        } else {
            String::new()
        }
    });
}
