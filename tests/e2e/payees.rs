//! Payees by hand, against an honest `dpay download`: keys that prove nothing, and closes below what was ticked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use dpay::broker::RequestId;
use dpay::broker::answer::ItemAnswer;
use dpay::coin::{ChainValue, PseudonymCertificate, PublicKey, RecordKey, SecretKey};
use dpay::dht::{DhtConfig, DhtNode};
use dpay::http::client::BrokerClient;
use dpay::record::{ClosePart, FraudProof, Link, OpenSpend, Path, RedeemPart, Role};
use dpay::units::{PricePerGib, Units};
use dpay::wire::codes::{FreePolicy, OpenedState};
use dpay::wire::message::{Message, Offer, VERSION};
use tokio::net::TcpListener;

use crate::books::{balance, number, sync};
use crate::cheats::{broker_key, today};
use crate::raw::{Event, RawPeer};
use crate::support::{LONG, TestWorld, Torrent, audit, private_torrent, world};

const MIB: usize = 1 << 20;
/// 16 units a MiB.
const PRICE: u64 = 16_384;

/// One that serves what is right, and is paid on this key.
struct Payee {
    listener: TcpListener,
    broker: PublicKey,
    certificate: PseudonymCertificate,
    proposals: u32,
    path: Option<Path>,
    open: Option<OpenSpend>,
    /// w(k) of each tick that came.
    ticks: BTreeMap<u32, ChainValue>,
    /// The last of them, as the payer says when it asks for the close.
    asked: u32,
}

impl Payee {
    async fn new(world: &TestWorld, certificate: PseudonymCertificate) -> Payee {
        Payee {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            broker: broker_key(world).public(),
            certificate,
            proposals: 0,
            path: None,
            open: None,
            ticks: BTreeMap::new(),
            asked: 0,
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().expect("bound").to_string()
    }

    /// The next peer that dials and stays, to the point where it may ask for pieces.
    async fn meet(&self, t: &Torrent) -> RawPeer {
        loop {
            if let Ok(peer) = self.greet(t).await {
                return peer;
            }
        }
    }

    async fn greet(&self, t: &Torrent) -> Result<RawPeer> {
        // Nobody else has its id: a second connection to one peer would be closed.
        let mut id = [b'y'; 20];
        id[..2].copy_from_slice(&self.listener.local_addr()?.port().to_be_bytes());
        let mut peer = RawPeer::accept(&self.listener, t.info_hash, &id, true).await?;
        let offer = Offer {
            version: VERSION,
            price: PricePerGib::new(PRICE).expect("in range"),
            brokers: vec![(self.broker, String::new())],
            smallest_channel: Units(16),
            free: FreePolicy::Off,
        };
        peer.until_extended().await?;
        peer.pay(&Message::Offer(offer)).await?;
        peer.has_all(t.bytes.len() as u32 / t.piece_bytes).await?;
        peer.unchoke().await?;
        Ok(peer)
    }

    /// Serves and takes ticks until the payer asks for the close, or hangs up.
    async fn serve(&mut self, t: &Torrent, peer: &mut RawPeer) -> Result<()> {
        loop {
            match peer.next().await? {
                Event::Request {
                    piece,
                    begin,
                    length,
                } => {
                    let at = piece as usize * t.piece_bytes as usize + begin as usize;
                    let block = &t.bytes[at..at + length as usize];
                    // No faster than pieces are verified, so that they are paid one by one.
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    peer.piece(piece, begin, block).await?;
                }
                Event::Pay(message) => match *message {
                    Message::Propose { channel, path } => {
                        self.proposals += 1;
                        self.path = Some(Path::decode(&path, 7)?);
                        let certificate = self.certificate;
                        let key = Message::Key {
                            channel,
                            certificate,
                        };
                        peer.pay(&key).await?;
                    }
                    Message::Open { channel, open } => {
                        self.open = Some(open);
                        let state = OpenedState::Accepted;
                        peer.pay(&Message::Opened { channel, state }).await?;
                    }
                    Message::Tick { k, wk, .. } => {
                        self.ticks.insert(k, wk);
                    }
                    Message::CloseRequest { k, .. } => {
                        self.asked = k;
                        return Ok(());
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_seeder_whose_key_proves_nothing_is_left_and_nothing_is_signed_to_it() {
    let world = world().await;
    let t = private_torrent(&world, 4 * MIB, 256).await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let (broker, foreign) = (broker_key(&world), SecretKey::from_bytes([77; 32]));
    let (key, later) = (SecretKey::from_bytes([66; 32]).public(), today().plus(30));
    // The identity, under which anybody can sign.
    let mut weak = [0; 32];
    weak[0] = 1;
    let mut forged = PseudonymCertificate::issue(&broker, key, later);
    forged.signature.0[5] ^= 1;
    let keys = [
        (
            "of another broker",
            PseudonymCertificate::issue(&foreign, key, later),
        ),
        (
            "that is weak",
            PseudonymCertificate::issue(&broker, PublicKey(weak), later),
        ),
        (
            "whose time is over",
            PseudonymCertificate::issue(&broker, key, today()),
        ),
        ("that nobody certified", forged),
    ];
    let mut args = vec!["--max-price".to_owned(), "65536".into()];
    let mut payees = Vec::new();
    for (what, certificate) in keys {
        let payee = Payee::new(&world, certificate).await;
        args.extend(["--peer".to_owned(), payee.address()]);
        payees.push((what, payee));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (file, out) = (
        t.file.to_str().expect("UTF-8"),
        world.dir.path().join("out"),
    );
    let leecher = world.download("leecher", file, &out, &args);
    let mut leecher = leecher.expect("starts");
    let serving = payees.into_iter().map(|(what, mut payee)| {
        let t = &t;
        async move {
            while payee.proposals == 0 {
                let mut peer = payee.meet(t).await;
                let _ = payee.serve(t, &mut peer).await;
            }
            assert!(payee.open.is_none(), "a coin was spent to a key {what}");
        }
    });
    let left = tokio::time::timeout(LONG, futures::future::join_all(serving)).await;
    left.expect("each is left as soon as it has given its key");
    leecher.kill().await;
    let after = balance(&world, "leecher").await;
    for key in ["locked", "paid"] {
        let is_zero = after[key].as_u64().or(after["books"][key].as_u64()) == Some(0);
        assert!(is_zero, "{key}: {after}");
    }
    audit(&world).await;
}

/// Downloads from such a payee, which closes at its last tick or at its first, puts that, and goes.
async fn download(
    (world, t): (&TestWorld, &Torrent),
    home: &str,
    name: u8,
    is_low: bool,
) -> (Payee, Link, Path) {
    world.wallet(home, 200_000).await.expect("a wallet");
    let [account, holder] = [name, name + 1].map(|n| SecretKey::from_bytes([n; 32]));
    let client = BrokerClient::new(&world.broker_url, None, account).expect("a URL");
    client.info().await.expect("answers");
    let certified = client.certify(vec![holder.public()]).await;
    let mut payee = Payee::new(world, certified.expect("certified")[0]).await;
    let address = payee.address();
    let args = ["--peer", address.as_str(), "--max-price", "65536"];
    let out = world.dir.path().join(home);
    let leecher = world.download(home, t.file.to_str().expect("UTF-8"), &out, &args);
    let mut leecher = leecher.expect("starts");
    let serving = async {
        let mut peer = payee.meet(t).await;
        let served = payee.serve(t, &mut peer).await;
        served.expect("asked to close");
        let (path, spend) = (payee.path.clone().expect("proposed"), payee.open);
        let (holding, spend) = (path.holding().expect("a coin"), spend.expect("opened"));
        let tick = match is_low {
            true => payee.ticks.first_key_value(),
            false => payee.ticks.last_key_value(),
        };
        let (k, wk) = tick.map(|(k, wk)| (*k, *wk)).expect("paid");
        let close = ClosePart::sign(&holder, &holding.id, &spend, k, wk);
        let dht = DhtNode::start(DhtConfig {
            bind: "127.0.0.1:0".parse().expect("an address"),
            bootstrap: world.bootstrap.clone(),
            ..DhtConfig::default()
        });
        let dht = dht.await.expect("starts");
        let put = dht.publish(close.record(&holding.id, &spend)).await;
        assert!(put.conflict.is_none(), "{put:?}");
        let c = spend.commitment(&holding.id);
        let told = Message::Close { spend: c, close };
        peer.pay(&told).await.expect("sends");
        let role = Role::PayeeShare;
        (Link { role, spend, close }, path, peer)
    };
    let served = tokio::time::timeout(LONG, serving).await;
    let (link, path, _peer) = served.expect("served and paid");
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    leecher.finish(LONG).await.expect("ends");
    let paid = number(&done, "units_paid");
    assert_eq!(paid, u64::from(link.close.k), "{:?}: {done}", payee.ticks);
    assert_eq!(payee.asked, 32, "2 MiB: {:?}", payee.ticks);
    assert_eq!(is_low, link.close.k < payee.asked, "{:?}", payee.ticks);
    (payee, link, path)
}

/// A payee that closes below what it was ticked could sign the higher close too, and take away whatever the change
/// was spent on: such a change goes to the broker, and the second close is a proof against who signed it.
#[tokio::test]
async fn change_of_a_close_below_the_last_tick_is_redeemed_and_never_passed_on() {
    let world = world().await;
    let t = private_torrent(&world, 2 * MIB, 64).await;
    let (_, link, path) = download((&world, &t), "honest", 40, false).await;
    sync(&world, "honest").await;
    let change = 64 - u64::from(link.close.k);
    let kept = balance(&world, "honest").await;
    assert_eq!(
        number(&kept["books"], "redeemed"),
        0,
        "it can be passed on: {kept}"
    );
    assert_eq!(number(&kept, "change"), change, "{kept}");
    assert_eq!(path.coin.value, Units(64));

    let (payee, low, path) = download((&world, &t), "leecher", 50, true).await;
    sync(&world, "leecher").await;
    let after = balance(&world, "leecher").await;
    let change = 64 - u64::from(low.close.k);
    assert_eq!(number(&after["books"], "redeemed"), change, "{after}");
    assert_eq!(
        number(&after["books"], "paid"),
        u64::from(low.close.k),
        "{after}"
    );

    // The higher one, which the payee could show as well.
    let [account, holder] = [50, 51].map(|n| SecretKey::from_bytes([n; 32]));
    let (k, wk) = payee.ticks.last_key_value().expect("paid");
    let holding = path.holding().expect("a coin");
    let close = ClosePart::sign(&holder, &holding.id, &low.spend, *k, *wk);
    let share = path.extend(Link { close, ..low });
    let client = BrokerClient::new(&world.broker_url, None, account).expect("a URL");
    client.info().await.expect("answers");
    let id = share.holding().expect("a share").id;
    let redeem = RedeemPart::sign(&holder, &id, client.account_id(), RecordKey([9; 32]));
    let items = vec![(share, redeem)];
    let done = client.redeem(RequestId([2; 16]), items).await;
    let ItemAnswer::Refused(refusal) = done.expect("answered").value.remove(0) else {
        panic!("two closes of one spend are both credited");
    };
    let proof = hex::decode(refusal.conflict.expect("both closes").proof).expect("hex");
    let (proof, broker) = (FraudProof::decode(&proof).expect("a proof"), payee.broker);
    assert_eq!(proof.verify(&|key| *key == broker), Ok(holder.public()));
    audit(&world).await;
}
