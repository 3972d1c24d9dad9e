//! Seeds that nobody asks for rest, and nobody notices.

use std::net::SocketAddr;
use std::time::Duration;

use dpay::engine::{Handle, RestTimes, TorrentState};
use dpay::gateway::{FreePolicy, GatewayEvent};
use tokio::net::TcpListener;

use crate::support::{LOOPBACK, make, node, resting_node, same, within};

/// A rest that begins soon and is over in an hour.
const LONG: RestTimes = RestTimes {
    after: Duration::from_millis(300),
    rest: Duration::from_secs(3600),
    spread: Duration::ZERO,
};

async fn rests(handle: &Handle) {
    within(60, async {
        while !handle.is_resting() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(handle.progress().state, TorrentState::Seeding);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_at_rest_serves_whoever_comes_and_rests_again() {
    let seeder = resting_node(LONG).await;
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 1_000_000);
    let seed = seeder.add(&metainfo, &[], FreePolicy::On).await;
    for _ in 0..2 {
        rests(&seed).await;
        let leecher = node().await;
        let peers = [seeder.gateway.listen_addr()];
        let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
        within(60, handle.wait_finished()).await.expect("finishes");
        same(&seeder, &leecher, "file.bin");
        leecher.engine.stop().await;
    }
    rests(&seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_is_paused_at_rest_is_woken_by_its_user_alone() {
    let seeder = resting_node(LONG).await;
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 1_000_000);
    let seed = seeder.add(&metainfo, &[], FreePolicy::On).await;
    rests(&seed).await;
    seed.pause().await.expect("pauses");
    assert_eq!(seed.progress().state, TorrentState::Paused);
    let mut events = seeder.gateway.events();
    let leecher = node().await;
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    within(60, async {
        let closed = |event: &GatewayEvent| matches!(event, GatewayEvent::Closed { .. });
        while !closed(&events.recv().await.expect("an event")) {}
    })
    .await;
    assert_eq!(seed.progress().state, TorrentState::Paused);
    assert_eq!(handle.progress().bytes_have, 0);
    seed.resume().await.expect("resumes");
    assert_eq!(seed.progress().state, TorrentState::Seeding);
    within(90, handle.wait_finished()).await.expect("finishes");
    same(&seeder, &leecher, "file.bin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_at_rest_asks_for_peers_now_and_then() {
    // Nobody is there yet where a peer will be.
    let place: SocketAddr = {
        let listener = TcpListener::bind(LOOPBACK).await.expect("binds");
        listener.local_addr().expect("address")
    };
    let seeder = resting_node(RestTimes {
        rest: Duration::from_secs(2),
        ..LONG
    })
    .await;
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 1_000_000);
    let seed = seeder.add(&metainfo, &[place], FreePolicy::On).await;
    rests(&seed).await;
    let peer = TcpListener::bind(place).await.expect("binds again");
    let (_connection, _) = within(60, peer.accept()).await.expect("is dialled");
    assert!(!seed.is_resting());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_at_rest_can_be_taken_out_and_put_back() {
    let seeder = resting_node(LONG).await;
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 1_000_000);
    let seed = seeder.add(&metainfo, &[], FreePolicy::On).await;
    rests(&seed).await;
    let removed = seeder.engine.remove(metainfo.info_hash(), false).await;
    removed.expect("is there");
    (seeder.engine.waker())(metainfo.info_hash()).await;
    assert!(seed.pause().await.is_err(), "it is gone");
    let again = seeder.add(&metainfo, &[], FreePolicy::On).await;
    assert_eq!(again.progress().state, TorrentState::Seeding);
    rests(&again).await;
}
