//! At most so many torrents download at once; the others wait for their turn.

use std::fs::File;
use std::path::{Path, PathBuf};

use dpay::cli::world::Proc;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    LONG, args, client, exe, file, lone, node_world, post, refused, row, send, wait, wait_stage,
};

fn state<'a>(list: &'a Value, hash: &str) -> &'a str {
    row(list, hash)["state"].as_str().unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torrents_beyond_the_number_wait_pay_nothing_and_go_on_by_themselves() {
    let world = node_world(4 << 20).await;
    let (mut proc, mut node) = world.rich_node().await;
    let at_once = |number: Value| json!({ "limits.downloads_at_once": number });
    let (code, text) = refused(&node, Method::PATCH, "/settings", at_once(json!(0))).await;
    assert_eq!(code, "bad_setting", "{text}");
    send(&node, Method::PATCH, "/settings", at_once(json!(1))).await;
    // Nobody has the first one: it is downloaded for as long as it is let.
    let torrent = "torrents/exact-multiple.bin.torrent";
    let add = |source: Value| json!({ "source": source, "confirmed": true, "terms": { "max_price": 20_000 } });
    let stuck = post(&node, "/torrents", add(file(torrent.as_ref()))).await;
    let stuck = stuck["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| {
        state(list, &stuck) == "downloading"
    })
    .await;
    let film = post(&node, "/torrents", add(json!({ "magnet": world.magnet }))).await;
    let film = film["info_hash"].as_str().expect("a hash").to_owned();
    let list = wait(&node, "/torrents", |list| state(list, &film) == "queued").await;
    assert_eq!(state(&list, &stuck), "downloading", "{list}");

    // Neither a resume nor a restart gets it before its turn, nor does anything of it come.
    let act = |action: &str, hash: &str| json!({ "action": action, "info_hashes": [hash] });
    for action in ["resume", "recheck", "pause", "resume"] {
        let done = post(&node, "/torrents/actions", act(action, &film)).await;
        assert_eq!(done["failed"], json!([]), "{action}: {done}");
    }
    wait(&node, "/torrents", |list| state(list, &film) == "queued").await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    (proc, node) = world.start().await;
    wait_stage(&node, "running").await;
    let list = wait(&node, "/torrents", |list| {
        state(list, &stuck) == "downloading" && state(list, &film) == "queued"
    })
    .await;
    let row_of = row(&list, &film);
    assert_eq!(
        (&row_of["downloaded_bytes"], &row_of["units_paid"]),
        (&json!(0), &json!(0)),
        "{list}"
    );

    // The one before it is paused: it is fetched and paid for. It takes nobody's place once it is whole.
    post(&node, "/torrents/actions", act("pause", &stuck)).await;
    let list = wait(&node, "/torrents", |list| state(list, &film) == "seeding").await;
    assert!(row(&list, &film)["units_paid"].as_u64() > Some(0), "{list}");
    post(&node, "/torrents/actions", act("resume", &stuck)).await;
    let list = wait(&node, "/torrents", |list| {
        state(list, &stuck) == "downloading"
    })
    .await;
    assert_eq!(state(&list, &film), "seeding", "{list}");

    // Without the limit all go on.
    let (seeder, other) = world.another("other", &[("a", 1 << 20)]).await;
    let other = post(&node, "/torrents", add(json!({ "magnet": other }))).await;
    let other = other["info_hash"].as_str().expect("a hash").to_owned();
    wait(&node, "/torrents", |list| state(list, &other) == "queued").await;
    send(&node, Method::PATCH, "/settings", at_once(Value::Null)).await;
    wait(&node, "/torrents", |list| state(list, &other) == "seeding").await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((world.seeder, seeder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_an_unknown_size_nor_a_failure_gets_one_beyond_the_number() {
    let world = node_world(4 << 20).await;
    let (seeder, link) = world.another_that("other", &[("a", 1 << 20)], "on").await;
    let (mut proc, node) = world.rich_node().await;
    let settings = json!({ "limits.downloads_at_once": 1, "spending.max_price": 20_000 });
    send(&node, Method::PATCH, "/settings", settings).await;
    let slow = json!({ "download_bytes_per_s": 65_536 });
    let film = json!({ "source": { "magnet": world.magnet }, "confirmed": true, "terms": slow });
    let film = post(&node, "/torrents", film).await;
    let film = film["info_hash"].as_str().expect("a hash").to_owned();
    let free = json!({ "pays": false });
    let other = json!({ "source": { "magnet": link }, "confirmed": true, "terms": free });
    let other = post(&node, "/torrents", other).await;
    let other = other["info_hash"].as_str().expect("a hash").to_owned();
    let is_held = |list: &Value| {
        assert_eq!(row(list, &other)["downloaded_bytes"], 0, "{list}");
        state(list, &film) == "downloading" && state(list, &other) == "queued"
    };
    wait(&node, "/torrents", is_held).await;

    // One that cannot be made, and one that stopped, wait as well once they are mended.
    let act = |action: &str| json!({ "action": action, "info_hashes": [other] });
    post(&node, "/torrents/actions", act("remove_with_data")).await;
    let folder = world.dir.path().join("downloads/other");
    std::fs::create_dir_all(folder.join("a")).expect("made");
    let peer = link.rsplit("x.pe=").next().expect("a peer");
    let whole = file(&world.dir.path().join("other.torrent"));
    let add = json!({ "source": whole, "confirmed": true, "terms": free, "peers": [peer] });
    post(&node, "/torrents", add).await;
    wait(&node, "/torrents", |list| state(list, &other) == "failed").await;
    std::fs::remove_dir(folder.join("a")).expect("removed");
    post(&node, "/torrents/actions", act("resume")).await;
    wait(&node, "/torrents", is_held).await;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop((world.seeder, seeder));
}

/// A torrent of two files whose check takes a while: the first, large one is in `there`, the other one nowhere.
async fn large(dir: &Path) -> (Value, PathBuf) {
    let (made, there) = (dir.join("made/large"), dir.join("there"));
    std::fs::create_dir_all(&made).expect("made");
    std::fs::create_dir_all(there.join("large")).expect("made");
    let zeros = File::create(made.join("a.bin")).expect("made");
    zeros.set_len(1 << 30).expect("grows");
    std::fs::write(made.join("b.bin"), [1; 1 << 20]).expect("written");
    let (from, to) = (made.display().to_string(), dir.join("large.torrent"));
    let output = to.display().to_string();
    let words = [
        "create",
        &from,
        "-o",
        &output,
        "--piece-kib",
        "4096",
        "--json",
    ];
    let mut create = Proc::start("create", &exe(), &args(&words)).expect("starts");
    assert_eq!(create.finish(LONG).await.expect("ends"), 0);
    std::fs::rename(made.join("a.bin"), there.join("large/a.bin")).expect("moved");
    (file(&to), there)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_torrent_while_its_files_are_checked_holds_when_they_are() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let (large, folder) = large(lone.dir.path()).await;
    let at_once = async |number: Value| {
        let change = json!({ "limits.downloads_at_once": number });
        send(&node, Method::PATCH, "/settings", change).await;
    };
    let add = async |source: Value, ask: bool| {
        let add = json!({ "source": source, "folder": folder, "ask": ask, "confirmed": !ask });
        let added = post(&node, "/torrents", add).await;
        added["info_hash"].as_str().expect("a hash").to_owned()
    };
    let act = async |action: &str, hash: &str| {
        let asked = json!({ "action": action, "info_hashes": [hash] });
        let done = post(&node, "/torrents/actions", asked).await;
        assert_eq!(done["failed"], json!([]), "{action}: {done}");
    };
    let is = async |hash: &str, wanted: &str| {
        wait(&node, "/torrents", |list| state(list, hash) == wanted).await
    };
    let choose = async |hash: &str, wanted: &[u32]| {
        let path = format!("/torrents/{hash}/files");
        send(&node, Method::PUT, &path, json!({ "wanted": wanted })).await;
    };

    // Nobody has what is to come of these. One that waits says that it is checked, and goes on after the check
    // where it need not wait any more.
    at_once(json!(1)).await;
    let first = add(file("torrents/exact-multiple.bin.torrent".as_ref()), false).await;
    is(&first, "downloading").await;
    let hash = add(large.clone(), false).await;
    let list = is(&hash, "checking").await;
    assert!(row(&list, &hash)["progress"].as_f64() < Some(1.0), "{list}");
    is(&hash, "queued").await;
    act("recheck", &hash).await;
    is(&hash, "checking").await;
    at_once(Value::Null).await;
    is(&hash, "downloading").await;

    // A choice that is made during the check is answered at once.
    act("recheck", &hash).await;
    is(&hash, "checking").await;
    choose(&hash, &[0]).await;
    let list = is(&hash, "seeding").await;
    let completed = row(&list, &hash)["completed"].clone();

    // A seed that is checked takes nobody's place, and is as old as it was.
    let last = add(file("torrents/odd-names.torrent".as_ref()), false).await;
    is(&last, "downloading").await;
    act("pause", &first).await;
    at_once(json!(1)).await;
    act("recheck", &hash).await;
    is(&hash, "checking").await;
    let list = wait(&node, "/torrents", |list| {
        assert_eq!(state(list, &last), "downloading", "{list}");
        state(list, &hash) == "seeding"
    });
    assert_eq!(row(&list.await, &hash)["completed"], completed);

    // A pause cuts its check off: it is checked anew when it is resumed, and waits for its turn.
    at_once(Value::Null).await;
    act("resume", &first).await;
    is(&first, "downloading").await;
    act("recheck", &hash).await;
    is(&hash, "checking").await;
    act("pause", &hash).await;
    is(&hash, "paused").await;
    choose(&hash, &[0, 1]).await;
    at_once(json!(1)).await;
    act("resume", &hash).await;
    is(&hash, "queued").await;
    act("pause", &first).await;
    is(&hash, "downloading").await;
    is(&last, "queued").await;

    // A yes during the check is one.
    act("remove", &hash).await;
    at_once(Value::Null).await;
    let hash = add(large, true).await;
    is(&hash, "checking").await;
    act("confirm", &hash).await;
    is(&hash, "downloading").await;
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
}
