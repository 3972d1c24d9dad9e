//! What an earlier run left, read before it is used: a silent DHT, and a copy of a wallet that is behind.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dpay::cashier::wallet::Wallet;
use dpay::clock;
use dpay::record::{OpenSpend, Path, Slot};
use dpay::units::Units;
use dpay::wallet::{Balance, Freeze, JournalKind};

use crate::house::{House, Person, TORRENT, wish};

pub async fn rich(house: &House) -> Person {
    let mut person = Person::new(&house.server.url()).await;
    house.deposit(person.wallet().account(), 30_000).await;
    person.restart().await;
    person.until("bought", |b| b.available == Units(512)).await;
    person
}

/// Spends one coin of `payer` to `payee`, who records it.
pub async fn pay(payer: &Person, payee: &Person) -> (OpenSpend, Path) {
    let reserved = payer.reserve(wish(2, 64)).await.expect("at hand");
    let path = Path::decode(&reserved.path, 7).expect("a path");
    let (_, certificate) = payee.wallet().payee_key().await.expect("in stock");
    let (key, id) = (certificate.holder, reserved.holding.id);
    let spent = payer
        .wallet()
        .commit(id, key, certificate, TORRENT, "payee:1".into())
        .await;
    let (open, _) = spent.expect("reserved");
    let recorded = payee
        .wallet()
        .record_open(path.clone(), open, TORRENT, "payer:1".into())
        .await;
    recorded.expect("good");
    (open, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_nobody_has_open_shows_nothing_as_available() {
    let house = House::open().await;
    let (mut payer, mut payee) = (rich(&house).await, Person::new(&house.server.url()).await);
    payee.until_key().await;
    let (open, path) = pay(&payer, &payee).await;
    let spend = open.commitment(&path.coin.id());
    payer
        .wallet()
        .payer_ticks(vec![(spend, 9)])
        .await
        .expect("open");
    let shown = |person: &Person| {
        let home = person.dir.path().to_owned();
        async move {
            let reader = Wallet::read(&home).await.expect("is there");
            reader.balance().await.expect("reads")
        }
    };
    payer
        .until("bought anew", |b| b.available == Units(512))
        .await;
    let beside = shown(&payer).await;
    assert_eq!(beside.available, Units(512), "beside its writer");
    payer.stop().await;
    payee.stop().await;
    let alone = shown(&payer).await;
    assert_eq!((alone.available, alone.travels), (Units(0), Units(0)));
    assert_eq!((alone.unread, alone.held), (beside.available, beside.held));
    assert_eq!((alone.locked, alone.books.paid), (Units(55), Units(9)));
    // A share of a channel that is not closed is no holding at all.
    let earning = shown(&payee).await;
    assert_eq!((earning.held, earning.earned), (Units(0), Units(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_dht_only_what_this_run_bought_is_used() {
    let house = House::open().await;
    let mut person = rich(&house).await;
    person.slots.is_silent.store(true, Ordering::Relaxed);
    person.config.limits.at_hand = 0;
    person.restart().await;
    person.until("known", |b| b.broker_balance.is_some()).await;
    let report = person.wallet().redeem_all().await.expect("answers");
    assert_eq!((report.credited, report.unread), (Units(0), Units(512)));
    let balance = person.balance().await;
    assert_eq!((balance.unread, balance.redeeming), (Units(512), Units(0)));

    person.wallet().buy(Units(16)).await.expect("sold");
    let given = person
        .reserve(wish(2, 16))
        .await
        .expect("bought in this run");
    assert_eq!(given.holding.value, Units(16));

    person.slots.is_silent.store(false, Ordering::Relaxed);
    person.restart().await;
    person.until("read", |b| b.unread == Units(0)).await;
    let report = person.wallet().redeem_all().await.expect("answers");
    assert!(report.credited >= Units(512), "{report:?}");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_behind_freezes_what_its_other_self_spent() {
    let house = House::open().await;
    let mut original = rich(&house).await;
    let payee = Person::new(&house.server.url()).await;
    payee.until_key().await;
    original.stop().await;
    let mut copy = original.copy();
    copy.config.limits.at_hand = 0;
    original.start().await;
    let (open, path) = pay(&original, &payee).await;
    let holding = path.holding().expect("values fit");
    let record = open.record(&holding);
    copy.slots.items.lock().expect("whole").push(record);
    copy.start().await;
    let balance = copy.until("frozen", |b| b.frozen == Units(64)).await;
    let line = &balance.frozen_in[0];
    assert_eq!((line.holding, line.why), (holding.id, Freeze::OwnSpend));
    assert_eq!(line.seen, Some(open.commitment(&holding.id)));
    copy.until("read", |b| b.available == Units(448)).await;
    let report = copy.wallet().redeem_all().await.expect("answers");
    assert_eq!(
        report.coins,
        Units(448),
        "all but the frozen one: {report:?}"
    );
    let lines = copy.wallet().history(100).await.expect("read");
    assert!(
        lines
            .iter()
            .any(|entry| entry.line.kind == JournalKind::Frozen)
    );
    copy.restart().await;
    assert_eq!(copy.balance().await.frozen, Units(64), "it stays frozen");
    // Nobody waits for a reading of it when its time is over.
    clock::shift(70 * 86_400);
    let redeemed = tokio::time::timeout(Duration::from_secs(20), copy.wallet().redeem_all());
    let report = redeemed.await.expect("in time").expect("answers");
    assert_eq!((report.credited, report.unread), (Units(0), Units(0)));
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_behind_signs_the_close_that_was_signed_before() {
    let house = House::open().await;
    let payer = rich(&house).await;
    let mut payee = Person::new(&house.server.url()).await;
    payee.until_key().await;
    let (open, path) = pay(&payer, &payee).await;
    let holding = path.holding().expect("values fit");
    let spend = open.commitment(&holding.id);
    payee.stop().await;
    let mut copy = payee.copy();
    payee.start().await;
    let (_, chain) = payer.wallet().open_again(spend).await.expect("known");
    let wk = |k| chain.reveal(k).expect("in chain");
    let first = payee
        .wallet()
        .close(spend, 20, wk(20))
        .await
        .expect("proven");
    copy.slots
        .items
        .lock()
        .expect("whole")
        .push(first.record(&holding.id, &open));
    copy.start().await;
    let again = copy
        .wallet()
        .close(spend, 30, wk(30))
        .await
        .expect("as it was");
    assert_eq!(first, again, "one close, whatever came later");
    assert_eq!(copy.balance().await.books.earned, Units(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coin_whose_slot_never_decides_does_not_keep_another_from_being_bought() {
    let house = House::open().await;
    let mut person = Person::new(&house.server.url()).await;
    person.config.limits.at_hand = 0;
    house.deposit(person.wallet().account(), 30_000).await;
    person.restart().await;
    person.wallet().buy(Units(64 + 16)).await.expect("sold");
    let given = person.reserve(wish(33, 64)).await.expect("at hand");
    let hidden = given.holding.id;
    person.stop().await;
    let slot = Slot::spend(&hidden);
    person.slots.silent.lock().expect("whole").push(slot);
    person.start().await;
    person
        .until("read", |b| {
            b.available == Units(16) && b.unread == Units(64)
        })
        .await;
    let payee = Person::new(&house.server.url()).await;
    payee.until_key().await;
    let (_, certificate) = payee.wallet().payee_key().await.expect("in stock");
    // As a payer does: what is promised is spent once it is read, or asked for anew.
    let start = Instant::now();
    let spent = loop {
        let given = person.reserve(wish(33, 64)).await.expect("soon");
        let id = given.holding.id;
        let wallet = person.wallet();
        let spent = wallet.commit(
            id,
            certificate.holder,
            certificate,
            TORRENT,
            "payee:1".into(),
        );
        if spent.await.is_ok() {
            break given.holding;
        }
        assert_eq!(id, hidden);
        assert!(start.elapsed() < Duration::from_secs(20), "no other");
    };
    assert_eq!(spent.value, Units(64));
    assert_ne!(spent.id, hidden);
    assert_eq!(person.balance().await.unread, Units(64));
    // It is read on, and used when it is.
    person.slots.silent.lock().expect("whole").clear();
    clock::shift(61);
    let is_read = |b: &Balance| b.unread == Units(0) && b.available >= Units(64 + 16);
    person.until("read", is_read).await;
    house.audit().await;
}
