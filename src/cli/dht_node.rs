//! `dpay dht-node` (hidden): one node of the DHT, as `dpay demo` and the tests run them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Result, bail};

use super::stop::Stop;
use crate::config::Global;
use crate::dht::{DhtConfig, DhtNode};

/// Runs until told to stop.
///
/// # Errors
/// When the address is not IPv4 or is taken.
pub async fn run(global: &Global) -> Result<u8> {
    let bind = match global.listen {
        None => SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        Some(SocketAddr::V4(address)) => address,
        Some(SocketAddr::V6(address)) => bail!(
            "the DHT speaks IPv4 only, and --listen names {address}; give an IPv4 address"
        ),
    };
    let mut config = DhtConfig::new(bind);
    config.bootstrap = global.dht_bootstrap.clone();
    config.server = true;
    let node = DhtNode::start(config).await?;
    let stop = Stop::new(global.with_parent);
    if global.json {
        println!(
            "{}",
            serde_json::json!({"event": "ready", "address": node.bootstrap_entry()})
        );
    } else {
        println!("DHT node on {}", node.addr());
    }
    stop.wait().await;
    Ok(super::EXIT_DONE)
}
