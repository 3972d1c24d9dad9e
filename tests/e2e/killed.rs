//! Killed at every durable step of the wallet, on both sides: started again, the download completes, no
//! unit is lost or made, and the books balance.

use serde_json::Value;

use dpay::cli::world::Proc;
use dpay::wallet::Step;

use crate::support::{LONG, TestWorld, Torrent, audit, exe, same, torrent, world};

const MIB: usize = 1 << 20;
const KILL: &str = "DPAY_KILL_AT";

fn download(world: &TestWorld, home: &str, t: &Torrent, from: &str, kill: Option<&str>) -> Proc {
    let out = world.dir.path().join(format!("out-{home}"));
    let args = [
        "download",
        t.file.to_str().expect("UTF-8"),
        "-o",
        out.to_str().expect("UTF-8"),
        "--yes",
        "--peer",
        from,
        "--max-price",
        "65536",
        "--budget",
        "100000",
    ];
    let env: Vec<(&str, &str)> = kill.map(|at| (KILL, at)).into_iter().collect();
    world
        .spawn_with(home, &args.map(str::to_owned), &env)
        .expect("starts")
}

async fn finish(world: &TestWorld, home: &str, t: &Torrent, leecher: &mut Proc) -> Value {
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    leecher.finish(LONG).await.expect("ends");
    same(
        &t.payload,
        &world.dir.path().join(format!("out-{home}")).join(&t.name),
    );
    done
}

async fn books_agree(world: &TestWorld, home: &str) {
    let balance = world
        .must(home, &["wallet", "balance"])
        .await
        .expect("a balance");
    assert_eq!(balance["books_agree"], true, "{home}: {balance}");
}

/// Asks to redeem until everything that can be is answered.
async fn redeem(world: &TestWorld, home: &str) {
    let mut args = vec!["wallet".to_owned(), "redeem".into(), "--all".into()];
    args.extend(world.global(home));
    let done = world.run(&args).await.expect("runs");
    assert!(
        done.json["units_redeemed"].is_u64(),
        "{} {}",
        done.json,
        done.stderr
    );
    books_agree(world, home).await;
}

#[test]
fn every_durable_step_of_a_wallet_is_one_of_those_below() {
    let tests = concat!(include_str!("killed.rs"), include_str!("withdraw.rs"));
    for step in Step::ALL {
        let name = format!("\"{}\"", step.name());
        assert!(tests.contains(&name), "nobody is killed at {name}");
    }
}

#[tokio::test]
async fn a_payer_killed_at_any_durable_step_before_it_pays_goes_on_afterwards() {
    killed_payers(&[
        "wallet.pin",
        "wallet.budget",
        "wallet.order",
        "wallet.bought",
    ])
    .await;
}

#[tokio::test]
async fn a_payer_killed_at_any_durable_step_of_paying_goes_on_afterwards() {
    killed_payers(&["wallet.commit", "wallet.ticks_sent", "wallet.closed"]).await;
}

#[tokio::test]
async fn a_payee_killed_at_any_durable_step_before_it_is_paid_goes_on_afterwards() {
    let steps = [
        "wallet.pin",
        "wallet.take_keys",
        "wallet.certified",
        "wallet.record_open",
    ];
    killed_payees(&steps, 5).await;
}

#[tokio::test]
async fn a_payee_killed_at_any_durable_step_of_being_paid_goes_on_afterwards() {
    let steps = ["wallet.accepted", "wallet.fix_close", "wallet.close_signed"];
    killed_payees(&steps, 5).await;
}

#[tokio::test]
async fn a_payee_killed_when_its_close_is_put_puts_it_again_afterwards() {
    killed_payees(&["wallet.close_put"], 5).await;
}

/// The end of a connection that nobody saw is noted at the next start.
#[tokio::test]
async fn a_payer_killed_while_it_notes_what_a_killed_run_left_open_goes_on_afterwards() {
    let world = world().await;
    let t = torrent(&world, 5 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    let extra = ["--free", "leftover", "--price", "16000"];
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, address) = seeder.expect("seeds");
    world.wallet("leecher", 200_000).await.expect("a wallet");
    for at in ["wallet.commit", "wallet.ended.before", "wallet.ended"] {
        let mut killed = download(&world, "leecher", &t, &address, Some(at));
        let code = killed.finish(LONG).await.expect("ends");
        assert_eq!(code, -1, "{at} is a step of this run: {:?}", killed.seen);
        books_agree(&world, "leecher").await;
        let balance = world.must("leecher", &["wallet", "balance"]).await;
        let balance = balance.expect("a balance");
        let locked = balance["locked_in"].as_array().expect("a list");
        let why: Vec<_> = locked.iter().map(|line| &line["why"]).collect();
        let noted = match at {
            "wallet.ended" => "waiting_for_close",
            _ => "open",
        };
        assert_eq!(why, [noted], "{at}: {balance}");
    }
    let mut again = download(&world, "leecher", &t, &address, None);
    finish(&world, "leecher", &t, &mut again).await;
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    redeem(&world, "seeder").await;
    redeem(&world, "leecher").await;
    audit(&world).await;
}

/// Long enough that ticks are written while it goes on: that happens twice a second.
#[tokio::test]
async fn a_payee_killed_while_it_writes_ticks_goes_on_afterwards() {
    killed_payees(&["wallet.ticks_came"], 192).await;
}

async fn killed_payers(steps: &[&str]) {
    let world = world().await;
    let t = torrent(&world, 5 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    let extra = ["--free", "leftover", "--price", "16000"];
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, address) = seeder.expect("seeds");
    let mut homes = Vec::new();
    for step in steps {
        for at in [format!("{step}.before"), (*step).to_owned()] {
            let home = format!("leecher-{}", at.replace('.', "-"));
            world.wallet(&home, 200_000).await.expect("a wallet");
            let mut killed = download(&world, &home, &t, &address, Some(&at));
            let code = killed.finish(LONG).await.expect("ends");
            assert_eq!(code, -1, "{at} is a step of a download: {:?}", killed.seen);
            books_agree(&world, &home).await;
            let mut again = download(&world, &home, &t, &address, None);
            finish(&world, &home, &t, &mut again).await;
            homes.push(home);
        }
    }
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    redeem(&world, "seeder").await;
    for home in &homes {
        redeem(&world, home).await;
    }
    audit(&world).await;
}

async fn killed_payees(steps: &[&str], mib: usize) {
    let world = world().await;
    let t = torrent(&world, mib * MIB, 256).await;
    for step in steps {
        for at in [format!("{step}.before"), (*step).to_owned()] {
            let (seeder, leecher) = (format!("seeder-{at}"), format!("leecher-{at}"));
            world.wallet(&seeder, 0).await.expect("a wallet");
            world.wallet(&leecher, 200_000).await.expect("a wallet");
            let args = [
                "seed",
                t.file.to_str().expect("UTF-8"),
                "--data",
                t.data.to_str().expect("UTF-8"),
                "--free",
                "leftover",
                "--price",
                "16000",
            ];
            let args = args.map(str::to_owned);
            let mut killed = world
                .spawn_with(&seeder, &args, &[(KILL, at.as_str())])
                .expect("starts");
            // Steps of the start kill it before it says where it listens.
            let ready = killed.wait_for("ready", LONG).await;
            let mut first = match &ready {
                Ok(ready) => {
                    let address = ready["listen"].as_str().expect("an address");
                    Some(download(&world, &leecher, &t, address, None))
                }
                Err(_) => None,
            };
            if ready.is_ok() {
                let code = killed.finish(LONG).await.expect("ends");
                assert_eq!(code, -1, "{at} is a step of seeding: {:?}", killed.seen);
            }
            books_agree(&world, &seeder).await;
            if let Some(first) = &mut first {
                first.kill().await;
            }
            let mut again = world.spawn_with(&seeder, &args, &[]).expect("starts");
            let ready = again.wait_for("ready", LONG).await.expect("serves");
            let address = ready["listen"].as_str().expect("an address");
            let mut second = download(&world, &leecher, &t, address, None);
            finish(&world, &leecher, &t, &mut second).await;
            assert_eq!(again.stop(LONG).await.expect("ends"), 0);
            redeem(&world, &seeder).await;
            redeem(&world, &leecher).await;
        }
    }
    audit(&world).await;
}

#[tokio::test]
async fn a_redemption_killed_at_any_step_is_answered_the_next_time() {
    let world = world().await;
    world.wallet("one", 200_000).await.expect("a wallet");
    for at in [
        "wallet.redeem.before",
        "wallet.redeem",
        "wallet.redeemed.before",
        "wallet.redeemed",
    ] {
        world
            .must("one", &["wallet", "buy", "64"])
            .await
            .expect("buys");
        let args = ["wallet", "redeem", "--all"].map(str::to_owned);
        let mut killed = world
            .spawn_with("one", &args, &[(KILL, at)])
            .expect("starts");
        assert_eq!(killed.finish(LONG).await.expect("ends"), -1, "{at}");
        redeem(&world, "one").await;
        let balance = world
            .must("one", &["wallet", "balance"])
            .await
            .expect("a balance");
        assert_eq!(balance["held"], 0, "{at}: {balance}");
    }
    audit(&world).await;
}

/// The world's broker, which dies there.
async fn doomed_broker(world: &TestWorld, listen: &str, at: &str) -> Proc {
    let home = world.home("broker").display().to_string();
    let args = [
        "broker",
        "run",
        "--json",
        "--with-parent",
        "--home",
        &home,
        "--listen",
        listen,
        "--hold",
        "0",
    ];
    let started = Proc::start_with("broker", &exe(), &args.map(str::to_owned), &[(KILL, at)]);
    let mut broker = started.expect("starts");
    broker.wait_for("ready", LONG).await.expect("serves");
    broker
}

#[tokio::test]
async fn a_broker_killed_before_or_after_a_batch_is_durable_answers_the_next_time() {
    let mut world = world().await;
    world.wallet("one", 200_000).await.expect("a wallet");
    let listen = world.broker_url.trim_start_matches("http://").to_owned();
    for at in [
        "broker.batch.before:1",
        "broker.batch:1",
        "broker.batch.before:2",
        "broker.batch:2",
    ] {
        let mut before = world.world.broker.take().expect("runs");
        before.stop(LONG).await.expect("ends");
        let mut doomed = doomed_broker(&world, &listen, at).await;
        for args in [&["wallet", "buy", "64"][..], &["wallet", "redeem", "--all"]] {
            let mut all: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
            all.extend(world.global("one"));
            world.run(&all).await.expect("runs, whatever comes of it");
        }
        assert_eq!(doomed.finish(LONG).await.expect("ends"), -1, "{at}");
        books_agree(&world, "one").await;
        let started = world.world.start_broker(&listen).await;
        started.expect("starts again");
        // What was ordered comes, what was redeemed is answered, and what came is redeemed.
        world
            .must("one", &["wallet", "buy", "16"])
            .await
            .expect("buys");
        redeem(&world, "one").await;
        redeem(&world, "one").await;
        let balance = world
            .must("one", &["wallet", "balance"])
            .await
            .expect("a balance");
        assert_eq!(balance["held"], 0, "{at}: {balance}");
        assert_eq!(balance["ordered"], 0, "{at}: {balance}");
    }
    audit(&world).await;
}
