//! What honest and dishonest accounts do in a coin's life.

use dpay::broker::answer::{HoldingStatus, ItemAnswer, RefusalCode};
use dpay::broker::spent::{Listed, SpentList};
use dpay::broker::{RequestId, Terms};
use dpay::coin::CoinCertificate;
use dpay::http::broker::RateLimit;
use dpay::http::client::ClientError;
use dpay::record::{FraudProof, Slot};
use dpay::store::broker::SqliteLimits;
use dpay::units::Units;

use crate::house::{HOLD_MS, House};

fn units(answer: &ItemAnswer) -> u64 {
    match answer {
        ItemAnswer::Redeemed { units, .. } => units.0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_coin_goes_through_two_hands_and_everyone_is_paid_after_the_hold() {
    let terms = Terms {
        hold_ms: 300_000,
        bond: Units(1_000),
        ..Terms::default()
    };
    let house = House::with(terms, SqliteLimits::default(), RateLimit::default()).await;
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    assert_eq!(alice.money().await, (5_000 - 1_000 - 256, 0));
    let [to_bob, change] = alice.pay(&coin, &bob, 100, 1).await;
    let [to_carol, rest] = bob.pay(&to_bob, &carol, 60, 1).await;
    assert_eq!(units(&carol.redeem(1, &to_carol).await), 60);
    assert_eq!(units(&bob.redeem(1, &rest).await), 40);
    assert_eq!(units(&alice.redeem(2, &change).await), 156);
    assert_eq!(carol.money().await, (0, 60));
    assert!(house.audit().await.balanced);

    assert_eq!(house.audit().await.pending, 256);
    house.pass_ms(300_000);
    assert_eq!(carol.money().await, (60, 0));
    assert_eq!(bob.money().await, (40, 0));
    assert_eq!(alice.money().await, (5_000 - 1_000 - 100, 0));
    let id = change.holding().unwrap().id;
    let shown = alice.client.holding(coin.coin.id()).await.unwrap();
    assert_eq!(shown.state, HoldingStatus::Split);
    assert_eq!(
        alice.client.holding(id).await.unwrap().state,
        HoldingStatus::Redeemed
    );
}

#[tokio::test]
async fn pending_becomes_balance_by_itself_and_can_be_withdrawn_once() {
    let terms = Terms {
        hold_ms: 300_000,
        bond: Units(100),
        ..Terms::default()
    };
    let house = House::with(terms, SqliteLimits::default(), RateLimit::default()).await;
    let alice = house.person(1);
    house.deposit(&alice, 1_000, "one").await;
    let coin = alice.buy(1, 64).await;
    alice.redeem(2, &coin).await;
    assert_eq!(alice.money().await, (836, 64));
    let id = RequestId([3; 16]);
    let early = alice
        .client
        .withdraw(id, Units(1_000), "bank")
        .await
        .unwrap_err();
    assert_eq!(early.refusal().unwrap().code, RefusalCode::Balance);
    house.pass_ms(300_000);
    assert_eq!(alice.money().await, (900, 0));
    let first = alice
        .client
        .withdraw(id, Units(1_000), "bank")
        .await
        .unwrap();
    let again = alice
        .client
        .withdraw(id, Units(1_000), "bank")
        .await
        .unwrap();
    assert_eq!(first, again);
    assert_eq!(alice.money().await, (0, 0));
    let report = house.audit().await;
    assert!(
        report.balanced && report.withdrawals == 1_000,
        "{:?}",
        report.faults
    );
}

#[tokio::test]
async fn the_same_request_and_the_same_statement_count_once() {
    let house = House::open().await;
    let alice = house.person(1);
    house.deposit(&alice, 5_000, "one").await;
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    assert_eq!(alice.buy(1, 256).await, coin);
    let other = vec![(Units(64), alice.key.public())];
    let reused = alice
        .client
        .purchase(RequestId([1; 16]), other)
        .await
        .unwrap_err();
    assert_eq!(reused.refusal().unwrap().code, RefusalCode::RequestId);
    let first = alice.redeem(2, &coin).await;
    assert_eq!(alice.redeem(2, &coin).await, first);
    assert_eq!(alice.redeem(3, &coin).await, first);
    assert_eq!(alice.money().await, (5_000 - 1_000 - 256, 256));
}

#[tokio::test]
async fn requests_decided_together_are_answered_and_refused_each_by_itself() {
    let house = House::open().await;
    let [alice, bob, carol, dave] = [1, 2, 3, 4].map(|n| house.person(n));
    house.deposit(&alice, 9_000, "alice").await;
    house.deposit(&bob, 9_000, "bob").await;
    house.deposit(&carol, 1_064, "carol").await;
    let (hers, last) = (alice.buy(1, 64).await, carol.buy(3, 64).await);
    assert_eq!(carol.money().await, (0, 0));
    let stolen = vec![(Units(16), alice.key.public())];
    let poor = vec![(Units(16), dave.key.public())];
    // Answered before, and with nothing left to buy it again; another's key; no money; a new one.
    let (again, same, stolen, poor, new) = tokio::join!(
        alice.buy(1, 64),
        carol.buy(3, 64),
        bob.client.purchase(RequestId([2; 16]), stolen),
        dave.client.purchase(RequestId([4; 16]), poor),
        bob.buy(5, 16),
    );
    assert_eq!((again, same), (hers, last));
    let code = |refused: Result<Vec<CoinCertificate>, ClientError>| {
        refused.unwrap_err().refusal().unwrap().code
    };
    assert_eq!(code(stolen), RefusalCode::HolderKey);
    assert_eq!(code(poor), RefusalCode::Balance);
    assert_eq!(new.coin.value, Units(16));
    assert_eq!(alice.money().await, (9_000 - 1_000 - 64, 0));
    assert_eq!(bob.money().await, (9_000 - 1_000 - 16, 0));
    let report = house.audit().await;
    assert!(report.balanced, "{:?}", report.faults);
}

#[tokio::test]
async fn the_second_of_two_spends_is_contested_with_both_items_and_the_first_is_on_the_spent_list()
{
    let house = House::open().await;
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let [to_bob, _] = alice.pay(&coin, &bob, 200, 1).await;
    let [to_carol, _] = alice.pay(&coin, &carol, 200, 2).await;
    bob.redeem(1, &to_bob).await;
    let ItemAnswer::Contested { conflict, .. } = carol.redeem(1, &to_carol).await else {
        panic!()
    };
    let shown = conflict.unwrap();
    let proof = FraudProof::decode(&hex::decode(&shown.proof).unwrap()).unwrap();
    let broker = house.key().public();
    assert_eq!(proof.verify(&|key| *key == broker), Ok(alice.key.public()));

    let mut list = SpentList::new(broker);
    carol.client.refresh_spent(&mut list).await.unwrap();
    let [stands, close] = to_bob.links[0].records(&dpay::record::Holding::of_coin(&coin.coin));
    let slot = Slot::spend(&coin.coin.id());
    assert!(matches!(list.lookup(&slot), Listed::By(c) if c[..] == stands.commitment().0[..16]));
    assert!(list.contradicts(&slot, &shown.refused));
    assert!(!list.contradicts(&close.slot, &close.commitment()));
    assert!(list.is_fresh(dpay::clock::now()));
    let entry = carol.client.spent_entry(&slot).await.unwrap();
    assert_eq!(entry.c, Some(stands.commitment()));
    let unknown = carol.client.spent_entry(&Slot([9; 32])).await.unwrap();
    assert_eq!(unknown.c, None);

    // What is fixed later in the same hour is found by the next refresh.
    let entries = list.len();
    let [to_bob, _] = alice.pay(&alice.buy(2, 64).await, &bob, 10, 3).await;
    let (shown, _) = bob.client.present(vec![(to_bob, None)]).await.unwrap();
    assert!(matches!(shown[0], ItemAnswer::Presented { .. }));
    house.pass_ms(1_000); // the index is made at most twice a second
    carol.client.refresh_spent(&mut list).await.unwrap();
    assert_eq!(list.len(), entries + 2);
    assert!(house.audit().await.balanced);
}

#[tokio::test]
async fn everything_said_is_still_true_after_a_restart() {
    let house = House::open().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let [to_bob, change] = alice.pay(&coin, &bob, 100, 1).await;
    let credited = bob.redeem(1, &to_bob).await;
    let before = alice.client.account().await.unwrap();
    let house = house.restart().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    assert_eq!(alice.client.account().await.unwrap(), before);
    assert_eq!(alice.buy(1, 256).await, coin);
    assert_eq!(bob.redeem(1, &to_bob).await, credited);
    assert_eq!(bob.redeem(9, &to_bob).await, credited);
    assert_eq!(units(&alice.redeem(2, &change).await), 156);
    assert!(house.audit().await.balanced);
}

#[tokio::test]
async fn a_full_disk_refuses_cleanly_and_the_same_request_succeeds_later() {
    let terms = Terms {
        bond: Units(100_000),
        ..Terms::default()
    };
    let limits = SqliteLimits {
        max_pages: Some(64),
    };
    let house = House::with(terms, limits, RateLimit::default()).await;
    let alice = house.person(1);
    house.deposit(&alice, 900_000, "one").await;
    let order = || vec![(Units(16), alice.key.public()); 32];
    let mut bought = 0u8;
    let error = loop {
        match alice
            .client
            .purchase(RequestId([bought; 16]), order())
            .await
        {
            Ok(coins) => bought += 1 + u8::try_from(coins.len() - 32).unwrap(),
            Err(error) => break error,
        }
        assert!(bought < 200);
    };
    assert!(error.is_open(), "{error}");
    assert!(error.to_string().contains("507"), "{error}");
    let spent = u64::from(bought) * 32 * 16;
    assert_eq!(alice.money().await.0, 800_000 - spent);
    let report = house.audit().await;
    assert!(report.balanced, "{:?}", report.faults);
    assert_eq!(report.outstanding, i128::from(spent));

    let house = house.restart().await;
    let alice = house.person(1);
    let coins = alice
        .client
        .purchase(RequestId([bought; 16]), order())
        .await;
    assert_eq!(coins.unwrap().len(), 32);
    assert_eq!(alice.money().await.0, 800_000 - spent - 512);
    assert!(house.audit().await.balanced);
}

#[tokio::test]
async fn two_brokers_on_one_database_sell_and_redeem_side_by_side() {
    let house = House::open().await;
    let twin = house.twin().await;
    let alice = house.person(1);
    house.deposit(&alice, 9_000, "one").await;
    let there = crate::house::Person::at(&twin.url(), Some(house.key().public()), 1);
    let both = |n: u8| {
        let (alice, there) = (&alice, &there);
        async move {
            let (a, b) = tokio::join!(alice.buy(n, 16), there.buy(n + 100, 16));
            let (x, y) = tokio::join!(there.redeem(n + 50, &a), alice.redeem(n + 150, &b));
            units(&x) + units(&y)
        }
    };
    let sums = futures::future::join_all((0..12).map(both)).await;
    assert_eq!(sums.iter().sum::<u64>(), 12 * 32);
    assert_eq!(alice.money().await, (8_000 - 12 * 32, 12 * 32));
    let report = house.audit().await;
    assert!(report.balanced, "{:?}", report.faults);
    twin.stop().await;
}

#[tokio::test]
async fn the_hold_is_what_the_terms_say() {
    let house = House::open().await;
    let info = house.person(1).client.info().await.unwrap();
    assert_eq!(info.terms.hold_ms, HOLD_MS);
    assert_eq!(info.broker, house.key().public());
    assert_eq!(info.coin_values, [16, 64, 256, 1024, 4096]);
}
