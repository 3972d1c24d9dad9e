//! Passing on, and what a wallet has to do by itself, by name.

use std::collections::BTreeMap;

use super::fixture::{NOW, REST, RICH, Side, TORRENT, pay, wish};
use super::keeping::{
    BATCH_MS, Diary, RENEW_DAYS, Rules, Showing, Task, next_poll, polled, presented, settles,
    tasks, to_present, to_redeem,
};
use super::rows::Passing;
use super::trade::{Redeemed, begin_redemption, redeemed};
use super::*;
use crate::coin::ids::Commitment;
use crate::record::{MAX_LINKS_PROPOSE, Path};
use crate::units::{Units, UnixMs};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const HOLD_MS: u64 = 2 * DAY_MS;

fn at(ms: u64) -> UnixMs {
    NOW.plus_ms(ms)
}

/// A paid B 100 units out of a coin of 256.
fn paid() -> (Side, Side, Commitment) {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    a.buy(&[256], NOW);
    let spend = pay(&mut a, &mut b, (1, 256), 100, NOW);
    (a, b, spend)
}

fn due(side: &Side, now: UnixMs) -> Vec<Task> {
    tasks(&side.rows, &Diary::default(), HOLD_MS, now, false)
}

#[test]
fn shares_and_change_travel_before_coins_but_small_ones_after() {
    let (mut a, mut b, _) = paid();
    b.buy(&[16, 64, 256], NOW);
    a.buy(&[64], NOW);
    let got =
        |side: &mut Side, least, most| side.reserve(least, most, NOW).map(|r| r.holding.value.0);
    assert_eq!(
        got(&mut b, 1, 256),
        Ok(100),
        "the share of 100 before the coin of 256"
    );
    assert_eq!(
        got(&mut a, 1, 256),
        Ok(156),
        "the change before the coin of 64"
    );
    let (_, mut b, _) = paid();
    b.buy(&[1024, 64], NOW);
    assert_eq!(got(&mut b, 1, 1024), Ok(1024), "100 would be many channels");
    assert_eq!(
        got(&mut b, 1, 1024),
        Ok(64),
        "and even a coin of 64 goes first"
    );
    assert_eq!(got(&mut b, 1, 1024), Ok(100), "before nothing it is taken");
}

#[test]
fn a_share_at_hand_is_not_bought_beside() {
    let (_, b, _) = paid();
    let limits = Limits::default();
    let missed = |least: u64, most: u64| {
        let wish = wish(least, most);
        let given = choose::choose(&b.rows, &limits, &RICH, &wish, NOW).ok();
        choose::missed_size(&b.rows, &limits, &RICH, &wish, given, NOW)
    };
    assert_eq!(missed(16, 256), None, "100 are good enough for 256");
    assert_eq!(missed(16, 1024), Some(Units(1024)));
    assert_eq!(
        missed(16, 64),
        Some(Units(64)),
        "100 are too many for a stranger"
    );
    let orders = choose::orders(&b.rows, &limits, &RICH, &[], NOW);
    assert_eq!(orders, [Units(64); 7], "the share stands for one of eight");
}

#[test]
fn change_travels_once_its_close_was_read_back_and_never_below_the_last_tick() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    a.buy(&[64, 64], NOW);
    b.certify(2, NOW);
    for (ticked, closes_at, passing) in [
        (20u32, 20u32, Passing::AfterReadBack),
        (20, 5, Passing::Never),
    ] {
        let row = a.reserve(64, 64, NOW).expect("there");
        let key = keys::pick(&b.rows, &BTreeMap::new(), NOW).expect("certified");
        let (open, chain) = a
            .commit(&row.holding.id, key.certificate, NOW)
            .expect("reserved");
        let spend = b.receive(&row.path, open, NOW).expect("good");
        a.write(paying::ticks(&a.rows, &[(spend, ticked)]).expect("fits"));
        let wk = chain.reveal(closes_at).expect("in chain");
        let (change, _) = earning::ticks(&b.rows, &[(spend, closes_at, wk)]).expect("fits");
        b.write(change);
        let close = b.close(&spend, NOW);
        a.write(paying::closed(&a.rows, &spend, &open, &close, NOW).expect("good"));
        let change = |a: &Side| a.rows.holdings[&row.holding.id.change()].clone();
        assert_eq!(change(&a).passing, passing);
        assert!(!change(&a).is_spendable());
        let reads = due(&a, at(5_000)).contains(&Task::ReadBack { spend });
        assert_eq!(reads, passing == Passing::AfterReadBack);
        a.write(paying::read_back(&a.rows, &spend, NOW).expect("known"));
        assert_eq!(change(&a).is_spendable(), passing == Passing::AfterReadBack);
        assert!(due(&a, at(DAY_MS)).is_empty());
        a.crash();
        assert_eq!(
            change(&a).is_spendable(),
            passing == Passing::AfterReadBack,
            "durable"
        );
    }
}

#[test]
fn a_share_of_a_spend_that_was_not_accepted_is_only_redeemed() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    a.buy(&[64], NOW);
    b.certify(1, NOW);
    let row = a.reserve(1, 64, NOW).expect("there");
    let key = keys::pick(&b.rows, &BTreeMap::new(), NOW).expect("certified");
    let (open, chain) = a
        .commit(&row.holding.id, key.certificate, NOW)
        .expect("reserved");
    let spend = b.receive(&row.path, open, NOW).expect("good");
    let wk = chain.reveal(40).expect("in chain");
    let (change, _) = earning::ticks(&b.rows, &[(spend, 40, wk)]).expect("fits");
    b.write(change);
    b.close(&spend, NOW);
    assert_eq!(b.reserve(1, 64, NOW), Err(NoCoin::NotYet));
    let rules = Rules { keep: Units(4096) };
    assert_eq!(to_redeem(&b.rows, &rules, at(BATCH_MS), false).len(), 1);
}

#[test]
fn a_holding_is_passed_on_seven_times_and_then_redeemed() {
    let mut sides: Vec<Side> = (1..=10).map(Side::new).collect();
    sides[0].buy(&[4096], NOW);
    let mut holder = 0;
    for links in 0..=MAX_LINKS_PROPOSE {
        let (left, right) = sides.split_at_mut(holder + 1);
        let (payer, payee) = (&mut left[holder], &mut right[0]);
        let value = 4096 - 400 * links as u64;
        let spend = pay(payer, payee, (value, 4096), (value - 400) as u32, NOW);
        let share = payee.rows.received[&spend].holding.id.payee_share();
        let row = &payee.rows.holdings[&share];
        assert_eq!(row.links(), links + 1);
        let path = Path::decode(&row.path, 8).expect("a path");
        assert_eq!(path.links.len(), row.links());
        assert_eq!(path.records().len(), 2 * row.links());
        assert_eq!(
            path.verify(&|_| true, None).expect("proves it"),
            row.holding
        );
        holder += 1;
    }
    let last = &mut sides[holder];
    assert_eq!(
        last.reserve(1, 4096, NOW),
        Err(NoCoin::NotYet),
        "eight links are not proposed"
    );
    let rules = Rules { keep: Units(4096) };
    assert_eq!(to_redeem(&last.rows, &rules, at(BATCH_MS), false).len(), 1);
    let held: u64 = sides.iter().map(Side::held).sum();
    assert_eq!(held, 4096);
}

#[test]
fn a_refusal_at_zero_uses_up_a_link() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    a.buy(&[64], NOW);
    for links in 1..=MAX_LINKS_PROPOSE + 1 {
        let spend = pay(&mut a, &mut b, (1, 64), 0, NOW);
        let id = a.rows.spends[&spend].holding.change();
        assert_eq!(a.rows.holdings[&id].links(), links);
    }
    assert_eq!(a.reserve(1, 64, NOW), Err(NoCoin::NotYet));
    assert_eq!(a.held(), 64);
}

#[test]
fn a_missing_close_is_looked_for_ever_more_seldom_and_then_at_the_broker() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    a.buy(&[64], NOW);
    b.certify(1, NOW);
    let row = a.reserve(1, 64, NOW).expect("there");
    let key = keys::pick(&b.rows, &BTreeMap::new(), NOW).expect("certified");
    let (open, _) = a
        .commit(&row.holding.id, key.certificate, NOW)
        .expect("reserved");
    let spend = open.commitment(&row.holding.id);
    let mut live = Diary::default();
    live.live.insert(spend);
    assert!(
        tasks(&a.rows, &live, HOLD_MS, at(DAY_MS), false).is_empty(),
        "it is open"
    );
    let ended = at(HOUR_MS);
    a.write(paying::ended(&a.rows, &[spend], ended));
    let mut asked = Vec::new();
    for _ in 0..6 {
        let when = next_poll(&a.rows.spends[&spend], at(1_000 * DAY_MS));
        assert!(due(&a, UnixMs(when.0 - 1)).is_empty());
        let [Task::FindClose { asks_broker, .. }] = due(&a, when)[..] else {
            panic!("one thing is due");
        };
        asked.push((when.since_ms(ended) / MINUTE_MS, asks_broker));
        a.write(polled(&a.rows, &spend, when).expect("known"));
    }
    let expected = [
        (15, false),
        (60, false),
        (360, false),
        (1800, true),
        (3240, true),
        (4680, true),
    ];
    assert_eq!(asked, expected);
    let change = Change::on(&a.rows);
    assert!(change.is_empty());
    // A clock that was ahead when it ended, and is set back, puts nothing off.
    let back = at(HOUR_MS / 2);
    assert!(matches!(due(&a, back)[..], [Task::FindClose { .. }]));
    a.write(polled(&a.rows, &spend, back).expect("known"));
    assert!(due(&a, back).is_empty());
}

#[test]
fn what_was_passed_on_and_shares_that_are_kept_are_presented_in_one_batch_a_day() {
    let (_, mut b, first) = paid();
    let mut c = Side::new(3);
    let later = at(HOUR_MS);
    let onward = pay(&mut b, &mut c, (1, 256), 60, later);
    assert!(
        to_present(&b.rows, at(BATCH_MS), false).is_empty(),
        "nothing waited long enough"
    );
    let when = later.plus_ms(BATCH_MS);
    let batch = to_present(&b.rows, when, false);
    assert_eq!(batch, [Showing::PassedOn(onward)]);
    assert_eq!(to_present(&c.rows, when, false), [Showing::Share(onward)]);
    let back = UnixMs(NOW.0 - 1);
    assert_eq!(
        to_present(&b.rows, back, false),
        batch,
        "the clock was set back"
    );
    b.write(presented(&b.rows, &batch, when));
    assert_eq!(
        b.rows.received[&first].presented,
        Some(when),
        "its share was shown with it"
    );
    assert!(to_present(&b.rows, when.plus_ms(DAY_MS), true).is_empty());
    let (a, _, _) = paid();
    assert!(
        to_present(&a.rows, when, true).is_empty(),
        "spending a coin is the payee's to show"
    );
}

#[test]
fn what_is_beyond_the_units_kept_or_cannot_travel_or_expires_is_redeemed() {
    let (_, b, _) = paid();
    let share = b.rows.holdings.values().next().expect("a share").holding;
    let redeem = |keep: u64, now| to_redeem(&b.rows, &Rules { keep: Units(keep) }, now, false);
    assert!(redeem(0, at(BATCH_MS - 1)).is_empty());
    assert_eq!(redeem(99, at(BATCH_MS)), [share.id]);
    assert!(redeem(100, at(BATCH_MS)).is_empty());
    let last = share.expires.0 - RENEW_DAYS;
    let soon = UnixMs(u64::from(last) * DAY_MS);
    assert!(redeem(100, UnixMs(soon.0 - 1)).is_empty());
    assert_eq!(redeem(100, soon), [share.id]);
    let mut side = Side::new(5);
    side.buy(&[64], NOW);
    let coins = |now| to_redeem(&side.rows, &Rules::default(), now, true).len();
    assert_eq!(
        (coins(NOW), coins(soon)),
        (0, 1),
        "an expiring coin becomes balance"
    );
    assert!(
        side.reserve(1, 64, soon).is_ok(),
        "and could still be spent until then"
    );
}

#[test]
fn records_are_put_again_every_hour_in_turn_until_paid_or_presented_for_longer_than_the_hold() {
    let (_, mut b, spend) = paid();
    b.write(earning::put(&b.rows, &spend).expect("known"));
    let mut diary = Diary {
        started: NOW,
        ..Diary::default()
    };
    let mut places = Vec::new();
    for hour in 1..=6u64 {
        let now = at(hour * HOUR_MS + HOUR_MS / 2);
        for task in tasks(&b.rows, &diary, HOLD_MS, now, false) {
            let Task::PutAgain { spend, place } = task else {
                panic!("{task:?}");
            };
            diary.put.insert(spend, now);
            places.push(place);
        }
        assert!(tasks(&b.rows, &diary, HOLD_MS, now, false).is_empty());
    }
    // The clock is set back by three hours: one is put now, and the next an hour later.
    for minutes in [0, 1, 60] {
        let now = at(3 * HOUR_MS + HOUR_MS / 2 + minutes * 60_000);
        let due = tasks(&b.rows, &diary, HOLD_MS, now, false);
        assert_eq!(
            due.len(),
            usize::from(minutes != 1),
            "after {minutes} minutes"
        );
        diary.put.insert(spend, now);
    }
    assert!(places.len() >= 5);
    assert!(
        places.windows(2).all(|two| two[1] == (two[0] + 1) % 3),
        "{places:?}"
    );
    let puts = |side: &Side, now| {
        let all = tasks(
            &side.rows,
            &Diary {
                started: NOW,
                ..Diary::default()
            },
            HOLD_MS,
            now,
            false,
        );
        all.iter().any(|task| matches!(task, Task::PutAgain { .. }))
    };
    let late = at(10 * DAY_MS);
    assert!(puts(&b, late));
    let mut shown = Side::new(2);
    shown.rows = b.rows.clone();
    shown.disk = b.disk.clone();
    shown.write(presented(&shown.rows, &[Showing::Share(spend)], late));
    assert!(puts(&shown, late.plus_ms(HOLD_MS - 1)));
    assert!(!puts(&shown, late.plus_ms(HOLD_MS)));
    let id = b.rows.received[&spend].holding.id.payee_share();
    let request = b.request();
    b.write(begin_redemption(&b.rows, request, &[id], late).expect("available"));
    let until = late.plus_ms(HOLD_MS);
    let credited = Redeemed::Credited {
        units: Units(100),
        pending_until: until,
    };
    b.write(redeemed(&b.rows, &request, &[credited], vec![1], REST, late).expect("fits"));
    assert!(puts(&b, UnixMs(until.0 - 1)), "not paid yet");
    assert!(!puts(&b, until));
}

#[test]
fn limits_hold_for_shares_and_change_as_for_coins() {
    let (_, mut b, _) = paid();
    let limits = Limits::default();
    let row = b.reserve(1, 256, NOW).expect("the share");
    assert_eq!(row.origin, Origin::Earned);
    assert_eq!(choose::exposed(&b.rows, NOW), (1, Units(100)));
    let mut change = Change::on(&b.rows);
    change.budgets.push((TORRENT, Some(Units(99))));
    b.write(paying::release(&b.rows, &row.holding.id).expect("known"));
    change.expects = b.rows.version;
    b.write(change);
    let chosen = choose::choose(&b.rows, &limits, &RICH, &wish(1, 256), NOW);
    assert_eq!(
        chosen.map(|_| ()),
        Err(NoCoin::NotYet),
        "a share above the budget is not taken"
    );
    let most = choose::choose(&b.rows, &limits, &RICH, &wish(1, 64), NOW);
    assert_eq!(
        most.map(|_| ()),
        Err(NoCoin::NotYet),
        "nor one above what a stranger gets"
    );
}

#[test]
fn what_the_broker_settles_comes_back_whole_also_out_of_a_channel_that_never_closed() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    a.buy(&[64, 16], NOW);
    b.certify(1, NOW);
    let row = a.reserve(64, 64, NOW).expect("there");
    let key = keys::pick(&b.rows, &BTreeMap::new(), NOW).expect("certified");
    let (open, _) = a
        .commit(&row.holding.id, key.certificate, NOW)
        .expect("reserved");
    let spend = open.commitment(&row.holding.id);
    a.write(paying::ticks(&a.rows, &[(spend, 20)]).expect("fits"));
    assert_eq!(settled::unsettled(&a.rows, NOW).count(), 0);
    let over = UnixMs(u64::from(settles(row.holding.expires).0) * DAY_MS);
    let forgotten: Vec<_> = settled::unsettled(&a.rows, over).collect();
    assert_eq!(
        forgotten.len(),
        1,
        "the coin of 16; the channel is asked about by itself"
    );
    assert!(matches!(
        due(&a, over)[..],
        [Task::FindClose {
            asks_broker: true,
            ..
        }]
    ));
    let other = settled::settled(&a.rows, &row.holding.id, Units(44), over);
    assert!(matches!(other, Err(WalletError::BrokerAnswer(_))));
    for (id, units) in [(row.holding.id, 64), (forgotten[0], 16)] {
        let change = settled::settled(&a.rows, &id, Units(units), over).expect("fits");
        a.write(change);
        let again = settled::settled(&a.rows, &id, Units(units), over).expect("fits");
        assert!(again.is_empty());
    }
    let balance = Balance::of(&a.rows, over);
    assert_eq!((balance.locked, balance.held), (Units(0), Units(0)));
    assert_eq!(balance.books.redeemed, Units(80));
    assert!(due(&a, over.plus_ms(DAY_MS)).is_empty());
    assert_eq!(choose::exposed(&a.rows, over).0, 0);
}
