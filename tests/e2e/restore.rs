//! Wallets that are restored, old, or in two places at once: none signs two statements for a slot, and
//! every unit that the broker honours comes back.

use std::path::Path;

use dpay::cli::world::Proc;

use crate::books::{all_is_back, balance, no_proof_is_possible, number, redeem};
use crate::support::{LONG, TestWorld, Torrent, audit, same, torrent, world};

const MIB: usize = 1 << 20;
const DEPOSIT: u64 = 200_000;

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
        redeem(world, name).await;
    }
}

/// So the rest comes back by itself.
async fn settled(world: &TestWorld) {
    settle(world, "again").await;
    let homes = ["leecher", "again", "seeder-1", "seeder-2"];
    no_proof_is_possible(world, &homes).await;
    all_is_back(world, &homes[1..], DEPOSIT).await;
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

pub async fn backup(world: &TestWorld, home: &str, name: &str) -> String {
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
    redeem(&world, "again").await;
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
    redeem(&world, "leecher").await;
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
    redeem(&world, "again").await;
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
    redeem(&world, "clone").await;
    redeem(&world, "leecher").await;
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
    redeem(&world, "seeder-1").await;

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
    redeem(&world, "seeder-2").await;
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
