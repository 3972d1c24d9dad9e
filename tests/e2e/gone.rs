//! What a download needs and loses in the middle: the DHT, and a clock that is right.

use std::time::Duration;

use serde_json::Value;

use crate::relay::Relay;
use crate::support::{LONG, TestWorld, audit, private_torrent, same, torrent, world};

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
        let t = torrent(&world, 4 * MIB, 256).await;
        world.wallet("seeder", 0).await.expect("a wallet");
        world.wallet("leecher", 200_000).await.expect("a wallet");
        let extra = ["--free", "leftover", "--price", "4000"];
        let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
        let (mut seeder, address) = seeder.expect("seeds");
        world
            .must("leecher", &["wallet", "buy", "256"])
            .await
            .expect("buys");

        world.world.clock_offset_s = off_s;
        let mut args = vec!["wallet".to_owned(), "redeem".into(), "--all".into()];
        args.extend(world.global("leecher"));
        let told = world.run(&args).await.expect("runs");
        assert_eq!(told.code, 1, "{off_s}: {told:?}");
        assert!(told.stderr.contains("clock"), "{off_s}: {}", told.stderr);
        let out = world.dir.path().join("out");
        let torrent = t.file.to_str().expect("UTF-8");
        let leecher = world.download("leecher", torrent, &out, &["--peer", &address]);
        let mut leecher = leecher.expect("starts");
        leecher.wait_for("done", LONG).await.expect("finishes");
        leecher.finish(LONG).await.expect("ends");
        same(&t.payload, &out.join(&t.name));

        // Set right, nothing is lost.
        world.world.clock_offset_s = 0;
        assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
        redeem_all(&world, "seeder").await;
        redeem_all(&world, "leecher").await;
        all_is_back(&world, 200_000).await;
    }
}
