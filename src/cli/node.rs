//! What `seed` and `download` share: a node from flags, terms from flags, and how it is stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::totals::Totals;
use super::wallet::PassphraseSource;
use crate::cashier::wallet::Cheat;
use crate::config::{Global, Settings};
use crate::engine::EngineConfig;
use crate::gateway::FreePolicy;
use crate::node::{Node, NodeConfig, StaysOpen};
use crate::torrent::Metainfo;
use crate::units::{PricePerGib, Units};
use crate::wallet::Balance;
use crate::wallet::keeping::Rules;

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
    #[arg(long, value_name = "POLICY", default_value = "leftover", value_parser = free_policy)]
    pub free: FreePolicy,
    /// Units of shares and change to keep for paying; what is beyond is redeemed within a day
    #[arg(long, value_name = "UNITS", default_value_t = Rules::default().keep.0)]
    pub keep: u64,
}

/// Starts a node as the flags say. `cheat` makes its wallet one that cheats.
///
/// # Errors
/// What hinders it.
pub async fn start(global: &Global, earns: bool, keep: u64, cheat: Option<Cheat>) -> Result<Node> {
    let listen = global
        .listen
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)));
    let home = global.home()?;
    let settings = Settings::read(&home)?;
    let node = Node::start(NodeConfig {
        passphrase: PassphraseSource::choose(global.passphrase_file.clone()).open(&home)?,
        broker_url: global.broker_of(&home)?,
        forward_port: settings.node.forward_port,
        home,
        listen,
        bootstrap: global.dht_bootstrap.clone(),
        min_answers: global.dht_min_answers,
        accept_deadline_ms: global.dht_deadline_s.saturating_mul(1000),
        payee_keys: if earns { PAYEE_KEYS } else { 0 },
        at_hand: settings.rules.at_hand,
        keep: Rules { keep: Units(keep) },
        piece_memory_bytes: EngineConfig::PIECE_MEMORY_BYTES,
        resume_dir: None,
        cheat,
    })
    .await?;
    Ok(node)
}

/// Whether it is known who sells coins: from a flag, a setting, or from an earlier run.
///
/// # Errors
/// A settings file that cannot be used, or a closed wallet.
pub async fn knows_broker(global: &Global, node: &Node) -> Result<bool> {
    let is_named = global.broker_of(&global.home()?)?.is_some();
    Ok(is_named || node.wallet.balance().await?.broker_url.is_some())
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
    status_kib(pid, "VmHWM:")
}

/// The memory that a process has, in KiB; 0 where the system does not tell.
#[must_use]
pub fn process_kib(pid: &str) -> u64 {
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: &str, what: &str) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Closes all channels, saying meanwhile what happens. Returns those that stay open.
pub async fn close(node: &Node, totals: &mut Totals, json: bool) -> Vec<StaysOpen> {
    let closing = node.close_channels();
    tokio::pin!(closing);
    let left = loop {
        tokio::select! {
            left = &mut closing => break left,
            told = totals.next() => {
                if let Some(told) = told {
                    super::say(json, &told.line, || told.text);
                }
            }
        }
    };
    totals.refresh(node).await;
    left
}

/// A line for each channel that stays open, for people.
#[must_use]
pub fn open_lines(open: &[StaysOpen]) -> String {
    let line = |open: &StaysOpen| format!("\n  still open: {open}");
    open.iter().map(line).collect()
}

/// Ends a node whose channels are closed.
///
/// # Errors
/// Ticks that could not be written.
pub async fn shut_down(node: Node) -> Result<()> {
    node.engine.stop().await;
    node.router.stop().await;
    node.wallet.shutdown().await?;
    Ok(())
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

/// Reads what a torrent file says; errors name the file.
///
/// # Errors
/// What is no torrent.
pub fn decode_torrent(path: &std::path::Path, bytes: &[u8]) -> Result<Arc<Metainfo>> {
    let metainfo = Metainfo::decode(bytes)
        .with_context(|| format!("{} cannot be used; name a .torrent file", path.display()))?;
    Ok(Arc::new(metainfo))
}

fn free_policy(word: &str) -> Result<FreePolicy, String> {
    FreePolicy::from_word(word).ok_or_else(|| format!("{word:?} is none of off, leftover and on"))
}

/// What a person may spend, in words.
#[must_use]
pub fn balance_words(balance: &Balance) -> String {
    let coins = balance.at_hand();
    match balance.broker_balance {
        Some(units) => format!("you have {coins:#} in coins and {units} at the broker"),
        None => format!("you have {coins:#} in coins"),
    }
}
