//! Holdings that are promised while their slots are still being read.

use std::sync::atomic::Ordering;

use dpay::cashier::wallet::{CashierError, Passphrase, home};
use dpay::channel::Reserved;
use dpay::clock;
use dpay::coin::{Chain, ChainValue, PseudonymCertificate, RecordKey};
use dpay::record::{Holding, OpenSpend, SignedRecord};
use dpay::units::Units;
use dpay::wallet::{Freeze, FrozenLine};
use tokio::task::JoinHandle;

use crate::house::{House, Person, TORRENT, wish};

type Spending = JoinHandle<Result<(OpenSpend, Chain), CashierError>>;

/// Somebody whose coins are all of an earlier run, and whose slots take their time.
async fn slow(house: &House) -> Person {
    let mut person = Person::new(&house.server.url()).await;
    house.deposit(person.wallet().account(), 30_000).await;
    person.restart().await;
    person.until("bought", |b| b.available == Units(512)).await;
    person.config.limits.at_hand = 0;
    person.slots.is_slow.store(true, Ordering::Relaxed);
    person.restart().await;
    person
}

async fn certificate(payee: &Person) -> PseudonymCertificate {
    payee.until_key().await;
    payee.wallet().payee_key().await.expect("in stock").1
}

fn spend(payer: &Person, reserved: &Reserved, certificate: PseudonymCertificate) -> Spending {
    let (wallet, id) = (payer.wallet().clone(), reserved.holding.id);
    tokio::spawn(async move {
        let payee = certificate.holder;
        wallet
            .commit(id, payee, certificate, TORRENT, "payee:1".into())
            .await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coin_of_an_earlier_run_is_promised_at_once_and_spent_when_its_slot_is_read() {
    let house = House::open().await;
    let (payer, payee) = (slow(&house).await, Person::new(&house.server.url()).await);
    let certificate = certificate(&payee).await;
    let reserved = payer.reserve(wish(2, 64)).await.expect("promised");
    let balance = payer.balance().await;
    assert_eq!((balance.reserved, balance.unread), (Units(64), Units(448)));
    let spending = spend(&payer, &reserved, certificate);
    // Questions are answered in their order, so the spend waits by now, or comes later.
    assert_eq!(payer.balance().await.locked, Units(0));
    assert!(!spending.is_finished());
    payer.slots.is_slow.store(false, Ordering::Relaxed);
    let (open, _) = spending.await.expect("ends").expect("read");
    assert!(open.verify(&reserved.holding).is_ok());
    assert_eq!(payer.balance().await.locked, Units(64));
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_and_turns_out_to_be_spent_is_not_spent_again() {
    let house = House::open().await;
    let (mut payer, payee) = (slow(&house).await, Person::new(&house.server.url()).await);
    let key = certificate(&payee).await;
    payer.stop().await;
    let mut copy = payer.copy();
    copy.config.limits.at_hand = 0;
    copy.slots.is_slow.store(true, Ordering::Relaxed);
    payer.slots.is_slow.store(false, Ordering::Relaxed);
    payer.start().await;
    payer.until("read", |b| b.unread == Units(0)).await;
    copy.start().await;
    let promised = copy.reserve(wish(2, 64)).await.expect("promised");
    let id = promised.holding.id;
    // The other copy of the wallet spends all that it has, this coin too.
    let mut is_spent = false;
    while let Ok(reserved) = payer.wallet().reserve(wish(2, 64)).await {
        let (open, _) = spend(&payer, &reserved, key)
            .await
            .expect("ends")
            .expect("read");
        is_spent |= reserved.holding.id == id;
        let record = open.record(&reserved.holding);
        copy.slots.items.lock().expect("whole").push(record);
        if is_spent {
            break;
        }
    }
    assert!(is_spent, "the coin is of both");
    let spending = spend(&copy, &promised, key);
    assert_eq!(copy.balance().await.locked, Units(0));
    copy.slots.is_slow.store(false, Ordering::Relaxed);
    let refused = spending.await.expect("ends");
    assert!(refused.is_err(), "nothing is signed a second time");
    let balance = copy.until("frozen", |b| b.frozen >= Units(64)).await;
    let is_it = |line: &&FrozenLine| line.holding == id;
    let line = balance.frozen_in.iter().find(is_it).expect("frozen");
    assert_eq!(line.why, Freeze::OwnSpend);
    assert_eq!(balance.locked, Units(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_is_given_back_or_cannot_be_read_leaves_the_coin() {
    let house = House::open().await;
    let (payer, payee) = (slow(&house).await, Person::new(&house.server.url()).await);
    let certificate = certificate(&payee).await;
    let id = payer
        .reserve(wish(2, 64))
        .await
        .expect("promised")
        .holding
        .id;
    payer.wallet().release(id).await.expect("known");
    assert_eq!(payer.balance().await.unread, Units(512));

    let reserved = payer.reserve(wish(2, 64)).await.expect("promised");
    let spending = spend(&payer, &reserved, certificate);
    let refused = spending.await.expect("ends by itself");
    assert!(
        matches!(refused, Err(CashierError::NotRead(_))),
        "{refused:?}"
    );
    let balance = payer.balance().await;
    assert_eq!((balance.unread, balance.reserved), (Units(512), Units(0)));

    payer.slots.is_slow.store(false, Ordering::Relaxed);
    payer.until("read", |b| b.available == Units(512)).await;
    let reserved = payer.reserve(wish(2, 64)).await.expect("at hand");
    let spent = spend(&payer, &reserved, certificate).await.expect("ends");
    assert!(spent.is_ok(), "{spent:?}");
}

/// A spend of a coin of `payer` that another copy of its wallet signed.
pub fn rival(payer: &Person, holding: &Holding, certificate: PseudonymCertificate) -> SignedRecord {
    let seed = home::read_seed(payer.dir.path(), &Passphrase::none()).expect("there");
    let mut keys = (0..1_000).map(|index| seed.holder_key(index));
    let key = keys.find(|key| key.public() == holding.key);
    let (key, anchor) = (key.expect("its own"), ChainValue([1; 32]));
    let open = OpenSpend::sign(&key, &holding.id, certificate, anchor, RecordKey([2; 32]));
    open.record(holding)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_has_grown_old_is_made_again_before_a_spend_is_signed() {
    let house = House::open().await;
    let (payer, payee) = (slow(&house).await, Person::new(&house.server.url()).await);
    let certificate = certificate(&payee).await;
    payer.slots.is_slow.store(false, Ordering::Relaxed);
    payer.until("read", |b| b.available == Units(512)).await;
    let unspent = payer.reserve(wish(2, 64)).await.expect("at hand");
    let spent = payer.reserve(wish(2, 64)).await.expect("at hand");
    assert_ne!(unspent.holding.id, spent.holding.id);
    let other = rival(&payer, &spent.holding, certificate);
    payer.slots.items.lock().expect("whole").push(other);
    clock::shift(11);
    let refused = spend(&payer, &spent, certificate).await.expect("ends");
    assert!(refused.is_err(), "the other copy spent it meanwhile");
    let balance = payer.balance().await;
    assert_eq!((balance.frozen, balance.locked), (Units(64), Units(0)));
    let (open, _) = spend(&payer, &unspent, certificate)
        .await
        .expect("ends")
        .expect("read again");
    assert!(open.verify(&unspent.holding).is_ok());
    let balance = payer.balance().await;
    assert_eq!((balance.frozen, balance.locked), (Units(64), Units(64)));
    house.audit().await;
}
