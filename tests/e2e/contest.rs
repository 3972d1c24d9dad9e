//! A coin that was redeemed before a seeder is asked, which refuses it, and one that was redeemed behind the back of
//! the seeder that accepted it: that finds it on the broker's spent list, presents its own, and the broker decides
//! by what the DHT holds.

use serde_json::Value;

use dpay::broker::RequestId;
use dpay::broker::answer::ItemAnswer;
use dpay::cli::world::{Proc, WorldOptions};
use dpay::coin::{RecordKey, SecretKey};
use dpay::http::client::BrokerClient;
use dpay::record::{Path, RedeemPart};
use dpay::units::Units;
use dpay::wire::codes::RefuseReason;
use dpay::wire::message::Message;

use crate::books::{balance, kinds, number, sync};
use crate::cheats::{connect, seeder};
use crate::killed::{dies, doomed_broker};
use crate::restored::restart_broker;
use crate::support::{LONG, SHORT, TestWorld, Torrent, audit, same, torrent, world, world_with};

const MIB: usize = 1 << 20;
const HOLD_S: u64 = 3_600;

/// A seeder that was paid with a coin which the broker then credited to the cheat.
struct Stolen {
    world: TestWorld,
    t: Torrent,
    /// The cheat's money before the contest.
    before: Value,
    paid: u64,
}

const SEEDER: [&str; 4] = ["--free", "off", "--price", "4096"];

async fn stolen() -> Stolen {
    let options = WorldOptions {
        hold_s: HOLD_S,
        contest_gap_s: Some(1),
        ..WorldOptions::default()
    };
    let world = world_with(options).await;
    let t = torrent(&world, 8 * MIB, 64).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("cheat", 200_000).await.expect("a wallet");
    let seeder = world.seeder("seeder", &t.file, &t.data, &SEEDER).await;
    let (mut seeder, address) = seeder.expect("seeds");
    let out = world.dir.path().join("out");
    let torrent = t.file.to_str().expect("UTF-8");
    let tricks = [
        "--peer",
        &address,
        "--max-price",
        "4096",
        "--cheat",
        "redeem-after",
    ];
    let cheat = world.download("cheat", torrent, &out, &tricks);
    let mut cheat = cheat.expect("starts");
    let tried = cheat.wait_for("cheat", LONG).await.expect("redeems");
    let done = match cheat.last("done").cloned() {
        Some(done) => done,
        None => cheat.wait_for("done", LONG).await.expect("finishes"),
    };
    cheat.finish(SHORT).await.expect("ends");
    same(&t.payload, &out.join(&t.name));
    let stolen = number(&tried["tried"], "units_credited");
    let paid = number(&done, "units_paid");
    assert!(stolen > 0 && paid > 0, "{tried} {done}");
    let before = balance(&world, "cheat").await;
    assert_eq!(number(&before, "broker_pending"), stolen);
    // Its wallet has a copy of the list from before. With the next one, here that of its next start, it
    // sees what was done, and does all the rest by itself.
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    assert!(!has(&world, "seeder", "proof_found").await);
    Stolen {
        world,
        t,
        before,
        paid,
    }
}

/// Whether a wallet's history has a line of this kind.
async fn has(world: &TestWorld, home: &str, kind: &str) -> bool {
    kinds(world, home).await.iter().any(|line| line == kind)
}

impl Stolen {
    async fn seeder(&self) -> Proc {
        let (t, world) = (&self.t, &self.world);
        let seeder = world.seeder("seeder", &t.file, &t.data, &SEEDER).await;
        seeder.expect("seeds").0
    }

    /// The contest is decided: the credit went back to the coin, nothing to the cheat's balance; the
    /// seeder has its share.
    async fn is_given_back(&self, mut seeder: Proc) {
        let world = &self.world;
        let start = std::time::Instant::now();
        while number(&balance(world, "cheat").await, "broker_pending") > 0 {
            assert!(start.elapsed() < LONG, "the contest is never decided");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
        let after = balance(world, "cheat").await;
        for key in ["broker_balance", "broker_bond"] {
            assert_eq!(after[key], self.before[key], "{after}");
        }
        assert_eq!(after["broker_suspended"], false, "nobody lost: {after}");
        let redeemed = world.must("seeder", &["wallet", "redeem", "--all"]).await;
        let redeemed = redeemed.expect("its share stands");
        assert_eq!(number(&redeemed, "units_earned"), self.paid, "{redeemed}");
        let seeder = balance(world, "seeder").await;
        assert_eq!(number(&seeder, "broker_pending"), self.paid);
        audit(world).await;
    }
}

#[tokio::test]
async fn a_seeder_contests_what_the_spent_list_says_against_it_and_is_paid() {
    let stolen = stolen().await;
    let seeder = stolen.seeder().await;
    stolen.is_given_back(seeder).await;
    assert!(has(&stolen.world, "seeder", "proof_found").await);
    // Who lost the credit is told by its broker.
    let start = std::time::Instant::now();
    while !has(&stolen.world, "cheat", "cancelled").await {
        assert!(start.elapsed() < LONG, "the wallet is never told");
        sync(&stolen.world, "cheat").await;
    }
    balance(&stolen.world, "cheat").await;
}

#[tokio::test]
async fn a_broker_killed_while_it_decides_a_contest_decides_it_once() {
    let mut stolen = stolen().await;
    let mut broker = stolen.world.world.broker.take().expect("runs");
    broker.stop(LONG).await.expect("ends");
    let first = "broker.read.before";
    let mut doomed = doomed_broker(&stolen.world, first);
    doomed.wait_for("ready", LONG).await.expect("serves");
    let seeder = stolen.seeder().await;
    dies(&mut doomed, first).await;
    for at in ["broker.read", "broker.decided.before", "broker.decided"] {
        dies(&mut doomed_broker(&stolen.world, at), at).await;
        audit(&stolen.world).await;
    }
    restart_broker(&mut stolen.world).await;
    stolen.is_given_back(seeder).await;
}

/// The coin is one that the broker sold, so that the broker takes it back.
#[tokio::test]
async fn a_coin_that_was_redeemed_is_refused_by_a_seeder_that_has_the_spent_list() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let [account, holder] = [31, 32].map(|n| SecretKey::from_bytes([n; 32]));
    let name = account.public().to_string();
    world.deposit(&name, 200_000).await.expect("booked");
    let client = BrokerClient::new(&world.broker_url, None, account).expect("a URL");
    client.info().await.expect("answers");
    let order = vec![(Units(64), holder.public())];
    let sold = client.purchase(RequestId([1; 16]), order).await;
    let path = Path {
        coin: sold.expect("sold")[0],
        links: Vec::new(),
    };
    let id = path.holding().expect("a coin").id;
    let redeem = RedeemPart::sign(&holder, &id, client.account_id(), RecordKey([9; 32]));
    let items = vec![(path.clone(), redeem)];
    let done = client.redeem(RequestId([2; 16]), items).await;
    let done = done.expect("answered").value.remove(0);
    assert!(matches!(done, ItemAnswer::Redeemed { .. }), "{done:?}");

    let (_seeder, address) = seeder(&world, "seeder", &t).await;
    // Until its copy of the list has come, it may say which key it would be paid on.
    let start = std::time::Instant::now();
    for id in (b'a'..=u8::MAX).cycle() {
        let mut peer = connect(&address, &t, id).await;
        let path = path.encode();
        let propose = Message::Propose { channel: 0, path };
        peer.pay(&propose).await.expect("sends");
        let said = peer.until_pay("an answer", SHORT, |said| {
            matches!(said, Message::Refused { .. } | Message::Key { .. })
        });
        match said.await.expect("answers") {
            Message::Refused { reason, .. } => {
                assert_eq!(reason, RefuseReason::Spent);
                return;
            }
            said => assert!(start.elapsed() < LONG, "{said:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
