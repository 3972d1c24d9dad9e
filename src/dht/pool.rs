//! Up to four `mainline` clients and the rules for using them: one operation per target at a time,
//! four in flight per client, every operation runs to its end or its time limit, and a client that
//! dies is replaced.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainline::async_dht::AsyncDht;
use mainline::{Dht, ServerSettings};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::DhtError;
use super::locks::{TargetBytes, TargetLocks};

/// Operations in flight per client; more overflow its receive buffer.
const IN_FLIGHT: usize = 4;
/// No look-up or put takes longer than this unless its client is stuck.
const OPERATION_LIMIT: Duration = Duration::from_secs(15);
/// Items a server keeps: at the crate's default of 1000 a flood pushes records out in seconds.
const SERVER_ITEMS: usize = 100_000;
/// Bootstrap addresses given to one client; the crate does not bear hundreds.
const BOOTSTRAP_PER_CLIENT: usize = 3;
/// How often a node tries to come back to its own address.
const REBIND_TRIES: u32 = 20;
/// Pause between those tries.
const REBIND_PAUSE: Duration = Duration::from_millis(100);

/// How to build a client.
#[derive(Clone, Debug)]
pub(super) struct ClientSettings {
    pub(super) bind: SocketAddrV4,
    pub(super) public_ip: Option<Ipv4Addr>,
    pub(super) bootstrap: Vec<SocketAddrV4>,
    pub(super) server: bool,
    pub(super) request_timeout: Duration,
}

impl ClientSettings {
    /// Starts a client. Blocks for as long as it takes to bind a socket.
    pub(super) fn build(&self) -> Result<AsyncDht, DhtError> {
        let mut builder = Dht::builder();
        builder
            .bind_address(*self.bind.ip())
            .port(self.bind.port())
            .request_timeout(self.request_timeout)
            .server_settings(ServerSettings {
                max_mutable_values: SERVER_ITEMS,
                ..ServerSettings::default()
            })
            .bootstrap(&self.bootstrap);
        if let Some(ip) = self.public_ip {
            builder.public_ip(ip);
        }
        if self.server {
            builder.server_mode();
        }
        let dht = builder.build().map_err(|source| DhtError::Bind {
            addr: self.bind,
            source,
        })?;
        Ok(dht.as_async())
    }
}

/// What a node has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Look-ups of values.
    pub gets: u64,
    /// Items put.
    pub puts: u64,
    /// Look-ups of peers.
    pub peer_lookups: u64,
    /// Announcements as a peer.
    pub announces: u64,
    /// Requests sent for the above, at least: the crate tells the nodes that a look-up visited
    /// (two packets each) and the nodes that took a put, not those that refused it.
    pub requests: u64,
    /// Answers to look-ups that could be used.
    pub valid_answers: u64,
    /// Answers to look-ups that were malformed or badly signed.
    pub invalid_answers: u64,
    /// Nodes that were asked and did not answer in time.
    pub unanswered: u64,
    /// Clients that had to be replaced.
    pub clients_replaced: u64,
}

/// [`Counters`] as they are counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) gets: AtomicU64,
    pub(super) puts: AtomicU64,
    pub(super) peer_lookups: AtomicU64,
    pub(super) announces: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) valid_answers: AtomicU64,
    pub(super) invalid_answers: AtomicU64,
    pub(super) unanswered: AtomicU64,
    clients_replaced: AtomicU64,
}

/// Adds to one of the counters.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

struct Client {
    settings: RwLock<ClientSettings>,
    running: RwLock<Running>,
    permits: Semaphore,
    replacing: tokio::sync::Mutex<()>,
}

/// A client at work and how often it was replaced before.
#[derive(Clone)]
struct Running {
    dht: AsyncDht,
    generation: u64,
}

impl Client {
    fn new(settings: ClientSettings, dht: AsyncDht) -> Self {
        Client {
            settings: RwLock::new(settings),
            running: RwLock::new(Running { dht, generation: 0 }),
            permits: Semaphore::new(IN_FLIGHT),
            replacing: tokio::sync::Mutex::new(()),
        }
    }
}

/// The clients of one node.
pub(super) struct Pool {
    clients: Vec<Client>,
    locks: Arc<TargetLocks>,
    pub(super) tally: Tally,
}

impl Pool {
    /// Starts `count` clients: the first as `settings` say, the others as plain clients on ports
    /// of their own, which also know the first if that is a server.
    pub(super) async fn start(settings: ClientSettings, count: usize) -> Result<Self, DhtError> {
        let first = build(own_bootstrap(&settings, 0)).await?;
        let addr = local_addr(first.clone()).await?;
        // Rebuilt, it must come back to the address that others know.
        let settings = ClientSettings {
            bind: SocketAddrV4::new(*settings.bind.ip(), addr.port()),
            ..settings
        };
        let mut clients = vec![Client::new(settings.clone(), first)];
        for index in 1..count {
            let mut bootstrap = settings.bootstrap.clone();
            if settings.server {
                bootstrap.insert(0, from_here(addr));
            }
            let settings = ClientSettings {
                bind: SocketAddrV4::new(*settings.bind.ip(), 0),
                bootstrap,
                server: false,
                ..settings.clone()
            };
            let dht = build(own_bootstrap(&settings, index)).await?;
            clients.push(Client::new(settings, dht));
        }
        Ok(Pool {
            clients,
            locks: Arc::default(),
            tally: Tally::default(),
        })
    }

    /// All clients, the node's own first.
    pub(super) fn all(&self) -> Vec<AsyncDht> {
        let running = |client: &Client| client.running.read().dht.clone();
        self.clients.iter().map(running).collect()
    }

    /// Gives all clients another bootstrap list, by replacing them.
    pub(super) async fn rebootstrap(&self, bootstrap: &[SocketAddrV4]) {
        for (index, client) in self.clients.iter().enumerate() {
            client.settings.write().bootstrap = bootstrap.to_vec();
            let generation = client.running.read().generation;
            self.replace(index, generation).await;
        }
    }

    /// Runs `operation` on the client of `target`, alone on that target and in its turn. It goes
    /// on to its end even if the caller stops waiting.
    pub(super) async fn run<T, F, Fut>(
        self: &Arc<Self>,
        target: TargetBytes,
        operation: F,
    ) -> Result<T, DhtError>
    where
        T: Send + 'static,
        F: FnOnce(AsyncDht) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let index = self.client_of(target);
        let pool = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _alone = pool.locks.lock(target).await;
            let client = &pool.clients[index];
            let Ok(_permit) = client.permits.acquire().await else {
                return Err(DhtError::ClientLost);
            };
            let Running { dht, generation } = client.running.read().clone();
            // A task of its own: the crate panics where its thread has died.
            let mut work = tokio::spawn(operation(dht));
            let failed = match tokio::time::timeout(OPERATION_LIMIT, &mut work).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(_)) => DhtError::ClientLost,
                Err(_) => DhtError::Timeout {
                    limit_ms: u64::try_from(OPERATION_LIMIT.as_millis()).unwrap_or(u64::MAX),
                },
            };
            work.abort();
            pool.replace(index, generation).await;
            Err(failed)
        });
        task.await.unwrap_or(Err(DhtError::ClientLost))
    }

    /// The counters now.
    pub(super) fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.tally;
        Counters {
            gets: read(&tally.gets),
            puts: read(&tally.puts),
            peer_lookups: read(&tally.peer_lookups),
            announces: read(&tally.announces),
            requests: read(&tally.requests),
            valid_answers: read(&tally.valid_answers),
            invalid_answers: read(&tally.invalid_answers),
            unanswered: read(&tally.unanswered),
            clients_replaced: read(&tally.clients_replaced),
        }
    }

    /// One target always lies with one client, which then knows the nodes around it.
    fn client_of(&self, target: TargetBytes) -> usize {
        usize::from(target[19]) % self.clients.len()
    }

    /// Replaces a client unless somebody else has since `generation`.
    async fn replace(&self, index: usize, generation: u64) {
        let client = &self.clients[index];
        let _one_at_a_time = client.replacing.lock().await;
        if client.running.read().generation != generation {
            return;
        }
        let next = generation.wrapping_add(1);
        let settings = own_bootstrap(&client.settings.read(), index);
        let elsewhere = ClientSettings {
            bind: SocketAddrV4::new(*settings.bind.ip(), 0),
            ..settings.clone()
        };
        // The old thread gives its port back when its last handle is dropped, so a client on
        // another port takes over first.
        match build(elsewhere).await {
            Ok(dht) => {
                *client.running.write() = Running {
                    dht,
                    generation: next,
                }
            }
            Err(error) => return tracing::error!(%error, "a DHT client could not be replaced"),
        }
        count(&self.tally.clients_replaced, 1);
        if settings.bind.port() == 0 {
            return;
        }
        for _ in 0..REBIND_TRIES {
            if let Ok(dht) = build(settings.clone()).await {
                *client.running.write() = Running {
                    dht,
                    generation: next,
                };
                return;
            }
            tokio::time::sleep(REBIND_PAUSE).await;
        }
        tracing::error!(addr = %settings.bind, "the DHT node lost its address and goes on at another");
    }
}

/// Client `index` gets a few of the addresses, each another few.
fn own_bootstrap(settings: &ClientSettings, index: usize) -> ClientSettings {
    let all = &settings.bootstrap;
    let mut own = all.clone();
    if !all.is_empty() {
        own.rotate_left(index % all.len());
    }
    own.truncate(BOOTSTRAP_PER_CLIENT);
    ClientSettings {
        bootstrap: own,
        ..settings.clone()
    }
}

/// How this process reaches an address that it is bound to.
pub(super) fn from_here(addr: SocketAddrV4) -> SocketAddrV4 {
    if addr.ip().is_unspecified() {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, addr.port())
    } else {
        addr
    }
}

async fn build(settings: ClientSettings) -> Result<AsyncDht, DhtError> {
    tokio::task::spawn_blocking(move || settings.build())
        .await
        .unwrap_or(Err(DhtError::ClientLost))
}

/// The address a client is bound to.
pub(super) async fn local_addr(dht: AsyncDht) -> Result<SocketAddrV4, DhtError> {
    guarded(async move { dht.info().await.local_addr() }).await
}

/// Awaits something of the crate's that panics when its thread has died.
pub(super) async fn guarded<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, DhtError> {
    tokio::spawn(work).await.map_err(|_| DhtError::ClientLost)
}
