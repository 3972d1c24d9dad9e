//! What `dpay wallet balance` says of units that wait: with whom, why and until when; and that then they are there.

use dpay::cli::world::WorldOptions;
use dpay::report::{date, moment};
use dpay::units::{Day, UnixMs};
use serde_json::Value;
use tokio::process::Command;

use crate::books::{balance, come_back, kinds, number, sync};
use crate::killed::{ANYWHERE, DEPOSIT, MIB, dies, download, ready, serve};
use crate::restored::restart_broker;
use crate::support::{LONG, TestWorld, audit, exe, private_torrent, world_with};

const DAY_MS: u64 = 86_400_000;
/// A day and a half: what is settled is so in the middle of a day.
const HOLD_S: u64 = 36 * 3_600;

/// What people are shown.
async fn shown(world: &TestWorld, home: &str) -> String {
    let global = world.global(home);
    let global = global.iter().filter(|arg| *arg != "--json");
    let balance = Command::new(exe())
        .args(["wallet", "balance"])
        .args(global)
        .output();
    let balance = balance.await.expect("runs");
    assert!(balance.status.success(), "{balance:?}");
    String::from_utf8(balance.stdout).expect("a text")
}

/// From now on it is `after_s` later than `at`, or earlier, for whoever starts, and for the broker.
async fn it_becomes(world: &mut TestWorld, at: UnixMs, after_s: i64) {
    let now = dpay::clock::now();
    world.world.clock_offset_s = ((at.0 - now.0) / 1_000) as i64 + after_s;
    restart_broker(world).await;
}

fn one(lines: &Value) -> &Value {
    let lines = lines.as_array().expect("a list");
    assert_eq!(lines.len(), 1, "{lines:?}");
    &lines[0]
}

#[tokio::test]
async fn a_balance_says_with_whom_why_and_until_when_units_wait_and_then_they_are_there() {
    let options = WorldOptions {
        hold_s: HOLD_S,
        ..WorldOptions::default()
    };
    let mut world = world_with(options).await;
    let t = private_torrent(&world, 5 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", DEPOSIT).await.expect("a wallet");
    let mut seeder = serve(&world, "seeder", &t, ANYWHERE, None);
    let address = ready(&mut seeder).await.expect("serves");
    let bought = dpay::clock::now().day();
    let at = "wallet.commit";
    let mut killed = download(&world, "leecher", &t, &address, Some(at));
    dies(&mut killed, at).await;
    let until_bought = dpay::clock::now().day();
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    let before = dpay::clock::now();
    let redeemed = world.must("leecher", &["wallet", "redeem", "--all"]).await;
    let (redeemed, after) = (redeemed.expect("redeems"), dpay::clock::now());

    // Locked: 60 days after the purchase and a hold, which is in the middle of a day.
    let told = balance(&world, "leecher").await;
    let line = one(&told["locked_in"]);
    let (locked, day) = (number(&told, "locked"), number(line, "until") as u32);
    let issued = day - 61;
    assert!((bought.0..=until_bought.0).contains(&issued), "{line}");
    let settled = UnixMs(u64::from(issued + 60) * DAY_MS + HOLD_S * 1_000);
    assert_eq!(settled.day(), Day(day));
    assert!(locked > 0 && number(line, "units") == locked, "{told}");
    assert_eq!(line["peer"], address.as_str(), "{line}");
    assert_eq!(line["why"], "open", "{line}");
    let info_hash = hex::encode(t.info_hash);
    assert_eq!(line["info_hash"], info_hash.as_str(), "{line}");
    let text = shown(&world, "leecher").await;
    let row = text
        .lines()
        .find(|row| row.contains(&address))
        .expect("a row");
    for part in [
        &*locked.to_string(),
        "channel open",
        &*date(Day(day)),
        &info_hash[..12],
    ] {
        assert!(row.contains(part), "{part}: {text}");
    }
    assert!(text.contains("at the latest until"), "{text}");

    // Pending: a hold after it was redeemed, to the moment.
    let pending = number(&told, "pending");
    let line = one(&told["pending_in"]);
    let until = UnixMs(number(line, "until"));
    assert!(pending > 0 && number(line, "units") == pending, "{told}");
    assert_eq!(number(&redeemed, "units_redeemed"), pending);
    assert_eq!(number(&redeemed, "pending_until_unix_ms"), until.0);
    let held = |from: UnixMs| from.plus_ms(HOLD_S * 1_000);
    assert!((held(before)..=held(after)).contains(&until), "{until:?}");
    let says = format!("{pending} until {} UTC", moment(until));
    assert!(text.contains(&says), "{says}: {text}");

    it_becomes(&mut world, until, -60).await;
    let still = balance(&world, "leecher").await;
    assert_eq!(number(&still, "broker_pending"), pending, "{still}");
    assert_eq!(number(&still, "pending"), pending, "{still}");
    it_becomes(&mut world, until, 1).await;
    let there = balance(&world, "leecher").await;
    assert_eq!(number(&there, "broker_pending"), 0, "{there}");
    assert_eq!(number(&there, "pending"), 0, "{there}");
    let more = number(&there, "broker_balance") - number(&still, "broker_balance");
    assert_eq!(more, pending, "{there}");
    let text = shown(&world, "leecher").await;
    assert!(!text.contains("redeemed, pending"), "{text}");

    it_becomes(&mut world, settled, -60).await;
    sync(&world, "leecher").await;
    let still = balance(&world, "leecher").await;
    assert_eq!(number(&still, "locked"), locked, "{still}");
    assert_eq!(number(one(&still["locked_in"]), "until"), u64::from(day));
    it_becomes(&mut world, settled, 1).await;
    come_back(&world, "leecher").await;
    let there = balance(&world, "leecher").await;
    let all = number(&there, "broker_balance") + number(&there, "broker_bond");
    assert_eq!((number(&there, "locked"), all), (0, DEPOSIT), "{there}");
    let told = kinds(&world, "leecher").await;
    assert!(told.contains(&"settled".to_owned()), "{told:?}");
    audit(&world).await;
}
