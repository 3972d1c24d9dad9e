//! Terms of many torrents at once.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{client, get, lone, post, refused, send, wait_stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_of_many_are_read_and_changed_at_once_and_each_refusal_is_told() {
    let lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let hashes: Vec<String> = (1..4).map(|n| format!("{n:040x}")).collect();
    for hash in &hashes {
        let paused = json!({ "source": { "magnet": hash }, "paused": true });
        post(&node, "/torrents", paused).await;
    }
    let stranger = "ff".repeat(20);
    let some = [&hashes[0], &stranger, &hashes[2]];
    let change = |change: Value| json!({ "change": change, "info_hashes": some });
    let none = change(json!({ "budget": 0 }));
    let (code, text) = refused(&node, Method::PATCH, "/torrents/terms", none).await;
    assert_eq!(code, "bad_request", "{text}");
    let body = change(json!({ "budget": 50, "pays": false }));
    let done = send(&node, Method::PATCH, "/torrents/terms", body).await;
    assert_eq!(done["done"], json!([hashes[0], hashes[2]]), "{done}");
    assert_eq!(done["failed"][0]["info_hash"], json!(stranger), "{done}");
    let all = get(&node, "/torrents/terms").await;
    let of = |hash: &String| {
        let mut all = all.as_array().into_iter().flatten();
        let one = all.find(|one| one["info_hash"] == json!(hash));
        one.map(|one| (one["terms"]["budget"].clone(), one["terms"]["pays"].clone()))
    };
    assert_eq!(of(&hashes[0]), Some((json!(50), json!(false))));
    assert_eq!(of(&hashes[1]), Some((Value::Null, json!(true))));
    assert_eq!(of(&hashes[2]), of(&hashes[0]));
    let path = format!("/torrents/{}", hashes[2]);
    assert_eq!(get(&node, &path).await["terms"]["budget"], json!(50));
}
