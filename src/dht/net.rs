//! A private network on one machine: many nodes in one process, for demonstrations and tests.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use super::{DhtConfig, DhtError, DhtNode};

/// How long the nodes get to find each other.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// A node of a big network need not know all others, only this many.
const ENOUGH: usize = 20;
/// Bootstrap addresses per node.
const BOOTSTRAP: usize = 3;

/// Starts `count` server nodes on free ports of `ip` and returns when each knows the others (at
/// least 20 of them). Every node has three others as bootstrap, so it finds back after a fault.
///
/// # Errors
/// [`DhtError::Bind`] when a port was taken meanwhile, [`DhtError::NotSettled`] when they did not
/// find each other within 30 s.
pub async fn run_nodes(count: usize, ip: Ipv4Addr) -> Result<Vec<DhtNode>, DhtError> {
    let addrs = free_ports(count, ip)?;
    let starting = (0..count).map(|index| {
        let others = (1..count.min(BOOTSTRAP + 1)).map(|step| addrs[(index + step) % count]);
        DhtNode::start(DhtConfig {
            bind: addrs[index],
            bootstrap: others.map(|addr| addr.to_string()).collect(),
            server: true,
            clients: 1,
            request_timeout_ms: 400,
            ..DhtConfig::default()
        })
    });
    let nodes: Vec<DhtNode> = futures::future::try_join_all(starting).await?;
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
