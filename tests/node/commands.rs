//! Commands at a running node.

use serde_json::{Value, json};

use super::support::{LONG, fetch_free, get, node_world, row, wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torrents_are_checked_anew_and_removed_with_and_without_their_files() {
    let w = node_world(65_536).await;
    let (mut proc, node) = w.rich_node().await;
    let folder = w.dir.path().join("downloads");
    let mut torrents = Vec::new();
    for name in ["kept", "gone"] {
        let files = [("a.bin", 300_000)];
        let (mut giver, link) = w.another_that(name, &files, "on").await;
        let hash = fetch_free(&node, &link).await;
        giver.kill().await;
        torrents.push((hash, folder.join(name).join("a.bin")));
    }
    let [(kept, file), (gone, other)] = &torrents[..] else {
        panic!("{torrents:?}");
    };

    // A piece of it is damaged behind the node's back.
    let mut content = std::fs::read(file).expect("there");
    content[70_000] ^= 1;
    std::fs::write(file, &content).expect("written");
    let say = async |words: &[&str]| {
        let said = w.world.must("leecher", words).await;
        said.expect("does it")
    };
    let done = say(&["recheck", &kept[..8]]).await;
    assert_eq!(done["done"], json!([kept]), "{done}");
    wait(&node, "/torrents", |list| {
        row(list, kept)["have_bytes"] == 300_000 - 65_536
    })
    .await;

    let none = w.world.must("leecher", &["remove", "none of them"]).await;
    let why = none.expect_err("is none").to_string();
    assert!(why.contains("no torrent here is called"), "{why}");
    let done = say(&["remove", "kept"]).await;
    assert_eq!(done["done"], json!([kept]), "{done}");
    let done = say(&["remove", "--data", gone]).await;
    assert_eq!(done["done"], json!([gone]), "{done}");
    assert_eq!(get(&node, "/torrents").await["torrents"], json!([]));
    assert_eq!(std::fs::read(file).expect("its files stay"), content);
    assert!(!other.exists(), "{}", other.display());

    // What came in stays in the report, on the days on which it came.
    let report = async |words: &[&str]| {
        let words = [&["report", "spending"], words].concat();
        say(&words).await
    };
    let bytes = |report: &Value| report["total"]["bytes"].as_u64();
    assert!(bytes(&report(&[]).await) >= Some(600_000));
    let since = report(&["--since", "2001-01-01"]).await;
    assert_eq!(since["since"], "2001-01-01");
    assert!(bytes(&since) >= Some(600_000), "{since}");
    let until = report(&["--since", "2001-01-01", "--until", "2001-01-02"]).await;
    assert_eq!(until["until"], "2001-01-02");
    assert_eq!((&until["rows"], bytes(&until)), (&json!([]), Some(0)));
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}
