//! The broker's API: HTTP and JSON (`docs/protocol.md` section 10).
//!
//! | route | signed by the account | what |
//! | --- | --- | --- |
//! | `GET /v1/info` | | key, currency, terms |
//! | `POST /v1/account` | yes | balance, pending, bond, outstanding |
//! | `POST /v1/purchase` | yes | balance into coins |
//! | `POST /v1/certificates` | yes | certificates on holder keys |
//! | `POST /v1/redeem` | yes | holdings into pending credits |
//! | `POST /v1/present` | yes | statements shown without gain |
//! | `POST /v1/withdraw` | yes | balance into the operator's queue |
//! | `POST /v1/payout` | yes | whether a withdrawal was paid out |
//! | `POST /v1/holding` | yes | what is known about a holding of this account |
//! | `POST /v1/proof` | yes | a proof of fraud, about whomever |
//! | `POST /v1/recover` | yes | keys, coins and holdings of this account |
//! | `POST /v1/notices` | yes | what happened to this account |
//! | `GET /v1/spent` | | index of the spent list, signed bytes |
//! | `GET /v1/spent/{hour}` | | one chunk, signed bytes |
//! | `GET /v1/spent/entry/{slot}` | | the full entry of a slot |
//! | `GET /v1/suspended` | | suspended keys, signed bytes |
//!
//! Answers about money are signed in the header `dpay-signature` (`broker::signing`): 200 done, 409
//! refused. Everything else is `{error, what_to_do}` with a status that says whose fault it is.

mod checkers;
mod error;
mod keys;
mod limit;
mod routes;
mod spent;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use limit::RateLimit;

use crate::broker::Broker;
use crate::cashier::broker::rounds::{Referee, Rounds};
use crate::cashier::broker::{BrokerCashier, Clock};
use crate::store::broker::BrokerStore;

/// Largest body of a request, in bytes: a batch of the longest paths fits.
pub const MAX_BODY_BYTES: usize = 512 * 1024;
/// A request that takes longer is answered with 503.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Open requests at shutdown get this long.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the API is not served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error("{0} is in use; stop what listens there or choose another --listen address")]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What all requests share.
struct Shared {
    broker: Arc<Broker>,
    store: Arc<dyn BrokerStore>,
    cashier: BrokerCashier,
    clock: Clock,
    limit: limit::Limiter,
    keys: keys::KeyCounter,
    checkers: checkers::Checkers,
    spent: spent::Files,
    requests: Arc<AtomicU64>,
    /// When it was last said that an account's clock and this machine's are far apart; 0: never.
    clock_told: AtomicU64,
}

/// A running broker: the API and the cashier behind it.
#[derive(Debug)]
pub struct BrokerServer {
    address: SocketAddr,
    cashier: BrokerCashier,
    stop: CancellationToken,
    server: JoinHandle<()>,
    till: JoinHandle<()>,
    rounds: JoinHandle<()>,
    requests: Arc<AtomicU64>,
}

impl BrokerServer {
    /// As [`BrokerServer::start_with`], without a DHT: contests stay open.
    ///
    /// # Errors
    /// [`ServeError`] if nothing can listen there.
    pub async fn start(
        address: SocketAddr,
        broker: Arc<Broker>,
        store: Arc<dyn BrokerStore>,
        clock: Clock,
        limit: RateLimit,
    ) -> Result<Self, ServeError> {
        BrokerServer::start_with(address, broker, store, clock, limit, None).await
    }

    /// Listens on `address` (port 0: any free one) and answers until stopped; does by itself what is
    /// due, and reads contested slots where the referee says.
    ///
    /// # Errors
    /// [`ServeError`] if nothing can listen there.
    pub async fn start_with(
        address: SocketAddr,
        broker: Arc<Broker>,
        store: Arc<dyn BrokerStore>,
        clock: Clock,
        limit: RateLimit,
        referee: Option<Referee>,
    ) -> Result<Self, ServeError> {
        let most = crate::broker::spent::MAX_ENTRIES;
        BrokerServer::start_listing(address, broker, store, clock, limit, referee, most).await
    }

    /// As [`BrokerServer::start_with`], with at most so many entries in a list.
    async fn start_listing(
        address: SocketAddr,
        broker: Arc<Broker>,
        store: Arc<dyn BrokerStore>,
        clock: Clock,
        limit: RateLimit,
        referee: Option<Referee>,
        most: u32,
    ) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|source| {
            if source.kind() == std::io::ErrorKind::AddrInUse {
                ServeError::InUse(address)
            } else {
                ServeError::Listen { address, source }
            }
        })?;
        let address = listener
            .local_addr()
            .map_err(|source| ServeError::Listen { address, source })?;
        let (cashier, till) = BrokerCashier::start(broker.clone(), store.clone(), clock.clone());
        let stop = CancellationToken::new();
        let rounds = Rounds::new(
            cashier.clone(),
            broker.clone(),
            store.clone(),
            clock.clone(),
            referee,
        );
        let rounds = tokio::spawn(rounds.run(stop.clone()));
        let requests = Arc::new(AtomicU64::new(0));
        let shared = Arc::new(Shared {
            broker,
            store,
            cashier: cashier.clone(),
            clock,
            limit: limit::Limiter::new(limit),
            keys: keys::KeyCounter::new(keys::KeyLimits::new(limit.per_second > 0)),
            checkers: checkers::Checkers::start(),
            spent: spent::Files::new(most),
            requests: requests.clone(),
            clock_told: AtomicU64::new(0),
        });
        let stopped = stop.clone().cancelled_owned();
        let app = routes::router(shared).into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move {
            let serving = axum::serve(listener, app).with_graceful_shutdown(stopped);
            if let Err(error) = serving.await {
                tracing::error!(%error, "the broker's API stopped");
            }
        });
        Ok(BrokerServer {
            address,
            cashier,
            stop,
            server,
            till,
            rounds,
            requests,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that a client on this machine uses.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The cashier behind it, for the operator's own operations.
    #[must_use]
    pub fn cashier(&self) -> &BrokerCashier {
        &self.cashier
    }

    /// Takes no more requests, answers those at hand, and returns when all that was said is durable.
    /// Tells how many requests came, refused ones included.
    pub async fn stop(self) -> u64 {
        self.stop.cancel();
        let mut server = self.server;
        if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            server.abort();
            let _ = server.await;
        }
        let _ = self.rounds.await;
        drop(self.cashier);
        if tokio::time::timeout(DRAIN, self.till).await.is_err() {
            tracing::warn!(
                "requests were still open at shutdown; they are asked again by their ids"
            );
        }
        self.requests.load(Ordering::Relaxed)
    }
}
