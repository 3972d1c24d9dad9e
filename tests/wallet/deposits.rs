//! A payer without money: how often its wallet looks whether some came.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dpay::cashier::wallet::counter::Counter;
use dpay::cashier::wallet::{BrokerDoor, WalletConfig, WalletHandle};
use dpay::channel::NoReserve;
use dpay::clock;
use dpay::coin::SecretKey;
use dpay::units::Units;

use crate::house::{House, Person, wish};
use crate::lossy::{Way, open};

/// A wallet without money whose payer keeps asking.
struct Poor {
    wallet: WalletHandle,
    way: Arc<Way>,
    /// Another way to the broker.
    later: Counter,
    /// Seconds that its clock is ahead.
    ahead: i64,
}

impl Poor {
    async fn new(person: &Person, url: &str) -> Poor {
        let way = Arc::new(Way::default());
        let config = WalletConfig::for_command(person.dir.path(), Some(url.to_owned()));
        let wallet = open(&config, url, &way).await;
        wallet.meet().await.expect("there");
        Poor {
            wallet,
            way,
            later: Counter::new(url, None, SecretKey::from_bytes([3; 32])).expect("a URL"),
            ahead: 0,
        }
    }

    /// Whatever is due is begun, and whatever was told is heard, between two questions to the wallet, and
    /// before the broker answers a question that was asked later.
    async fn turns(&self) {
        for _ in 0..5 {
            self.wallet.balance().await.expect("answers");
            self.later.meet().await.expect("there");
        }
    }

    /// Asks for a coin so many seconds later; how often the account was looked at by then.
    async fn ask(&mut self, later_s: i64) -> u32 {
        self.turns().await;
        self.ahead += later_s;
        clock::shift(self.ahead);
        let given = self.wallet.reserve(wish(1, 64)).await;
        assert_eq!(given, Err(NoReserve::NoFunds));
        self.turns().await;
        self.way.looks.load(Ordering::SeqCst)
    }

    /// Asks all the time; the account is looked at when `pause_s` are over, and not before.
    async fn looks_after(&mut self, pause_s: i64) {
        let before = self.ask(0).await;
        // The clock does not stand still meanwhile.
        assert_eq!(self.ask(pause_s - 3).await, before, "{pause_s} s");
        self.ask(3).await;
        let looked = async {
            while self.way.looked.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let looked = tokio::time::timeout(Duration::from_secs(10), looked).await;
        looked.unwrap_or_else(|_| panic!("never looked at after {pause_s} s"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_without_money_has_its_account_looked_at_less_and_less_often() {
    let house = House::open().await;
    let mut person = Person::new(&house.server.url()).await;
    let account = person.wallet().account();
    person.stop().await;
    let mut poor = Poor::new(&person, &house.server.url()).await;
    for pause_s in [10, 20, 40] {
        poor.looks_after(pause_s).await;
    }
    poor.wallet.buy(Units(16)).await.expect_err("no money");
    for pause_s in [10, 20, 40] {
        poor.looks_after(pause_s).await;
    }
    // Less than any coin and its bond, but something.
    house.deposit(account, 10).await;
    for pause_s in [60, 10, 20] {
        poor.looks_after(pause_s).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_while_a_payer_asks_is_found_and_used() {
    let house = House::open().await;
    let mut person = Person::new(&house.server.url()).await;
    person.config.limits.at_hand = 0;
    person.restart().await;
    person.wallet().meet().await.expect("there");
    let given = person.reserve(wish(1, 64)).await;
    assert_eq!(given, Err(NoReserve::NoFunds));
    house.deposit(person.wallet().account(), 30_000).await;
    clock::shift(11);
    person
        .until("found", |b| b.broker_balance == Some(Units(30_000)))
        .await;
    let given = person.reserve(wish(1, 64)).await.expect("bought");
    assert_eq!(given.holding.value, Units(64));
    house.audit().await;
}
