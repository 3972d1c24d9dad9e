//! A home on a disk that is full: what pays less holds all the same, what pays more does not.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use dpay::cli::world::Proc;
use dpay::http::node::client::NodeClient;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, NodeWorld, args, client, exe, get, node_words, node_world, post, private_dir, refused,
    row, send, wait,
};

/// The node of this world with `folder` on a disk of its own, in a mount namespace where an ordinary user may
/// mount; and that folder as it is seen from here.
async fn with_a_small_disk(world: &NodeWorld, folder: &Path, size: &str) -> (Proc, PathBuf) {
    std::fs::create_dir_all(folder).expect("made");
    let shown = folder.display().to_string();
    let mount = format!("mount -t tmpfs -o size={size},mode=700 tmpfs \"$0\" && exec \"$@\"");
    let mut all = args(&["--map-root-user", "--mount", "sh", "-c", &mount, &shown]);
    all.push(exe().display().to_string());
    let (home, dir) = (world.home(), world.dir.path());
    all.extend(node_words(&home, dir, &world.around()));
    let mut proc = Proc::start("node", Path::new("unshare"), &all).expect("starts");
    proc.wait_for("ready", LONG).await.expect("ready");
    let root = format!("/proc/{}/root", proc.id().expect("runs"));
    let folder = folder.strip_prefix("/").expect("from the root");
    (proc, Path::new(&root).join(folder))
}

/// A node whose home is a disk of its own; and that home as it is seen from here.
async fn on_a_small_disk(world: &NodeWorld) -> (Proc, PathBuf) {
    with_a_small_disk(world, &world.home(), "24m").await
}

/// Fills the disk, also what was given back since.
fn fill(home: &Path) {
    let mut filler = std::fs::OpenOptions::new();
    let filler = filler.append(true).create(true).open(home.join("filler"));
    let mut filler = filler.expect("made");
    let zeros = [0u8; 4096];
    while filler.write_all(&zeros).is_ok() {}
}

fn make_room(home: &Path) {
    std::fs::remove_file(home.join("filler")).expect("removed");
}

/// Has the home take nothing about torrents, whatever is given back meanwhile: a file is where their folder was.
fn shut(home: &Path) {
    fill(home);
    std::fs::rename(home.join("torrents"), home.join("aside")).expect("renamed");
    std::fs::File::create(home.join("torrents")).expect("made");
}

fn open(home: &Path) {
    std::fs::remove_file(home.join("torrents")).expect("removed");
    std::fs::rename(home.join("aside"), home.join("torrents")).expect("renamed");
    make_room(home);
}

/// Waits until the home has noted it.
async fn noted(home: &Path, hash: &str, wanted: impl Fn(&Value) -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    let file = home.join("torrents").join(format!("{hash}.json"));
    loop {
        let saved = std::fs::read(&file).expect("is there");
        let saved: Value = serde_json::from_slice(&saved).expect("is whole");
        if wanted(&saved) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{saved}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The node of that home, with a slow torrent that has paid something.
async fn paying(world: &NodeWorld, home: &Path) -> (NodeClient, String) {
    let node = client(home).await;
    world.enrich(&node).await;
    let add = json!({
        "source": { "magnet": world.magnet },
        "confirmed": true,
        "terms": { "max_price": 20_000, "download_bytes_per_s": 300_000 },
    });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| {
        row(list, &hash)["units_paid"].as_u64() > Some(4)
    })
    .await;
    (node, hash)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_home_keeps_nobody_from_lowering_what_all_torrents_may_cost() {
    let world = node_world(16 << 20).await;
    let (mut proc, home) = on_a_small_disk(&world).await;
    let (node, hash) = paying(&world, &home).await;
    let value = async |key: &str| {
        let list = get(&node, "/settings").await;
        let all = list["settings"].as_array().cloned().expect("a list");
        let one = all.into_iter().find(|setting| setting["key"] == key);
        one.expect("is one")["value"].clone()
    };

    fill(&home);
    let change = json!({
        "spending.max_price": 1_000,
        "spending.budget_day": 5,
        "limits.upload_bytes_per_s": 100_000,
    });
    let (code, text) = refused(&node, Method::PATCH, "/settings", change).await;
    assert_eq!(code, "disk", "{text}");
    assert!(text.contains("as long as the node runs"), "{text}");
    let told = "now in effect: spending.budget_day, spending.max_price; as before: limits.upload_bytes_per_s;";
    assert!(text.contains(told), "{text}");
    assert_eq!(value("spending.max_price").await, 1_000);
    assert_eq!(value("spending.budget_day").await, 5);
    let kept = value("limits.upload_bytes_per_s").await;
    assert_eq!(kept, Value::Null, "it pays no less");
    wait(&node, &format!("/torrents/{hash}/peers"), |peers| {
        let peers = peers.as_array().cloned().unwrap_or_default();
        peers.iter().all(|peer| peer["paying_channels"] == 0)
    })
    .await;
    let spent = get(&node, "/spending").await;
    assert_eq!(spent["stopped"]["code"], "budget_day", "{spent}");
    // What pays more is written first, or does not happen.
    fill(&home);
    let change = json!({ "spending.max_price": 60_000, "spending.budget_day": null });
    let (code, _) = refused(&node, Method::PATCH, "/settings", change).await;
    assert_eq!(code, "disk");
    assert_eq!(value("spending.max_price").await, 1_000);
    make_room(&home);
    let deadline = tokio::time::Instant::now() + LONG;
    let file = home.join("config.toml");
    let is_noted = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.contains("max_price = 1000") && text.contains("budget_day = 5")
    };
    while !is_noted() {
        assert!(tokio::time::Instant::now() < deadline, "never written");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let more = json!({ "spending.budget_day": null });
    send(&node, Method::PATCH, "/settings", more).await;
    assert_eq!(value("spending.budget_day").await, Value::Null);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_home_keeps_nobody_from_pausing_or_paying_less() {
    let world = node_world(16 << 20).await;
    let (mut proc, home) = on_a_small_disk(&world).await;
    let (node, hash) = paying(&world, &home).await;
    let paid_more = |list: &Value, than: u64| row(list, &hash)["units_paid"].as_u64() > Some(than);

    shut(&home);
    let act = async |action: &str| {
        let asked = json!({ "action": action, "info_hashes": [hash] });
        post(&node, "/torrents/actions", asked).await
    };
    let done = act("pause").await;
    let problem = &done["failed"][0]["problem"];
    assert_eq!(
        (&problem["code"], &problem["advice"]),
        (&json!("disk"), &json!("holds_until_stop")),
        "{done}"
    );
    let peers = format!("/torrents/{hash}/peers");
    wait(&node, &peers, |peers| peers == &json!([])).await;
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["state"], "paused");
    // What pays more is written first, or does not happen.
    let done = act("resume").await;
    assert_eq!(
        done["failed"][0]["problem"]["advice"], "make_room_or_let_write",
        "{done}"
    );
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["state"], "paused");
    open(&home);
    noted(&home, &hash, |saved| saved["paused"] == true).await;

    let paid = row(&list, &hash)["units_paid"].as_u64().expect("paid");
    let done = act("resume").await;
    assert_eq!(done["done"][0], hash.as_str(), "{done}");
    wait(&node, "/torrents", |list| paid_more(list, paid)).await;
    fill(&home);
    let terms = format!("/torrents/{hash}/terms");
    let change = json!({ "pays": false, "price": 100 });
    let (code, text) = refused(&node, Method::PATCH, &terms, change).await;
    assert_eq!(code, "disk", "{text}");
    assert!(text.contains("as long as the node runs"), "{text}");
    let told = "now in effect: spending.pays; as before: seeding.price;";
    assert!(text.contains(told), "{text}");
    wait(&node, &peers, |peers| {
        let peers = peers.as_array().cloned().unwrap_or_default();
        peers.iter().all(|peer| peer["paying_channels"] == 0)
    })
    .await;
    let detail = get(&node, &format!("/torrents/{hash}")).await;
    assert_eq!(detail["terms"]["pays"], false, "{detail}");
    assert_ne!(
        detail["terms"]["price"], 100,
        "what cannot be kept and pays no less is not done"
    );
    fill(&home);
    let (_, text) = refused(&node, Method::PATCH, &terms, json!({ "max_price": 60_000 })).await;
    assert!(text.contains("make room"), "{text}");
    make_room(&home);
    noted(&home, &hash, |saved| saved["terms"]["pays"] == false).await;
    let again = send(&node, Method::PATCH, &terms, json!({ "price": 100 })).await;
    assert_eq!(
        (&again["pays"], &again["price"]),
        (&json!(false), &json!(100))
    );
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_disk_stopped_shows_what_it_had_and_is_told() {
    let world = node_world(16 << 20).await;
    let downloads = world.dir.path().join("downloads");
    let (mut proc, _) = with_a_small_disk(&world, &downloads, "8m").await;
    let node = client(&world.home()).await;
    world.enrich(&node).await;
    let add = json!({
        "source": { "magnet": world.magnet },
        "confirmed": true,
        "terms": { "max_price": 20_000 },
    });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash");
    let list = wait(&node, "/torrents", |list| {
        row(list, hash)["state"] == "failed" && row(list, hash)["units_paid"] != 0
    })
    .await;
    let stopped = row(&list, hash);
    assert_eq!(stopped["waits"]["code"], "disk_full", "{stopped}");
    let have = stopped["have_bytes"].as_u64().expect("bytes");
    assert!(have > 4 << 20, "{stopped}");
    assert!(stopped["progress"].as_f64() > Some(0.25), "{stopped}");
    let pieces = get(&node, &format!("/torrents/{hash}/pieces")).await;
    let piece_bytes = get(&node, &format!("/torrents/{hash}")).await["piece_bytes"].clone();
    let kept = pieces["have"].as_u64().zip(piece_bytes.as_u64());
    assert_eq!(
        kept.map(|(have, bytes)| have * bytes),
        Some(have),
        "{pieces}"
    );
    let files = get(&node, &format!("/torrents/{hash}/files")).await;
    assert_eq!(files[0]["have_bytes"], have, "{files}");
    let notices = get(&node, "/notices").await;
    let told = notices["notices"].as_array().expect("a list").iter();
    let told: Vec<_> = told.filter(|n| n["code"] == "torrent_failed").collect();
    assert_eq!(told.len(), 1, "once: {notices}");
    assert_eq!(told[0]["values"]["code"], "disk_full", "{notices}");
    assert_eq!(told[0]["info_hash"], hash);
    let paused = json!({ "action": "pause", "info_hashes": [hash] });
    post(&node, "/torrents/actions", paused).await;
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, hash)["have_bytes"], have, "{list}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_home_is_told_until_there_is_room_and_so_is_a_pause_that_is_not_written_down() {
    let world = node_world(16 << 20).await;
    let (mut proc, home) = on_a_small_disk(&world).await;
    let (node, hash) = paying(&world, &home).await;
    let of_home = |list: &Value| -> Vec<Value> {
        let all = list["notices"].as_array().cloned().unwrap_or_default();
        let of_home = all.into_iter().filter(|n| n["code"] == "home_unwritten");
        of_home.collect()
    };
    let says = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(exe());
        let output = command.args(words).arg("--home").arg(&home).output().await;
        let output = output.expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    assert_eq!(get(&node, "/node").await["home_problem"], Value::Null);

    fill(&home);
    let view = wait(&node, "/node", |view| !view["home_problem"].is_null()).await;
    let problem = &view["home_problem"];
    assert_eq!(problem["code"], "home_full", "{problem}");
    assert_eq!(problem["values"]["home"], view["home"], "{problem}");
    let notices = wait(&node, "/notices", |list| !of_home(list).is_empty()).await;
    let notices = of_home(&notices);
    assert_eq!(notices.len(), 1, "once: {notices:?}");
    assert_eq!(notices[0]["values"]["code"], "home_full", "{notices:?}");
    // What could not be written leaves a little room again, for a moment.
    let listed = async {
        loop {
            fill(&home);
            wait(&node, "/node", |view| !view["home_problem"].is_null()).await;
            let (code, _, said) = says(&["list"]).await;
            assert_eq!(code, Some(0), "{said}");
            if said.contains("has no room: make room there") {
                return;
            }
        }
    };
    let listed = tokio::time::timeout(LONG, listed).await;
    listed.expect("`dpay list` says that there is no room");
    shut(&home);
    let (code, done, said) = says(&["pause", &hash]).await;
    assert_eq!((code, done.trim()), (Some(1), "done with 1"), "{said}");
    assert!(said.contains("not written down for 1: "), "{said}");
    assert!(said.contains("as long as the node runs"), "{said}");

    open(&home);
    wait(&node, "/node", |view| view["home_problem"].is_null()).await;
    wait(&node, "/notices", |list| of_home(list).is_empty()).await;
    noted(&home, &hash, |saved| saved["paused"] == true).await;
    assert_eq!(says(&["list"]).await.2, "");

    // What is told of a home is told of it while its node runs.
    assert_eq!(says(&["resume", &hash]).await.0, Some(0));
    shut(&home);
    assert_eq!(says(&["pause", &hash]).await.0, Some(1));
    wait(&node, "/notices", |list| !of_home(list).is_empty()).await;
    post(&node, "/play", json!({})).await;
    wait(&node, "/play", |play| play["stage"] == "on").await;
    assert_eq!(get(&node, "/node").await["home_problem"], Value::Null);
    let notices = get(&node, "/notices").await;
    assert_eq!(of_home(&notices), [Value::Null; 0], "{notices}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test]
async fn a_start_on_a_full_home_says_once_which_folder_and_what_to_do() {
    let dir = private_dir();
    let home = dir.path().join("home");
    std::fs::create_dir_all(&home).expect("made");
    let full = "mount -t tmpfs -o size=64k,mode=700 tmpfs \"$0\" && \
                { head -c 1m /dev/zero >\"$0/filler\" 2>/dev/null; exec \"$@\"; }";
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", full]);
    command.arg(&home).arg(exe());
    command.args(node_words(&home, dir.path(), &[]));
    let output = command.output().await.expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("No space left").count(), 1, "{said}");
    assert!(said.contains(&home.display().to_string()), "{said}");
    assert!(said.contains("make room there"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_chosen_when_it_has_failed_are_what_is_fetched_when_it_goes_on() {
    let world = node_world(1 << 20).await;
    let files = [("a.bin", 16 << 20), ("b.bin", 1 << 20)];
    let (seeder, link) = world.another_that("many", &files, "on").await;
    let downloads = world.dir.path().join("downloads");
    let (mut proc, folder) = with_a_small_disk(&world, &downloads, "8m").await;
    let node = client(&world.home()).await;
    world.enrich(&node).await;
    let add =
        json!({ "source": { "magnet": link }, "terms": { "pays": false }, "confirmed": true });
    let hash = post(&node, "/torrents", add).await["info_hash"].clone();
    let hash = hash.as_str().expect("a hash");
    let is = |list: &Value, state: &str| row(list, hash)["state"] == state;
    wait(&node, "/torrents", |list| is(list, "failed")).await;
    let wanted = json!({ "wanted": [1] });
    let files = format!("/torrents/{hash}/files");
    send(&node, Method::PUT, &files, wanted).await;
    std::fs::remove_file(folder.join("many/a.bin")).expect("removed");
    let resume = json!({ "action": "resume", "info_hashes": [hash] });
    let done = post(&node, "/torrents/actions", resume).await;
    assert_eq!(done["failed"], json!([]), "{done}");
    wait(&node, "/torrents", |list| is(list, "seeding")).await;
    let files = get(&node, &files).await;
    assert_eq!(files[1]["have_bytes"], 1 << 20, "{files}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((world.seeder, seeder));
}
