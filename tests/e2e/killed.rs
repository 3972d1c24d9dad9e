//! Killed at every durable step of the wallet, on both sides: started again, the download completes, the
//! payee is paid all but what a window may cost it, every unit comes back, and the books balance.

use serde_json::Value;

use dpay::channel::Windows;
use dpay::cli::world::Proc;
use dpay::units::PricePerGib;
use dpay::wallet::Step;

use crate::books::{all_is_back, balance, come_back, number, redeem, sync};
use crate::support::{LONG, TestWorld, Torrent, audit, exe, private_torrent, same, world};

pub const MIB: usize = 1 << 20;
pub const KILL: &str = "DPAY_KILL_AT";
pub const DEPOSIT: u64 = 200_000;
const PRICE: u64 = 16_000;

pub fn download(
    world: &TestWorld,
    home: &str,
    t: &Torrent,
    from: &str,
    kill: Option<&str>,
) -> Proc {
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

pub async fn finish(world: &TestWorld, home: &str, t: &Torrent, leecher: &mut Proc) -> Value {
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    leecher.finish(LONG).await.expect("ends");
    same(
        &t.payload,
        &world.dir.path().join(format!("out-{home}")).join(&t.name),
    );
    done
}

/// A seeder of `t` that listens there: a payee that comes back is found where it was.
pub fn serve(world: &TestWorld, home: &str, t: &Torrent, listen: &str, kill: Option<&str>) -> Proc {
    let price = PRICE.to_string();
    let own = [
        "seed",
        t.file.to_str().expect("UTF-8"),
        "--data",
        t.data.to_str().expect("UTF-8"),
        "--free",
        "off",
        "--price",
        &price,
        "--with-parent",
    ];
    let mut args: Vec<String> = own.map(str::to_owned).to_vec();
    args.extend(world.global(home));
    let at = args.iter().position(|arg| arg == "--listen");
    args[at.expect("given") + 1] = listen.to_owned();
    let env: Vec<(&str, &str)> = kill.map(|at| (KILL, at)).into_iter().collect();
    Proc::start_with(home, &exe(), &args, &env).expect("starts")
}

/// Where it serves; none where it ended before.
pub async fn ready(seeder: &mut Proc) -> Option<String> {
    let ready = seeder.wait_for("ready", LONG).await.ok()?;
    Some(ready["listen"].as_str().expect("an address").to_owned())
}

/// Any port.
pub const ANYWHERE: &str = "127.0.0.1:0";

/// It must end because it was told to die there.
pub async fn dies(doomed: &mut Proc, at: &str) {
    let code = doomed.finish(LONG).await.expect("ends");
    assert_eq!(code, -1, "{at} is a step of this run: {:?}", doomed.seen);
}

/// A command of `home` that dies there.
pub async fn die_in(world: &TestWorld, home: &str, args: &[&str], at: &str) {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let killed = world.spawn_with(home, &args, &[(KILL, at)]);
    dies(&mut killed.expect("starts"), at).await;
    balance(world, home).await;
}

/// What a payer has paid, once its channels are closed: all that it downloaded, but for what may be served
/// and never paid when a connection ends, and at most some pieces twice.
async fn paid_in_full(world: &TestWorld, home: &str, t: &Torrent, is_certain: bool) -> u64 {
    let balance = balance(world, home).await;
    let paid = number(&balance["books"], "paid");
    let price = PricePerGib::new(PRICE).expect("in range");
    let length = t.bytes.len() as u64;
    let windows = Windows::new(u64::from(t.piece_bytes), price);
    let lost = match is_certain {
        true => windows.accepted_bytes(price.due(length)),
        false => length,
    };
    let least = price.due(length.saturating_sub(lost));
    let most = price.due(length + MIB as u64).0 + 4;
    assert!(
        (least.0..=most).contains(&paid),
        "{home} paid {paid}, not {least} to {most}"
    );
    paid
}

/// What the payees say they earned is what the payers say they paid.
async fn earned(world: &TestWorld, home: &str, paid: u64) {
    let balance = balance(world, home).await;
    assert_eq!(
        number(&balance["books"], "earned"),
        paid,
        "{home}: {balance}"
    );
}

fn names(homes: &[String]) -> Vec<&str> {
    homes.iter().map(String::as_str).collect()
}

#[test]
fn every_durable_step_of_a_wallet_is_one_of_those_below() {
    let tests = concat!(
        include_str!("killed.rs"),
        include_str!("restored.rs"),
        include_str!("settled.rs"),
        include_str!("withdraw.rs"),
    );
    for step in Step::ALL.into_iter().filter(|step| *step != Step::Other) {
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
    let t = private_torrent(&world, 5 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    let mut seeder = serve(&world, "seeder", &t, ANYWHERE, None);
    let address = ready(&mut seeder).await.expect("serves");
    world.wallet("leecher", DEPOSIT).await.expect("a wallet");
    for at in ["wallet.commit", "wallet.ended.before", "wallet.ended"] {
        let mut killed = download(&world, "leecher", &t, &address, Some(at));
        dies(&mut killed, at).await;
        let balance = balance(&world, "leecher").await;
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
    come_back(&world, "seeder").await;
    come_back(&world, "leecher").await;
    let paid = paid_in_full(&world, "leecher", &t, true).await;
    earned(&world, "seeder", paid).await;
    all_is_back(&world, &["seeder", "leecher"], DEPOSIT).await;
}

/// Long enough that ticks are written while it goes on: that happens twice a second.
#[tokio::test]
async fn a_payee_killed_while_it_writes_ticks_goes_on_afterwards() {
    killed_payees(&["wallet.ticks_came"], 192).await;
}

async fn killed_payers(steps: &[&str]) {
    let world = world().await;
    let t = private_torrent(&world, 5 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    let mut seeder = serve(&world, "seeder", &t, ANYWHERE, None);
    let address = ready(&mut seeder).await.expect("serves");
    let mut homes = Vec::new();
    for step in steps {
        for at in [format!("{step}.before"), (*step).to_owned()] {
            let home = format!("leecher-{}", at.replace('.', "-"));
            world.wallet(&home, DEPOSIT).await.expect("a wallet");
            let mut killed = download(&world, &home, &t, &address, Some(&at));
            dies(&mut killed, &at).await;
            balance(&world, &home).await;
            let mut again = download(&world, &home, &t, &address, None);
            finish(&world, &home, &t, &mut again).await;
            homes.push(home);
        }
    }
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    come_back(&world, "seeder").await;
    let mut paid = 0;
    for home in &homes {
        come_back(&world, home).await;
        paid += paid_in_full(&world, home, &t, true).await;
    }
    earned(&world, "seeder", paid).await;
    let deposited = DEPOSIT * homes.len() as u64;
    homes.push("seeder".to_owned());
    all_is_back(&world, &names(&homes), deposited).await;
}

/// The payer is killed too where the payee dies before the step, and ends in order where it dies after it:
/// then what the payee lost count of is paid.
async fn killed_payees(steps: &[&str], mib: usize) {
    let world = world().await;
    let t = private_torrent(&world, mib * MIB, 256).await;
    let mut homes = Vec::new();
    let mut deposited = 0;
    for step in steps {
        for (at, is_certain) in [
            (format!("{step}.before"), false),
            ((*step).to_owned(), true),
        ] {
            let (seeder, leecher) = (format!("seeder-{at}"), format!("leecher-{at}"));
            world.wallet(&seeder, 0).await.expect("a wallet");
            world.wallet(&leecher, DEPOSIT).await.expect("a wallet");
            let mut killed = serve(&world, &seeder, &t, ANYWHERE, Some(&at));
            // Steps of the start kill it before it says where it listens.
            let address = ready(&mut killed).await;
            if let Some(address) = &address {
                let mut first = download(&world, &leecher, &t, address, None);
                dies(&mut killed, &at).await;
                match is_certain {
                    true => first.stop(LONG).await.map(drop).expect("ends"),
                    false => first.kill().await,
                }
            }
            balance(&world, &seeder).await;
            let listen = address.as_deref().unwrap_or(ANYWHERE);
            let mut again = serve(&world, &seeder, &t, listen, None);
            let address = ready(&mut again).await.expect("serves");
            let mut second = download(&world, &leecher, &t, &address, None);
            finish(&world, &leecher, &t, &mut second).await;
            assert_eq!(again.stop(LONG).await.expect("ends"), 0);
            come_back(&world, &seeder).await;
            come_back(&world, &leecher).await;
            let paid = paid_in_full(&world, &leecher, &t, is_certain).await;
            earned(&world, &seeder, paid).await;
            homes.extend([seeder, leecher]);
            deposited += DEPOSIT;
        }
    }
    all_is_back(&world, &names(&homes), deposited).await;
}

#[tokio::test]
async fn a_redemption_killed_at_any_step_is_answered_the_next_time() {
    let world = world().await;
    world.wallet("one", DEPOSIT).await.expect("a wallet");
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
        die_in(&world, "one", &["wallet", "redeem", "--all"], at).await;
        redeem(&world, "one").await;
        let balance = balance(&world, "one").await;
        assert_eq!(balance["held"], 0, "{at}: {balance}");
    }
    all_is_back(&world, &["one"], DEPOSIT).await;
}

/// A download that is over, of 31 units in one coin: the payee holds its share, the payer its change.
async fn paid(world: &TestWorld) -> (Torrent, u64) {
    let t = private_torrent(world, 2 * MIB, 256).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", DEPOSIT).await.expect("a wallet");
    let mut seeder = serve(world, "seeder", &t, ANYWHERE, None);
    let address = ready(&mut seeder).await.expect("serves");
    let mut leecher = download(world, "leecher", &t, &address, None);
    let done = finish(world, "leecher", &t, &mut leecher).await;
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    let paid = number(&done, "units_paid");
    assert!(paid > 0, "{done}");
    earned(world, "seeder", paid).await;
    (t, paid)
}

#[tokio::test]
async fn a_share_whose_redemption_is_killed_at_any_step_is_credited_once() {
    let world = world().await;
    let (_, paid) = paid(&world).await;
    for at in [
        "wallet.redeem.before",
        "wallet.redeem",
        "wallet.redeemed.before",
        "wallet.redeemed",
    ] {
        die_in(&world, "seeder", &["wallet", "redeem"], at).await;
    }
    let balance = balance(&world, "seeder").await;
    assert_eq!(number(&balance, "held"), 0, "{balance}");
    assert_eq!(number(&balance, "broker_balance"), paid, "{balance}");
    come_back(&world, "leecher").await;
    all_is_back(&world, &["seeder", "leecher"], DEPOSIT).await;
}

#[tokio::test]
async fn what_is_read_back_or_presented_is_so_the_next_time() {
    let world = world().await;
    let (t, paid) = paid(&world).await;
    // Whoever runs reads what an earlier run left, and then the close that left it.
    for at in ["wallet.read_back.before", "wallet.read_back"] {
        dies(&mut serve(&world, "leecher", &t, ANYWHERE, Some(at)), at).await;
        balance(&world, "leecher").await;
    }
    for at in ["wallet.presented.before", "wallet.presented"] {
        die_in(&world, "seeder", &["wallet", "sync"], at).await;
    }
    // What is presented waits for nobody, and is money still.
    sync(&world, "seeder").await;
    assert_eq!(number(&balance(&world, "seeder").await, "held"), paid);
    come_back(&world, "seeder").await;
    come_back(&world, "leecher").await;
    all_is_back(&world, &["seeder", "leecher"], DEPOSIT).await;
}

/// The world's broker, which dies there.
pub fn doomed_broker(world: &TestWorld, at: &str) -> Proc {
    let listen = world.broker_url.trim_start_matches("http://");
    let args = world.broker_args(listen);
    Proc::start_with("broker", &exe(), &args, &[(KILL, at)]).expect("starts")
}

#[tokio::test]
async fn a_broker_killed_before_or_after_a_batch_is_durable_answers_the_next_time() {
    let mut world = world().await;
    world.wallet("one", DEPOSIT).await.expect("a wallet");
    let listen = world.broker_url.trim_start_matches("http://").to_owned();
    for at in [
        "broker.batch.before:1",
        "broker.batch:1",
        "broker.batch.before:2",
        "broker.batch:2",
    ] {
        let mut before = world.world.broker.take().expect("runs");
        before.stop(LONG).await.expect("ends");
        let mut doomed = doomed_broker(&world, at);
        doomed.wait_for("ready", LONG).await.expect("serves");
        for args in [&["wallet", "buy", "64"][..], &["wallet", "redeem", "--all"]] {
            let mut all: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
            all.extend(world.global("one"));
            world.run(&all).await.expect("runs, whatever comes of it");
        }
        assert_eq!(doomed.finish(LONG).await.expect("ends"), -1, "{at}");
        balance(&world, "one").await;
        let started = world.world.start_broker(&listen).await;
        started.expect("starts again");
        // What was ordered comes, what was redeemed is answered, and what came is redeemed.
        world
            .must("one", &["wallet", "buy", "16"])
            .await
            .expect("buys");
        redeem(&world, "one").await;
        redeem(&world, "one").await;
        let balance = balance(&world, "one").await;
        assert_eq!(balance["held"], 0, "{at}: {balance}");
        assert_eq!(balance["ordered"], 0, "{at}: {balance}");
    }
    audit(&world).await;
}
