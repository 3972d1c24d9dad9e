//! Channels without a connection: kept for a while, then closed and put.

use std::time::Duration;

use dpay::cashier::wallet::WalletHandle;
use dpay::gateway::{FreePolicy, GatewayConfig, Limits};
use dpay::units::Units;

use crate::support::{LOOPBACK, Node, World, make, within};

const LOOK: Duration = Duration::from_millis(50);

/// A seeder that keeps channels for `keep_ms`, and a leecher that has paid it something.
async fn paying(world: &World, keep_ms: u64) -> (Node, Node) {
    let mut config = GatewayConfig::new(LOOPBACK);
    config.keep_ms = keep_ms;
    let seeder = world.node_with(0, config).await;
    let (leecher, _) = world.payer(1024).await;
    let metainfo = make(seeder.dir.path(), "file.bin", 256, 200_000_000);
    seeder.add(&metainfo, &[], FreePolicy::Off).await;
    let peers = [seeder.gateway.listen_addr()];
    leecher.add(&metainfo, &peers, FreePolicy::On).await;
    let is_paid = async {
        while !(seeder.gateway.snapshot().await.iter()).any(|peer| peer.earned > Units::ZERO) {
            tokio::time::sleep(LOOK).await;
        }
    };
    within(60, is_paid).await;
    (seeder, leecher)
}

async fn open_at(wallet: &WalletHandle) -> usize {
    let open = wallet.open_channels().await.expect("is there");
    open.received.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_nobody_comes_back_for_is_closed_and_put() {
    let world = World::new().await;
    let (seeder, leecher) = paying(&world, 500).await;
    // Its process is gone: nothing more is said.
    drop(leecher);
    let wallet = seeder.wallet.clone().expect("a wallet");
    let is_closed = async {
        while open_at(&wallet).await > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    within(60, is_closed).await;
    let balance = wallet.balance().await.expect("is there");
    assert!(balance.earned > Units::ZERO, "{balance:?}");
    assert_eq!(balance.books.earned, balance.earned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_without_its_payer_is_kept_and_closed_when_its_payee_stops() {
    let world = World::new().await;
    let (seeder, leecher) = paying(&world, 600_000).await;
    drop(leecher);
    let wallet = seeder.wallet.clone().expect("a wallet");
    let is_left = async {
        while !seeder.gateway.snapshot().await.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    };
    within(30, is_left).await;
    assert!(open_at(&wallet).await > 0, "it may come back");
    within(40, seeder.gateway.close_all(Duration::from_secs(30))).await;
    assert_eq!(open_at(&wallet).await, 0, "closed and put");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_dialled_again_while_its_channel_is_settled_is_there_at_once() {
    let world = World::new().await;
    let seeder = world.node(0).await;
    let (leecher, _) = world.payer(1024).await;
    let metainfo = make(seeder.dir.path(), "file.bin", 256, 100_000_000);
    seeder.add(&metainfo, &[], FreePolicy::Off).await;
    // So slow that it does not finish while it is interrupted.
    let slow = Limits {
        down_bytes_per_s: None,
        up_bytes_per_s: Some(8_000_000),
    };
    seeder.gateway.set_limits(metainfo.info_hash(), slow);
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    // In every state that a channel goes through: offered, proposed, open, accepted.
    for after_ms in [0, 5, 20, 60, 120, 250, 500, 1_000] {
        let is_connected = async {
            while handle.progress().peers_live == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // librqbit would try again after ten seconds, then after a minute.
        within(6, is_connected).await;
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        handle.pause().await.expect("pauses");
        handle.resume().await.expect("resumes");
    }
    within(60, handle.wait_finished()).await.expect("finishes");
}
