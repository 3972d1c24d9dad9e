//! What a broker's clock that was wrong leaves behind once it is right again.

use super::book::{Book, Person};
use crate::broker::Stop;
use crate::broker::signing::MAX_SKEW_MS;
use crate::units::UnixMs;

const ALICE: Person = Person(0);
const HOLD_MS: u64 = 172_800_000;
const DAY_MS: u64 = 86_400_000;

#[test]
fn a_first_deposit_by_a_clock_that_was_a_day_ahead_holds_back_only_what_was_signed_by_it() {
    let mut book = Book::new(HOLD_MS, 1_000);
    let right = book.now;
    let ahead = right.plus_ms(DAY_MS);
    book.now = ahead;
    book.deposit(ALICE, 9_000);
    book.now = right;
    book.buy(ALICE, 64).unwrap();
    assert_eq!(book.money(ALICE).0, 9_000 - 1_000 - 64);
    book.now = UnixMs(ahead.0 - MAX_SKEW_MS - 1);
    book.buy(ALICE, 64).unwrap();
    // What was signed before the deposit, by a clock that was as wrong, is not carried out when its time comes.
    book.now = ahead;
    let (id, order) = (book.next_id(), book.purchase(ALICE, 64, [9; 16]));
    let early = book.sealed_at(ALICE, id, (1, ahead), order.clone());
    assert_eq!(early, Err(Stop::Early));
    let later = ahead.plus_ms(1);
    let done = book.sealed_at(ALICE, id, (1, later), order).unwrap();
    assert!(!done.refused);
}
