//! Up to four `mainline` clients and the rules for using them: one operation per target at a time,
//! four in flight per client, every operation runs to its end or its time limit, and a client that
//! dies is replaced.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use mainline::async_dht::AsyncDht;
use mainline::{Dht, ServerSettings};
use parking_lot::RwLock;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, watch};

use super::DhtError;
use super::counters::{Tally, count};
use super::first_kept::FirstKept;
use super::locks::{TargetBytes, TargetLocks};
use super::own::OwnPuts;
use crate::units::UnixMs;

/// Operations in flight per client; more overflow its receive buffer.
const IN_FLIGHT: usize = 4;
/// No look-up or put takes longer than this unless its client is stuck.
const OPERATION_LIMIT: Duration = Duration::from_secs(15);
/// Between datagrams that keep a client awake while it works.
const WAKE_EVERY: Duration = Duration::from_millis(5);
/// Items a server keeps: at the crate's default of 1000 a flood pushes records out in seconds.
const SERVER_ITEMS: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");
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
    /// Addresses of it that one client gets; the crate does not bear hundreds, and asks all of
    /// them in every look-up until it knows as many nodes.
    pub(super) bootstrap_each: usize,
    pub(super) server: bool,
    pub(super) overwritable: bool,
    pub(super) request_timeout: Duration,
}

impl ClientSettings {
    /// Starts a client. Blocks for as long as it takes to bind a socket.
    pub(super) fn build(&self) -> Result<AsyncDht, DhtError> {
        // The crate panics, most of the time, where it cannot bind.
        std::net::UdpSocket::bind(self.bind).map_err(|source| self.not_bound(source))?;
        let mut server = ServerSettings {
            max_mutable_values: SERVER_ITEMS.get(),
            ..ServerSettings::default()
        };
        if !self.overwritable {
            server.filter = Box::new(FirstKept::new(SERVER_ITEMS));
        }
        let mut builder = Dht::builder();
        builder
            .bind_address(*self.bind.ip())
            .port(self.bind.port())
            .request_timeout(self.request_timeout)
            .server_settings(server)
            .bootstrap(&self.bootstrap);
        if let Some(ip) = self.public_ip {
            builder.public_ip(ip);
        }
        if self.server {
            builder.server_mode();
        }
        let dht = builder.build().map_err(|source| self.not_bound(source))?;
        Ok(dht.as_async())
    }

    fn not_bound(&self, source: std::io::Error) -> DhtError {
        DhtError::Bind {
            addr: self.bind,
            source,
        }
    }
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
    /// Where it is reached from this machine.
    addr: SocketAddrV4,
    generation: u64,
}

impl Client {
    fn new(settings: ClientSettings, running: Running) -> Self {
        Client {
            settings: RwLock::new(settings),
            running: RwLock::new(running),
            permits: Semaphore::new(IN_FLIGHT),
            replacing: tokio::sync::Mutex::new(()),
        }
    }
}

/// The clients of one node.
pub(super) struct Pool {
    clients: Vec<Client>,
    locks: Arc<TargetLocks>,
    waker: Option<UdpSocket>,
    operation_limit: Duration,
    pub(super) own: OwnPuts,
    pub(super) tally: Tally,
    /// Since when no other node answers, if none does.
    pub(super) silent_since: watch::Sender<Option<UnixMs>>,
}

impl Pool {
    /// Starts `count` clients: the first as `settings` say, the others as plain clients on ports
    /// of their own, which also know the first if that is a server.
    pub(super) async fn start(settings: ClientSettings, count: usize) -> Result<Self, DhtError> {
        let first = build(own_bootstrap(&settings, 0), 0).await?;
        let addr = first.addr;
        // Rebuilt, it must come back to the address that others know.
        let settings = ClientSettings {
            bind: SocketAddrV4::new(*settings.bind.ip(), addr.port()),
            ..settings
        };
        let mut clients = vec![Client::new(settings.clone(), first)];
        for index in 1..count {
            let mut bootstrap = settings.bootstrap.clone();
            if settings.server {
                bootstrap.insert(0, addr);
            }
            let settings = ClientSettings {
                bind: SocketAddrV4::new(*settings.bind.ip(), 0),
                bootstrap,
                server: false,
                ..settings.clone()
            };
            let running = build(own_bootstrap(&settings, index), 0).await?;
            clients.push(Client::new(settings, running));
        }
        // Without it everything is slower, no more.
        let waker = UdpSocket::bind((*addr.ip(), 0)).await.ok();
        Ok(Pool {
            waker,
            operation_limit: OPERATION_LIMIT,
            clients,
            locks: Arc::default(),
            own: OwnPuts::default(),
            tally: Tally::default(),
            silent_since: watch::Sender::default(),
        })
    }

    /// The node's own address, as it is reached from this machine.
    pub(super) fn addr(&self) -> SocketAddrV4 {
        self.clients[0].running.read().addr
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
            let running = client.running.read().clone();
            // A task of its own: the crate panics where its thread has died.
            let mut work = tokio::spawn(operation(running.dht));
            let ended = tokio::select! {
                ended = &mut work => Some(ended),
                () = pool.keep_awake(running.addr) => None,
            };
            let failed = match ended {
                Some(Ok(done)) => return Ok(done),
                Some(Err(_)) => DhtError::ClientLost,
                None => DhtError::Timeout {
                    limit_ms: u64::try_from(pool.operation_limit.as_millis()).unwrap_or(u64::MAX),
                },
            };
            work.abort();
            pool.replace(index, running.generation).await;
            Err(failed)
        });
        task.await.unwrap_or(Err(DhtError::ClientLost))
    }

    /// Ends when an operation should have long ended. Until then it sends the client an empty
    /// datagram now and then: its thread looks at what we ask, and tells what it has, only between
    /// packets, and sleeps 50 ms where none comes.
    async fn keep_awake(&self, client: SocketAddrV4) {
        let wake = async {
            loop {
                tokio::time::sleep(WAKE_EVERY).await;
                if let Some(waker) = &self.waker {
                    let woken = waker.try_send_to(&[], client.into()).is_ok();
                    count(&self.tally.wakes, woken.into());
                }
            }
        };
        let _ended: Result<(), _> = tokio::time::timeout(self.operation_limit, wake).await;
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
        match build(elsewhere, next).await {
            Ok(running) => *client.running.write() = running,
            Err(error) => return tracing::error!(%error, "a DHT client could not be replaced"),
        }
        count(&self.tally.clients_replaced, 1);
        if settings.bind.port() == 0 {
            return;
        }
        for _ in 0..REBIND_TRIES {
            if let Ok(running) = build(settings.clone(), next).await {
                *client.running.write() = running;
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
    own.truncate(settings.bootstrap_each);
    ClientSettings {
        bootstrap: own,
        ..settings.clone()
    }
}

async fn build(settings: ClientSettings, generation: u64) -> Result<Running, DhtError> {
    // Somebody was quicker at the port, and it panicked.
    let taken = settings.not_bound(std::io::ErrorKind::AddrInUse.into());
    let dht = tokio::task::spawn_blocking(move || settings.build())
        .await
        .unwrap_or(Err(taken))?;
    let asked = dht.clone();
    let bound = guarded(async move { asked.info().await.local_addr() }).await?;
    let addr = if bound.ip().is_unspecified() {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, bound.port())
    } else {
        bound
    };
    Ok(Running {
        dht,
        addr,
        generation,
    })
}

/// Awaits something of the crate's that panics when its thread has died.
pub(super) async fn guarded<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, DhtError> {
    tokio::spawn(work).await.map_err(|_| DhtError::ClientLost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};

    async fn lonely(count: usize) -> Pool {
        start(count, false).await
    }

    async fn start(count: usize, server: bool) -> Pool {
        let settings = ClientSettings {
            bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            public_ip: None,
            bootstrap: Vec::new(),
            bootstrap_each: 3,
            server,
            overwritable: false,
            request_timeout: Duration::from_millis(400),
        };
        Pool::start(settings, count).await.expect("starts")
    }

    #[tokio::test]
    async fn a_client_that_dies_is_replaced_at_its_address() {
        let pool = Arc::new(lonely(2).await);
        let addr = pool.addr();
        let died = pool
            .run([0; 20], move |_| async move {
                assert!(addr.port() == 0, "dies")
            })
            .await;
        assert!(matches!(died, Err(DhtError::ClientLost)));
        assert_eq!(pool.tally.read().clients_replaced, 1);
        let found = pool
            .run([0; 20], |dht| async move { dht.info().await.local_addr() })
            .await;
        assert_eq!(found.expect("works again"), addr);
        assert_eq!(pool.addr(), addr);
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_every_time_and_never_a_panic() {
        let held = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let SocketAddr::V4(addr) = held.local_addr().expect("bound") else {
            panic!("not IPv4");
        };
        for _ in 0..50 {
            let settings = ClientSettings {
                bind: addr,
                ..own_bootstrap(&lonely(1).await.clients[0].settings.read(), 0)
            };
            match build(settings, 0).await.map(|running| running.addr) {
                Err(DhtError::Bind { addr: named, .. }) => assert_eq!(named, addr),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_operation_without_end_is_given_up() {
        let mut pool = lonely(1).await;
        pool.operation_limit = Duration::from_millis(30);
        let pool = Arc::new(pool);
        let stuck = pool.run([0; 20], |_| std::future::pending::<()>()).await;
        assert!(matches!(stuck, Err(DhtError::Timeout { limit_ms: 30 })));
        assert!(pool.run([0; 20], |_| async {}).await.is_ok());
    }

    #[tokio::test]
    async fn an_operation_holds_its_target_to_its_end_even_if_nobody_waits() {
        let pool = Arc::new(lonely(1).await);
        let ended = Arc::new(AtomicBool::new(false));
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
        let end = Arc::clone(&ended);
        let first = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                let work = |_| async move {
                    let _ = begun.send(());
                    let _ = wait.await;
                    end.store(true, Ordering::SeqCst);
                };
                pool.run([1; 20], work).await
            }
        });
        has_begun.await.expect("runs");
        first.abort();
        let end = Arc::clone(&ended);
        let second = pool.run([1; 20], |_| async move { end.load(Ordering::SeqCst) });
        let other = async {
            // Another target does not wait.
            assert!(pool.run([2; 20], |_| async {}).await.is_ok());
            let _ = go.send(());
        };
        let (after_the_first, ()) = tokio::join!(second, other);
        assert!(after_the_first.expect("runs"));
    }

    #[tokio::test]
    async fn clients_that_started_without_a_network_join_one_later() {
        let network = start(1, true).await;
        let pool = lonely(2).await;
        let addr = pool.addr();
        pool.rebootstrap(&[network.addr()]).await;
        assert_eq!(pool.addr(), addr);
        for dht in pool.all() {
            let anywhere = [7; 20].into();
            while dht.find_node(anywhere).await.is_empty() {}
        }
    }
}
