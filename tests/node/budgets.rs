//! Budgets: whose they are, who draws from them, what an estimate makes of them.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, args, client, file, get, node_world, post, row, send, start, wait, wait_stage,
};
use dpay::cli::world::Proc;
use dpay::http::node::client::NodeClient;

fn hash_of(link: &str) -> String {
    let (_, rest) = link.split_once("btih:").expect("a link");
    rest.chars().take(40).collect()
}

async fn told_of(node: &NodeClient, which: &str, limit: &str) {
    wait(node, "/notices", |told| {
        let notices = told["notices"].as_array().cloned().unwrap_or_default();
        notices.iter().any(|notice| {
            let values = &notice["values"];
            notice["code"] == "budget_reached"
                && values["which"] == which
                && values["limit"] == limit
        })
    })
    .await;
}

async fn set(node: &NodeClient, change: Value) {
    send(node, Method::PATCH, "/settings", change).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_torrent_leaves_of_the_day_another_one_may_spend() {
    let world = node_world(16 << 20).await;
    let (other, other_link) = world.another("other", &[("a.bin", 8 << 20)]).await;
    let (mut proc, mut node) = world.rich_node().await;
    set(
        &node,
        json!({ "spending.budget_day": 200, "spending.max_price": 20_000 }),
    )
    .await;
    let slow = json!({
        "source": { "magnet": other_link },
        "confirmed": true,
        "terms": { "download_bytes_per_s": 100_000 },
    });
    post(&node, "/torrents", slow).await;
    let (hash, slow) = (hash_of(&world.magnet), hash_of(&other_link));
    let pays = |list: &Value, hash: &str| row(list, hash)["units_paid"].as_u64() > Some(0);
    wait(&node, "/torrents", |list| pays(list, &slow)).await;
    let add = json!({ "source": { "magnet": world.magnet }, "confirmed": true });
    post(&node, "/torrents", add).await;
    wait(&node, "/torrents", |list| pays(list, &hash)).await;
    // Half of the day was each one's; the other half is free as soon as the slow one stands still.
    let pause = json!({ "action": "pause", "info_hashes": [slow] });
    let done = post(&node, "/torrents/actions", pause).await;
    assert_eq!(done["done"][0], slow.as_str(), "{done}");
    wait(&node, "/torrents", |list| {
        row(list, &hash)["units_paid"].as_u64() > Some(130)
    })
    .await;
    told_of(&node, "day", "200").await;
    let spent = get(&node, "/spending").await;
    assert!(spent["day"]["spent"].as_u64() <= Some(200), "{spent}");

    // Another budget reaches the torrent that waits: first one for all, which counts from now on, then none.
    set(
        &node,
        json!({ "spending.budget_day": null, "spending.budget_total": 40 }),
    )
    .await;
    let more = |spent: &Value| spent["total"]["spent"].as_u64() >= Some(16);
    wait(&node, "/spending", more).await;
    told_of(&node, "total", "40").await;
    let spent = get(&node, "/spending").await;
    assert!(spent["total"]["spent"].as_u64() <= Some(40), "{spent}");
    set(&node, json!({ "spending.budget_total": null })).await;
    let list = wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    assert!(
        row(&list, &hash)["units_paid"].as_u64() <= Some(257),
        "{list}"
    );

    // A budget for all that is set while no node runs counts from then on too.
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let home = world.home().display().to_string();
    let words = args(&[
        "config",
        "set",
        "spending.budget_total",
        "50",
        "--json",
        "--home",
        &home,
    ]);
    let mut config = Proc::start("config", &super::support::exe(), &words).expect("starts");
    assert_eq!(config.finish(LONG).await.expect("ends"), 0);
    (proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    let spent = get(&node, "/spending").await;
    assert_eq!(
        spent["total"],
        json!({ "limit": 50, "spent": 0, "left": 50 }),
        "{spent}"
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((world.seeder, other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_that_comes_before_the_metadata_is_taken_and_a_torrents_own_budget_is_named() {
    let mut world = node_world(8 << 20).await;
    assert_eq!(world.seeder.stop(LONG).await.expect("stops"), 0);
    let (mut proc, node) = world.rich_node().await;
    let settings = json!({ "spending.ask_above": 1, "spending.max_price": 20_000, "spending.budget_day": 1000 });
    set(&node, settings).await;
    let hash = hash_of(&world.magnet);
    let (code, _, error) = world.add(&["--budget", "40", &hash]).await;
    assert_eq!(code, 0, "{error}");
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["state"], "fetching_metadata", "{list}");
    let (code, said, error) = world.add(&["--yes", &hash]).await;
    assert_eq!(code, 0, "{error}");
    assert_eq!(
        (&said["already"], &said["confirmed"]),
        (&json!(true), &json!(true)),
        "{said}"
    );

    let torrent = world.dir.path().join("film.torrent");
    let data = world.dir.path().join("payload");
    let extra = ["--price", "16384", "--free", "off"];
    let seeder = world.world.seeder("seeder", &torrent, &data, &extra).await;
    let (_seeder, address) = seeder.expect("seeds");
    let (code, _, error) = world.add(&["--peer", &address, &hash]).await;
    assert_eq!(code, 0, "{error}");
    // It never asks again, and pays up to its own budget.
    let list = wait(&node, "/torrents", |list| {
        let row = row(list, &hash);
        assert_ne!(row["state"], "asking", "{row}");
        row["units_paid"].as_u64() > Some(0)
    })
    .await;
    // Two coins of 16: for another nothing is left.
    let rest = |told: &Value| {
        let notices = told["notices"].as_array().cloned().unwrap_or_default();
        let mut rests = notices.iter().filter(|n| n["code"] == "budget_rest");
        rests.any(|notice| notice["values"]["limit"] == "40")
    };
    wait(&node, "/notices", rest).await;
    let list_after = get(&node, "/torrents").await;
    assert!(
        row(&list_after, &hash)["units_paid"].as_u64() <= Some(40),
        "{list} {list_after}"
    );
    // What was paid for it counts also when it is added again, and a budget that it uses up says so.
    let remove = json!({ "action": "remove", "info_hashes": [hash] });
    post(&node, "/torrents/actions", remove).await;
    let again = ["add", "--paused", "--budget", "16", &hash];
    let (code, said, error) = world.says(&again).await;
    assert_eq!(code, 0, "{error}");
    assert!(
        said.contains("budget: 16 units, and ") && said.contains("it pays nothing more"),
        "{said}"
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_counts_wanted_files_and_what_can_be_bought_beside_the_bond() {
    let world = node_world(1 << 20).await;
    let files = [("first.bin", 4 << 20), ("second.bin", 8 << 20)];
    let (seeder, link) = world.another("many", &files).await;
    let (mut proc, node) = world.rich_node().await;
    set(&node, json!({ "spending.max_price": 16_384 })).await;
    let add = json!({ "source": { "magnet": link }, "ask": true });
    post(&node, "/torrents", add).await;
    let hash = hash_of(&link);
    let path = format!("/torrents/{hash}/estimate");
    let all = wait(&node, &path, |estimate| {
        estimate["has_metadata"] == true && estimate["expected_units"].is_u64()
    })
    .await;
    assert_eq!(
        (&all["missing_bytes"], &all["expected_units"]),
        (&json!(12 << 20), &json!(192))
    );
    let wanted = json!({ "wanted": [0] });
    send(
        &node,
        Method::PUT,
        &format!("/torrents/{hash}/files"),
        wanted,
    )
    .await;
    let one = wait(&node, &path, |estimate| {
        estimate["missing_bytes"] == 4 << 20
    })
    .await;
    assert_eq!(
        (&one["expected_units"], &one["most_units"]),
        (&json!(64), &json!(65)),
        "{one}"
    );

    // The broker keeps a bond of who buys: it is no money to buy with.
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
    let bond = number(&get(&node, "/broker").await, "bond");
    assert!(bond > 0);
    let seen = wait(&node, &path, |estimate| {
        estimate["buyable_units"].as_u64() > Some(0)
    })
    .await;
    let wallet = get(&node, "/wallet").await;
    let there = number(&wallet, "broker_balance") + number(&wallet, "broker_bond");
    assert_eq!(
        number(&seen, "buyable_units"),
        there - bond,
        "{seen} {wallet}"
    );
    assert_eq!(seen["affordable"], true);
    // More than all of that, on files that are wanted: not affordable.
    let dear = json!({ "max_price": 65_536 });
    send(
        &node,
        Method::PATCH,
        &format!("/torrents/{hash}/terms"),
        dear,
    )
    .await;
    let most = number(&get(&node, &path).await, "most_units");
    assert_eq!(most, 257, "4 MiB at 65536 units per GiB");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((seeder, world.seeder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_counts_who_sells_something_of_the_wanted_files() {
    let world = node_world(65_536).await;
    let files = [("first.bin", 1 << 20), ("second.bin", 1 << 20)];
    let (seeder, link) = world.another("many", &files).await;
    // Somebody who has the first one only, and asks half of the other's price.
    let part = world.dir.path().join("part-data");
    std::fs::create_dir_all(part.join("many")).expect("made");
    let first = "many/first.bin";
    let from = world.dir.path().join("many-data").join(first);
    std::fs::copy(from, part.join(first)).expect("copied");
    let home = world.world.home("part");
    let (mut other, _, _) = start(&home, world.dir.path(), &world.around()).await;
    let partial = client(&home).await;
    wait_stage(&partial, "setup").await;
    post(&partial, "/wallet", json!({})).await;
    wait_stage(&partial, "running").await;
    let add = json!({
        "source": file(&world.dir.path().join("many.torrent")),
        "folder": part,
        "only_files": [0],
        "terms": { "pays": false, "price": 8192, "free": "off" },
    });
    post(&partial, "/torrents", add).await;
    let whole = |list: &Value| row(list, &hash_of(&link))["state"] == "seeding";
    wait(&partial, "/torrents", whole).await;
    let address = get(&partial, "/node").await["listen"].clone();
    let address = address.as_str().expect("an address");
    let (mut proc, node) = world.rich_node().await;
    let link = format!("{link}&x.pe={address}");
    let add = json!({ "source": { "magnet": link }, "ask": true });
    post(&node, "/torrents", add).await;
    let path = format!("/torrents/{}", hash_of(&link));
    let estimate = format!("{path}/estimate");
    let asked = |estimate: &Value| -> Vec<u64> {
        let prices = estimate["prices"].as_array().into_iter().flatten();
        prices.filter_map(|seen| seen["price"].as_u64()).collect()
    };
    wait(&node, &estimate, |seen| asked(seen) == [8192, 16_384]).await;
    for (wanted, prices, cheapest) in [(1, &[16_384][..], 16), (0, &[8192, 16_384], 8)] {
        let wanted = json!({ "wanted": [wanted] });
        send(&node, Method::PUT, &format!("{path}/files"), wanted).await;
        let seen = wait(&node, &estimate, |seen| asked(seen) == prices).await;
        assert_eq!(seen["cheapest_units"], cheapest, "{seen}");
    }
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    assert_eq!(other.stop(LONG).await.expect("stops"), 0);
    drop((seeder, world.seeder));
}
