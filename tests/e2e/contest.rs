//! A coin that was redeemed behind the back of the seeder that accepted it: the seeder finds it on the
//! broker's spent list, presents its own, and the broker decides by what the DHT holds.

use serde_json::Value;

use dpay::cli::world::WorldOptions;

use crate::support::{LONG, SHORT, TestWorld, audit, same, torrent, world_with};

const MIB: usize = 1 << 20;
const HOLD_S: u64 = 3_600;

async fn balance(world: &TestWorld, name: &str) -> Value {
    let balance = world.must(name, &["wallet", "balance"]).await;
    balance.expect("a balance")
}

async fn kinds(world: &TestWorld, name: &str) -> Vec<String> {
    let history = world
        .must(name, &["wallet", "history", "--limit", "1000"])
        .await;
    let history = history.expect("a history");
    let lines = history.as_array().expect("lines");
    let kinds = lines.iter().filter_map(|line| line["kind"].as_str());
    kinds.map(str::to_owned).collect()
}

fn units(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key}: {of}"))
}

#[tokio::test]
async fn a_seeder_contests_what_the_spent_list_says_against_it_and_is_paid() {
    let options = WorldOptions {
        hold_s: HOLD_S,
        contest_gap_s: Some(1),
        ..WorldOptions::default()
    };
    let world = world_with(options).await;
    let t = torrent(&world, 8 * MIB, 64).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("cheat", 200_000).await.expect("a wallet");
    let extra = ["--free", "off", "--price", "4096"];
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
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
    let stolen = units(&tried["tried"], "units_credited");
    let paid = units(&done, "units_paid");
    assert!(stolen > 0 && paid > 0, "{tried} {done}");
    assert_eq!(
        units(&balance(&world, "cheat").await, "broker_pending"),
        stolen
    );
    let before = balance(&world, "cheat").await;

    // Its wallet has a copy of the list from before. With the next one, here that of its next start, it
    // sees what was done, and does all the rest by itself.
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    assert!(
        !kinds(&world, "seeder")
            .await
            .contains(&"proof_found".to_owned())
    );
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, _) = seeder.expect("seeds");
    let start = std::time::Instant::now();
    while units(&balance(&world, "cheat").await, "broker_pending") > 0 {
        assert!(start.elapsed() < LONG, "the contest is never decided");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(
        kinds(&world, "seeder")
            .await
            .contains(&"proof_found".to_owned())
    );
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);

    // The credit went back to the coin, nothing to the cheat's balance; the seeder has its share.
    let after = balance(&world, "cheat").await;
    assert_eq!(after["broker_balance"], before["broker_balance"], "{after}");
    assert_eq!(after["broker_bond"], before["broker_bond"], "{after}");
    assert_eq!(after["broker_suspended"], false, "nobody lost: {after}");
    let redeemed = world.must("seeder", &["wallet", "redeem", "--all"]).await;
    let redeemed = redeemed.expect("its share stands");
    assert_eq!(units(&redeemed, "units_earned"), paid, "{redeemed}");
    assert_eq!(
        units(&balance(&world, "seeder").await, "broker_pending"),
        paid
    );
    audit(&world).await;
}
