//! Torrents that a command's words name, and reports as a spreadsheet gets them.

use std::process::Output;

use reqwest::header;
use serde_json::{Value, json};

use super::support::{LONG, args, client, exe, get, lone, post, row, wait_stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_fits_several_torrents_or_none_changes_nothing_and_says_what_would() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    // Two that differ in their tenth digit and have one name, which has a character that nobody sees.
    let hashes = [0, 1].map(|n| format!("abcdef012{n}{}", "7".repeat(30)));
    for hash in &hashes {
        let magnet = format!("magnet:?xt=urn:btih:{hash}&dn=a%E2%80%AEfilm");
        let add = json!({ "source": { "magnet": magnet }, "label": "films", "paused": true });
        post(&node, "/torrents", add).await;
    }
    let home = lone.home.display().to_string();
    let unlabel = |word: &str| -> (bool, String) {
        let words = ["label", word, "--none", "--home", &home];
        let output: Output = std::process::Command::new(exe())
            .args(args(&words))
            .output()
            .expect("runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), error)
    };
    let labels = async || {
        let list = get(&node, "/torrents").await;
        [0, 1].map(|n: usize| row(&list, &hashes[n])["label"].clone())
    };
    let (done, error) = unlabel("abcd");
    assert!(!done && error.contains("fits 2 torrents"), "{error}");
    for beginning in ["abcdef0120", "abcdef0121"] {
        assert!(error.contains(beginning), "{error}");
    }
    assert!(
        !error.contains('\u{202e}'),
        "what turns text round is shown"
    );
    let (done, error) = unlabel("abc");
    assert!(!done && error.contains("too short"), "{error}");
    let (done, error) = unlabel("abcdef0122");
    assert!(!done && error.contains("dpay list"), "{error}");
    assert_eq!(labels().await, [json!("films"), json!("films")]);
    let (done, error) = unlabel("ABCDEF0121");
    assert!(done, "{error}");
    assert_eq!(labels().await, [json!("films"), Value::Null]);
    // The API's list shows it too.
    let name = row(&get(&node, "/torrents").await, &hashes[0])["name"].clone();
    let name = name.as_str().expect("a name");
    assert!(
        name.contains("film") && !name.contains('\u{202e}'),
        "{name:?}"
    );
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_sent_as_a_file_with_a_header_of_its_columns() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let token = std::fs::read_to_string(lone.home.join("api.token")).expect("a token");
    let web = reqwest::Client::builder().no_proxy().build().expect("one");
    const EARNED: &str = "key,name,units_earned,";
    const PAID: &str = "key,name,units_paid,units_in_open_channels,channels,bytes_received";
    for (report, by, columns) in [
        ("earnings", "day", EARNED),
        ("spending", "torrent", PAID),
        ("earnings", "peer", EARNED),
    ] {
        let url = format!("{}/api/v1/reports/{report}/csv?by={by}", lone.url);
        let answer = web.get(url).bearer_auth(token.trim()).send().await;
        let answer = answer.expect("answers");
        assert!(answer.status().is_success(), "{answer:?}");
        let head = |name: header::HeaderName| {
            let value = answer.headers().get(name).expect("is there");
            value.to_str().expect("text").to_owned()
        };
        assert_eq!(head(header::CONTENT_TYPE), "text/csv; charset=utf-8");
        let file = head(header::CONTENT_DISPOSITION);
        assert!(file.starts_with("attachment"), "{file}");
        assert!(file.contains(report) && file.contains(".csv"), "{file}");
        let text = answer.text().await.expect("text");
        assert!(text.starts_with(columns), "{text}");
        assert!(text.contains(",total,0,"), "{text}");
    }
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
}
