//! `dpay dht-node` (hidden): one node of the DHT, as `dpay demo` and the tests run them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, bail};

use super::stop::Stop;
use crate::config::Global;
use crate::dht::{DhtConfig, DhtNode};

/// Others that it should know before it says that it is ready, if it is told of as many.
const ENOUGH: usize = 20;
/// How long it looks for them.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Runs until told to stop. It is ready when it knows the others that it was told of.
///
/// # Errors
/// When the address is not IPv4 or is taken.
pub async fn run(global: &Global) -> Result<u8> {
    let bind = match global.listen {
        None => SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        Some(SocketAddr::V4(address)) => address,
        Some(SocketAddr::V6(address)) => {
            bail!("the DHT speaks IPv4 only, and --listen names {address}; give an IPv4 address")
        }
    };
    let node = DhtNode::start(DhtConfig {
        bind,
        bootstrap: global.dht_bootstrap.clone(),
        server: true,
        clients: 1,
        ..DhtConfig::default()
    })
    .await?;
    let stop = Stop::new(global.with_parent);
    let others = global.dht_bootstrap.len().min(ENOUGH);
    tokio::select! {
        settled = node.settled(others, SETTLE_LIMIT) => if !settled {
            tracing::warn!(others, "not that many DHT nodes were found; more are looked for");
        },
        () = stop.wait() => return Ok(super::EXIT_INTERRUPTED),
    }
    super::say(
        global.json,
        &serde_json::json!({"event": "ready", "address": node.addr().to_string()}),
        || format!("DHT node on {}", node.addr()),
    );
    stop.wait().await;
    Ok(super::EXIT_DONE)
}
