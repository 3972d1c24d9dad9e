//! A seed that has shared enough.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, args, exe, get, node_world, post, refused, row, send, wait, wait_stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_has_shared_enough_is_paused_says_so_and_goes_on_where_it_is_told_to() {
    let world = node_world(1 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let add = json!({ "source": { "magnet": world.magnet }, "confirmed": true, "terms": { "max_price": 20_000 } });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash").to_owned();
    let is = |list: &Value, state: &str| row(list, &hash)["state"] == state;
    wait(&node, "/torrents", |list| is(list, "seeding")).await;
    let limit = |percent: Value| json!({ "seeding.ratio_limit_percent": percent });
    let (code, text) = refused(&node, Method::PATCH, "/settings", limit(json!(0))).await;
    assert_eq!(code, "bad_setting", "{text}");
    send(&node, Method::PATCH, "/settings", limit(json!(150))).await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);

    // As if it had been asked for by others.
    let file = world.home().join("torrents").join(format!("{hash}.json"));
    let saved = std::fs::read(&file).expect("is kept");
    let mut saved: Value = serde_json::from_slice(&saved).expect("json");
    let came = saved["down_bytes"].as_u64().expect("bytes");
    assert!(came >= 1 << 20, "{saved}");
    saved["up_bytes"] = json!(came * 2);
    std::fs::write(&file, saved.to_string()).expect("written");
    let (mut proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    let list = wait(&node, "/torrents", |list| is(list, "paused")).await;
    assert_eq!(
        row(&list, &hash)["waits"]["code"],
        "ratio_reached",
        "{list}"
    );

    // Told to go on it goes on, until it is given a limit of its own.
    let resume = json!({ "action": "resume", "info_hashes": [hash] });
    post(&node, "/torrents/actions", resume).await;
    let list = wait(&node, "/torrents", |list| is(list, "seeding")).await;
    assert_eq!(row(&list, &hash)["waits"], Value::Null);
    let home = world.home().display().to_string();
    let words = args(&["limit", "--json", "--home", &home, &hash, "--ratio", "1.2"]);
    let output = world.world.run(&words).await.expect("runs");
    assert_eq!(
        (output.code, &output.json["ratio_limit_percent"]),
        (0, &json!(120)),
        "{}",
        output.stderr
    );
    // 0 is no limit, and the answer says so: of one torrent, and of all.
    let say = |words: &[&str]| {
        let all = [&["limit", "--home", &home], words].concat();
        let output = std::process::Command::new(exe()).args(args(&all)).output();
        let output = output.expect("runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    for to in [&[hash.as_str()][..], &[]] {
        let set = say(&[to, &["--down", "20000"]].concat());
        assert!(set.contains("down: 20000 B/s (19.5 KiB/s)"), "{set}");
        let lifted = say(&[to, &["--down", "0"]].concat());
        assert!(lifted.contains("down: no limit"), "{lifted}");
    }
    let list = wait(&node, "/torrents", |list| is(list, "paused")).await;
    assert_eq!(
        row(&list, &hash)["waits"]["code"],
        "ratio_reached",
        "{list}"
    );
    // What it asks of leechers is changed as well, and without a name there is nothing to change.
    let asks = ["--price", "30000", "--free", "on"];
    let words = [&["limit", "--json", "--home", &home, &hash], &asks[..]].concat();
    let output = world.world.run(&args(&words)).await.expect("runs");
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(
        (&output.json["price"], &output.json["free"]),
        (&json!(30_000), &json!("on"))
    );
    let terms = get(&node, &format!("/torrents/{hash}")).await["terms"].clone();
    assert_eq!(
        (&terms["price"], &terms["free"]),
        (&json!(30_000), &json!("on"))
    );
    let words = [&["limit", "--home", &home], &asks[..]].concat();
    assert_ne!(world.world.run(&args(&words)).await.expect("runs").code, 0);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let (mut proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    let list = get(&node, "/torrents").await;
    assert_eq!(
        row(&list, &hash)["waits"]["code"],
        "ratio_reached",
        "{list}"
    );

    // What only the ratio paused goes on where its limit is raised, or it is exempt; not what somebody paused.
    let own = async |ratio: &str, percent: Value, state: &str| {
        let words = args(&["limit", "--json", "--home", &home, &hash, "--ratio", ratio]);
        let output = world.world.run(&words).await.expect("runs");
        let told = &output.json["ratio_limit_percent"];
        assert_eq!((output.code, told), (0, &percent), "{}", output.stderr);
        let list = wait(&node, "/torrents", |list| is(list, state)).await;
        row(&list, &hash)["waits"]["code"].clone()
    };
    assert_eq!(own("5", json!(500), "seeding").await, Value::Null);
    let reached = json!("ratio_reached");
    assert_eq!(own("default", Value::Null, "paused").await, reached);
    assert_eq!(own("none", json!(0), "seeding").await, Value::Null);
    assert_eq!(own("default", Value::Null, "paused").await, reached);
    send(&node, Method::PATCH, "/settings", limit(Value::Null)).await;
    wait(&node, "/torrents", |list| is(list, "seeding")).await;
    send(&node, Method::PATCH, "/settings", limit(json!(150))).await;
    wait(&node, "/torrents", |list| is(list, "paused")).await;
    let pause = json!({ "action": "pause", "info_hashes": [hash] });
    post(&node, "/torrents/actions", pause).await;
    assert_eq!(own("none", json!(0), "paused").await, Value::Null);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pauses_or_resumes_while_the_ratio_limit_does_the_other_is_followed() {
    let world = node_world(1 << 20).await;
    let (mut proc, node) = world.rich_node().await;
    let add = json!({ "source": { "magnet": world.magnet }, "confirmed": true, "terms": { "max_price": 20_000 } });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash").to_owned();
    let is = |list: &Value, state: &str| row(list, &hash)["state"] == state;
    wait(&node, "/torrents", |list| is(list, "seeding")).await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    // As if it had been asked for by others.
    let file = world.home().join("torrents").join(format!("{hash}.json"));
    let saved = std::fs::read(&file).expect("is kept");
    let mut saved: Value = serde_json::from_slice(&saved).expect("json");
    saved["up_bytes"] = json!(saved["down_bytes"].as_u64().expect("bytes") * 2);
    std::fs::write(&file, saved.to_string()).expect("written");
    let (mut proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    wait(&node, "/torrents", |list| is(list, "seeding")).await;

    let terms = format!("/torrents/{hash}/terms");
    let limit = async |percent: u32| {
        let change = json!({ "ratio_limit_percent": percent });
        send(&node, Method::PATCH, &terms, change).await
    };
    let act = async |action: &str| {
        let asked = json!({ "action": action, "info_hashes": [hash] });
        post(&node, "/torrents/actions", asked).await
    };
    for _ in 0..10 {
        limit(150).await;
        let list = wait(&node, "/torrents", |list| is(list, "paused")).await;
        assert_eq!(row(&list, &hash)["waits"]["code"], "ratio_reached");
        // Lifted and paused by hand at once: whichever comes first, it stands still.
        tokio::join!(limit(0), act("pause"));
        let list = get(&node, "/torrents").await;
        assert!(is(&list, "paused"), "{list}");
        act("resume").await;
        wait(&node, "/torrents", |list| is(list, "seeding")).await;
        // Reached and resumed by hand at once: it seeds, or stands still and says why.
        tokio::join!(limit(150), act("resume"));
        let list = get(&node, "/torrents").await;
        let code = &row(&list, &hash)["waits"]["code"];
        assert!(
            is(&list, "seeding") || is(&list, "paused") && code == "ratio_reached",
            "{list}"
        );
        limit(0).await;
        wait(&node, "/torrents", |list| is(list, "seeding")).await;
    }
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}
