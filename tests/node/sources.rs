//! Trackers and peers for torrents that are there.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::support::{LONG, file, get, node_world, post, refused, row, send, wait, wait_stage};

/// An address before another one, and word of each connection that was made to it.
async fn relay(to: SocketAddr) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let reached = Arc::new(Notify::new());
    let told = Arc::clone(&reached);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            told.notify_one();
            tokio::spawn(async move {
                if let Ok(mut to) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    });
    (address, reached)
}

/// A tracker that answers every announce with one peer, and word of each.
async fn tracker(peer: SocketAddr) -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/announce", listener.local_addr().expect("bound"));
    let asked = Arc::new(Notify::new());
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let mut body = b"d8:intervali60e5:peers6:\x7f\0\0\x01".to_vec();
            body.extend_from_slice(&peer.port().to_be_bytes());
            body.push(b'e');
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
            told.notify_one();
        }
    });
    (url, asked)
}

async fn told(word: &Notify, what: &str) {
    let word = tokio::time::timeout(LONG, word.notified());
    word.await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_download_takes_trackers_and_peers_and_pays_for_nothing_twice() {
    let world = node_world(6 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let seeder: SocketAddr = world.seeder_address().parse().expect("an address");
    // Slow, so that it is still coming when it is given more to find it by.
    let add = json!({
        "source": file(&world.dir.path().join("film.torrent")),
        "confirmed": true,
        "terms": { "max_price": 20_000, "download_bytes_per_s": 500_000 },
        "peers": [world.seeder_address()],
    });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| {
        row(list, &hash)["have_bytes"].as_u64() > Some(1 << 20)
    })
    .await;

    // What is read while it comes is read to its end all the same.
    let token = std::fs::read_to_string(world.home().join("api.token")).expect("a token");
    let url = format!("{}/api/v1/torrents/{hash}/files/0/stream", node.url());
    let asked = reqwest::Client::builder().no_proxy().timeout(LONG).build();
    let asked = asked.expect("a client").get(&url).bearer_auth(&token);
    let mut reading = asked.send().await.expect("answers");
    assert_eq!(reading.status(), 200);
    let read = reading.chunk().await.expect("read").expect("begins");
    let reading = tokio::spawn(async move {
        let mut read = read.to_vec();
        while let Some(more) = reading.chunk().await.expect("does not break off") {
            read.extend_from_slice(&more);
        }
        read
    });

    // A tracker by hand is asked at once, and whom it names is dialled.
    let (named, dialled) = relay(seeder).await;
    let (url, asked) = tracker(named).await;
    let more = json!({ "trackers": [url, url] });
    let path = format!("/torrents/{hash}/trackers");
    let began = std::time::Instant::now();
    assert_eq!(post(&node, &path, more.clone()).await["new"], 1);
    // What comes right after it is taken along.
    let (second, asked_too) = tracker(named).await;
    let too = json!({ "trackers": [second] });
    assert_eq!(post(&node, &path, too).await["new"], 1);
    let took = began.elapsed();
    assert!(took.as_secs() < 2, "two answers took {took:?}");
    told(&asked, "the tracker is not asked").await;
    told(&asked_too, "the second tracker is not asked").await;
    told(&dialled, "whom the tracker named is not dialled").await;
    wait(&node, "/torrents", |list| {
        row(list, &hash)["waits"]["code"] != "renewing"
    })
    .await;
    assert_eq!(post(&node, &path, more).await["new"], 0);
    let is_known = |rows: &Value| rows[0]["url"] == url.as_str() && rows[0]["works"] == true;
    wait(&node, &path, is_known).await;

    // A peer by hand, over the command line, of a torrent that is there.
    let (by_hand, dialled) = relay(seeder).await;
    let (code, said, error) = world.add(&["--peer", &by_hand.to_string(), &hash]).await;
    assert_eq!(code, 0, "{error}");
    assert_eq!(
        (&said["already"], &said["new_peers"]),
        (&json!(true), &json!(1)),
        "{said}"
    );
    told(&dialled, "the peer is not dialled").await;
    let (other, _) = tracker(named).await;
    let link = format!("{}&tr={other}", world.magnet);
    let (code, said, error) = world.add(&[&link]).await;
    assert_eq!(
        (code, &said["new_trackers"]),
        (0, &json!(1)),
        "{said} {error}"
    );

    let quick = json!({ "download_bytes_per_s": null });
    send(
        &node,
        Method::PATCH,
        &format!("/torrents/{hash}/terms"),
        quick,
    )
    .await;
    let list = wait(&node, "/torrents", |list| {
        row(list, &hash)["state"] == "seeding"
    })
    .await;
    let file = world.dir.path().join("downloads").join(&world.name);
    assert!(std::fs::read(&file).expect("downloaded") == world.payload);
    // 6 MiB at 16384 units per GiB; pieces that were on their way are fetched again, a few units.
    let paid = row(&list, &hash)["units_paid"].as_u64().expect("paid");
    assert!((80..=112).contains(&paid), "paid {paid}");
    assert!(reading.await.expect("reads") == world.payload);

    // Both are there after a restart, and used.
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let (mut proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    told(&asked, "the tracker is not asked after a restart").await;
    let rows = get(&node, &path).await;
    let urls: Vec<&str> = rows
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["url"].as_str())
        .collect();
    assert_eq!(urls, [url.as_str(), second.as_str(), other.as_str()]);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_torrent_that_is_there_does_not_take_is_refused() {
    let world = node_world(1 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let torrent = world.dir.path().join("film.torrent");
    let shown = torrent.display().to_string();
    let (code, said, error) = world.add(&["--paused", &shown]).await;
    assert_eq!(code, 0, "{error}");
    let hash = said["info_hash"].as_str().expect("a hash").to_owned();
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["state"], "paused");
    let before = get(&node, &format!("/torrents/{hash}")).await;

    for (words, why) in [
        (["--budget", "5"], "dpay files"),
        (["--max-price", "100"], "dpay files"),
        (["--files", "0"], "dpay files"),
        (["--output", "/tmp/elsewhere"], "downloads"),
        (["--peer", "nowhere"], "IP:PORT"),
        (["--peer", "127.0.0.1:0"], "IP:PORT"),
    ] {
        let (code, _, error) = world.add(&[words[0], words[1], &shown]).await;
        assert_eq!(code, 1, "{words:?}");
        assert!(error.contains(why), "{words:?}: {error}");
    }
    // Where it is already is no other folder.
    let folder = before["folder"].as_str().expect("a folder").to_owned();
    let (code, said, error) = world.add(&["--output", &folder, &shown]).await;
    assert_eq!((code, &said["new_peers"]), (0, &json!(0)), "{error}");

    for (what, bad, why) in [
        ("trackers", "wss://no.example", "udp://"),
        ("trackers", "no address", "udp://"),
        ("peers", "[::1]", "IP:PORT"),
    ] {
        let path = format!("/torrents/{hash}/{what}");
        let (code, text) = refused(&node, Method::POST, &path, json!({ what: [bad] })).await;
        assert_eq!(code, "bad_request", "{text}");
        assert!(text.contains(why) && text.contains(bad), "{text}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("http://t.example/{n}")).collect();
    let path = format!("/torrents/{hash}/trackers");
    let (_, text) = refused(&node, Method::POST, &path, json!({ "trackers": many })).await;
    assert!(text.contains("101") && text.contains("100"), "{text}");
    let many: Vec<String> = (1..202).map(|n| format!("10.0.0.1:{n}")).collect();
    let path = format!("/torrents/{hash}/peers");
    let (_, text) = refused(&node, Method::POST, &path, json!({ "peers": many })).await;
    assert!(text.contains("201") && text.contains("200"), "{text}");
    let path = format!("/torrents/{hash}/terms");
    let (code, text) = refused(&node, Method::PATCH, &path, json!({ "budget": 0 })).await;
    assert_eq!(code, "bad_request", "{text}");
    assert!(text.contains("free peers"), "{text}");
    assert_eq!(get(&node, &format!("/torrents/{hash}")).await, before);

    // A number is a limit, null is none, and what is not said stays.
    for (change, wanted) in [
        (json!({ "budget": 7 }), json!(7)),
        (json!({ "pays": true }), json!(7)),
        (json!({ "budget": null }), Value::Null),
    ] {
        let terms = send(&node, Method::PATCH, &path, change.clone()).await;
        assert_eq!(terms["budget"], wanted, "{change}");
    }
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_torrent_takes_trackers_and_no_peers() {
    let world = node_world(1 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let data = world.dir.path().join("payload").join(&world.name);
    let torrent = world.dir.path().join("private.torrent");
    let (from, to) = (data.display().to_string(), torrent.display().to_string());
    let old = "http://127.0.0.1:9/announce";
    let make = ["create", &from, "-o", &to, "--private", "--tracker", old];
    world.world.must("maker", &make).await.expect("created");
    let peer = world.seeder_address();
    let add = json!({ "source": file(&torrent), "peers": [peer] });
    let (code, text) = refused(&node, Method::POST, "/torrents", add).await;
    assert_eq!(code, "conflict", "{text}");
    assert!(
        text.contains("private") && text.contains("tracker"),
        "{text}"
    );

    let add = json!({ "source": file(&torrent), "confirmed": true });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash").to_owned();
    let path = format!("/torrents/{hash}/peers");
    let (code, _) = refused(&node, Method::POST, &path, json!({ "peers": [peer] })).await;
    assert_eq!(code, "conflict");
    let (code, _, error) = world.add(&["--peer", &peer, &to]).await;
    assert_eq!(code, 1);
    assert!(error.contains("private"), "{error}");

    let (url, asked) = tracker(peer.parse().expect("an address")).await;
    let path = format!("/torrents/{hash}/trackers");
    assert_eq!(
        post(&node, &path, json!({ "trackers": [url] })).await["new"],
        1
    );
    told(&asked, "the tracker is not asked").await;
    let rows = wait(&node, &path, |rows| rows[0]["works"] == true).await;
    let error = rows[1]["error"].as_str().expect("the other is not asked");
    assert!(error.contains("not asked"), "{rows}");
    assert_eq!(
        (
            &rows[0]["url"],
            &rows[1]["url"],
            rows.as_array().expect("rows").len()
        ),
        (&json!(url), &json!(old), 2)
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_while_the_engine_is_given_it_anew_is_gone() {
    let world = node_world(1 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let is_of = |name: &str, hash: &str| name.contains(hash) || name == world.name;
    let left = |hash: &str| -> Vec<String> {
        let home = world.home();
        let folders = [
            home.join("torrents"),
            home.join("resume"),
            world.dir.path().join("downloads"),
        ];
        let all = folders
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        let names = all
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| is_of(name, hash)).collect()
    };
    for round in 0..6 {
        let add = json!({
            "source": file(&world.dir.path().join("film.torrent")),
            "confirmed": true,
            "terms": { "max_price": 20_000, "download_bytes_per_s": 200_000 },
            "peers": [world.seeder_address()],
        });
        let hash = post(&node, "/torrents", add).await["info_hash"].clone();
        let hash = hash.as_str().expect("a hash").to_owned();
        let comes = |list: &Value| row(list, &hash)["have_bytes"].as_u64() > Some(0);
        wait(&node, "/torrents", comes).await;
        let more = json!({ "trackers": [format!("http://127.0.0.1:9/{round}")] });
        post(&node, &format!("/torrents/{hash}/trackers"), more).await;
        let remove = json!({ "action": "remove_with_data", "info_hashes": [hash] });
        let done = post(&node, "/torrents/actions", remove).await;
        assert_eq!(done["done"][0], hash.as_str(), "{done}");
        let list = get(&node, "/torrents").await;
        assert_eq!(row(&list, &hash), &Value::Null, "{list}");
        let deadline = tokio::time::Instant::now() + LONG;
        while !left(&hash).is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", left(&hash));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}
