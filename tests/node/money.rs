//! What the API says about the wallet's money.

use reqwest::Method;
use serde_json::json;

use super::support::{client, node_world, post, refused, send, start, wait, wait_stage};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coins_that_nobody_asked_for_are_bought_as_far_as_the_setting_says() {
    let w = node_world(65_536).await;
    let (_node, node) = w.start().await;
    let none = json!({ "rules.at_hand": 0 });
    send(&node, Method::PATCH, "/settings", none).await;
    let (code, said) = refused(
        &node,
        Method::PATCH,
        "/settings",
        json!({ "rules.at_hand": 4096 }),
    )
    .await;
    assert_eq!(code, "bad_setting", "{said}");
    assert!(said.contains("0 to 2048"), "{said}");
    w.enrich(&node).await;
    let bought = post(&node, "/wallet/buy", json!({ "units": 1000 })).await;
    assert_eq!(bought["units"], 1008, "{bought}");
    let has = |units: u64| move |wallet: &serde_json::Value| wallet["available"] == units;
    wait(&node, "/wallet", has(1008)).await;
    let some = json!({ "rules.at_hand": 256 });
    send(&node, Method::PATCH, "/settings", some).await;
    // 1008 units are 256 three times, 64 three times and 16 three times: one more of 64.
    wait(&node, "/wallet", has(1008 + 64)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_balance_at_the_broker_needs_no_passphrase_where_a_node_has_the_wallet_open() {
    let w = node_world(65_536).await;
    let (mut proc, node) = w.start().await;
    wait_stage(&node, "setup").await;
    let made = post(&node, "/wallet", json!({ "passphrase": "one two three" })).await;
    wait_stage(&node, "running").await;
    w.deposit(made["account"].as_str().expect("an account"), 200_000)
        .await;
    let known = wait(&node, "/wallet", |wallet| {
        wallet["broker_balance"].as_u64() > Some(0)
    });
    let known = known.await;
    let balance = ["wallet", "balance"];
    let told = w.world.must("leecher", &balance).await.expect("told");
    for name in ["broker_balance", "broker_bond", "broker_error"] {
        assert_eq!(told[name], known[name], "{name}: {told}");
    }
    proc.stop(super::support::LONG).await.expect("stops");
    let told = w.world.must("leecher", &balance).await.expect("told");
    let why = told["broker_error"].as_str().expect("why not");
    assert!(why.contains("give the passphrase"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_can_be_bought_is_refused_whole_and_says_how_much_can_be() {
    let w = node_world(65_536).await;
    let (_node, node) = w.start().await;
    let none = json!({ "rules.at_hand": 0 });
    send(&node, Method::PATCH, "/settings", none).await;
    w.enrich(&node).await;
    // 200,000 units, of which 100,000 are the bond.
    let much = json!({ "units": 150_000 });
    let (code, said) = refused(&node, Method::POST, "/wallet/buy", much).await;
    assert_eq!(code, "money", "{said}");
    assert!(said.contains("buys 100000 now"), "{said}");
    let wallet = wait(&node, "/wallet", |wallet| wallet["buyable"] == 100_000).await;
    assert_eq!(
        (&wallet["total_bought"], &wallet["in_flight"]),
        (&json!(0), &json!(0))
    );
    // What can be bought is.
    let bought = post(&node, "/wallet/buy", json!({ "units": 512 })).await;
    assert_eq!(bought["units"], 512, "{bought}");
}
