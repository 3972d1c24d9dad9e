//! Seeds rest while nobody asks for them. Every torrent that runs costs librqbit some ten wake-ups a
//! second, whatever it does; a thousand of them cost 7 % of a core (`dpay bench idle`). So a finished torrent
//! without connections is paused after a while, and runs again as soon as a peer knocks at the gateway
//! ([`Engine::waker`]), and every now and then so that trackers and the DHT go on naming it. To everybody
//! else it is seeding all along.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use librqbit::Session;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::handle::{Handle, Ready};
use super::session::{Engine, Inner};
use crate::units::InfoHash;

/// The most time between two looks at all torrents.
const LOOK: Duration = Duration::from_secs(10);

/// When seeds rest, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestTimes {
    /// How long a seed was without connections before it rests.
    pub after: Duration,
    /// How long a rest lasts at least.
    pub rest: Duration,
    /// A rest is at most this much longer, each torrent's by another part of it.
    pub spread: Duration,
}

impl Default for RestTimes {
    /// DHT nodes forget a peer after some 30 minutes (BEP 5), and few trackers want to hear of it more
    /// often than every 15.
    fn default() -> Self {
        RestTimes {
            after: Duration::from_secs(60),
            rest: Duration::from_secs(20 * 60),
            spread: Duration::from_secs(5 * 60),
        }
    }
}

/// Wakes a torrent that rests; when the future is done, it takes connections. Nothing if it does not
/// rest, is not there, or was paused.
pub type Waker = Arc<dyn Fn(InfoHash) -> Waking + Send + Sync>;

/// A torrent that is being woken.
pub type Waking = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A torrent's rest.
#[derive(Default)]
pub(super) struct Rest {
    /// Whoever pauses or starts the torrent holds this.
    turn: tokio::sync::Mutex<()>,
    is_resting: AtomicBool,
    /// Awake: without connections since then. At rest: when it is over.
    at: Mutex<Option<Instant>>,
}

impl Rest {
    /// Whether librqbit has it paused though nobody asked for that.
    pub fn is_resting(&self) -> bool {
        self.is_resting.load(Ordering::Acquire)
    }

    /// Nobody else pauses or starts the torrent until the guard is dropped. From now on it counts as
    /// what librqbit has it: paused if it rested.
    pub async fn end(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        self.is_resting.store(false, Ordering::Release);
        *self.at.lock() = None;
        turn
    }
}

impl Engine {
    /// What wakes a torrent of this engine that rests.
    #[must_use]
    pub fn waker(&self) -> Waker {
        let inner = self.weak();
        Arc::new(move |info_hash| {
            let torrent = inner
                .upgrade()
                .and_then(|inner| inner.torrents.lock().get(&info_hash).cloned());
            Box::pin(async move {
                if let Some(handle) = torrent {
                    handle.wake().await;
                }
            })
        })
    }
}

impl Handle {
    /// Whether it is a seed at rest: complete, without connections, and started as soon as a peer comes.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.rest.is_resting()
    }

    /// Has it run, unless it was paused.
    pub(super) async fn wake(&self) {
        let _turn = self.rest.turn.lock().await;
        // Whoever wakes it wants something of it: it does not fall asleep at once.
        let due = self.rest.at.lock().take();
        if !self.rest.is_resting() {
            return;
        }
        let Ok((session, ready)) = self.parts() else {
            return;
        };
        match self.start(session, ready).await {
            Ok(()) => self.rest.is_resting.store(false, Ordering::Release),
            Err(error) => {
                *self.rest.at.lock() = due;
                tracing::warn!(torrent = %self.info_hash, "a seed at rest cannot be woken: {error:#}");
            }
        }
    }

    /// Goes to rest after being quiet for so long, and runs again when the rest is over.
    async fn look(&self, times: RestTimes) {
        let Ok((session, ready)) = self.parts() else {
            return;
        };
        let now = Instant::now();
        if self.rest.is_resting() {
            let is_over = self.rest.at.lock().is_some_and(|due| due <= now);
            if is_over {
                self.wake().await;
            }
        } else if !is_quiet(&ready) {
            *self.rest.at.lock() = None;
        } else {
            let since = *self.rest.at.lock().get_or_insert(now);
            if now.duration_since(since) >= times.after {
                self.go_to_rest(&session, &ready, times).await;
            }
        }
    }

    async fn go_to_rest(&self, session: &Arc<Session>, ready: &Ready, times: RestTimes) {
        let _turn = self.rest.turn.lock().await;
        // Somebody may have come while this waited for its turn.
        if self.rest.at.lock().is_none() || !is_quiet(ready) {
            return;
        }
        self.rest.is_resting.store(true, Ordering::Release);
        match session.pause(&ready.managed).await {
            Ok(()) => {
                let byte = self.info_hash.0.first().copied().unwrap_or_default();
                let rest = times.rest + times.spread / 256 * u32::from(byte);
                *self.rest.at.lock() = Some(Instant::now() + rest);
            }
            Err(error) => {
                self.rest.is_resting.store(false, Ordering::Release);
                tracing::debug!(torrent = %self.info_hash, "a seed does not rest: {error:#}");
            }
        }
    }
}

/// Whether it runs, has all it wants, and is connected to nobody.
fn is_quiet(ready: &Ready) -> bool {
    let Some(live) = ready.managed.live() else {
        return false;
    };
    let peers = live.stats_snapshot().peer_stats;
    peers.live == 0 && peers.connecting == 0 && ready.managed.stats().finished
}

/// Looks after all torrents of an engine until that ends.
pub(super) async fn look_after(inner: Weak<Inner>, times: RestTimes) {
    loop {
        tokio::time::sleep(LOOK.min(times.after)).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let torrents: Vec<Handle> = inner.torrents.lock().values().cloned().collect();
        drop(inner);
        for handle in torrents {
            handle.look(times).await;
        }
    }
}
