//! What payments put into the DHT.

use std::time::{Duration, Instant};

use crate::books::{number, one_item_each, rows};
use crate::support::{LONG, finish, private_torrent, world};

const MIB: usize = 1 << 20;
/// Places of a slot.
const PLACES: u64 = 3;
/// Records are put again so long after they were accepted.
const AGAIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_channel_makes_one_spend_and_one_close_record() {
    let world = world().await;
    // 32 units: one coin of 64 is enough.
    let t = private_torrent(&world, 2 * MIB, 64).await;
    world.wallet("seeder", 0).await.expect("a wallet");
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let extra = ["--free", "off", "--price", "16384"];
    let seeder = world.seeder("seeder", &t.file, &t.data, &extra).await;
    let (mut seeder, address) = seeder.expect("seeds");
    let start = Instant::now();
    let extra = ["--peer", address.as_str(), "--max-price", "16384"];
    let (done, mut leecher) = finish(&world, &t, &extra).await;
    leecher.finish(LONG).await.expect("ends");
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    let is_short = start.elapsed() < AGAIN;
    let stopped = seeder.last("stopped").expect("says so").clone();
    let channels = stopped["acceptance_ms"].as_array().expect("a list").len() as u64;
    assert_eq!(channels, 1, "{stopped}");
    assert_eq!(number(&done, "dht_puts"), 0, "the payee puts: {done}");
    let (puts, least) = (number(&stopped, "dht_puts"), 2 * PLACES);
    // On a slow machine the spend is put again while it is open.
    let most = least + if is_short { 0 } else { PLACES };
    assert!((least..=most).contains(&puts), "{puts} puts: {stopped}");

    let (payer, payee) = (rows(&world, "leecher").await, rows(&world, "seeder").await);
    assert_eq!((payer.spends.len(), payee.received.len()), (1, 1));
    one_item_each(&world, &["leecher", "seeder"]).await;
}
