//! What the API says about the wallet's money.

use serde_json::json;

use super::support::{client, node_world, post, start, wait_stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redemption_says_what_could_not_be_read() {
    let w = node_world(65_536).await;
    w.world.wallet("leecher", 200_000).await.expect("a wallet");
    let buy = ["wallet", "buy", "80"];
    w.world.must("leecher", &buy).await.expect("bought");
    // A node that finds nobody in the DHT.
    let nobody = [
        "--broker",
        &w.world.broker_url,
        "--dht-bootstrap",
        "127.0.0.1:1",
    ];
    let (_node, _, _) = start(&w.home(), w.dir.path(), &nobody).await;
    let node = client(&w.home()).await;
    wait_stage(&node, "running").await;
    let told = post(&node, "/wallet/redeem", json!({ "all": true })).await;
    let of_earlier_runs = told["unread"].as_u64().expect("it says so");
    assert!(of_earlier_runs >= 80, "{told}");
    assert_eq!(told["unanswered"], 0, "{told}");
    let redeem = w
        .world
        .must("leecher", &["wallet", "redeem", "--all"])
        .await;
    let why = redeem.expect_err("not everything was redeemed").to_string();
    assert!(why.contains("could not be read in the DHT"), "{why}");
}
