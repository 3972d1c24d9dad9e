//! A DHT node: its settings, its start, and what it knows of the network. Reading and putting
//! records is in `accept.rs` and `place.rs`, finding peers in `peers.rs`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::keeping::SeenKeeping;
use super::pool::{ClientSettings, Pool, guarded};
use super::{DhtError, neighbours};

/// A spend that is not accepted by then is undecided (`docs/protocol.md` section 6).
pub const ACCEPT_DEADLINE_MS: u64 = 60_000;
/// How long a start waits for the bootstrap hosts to be looked up.
const RESOLVE_LIMIT: Duration = Duration::from_secs(3);
/// Between tries to look up the bootstrap hosts when none could be found.
const RESOLVE_PAUSE: Duration = Duration::from_secs(10);
/// Bootstrap addresses that one client gets.
const BOOTSTRAP_EACH: usize = 3;
/// Bootstrap addresses that a server gets: in a private network it is known only to those that were
/// told of it, as the crate's nodes do not learn of nodes that ask them.
const BOOTSTRAP_SERVER: usize = 20;
/// Bootstrap addresses kept, over all hosts in the list.
const MAX_BOOTSTRAP: usize = 32;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// UDP address of the node; port 0 takes any that is free.
    pub bind: SocketAddrV4,
    /// The address others see, if known: the node's id is drawn to fit it (BEP 42).
    pub public_ip: Option<Ipv4Addr>,
    /// Nodes to start from, `host:port` each. Empty only for the first node of a private network.
    pub bootstrap: Vec<String>,
    /// Whether to answer others (and store for them) from the start. A server of this kind is mute
    /// to nodes that use short transaction ids, as libtorrent does: for private networks, or where
    /// the address is reachable from outside.
    pub server: bool,
    /// Whether a server lets a second value overwrite one at the highest seq, as other programs'
    /// nodes of this kind do: no. Yes only in tests and measurements.
    pub overwritable: bool,
    /// How long to wait for one answer, 400 to 700 ms. A read of all answers waits this long when
    /// a single node is dead.
    pub request_timeout_ms: u64,
    /// Valid answers that a place needs before it is judged: 8. Less only in tests.
    pub min_answers: u32,
    /// Clients that share the work, 1 to 4. A payee with many peers takes 4.
    pub clients: usize,
    /// When an acceptance gives up: [`ACCEPT_DEADLINE_MS`]. Sooner only in tests.
    pub accept_deadline_ms: u64,
    /// How many times as fast as the clock the schedule of a [`super::Watch`] runs: 1. More, up to
    /// 3600, only in tests.
    pub watch_tempo: u32,
}

impl Default for DhtConfig {
    fn default() -> Self {
        DhtConfig {
            bind: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            public_ip: None,
            bootstrap: mainline::DEFAULT_BOOTSTRAP_NODES
                .map(str::to_owned)
                .to_vec(),
            server: false,
            overwritable: false,
            request_timeout_ms: 500,
            min_answers: 8,
            clients: 2,
            accept_deadline_ms: ACCEPT_DEADLINE_MS,
            watch_tempo: 1,
        }
    }
}

impl DhtConfig {
    fn check(&self) -> Result<(), DhtError> {
        let setting = |name, value: String, range| DhtError::Setting { name, value, range };
        if !(400..=700).contains(&self.request_timeout_ms) {
            let value = self.request_timeout_ms.to_string();
            return Err(setting("request_timeout_ms", value, "400 to 700"));
        }
        if !(1..=4).contains(&self.clients) {
            return Err(setting("clients", self.clients.to_string(), "1 to 4"));
        }
        if !(1..=3600).contains(&self.watch_tempo) {
            let value = self.watch_tempo.to_string();
            return Err(setting("watch_tempo", value, "1 to 3600"));
        }
        if self.min_answers == 0 {
            return Err(setting("min_answers", "0".to_owned(), "1 or more"));
        }
        Ok(())
    }
}

/// A node of the DHT. Clones are handles to the same node, which ends with the last of them.
#[derive(Clone)]
pub struct DhtNode {
    pub(super) pool: Arc<Pool>,
    pub(super) min_answers: u32,
    pub(super) accept_deadline: Duration,
    pub(super) watch_tempo: u32,
    pub(super) seen_keeping: Arc<SeenKeeping>,
}

impl std::fmt::Debug for DhtNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DhtNode")
            .field("addr", &self.addr())
            .finish_non_exhaustive()
    }
}

impl DhtNode {
    /// Starts a node. It returns as soon as the socket is bound; the network is found meanwhile
    /// (see [`DhtNode::settled`]). If no bootstrap host can be looked up, the node starts without
    /// and tries again until one can.
    ///
    /// # Errors
    /// [`DhtError::Setting`] and [`DhtError::Bind`].
    pub async fn start(config: DhtConfig) -> Result<DhtNode, DhtError> {
        let each = match config.server {
            true => BOOTSTRAP_SERVER,
            false => BOOTSTRAP_EACH,
        };
        DhtNode::start_with(config, each).await
    }

    pub(super) async fn start_with(
        config: DhtConfig,
        bootstrap_each: usize,
    ) -> Result<DhtNode, DhtError> {
        config.check()?;
        let Resolved {
            found: bootstrap,
            missing,
        } = resolve(&config.bootstrap).await;
        warn_missing(&missing);
        // The first node of a network waits for others.
        let is_first = config.bootstrap.is_empty();
        let offline = bootstrap.is_empty() && !is_first;
        let settings = ClientSettings {
            bind: config.bind,
            public_ip: config.public_ip,
            bootstrap,
            bootstrap_each,
            server: config.server,
            overwritable: config.overwritable,
            request_timeout: Duration::from_millis(config.request_timeout_ms),
        };
        let pool = Arc::new(Pool::start(settings, config.clients).await?);
        if offline {
            tokio::spawn(resolve_later(Arc::downgrade(&pool), config.bootstrap));
        }
        tokio::spawn(neighbours::keep(Arc::downgrade(&pool), is_first));
        Ok(DhtNode {
            pool,
            min_answers: config.min_answers,
            accept_deadline: Duration::from_millis(config.accept_deadline_ms),
            watch_tempo: config.watch_tempo,
            seen_keeping: Arc::default(),
        })
    }

    /// The node's UDP address, as it is reached from this machine: also its entry in another
    /// node's bootstrap list.
    #[must_use]
    pub fn addr(&self) -> SocketAddrV4 {
        self.pool.addr()
    }

    /// Valid answers without which nothing is said about a place.
    #[must_use]
    pub fn min_answers(&self) -> u32 {
        self.min_answers
    }

    /// What the node has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.pool.tally.read()
    }

    /// The address others see, by their votes or by the settings.
    pub async fn public_address(&self) -> Option<SocketAddrV4> {
        let own = self.pool.all().into_iter().next()?;
        let info = guarded(async move { own.info().await }).await.ok()?;
        info.public_address()
    }
}

/// What came of looking up a list of `host:port`.
#[derive(Debug, Default)]
struct Resolved {
    /// IPv4 addresses.
    found: Vec<SocketAddrV4>,
    /// What could not be looked up in time, and why.
    missing: Vec<String>,
}

async fn resolve(hosts: &[String]) -> Resolved {
    let lookups = hosts.iter().map(|host| async move {
        let lookup = tokio::net::lookup_host(host.as_str());
        match tokio::time::timeout(RESOLVE_LIMIT, lookup).await {
            Ok(Ok(addrs)) => Ok(addrs.collect::<Vec<_>>()),
            Ok(Err(error)) => Err(format!("{host}: {error}")),
            Err(_) => Err(format!("{host}: no answer in time")),
        }
    });
    let mut resolved = Resolved::default();
    for looked_up in futures::future::join_all(lookups).await {
        match looked_up {
            Ok(addrs) => {
                for addr in addrs {
                    match addr {
                        SocketAddr::V4(addr) if !resolved.found.contains(&addr) => {
                            resolved.found.push(addr);
                        }
                        _ => {}
                    }
                }
            }
            Err(why) => resolved.missing.push(why),
        }
    }
    resolved.found.truncate(MAX_BOOTSTRAP);
    resolved
}

fn warn_missing(missing: &[String]) {
    if !missing.is_empty() {
        let missing = missing.join("; ");
        tracing::warn!("DHT bootstrap hosts were not found: {missing}");
    }
}

/// Whether a try that found nothing is told: an hour's first few, and then ever fewer, down to one an hour.
fn is_told(tries: u32) -> bool {
    let hour = 360;
    match tries < hour {
        true => tries >= 16 && tries.is_power_of_two(),
        false => tries.is_multiple_of(hour),
    }
}

/// Tries the bootstrap hosts again until one is found or the node is gone.
async fn resolve_later(pool: std::sync::Weak<Pool>, hosts: Vec<String>) {
    for tries in 1u32.. {
        tokio::time::sleep(RESOLVE_PAUSE).await;
        if pool.strong_count() == 0 {
            return;
        }
        let resolved = resolve(&hosts).await;
        if resolved.found.is_empty() {
            if is_told(tries) {
                warn_missing(&resolved.missing);
            }
            continue;
        }
        if let Some(pool) = pool.upgrade() {
            tracing::info!("DHT bootstrap hosts are found now");
            pool.rebootstrap(&resolved.found).await;
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn settings_outside_their_range_are_refused_by_name() {
        let refused = |config: DhtConfig| match config.check() {
            Err(DhtError::Setting { name, .. }) => Some(name),
            _ => None,
        };
        let good = DhtConfig::default();
        assert_eq!(refused(good.clone()), None);
        for request_timeout_ms in [399, 701] {
            let config = DhtConfig {
                request_timeout_ms,
                ..good.clone()
            };
            assert_eq!(refused(config), Some("request_timeout_ms"));
        }
        for clients in [0, 5] {
            let config = DhtConfig {
                clients,
                ..good.clone()
            };
            assert_eq!(refused(config), Some("clients"));
        }
        let config = DhtConfig {
            watch_tempo: 0,
            ..good.clone()
        };
        assert_eq!(refused(config), Some("watch_tempo"));
        let config = DhtConfig {
            min_answers: 0,
            ..good
        };
        assert_eq!(refused(config), Some("min_answers"));
    }

    #[tokio::test]
    async fn hosts_that_are_not_found_are_named_together_and_the_others_are_used() {
        let hosts = [
            "127.0.0.1:1",
            "no port",
            "[::1]:2",
            "127.0.0.1:1",
            "none.invalid",
        ];
        let resolved = resolve(&hosts.map(str::to_owned)).await;
        assert_eq!(resolved.found, [SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)]);
        let named: Vec<_> = resolved.missing.iter().map(|why| &why[..4]).collect();
        assert_eq!(named, ["no p", "none"], "{:?}", resolved.missing);
    }

    #[test]
    fn a_day_without_bootstrap_hosts_is_a_line_an_hour_and_none_in_the_first_minutes() {
        let told = (1..=8640).filter(|tries| is_told(*tries));
        let told: Vec<u32> = told.collect();
        assert_eq!(told[..6], [16, 32, 64, 128, 256, 360]);
        assert_eq!(told.len(), 5 + 24);
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = DhtNode::start(DhtConfig {
            bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            bootstrap: Vec::new(),
            ..DhtConfig::default()
        });
        let first = first.await.expect("starts");
        let second = DhtNode::start(DhtConfig {
            bind: first.addr(),
            bootstrap: Vec::new(),
            ..DhtConfig::default()
        });
        match second.await {
            Err(DhtError::Bind { addr, .. }) => assert_eq!(addr, first.addr()),
            other => panic!("{other:?}"),
        }
    }
}
