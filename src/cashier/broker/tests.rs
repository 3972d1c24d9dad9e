//! What becomes durable together.

use std::time::Instant;

use super::*;
use crate::broker::Terms;
use crate::clock;
use crate::coin::keys::SecretKey;
use crate::store::broker::MemoryBrokerStore;
use crate::units::Units;

fn cashier() -> BrokerCashier {
    let broker = Arc::new(Broker::new(
        SecretKey::from_bytes([1; 32]),
        Terms::default(),
    ));
    let store = Arc::new(MemoryBrokerStore::new());
    BrokerCashier::start(broker, store, Arc::new(clock::now)).0
}

fn deposit(n: u8) -> Operation {
    Operation::Deposit {
        account: SecretKey::from_bytes([n; 32]).public(),
        units: Units(5),
        reference: n.to_string(),
    }
}

#[tokio::test]
async fn a_request_waits_for_those_that_are_being_checked_but_not_for_long() {
    let cashier = cashier();
    let coming: Vec<_> = (0..6).map(|_| cashier.coming()).collect();
    // None of them comes.
    let asked = Instant::now();
    let mut alone = std::pin::pin!(cashier.operate(deposit(1)));
    let early = tokio::time::timeout(GATHERING / 5, &mut alone).await;
    // A machine that stood still proves nothing.
    assert!(early.is_err() || asked.elapsed() >= GATHERING);
    if early.is_err() {
        alone.await.unwrap();
    }
    // Four are enough for six.
    let four = (2..6).map(|n| cashier.operate(deposit(n)));
    let done = futures::future::join_all(four).await;
    assert!(done.iter().all(Result::is_ok));
    drop(coming);
    assert_eq!(cashier.coming.load(Ordering::Relaxed), 0);
}
