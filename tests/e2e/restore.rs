//! Wallets that are restored, old, or in two places at once: none signs two statements for a slot, and
//! every unit that the broker honours comes back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use dpay::cli::world::Proc;
use dpay::coin::keys::PublicKey;
use dpay::dht::{DhtConfig, DhtNode};
use dpay::record::Slot;
use dpay::store::wallet::{SqliteOptions, SqliteStore, WalletStore};
use dpay::wallet::{HoldingState, ReceivedState, Rows};

use crate::support::{LONG, TestWorld, Torrent, audit, same, torrent, world};

const MIB: usize = 1 << 20;
const DEPOSIT: u64 = 200_000;

async fn rows(world: &TestWorld, home: &str) -> Rows {
    let options = SqliteOptions {
        read_only: true,
        max_pages: None,
    };
    let store = SqliteStore::open(&world.home(home), options)
        .await
        .expect("a wallet");
    store.load().await.expect("rows")
}

/// Every slot that these homes could have signed for: what they say they signed agrees, and the DHT holds
/// at most one item in each place.
async fn no_proof_is_possible(world: &TestWorld, homes: &[&str]) {
    let mut spends: BTreeMap<String, String> = BTreeMap::new();
    let mut closes: BTreeMap<String, (u32, String)> = BTreeMap::new();
    let mut slots: BTreeMap<Slot, PublicKey> = BTreeMap::new();
    for home in homes {
        let rows = rows(world, home).await;
        for row in rows.holdings.values() {
            let id = row.holding.id;
            slots.insert(Slot::spend(&id), row.holding.key);
            let signed = match &row.state {
                HoldingState::Locked { spend } | HoldingState::Closed { spend, .. } => {
                    format!("spend {spend}")
                }
                HoldingState::Redeeming { .. } | HoldingState::Redeemed { .. } => {
                    "redeem".to_owned()
                }
                _ => continue,
            };
            let first = spends
                .entry(id.to_string())
                .or_insert_with(|| signed.clone());
            assert_eq!(
                *first, signed,
                "two statements about holding {id}, one of {home}"
            );
        }
        for row in rows.spends.values() {
            slots.insert(Slot::close(&row.holding, &row.spend), row.payee);
        }
        for row in rows.received.values() {
            slots.insert(Slot::close(&row.holding.id, &row.spend), row.open.payee);
            slots.insert(Slot::spend(&row.holding.id), row.holding.key);
            if row.state != ReceivedState::Open {
                let signed = (row.k, row.wk.to_string());
                let first = closes.entry(row.spend.to_string());
                let first = first.or_insert_with(|| signed.clone());
                assert_eq!(
                    *first, signed,
                    "two closes of spend {}, one of {home}",
                    row.spend
                );
            }
        }
    }
    let dht = DhtNode::start(DhtConfig {
        bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        bootstrap: world.bootstrap.clone(),
        ..DhtConfig::default()
    });
    let dht = dht.await.expect("starts");
    assert!(dht.settled(8, Duration::from_secs(10)).await);
    for (slot, key) in slots {
        for (place, items) in dht.read_slot(&key, &slot).await.places.iter().enumerate() {
            assert!(
                items.valid_answers() >= 8,
                "place {place} of {slot} could not be read"
            );
            assert!(
                items.items.len() <= 1,
                "place {place} of {slot}: {:?}",
                items.items
            );
        }
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

async fn balance(world: &TestWorld, home: &str) -> Value {
    let balance = world
        .must(home, &["wallet", "balance"])
        .await
        .expect("a balance");
    assert_eq!(balance["books_agree"], true, "{balance}");
    balance
}

/// Redeems everything, and does not mind what cannot be redeemed.
async fn redeem_all(world: &TestWorld, home: &str) -> Value {
    let mut args = vec!["wallet".to_owned(), "redeem".into(), "--all".into()];
    args.extend(world.global(home));
    let done = world.run(&args).await.expect("runs");
    balance(world, home).await;
    assert!(
        done.json["units_redeemed"].is_u64(),
        "{} {}",
        done.json,
        done.stderr
    );
    done.json
}

/// Looks for the closes of channels of earlier runs, takes over what the payees have shown the broker
/// meanwhile, and redeems what that brings.
async fn settle(world: &TestWorld, home: &str) {
    for command in ["sync", "redeem", "sync", "redeem"] {
        let mut args = vec!["wallet".to_owned(), command.into()];
        if command == "redeem" {
            args.push("--all".into());
        }
        args.extend(world.global(home));
        world.run(&args).await.expect("runs");
    }
    balance(world, home).await;
}

/// A torrent of so many MiB, and who seeds it.
async fn seed(world: &TestWorld, name: &str, mib: usize) -> (Torrent, Proc, String) {
    let t = torrent(world, mib * MIB, 256).await;
    world.wallet(name, 0).await.expect("a wallet");
    let extra = ["--free", "off", "--price", "16000"];
    let seeder = world.seeder(name, &t.file, &t.data, &extra).await;
    let (seeder, address) = seeder.expect("seeds");
    (t, seeder, address)
}

/// The seeders stop and show the broker what they were paid.
async fn seeders_end(world: &TestWorld, seeders: [&mut Proc; 2]) {
    for (seeder, name) in seeders.into_iter().zip(["seeder-1", "seeder-2"]) {
        assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
        redeem_all(world, name).await;
    }
}

/// So the rest comes back by itself.
async fn settled(world: &TestWorld) {
    settle(world, "again").await;
    let homes = ["leecher", "again", "seeder-1", "seeder-2"];
    no_proof_is_possible(world, &homes).await;
    all_is_back(world, "again", &homes[2..]).await;
}

fn start(world: &TestWorld, home: &str, t: &Torrent, from: &str) -> Proc {
    let out = world.dir.path().join(format!("out-{home}-{}", t.name));
    let torrent = t.file.to_str().expect("UTF-8");
    world
        .download(
            home,
            torrent,
            &out,
            &["--peer", from, "--max-price", "65536"],
        )
        .expect("starts")
}

async fn finish(world: &TestWorld, home: &str, t: &Torrent, leecher: &mut Proc) -> u64 {
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    leecher.finish(LONG).await.expect("ends");
    let out = world.dir.path().join(format!("out-{home}-{}", t.name));
    same(&t.payload, &out.join(&t.name));
    number(&done, "units_paid")
}

async fn download(world: &TestWorld, home: &str, t: &Torrent, from: &str) -> u64 {
    let mut leecher = start(world, home, t, from);
    finish(world, home, t, &mut leecher).await
}

fn copy_home(world: &TestWorld, from: &str, to: &str) {
    let (from, to) = (world.home(from), world.home(to));
    let made = std::process::Command::new("cp")
        .arg("-a")
        .arg(&from)
        .arg(&to)
        .status();
    assert!(
        made.expect("cp runs").success(),
        "{} to {}",
        from.display(),
        to.display()
    );
}

/// All is redeemed: what the seeders earned and what the leechers have at the broker is the deposit.
async fn all_is_back(world: &TestWorld, leecher: &str, seeders: &[&str]) {
    let mut sum = 0;
    for home in seeders.iter().chain([&leecher]) {
        let balance = balance(world, home).await;
        for key in ["held", "unread", "frozen", "locked"] {
            assert_eq!(number(&balance, key), 0, "{key} of {home}: {balance}");
        }
        sum += number(&balance, "broker_balance") + number(&balance, "broker_bond");
    }
    assert_eq!(sum, DEPOSIT);
    audit(world).await;
}

async fn backup(world: &TestWorld, home: &str, name: &str) -> String {
    let file = world.dir.path().join(name).display().to_string();
    let made = world
        .must(home, &["wallet", "backup", &file])
        .await
        .expect("a backup");
    assert!(number(&made, "bytes") > 0);
    file
}

#[tokio::test]
async fn a_backup_from_the_middle_of_a_download_is_restored_and_signs_nothing_twice() {
    let world = world().await;
    let (first, mut one, at_one) = seed(&world, "seeder-1", 48).await;
    let (second, mut two, at_two) = seed(&world, "seeder-2", 9).await;
    world.wallet("leecher", DEPOSIT).await.expect("a wallet");
    let mut leecher = start(&world, "leecher", &first, &at_one);
    leecher.wait_for("accepted", LONG).await.expect("pays");
    let file = backup(&world, "leecher", "middle.dpay-backup").await;
    let paid = finish(&world, "leecher", &first, &mut leecher).await;
    assert!(paid > 0);

    let refused = world.must("leecher", &["wallet", "restore", &file]).await;
    let refused = refused.expect_err("a home in use").to_string();
    assert!(refused.contains("not empty"), "{refused}");
    let restored = world
        .must("again", &["wallet", "restore", &file])
        .await
        .expect("restores");
    assert_eq!(restored["needs_recovery"], false, "{restored}");
    assert_eq!(
        number(&restored, "available"),
        0,
        "nothing is used unread: {restored}"
    );
    let paid_again = download(&world, "again", &second, &at_two).await;
    assert!(paid_again > 0);
    redeem_all(&world, "again").await;
    no_proof_is_possible(&world, &["leecher", "again", "seeder-1", "seeder-2"]).await;

    // Once the payees have shown the broker what they were paid, the rest comes back by itself.
    seeders_end(&world, [&mut one, &mut two]).await;
    settled(&world).await;
}

#[tokio::test]
async fn an_old_backup_finds_what_was_done_after_it() {
    let world = world().await;
    let (first, mut one, at_one) = seed(&world, "seeder-1", 9).await;
    let (second, mut two, at_two) = seed(&world, "seeder-2", 10).await;
    world.wallet("leecher", DEPOSIT).await.expect("a wallet");
    download(&world, "leecher", &first, &at_one).await;
    let file = backup(&world, "leecher", "old.dpay-backup").await;
    download(&world, "leecher", &second, &at_two).await;
    world
        .must("leecher", &["wallet", "buy", "64"])
        .await
        .expect("buys");
    redeem_all(&world, "leecher").await;
    world
        .must("leecher", &["wallet", "buy", "256"])
        .await
        .expect("buys");

    let restored = world
        .must("again", &["wallet", "restore", &file])
        .await
        .expect("restores");
    assert!(
        number(&restored, "unread") >= 256,
        "a coin bought later is found: {restored}"
    );
    redeem_all(&world, "again").await;
    let paid = download(&world, "again", &second, &at_two).await;
    assert!(paid > 0);
    seeders_end(&world, [&mut one, &mut two]).await;
    settled(&world).await;
}

#[tokio::test]
async fn a_clone_that_runs_at_the_same_time_signs_nothing_that_the_other_signed() {
    let world = world().await;
    let (first, mut one, at_one) = seed(&world, "seeder-1", 40).await;
    let (second, mut two, at_two) = seed(&world, "seeder-2", 9).await;
    world.wallet("leecher", DEPOSIT).await.expect("a wallet");
    world
        .must("leecher", &["wallet", "buy", "1600"])
        .await
        .expect("buys");
    copy_home(&world, "leecher", "clone");
    let mut original = start(&world, "leecher", &first, &at_one);
    original.wait_for("accepted", LONG).await.expect("pays");
    let mut copy = start(&world, "clone", &second, &at_two);
    let paid = finish(&world, "clone", &second, &mut copy).await;
    assert!(paid > 0, "the clone pays too");
    finish(&world, "leecher", &first, &mut original).await;
    let homes = ["leecher", "clone", "seeder-1", "seeder-2"];
    no_proof_is_possible(&world, &homes).await;
    redeem_all(&world, "clone").await;
    redeem_all(&world, "leecher").await;
    no_proof_is_possible(&world, &homes).await;
    seeders_end(&world, [&mut one, &mut two]).await;
    for home in ["clone", "leecher", "clone", "leecher"] {
        settle(&world, home).await;
    }
    no_proof_is_possible(&world, &homes).await;
    let mut sum = 0;
    for home in ["leecher", "seeder-1", "seeder-2"] {
        let balance = balance(&world, home).await;
        sum += number(&balance, "broker_balance") + number(&balance, "broker_bond");
    }
    assert_eq!(sum, DEPOSIT);
    audit(&world).await;
}

#[tokio::test]
async fn words_alone_bring_back_what_the_broker_honours() {
    let world = world().await;
    let (first, mut one, at_one) = seed(&world, "seeder-1", 9).await;
    let (second, mut two, at_two) = seed(&world, "seeder-2", 10).await;
    let made = world
        .must("leecher", &["wallet", "init", "--no-passphrase"])
        .await;
    let made = made.expect("a wallet");
    let words = world.dir.path().join("words");
    std::fs::write(&words, made["words"].as_str().expect("new words")).expect("can write");
    let account = made["account"].as_str().expect("an account");
    world.deposit(account, DEPOSIT).await.expect("booked");
    let paid = download(&world, "leecher", &first, &at_one).await;
    assert!(paid > 0);
    let before = balance(&world, "leecher").await;
    assert_eq!(one.stop(LONG).await.expect("ends"), 0);
    redeem_all(&world, "seeder-1").await;

    let words = words.display().to_string();
    let args = ["wallet", "restore", "--words", &words, "--no-passphrase"];
    let restored = world.must("again", &args).await.expect("restores");
    assert_eq!(restored["account"], before["account"]);
    assert_eq!(
        number(&restored, "held"),
        number(&before, "held"),
        "{restored} {before}"
    );
    // Nobody need run a node to learn what of it is left.
    let read = world.must("again", &["wallet", "sync"]).await;
    let read = read.expect("reads");
    assert_eq!(number(&read, "units_unread"), 0, "{read}");
    let paid = download(&world, "again", &second, &at_two).await;
    assert!(paid > 0);
    assert_eq!(two.stop(LONG).await.expect("ends"), 0);
    redeem_all(&world, "seeder-2").await;
    settled(&world).await;
}

#[tokio::test]
async fn what_is_no_backup_or_has_another_passphrase_is_refused_and_leaves_nothing_behind() {
    let world = world().await;
    world.wallet("one", 0).await.expect("a wallet");
    let not_one = world.dir.path().join("not-a-backup");
    std::fs::write(&not_one, b"DPayBack and no more").expect("can write");
    let name = not_one.display().to_string();
    let refused = world
        .must("again", &["wallet", "restore", &name])
        .await
        .expect_err("none");
    assert!(refused.to_string().contains("no backup"), "{refused}");
    assert!(!Path::exists(&world.home("again").join("wallet.seed")));

    let phrase = |text: &str| {
        let file = world.dir.path().join(text);
        std::fs::write(&file, text).expect("can write");
        file.display().to_string()
    };
    let (right, wrong) = (phrase("right"), phrase("wrong"));
    let init = ["wallet", "init", "--passphrase-file", &right];
    world.must("two", &init).await.expect("a wallet");
    let file = world
        .dir
        .path()
        .join("two.dpay-backup")
        .display()
        .to_string();
    let with = |args: [&str; 3], phrase: &str| {
        let all = args.into_iter().chain(["--passphrase-file", phrase]);
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |home: &'static str, args: Vec<String>| {
        let world = &world;
        async move {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            world.must(home, &args).await
        }
    };
    let refused = run("two", with(["wallet", "backup", &file], &wrong)).await;
    assert!(
        refused
            .expect_err("wrong")
            .to_string()
            .contains("passphrase is wrong")
    );
    run("two", with(["wallet", "backup", &file], &right))
        .await
        .expect("a backup");
    let refused = run("two", with(["wallet", "backup", &file], &right)).await;
    assert!(
        refused
            .expect_err("is there")
            .to_string()
            .contains("name another file")
    );
    let refused = run("again", with(["wallet", "restore", &file], &wrong)).await;
    assert!(
        refused
            .expect_err("wrong")
            .to_string()
            .contains("passphrase is wrong")
    );
    run("again", with(["wallet", "restore", &file], &right))
        .await
        .expect("restores");
}
