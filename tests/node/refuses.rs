//! Bad input gets a clear answer where the user is looking.

use serde_json::json;

use super::support::{
    LONG, args, client, exe, get, lone, node_words, post, private_dir, refused, send, wait_stage,
};
use dpay::cli::world::Proc;
use reqwest::Method;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_its_value() {
    let lone = lone().await;
    let node = client(&lone.home).await;
    let (code, text) = refused(
        &node,
        Method::PATCH,
        "/settings",
        json!({ "spending.max_prise": 1 }),
    )
    .await;
    assert_eq!(code, "bad_setting");
    assert!(text.contains("spending.max_prise"), "{text}");
    let (code, text) = refused(
        &node,
        Method::PATCH,
        "/settings",
        json!({ "spending.max_price": 5 }),
    )
    .await;
    assert_eq!(code, "bad_setting");
    assert!(
        text.contains("spending.max_price") && text.contains('5'),
        "{text}"
    );
    for (key, value, wanted, why) in [
        (
            "limits.upload_bytes_per_s",
            json!("abc"),
            "bad_setting",
            "whole number",
        ),
        (
            "node.listen",
            json!("nowhere"),
            "bad_setting",
            "ADDRESS:PORT",
        ),
        (
            "web.listen",
            json!("0.0.0.0:7979"),
            "bad_setting",
            "no password",
        ),
        (
            "folders.downloads",
            json!("/proc/nowhere"),
            "disk",
            "/proc/nowhere",
        ),
        (
            "spending.budget_torrent",
            json!(0),
            "bad_setting",
            "spending.pays",
        ),
        (
            "node.dht_bootstrap",
            json!(["127.0.0.1:9,127.0.0.1:8"]),
            "bad_setting",
            "HOST:PORT",
        ),
        (
            "folders.watch",
            json!("/proc/nowhere"),
            "disk",
            "/proc/nowhere",
        ),
    ] {
        let (code, text) = refused(&node, Method::PATCH, "/settings", json!({ key: value })).await;
        assert_eq!(code, wanted, "{text}");
        assert!(text.contains(why), "{text}");
    }
    let (code, text) = refused(
        &node,
        Method::POST,
        "/wallet",
        json!({ "words": "one two three" }),
    )
    .await;
    assert_eq!(code, "bad_words", "{text}");
    let (code, _) = refused(&node, Method::POST, "/wallet", json!({ "wordz": "" })).await;
    assert_eq!(code, "bad_request");
    let dear = json!({ "source": { "magnet": "x" }, "terms": { "max_price": 65_537 } });
    let (_, text) = refused(&node, Method::POST, "/torrents", dear).await;
    assert!(
        text.contains("terms.max_price") && text.contains("65536"),
        "{text}"
    );
    assert!(!text.contains(" line "), "{text}");
    let torrent = json!({ "source": { "magnet": "magnet:?xt=urn:btih:00" } });
    let (code, _) = refused(&node, Method::POST, "/torrents", torrent).await;
    assert_eq!(code, "no_wallet", "the guide comes first");
    let (code, text) = refused(
        &node,
        Method::PUT,
        "/broker",
        json!({ "url": "http://127.0.0.1:1" }),
    )
    .await;
    assert_eq!(code, "broker");
    assert!(text.contains("http://127.0.0.1:1"), "{text}");
    let view = get(&node, "/node").await;
    assert_eq!(
        (view["stage"].as_str(), view["has_wallet"].as_bool()),
        (Some("setup"), Some(false))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_with_an_unknown_key_and_a_port_in_use_say_so() {
    let dir = private_dir();
    let home = dir.path().join("home");
    let shown = home.display().to_string();
    let set = args(&[
        "config",
        "set",
        "spending.budget_day",
        "500",
        "--json",
        "--home",
        &shown,
    ]);
    let mut proc = Proc::start("config", &exe(), &set).expect("starts");
    assert_eq!(proc.finish(LONG).await.expect("ends"), 0);
    assert_eq!(proc.seen.back().expect("a line")["value"], 500);
    let file = home.join("config.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    std::fs::write(&file, text + "\n[spendings]\nbudget = 1\n").expect("written");
    let node = args(&["node", "--json", "--home", &shown, "--web", "127.0.0.1:0"]);
    let mut proc = Proc::start("node", &exe(), &node).expect("starts");
    assert_eq!(proc.finish(LONG).await.expect("ends"), 1);
    let said = proc.stderr().await;
    assert!(
        said.contains("spendings") && said.contains("config.toml"),
        "{said}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let other = dir.path().join("other").display().to_string();
    let node = args(&["node", "--json", "--home", &other, "--web", &address]);
    let mut proc = Proc::start("node", &exe(), &node).expect("starts");
    assert_eq!(proc.finish(LONG).await.expect("ends"), 1);
    let said = proc.stderr().await;
    assert!(said.contains(&address) && said.contains("--web"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_change_settings_of_one_home_at_once_all_have_their_way() {
    let dir = private_dir();
    let home = dir.path().join("home");
    let shown = home.display().to_string();
    let changes = [
        ("spending.budget_day", "500"),
        ("spending.budget_total", "70000"),
        ("spending.budget_torrent", "300"),
        ("spending.max_price", "1234"),
        ("limits.upload_bytes_per_s", "100000"),
        ("web.hosts", "a-name-that-makes-the-file-longer.example"),
    ];
    for _ in 0..5 {
        let start = |(key, value): (&str, &str)| {
            let set = args(&["config", "set", key, value, "--json", "--home", &shown]);
            Proc::start(key, &exe(), &set).expect("starts")
        };
        for mut proc in changes.map(start) {
            let code = proc.finish(LONG).await.expect("ends");
            assert_eq!(code, 0, "{}", proc.stderr().await);
        }
        let text = std::fs::read_to_string(home.join("config.toml")).expect("written");
        for (key, value) in changes {
            let (_, name) = key.split_once('.').expect("of a section");
            let line = |line: &str| line.starts_with(name) && line.contains(value);
            assert!(text.lines().any(line), "{key} = {value} is lost: {text}");
        }
        std::fs::remove_file(home.join("config.toml")).expect("removed");
    }
    let left = std::fs::read_dir(&home).expect("listed");
    let left = left.map(|entry| entry.expect("listed").file_name());
    let left: Vec<_> = left
        .filter(|name| name.to_string_lossy().ends_with(".new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_with_one_home_is_refused_and_leaves_the_first_alone() {
    let first = lone().await;
    let home = first.home.display().to_string();
    let node = args(&["node", "--json", "--home", &home, "--web", "127.0.0.1:0"]);
    let mut second = Proc::start("node", &exe(), &node).expect("starts");
    assert_eq!(second.finish(LONG).await.expect("ends"), 1);
    let said = second.stderr().await;
    assert!(said.contains(&home) && said.contains("dpay open"), "{said}");
    assert_eq!(get(&client(&first.home).await, "/node").await["home"], home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_port_is_taken_says_so_in_the_terminal_and_where_to_give_another() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();

    let mut words = node_words(&lone.home, lone.dir.path(), &[]);
    let listen = words
        .iter()
        .position(|word| word == "--listen")
        .expect("given");
    words[listen + 1].clone_from(&address);
    let mut proc = Proc::start("node", &exe(), &words).expect("starts");
    proc.wait_for("ready", LONG)
        .await
        .expect("its page is there");
    let said = proc.last("failed").expect("said before")["error"].to_string();
    assert!(
        said.contains(&address) && said.contains("--listen 127.0.0.1:PORT"),
        "{said}"
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);

    // Where the setting says it, that is what to change; then it works.
    let home = lone.home.display().to_string();
    let set = args(&["config", "set", "--home", &home, "node.listen", &address]);
    let done = tokio::process::Command::new(exe())
        .args(&set)
        .status()
        .await;
    assert!(done.expect("runs").success());
    words.drain(listen..listen + 2);
    let mut proc = Proc::start("node", &exe(), &words).expect("starts");
    proc.wait_for("ready", LONG)
        .await
        .expect("its page is there");
    let said = proc.last("failed").expect("said before")["error"].to_string();
    let wanted = "`dpay config set node.listen 127.0.0.1:PORT`";
    assert!(said.contains(&address) && said.contains(wanted), "{said}");
    let node = client(&lone.home).await;
    wait_stage(&node, "failed").await;
    let free = json!({ "node.listen": "127.0.0.1:0" });
    send(&node, Method::PATCH, "/settings", free).await;
    wait_stage(&node, "running").await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}
