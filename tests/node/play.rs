//! The play world leaves nothing behind.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{client, get, lone, post, refused, row, send, wait, wait_stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_downloaded_in_the_play_world_goes_with_it() {
    let lone = lone().await;
    let node = client(&lone.home).await;
    let real = get(&node, "/node").await["folder"].clone();
    post(&node, "/play", json!({})).await;
    let play = wait(&node, "/play", |play| play["stage"] == "on").await;
    let view = wait_stage(&node, "running").await;
    let folder = view["folder"].as_str().expect("a folder").to_owned();
    assert_ne!(real, json!(folder));
    let sample = &play["samples"][0];
    let add = json!({ "source": { "magnet": sample["magnet"] }, "confirmed": true });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    let file = std::path::Path::new(&folder).join(sample["name"].as_str().expect("a name"));
    assert!(file.exists(), "{}", file.display());

    send(&node, Method::DELETE, "/play", Value::Null).await;
    wait(&node, "/play", |play| play["stage"] == "off").await;
    assert_eq!(get(&node, "/node").await["folder"], real);
    assert!(!file.exists(), "{}", file.display());
    let left = std::fs::read_dir(lone.dir.path().join("downloads")).expect("a folder");
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_are_tried_in_the_play_world_are_those_of_the_own_wallet() {
    let lone = lone().await;
    let node = client(&lone.home).await;
    let foreign = format!("{}art", "abandon ".repeat(23));
    let try_words = "/wallet/words/try";
    let tried = json!({ "words": foreign });
    let (code, text) = refused(&node, Method::POST, try_words, tried.clone()).await;
    assert_eq!(code, "no_wallet", "{text}");

    let made = post(&node, "/wallet", json!({ "passphrase": "a secret" })).await;
    let words: Vec<&str> = made["words"]
        .as_array()
        .expect("words")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    wait_stage(&node, "running").await;
    assert_eq!(get(&node, "/node").await["words_due"], true);
    post(&node, "/play", json!({})).await;
    wait(&node, "/play", |play| play["stage"] == "on").await;
    wait_stage(&node, "running").await;
    assert_eq!(post(&node, try_words, tried).await["same"], false);
    assert_eq!(get(&node, "/node").await["words_due"], true);
    let own = json!({ "words": words.join(" ") });
    assert_eq!(post(&node, try_words, own).await["same"], true);
    assert_eq!(get(&node, "/node").await["words_due"], false);
}
