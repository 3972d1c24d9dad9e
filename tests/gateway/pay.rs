//! Blocks are paid for: real broker, wallets, DHT nodes and engines.

use std::time::Duration;

use dpay::broker::Operation;
use dpay::channel::{FreeReason, NoReserve};
use dpay::engine::{AddTorrent, TorrentSource};
use dpay::gateway::{Close, FreePolicy, GatewayEvent, Limits, PeerSnapshot, TorrentTerms, Why};
use dpay::units::{PricePerGib, Units};
use dpay::wire::frame::{Handshake, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{World, make, same, socks, terms, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leecher_pays_its_seeder_to_the_unit() {
    let world = World::new().await;
    let seeder = world.node(0).await;
    let (leecher, wallet) = world.payer(1024).await;
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
    let (leecher, wallet) = world.payer(1024).await;
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
async fn the_second_of_two_seeders_gets_a_coin_for_half_of_what_is_missing() {
    let world = World::new().await;
    let (leecher, wallet) = world.payer(1024 + 1024).await;
    for _ in 0..2 {
        wallet.buy(Units(256)).await.expect("buys");
    }
    let (first, second) = (world.node(0).await, world.node(0).await);
    // All of it costs 384 units, a half 192.
    let metainfo = make(first.dir.path(), "file.bin", 256, 48 << 20);
    make(second.dir.path(), "file.bin", 256, 48 << 20);
    let info_hash = metainfo.info_hash();
    let price = PricePerGib::new(8192).expect("in range");
    let dear = TorrentTerms {
        price,
        max_price: price,
        ..terms(&metainfo, FreePolicy::Off)
    };
    for node in [&first, &second] {
        node.add(&metainfo, &[], FreePolicy::Off).await;
        node.gateway.set_torrent(info_hash, dear);
    }
    let slow = Limits {
        down_bytes_per_s: Some(2_000_000),
        up_bytes_per_s: None,
    };
    leecher.gateway.set_limits(info_hash, slow);
    leecher.gateway.set_torrent(info_hash, dear);
    let add = AddTorrent {
        source: TorrentSource::Bytes(metainfo.encode()),
        output_dir: leecher.dir.path().to_owned(),
        initial_peers: [&first, &second]
            .map(|node| node.gateway.listen_addr())
            .into(),
        overwrite: true,
        only_files: None,
        paused: false,
        looks_only: false,
    };
    let handle = leecher.engine.add(add).await.expect("adds");
    let both_paid = async {
        loop {
            let peers = leecher.gateway.snapshot().await;
            let paid: Vec<_> = peers.iter().filter(|peer| !peer.paid.is_zero()).collect();
            if paid.len() == 2 {
                return [0, 1].map(|n: usize| paid[n].paid.0 + paid[n].left.0);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut locked = within(30, both_paid).await;
    locked.sort_unstable();
    assert_eq!(locked, [256, 1024]);
    leecher.gateway.set_limits(info_hash, Limits::default());
    within(60, handle.wait_finished()).await.expect("finishes");
    same(&first, &leecher, "file.bin");
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
    let seeder = world.node(0).await;
    let (leecher, wallet) = world.payer(256).await;
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

/// Who was given up because it is not paid, and why.
fn given_up(event: GatewayEvent) -> Option<(std::net::SocketAddr, String)> {
    match event {
        GatewayEvent::Closed {
            peer,
            why: Close::Unserved(why),
            ..
        } => Some((peer, why)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeders_that_serve_only_who_pays_are_given_up_for_one_that_serves() {
    let world = World::new().await;
    let leecher = world.node(0).await;
    let (dear, paid, free) = (
        world.node(0).await,
        world.node(0).await,
        world.node(0).await,
    );
    let length = 30_000_000;
    let metainfo = make(dear.dir.path(), "file.bin", 256, length);
    for (seeder, policy) in [
        (&dear, FreePolicy::Off),
        (&paid, FreePolicy::Off),
        (&free, FreePolicy::Leftover),
    ] {
        make(seeder.dir.path(), "file.bin", 256, length);
        seeder.add(&metainfo, &[], policy).await;
    }
    let too_much = TorrentTerms {
        price: PricePerGib::new(3000).expect("in range"),
        ..terms(&metainfo, FreePolicy::Off)
    };
    let info_hash = metainfo.info_hash();
    dear.gateway.set_torrent(info_hash, too_much);
    // It takes long enough that what the others were asked for matters.
    let slow = Limits {
        down_bytes_per_s: None,
        up_bytes_per_s: Some(2_000_000),
    };
    free.gateway.set_limits(info_hash, slow);
    let mut events = leecher.gateway.events();
    let [dear, paid, free] = [&dear, &paid, &free].map(|seeder| seeder.gateway.listen_addr());
    let peers = [dear, paid, free];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    let mut whys = std::collections::HashMap::new();
    let one_is = async {
        while whys.is_empty() {
            whys.extend(given_up(events.recv().await.expect("an event")));
        }
    };
    within(30, one_is).await;
    assert!(whys[&dear].contains("the limit is 2000"), "{whys:?}");

    // Nor is it dialled again at once: our engine is let out, and hung up on.
    let mut again = socks(&leecher.gateway, dear).await.expect("connects");
    let handshake = Handshake {
        reserved: [0; 8],
        info_hash,
        peer_id: PeerId([b'e'; 20]),
    };
    again.write_all(&handshake.encode()).await.expect("writes");
    let read = within(5, again.read(&mut [0; 68])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

    within(60, handle.wait_finished()).await.expect("finishes");
    while let Ok(event) = events.try_recv() {
        // Nor one that only money is missing for.
        let given_up = given_up(event).map(|(peer, _)| peer);
        assert!(given_up.is_none_or(|peer| peer != free && peer != paid));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_nobody_stands_in_for_is_kept_until_money_comes() {
    let world = World::new().await;
    let (seeder, leecher) = (world.node(0).await, world.node(0).await);
    let metainfo = make(seeder.dir.path(), "file.bin", 256, 5_000_000);
    seeder.add(&metainfo, &[], FreePolicy::Off).await;
    let mut events = leecher.gateway.events();
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    let no_money = Some(Why::Free(FreeReason::Wallet(NoReserve::NoFunds)));
    let is_told = async {
        while !(leecher.gateway.snapshot().await.iter()).any(|peer| peer.why == no_money) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(30, is_told).await;
    let wallet = leecher.wallet.clone().expect("a wallet");
    let deposit = Operation::Deposit {
        account: wallet.account(),
        units: Units(200_000),
        reference: "late".to_owned(),
    };
    let cashier = world.broker.cashier();
    cashier.operate(deposit).await.expect("deposits");
    within(90, handle.wait_finished()).await.expect("finishes");
    while let Ok(event) = events.try_recv() {
        assert_eq!(given_up(event), None);
    }
    within(40, leecher.gateway.close_all(Duration::from_secs(30))).await;
    let balance = wallet.balance().await.expect("is there");
    assert!(balance.books.paid > Units::ZERO, "{balance:?}");
}
