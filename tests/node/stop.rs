//! A node that is told to stop by command.

use std::fs::File;

use serde_json::json;

use super::support::{LONG, args, node_world, post, start, wait_stage};

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
