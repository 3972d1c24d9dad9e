//! A pair that never publishes what it signs for each other, and sells more of a coin than there is: branches under
//! rival closes, one close under many signatures, and items in advance; against honest seeders over real sockets.

use std::net::SocketAddrV4;

use dpay::coin::{Chain, ChainValue, CoinCertificate, PseudonymCertificate, RecordKey, SecretKey};
use dpay::dht::rogue::{self, Form};
use dpay::record::{ClosePart, Holding, Item, Link, OpenSpend, Path, Role, Slot};
use dpay::units::Units;
use dpay::wire::codes::RefuseReason;
use dpay::wire::message::Message;

use crate::anew::close_anew;
use crate::cheats::{broker_key, connect, is_accepted, money, open, seeder, today};
use crate::raw::RawPeer;
use crate::support::{LONG, SHORT, TestWorld, torrent, world};

const MIB: usize = 1 << 20;
const VALUE: u32 = 1024;

/// Two that are one: whose coin it is, and to whom it is spent.
struct Pair {
    payer: SecretKey,
    payee: SecretKey,
    coin: CoinCertificate,
    chain: Chain,
    spend: OpenSpend,
}

impl Pair {
    /// The broker's own key signs what it would sell and certify.
    fn new(world: &TestWorld, n: u8) -> Pair {
        let broker = broker_key(world);
        let [payer, payee] = [n, n + 1].map(|n| SecretKey::from_bytes([n; 32]));
        let (value, until) = (Units(u64::from(VALUE)), today().plus(30));
        let coin = CoinCertificate::issue(&broker, value, payer.public(), today(), until, [n; 16]);
        let certificate = PseudonymCertificate::issue(&broker, payee.public(), until);
        let (chain, key) = (Chain::new(ChainValue([n; 32]), VALUE), RecordKey([n; 32]));
        let spend = OpenSpend::sign(&payer, &coin.id(), certificate, chain.anchor(), key);
        Pair {
            payer,
            payee,
            coin,
            chain,
            spend,
        }
    }

    fn close(&self, k: u32) -> ClosePart {
        let wk = self.chain.reveal(k).expect("within the coin");
        ClosePart::sign(&self.payee, &self.coin.id(), &self.spend, k, wk)
    }

    fn path(&self, role: Role, close: ClosePart) -> Path {
        let coin = Path {
            coin: self.coin,
            links: Vec::new(),
        };
        let spend = self.spend;
        coin.extend(Link { role, spend, close })
    }

    /// Spends what `path` proves to the payee at the other end; its verdict.
    async fn spend_to(&self, peer: &mut RawPeer, path: &Path) -> Message {
        let holding = path.holding().expect("values fit");
        let holder = [&self.payer, &self.payee]
            .into_iter()
            .find(|key| key.public() == holding.key);
        let propose = Message::Propose {
            channel: 0,
            path: path.encode(),
        };
        peer.pay(&propose).await.expect("sends");
        let said = peer.until_pay("key", SHORT, |said| {
            matches!(said, Message::Key { .. } | Message::Refused { .. })
        });
        let certificate = match said.await.expect("an answer") {
            Message::Key { certificate, .. } => certificate,
            refused => return refused,
        };
        let open = OpenSpend::sign(
            holder.expect("one of both"),
            &holding.id,
            certificate,
            ChainValue([3; 32]),
            RecordKey([4; 32]),
        );
        let said = Message::Open { channel: 0, open };
        peer.pay(&said).await.expect("sends");
        let verdict = peer.until_pay("verdict", LONG, |said| {
            is_accepted(said) || matches!(said, Message::Refused { .. })
        });
        verdict.await.expect("a verdict")
    }
}

fn refused_for(verdict: &Message) -> Option<RefuseReason> {
    match verdict {
        Message::Refused { reason, .. } => Some(*reason),
        _ => None,
    }
}

#[tokio::test]
async fn a_pair_that_publishes_nothing_sells_one_branch_of_its_coin_and_no_other() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_a, first) = seeder(&world, "seeder-a", &t).await;
    let (mut b, second) = seeder(&world, "seeder-b", &t).await;
    let pair = Pair::new(&world, 1);
    // 424 units of change under a close at 600, and 1 024 of the share under another one at 1 024.
    let (low, high) = (pair.close(600), pair.close(VALUE));
    let change = pair.path(Role::Change, low);
    let share = pair.path(Role::PayeeShare, high);
    let mut to_first = connect(&first, &t, b'a').await;
    let verdict = pair.spend_to(&mut to_first, &change).await;
    assert!(is_accepted(&verdict), "{verdict:?}");
    let mut to_second = connect(&second, &t, b'b').await;
    let verdict = pair.spend_to(&mut to_second, &share).await;
    assert_eq!(
        refused_for(&verdict),
        Some(RefuseReason::Conflict),
        "{verdict:?}"
    );
    // The two closes are what it shows: the seeder that put the first one is not even needed.
    let seen = b.wait_for("conflict", SHORT).await.expect("says so");
    let slot = Slot::close(&pair.coin.id(), &pair.spend.commitment(&pair.coin.id()));
    let said = seen.to_string();
    let salts = slot.salts();
    assert!(
        salts.iter().any(|salt| said.contains(&salt.to_string())),
        "of the close's slot: {said}"
    );
    // The branch that was sold first has a share too, and that is worth what is left.
    let rest = pair.path(Role::PayeeShare, low);
    let mut again = connect(&first, &t, b'c').await;
    let verdict = pair.spend_to(&mut again, &rest).await;
    assert!(is_accepted(&verdict), "one coin, to its value: {verdict:?}");
}

#[tokio::test]
async fn one_close_under_many_signatures_is_one_share_and_accepted_once() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_a, first) = seeder(&world, "seeder-a", &t).await;
    let (_b, second) = seeder(&world, "seeder-b", &t).await;
    let pair = Pair::new(&world, 3);
    let close = pair.close(VALUE);
    let sold = pair.path(Role::PayeeShare, close);
    let mut to_first = connect(&first, &t, b'a').await;
    let verdict = pair.spend_to(&mut to_first, &sold).await;
    assert!(is_accepted(&verdict), "{verdict:?}");
    // A seeder that has not seen the share finds it spent; who has seen it asks nobody.
    let wanted = [
        (&second, RefuseReason::Conflict),
        (&second, RefuseReason::Seen),
        (&first, RefuseReason::Seen),
    ];
    for (nonce, (address, wanted)) in (1..).zip(wanted) {
        let close = close_anew(&pair.payee, &pair.coin.id(), &pair.spend, &close, nonce);
        let again = pair.path(Role::PayeeShare, close);
        assert_ne!(again.encode(), sold.encode());
        let mut peer = connect(address, &t, b'a' + nonce).await;
        let verdict = pair.spend_to(&mut peer, &again).await;
        assert_eq!(refused_for(&verdict), Some(wanted), "{verdict:?}");
    }
}

/// A place of a coin's spend, taken in advance at a seq below that of records.
#[tokio::test]
async fn what_a_holder_signed_at_seq_5_refuses_its_coin() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let (_a, first) = seeder(&world, "seeder-a", &t).await;
    let nodes: Vec<SocketAddrV4> = world
        .dht
        .iter()
        .filter_map(|node| node.last("ready")?["address"].as_str()?.parse().ok())
        .collect();
    assert_eq!(nodes.len(), world.dht.len());

    let squatted = money(&world, 21);
    let to_nobody = PseudonymCertificate::issue(
        &broker_key(&world),
        SecretKey::from_bytes([66; 32]).public(),
        today().plus(30),
    );
    let holding = Holding::of_coin(&squatted.coin);
    let [item, ..] = squatted.open(to_nobody).record(&holding).items();
    let mut low = Item { seq: 5, ..item };
    low.signature = squatted.holder.sign(&low.signable());
    assert!(rogue::put(&nodes, &low, Form::Signed).await >= 4);
    let mut peer = connect(&first, &t, b'a').await;
    let verdict = open(&mut peer, &squatted, 0).await;
    assert_eq!(
        refused_for(&verdict),
        Some(RefuseReason::Conflict),
        "{verdict:?}"
    );
}
