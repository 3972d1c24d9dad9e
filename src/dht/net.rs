//! A private network on one machine: many nodes in one process, for demonstrations and tests.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use super::door::Door;
use super::{DhtConfig, DhtError, DhtNode};

/// How long the nodes get to find each other.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// A node of a big network need not know all others, only this many.
const ENOUGH: usize = 20;
/// How often starting is tried when a port was taken meanwhile.
const START_TRIES: u32 = 5;

/// How a private network is laid out.
#[derive(Clone, Debug)]
pub struct NetPlan {
    /// Nodes.
    pub count: usize,
    /// Where they listen, each on a port of its own.
    pub ip: Ipv4Addr,
    /// Nodes of another network that they join, as `host:port`.
    pub others: Vec<String>,
    /// How far each is from everybody; zero for as near as the machine has it.
    pub round_trip: Duration,
    /// How many of them are hostile: they show what they are given to nobody but the giver, so
    /// that each of two payees finds its own record there and no other.
    pub hostile: usize,
    /// Whether a second value overwrites one at the highest seq: [`DhtConfig::overwritable`].
    pub overwritable: bool,
}

/// A private network of server nodes, for as long as it is held.
#[derive(Debug)]
pub struct Net {
    /// The nodes.
    pub nodes: Vec<DhtNode>,
    doors: Vec<Door>,
}

impl Net {
    /// Where the nodes are reached by others.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddrV4> {
        if self.doors.is_empty() {
            return self.nodes.iter().map(DhtNode::addr).collect();
        }
        self.doors.iter().map(Door::addr).collect()
    }

    /// Starts a network and returns when each node knows the others (at least 20 of them). Nodes of
    /// this kind learn of others only by asking them, never by being asked; so each has all others
    /// as bootstrap, or 20, and asks them again until it knows as many.
    ///
    /// # Errors
    /// [`DhtError::Bind`] when ports cannot be had, [`DhtError::NotSettled`] when the nodes did not
    /// find each other within 30 s.
    pub async fn start(plan: &NetPlan) -> Result<Net, DhtError> {
        let mut tries = 0;
        let net = loop {
            tries += 1;
            match start(plan).await {
                // Somebody else was quicker at one of the ports.
                Err(DhtError::Bind { .. }) if tries < START_TRIES => {}
                started => break started?,
            }
        };
        let enough = plan.count.saturating_sub(1).min(ENOUGH);
        let nodes = net.nodes.iter();
        let settling = nodes.map(|node| node.settled(enough, SETTLE_LIMIT));
        let settled = futures::future::join_all(settling).await;
        let settled = settled.into_iter().filter(|ok| *ok).count();
        if settled < plan.count {
            return Err(DhtError::NotSettled {
                settled,
                count: plan.count,
                waited_ms: u64::try_from(SETTLE_LIMIT.as_millis()).unwrap_or(u64::MAX),
            });
        }
        Ok(net)
    }
}

/// Starts `count` server nodes on free ports of `ip`, as [`Net::start`] does.
///
/// # Errors
/// As [`Net::start`].
pub async fn run_nodes(count: usize, ip: Ipv4Addr) -> Result<Vec<DhtNode>, DhtError> {
    let plan = NetPlan {
        count,
        ip,
        others: Vec::new(),
        round_trip: Duration::ZERO,
        hostile: 0,
        overwritable: false,
    };
    Ok(Net::start(&plan).await?.nodes)
}

async fn start(plan: &NetPlan) -> Result<Net, DhtError> {
    let binds = free_ports(plan.count, plan.ip)?;
    let mut doors = Vec::new();
    if !plan.round_trip.is_zero() || plan.hostile > 0 {
        for (index, bind) in binds.iter().enumerate() {
            let door = Door::open(*bind, plan.round_trip / 2, index < plan.hostile).await;
            doors.push(door.map_err(|source| DhtError::Bind {
                addr: *bind,
                source,
            })?);
        }
    }
    let addrs: Vec<SocketAddrV4> = match doors.is_empty() {
        true => binds.clone(),
        false => doors.iter().map(Door::addr).collect(),
    };
    let starting = binds.iter().enumerate().map(|(index, bind)| {
        let steps = 1..plan.count.min(ENOUGH + 1);
        let own = steps.map(|step| addrs[(index + step) % plan.count].to_string());
        let config = DhtConfig {
            bind: *bind,
            bootstrap: own.chain(plan.others.iter().cloned()).collect(),
            server: true,
            overwritable: plan.overwritable,
            clients: 1,
            request_timeout_ms: 400,
            ..DhtConfig::default()
        };
        DhtNode::start_with(config, ENOUGH + plan.others.len())
    });
    let nodes = futures::future::try_join_all(starting).await?;
    Ok(Net { nodes, doors })
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
