//! Double spends over HTTP, decided by a real DHT; coins whose time is over; what a wallet asks after
//! it lost everything but its words.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dpay::broker::Terms;
use dpay::broker::answer::{
    CreditState, HoldingStatus, ItemAnswer, NoticeKind, ProofVerdict, RefusalCode,
};
use dpay::cashier::broker::rounds::Referee;
use dpay::cli::verify_proof::{self, VerifyProofArgs};
use dpay::coin::{
    ChainValue, CoinCertificate, PseudonymCertificate, PublicKey, RecordKey, SecretKey,
};
use dpay::dht::{DhtConfig, DhtNode, run_nodes};
use dpay::http::broker::RateLimit;
use dpay::record::{FraudProof, Holding, OpenSpend, Path, ProofCertificate, Slot, Verdict};
use dpay::store::broker::SqliteLimits;
use dpay::units::Units;

use crate::house::{House, Person};

pub const DAY_MS: u64 = 86_400_000;
pub const WAIT: Duration = Duration::from_secs(60);

pub fn terms() -> Terms {
    Terms {
        bond: Units(1_000),
        hold_ms: 2 * DAY_MS,
        contest_gap_ms: 500,
        ..Terms::default()
    }
}

pub async fn house() -> House {
    House::with(terms(), SqliteLimits::default(), RateLimit::default()).await
}

/// Sixteen nodes on loopback.
pub struct Net(Vec<DhtNode>);

impl Net {
    pub async fn start() -> Net {
        Net(run_nodes(16, Ipv4Addr::LOCALHOST).await.unwrap())
    }

    async fn client(&self) -> DhtNode {
        let config = DhtConfig {
            bind: "127.0.0.1:0".parse().unwrap(),
            bootstrap: self.0.iter().map(|node| node.addr().to_string()).collect(),
            ..DhtConfig::default()
        };
        let client = DhtNode::start(config).await.unwrap();
        assert!(client.settled(12, WAIT).await, "the net is there");
        client
    }

    pub async fn referee(&self) -> Referee {
        Referee {
            slots: Arc::new(self.client().await),
            min_answers: 8,
        }
    }

    /// All records of a path are put and read back.
    pub async fn publish(&self, path: &Path) {
        let accepted = self.client().await.accept(path.records()).await;
        assert_eq!(accepted.verdict, Verdict::Accepted);
    }
}

pub async fn redeemed(person: &Person, id: u8, path: &Path) -> u64 {
    match person.redeem(id, path).await {
        ItemAnswer::Redeemed { units, .. } => units.0,
        other => panic!("{other:?}"),
    }
}

/// Asks again with the same request until the contest is decided.
pub async fn once_decided(person: &Person, id: u8, path: &Path) -> ItemAnswer {
    let started = Instant::now();
    loop {
        let answer = person.redeem(id, path).await;
        if !matches!(answer, ItemAnswer::Contested { .. }) {
            return answer;
        }
        assert!(started.elapsed() < WAIT, "never decided");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contest_is_decided_by_what_the_dht_holds_also_by_a_broker_that_got_its_dht_later() {
    let (net, house) = tokio::join!(Net::start(), house());
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let [to_bob, _] = alice.pay(&coin, &bob, 100, 1).await;
    let [to_carol, _] = alice.pay(&coin, &carol, 200, 2).await;
    net.publish(&to_carol).await;
    redeemed(&bob, 1, &to_bob).await;
    let answer = carol.redeem(1, &to_carol).await;
    let ItemAnswer::Contested { conflict, .. } = answer else {
        panic!("{answer:?}")
    };
    let proof = hex::decode(conflict.unwrap().proof).unwrap();
    let proof = FraudProof::decode(&proof).unwrap();
    let broker = house.key().public();
    assert_eq!(proof.verify(&|key| *key == broker), Ok(alice.key.public()));
    let shown = alice.client.holding(coin.coin.id()).await.unwrap();
    assert_eq!(shown.state, HoldingStatus::Contested);
    assert_eq!(carol.money().await, (0, 0));
    assert!(house.audit().await.balanced);

    let house = house.restart_with(Some(net.referee().await)).await;
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    let answer = once_decided(&carol, 1, &to_carol).await;
    assert!(matches!(
        answer,
        ItemAnswer::Redeemed {
            units: Units(200),
            ..
        }
    ));
    assert_eq!(
        bob.money().await,
        (0, 0),
        "the DHT does not hold what he was given"
    );
    let ItemAnswer::Refused(refusal) = bob.redeem(2, &to_bob).await else {
        panic!()
    };
    assert_eq!(refusal.code, RefusalCode::Conflict);
    let (told, more) = bob.client.notices(0).await.unwrap();
    assert!(!more);
    let cancelled = |kind: &NoticeKind| matches!(kind, NoticeKind::CreditCancelled { .. });
    assert!(told.iter().any(|notice| cancelled(&notice.what)));
    let rest = bob.client.notices(told.len() as u64).await.unwrap();
    assert_eq!(rest, (Vec::new(), false));
    assert!(!alice.client.account().await.unwrap().suspended);
    let taken = bob.client.proof(&proof).await.unwrap();
    assert_eq!((taken.verdict, taken.known), (ProofVerdict::Warned, true));
    assert!(house.audit().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_loser_whose_record_is_in_the_slot_is_compensated_and_the_account_suspended() {
    let (net, house) = tokio::join!(Net::start(), house());
    let house = house.restart_with(Some(net.referee().await)).await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let untouched = alice.buy(2, 64).await;
    let [to_bob, _] = alice.pay(&coin, &bob, 100, 1).await;
    net.publish(&to_bob).await;
    redeemed(&alice, 3, &coin).await;
    house.pass_ms(2 * DAY_MS);
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    let ItemAnswer::Refused(refusal) = bob.redeem(1, &to_bob).await else {
        panic!()
    };
    assert!(!refusal.conflict.unwrap().within_hold);
    let started = Instant::now();
    while bob.money().await != (100, 0) {
        assert!(started.elapsed() < WAIT, "never compensated");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let account = alice.client.account().await.unwrap();
    assert!(account.suspended);
    assert_eq!(account.withdrawable, Units(0));
    let slot = Slot::spend(&untouched.coin.id());
    while bob
        .client
        .spent_entry(&slot)
        .await
        .unwrap()
        .c
        .is_none_or(|c| c.0 != [0; 32])
    {
        assert!(started.elapsed() < WAIT, "never withheld");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut list = dpay::broker::spent::SpentList::new(house.key().public());
    bob.client.refresh_spent(&mut list).await.unwrap();
    assert!(list.is_suspended(&alice.key.public()));
    assert_eq!(list.lookup(&slot), dpay::broker::spent::Listed::Withheld);
    assert!(house.audit().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_started_on_its_file_two_months_later_settles_every_coin_by_itself() {
    let house = house().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let untouched = alice.buy(1, 64).await;
    let coin = alice.buy(2, 256).await;
    let [to_bob, _] = alice.pay(&coin, &bob, 100, 1).await;
    bob.client
        .present(vec![(to_bob.clone(), None)])
        .await
        .unwrap();
    assert_eq!(house.audit().await.outstanding, 320);
    house.pass_ms(63 * DAY_MS);
    let house = house.restart().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    let started = Instant::now();
    while house.audit().await.outstanding > 0 {
        assert!(started.elapsed() < WAIT, "never settled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bob.money().await, (100, 0));
    assert_eq!(alice.money().await, (5_000 - 1_000 - 100, 0));
    let shown = alice.client.holding(untouched.coin.id()).await.unwrap();
    assert_eq!(shown.state, HoldingStatus::Settled);
    assert_eq!(shown.credit.unwrap().state, CreditState::Settled);
    assert!(house.audit().await.balanced);
}

#[tokio::test]
async fn a_wallet_that_has_only_its_words_finds_keys_coins_shares_and_changes() {
    let house = house().await;
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let untouched = alice.buy(2, 64).await;
    let [to_bob, change] = alice.pay(&coin, &bob, 100, 1).await;
    let [to_carol, rest] = bob.pay(&to_bob, &carol, 60, 1).await;
    redeemed(&carol, 1, &to_carol).await;

    let page = alice.client.recover(None).await.unwrap();
    assert_eq!(page.next, None);
    let keys: Vec<_> = page.keys.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [alice.key.public()]);
    assert_eq!(page.keys[0].1.unwrap().holder, alice.key.public());
    assert_eq!(page.coins, [untouched.coin]);
    let mut found: Vec<_> = page
        .holdings
        .iter()
        .map(|h| (&h.path, h.known.state))
        .collect();
    found.sort_by_key(|(path, _)| path.links.len());
    assert_eq!(found[0], (&coin, HoldingStatus::Split));
    assert_eq!(found[1], (&change, HoldingStatus::Unknown));
    assert_eq!(found.len(), 2);
    let split = page.holdings.iter().find(|h| h.path == coin).unwrap();
    assert_eq!(split.known.open, Some(to_bob.links[0].spend));
    assert_eq!(split.known.close, Some(to_bob.links[0].close));

    let page = bob.client.recover(None).await.unwrap();
    let mut paths: Vec<_> = page.holdings.iter().map(|h| h.path.clone()).collect();
    paths.sort_by_key(|path| path.links.len());
    assert_eq!(paths, [to_bob, rest]);
    let page = carol.client.recover(None).await.unwrap();
    assert_eq!(page.holdings.len(), 1);
    assert_eq!(page.holdings[0].path, to_carol);
    let known = &page.holdings[0].known;
    assert_eq!(known.state, HoldingStatus::Redeemed);
    assert_eq!(known.credit.as_ref().unwrap().units, Units(60));
    assert!(known.redeem.is_some());
}

#[tokio::test]
async fn proofs_of_other_brokers_and_pages_that_never_were_are_refused() {
    let house = house().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    let stranger = SecretKey::from_bytes([9; 32]);
    let (today, key) = (dpay::clock::now().day(), alice.key.public());
    let expires = today.plus(30);
    let coin = CoinCertificate::issue(&stranger, Units(64), key, today, expires, [0; 16]);
    let payee = PseudonymCertificate::issue(&stranger, bob.key.public(), expires);
    let [first, second] = [1, 2].map(|n| {
        let (anchor, record_key) = (ChainValue([n; 32]), RecordKey([n; 32]));
        let open = OpenSpend::sign(&alice.key, &coin.id(), payee, anchor, record_key);
        open.record(&Holding::of_coin(&coin)).items()[0].clone()
    });
    let proof = FraudProof::new(ProofCertificate::Coin(coin), first, second).unwrap();
    assert!(proof.verify(&|key| *key == stranger.public()).is_ok());
    let error = bob.client.proof(&proof).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, RefusalCode::Invalid);
    for after in ["x", "k1", "h"] {
        let page = bob.client.recover(Some(after.to_owned())).await;
        assert_eq!(page.is_ok(), after == "h", "{after}");
    }
}

/// What `dpay verify-proof` says about these bytes in a file.
fn verdict(dir: &std::path::Path, bytes: &[u8], broker_key: Option<PublicKey>) -> u8 {
    let file = dir.join("proof");
    std::fs::write(&file, bytes).unwrap();
    verify_proof::run(&VerifyProofArgs { file, broker_key }, true).unwrap()
}

#[tokio::test]
async fn a_proof_in_a_file_is_checked_with_nothing_but_the_brokers_key() {
    let house = house().await;
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let [to_bob, _] = alice.pay(&coin, &bob, 100, 1).await;
    let [to_carol, _] = alice.pay(&coin, &carol, 200, 2).await;
    redeemed(&bob, 1, &to_bob).await;
    let ItemAnswer::Contested { conflict, .. } = carol.redeem(1, &to_carol).await else {
        panic!()
    };
    let hex = conflict.unwrap().proof;
    let raw = hex::decode(&hex).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (key, other) = (house.key().public(), carol.key.public());
    for bytes in [
        raw.as_slice(),
        hex.as_bytes(),
        format!("{hex}\n").as_bytes(),
    ] {
        assert_eq!(verdict(dir.path(), bytes, Some(key)), 0);
        assert_eq!(verdict(dir.path(), bytes, None), 0);
        assert_eq!(verdict(dir.path(), bytes, Some(other)), 3);
    }
    for at in [3, 100, 200, raw.len() - 1] {
        let mut changed = raw.clone();
        changed[at] ^= 1;
        assert_eq!(verdict(dir.path(), &changed, Some(key)), 3, "byte {at}");
    }
    assert_eq!(verdict(dir.path(), b"no proof", Some(key)), 3);
    let args = VerifyProofArgs {
        file: dir.path().join("none"),
        broker_key: None,
    };
    assert!(verify_proof::run(&args, true).is_err());
}
