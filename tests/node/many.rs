//! Thousands of torrents.

use std::time::Instant;

use serde_json::{Value, json};

use super::support::{LONG, client, get, lone, payload, post, start, wait_stage};

const MANY: usize = 5000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_paused_torrents_are_listed_at_once() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let hash = "00".repeat(20);
    let paused = json!({ "source": { "magnet": hash }, "paused": true });
    post(&node, "/torrents", paused).await;
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
    let folder = lone.home.join("torrents");
    let saved = std::fs::read(folder.join(format!("{hash}.json"))).expect("saved");
    let saved: Value = serde_json::from_slice(&saved).expect("json");
    let hashes = payload(MANY * 20);
    for bytes in hashes.chunks(20).take(MANY - 1) {
        let mut saved = saved.clone();
        let hash: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        saved["info_hash"] = hash.clone().into();
        saved["name"] = format!("A film with a name of usual length, {hash}").into();
        let text = serde_json::to_vec(&saved).expect("json");
        std::fs::write(folder.join(format!("{hash}.json")), text).expect("written");
    }
    let (mut proc, _, _) = start(&lone.home, lone.dir.path(), &[]).await;
    let node = client(&lone.home).await;
    wait_stage(&node, "running").await;
    let mut best = u128::MAX;
    for _ in 0..10 {
        let started = Instant::now();
        let text = node.text("/torrents").await.expect("the list");
        best = best.min(started.elapsed().as_millis());
        assert!(text.len() > MANY * 300, "{} bytes", text.len());
    }
    let list = get(&node, "/torrents").await;
    assert_eq!(list["torrents"].as_array().map(Vec::len), Some(MANY));
    println!("a list of {MANY} torrents took {best} ms at best");
    assert!(
        best < 50,
        "a list of {MANY} torrents took {best} ms at best"
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}
