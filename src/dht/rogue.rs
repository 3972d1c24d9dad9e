//! A hand-made DHT client for attacks on purpose: it puts what it likes at the nodes it names. Used
//! by `dpay bench double-spend` and the tests, against nets of their own.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use super::locks::TargetBytes;
use crate::random;
use crate::record::Item;

/// How long it waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(700);
/// Longest answer that is looked at, in bytes.
const MAX_ANSWER_BYTES: usize = 4096;
/// Nodes asked at the same time.
const AT_ONCE: usize = 64;

/// How an item is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Whole, without cas.
    Signed,
    /// Only its key and salt, with junk as the value and neither seq nor signature: anybody can.
    UnsignedJunk,
}

/// A node as it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Where it is.
    pub addr: SocketAddrV4,
    /// Its position.
    pub id: [u8; 20],
    /// How long its answer took.
    pub round_trip: Duration,
}

/// Asks each node who it is; those that do not answer in time are left out.
pub async fn meet(nodes: &[SocketAddrV4]) -> Vec<Met> {
    let meetings = nodes.iter().map(|addr| async move {
        let asker = Asker::new(*addr).await?;
        let begun = Instant::now();
        let answer = asker.ask(b"d2:id20:", &asker.id, b"e1:q4:ping").await?;
        let round_trip = begun.elapsed();
        let id = after(&answer, b"2:id20:")?.get(..20)?.try_into().ok()?;
        Some(Met {
            addr: *addr,
            id,
            round_trip,
        })
    });
    in_turn(meetings).await.into_iter().flatten().collect()
}

/// The `count` nodes nearest to where `item` lies.
#[must_use]
pub fn nearest(met: &[Met], item: &Item, count: usize) -> Vec<SocketAddrV4> {
    let target: TargetBytes = item.target().0;
    let distance = |met: &Met| -> [u8; 20] { std::array::from_fn(|n| met.id[n] ^ target[n]) };
    let mut sorted: Vec<&Met> = met.iter().collect();
    sorted.sort_by_key(|met| distance(met));
    sorted.iter().take(count).map(|met| met.addr).collect()
}

/// Puts `item` at each of `nodes`; how many said that they took it.
pub async fn put(nodes: &[SocketAddrV4], item: &Item, form: Form) -> usize {
    let puts = nodes
        .iter()
        .map(|addr| async move { put_at(*addr, item, form).await.is_some() });
    in_turn(puts).await.into_iter().filter(|took| *took).count()
}

async fn in_turn<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    use futures::StreamExt;
    let work: Vec<_> = work.collect();
    futures::stream::iter(work)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn put_at(addr: SocketAddrV4, item: &Item, form: Form) -> Option<()> {
    let asker = Asker::new(addr).await?;
    let target = item.target().0;
    let mut body = asker.id.to_vec();
    body.extend_from_slice(b"6:target20:");
    body.extend_from_slice(&target);
    let answer = asker.ask(b"d2:id20:", &body, b"e1:q3:get").await?;
    let token = byte_string(after(&answer, b"5:token")?)?;
    let mut body = asker.id.to_vec();
    body.extend_from_slice(b"1:k32:");
    body.extend_from_slice(&item.key.0);
    body.extend_from_slice(b"4:salt32:");
    body.extend_from_slice(&item.salt.0);
    if form == Form::Signed {
        body.extend_from_slice(format!("3:seqi{}e3:sig64:", item.seq).as_bytes());
        body.extend_from_slice(&item.signature.0);
        body.extend_from_slice(b"6:target20:");
        body.extend_from_slice(&target);
    }
    body.extend_from_slice(format!("5:token{}:", token.len()).as_bytes());
    body.extend_from_slice(token);
    body.extend_from_slice(b"1:v");
    match form {
        Form::Signed => body.extend_from_slice(&item.value),
        Form::UnsignedJunk => body.extend_from_slice(b"4:junk"),
    }
    asker.ask(b"d2:id20:", &body, b"e1:q3:put").await.map(drop)
}

/// One conversation with one node.
struct Asker {
    socket: UdpSocket,
    id: [u8; 20],
}

impl Asker {
    async fn new(addr: SocketAddrV4) -> Option<Asker> {
        let own = if addr.ip().is_loopback() {
            "127.0.0.1:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = UdpSocket::bind(own).await.ok()?;
        socket.connect(addr).await.ok()?;
        let id = random::bytes();
        Some(Asker { socket, id })
    }

    /// Sends a query, whose arguments begin with `head` and `body` and end with `tail`, and returns
    /// the answer; none for an error or for silence.
    async fn ask(&self, head: &[u8], body: &[u8], tail: &[u8]) -> Option<Vec<u8>> {
        let transaction: [u8; 4] = random::bytes();
        let mut query = b"d1:a".to_vec();
        for part in [head, body, tail, b"1:t4:", &transaction, b"1:y1:qe"] {
            query.extend_from_slice(part);
        }
        self.socket.send(&query).await.ok()?;
        let mut mark = b"1:t4:".to_vec();
        mark.extend_from_slice(&transaction);
        let answer = async {
            let mut packet = vec![0; MAX_ANSWER_BYTES];
            loop {
                let length = self.socket.recv(&mut packet).await.ok()?;
                let answer = packet.get(..length)?;
                if after(answer, &mark).is_some() {
                    return after(answer, b"1:y1:r").map(|_| answer.to_vec());
                }
            }
        };
        tokio::time::timeout(ANSWER_LIMIT, answer).await.ok()?
    }
}

/// What follows the first `mark`.
pub(super) fn after<'a>(packet: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let at = packet.windows(mark.len()).position(|part| part == mark)?;
    packet.get(at + mark.len()..)
}

/// The bencoded byte string at the beginning.
pub(super) fn byte_string(bytes: &[u8]) -> Option<&[u8]> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(bytes.get(..colon)?)
        .ok()?
        .parse()
        .ok()?;
    bytes.get(colon + 1..)?.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_strings_are_read_within_their_bounds() {
        assert_eq!(byte_string(b"3:abcd"), Some(&b"abc"[..]));
        for bad in [&b"9:abc"[..], b"", b"x:a", b"3"] {
            assert_eq!(byte_string(bad), None);
        }
        assert_eq!(after(b"xx5:tokeny", b"5:token"), Some(&b"y"[..]));
        assert_eq!(after(b"x", b"5:token"), None);
    }
}
