//! What a download needs and loses in the middle: the DHT, and a clock that is right.

use std::time::Duration;

use dpay::cli::world::Proc;
use dpay::record::Holding;
use dpay::wire::codes::OpenedState;
use dpay::wire::message::Message;
use serde_json::Value;

use crate::books::come_back;
use crate::cheats::{connect, money, propose};
use crate::relay::Relay;
use crate::restored::restart_broker;
use crate::support::{
    LONG, SHORT, TestWorld, Torrent, audit, private_torrent, same, torrent, world,
};

const MIB: usize = 1 << 20;
const DAY_S: i64 = 86_400;

async fn balance(world: &TestWorld, name: &str) -> Value {
    let balance = world.must(name, &["wallet", "balance"]).await;
    let balance = balance.expect("a balance");
    assert_eq!(balance["books_agree"], true, "{balance}");
    balance
}

/// Redeems until nothing is left to be redeemed.
async fn redeem_all(world: &TestWorld, name: &str) {
    let start = std::time::Instant::now();
    loop {
        let redeemed = world.must(name, &["wallet", "redeem", "--all"]).await;
        let left = balance(world, name).await;
        if left["held"] == 0 {
            return;
        }
        assert!(start.elapsed() < LONG, "{redeemed:?} leaves {left}");
    }
}

fn units(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key}: {of}"))
}

/// All that was deposited is at the broker again.
async fn all_is_back(world: &TestWorld, deposited: u64) {
    let mut sum = 0;
    for name in ["leecher", "seeder"] {
        let balance = balance(world, name).await;
        sum += units(&balance, "broker_balance") + units(&balance, "broker_bond");
    }
    assert_eq!(sum, deposited);
    audit(world).await;
}

/// How long the DHT stays away once the download is done: `DPAY_DHT_GONE_S` seconds, or not longer.
fn gone() -> Duration {
    let seconds = std::env::var("DPAY_DHT_GONE_S").map_or(0, |s| s.parse().expect("seconds"));
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_dht_that_goes_in_the_middle_stops_no_download_and_keeps_no_unit() {
    let mut world = world().await;
    let t = private_torrent(&world, 64 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let extra = ["--free", "leftover", "--price", "4000"];
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, address) = seeder.expect("seeds");
    let mut relay = Relay::start(&address).await;
    let out = world.dir.path().join("out");
    let peer = relay.address.to_string();
    let torrent = t.file.to_str().expect("UTF-8");
    let leecher = world.download("leecher", torrent, &out, &["--peer", &peer]);
    let mut leecher = leecher.expect("starts");
    leecher.wait_for("accepted", LONG).await.expect("pays");
    relay.has_passed(16 * MIB as u64).await;
    for node in &mut world.world.dht {
        node.kill().await;
    }
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    leecher.finish(LONG).await.expect("ends");
    same(&t.payload, &out.join(&t.name));
    let paid = units(&done, "units_paid");
    assert!(paid > 0, "{done}");
    tokio::time::sleep(gone()).await;
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    let stopped = seeder.last("stopped").expect("says so");
    assert_eq!(units(stopped, "units_earned"), paid, "{stopped}");

    // Back again with nothing stored: records are put anew, and what is of the last run is read.
    world.world.restart_dht().await.expect("starts again");
    redeem_all(&world, "seeder").await;
    redeem_all(&world, "leecher").await;
    all_is_back(&world, 200_000).await;
}

#[tokio::test]
async fn a_clock_that_is_a_day_off_is_told_and_costs_nothing() {
    for off_s in [DAY_S, -DAY_S] {
        let mut world = world().await;
        let t = torrent(&world, 4 * MIB, 64).await;
        world.wallet("seeder", 0).await.expect("a wallet");
        world.wallet("leecher", 200_000).await.expect("a wallet");
        let (mut seeder, address) = seeds(&world, &t, "off").await;
        world
            .must("leecher", &["wallet", "buy", "256"])
            .await
            .expect("buys");

        world.world.clock_offset_s = off_s;
        let mut args = vec!["wallet".to_owned(), "redeem".into(), "--all".into()];
        args.extend(world.global("leecher"));
        let told = world.run(&args).await.expect("runs");
        assert_eq!(told.code, 1, "{off_s}: {told:?}");
        says_how_far_apart(&told.stderr);
        // What it bought in an earlier run it cannot know to be unspent now.
        let mut off = leecher(&world, &t, "out", &address);
        let free = off.wait_for("free", LONG).await.expect("says why");
        let why = free["why"].as_str().unwrap_or_default();
        assert!(why.contains("by this machine's clock"), "{off_s}: {free}");
        off.stop(LONG).await.expect("ends");

        // Set right, nothing is lost.
        world.world.clock_offset_s = 0;
        let mut right = leecher(&world, &t, "out", &address);
        let done = right.wait_for("done", LONG).await.expect("finishes");
        right.finish(LONG).await.expect("ends");
        // But for what a seeder gives before it has accepted a payment.
        let paid = done["units_paid"].as_u64().expect("a number");
        assert!((48..=64).contains(&paid), "{off_s}: {done}");
        same(&t.payload, &world.dir.path().join("out").join(&t.name));
        assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
        redeem_all(&world, "seeder").await;
        redeem_all(&world, "leecher").await;
        all_is_back(&world, 200_000).await;
    }
}

/// What a seeder and a leecher begin with: money, coins, and a run of the seeder's in which it had keys certified.
async fn bought(world: &TestWorld) -> Torrent {
    // No more than a seeder gives before it has accepted a payment.
    let t = torrent(world, MIB, 64).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let buy = ["wallet", "buy", "256"];
    world.must("leecher", &buy).await.expect("buys");
    let (mut seeder, _) = seeds(world, &t, "off").await;
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    t
}

async fn seeds(world: &TestWorld, t: &Torrent, free: &str) -> (Proc, String) {
    let extra = ["--free", free, "--price", "16384"];
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    seeder.expect("seeds")
}

fn leecher(world: &TestWorld, t: &Torrent, out: &str, address: &str) -> Proc {
    let out = world.dir.path().join(out);
    let torrent = t.file.to_str().expect("UTF-8");
    let extra = ["--peer", address, "--max-price", "16384"];
    let leecher = world.download("leecher", torrent, &out, &extra);
    leecher.expect("starts")
}

/// A download from a seeder that cannot close what it cannot accept: both are killed once all has come.
async fn completes(world: &TestWorld, t: &Torrent, out: &str, address: &str, seeder: &mut Proc) {
    let mut leecher = leecher(world, t, out, address);
    leecher.wait_for("complete", LONG).await.expect("completes");
    leecher.kill().await;
    seeder.kill().await;
    same(&t.payload, &world.dir.path().join(out).join(&t.name));
}

/// Whose clock is right pays whose clock is right, to the unit: 16 a MiB.
async fn all_is_right(world: &TestWorld, t: &Torrent, out: &str) {
    let (mut seeder, address) = seeds(world, t, "off").await;
    let mut leecher = leecher(world, t, out, &address);
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    leecher.finish(LONG).await.expect("ends");
    assert_eq!(units(&done, "units_paid"), 16, "of {out}: {done}");
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
}

/// All that was paid was earned, and all is there again.
async fn nothing_is_lost(world: &TestWorld) {
    let mut books = Vec::new();
    for name in ["seeder", "leecher"] {
        come_back(world, name).await;
        let balance = balance(world, name).await;
        books.push((
            units(&balance["books"], "earned"),
            units(&balance["books"], "paid"),
        ));
    }
    let [(earned, 0), (0, paid)] = books[..] else {
        panic!("{books:?}");
    };
    assert!(earned == paid && paid >= 32, "{books:?}");
    all_is_back(world, 200_000).await;
}

/// What a wallet's owner is told of the broker.
async fn told_of_clock(world: &TestWorld, name: &str) {
    let balance = balance(world, name).await;
    says_how_far_apart(balance["broker_error"].as_str().unwrap_or_default());
}

/// By how much the clocks differ and what to do, and not that the broker lies.
fn says_how_far_apart(told: &str) {
    let (before, _) = told
        .split_once(" s apart; set this machine's clock")
        .unwrap_or_else(|| panic!("{told}"));
    let apart_s = before.rsplit(' ').next().and_then(|s| s.parse().ok());
    let about_a_day = DAY_S.abs_diff(apart_s.unwrap_or_else(|| panic!("{told}")));
    assert!(about_a_day < 600, "{told}");
    assert!(!told.contains("does not hold"), "{told}");
}

#[tokio::test]
async fn a_seeder_whose_clock_is_a_day_off_says_so_and_costs_nothing() {
    let mut world = world().await;
    let t = bought(&world).await;
    for (off_s, out) in [(DAY_S, "ahead"), (-DAY_S, "behind")] {
        world.world.clock_offset_s = off_s;
        let (mut seeder, address) = seeds(&world, &t, "leftover").await;
        told_of_clock(&world, "seeder").await;
        world.world.clock_offset_s = 0;
        completes(&world, &t, out, &address, &mut seeder).await;
        let said = seeder.stderr().await;
        assert!(said.contains("set this machine's clock"), "{out}: {said}");
        all_is_right(&world, &t, &format!("after-{out}")).await;
    }
    nothing_is_lost(&world).await;
}

#[tokio::test]
async fn a_broker_whose_clock_is_a_day_off_says_so_and_costs_nothing() {
    let mut world = world().await;
    let t = bought(&world).await;
    for (off_s, out) in [(DAY_S, "ahead"), (-DAY_S, "behind")] {
        world.world.clock_offset_s = off_s;
        restart_broker(&mut world).await;
        world.world.clock_offset_s = 0;
        let (mut seeder, address) = seeds(&world, &t, "leftover").await;
        for name in ["seeder", "leecher"] {
            told_of_clock(&world, name).await;
        }
        let mut args = vec!["wallet".to_owned(), "redeem".into(), "--all".into()];
        args.extend(world.global("leecher"));
        let refused = world.run(&args).await.expect("runs");
        assert_eq!(refused.code, 1, "{out}: {refused:?}");
        assert!(refused.stderr.contains("clock"), "{out}: {refused:?}");
        completes(&world, &t, out, &address, &mut seeder).await;
        // Its operator cannot know it from anybody else: all accounts are refused.
        let mut broker = world.world.broker.take().expect("runs");
        assert_eq!(broker.stop(LONG).await.expect("ends"), 0);
        let said = broker.stderr().await;
        let wrong = "this machine's clock is wrong";
        assert_eq!(said.matches(wrong).count(), 1, "once: {said}");

        // Set right, it sells, certifies and redeems as before.
        restart_broker(&mut world).await;
        all_is_right(&world, &t, &format!("after-{out}")).await;
    }
    nothing_is_lost(&world).await;
}

/// A seeder whose copy of the spent list counts as old accepts nothing; but what was spent to it, it has written down.
#[tokio::test]
async fn an_open_that_no_fresh_spent_list_clears_is_not_accepted_and_closed_afterwards() {
    let mut world = world().await;
    let t = bought(&world).await;
    world.world.clock_offset_s = DAY_S;
    let (mut seeder, address) = seeds(&world, &t, "off").await;
    let money = money(&world, 1);
    let mut peer = connect(&address, &t, b'a').await;
    let certificate = propose(&mut peer, 0, money.path()).await;
    let open = money.open(certificate);
    let said = Message::Open { channel: 0, open };
    peer.pay(&said).await.expect("sends");
    let answer = peer.until_pay("an answer", SHORT, |said| {
        matches!(said, Message::Opened { .. } | Message::Refused { .. })
    });
    let answer = answer.await.expect("answers");
    let is_recorded = |said: &Message| {
        let state = OpenedState::Provisional;
        *said == Message::Opened { channel: 0, state }
    };
    assert!(is_recorded(&answer), "{answer:?}");
    seeder.kill().await;

    world.world.clock_offset_s = 0;
    let (_seeder, address) = seeds(&world, &t, "off").await;
    let spend = open.commitment(&Holding::of_coin(&money.coin).id);
    let mut peer = connect(&address, &t, b'b').await;
    let wk = money.chain.anchor();
    let ask = Message::CloseRequest { spend, k: 0, wk };
    peer.pay(&ask).await.expect("sends");
    let close = peer.until_pay("close", SHORT, |said| matches!(said, Message::Close { .. }));
    let Message::Close { close, .. } = close.await.expect("closes") else {
        unreachable!("waited for it");
    };
    assert_eq!(
        (close.k, close.wk),
        (0, wk),
        "the coin is its payer's again"
    );
}
