//! A coin that was redeemed before a seeder is asked, which refuses it, and one that was redeemed behind the back of
//! the seeder that accepted it: that finds it on the broker's spent list, presents its own, and the broker decides
//! by what the DHT holds.

use serde_json::Value;

use dpay::broker::RequestId;
use dpay::broker::answer::ItemAnswer;
use dpay::cli::world::WorldOptions;
use dpay::coin::{RecordKey, SecretKey};
use dpay::http::client::BrokerClient;
use dpay::record::{Path, RedeemPart};
use dpay::units::Units;
use dpay::wire::codes::RefuseReason;
use dpay::wire::message::Message;

use crate::cheats::{connect, seeder};
use crate::support::{LONG, SHORT, TestWorld, audit, same, torrent, world, world_with};

const MIB: usize = 1 << 20;
const HOLD_S: u64 = 3_600;

async fn balance(world: &TestWorld, name: &str) -> Value {
    let balance = world.must(name, &["wallet", "balance"]).await;
    balance.expect("a balance")
}

async fn kinds(world: &TestWorld, name: &str) -> Vec<String> {
    let history = world
        .must(name, &["wallet", "history", "--limit", "1000"])
        .await;
    let history = history.expect("a history");
    let lines = history.as_array().expect("lines");
    let kinds = lines.iter().filter_map(|line| line["kind"].as_str());
    kinds.map(str::to_owned).collect()
}

fn units(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key}: {of}"))
}

#[tokio::test]
async fn a_seeder_contests_what_the_spent_list_says_against_it_and_is_paid() {
    let options = WorldOptions {
        hold_s: HOLD_S,
        contest_gap_s: Some(1),
        ..WorldOptions::default()
    };
    let world = world_with(options).await;
    let t = torrent(&world, 8 * MIB, 64).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("cheat", 200_000).await.expect("a wallet");
    let extra = ["--free", "off", "--price", "4096"];
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, address) = seeder.expect("seeds");
    let out = world.dir.path().join("out");
    let torrent = t.file.to_str().expect("UTF-8");
    let tricks = [
        "--peer",
        &address,
        "--max-price",
        "4096",
        "--cheat",
        "redeem-after",
    ];
    let cheat = world.download("cheat", torrent, &out, &tricks);
    let mut cheat = cheat.expect("starts");
    let tried = cheat.wait_for("cheat", LONG).await.expect("redeems");
    let done = match cheat.last("done").cloned() {
        Some(done) => done,
        None => cheat.wait_for("done", LONG).await.expect("finishes"),
    };
    cheat.finish(SHORT).await.expect("ends");
    same(&t.payload, &out.join(&t.name));
    let stolen = units(&tried["tried"], "units_credited");
    let paid = units(&done, "units_paid");
    assert!(stolen > 0 && paid > 0, "{tried} {done}");
    assert_eq!(
        units(&balance(&world, "cheat").await, "broker_pending"),
        stolen
    );
    let before = balance(&world, "cheat").await;

    // Its wallet has a copy of the list from before. With the next one, here that of its next start, it
    // sees what was done, and does all the rest by itself.
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    assert!(
        !kinds(&world, "seeder")
            .await
            .contains(&"proof_found".to_owned())
    );
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, _) = seeder.expect("seeds");
    let start = std::time::Instant::now();
    while units(&balance(&world, "cheat").await, "broker_pending") > 0 {
        assert!(start.elapsed() < LONG, "the contest is never decided");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(
        kinds(&world, "seeder")
            .await
            .contains(&"proof_found".to_owned())
    );
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);

    // The credit went back to the coin, nothing to the cheat's balance; the seeder has its share.
    let after = balance(&world, "cheat").await;
    assert_eq!(after["broker_balance"], before["broker_balance"], "{after}");
    assert_eq!(after["broker_bond"], before["broker_bond"], "{after}");
    assert_eq!(after["broker_suspended"], false, "nobody lost: {after}");
    let redeemed = world.must("seeder", &["wallet", "redeem", "--all"]).await;
    let redeemed = redeemed.expect("its share stands");
    assert_eq!(units(&redeemed, "units_earned"), paid, "{redeemed}");
    assert_eq!(
        units(&balance(&world, "seeder").await, "broker_pending"),
        paid
    );
    audit(&world).await;
}

/// The coin is one that the broker sold, so that the broker takes it back.
#[tokio::test]
async fn a_coin_that_was_redeemed_is_refused_by_a_seeder_that_has_the_spent_list() {
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let [account, holder] = [31, 32].map(|n| SecretKey::from_bytes([n; 32]));
    let name = account.public().to_string();
    world.deposit(&name, 200_000).await.expect("booked");
    let client = BrokerClient::new(&world.broker_url, None, account).expect("a URL");
    client.info().await.expect("answers");
    let order = vec![(Units(64), holder.public())];
    let sold = client.purchase(RequestId([1; 16]), order).await;
    let path = Path {
        coin: sold.expect("sold")[0],
        links: Vec::new(),
    };
    let id = path.holding().expect("a coin").id;
    let redeem = RedeemPart::sign(&holder, &id, client.account_id(), RecordKey([9; 32]));
    let items = vec![(path.clone(), redeem)];
    let done = client.redeem(RequestId([2; 16]), items).await;
    let done = done.expect("answered").value.remove(0);
    assert!(matches!(done, ItemAnswer::Redeemed { .. }), "{done:?}");

    let (_seeder, address) = seeder(&world, "seeder", &t).await;
    // Until its copy of the list has come, it may say which key it would be paid on.
    let start = std::time::Instant::now();
    for id in (b'a'..=u8::MAX).cycle() {
        let mut peer = connect(&address, &t, id).await;
        let path = path.encode();
        let propose = Message::Propose { channel: 0, path };
        peer.pay(&propose).await.expect("sends");
        let said = peer.until_pay("an answer", SHORT, |said| {
            matches!(said, Message::Refused { .. } | Message::Key { .. })
        });
        match said.await.expect("answers") {
            Message::Refused { reason, .. } => {
                assert_eq!(reason, RefuseReason::Spent);
                return;
            }
            said => assert!(start.elapsed() < LONG, "{said:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
