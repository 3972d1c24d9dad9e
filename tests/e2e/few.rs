//! A DHT of so few nodes that no payment is ever decided: nothing is paid, and nobody is left waiting without
//! a word.

use dpay::cli::world::WorldOptions;
use dpay::wire::message::RefuseReason;

use crate::support::{LONG, audit, private_torrent, same, world_with};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn with_too_few_nodes_what_is_served_free_comes_and_what_is_not_is_said() {
    let few = WorldOptions {
        dht_nodes: 4,
        ..WorldOptions::default()
    };
    let world = world_with(few).await;
    let t = private_torrent(&world, 4 * MIB, 64).await;
    for (name, units) in [
        ("leftover", 0),
        ("off", 0),
        ("one", 200_000),
        ("two", 200_000),
    ] {
        world.wallet(name, units).await.expect("a wallet");
    }
    let torrent = t.file.to_str().expect("UTF-8");
    let mut seeders = Vec::new();
    for free in ["leftover", "off"] {
        let extra = ["--free", free, "--price", "4000", "--dht-deadline-s", "3"];
        let seeder = world.seeder(free, &t.file, &t.data, &extra).await;
        seeders.push(seeder.expect("seeds"));
    }
    // Who serves strangers too serves who could not pay.
    let out = world.dir.path().join("one");
    let leecher = world.download("one", torrent, &out, &["--peer", &seeders[0].1]);
    let mut leecher = leecher.expect("starts");
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    assert_eq!(done["units_paid"], 0, "{done}");
    leecher.finish(LONG).await.expect("ends");
    same(&t.payload, &out.join(&t.name));
    // Who does not gives what it gives before acceptance, and no more: that is said, and why.
    let out = world.dir.path().join("two");
    let leecher = world.download("two", torrent, &out, &["--peer", &seeders[1].1]);
    let mut leecher = leecher.expect("starts");
    let free = leecher.wait_for("free", LONG).await.expect("is said");
    let why = free["why"].as_str().expect("a text");
    assert!(why.contains(RefuseReason::Undecided.word()), "{free}");
    assert!(why.contains("fewer than 8 nodes"), "{free}");
    let progress = leecher.last("progress").expect("something came");
    assert_eq!(progress["bytes"], MIB, "{progress}");
    assert_eq!(progress["units_paid"], 0, "{progress}");
    leecher.stop(LONG).await.expect("ends");
    for (seeder, _) in &mut seeders {
        seeder.stop(LONG).await.expect("ends");
    }
    audit(&world).await;
}
