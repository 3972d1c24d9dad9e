//! One decision after another, by name.

use super::fixture::{NOW, REST, RICH, Side, TORRENT, broker, wish};
use super::*;
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::keys::SecretKey;
use crate::units::{InfoHash, Units, UnixMs};
use crate::wallet::rows::ReceivedState;
use crate::wallet::trade::{Redeemable, Redeemed};

const DAY_MS: u64 = 86_400_000;

pub(super) fn payee(name: u8) -> PseudonymCertificate {
    let key = SecretKey::from_bytes([name; 32]).public();
    PseudonymCertificate::issue(&broker(), key, NOW.day().plus(20))
}

fn values(side: &mut Side, wishes: &[(u64, u64)]) -> Vec<Result<u64, NoCoin>> {
    wishes
        .iter()
        .map(|(least, most)| side.reserve(*least, *most, NOW).map(|r| r.holding.value.0))
        .collect()
}

#[test]
fn the_greatest_coin_that_fits_is_chosen_and_none_beyond() {
    let mut side = Side::new(1);
    side.buy(&[16, 64, 64, 256, 1024], NOW);
    let got = values(&mut side, &[(2, 100), (2, 64), (2, 64), (2, 64), (17, 64)]);
    assert_eq!(
        got,
        [Ok(256), Ok(64), Ok(64), Ok(16), Err(NoCoin::NotYet)],
        "100 is rounded up to the coin of 256"
    );
}

#[test]
fn an_expiring_coin_is_not_spent() {
    let mut side = Side::new(1);
    side.buy(&[64], NOW);
    let late = NOW.plus_ms(29 * DAY_MS);
    assert_eq!(side.reserve(1, 64, late), Err(NoCoin::NotYet));
    side.reserve(1, 64, NOW.plus_ms(28 * DAY_MS)).expect("live");
}

#[test]
fn a_budget_holds_over_all_channels_and_caps_the_coin() {
    let mut side = Side::new(1);
    side.buy(&[16, 64, 64, 256], NOW);
    let mut change = Change::on(&side.rows);
    change.budgets.push((TORRENT, Some(Units(100))));
    side.write(change);
    let got = values(&mut side, &[(2, 256), (2, 256), (2, 256), (21, 256)]);
    let [first, second, third, fourth] = got[..] else {
        panic!("four answers");
    };
    assert_eq!((first, second), (Ok(64), Ok(16)));
    assert_eq!(third, Err(NoCoin::NotYet), "16 of the 20 that are left");
    assert_eq!(fourth, Err(NoCoin::OverBudget));
    assert!(side.rows.committed(&TORRENT, NOW) <= Units(100));
}

#[test]
fn what_may_be_paid_in_all_holds_over_torrents_with_open_channels_in_full() {
    let mut side = Side::new(1);
    side.buy(&[16, 64, 64, 256], NOW);
    let limits = Limits {
        pay_up_to: Some(Units(100)),
        ..Limits::default()
    };
    for (torrent, expected) in [(1, Some(64)), (2, Some(16)), (3, None), (4, None)] {
        let wish = Wish {
            info_hash: InfoHash([torrent; 20]),
            ..wish(1, 256)
        };
        let given = paying::reserve(&side.rows, &limits, &RICH, &wish, NOW).ok();
        let given = given.map(|(change, row)| (side.write(change), row.holding.value.0));
        assert_eq!(given.map(|(_, value)| value), expected);
    }
    assert_eq!(side.rows.committed_in_all(NOW), Units(80));
}

#[test]
fn without_broker_or_money_the_wallet_says_so() {
    let side = Side::new(1);
    let limits = Limits::default();
    let reserve = |funds: &Funds| {
        let chosen = paying::reserve(&side.rows, &limits, funds, &wish(1, 64), NOW);
        chosen.map(|_| ()).unwrap_err()
    };
    let unreachable = Funds {
        unreachable: true,
        ..RICH
    };
    let poor = Funds {
        buyable: Some(Units(15)),
        ..Funds::default()
    };
    assert_eq!(reserve(&unreachable), NoCoin::NoFunds);
    assert_eq!(reserve(&poor), NoCoin::NoFunds);
    assert_eq!(reserve(&Funds::default()), NoCoin::NotYet, "not asked yet");
    assert_eq!(reserve(&RICH), NoCoin::NotYet);
}

#[test]
fn half_the_wallet_at_most_is_locked_with_strangers_but_one_channel_always() {
    let mut side = Side::new(1);
    side.buy(&[64; 5], NOW);
    let limits = Limits::default();
    let funds = Funds::default();
    let reserve = |side: &mut Side| {
        let (change, row) = paying::reserve(&side.rows, &limits, &funds, &wish(1, 64), NOW)?;
        side.write(change);
        Ok(row.holding.id)
    };
    let first = reserve(&mut side).expect("one always");
    let second = reserve(&mut side).expect("less than half");
    assert_eq!(
        reserve(&mut side),
        Err(NoCoin::NotYet),
        "32 are left: a coin of 16"
    );
    side.commit(&first, payee(1), NOW).expect("reserved");
    side.commit(&second, payee(2), NOW).expect("reserved");
    assert_eq!(reserve(&mut side), Err(NoCoin::NotYet));
    let HoldingState::Locked { spend } = side.rows.holdings[&first].state else {
        panic!("locked");
    };
    side.write(paying::ticks(&side.rows, &[(spend, 48)]).expect("fits"));
    reserve(&mut side).expect("three quarters ticked are good faith");
}

#[test]
fn at_most_32_channels_are_open_with_strangers() {
    let mut side = Side::new(1);
    side.buy(&[16; 32], NOW);
    side.buy(&[16; 8], NOW);
    let got = values(&mut side, &[(1, 16); 33]);
    assert!(got[..32].iter().all(Result::is_ok));
    assert_eq!(got[32], Err(NoCoin::WalletLimit));
}

#[test]
fn a_holding_is_spent_once_whatever_happens() {
    let mut side = Side::new(1);
    side.buy(&[64], NOW);
    let row = side.reserve(1, 64, NOW).expect("there");
    let id = row.holding.id;
    let (open, chain) = side.commit(&id, payee(1), NOW).expect("reserved");
    assert!(matches!(
        side.commit(&id, payee(2), NOW),
        Err(WalletError::NotReserved { .. })
    ));
    side.crash();
    assert_eq!(side.reserve(1, 64, NOW), Err(NoCoin::NotYet));
    let request = side.request();
    assert!(trade::begin_redemption(&side.rows, request, &[id], NOW).is_err());
    let HoldingState::Locked { spend } = side.rows.holdings[&id].state else {
        panic!("locked");
    };
    let again = sign::sign_spend(&side.seed, row.key_index, &side.rows.spends[&spend]);
    assert_eq!(again, open, "the same bytes");
    assert_eq!(sign::chain(&side.seed, &row.holding), chain);
    // Even a wrong program cannot write a second spend.
    let mut second = side.rows.spends[&spend].clone();
    second.spend.0[0] ^= 1;
    let mut change = Change::on(&side.rows);
    change.spends.push(second);
    assert_eq!(
        change.apply(&mut side.rows),
        Err(ApplyError::SpentTwice(id))
    );
}

#[test]
fn a_lapsed_reservation_goes_to_the_next_and_only_one_commits() {
    let mut side = Side::new(1);
    side.buy(&[64], NOW);
    let first = side.reserve(1, 64, NOW).expect("there").holding.id;
    assert_eq!(side.reserve(1, 64, NOW), Err(NoCoin::NotYet));
    let later = NOW.plus_ms(120_000);
    let second = side.reserve(1, 64, later).expect("lapsed").holding.id;
    assert_eq!(first, second);
    side.commit(&second, payee(1), later).expect("reserved");
    assert!(side.commit(&first, payee(2), later).is_err());
    side.write(paying::release(&side.rows, &first).expect("known"));
    assert!(matches!(
        side.rows.holdings[&first].state,
        HoldingState::Locked { .. }
    ));
}

#[test]
fn nothing_is_committed_to_a_payee_without_a_good_certificate() {
    let mut side = Side::new(1);
    side.buy(&[64], NOW);
    let id = side.reserve(1, 64, NOW).expect("there").holding.id;
    let key = SecretKey::from_bytes([3; 32]).public();
    let other = SecretKey::from_bytes([0xee; 32]);
    let foreign = PseudonymCertificate::issue(&other, key, NOW.day().plus(9));
    let expired = PseudonymCertificate::issue(&broker(), key, NOW.day());
    let mut forged = payee(3);
    forged.expires = forged.expires.plus(1);
    for bad in [foreign, expired, forged] {
        assert!(matches!(
            side.commit(&id, bad, NOW),
            Err(WalletError::PayeeCertificate(_))
        ));
    }
    side.commit(&id, payee(3), NOW).expect("good");
}

/// A payer and a payee with one accepted channel of 64 units.
fn channel() -> (
    Side,
    Side,
    crate::coin::ids::Commitment,
    crate::coin::Chain,
    crate::record::OpenSpend,
) {
    let (mut payer, mut payee) = (Side::new(1), Side::new(2));
    payer.buy(&[64], NOW);
    payee.certify(4, NOW);
    let row = payer.reserve(1, 64, NOW).expect("there");
    let key = keys::pick(&payee.rows, &Default::default(), NOW).expect("certified");
    let (open, chain) = payer
        .commit(&row.holding.id, key.certificate, NOW)
        .expect("reserved");
    let spend = payee.receive(&row.path, open, NOW).expect("good");
    (payer, payee, spend, chain, open)
}

#[test]
fn a_close_splits_a_holding_into_share_and_change() {
    let (mut payer, mut payee, spend, chain, open) = channel();
    let w = chain.reveal(20).expect("in chain");
    payer.write(paying::ticks(&payer.rows, &[(spend, 20)]).expect("fits"));
    let (change, bad) = earning::ticks(&payee.rows, &[(spend, 20, w)]).expect("fits");
    assert!(bad.is_empty());
    payee.write(change);
    let close = payee.close(&spend, NOW);
    assert_eq!(
        close,
        payee.close(&spend, NOW),
        "asked again: the same bytes"
    );
    let change = paying::closed(&payer.rows, &spend, &open, &close, NOW).expect("holds");
    payer.write(change);
    assert_eq!((payer.held(), payee.held()), (44, 20));
    for side in [&payer, &payee] {
        let redeemable = trade::redeemable(&side.rows, Redeemable::Earned, NOW);
        assert_eq!(redeemable.len(), 1);
        let row = &side.rows.holdings[&redeemable[0]];
        let path = crate::record::Path::decode(&row.path, 8).expect("a path");
        let accepts = |key: &_| *key == broker().public();
        let proven = path.verify(&accepts, None).expect("proves the holding");
        assert_eq!(proven, row.holding);
        assert!(sign::sign_redeem(&side.seed, row).verify(&row.holding));
    }
    let again = paying::closed(&payer.rows, &spend, &open, &close, NOW).expect("the same");
    assert!(again.is_empty());
}

#[test]
fn a_second_close_or_a_false_one_is_refused() {
    let (mut payer, payee, spend, chain, open) = channel();
    let row = &payee.rows.received[&spend];
    let key = payee.seed.holder_key(row.key_index);
    let close = |k: u32, wk| crate::record::ClosePart::sign(&key, &row.holding.id, &open, k, wk);
    let w = |k| chain.reveal(k).expect("in chain");
    let closed =
        |side: &Side, close| paying::closed(&side.rows, &spend, &open, &close, NOW).map(|_| ());
    let out = Err(WalletError::OutOfChain { spend, k: 9 });
    assert_eq!(closed(&payer, close(9, w(8))), out);
    let mut unsigned = close(9, w(9));
    unsigned.signatures[2].0[5] ^= 1;
    assert_eq!(closed(&payer, unsigned), Err(WalletError::BadClose(spend)));
    payer.write(paying::closed(&payer.rows, &spend, &open, &close(9, w(9)), NOW).expect("good"));
    let two = Err(WalletError::TwoCloses {
        spend,
        first: 9,
        second: 10,
    });
    assert_eq!(closed(&payer, close(10, w(10))), two);
}

#[test]
fn a_refusal_at_zero_gives_everything_back_and_a_full_close_nothing() {
    let (mut payer, mut payee, spend, _, open) = channel();
    let close = payee.close(&spend, NOW);
    assert_eq!(close.k, 0);
    payer.write(paying::closed(&payer.rows, &spend, &open, &close, NOW).expect("holds"));
    assert_eq!((payer.held(), payee.held()), (64, 0));
    let (mut payer, mut payee, spend, chain, open) = channel();
    let all = chain.reveal(64).expect("in chain");
    let (change, _) = earning::ticks(&payee.rows, &[(spend, 64, all)]).expect("fits");
    payee.write(change);
    let close = payee.close(&spend, NOW);
    payer.write(paying::closed(&payer.rows, &spend, &open, &close, NOW).expect("holds"));
    assert_eq!((payer.held(), payee.held()), (0, 64));
}

#[test]
fn a_fixed_close_is_finished_after_a_crash_and_no_tick_changes_it() {
    let (_, mut payee, spend, chain, _) = channel();
    let w = |k| chain.reveal(k).expect("in chain");
    let (change, _) = earning::ticks(&payee.rows, &[(spend, 5, w(5))]).expect("fits");
    payee.write(change);
    payee.write(earning::fix_close(&payee.rows, &spend, 7, &w(7)).expect("proven"));
    payee.crash();
    assert_eq!(trade::unfinished(&payee.rows), [Effect::SignClose(spend)]);
    let (late, _) = earning::ticks(&payee.rows, &[(spend, 9, w(9))]).expect("fits");
    assert!(late.is_empty());
    let again = earning::fix_close(&payee.rows, &spend, 9, &w(9)).expect("stays");
    assert!(again.received.is_empty());
    let close = sign::sign_close(&payee.seed, &payee.rows.received[&spend]);
    assert_eq!(close.k, 7);
    payee.write(earning::close_signed(&payee.rows, &spend, &close, NOW).expect("fixed"));
    assert_eq!(payee.held(), 7);
    assert!(matches!(
        payee.rows.received[&spend].state,
        ReceivedState::Closed { .. }
    ));
}

#[test]
fn ticks_out_of_chain_beyond_the_value_or_backwards_pay_nothing() {
    let (mut payer, mut payee, spend, chain, _) = channel();
    let w = |k| chain.reveal(k).expect("in chain");
    let came = [(spend, 5, w(4))];
    let (change, bad) = earning::ticks(&payee.rows, &came).expect("fits");
    assert!(change.is_empty());
    assert_eq!(bad, [spend]);
    let (change, _) = earning::ticks(&payee.rows, &[(spend, 5, w(5))]).expect("fits");
    payee.write(change);
    let (change, _) = earning::ticks(&payee.rows, &[(spend, 4, w(4))]).expect("fits");
    assert!(change.is_empty());
    let (change, bad) = earning::ticks(&payee.rows, &[(spend, 65, w(64))]).expect("fits");
    assert!(change.is_empty() && bad == [spend]);
    payer.write(paying::ticks(&payer.rows, &[(spend, 65)]).expect("fits"));
    assert_eq!(payer.rows.spends[&spend].last_k, 0);
}

#[test]
fn an_open_is_taken_once_and_only_to_our_keys() {
    let (payer, mut payee, spend, _, open) = channel();
    let holding = payee.rows.received[&spend].holding.id;
    let path = payee.rows.received[&spend].path.clone();
    assert_eq!(
        earning::check(&payee.rows, &holding),
        Err(WalletError::OpenedBefore(holding))
    );
    let before = payee.rows.received.clone();
    assert_eq!(payee.receive(&path, open, NOW), Ok(spend));
    assert_eq!(payee.rows.received, before, "the same open changes nothing");
    let mut stranger = Side::new(3);
    stranger.certify(1, NOW);
    assert_eq!(
        stranger.receive(&path, open, NOW),
        Err(WalletError::NotOurKey(open.payee))
    );
    let other = payee
        .rows
        .keys
        .values()
        .find(|k| !k.used)
        .expect("stock")
        .certificate;
    let row = &payer.rows.holdings[&holding];
    let second = crate::record::OpenSpend::sign(
        &payer.seed.holder_key(row.key_index),
        &holding,
        other,
        open.anchor,
        open.record_key,
    );
    assert_eq!(
        payee.receive(&path, second, NOW),
        Err(WalletError::OpenedBefore(holding))
    );
    let mut forged = open;
    forged.signatures.swap(0, 1);
    let mut fresh = Side::new(2);
    fresh.certify(4, NOW);
    assert!(matches!(
        fresh.receive(&path, forged, NOW),
        Err(WalletError::BadOpen(_))
    ));
}

#[test]
fn redeeming_credits_once_and_a_refusal_is_kept() {
    let mut side = Side::new(1);
    side.buy(&[16, 64], NOW);
    let ids = trade::redeemable(&side.rows, Redeemable::All, NOW);
    assert!(trade::redeemable(&side.rows, Redeemable::Earned, NOW).is_empty());
    let request = side.request();
    side.write(trade::begin_redemption(&side.rows, request, &ids, NOW).expect("available"));
    assert_eq!(
        trade::unfinished(&side.rows),
        [Effect::SendRedemption(request)]
    );
    side.crash();
    assert_eq!(side.reserve(1, 64, NOW), Err(NoCoin::NotYet));
    let until = NOW.plus_ms(1000);
    let outcome = |id: &crate::coin::HoldingId| {
        let units = side.rows.holdings[id].holding.value;
        match units {
            Units(16) => Redeemed::Refused {
                why: "spent".to_owned(),
            },
            units => Redeemed::Credited {
                units,
                pending_until: until,
            },
        }
    };
    let outcomes: Vec<_> = ids.iter().map(outcome).collect();
    let answer = |side: &Side| {
        trade::redeemed(&side.rows, &request, &outcomes, vec![1], REST, NOW).expect("fits")
    };
    let change = answer(&side);
    side.write(change);
    assert!(answer(&side).is_empty(), "answered again");
    let balance = Balance::of(&side.rows, NOW);
    assert_eq!((balance.pending, balance.refused), (Units(64), Units(16)));
    assert_eq!(Balance::of(&side.rows, until).pending, Units(0));
    assert_eq!(balance.books.redeemed, Units(64));
}

#[test]
fn a_broker_that_answers_otherwise_than_asked_gets_nowhere() {
    let mut side = Side::new(1);
    let request = side.begin_purchase(&[16, 64], NOW);
    let seed = side.seed.clone();
    let holder = move |index| seed.holder_key(index).public();
    let good = side.coins_for(&request, NOW);
    let refuse = |side: &Side, coins: &[_]| {
        let bad = trade::purchased(&side.rows, &request, coins, &holder, NOW);
        assert!(matches!(bad, Err(WalletError::BrokerAnswer(_))));
    };
    refuse(&side, &good[..1]);
    refuse(&side, &[good[1], good[0]]);
    let mut forged = good.clone();
    forged[0].nonce[0] ^= 1;
    refuse(&side, &forged);
    let met = PinnedBroker {
        key: SecretKey::from_bytes([1; 32]).public(),
        url: "http://other".to_owned(),
    };
    assert!(matches!(
        trade::pin(&side.rows, met, NOW),
        Err(WalletError::BrokerChanged { .. })
    ));
    side.write(trade::purchased(&side.rows, &request, &good, &holder, NOW).expect("good"));
    assert_eq!(side.held(), 80);
}

#[test]
fn orders_keep_eight_of_64_at_hand_as_far_as_the_money_goes() {
    let mut side = Side::new(1);
    let limits = Limits::default();
    let order = |side: &Side, buyable: u64, wanted: &[u64]| {
        let funds = Funds {
            buyable: Some(Units(buyable)),
            ..Funds::default()
        };
        let wanted: Vec<_> = wanted.iter().map(|v| (Units(*v), Units(1))).collect();
        let orders = choose::orders(&side.rows, &limits, &funds, &wanted, NOW);
        orders.iter().map(|u| u.0).collect::<Vec<_>>()
    };
    assert_eq!(order(&side, 10_000, &[]), [64; 8]);
    assert_eq!(order(&side, 200, &[]), [64; 3]);
    assert_eq!(order(&side, 1100, &[1024]), [1024, 64]);
    assert_eq!(
        order(&side, 300, &[1024]),
        [256],
        "the next that is paid for"
    );
    side.buy(&[64; 6], NOW);
    side.begin_purchase(&[64], NOW);
    assert_eq!(order(&side, 10_000, &[64]), [64], "one is on its way");
    assert_eq!(order::split(Units(100)), [64, 16, 16, 16].map(Units));
    assert_eq!(order::split(Units(0)), []);
}

#[test]
fn a_key_is_given_to_one_connection_for_a_minute() {
    let mut side = Side::new(1);
    side.certify(2, NOW);
    let mut given = std::collections::BTreeMap::new();
    let mut pick = |now: UnixMs| {
        let row = keys::pick(&side.rows, &given, now)?;
        given.insert(row.index, now);
        Some(row.index)
    };
    assert_eq!((pick(NOW), pick(NOW), pick(NOW)), (Some(0), Some(1), None));
    assert_eq!(pick(NOW.plus_ms(60_000)), Some(0));
    assert_eq!(pick(NOW.plus_ms(30 * DAY_MS)), None);
}
