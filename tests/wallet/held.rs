//! One thing that waits, a contest or a lost answer, holds nothing else up, and is not asked for twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dpay::broker::cases::Reading;
use dpay::broker::{Operated, Operation};
use dpay::cashier::wallet::{RedeemReport, WalletConfig};
use dpay::clock;
use dpay::coin::Commitment;
use dpay::record::Slot;
use dpay::units::Units;
use dpay::wallet::withdraw::WithdrawAsk;

use crate::house::{House, Person, wish};
use crate::lossy::{Way, open};
use crate::unread::{pay, rich};

/// Earns so many units of `payer` with one coin.
async fn earn(payer: &Person, payee: &Person, units: u32) -> (Slot, Commitment) {
    let (open, path) = pay(payer, payee).await;
    let id = path.coin.id();
    let spend = open.commitment(&id);
    let (_, chain) = payer.wallet().open_again(spend).await.expect("known");
    let wk = chain.reveal(units).expect("in chain");
    let ticked = payer.wallet().payer_ticks(vec![(spend, units)]).await;
    ticked.expect("open");
    payee
        .wallet()
        .close(spend, units, wk)
        .await
        .expect("proven");
    (Slot::spend(&id), spend)
}

/// Redeems the coin that `payer` then pays with; what the payee got of it is contested.
async fn cheated(house: &House, payee: &Person, units: u32) -> (Slot, Commitment) {
    let mut payer = rich(house).await;
    payer.stop().await;
    let mut copy = payer.copy();
    copy.config.limits.at_hand = 0;
    copy.start().await;
    payer.start().await;
    let got = earn(&payer, payee, units).await;
    let report = copy.wallet().redeem_all().await.expect("asked");
    assert_eq!(report.coins, Units(512), "{report:?}");
    got
}

/// Somebody with so much at the broker whose wallet is closed; the way on which to open it.
async fn behind_a_way(house: &House, units: u64) -> (Person, Arc<Way>, String) {
    let url = house.server.url();
    let mut person = Person::new(&url).await;
    let account = person.wallet().account();
    person.stop().await;
    house.deposit(account, units).await;
    person.config = WalletConfig::for_command(person.dir.path(), Some(url.clone()));
    (person, Arc::default(), url)
}

fn told(report: &RedeemReport) -> (Units, Units, usize) {
    (report.credited, report.unanswered, report.refused.len())
}

/// Has the broker read the slot until it has decided for `spend`.
async fn decide(house: &House, slot: Slot, spend: Commitment) {
    loop {
        let reading = Reading {
            at_unix_ms: clock::now(),
            copies: vec![(spend, 20)],
            answers: [20; 3],
        };
        let read = Operation::Read {
            slot,
            reading,
            min_answers: 8,
        };
        let read = house.server.cashier().operate(read).await;
        if let Operated::Read { decided: true } = read.expect("read") {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contested_share_waits_by_itself_and_holds_nothing_else_up() {
    let house = House::that_holds(900_000).await;
    let mut payee = Person::new(&house.server.url()).await;
    house.deposit(payee.wallet().account(), 30_000).await;
    payee.until_key().await;
    let (slot, spend) = cheated(&house, &payee, 20).await;
    let honest = rich(&house).await;
    earn(&honest, &payee, 30).await;

    let report = payee.wallet().redeem_earned().await.expect("asked");
    assert_eq!(told(&report), (Units(30), Units(20), 0), "{report:?}");
    let why = report.error.expect("why");
    assert!(why.contains("decides between two statements"), "{why}");
    let balance = payee.balance().await;
    assert_eq!(balance.broker_error, None, "an answer is no outage");
    assert_eq!((balance.redeeming, balance.pending), (Units(20), Units(30)));
    for _ in 0..3 {
        let bought = payee.wallet().buy(Units(64)).await.expect("sold");
        assert_eq!(
            (bought.coins.as_slice(), bought.ordered),
            (&[Units(64)][..], Units(0))
        );
    }
    assert!(payee.reserve(wish(1, 1024)).await.is_ok());
    let again = payee.wallet().redeem_earned().await.expect("told at once");
    assert_eq!(told(&again), (Units(0), Units(20), 0));
    assert!(
        again
            .error
            .is_some_and(|why| why.contains("decides between"))
    );

    decide(&house, slot, spend).await;
    payee.restart().await;
    let balance = payee.until("decided", |b| b.redeeming == Units(0)).await;
    assert_eq!(
        (balance.pending, balance.books.redeemed),
        (Units(50), Units(50))
    );
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ordered_is_bought_once_however_often_it_is_asked_for() {
    let house = House::open().await;
    let (mut payer, way, url) = behind_a_way(&house, 30_000).await;
    way.purchases.store(1_000, Ordering::SeqCst);
    let wallet = open(&payer.config, &url, &way).await;
    for _ in 0..2 {
        let bought = wallet.buy(Units(77)).await.expect("ordered");
        assert_eq!((bought.coins.len(), bought.ordered), (0, Units(80)));
        assert!(
            bought
                .error
                .is_some_and(|why| why.contains("lost on the way"))
        );
    }
    wallet.shutdown().await.expect("written");
    // So too in the next process, which gets what is ordered.
    payer.start().await;
    let bought = payer.wallet().buy(Units(80)).await.expect("asked again");
    assert_eq!((bought.units(), bought.ordered), (Units(80), Units(0)));
    let balance = payer.until("asked", |b| b.broker_balance.is_some()).await;
    assert_eq!(
        (balance.books.bought, balance.ordered),
        (Units(80), Units(0))
    );
    assert_eq!(
        balance.broker_balance,
        Some(Units(30_000 - 20_000 - 80)),
        "paid once"
    );
    payer.wallet().buy(Units(80)).await.expect("sold");
    assert_eq!(
        payer.balance().await.books.bought,
        Units(160),
        "another order"
    );
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_several_requests_is_one_order_in_the_next_process_too() {
    const UNITS: Units = Units(33 * 4_096);
    let house = House::that_sells(200_000).await;
    let (mut payer, way, url) = behind_a_way(&house, 500_000).await;
    way.purchases.store(1_000, Ordering::SeqCst);
    let wallet = open(&payer.config, &url, &way).await;
    for _ in 0..2 {
        let bought = wallet.buy(UNITS).await.expect("ordered");
        assert_eq!((bought.coins.len(), bought.ordered), (0, UNITS));
    }
    wallet.shutdown().await.expect("written");
    payer.start().await;
    let bought = payer.wallet().buy(UNITS).await.expect("asked again");
    assert_eq!((bought.units(), bought.ordered), (UNITS, Units(0)));
    let balance = payer.until("asked", |b| b.broker_balance.is_some()).await;
    assert_eq!((balance.books.bought, balance.ordered), (UNITS, Units(0)));
    let left = Units(500_000 - 200_000 - UNITS.0);
    assert_eq!(balance.broker_balance, Some(left), "paid once");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_money_does_not_cover_of_an_order_is_refused_and_the_rest_is_sold() {
    let house = House::that_sells(200_000).await;
    let (payer, way, url) = behind_a_way(&house, 200_000 + 5_000).await;
    let wallet = open(&payer.config, &url, &way).await;
    // 32 coins and one: both requests are on their way at once, and either may come first.
    let bought = wallet.order(Units(33 * 4_096)).await.expect("a part");
    assert_eq!(
        (bought.coins.as_slice(), bought.ordered),
        (&[Units(4_096)][..], Units(0))
    );
    let why = bought.error.expect("why");
    assert!(why.contains("does not cover"), "{why}");
    let again = wallet
        .buy(Units(4_096))
        .await
        .expect_err("904 units are left");
    assert!(again.to_string().contains("buys 904 now"), "{again}");
    wallet.shutdown().await.expect("written");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_takes_along_what_is_still_being_bought() {
    let house = House::open().await;
    let (payer, way, url) = behind_a_way(&house, 30_000).await;
    let wallet = open(&payer.config, &url, &way).await;
    way.holds_purchases.store(true, Ordering::SeqCst);
    let buyer = wallet.clone();
    let buying = tokio::spawn(async move { buyer.buy(Units(64)).await });
    while wallet.balance().await.expect("answers").ordered.is_zero() {
        tokio::task::yield_now().await;
    }
    let leaver = wallet.clone();
    let ask = WithdrawAsk {
        units: None,
        destination: "IBAN 1".to_owned(),
        bond: true,
    };
    let leaving = tokio::spawn(async move { leaver.withdraw(ask).await });
    while !wallet.balance().await.expect("answers").buys_nothing {
        tokio::task::yield_now().await;
    }
    way.holds_purchases.store(false, Ordering::SeqCst);
    let bought = buying.await.expect("no panic").expect("sold");
    assert_eq!(bought.coins, [Units(64)]);
    let all = leaving.await.expect("no panic").expect("all");
    assert_eq!(all.units, Units(30_000), "{all:?}");
    wallet.shutdown().await.expect("written");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_is_never_answered_waits_by_itself_and_holds_nothing_up() {
    let house = House::open().await;
    let (payer, way, url) = behind_a_way(&house, 30_000).await;
    way.withdrawals.store(1_000, Ordering::SeqCst);
    let wallet = open(&payer.config, &url, &way).await;
    let ask = || WithdrawAsk {
        units: Some(Units(100)),
        destination: "IBAN 1".to_owned(),
        bond: false,
    };
    let told = wallet.withdraw(ask()).await.expect("it is fixed");
    assert_eq!(told.withdrawal, None);
    let why = told.error.expect("why");
    assert!(why.contains("lost on the way"), "{why}");
    for _ in 0..20 {
        let bought = wallet.buy(Units(16)).await.expect("sold");
        assert_eq!(
            (bought.coins.as_slice(), bought.ordered),
            (&[Units(16)][..], Units(0))
        );
        let report = wallet.redeem_all().await.expect("asked");
        assert_eq!((report.credited, report.error), (Units(16), None));
        let balance = wallet.balance().await.expect("answers");
        assert_eq!(balance.broker_error, None, "nothing else is out of reach");
        assert_eq!(balance.withdrawing, Units(100));
    }
    let asks = way.withdrawal_asks.load(Ordering::SeqCst);
    assert!(asks < 10, "asked {asks} times beside 40 other requests");
    way.withdrawals.store(0, Ordering::SeqCst);
    let done = wallet.withdraw(ask()).await.expect("answered");
    assert_eq!(done.request, told.request, "who asks again hastens it");
    assert!(done.withdrawal.is_some(), "{done:?}");
    assert_eq!(house.report().await.withdrawals, 100);
    wallet.shutdown().await.expect("written");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_is_not_told_what_failed_of_something_else() {
    let house = House::open().await;
    let (payer, way, url) = behind_a_way(&house, 30_000).await;
    let wallet = open(&payer.config, &url, &way).await;
    wallet.buy(Units(16)).await.expect("sold");
    way.holds_purchases.store(true, Ordering::SeqCst);
    way.redemptions.store(1, Ordering::SeqCst);
    let buyer = wallet.clone();
    let buying = tokio::spawn(async move { buyer.buy(Units(64)).await });
    while wallet.balance().await.expect("answers").ordered.is_zero() {
        tokio::task::yield_now().await;
    }
    let report = wallet.redeem_all().await.expect("a report");
    assert_eq!(told(&report), (Units(0), Units(16), 0));
    assert!(
        report
            .error
            .is_some_and(|why| why.contains("lost on the way"))
    );
    wallet.balance().await.expect("answers");
    assert!(!buying.is_finished(), "its own answer is on its way");
    way.holds_purchases.store(false, Ordering::SeqCst);
    let bought = buying.await.expect("no panic").expect("sold");
    assert_eq!((bought.units(), bought.ordered), (Units(64), Units(0)));
    wallet.shutdown().await.expect("written");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_certified_are_asked_for_again_and_hold_nothing_up() {
    let house = House::open().await;
    let (mut payee, way, url) = behind_a_way(&house, 30_000).await;
    // More than the first run had certified.
    payee.config.payee_keys = 32;
    way.loses_keys.store(true, Ordering::SeqCst);
    let wallet = open(&payee.config, &url, &way).await;
    let asks = || way.key_asks.load(Ordering::SeqCst);
    wallet.meet().await.expect("there");
    // Nor is that the broker is away: everything else goes on.
    while asks() < 3 {
        let bought = wallet.buy(Units(16)).await.expect("sold");
        assert_eq!(bought.coins, [Units(16)]);
        let balance = wallet.balance().await.expect("answers");
        assert_eq!(balance.broker_error, None, "it answers everything else");
        // Not as fast as it can: the money is to last.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    way.refuses_keys.store(true, Ordering::SeqCst);
    way.loses_keys.store(false, Ordering::SeqCst);
    let lost = asks();
    while asks() == lost
        || wallet
            .balance()
            .await
            .expect("answers")
            .broker_error
            .is_some()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        way.keys.lock().expect("whole").len() <= 32,
        "no others are taken"
    );
    // A refusal is no outage.
    for _ in 0..3 {
        let bought = wallet.buy(Units(16)).await.expect("sold");
        assert_eq!(bought.coins, [Units(16)]);
    }
    wallet.shutdown().await.expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_presented_and_not_answered_waits_by_itself_and_holds_nothing_up() {
    let house = House::open().await;
    let url = house.server.url();
    let mut payee = Person::new(&url).await;
    house.deposit(payee.wallet().account(), 30_000).await;
    payee.until_key().await;
    let payer = rich(&house).await;
    earn(&payer, &payee, 30).await;
    payee.stop().await;
    let way = Arc::<Way>::default();
    way.loses_shown.store(true, Ordering::SeqCst);
    let wallet = open(&payee.config, &url, &way).await;
    for _ in 0..3 {
        let why = wallet.present().await.expect_err("it is lost").to_string();
        assert!(why.contains("lost on the way"), "{why}");
        let balance = wallet.balance().await.expect("answers");
        assert_eq!(balance.broker_error, None, "it answers everything else");
        let bought = wallet.buy(Units(16)).await.expect("sold");
        assert_eq!(bought.coins, [Units(16)]);
    }
    way.loses_shown.store(false, Ordering::SeqCst);
    let shown = wallet.present().await.expect("answered");
    assert_eq!((shown.taken, shown.refused.len()), (1, 0), "{shown:?}");
    wallet.shutdown().await.expect("written");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_with_a_larger_coin_only_and_too_little_to_buy_with_pays_with_it() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    let account = payer.wallet().account();
    payer.config.limits.at_hand = 0;
    payer.restart().await;
    // A bond, a coin, and less than the smallest one.
    house.deposit(account, 20_000 + 256 + 12).await;
    payer.wallet().buy(Units(256)).await.expect("sold");
    let given = payer.reserve(wish(2, 64)).await.expect("the one it has");
    assert_eq!(given.holding.value, Units(256));
    payer
        .wallet()
        .release(given.holding.id)
        .await
        .expect("ours");
    // One of an earlier run is read first.
    payer.restart().await;
    payer.until("known", |b| b.broker_balance.is_some()).await;
    let given = payer.reserve(wish(2, 64)).await.expect("once it is read");
    assert_eq!(given.holding.value, Units(256));
}
