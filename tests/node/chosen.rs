//! Files are chosen: what is locked and paid is for these, and for others from when they are chosen on.

use dpay::http::node::client::NodeClient;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{LONG, NodeWorld, get, node_world, post, refused, row, send, wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coins_are_locked_for_the_chosen_files_and_more_files_are_paid_for_as_they_are_chosen() {
    let world = node_world(1 << 20).await;
    let sizes = [("a.bin", 2 << 20), ("b.bin", 6 << 20), ("c.bin", 1 << 20)];
    let (many, link) = world.another("many", &sizes).await;
    let (mut proc, node) = world.rich_node().await;
    let settings = json!({ "spending.max_price": 20_000 });
    send(&node, Method::PATCH, "/settings", settings).await;
    // As large a coin as all of it would be worth is at hand.
    post(&node, "/wallet/buy", json!({ "units": 256 })).await;
    let add = json!({
        "source": { "magnet": link }, "confirmed": true, "only_files": [0],
        "terms": { "download_bytes_per_s": 250_000 },
    });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let peers = format!("/torrents/{hash}/peers");
    let locked = |peer: &Value| {
        let units = |field: &str| peer[field].as_u64().expect("units");
        units("units_left") + units("units_paid")
    };
    let paid = |peers: &Value| peers[0]["units_paid"].as_u64() >= Some(8);
    let connected = wait(&node, &peers, paid).await;
    assert_eq!(locked(&connected[0]), 64, "2 MiB cost 32: {connected}");

    // More is chosen while it comes: the same connection pays on, though its coin did not buy that.
    let files = format!("/torrents/{hash}/files");
    let wanted = json!({ "wanted": [0, 1] });
    send(&node, Method::PUT, &files, wanted).await;
    let fast = json!({ "download_bytes_per_s": null });
    let terms = format!("/torrents/{hash}/terms");
    send(&node, Method::PATCH, &terms, fast.clone()).await;
    let paid_more = |peers: &Value| peers[0]["units_paid"].as_u64() > Some(64);
    let list = wait(&node, &peers, |peers| {
        paid_more(peers) || peers == &json!([])
    });
    let after = list.await;
    if let Some(peer) = after.get(0) {
        assert_eq!(peer["connection"], connected[0]["connection"], "{after}");
    }
    let is_whole = |list: &Value| row(list, &hash)["state"] == "seeding";
    wait(&node, "/torrents", is_whole).await;
    let paid = |list: &Value, units: u64| row(list, &hash)["units_paid"] == units;
    wait(&node, "/torrents", |list| paid(list, 128)).await;

    // Nobody who looks into a file that is not chosen has it fetched.
    let stream = format!("{files}/2/stream");
    let (code, text) = refused(&node, Method::GET, &stream, Value::Null).await;
    let known = ["c.bin", "is not chosen", "choose it first"];
    let is_said = known.iter().all(|part| text.contains(part));
    assert!(code == "conflict" && is_said, "{text}");

    // Nor is it once it is chosen, where it may cost more than is paid without asking: not before the yes. That
    // fewer bytes are wanted than before does not matter.
    let settings = json!({ "spending.ask_above": 10 });
    send(&node, Method::PATCH, "/settings", settings).await;
    let slow = json!({ "download_bytes_per_s": 65_536 });
    send(&node, Method::PATCH, &terms, slow).await;
    let (code, said, error) = world.says(&["files", &hash, "--only", "2"]).await;
    let yes = format!("dpay add --yes {hash}");
    assert!(
        said.contains("it waits for a yes") && said.contains(&yes),
        "{said}"
    );
    assert_eq!((code, error.as_str()), (0, ""));
    let (_, text) = refused(&node, Method::GET, &stream, Value::Null).await;
    assert!(text.contains("waits for a yes"), "{text}");
    let list = get(&node, "/torrents").await;
    assert!(
        row(&list, &hash)["state"] == "asking" && paid(&list, 128),
        "{list}"
    );
    let yes = json!({ "action": "confirm", "info_hashes": [hash] });
    post(&node, "/torrents/actions", yes.clone()).await;

    // A stream ends with the choice of its file.
    let mut begun = look_at(&world, &node, &stream).await;
    assert!(
        !begun
            .chunk()
            .await
            .expect("comes")
            .expect("bytes")
            .is_empty()
    );
    let fewer = send(&node, Method::PUT, &files, json!({ "wanted": [0, 1] })).await;
    assert_eq!(fewer, json!({ "asking": false }));
    assert!(begun.bytes().await.is_err(), "it breaks off");
    send(&node, Method::PUT, &files, json!({ "wanted": [0, 1, 2] })).await;
    send(&node, Method::PATCH, &terms, fast).await;
    post(&node, "/torrents/actions", yes).await;
    let bytes = look_at(&world, &node, &stream).await.bytes().await;
    assert_eq!(bytes.expect("does not break off").len(), 1 << 20);
    wait(&node, "/torrents", |list| paid(list, 144)).await;
    let balance = get(&node, "/wallet").await;
    assert_eq!(balance["total_paid"], 144, "{balance}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((world.seeder, many));
}

/// A file as it is streamed.
async fn look_at(world: &NodeWorld, node: &NodeClient, path: &str) -> reqwest::Response {
    let token = std::fs::read_to_string(world.home().join("api.token")).expect("a token");
    let client = reqwest::Client::builder().no_proxy().timeout(LONG).build();
    let url = format!("{}/api/v1{path}", node.url());
    let asked = client.expect("a client").get(url).bearer_auth(&token);
    asked.send().await.expect("answers")
}
