//! What a node knows of the others. The crate's clients stop looking as soon as they know a single
//! one, and its servers never learn of nodes that ask them: a server that was started a moment
//! before the others would know hardly any of them for good, and a net of such servers falls apart.
//! So every client looks around until it knows enough, and again when it knows too few.

use std::sync::Weak;
use std::time::Duration;

use mainline::async_dht::AsyncDht;
use tokio::sync::watch;

use super::DhtNode;
use super::pool::{Pool, guarded};
use crate::clock;
use crate::units::UnixMs;

/// Others that a client should know, in a network that has as many: each place of a record lies at
/// its nearest 20.
const ENOUGH: usize = 20;
/// Between looks at whether a node knows enough others, while somebody waits for it.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// Before a node that knows too few looks around again; doubles, up to [`LONGEST_PAUSE`], while
/// that shows nobody new, as in a small network.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// See [`FIRST_PAUSE`]; and between looks while enough are known.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The same while nobody answers.
const SILENT_PAUSE: Duration = Duration::from_secs(10);
/// Looks in a row that nobody answers, before that is said.
const SILENT_LOOKS: u32 = 2;
/// No look around takes longer unless its client is stuck.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

impl DhtNode {
    /// Since when no other node answers; none while some do, or it is not known yet.
    #[must_use]
    pub fn silent_since(&self) -> watch::Receiver<Option<UnixMs>> {
        self.pool.silent_since.subscribe()
    }

    /// How many other nodes the client that knows fewest knows.
    pub async fn known_nodes(&self) -> usize {
        let mut fewest = usize::MAX;
        for dht in self.pool.all() {
            fewest = fewest.min(known(dht).await);
        }
        fewest
    }

    /// Waits until every client knows at least `nodes` others, looking around meanwhile. False if
    /// that did not happen within `limit`.
    pub async fn settled(&self, nodes: usize, limit: Duration) -> bool {
        let looking = async {
            while self.known_nodes().await < nodes {
                let rounds = self.pool.all().into_iter().map(look_around);
                futures::future::join_all(rounds).await;
                tokio::time::sleep(SETTLE_PAUSE).await;
            }
        };
        tokio::time::timeout(limit, looking).await.is_ok()
    }
}

/// Has every client look around while it knows too few others, and one of them at least now and then, for
/// as long as the node is there: what a client knows of others outlives them.
pub(super) async fn keep(pool: Weak<Pool>, is_first: bool) {
    let mut pause = FIRST_PAUSE;
    let mut silence = Silence::default();
    loop {
        tokio::time::sleep(pause).await;
        let (at, Some(clients)) = (clock::now(), pool.upgrade().map(|pool| pool.all())) else {
            return;
        };
        let (mut found, mut answers, mut fewest) = (false, 0, usize::MAX);
        for dht in clients {
            let before = known(dht.clone()).await;
            let mut has = before;
            if before < ENOUGH || answers == 0 {
                let looking = tokio::time::timeout(LOOK_LIMIT, look_around(dht.clone()));
                let heard = looking.await.unwrap_or(0);
                found |= known(dht).await > before;
                answers = answers.max(heard);
                has = heard;
            }
            fewest = fewest.min(has);
        }
        if !is_first && silence.turns(at, answers > 0) {
            say(silence.since());
            if let Some(pool) = pool.upgrade() {
                pool.silent_since.send_replace(silence.since());
            }
        }
        pause = match (answers, fewest < ENOUGH, found) {
            (0, _, _) if !is_first && silence.looks > 0 => (pause * 2).min(SILENT_PAUSE),
            (_, true, true) => FIRST_PAUSE,
            (_, true, false) => (pause * 2).min(LONGEST_PAUSE),
            (_, false, _) => LONGEST_PAUSE,
        };
    }
}

/// Whether nobody answers: said after some looks in a row, as one may get lost.
#[derive(Debug, Default)]
struct Silence {
    first: Option<UnixMs>,
    looks: u32,
}

impl Silence {
    /// Notes a look; whether it changes what is to be said.
    fn turns(&mut self, at: UnixMs, is_answered: bool) -> bool {
        if is_answered {
            let was_silent = self.since().is_some();
            *self = Silence::default();
            return was_silent;
        }
        self.first.get_or_insert(at);
        self.looks = self.looks.saturating_add(1);
        self.looks == SILENT_LOOKS
    }

    /// Since when nobody answers.
    fn since(&self) -> Option<UnixMs> {
        self.first.filter(|_| self.looks >= SILENT_LOOKS)
    }
}

fn say(since: Option<UnixMs>) {
    if since.is_some() {
        tracing::warn!(
            "no DHT node answers: no payment is accepted and no peer is found until one does; \
             check the network and the bootstrap list"
        );
    } else {
        tracing::info!("DHT nodes answer");
    }
}

/// Others that a client knows and heard of lately. None if it died: it is replaced when it is used.
async fn known(dht: AsyncDht) -> usize {
    let known = guarded(async move { dht.to_bootstrap().await.len() }).await;
    known.unwrap_or(0)
}

/// Its own neighbourhood, then anywhere: both fill a client's table. How many nodes answered there.
async fn look_around(dht: AsyncDht) -> usize {
    let looking = guarded(async move {
        dht.bootstrapped().await;
        let anywhere = crate::random::bytes::<20>();
        dht.get_closest_nodes(anywhere.into()).await.len()
    });
    looking.await.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_said_after_the_second_look_with_the_time_of_the_first_and_ends_with_an_answer() {
        let mut silence = Silence::default();
        let mut look = |at, is_answered| (silence.turns(UnixMs(at), is_answered), silence.since());
        assert_eq!(look(1, true), (false, None));
        assert_eq!(look(2, false), (false, None));
        assert_eq!(look(3, true), (false, None));
        assert_eq!(look(4, false), (false, None));
        assert_eq!(look(5, false), (true, Some(UnixMs(4))));
        assert_eq!(look(6, false), (false, Some(UnixMs(4))));
        assert_eq!(look(7, true), (true, None));
        assert_eq!(look(8, true), (false, None));
    }
}
