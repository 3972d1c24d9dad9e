//! Blocks are paid for: real broker, wallets, DHT nodes and engines.

use std::time::Duration;

use dpay::gateway::{FreePolicy, GatewayEvent};
use dpay::units::Units;

use crate::support::{World, make, same, terms, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leecher_pays_its_seeder_to_the_unit() {
    let world = World::new().await;
    let (seeder, leecher) = (world.node(0).await, world.node(200_000).await);
    let wallet = leecher.wallet.clone().expect("a wallet");
    wallet.buy(Units(1024)).await.expect("buys");
    let length = 40_000_001;
    let metainfo = make(seeder.dir.path(), "file.bin", 256, length);
    seeder.add(&metainfo, &[], FreePolicy::Off).await;
    let mut events = leecher.gateway.events();
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    within(60, handle.wait_finished()).await.expect("finishes");
    same(&seeder, &leecher, "file.bin");
    let due = terms(&metainfo, FreePolicy::Off).price.due(length as u64);
    let left = within(40, leecher.gateway.close_all(Duration::from_secs(30))).await;
    assert_eq!(left, []);
    within(40, seeder.gateway.close_all(Duration::from_secs(30))).await;
    let mut accepted = false;
    while let Ok(event) = events.try_recv() {
        accepted |= matches!(event, GatewayEvent::PaymentAccepted { by_us: false, .. });
    }
    assert!(accepted);
    let report = seeder
        .wallet
        .clone()
        .expect("a wallet")
        .redeem_earned()
        .await;
    let report = report.expect("redeems");
    assert_eq!((report.credited, report.refused), (due, vec![]));
    let balance = wallet.balance().await.expect("is there");
    assert_eq!(balance.books.paid, due, "{balance:?}");
}
