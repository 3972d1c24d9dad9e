//! A broker that is away, lost answers, another broker, other processes, wrong words, a full disk.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dpay::cashier::wallet::{CashierError, DoorError, HomeError, Passphrase, Wallet, WalletConfig};
use dpay::channel::NoReserve;
use dpay::cli::wallet::{
    BuyArgs, HistoryArgs, InitArgs, PassphraseSource, WalletCommand, WalletGlobal, run,
};
use dpay::config::Settings;
use dpay::dht::{DhtConfig, run_nodes};
use dpay::store::wallet::StoreError;
use dpay::units::Units;
use dpay::wallet::{Balance, WalletError};

use crate::house::{House, Person, TORRENT, wish};
use crate::lossy::{Way, open};

#[tokio::test(flavor = "multi_thread")]
async fn with_the_broker_away_from_the_start_the_wallet_says_so_and_recovers() {
    let closed = House::open().await.stop().await;
    let payer = Person::new(&format!("http://{}", closed.address)).await;
    payer.until("an error", |b| b.broker_error.is_some()).await;
    assert_eq!(
        payer.wallet().reserve(wish(1, 64)).await,
        Err(NoReserve::NoFunds)
    );
    let away = |error| matches!(error, CashierError::Broker(DoorError::Unreachable(_)));
    assert!(away(payer.wallet().buy(Units(64)).await.expect_err("away")));
    assert!(away(payer.wallet().redeem_all().await.expect_err("away")));
    assert!(away(payer.wallet().broker().await.expect_err("away")));
    assert!(payer.wallet().payee_key().await.is_err());
    let house = closed.open().await;
    house.deposit(payer.wallet().account(), 30_000).await;
    let bought = payer.wallet().buy(Units(64)).await.expect("asks at once");
    assert_eq!(bought.coins, [Units(64)]);
    payer.until("bought", |b| b.available >= Units(512)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_broker_away_in_the_middle_what_is_at_hand_is_used() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    house.deposit(payer.wallet().account(), 30_000).await;
    payer.restart().await;
    payer.until("bought", |b| b.available == Units(512)).await;
    let closed = house.stop().await;
    for _ in 0..4 {
        let given = payer
            .wallet()
            .reserve(wish(1, 1024))
            .await
            .expect("at hand");
        assert_eq!(given.holding.value, Units(64));
    }
    // A wallet that knows already refuses; one that finds out by asking says what it ordered.
    if let Ok(bought) = payer.wallet().buy(Units(16)).await {
        assert_eq!((bought.coins.len(), bought.ordered), (0, Units(16)));
        assert!(bought.error.is_some(), "away");
    }
    let report = payer.wallet().redeem_all().await;
    assert!(report.is_err(), "nothing is signed while nobody answers");
    let balance = payer.balance().await;
    assert_eq!(
        (balance.available, balance.redeeming),
        (Units(256), Units(0))
    );
    assert_eq!(balance.held, Units(512));
    let house = closed.open().await;
    let report = payer.wallet().redeem_all().await.expect("asks at once");
    assert!(report.coins >= Units(256));
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_neither_loses_coins_nor_pays_twice() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    let account = payer.wallet().account();
    payer.stop().await;
    house.deposit(account, 30_000).await;
    let url = house.server.url();
    let config = WalletConfig::for_command(payer.dir.path(), Some(url.clone()));
    let way = Arc::new(Way::default());
    way.purchases.store(1, Ordering::SeqCst);
    let wallet = open(&config, &url, &way).await;
    let bought = wallet.buy(Units(80)).await.expect("ordered");
    assert_eq!((bought.coins.len(), bought.ordered), (0, Units(80)));
    wallet.shutdown().await.expect("written");
    // The next process asks again, with the same request.
    payer.config = config;
    payer.start().await;
    let balance = payer.until("the coins", |b| b.available == Units(80)).await;
    assert_eq!(balance.ordered, Units(0));
    let account = payer.until("asked", |b| b.broker_balance.is_some()).await;
    assert_eq!(
        account.broker_balance,
        Some(Units(30_000 - 20_000 - 80)),
        "paid once"
    );
    payer.stop().await;
    way.redemptions.store(1, Ordering::SeqCst);
    let wallet = open(&payer.config, &url, &way).await;
    wallet.set_slots(payer.slots.clone()).await.expect("open");
    let report = wallet.redeem_all().await.expect("a report");
    assert_eq!((report.credited, report.unanswered), (Units(0), Units(80)));
    assert!(report.error.is_some());
    wallet.shutdown().await.expect("written");
    payer.start().await;
    let report = payer.wallet().redeem_all().await.expect("answered");
    assert!(report.credited == Units(80) || payer.balance().await.books.redeemed == Units(80));
    assert_eq!(payer.balance().await.held, Units(0));
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_broker_at_the_same_place_gets_nothing() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    house.deposit(payer.wallet().account(), 30_000).await;
    payer.restart().await;
    payer.until("bought", |b| b.available == Units(512)).await;
    payer.stop().await;
    let address = house.stop().await.address;
    let _other = House::at(address, 2).await;
    payer.start().await;
    let refused = payer
        .wallet()
        .buy(Units(16))
        .await
        .expect_err("another key");
    assert!(
        matches!(
            refused,
            CashierError::Wallet(WalletError::BrokerChanged { .. })
        ),
        "{refused}"
    );
    assert!(payer.wallet().redeem_all().await.is_err());
    let balance = payer.balance().await;
    assert!(balance.broker_error.is_some());
    let kept = balance.available.checked_add(balance.unread);
    assert_eq!(kept, Some(Units(512)), "what is there stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_refused_and_a_reader_is_not() {
    let house = House::open().await;
    let mut person = Person::new(&house.server.url()).await;
    let second = Wallet::open(person.config.clone(), &Passphrase::none()).await;
    let error = second.expect_err("in use");
    assert!(matches!(
        error,
        CashierError::Store(StoreError::InUse { .. })
    ));
    let text = error.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    house.deposit(person.wallet().account(), 30_000).await;
    person.restart().await;
    person.until("bought", |b| b.available == Units(512)).await;
    let reader = Wallet::read(person.dir.path()).await.expect("beside");
    let seen = reader.balance().await.expect("read");
    assert_eq!(seen.available, Units(512));
    assert_eq!(seen.account, Some(person.wallet().account()));
    let bought = reader.history(1000).await.expect("read");
    assert_eq!(bought.len(), 9);
    person.stop().await;
    person.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passphrase_words_and_home_are_guarded() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    let config = WalletConfig::for_command(&home, None);
    let good = Passphrase::new("tr0ub4dor").expect("not empty");
    let missing = Wallet::open(config.clone(), &good).await;
    assert!(matches!(
        missing,
        Err(CashierError::Home(HomeError::Missing(_)))
    ));
    let words = Wallet::init(&home, None, &good).await.expect("made");
    assert_eq!(words.split(' ').count(), 24);
    let again = Wallet::init(&home, None, &good).await;
    assert!(matches!(
        again,
        Err(CashierError::Home(HomeError::Exists(_)))
    ));
    let bad = Passphrase::new("guess").expect("not empty");
    for wrong in [bad, Passphrase::none()] {
        let refused = Wallet::open(config.clone(), &wrong).await;
        assert!(matches!(
            refused,
            Err(CashierError::Home(HomeError::Passphrase(_)))
        ));
    }
    let wallet = Wallet::open(config.clone(), &good).await.expect("opens");
    let account = wallet.account();
    assert!(matches!(
        wallet.buy(Units(1)).await,
        Err(CashierError::NoBroker)
    ));
    wallet.shutdown().await.expect("written");

    let copy = dir.path().join("copy");
    Wallet::init(&copy, Some(&words), &Passphrase::none())
        .await
        .expect("from words");
    let restored = Wallet::read(&copy).await.expect("there");
    let balance = restored.balance().await.expect("read");
    assert_eq!(balance.account, Some(account), "the same wallet");
    restored_and_used(&copy).await;
    // Another seed beside an old database would sign for holdings that are not its own.
    std::fs::remove_file(copy.join("wallet.seed")).expect("removed");
    let other = Wallet::init(&copy, None, &Passphrase::none()).await;
    assert!(matches!(
        other,
        Err(CashierError::Wallet(WalletError::OtherSeed { .. }))
    ));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &FilePath| {
            let meta = std::fs::metadata(path).expect("there");
            meta.permissions().mode() & 0o777
        };
        assert_eq!(mode(&home), 0o700);
        for file in ["wallet.seed", "wallet.db"] {
            assert_eq!(mode(&home.join(file)), 0o600, "{file}");
        }
        let open = std::fs::Permissions::from_mode(0o750);
        std::fs::set_permissions(&home, open).expect("set");
        let refused = Wallet::open(config, &good).await;
        assert!(matches!(
            refused,
            Err(CashierError::Home(HomeError::Open { mode: 0o750, .. }))
        ));
    }
}

async fn restored_and_used(home: &FilePath) {
    let config = WalletConfig::for_command(home, None);
    let wallet = Wallet::open(config, &Passphrase::none()).await;
    let wallet = wallet.expect("opens");
    let written = wallet.set_budget(TORRENT, Some(Units(1))).await;
    written.expect("written");
    wallet.shutdown().await.expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_a_spend_before_it_is_signed() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    let payee = Person::new(&house.server.url()).await;
    payee.until_key().await;
    house.deposit(payer.wallet().account(), 30_000).await;
    payer.config.limits.at_hand = 0;
    payer.config.payee_keys = 0;
    payer.restart().await;
    for _ in 0..24 {
        payer.wallet().buy(Units(16)).await.expect("sold");
    }
    payer.stop().await;
    let file = payer.dir.path().join("wallet.db");
    let bytes = std::fs::metadata(&file).expect("there").len();
    payer.config.max_pages = u32::try_from(bytes / 4096).ok();
    payer.start().await;
    let (_, certificate) = payee.wallet().payee_key().await.expect("in stock");
    let mut refused = None;
    for _ in 0..24 {
        let reserved = payer.reserve(wish(1, 16)).await.expect("at hand");
        let id = reserved.holding.id;
        let key = certificate.holder;
        let committed = payer
            .wallet()
            .commit(id, key, certificate, TORRENT, "payee".into())
            .await;
        match committed {
            Ok(_) => {}
            Err(CashierError::Store(StoreError::Full)) => {
                refused = Some(id);
                break;
            }
            Err(other) => panic!("not full but {other}"),
        }
    }
    let refused = refused.expect("full at some point");
    payer.wallet().release(refused).await.expect("still ours");
    let before = payer.balance().await;
    payer.config.max_pages = None;
    payer.restart().await;
    let after = payer.balance().await;
    let unsigned = |b: &Balance| b.available.checked_add(b.unread);
    assert_eq!(
        (unsigned(&before), before.held),
        (unsigned(&after), after.held)
    );
    // Half of a wallet may be locked, the balance at the broker counted in.
    payer.until("known", |b| b.broker_balance.is_some()).await;
    let reserved = payer.reserve(wish(1, 16)).await.expect("at hand");
    payer
        .wallet()
        .commit(
            reserved.holding.id,
            certificate.holder,
            certificate,
            TORRENT,
            "payee".into(),
        )
        .await
        .expect("room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_and_their_errors_say_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let house = House::open().await;
    let phrase = dir.path().join("phrase");
    std::fs::write(&phrase, "secret\n").expect("written");
    let global = WalletGlobal {
        home: dir.path().join("home"),
        broker_url: Some(house.server.url()),
        json: true,
        passphrase: PassphraseSource::File(phrase),
        dht: None,
    };
    let init = || {
        WalletCommand::Init(InitArgs {
            words: None,
            no_passphrase: false,
        })
    };
    let text = |error: anyhow::Error| format!("{error:#}");
    let missing = run(WalletCommand::Balance, &global).await;
    assert!(text(missing.expect_err("none yet")).contains("dpay wallet init"));
    let nowhere = WalletGlobal {
        broker_url: Some("nowhere".to_owned()),
        ..global.clone()
    };
    let refused = text(run(init(), &nowhere).await.expect_err("no URL"));
    assert!(refused.contains("broker.url"), "{refused}");
    run(init(), &global).await.expect("made");
    let settings = Settings::read(&global.home).expect("written");
    assert_eq!(settings.broker.url, Some(house.server.url()));
    let twice = text(run(init(), &global).await.expect_err("there is one"));
    assert!(twice.contains("stays untouched"), "{twice}");
    let buy = || WalletCommand::Buy(BuyArgs { units: 100 });
    let poor = text(run(buy(), &global).await.expect_err("no deposit"));
    assert!(poor.contains("balance"), "{poor}");
    let reader = Wallet::read(&global.home).await.expect("there");
    let account = reader.balance().await.expect("read").account;
    house.deposit(account.expect("its own"), 30_000).await;
    run(buy(), &global).await.expect("sold");
    for json in [true, false] {
        let global = WalletGlobal {
            json,
            ..global.clone()
        };
        run(WalletCommand::Balance, &global).await.expect("shown");
        let history = WalletCommand::History(HistoryArgs {
            limit: 10,
            show: None,
        });
        run(history, &global).await.expect("shown");
    }
    let redeem = || WalletCommand::Redeem(dpay::cli::wallet::RedeemArgs { all: true });
    let unread = text(run(redeem(), &global).await.expect_err("no DHT"));
    assert!(unread.contains("could not be read in the DHT"), "{unread}");
    assert_eq!(reader.balance().await.expect("read").redeeming, Units(0));
    let nodes = run_nodes(12, Ipv4Addr::LOCALHOST).await.expect("a network");
    let with_dht = WalletGlobal {
        dht: Some(DhtConfig {
            bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            bootstrap: nodes.iter().map(|node| node.addr().to_string()).collect(),
            ..DhtConfig::default()
        }),
        ..global.clone()
    };
    run(redeem(), &with_dht).await.expect("credited");
    assert_eq!(reader.balance().await.expect("read").held, Units(0));
    let wrong = WalletGlobal {
        passphrase: PassphraseSource::Text("other".to_owned().into()),
        ..global.clone()
    };
    let refused = text(run(buy(), &wrong).await.expect_err("wrong"));
    assert!(refused.contains("passphrase is wrong"), "{refused}");
    house.audit().await;
}
