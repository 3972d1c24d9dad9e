//! Peers of a torrent (BEP 5): found, and announced.

use std::net::SocketAddrV4;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::counters::count;
use super::{DhtError, DhtNode};
use crate::units::InfoHash;

/// Most peers taken from one node's answer.
const MAX_PER_ANSWER: usize = 200;
/// Answers that may wait for a slow reader; what comes on top is dropped.
const MAX_WAITING: usize = 64;

impl DhtNode {
    /// Looks for peers of a torrent. Each item is one node's answer, as it comes; the stream ends
    /// with the look-up. The addresses are strangers' claims, but none that nobody could dial.
    #[must_use]
    pub fn get_peers(&self, info_hash: InfoHash) -> BoxStream<'static, Vec<SocketAddrV4>> {
        let (found, answers) = mpsc::channel(MAX_WAITING);
        let pool = Arc::clone(&self.pool);
        count(&pool.tally.peer_lookups, 1);
        tokio::spawn(async move {
            let ended = pool.run(info_hash.0, move |dht| async move {
                let mut stream = dht.get_peers(info_hash.0.into());
                while let Some(mut peers) = stream.next().await {
                    peers.retain(can_be_dialled);
                    peers.truncate(MAX_PER_ANSWER);
                    if !peers.is_empty() {
                        let _ = found.try_send(peers);
                    }
                }
            });
            if let Err(error) = ended.await {
                tracing::warn!(%info_hash, %error, "looking for peers failed");
            }
        });
        futures::stream::unfold(answers, |mut answers| async move {
            let peers = answers.recv().await?;
            Some((peers, answers))
        })
        .boxed()
    }

    /// Announces this machine as a peer of a torrent, on TCP `port`. Comes cheapest after
    /// [`DhtNode::get_peers`], which finds the nodes to tell.
    ///
    /// # Errors
    /// [`DhtError::NoNodes`] when no node took it.
    pub async fn announce_peer(&self, info_hash: InfoHash, port: u16) -> Result<(), DhtError> {
        count(&self.pool.tally.announces, 1);
        let put = self.pool.run(info_hash.0, move |dht| async move {
            dht.announce_peer(info_hash.0.into(), Some(port)).await
        });
        put.await?.map(|_| ()).map_err(|_| DhtError::NoNodes)
    }
}

fn can_be_dialled(addr: &SocketAddrV4) -> bool {
    let ip = addr.ip();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()
}
