//! Distance for nets on loopback: each node is reached through a door that holds every packet back
//! for half a round trip, both ways. On loopback itself a round trip is a matter of processor time,
//! which says nothing about the real network.

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

/// Longest packet of the DHT, in bytes.
const MAX_PACKET_BYTES: usize = 2048;

/// A node's door. It closes when dropped.
#[derive(Debug)]
pub(super) struct Door {
    addr: SocketAddrV4,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    /// A door on a free port of the node's address.
    pub(super) async fn open(node: SocketAddrV4, half: Duration) -> std::io::Result<Door> {
        let front = Arc::new(UdpSocket::bind((*node.ip(), 0)).await?);
        let SocketAddr::V4(addr) = front.local_addr()? else {
            return Err(std::io::ErrorKind::AddrNotAvailable.into());
        };
        let task = tokio::spawn(inwards(front, node, half));
        Ok(Door { addr, task })
    }

    /// Where others find the node.
    pub(super) fn addr(&self) -> SocketAddrV4 {
        self.addr
    }
}

/// One socket for each who asks, as a node's tokens are for one address.
async fn inwards(front: Arc<UdpSocket>, node: SocketAddrV4, half: Duration) {
    let mut askers: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut ways_back = tokio::task::JoinSet::new();
    let mut packet = vec![0; MAX_PACKET_BYTES];
    loop {
        // An error is about an earlier packet that nobody took.
        let Ok((length, asker)) = front.recv_from(&mut packet).await else {
            continue;
        };
        let back = match askers.get(&asker) {
            Some(back) => Arc::clone(back),
            None => {
                let Ok(back) = UdpSocket::bind((*node.ip(), 0)).await else {
                    continue;
                };
                let back = Arc::new(back);
                askers.insert(asker, Arc::clone(&back));
                ways_back.spawn(outwards(Arc::clone(&front), Arc::clone(&back), asker, half));
                back
            }
        };
        later(back, packet[..length].to_vec(), node.into(), half);
    }
}

async fn outwards(front: Arc<UdpSocket>, back: Arc<UdpSocket>, asker: SocketAddr, half: Duration) {
    let mut packet = vec![0; MAX_PACKET_BYTES];
    loop {
        if let Ok((length, _)) = back.recv_from(&mut packet).await {
            later(Arc::clone(&front), packet[..length].to_vec(), asker, half);
        }
    }
}

fn later(socket: Arc<UdpSocket>, packet: Vec<u8>, to: SocketAddr, half: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(half).await;
        let _lost = socket.send_to(&packet, to).await;
    });
}
