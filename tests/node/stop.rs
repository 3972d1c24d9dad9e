//! A node that is told to stop by command.

use std::fs::File;

use dpay::cli::world::Proc;
use serde_json::json;

use super::support::{
    LONG, args, client, exe, node_words, node_world, post, private_dir, start, wait_stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_a_node_by_command_may_start_another_as_soon_as_the_command_ends() {
    let world = node_world(1 << 16).await;
    let (mut proc, node) = world.start().await;
    wait_stage(&node, "setup").await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let home = world.home().display().to_string();
    let stop = args(&["node", "stop", "--json", "--home", &home]);
    let output = world.world.run(&stop).await.expect("runs");
    assert_eq!(
        (output.code, output.lines),
        (
            0,
            vec![
                json!({ "event": "stopping" }),
                json!({ "event": "stopped" })
            ]
        ),
        "{}",
        output.stderr
    );
    let lock = File::open(world.home().join("node.lock")).expect("was made");
    assert!(lock.try_lock().is_ok(), "the node has its home still");
    drop(lock);
    let (mut second, _, _) = start(&world.home(), world.dir.path(), &world.around()).await;
    assert_eq!(proc.finish(LONG).await.expect("ends"), 0);
    assert_eq!(second.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_with_a_home_says_so_and_nothing_else() {
    let dir = private_dir();
    let home = dir.path().join("home");
    let shown = home.display().to_string();
    let dpay = |words: Vec<String>| tokio::process::Command::new(exe()).args(words).output();
    let url = "http://127.0.0.1:9";
    let init = [
        "wallet",
        "init",
        "--no-passphrase",
        "--broker",
        url,
        "--home",
        &shown,
    ];
    let made = dpay(args(&init)).await.expect("runs");
    assert!(made.status.success(), "{made:?}");
    // A broker that was named and not met yet is none that nobody named.
    let balance = dpay(args(&["wallet", "balance", "--home", &shown])).await;
    let said = String::from_utf8(balance.expect("runs").stdout).expect("text");
    assert!(said.contains(&format!("{url}, not met yet")), "{said}");

    let (mut proc, _, _) = start(&home, dir.path(), &[]).await;
    let again = dpay(node_words(&home, dir.path(), &[]))
        .await
        .expect("runs");
    let error = String::from_utf8(again.stderr).expect("text");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("runs with the home"), "{error}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_wrong_passphrase_the_wallet_stays_locked_and_the_right_one_still_opens_it() {
    let lone = super::support::lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({ "passphrase": "one two three" })).await;
    wait_stage(&node, "running").await;
    let super::support::Lone {
        mut proc,
        home,
        dir,
        ..
    } = lone;
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let file = dir.path().join("passphrase");
    std::fs::write(&file, "one two four").expect("written");
    let wrong = ["--passphrase-file", file.to_str().expect("text")];
    for more in [&wrong[..], &[]] {
        let words = node_words(&home, dir.path(), more);
        let mut proc = Proc::start("node", &exe(), &words).expect("starts");
        let ready = proc.wait_for("ready", LONG).await.expect("ready");
        assert_eq!(ready["locked"], true, "{ready}");
        let node = client(&home).await;
        wait_stage(&node, "locked").await;
        post(
            &node,
            "/wallet/unlock",
            json!({ "passphrase": "one two three" }),
        )
        .await;
        wait_stage(&node, "running").await;
        assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    }
}
