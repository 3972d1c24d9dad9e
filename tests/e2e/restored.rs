//! Killed at a durable step, with the disk lost: an old backup, restored into an empty home, goes on. No slot
//! is signed for twice, and every unit is back, at the latest when its coin is settled.

use crate::books::{
    all_is_back, balance, come_back, no_proof_is_possible, number, one_item_each,
    one_statement_each, redeem, sync,
};
use crate::killed::{ANYWHERE, DEPOSIT, MIB, die_in, dies, download, finish, ready, serve};
use crate::restore::backup;
use crate::support::{LONG, TestWorld, private_torrent, world};

/// A coin is settled by then, whatever the hour at which it was bought: the broker's hold is less than a day.
pub const SETTLED_S: i64 = 61 * 86_400;

/// Restores a backup into an empty home.
async fn restore(world: &TestWorld, file: &str, home: &str) {
    let args = ["wallet", "restore", file];
    world.must(home, &args).await.expect("restores");
}

/// What the disk that was lost says of a statement that was fixed there and never given out says nothing.
fn gave_out_all(at: &str) -> bool {
    let unsigned = ["wallet.commit", "wallet.fix_close"];
    !unsigned.contains(&at) && !at.starts_with("wallet.close_signed")
}

#[tokio::test]
async fn a_payer_that_lost_its_disk_while_it_bought_is_restored() {
    restored_payers(&[
        "wallet.order",
        "wallet.bought.before",
        "wallet.bought",
        "wallet.commit.before",
    ])
    .await;
}

#[tokio::test]
async fn a_payer_that_lost_its_disk_while_it_paid_is_restored() {
    restored_payers(&[
        "wallet.commit",
        "wallet.ticks_sent",
        "wallet.closed.before",
        "wallet.closed",
    ])
    .await;
}

async fn restored_payers(steps: &[&str]) {
    let world = world().await;
    let t = private_torrent(&world, 5 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    let mut seeder = serve(&world, "seeder", &t, ANYWHERE, None);
    let address = ready(&mut seeder).await.expect("serves");
    let (mut lost, mut again) = (Vec::new(), Vec::new());
    for at in steps {
        let (home, restored) = (format!("leecher-{at}"), format!("again-{at}"));
        world.wallet(&home, DEPOSIT).await.expect("a wallet");
        let buy = ["wallet", "buy", "64"];
        world.must(&home, &buy).await.expect("buys");
        let file = backup(&world, &home, &format!("{at}.dpay-backup")).await;
        let mut killed = download(&world, &home, &t, &address, Some(at));
        dies(&mut killed, at).await;
        restore(&world, &file, &restored).await;
        let mut leecher = download(&world, &restored, &t, &address, None);
        finish(&world, &restored, &t, &mut leecher).await;
        lost.push((*at, home));
        again.push(restored);
    }
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    come_back(&world, "seeder").await;
    let mut all = vec!["seeder"];
    for home in &again {
        come_back(&world, home).await;
        all.push(home);
    }
    all_is_back(&world, &all, DEPOSIT * again.len() as u64).await;
    agree(&world, all, &lost).await;
}

/// No proof of fraud can be made of what these homes and the lost ones gave out.
async fn agree(world: &TestWorld, mut homes: Vec<&str>, lost: &[(&str, String)]) {
    for (at, home) in lost {
        if gave_out_all(at) {
            homes.push(home);
        }
    }
    one_statement_each(world, &homes).await;
    let rest = lost.iter().filter(|(at, _)| !gave_out_all(at));
    homes.extend(rest.map(|(_, home)| home.as_str()));
    one_item_each(world, &homes).await;
}

#[tokio::test]
async fn a_payee_that_lost_its_disk_before_it_was_paid_is_restored() {
    let steps = [
        "wallet.take_keys",
        "wallet.certified.before",
        "wallet.record_open",
        "wallet.accepted.before",
        "wallet.accepted",
    ];
    restored_payees(&steps, 5).await;
}

#[tokio::test]
async fn a_payee_that_lost_its_disk_while_it_closed_is_restored() {
    let steps = [
        "wallet.fix_close",
        "wallet.close_signed",
        "wallet.close_put",
    ];
    restored_payees(&steps, 5).await;
}

#[tokio::test]
async fn a_payee_that_lost_its_disk_while_it_was_paid_is_restored() {
    restored_payees(&["wallet.ticks_came"], 192).await;
}

/// The backups are from before anything came: ticks, and closes that nobody presented, are lost with the disk, and
/// what was locked under them is the broker's to settle.
async fn restored_payees(steps: &[&str], mib: usize) {
    let mut world = world().await;
    let t = private_torrent(&world, mib * MIB, 256).await;
    let (mut lost, mut homes) = (Vec::new(), Vec::new());
    for at in steps {
        let [home, restored, leecher] =
            ["seeder", "again", "leecher"].map(|name| format!("{name}-{at}"));
        world.wallet(&home, 0).await.expect("a wallet");
        world.wallet(&leecher, DEPOSIT).await.expect("a wallet");
        let file = backup(&world, &home, &format!("{at}.dpay-backup")).await;
        let mut killed = serve(&world, &home, &t, ANYWHERE, Some(at));
        let address = ready(&mut killed).await;
        if let Some(address) = &address {
            let mut first = download(&world, &leecher, &t, address, None);
            dies(&mut killed, at).await;
            first.stop(LONG).await.expect("ends");
        }
        restore(&world, &file, &restored).await;
        let listen = address.as_deref().unwrap_or(ANYWHERE);
        let mut again = serve(&world, &restored, &t, listen, None);
        let address = ready(&mut again).await.expect("serves");
        let mut second = download(&world, &leecher, &t, &address, None);
        finish(&world, &leecher, &t, &mut second).await;
        assert_eq!(again.stop(LONG).await.expect("ends"), 0);
        come_back(&world, &restored).await;
        sync(&world, &leecher).await;
        redeem(&world, &leecher).await;
        lost.push((*at, home));
        homes.extend([restored, leecher]);
    }
    let all: Vec<&str> = homes.iter().map(String::as_str).collect();
    agree(&world, all.clone(), &lost).await;

    world.world.clock_offset_s = SETTLED_S;
    restart_broker(&mut world).await;
    for home in &all {
        come_back(&world, home).await;
    }
    all_is_back(&world, &all, DEPOSIT * lost.len() as u64).await;
}

pub async fn restart_broker(world: &mut TestWorld) {
    if let Some(mut broker) = world.world.broker.take() {
        broker.stop(LONG).await.expect("ends");
    }
    let listen = world.broker_url.trim_start_matches("http://").to_owned();
    let started = world.world.start_broker(&listen).await;
    started.expect("starts again");
}

/// The same redeem is made by the same words, whoever makes it.
#[tokio::test]
async fn a_redemption_of_a_lost_disk_is_made_again_and_credited_once() {
    let world = world().await;
    let (mut lost, mut again) = (Vec::new(), Vec::new());
    for at in [
        "wallet.redeem.before",
        "wallet.redeem",
        "wallet.redeemed.before",
        "wallet.redeemed",
    ] {
        let (home, restored) = (format!("one-{at}"), format!("again-{at}"));
        world.wallet(&home, DEPOSIT).await.expect("a wallet");
        let buy = ["wallet", "buy", "64"];
        world.must(&home, &buy).await.expect("buys");
        let file = backup(&world, &home, &format!("{at}.dpay-backup")).await;
        die_in(&world, &home, &["wallet", "redeem", "--all"], at).await;
        restore(&world, &file, &restored).await;
        come_back(&world, &restored).await;
        lost.push((at, home));
        again.push(restored);
    }
    let all: Vec<&str> = again.iter().map(String::as_str).collect();
    all_is_back(&world, &all, DEPOSIT * again.len() as u64).await;
    agree(&world, all, &lost).await;
}

/// The coin of a backup that a lost run spent: found in its slot, it is frozen, also once the DHT has forgotten it,
/// and taken over when the payee shows what it was paid.
#[tokio::test]
async fn a_restored_wallet_killed_while_it_finds_what_was_spent_signs_nothing_beside_it() {
    let mut world = world().await;
    let t = private_torrent(&world, 5 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", DEPOSIT).await.expect("a wallet");
    let buy = ["wallet", "buy", "64"];
    world.must("leecher", &buy).await.expect("buys");
    let file = backup(&world, "leecher", "old.dpay-backup").await;
    let mut seeder = serve(&world, "seeder", &t, ANYWHERE, None);
    let address = ready(&mut seeder).await.expect("serves");
    let ticks = Some("wallet.ticks_sent");
    let mut killed = download(&world, "leecher", &t, &address, ticks);
    dies(&mut killed, "wallet.ticks_sent").await;
    seeder.kill().await;

    restore(&world, &file, "again").await;
    for at in ["wallet.freeze.before", "wallet.freeze"] {
        die_in(&world, "again", &["wallet", "sync"], at).await;
    }
    // All that was spent, also coins that were bought after the backup.
    sync(&world, "again").await;
    let frozen = number(&balance(&world, "again").await, "frozen");
    assert!(frozen > 0, "its own spend lies in the slot");
    for node in &mut world.world.dht {
        node.kill().await;
    }
    world.world.restart_dht().await.expect("starts again");
    sync(&world, "again").await;
    redeem(&world, "again").await;
    let left = balance(&world, "again").await;
    assert_eq!(number(&left, "frozen"), frozen, "what is forgotten: {left}");

    let mut seeder = serve(&world, "seeder", &t, &address, None);
    ready(&mut seeder).await.expect("serves");
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    come_back(&world, "seeder").await;
    for at in ["wallet.recover.before", "wallet.recover"] {
        die_in(&world, "again", &["wallet", "sync"], at).await;
    }
    sync(&world, "again").await;
    no_proof_is_possible(&world, &["seeder", "again", "leecher"]).await;
    // A second channel that was opened but not paid in is nothing that the payee shows: it waits for settlement.
    world.world.clock_offset_s = SETTLED_S;
    restart_broker(&mut world).await;
    for home in ["seeder", "again"] {
        come_back(&world, home).await;
    }
    all_is_back(&world, &["seeder", "again"], DEPOSIT).await;
}

/// Coins that were bought after the backup: the broker tells of them.
#[tokio::test]
async fn a_restored_wallet_killed_while_it_takes_over_what_the_broker_tells_asks_again() {
    let world = world().await;
    world.wallet("one", DEPOSIT).await.expect("a wallet");
    let file = backup(&world, "one", "old.dpay-backup").await;
    let buy = ["wallet", "buy", "64"];
    world.must("one", &buy).await.expect("buys");
    let kept = number(&balance(&world, "one").await, "held");
    let steps = [
        "wallet.recover.before",
        "wallet.recover",
        "wallet.recovered.before",
        "wallet.recovered",
    ];
    // The command restores and asks; where it is killed, the next one asks.
    let args = ["wallet", "restore", &file];
    die_in(&world, "again", &args, steps[0]).await;
    for at in &steps[1..] {
        die_in(&world, "again", &["wallet", "sync"], at).await;
    }
    let restored = balance(&world, "again").await;
    assert_eq!(number(&restored, "held"), kept, "{restored}");
    come_back(&world, "again").await;
    all_is_back(&world, &["again"], DEPOSIT).await;
}
