//! A wallet that a command makes in the home of a node that runs.

use serde_json::json;

use super::support::{args, client, get, lone, node_world, post, row, wait, wait_stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_takes_up_a_wallet_that_a_command_makes_in_its_home() {
    let world = node_world(1 << 20).await;
    // It is told of no broker: the command that makes the wallet names one.
    let mut more = Vec::new();
    for address in &world.world.bootstrap {
        more.extend(["--dht-bootstrap", address.as_str()]);
    }
    let (_proc, _, _) = super::support::start(&world.home(), world.dir.path(), &more).await;
    let node = client(&world.home()).await;
    wait_stage(&node, "setup").await;
    let init = ["wallet", "init", "--no-passphrase"];
    let made = world.world.must("leecher", &init).await.expect("made");
    let account = made["account"].as_str().expect("an account");
    let view = wait_stage(&node, "running").await;
    assert_eq!(view["has_broker"], true, "{view}");
    assert_eq!(get(&node, "/wallet").await["account"], made["account"]);

    world.deposit(account, 200_000).await;
    let add = json!({ "source": { "magnet": world.magnet }, "confirmed": true, "terms": { "max_price": 20_000 } });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash");
    let list = wait(&node, "/torrents", |list| {
        row(list, hash)["state"] == "seeding"
    })
    .await;
    let paid = row(&list, hash)["units_paid"].as_u64().expect("units");
    assert!(paid > 0, "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_takes_up_a_wallet_that_is_restored_into_its_home_and_no_second_one() {
    let world = node_world(65_536).await;
    let made = world.world.wallet("old", 0).await.expect("a wallet");
    let backup = world.dir.path().join("backup").display().to_string();
    let write = ["wallet", "backup", &backup];
    world.world.must("old", &write).await.expect("written");

    let lone = lone().await;
    let node = client(&lone.home).await;
    wait_stage(&node, "setup").await;
    let home = lone.home.display().to_string();
    let restore = args(&["wallet", "restore", "--json", "--home", &home, &backup]);
    let restored = world.world.run(&restore).await.expect("runs");
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    wait_stage(&node, "running").await;
    assert_eq!(get(&node, "/wallet").await["account"], json!(made));

    let again = world.world.run(&restore).await.expect("runs");
    assert_ne!(again.code, 0);
    assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
}
