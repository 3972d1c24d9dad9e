//! From deposit to redemption, with a restart at each step.

use dpay::cashier::wallet::{ReserveRequest, SpentCheck};
use dpay::channel::NoReserve;
use dpay::record::Path;
use dpay::units::Units;
use dpay::wallet::keeping::Rules;
use dpay::wallet::{Balance, JournalKind, LockReason};
use dpay::wire::message::RefuseReason;

use crate::house::{House, Person, TORRENT, wish};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_from_deposit_to_redemption_through_restarts_at_each_step() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    let mut payee = Person::new(&house.server.url()).await;
    house.deposit(payer.wallet().account(), 30_000).await;
    payer.restart().await;
    payer.until("bought", |b| b.available == Units(512)).await;
    payee.until_key().await;
    payee.restart().await;

    let first = payer.wallet().reserve(wish(2, 64)).await.expect("at hand");
    payer.restart().await;
    let reserved = payer.reserve(wish(2, 64)).await.expect("at hand, and read");
    assert_eq!(first.holding.value, Units(64));

    let path = Path::decode(&reserved.path, 7).expect("a path");
    let holding = reserved.holding;
    let checked = check_until_fresh(&payee, &reserved.path).await;
    assert_eq!(checked, SpentCheck::Clear);
    let (_, certificate) = payee.wallet().payee_key().await.expect("in stock");
    let (open, chain) = payer
        .wallet()
        .commit(
            holding.id,
            certificate.holder,
            certificate,
            TORRENT,
            "payee:1".into(),
        )
        .await
        .expect("reserved");
    let spend = open.commitment(&holding.id);
    payer.restart().await;
    let again = payer.wallet().open_again(spend).await.expect("known");
    assert_eq!(
        again,
        (open, chain.clone()),
        "the same open, the same chain"
    );

    for _ in 0..2 {
        payee
            .wallet()
            .record_open(path.clone(), open, TORRENT, "payer:1".into())
            .await
            .expect("good, also when it comes again");
        payee.restart().await;
    }
    assert_eq!(
        payee.wallet().check(holding, path.clone()).await,
        Err(RefuseReason::Seen)
    );
    payee.wallet().accepted(spend).await.expect("known");

    let w = |k| chain.reveal(k).expect("in chain");
    for k in [1, 2, 20] {
        payer
            .wallet()
            .payer_ticks(vec![(spend, k)])
            .await
            .expect("open");
        payee
            .wallet()
            .payee_ticks(vec![(spend, k, w(k))])
            .await
            .expect("open");
    }
    payer.restart().await;
    payee.restart().await;
    let locked = payer.balance().await.locked_in;
    assert_eq!(
        (locked[0].units, locked[0].paid, locked[0].why),
        (Units(44), Units(20), LockReason::Open)
    );
    assert_eq!(payee.balance().await.earning, Units(20));
    let left = payee.wallet().open_channels().await.expect("open").received;
    assert_eq!((left[0].spend, left[0].k, left[0].close), (spend, 20, None));

    let close = payee
        .wallet()
        .close(spend, 25, w(25))
        .await
        .expect("proven");
    payee.restart().await;
    let again = payee.wallet().close(spend, 30, w(30)).await.expect("known");
    assert_eq!(close, again, "signed once");
    payee.wallet().record_put(spend).await.expect("known");
    assert!(
        payee
            .wallet()
            .open_channels()
            .await
            .expect("open")
            .received
            .is_empty()
    );
    payer.wallet().payer_ended(vec![spend]).await.expect("ok");
    let waiting = payer.balance().await.locked_in;
    assert_eq!(waiting[0].why, LockReason::WaitingForClose);
    payer
        .wallet()
        .payer_closed(spend, close)
        .await
        .expect("good");
    payer.restart().await;

    redeem_and_count(&house, payer, payee).await;
}

/// The first copy of the spent list may still be on its way.
async fn check_until_fresh(payee: &Person, path: &[u8]) -> SpentCheck {
    let path = Path::decode(path, 7).expect("a path");
    let holding = path.holding().expect("values fit");
    for _ in 0..500 {
        match payee.wallet().check(holding, path.clone()).await {
            Ok(SpentCheck::ProvisionalOnly) => {}
            done => return done.expect("not listed"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    SpentCheck::ProvisionalOnly
}

async fn redeem_and_count(house: &House, payer: Person, mut payee: Person) {
    let earned = payee.wallet().redeem_earned().await.expect("answered");
    assert_eq!(
        (earned.credited, earned.earned),
        (Units(25), Units(25)),
        "{earned:?}"
    );
    payee.restart().await;
    let nothing = payee.wallet().redeem_all().await.expect("answered");
    assert_eq!(nothing.credited, Units(0));
    // Change, by a rule that is set while the wallet is open, a day later.
    dpay::clock::shift(24 * 3600 + 60);
    let rules = Rules { keep: Units::ZERO };
    payer.wallet().redeem_by(rules).await.expect("open");
    let redeemed = payer.until("redeemed", |b| b.books.redeemed == Units(39));
    redeemed.await;
    let rest = payer.wallet().redeem_all().await.expect("answered");
    assert_eq!((rest.earned, rest.change), (Units(0), Units(0)));
    assert_eq!(rest.refused, []);
    let balance = payer.balance().await;
    assert_eq!(balance.held, Units(0));
    assert_eq!(balance.books.paid, Units(25));
    let paid_in = payer
        .until("credited", |b| {
            b.broker_balance
                .and_then(|u| u.checked_add(b.broker_bond?))
                .is_some_and(|u| u == Units(30_000 - 25))
        })
        .await;
    assert_eq!(paid_in.broker_pending, Some(Units(0)));
    payee
        .until("credited", |b| b.broker_balance == Some(Units(25)))
        .await;
    house.audit().await;

    let kinds = |person: &Person| {
        let wallet = person.wallet().clone();
        async move {
            let lines = wallet.history(1000).await.expect("read");
            lines
                .iter()
                .map(|l| (l.line.kind, l.line.units.0))
                .collect::<Vec<_>>()
        }
    };
    let payers = kinds(&payer).await;
    for line in [
        (JournalKind::BrokerPinned, 0),
        (JournalKind::Bought, 64),
        (JournalKind::Locked, 64),
        (JournalKind::Paid, 25),
        (JournalKind::Change, 39),
        (JournalKind::Redeemed, 39),
    ] {
        assert!(payers.contains(&line), "{line:?} in {payers:?}");
    }
    let payees = kinds(&payee).await;
    let expected = [
        (JournalKind::BrokerPinned, 0),
        (JournalKind::Received, 64),
        (JournalKind::Earned, 25),
        (JournalKind::Redeemed, 25),
    ];
    assert_eq!(payees, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_size_is_bought_in_the_background_and_the_budget_holds() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    house.deposit(payer.wallet().account(), 30_000).await;
    payer.restart().await;
    payer.until("bought", |b| b.available == Units(512)).await;
    let first = payer.wallet().reserve(wish(2, 1024)).await.expect("some");
    assert_eq!(first.holding.value, Units(64), "what is at hand, at once");
    payer
        .until("a coin of 1024", |b| {
            b.coins.contains(&(Units(1024), 1)) && b.available >= Units(1024 + 512)
        })
        .await;
    let second = payer.wallet().reserve(wish(2, 1024)).await.expect("some");
    assert_eq!(second.holding.value, Units(1024));
    payer
        .wallet()
        .set_budget(TORRENT, Some(Units(1024 + 64 + 10)))
        .await
        .expect("written");
    assert_eq!(
        payer.wallet().reserve(wish(11, 64)).await,
        Err(NoReserve::OverBudget)
    );
    payer
        .wallet()
        .release(first.holding.id)
        .await
        .expect("known");
    payer.wallet().reserve(wish(11, 64)).await.expect("room");
    let bought = payer.wallet().buy(Units(100)).await.expect("sold");
    assert_eq!(bought.coins, [64, 16, 16, 16].map(Units));
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_next_channel_will_want_is_there_when_it_is_asked_for() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    house.deposit(payer.wallet().account(), 30_000).await;
    payer.restart().await;
    payer.until("bought", |b| b.available == Units(512)).await;
    let first = ReserveRequest {
        then: Units(256),
        ..wish(2, 64)
    };
    let first = payer.wallet().reserve(first).await.expect("at hand");
    assert_eq!(first.holding.value, Units(64));
    let is_there = |b: &Balance| b.coins.contains(&(Units(256), 1));
    payer.until("a coin of 256", is_there).await;
    let second = payer.wallet().reserve(wish(2, 256)).await.expect("there");
    assert_eq!(second.holding.value, Units(256));
    house.audit().await;
}
