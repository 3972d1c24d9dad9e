//! Two statements in one slot, presented within the hold.

use super::book::{Book, Held, Person};
use crate::broker::answer::{
    Answer, CreditState, HoldingStatus, ItemAnswer, NoticeKind, RefusalCode,
};
use crate::broker::spent::FREE;
use crate::broker::{Action, Tail};
use crate::coin::Commitment;
use crate::record::Slot;

const ALICE: Person = Person(0);
const BOB: Person = Person(1);
const CAROL: Person = Person(2);
const DAVE: Person = Person(3);
const HOLD_MS: u64 = 172_800_000;

fn book() -> Book {
    let mut book = Book::new(HOLD_MS, 1_000);
    book.deposit(ALICE, 9_000);
    for who in [BOB, CAROL, DAVE] {
        let key = who.key().public();
        book.ask(who, book.certify(key)).unwrap();
    }
    book
}

/// Commitments of the last link's spend and close.
fn statements(held: &Held) -> [Commitment; 2] {
    let records = held.path.records();
    let [.., spend, close] = records.as_slice() else {
        panic!("a path without links")
    };
    [spend.commitment(), close.commitment()]
}

fn root(held: &Held) -> Slot {
    Slot::spend(&held.path.coin.id())
}

#[track_caller]
fn contested(answer: ItemAnswer) {
    assert!(matches!(answer, ItemAnswer::Contested { .. }), "{answer:?}");
}

#[track_caller]
fn redeemed(answer: ItemAnswer) -> u64 {
    match answer {
        ItemAnswer::Redeemed { units, .. } => units.0,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn balanced(book: &Book) {
    let report = book.audit();
    assert!(report.balanced, "{:?}", report.faults);
}

/// Alice spends one coin to Bob (100) and to Carol (200). Bob redeems first.
fn double_spend(book: &mut Book) -> (Held, Held) {
    let coin = book.buy(ALICE, 256).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 100, 1);
    let [to_carol, _] = book.pay(&coin, CAROL, 200, 2);
    let (to_bob, to_carol) = (to_bob.unwrap(), to_carol.unwrap());
    redeemed(book.redeem(&to_bob, 1));
    contested(book.redeem(&to_carol, 1));
    balanced(book);
    (to_bob, to_carol)
}

#[test]
fn a_contested_credit_is_not_paid_until_the_statement_in_the_slot_has_won() {
    let mut book = book();
    let (to_bob, to_carol) = double_spend(&mut book);
    book.now = book.now.plus_ms(HOLD_MS + 1);
    assert_eq!(
        book.money(BOB),
        (0, 100),
        "its hold is over, the contest is not"
    );
    let [carols, _] = statements(&to_carol);
    assert!(book.judge(root(&to_carol), &[(carols, 30)]));
    balanced(&book);
    assert_eq!(book.money(BOB), (0, 0));
    assert_eq!(book.money(CAROL), (0, 200), "redeemed by what was kept");
    assert_eq!(book.spent(root(&to_carol)), Some(carols));
    assert_eq!(redeemed(book.redeem(&to_carol, 1)), 200);
    // What is decided is final, though the row is young again.
    let ItemAnswer::Refused(refusal) = book.redeem(&to_bob, 1) else {
        panic!()
    };
    assert_eq!(refusal.code, RefusalCode::Conflict);
    assert!(book.contests().is_empty());
    let told = book.notices(BOB);
    assert!(
        told.iter()
            .any(|n| matches!(n, NoticeKind::Contested { .. }))
    );
    assert!(
        told.iter()
            .any(|n| matches!(n, NoticeKind::CreditCancelled { .. }))
    );
    assert!(
        told.iter()
            .any(|n| matches!(n, NoticeKind::ContestDecided { won: false, .. }))
    );
    book.now = book.now.plus_ms(HOLD_MS);
    assert_eq!(book.money(CAROL), (200, 0));
    balanced(&book);
}

#[test]
fn a_statement_that_nobody_finds_changes_nothing() {
    let mut book = book();
    let (to_bob, to_carol) = double_spend(&mut book);
    let [bobs, _] = statements(&to_bob);
    assert!(book.judge(root(&to_bob), &[(bobs, 12)]));
    assert_eq!(book.money(BOB), (0, 100));
    assert_eq!(book.money(CAROL), (0, 0));
    let ItemAnswer::Refused(refusal) = book.redeem(&to_carol, 1) else {
        panic!()
    };
    assert_eq!(refusal.code, RefusalCode::Conflict);
    assert!(
        !book.account(ALICE).suspended,
        "nobody lost what was in a slot"
    );
    let warned = book.notices(ALICE);
    assert!(
        warned
            .iter()
            .any(|n| matches!(n, NoticeKind::Warned { .. }))
    );
    book.now = book.now.plus_ms(HOLD_MS);
    assert_eq!(book.money(BOB), (100, 0));
    balanced(&book);
}

#[test]
fn in_a_tie_a_spend_to_somebody_else_goes_before_a_redeem_and_then_the_first() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    redeemed(book.redeem(&coin, 1));
    let [to_bob, _] = book.pay(&coin, BOB, 10, 2);
    let to_bob = to_bob.unwrap();
    contested(book.redeem(&to_bob, 1));
    assert!(book.judge(root(&coin), &[]));
    assert_eq!(book.money(BOB), (0, 10));
    assert_eq!(book.money(ALICE).1, 0);
    balanced(&book);

    let (to_bob, _) = double_spend(&mut book);
    assert!(book.judge(root(&to_bob), &[]));
    assert_eq!(
        book.money(BOB),
        (0, 110),
        "both spends are to others: the first"
    );
    balanced(&book);
}

#[test]
fn the_tree_below_the_winner_is_built_again_from_all_that_was_presented() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    let [to_bob, bobs_change] = book.pay(&coin, BOB, 100, 1);
    let [to_carol, carols_change] = book.pay(&coin, CAROL, 200, 2);
    let [to_dave, rest] = book.pay(&to_carol.unwrap(), DAVE, 150, 3);
    redeemed(book.redeem(&to_bob.unwrap(), 1));
    redeemed(book.redeem(&bobs_change.unwrap(), 1));
    let to_dave = to_dave.unwrap();
    contested(book.redeem(&to_dave, 1));
    contested(book.redeem(&rest.unwrap(), 1));
    contested(book.redeem(&carols_change.unwrap(), 4));
    contested(book.redeem(&to_dave, 1));
    assert_eq!(
        book.contests()[0].evidence,
        3,
        "the same again is kept once"
    );
    let carols = to_dave.path.records()[0].commitment();
    assert!(book.judge(root(&coin), &[(carols, 9)]));
    balanced(&book);
    assert_eq!(book.money(DAVE), (0, 150));
    assert_eq!(book.money(CAROL), (0, 50));
    assert_eq!(book.money(ALICE).1, 56);
    book.now = book.now.plus_ms(HOLD_MS);
    assert_eq!(book.audit().outstanding, 0);
    balanced(&book);
}

#[test]
fn what_goes_through_a_contested_slot_waits_and_takes_its_place_when_it_is_decided() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    let [to_bob, change] = book.pay(&coin, BOB, 100, 1);
    let [to_carol, _] = book.pay(&coin, CAROL, 200, 2);
    let to_bob = to_bob.unwrap();
    assert!(matches!(
        book.present(&to_bob, None),
        ItemAnswer::Presented { .. }
    ));
    contested(book.present(&to_carol.unwrap(), None));
    contested(book.redeem(&to_bob, 1));
    contested(book.redeem(&change.unwrap(), 5));
    let Ok(Answer::Holding { holding }) = book.ask(ALICE, Action::Holding(coin.path.coin.id()))
    else {
        panic!()
    };
    assert_eq!(holding.state, HoldingStatus::Contested);
    let gap = book.broker.terms().contest_gap_ms;
    assert_eq!(holding.decide_after_unix_ms, Some(book.now.plus_ms(gap)));
    let [bobs, _] = statements(&to_bob);
    assert!(book.judge(root(&coin), &[(bobs, 9)]));
    assert_eq!(book.money(BOB), (0, 100));
    assert_eq!(book.money(ALICE).1, 156);
    balanced(&book);
}

#[test]
fn of_two_closes_of_one_spend_the_one_in_the_slot_wins() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    let [low, change] = book.pay(&coin, BOB, 10, 1);
    let [high, _] = book.pay(&coin, BOB, 60, 1);
    let (high, change) = (high.unwrap(), change.unwrap());
    redeemed(book.redeem(&high, 1));
    contested(book.redeem(&change, 1));
    let contest = book.contests().remove(0);
    assert_eq!(contest.signer, BOB.key().public());
    let [_, lows] = statements(&low.unwrap());
    assert!(book.judge(contest.slot, &[(lows, 9)]));
    assert_eq!(
        book.money(BOB),
        (0, 0),
        "what was redeemed too much went back"
    );
    assert_eq!(book.money(ALICE).1, 54);
    let Ok(Answer::Holding { holding }) = book.ask(ALICE, Action::Holding(coin.path.coin.id()))
    else {
        panic!()
    };
    assert_eq!(holding.state, HoldingStatus::Split);
    balanced(&book);
}

#[test]
fn a_contest_further_up_ends_those_below_it() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 100, 1);
    let to_bob = to_bob.unwrap();
    let [to_carol, _] = book.pay(&to_bob, CAROL, 60, 1);
    let [to_dave, _] = book.pay(&to_bob, DAVE, 60, 2);
    redeemed(book.redeem(&to_carol.unwrap(), 1));
    contested(book.redeem(&to_dave.unwrap(), 1));
    contested(book.redeem(&coin, 9));
    assert_eq!(book.contests().len(), 2);
    let alices = Book::redeem_part(&coin, 9);
    let c = book.presented(&coin, Tail::Redeem(alices));
    let c = c.leaf().record.as_ref().unwrap().commitment();
    assert!(book.judge(root(&coin), &[(c, 9)]));
    assert!(book.contests().is_empty());
    assert_eq!(book.money(ALICE).1, 256);
    assert_eq!(book.money(CAROL), (0, 0));
    let share = Slot::spend(&coin.path.coin.id().payee_share());
    assert_eq!(book.spent(share), Some(FREE));
    balanced(&book);
}

#[test]
fn a_reading_without_enough_answers_is_repeated_and_the_deadline_decides_without() {
    let mut book = book();
    let (to_bob, to_carol) = double_spend(&mut book);
    let [carols, _] = statements(&to_carol);
    let opened = book.now;
    assert!(!book.read(root(&to_bob), &[(carols, 1)], 7));
    assert!(
        !book.read(root(&to_bob), &[(carols, 1)], 20),
        "not before it is due"
    );
    let gap = book.broker.terms().contest_gap_ms;
    book.now = book.now.plus_ms(gap);
    assert!(!book.read(root(&to_bob), &[], 7));
    book.now = opened.plus_ms(HOLD_MS);
    assert!(book.read(root(&to_bob), &[], 0));
    assert_eq!(book.money(BOB), (100, 0), "nothing was read: the first");
    assert!(book.contests().is_empty());
    balanced(&book);
}

#[test]
fn change_redeemed_forty_days_later_does_not_contest_what_stands() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    // Alice and Bob are one: Bob signs a second close, for a larger change, much later.
    let [_, change] = book.pay(&coin, BOB, 100, 1);
    let [_, larger] = book.pay(&coin, BOB, 10, 1);
    let [to_carol, _] = book.pay(&change.unwrap(), CAROL, 150, 1);
    let to_carol = to_carol.unwrap();
    assert!(matches!(
        book.present(&to_carol, None),
        ItemAnswer::Presented { .. }
    ));
    book.now = book.now.plus_ms(40 * 86_400_000);
    let ItemAnswer::Refused(refusal) = book.redeem(&larger.unwrap(), 1) else {
        panic!()
    };
    assert_eq!(refusal.code, RefusalCode::Conflict);
    assert_eq!(redeemed(book.redeem(&to_carol, 1)), 150);
    balanced(&book);
}

#[test]
fn change_redeemed_forty_days_later_is_contested_within_the_hold_by_who_was_paid_with_it() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    let [_, change] = book.pay(&coin, BOB, 100, 1);
    let [_, larger] = book.pay(&coin, BOB, 10, 1);
    let [to_carol, _] = book.pay(&change.unwrap(), CAROL, 150, 1);
    let to_carol = to_carol.unwrap();
    book.now = book.now.plus_ms(40 * 86_400_000);
    let larger = larger.unwrap();
    assert_eq!(redeemed(book.redeem(&larger, 1)), 246);
    // Carol, who watches the spent list, presents what she was paid; the records in the DHT are hers.
    book.now = book.now.plus_ms(HOLD_MS - 1);
    contested(book.redeem(&to_carol, 1));
    let slot = book.contests()[0].slot;
    let records = to_carol.path.records();
    assert!(book.judge(slot, &[(records[1].commitment(), 20)]));
    assert_eq!(book.money(ALICE).1, 0);
    assert_eq!(book.money(CAROL), (0, 150));
    balanced(&book);
}

#[test]
fn a_double_spend_by_redeeming_after_acceptance_is_contested_within_the_hold_and_refused_after() {
    for after in [HOLD_MS - 1, HOLD_MS] {
        let mut book = book();
        let coin = book.buy(ALICE, 64).unwrap();
        let [to_bob, _] = book.pay(&coin, BOB, 50, 1);
        let to_bob = to_bob.unwrap();
        redeemed(book.redeem(&coin, 1));
        book.now = book.now.plus_ms(after);
        let answer = book.redeem(&to_bob, 1);
        let [bobs, _] = statements(&to_bob);
        if after < HOLD_MS {
            contested(answer);
            assert!(book.judge(root(&coin), &[(bobs, 30)]));
            assert_eq!(book.money(BOB), (0, 50));
        } else {
            assert!(matches!(answer, ItemAnswer::Refused(_)));
            // Late: the redeem stays, and Alice pays what Bob lost, since the DHT has his record.
            assert!(book.judge(root(&coin), &[(bobs, 30)]));
            assert_eq!(book.money(BOB), (50, 0));
            assert!(book.account(ALICE).suspended);
        }
        balanced(&book);
    }
}

#[test]
fn a_cancelled_credit_shows_as_such() {
    let mut book = book();
    let (to_bob, to_carol) = double_spend(&mut book);
    let [carols, _] = statements(&to_carol);
    book.judge(root(&to_carol), &[(carols, 30)]);
    // The same position is Carol's share now: Bob has no part in it.
    let id = to_bob.path.holding().unwrap().id;
    assert!(book.ask(BOB, Action::Holding(id)).is_err());
    let Ok(Answer::Holding { holding }) = book.ask(CAROL, Action::Holding(id)) else {
        panic!()
    };
    assert_eq!(holding.credit.unwrap().state, CreditState::Pending);
}
