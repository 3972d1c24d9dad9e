//! The wallet in a file and back, and its passphrase changed: over the API and by commands.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dpay::cashier::wallet::{HomeError, Passphrase, home};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::support::{
    LONG, Lone, args, client, exe, get, lone, post, private_dir, refused, send, start, wait_stage,
};

/// A node whose wallet has the passphrase "first".
async fn with_wallet() -> (Lone, String) {
    let lone = lone().await;
    let node = client(&lone.home).await;
    wait_stage(&node, "setup").await;
    let made = post(&node, "/wallet", json!({ "passphrase": "first" })).await;
    wait_stage(&node, "running").await;
    let account = made["account"].as_str().expect("an account").to_owned();
    (lone, account)
}

fn command(words: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(exe());
    command.args(words).env_remove("DPAY_PASSPHRASE");
    command
}

/// What a command says: its exit code, output and errors.
async fn says(words: &[&str]) -> (i32, String, String) {
    let output = command(words).stdin(Stdio::null()).output();
    let output = output.await.expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("ends by itself");
    (code, text(&output.stdout), text(&output.stderr))
}

fn written(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_over_the_api_and_back_and_no_wallet_is_written_over() {
    let (old, account) = with_wallet().await;
    let there = client(&old.home).await;
    let wrong = json!({ "passphrase": "guess" });
    let (code, _) = refused(&there, Method::POST, "/wallet/backup", wrong).await;
    assert_eq!(code, "wrong_passphrase");
    let right = json!({ "passphrase": "first" });
    let backup = post(&there, "/wallet/backup", right).await["file"].clone();
    let bytes = STANDARD
        .decode(backup.as_str().expect("text"))
        .expect("base64");
    assert!(bytes.starts_with(b"DPayBack"));

    // Into a home that has a wallet it does not go.
    let given = json!({ "file": backup, "passphrase": "first" });
    let (code, _) = refused(&there, Method::POST, "/wallet/restore", given.clone()).await;
    assert_eq!(code, "wallet_exists");
    assert_eq!(get(&there, "/wallet").await["account"], json!(account));

    let new = lone().await;
    let node = client(&new.home).await;
    wait_stage(&node, "setup").await;
    let broken = STANDARD.encode(&bytes[..bytes.len() - 1]);
    for (body, code, said) in [
        (json!({ "file": "no base64!" }), "bad_request", "base64"),
        (
            json!({ "file": STANDARD.encode(b"a letter") }),
            "bad_request",
            "is no backup",
        ),
        (
            json!({ "file": broken, "passphrase": "first" }),
            "wrong_passphrase",
            "damaged",
        ),
        (
            json!({ "file": backup, "passphrase": "guess" }),
            "wrong_passphrase",
            "is wrong",
        ),
        (json!({ "file": backup }), "wrong_passphrase", "is wrong"),
    ] {
        let (was, text) = refused(&node, Method::POST, "/wallet/restore", body).await;
        assert_eq!(was, code, "{text}");
        assert!(text.contains(said), "{text}");
        assert_eq!(get(&node, "/node").await["stage"], "setup");
    }
    let restored = post(&node, "/wallet/restore", given.clone()).await;
    assert_eq!(
        restored["until"],
        Value::Null,
        "nothing happened in that wallet"
    );
    let view = wait_stage(&node, "running").await;
    assert_eq!(view["words_due"], false);
    assert_eq!(get(&node, "/wallet").await["account"], json!(account));
    let (code, _) = refused(&node, Method::POST, "/wallet/restore", given).await;
    assert_eq!(code, "wallet_exists");

    // The same file is one for the command.
    let dir = private_dir();
    let file = dir.path().join("backup").display().to_string();
    std::fs::write(&file, &bytes).expect("written");
    let phrase = written(dir.path(), "phrase", "first");
    let home = dir.path().join("home").display().to_string();
    let words = [
        "wallet",
        "restore",
        "--home",
        &home,
        "--passphrase-file",
        &phrase,
        &file,
    ];
    let (code, _, errors) = says(&words).await;
    assert_eq!(code, 0, "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sites_get_no_backup_and_restore_nothing() {
    let (node, _) = with_wallet().await;
    let token = std::fs::read_to_string(node.home.join("api.token")).expect("a token");
    let browser = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    for (method, path) in [
        (Method::POST, "wallet/backup"),
        (Method::POST, "wallet/restore"),
        (Method::PUT, "wallet/passphrase"),
    ] {
        let ask = |name: &'static str, value: String| {
            let url = format!("{}/api/v1/{path}", node.url);
            let request = browser.request(method.clone(), url);
            request
                .json(&json!({ "passphrase": "first" }))
                .header(name, value)
        };
        let stranger = ask("x", "y".to_owned()).send().await.expect("answers");
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{path}");
        let site = ask("authorization", format!("Bearer {}", token.trim()));
        let site = site.header("origin", "http://evil.example").send().await;
        assert_eq!(
            site.expect("answers").status(),
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_passphrase_is_the_only_one_from_then_on_and_a_wrong_one_at_the_start_is_said() {
    let (mut old, account) = with_wallet().await;
    let node = client(&old.home).await;
    let change = |passphrase: &str, new: &str| json!({ "passphrase": passphrase, "new": new });
    let put = Method::PUT;
    let path = "/wallet/passphrase";
    let (code, _) = refused(&node, put.clone(), path, change("guess", "second")).await;
    assert_eq!(code, "wrong_passphrase");
    let (code, _) = refused(&node, put.clone(), path, change("first", " ")).await;
    assert_eq!(code, "bad_request");
    send(&node, put.clone(), path, change("first", "second")).await;
    let (code, _) = refused(
        &node,
        Method::POST,
        "/wallet/words",
        json!({ "passphrase": "first" }),
    )
    .await;
    assert_eq!(code, "wrong_passphrase");
    post(&node, "/wallet/words", json!({ "passphrase": "second" })).await;
    // The node that runs knows the new one: it starts anew with it by itself.
    send(
        &node,
        Method::PATCH,
        "/settings",
        json!({ "broker.url": "http://127.0.0.1:9" }),
    )
    .await;
    wait_stage(&node, "running").await;

    // By a command, which asks the node.
    let home = old.home.display().to_string();
    let [second, third] = ["second", "third"].map(|text| written(old.dir.path(), text, text));
    let words = [
        "wallet",
        "passphrase",
        "--home",
        &home,
        "--passphrase-file",
        &second,
        "--new-passphrase-file",
        &third,
    ];
    let (code, said, errors) = says(&words).await;
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("Backups that were made before"), "{said}");
    old.proc.stop(LONG).await.expect("ends");

    let more = ["--passphrase-file", &second];
    let (mut proc, _, _) = start(&old.home, old.dir.path(), &more).await;
    let node = client(&old.home).await;
    let view = wait_stage(&node, "locked").await;
    assert_eq!(view["passphrase_refused"], true, "{view}");
    let (code, _, errors) = says(&["list", "--home", &home]).await;
    assert_eq!(code, 1);
    let wrong = "the passphrase that the node was started with is wrong";
    assert!(errors.contains(wrong), "{errors}");
    let (code, _, errors) = says(&["wallet", "balance", "--home", &home]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(
        errors.contains("the passphrase that it was started with is wrong"),
        "{errors}"
    );

    // Five wrong ones, and the right one has to wait too.
    for _ in 0..5 {
        let (code, _) = refused(&node, put.clone(), path, change("guess", "fourth")).await;
        assert_eq!(code, "wrong_passphrase");
    }
    let (code, text) = refused(
        &node,
        Method::POST,
        "/wallet/unlock",
        json!({ "passphrase": "third" }),
    )
    .await;
    assert_eq!(code, "locked_out", "{text}");
    assert!(text.contains("seconds"), "{text}");
    proc.stop(LONG).await.expect("ends");
    let more = ["--passphrase-file", &third];
    let (_proc, _, _) = start(&old.home, old.dir.path(), &more).await;
    let node = client(&old.home).await;
    let view = wait_stage(&node, "running").await;
    assert_eq!(view["passphrase_refused"], false, "{view}");
    assert_eq!(get(&node, "/wallet").await["account"], json!(account));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_passphrase_that_is_killed_leaves_one_of_the_two_working() {
    let dir = private_dir();
    let path = dir.path().join("home");
    let home = path.display().to_string();
    let files = ["one", "two"].map(|text| written(dir.path(), text, text));
    let init = args(&[
        "wallet",
        "init",
        "--json",
        "--home",
        &home,
        "--passphrase-file",
        &files[0],
    ]);
    let init: Vec<&str> = init.iter().map(String::as_str).collect();
    assert_eq!(says(&init).await.0, 0);
    let opens = |text: &str| home::read_seed(&path, &Passphrase::new(text).expect("text"));
    let mine = opens("one").expect("opens");
    let change = |from: usize| {
        let mut command = command(&["wallet", "passphrase", "--home", &home]);
        command.args(["--passphrase-file", &files[from]]);
        command.args(["--new-passphrase-file", &files[1 - from]]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let began = Instant::now();
    assert!(change(0).status().await.expect("runs").success());
    let takes = began.elapsed();
    let mut now = 1;
    let mut moved = 0;
    // Killed at ever later moments, the last ones about when it has done.
    for step in 1..=12_u32 {
        let mut child = change(now).spawn().expect("starts");
        let wait = takes.mul_f64(f64::from(step) / 10.0);
        let _ = tokio::time::timeout(wait.max(Duration::from_millis(1)), child.wait()).await;
        let _ = child.kill().await;
        let [one, two] = ["one", "two"].map(opens);
        let (seed, at) = match (one, two) {
            (Ok(seed), Err(HomeError::Passphrase(_))) => (seed, 0),
            (Err(HomeError::Passphrase(_)), Ok(seed)) => (seed, 1),
            other => panic!("after {step}: {other:?}"),
        };
        assert_eq!(seed.as_entropy(), mine.as_entropy());
        moved += usize::from(at != now);
        now = at;
    }
    assert!(moved > 0, "none of them came to its end");
    assert!(change(now).status().await.expect("runs").success());
}
