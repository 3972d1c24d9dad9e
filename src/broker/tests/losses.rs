//! Who lost by a double spend: suspension, compensation, what is withheld and released.

use super::book::{Book, Held, Person};
use crate::broker::answer::{
    Answer, ItemAnswer, NoticeKind, ProofTaken, ProofVerdict, RefusalCode,
};
use crate::broker::spent::WITHHELD;
use crate::broker::{Action, Operation, RequestId};
use crate::coin::Commitment;
use crate::record::{FraudProof, Slot};
use crate::units::Units;

const ALICE: Person = Person(0);
const BOB: Person = Person(1);
const CAROL: Person = Person(2);
const HOLD_MS: u64 = 172_800_000;
const DAY_MS: u64 = 86_400_000;

fn book(money: u64) -> Book {
    let mut book = Book::new(HOLD_MS, 1_000);
    book.deposit(ALICE, money);
    for who in [BOB, CAROL] {
        let key = who.key().public();
        book.ask(who, book.certify(key)).unwrap();
    }
    book
}

fn spend_of(held: &Held) -> Commitment {
    held.path.records()[0].commitment()
}

/// Alice pays Bob 100 and Carol 200 with one coin; both are in slots, Carol's in more.
fn judged(book: &mut Book) -> (Held, Held) {
    let coin = book.buy(ALICE, 256).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 100, 1);
    let [to_carol, _] = book.pay(&coin, CAROL, 200, 2);
    let (to_bob, to_carol) = (to_bob.unwrap(), to_carol.unwrap());
    book.redeem(&to_bob, 1);
    book.redeem(&to_carol, 1);
    let copies = [(spend_of(&to_bob), 5), (spend_of(&to_carol), 20)];
    assert!(book.judge(Slot::spend(&coin.path.coin.id()), &copies));
    (to_bob, to_carol)
}

fn withdraw(units: u64) -> Action {
    Action::Withdraw {
        units: Units(units),
        destination: "bank".to_owned(),
    }
}

#[test]
fn who_lost_is_paid_from_the_balance_of_the_one_who_signed_twice() {
    let mut book = book(9_000);
    judged(&mut book);
    assert_eq!(book.money(BOB), (100, 0));
    assert_eq!(book.money(CAROL), (0, 200));
    let alice = book.account(ALICE);
    assert!(alice.suspended);
    assert_eq!(alice.balance, Units(9_000 - 1_000 - 256 - 100));
    let compensated = book.notices(BOB);
    assert!(compensated.iter().any(|n| matches!(
        n,
        NoticeKind::Compensated {
            units: Units(100),
            missing: Units(0),
            ..
        }
    )));
    for action in [book.certify(ALICE.key().public()), withdraw(1)] {
        let refusal = book.ask(ALICE, action).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Suspended);
    }
    assert_eq!(
        book.buy(ALICE, 16).unwrap_err().code,
        RefusalCode::Suspended
    );
    assert!(book.audit().balanced);
}

#[test]
fn where_the_balance_is_too_small_the_bond_pays_and_what_comes_later_pays_the_rest() {
    let mut book = book(1_000 + 256);
    let other = Operation::Deposit {
        account: ALICE.account(),
        units: Units(30),
        reference: "later".to_owned(),
    };
    // Bob's loss is larger than bond and balance: three coins, one after the other.
    judged(&mut book);
    assert_eq!(book.money(BOB), (100, 0));
    let account = book.account(ALICE);
    assert_eq!((account.balance, account.bond), (Units(0), Units(900)));
    // The whole bond goes by a second double spend with a loss of 1 000 and more.
    book.operate(Operation::Suspend {
        account: ALICE.account(),
        suspended: false,
    })
    .unwrap();
    book.deposit(ALICE, 100 + 512);
    let coins: Vec<_> = (0..2).map(|_| book.buy(ALICE, 256).unwrap()).collect();
    for coin in &coins {
        let [to_bob, _] = book.pay(coin, BOB, 256, 1);
        let [to_carol, _] = book.pay(coin, CAROL, 256, 2);
        let (to_bob, to_carol) = (to_bob.unwrap(), to_carol.unwrap());
        book.redeem(&to_bob, 1);
        book.redeem(&to_carol, 1);
        let copies = [(spend_of(&to_bob), 5), (spend_of(&to_carol), 20)];
        assert!(book.judge(Slot::spend(&coin.path.coin.id()), &copies));
    }
    assert_eq!(book.money(BOB), (100 + 512, 0));
    assert_eq!(book.account(ALICE).bond, Units(1_000 - 512));
    assert!(book.audit().balanced);
    book.operate(other).unwrap();
    assert_eq!(book.account(ALICE).balance, Units(30), "nothing is owed");
    assert!(book.audit().balanced);
}

#[test]
fn an_unpaid_loss_is_paid_as_soon_as_there_is_money() {
    let mut book = Book::new(HOLD_MS, 64);
    book.deposit(ALICE, 128);
    for who in [BOB, CAROL] {
        book.ask(who, book.certify(who.key().public())).unwrap();
    }
    let coin = book.buy(ALICE, 64).unwrap();
    // Bob is paid with a share of Carol's coin, and signs two closes; he has no money at all.
    let [share, change] = book.pay(&coin, BOB, 60, 1);
    let [_, larger] = book.pay(&coin, BOB, 10, 1);
    book.redeem(&share.unwrap(), 1);
    let larger = larger.unwrap();
    let answer = book.redeem(&larger, 1);
    assert!(matches!(answer, ItemAnswer::Contested { .. }));
    let contest = book.contests().remove(0);
    let closes = [
        (change.unwrap().path.records()[1].commitment(), 20),
        (larger.path.records()[1].commitment(), 5),
    ];
    assert!(book.judge(contest.slot, &closes));
    assert!(book.account(BOB).suspended);
    assert_eq!(book.money(ALICE).0, 0, "Bob has only what is pending");
    book.now = book.now.plus_ms(HOLD_MS);
    assert_eq!(book.money(BOB).0, 60 - 54);
    assert_eq!(book.money(ALICE).0, 54, "as soon as his credit was paid");
    assert!(book.audit().balanced);
}

#[test]
fn a_proof_without_a_loser_only_warns_and_is_known_the_second_time() {
    let mut book = book(9_000);
    let coin = book.buy(ALICE, 64).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 10, 1);
    let [to_carol, _] = book.pay(&coin, CAROL, 10, 2);
    let item = |held: &Held| held.path.records()[0].items()[2].clone();
    let certificate = crate::record::ProofCertificate::Coin(coin.path.coin);
    let proof = FraudProof::new(
        certificate,
        item(&to_bob.unwrap()),
        item(&to_carol.unwrap()),
    )
    .unwrap();
    for known in [false, true] {
        let action = Action::Proof(Box::new(Ok(proof.clone())));
        let Ok(Answer::Proof { proof }) = book.ask(CAROL, action) else {
            panic!()
        };
        let key = ALICE.key().public();
        let verdict = ProofVerdict::Warned;
        assert_eq!(
            proof,
            ProofTaken {
                key,
                verdict,
                known
            }
        );
    }
    let warned = book.notices(ALICE);
    assert_eq!(
        warned,
        [NoticeKind::Warned {
            key: ALICE.key().public()
        }]
    );
    judged(&mut book);
    let action = Action::Proof(Box::new(Ok(proof)));
    let Ok(Answer::Proof { proof }) = book.ask(CAROL, action) else {
        panic!()
    };
    assert_eq!(proof.verdict, ProofVerdict::Suspended);
}

#[test]
fn unfixed_coins_of_a_suspended_account_are_withheld_and_shares_in_others_hands_stay_good() {
    let mut book = book(9_000);
    let untouched = book.buy(ALICE, 64).unwrap();
    let paid = book.buy(ALICE, 64).unwrap();
    let [to_bob, _] = book.pay(&paid, BOB, 50, 7);
    judged(&mut book);
    let coins = vec![untouched.path.coin.id(), paid.path.coin.id()];
    book.operate(Operation::Withhold {
        account: ALICE.account(),
        coins,
        all: true,
    })
    .unwrap();
    let slot = Slot::spend(&untouched.path.coin.id());
    assert_eq!(book.spent(slot), Some(WITHHELD));
    // Bob was paid before: his share is good, and the list then names his payment.
    let to_bob = to_bob.unwrap();
    assert!(matches!(
        book.redeem(&to_bob, 1),
        ItemAnswer::Redeemed { .. }
    ));
    let slot = Slot::spend(&paid.path.coin.id());
    assert_eq!(book.spent(slot), Some(spend_of(&to_bob)));
    assert!(book.audit().balanced);
}

#[test]
fn what_remains_is_released_when_every_coin_of_that_time_is_settled() {
    let mut book = book(9_000);
    judged(&mut book);
    let rest = 9_000 - 256 - 100 + 56; // the change of the coin comes back by settlement
    book.now = book.now.plus_ms(59 * DAY_MS);
    assert!(book.ask(ALICE, withdraw(1)).is_err());
    book.now = book.now.plus_ms(DAY_MS + HOLD_MS);
    assert_eq!(book.settle(), 1);
    assert_eq!(book.account(ALICE).withdrawable, Units(rest));
    book.ask(ALICE, withdraw(rest)).unwrap();
    assert_eq!(
        book.buy(ALICE, 16).unwrap_err().code,
        RefusalCode::Suspended
    );
    assert!(book.audit().balanced);
}

#[test]
fn a_contested_redemption_is_asked_again_with_the_same_request() {
    let mut book = book(9_000);
    let coin = book.buy(ALICE, 64).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 50, 1);
    let to_bob = to_bob.unwrap();
    book.redeem(&coin, 1);
    let id = RequestId([99; 16]);
    let ask = |book: &mut Book| {
        let part = Book::redeem_part(&to_bob, 1);
        let item = book.presented(&to_bob, crate::broker::Tail::Redeem(part));
        let sealed = book.sealed(BOB, id, 1, Action::Redeem(vec![Ok(item)]));
        match super::book::outcome(&sealed) {
            Ok(Answer::Redeem { mut items, .. }) => items.remove(0),
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(ask(&mut book), ItemAnswer::Contested { .. }));
    let slot = Slot::spend(&coin.path.coin.id());
    assert!(book.judge(slot, &[(spend_of(&to_bob), 9)]));
    let done = ask(&mut book);
    assert!(matches!(done, ItemAnswer::Redeemed { .. }));
    assert_eq!(ask(&mut book), done);
}
