//! Records and peers in real DHTs, over real UDP on loopback: nets of `mainline` servers, and of
//! libtorrent nodes as they make up most of the public DHT (`src/cli/dht_nodes.py`).
//! Rivals always have clients of their own: one client refuses a rival put by itself.

#[path = "support/dht.rs"]
mod support;

use std::time::Duration;

use dpay::cashier::wallet::SlotReader;
use dpay::coin::HoldingId;
use dpay::dht::rogue::{self, Form};
use dpay::dht::{Acceptance, DhtConfig, DhtNode, Places, Watch};
use dpay::record::{Doubt, Item, SignedRecord, Slot, Verdict};
use support::{
    Liar, MainlineNet, answer_of, at_seq, client, client_of, close_of, coin, count_accepted, spend,
    spend_key,
};

/// Coins that two payees open at once, per net.
const RACES: u8 = 6;

fn assert_accepted(acceptance: &Acceptance) {
    assert_eq!(acceptance.verdict, Verdict::Accepted, "{acceptance:?}");
    for reading in &acceptance.per_record {
        assert!(reading.copies.iter().filter(|copies| **copies >= 4).count() >= 2);
        assert!(reading.answers.iter().all(|answers| *answers >= 8));
    }
    assert!(acceptance.conflict.is_none());
}

/// Both items are shown, signed, under one salt: that is a proof.
fn assert_conflict(acceptance: &Acceptance, ours: &SignedRecord) -> Item {
    assert!(
        matches!(acceptance.verdict, Verdict::Conflict(_)),
        "{acceptance:?}"
    );
    let (own, other) = acceptance.conflict.clone().expect("both items");
    assert!(ours.items().contains(&own));
    assert!(!other.is_copy_of(&own) && other.is_signed());
    assert_eq!((other.key, other.salt), (own.key, own.salt));
    other
}

/// It lay there alone, but somebody else had put it.
fn assert_not_first(acceptance: &Acceptance) {
    let why = Doubt::NotFirst { place: 0 };
    assert_eq!(acceptance.verdict, Verdict::Undecided { why });
    assert!(
        acceptance.per_record[0]
            .copies
            .iter()
            .all(|copies| *copies >= 4)
    );
    assert_eq!((acceptance.gets, acceptance.puts), (3, 0));
}

/// Nodes of a private net start within seconds of each other, and a client begins at the oldest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_there_before_the_others_comes_to_know_them() {
    let free = || std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let held: Vec<_> = (0..10).map(|_| free()).collect();
    let address = |socket: &std::net::UdpSocket| socket.local_addr().expect("bound").to_string();
    let all: Vec<String> = held.iter().map(address).collect();
    drop(held);
    let start = |own: &String| {
        let others = all.iter().filter(|other| *other != own);
        DhtNode::start(DhtConfig {
            bind: own.parse().expect("an address"),
            bootstrap: others.cloned().collect(),
            server: true,
            clients: 1,
            ..DhtConfig::default()
        })
    };
    let knows = |node: DhtNode, count: usize| async move {
        let knowing = async { while node.known_nodes().await < count {} };
        tokio::time::timeout(Duration::from_secs(20), knowing).await
    };
    let mut nodes = vec![start(&all[0]).await.expect("starts")];
    nodes.push(start(&all[1]).await.expect("starts"));
    // From here on the crate itself looks for nobody.
    knows(nodes[0].clone(), 1)
        .await
        .expect("the first meets the second");
    for own in &all[2..] {
        nodes.push(start(own).await.expect("starts"));
    }
    for node in &nodes {
        knows(node.clone(), 9).await.expect("each meets all others");
    }
    // So a client that is told of the first three finds enough to accept.
    let payee = client_of(&all[..3], 1, 20_000).await;
    assert_accepted(&payee.accept(vec![spend(coin(1), 1)]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spend_is_accepted_on_sixteen_mainline_nodes() {
    let net = MainlineNet::start(16).await;
    let payee = client(&net, 2).await;
    let mut elapsed_ms = Vec::new();
    for number in 0..8 {
        let acceptance = payee.accept(vec![spend(coin(number), 1)]).await;
        assert_accepted(&acceptance);
        assert_eq!((acceptance.gets, acceptance.puts), (6, 3));
        elapsed_ms.push(acceptance.elapsed_ms);
    }
    println!("accepted on 16 mainline nodes in {elapsed_ms:?} ms");

    let counters = payee.counters();
    println!("{counters:?}");
    assert_eq!((counters.gets, counters.puts), (48, 24));
    assert!(counters.requests > 48 * 16 && counters.valid_answers > 48 * 8);
    assert_eq!(
        (counters.invalid_answers, counters.clients_replaced),
        (0, 0)
    );

    // The node that put it first may ask again, and has nothing to put.
    let again = payee.accept(vec![spend(coin(0), 1)]).await;
    assert_accepted(&again);
    assert_eq!(again.puts, 0);
    // Any other finds that somebody was there before, and puts nothing.
    let other = client(&net, 1).await.accept(vec![spend(coin(0), 1)]).await;
    assert_not_first(&other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_published_with_the_spend_that_follows_it() {
    let net = MainlineNet::start(16).await;
    let payee = client(&net, 4).await;
    // A coin that was split seven times, as often as may be proposed, by a pair that never published
    // anything.
    let parents: Vec<SignedRecord> = (0..7)
        .flat_map(|number| [spend(coin(number), 1), close_of(coin(number), 1)])
        .collect();
    let mut records = vec![spend(coin(9), 1)];
    records.extend(parents.clone());
    let acceptance = payee.accept(records).await;
    println!(
        "a path of seven links accepted in {} ms",
        acceptance.elapsed_ms
    );
    assert_accepted(&acceptance);
    assert_eq!(acceptance.per_record.len(), 15);

    // Now the other branch cannot be sold: its close says something else.
    let other_close = close_of(coin(1), 2);
    let rival = client(&net, 1).await;
    let refused = rival
        .accept(vec![
            spend(coin(8), 1),
            parents[2].clone(),
            other_close.clone(),
        ])
        .await;
    assert_conflict(&refused, &other_close);
    // Its own spend was not put either.
    let slot = Slot::spend(&coin(8));
    let reading = rival.read_slot(&spend_key(coin(8)).public(), &slot).await;
    assert!(
        reading
            .places
            .iter()
            .all(|place| place.items.is_empty() && place.none >= 8)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coin_opened_with_two_payees_one_after_the_other_is_refused_by_the_second() {
    let net = MainlineNet::start(16).await;
    let (first, second) = (client(&net, 1).await, client(&net, 1).await);
    let (ours, theirs) = (spend(coin(1), 1), spend(coin(1), 2));
    assert_accepted(&first.accept(vec![ours.clone()]).await);
    let refused = second.accept(vec![theirs.clone()]).await;
    let other = assert_conflict(&refused, &theirs);
    assert!(ours.items().contains(&other));
    assert_eq!(refused.puts, 0);
    // And the first record still lies there alone.
    assert!(
        first
            .check_again(&[ours], Places::All)
            .await
            .conflict
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coin_opened_with_two_payees_at_once_is_never_accepted_by_both() {
    let net = MainlineNet::start(16).await;
    let (first, second) = (client(&net, 1).await, client(&net, 1).await);
    let accepted = race(&first, &second, RACES).await;
    println!("on mainline nodes, of two payees at once accepted: {accepted:?}");
    assert!(!accepted.contains(&2));
}

/// Opens coins with both payees at the same moment; how many of the two accepted, per coin.
/// As many as find room on one machine, each with a DHT client of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coin_opened_with_a_hundred_payees_at_once_is_accepted_by_one_at_most() {
    const PAYEES: u8 = 100;
    let net = MainlineNet::start(16).await;
    let payees = futures::future::join_all((0..PAYEES).map(|_| client(&net, 1))).await;
    let opening = (1..).zip(&payees);
    let opening = opening.map(|(number, payee)| payee.accept(vec![spend(coin(9), number)]));
    let said = futures::future::join_all(opening).await;
    let refused = said
        .iter()
        .filter(|said| matches!(said.verdict, Verdict::Conflict(_)));
    let (accepted, refused) = (count_accepted(&said), refused.count());
    println!("{accepted} of {PAYEES} payees accepted, {refused} saw another spend");
    assert!(accepted <= 1, "{accepted} accepted");
    assert!(
        refused >= usize::from(PAYEES) / 2,
        "{refused} saw a conflict"
    );
    // Who asks when it is over sees that it was spent.
    let late = client(&net, 1)
        .await
        .accept(vec![spend(coin(9), PAYEES + 1)])
        .await;
    assert!(matches!(late.verdict, Verdict::Conflict(_)), "{late:?}");
}

async fn race(first: &DhtNode, second: &DhtNode, coins: u8) -> Vec<usize> {
    let mut accepted = Vec::new();
    for number in 100..100 + coins {
        let (one, two) = (spend(coin(number), 1), spend(coin(number), 2));
        let (one_said, two_said) = tokio::join!(
            first.accept(vec![one.clone()]),
            second.accept(vec![two.clone()])
        );
        for (said, record) in [(&one_said, &one), (&two_said, &two)] {
            if said.verdict != Verdict::Accepted {
                assert_conflict(said, record);
            }
        }
        accepted.push(count_accepted(&[one_said, two_said]));
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_than_eight_nodes_leave_a_spend_undecided() {
    let net = MainlineNet::start(6).await;
    let payee = client_of(&net.bootstrap(), 1, 1_500).await;
    let acceptance = payee.accept(vec![spend(coin(1), 1)]).await;
    assert!(
        matches!(acceptance.verdict, Verdict::Undecided { .. }),
        "{acceptance:?}"
    );
    assert_eq!(acceptance.puts, 0);
    assert!(acceptance.elapsed_ms >= 1_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_the_key_signed_at_a_lower_seq_is_a_conflict_too() {
    let net = MainlineNet::start(12).await;
    let payee = client(&net, 1).await;
    let squatter = at_seq(&spend(coin(1), 2), 1, 5, &spend_key(coin(1)));
    assert!(net.put(&squatter).await >= 6);
    let ours = spend(coin(1), 1);
    let refused = payee.accept(vec![ours.clone()]).await;
    assert_eq!(assert_conflict(&refused, &ours), squatter);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_that_shows_another_signed_item_is_enough_to_refuse() {
    let net = MainlineNet::start(12).await;
    let hidden = spend(coin(1), 2).items();
    let liar = Liar::start(answer_of(&hidden[2])).await;
    let mut bootstrap = net.bootstrap();
    bootstrap.insert(0, liar.addr().to_string());
    let payee = client_of(&bootstrap, 1, 20_000).await;
    let ours = spend(coin(1), 1);
    let refused = payee.accept(vec![ours.clone()]).await;
    assert_eq!(assert_conflict(&refused, &ours), hidden[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_forged_answers_are_counted_and_refuse_nobody() {
    let net = MainlineNet::start(12).await;
    let mut forged = spend(coin(1), 2).items()[0].clone();
    forged.signature.0[7] ^= 1;
    let liars = [
        Liar::start(answer_of(&forged)).await,
        // A seq without a value, as a node does that holds an older item.
        Liar::start("3:seqi5e".into()).await,
    ];
    let mut bootstrap: Vec<String> = liars.iter().map(|liar| liar.addr().to_string()).collect();
    bootstrap.push(net.bootstrap().remove(0));
    let payee = client_of(&bootstrap, 1, 20_000).await;
    assert_accepted(&payee.accept(vec![spend(coin(1), 1)]).await);
    assert!(payee.counters().invalid_answers > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_junk_neither_blocks_nor_blinds_a_wallet_that_reads_its_slot() {
    let net = MainlineNet::start(12).await;
    let mut forged = spend(coin(1), 2).items()[0].clone();
    forged.signature.0[7] ^= 1;
    let liar = Liar::start(answer_of(&forged)).await;
    let mut bootstrap = net.bootstrap();
    bootstrap.insert(0, liar.addr().to_string());
    let wallet = client_of(&bootstrap, 1, 20_000).await;
    wallet.settled(12, Duration::from_secs(10)).await;
    let (key, slot) = (spend_key(coin(1)).public(), Slot::spend(&coin(1)));
    let reading = SlotReader::read(&wallet, &key, &slot).await;
    assert!(wallet.counters().invalid_answers > 0, "it was heard");
    assert!(
        reading.is_complete && reading.items.is_empty(),
        "{reading:?}"
    );
    let ours = spend(coin(1), 1).items();
    assert!(rogue::put(&net.addrs()[..1], &ours[2], Form::Signed).await == 1);
    let reading = SlotReader::read(&wallet, &key, &slot).await;
    assert_eq!(
        reading.items,
        ours[2..],
        "one honest node is enough to see it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_nodes_keep_the_first_record() {
    let net = MainlineNet::start(12).await;
    let (first, second) = (client(&net, 1).await, client(&net, 1).await);
    let (ours, theirs) = (spend(coin(1), 1), spend(coin(1), 2));
    assert_accepted(&first.accept(vec![ours.clone()]).await);
    for item in ours.items() {
        assert!(net.put(&item).await >= 6, "the same again is taken");
    }
    for item in theirs.items() {
        assert!(net.put(&item).await < 3, "only where nothing lay before");
    }
    let refused = second.accept(vec![theirs.clone()]).await;
    assert_conflict(&refused, &theirs);
    let again = first.check_again(&[ours], Places::All).await;
    println!("{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_rewritten_after_acceptance_is_noticed_by_the_watch() {
    let net = MainlineNet::overwritable(12).await;
    let payee = client(&net, 1).await;
    let ours = spend(coin(1), 1);
    assert_accepted(&payee.accept(vec![ours.clone()]).await);
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let watch = Watch::start(payee, vec![ours.clone()], report);
    let theirs = spend(coin(1), 2).items();
    for item in &theirs {
        assert!(net.put(item).await >= 6);
    }
    let seen = tokio::time::timeout(Duration::from_secs(20), reports.recv()).await;
    let seen = seen.expect("the check at 5 s").expect("a report");
    assert_eq!(seen.spend, ours.commitment());
    assert!(ours.items().contains(&seen.ours) && theirs.contains(&seen.other));
    drop(watch);
}

/// On nodes that all let a record be overwritten, whenever that is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_rewritten_after_acceptance_is_accepted_by_no_second_payee() {
    let net = MainlineNet::overwritable(16).await;
    let (first, second) = (client(&net, 1).await, client(&net, 1).await);
    for number in 0..4 {
        let (ours, theirs) = (spend(coin(number), 1), spend(coin(number), 2));
        assert_accepted(&first.accept(vec![ours.clone()]).await);
        for item in theirs.items() {
            assert!(net.put(&item).await >= 8);
        }
        assert_not_first(&second.accept(vec![theirs.clone()]).await);
        // The first sees it and puts its own again, which the second then sees.
        let seen = first
            .check_again(std::slice::from_ref(&ours), Places::All)
            .await;
        let (own, other) = seen.conflict.expect("both items");
        assert!(ours.items().contains(&own) && theirs.items().contains(&other));
        assert_conflict(&second.accept(vec![theirs.clone()]).await, &theirs);
        // What was rewritten back by the cheat is no better.
        for item in theirs.items() {
            assert!(net.put(&item).await >= 8);
        }
        assert_not_first(&second.accept(vec![theirs]).await);
    }
}

/// Whoever earned it, with all records of its path in order.
fn passed_on(holding: HoldingId) -> Vec<SignedRecord> {
    vec![
        spend(holding.payee_share(), 1),
        spend(holding, 1),
        close_of(holding, 5),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_passed_on_is_accepted_only_where_nodes_keep_the_first_record() {
    for (net, keep) in [
        (MainlineNet::start(12).await, true),
        (MainlineNet::overwritable(12).await, false),
    ] {
        let payee = client(&net, 1).await;
        for number in 0..2 {
            let said = payee.accept(passed_on(coin(number))).await;
            match keep {
                true => assert_accepted(&said),
                false => {
                    let why = Doubt::Overwritable;
                    assert_eq!(said.verdict, Verdict::Undecided { why });
                }
            }
        }
        // A coin as it was bought is accepted on both.
        assert_accepted(&payee.accept(vec![spend(coin(9), 1)]).await);
    }
}

/// All nodes stop for ten minutes and come back with nothing stored. A second counts as a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_and_its_watches_go_on_after_the_dht_was_gone_for_ten_minutes() {
    let net = MainlineNet::start(12).await;
    let payee = DhtNode::start(DhtConfig {
        bind: "127.0.0.1:0".parse().expect("an address"),
        bootstrap: net.bootstrap(),
        accept_deadline_ms: 2_000,
        watch_tempo: 60,
        ..DhtConfig::default()
    });
    let payee = payee.await.expect("starts");
    let ours = spend(coin(1), 1);
    assert_accepted(&payee.accept(vec![ours.clone()]).await);
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let watch = Watch::start(payee.clone(), vec![ours.clone()], report);

    let addrs = net.addrs();
    drop(net);
    let gone = std::time::Instant::now();
    while gone.elapsed() < Duration::from_secs(10) {
        let said = payee.accept(vec![spend(coin(2), 1)]).await;
        assert!(
            matches!(said.verdict, Verdict::Undecided { .. }),
            "{said:?}"
        );
        assert_eq!(said.per_record[0].copies, [0; 3]);
    }
    assert!(!watch.is_finished());

    let net = MainlineNet::again(&addrs).await;
    let within = |limit_s: u64| Duration::from_secs(limit_s);
    let accepting = async {
        loop {
            let said = payee.accept(vec![spend(coin(2), 1)]).await;
            if said.verdict == Verdict::Accepted {
                return said;
            }
        }
    };
    let said = tokio::time::timeout(within(30), accepting).await;
    assert_accepted(&said.expect("what was undecided is accepted once the DHT is back"));
    // The watch puts the record again where the nodes have lost it.
    let reader = client(&net, 1).await;
    let items = ours.items();
    let restoring = async {
        loop {
            let reading = reader.read_slot(&ours.signer, &ours.slot).await;
            let mut places = reading.places.iter().zip(&items);
            if places.all(|(place, item)| place.copies_of(item) >= 4) {
                return reading;
            }
        }
    };
    let reading = tokio::time::timeout(within(60), restoring).await;
    let reading = reading.expect("the record lies there again");
    assert!(reading.is_sure(reader.min_answers()), "{reading:?}");
    assert!(reading.items().all(|(item, _)| item.is_copy_of(&items[0])));
    // And it still sees what should not be there.
    for item in &spend(coin(1), 2).items() {
        assert!(net.put(item).await >= 6);
    }
    let seen = tokio::time::timeout(within(30), reports.recv()).await;
    let seen = seen.expect("in time").expect("a report");
    assert_eq!(seen.spend, ours.commitment());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn putting_again_restores_a_record_that_nodes_lost() {
    let net = MainlineNet::start(12).await;
    let payee = client(&net, 1).await;
    let ours = spend(coin(1), 1);
    // Nothing was put yet: as if all nodes that held it were gone.
    let check = payee
        .check_again(std::slice::from_ref(&ours), Places::One(1))
        .await;
    assert_eq!(check.per_record[0].copies, [0; 3]);
    let check = payee
        .check_again(std::slice::from_ref(&ours), Places::All)
        .await;
    let [first, second, third] = check.per_record[0].copies;
    assert!(first == 0 && second >= 4 && third == 0, "{check:?}");
    assert_accepted(&payee.publish(ours).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_found_through_the_tracker_and_private_torrents_are_not() {
    use dpay::dht::tracker::Tracker;
    use dpay::units::InfoHash;
    let net = MainlineNet::start(12).await;
    let private = InfoHash([0xff; 20]);
    let public = InfoHash(*b"% &=+\x00\xff0123456789abc");
    let is_private = std::sync::Arc::new(move |info_hash: &InfoHash| *info_hash == private);
    let seeder = Tracker::start(client(&net, 1).await, 40_001, is_private.clone())
        .await
        .expect("starts");
    let leecher = Tracker::start(client(&net, 1).await, 40_002, is_private)
        .await
        .expect("starts");

    assert_eq!(
        support::announce(seeder.url(), &public, 1).await,
        b"d8:intervali5e5:peers0:e"
    );
    let found = b"d8:intervali30e5:peers6:\x7f\0\0\x01\x9c\x41e";
    let asking = async { while support::announce(leecher.url(), &public, 1).await != found {} };
    let asked = tokio::time::timeout(Duration::from_secs(10), asking).await;
    asked.expect("the leecher finds the seeder and nobody else");

    // What is seeded is left in peace once it is announced; what is not complete is looked for.
    let rests = async {
        loop {
            let answer = support::announce(seeder.url(), &public, 0).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let seconds = answer
                .strip_prefix("d8:intervali")
                .and_then(|a| a.split('e').next());
            let seconds: u32 = seconds.and_then(|s| s.parse().ok()).expect("an interval");
            if seconds >= 590 {
                return seconds;
            }
        }
    };
    let rests = tokio::time::timeout(Duration::from_secs(10), rests).await;
    assert!(rests.expect("it is announced") <= 900);
    let asked = support::announce(seeder.url(), &public, 1).await;
    let soon = [&b"d8:intervali5e"[..], b"d8:intervali30e"];
    assert!(soon.iter().any(|soon| asked.starts_with(soon)));

    let refused = support::announce(leecher.url(), &private, 1).await;
    assert!(refused.starts_with(b"d14:failure reason"));
    let guessed = format!("http://{}/announce", leecher.addr());
    assert!(support::announce(&guessed, &public, 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_libtorrent_nodes_the_first_spend_is_accepted_and_stays() {
    let net = support::libtorrent_net(40).await;
    let first = client_of(net.bootstrap(), 2, 30_000).await;
    let second = client_of(net.bootstrap(), 2, 30_000).await;
    let mut elapsed_ms = Vec::new();
    for number in 0..6 {
        let acceptance = first.accept(vec![spend(coin(number), 1)]).await;
        assert_accepted(&acceptance);
        elapsed_ms.push(acceptance.elapsed_ms);
    }
    println!("accepted on 40 libtorrent nodes in {elapsed_ms:?} ms");

    for number in 0..3 {
        let theirs = spend(coin(number), 2);
        assert_conflict(&second.accept(vec![theirs.clone()]).await, &theirs);
    }

    // Written again at every node, without cas: where the first value lies it stays.
    for item in spend(coin(0), 2).items() {
        rogue::put(&net.addrs, &item, Form::Signed).await;
    }
    let check = first.check_again(&[spend(coin(0), 1)], Places::All).await;
    let copies = check.per_record[0].copies;
    assert!(copies.iter().all(|copies| *copies >= 8), "{check:?}");

    // Unsigned junk under the slot's targets hides the record from a query without seq, not from us.
    for item in spend(coin(1), 1).items() {
        assert!(rogue::put(&net.addrs, &item, Form::UnsignedJunk).await >= 8);
    }
    let theirs = spend(coin(1), 2);
    assert_conflict(&second.accept(vec![theirs.clone()]).await, &theirs);
    // Nor does junk that was there before keep an honest record out.
    for item in spend(coin(50), 1).items() {
        assert!(rogue::put(&net.addrs, &item, Form::UnsignedJunk).await >= 8);
    }
    assert_accepted(&first.accept(vec![spend(coin(50), 1)]).await);

    let squatter = at_seq(&spend(coin(60), 2), 0, 5, &spend_key(coin(60)));
    assert!(rogue::put(&net.addrs, &squatter, Form::Signed).await >= 8);
    let ours = spend(coin(60), 1);
    assert_eq!(
        assert_conflict(&first.accept(vec![ours.clone()]).await, &ours),
        squatter
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_libtorrent_nodes_two_payees_at_once_never_both_accept() {
    let net = support::libtorrent_net(40).await;
    let first = client_of(net.bootstrap(), 1, 30_000).await;
    let second = client_of(net.bootstrap(), 1, 30_000).await;
    let accepted = race(&first, &second, RACES).await;
    println!("on libtorrent nodes, of two payees at once accepted: {accepted:?}");
    assert!(!accepted.contains(&2));
}

/// The campaign as a user runs it; the long one is the command itself.
async fn campaign(args: &str) -> serde_json::Value {
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_dpay"))
        .args(["bench", "double-spend", "--json"])
        .args(args.split_whitespace())
        .output();
    let run = tokio::time::timeout(Duration::from_secs(120), run).await;
    let run = run.expect("ends").expect("runs");
    let said = String::from_utf8_lossy(&run.stdout);
    let report: serde_json::Value = serde_json::from_str(&said).expect("one JSON object");
    assert!(run.status.success(), "{report}");
    report
}

/// Each attack on a net of forty nodes: nobody accepts what another has accepted, and the conflict is shown.
async fn nobody_both_accepts_on_forty(net: &str) {
    const TRIALS: u64 = 2;
    // With the number of payees, of both trials, that accept; none: what comes first is chance.
    let attacks = [
        ("at-once", None),
        ("in-turn", Some(TRIALS)),
        ("rewriting", Some(TRIALS)),
        ("junk", Some(TRIALS)),
        ("squatter", Some(0)),
        ("in-advance", None),
    ];
    let mut args = format!("--net {net} --nodes 40 --trials {TRIALS}");
    for (attack, _) in attacks {
        args += &format!(" --attack {attack}");
    }
    let report = campaign(&args).await;
    assert_eq!(report["nodes"], 40);
    let rows = report["attacks"].as_array().expect("a row an attack");
    assert_eq!(rows.len(), attacks.len(), "{report}");
    for (row, (attack, accepted)) in rows.iter().zip(attacks) {
        assert_eq!(row["attack"], attack, "{row}");
        assert_eq!(row["trials"], TRIALS, "{row}");
        assert_eq!(row["both_accepted"], 0, "{row}");
        assert_eq!(row["conflict_shown"], TRIALS, "{row}");
        // Where all is overwritten, the second payee finds nothing else: the first one sees it later.
        if net == "mainline" && attack == "rewriting" {
            assert_eq!(row["conflict_shown_at_next_look"], TRIALS, "{row}");
        }
        if let Some(accepted) = accepted {
            assert_eq!(row["one_accepted"], accepted, "{row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_payees_accept_on_forty_libtorrent_nodes() {
    nobody_both_accepts_on_forty("libtorrent").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_payees_accept_on_forty_nodes_that_overwrite() {
    nobody_both_accepts_on_forty("mainline").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_payees_accept_on_forty_nodes_of_both_kinds() {
    nobody_both_accepts_on_forty("mixed").await;
}

/// On a net in which half of the nodes show each payee only what it put, and all are some way off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_double_spend_campaign_says_what_it_saw_among_hostile_nodes() {
    let args = "--nodes 24 --trials 2 --round-trip-ms 20 --hostile-percent 50 \
                --attack at-once --attack in-turn --attack squatter";
    let report = campaign(args).await;
    let attacks = report["attacks"].as_array().expect("a row an attack");
    assert_eq!(attacks.len(), 3);
    for attack in attacks {
        assert_eq!(attack["trials"], 2, "{attack}");
        assert_eq!(attack["both_accepted"], 0, "{attack}");
        assert_eq!(attack["conflict_shown"], 2, "{attack}");
        assert!(
            attack["request_round_trip_ms"].as_f64() >= Some(20.0),
            "{attack}"
        );
    }
    // What lies there alone is accepted, after a look-up, a put and another look-up.
    assert_eq!(attacks[1]["one_accepted"], 2, "{report}");
    let trips = attacks[1]["acceptance_round_trips"]["median"].as_f64();
    let trips = trips.expect("a number");
    // Within six on a machine that does nothing else, as the command prints; twice as many on a busy one.
    assert!((3.0..=12.0).contains(&trips), "{report}");
}

#[test]
fn the_helpers_make_rival_records_of_one_coin() {
    let (one, two) = (spend(coin(1), 1), spend(coin(1), 2));
    assert!(one.verify() && two.verify());
    assert_eq!((one.signer, one.slot), (two.signer, two.slot));
    assert_ne!(one.value, two.value);
}
