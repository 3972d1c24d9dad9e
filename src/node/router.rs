//! Asks the router to forward the node's ports, so that peers reach a node behind it (UPnP Internet Gateway
//! Device). What a router or the lack of one does never keeps the node from working.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use tokio::sync::watch;

/// What a router notes of who asked.
const DESCRIPTION: &str = "dpay";
/// How long a forwarding lasts if it is not renewed, in seconds: a node that was killed leaves none behind,
/// unless the router only forwards for good.
const LEASE_S: u32 = 3600;
/// It is renewed, or a router looked for again, this often.
const RENEW: Duration = Duration::from_secs(20 * 60);
const SEARCH_AGAIN: Duration = Duration::from_secs(5 * 60);
/// No longer is waited for a router when the node stops.
const STOP: Duration = Duration::from_secs(2);

/// What came of asking the router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// It is not asked: not wanted, or the node is only for this machine.
    #[default]
    Off,
    /// It is being looked for.
    Searching,
    /// It forwards the port; where peers reach the node, unless that address is one of a further private
    /// network.
    Forwarded {
        /// The router's own address, where it tells that, and the port.
        external: Option<SocketAddr>,
    },
    /// No router answers, or it refuses.
    Failed {
        /// What went wrong.
        cause: Cause,
        /// In words, with what to do next.
        why: String,
    },
}

/// Why no router forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// None answers.
    NoRouter,
    /// It forwards the port to another device.
    PortTaken,
    /// Its owner does not let devices ask.
    NotAllowed,
    /// It refuses for a reason of its own.
    Refused,
}

impl Forwarding {
    /// Whether the router's address is itself behind another router, so that nobody reaches it.
    #[must_use]
    pub fn is_behind_another(&self) -> bool {
        let Forwarding::Forwarded {
            external: Some(external),
        } = self
        else {
            return false;
        };
        match external.ip() {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                // 100.64.0.0/10 is what providers share among customers (RFC 6598).
                let is_shared = a == 100 && b & 0b1100_0000 == 64;
                ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared
            }
            IpAddr::V6(_) => false,
        }
    }
}

/// Keeps ports forwarded while it lives.
#[derive(Debug)]
pub struct Router {
    state: watch::Receiver<Forwarding>,
    /// Dropped with this, which stops it too.
    stop: watch::Sender<bool>,
}

impl Router {
    /// Asks nobody.
    #[must_use]
    pub fn off() -> Router {
        Router {
            state: watch::channel(Forwarding::Off).1,
            stop: watch::channel(true).0,
        }
    }

    /// Has the TCP port of peers and the UDP port of the DHT forwarded, now and as long as this lives.
    #[must_use]
    pub fn start(tcp: u16, udp: u16) -> Router {
        let (tell, state) = watch::channel(Forwarding::Searching);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(keep_forwarded([tcp, udp], tell, stopped));
        Router { state, stop }
    }

    /// What came of it so far.
    #[must_use]
    pub fn forwarding(&self) -> Forwarding {
        self.state.borrow().clone()
    }

    /// Waits until something else came of it than `known`; never again once it is stopped.
    pub async fn changed_from(&self, known: &Forwarding) -> Forwarding {
        let mut state = self.state.clone();
        let now = state.wait_for(|now| now != known).await;
        match now.map(|now| now.clone()) {
            Ok(now) => now,
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes the forwarding back, if the router answers soon.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut state = self.state.clone();
        let is_over = async { while state.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(STOP, is_over).await;
    }
}

/// Ports of TCP and of UDP, in this order.
type Ports = [u16; 2];

const PROTOCOLS: [PortMappingProtocol; 2] = [PortMappingProtocol::TCP, PortMappingProtocol::UDP];

async fn keep_forwarded(
    ports: Ports,
    tell: watch::Sender<Forwarding>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut found = None;
    loop {
        let asked = tokio::select! {
            asked = forward(ports, &mut found) => asked,
            _ = stopped.wait_for(|is| *is) => break,
        };
        let (state, wait) = match asked {
            Ok(external) => (Forwarding::Forwarded { external }, RENEW),
            Err((cause, why)) => (Forwarding::Failed { cause, why }, SEARCH_AGAIN),
        };
        let is_new = tell.send_if_modified(|old| {
            let is_new = *old != state;
            *old = state.clone();
            is_new
        });
        match &state {
            Forwarding::Forwarded { external } if is_new => match external {
                Some(external) if state.is_behind_another() => tracing::warn!(
                    "the router forwards {external}, but that is behind another router: peers do not reach this node"
                ),
                Some(external) => tracing::info!("the router forwards {external} to this node"),
                None => tracing::info!("the router forwards port {} to this node", ports[0]),
            },
            Forwarding::Failed { why, .. } if is_new => tracing::warn!("{why}"),
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.wait_for(|is| *is) => break,
        }
    }
    if let Some(gateway) = found {
        for (protocol, port) in PROTOCOLS.into_iter().zip(ports) {
            let _ = gateway.remove_port(protocol, port).await;
        }
    }
}

/// Looks for the router and asks it; it may be another one since the last time.
///
/// `found` is whom to ask to take back what was forwarded.
async fn forward(
    ports: Ports,
    found: &mut Option<Gateway<Tokio>>,
) -> Result<Option<SocketAddr>, (Cause, String)> {
    let gateway = search_gateway(SearchOptions::default()).await;
    let gateway = gateway.map_err(|error| {
        let port = ports[0];
        let why = format!(
            "no router here forwards ports by itself ({error}): peers reach this node only where its port \
             {port} is open or forwarded by hand"
        );
        (Cause::NoRouter, why)
    })?;
    let own = own_address(gateway.addr).await.map_err(|error| {
        let why = format!("no way to the router at {}: {error}", gateway.addr);
        (Cause::NoRouter, why)
    })?;
    let gateway = found.insert(gateway);
    for (protocol, port) in PROTOCOLS.into_iter().zip(ports) {
        let to = SocketAddr::new(own, port);
        let asked = match gateway
            .add_port(protocol, port, to, LEASE_S, DESCRIPTION)
            .await
        {
            // Then it lasts until it is taken back.
            Err(AddPortError::OnlyPermanentLeasesSupported) => {
                gateway.add_port(protocol, port, to, 0, DESCRIPTION).await
            }
            asked => asked,
        };
        asked.map_err(|error| refusal(gateway.addr, protocol, port, &error))?;
    }
    let ip = gateway.get_external_ip().await.ok();
    Ok(ip.map(|ip| SocketAddr::new(ip, ports[0])))
}

fn refusal(
    router: SocketAddr,
    protocol: PortMappingProtocol,
    port: u16,
    error: &AddPortError,
) -> (Cause, String) {
    let (cause, next) = match error {
        AddPortError::PortInUse => (
            Cause::PortTaken,
            "another device has it: set node.listen to another port",
        ),
        AddPortError::ActionNotAuthorized => (
            Cause::NotAllowed,
            "allow it in the router's settings (UPnP)",
        ),
        _ => (
            Cause::Refused,
            "forward it by hand in the router's settings",
        ),
    };
    let why =
        format!("the router at {router} does not forward {protocol} port {port} ({error}); {next}");
    (cause, why)
}

/// Our address on the way to the router.
async fn own_address(router: SocketAddr) -> std::io::Result<IpAddr> {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(router).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_behind_another_one_is_known_by_its_address() {
        let at = |ip: &str| {
            let ip: IpAddr = ip.parse().expect("an address");
            let external = Some(SocketAddr::new(ip, 6881));
            Forwarding::Forwarded { external }.is_behind_another()
        };
        for ip in [
            "10.1.2.3",
            "192.168.0.2",
            "172.20.0.1",
            "100.64.0.1",
            "100.127.255.254",
        ] {
            assert!(at(ip), "{ip}");
        }
        for ip in ["203.0.113.5", "100.63.255.255", "100.128.0.1", "8.8.8.8"] {
            assert!(!at(ip), "{ip}");
        }
        assert!(!Forwarding::Searching.is_behind_another());
    }
}
