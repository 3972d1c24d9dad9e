//! What `seed` and `download` share: a node from flags, terms from flags, and how it is stopped.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cashier::wallet::{Passphrase, home};
use crate::config::Global;
use crate::engine::EngineConfig;
use crate::gateway::{FreePolicy, GatewayEvent};
use crate::node::{Node, NodeConfig};
use crate::units::PricePerGib;

/// Port that peers reach us at unless told otherwise.
const DEFAULT_PORT: u16 = 6881;
/// Certified payee keys that a node that earns keeps at hand.
const PAYEE_KEYS: u32 = 16;

/// What is asked of leechers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ServingArgs {
    /// Price to ask of leechers, in units per GiB (16 to 65536)
    #[arg(long, value_name = "UNITS_PER_GIB", default_value = "1000")]
    pub price: PricePerGib,
    /// Whom to serve for nothing: nobody (off), whoever is there when nobody pays (leftover), everybody (on)
    #[arg(long, value_name = "POLICY", default_value = "leftover")]
    pub free: FreePolicy,
}

/// Opens the wallet of the home directory: its passphrase from file, environment or prompt.
///
/// # Errors
/// No home, no passphrase.
pub fn passphrase(global: &Global) -> Result<Passphrase> {
    let home = global.home()?;
    if !home::has_wallet(&home) {
        anyhow::bail!(
            "there is no wallet in {}; make one with: dpay wallet init",
            home.display()
        );
    }
    if !home::needs_passphrase(&home)? {
        return Ok(Passphrase::none());
    }
    let text = match global.given_passphrase()? {
        Some(text) => text,
        None => global.ask_passphrase("Passphrase of the wallet: ")?,
    };
    Ok(Passphrase::new(&text)?)
}

/// Starts a node as the flags say.
///
/// # Errors
/// What hinders it.
pub async fn start(global: &Global, earns: bool) -> Result<Node> {
    let listen = global
        .listen
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)));
    let node = Node::start(NodeConfig {
        home: global.home()?,
        passphrase: passphrase(global)?,
        broker_url: global.broker.clone(),
        listen,
        bootstrap: global.dht_bootstrap.clone(),
        min_answers: global.dht_min_answers,
        payee_keys: if earns { PAYEE_KEYS } else { 0 },
        piece_memory_bytes: EngineConfig::PIECE_MEMORY_BYTES,
    })
    .await?;
    Ok(node)
}

/// CPU time used by this process so far in milliseconds, and the most memory it had in KiB, as Linux
/// tells them; zeros elsewhere.
#[must_use]
pub fn own_use() -> (u64, u64) {
    (process_cpu_ms("self"), process_peak_kib("self"))
}

/// CPU time of a process, in milliseconds; 0 where the system does not tell.
#[must_use]
pub fn process_cpu_ms(pid: &str) -> u64 {
    // Linux counts in ticks of 10 ms, whatever the machine (USER_HZ).
    const TICK_MS: u64 = 10;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return 0;
    };
    let Some((_, after)) = stat.rsplit_once(')') else {
        return 0;
    };
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0)
    };
    (ticks(11) + ticks(12)) * TICK_MS
}

/// The most memory that a process had, in KiB; 0 where the system does not tell.
#[must_use]
pub fn process_peak_kib(pid: &str) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// An event of the gateway as a JSON line.
#[must_use]
pub fn event_line(event: &GatewayEvent) -> Option<Value> {
    let _ = event;
    None
}

/// The DHT's part of a report.
#[must_use]
pub fn dht_line(node: &Node) -> Value {
    let counters = node.dht.counters();
    json!({"puts": counters.puts, "gets": counters.gets, "requests": counters.requests})
}

/// Reads a torrent file.
///
/// # Errors
/// A file that cannot be read or is too large to be a torrent.
pub fn read_torrent(path: &std::path::Path) -> Result<Vec<u8>> {
    const MAX_BYTES: u64 = 64 << 20;
    let about = || format!("cannot read the torrent {}", path.display());
    let size = std::fs::metadata(path).with_context(about)?.len();
    anyhow::ensure!(
        size <= MAX_BYTES,
        "{} has {size} bytes, which is no torrent (at most {MAX_BYTES}); name a .torrent file",
        path.display()
    );
    std::fs::read(path).with_context(about)
}
