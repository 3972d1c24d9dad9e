//! What a reader of the spent list takes, and what it refuses.

use super::*;

fn key() -> SecretKey {
    SecretKey::from_bytes([7; 32])
}

fn refreshed(chunks: &[(u32, Vec<(Slot, Commitment)>)], as_of: UnixMs) -> SpentList {
    let mut list = SpentList::new(key().public());
    let counts: Vec<(u32, u32)> = chunks.iter().map(|(h, e)| (*h, e.len() as u32)).collect();
    let index = encode_index(&key(), as_of, &counts);
    let index = SpentIndex::decode(&key().public(), &index).unwrap();
    for hour in list.missing(&index) {
        let (_, entries) = chunks.iter().find(|(h, _)| *h == hour).unwrap();
        let bytes = encode_chunk(&key(), hour, entries);
        list.take_chunk(hour, &index, &bytes).unwrap();
    }
    list.complete(&index).unwrap();
    list
}

#[test]
fn what_is_listed_is_found_and_a_later_entry_replaces_an_earlier_one() {
    let (a, b) = (Slot([1; 32]), Slot([2; 32]));
    let (c, d) = (Commitment([3; 32]), Commitment([4; 32]));
    let now = UnixMs(11 * 3_600_000);
    let list = refreshed(&[(9, vec![(a, c), (b, c)]), (10, vec![(a, d)])], now);
    assert_eq!(list.lookup(&a), Listed::By([4; 16]));
    assert!(list.contradicts(&a, &c) && !list.contradicts(&a, &d));
    assert_eq!(list.lookup(&b), Listed::By([3; 16]));
    assert_eq!(list.lookup(&Slot([5; 32])), Listed::No);
    assert!(list.is_fresh(now.plus_ms(3_600_000)));
    assert!(!list.is_fresh(now.plus_ms(3_601_000)));
    let back = |ms: u64| UnixMs(now.0 - ms);
    assert!(list.is_fresh(back(3_600_000)) && !list.is_fresh(back(3_601_000)));
}

#[test]
fn zero_means_withheld_and_contradicts_nothing() {
    let slot = Slot([1; 32]);
    let list = refreshed(&[(1, vec![(slot, Commitment([0; 32]))])], UnixMs(3_600_000));
    assert_eq!(list.lookup(&slot), Listed::Withheld);
    assert!(!list.contradicts(&slot, &Commitment([9; 32])));
}

#[test]
fn any_changed_byte_of_a_list_is_refused() {
    let slot = Slot([1; 32]);
    let good = encode_chunk(&key(), 5, &[(slot, Commitment([2; 32]))]);
    let index = encode_index(&key(), UnixMs(5 * 3_600_000), &[(5, 1)]);
    let index = SpentIndex::decode(&key().public(), &index).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let mut list = SpentList::new(key().public());
        assert!(list.take_chunk(5, &index, &bad).is_err(), "byte {at}");
    }
    let mut list = SpentList::new(key().public());
    list.take_chunk(5, &index, &good).unwrap();
}

#[test]
fn a_chunk_of_another_hour_and_a_shortened_one_are_refused() {
    let entries = [(Slot([1; 32]), Commitment([2; 32]))];
    let index = encode_index(&key(), UnixMs(5 * 3_600_000), &[(5, 1)]);
    let index = SpentIndex::decode(&key().public(), &index).unwrap();
    let mut list = SpentList::new(key().public());
    let other = encode_chunk(&key(), 4, &entries);
    assert_eq!(
        list.take_chunk(5, &index, &other),
        Err(SpentError::Hour { asked: 5, got: 4 })
    );
    let short = encode_chunk(&key(), 5, &[]);
    assert!(matches!(
        list.take_chunk(5, &index, &short),
        Err(SpentError::Short { .. })
    ));
    assert!(list.complete(&index).is_err());
    assert!(!list.is_fresh(UnixMs(5 * 3_600_000)));
}

#[test]
fn a_list_of_more_than_is_read_is_refused_with_its_number() {
    let too_long = SpentError::TooLong {
        got: MAX_ENTRIES + 1,
        most: MAX_ENTRIES,
    };
    let entry = (Slot([1; 32]), Commitment([2; 32]));
    let bytes = encode_chunk(&key(), 5, &vec![entry; MAX_ENTRIES as usize + 1]);
    let index = encode_index(&key(), UnixMs(5 * 3_600_000), &[(5, MAX_ENTRIES + 1)]);
    let index = SpentIndex::decode(&key().public(), &index).unwrap();
    let mut list = SpentList::new(key().public());
    assert_eq!(list.take_chunk(5, &index, &bytes), Err(too_long.clone()));
    assert!(too_long.to_string().contains("1000001"));
    // As many as are read are taken.
    let bytes = encode_chunk(&key(), 5, &vec![entry; MAX_ENTRIES as usize]);
    let index = encode_index(&key(), UnixMs(5 * 3_600_000), &[(5, MAX_ENTRIES)]);
    let index = SpentIndex::decode(&key().public(), &index).unwrap();
    list.take_chunk(5, &index, &bytes).unwrap();
}

#[test]
fn entries_stay_listed_until_their_coins_are_settled_whatever_the_hold() {
    const DAY_MS: u64 = 24 * 3_600_000;
    assert_eq!(listed_hours(0), 67 * 24);
    assert_eq!(listed_hours(2 * DAY_MS), 67 * 24);
    assert_eq!(listed_hours(10 * DAY_MS), 71 * 24);
    assert_eq!(listed_hours(10 * DAY_MS + 1), 71 * 24 + 1);
    assert_eq!(listed_hours(u64::MAX), u32::MAX);
}

#[test]
fn suspended_keys_are_known_by_their_first_half() {
    let mut list = SpentList::new(key().public());
    let bad = SecretKey::from_bytes([9; 32]).public();
    let bytes = encode_suspended(&key(), UnixMs(0), &[bad]);
    list.take_suspended(&bytes).unwrap();
    assert!(list.is_suspended(&bad));
    assert!(!list.is_suspended(&key().public()));
}
