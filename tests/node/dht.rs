//! A DHT that is gone, and comes back.

use serde_json::{Value, json};

use super::support::{LONG, args, get, node_world, post, wait, wait_stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dht_that_is_gone_is_said_by_status_notice_and_list_until_it_answers_again() {
    let mut world = node_world(1 << 16).await;
    let (mut proc, node) = world.start().await;
    wait_stage(&node, "setup").await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let knows = |speeds: &Value| {
        speeds["pulses"].as_array().is_some_and(|pulses| {
            pulses
                .last()
                .is_some_and(|pulse| pulse["dht_nodes"].as_u64() > Some(0))
        })
    };
    wait(&node, "/speeds", knows).await;
    assert_eq!(get(&node, "/node").await["dht_silent_since"], Value::Null);

    world.world.dht.clear();
    let view = wait(&node, "/node", |view| view["dht_silent_since"].is_u64()).await;
    let told = |notices: &Value| notices.to_string().contains("no DHT node answers since 20");
    let notices = wait(&node, "/notices", told).await;
    assert!(
        notices
            .to_string()
            .contains(&view["dht_silent_since"].to_string()),
        "{notices}"
    );
    let home = world.home().display().to_string();
    let list = args(&["list", "--json", "--home", &home]);
    let said = world.world.run(&list).await.expect("runs").stderr;
    assert!(said.contains("no DHT node answers since 20"), "{said}");

    world.world.restart_dht().await.expect("starts again");
    wait(&node, "/node", |view| view["dht_silent_since"].is_null()).await;
    wait(&node, "/notices", |notices| !told(notices)).await;
    let said = world.world.run(&list).await.expect("runs").stderr;
    assert_eq!(said, "");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    drop(world.seeder);
}
