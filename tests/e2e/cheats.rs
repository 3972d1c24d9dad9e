//! Peers that cheat, against an honest `dpay seed` or `dpay download` over real sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use dpay::channel::Windows;
use dpay::cli::world::Proc;
use dpay::coin::{
    Chain, ChainValue, CoinCertificate, PseudonymCertificate, PublicKey, RecordKey, SecretKey,
};
use dpay::record::{Holding, OpenSpend, Path};
use dpay::store::broker::BrokerHome;
use dpay::units::{Day, PricePerGib, Units};
use dpay::wire::codes::{FreePolicy, OpenedState, RefuseReason};
use dpay::wire::message::{Message, Offer, VERSION};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::raw::{BLOCK_BYTES, Event, RawPeer};
use crate::support::{LONG, SHORT, TestWorld, Torrent, audit, finish, torrent, world};

const MIB: usize = 1 << 20;
const PRICE: u64 = 1024;
const VALUE: u32 = 1024;

/// A coin that the broker's own key signed, held by a key of the test's: for a payee it is as good as
/// any that was sold.
pub struct Money {
    pub holder: SecretKey,
    pub coin: CoinCertificate,
    pub chain: Chain,
}

pub fn today() -> Day {
    dpay::clock::now().day()
}

pub fn broker_key(world: &TestWorld) -> SecretKey {
    BrokerHome::open_or_make(&world.home("broker"), [0; 32])
        .expect("the broker's home")
        .key()
        .clone()
}

fn coin(broker: &SecretKey, holder: PublicKey, expires: Day, nonce: u8) -> CoinCertificate {
    let value = Units(u64::from(VALUE));
    CoinCertificate::issue(broker, value, holder, today(), expires, [nonce; 16])
}

pub fn money(world: &TestWorld, nonce: u8) -> Money {
    let holder = SecretKey::from_bytes([nonce; 32]);
    let coin = coin(&broker_key(world), holder.public(), today().plus(30), nonce);
    Money {
        holder,
        coin,
        chain: Chain::new(ChainValue([nonce; 32]), VALUE),
    }
}

impl Money {
    pub fn path(&self) -> Vec<u8> {
        path(self.coin)
    }

    pub fn open(&self, certificate: PseudonymCertificate) -> OpenSpend {
        OpenSpend::sign(
            &self.holder,
            &Holding::of_coin(&self.coin).id,
            certificate,
            self.chain.anchor(),
            RecordKey([9; 32]),
        )
    }

    pub fn tick(&self, channel: u32, k: u32) -> Message {
        let wk = self.chain.reveal(k).expect("within the coin");
        Message::Tick { channel, k, wk }
    }
}

fn path(coin: CoinCertificate) -> Vec<u8> {
    let links = Vec::new();
    Path { coin, links }.encode()
}

pub async fn seeder(world: &TestWorld, name: &str, t: &Torrent) -> (Proc, String) {
    world.wallet(name, 0).await.expect("a wallet");
    seed_again(world, name, t).await
}

/// One whose wallet is there already.
async fn seed_again(world: &TestWorld, name: &str, t: &Torrent) -> (Proc, String) {
    let price = PRICE.to_string();
    let extra = ["--free", "off", "--price", &price];
    let started = world.seeder(name, &t.file, &t.data, &extra).await;
    started.expect("seeds")
}

pub async fn connect(address: &str, t: &Torrent, id: u8) -> RawPeer {
    let mut peer = RawPeer::connect(address, t.info_hash, &[id; 20])
        .await
        .expect("connects");
    peer.until_pay("offer", SHORT, |m| matches!(m, Message::Offer(_)))
        .await
        .expect("an offer");
    peer.interested().await.expect("sends");
    peer
}

/// Proposes, and returns the payee's key.
pub async fn propose(peer: &mut RawPeer, channel: u32, path: Vec<u8>) -> PseudonymCertificate {
    peer.pay(&Message::Propose { channel, path })
        .await
        .expect("sends");
    let key = peer
        .until_pay("key", SHORT, |m| matches!(m, Message::Key { .. }))
        .await
        .expect("a key");
    match key {
        Message::Key { certificate, .. } => certificate,
        _ => unreachable!("waited for a key"),
    }
}

/// Opens a channel and waits for its verdict.
pub async fn open(peer: &mut RawPeer, money: &Money, channel: u32) -> Message {
    let certificate = propose(peer, channel, money.path()).await;
    let open = money.open(certificate);
    peer.pay(&Message::Open { channel, open })
        .await
        .expect("sends");
    peer.until_pay("verdict", LONG, |m| {
        matches!(
            m,
            Message::Refused { .. }
                | Message::Opened {
                    state: OpenedState::Accepted,
                    ..
                }
        )
    })
    .await
    .expect("a verdict")
}

pub fn is_accepted(message: &Message) -> bool {
    matches!(
        message,
        Message::Opened {
            state: OpenedState::Accepted,
            ..
        }
    )
}

/// Asks for blocks from `first` on and counts the bytes that come until the payee says that it waits
/// for ticks, and nothing more comes.
async fn take_all(peer: &mut RawPeer, t: &Torrent, first: &mut u64) -> u64 {
    let total = t.bytes.len() as u64;
    let ask = 16 * MIB as u64;
    for at in (*first..(*first + ask).min(total)).step_by(BLOCK_BYTES as usize) {
        let piece = (at / u64::from(t.piece_bytes)) as u32;
        let begin = (at % u64::from(t.piece_bytes)) as u32;
        peer.request(piece, begin, BLOCK_BYTES)
            .await
            .expect("sends");
    }
    *first = (*first + ask).min(total);
    drain(peer, t).await
}

/// Counts the bytes that come until nothing but keep-alives comes for two seconds.
pub async fn drain(peer: &mut RawPeer, t: &Torrent) -> u64 {
    let mut got = 0;
    while let Some(event) = peer
        .next_within(Duration::from_secs(2))
        .await
        .expect("stays connected")
    {
        if let Event::Piece { piece, begin, data } = event {
            let at = piece as usize * t.piece_bytes as usize + begin as usize;
            assert_eq!(
                data,
                t.bytes[at..at + data.len()],
                "the payload's own bytes"
            );
            got += data.len() as u64;
        }
    }
    got
}

#[tokio::test]
async fn a_leecher_that_stops_paying_gets_exactly_its_window() {
    let world = world().await;
    let t = torrent(&world, 48 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, "seeder", &t).await;
    let mut peer = connect(&address, &t, b'w').await;
    let money = money(&world, 1);
    let verdict = open(&mut peer, &money, 0).await;
    assert!(is_accepted(&verdict), "{verdict:?}");

    let windows = Windows::new(
        u64::from(t.piece_bytes),
        PricePerGib::new(PRICE).expect("in range"),
    );
    let block = u64::from(BLOCK_BYTES);
    let whole = |bytes: u64| bytes / block * block;
    let capacity = Units(u64::from(VALUE));
    let mut first = 0;
    let got = take_all(&mut peer, &t, &mut first).await;
    assert_eq!(got, whole(windows.limit_bytes(Units(0), capacity)));

    // Two units more buy exactly what they are worth, and the larger window.
    peer.pay(&money.tick(0, 2)).await.expect("sends");
    let more = drain(&mut peer, &t).await;
    assert_eq!(got + more, whole(windows.limit_bytes(Units(2), capacity)));
    assert_eq!(drain(&mut peer, &t).await, 0);
}

#[tokio::test]
async fn before_acceptance_a_leecher_gets_the_provisional_allowance_and_no_more() {
    let world = world().await;
    let t = torrent(&world, 8 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, "seeder", &t).await;
    let mut peer = connect(&address, &t, b'p').await;
    let mut first = 0;
    assert_eq!(
        take_all(&mut peer, &t, &mut first).await,
        0,
        "nothing is proposed"
    );
    let money = money(&world, 2);
    propose(&mut peer, 0, money.path()).await;
    assert_eq!(drain(&mut peer, &t).await, MIB as u64);
}

#[tokio::test]
async fn a_tick_out_of_chain_ends_the_connection() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, "seeder", &t).await;
    let mut peer = connect(&address, &t, b't').await;
    let money = money(&world, 3);
    let verdict = open(&mut peer, &money, 0).await;
    assert!(is_accepted(&verdict), "{verdict:?}");
    let wk = ChainValue([0xee; 32]);
    peer.pay(&Message::Tick {
        channel: 0,
        k: 1,
        wk,
    })
    .await
    .expect("sends");
    peer.until_gone(SHORT).await.expect("dropped");
}

#[tokio::test]
async fn paths_that_prove_nothing_are_refused_with_the_reason() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, "seeder", &t).await;
    let key = broker_key(&world);
    let foreign = SecretKey::from_bytes([77; 32]);
    let holder = SecretKey::from_bytes([4; 32]).public();
    let later = today().plus(30);
    let mut forged = coin(&key, holder, later, 1);
    forged.value = Units(4096);
    // The identity: a key of small order, under which anybody can sign.
    let mut weak = [0; 32];
    weak[0] = 1;
    let cases = [
        ("forged", path(forged), RefuseReason::Path),
        (
            "expired",
            path(coin(&key, holder, today().plus(1), 2)),
            RefuseReason::Expired,
        ),
        (
            "of a foreign broker",
            path(coin(&foreign, holder, later, 3)),
            RefuseReason::Broker,
        ),
        (
            "with a weak key",
            path(coin(&key, PublicKey(weak), later, 4)),
            RefuseReason::Path,
        ),
        (
            "cut off",
            path(coin(&key, holder, later, 5))[..100].to_vec(),
            RefuseReason::Path,
        ),
    ];
    for (id, (what, path, wanted)) in (b'0'..).zip(cases) {
        let mut peer = connect(&address, &t, id).await;
        peer.pay(&Message::Propose { channel: 0, path })
            .await
            .expect("sends");
        let refused = peer
            .until_pay(what, SHORT, |m| matches!(m, Message::Refused { .. }))
            .await
            .expect("refused");
        match refused {
            Message::Refused { reason, .. } => assert_eq!(reason, wanted, "{what}"),
            _ => unreachable!("waited for a refusal"),
        }
    }
}

/// Two seeders of whom the first has accepted a coin: both, the second one's address, and what it says to the same coin.
async fn spent_twice(world: &TestWorld, t: &Torrent) -> (Proc, Proc, String, Message) {
    let (a, first) = seeder(world, "seeder-a", t).await;
    let (b, second) = seeder(world, "seeder-b", t).await;
    let money = money(world, 5);
    let mut to_first = connect(&first, t, b'a').await;
    let verdict = open(&mut to_first, &money, 0).await;
    assert!(is_accepted(&verdict), "{verdict:?}");
    let mut to_second = connect(&second, t, b'b').await;
    let verdict = open(&mut to_second, &money, 0).await;
    (a, b, second, verdict)
}

#[tokio::test]
async fn one_coin_is_not_accepted_by_a_second_payee_afterwards() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_a, mut b, _, verdict) = spent_twice(&world, &t).await;
    match verdict {
        Message::Refused { reason, .. } => assert_eq!(reason, RefuseReason::Conflict),
        other => panic!("the second payee says {other:?}"),
    }
    let seen = b
        .wait_for("conflict", SHORT)
        .await
        .expect("the payee says so");
    let items = seen["items"].as_array().expect("both items");
    assert_eq!(items.len(), 2, "{seen}");
    assert_ne!(items[0], items[1]);
}

#[tokio::test]
async fn who_spent_a_coin_twice_gets_nothing_on_credit_for_a_day_and_over_restarts() {
    let mut world = world().await;
    let t = torrent(&world, 8 * MIB, 256).await;
    let (_a, mut b, second, verdict) = spent_twice(&world, &t).await;
    assert!(matches!(verdict, Message::Refused { .. }), "{verdict:?}");
    assert_eq!(
        on_credit(&world, &second, &t, 6).await,
        0,
        "with a new coin"
    );

    assert_eq!(b.stop(LONG).await.expect("ends"), 0);
    let (mut b, second) = seed_again(&world, "seeder-b", &t).await;
    assert_eq!(
        on_credit(&world, &second, &t, 7).await,
        0,
        "after a restart"
    );
    assert_eq!(b.stop(LONG).await.expect("ends"), 0);

    world.world.clock_offset_s = 86_400 + 60;
    let (_b, second) = seed_again(&world, "seeder-b", &t).await;
    assert_eq!(on_credit(&world, &second, &t, 8).await, MIB as u64);
}

/// By a real payer, which notes it whoever was at fault: a payee that refuses a spend uses up a link of
/// the coin's path.
#[tokio::test]
async fn a_payee_that_refused_for_a_conflict_is_not_paid_after_a_restart_either() {
    let world = world().await;
    let t = torrent(&world, 16 * MIB, 64).await;
    let (_a, first) = seeder(&world, "seeder-a", &t).await;
    let (_b, second) = seeder(&world, "seeder-b", &t).await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let torrent = t.file.to_str().expect("UTF-8");
    let start = |out: &str, more: &[&str]| {
        let mut extra = vec!["--peer", &first, "--peer", &second];
        extra.extend(more);
        let leecher = world.download("leecher", torrent, &world.dir.path().join(out), &extra);
        leecher.expect("starts")
    };
    let mut cheat = start("out-1", &["--cheat", "double-spend"]);
    let refused = |line: &Value| {
        let why = line["why"].as_str().unwrap_or_default();
        line["event"] == "free" && why.contains("conflict")
    };
    let refused = cheat.wait_until("a refusal", LONG, refused).await;
    let refused = refused.expect("one of them sees both");
    cheat.kill().await;
    let mut honest = start("out-2", &[]);
    let avoided = |line: &Value| line["event"] == "free" && line["peer"] == refused["peer"];
    let avoided = honest.wait_until("that it is avoided", LONG, avoided).await;
    let avoided = avoided.expect("it is not paid again");
    let why = avoided["why"].as_str().expect("a reason");
    assert!(why.contains("before"), "{avoided}");
}

/// What a stranger gets for a proposal alone.
async fn on_credit(world: &TestWorld, address: &str, t: &Torrent, nonce: u8) -> u64 {
    let mut peer = connect(address, t, b'A' + nonce).await;
    propose(&mut peer, 0, money(world, nonce).path()).await;
    take_all(&mut peer, t, &mut 0).await
}

#[tokio::test]
async fn one_coin_is_not_accepted_by_two_payees_at_once() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_a, first) = seeder(&world, "seeder-a", &t).await;
    let (_b, second) = seeder(&world, "seeder-b", &t).await;
    for round in 0..3u8 {
        let money = money(&world, 10 + round);
        let mut a = connect(&first, &t, b'a' + round).await;
        let mut b = connect(&second, &t, b'A' + round).await;
        let (to_a, to_b) = tokio::join!(open(&mut a, &money, 0), open(&mut b, &money, 0));
        assert!(
            !(is_accepted(&to_a) && is_accepted(&to_b)),
            "round {round}: {to_a:?} and {to_b:?}"
        );
    }
}

/// What a seeder that sends garbage for money came to.
#[derive(Default)]
struct Liar {
    opens: u32,
    served: u32,
    ticked: u32,
}

impl Liar {
    /// Offers, says yes to whatever is proposed, and sends garbage until it is dropped.
    async fn serve(&mut self, peer: &mut RawPeer, pieces: u32, broker: &SecretKey) -> Result<()> {
        let offer = Offer {
            version: VERSION,
            price: PricePerGib::new(PRICE).expect("in range"),
            brokers: vec![(broker.public(), String::new())],
            smallest_channel: Units(16),
            free: FreePolicy::Off,
        };
        peer.until_extended().await?;
        peer.pay(&Message::Offer(offer)).await?;
        peer.has_all(pieces).await?;
        peer.unchoke().await?;
        loop {
            match peer.next().await? {
                Event::Request {
                    piece,
                    begin,
                    length,
                } => {
                    self.served += 1;
                    let garbage = vec![0xab; length as usize];
                    peer.piece(piece, begin, &garbage).await?;
                }
                Event::Pay(message) => self.answer(peer, *message, broker).await?,
                _ => {}
            }
        }
    }

    async fn answer(
        &mut self,
        peer: &mut RawPeer,
        message: Message,
        broker: &SecretKey,
    ) -> Result<()> {
        match message {
            Message::Propose { channel, .. } => {
                let holder = SecretKey::from_bytes([66; 32]).public();
                let until = today().plus(30);
                let certificate = PseudonymCertificate::issue(broker, holder, until);
                let key = Message::Key {
                    channel,
                    certificate,
                };
                peer.pay(&key).await
            }
            Message::Open { channel, .. } => {
                self.opens += 1;
                let state = OpenedState::Accepted;
                peer.pay(&Message::Opened { channel, state }).await
            }
            Message::Tick { k, .. } => {
                self.ticked = self.ticked.max(k);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_seeder_that_sends_garbage_for_money_earns_nothing_and_is_dropped() {
    // So much that the good seeder has not sent all before the cheat is asked.
    const BYTES: usize = 32 * MIB;
    let world = world().await;
    let t = torrent(&world, BYTES, 256).await;
    let (_seeder, good) = seeder(&world, "seeder", &t).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let bad = listener.local_addr().expect("bound").to_string();
    let pieces = t.bytes.len() as u32 / t.piece_bytes;
    let (info_hash, broker) = (t.info_hash, broker_key(&world));
    let cheat = tokio::spawn(async move {
        let mut liar = Liar::default();
        while liar.served == 0 {
            let peer = RawPeer::accept(&listener, info_hash, &[b'g'; 20], true).await;
            if let Ok(mut peer) = peer {
                let _ = liar.serve(&mut peer, pieces, &broker).await;
            }
        }
        liar
    });
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let (done, _leecher) = finish(&world, &t, &["--peer", &bad, "--peer", &good]).await;
    let paid: BTreeMap<&str, u64> = done["seeders"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|peer| Some((peer["address"].as_str()?, peer["units_paid"].as_u64()?)))
        .collect();
    assert_eq!(paid.get(bad.as_str()).copied().unwrap_or(0), 0, "{done}");
    let due = PricePerGib::new(PRICE).expect("in range").due(BYTES as u64);
    assert_eq!(paid.get(good.as_str()).copied(), Some(due.0), "{done}");
    let liar = tokio::time::timeout(LONG, cheat).await;
    let liar = liar.expect("the cheat was dropped").expect("runs");
    assert!(liar.opens > 0, "the cheat was never to be paid");
    assert!(liar.served > 0, "the cheat was asked for nothing");
    assert_eq!(liar.ticked, 0, "garbage was paid");
    audit(&world).await;
}

#[tokio::test]
async fn a_paid_seeder_sends_its_first_byte_one_round_trip_after_its_offer() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, "seeder", &t).await;
    let mut peer = connect(&address, &t, b'f').await;
    let path = money(&world, 20).path();
    // A free seeder would serve the request at once; a paid one serves it once the proposal is there,
    // without a word more from us.
    peer.request(0, 0, BLOCK_BYTES).await.expect("sends");
    peer.pay(&Message::Propose { channel: 0, path })
        .await
        .expect("sends");
    loop {
        match peer.next_within(SHORT).await.expect("stays connected") {
            Some(Event::Piece { data, .. }) => {
                assert_eq!(data, t.bytes[..BLOCK_BYTES as usize]);
                return;
            }
            Some(_) => {}
            None => panic!("no block came after the proposal"),
        }
    }
}
