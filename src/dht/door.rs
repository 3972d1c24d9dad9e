//! Doors of nodes on loopback, for measurements and tests. A door holds every packet back for half a
//! round trip, both ways: on loopback itself a round trip is a matter of processor time, which says
//! nothing about the real network. And a door can make its node a hostile one with two faces: it
//! keeps what it is given from the node, and shows it to nobody but the giver.

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::locks::TargetBytes;
use super::rogue::{after, byte_string};

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

struct Hall {
    front: UdpSocket,
    node: SocketAddrV4,
    half: Duration,
    faces: Option<Mutex<Faces>>,
}

impl Door {
    /// A door on a free port of the node's address.
    pub(super) async fn open(
        node: SocketAddrV4,
        half: Duration,
        two_faced: bool,
    ) -> std::io::Result<Door> {
        let front = UdpSocket::bind((*node.ip(), 0)).await?;
        let SocketAddr::V4(addr) = front.local_addr()? else {
            return Err(std::io::ErrorKind::AddrNotAvailable.into());
        };
        let hall = Arc::new(Hall {
            front,
            node,
            half,
            faces: two_faced.then(Mutex::default),
        });
        let task = tokio::spawn(inwards(hall));
        Ok(Door { addr, task })
    }

    /// Where others find the node.
    pub(super) fn addr(&self) -> SocketAddrV4 {
        self.addr
    }
}

/// One socket for each who asks, as a node's tokens are for one address.
async fn inwards(hall: Arc<Hall>) {
    let mut askers: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut ways_back = tokio::task::JoinSet::new();
    let mut packet = vec![0; MAX_PACKET_BYTES];
    loop {
        // An error is about an earlier packet that nobody took.
        let Ok((length, asker)) = hall.front.recv_from(&mut packet).await else {
            continue;
        };
        let packet = &packet[..length];
        if let Some(answer) = hall
            .faces
            .as_ref()
            .and_then(|f| f.lock().answer(asker, packet))
        {
            let hall = Arc::clone(&hall);
            tokio::spawn(async move {
                tokio::time::sleep(hall.half * 2).await;
                let _lost = hall.front.send_to(&answer, asker).await;
            });
            continue;
        }
        let back = match askers.get(&asker) {
            Some(back) => Arc::clone(back),
            None => {
                let Ok(back) = UdpSocket::bind((*hall.node.ip(), 0)).await else {
                    continue;
                };
                let back = Arc::new(back);
                askers.insert(asker, Arc::clone(&back));
                ways_back.spawn(outwards(Arc::clone(&hall), Arc::clone(&back), asker));
                back
            }
        };
        let (packet, to, half) = (packet.to_vec(), hall.node, hall.half);
        tokio::spawn(async move {
            tokio::time::sleep(half).await;
            let _lost = back.send_to(&packet, to).await;
        });
    }
}

async fn outwards(hall: Arc<Hall>, back: Arc<UdpSocket>, asker: SocketAddr) {
    let mut packet = vec![0; MAX_PACKET_BYTES];
    loop {
        let Ok((length, _)) = back.recv_from(&mut packet).await else {
            continue;
        };
        let packet = packet[..length].to_vec();
        if let Some(faces) = &hall.faces {
            faces.lock().learn(&packet);
        }
        let hall = Arc::clone(&hall);
        tokio::spawn(async move {
            tokio::time::sleep(hall.half).await;
            let _lost = hall.front.send_to(&packet, asker).await;
        });
    }
}

/// What a hostile node was given, and by whom.
#[derive(Default)]
struct Faces {
    id: Option<[u8; 20]>,
    given: HashMap<(SocketAddr, TargetBytes), Vec<u8>>,
}

impl Faces {
    /// The node's id, from an answer of its own.
    fn learn(&mut self, packet: &[u8]) {
        if self.id.is_none() && after(packet, b"1:y1:r").is_some() {
            self.id = after(packet, b"2:id20:").and_then(first);
        }
    }

    /// An answer in the node's place: to a put, and to a get by who put there. None lets it pass.
    fn answer(&mut self, asker: SocketAddr, packet: &[u8]) -> Option<Vec<u8>> {
        let id = self.id?;
        let transaction: [u8; 4] = first(after(packet, b"1:t4:")?)?;
        let target: TargetBytes = first(after(packet, b"6:target20:")?)?;
        let mut answer = b"d1:rd2:id20:".to_vec();
        answer.extend_from_slice(&id);
        if after(packet, b"1:q3:put").is_some() {
            self.given.insert((asker, target), item_of(packet)?);
        } else if after(packet, b"1:q3:get").is_some() {
            answer.extend_from_slice(self.given.get(&(asker, target))?);
        } else {
            return None;
        }
        answer.extend_from_slice(b"e1:t4:");
        answer.extend_from_slice(&transaction);
        answer.extend_from_slice(b"1:y1:re");
        Some(answer)
    }
}

/// The part of an answer that carries the item of a put.
fn item_of(put: &[u8]) -> Option<Vec<u8>> {
    let key: [u8; 32] = first(after(put, b"1:k32:")?)?;
    let seq = after(put, b"3:seqi")?;
    let end = seq.iter().position(|byte| *byte == b'e')?;
    let signature: [u8; 64] = first(after(put, b"3:sig64:")?)?;
    // Behind the token comes v, the last of the arguments.
    let token = after(put, b"5:token")?;
    let value = byte_string(after(token, b"1:v")?)?;
    let mut item = b"1:k32:".to_vec();
    item.extend_from_slice(&key);
    item.extend_from_slice(b"3:seqi");
    item.extend_from_slice(seq.get(..=end)?);
    item.extend_from_slice(b"3:sig64:");
    item.extend_from_slice(&signature);
    item.extend_from_slice(b"5:token4:toke");
    item.extend_from_slice(format!("1:v{}:", value.len()).as_bytes());
    item.extend_from_slice(value);
    Some(item)
}

fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.get(..N)?.try_into().ok()
}
