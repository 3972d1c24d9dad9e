//! The rules of section 10, one test each.

use super::book::{Book, Held, Person, outcome};
use crate::broker::answer::{Answer, HoldingStatus, ItemAnswer, Refusal, RefusalCode};
use crate::broker::{Action, Operated, Operation, Presented, Stop, Tail, Terms};
use crate::coin::SecretKey;
use crate::coin::certificate::{
    COIN_LIFE_DAYS, CoinCertificate, PseudonymCertificate, REDEEM_GRACE_DAYS,
};
use crate::record::{FraudProof, Path};
use crate::units::{Day, Units, UnixMs};

const ALICE: Person = Person(0);
const BOB: Person = Person(1);
const CAROL: Person = Person(2);
const HOLD_MS: u64 = 172_800_000;
const DAY_MS: u64 = 86_400_000;

/// Alice has 9 000 units and the bond is 1 000.
fn book() -> Book {
    let mut book = Book::new(HOLD_MS, 1_000);
    book.deposit(ALICE, 9_000);
    book
}

fn refused(answer: ItemAnswer) -> Refusal {
    match answer {
        ItemAnswer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_coin_split_three_ways_pays_exactly_its_value_once_the_hold_is_over() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    let [Some(to_bob), Some(change)] = book.pay(&coin, BOB, 100, 1) else {
        panic!()
    };
    let [Some(to_carol), Some(rest)] = book.pay(&to_bob, CAROL, 60, 1) else {
        panic!()
    };
    for (held, units) in [(&change, 156), (&to_carol, 60), (&rest, 40)] {
        assert_eq!(
            book.redeem(held, 1),
            ItemAnswer::Redeemed {
                holding: held.path.holding().unwrap().id,
                units: Units(units),
                pending_until_unix_ms: book.now.plus_ms(HOLD_MS),
                paid: false,
            }
        );
    }
    assert_eq!(book.money(BOB), (0, 40));
    assert_eq!(book.money(CAROL), (0, 60));
    book.now = book.now.plus_ms(HOLD_MS - 1);
    assert_eq!(book.money(CAROL), (0, 60));
    book.now = book.now.plus_ms(1);
    assert_eq!(book.money(BOB), (40, 0));
    assert_eq!(book.money(CAROL), (60, 0));
    assert_eq!(book.money(ALICE), (9_000 - 1_000 - 256 + 156, 0));
    let report = book.audit();
    assert!(report.balanced, "{:?}", report.faults);
    assert_eq!(report.outstanding, 0);
}

#[test]
fn the_same_redeem_again_is_the_same_credit() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    let first = book.redeem(&coin, 1);
    book.now = book.now.plus_ms(1_000);
    assert_eq!(book.redeem(&coin, 1), first);
    assert_eq!(book.money(ALICE).1, 64);
}

#[test]
fn a_purchase_asked_again_is_answered_to_the_byte_though_its_coins_are_kept_once() {
    let mut book = book();
    let (id, key) = (book.next_id(), ALICE.key().public());
    let wanted = [(16, 1), (64, 2), (64, 3)].map(|(value, n)| (Units(value), key, [n; 16]));
    let purchase = Action::Purchase(book.broker.offer_coins(&wanted, book.now.day()));
    let first = book.sealed(ALICE, id, 1, purchase.clone());
    let Ok(Answer::Purchase { coins, .. }) = outcome(&first) else {
        panic!("{first:?}")
    };
    let kept = book.kept(ALICE, id);
    assert_eq!(
        first.body.len() - kept.len(),
        3 * (2 * CoinCertificate::SIZE - 33)
    );
    let coin = CoinCertificate::decode(&hex::decode(&coins[1]).unwrap()).unwrap();
    let path = Path {
        coin,
        links: Vec::new(),
    };
    book.redeem(&Held { path, by: ALICE }, 1);
    book.now = book.now.plus_ms(DAY_MS);
    assert_eq!(book.sealed(ALICE, id, 1, purchase), first);
}

#[test]
fn a_hold_of_zero_pays_at_once() {
    let mut book = Book::new(0, 100);
    book.deposit(ALICE, 1_000);
    let coin = book.buy(ALICE, 64).unwrap();
    assert!(matches!(
        book.redeem(&coin, 1),
        ItemAnswer::Redeemed { paid: true, .. }
    ));
    assert_eq!(book.money(ALICE), (900, 0));
    assert!(book.audit().balanced);
}

#[test]
fn the_second_of_two_spends_is_refused_after_the_hold_with_a_proof_that_anyone_can_check() {
    let mut book = book();
    let coin = book.buy(ALICE, 256).unwrap();
    let [to_bob, _] = book.pay(&coin, BOB, 100, 1);
    let [to_carol, _] = book.pay(&coin, CAROL, 200, 2);
    book.redeem(&to_bob.unwrap(), 1);
    book.now = book.now.plus_ms(HOLD_MS);
    let refusal = refused(book.redeem(&to_carol.unwrap(), 1));
    assert_eq!(refusal.code, RefusalCode::Conflict);
    let shown = refusal.conflict.unwrap();
    assert!(!shown.within_hold);
    let proof = FraudProof::decode(&hex::decode(&shown.proof).unwrap()).unwrap();
    let broker = book.broker.public();
    assert_eq!(
        proof.verify(&|key| *key == broker),
        Ok(ALICE.key().public())
    );
    assert_eq!(book.money(CAROL), (0, 0));
    assert!(book.audit().balanced);
}

#[test]
fn a_redeem_and_a_spend_of_one_holding_exclude_each_other() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    book.redeem(&coin, 1);
    book.now = book.now.plus_ms(HOLD_MS);
    let [to_bob, _] = book.pay(&coin, BOB, 10, 2);
    let refusal = refused(book.redeem(&to_bob.unwrap(), 1));
    assert_eq!(refusal.code, RefusalCode::Conflict);

    let coin = book.buy(ALICE, 64).unwrap();
    let (open, _) = book.open(&coin, BOB, 1);
    let presented = book.present(&coin, Some(open));
    assert!(matches!(presented, ItemAnswer::Presented { .. }));
    book.now = book.now.plus_ms(HOLD_MS);
    assert_eq!(refused(book.redeem(&coin, 2)).code, RefusalCode::Conflict);
    let [to_bob, _] = book.pay(&coin, BOB, 10, 1);
    assert!(matches!(
        book.redeem(&to_bob.unwrap(), 1),
        ItemAnswer::Redeemed { .. }
    ));
}

#[test]
fn two_closes_of_one_spend_are_a_double_spend_by_the_payee() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    let [low, _] = book.pay(&coin, BOB, 10, 1);
    let [_, high] = book.pay(&coin, BOB, 60, 1);
    book.redeem(&low.unwrap(), 1);
    book.now = book.now.plus_ms(HOLD_MS);
    let shown = refused(book.redeem(&high.unwrap(), 1)).conflict.unwrap();
    assert!(!shown.within_hold);
    let proof = FraudProof::decode(&hex::decode(&shown.proof).unwrap()).unwrap();
    let broker = book.broker.public();
    assert_eq!(proof.verify(&|key| *key == broker), Ok(BOB.key().public()));
}

#[test]
fn a_coin_of_another_broker_is_no_coin() {
    let book = book();
    let stranger = SecretKey::from_bytes([9; 32]);
    let today = book.now.day();
    let key = ALICE.key().public();
    let coin = CoinCertificate::issue(&stranger, Units(64), key, today, today.plus(30), [0; 16]);
    let path = Path {
        coin,
        links: Vec::new(),
    };
    assert!(Presented::check(&book.broker.public(), &path, Tail::None).is_err());
}

#[test]
fn a_coin_that_was_signed_but_never_sold_is_refused() {
    let mut book = book();
    let today = book.now.day();
    let mut coin = book.buy(ALICE, 64).unwrap();
    let key = ALICE.key().public();
    coin.path.coin = CoinCertificate::issue(
        book.broker.key(),
        Units(4096),
        key,
        today,
        today.plus(30),
        [9; 16],
    );
    let before = book.kept_requests();
    assert_eq!(
        refused(book.redeem(&coin, 1)).code,
        RefusalCode::UnknownCoin
    );
    assert_eq!(
        book.kept_requests(),
        before,
        "who gets nothing fills no disk"
    );
}

#[test]
fn a_coin_is_redeemed_until_thirty_days_after_its_expiry_and_presented_a_hold_longer() {
    let mut book = book();
    let (a, b) = (book.buy(ALICE, 64).unwrap(), book.buy(ALICE, 64).unwrap());
    let start = book.now;
    let last = u64::from(COIN_LIFE_DAYS + REDEEM_GRACE_DAYS) * DAY_MS;
    book.now = start.plus_ms(last - 1);
    let redeemed = book.redeem(&a, 1);
    assert!(matches!(redeemed, ItemAnswer::Redeemed { .. }));
    book.now = start.plus_ms(last);
    assert_eq!(refused(book.redeem(&b, 1)).code, RefusalCode::Expired);
    assert!(matches!(book.redeem(&a, 1), ItemAnswer::Redeemed { .. }));
    book.now = start.plus_ms(last + HOLD_MS - 1);
    assert!(matches!(
        book.present(&b, None),
        ItemAnswer::Presented { .. }
    ));
    book.now = start.plus_ms(last + HOLD_MS);
    assert_eq!(refused(book.present(&b, None)).code, RefusalCode::Expired);
}

#[test]
fn outstanding_coins_never_exceed_the_bond_and_the_bond_comes_back_when_nothing_hangs_on_it() {
    let mut book = book();
    let coin = book.buy(ALICE, 1024).unwrap_err();
    assert_eq!(coin.code, RefusalCode::Bond);
    let coins: Vec<_> = (0..3).map(|_| book.buy(ALICE, 256).unwrap()).collect();
    assert_eq!(book.buy(ALICE, 256).unwrap_err().code, RefusalCode::Bond);
    assert_eq!(book.money(ALICE).0, 9_000 - 1_000 - 768);
    coins.iter().for_each(|coin| {
        book.redeem(coin, 1);
    });
    let withdraw = |units| Action::Withdraw {
        units: Units(units),
        destination: "bank".to_owned(),
    };
    book.now = book.now.plus_ms(HOLD_MS - 1);
    let early = book.ask(ALICE, withdraw(9_000)).unwrap_err();
    assert_eq!(early.code, RefusalCode::Balance);
    book.now = book.now.plus_ms(1);
    book.ask(ALICE, withdraw(9_000)).unwrap();
    assert_eq!(book.money(ALICE), (0, 0));
    let report = book.audit();
    assert!(report.balanced && report.withdrawals == 9_000 && report.bonds == 0);
}

#[test]
fn who_withdrew_and_nobody_else_is_told_when_it_was_paid_out() {
    let mut book = book();
    let withdraw = Action::Withdraw {
        units: Units(600),
        destination: "bank".to_owned(),
    };
    book.ask(ALICE, withdraw).unwrap();
    let id = book.queued()[0];
    let told = |book: &mut Book, who| match book.ask(who, Action::Payout(id)) {
        Ok(Answer::Payout { withdrawal }) => Ok(withdrawal.paid),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    };
    assert_eq!(told(&mut book, ALICE), Ok(None));
    let when = book.now.plus_ms(5);
    for _ in 0..2 {
        book.now = book.now.plus_ms(5);
        book.operate(Operation::MarkPaid(id)).unwrap();
    }
    assert_eq!(told(&mut book, ALICE), Ok(Some(when)));
    assert_eq!(told(&mut book, BOB), Err(RefusalCode::NotFound));
    assert!(book.audit().balanced);
}

#[test]
fn a_purchase_that_the_balance_does_not_cover_says_how_much_is_missing() {
    let mut book = Book::new(HOLD_MS, 1_000);
    book.deposit(ALICE, 1_000);
    let refusal = book.buy(ALICE, 64).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Balance);
    assert!(refusal.what_to_do.contains("64 units more"), "{refusal}");
    assert_eq!(book.money(ALICE), (1_000, 0));
}

#[test]
fn a_request_id_buys_once_and_is_good_for_one_body_only() {
    let mut book = book();
    let [one, two, three] = [1, 2, 3].map(|nonce| book.purchase(ALICE, 64, [nonce; 16]));
    let id = book.next_id();
    let first = book.sealed(ALICE, id, 1, one);
    book.now = book.now.plus_ms(5_000);
    assert_eq!(book.sealed(ALICE, id, 1, two), first);
    let other = outcome(&book.sealed(ALICE, id, 2, three)).unwrap_err();
    assert_eq!(other.code, RefusalCode::RequestId);
    assert_eq!(book.money(ALICE).0, 9_000 - 1_000 - 64);
}

#[test]
fn what_was_refused_is_over_for_all_that_was_signed_until_then() {
    let mut book = Book::new(HOLD_MS, 1_000);
    let t = |ms| UnixMs(5_000).plus_ms(ms);
    let withdraw = |units| Action::Withdraw {
        units: Units(units),
        destination: "here".to_owned(),
    };
    for who in [ALICE, BOB] {
        if who == ALICE {
            book.deposit(who, 1_000);
        }
        book.now = book.now.plus_ms(1);
        let order = book.purchase(who, 64, [1; 16]);
        let [id, other, third] = [0; 3].map(|_| book.next_id());
        let signed = book.now.plus_ms(7);
        let first = book.sealed_at(who, id, (1, signed), order.clone()).unwrap();
        assert!(first.refused);
        book.now = book.now.plus_ms(10);
        book.deposit(who, 9_000);
        let money = book.money(who);
        // Played again, or signed before it and never heard of until now.
        for (id, body, at, what) in [
            (id, 1, signed, order.clone()),
            (other, 2, signed, order.clone()),
            (other, 2, t(0), order.clone()),
            (third, 3, signed, withdraw(5)),
        ] {
            let early = book.sealed_at(who, id, (body, at), what);
            assert_eq!(early, Err(Stop::Early));
        }
        assert_eq!(book.money(who), money);
        let at = book.now.plus_ms(1);
        let done = book.sealed_at(who, id, (1, at), order).unwrap();
        assert!(!done.refused, "its owner signed it anew");
        // One that is carried out ends nothing: requests may overtake each other.
        let done = book.sealed_at(who, third, (3, book.now.plus_ms(0)), withdraw(5));
        assert_eq!(done.is_ok_and(|done| !done.refused), who == ALICE);
    }
}

#[test]
fn a_coin_offered_before_midnight_is_sold_with_the_date_of_its_sale() {
    let mut book = book();
    let offer = book.purchase(ALICE, 64, [1; 16]);
    let certify = book.certify(BOB.key().public());
    book.now = book.now.plus_ms(11 * 86_400_000);
    let Answer::Purchase { coins, .. } = book.ask(ALICE, offer).unwrap() else {
        panic!("no coin");
    };
    let coin = CoinCertificate::decode(&hex::decode(&coins[0]).unwrap()).unwrap();
    assert_eq!(coin.issued, book.now.day());
    let broker = book.broker.public();
    coin.check(&|key| *key == broker, Some((coin.issued, 29)))
        .unwrap();
    let Answer::Certificates { certificates } = book.ask(BOB, certify).unwrap() else {
        panic!("no certificate");
    };
    let bytes = hex::decode(&certificates[0]).unwrap();
    let certificate = PseudonymCertificate::decode(&bytes).unwrap();
    assert!(certificate.verify());
    assert_eq!(
        certificate.expires,
        Terms::pseudonym_expires(book.now.day())
    );
}

#[test]
fn a_deposit_is_booked_once_by_its_reference() {
    let mut book = book();
    let deposit = |units, who: Person| Operation::Deposit {
        account: who.account(),
        units: Units(units),
        reference: "bank 17".to_owned(),
    };
    assert!(matches!(
        book.operate(deposit(50, BOB)),
        Ok(Operated::Deposit {
            again: false,
            is_new: true,
            ..
        })
    ));
    assert!(matches!(
        book.operate(deposit(50, BOB)),
        Ok(Operated::Deposit {
            again: true,
            is_new: false,
            ..
        })
    ));
    for wrong in [deposit(51, BOB), deposit(50, CAROL)] {
        assert!(matches!(book.operate(wrong), Err(Stop::Refused(_))));
    }
    assert_eq!(book.money(BOB), (50, 0));
}

#[test]
fn a_suspended_account_redeems_but_does_not_buy_certify_or_withdraw() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    let suspend = |suspended| Operation::Suspend {
        account: ALICE.account(),
        suspended,
    };
    book.operate(suspend(true)).unwrap();
    assert!(matches!(book.redeem(&coin, 1), ItemAnswer::Redeemed { .. }));
    assert_eq!(
        book.buy(ALICE, 64).unwrap_err().code,
        RefusalCode::Suspended
    );
    let certify = book.certify(ALICE.key().public());
    assert_eq!(
        book.ask(ALICE, certify).unwrap_err().code,
        RefusalCode::Suspended
    );
    let withdraw = Action::Withdraw {
        units: Units(1),
        destination: String::new(),
    };
    assert_eq!(
        book.ask(ALICE, withdraw).unwrap_err().code,
        RefusalCode::Suspended
    );
    book.operate(suspend(false)).unwrap();
    book.buy(ALICE, 64).unwrap();
}

#[test]
fn a_holder_key_belongs_to_the_first_account_that_names_it() {
    let mut book = book();
    let certify = book.certify(BOB.key().public());
    book.ask(BOB, certify.clone()).unwrap();
    book.ask(BOB, certify.clone()).unwrap();
    let refusal = book.ask(CAROL, certify).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::HolderKey);
    let weak = book.certify(crate::coin::PublicKey([0; 32]));
    assert_eq!(
        book.ask(CAROL, weak).unwrap_err().code,
        RefusalCode::HolderKey
    );
}

#[test]
fn the_spender_is_shown_the_close_of_its_spend_and_nobody_else_is() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    let id = coin.path.holding().unwrap().id;
    let [to_bob, _] = book.pay(&coin, BOB, 10, 1);
    book.redeem(&to_bob.unwrap(), 1);
    let Ok(Answer::Holding { holding }) = book.ask(ALICE, Action::Holding(id)) else {
        panic!()
    };
    assert_eq!(holding.state, HoldingStatus::Split);
    assert_eq!(holding.close.unwrap().len(), 2 * 228);
    let other = book.ask(CAROL, Action::Holding(id)).unwrap_err();
    assert_eq!(other.code, RefusalCode::OtherAccount);
}

#[test]
fn a_redeem_to_another_account_is_not_taken_from_this_one() {
    let mut book = book();
    let coin = book.buy(ALICE, 64).unwrap();
    let item = book.presented(&coin, Tail::Redeem(Book::redeem_part(&coin, 1)));
    let Ok(Answer::Redeem { mut items, .. }) = book.ask(BOB, Action::Redeem(vec![Ok(item)])) else {
        panic!()
    };
    assert_eq!(refused(items.remove(0)).code, RefusalCode::OtherAccount);
}

#[test]
fn pseudonym_certificates_of_neighbouring_days_expire_together() {
    use crate::broker::Terms;
    let expires = |day| Terms::pseudonym_expires(Day(day)).0;
    assert_eq!(expires(20_001), expires(20_009));
    assert!(expires(20_009) >= 20_009 + 30);
    assert!(!Terms::redeems(Day(10), UnixMs(40 * DAY_MS)));
    assert!(Terms::redeems(Day(10), UnixMs(40 * DAY_MS - 1)));
}
