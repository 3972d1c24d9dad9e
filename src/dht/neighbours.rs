//! What a node knows of the others. The crate's clients stop looking as soon as they know a single
//! one, and its servers never learn of nodes that ask them: a server that was started a moment
//! before the others would know hardly any of them for good, and a net of such servers falls apart.
//! So every client looks around until it knows enough, and again when it knows too few.

use std::sync::Weak;
use std::time::Duration;

use mainline::async_dht::AsyncDht;

use super::DhtNode;
use super::pool::{Pool, guarded};

/// Others that a client should know, in a network that has as many: each place of a record lies at
/// its nearest 20.
const ENOUGH: usize = 20;
/// Between looks at whether a node knows enough others, while somebody waits for it.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// Before a node that knows too few looks around again; doubles, up to [`LONGEST_PAUSE`], while
/// that shows nobody new, as in a small network.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Between counts of the others while enough are known.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// No look around takes longer unless its client is stuck.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

impl DhtNode {
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

/// Has every client look around while it knows too few others, for as long as the node is there.
pub(super) async fn keep(pool: Weak<Pool>) {
    let mut pause = FIRST_PAUSE;
    let mut alone = false;
    loop {
        tokio::time::sleep(pause).await;
        let Some((clients, is_first)) = pool.upgrade().map(|pool| (pool.all(), pool.is_first()))
        else {
            return;
        };
        let (mut found, mut most, mut fewest) = (false, 0, usize::MAX);
        for dht in clients {
            let before = known(dht.clone()).await;
            let mut heard = before;
            if before < ENOUGH {
                let looking = tokio::time::timeout(LOOK_LIMIT, look_around(dht.clone()));
                heard = looking.await.unwrap_or(0);
                found |= known(dht).await > before;
            }
            most = most.max(heard);
            fewest = fewest.min(heard);
        }
        pause = match (fewest < ENOUGH, found) {
            (false, _) => COUNT_EVERY,
            (true, true) => FIRST_PAUSE,
            (true, false) => (pause * 2).min(LONGEST_PAUSE),
        };
        // The first node of a network waits for others.
        if alone != (most == 0 && !is_first) {
            alone = !alone;
            say(alone);
        }
    }
}

fn say(alone: bool) {
    if alone {
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
