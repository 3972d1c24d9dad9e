//! At most so many torrents download at once; the others wait for their turn.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{LONG, file, node_world, post, refused, row, send, wait, wait_stage};

fn state<'a>(list: &'a Value, hash: &str) -> &'a str {
    row(list, hash)["state"].as_str().unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torrents_beyond_the_number_wait_pay_nothing_and_go_on_by_themselves() {
    let world = node_world(4 << 20).await;
    let (mut proc, mut node) = world.rich_node().await;
    let at_once = |number: Value| json!({ "limits.downloads_at_once": number });
    let (code, text) = refused(&node, Method::PATCH, "/settings", at_once(json!(0))).await;
    assert_eq!(code, "bad_setting", "{text}");
    send(&node, Method::PATCH, "/settings", at_once(json!(1))).await;
    // Nobody has the first one: it is downloaded for as long as it is let.
    let torrent = "torrents/exact-multiple.bin.torrent";
    let add = |source: Value| json!({ "source": source, "confirmed": true, "terms": { "max_price": 20_000 } });
    let stuck = post(&node, "/torrents", add(file(torrent.as_ref()))).await;
    let stuck = stuck["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| {
        state(list, &stuck) == "downloading"
    })
    .await;
    let film = post(&node, "/torrents", add(json!({ "magnet": world.magnet }))).await;
    let film = film["info_hash"].as_str().expect("a hash").to_owned();
    let list = wait(&node, "/torrents", |list| state(list, &film) == "queued").await;
    assert_eq!(state(&list, &stuck), "downloading", "{list}");

    // Neither a resume nor a restart gets it before its turn, nor does anything of it come.
    let act = |action: &str, hash: &str| json!({ "action": action, "info_hashes": [hash] });
    for action in ["resume", "recheck", "pause", "resume"] {
        let done = post(&node, "/torrents/actions", act(action, &film)).await;
        assert_eq!(done["failed"], json!([]), "{action}: {done}");
    }
    wait(&node, "/torrents", |list| state(list, &film) == "queued").await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    (proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    let list = wait(&node, "/torrents", |list| {
        state(list, &stuck) == "downloading" && state(list, &film) == "queued"
    })
    .await;
    let row_of = row(&list, &film);
    assert_eq!(
        (&row_of["downloaded_bytes"], &row_of["units_paid"]),
        (&json!(0), &json!(0)),
        "{list}"
    );

    // The one before it is paused: it is fetched and paid for. It takes nobody's place once it is whole.
    post(&node, "/torrents/actions", act("pause", &stuck)).await;
    let list = wait(&node, "/torrents", |list| state(list, &film) == "seeding").await;
    assert!(row(&list, &film)["units_paid"].as_u64() > Some(0), "{list}");
    post(&node, "/torrents/actions", act("resume", &stuck)).await;
    let list = wait(&node, "/torrents", |list| {
        state(list, &stuck) == "downloading"
    })
    .await;
    assert_eq!(state(&list, &film), "seeding", "{list}");

    // Without the limit all go on.
    let (seeder, other) = world.another("other", &[("a", 1 << 20)]).await;
    let other = post(&node, "/torrents", add(json!({ "magnet": other }))).await;
    let other = other["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| state(list, &other) == "queued").await;
    send(&node, Method::PATCH, "/settings", at_once(Value::Null)).await;
    wait(&node, "/torrents", |list| state(list, &other) == "seeding").await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((world.seeder, seeder));
}
