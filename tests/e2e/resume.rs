//! Connections that are cut and processes that are killed in the middle of a paid download: it goes on
//! with the channels that were open, both books agree to the unit, and what is lost is at most a window
//! and a second's ticks.

use dpay::channel::Windows;
use dpay::cli::world::Proc;
use dpay::units::{PricePerGib, Units};
use serde_json::Value;

use crate::relay::Relay;
use crate::support::{LONG, SHORT, TestWorld, Torrent, audit, private_torrent, same, world};

const MIB: usize = 1 << 20;
const PRICE: u64 = 4000;

/// A torrent, its seeder, and a slow line to it.
struct Scene {
    world: TestWorld,
    t: Torrent,
    seeder: Proc,
    relay: Relay,
}

async fn seed(world: &TestWorld, t: &Torrent) -> (Proc, String) {
    let price = PRICE.to_string();
    let extra = ["--free", "off", "--price", &price];
    world
        .seeder("seeder", &t.file, &t.data, &extra)
        .await
        .expect("seeds")
}

async fn scene() -> Scene {
    let world = world().await;
    let t = private_torrent(&world, 64 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let (seeder, address) = seed(&world, &t).await;
    let relay = Relay::start(&address).await;
    Scene {
        world,
        t,
        seeder,
        relay,
    }
}

impl Scene {
    fn download(&self) -> Proc {
        let torrent = self.t.file.to_str().expect("UTF-8");
        let peer = self.relay.address.to_string();
        let out = self.world.dir.path().join("out");
        self.world
            .download("leecher", torrent, &out, &["--peer", &peer])
            .expect("starts")
    }

    /// Waits for the end of the download and looks at both ends' books. `lost` is what the seeder may
    /// have served and not been paid, in bytes.
    async fn settle(mut self, mut leecher: Proc, lost: u64) -> Value {
        let done = leecher.wait_for("done", LONG).await.expect("finishes");
        let out = self.world.dir.path().join("out").join(&self.t.name);
        same(&self.t.payload, &out);
        assert_eq!(
            done["open_channels"].as_array().map(Vec::len),
            Some(0),
            "{done}"
        );
        leecher.finish(SHORT).await.expect("ends");
        assert_eq!(self.seeder.stop(LONG).await.expect("ends"), 0);
        let balance = |name: &'static str| {
            let world = &self.world;
            async move { world.must(name, &["wallet", "balance"]).await.expect("is") }
        };
        let (payer, payee) = (balance("leecher").await, balance("seeder").await);
        let paid = payer["books"]["paid"].as_u64().expect("a number");
        assert_eq!(payee["books"]["earned"].as_u64(), Some(paid), "both books");
        assert_eq!(payer["locked"], 0, "{payer}");
        let price = PricePerGib::new(PRICE).expect("in range");
        let length = self.t.bytes.len() as u64;
        let least = price.due(length.saturating_sub(lost));
        // A unit ahead for each channel that was taken up, and parts of units.
        let most = Units(price.due(length).0 + 4);
        assert!(
            (least.0..=most.0).contains(&paid),
            "{least} to {most}: {paid}"
        );
        audit(&self.world).await;
        done
    }
}

/// What a seeder may lose to a connection that ends: a window.
fn window() -> u64 {
    let price = PricePerGib::new(PRICE).expect("in range");
    let windows = Windows::new(256 * 1024, price);
    windows.accepted_bytes(price.due(64 * MIB as u64))
}

#[tokio::test]
async fn a_line_that_is_cut_twice_goes_on_with_its_channels() {
    let mut scene = scene().await;
    let mut leecher = scene.download();
    leecher.wait_for("accepted", LONG).await.expect("pays");
    scene.relay.has_passed(16 * MIB as u64).await;
    scene.relay.cut();
    scene.relay.has_passed(36 * MIB as u64).await;
    scene.relay.cut();
    scene.settle(leecher, 2 * window()).await;
}

#[tokio::test]
async fn a_leecher_that_is_killed_goes_on_where_it_was() {
    let mut scene = scene().await;
    let mut leecher = scene.download();
    leecher.wait_for("accepted", LONG).await.expect("pays");
    scene.relay.has_passed(24 * MIB as u64).await;
    leecher.kill().await;
    let balance = scene.world.must("leecher", &["wallet", "balance"]).await;
    let balance = balance.expect("read beside nobody");
    assert!(balance["locked"].as_u64() > Some(0), "{balance}");
    let again = scene.download();
    // A second's ticks may be forgotten by the one who crashed; the other one knows them.
    scene.settle(again, 2 * window()).await;
}

#[tokio::test]
async fn a_seeder_that_is_killed_is_paid_what_it_lost_count_of() {
    let mut scene = scene().await;
    let mut leecher = scene.download();
    leecher.wait_for("accepted", LONG).await.expect("pays");
    scene.relay.has_passed(24 * MIB as u64).await;
    scene.seeder.kill().await;
    let (seeder, address) = seed(&scene.world, &scene.t).await;
    scene.seeder = seeder;
    scene.relay.lead_to(&address);
    scene.settle(leecher, window()).await;
}

#[tokio::test]
async fn both_may_be_killed() {
    let mut scene = scene().await;
    let mut leecher = scene.download();
    leecher.wait_for("accepted", LONG).await.expect("pays");
    scene.relay.has_passed(24 * MIB as u64).await;
    leecher.kill().await;
    scene.seeder.kill().await;
    let (seeder, address) = seed(&scene.world, &scene.t).await;
    scene.seeder = seeder;
    scene.relay.lead_to(&address);
    let again = scene.download();
    // Ticks of a second at 16 MiB/s, and the windows.
    scene.settle(again, 2 * window() + 20 * MIB as u64).await;
}
