//! Money that travels: shares earned by seeding pay the next download without the broker, and what
//! nobody closes, presents or redeems is taken care of without anybody asking for it.

use std::time::{Duration, Instant};

use serde_json::Value;

use dpay::cli::world::Proc;

use crate::support::{LONG, SHORT, TestWorld, Torrent, audit, same, torrent, world};

const MIB: usize = 1 << 20;
/// 16 units a MiB.
const PRICE: &str = "16384";
const HOUR_S: i64 = 3600;

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {key} in {value}"))
}

async fn seeders(world: &TestWorld, t: &Torrent, free: &str) -> (Vec<Proc>, Vec<String>) {
    let mut all = (Vec::new(), Vec::new());
    for name in ["seeder-1", "seeder-2", "seeder-3"] {
        let extra = ["--free", free, "--price", PRICE];
        let started = world.seeder(name, &t.file, &t.data, &extra).await;
        let (seeder, address) = started.expect("seeds");
        all.0.push(seeder);
        all.1.push(address);
    }
    all
}

fn peers(addresses: &[String]) -> Vec<&str> {
    let named = addresses.iter().map(String::as_str);
    named.flat_map(|address| ["--peer", address]).collect()
}

async fn balance(world: &TestWorld, name: &str) -> Value {
    let balance = world.must(name, &["wallet", "balance"]).await;
    let balance = balance.expect("a balance");
    assert_eq!(balance["books_agree"], true, "{balance}");
    balance
}

/// Receipts of the lines of one kind in somebody's history.
async fn receipts(world: &TestWorld, name: &str, kind: &str) -> Vec<Value> {
    let history = world.must(name, &["wallet", "history"]).await;
    let history = history.expect("a history");
    let mut all = Vec::new();
    for line in history.as_array().expect("a list") {
        if line["kind"] == kind {
            let show = number(line, "number").to_string();
            let args = ["wallet", "history", "--show", &show];
            all.push(world.must(name, &args).await.expect("a receipt"));
        }
    }
    all
}

#[tokio::test]
async fn what_a_leecher_earns_by_seeding_pays_its_next_download_without_the_broker() {
    let mut world = world().await;
    for name in ["seeder-1", "seeder-2", "seeder-3", "leecher-1"] {
        world.wallet(name, 0).await.expect("a wallet");
    }
    // The bond, and eight coins of 64 units.
    world.wallet("leecher-2", 100_512).await.expect("a wallet");
    let first = torrent(&world, 12 * MIB, 256).await;
    let second = torrent(&world, 3 * MIB, 256).await;

    // The first leecher has no money: it takes what is free, and then asks for payment itself.
    let (mut free, addresses) = seeders(&world, &first, "on").await;
    let out = world.dir.path().join("out-1");
    let mut extra = vec!["--free-only", "--seed", "--free", "off", "--price", PRICE];
    extra.extend(peers(&addresses));
    let file = first.file.to_str().expect("UTF-8");
    let started = world.download("leecher-1", file, &out, &extra);
    let mut reseeder = started.expect("starts");
    let ready = reseeder.wait_for("ready", LONG).await.expect("starts");
    let address = ready["listen"].as_str().expect("an address").to_owned();
    reseeder
        .wait_for("complete", LONG)
        .await
        .expect("completes");
    for seeder in &mut free {
        seeder.stop(SHORT).await.expect("ends");
    }

    // The second leecher pays it, in coins of 64.
    let out = world.dir.path().join("out-2");
    let extra = ["--peer", address.as_str(), "--max-price", PRICE];
    let started = world.download("leecher-2", file, &out, &extra);
    let mut leecher = started.expect("starts");
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    same(&first.payload, &out.join(&first.name));
    leecher.finish(SHORT).await.expect("ends");
    reseeder.stop(LONG).await.expect("ends");
    let paid = number(&done, "units_paid");
    assert_eq!(paid, 192, "{done}");
    let before = balance(&world, "leecher-1").await;
    assert_eq!(number(&before, "earned"), paid, "{before}");
    assert_eq!(number(&before["books"], "bought"), 0, "{before}");

    // What it earned buys the second torrent from three seeders, and nobody asks the broker for more
    // than it takes to start: no purchase, no redemption, nothing for each piece or channel.
    restart_broker(&mut world).await;
    let (mut paid_seeders, addresses) = seeders(&world, &second, "off").await;
    let out = world.dir.path().join("out-3");
    let mut extra = vec!["--max-price", PRICE];
    extra.extend(peers(&addresses));
    let file = second.file.to_str().expect("UTF-8");
    let started = world.download("leecher-1", file, &out, &extra);
    let mut leecher = started.expect("starts");
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    same(&second.payload, &out.join(&second.name));
    leecher.finish(SHORT).await.expect("ends");
    for seeder in &mut paid_seeders {
        seeder.stop(LONG).await.expect("ends");
    }
    let onward = number(&done, "units_paid");
    assert_eq!(onward, 48, "{done}");
    let requests = restart_broker(&mut world).await;
    assert!(
        requests <= 80,
        "{requests} requests of four nodes that started"
    );
    let after = balance(&world, "leecher-1").await;
    assert_eq!(number(&after["books"], "bought"), 0, "{after}");

    // The chain: every payment spent a share or its change, and no seeder got a coin that was new.
    let payments = receipts(&world, "leecher-1", "locked").await;
    assert!(!payments.is_empty());
    for payment in &payments {
        assert_eq!(payment["about"], "payment", "{payment}");
        assert!(number(payment, "links") >= 1, "{payment}");
    }
    let mut earned = 0;
    for name in ["seeder-1", "seeder-2", "seeder-3"] {
        for earning in receipts(&world, name, "earned").await {
            assert_eq!(earning["about"], "earning", "{earning}");
            assert!(number(&earning, "links") >= 1, "{earning}");
            assert!(earning["close"].is_string(), "{earning}");
            earned += number(&earning, "paid");
        }
    }
    assert_eq!(earned, onward);

    // The books: all of it is redeemed, to the unit.
    let mut redeemed = 0;
    for name in ["seeder-1", "seeder-2", "seeder-3", "leecher-1", "leecher-2"] {
        let done = world.must(name, &["wallet", "redeem", "--all"]).await;
        let done = done.expect("redeems");
        redeemed += number(&done, "units_redeemed");
        let after = balance(&world, name).await;
        assert_eq!(number(&after, "held"), 0, "{name}: {after}");
    }
    assert_eq!(redeemed, 512, "every unit that was bought");
    audit(&world).await;
}

/// Stops the broker and starts it again at its address; the requests that it had answered.
async fn restart_broker(world: &mut TestWorld) -> u64 {
    let mut broker = world.world.broker.take().expect("runs");
    broker.stop(SHORT).await.expect("ends");
    let stopped = broker.last("stopped").expect("says so").clone();
    let url = world.broker_url.clone();
    let listen = url.strip_prefix("http://").expect("an address");
    let again = world.world.start_broker(listen).await;
    again.expect("starts again");
    number(&stopped, "requests")
}

/// A download that is killed while it pays; the seeder sees the connection end.
async fn killed(world: &TestWorld, t: &Torrent) -> (Proc, u64) {
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let extra = ["--free", "off", "--price", PRICE];
    let started = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (seeder, address) = started.expect("seeds");
    let out = world.dir.path().join("out");
    let extra = ["--peer", address.as_str(), "--max-price", PRICE];
    let file = t.file.to_str().expect("UTF-8");
    let mut leecher = world
        .download("leecher", file, &out, &extra)
        .expect("starts");
    leecher.wait_for("accepted", LONG).await.expect("pays");
    let paying = |line: &Value| line["units_paid"].as_u64() > Some(16);
    leecher
        .wait_until("paying", LONG, paying)
        .await
        .expect("pays");
    leecher.kill().await;
    let locked = number(&balance(world, "leecher").await, "locked");
    assert!(locked > 0);
    (seeder, locked)
}

#[tokio::test]
async fn a_close_that_never_came_is_found_in_the_dht_by_itself() {
    let mut world = world().await;
    let t = torrent(&world, 96 * MIB, 256).await;
    let (mut seeder, _) = killed(&world, &t).await;
    // The payee closes, puts, and goes for good. The payer has not heard of it.
    seeder.stop(LONG).await.expect("ends");
    let stopped = seeder.last("stopped").expect("says so").clone();
    let early = world.must("leecher", &["wallet", "sync", "--due"]).await;
    let early = early.expect("a round");
    assert_eq!(number(&early, "closes_found"), 0, "not due yet: {early}");
    world.world.clock_offset_s = HOUR_S / 2;
    let later = world.must("leecher", &["wallet", "sync", "--due"]).await;
    let later = later.expect("a round");
    assert!(number(&later, "closes_found") >= 1, "{later}");
    world.world.clock_offset_s = 0;
    let after = balance(&world, "leecher").await;
    assert_eq!(number(&after, "locked"), 0, "{after}");
    let paid = number(&after["books"], "paid");
    assert_eq!(paid, number(&stopped, "units_earned"), "{after} {stopped}");
    // Whatever the payer had not written when it was killed, the change is redeemed to the unit.
    for name in ["seeder", "leecher"] {
        let done = world.must(name, &["wallet", "redeem", "--all"]).await;
        done.expect("redeems");
        assert_eq!(number(&balance(&world, name).await, "held"), 0);
    }
    audit(&world).await;
}

#[tokio::test]
async fn what_nobody_redeems_is_redeemed_by_a_running_seeder_itself() {
    let mut world = world().await;
    let t = torrent(&world, 2 * MIB, 64).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let extra = ["--free", "off", "--price", "4000", "--keep", "0"];
    let started = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, address) = started.expect("seeds");
    let out = world.dir.path().join("out");
    let file = t.file.to_str().expect("UTF-8");
    let started = world.download("leecher", file, &out, &["--peer", &address]);
    let mut leecher = started.expect("starts");
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    leecher.finish(SHORT).await.expect("ends");
    seeder.stop(LONG).await.expect("ends");
    let paid = number(&done, "units_paid");
    assert!(paid > 0, "{done}");
    assert_eq!(number(&balance(&world, "seeder").await, "earned"), paid);

    // Nineteen hours later, on both clocks.
    world.world.clock_offset_s = 19 * HOUR_S;
    restart_broker(&mut world).await;
    let started = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, _) = started.expect("seeds");
    let start = Instant::now();
    loop {
        let now = balance(&world, "seeder").await;
        if number(&now["books"], "redeemed") == paid {
            assert_eq!(number(&now, "earned"), 0, "{now}");
            break;
        }
        assert!(start.elapsed() < LONG, "never redeemed: {now}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    seeder.stop(LONG).await.expect("ends");
    audit(&world).await;
}
