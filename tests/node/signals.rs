//! What is said when a process is told to stop, and what a file that somebody edits, or a broker that is another,
//! come to.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dpay::cli::world::Proc;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, NodeWorld, args, client, exe, get, lone, node_world, post, refused, row, send, wait,
    wait_stage,
};

/// Sends a signal to a process.
fn signal(name: &str, id: u32) {
    let sent = Command::new("kill").args([name, &id.to_string()]).status();
    assert!(sent.expect("kill runs").success(), "{name} {id}");
}

async fn ends_on(proc: &mut Proc, name: &str) -> i32 {
    signal(name, proc.id().expect("runs"));
    proc.finish(LONG).await.expect("ends")
}

/// A broker that is not the world's, and its address.
async fn another_broker(dir: &Path) -> (Proc, String) {
    let home = dir.join("another-broker").display().to_string();
    let words = [
        "broker",
        "run",
        "--json",
        "--home",
        &home,
        "--listen",
        "127.0.0.1:0",
    ];
    let mut broker = Proc::start("broker", &exe(), &args(&words)).expect("starts");
    let ready = broker.wait_for("ready", LONG).await.expect("ready");
    let url = ready["broker_url"].as_str().expect("a URL").to_owned();
    (broker, url)
}

/// A node in the midst of a slow download that it pays for; and of which torrent.
async fn pays(w: &NodeWorld) -> (Proc, String) {
    let (proc, node) = w.rich_node().await;
    let terms = json!({ "max_price": 20_000, "budget": 1000, "download_bytes_per_s": 100_000 });
    let add = json!({ "source": { "magnet": w.magnet }, "confirmed": true, "terms": terms });
    let added = post(&node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let has_paid = |list: &Value| row(list, &hash)["units_paid"].as_u64() > Some(0);
    wait(&node, "/torrents", has_paid).await;
    (proc, hash)
}

fn open(line: &Value) -> &Vec<Value> {
    line["open_channels"].as_array().expect("a list")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_stop_lists_what_it_could_not_close() {
    let mut w = node_world(8 << 20).await;
    let (mut proc, hash) = pays(&w).await;
    w.seeder.kill().await;
    assert_eq!(ends_on(&mut proc, "-INT").await, 0);
    let stopped = proc.last("stopped").expect("says so").clone();
    let [channel] = &open(&stopped)[..] else {
        panic!("one channel is open: {stopped}");
    };
    assert_eq!(channel["pays"], true, "{channel}");
    assert!(channel["units"].as_u64() > Some(0), "{channel}");
    assert_eq!(
        channel["until"].as_str().map(str::len),
        Some(10),
        "{channel}"
    );
    // The next start has it, and the torrent.
    let (mut proc, node) = w.start().await;
    wait_stage(&node, "running").await;
    let has = |list: &Value| row(list, &hash)["info_hash"] == hash.as_str();
    wait(&node, "/torrents", has).await;
    let wallet = get(&node, "/wallet").await;
    assert!(wallet["locked"].as_u64() > Some(0), "{wallet}");
    assert_eq!(ends_on(&mut proc, "-TERM").await, 0);
    let stopped = proc.last("stopped").expect("says so");
    assert_eq!(open(stopped)[0]["spend"], channel["spend"], "{stopped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_and_a_broker_end_in_order_on_either_signal() {
    for name in ["-INT", "-TERM"] {
        let mut w = node_world(1 << 20).await;
        assert_eq!(ends_on(&mut w.seeder, name).await, 0);
        let stopped = w.seeder.last("stopped").expect("says so");
        assert!(open(stopped).is_empty(), "{stopped}");
        let (mut broker, _) = another_broker(w.dir.path()).await;
        assert_eq!(ends_on(&mut broker, name).await, 0);
        assert!(broker.last("stopped").is_some());
    }
}

fn config(home: &Path, words: &[&str]) -> (bool, String, String) {
    let output = Command::new(exe())
        .arg("config")
        .args(words)
        .arg("--home")
        .arg(home)
        .output()
        .expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_beside_a_running_node_is_not_lost_without_a_word() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    let made = post(&node, "/wallet", json!({})).await;
    let words: Vec<&str> = made["words"]
        .as_array()
        .expect("words")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    send(
        &node,
        Method::PATCH,
        "/settings",
        json!({ "spending.budget_day": 100 }),
    )
    .await;
    let file = lone.home.join("config.toml");
    let edited = std::fs::read_to_string(&file).expect("text");
    let edited = edited.replace("budget_day = 100", "budget_day = 500");
    std::fs::write(&file, &edited).expect("written");
    let (done, value, warned) = config(&lone.home, &["get", "spending.budget_day"]);
    assert!(
        done && value == "100",
        "the node's, not the file's: {value}"
    );
    assert!(
        warned.contains("is 500 in the file and 100 in the node"),
        "{warned}"
    );
    let change = json!({ "seeding.price": 2000 });
    let (code, text) = refused(&node, Method::PATCH, "/settings", change).await;
    assert_eq!(code, "conflict", "{text}");
    assert!(text.contains("spending.budget_day is 500"), "{text}");
    assert_eq!(std::fs::read_to_string(&file).expect("text"), edited);
    // What the node would note by itself is no error of what it is about.
    let tried = post(
        &node,
        "/wallet/words/try",
        json!({ "words": words.join(" ") }),
    )
    .await;
    assert_eq!(tried["same"], true, "{tried}");
    assert_eq!(std::fs::read_to_string(&file).expect("text"), edited);
    // Who takes what the file says loses nothing.
    let (done, value, error) = config(&lone.home, &["set", "spending.budget_day", "500"]);
    assert!(done && value.contains("500"), "{value} {error}");
    assert!(config(&lone.home, &["set", "seeding.price", "2000"]).0);
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_asked_whether_it_is_the_wallets_broker() {
    let w = node_world(1 << 20).await;
    let (mut proc, node) = w.rich_node().await;
    let met = |broker: &Value| broker["key"].is_string() && broker["reachable"] == true;
    wait(&node, "/broker", met).await;
    post(&node, "/wallet/buy", json!({ "units": 64 })).await;
    let (mut foreign, url) = another_broker(w.dir.path()).await;
    let named = |url: &str| json!({ "broker.url": url });
    let (code, text) = refused(&node, Method::PATCH, "/settings", named(&url)).await;
    assert_eq!(code, "broker", "{text}");
    assert!(text.contains("belongs to"), "{text}");
    let (code, _) = refused(&node, Method::PATCH, "/settings", named("ftp://a")).await;
    assert_eq!(code, "bad_setting");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    // The same where no node runs; and an address where nobody is is kept with a warning.
    let (done, _, error) = config(&w.home(), &["set", "broker.url", &url]);
    assert!(!done && error.contains("belongs to"), "{error}");
    let (done, value, warned) = config(&w.home(), &["set", "broker.url", "http://127.0.0.1:9"]);
    assert!(done && value.contains("127.0.0.1:9"), "{value}");
    assert!(warned.contains("does not answer"), "{warned}");
    // Nor is it taken without a word where the wallet cannot say whose it is.
    std::fs::write(w.home().join("wallet.db"), "no database").expect("written");
    let (done, value, warned) = config(&w.home(), &["set", "broker.url", &url]);
    assert!(done && value.contains(&url), "{value}");
    assert!(warned.contains("is not known"), "{warned}");
    foreign.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_node_at_once_and_a_seeder_lists_what_its_wallet_has_open() {
    let mut w = node_world(8 << 20).await;
    let (mut proc, _) = pays(&w).await;
    // A seeder that hangs: the node asks it to close, and waits.
    let seeder = w.seeder.id().expect("runs");
    signal("-STOP", seeder);
    let id = proc.id().expect("runs");
    signal("-INT", id);
    let stays = tokio::time::timeout(Duration::from_secs(2), proc.finish(LONG)).await;
    assert!(stays.is_err(), "it waits for the close: {stays:?}");
    let again = Instant::now();
    signal("-INT", id);
    assert_eq!(proc.finish(LONG).await.expect("ends"), 130);
    assert!(
        again.elapsed() < Duration::from_secs(2),
        "{:?}",
        again.elapsed()
    );
    assert!(proc.last("stopped").is_none());
    w.seeder.kill().await;

    // The same wallet seeds now, and is told to stop.
    let (data, torrent) = (
        w.dir.path().join("payload"),
        w.dir.path().join("film.torrent"),
    );
    let seeder = w.world.seeder("leecher", &torrent, &data, &[]).await;
    let (mut seeder, _) = seeder.expect("seeds");
    assert_eq!(ends_on(&mut seeder, "-INT").await, 0);
    let stopped = seeder.last("stopped").expect("says so");
    let [channel] = &open(stopped)[..] else {
        panic!("one channel is open: {stopped}");
    };
    assert_eq!(channel["pays"], true, "{channel}");
    assert!(channel["units"].as_u64() > Some(0), "{channel}");
    assert!(channel["until"].is_string(), "{channel}");
}
