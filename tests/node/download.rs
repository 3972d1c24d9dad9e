//! From nothing to a paid download and its receipt, and everything as it was after a restart.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{LONG, args, get, node_world, post, refused, row, send, wait, wait_stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_wallet_pays_for_a_download_and_a_restart_finds_everything() {
    let world = node_world(3 << 20).await;
    let (mut proc, mut node) = world.rich_node().await;
    let asked = json!({
        "source": { "magnet": world.magnet },
        "ask": true,
        "terms": { "max_price": 20_000, "budget": 1000 },
    });
    let added = post(&node, "/torrents", asked.clone()).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let (_, text) = refused(&node, Method::POST, "/torrents", asked).await;
    assert!(text.contains(&hash) && text.contains("its page"), "{text}");
    let again = json!({ "source": { "magnet": world.magnet }, "ask": true });
    let again = post(&node, "/torrents", again).await;
    assert_eq!(
        (&again["already"], &again["new_peers"]),
        (&json!(true), &json!(0))
    );

    // The estimate sees the seeder's price before anything is paid.
    let estimate = format!("/torrents/{hash}/estimate");
    let seen = wait(&node, &estimate, |estimate| {
        estimate["prices"]
            .as_array()
            .is_some_and(|prices| !prices.is_empty())
    })
    .await;
    assert_eq!(seen["missing_bytes"], 3 << 20);
    assert_eq!(seen["expected_units"], 48, "3 MiB at 16384 units per GiB");
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["state"], "asking");
    assert_eq!(get(&node, "/wallet").await["total_paid"], 0);

    let yes = json!({ "action": "confirm", "info_hashes": [hash] });
    let done = post(&node, "/torrents/actions", yes).await;
    assert_eq!(done["done"][0], hash.as_str(), "{done}");
    let list = wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    let paid = row(&list, &hash)["units_paid"].as_u64().expect("paid");
    assert!((40..=48).contains(&paid), "paid {paid}");
    let file = world.dir.path().join("downloads").join(&world.name);
    assert!(std::fs::read(&file).expect("downloaded") == world.payload);

    let files = get(&node, &format!("/torrents/{hash}/files")).await;
    assert_eq!(files[0]["media_type"], "video/mp4");
    let map = get(&node, &format!("/torrents/{hash}/pieces")).await;
    assert_eq!(
        (map["pieces"].as_u64(), map["have"].as_u64()),
        (Some(48), Some(48))
    );
    let peers = get(&node, &format!("/torrents/{hash}/peers")).await;
    assert!(peers.as_array().is_some(), "{peers}");

    // A restart in order: channels are closed, and nothing is fetched or hashed anew.
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    (proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    let list = wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    assert_eq!(row(&list, &hash)["units_paid"], paid, "{list}");
    let spent = get(&node, "/reports/spending?by=torrent").await;
    let wallet = get(&node, "/wallet").await;
    assert_eq!(
        spent["total"]["units"], wallet["total_paid"],
        "{spent} {wallet}"
    );
    assert_eq!(spent["rows"][0]["label"], world.name.as_str());
    let by_peer = get(&node, "/reports/spending?by=peer").await;
    assert_eq!(by_peer["rows"][0]["units"], paid, "{by_peer}");
    let came = by_peer["rows"][0]["bytes"].as_u64().expect("noted");
    assert!(came >= 3 << 20, "{by_peer}");

    // Checked anew while it is paused: it stays so, and has what is there.
    for action in ["pause", "recheck"] {
        let asked = json!({ "action": action, "info_hashes": [hash] });
        let done = post(&node, "/torrents/actions", asked).await;
        assert_eq!(done["done"][0], hash.as_str(), "{done}");
    }
    wait(&node, "/torrents", |list| {
        let row = row(list, &hash);
        row["state"] == "paused" && row["have_bytes"] == 3 << 20
    })
    .await;
    let limits = json!({ "upload_bytes_per_s": 100_000 });
    let path = format!("/torrents/{hash}/terms");
    let terms = send(&node, Method::PATCH, &path, limits).await;
    assert_eq!(terms["upload_bytes_per_s"], 100_000, "{terms}");
    // What is no limit leaves the one that is there.
    let home = world.home().display().to_string();
    let words = ["limit", &hash, "--up", "5x", "--json", "--home", &home];
    let refused = world.world.run(&args(&words)).await.expect("runs");
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("5x"), "{}", refused.stderr);
    let detail = get(&node, &format!("/torrents/{hash}")).await;
    assert_eq!(detail["terms"]["upload_bytes_per_s"], 100_000, "{detail}");
    let lifted = json!({ "upload_bytes_per_s": 0 });
    let terms = send(&node, Method::PATCH, &path, lifted).await;
    assert_eq!(terms["upload_bytes_per_s"], Value::Null, "{terms}");
    let path = format!("/reports/spending/receipts?by=torrent&key={hash}");
    let receipts = get(&node, &path).await;
    assert_eq!(receipts["units"], spent["total"]["units"]);
    let reference = receipts["lines"][0]["reference"]
        .as_str()
        .expect("a receipt");
    let receipt = get(&node, &format!("/wallet/receipts/{reference}")).await;
    assert!(
        receipt["lines"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty())
    );
    let kept = &receipt["kept"];
    assert!(kept[0]["about"].is_string(), "a list of receipts: {kept}");
    let described: Value = serde_json::from_str(&dpay::http::node::document()).expect("JSON");
    let described = &described["components"]["schemas"]["Receipt"]["properties"]["kept"];
    assert_eq!(described["type"], "array");
    let csv = node
        .text("/reports/spending/csv?by=torrent")
        .await
        .expect("csv");
    assert!(
        csv.lines()
            .nth(1)
            .is_some_and(|line| line.starts_with(&hash)),
        "{csv}"
    );

    let list = get(&node, "/torrents").await;
    let came = row(&list, &hash)["downloaded_bytes"].clone();
    assert!(came.as_u64() >= Some(3 << 20), "{list}");
    let away = json!({ "action": "remove_with_data", "info_hashes": [hash] });
    post(&node, "/torrents/actions", away.clone()).await;
    assert!(!file.exists());
    assert_eq!(get(&node, "/torrents").await["torrents"], json!([]));

    // Added anew it has cost what it cost before, for what came before: its budget counts that too.
    let asked = json!({ "source": { "magnet": world.magnet }, "paused": true });
    post(&node, "/torrents", asked).await;
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["units_paid"], paid, "{list}");
    assert_eq!(row(&list, &hash)["downloaded_bytes"], came, "{list}");
    post(&node, "/torrents/actions", away).await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_budget_stops_paying_and_a_file_streams_in_ranges() {
    let world = node_world(16 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    send(
        &node,
        Method::PATCH,
        "/settings",
        json!({
            "spending.budget_day": 100, "spending.max_price": 20_000,
        }),
    )
    .await;
    let add = json!({ "source": { "magnet": world.magnet }, "confirmed": true });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/notices", |notices| {
        let notices = notices["notices"].as_array().cloned().unwrap_or_default();
        notices
            .iter()
            .any(|notice| notice["code"] == "budget_reached")
    })
    .await;
    // The last channel that the budget allows is paid on; none follows.
    let paid = |spending: &Value| spending["day"]["spent"].as_u64() > Some(0);
    let spent = wait(&node, "/spending", paid).await;
    let day = spent["day"]["spent"].as_u64().expect("spent");
    assert!((1..=100).contains(&day), "{spent}");
    // The live graph has all of it, whoever asked for what in between.
    wait(&node, "/speeds", |speeds| {
        let pulses = speeds["pulses"].as_array().cloned().unwrap_or_default();
        let units = pulses
            .iter()
            .filter_map(|pulse| pulse["units_paid_per_s"].as_u64());
        units.sum::<u64>() >= day
    })
    .await;

    // More budget: it goes on, and the file is read while it comes.
    send(
        &node,
        Method::PATCH,
        "/settings",
        json!({ "spending.budget_day": null }),
    )
    .await;
    let token = std::fs::read_to_string(world.home().join("api.token")).expect("a token");
    let url = format!("{}/api/v1/torrents/{hash}/files/0/stream", node.url());
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(LONG)
        .build()
        .expect("a client");
    let range = client
        .get(&url)
        .bearer_auth(&token)
        .header("range", "bytes=3000000-3000999");
    let answer = range.send().await.expect("answers");
    assert_eq!(answer.status(), 206);
    assert_eq!(
        answer.headers()["content-range"],
        "bytes 3000000-3000999/16777216"
    );
    assert_eq!(answer.headers()["content-type"], "video/mp4");
    let bytes = answer.bytes().await.expect("bytes");
    assert!(bytes[..] == world.payload[3_000_000..3_001_000]);
    let beyond = client
        .get(&url)
        .bearer_auth(&token)
        .header("range", "bytes=16777216-");
    let beyond = beyond.send().await.expect("answers");
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["content-range"], "bytes */16777216");
    let said: Value = beyond.json().await.expect("JSON");
    assert_eq!(said["code"], "bad_request", "{said}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}
