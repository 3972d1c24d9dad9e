//! Reports of a node that pays: the same in the API, the CSV and the command line, while channels are
//! open and after the node has stopped.

use dpay::http::node::client::NodeClient;
use serde_json::{Value, json};

use super::support::{LONG, NodeWorld, get, node_world, post, row, wait};

fn units(report: &Value) -> u64 {
    report["total"]["units"].as_u64().expect("units")
}

/// Whether every figure of the total is the sum of its rows.
fn sums_up(report: &Value) {
    let total = report["total"].as_object().expect("a row");
    let rows = report["rows"].as_array().expect("rows");
    for (name, figure) in total.iter().filter(|(_, figure)| figure.is_u64()) {
        let sum: u64 = rows.iter().filter_map(|row| row[name].as_u64()).sum();
        assert_eq!(Some(sum), figure.as_u64(), "{name} of {report}");
    }
}

fn csv_sums_up(text: &str) {
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().expect("a head");
    let numbers = |row: &Vec<&str>, at: usize| row[at].parse::<u64>().expect("a number");
    let rows: Vec<Vec<&str>> = rows.collect();
    let (total, rows) = rows.split_last().expect("a total");
    for (at, name) in head.iter().enumerate().skip(2) {
        let sum: u64 = rows.iter().map(|row| numbers(row, at)).sum();
        assert_eq!(sum, numbers(total, at), "{name} of {text}");
    }
}

async fn paid(node: &NodeClient) -> u64 {
    get(node, "/wallet").await["total_paid"]
        .as_u64()
        .expect("units")
}

async fn command(world: &NodeWorld, who: &str, words: &[&str]) -> Value {
    let words = [&["report"], words].concat();
    world.world.must(who, &words).await.expect("a report")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_has_open_channels_and_free_bytes_and_its_totals_are_the_sums_of_its_rows() {
    let world = node_world(16 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let slow = json!({ "max_price": 20_000, "download_bytes_per_s": 400_000 });
    let add = json!({ "source": { "magnet": world.magnet }, "confirmed": true, "terms": slow });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let files = [("free.bin", 1 << 20)];
    let (_giver, link) = world.another_that("free", &files, "on").await;
    let add =
        json!({ "source": { "magnet": link }, "confirmed": true, "terms": { "pays": false } });
    let added = post(&node, "/torrents", add).await;
    let free = added["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| {
        row(list, &free)["state"] == "seeding"
    })
    .await;

    let path = "/reports/spending?by=torrent";
    let is_open = |report: &Value| report["total"]["open"].as_u64() > Some(0);
    wait(&node, path, is_open).await;
    let before = paid(&node).await;
    let report = get(&node, path).await;
    let told = command(&world, "leecher", &["spending", "--by", "torrent"]).await;
    let after = paid(&node).await;
    for report in [&report, &told] {
        assert!(
            (before..=after).contains(&units(report)),
            "{before} {report} {after}"
        );
        sums_up(report);
        let rows = report["rows"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["key"] == free.as_str());
        let row = row.expect("a row for what came for nothing");
        assert_eq!((&row["units"], &row["channels"]), (&json!(0), &json!(0)));
        assert!(row["bytes"].as_u64() >= Some(1 << 20), "{report}");
    }
    for by in ["day", "week", "month", "torrent", "peer"] {
        let report = get(&node, &format!("/reports/spending?by={by}")).await;
        sums_up(&report);
        csv_sums_up(
            &node
                .text(&format!("/reports/spending/csv?by={by}"))
                .await
                .expect("csv"),
        );
        let receipts = get(&node, &format!("/reports/spending/receipts?by={by}")).await;
        assert!(units(&report) <= receipts["units"].as_u64().expect("units"));
    }
    let receipts = format!("/reports/spending/receipts?by=torrent&key={hash}");
    wait(&node, &receipts, |receipts| {
        let lines = receipts["lines"].as_array().expect("lines");
        lines.iter().any(|line| line["kind"] == "paying")
    })
    .await;
    // The command line opens a row by its name.
    let named = ["spending", "--by", "torrent", "--receipts", &world.name];
    let told = command(&world, "leecher", &named).await;
    let lines = told["lines"].as_array().expect("lines");
    assert!(lines.iter().any(|line| line["kind"] == "paying"), "{told}");
    let is_of = |line: &Value| line["info_hash"] == hash.as_str();
    assert!(lines.iter().all(is_of), "{told}");

    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let left = command(&world, "leecher", &["spending", "--by", "torrent"]).await;
    sums_up(&left);
    assert!(units(&left) >= after, "{left}");
    assert_eq!(left["total"]["open"], 0, "all are closed: {left}");
    // By the beginning of its key too, and without a node.
    let begins = ["spending", "--by", "torrent", "--receipts", &hash[..8]];
    for words in [&named, &begins] {
        let told = command(&world, "leecher", words).await;
        assert_eq!(told["units"], units(&left), "{told}");
        let first = told["lines"][0]["reference"].as_str().expect("a receipt");
        assert_eq!(told["lines"][0]["name"], world.name.as_str(), "{told}");
        let (code, text, _) = world.says(&[&["report"], &words[..]].concat()).await;
        assert_eq!(code, 0);
        assert!(text.contains(first) && text.contains("paid"), "{text}");
    }
    let none = [
        "report",
        "spending",
        "--by",
        "torrent",
        "--receipts",
        "none",
    ];
    let (code, _, error) = world.says(&none).await;
    assert_eq!(code, 1);
    assert!(error.contains("no row of this report"), "{error}");
    assert_eq!(left["rows"][0]["label"], world.name.as_str(), "{left}");
    let words = ["wallet", "balance"];
    let balance = world
        .world
        .must("leecher", &words)
        .await
        .expect("a balance");
    assert_eq!(balance["books"]["paid"], units(&left), "{balance}");
    assert_eq!(balance["locked"], 0, "{balance}");
    // The other side: what came of what was earned is all of it.
    let earned = command(&world, "seeder", &["earnings", "--by", "peer"]).await;
    sums_up(&earned);
    assert_eq!(units(&earned), units(&left), "{earned}");
    let total = &earned["total"];
    let parts = ["redeemed", "spent_again", "held", "withheld"].map(|part| total[part].as_u64());
    let parts: u64 = parts.into_iter().map(|part| part.expect("units")).sum();
    assert_eq!((parts, &total["held"]), (units(&earned), &total["units"]));
    assert_eq!(total["bytes"], Value::Null, "no node noted any: {earned}");
}
