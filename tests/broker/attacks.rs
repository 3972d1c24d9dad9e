//! Attacks that a broker has to stop by itself, over HTTP, with its books in a file and slots in a real DHT: closes
//! that are signed again, late, or twice, keys that prove nothing, payers that keep silent, and trees of all shapes.

use std::collections::BTreeSet;
use std::time::Instant;

use dpay::broker::answer::{
    ConflictShown, HoldingStatus, ItemAnswer, NoticeKind, Refusal, RefusalCode,
};
use dpay::broker::spent::SpentList;
use dpay::broker::{RequestId, Terms};
use dpay::coin::{ChainValue, PseudonymCertificate, PublicKey, RecordKey, SecretKey};
use dpay::http::broker::RateLimit;
use dpay::record::{FraudProof, Link, OpenSpend, Path, Slot};
use dpay::store::broker::SqliteLimits;
use dpay::units::Units;

use crate::anew::close_anew;
use crate::cases::{DAY_MS, Net, WAIT, house, once_decided, redeemed, terms};
use crate::house::{House, Person};

/// Whom a conflict shows to have signed twice.
fn shown(house: &House, conflict: &ConflictShown) -> PublicKey {
    let proof = hex::decode(&conflict.proof).unwrap();
    let broker = house.key().public();
    let proof = FraudProof::decode(&proof).unwrap();
    proof.verify(&|key| *key == broker).unwrap()
}

fn contested(house: &House, answer: ItemAnswer) -> PublicKey {
    let ItemAnswer::Contested { conflict, .. } = answer else {
        panic!("{answer:?}")
    };
    shown(house, &conflict.unwrap())
}

fn refused(answer: ItemAnswer) -> Refusal {
    match answer {
        ItemAnswer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The slot of the close of a path's last link, and c of that close.
fn close_of(path: &Path) -> (Slot, dpay::coin::Commitment) {
    let close = path.records().pop().unwrap();
    (close.slot, close.commitment())
}

async fn judged() -> (Net, House) {
    let (net, house) = tokio::join!(Net::start(), house());
    let house = house.restart_with(Some(net.referee().await)).await;
    (net, house)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_closes_of_one_spend_are_decided_by_the_dht_and_shown_against_the_payee() {
    let (net, house) = judged().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 64).await;
    // What Alice was given lies in the DHT; Bob redeems by another close, of more.
    let [low, change] = alice.pay(&coin, &bob, 10, 1).await;
    let [high, _] = alice.pay(&coin, &bob, 60, 1).await;
    net.publish(&low).await;
    assert_eq!(redeemed(&bob, 1, &high).await, 60);
    let signer = contested(&house, alice.redeem(2, &change).await);
    assert_eq!(signer, bob.key.public());
    let decided = once_decided(&alice, 2, &change).await;
    assert!(
        matches!(
            decided,
            ItemAnswer::Redeemed {
                units: Units(54),
                ..
            }
        ),
        "{decided:?}"
    );
    assert_eq!(bob.money().await, (0, 0), "what was too much went back");
    assert_eq!(redeemed(&bob, 3, &low).await, 10);
    let (slot, c) = close_of(&low);
    assert_eq!(bob.client.spent_entry(&slot).await.unwrap().c, Some(c));
    let (told, _) = bob.client.notices(0).await.unwrap();
    let is_warned = |kind: &NoticeKind| matches!(kind, NoticeKind::Warned { .. });
    assert!(told.iter().any(|notice| is_warned(&notice.what)));
    assert_eq!(alice.money().await, (5_000 - 1_000 - 64, 54));
    assert!(house.audit().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_comes_forty_days_late_takes_nothing_from_who_was_paid_with_the_change() {
    let (net, house) = judged().await;
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let mut sold = Vec::new();
    for id in [1, 2] {
        let coin = alice.buy(id, 256).await;
        // Alice and Bob are one: he signs a second close, of a larger change, whenever it pays.
        let [_, change] = alice.pay(&coin, &bob, 100, id).await;
        let [_, larger] = alice.pay(&coin, &bob, 10, id).await;
        let [to_carol, _] = alice.pay(&change, &carol, 150, id).await;
        net.publish(&to_carol).await;
        sold.push((larger, to_carol));
    }
    // Of the first coin Carol showed the broker in time what she was paid.
    let shown = carol.client.present(vec![(sold[0].1.clone(), None)]).await;
    let (shown, _) = shown.unwrap();
    assert!(matches!(shown[0], ItemAnswer::Presented { .. }));

    house.pass_ms(40 * DAY_MS);
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    let refusal = refused(alice.redeem(3, &sold[0].0).await);
    assert_eq!(refusal.code, RefusalCode::Conflict);
    let conflict = refusal.conflict.unwrap();
    assert!(!conflict.within_hold, "it stands for good");
    assert_eq!(self::shown(&house, &conflict), bob.key.public());
    assert_eq!(redeemed(&carol, 1, &sold[0].1).await, 150);

    // Of the second one she showed nothing: it is credited to Alice at first, but within the hold Carol finds on
    // the spent list what stands against her, and the DHT has what she was paid with.
    assert_eq!(redeemed(&alice, 4, &sold[1].0).await, 246);
    house.pass_ms(2 * DAY_MS - 60_000);
    let [alice, bob, carol] = [1, 2, 3].map(|n| house.person(n));
    let mut list = SpentList::new(house.key().public());
    carol.client.refresh_spent(&mut list).await.unwrap();
    let close = &sold[1].1.records()[1];
    assert!(list.contradicts(&close.slot, &close.commitment()));
    let signer = contested(&house, carol.redeem(2, &sold[1].1).await);
    assert_eq!(signer, bob.key.public());
    let decided = once_decided(&carol, 2, &sold[1].1).await;
    assert!(
        matches!(
            decided,
            ItemAnswer::Redeemed {
                units: Units(150),
                ..
            }
        ),
        "{decided:?}"
    );
    assert_eq!(alice.money().await, (5_000 - 1_000 - 512, 0));
    assert_eq!(carol.money().await, (0, 300));
    house.pass_ms(2 * DAY_MS);
    assert_eq!(house.person(3).money().await, (300, 0));
    assert!(house.audit().await.balanced);
}

#[tokio::test]
async fn one_close_under_many_signatures_is_one_close_and_credited_once() {
    let house = house().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let [to_bob, change] = alice.pay(&coin, &bob, 100, 1).await;
    let holding = coin.holding().unwrap();
    let Link { spend, close, role } = to_bob.links[0];
    let first = bob.redeem(1, &to_bob).await;
    for nonce in 1..=6 {
        let close = close_anew(&bob.key, &holding.id, &spend, &close, nonce);
        let again = coin.extend(Link { role, spend, close });
        assert_ne!(again.encode(), to_bob.encode());
        assert_eq!(again.holding(), to_bob.holding(), "one share in one slot");
        assert_eq!(bob.redeem(1 + nonce, &again).await, first);
    }
    assert_eq!(bob.money().await, (0, 100));
    let shown = alice.client.holding(coin.coin.id()).await.unwrap();
    assert_eq!(shown.state, HoldingStatus::Split, "the close is one");
    assert_eq!(redeemed(&alice, 2, &change).await, 156);
    assert!(house.audit().await.balanced);
}

/// All keys of small order, under which anybody can sign: each point in its canonical encoding.
fn weak_keys() -> [PublicKey; 8] {
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ]
    .map(|hex| PublicKey(hex::decode(hex).unwrap().try_into().unwrap()))
}

#[tokio::test]
async fn keys_that_anybody_can_sign_for_get_no_coin_no_certificate_and_no_share() {
    let house = house().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 64).await;
    let holding = coin.holding().unwrap();
    let [to_bob, _] = alice.pay(&coin, &bob, 10, 1).await;
    for (n, weak) in (10..).zip(weak_keys()) {
        let order = vec![(Units(16), weak)];
        let sold = alice.client.purchase(RequestId([n; 16]), order).await;
        let sold = sold.unwrap_err();
        let certified = bob.client.certify(vec![weak]).await.unwrap_err();
        for error in [sold, certified] {
            let refusal = error.refusal().expect("a signed refusal");
            assert_eq!(refusal.code, RefusalCode::HolderKey, "{weak}");
        }
        // As if the broker had certified it all the same.
        let until = dpay::clock::now().day().plus(30);
        let certificate = PseudonymCertificate::issue(&house.key(), weak, until);
        let anchor = to_bob.links[0].spend.anchor;
        let key = RecordKey([n; 32]);
        let spend = OpenSpend::sign(&alice.key, &holding.id, certificate, anchor, key);
        let link = Link {
            spend,
            ..to_bob.links[0]
        };
        let refusal = refused(bob.redeem(n, &coin.extend(link)).await);
        assert_eq!(refusal.code, RefusalCode::Invalid, "{weak}");
    }
    assert_eq!(bob.money().await, (0, 0));
    assert_eq!(redeemed(&bob, 1, &to_bob).await, 10);
}

#[tokio::test]
async fn a_share_whose_payee_another_broker_certified_is_refused() {
    let house = house().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 64).await;
    let [to_bob, _] = alice.pay(&coin, &bob, 10, 1).await;
    let Link { mut spend, .. } = to_bob.links[0];
    let stranger = SecretKey::from_bytes([9; 32]);
    let until = spend.payee_certificate.expires;
    // The certificate is no part of what is signed: only it differs.
    spend.payee_certificate = PseudonymCertificate::issue(&stranger, bob.key.public(), until);
    let link = Link {
        spend,
        ..to_bob.links[0]
    };
    let refusal = refused(bob.redeem(1, &coin.extend(link)).await);
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert_eq!(redeemed(&bob, 2, &to_bob).await, 10);
}

/// 60 days after its purchase and a hold: not a moment before, by itself, and whatever the payer keeps to itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_coin_is_settled_sixty_days_and_a_hold_after_it_was_bought_and_not_a_moment_before() {
    const HOLD_MS: u64 = 3_600_000;
    /// More than the broker needs to look at all coins several times.
    const MOMENT_MS: u64 = 30_000;
    let terms = Terms {
        hold_ms: HOLD_MS,
        ..terms()
    };
    let house = House::with(terms, SqliteLimits::default(), RateLimit::default()).await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let bought = dpay::clock::now();
    let untouched = alice.buy(1, 64).await;
    let coin = alice.buy(2, 256).await;
    // Bob shows what he was paid; Alice, to whom the whole coin would go if he did not, shows nothing.
    let [to_bob, _] = alice.pay(&coin, &bob, 200, 1).await;
    let shown = bob.client.present(vec![(to_bob, None)]).await.unwrap();
    assert!(matches!(shown.0[0], ItemAnswer::Presented { .. }));
    // What is pending tells when the broker has looked.
    let other = alice.buy(3, 16).await;
    redeemed(&alice, 4, &other).await;

    let day = untouched.coin.issued.0.max(coin.coin.issued.0);
    let settles_ms = u64::from(day + 60) * DAY_MS + HOLD_MS;
    assert!(
        settles_ms < bought.0 + 61 * DAY_MS,
        "61 days later it is over"
    );
    house.pass_ms(settles_ms - MOMENT_MS - dpay::clock::now().0);
    let house = house.restart().await;
    let started = Instant::now();
    while house.audit().await.pending > 0 {
        assert!(started.elapsed() < WAIT, "the broker never looks");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(house.audit().await.outstanding, 64 + 256, "not before");
    assert!(
        started.elapsed().as_millis() < u128::from(MOMENT_MS),
        "a slow machine"
    );

    house.pass_ms(MOMENT_MS);
    let house = house.restart().await;
    let started = Instant::now();
    while house.audit().await.outstanding > 0 {
        assert!(started.elapsed() < WAIT, "never settled");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    assert_eq!(bob.money().await, (200, 0));
    assert_eq!(alice.money().await, (5_000 - 1_000 - 200, 0));
    assert!(house.audit().await.balanced);
}

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }
}

/// Who holds what, and whether its one statement is made.
struct Tree {
    held: Vec<(usize, Path)>,
    used: BTreeSet<dpay::coin::HoldingId>,
}

impl Tree {
    /// One of them about which nothing is said yet.
    fn pick(&mut self, dice: &mut Dice) -> Option<(usize, Path)> {
        let (who, path) = self.held[dice.below(self.held.len())].clone();
        let id = path.holding().unwrap().id;
        (path.links.len() < 8 && self.used.insert(id)).then_some((who, path))
    }
}

async fn one_step(house: &House, people: &[Person; 4], tree: &mut Tree, dice: &mut Dice, id: u8) {
    match dice.below(20) {
        0..11 => {
            let Some((who, path)) = tree.pick(dice) else {
                return;
            };
            let payee = dice.below(4);
            let value = path.holding().unwrap().value.0;
            let k = dice.below(value as usize + 1) as u32;
            let parts = people[who].pay(&path, &people[payee], k, 1).await;
            for (who, part) in [payee, who].into_iter().zip(parts) {
                if part.holding().is_ok_and(|holding| holding.value.0 > 0) {
                    tree.held.push((who, part));
                }
            }
        }
        11..14 => {
            if let Some((who, path)) = tree.pick(dice) {
                people[who].redeem(id, &path).await;
            }
        }
        14..18 => {
            let (who, path) = tree.held[dice.below(tree.held.len())].clone();
            let asked = people[who].client.present(vec![(path, None)]).await;
            asked.unwrap();
        }
        18 => {
            // Locked, and never closed.
            if let Some((who, path)) = tree.pick(dice) {
                let certificate = people[dice.below(4)].certificate().await;
                let (anchor, key) = (ChainValue([id; 32]), RecordKey([id; 32]));
                let holding = path.holding().unwrap().id;
                let open = OpenSpend::sign(&people[who].key, &holding, certificate, anchor, key);
                let asked = people[who].client.present(vec![(path, Some(open))]).await;
                asked.unwrap();
            }
        }
        _ => house.pass_ms(dice.below(5) as u64 * 100_000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_on_its_file_settles_trees_of_all_shapes_at_exactly_their_value() {
    const DEPOSIT: u64 = 20_000;
    const BOND: u64 = 4_000;
    for seed in [1, 0x9e37_79b9_7f4a_7c15] {
        let (mut dice, terms) = (
            Dice(seed),
            Terms {
                bond: Units(BOND),
                ..terms()
            },
        );
        let limit = RateLimit {
            per_second: 0,
            burst: 0,
        };
        let house = House::with(terms, SqliteLimits::default(), limit).await;
        let mut people = [1, 2, 3, 4].map(|n| house.person(n));
        house.deposit(&people[0], DEPOSIT, "one").await;
        let mut tree = Tree {
            held: Vec::new(),
            used: BTreeSet::new(),
        };
        let mut sold = 0;
        for id in 0..8 {
            let value = [16, 64, 256][dice.below(3)];
            sold += value;
            tree.held.push((0, people[0].buy(id, value).await));
        }
        for id in 10..90 {
            one_step(&house, &people, &mut tree, &mut dice, id).await;
            if id % 30 == 0 {
                house.pass_ms(9 * DAY_MS);
            }
            people = [1, 2, 3, 4].map(|n| house.person(n));
        }
        let before = house.audit().await;
        assert!(before.balanced && before.outstanding > 0, "{before:?}");
        house.pass_ms(62 * DAY_MS);
        let house = house.restart().await;
        let started = Instant::now();
        loop {
            let report = house.audit().await;
            assert!(report.balanced, "seed {seed}: {:?}", report.faults);
            if (report.outstanding, report.pending) == (0, 0) {
                break;
            }
            assert!(started.elapsed() < WAIT, "never settled: {report:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let mut all = 0;
        for n in 1..=4 {
            all += house.person(n).money().await.0;
        }
        let (coins, parts) = (8, tree.held.len());
        assert_eq!(
            all,
            DEPOSIT - BOND,
            "{sold} units in {coins} coins, {parts} parts"
        );
        assert!(parts > 2 * coins, "{parts} parts are no trees");
    }
}
