//! Blocks are paid for: real broker, wallets, DHT nodes and engines.

use std::time::Duration;

use dpay::gateway::{FreePolicy, GatewayEvent, PeerSnapshot, TorrentTerms};
use dpay::units::{PricePerGib, Units};

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

/// What each closed connection of a node came to.
fn closed(events: &mut tokio::sync::broadcast::Receiver<GatewayEvent>) -> Vec<PeerSnapshot> {
    let mut all = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let GatewayEvent::Closed { last, .. } = event {
            all.push(*last);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_seeders_are_each_paid_for_exactly_what_they_delivered() {
    let world = World::new().await;
    let leecher = world.node(200_000).await;
    let wallet = leecher.wallet.clone().expect("a wallet");
    wallet.buy(Units(1024)).await.expect("buys");
    let mut seeders = Vec::new();
    let mut peers = Vec::new();
    let mut metainfo = None;
    for _ in 0..3 {
        let seeder = world.node(0).await;
        let made = make(seeder.dir.path(), "file.bin", 256, 60_000_000);
        seeder.add(&made, &[], FreePolicy::Off).await;
        peers.push(seeder.gateway.listen_addr());
        seeders.push(seeder);
        metainfo = Some(made);
    }
    let metainfo = metainfo.expect("made");
    let mut events = leecher.gateway.events();
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    within(60, handle.wait_finished()).await.expect("finishes");
    same(&seeders[0], &leecher, "file.bin");
    let left = within(40, leecher.gateway.close_all(Duration::from_secs(30))).await;
    assert_eq!(left, []);
    let price = terms(&metainfo, FreePolicy::Off).price;
    let mut paid = Units::ZERO;
    for peer in closed(&mut events) {
        assert_eq!(peer.paid, price.due(peer.verified_bytes), "{peer:?}");
        paid = paid.checked_add(peer.paid).expect("fits");
    }
    assert!(paid >= price.due(60_000_000).saturating_sub(Units(3)));
    let mut earned = Units::ZERO;
    for seeder in seeders {
        within(40, seeder.gateway.close_all(Duration::from_secs(30))).await;
        let report = seeder
            .wallet
            .clone()
            .expect("a wallet")
            .redeem_earned()
            .await;
        earned = earned
            .checked_add(report.expect("redeems").credited)
            .expect("fits");
    }
    assert_eq!(
        (earned, wallet.balance().await.expect("is there").books.paid),
        (paid, paid)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_above_the_limit_is_not_paid_and_the_torrent_goes_on() {
    let world = World::new().await;
    let (seeder, leecher) = (world.node(0).await, world.node(200_000).await);
    let metainfo = make(seeder.dir.path(), "file.bin", 256, 5_000_000);
    seeder.add(&metainfo, &[], FreePolicy::Leftover).await;
    let dear = TorrentTerms {
        price: PricePerGib::new(3000).expect("in range"),
        ..terms(&metainfo, FreePolicy::Leftover)
    };
    seeder.gateway.set_torrent(metainfo.info_hash(), dear);
    let mut events = leecher.gateway.events();
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    within(60, handle.wait_finished()).await.expect("finishes");
    let mut told = false;
    while let Ok(event) = events.try_recv() {
        told |= matches!(event, GatewayEvent::PriceAboveLimit { .. });
    }
    assert!(told);
    let wallet = leecher.wallet.clone().expect("a wallet");
    let balance = wallet.balance().await.expect("is there");
    assert_eq!(balance.books.paid, Units::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_budget_is_used_up_the_torrent_goes_on_for_nothing_and_says_so() {
    let world = World::new().await;
    let (seeder, leecher) = (world.node(0).await, world.node(200_000).await);
    let wallet = leecher.wallet.clone().expect("a wallet");
    wallet.buy(Units(256)).await.expect("buys");
    let metainfo = make(seeder.dir.path(), "file.bin", 256, 60_000_000);
    let budget = Some(Units(20));
    wallet
        .set_budget(metainfo.info_hash(), budget)
        .await
        .expect("notes");
    seeder.add(&metainfo, &[], FreePolicy::Leftover).await;
    let mut events = leecher.gateway.events();
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    within(90, handle.wait_finished()).await.expect("finishes");
    same(&seeder, &leecher, "file.bin");
    let mut told = false;
    while let Ok(event) = events.try_recv() {
        told |= matches!(event, GatewayEvent::BudgetUsedUp { .. });
    }
    let balance = wallet.balance().await.expect("is there");
    assert!(told, "{balance:?}");
    let paid = balance.books.paid;
    assert!(paid > Units::ZERO && paid <= Units(20), "{paid}");
}
