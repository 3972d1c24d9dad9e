//! Honest pairs: the walk over pieces, prices and coins, roll-over, budgets, and what goes wrong
//! without anybody's fault.

use dpay::channel::{FreeReason, NoReserve};
use dpay::units::Units;
use dpay::wire::message::RefuseReason;

use crate::pair::{Judgement, KIB, MIB, Setup};
use crate::purse::{CoinPolicy, Purse};
use crate::world::World;

const RICH: Units = Units(1_000_000);

fn world(policy: CoinPolicy) -> World {
    World::new(Purse::new(RICH, policy))
}

/// Fetches everything; the bill is exact and nothing is left open. The longest gap between blocks.
fn fetch(setup: Setup, policy: CoinPolicy) -> (World, u64) {
    let due = setup.price().due(setup.length_bytes);
    let mut world = world(policy);
    let pair = world.connect(setup.clone());
    let finished = world.run(600_000, |w| w.pairs[pair].is_finished());
    assert!(
        finished && world.pairs[pair].faults.is_empty(),
        "{setup:?} {policy:?}: {:?} {:#?} {:#?}",
        world.pairs[pair].faults,
        world.pairs[pair].payer.status(),
        world.pairs[pair].payee.status(),
    );
    world.finish(pair);
    assert_eq!(world.purse.earned(), due, "{setup:?} {policy:?}");
    assert_eq!(world.pairs[pair].payer.status().paid, due);
    assert_eq!(world.pairs[pair].payee.status().paid, due);
    assert_eq!(world.pairs[pair].ended, 0, "every close came");
    world.purse.assert_resolved();
    assert_eq!(world.purse.free.0 + due.0, RICH.0);
    let gap_ms = world.pairs[pair].longest_gap_ms;
    (world, gap_ms)
}

/// Every piece length, price and coin of the protocol, for a torrent shorter than two pieces and for
/// one of more than five and 16 MiB: nobody waits longer than two acceptances (500 ms each) and their
/// messages, so nobody waits for the five seconds after which delivered blocks are paid. Two, where
/// the first coin buys no more than what was served before its acceptance.
fn walk(prices: &[u64]) {
    let coins = [1, 16, 64, 256, 1024, 4096].map(|coin| CoinPolicy::Near(Units(coin)));
    for exponent in 14..=24 {
        let piece_length_bytes = 1u64 << exponent;
        let long = 5 * piece_length_bytes + piece_length_bytes / 3;
        for &price in prices {
            for length_bytes in [2 * piece_length_bytes - 1, long.max(16 * MIB + 5)] {
                for policy in coins.into_iter().chain([CoinPolicy::Largest]) {
                    let setup = Setup::new(piece_length_bytes, length_bytes, price);
                    let (_, gap_ms) = fetch(setup.clone(), policy);
                    assert!(gap_ms < 1_200, "{setup:?} {policy:?}: {gap_ms} ms");
                }
            }
        }
    }
}

#[test]
fn no_honest_pair_stalls_at_low_prices() {
    walk(&[16, 17, 32, 64, 128, 100]);
}

#[test]
fn no_honest_pair_stalls_at_middle_prices() {
    walk(&[256, 512, 1024, 1000, 2048, 4096, 4095]);
}

#[test]
fn no_honest_pair_stalls_at_high_prices() {
    walk(&[8192, 16_384, 32_768, 65_535, 65_536]);
}

#[test]
fn a_torrent_of_any_length_is_paid_to_the_unit() {
    for length_bytes in [1, BLOCK, BLOCK + 1, MIB - 1, MIB, 3 * MIB + 77, 40 * MIB] {
        for price in [16, 1000, 65_536] {
            for policy in [CoinPolicy::Largest, CoinPolicy::Near(Units(1))] {
                fetch(Setup::new(256 * KIB, length_bytes, price), policy);
            }
        }
    }
}
const BLOCK: u64 = crate::pair::BLOCK_BYTES;

#[test]
fn without_provisional_service_the_open_comes_first() {
    let mut setup = Setup::new(MIB, 20 * MIB, 1024);
    setup.is_provisional = false;
    let (world, _) = fetch(setup, CoinPolicy::Largest);
    assert_eq!(world.pairs[0].opens, 1);
}

#[test]
fn a_long_transfer_takes_larger_and_larger_coins() {
    let mut setup = Setup::new(MIB, 1500 * MIB, 1024);
    setup.bytes_per_s = 50 * MIB;
    let (world, gap_ms) = fetch(setup, CoinPolicy::Largest);
    assert!(gap_ms < 1_500, "{gap_ms}");
    assert!(
        world.pairs[0].opens <= 16,
        "{} channels",
        world.pairs[0].opens
    );
    let largest = world
        .purse
        .spends
        .values()
        .map(|row| row.holding.value)
        .max();
    assert!(largest >= Some(Units(1024)), "{largest:?}");
}

#[test]
fn one_tick_may_finish_a_coin_and_begin_the_next() {
    // Pieces of 4 units and coins of 6.
    let setup = Setup::new(4 * MIB, 60 * MIB, 1024);
    let (world, gap_ms) = fetch(setup, CoinPolicy::Near(Units(6)));
    assert!(gap_ms < 1_500, "{gap_ms}");
    let through =
        (world.purse.spends.values()).filter(|row| u64::from(row.ticked) == row.holding.value.0);
    assert!(through.count() >= 6);
}

#[test]
fn a_slow_link_and_a_slow_network_only_cost_time() {
    let mut setup = Setup::new(MIB, 80 * MIB, 4096);
    setup.latency_ms = 300;
    setup.acceptance_ms = 20_000;
    fetch(setup, CoinPolicy::Largest);
}

#[test]
fn a_coin_that_is_being_bought_is_waited_for() {
    let mut world = world(CoinPolicy::Largest);
    world.purse.not_yet = 5;
    let pair = world.connect(Setup::new(MIB, 10 * MIB, 1024));
    assert!(world.run(60_000, |w| w.pairs[pair].is_finished()));
    assert!(world.pairs[pair].free.is_empty(), "it never went free");
    world.finish(pair);
    assert_eq!(world.purse.earned(), Units(10));
}

#[test]
fn three_payees_share_one_budget_and_the_last_ones_hear_why_it_ends() {
    let mut world = World::new(Purse::new(Units(100), CoinPolicy::Near(Units(16))));
    for _ in 0..3 {
        world.connect(Setup::new(MIB, 60 * MIB, 1024));
    }
    world.run(120_000, |w| w.pairs.iter().all(|p| p.is_finished()));
    for pair in 0..3 {
        assert!(world.pairs[pair].faults.is_empty());
        let reason = FreeReason::Wallet(NoReserve::OverBudget);
        assert!(world.pairs[pair].free.contains(&reason), "pair {pair}");
        assert_eq!(world.pairs[pair].payer.status().free, Some(reason));
        assert!(!world.pairs[pair].is_finished(), "180 MiB cost 180 units");
        world.finish(pair);
    }
    world.purse.assert_resolved();
    let earned = world.purse.earned();
    assert!(earned > Units(80) && earned <= Units(100), "{earned}");
}

#[test]
fn a_budget_that_ends_in_the_middle_is_used_up_and_no_more() {
    let mut world = World::new(Purse::new(Units(20), CoinPolicy::Largest));
    let pair = world.connect(Setup::new(MIB, 60 * MIB, 1024));
    assert!(!world.run(60_000, |w| w.pairs[pair].is_finished()));
    let served_bytes = world.pairs[pair].served_bytes;
    assert_eq!(
        served_bytes,
        21 * MIB - BLOCK,
        "all that 20 units buy, in whole blocks"
    );
    assert_eq!(world.pairs[pair].payer.status().paid, Units(20));
    assert_eq!(
        world.pairs[pair].free,
        [FreeReason::Wallet(NoReserve::OverBudget)]
    );
    world.finish(pair);
    world.purse.assert_resolved();
}

#[test]
fn a_price_above_the_limit_is_not_paid_and_the_reason_is_told() {
    let mut world = world(CoinPolicy::Largest);
    let mut setup = Setup::new(MIB, 10 * MIB, 1024);
    setup.max_price = 1023;
    let pair = world.connect(setup.clone());
    assert!(!world.run(60_000, |w| w.pairs[pair].is_finished()));
    let (asked, limit) = (
        setup.price(),
        dpay::units::PricePerGib::new(1023).expect("a price"),
    );
    assert_eq!(world.pairs[pair].free, [FreeReason::Price { asked, limit }]);
    assert_eq!(world.pairs[pair].opens, 0);
    assert_eq!(world.pairs[pair].served_bytes, 0);
}

#[test]
fn a_price_at_which_no_coin_buys_two_pieces_is_above_every_limit() {
    let mut world = world(CoinPolicy::Largest);
    let setup = Setup::new(64 * MIB, 128 * MIB, 65_536);
    let asked = setup.price();
    let pair = world.connect(setup);
    world.run(1_000, |w| w.pairs[pair].is_finished());
    assert_eq!(
        world.pairs[pair].free,
        [FreeReason::PriceForPieces { asked }]
    );
}

#[test]
fn an_undecided_open_is_closed_at_nothing_and_another_coin_is_taken() {
    let mut world = world(CoinPolicy::Largest);
    let pair = world.connect(Setup::new(MIB, 20 * MIB, 1024));
    world.pairs[pair]
        .judgements
        .extend([Judgement::Undecided, Judgement::Silence]);
    assert!(world.run(300_000, |w| w.pairs[pair].is_finished()));
    assert_eq!(world.pairs[pair].refusals, [RefuseReason::Undecided; 2]);
    assert_eq!(world.pairs[pair].opens, 3);
    world.finish(pair);
    assert_eq!(
        world.purse.earned(),
        Units(20),
        "the first two were closed at k = 0"
    );
    world.purse.assert_resolved();
}

#[test]
fn after_three_undecided_opens_the_payer_gives_up() {
    let mut world = world(CoinPolicy::Largest);
    let pair = world.connect(Setup::new(MIB, 20 * MIB, 1024));
    world.pairs[pair]
        .judgements
        .extend([Judgement::Undecided; 5]);
    assert!(!world.run(300_000, |w| w.pairs[pair].is_finished()));
    assert_eq!(world.pairs[pair].opens, 3);
    assert!(world.pairs[pair].faults.is_empty());
    assert_eq!(
        world.pairs[pair].free,
        [FreeReason::Refused(RefuseReason::Undecided); 2],
        "said at once, and when it is given up"
    );
    assert_eq!(world.pairs[pair].served_bytes, MIB, "the allowance, once");
    world.finish(pair);
    assert_eq!(world.purse.earned(), Units(0));
    world.purse.assert_resolved();
}

#[test]
fn pieces_that_never_verify_cost_no_one_else_the_transfer() {
    for wasted_pieces in [1, 2] {
        let mut setup = Setup::new(MIB, 20 * MIB, 1024);
        setup.wasted_pieces = wasted_pieces;
        let mut world = world(CoinPolicy::Near(Units(1)));
        let pair = world.connect(setup);
        assert!(
            world.run(300_000, |w| w.pairs[pair].is_finished()),
            "{:#?} {:#?}",
            world.pairs[pair].payer.status(),
            world.pairs[pair].payee.status()
        );
        world.finish(pair);
        let earned = world.purse.earned().0;
        assert!((20..=20 + wasted_pieces).contains(&earned), "{earned}");
        world.purse.assert_resolved();
    }
}

#[test]
fn pieces_that_hold_each_other_up_are_paid_after_five_seconds() {
    // Five pieces at once: the window is full of unfinished ones.
    let mut setup = Setup::new(MIB, 48 * MIB, 1024);
    setup.pieces_at_once = 5;
    let (world, gap_ms) = fetch(setup, CoinPolicy::Largest);
    assert!((5_000..7_000).contains(&gap_ms), "{gap_ms}");
    assert!(world.pairs[0].free.is_empty());
}

#[test]
fn a_lost_connection_is_closed_by_the_payee_at_the_last_tick() {
    let mut world = world(CoinPolicy::Largest);
    let pair = world.connect(Setup::new(MIB, 40 * MIB, 1024));
    world.run(60_000, |w| w.pairs[pair].verified_bytes >= 17 * MIB);
    world.disconnect(pair);
    world.finish(pair);
    assert_eq!(world.pairs[pair].ended, 1);
    world.purse.settle_rest();
    world.purse.assert_resolved();
    let earned = world.purse.earned();
    assert!(earned >= Units(16) && earned <= Units(17), "{earned}");
}

#[test]
fn a_payee_that_stops_closes_and_the_payer_learns_it() {
    let mut world = world(CoinPolicy::Largest);
    let pair = world.connect(Setup::new(MIB, 40 * MIB, 1024));
    world.run(60_000, |w| w.pairs[pair].verified_bytes >= 17 * MIB);
    let now = world.now;
    world.pairs[pair].payee.handle_stop(now);
    world.drive(pair);
    world.run(5_000, |_| false);
    assert_eq!(world.pairs[pair].payee.status().channels, 0);
    world.finish(pair);
    world.purse.assert_resolved();
    assert!(world.purse.earned() >= Units(16));
}

#[test]
fn nothing_wanted_for_a_minute_brings_the_change_back() {
    let mut world = world(CoinPolicy::Largest);
    let pair = world.connect(Setup::new(MIB, 10 * MIB, 1024));
    assert!(world.run(60_000, |w| w.pairs[pair].is_finished()));
    assert!(
        world.purse.free < Units(RICH.0 - 10),
        "change is still locked"
    );
    world.run(62_000, |_| false);
    assert_eq!(world.purse.free, Units(RICH.0 - 10));
    assert_eq!(world.pairs[pair].payer.status().channels, 0);
}
