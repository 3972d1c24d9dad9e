//! What is left of coins when their time is over: exactly their value, whatever was done.

use proptest::prelude::*;

use super::book::{Book, Held, Person};
use crate::broker::Action;
use crate::broker::answer::{Answer, CreditState, HoldingStatus, ItemAnswer, NoticeKind};
use crate::coin::certificate::{COIN_LIFE_DAYS, REDEEM_GRACE_DAYS};
use crate::record::Slot;
use crate::units::Units;

const ALICE: Person = Person(0);
const BOB: Person = Person(1);
const HOLD_MS: u64 = 172_800_000;
const OVER_MS: u64 = (COIN_LIFE_DAYS + REDEEM_GRACE_DAYS) as u64 * 86_400_000 + HOLD_MS;

fn book() -> Book {
    let mut book = Book::new(HOLD_MS, 4_000);
    book.deposit(ALICE, 20_000);
    for n in 0..4 {
        let key = Person(n).key().public();
        book.ask(Person(n), book.certify(key)).unwrap();
    }
    book
}

fn shown(book: &mut Book, held: &Held) -> (HoldingStatus, Option<CreditState>) {
    let id = held.path.holding().unwrap().id;
    match book.ask(held.by, Action::Holding(id)) {
        Ok(Answer::Holding { holding }) => (holding.state, holding.credit.map(|c| c.state)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_part_of_a_coin_goes_to_the_account_behind_its_key() {
    let mut book = book();
    let untouched = book.buy(ALICE, 64).unwrap();
    let split = book.buy(ALICE, 256).unwrap();
    let [to_bob, change] = book.pay(&split, BOB, 100, 1);
    let (to_bob, change) = (to_bob.unwrap(), change.unwrap());
    book.present(&to_bob, None);
    let before = book.account(ALICE);
    assert_eq!(book.settle(), 0, "not yet");
    book.now = book.now.plus_ms(OVER_MS - 1);
    assert_eq!(book.settle(), 0, "presenting goes on");
    book.now = book.now.plus_ms(1);
    assert_eq!(book.settle(), 2);
    assert_eq!(book.settle(), 0, "once");
    assert_eq!(book.money(BOB), (100, 0));
    let alice = book.account(ALICE);
    assert_eq!(alice.balance.0, before.balance.0 + 64 + 156);
    assert_eq!(alice.outstanding, Units(0));
    let settled = (HoldingStatus::Settled, Some(CreditState::Settled));
    for held in [&untouched, &to_bob, &change] {
        assert_eq!(shown(&mut book, held), settled);
        assert!(matches!(
            book.redeem(held, 1),
            ItemAnswer::Redeemed { paid: true, .. }
        ));
    }
    let told = book.notices(BOB);
    assert!(matches!(
        told[..],
        [NoticeKind::Settled {
            units: Units(100),
            ..
        }]
    ));
    let report = book.audit();
    assert!(report.balanced, "{:?}", report.faults);
    assert_eq!(report.outstanding, 0);
}

#[test]
fn a_payer_that_presents_nothing_gains_nothing_by_it() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 200, 1);
    // Bob presents within the time; Alice never does.
    book.now = book.now.plus_ms(OVER_MS - 1);
    book.present(&to_bob.unwrap(), None);
    book.now = book.now.plus_ms(1);
    book.settle();
    assert_eq!(book.money(BOB), (200, 0));
    assert_eq!(book.account(ALICE).balance, Units(20_000 - 4_000 - 200));
    assert!(book.audit().balanced);
}

#[test]
fn a_contest_in_the_last_hold_is_decided_before_the_coin_is_settled() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 50, 1);
    let [to_carol, _] = book.pay(&coin, Person(2), 50, 2);
    book.now = book.now.plus_ms(OVER_MS - 2);
    book.present(&to_bob.unwrap(), None);
    book.now = book.now.plus_ms(1);
    let to_carol = to_carol.unwrap();
    let answer = book.present(&to_carol, None);
    assert!(matches!(answer, ItemAnswer::Contested { .. }));
    book.now = book.now.plus_ms(1_000);
    assert_eq!(book.settle(), 0);
    let carols = to_carol.path.records()[0].commitment();
    assert!(book.judge(Slot::spend(&coin.path.coin.id()), &[(carols, 9)]));
    assert_eq!(book.settle(), 1);
    assert_eq!(book.money(Person(2)), (50, 0));
    assert!(book.audit().balanced);
}

/// One thing done in a tree: which holding, to whom, how much, and what becomes of it.
#[derive(Clone, Debug)]
enum Done {
    Pay { held: usize, payee: u8, k: u32 },
    Redeem { held: usize },
    Present { held: usize },
    Open { held: usize, payee: u8 },
    Pass { ms: u64 },
}

fn done() -> impl Strategy<Value = Done> {
    let held = || any::<usize>();
    prop_oneof![
        5 => (held(), 0u8..4, 0u32..300).prop_map(|(held, payee, k)| Done::Pay { held, payee, k }),
        2 => held().prop_map(|held| Done::Redeem { held }),
        3 => held().prop_map(|held| Done::Present { held }),
        1 => (held(), 0u8..4).prop_map(|(held, payee)| Done::Open { held, payee }),
        1 => (0u64..9 * 86_400_000).prop_map(|ms| Done::Pass { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn settling_pays_exactly_the_value_over_random_trees_and_orders(
        values in prop::collection::vec(prop_oneof![Just(16u64), Just(64), Just(256)], 1..4),
        steps in prop::collection::vec(done(), 1..40),
    ) {
        let mut book = book();
        let mut pool: Vec<Held> = Vec::new();
        let mut sold = 0;
        for value in values {
            pool.push(book.buy(ALICE, value).unwrap());
            sold += value;
        }
        // Each holding is used once here: honest people, who present what they like.
        let mut used = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Done::Pay { held, payee, k } => {
                    let held = pool[held % pool.len()].clone();
                    let holding = held.path.holding().unwrap();
                    if held.path.links.len() < 8 && used.insert(holding.id) {
                        let k = k % (u32::try_from(holding.value.0).unwrap() + 1);
                        pool.extend(book.pay(&held, Person(payee), k, 1).into_iter().flatten());
                    }
                }
                Done::Redeem { held } => {
                    let held = pool[held % pool.len()].clone();
                    if used.insert(held.path.holding().unwrap().id) {
                        book.redeem(&held, 1);
                    }
                }
                Done::Present { held } => {
                    let held = pool[held % pool.len()].clone();
                    book.present(&held, None);
                }
                Done::Open { held, payee } => {
                    let held = pool[held % pool.len()].clone();
                    if used.insert(held.path.holding().unwrap().id) {
                        let (open, _) = book.open(&held, Person(payee), 1);
                        book.present(&held, Some(open));
                    }
                }
                Done::Pass { ms } => book.now = book.now.plus_ms(ms),
            }
        }
        book.now = book.now.plus_ms(OVER_MS);
        book.settle();
        let report = book.audit();
        prop_assert!(report.balanced, "{:?}", report.faults);
        prop_assert_eq!((report.outstanding, report.pending), (0, 0));
        let all: u64 = (0..4).map(|n| book.account(Person(n)).balance.0).sum();
        prop_assert_eq!(all, 20_000 - 4_000, "{} sold", sold);
    }
}
