//! Limits, absences and wrong input: every one degrades to free peers or to a clear error.

use std::process::Command;

use dpay::cli::world::{Proc, WorldOptions};
use dpay::units::PricePerGib;

use crate::support::{
    LONG, SHORT, TestWorld, Torrent, audit, exe, finish, same, sample, torrent, world, world_with,
};

const MIB: usize = 1 << 20;

async fn seeder(world: &TestWorld, t: &Torrent, price: &str, free: &str) -> (Proc, String) {
    world.wallet("seeder", 0).await.expect("a wallet");
    world
        .seeder(
            "seeder",
            &t.file,
            &t.data,
            &["--free", free, "--price", price],
        )
        .await
        .expect("seeds")
}

fn free_reason(leecher: &Proc) -> Vec<String> {
    leecher
        .seen
        .iter()
        .filter(|line| line["event"] == "free")
        .filter_map(|line| line["why"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn with_fewer_than_eight_nodes_nothing_is_accepted_and_the_download_goes_on_free() {
    let options = WorldOptions {
        dht_nodes: 4,
        ..WorldOptions::default()
    };
    let world = world_with(options).await;
    let t = torrent(&world, 4 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, &t, "1024", "leftover").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let (done, _) = finish(&world, &t, &["--peer", &address]).await;
    assert_eq!(done["units_paid"], 0, "{done}");
    assert_eq!(done["acceptance_ms"].as_array().map(Vec::len), Some(0));
    audit(&world).await;
}

#[tokio::test]
async fn a_price_above_the_limit_is_not_paid() {
    let world = world().await;
    let t = torrent(&world, 4 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, &t, "8000", "leftover").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let extra = ["--peer", address.as_str(), "--max-price", "4000"];
    let (done, leecher) = finish(&world, &t, &extra).await;
    assert_eq!(done["units_paid"], 0, "{done}");
    let why = free_reason(&leecher).join("; ");
    assert!(why.contains("price"), "{why}");
}

#[tokio::test]
async fn a_budget_used_up_in_the_middle_goes_on_free_and_says_so() {
    let world = world().await;
    let t = torrent(&world, 32 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, &t, "4000", "leftover").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let extra = ["--peer", address.as_str(), "--budget", "64"];
    let (done, leecher) = finish(&world, &t, &extra).await;
    let paid = done["units_paid"].as_u64().expect("a number");
    assert!(paid > 0 && paid <= 64, "{done}");
    let why = free_reason(&leecher).join("; ");
    assert!(why.contains("budget"), "{why}");
    audit(&world).await;
}

#[tokio::test]
async fn a_broker_unreachable_from_the_start_stops_no_download() {
    let mut world = world().await;
    let t = torrent(&world, 4 * MIB, 256).await;
    let (_seeder, address) = seeder(&world, &t, "1024", "leftover").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let mut broker = world.world.broker.take().expect("runs");
    broker.kill().await;
    let (done, _) = finish(&world, &t, &["--peer", &address]).await;
    assert_eq!(done["units_paid"], 0, "{done}");
}

#[tokio::test]
async fn a_broker_gone_in_the_middle_stops_no_download() {
    let mut world = world().await;
    // 10 240 units: more than the first coin and the one that is ordered with it.
    let t = torrent(&world, 160 * MIB, 256).await;
    let price = PricePerGib::MAX;
    let (mut seeder, address) = seeder(&world, &t, &price.to_string(), "leftover").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let out = world.dir.path().join("out");
    let mut leecher = world
        .download(
            "leecher",
            t.file.to_str().expect("UTF-8"),
            &out,
            &["--peer", &address, "--max-price", &price.to_string()],
        )
        .expect("starts");
    leecher.wait_for("accepted", LONG).await.expect("pays");
    let url = world.broker_url.clone();
    let mut broker = world.world.broker.take().expect("runs");
    broker.kill().await;
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    same(&t.payload, &out.join(&t.name));
    let paid = done["units_paid"].as_u64().expect("a number");
    let due = price.due(160 * MIB as u64).0;
    assert!(0 < paid && paid < due, "it went on free: {done}");
    let why = free_reason(&leecher).join("; ");
    assert!(why.contains("broker"), "{why}");
    leecher.finish(LONG).await.expect("ends");
    seeder.stop(LONG).await.expect("ends");

    // It comes back, and what was earned meanwhile is redeemed.
    let listen = url.strip_prefix("http://").expect("an address");
    world
        .world
        .start_broker(listen)
        .await
        .expect("starts again");
    let redeemed = world
        .must("seeder", &["wallet", "redeem", "--all"])
        .await
        .expect("redeems");
    assert_eq!(redeemed["units_earned"].as_u64(), Some(paid), "{redeemed}");
    audit(&world).await;
}

#[tokio::test]
async fn a_second_writer_on_a_wallet_is_refused() {
    let world = world().await;
    let t = torrent(&world, MIB, 256).await;
    let (_seeder, _) = seeder(&world, &t, "1024", "off").await;
    let mut args = vec![
        "seed".to_owned(),
        t.file.display().to_string(),
        "--data".into(),
        t.data.display().to_string(),
    ];
    args.extend(world.global("seeder"));
    let second = world.run(&args).await.expect("runs");
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("wallet"), "{}", second.stderr);
    // Reading beside the writer is fine.
    world
        .must("seeder", &["wallet", "balance"])
        .await
        .expect("balance beside a running node");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let world = world().await;
    let t = torrent(&world, MIB, 256).await;
    let (_seeder, address) = seeder(&world, &t, "1024", "off").await;
    world.wallet("other", 0).await.expect("a wallet");
    let mut args = vec![
        "seed".to_owned(),
        t.file.display().to_string(),
        "--data".into(),
        t.data.display().to_string(),
    ];
    args.extend(world.global("other"));
    let at = args.iter().position(|a| a == "--listen").expect("given");
    args[at + 1] = address.clone();
    let refused = world.run(&args).await.expect("runs");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains(&address), "{}", refused.stderr);
    let broker = world.broker_url.trim_start_matches("http://").to_owned();
    let home = world.home("second-broker").display().to_string();
    let args = ["broker", "run", "--home", &home, "--listen", &broker].map(str::to_owned);
    let refused = world.run(&args).await;
    let refused = refused.expect("runs");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains(&broker), "{}", refused.stderr);
}

#[test]
fn what_is_no_torrent_is_named_and_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("home").display().to_string();
    let run = |args: &[&str]| {
        let output = Command::new(exe())
            .args(args)
            .args(["--home", &home, "--broker", "http://127.0.0.1:9"])
            .output()
            .expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        stderr
    };
    let made = Command::new(exe())
        .args(["wallet", "init", "--no-passphrase", "--home", &home])
        .output()
        .expect("the program starts");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let out = dir.path().join("out").display().to_string();
    let text = sample("README.md").display().to_string();
    let says = run(&["download", &text, "-o", &out, "--yes"]);
    assert!(
        says.contains("README.md") && says.contains("torrent"),
        "{says}"
    );
    let says = run(&["download", "magnet:?xt=urn:btih:zz", "-o", &out, "--yes"]);
    assert!(says.contains("magnet"), "{says}");
    let says = run(&["download", "no-such-file", "-o", &out, "--yes"]);
    assert!(says.contains("no-such-file"), "{says}");
    let says = run(&["seed", &text, "--data", &out]);
    assert!(says.contains("README.md"), "{says}");
}

#[tokio::test]
async fn a_magnet_link_is_downloaded_and_paid() {
    let world = world().await;
    let t = torrent(&world, 4 * MIB, 64).await;
    let (_seeder, _) = seeder(&world, &t, "4000", "off").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let hash: String = t.info_hash.iter().map(|b| format!("{b:02x}")).collect();
    let out = world.dir.path().join("out");
    let link = format!("magnet:?xt=urn:btih:{hash}");
    // Nobody said yes, and there is nobody to ask.
    let words = ["download", &link, "-o", &out.display().to_string()].map(str::to_owned);
    let mut unasked = world.spawn("leecher", &words).expect("starts");
    assert_eq!(unasked.finish(LONG).await.expect("ends"), 1);
    let said = unasked.stderr().await;
    assert!(said.contains("--yes"), "{said}");
    // No peer is named: the DHT finds the seeder.
    let mut leecher = world.download("leecher", &link, &out, &[]).expect("starts");
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    same(&t.payload, &out.join(&t.name));
    assert!(done["units_paid"].as_u64() > Some(0), "{done}");
}

#[tokio::test]
async fn all_samples_are_downloaded_and_paid() {
    let world = world().await;
    world.wallet("leecher", 400_000).await.expect("a wallet");
    for (n, name) in ["exact-multiple.bin", "odd-names"].iter().enumerate() {
        let torrent = sample(&format!("{name}.torrent"));
        let seeder = format!("seeder-{n}");
        world.wallet(&seeder, 0).await.expect("a wallet");
        let (mut seeding, address) = world
            .seeder(
                &seeder,
                &torrent,
                &sample(""),
                &["--free", "off", "--price", "65536"],
            )
            .await
            .expect("seeds");
        let out = world.dir.path().join(format!("out-{n}"));
        let mut leecher = world
            .download(
                "leecher",
                torrent.to_str().expect("UTF-8"),
                &out,
                &["--peer", &address, "--max-price", "65536"],
            )
            .expect("starts");
        let done = leecher.wait_for("done", LONG).await.expect("finishes");
        assert_eq!(done["pieces_verified"], done["pieces_total"]);
        let paid = done["units_paid"].as_u64().expect("a number");
        let due = dpay::units::PricePerGib::MAX.due(done["bytes"].as_u64().expect("a number"));
        assert_eq!(paid, due.0, "{done}");
        leecher.finish(SHORT).await.expect("ends");
        seeding.stop(SHORT).await.expect("ends");
    }
    audit(&world).await;
}

#[tokio::test]
async fn a_download_that_is_stopped_closes_its_channels() {
    let world = world().await;
    let t = torrent(&world, 96 * MIB, 256).await;
    let (mut seeder, address) = seeder(&world, &t, "1024", "off").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let out = world.dir.path().join("out");
    let torrent = t.file.to_str().expect("UTF-8");
    let mut leecher = world
        .download("leecher", torrent, &out, &["--peer", &address])
        .expect("starts");
    leecher.wait_for("accepted", LONG).await.expect("pays");
    let code = leecher.stop(LONG).await.expect("ends");
    let ended = leecher.last("stopped").or(leecher.last("done"));
    let ended = ended.expect("it says how it ended").clone();
    assert!(code == 130 || ended["event"] == "done", "{code}: {ended}");
    assert_eq!(
        ended["open_channels"].as_array().map(Vec::len),
        Some(0),
        "{ended}"
    );
    let balance = world
        .must("leecher", &["wallet", "balance"])
        .await
        .expect("a balance");
    assert_eq!(balance["locked"], 0, "{balance}");
    let code = seeder.stop(LONG).await.expect("ends");
    assert_eq!(code, 0);
    let stopped = seeder.last("stopped").expect("says so").clone();
    assert_eq!(
        stopped["units_earned"], ended["units_paid"],
        "{stopped} {ended}"
    );
    audit(&world).await;
}

/// Starts a download of `name` that names no broker.
fn without_broker(world: &TestWorld, name: &str, t: &Torrent, peer: &str) -> Proc {
    let mut args = world.global(name);
    let at = args.iter().position(|arg| arg == "--broker");
    let at = at.expect("named");
    args.drain(at..at + 2);
    let out = world.dir.path().join(name).join("out");
    let (file, out) = (t.file.display().to_string(), out.display().to_string());
    let own = ["download", &file, "-o", &out, "--yes", "--peer", peer];
    args.splice(0..0, own.map(str::to_owned));
    args.push("--with-parent".to_owned());
    Proc::start(name, &exe(), &args).expect("starts")
}

#[tokio::test]
async fn a_broker_is_remembered_from_the_wallets_making_and_without_one_a_download_says_so() {
    let world = world().await;
    let t = torrent(&world, 4 * MIB, 64).await;
    let (_seeder, address) = seeder(&world, &t, "4000", "off").await;
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let mut leecher = without_broker(&world, "leecher", &t, &address);
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    assert!(done["units_paid"].as_u64() > Some(0), "{done}");
    assert!(leecher.last("no_broker").is_none());

    let home = world.home("stranger").display().to_string();
    let init = [
        "wallet",
        "init",
        "--no-passphrase",
        "--json",
        "--home",
        &home,
    ];
    let init = init.map(str::to_owned);
    assert_eq!(world.run(&init).await.expect("runs").code, 0);
    let mut stranger = without_broker(&world, "stranger", &t, &address);
    let told = stranger
        .wait_for("no_broker", SHORT)
        .await
        .expect("says so");
    let what_to_do = told["what_to_do"].as_str().expect("a text");
    assert!(what_to_do.contains("--broker URL"), "{told}");
    assert!(stranger.last("ready").is_none(), "at the start");
    assert_eq!(stranger.stop(LONG).await.expect("ends"), 130);
}
