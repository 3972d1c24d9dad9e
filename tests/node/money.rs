//! What the API says about the wallet's money.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, client, get, node_world, post, refused, row, send, start, wait, wait_stage,
};

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

/// As if all that the wallet holds had lain there for a day.
async fn age_holdings(wallet: &std::path::Path) {
    let url = format!("sqlite://{}", wallet.display());
    let pool = sqlx::sqlite::SqlitePool::connect(&url).await;
    let pool = pool.expect("opens");
    let aged = sqlx::query("UPDATE holding SET since_unix_ms = since_unix_ms - 86400000");
    aged.execute(&pool).await.expect("is written");
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coins_are_bought_and_change_is_redeemed_by_itself_as_the_rules_say() {
    let w = node_world(1 << 20).await;
    let (mut proc, node) = w.start().await;
    let none = json!({ "rules.at_hand": 0, "rules.redeem_from": 0 });
    send(&node, Method::PATCH, "/settings", none).await;
    w.enrich(&node).await;
    assert_eq!(get(&node, "/wallet").await["total_bought"], 0);
    let rules = json!({ "rules.buy_below": 500, "rules.buy_units": 512 });
    send(&node, Method::PATCH, "/settings", rules).await;
    let bought = |wallet: &Value| wallet["available"] == 512 && wallet["total_bought"] == 512;
    wait(&node, "/wallet", bought).await;
    let off = json!({ "rules.buy_below": null });
    send(&node, Method::PATCH, "/settings", off).await;

    let terms = json!({ "max_price": 20_000 });
    let add = json!({ "source": { "magnet": w.magnet }, "confirmed": true, "terms": terms });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    let total = get(&node, "/wallet").await["total_bought"].clone();
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    age_holdings(&w.home().join("wallet.db")).await;
    let (mut proc, node) = w.start().await;
    wait_stage(&node, "running").await;
    let redeemed = |wallet: &Value| wallet["total_redeemed"].as_u64() > Some(0);
    let wallet = wait(&node, "/wallet", redeemed).await;
    // What was bought stays to pay with, and above the rule no more is bought.
    assert!(wallet["available"].as_u64() > Some(0), "{wallet}");
    assert_eq!(wallet["total_bought"], total, "{wallet}");
    assert_eq!(wallet["books_agree"], true, "{wallet}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
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
    proc.stop(LONG).await.expect("stops");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_of_a_moment_ago_counts_when_one_buys() {
    let w = node_world(65_536).await;
    let (_node, node) = w.start().await;
    send(
        &node,
        Method::PATCH,
        "/settings",
        json!({ "rules.at_hand": 0 }),
    )
    .await;
    wait_stage(&node, "setup").await;
    let made = post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let account = made["account"].as_str().expect("an account");
    // The bond is 100,000 units.
    w.deposit(account, 100_100).await;
    let much = json!({ "units": 2048 });
    let (code, said) = refused(&node, Method::POST, "/wallet/buy", much.clone()).await;
    assert_eq!(code, "money", "{said}");
    assert!(said.contains("buys 100 now"), "{said}");
    w.deposit(account, 5_000).await;
    let bought = post(&node, "/wallet/buy", much).await;
    assert_eq!(bought["units"], 2048, "{bought}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_bond_and_a_clock_that_is_wrong_are_told() {
    let w = node_world(4 << 20).await;
    let (mut proc, node) = w.rich_node().await;
    let notice = |told: &Value, code: &str| {
        let all = told["notices"].as_array().cloned().unwrap_or_default();
        let mut of = all.into_iter().filter(|notice| notice["code"] == code);
        of.next().unwrap_or_default()
    };
    let told = wait(&node, "/notices", |told| {
        !notice(told, "kept_at_hand").is_null()
    });
    let kept = notice(&told.await, "kept_at_hand");
    let wallet = get(&node, "/wallet").await;
    let number = |value: &Value| value.as_u64().expect("a number").to_string();
    assert_eq!(kept["values"]["bond"], number(&wallet["broker_bond"]));
    assert_eq!(kept["values"]["units"], number(&wallet["total_bought"]));
    assert_eq!(
        notice(&get(&node, "/notices").await, "clock_wrong"),
        Value::Null
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);

    let mut more = w.around();
    more.extend(["--clock-offset-s", "86400"]);
    let (mut proc, _, _) = start(&w.home(), w.dir.path(), &more).await;
    let node = client(&w.home()).await;
    wait_stage(&node, "running").await;
    let terms = json!({ "max_price": 20_000 });
    let add = json!({ "source": { "magnet": w.magnet }, "confirmed": true, "terms": terms });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let told = wait(&node, "/notices", |told| {
        !notice(told, "clock_wrong").is_null()
    });
    let text = notice(&told.await, "clock_wrong")["text"].to_string();
    assert!(text.contains("too far apart: set it"), "{text}");
    // And, where a person looks, why no more comes than a stranger gets.
    wait(&node, "/torrents", |list| {
        row(list, &hash)["waits"]["code"] == "clock_wrong"
    })
    .await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}
