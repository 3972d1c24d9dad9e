//! The node's page and its API, `/api/v1`: HTTP, JSON and server-sent events.
//!
//! | file | what |
//! | --- | --- |
//! | `guard` | which requests pass: hosts, origins, JSON, logins |
//! | `login` | token, codes, cookies, the password |
//! | `routes` | the routes, each with its place in `openapi.json` |
//! | `stream` | a torrent's file, whole or a range |
//! | `page` | the files of `webui/dist` |
//! | `client` | what `dpay` commands say to a running node |

mod body;
pub mod client;
pub mod error;
mod guard;
pub mod login;
mod metrics;
mod openapi;
mod page;
mod routes;
mod stream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use openapi::document;

use crate::cashier::wallet::home::NODE_LOCK;
use crate::config::write_private;
use crate::session::Session;
use crate::session::view::LoginCode;
use crate::store::lock::{Lock, LockError};
use login::{CODE_S, Logins, remove};

/// The file with the running node's address, in its home.
pub const ADDRESS_FILE: &str = "node.address";
/// Open requests at shutdown get this long.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the page is not served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error("{0} is in use, perhaps by another node; stop it, or give another address to --web")]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; give another address to --web")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others could reach it, and there is no password.
    #[error(
        "{0} can be reached from other machines, and no password is set: set one with \
         `dpay config password`, or listen on 127.0.0.1"
    )]
    NoPassword(SocketAddr),
    /// One home has one node.
    #[error("a node runs with the home {} already: `dpay open` shows its page", _0.display())]
    Runs(PathBuf),
    /// The files of logins.
    #[error("{}: {source}", path.display())]
    Home {
        /// The home.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What all requests share.
#[derive(Clone, Debug)]
pub struct App {
    session: Session,
    logins: Arc<Logins>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl App {
    fn hosts(&self) -> Vec<String> {
        self.session.settings().web.hosts
    }

    fn login_code(&self) -> LoginCode {
        LoginCode {
            url: format!("{}/#login={}", url_of(self.address), self.logins.new_code()),
            good_for_s: CODE_S,
        }
    }
}

/// The address that a browser on this machine uses.
fn url_of(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

/// A page and an API that are being served.
#[derive(Debug)]
pub struct NodeServer {
    app: App,
    home: PathBuf,
    server: JoinHandle<()>,
    /// Held for as long as this is the home's node.
    _lock: Lock,
}

impl NodeServer {
    /// Serves a session's page and API on `address` (port 0: any free one) until stopped. The files
    /// of logins, and of the address, are in `home`.
    ///
    /// # Errors
    /// [`ServeError`] where the address is taken, or others could reach it and no password is set.
    pub async fn start(
        session: Session,
        home: &Path,
        address: SocketAddr,
    ) -> Result<NodeServer, ServeError> {
        let in_home = |source| ServeError::Home {
            path: home.to_path_buf(),
            source,
        };
        let lock = Lock::take(&home.join(NODE_LOCK)).map_err(|error| match error {
            LockError::Taken(_) => ServeError::Runs(home.to_path_buf()),
            LockError::File(error) => in_home(error),
        })?;
        // That of one that was killed, which would be taken for ours now that the lock is.
        remove(&home.join(ADDRESS_FILE)).map_err(in_home)?;
        let logins = Logins::open(home).map_err(in_home)?;
        if !address.ip().is_loopback() && !logins.has_password() {
            return Err(ServeError::NoPassword(address));
        }
        let listen = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse(address),
            _ => ServeError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        write_private(&home.join(ADDRESS_FILE), url_of(address).as_bytes()).map_err(in_home)?;
        let app = App {
            session,
            logins: Arc::new(logins),
            address,
            stop: CancellationToken::new(),
        };
        let (router, stopped) = (router(app.clone()), app.stop.clone().cancelled_owned());
        let server = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = serving.await {
                tracing::error!(%error, "the page is no longer served");
            }
        });
        Ok(NodeServer {
            app,
            home: home.to_path_buf(),
            server,
            _lock: lock,
        })
    }

    /// Whether a node runs with this home, be it on its way to its end.
    #[must_use]
    pub fn is_there(home: &Path) -> bool {
        Lock::is_taken(&home.join(NODE_LOCK))
    }

    /// Where it is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.app.address
    }

    /// The page's address.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.app.address)
    }

    /// A link that logs a browser in, once.
    #[must_use]
    pub fn login_url(&self) -> String {
        self.app.login_code().url
    }

    /// Takes no more requests and answers those at hand.
    pub async fn stop(self) {
        let _ = std::fs::remove_file(self.home.join(ADDRESS_FILE));
        self.app.stop.cancel();
        let mut server = self.server;
        if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            server.abort();
        }
    }
}

fn router(app: App) -> Router {
    let (api, _) = openapi::api().split_for_parts();
    let document: Arc<str> = document().into();
    let describe = move || async move {
        let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
        (json, document.to_string())
    };
    api.route("/api/v1/openapi.json", get(describe))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics::metrics))
        .route("/api/{*rest}", axum::routing::any(error::nothing_there))
        .fallback(get(page::page))
        .layer(axum::middleware::from_fn_with_state(
            app.clone(),
            guard::guard,
        ))
        .layer(axum::extract::DefaultBodyLimit::max(body::MAX_BODY_BYTES))
        .with_state(app)
}
