//! What a killed node knows when it comes back, and what it does without its broker.

use serde_json::{Value, json};

use super::support::{LONG, get, node_world, post, row, send, wait, wait_stage};
use reqwest::Method;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_and_bytes_agree_after_kills() {
    const SIZE: usize = 6 << 20;
    const GIB: u64 = 1 << 30;
    let world = node_world(SIZE).await;
    let (mut proc, mut node) = world.rich_node().await;
    let add = json!({
        "source": { "magnet": world.magnet },
        "confirmed": true,
        "terms": { "max_price": 20_000, "budget": 1000, "download_bytes_per_s": 500_000 },
    });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let mut paid = 0;
    for _ in 0..3 {
        let has_paid_more = |list: &Value| number(&row(list, &hash)["units_paid"]) > paid + 8;
        let list = wait(&node, "/torrents", has_paid_more).await;
        paid = number(&row(&list, &hash)["units_paid"]);
        proc.kill().await;
        (proc, node) = world.start().await;
        wait_stage(&node, "running").await;
    }
    let fast = json!({ "download_bytes_per_s": null });
    let terms = format!("/torrents/{hash}/terms");
    send(&node, Method::PATCH, &terms, fast).await;
    wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    // Nobody asked more than 16384 units per GiB: the bytes are there that were paid for.
    let report = wait(&node, "/reports/spending?by=torrent", |report| {
        let line = &report["rows"][0];
        number(&line["units"]) * GIB <= number(&line["bytes"]) * 16_384
    })
    .await;
    let line = &report["rows"][0];
    let bytes = number(&line["bytes"]);
    assert!(bytes < 2 * SIZE as u64, "nothing is counted twice: {line}");
    wait(&node, "/spending", |spending| {
        let units = &spending["torrents"][0]["budget"]["spent"];
        *units == spending["day"]["spent"] && number(units) > paid
    })
    .await;
    let (list, wallet) = (get(&node, "/torrents").await, get(&node, "/wallet").await);
    assert_eq!(row(&list, &hash)["units_paid"], wallet["total_paid"]);
    // A start in order changes neither.
    let down = number(&row(&list, &hash)["downloaded_bytes"]);
    assert!(down >= bytes, "{down} in the list, {bytes} in the report");
    let report = get(&node, "/reports/spending?by=torrent").await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let (mut proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    let after = get(&node, "/reports/spending?by=torrent").await;
    assert_eq!(report["rows"][0]["units"], after["rows"][0]["units"]);
    assert_eq!(report["rows"][0]["bytes"], after["rows"][0]["bytes"]);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coins_of_an_earlier_run_say_that_they_wait_for_the_broker() {
    let mut w = node_world(64 << 20).await;
    w.world.wallet("leecher", 200_000).await.expect("a wallet");
    let buy = ["wallet", "buy", "1024"];
    w.world.must("leecher", &buy).await.expect("bought");
    if let Some(mut broker) = w.world.broker.take() {
        broker.kill().await;
    }
    let (mut proc, node) = w.start().await;
    wait_stage(&node, "running").await;
    let add = json!({
        "source": { "magnet": w.magnet },
        "confirmed": true,
        "terms": { "max_price": 20_000 },
    });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let list = wait(&node, "/torrents", |list| {
        row(list, &hash)["waits"]["code"] == "list_old"
    })
    .await;
    let why = row(&list, &hash)["waits"]["text"].to_string();
    assert!(why.contains("spent list"), "{why}");
    let wallet = get(&node, "/wallet").await;
    assert!(number(&wallet["waits_for_broker"]) >= 1024, "{wallet}");
    assert_eq!(wallet["total_paid"], 0, "{wallet}");
    // Nobody says that they are ready to spend.
    assert_eq!(
        (number(&wallet["available"]), number(&wallet["unread"])),
        (0, 1024)
    );
    let said = w.world.must("leecher", &["wallet", "balance"]).await;
    let said = said.expect("the balance");
    assert_eq!(
        (number(&said["available"]), number(&said["unread"])),
        (0, 1024),
        "{said}"
    );
    let estimate = get(&node, &format!("/torrents/{hash}/estimate")).await;
    let there = ["available_units", "unread_units"].map(|name| number(&estimate[name]));
    assert_eq!(there, [0, 1024], "{estimate}");
    proc.kill().await;
    drop(w.seeder);
}
