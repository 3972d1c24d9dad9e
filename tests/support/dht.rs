//! What the DHT tests are made of: nets, payees, rival records, nodes that lie.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use dpay::cli::dht_net::{DhtNet, NetKind, python};
use dpay::coin::statement::{Close, Spend};
use dpay::coin::{ChainValue, HoldingId, RecordKey, SecretKey, Statement};
use dpay::dht::rogue::{self, Form};
use dpay::dht::{Acceptance, DhtConfig, DhtError, DhtNode, Net, NetPlan, run_nodes};
use dpay::record::{Item, SignedRecord, Slot, Verdict, close_record_key, commitment};
use dpay::units::InfoHash;
use tokio::net::UdpSocket;

/// A coin's id.
pub fn coin(number: u8) -> HoldingId {
    HoldingId([number; 32])
}

/// The key that holds it.
pub fn spend_key(holding: HoldingId) -> SecretKey {
    let mut bytes = [0x5e; 32];
    bytes[0] = holding.0[0];
    SecretKey::from_bytes(bytes)
}

fn spend_statement(holding: HoldingId, payee: u8) -> [u8; 98] {
    let payee = SecretKey::from_bytes([payee; 32]).public();
    let anchor = ChainValue([7; 32]);
    Statement::Spend(Spend {
        holding,
        payee,
        anchor,
    })
    .encode()
}

/// The spend of a holding to one of several payees.
pub fn spend(holding: HoldingId, payee: u8) -> SignedRecord {
    let statement = Statement::decode(&spend_statement(holding, payee)).expect("a spend");
    let key = RecordKey([3; 32]);
    SignedRecord::sign(&spend_key(holding), Slot::spend(&holding), &key, &statement)
}

/// A close of payee 1's spend, at `k` units.
pub fn close_of(holding: HoldingId, k: u32) -> SignedRecord {
    let spend_record_key = RecordKey([3; 32]);
    let spend = commitment(&spend_record_key, &spend_statement(holding, 1));
    let close = Statement::Close(Close {
        spend,
        k,
        wk: ChainValue([8; 32]),
    });
    let payee = SecretKey::from_bytes([1; 32]);
    let key = close_record_key(&spend_record_key, &spend);
    SignedRecord::sign(&payee, Slot::close(&holding, &spend), &key, &close)
}

/// The item of one place, signed by its key at another seq.
pub fn at_seq(record: &SignedRecord, place: usize, seq: i64, key: &SecretKey) -> Item {
    let mut item = record.items()[place].clone();
    item.seq = seq;
    item.signature = key.sign(&item.signable());
    item
}

/// How many of these accepted.
pub fn count_accepted(all: &[Acceptance]) -> usize {
    let accepted = |said: &&Acceptance| said.verdict == Verdict::Accepted;
    all.iter().filter(accepted).count()
}

/// A net of `mainline` servers in this process.
pub struct MainlineNet {
    nodes: Vec<DhtNode>,
}

impl MainlineNet {
    /// Starts one, settled.
    pub async fn start(count: usize) -> MainlineNet {
        let started = std::time::Instant::now();
        let nodes = run_nodes(count, Ipv4Addr::LOCALHOST).await.expect("a net");
        println!(
            "{count} mainline nodes settled in {} ms",
            started.elapsed().as_millis()
        );
        MainlineNet { nodes }
    }

    /// One whose nodes let a record be overwritten.
    pub async fn overwritable(count: usize) -> MainlineNet {
        let plan = NetPlan {
            count,
            ip: Ipv4Addr::LOCALHOST,
            others: Vec::new(),
            round_trip: Duration::ZERO,
            hostile: 0,
            overwritable: true,
        };
        let nodes = Net::start(&plan).await.expect("a net").nodes;
        MainlineNet { nodes }
    }

    /// Where to join it.
    pub fn bootstrap(&self) -> Vec<String> {
        let first = self.nodes.iter().take(3);
        first.map(|node| node.addr().to_string()).collect()
    }

    /// Where its nodes are.
    pub fn addrs(&self) -> Vec<SocketAddrV4> {
        self.nodes.iter().map(DhtNode::addr).collect()
    }

    /// Nodes that were stopped, at their addresses again, with nothing stored; they let records be
    /// overwritten.
    pub async fn again(addrs: &[SocketAddrV4]) -> MainlineNet {
        let starting = addrs.iter().map(|own| async move {
            let others = addrs.iter().filter(|other| *other != own);
            let others: Vec<String> = others.map(ToString::to_string).collect();
            loop {
                let config = DhtConfig {
                    bind: *own,
                    bootstrap: others.clone(),
                    server: true,
                    overwritable: true,
                    clients: 1,
                    ..DhtConfig::default()
                };
                // The node before it gives its port back when its thread ends.
                match DhtNode::start(config).await {
                    Err(DhtError::Bind { .. }) => {}
                    started => return started.expect("starts"),
                }
            }
        });
        let nodes = futures::future::join_all(starting).await;
        MainlineNet { nodes }
    }

    /// Puts any item at all nodes, without cas; how many took it.
    pub async fn put(&self, item: &Item) -> usize {
        rogue::put(&self.addrs(), item, Form::Signed).await
    }
}

/// A payee's node on a net of ours.
pub async fn client(net: &MainlineNet, clients: usize) -> DhtNode {
    client_of(&net.bootstrap(), clients, 20_000).await
}

/// A payee's node on any net.
pub async fn client_of(bootstrap: &[String], clients: usize, deadline_ms: u64) -> DhtNode {
    DhtNode::start(DhtConfig {
        bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        bootstrap: bootstrap.iter().take(3).cloned().collect(),
        clients,
        accept_deadline_ms: deadline_ms,
        ..DhtConfig::default()
    })
    .await
    .expect("a node")
}

/// The part of an answer to `get` that carries an item, for a [`Liar`].
pub fn answer_of(item: &Item) -> Vec<u8> {
    let mut answer = b"1:k32:".to_vec();
    answer.extend_from_slice(&item.key.0);
    answer.extend_from_slice(format!("3:seqi{}e3:sig64:", item.seq).as_bytes());
    answer.extend_from_slice(&item.signature.0);
    answer.extend_from_slice(b"5:token4:toke1:v");
    answer.extend_from_slice(&item.value);
    answer
}

/// A node that gives the same answer to every `get`, and knows nobody.
pub struct Liar {
    addr: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Liar {
    /// `answer`: bencoded keys and values that sort after `id` and `nodes`.
    pub async fn start(answer: Vec<u8>) -> Liar {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let addr = socket.local_addr().expect("an address");
        let id = SecretKey::from_bytes([9; 32]).public().0;
        let task = tokio::spawn(async move {
            let mut packet = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let request = &packet[..length];
                // Requests of the crate have four bytes of transaction id.
                let Some(at) = find(request, b"1:t4:") else {
                    continue;
                };
                let mut reply = b"d1:rd2:id20:".to_vec();
                reply.extend_from_slice(&id[..20]);
                if find(request, b"1:q3:get").is_some() {
                    reply.extend_from_slice(&answer);
                }
                reply.extend_from_slice(b"e1:t4:");
                reply.extend_from_slice(&request[at + 5..at + 9]);
                reply.extend_from_slice(b"1:y1:re");
                let _ = socket.send_to(&reply, from).await;
            }
        });
        Liar { addr, task }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Announces as an engine does; the body, empty unless the status is 200.
pub async fn announce(url: &str, info_hash: &InfoHash, left: u64) -> Vec<u8> {
    let escaped: String = info_hash
        .0
        .iter()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    let query =
        format!("info_hash={escaped}&peer_id=-xx-&port=1&left={left}&compact=1&event=started");
    let response = reqwest::get(format!("{url}?{query}"))
        .await
        .expect("an answer");
    if !response.status().is_success() {
        return Vec::new();
    }
    response.bytes().await.expect("a body").to_vec()
}

/// A net of libtorrent nodes in a process of its own, settled.
pub async fn libtorrent_net(count: usize) -> DhtNet {
    let python = python(None);
    let net = DhtNet::start(NetKind::Libtorrent, count, Duration::ZERO, 0, &python).await;
    let net = net.expect("a net of libtorrent nodes");
    println!(
        "{count} libtorrent nodes settled in {} ms",
        net.settled_in.as_millis()
    );
    net
}
