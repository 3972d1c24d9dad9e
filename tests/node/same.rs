//! One answer for many torrents: kept at once, worked off whatever happens meanwhile.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::support::{LONG, client, get, lone, post, refused, row, send, start, wait, wait_stage};

/// An address of a .torrent file that is given to whoever has a permit.
async fn slow_file(bytes: Vec<u8>) -> (String, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/file", listener.local_addr().expect("bound"));
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (given, bytes) = (Arc::clone(&given), bytes.clone());
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                given.acquire().await.expect("open").forget();
                let length = bytes.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&bytes).await;
            });
        }
    });
    (url, permits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_answer_for_many_outlives_the_page_and_the_node() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let waiting = "ab".repeat(20);
    let ask = json!({ "source": { "magnet": waiting }, "ask": true });
    post(&node, "/torrents", ask).await;
    let torrent = std::fs::read("torrents/exact-multiple.bin.torrent").expect("a sample");
    let (url, permits) = slow_file(torrent).await;
    let mut sources: Vec<Value> = (1..=6)
        .map(|n| json!({ "magnet": format!("{n:02x}").repeat(20) }))
        .collect();
    sources.push(json!({ "url": url }));
    sources.push(json!({ "magnet": "magnet:?nothing" }));
    let answer =
        json!({ "pays": false, "paused": true, "terms": { "max_price": 77, "budget": 9 } });
    let many = json!({ "sources": sources, "info_hashes": [waiting], "answer": answer });
    let mut nowhere = many.clone();
    nowhere["answer"]["folder"] = json!("not/from/the/root");
    let (code, text) = refused(&node, Method::POST, "/torrents/many", nowhere).await;
    assert_eq!(code, "bad_request", "{text}");
    assert_eq!(get(&node, "/torrents/many").await["total"], 0);

    assert_eq!(post(&node, "/torrents/many", many).await["total"], 9);
    // All but the address that does not answer; then the node dies.
    let is_far = |view: &Value| view["done"] == 7 && view["refused"] == 1;
    wait(&node, "/torrents/many", is_far).await;
    lone.proc.kill().await;
    let (mut proc, _, _) = start(&lone.home, lone.dir.path(), &[]).await;
    let node = client(&lone.home).await;
    wait_stage(&node, "running").await;
    let view = get(&node, "/torrents/many").await;
    assert_eq!(
        (&view["total"], &view["done"]),
        (&json!(2), &json!(0)),
        "{view}"
    );
    // Whoever asked before is gone.
    permits.add_permits(2);
    let view = wait(&node, "/torrents/many", |view| view["done"] == 1).await;
    assert_eq!(view["problems"][0]["label"], "magnet:?nothing", "{view}");
    assert_eq!(view["problems"][0]["problem"]["code"], "bad_torrent");

    let list = get(&node, "/torrents").await;
    let rows = list["torrents"].as_array().expect("a list").clone();
    assert_eq!(rows.len(), 8, "{list}");
    assert_eq!(row(&list, &waiting)["state"], "paused");
    for row in &rows {
        let hash = row["info_hash"].as_str().expect("a hash");
        let detail = get(&node, &format!("/torrents/{hash}")).await;
        let terms = &detail["terms"];
        assert_eq!(
            (
                &row["state"],
                &terms["pays"],
                &terms["max_price"],
                &terms["budget"]
            ),
            (&json!("paused"), &json!(false), &json!(77), &json!(9)),
            "{detail}"
        );
    }
    let again = post(&node, "/torrents/many/again", json!({})).await;
    assert_eq!(again["total"], 2);
    wait(&node, "/torrents/many", |view| view["refused"] == 1).await;
    let left = send(&node, Method::DELETE, "/torrents/many", Value::Null).await;
    assert_eq!(
        (&left["refused"], &left["problems"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}
