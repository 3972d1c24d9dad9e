//! Which holding is given, and why none is.

use super::choose::{choose, missed_size, orders, size_ahead};
use super::fixture::{NOW, Side, TORRENT, wish};
use super::tests::payee;
use super::{Change, Funds, HoldingState, Limits, NoCoin, Wish, paying};
use crate::units::{InfoHash, Units};

/// Why a second channel gets nothing from a wallet whose first one has the only coin. Half of its 140
/// units is 70, and 64 are promised: 6 are left, less than any coin.
fn why_none(budget: Option<u64>, pay_up_to: Option<u64>) -> NoCoin {
    let mut side = Side::new(1);
    side.buy(&[64], NOW);
    let mut change = Change::on(&side.rows);
    change.budgets.push((TORRENT, budget.map(Units)));
    side.write(change);
    let limits = Limits {
        pay_up_to: pay_up_to.map(Units),
        ..Limits::default()
    };
    let funds = Funds {
        buyable: Some(Units(76)),
        balance: Units(76),
        ..Funds::default()
    };
    let mut reserve = |least, most| {
        let wish = wish(least, most);
        let (change, row) = paying::reserve(&side.rows, &limits, &funds, &wish, NOW)?;
        side.write(change);
        Ok(row)
    };
    reserve(1, 64).expect("one always");
    reserve(1, 64).expect_err("no coin is so small")
}

/// What a wallet with these coins gives for a channel of at most 64 units.
fn given(coins: &[u64], buyable: Option<u64>, budget: Option<u64>) -> Result<u64, NoCoin> {
    let mut side = Side::new(1);
    if !coins.is_empty() {
        side.buy(coins, NOW);
    }
    let mut change = Change::on(&side.rows);
    change.budgets.push((TORRENT, budget.map(Units)));
    side.write(change);
    let funds = Funds {
        buyable: buyable.map(Units),
        ..Funds::default()
    };
    let row = choose(&side.rows, &Limits::default(), &funds, &wish(2, 64), NOW)?;
    Ok(row.holding.value.0)
}

#[test]
fn a_wallet_with_only_larger_coins_uses_the_smallest_that_budget_and_limits_allow() {
    let none = Some(12);
    assert_eq!(given(&[1024, 256, 4096], none, None), Ok(256));
    assert_eq!(
        given(&[1024, 256, 16], none, None),
        Ok(16),
        "what fits first"
    );
    assert_eq!(given(&[256, 1024], none, Some(256)), Ok(256));
    assert_eq!(given(&[256], none, Some(255)), Err(NoCoin::NoFunds));
    assert_eq!(
        given(&[256], Some(16), None),
        Err(NoCoin::NotYet),
        "16 are sold soon"
    );
    assert_eq!(
        given(&[256], None, None),
        Err(NoCoin::NotYet),
        "not known yet"
    );
    assert_eq!(given(&[], none, None), Err(NoCoin::NoFunds));
}

#[test]
fn money_in_coins_that_are_too_small_is_not_called_no_money() {
    let mut side = Side::new(1);
    side.buy(&[64; 8], NOW);
    let funds = Funds {
        buyable: Some(Units(100)),
        ..Funds::default()
    };
    let why = |least: u64| {
        let wish = wish(least, 256);
        let given = choose(&side.rows, &Limits::default(), &funds, &wish, NOW);
        given.map(|_| ()).expect_err("no coin is so large")
    };
    assert_eq!(why(65), NoCoin::TooSmall);
    assert_eq!(why(512), NoCoin::TooSmall);
    assert_eq!(why(513), NoCoin::NoFunds, "more than there is");
}

#[test]
fn a_larger_coin_that_is_still_to_be_read_is_waited_for() {
    let mut side = Side::new(1);
    side.buy(&[256], NOW);
    for row in side.rows.holdings.values_mut() {
        row.state = HoldingState::Unread;
    }
    let (limits, wish) = (Limits::default(), wish(2, 64));
    let mut funds = Funds {
        unreachable: true,
        is_reading: true,
        ..Funds::default()
    };
    let why = choose(&side.rows, &limits, &funds, &wish, NOW).map(|_| ());
    assert_eq!(why, Err(NoCoin::NotYet));
    let unread = paying::reserve_unread(&side.rows, &limits, &funds, &wish, NOW);
    assert_eq!(unread.map(|(_, row)| row.holding.value), Some(Units(256)));
    funds.is_reading = false;
    let why = choose(&side.rows, &limits, &funds, &wish, NOW).map(|_| ());
    assert_eq!(why, Err(NoCoin::NoFunds));
}

#[test]
fn a_coin_that_cannot_be_read_is_waited_for_only_where_none_like_it_can_be_bought() {
    let mut side = Side::new(1);
    side.buy(&[64], NOW);
    for row in side.rows.holdings.values_mut() {
        row.state = HoldingState::Unread;
    }
    let limits = Limits {
        at_hand: 0,
        ..Limits::default()
    };
    let mut funds = Funds {
        buyable: Some(Units(100)),
        is_reading: true,
        ..Funds::default()
    };
    let wanted = [(Units(64), Units(1))];
    assert_eq!(orders(&side.rows, &limits, &funds, &wanted, NOW), []);
    side.rows.unreadable = side.rows.holdings.keys().copied().collect();
    let ordered = orders(&side.rows, &limits, &funds, &wanted, NOW);
    assert_eq!(ordered, [Units(64)]);
    let why = |side: &Side, funds: &Funds| {
        choose(&side.rows, &limits, funds, &wish(33, 64), NOW).map(|_| ())
    };
    assert_eq!(why(&side, &funds), Err(NoCoin::NotYet), "it is bought");
    funds.buyable = Some(Units(60));
    assert_eq!(
        why(&side, &funds),
        Err(NoCoin::NotYet),
        "it may be read yet"
    );
    // A start buys no more than it did: what cannot be read counts as at hand.
    let limits = Limits {
        at_hand: 1,
        ..limits
    };
    funds.buyable = Some(Units(100));
    assert_eq!(orders(&side.rows, &limits, &funds, &[], NOW), []);
}

#[test]
fn a_torrent_that_pays_many_leaves_something_for_the_next_until_all_is_spent() {
    let mut side = Side::new(1);
    side.buy(
        &[1024, 1024, 256, 256, 256, 64, 64, 64, 64, 64, 64, 16, 16],
        NOW,
    );
    let limits = Limits {
        pay_up_to: Some(Units(1000)),
        ..Limits::default()
    };
    let funds = Funds {
        balance: Units(100_000),
        ..Funds::default()
    };
    let mut draw = |torrent: u8, least: u64| {
        let wish = Wish {
            info_hash: InfoHash([torrent; 20]),
            ..wish(least, 1024)
        };
        let chosen = paying::reserve(&side.rows, &limits, &funds, &wish, NOW);
        chosen.map(|(change, row)| {
            side.write(change);
            row.holding.value.0
        })
    };
    // Four seeders of the first one, then one of another.
    let first: Vec<_> = (0..4).map(|_| draw(1, 1)).collect();
    assert_eq!(first, [Ok(64); 4], "not the coins of 256");
    assert_eq!(draw(2, 1), Ok(64));
    // What of less is no use is given all the same, as long as it is there.
    assert_eq!(draw(3, 100), Ok(256));
    assert_eq!(draw(3, 500), Err(NoCoin::OverBudgetOfAll));
    let mut sum = 5 * 64 + 256;
    while let Ok(more) = draw(4, 1) {
        sum += more;
    }
    assert!(sum <= 1000, "{sum}");
}

#[test]
fn where_no_coin_fits_the_smaller_bound_is_the_reason() {
    assert_eq!(why_none(None, None), NoCoin::WalletLimit);
    assert_eq!(why_none(Some(1_000), None), NoCoin::WalletLimit);
    assert_eq!(why_none(None, Some(1_000)), NoCoin::WalletLimit);
    assert_eq!(why_none(Some(64 + 5), None), NoCoin::OverBudget);
    assert_eq!(why_none(None, Some(64 + 5)), NoCoin::OverBudgetOfAll);
    assert_eq!(why_none(Some(64 + 5), Some(64 + 6)), NoCoin::OverBudget);
    assert_eq!(
        why_none(Some(64 + 6), Some(64 + 5)),
        NoCoin::OverBudgetOfAll
    );
    assert_eq!(why_none(Some(64 + 7), Some(1_000)), NoCoin::WalletLimit);
}

#[test]
fn what_is_still_to_be_read_is_not_bought_again_but_stands_for_nothing_that_is_wanted() {
    let order = |unread: usize, is_reading, wanted: &[(Units, Units)]| {
        let mut side = Side::new(1);
        side.buy(&vec![64; unread], NOW);
        for row in side.rows.holdings.values_mut() {
            row.state = HoldingState::Unread;
        }
        let funds = Funds {
            buyable: Some(Units(10_000)),
            is_reading,
            ..Funds::default()
        };
        orders(&side.rows, &Limits::default(), &funds, wanted, NOW).len()
    };
    let wanted = (Units(64), Units(1));
    for is_reading in [true, false] {
        assert_eq!(order(6, is_reading, &[]), 2, "two are missing of eight");
        assert_eq!(order(6, is_reading, &[wanted]), 2);
    }
    assert_eq!(order(8, true, &[wanted]), 0, "it is read soon");
    assert_eq!(order(8, false, &[wanted]), 1, "nothing else can be used");
}

#[test]
fn what_the_next_channel_wants_is_bought_ahead_where_it_is_a_small_part_of_what_there_is() {
    let ahead = |coins: &[u64], buyable: u64, budget: Option<u64>| {
        let mut side = Side::new(1);
        side.buy(coins, NOW);
        let mut change = Change::on(&side.rows);
        change.budgets.push((TORRENT, budget.map(Units)));
        side.write(change);
        let funds = Funds {
            buyable: Some(Units(buyable)),
            balance: Units(buyable),
            ..Funds::default()
        };
        let size = size_ahead(&side.rows, &Limits::default(), &funds, &wish(1, 256), NOW);
        size.map(|size| size.0)
    };
    assert_eq!(ahead(&[64], 1024, None), Some(256));
    assert_eq!(ahead(&[64], 1023, None), None, "more than a quarter");
    assert_eq!(ahead(&[64, 256], 1024, None), None, "at hand");
    assert_eq!(
        ahead(&[64], 10_000, Some(100)),
        None,
        "64 is what the budget allows"
    );
    assert_eq!(ahead(&[16], 10_000, Some(100)), Some(64));
}

#[test]
fn nobody_waits_for_a_purchase_that_is_not_answered_and_other_coins_are_bought_meanwhile() {
    let mut side = Side::new(1);
    let held = side.begin_purchase(&[64], NOW);
    let limits = Limits {
        at_hand: 0,
        ..Limits::default()
    };
    let mut funds = Funds {
        buyable: Some(Units(2000)),
        ..Funds::default()
    };
    let why = |side: &Side, funds: &Funds, (least, most): (u64, u64)| {
        choose(&side.rows, &limits, funds, &wish(least, most), NOW).map(|_| ())
    };
    let missed = |side: &Side, funds: &Funds, (least, most): (u64, u64)| {
        missed_size(&side.rows, &limits, funds, &wish(least, most), None, NOW)
    };
    assert_eq!(why(&side, &funds, (1, 64)), Err(NoCoin::NotYet), "it comes");
    funds.held = [held].into();
    // Another size that suits, smaller or larger, is bought in its place.
    for (wish, size) in [((1, 64), 16), ((33, 256), 256), ((1, 1024), 1024)] {
        assert_eq!(why(&side, &funds, wish), Err(NoCoin::NotYet), "{wish:?}");
        let size = Units(size);
        assert_eq!(missed(&side, &funds, wish), Some(size), "{wish:?}");
        let wanted = [(size, Units(wish.0))];
        assert_eq!(orders(&side.rows, &limits, &funds, &wanted, NOW), [size]);
    }
    // None else suits: that is not to have no money, and a larger coin at hand is used.
    assert_eq!(why(&side, &funds, (33, 64)), Err(NoCoin::Unanswered));
    assert_eq!(missed(&side, &funds, (33, 64)), None);
    let ordered = |wanted: u64, buyable: u64| {
        let funds = Funds {
            buyable: Some(Units(buyable)),
            ..funds.clone()
        };
        let wanted = [(Units(wanted), Units(1))];
        orders(&side.rows, &limits, &funds, &wanted, NOW)
    };
    assert_eq!(ordered(64, 1000), [Units(16)], "not the same again");
    assert_eq!(
        ordered(256, 100),
        [Units(16)],
        "as much as there is money for"
    );
    assert_eq!(ordered(16, 15), []);
    let poor = Funds {
        buyable: Some(Units(15)),
        ..funds.clone()
    };
    assert_eq!(why(&side, &poor, (1, 64)), Err(NoCoin::Unanswered));
    assert_eq!(why(&side, &poor, (65, 256)), Err(NoCoin::NoFunds));
    side.begin_purchase(&[16], NOW);
    assert_eq!(
        why(&side, &poor, (1, 64)),
        Err(NoCoin::NotYet),
        "another comes"
    );
    side.buy(&[256], NOW);
    let given = choose(&side.rows, &limits, &poor, &wish(33, 64), NOW);
    assert_eq!(given.map(|row| row.holding.value), Ok(Units(256)));
}

#[test]
fn a_coin_below_what_is_of_use_is_not_bought_for_want_of_money_for_a_larger_one() {
    let side = Side::new(1);
    let limits = Limits {
        at_hand: 0,
        ..Limits::default()
    };
    let ordered = |least: u64, buyable: u64| {
        let funds = Funds {
            buyable: Some(Units(buyable)),
            ..Funds::default()
        };
        let wish = wish(least, 256);
        let missed = missed_size(&side.rows, &limits, &funds, &wish, None, NOW);
        let missed = missed.map(|size| (size, wish.at_least));
        orders(&side.rows, &limits, &funds, missed.as_slice(), NOW)
    };
    assert_eq!(ordered(65, 255), [], "64 would buy nothing that it wants");
    assert_eq!(ordered(65, 256), [Units(256)]);
    assert_eq!(ordered(64, 255), [Units(64)]);
}

#[test]
fn good_faith_counts_for_four_times_what_it_was_shown_in() {
    for (value, exposed) in [(256, (0, Units::ZERO)), (1024, (1, Units(1024)))] {
        let mut side = Side::new(1);
        side.buy(&[64, value, 4096], NOW);
        for most in [64, value] {
            let row = side.reserve(most, most, NOW).expect("half of the wallet");
            assert_eq!(row.holding.value, Units(most));
            side.commit(&row.holding.id, payee(1), NOW)
                .expect("reserved");
        }
        let small = side.rows.spends.values().find(|row| row.value == Units(64));
        let small = small.expect("open").spend;
        side.write(paying::ticks(&side.rows, &[(small, 48)]).expect("fits"));
        assert_eq!(super::choose::exposed(&side.rows, NOW), exposed);
    }
}
