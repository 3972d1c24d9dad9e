//! A private network on one machine: many nodes in one process, for demonstrations and tests.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use super::{DhtConfig, DhtError, DhtNode};

/// How long the nodes get to find each other.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// A node of a big network need not know all others, only this many.
const ENOUGH: usize = 20;
/// How often starting is tried when a port was taken meanwhile.
const START_TRIES: u32 = 5;

/// Starts `count` server nodes on free ports of `ip` and returns when each knows the others (at
/// least 20 of them). Nodes of this kind learn of others only by asking them,
/// never by being asked; so each has all others as bootstrap, or 20, and asks them again until it
/// knows as many.
///
/// # Errors
/// [`DhtError::Bind`] when ports cannot be had, [`DhtError::NotSettled`] when the nodes did not
/// find each other within 30 s.
pub async fn run_nodes(count: usize, ip: Ipv4Addr) -> Result<Vec<DhtNode>, DhtError> {
    let mut tries = 0;
    let nodes = loop {
        tries += 1;
        match start(&free_ports(count, ip)?).await {
            // Somebody else was quicker at one of the ports.
            Err(DhtError::Bind { .. }) if tries < START_TRIES => {}
            started => break started?,
        }
    };
    let enough = count.saturating_sub(1).min(ENOUGH);
    let settling = nodes.iter().map(|node| node.settled(enough, SETTLE_LIMIT));
    let settled = futures::future::join_all(settling).await;
    let settled = settled.into_iter().filter(|ok| *ok).count();
    if settled < count {
        return Err(DhtError::NotSettled {
            settled,
            count,
            waited_ms: u64::try_from(SETTLE_LIMIT.as_millis()).unwrap_or(u64::MAX),
        });
    }
    Ok(nodes)
}

async fn start(addrs: &[SocketAddrV4]) -> Result<Vec<DhtNode>, DhtError> {
    let count = addrs.len();
    let starting = addrs.iter().enumerate().map(|(index, bind)| {
        let others = (1..count.min(ENOUGH + 1)).map(|step| addrs[(index + step) % count]);
        let config = DhtConfig {
            bind: *bind,
            bootstrap: others.map(|addr| addr.to_string()).collect(),
            server: true,
            clients: 1,
            request_timeout_ms: 400,
            ..DhtConfig::default()
        };
        DhtNode::start_with(config, ENOUGH)
    });
    futures::future::try_join_all(starting).await
}

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize, ip: Ipv4Addr) -> Result<Vec<SocketAddrV4>, DhtError> {
    let any = SocketAddrV4::new(ip, 0);
    let bind = |source| DhtError::Bind { addr: any, source };
    let mut held = Vec::with_capacity(count);
    let mut addrs = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = UdpSocket::bind(any).map_err(bind)?;
        let addr = socket.local_addr().map_err(bind)?;
        addrs.push(SocketAddrV4::new(ip, addr.port()));
        held.push(socket);
    }
    Ok(addrs)
}
