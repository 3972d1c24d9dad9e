//! What nobody closed, redeemed or presented comes back when its coin is settled, whoever dies on the way.

use crate::books::{all_is_back, balance, come_back, kinds, number};
use crate::killed::{
    ANYWHERE, DEPOSIT, MIB, die_in, dies, doomed_broker, download, finish, ready, serve,
};
use crate::restored::{SETTLED_S, restart_broker};
use crate::support::{LONG, private_torrent, world};

#[tokio::test]
async fn a_broker_and_a_wallet_killed_while_coins_are_settled_settle_them_once() {
    let mut world = world().await;
    let t = private_torrent(&world, 5 * MIB, 256).await;
    let homes = ["seeder", "leecher", "killed"];
    for (home, units) in homes.into_iter().zip([0, DEPOSIT, DEPOSIT]) {
        world.wallet(home, units).await.expect("a wallet");
    }
    let mut seeder = serve(&world, "seeder", &t, ANYWHERE, None);
    let address = ready(&mut seeder).await.expect("serves");
    let mut leecher = download(&world, "leecher", &t, &address, None);
    finish(&world, "leecher", &t, &mut leecher).await;
    // A spend that its payee never heard of.
    let at = "wallet.commit";
    let mut killed = download(&world, "killed", &t, &address, Some(at));
    dies(&mut killed, at).await;
    let locked = number(&balance(&world, "killed").await, "locked");
    assert!(locked > 0, "nobody can close it");
    assert_eq!(seeder.stop(LONG).await.expect("ends"), 0);
    come_back(&world, "seeder").await;

    world.world.clock_offset_s = SETTLED_S;
    let mut broker = world.world.broker.take().expect("runs");
    broker.stop(LONG).await.expect("ends");
    for at in ["broker.settled.before", "broker.settled"] {
        dies(&mut doomed_broker(&world, at), at).await;
    }
    restart_broker(&mut world).await;
    for at in [
        "wallet.notice.before",
        "wallet.notice",
        "wallet.settled.before",
        "wallet.settled",
    ] {
        die_in(&world, "killed", &["wallet", "sync"], at).await;
    }
    for home in homes {
        come_back(&world, home).await;
    }
    for home in ["leecher", "killed"] {
        let told = kinds(&world, home).await;
        assert!(told.contains(&"settled".to_owned()), "{home}: {told:?}");
    }
    all_is_back(&world, &homes, 2 * DEPOSIT).await;
}
