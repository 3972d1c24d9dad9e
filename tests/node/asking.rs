//! A torrent that waits for a yes: nothing of it comes before, whoever would give it for nothing.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, args, client, file, get, lone, node_world, post, refused, row, send, wait, wait_stage,
};

const FILES: [(&str, usize); 2] = [("a.bin", 1 << 20), ("b.bin", 1 << 20)];

fn state<'a>(list: &'a Value, hash: &str) -> &'a Value {
    &row(list, hash)["state"]
}

fn is_empty(folder: &Path) -> bool {
    !folder.exists() || std::fs::read_dir(folder).expect("lists").next().is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_peers_give_nothing_before_the_yes() {
    let world = node_world(1 << 20).await;
    let (seeder, link) = world.another_that("many", &FILES, "on").await;
    let (other, marker) = world.another_that("marker", &FILES, "on").await;
    let (mut proc, node) = world.rich_node().await;
    let folder = world.dir.path().join("elsewhere/deep");
    let add = json!({ "source": { "magnet": link }, "ask": true, "folder": folder });
    let added = post(&node, "/torrents", add.clone()).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let estimate = format!("/torrents/{hash}/estimate");
    let has_price = |seen: &Value| seen["prices"].as_array().is_some_and(|all| !all.is_empty());
    wait(&node, &estimate, has_price).await;
    // As long as another one takes to come whole, from a seeder like this one.
    let pays = json!({ "pays": false });
    let free = json!({ "source": { "magnet": marker }, "terms": pays });
    let added = post(&node, "/torrents", free).await;
    let marker = added["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| state(list, &marker) == "seeding").await;
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["state"], "asking");
    assert_eq!(row(&list, &hash)["downloaded_bytes"], 0);
    let elsewhere = world.dir.path().join("elsewhere");
    assert!(is_empty(&elsewhere), "nothing is made before the yes");

    // A stream waits for the yes as well, and so does resuming.
    let stream = format!("/torrents/{hash}/files/0/stream");
    let (code, text) = refused(&node, Method::GET, &stream, Value::Null).await;
    assert!(
        code == "conflict" && text.contains("waits for a yes"),
        "{text}"
    );
    let resume = json!({ "action": "resume", "info_hashes": [hash] });
    let done = post(&node, "/torrents/actions", resume).await;
    let why = done["failed"][0]["problem"].to_string();
    assert!(why.contains("waits for a yes"), "{done}");
    let home = world.home().display().to_string();
    let words = args(&["resume", "--json", "--home", &home, &hash]);
    let said = world.world.run(&words).await.expect("runs").stderr;
    assert!(said.contains("`dpay remove`"), "{said}");
    assert_eq!(said.matches(&hash).count(), 1, "{said}");

    // Cancelled, it leaves nothing; asked anew, files are chosen in time.
    let remove = json!({ "action": "remove", "info_hashes": [hash] });
    post(&node, "/torrents/actions", remove).await;
    assert!(is_empty(&elsewhere), "nothing is left behind");
    post(&node, "/torrents", add).await;
    wait(&node, &estimate, has_price).await;
    let wanted = json!({ "wanted": [0] });
    send(
        &node,
        Method::PUT,
        &format!("/torrents/{hash}/files"),
        wanted,
    )
    .await;
    let yes = json!({ "action": "free_only", "info_hashes": [hash] });
    post(&node, "/torrents/actions", yes).await;
    // Whoever begins to look while the engine is being given it anew gets all of it, once it comes.
    let token = std::fs::read_to_string(world.home().join("api.token")).expect("a token");
    let answer = reqwest::Client::builder()
        .no_proxy()
        .timeout(LONG)
        .build()
        .expect("a client")
        .get(format!("{}/api/v1{stream}", node.url()))
        .bearer_auth(&token)
        .send();
    let answer = answer.await.expect("answers");
    assert_eq!(answer.status(), 200);
    let bytes = answer.bytes().await.expect("does not break off");
    assert_eq!(bytes.len(), 1 << 20);
    wait(&node, "/torrents", |list| state(list, &hash) == "seeding").await;
    let files = get(&node, &format!("/torrents/{hash}/files")).await;
    let have = |index: usize| files[index]["have_bytes"].as_u64().expect("a number");
    assert_eq!((have(0), have(1)), (1 << 20, 0), "{files}");
    let came = std::fs::metadata(folder.join("many/a.bin")).expect("is there");
    assert_eq!(came.len(), 1 << 20);
    assert_eq!(get(&node, "/wallet").await["total_paid"], 0);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((seeder, other, world.seeder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_without_a_size_in_sight_asks_where_it_may_cost_more_than_is_paid_unasked() {
    let world = node_world(1 << 20).await;
    let (seeder, link) = world.another("many", &FILES).await;
    let (mut proc, node) = world.rich_node().await;
    let settings = json!({ "spending.max_price": 20_000, "spending.ask_above": 10 });
    send(&node, Method::PATCH, "/settings", settings).await;
    let hash_of = |link: &str| link["magnet:?xt=urn:btih:".len()..][..40].to_owned();
    let (film, many) = (hash_of(&world.magnet), hash_of(&link));
    // As the page adds it, and says yes before anything is known of it.
    let add = json!({ "source": { "magnet": world.magnet }, "ask": true });
    post(&node, "/torrents", add).await;
    let yes = json!({ "action": "confirm_unseen", "info_hashes": [film] });
    let done = post(&node, "/torrents/actions", yes).await;
    assert_eq!(done["failed"], json!([]));
    // The same said of another one after it.
    let answer = json!({ "pays": true, "asks_above": true });
    let sources = json!([{ "magnet": link }]);
    let both = json!({ "sources": sources, "answer": answer });
    post(&node, "/torrents/many", both).await;
    for hash in [&film, &many] {
        let asks = |list: &Value| {
            let is_known = row(list, hash)["size_bytes"].as_u64() > Some(0);
            is_known && state(list, hash) == "asking"
        };
        wait(&node, "/torrents", asks).await;
        let is_told = |told: &Value| {
            let notices = told["notices"].as_array().expect("notices");
            let asks = |one: &Value| one["code"] == "asks" && one["info_hash"] == **hash;
            notices.iter().any(asks)
        };
        wait(&node, "/notices", is_told).await;
    }
    // What costs no more than that goes on, whether its size is known by now or not.
    let settings = json!({ "spending.ask_above": 30 });
    send(&node, Method::PATCH, "/settings", settings).await;
    let yes = json!({ "action": "confirm_unseen", "info_hashes": [film, many] });
    post(&node, "/torrents/actions", yes).await;
    wait(&node, "/torrents", |list| state(list, &film) == "seeding").await;
    let list = get(&node, "/torrents").await;
    assert_eq!(state(&list, &many), "asking", "2 MiB may cost 40");
    assert_eq!(get(&node, "/wallet").await["total_paid"], 16);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((seeder, world.seeder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_on_the_disk_already_seeds_without_a_yes() {
    let world = node_world(1 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let there = world.dir.path().join("payload");
    let add = json!({ "source": { "magnet": world.magnet }, "ask": true, "folder": there });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let list = wait(&node, "/torrents", |list| state(list, &hash) == "seeding").await;
    assert_eq!(row(&list, &hash)["progress"], 1.0, "{list}");
    assert_eq!(row(&list, &hash)["downloaded_bytes"], 0, "{list}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_say_what_waits_for_a_yes_and_how_to_give_it() {
    let world = node_world(1 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let settings = json!({ "spending.max_price": 20_000, "spending.ask_above": 1 });
    send(&node, Method::PATCH, "/settings", settings).await;
    let good = |(code, out, err): (i32, String, String)| {
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        out
    };
    let file = world.dir.path().join("film.torrent").display().to_string();
    let hash = world.magnet["magnet:?xt=urn:btih:".len()..][..40].to_owned();
    let yes = format!("Say yes with: dpay add --yes {hash}; or take from free peers only");
    let peer = world.seeder_address();
    let said = good(world.says(&["add", &file, "--peer", &peer]).await);
    // 1 MiB at 20,000 units per GiB, rounded up once.
    let known = [
        &format!("added: film.mp4 ({hash})"),
        "it waits for a yes",
        "20 at your highest price",
        &yes,
    ];
    assert!(known.iter().all(|part| said.contains(*part)), "{said}");
    let unknown = "ab".repeat(20);
    let said = good(world.says(&["add", &unknown]).await);
    let known = [
        "it asks once its size is known, and nothing of it is fetched before",
        &unknown,
    ];
    assert!(known.iter().all(|part| said.contains(part)), "{said}");

    let waits = format!(
        "film.mp4: waits for a yes to what it may cost; nothing is fetched before: dpay add --yes {hash}"
    );
    let said = good(world.says(&["list"]).await);
    assert!(said.contains(&waits) && said.contains("asking"), "{said}");
    let (code, _, said) = world.says(&["resume", "film.mp4"]).await;
    assert_eq!(code, 1, "{said}");
    let known = [
        "not done with 1",
        &hash,
        "waits for a yes to what it may cost",
        "dpay add --yes",
    ];
    assert!(known.iter().all(|part| said.contains(part)), "{said}");

    let said = good(world.says(&["add", "--yes", &hash[..8]]).await);
    let goes_on = "is there already, goes on and is paid for as its terms say: film.mp4";
    assert!(said.contains(goes_on), "{said}");
    wait(&node, "/torrents", |list| state(list, &hash) == "seeding").await;
    let said = good(world.says(&["list"]).await);
    assert!(!said.contains("film.mp4: waits"), "{said}");
    assert_eq!(get(&node, "/wallet").await["total_paid"], 16);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_the_watch_folder_is_no_yes() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let torrent = Path::new("torrents/exact-multiple.bin.torrent");
    let add = json!({ "source": file(torrent), "ask": true });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let asks = |list: &Value| state(list, &hash) == "asking";
    wait(&node, "/torrents", asks).await;
    let folder = lone.dir.path().join("watched");
    std::fs::create_dir(&folder).expect("made");
    let settings = json!({ "folders.watch": folder });
    send(&node, Method::PATCH, "/settings", settings).await;
    std::fs::copy(torrent, folder.join("again.torrent")).expect("copied");
    let is_told = |all: &Value| all.to_string().contains("watch_there");
    wait(&node, "/notices", is_told).await;
    let list = get(&node, "/torrents").await;
    assert!(asks(&list), "{list}");
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
}
