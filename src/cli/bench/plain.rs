//! `dpay bench plain-peer` (hidden): one side of a pair of plain librqbit, to compare with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::cli::node::{own_use, read_torrent};
use crate::cli::stop::Stop;
use crate::engine::{AddTorrent, Engine, EngineConfig, TorrentSource};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

/// Options of the hidden plain peer.
#[derive(Debug, clap::Args)]
pub struct PlainArgs {
    torrent: PathBuf,
    folder: PathBuf,
    #[arg(long)]
    peer: Option<SocketAddr>,
}

/// Seeds what is in the folder, or downloads it from a peer.
///
/// # Errors
/// What the engine says.
pub async fn run(args: PlainArgs) -> Result<u8> {
    let stop = Stop::new(true);
    let engine = Engine::start(EngineConfig::plain(([127, 0, 0, 1], 0).into())).await?;
    let started = Instant::now();
    let handle = engine
        .add(AddTorrent {
            source: TorrentSource::Bytes(read_torrent(&args.torrent)?),
            output_dir: args.folder.clone(),
            initial_peers: args.peer.into_iter().collect(),
            overwrite: true,
            only_files: None,
            paused: false,
            looks_only: false,
        })
        .await?;
    if args.peer.is_none() {
        handle.wait_finished().await?;
        let listen = engine.listen_addr().to_string();
        println!("{}", json!({"event": "ready", "listen": listen}));
        stop.wait().await;
        return Ok(crate::cli::EXIT_DONE);
    }
    let say = |event: &str| {
        let (cpu_ms, peak_memory_kib) = own_use();
        let line = json!({
            "event": event,
            "bytes": handle.progress().bytes_have,
            "cpu_ms": cpu_ms,
            "peak_memory_kib": peak_memory_kib,
            "wall_seconds": started.elapsed().as_secs_f64(),
        });
        println!("{line}");
    };
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            done = handle.wait_finished() => {
                done?;
                say("complete");
                say("done");
                return Ok(crate::cli::EXIT_DONE);
            }
            () = stop.wait() => return Ok(crate::cli::EXIT_INTERRUPTED),
            _ = tick.tick() => say("progress"),
        }
    }
}
