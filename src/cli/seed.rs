//! `dpay seed`: serve torrents, and be paid per piece.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::json;

use super::node::{self, ServingArgs};
use super::stop::Stop;
use super::totals::Totals;
use crate::config::Global;
use crate::engine::{Handle, TorrentSource};
use crate::node::{Node, Terms};

/// Options of `dpay seed`.
#[derive(Debug, clap::Args)]
pub struct SeedArgs {
    /// The .torrent files
    #[arg(required = true, value_name = "TORRENT")]
    pub torrents: Vec<PathBuf>,
    /// The folder that holds their files, or the folders of their files
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// What is asked of leechers.
    #[command(flatten)]
    pub serving: ServingArgs,
}

/// Runs until told to stop.
///
/// # Errors
/// A torrent that is none or whose data is not there, a wallet or an address that cannot be used.
pub async fn run(args: SeedArgs, global: &Global) -> Result<u8> {
    let stop = Stop::new(global.with_parent);
    let mut sources = Vec::new();
    for path in &args.torrents {
        let bytes = node::read_torrent(path)?;
        let metainfo = node::decode_torrent(path, &bytes)?;
        sources.push((path, metainfo));
    }
    let running = node::start(global, true, args.serving.keep, None).await?;
    let mut handles = Vec::new();
    for (path, metainfo) in sources {
        let terms = Terms {
            price: args.serving.price,
            max_price: None,
            free: args.serving.free,
            budget: None,
            earns: true,
        };
        let source = TorrentSource::Metainfo(metainfo.clone());
        let handle = running
            .add(source, args.data.clone(), Vec::new(), terms)
            .await?;
        let found = handle.wait_checked().await?;
        let (have, all) = (found.count(), metainfo.piece_count());
        if have < all {
            bail!(
                "{} has {have} of the {all} pieces of {}; give the folder with all of its data to \
                 --data, or fetch the rest with: dpay download {} -o {}",
                args.data.display(),
                path.display(),
                path.display(),
                args.data.display()
            );
        }
        handles.push(handle);
    }
    let mut totals = Totals::new(&running);
    tell_ready(&args, global, &running, &handles);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            event = totals.next() => {
                if let Some(told) = event {
                    super::say(global.json, &told.line, || told.text);
                }
            }
        }
    }
    finish(global, running, totals).await
}

fn tell_ready(args: &SeedArgs, global: &Global, running: &Node, handles: &[Handle]) {
    let listen = running.gateway.listen_addr();
    let line = json!({
        "event": "ready",
        "listen": listen.to_string(),
        "account": running.wallet.account().to_string(),
        "dht": running.dht.addr().to_string(),
        "info_hashes": handles.iter().map(|h| h.info_hash().to_string()).collect::<Vec<_>>(),
    });
    super::say(global.json, &line, || {
        let names: Vec<String> = handles
            .iter()
            .filter_map(|handle| handle.metainfo())
            .map(|metainfo| crate::torrent::printable(metainfo.name()))
            .collect();
        format!(
            "seeding {} on {listen} at {} units per GiB, free: {}; Ctrl-C closes channels and stops",
            names.join(", "),
            args.serving.price,
            args.serving.free
        )
    });
}

async fn finish(global: &Global, running: Node, mut totals: Totals) -> Result<u8> {
    let open = node::close(&running, &mut totals, global.json).await;
    let (served, earned) = (totals.served_bytes(), totals.earned());
    let dht = running.dht.counters();
    let line = json!({
        "event": "stopped",
        "bytes_served": served,
        "units_earned": earned.0,
        "peers": totals.lines(),
        "acceptance_ms": totals.acceptance_ms(),
        "open_channels": open,
        "dht_puts": dht.puts,
        "dht_gets": dht.gets,
        "dht_requests": dht.requests,
        "dht_wakes": dht.wakes,
    });
    super::say(global.json, &line, || {
        format!(
            "served {served} bytes, earned {earned:#}; redeem them with: dpay wallet redeem{}",
            node::open_lines(&open)
        )
    });
    node::shut_down(running).await?;
    Ok(super::EXIT_DONE)
}
