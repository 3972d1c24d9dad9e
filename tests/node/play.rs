//! The play world leaves nothing behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dpay::cli::world::Proc;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, client, exe, get, lone, node_words, post, private_dir, refused, row, send, wait,
    wait_stage,
};

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

/// The file by which a play world's directory is known.
const MARK: &str = "dpay-scratch.lock";

/// A node whose play world lies below `temporary`.
async fn playing(name: &str, temporary: &Path) -> Proc {
    let home = temporary.join(name);
    let words = node_words(&home, temporary, &[]);
    let temporary = temporary.display().to_string();
    let env = [("TMPDIR", temporary.as_str())];
    let mut proc = Proc::start_with("node", &exe(), &words, &env).expect("starts");
    proc.wait_for("ready", LONG).await.expect("ready");
    post(&client(&home).await, "/play", json!({})).await;
    proc
}

fn worlds(temporary: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(temporary).expect("a folder");
    let all = all.map(|entry| entry.expect("read").path());
    all.filter(|path| path.join(MARK).exists()).collect()
}

/// The processes that a process has started.
fn children(of: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').nth(1) == Some(&of.to_string())
    })
    .collect()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_node_left_of_its_play_world_goes_when_the_next_one_is_made() {
    let dir = private_dir();
    let mut first = playing("first", dir.path()).await;
    let node = client(&dir.path().join("first")).await;
    wait(&node, "/play", |play| play["stage"] == "on").await;
    let started = children(first.id().expect("runs"));
    assert!(started.len() > 12, "{started:?}");
    first.kill().await;
    until("its children live on", || {
        let lives = |id: &u32| Path::new(&format!("/proc/{id}")).exists();
        !started.iter().any(lives)
    })
    .await;
    let [left] = &worlds(dir.path())[..] else {
        panic!("{:?}", worlds(dir.path()));
    };

    // Others like it: one that somebody has, one that was just made, one that is nobody's.
    let old = |path: &Path| {
        let mark = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path);
        let mark = mark.expect("made");
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
        mark.set_modified(an_hour_ago).expect("set");
        mark
    };
    let [taken, young, foreign] = ["0", "1", "2"].map(|digit| {
        let path = dir.path().join(format!("dpay-{}", digit.repeat(12)));
        std::fs::create_dir(&path).expect("made");
        path
    });
    let held = old(&taken.join(MARK));
    held.try_lock().expect("free");
    std::fs::write(young.join(MARK), "").expect("written");
    old(&foreign.join("other.lock"));
    // While a child of it closes its channels it stays too.
    let busy = std::fs::File::open(left.join("broker/broker.lock")).expect("is there");
    busy.try_lock().expect("free");
    old(&left.join(MARK));
    let mut second = playing("second", dir.path()).await;
    until("there is no second world", || worlds(dir.path()).len() == 4).await;
    second.kill().await;
    assert!(left.exists());
    drop(busy);

    let mut third = playing("third", dir.path()).await;
    until("it stays", || !left.exists()).await;
    assert!(taken.exists() && young.exists() && foreign.exists());
    let node = client(&dir.path().join("third")).await;
    wait(&node, "/play", |play| play["stage"] == "on").await;
    assert_eq!(third.stop(LONG).await.expect("stops"), 0);
    drop(held);
}
