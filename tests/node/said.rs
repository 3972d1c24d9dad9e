//! What was said to be the most is the most, whatever is changed later.

use reqwest::Method;
use serde_json::json;

use super::support::{LONG, client, get, lone, node_world, post, row, send, wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_at_the_edges_of_files_and_files_chosen_later_are_asked_about() {
    let world = node_world(1 << 20).await;
    let files = [("a.txt", 100), ("film.bin", 8 << 20)];
    let (seeder, link) = world.another("many", &files).await;
    let (mut proc, node) = world.rich_node().await;
    let settings = json!({ "spending.ask_above": 2, "spending.max_price": 65_536 });
    send(&node, Method::PATCH, "/settings", settings).await;
    // A hundred bytes, in a piece of 64 KiB that may cost four units.
    let add = json!({ "source": { "magnet": link }, "only_files": [0] });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let asks = |list: &serde_json::Value| row(list, &hash)["state"] == "asking";
    let path = format!("/torrents/{hash}");
    wait(&node, &format!("{path}/estimate"), |e| e["most_units"] == 5).await;
    wait(&node, "/torrents", asks).await;
    let confirm = json!({ "action": "confirm", "info_hashes": [hash] });
    post(&node, "/torrents/actions", confirm.clone()).await;
    // 64 KiB at the seeder's 16384 units per GiB.
    wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding" && row(list, &hash)["units_paid"] == 1
    })
    .await;

    let wanted = json!({ "wanted": [0, 1] });
    send(&node, Method::PUT, &format!("{path}/files"), wanted).await;
    let list = get(&node, "/torrents").await;
    assert!(asks(&list), "{list}");
    post(&node, "/torrents/actions", confirm).await;
    wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((seeder, world.seeder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_lowered_ends_what_is_open_beyond_it() {
    let world = node_world(16 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let settings = json!({ "spending.max_price": 20_000, "spending.budget_day": 5000 });
    send(&node, Method::PATCH, "/settings", settings).await;
    let add = json!({
        "source": { "magnet": world.magnet },
        "confirmed": true,
        "terms": { "download_bytes_per_s": 200_000 },
    });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let spent = |view: &serde_json::Value| view["day"]["spent"].as_u64().unwrap_or_default();
    let view = wait(&node, "/spending", |view| spent(view) > 4).await;
    let limit = spent(&view) + 2;
    let lower = json!({ "spending.budget_day": limit });
    send(&node, Method::PATCH, "/settings", lower).await;
    wait(&node, "/wallet/channels", |view| {
        view.as_array().is_some_and(Vec::is_empty)
    })
    .await;
    // Whatever is paid for at full speed now would show.
    let fast = json!({ "download_bytes_per_s": null });
    send(
        &node,
        Method::PATCH,
        &format!("/torrents/{hash}/terms"),
        fast,
    )
    .await;
    wait(&node, &format!("/torrents/{hash}/peers"), |view| {
        let peers = view.as_array().cloned().unwrap_or_default();
        peers.iter().any(|peer| !peer["waits"].is_null())
    })
    .await;
    let view = get(&node, "/spending").await;
    // A tick or two were on their way when it was lowered.
    assert!(spent(&view) <= limit + 3, "{view} for {limit}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_changed_at_once_are_all_in_force() {
    let lone = lone().await;
    let node = client(&lone.home).await;
    for round in 1..=20_u64 {
        let changes = [
            json!({ "spending.budget_day": 1000 + round }),
            json!({ "spending.budget_total": 2000 + round }),
            json!({ "spending.max_price": 3000 + round }),
        ];
        let sent = changes.map(|change| send(&node, Method::PATCH, "/settings", change));
        futures::future::join_all(sent).await;
        let list = get(&node, "/settings").await.to_string();
        let kept = std::fs::read_to_string(lone.home.join("config.toml")).expect("written");
        for number in [1000, 2000, 3000].map(|base| (base + round).to_string()) {
            assert!(list.contains(&number) && kept.contains(&number), "{kept}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_above_the_limit_is_told_once_for_a_torrent() {
    let world = node_world(1 << 20).await;
    let (_proc, node) = world.rich_node().await;
    let add = json!({
        "source": { "magnet": world.magnet },
        "confirmed": true,
        "terms": { "max_price": 1000 },
    });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let told = |notices: &serde_json::Value| {
        let all = notices["notices"].as_array().cloned().unwrap_or_default();
        let of = |code: &str| all.iter().filter(|n| n["code"] == code).count();
        (of("price_above_limit"), of("low_balance"))
    };
    let notices = wait(&node, "/notices", |notices| told(notices).0 > 0).await;
    assert!(
        notices
            .to_string()
            .contains("film.mp4: a seeder asks 16384"),
        "{notices}"
    );
    // Its connections are made anew, and its seeder asks the same again.
    let of_log = format!("/torrents/{hash}/log");
    let answers = |log: &serde_json::Value| log.to_string().matches(" answers").count();
    let before = answers(&get(&node, &of_log).await);
    let budget = json!({ "budget": 999 });
    send(
        &node,
        Method::PATCH,
        &format!("/torrents/{hash}/terms"),
        budget,
    )
    .await;
    wait(&node, &of_log, |log| answers(log) > before).await;
    wait(&node, "/torrents", |list| {
        row(list, &hash)["waits"]["code"] == "price"
    })
    .await;
    assert_eq!(told(&get(&node, "/notices").await), (1, 0));
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_watch_folder_names_again_is_there_already() {
    let world = node_world(1 << 20).await;
    let (_proc, node) = world.rich_node().await;
    let folder = world.dir.path().join("watched");
    std::fs::create_dir(&folder).expect("made");
    let settings = json!({ "folders.watch": folder });
    send(&node, Method::PATCH, "/settings", settings).await;
    for (file, code) in [("a.magnet", "watch_added"), ("b.magnet", "watch_there")] {
        std::fs::write(folder.join(file), &world.magnet).expect("written");
        let notices = wait(&node, "/notices", |notices| {
            notices.to_string().contains(file)
        })
        .await;
        let all = notices["notices"].as_array().expect("a list");
        let told = all.iter().find(|notice| notice.to_string().contains(file));
        assert_eq!(told.expect("told")["code"], code, "{notices}");
    }
    drop(world.seeder);
}
