//! Labels of torrents, by API and command, kept over a restart.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, args, client, exe, get, lone, post, refused, row, send, start, wait, wait_stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_is_given_to_many_at_once_kept_over_a_restart_and_bounded() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let hashes: Vec<String> = (0..101).map(|n| format!("{n:040x}")).collect();
    for hash in &hashes {
        let paused = json!({ "source": { "magnet": hash }, "paused": true });
        post(&node, "/torrents", paused).await;
    }
    let give = |label: Value, to: &[String]| json!({ "label": label, "info_hashes": to });
    for none in ["", " ", "\u{200b}", "two\nlines", &"x".repeat(41)] {
        let body = give(json!(none), &hashes[..1]);
        let (code, text) = refused(&node, Method::PUT, "/torrents/label", body).await;
        assert_eq!(code, "bad_request", "{none:?}: {text}");
        assert!(text.contains("1 to 40 characters"), "{text}");
    }
    let body = json!({ "info_hashes": &hashes[..1] });
    let (code, text) = refused(&node, Method::PUT, "/torrents/label", body).await;
    assert_eq!(code, "bad_request", "nothing is taken away: {text}");
    assert!(text.contains("missing field `label`"), "{text}");
    let stranger = "ff".repeat(20);
    let some = [hashes[0].clone(), stranger.clone(), hashes[1].clone()];
    let done = send(
        &node,
        Method::PUT,
        "/torrents/label",
        give(json!(" films "), &some),
    )
    .await;
    assert_eq!(done["done"], json!([hashes[0], hashes[1]]), "{done}");
    assert_eq!(done["failed"][0]["info_hash"], json!(stranger), "{done}");

    // A hundred of them and no more; one that is there can still be given.
    for (n, hash) in hashes.iter().enumerate().skip(2).take(99) {
        let body = give(json!(format!("label {n}")), std::slice::from_ref(hash));
        send(&node, Method::PUT, "/torrents/label", body).await;
    }
    let body = give(json!("one more"), &hashes[..1]);
    let (code, text) = refused(&node, Method::PUT, "/torrents/label", body).await;
    assert_eq!(code, "bad_request", "{text}");
    assert!(text.contains("100 labels already"), "{text}");
    for label in ["in its place", "films"] {
        let body = give(json!(label), &hashes[..2]);
        let done = send(&node, Method::PUT, "/torrents/label", body).await;
        assert_eq!(done["done"], json!(hashes[..2]), "{done}");
    }
    let body = give(json!("films"), &hashes[2..3]);
    send(&node, Method::PUT, "/torrents/label", body).await;
    let body = give(Value::Null, &hashes[1..2]);
    send(&node, Method::PUT, "/torrents/label", body).await;
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);

    let (mut proc, _, _) = start(&lone.home, lone.dir.path(), &[]).await;
    let node = client(&lone.home).await;
    wait_stage(&node, "running").await;
    let list = get(&node, "/torrents").await;
    let label = |n: usize| row(&list, &hashes[n])["label"].clone();
    assert_eq!(
        [label(0), label(1), label(2), label(3)],
        [
            json!("films"),
            Value::Null,
            json!("films"),
            json!("label 3")
        ]
    );

    // The same by command.
    let home = lone.home.display().to_string();
    let say = |words: &[&str]| {
        let mut all = vec!["label", "--json", "--home", &home];
        all.extend(words);
        std::process::Command::new(exe()).args(args(&all)).output()
    };
    let lines = |output: std::io::Result<std::process::Output>| -> Vec<Value> {
        let output = output.expect("runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        said.lines()
            .map(|line| serde_json::from_str(line).expect("json"))
            .collect()
    };
    let set = lines(say(&[&hashes[100], "--set", "films"]));
    assert_eq!((set.len(), &set[0]["label"]), (1, &json!("films")));
    let taken = lines(say(&[&hashes[0], "--none"]));
    assert_eq!(taken[0]["label"], Value::Null);
    let all = lines(say(&[]));
    assert_eq!(all.len(), 99, "those that have one");
    let refused = say(&[&hashes[0], "--set", " "]).expect("runs");
    assert!(!refused.status.success());
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_is_added_with_its_label_by_api_command_answer_and_watch_folder() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let hash = |n: u8| format!("{n:02x}").repeat(20);
    let label = |list: &Value, n: u8| row(list, &hash(n))["label"].clone();
    let add = |n: u8, label: &str| json!({ "source": { "magnet": hash(n) }, "paused": true, "label": label });
    let (code, text) = refused(&node, Method::POST, "/torrents", add(1, "two\nlines")).await;
    assert_eq!(code, "bad_request", "{text}");
    assert!(text.contains("1 to 40 characters"), "{text}");
    post(&node, "/torrents", add(1, " films ")).await;
    let list = get(&node, "/torrents").await;
    assert_eq!(label(&list, 1), "films", "{list}");
    // Added again with the same it is there; with another one nothing of it is changed.
    let again = post(&node, "/torrents", add(1, "films")).await;
    assert_eq!(again["already"], true, "{again}");
    let (code, text) = refused(&node, Method::POST, "/torrents", add(1, "books")).await;
    assert_eq!(code, "conflict", "{text}");
    assert!(text.contains("dpay label"), "{text}");

    let home = lone.home.display().to_string();
    let by_command = |label: &str| {
        let link = hash(2);
        let words = [
            "add", "--json", "--home", &home, "--paused", "--label", label, &link,
        ];
        std::process::Command::new(exe())
            .args(args(&words))
            .output()
            .expect("runs")
    };
    assert!(!by_command(" ").status.success());
    let output = by_command("music");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(label(&get(&node, "/torrents").await, 2), "music");

    // One answer for many: new ones, and one that waits for a yes.
    let waits = json!({ "source": { "magnet": hash(3) }, "ask": true });
    post(&node, "/torrents", waits).await;
    let answer = |label: &str| json!({ "pays": false, "paused": true, "label": label });
    let many = |label: &str| json!({ "sources": [{ "magnet": hash(4) }], "info_hashes": [hash(3)], "answer": answer(label) });
    let (code, text) = refused(&node, Method::POST, "/torrents/many", many("")).await;
    assert_eq!(code, "bad_request", "{text}");
    post(&node, "/torrents/many", many("talks")).await;
    wait(&node, "/torrents", |list| {
        [3, 4].iter().all(|n| label(list, *n) == "talks")
    })
    .await;

    // What the watch folder names for the first time is given its label; what is there keeps its own.
    let folder = lone.dir.path().join("watched");
    std::fs::create_dir(&folder).expect("made");
    let seen = json!({ "folders.watch": folder, "folders.watch_label": "seen" });
    send(&node, Method::PATCH, "/settings", seen).await;
    for n in [1, 5] {
        let file = folder.join(format!("{n}.magnet"));
        std::fs::write(file, format!("magnet:?xt=urn:btih:{}", hash(n))).expect("written");
    }
    let list = wait(&node, "/torrents", |list| label(list, 5) == "seen").await;
    assert_eq!(label(&list, 1), "films");
    wait(&node, "/notices", |all| {
        all.to_string().contains("watch_there")
    })
    .await;
    // Nobody said that what comes by itself may pay, until somebody does, and how much.
    let terms = async |n: u8| {
        let view = get(&node, &format!("/torrents/{}", hash(n))).await;
        [
            view["terms"]["pays"].clone(),
            view["terms"]["budget"].clone(),
        ]
    };
    assert_eq!(terms(5).await, [json!(false), Value::Null]);
    let budget = json!({ "spending.budget_automatic": 80 });
    send(&node, Method::PATCH, "/settings", budget).await;
    let file = folder.join("6.magnet");
    std::fs::write(file, format!("magnet:?xt=urn:btih:{}", hash(6))).expect("written");
    wait(&node, "/torrents", |list| label(list, 6) == "seen").await;
    assert_eq!(terms(6).await, [json!(true), json!(80)]);
    assert_eq!(terms(5).await, [json!(false), Value::Null]);
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
}
