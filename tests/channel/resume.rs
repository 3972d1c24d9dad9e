//! Channels that outlive connections and processes: nothing is opened anew, nobody pays twice, nobody
//! is served twice, and what was lost in a crash is made good.

use dpay::channel::{Payee, PayeeAction, PayeeTerms, PeerFault, Windows};
use dpay::coin::{ChainValue, Commitment};
use dpay::units::{PricePerGib, Units};
use dpay::wire::message::{FreePolicy, Message, OpenedState, RefuseReason, WaitReason};

use crate::pair::{MIB, Setup};
use crate::purse::{CoinPolicy, Purse, broker};
use crate::world::{MOST_AHEAD, World};

fn world() -> World {
    World::new(Purse::new(Units(1_000_000), CoinPolicy::Largest))
}

/// A unit for each piece of a megabyte, 40 of them.
fn setup() -> Setup {
    Setup::new(MIB, 40 * MIB, 1024)
}

/// A world in the middle of a download: more than 16 of 40 pieces are paid.
fn in_the_middle() -> World {
    let mut world = world();
    let pair = world.connect(setup());
    assert!(world.run(60_000, |w| w.pairs[pair].verified_bytes >= 17 * MIB));
    world
}

/// Connects again and fetches the rest; what was paid in all.
fn fetch_rest(world: &mut World, old: usize) -> Units {
    let pair = world.reconnect(old);
    let finished = world.run(60_000, |w| w.pairs[pair].is_finished());
    assert!(finished, "{:#?}", world.pairs[pair].payer.status());
    world.finish(pair);
    for pair in &world.pairs {
        assert!(pair.faults.is_empty(), "{:?}", pair.faults);
    }
    world.purse.settle_rest();
    world.purse.assert_resolved();
    world.purse.earned()
}

fn only_spend(world: &World) -> Commitment {
    assert_eq!(world.purse.spends.len(), 1, "one channel is enough");
    *world.purse.spends.keys().next().expect("one")
}

#[test]
fn a_dropped_connection_goes_on_with_its_channel_and_the_bill_is_exact() {
    let mut world = in_the_middle();
    let paid = world.pairs[0].payer.status().paid;
    world.disconnect(0);
    assert_eq!(world.pairs[0].payer.status().paid, paid, "not forgotten");
    assert_eq!(fetch_rest(&mut world, 0), Units(40));
    only_spend(&world);
    assert_eq!(world.pairs[1].resumed, 1);
}

#[test]
fn a_payee_that_hangs_up_as_soon_as_it_is_paid_ahead_gets_a_few_units_and_no_more() {
    let mut world = in_the_middle();
    let mut pair = 0;
    for _ in 0..100 {
        world.disconnect(pair);
        pair = world.reconnect(pair);
        // Nothing more is asked of it, so that nothing is served.
        world.pairs[pair].to_request.clear();
        world.pairs[pair].waiting.clear();
        world.run(1_000, |w| w.pairs[pair].resumed > 0);
    }
    world.finish(pair);
    let verified_bytes = world.pairs.iter().map(|pair| pair.verified_bytes).sum();
    let due = setup().price().due(verified_bytes);
    world.purse.settle_rest();
    world.purse.assert_resolved();
    let most = due.checked_add(MOST_AHEAD).expect("fits");
    let earned = world.purse.earned();
    assert!(earned <= most, "{earned} for {due}");
}

#[test]
fn a_channel_that_the_budget_forbids_is_closed_and_not_taken_up() {
    let mut world = in_the_middle();
    world.disconnect(0);
    let spend = only_spend(&world);
    let ticked = world.purse.spends[&spend].ticked;
    world.purse.may_pay_on = false;
    let pair = world.reconnect(0);
    world.run(5_000, |w| w.purse.spends[&spend].close.is_some());
    let close = world.purse.spends[&spend].close.expect("closed on request");
    assert_eq!((close.k, world.pairs[pair].resumed), (ticked, 0));
}

#[test]
fn a_payee_that_has_not_noticed_the_drop_lets_the_channel_go() {
    let mut world = in_the_middle();
    world.cut_payer(0);
    assert_eq!(fetch_rest(&mut world, 0), Units(40));
    only_spend(&world);
    assert_eq!(world.pairs[1].resumed, 1);
}

#[test]
fn a_payer_that_lost_count_in_a_crash_pays_no_unit_twice() {
    let mut world = in_the_middle();
    world.crash_payer();
    let spend = only_spend(&world);
    let row = &world.purse.spends[&spend];
    assert!(row.last_k() + 1 < row.received, "ticks are forgotten");
    let earned = fetch_rest(&mut world, 0);
    // A tick that was on its way when the payer crashed is lost to both.
    assert!((38..=40).contains(&earned.0), "{earned}");
    only_spend(&world);
}

#[test]
fn a_payee_that_lost_ticks_in_a_crash_is_raised_to_what_was_paid() {
    let mut world = in_the_middle();
    world.crash_payee(0);
    let spend = only_spend(&world);
    let row = &world.purse.spends[&spend];
    assert!(row.last_kept().0 < row.ticked, "ticks are forgotten");
    assert_eq!(fetch_rest(&mut world, 0), Units(40));
    only_spend(&world);
}

#[test]
fn both_may_crash() {
    let mut world = in_the_middle();
    world.crash_payee(0);
    world.crash_payer();
    let earned = fetch_rest(&mut world, 0);
    // What both forgot was paid once and is paid again at most: a second's ticks.
    assert!(earned <= Units(40), "{earned}");
    only_spend(&world);
}

#[test]
fn a_payee_that_lost_ticks_closes_at_the_payers_last_one() {
    let mut world = in_the_middle();
    world.crash_payee(0);
    let spend = only_spend(&world);
    let pair = world.reconnect(0);
    // It goes away again before anything is served.
    assert!(world.run(100, |w| w.pairs[pair].payer.status().channels > 0));
    world.finish(pair);
    let row = &world.purse.spends[&spend];
    let close = row.close.expect("closed on request");
    assert_eq!(close.k, row.ticked);
    world.purse.assert_resolved();
}

#[test]
fn an_open_that_was_lost_is_sent_again_unchanged() {
    let mut world = world();
    let pair = world.connect(setup());
    world.pairs[pair].tamper = Some(Box::new(|m| !matches!(m, Message::Open { .. })));
    world.run(60_000, |w| w.pairs[pair].opens > 0);
    world.disconnect(pair);
    assert_eq!(world.purse.never_closed(), Units(64), "locked");
    fetch_rest(&mut world, pair);
    only_spend(&world);
    assert_eq!(world.pairs[1].refusals, [RefuseReason::Unknown]);
    assert_eq!(world.purse.never_closed(), Units(0));
}

#[test]
fn a_crash_between_writing_the_spend_and_sending_it_loses_nothing() {
    let mut world = world();
    let pair = world.connect(setup());
    world.run(60_000, |w| w.pairs[pair].opens > 0);
    // The open is on its way and never arrives.
    world.cut_payee(pair);
    world.crash_payer();
    fetch_rest(&mut world, pair);
    only_spend(&world);
    assert_eq!(world.purse.never_closed(), Units(0));
}

#[test]
fn a_payee_that_closed_meanwhile_sends_its_close() {
    let mut world = in_the_middle();
    world.disconnect(0);
    world.run(1_000, |_| false);
    world.purse.close_kept();
    fetch_rest(&mut world, 0);
    assert_eq!(world.purse.spends.len(), 2, "the first is closed");
    assert!(world.pairs[1].resumed == 0 && world.pairs[1].free.is_empty());
}

#[test]
fn who_drops_and_comes_back_unpaid_gets_two_windows_and_no_more() {
    let mut world = world();
    let mut pair = world.connect(setup());
    let is_closed = |w: &World| w.purse.spends.values().any(|row| row.close.is_some());
    let mut served_bytes = 0;
    for _ in 0..8 {
        // It ticks nothing, and pays no more than the unit that each `resume` needs.
        let row = world.purse.spends.iter().next();
        let next = row.map(|(spend, row)| (row.last_kept().0 + 1, world.purse.chain_of(spend)));
        world.pairs[pair].tamper = Some(Box::new(move |message| {
            if let (Message::Resume { k, wk, .. }, Some((next, chain))) = (&mut *message, &next) {
                (*k, *wk) = (*next, chain.reveal(*next).expect("within the coin"));
            }
            !matches!(message, Message::Tick { .. })
        }));
        world.run(20_000, is_closed);
        served_bytes += world.pairs[pair].served_bytes;
        if is_closed(&world) {
            break;
        }
        world.disconnect(pair);
        pair = world.reconnect(pair);
    }
    let close = world.purse.spends.values().find_map(|row| row.close);
    let paid = Units(u64::from(close.expect("the payee closes").k));
    let windows = Windows::new(MIB, setup().price());
    let most = windows.paid_bytes(paid) + 2 * windows.accepted_bytes(paid);
    assert!(served_bytes <= most, "{served_bytes} of {most} for {paid}");
}

/// A payee on its own.
fn payee(world: &World) -> Payee {
    let terms = PayeeTerms {
        piece_length_bytes: MIB,
        price: PricePerGib::new(1024).expect("a price"),
        brokers: vec![(broker().public(), String::new())],
        smallest_channel: Units(1),
        free: FreePolicy::Off,
        is_provisional: true,
    };
    let mut payee = Payee::new(terms, world.now);
    assert!(payee.poll_action().is_some(), "its offer");
    payee
}

/// What a payee does about a `resume` at `k`, as of a wallet that kept the spend of `world`.
fn resume(world: &World, payee: &mut Payee, k: u32) -> Result<Vec<PayeeAction>, PeerFault> {
    let spend = only_spend(world);
    let row = &world.purse.spends[&spend];
    let wk = chain(world).reveal(k).expect("within the coin");
    assert!(u64::from(k) <= row.holding.value.0);
    let message = Message::Resume {
        channel: 3,
        spend,
        k,
        wk,
    };
    payee.handle_message(world.now, &message)?;
    let asked = payee.poll_action();
    assert!(
        matches!(asked, Some(PayeeAction::TakeUp { channel: 3, .. })),
        "{asked:?}"
    );
    payee.handle_taken_up(world.now, 3, world.purse.find(&spend))?;
    Ok(std::iter::from_fn(|| payee.poll_action()).collect())
}

fn chain(world: &World) -> dpay::coin::Chain {
    world.purse.chain_of(&only_spend(world))
}

#[test]
fn a_replayed_resume_is_served_nothing_until_a_new_tick() {
    let mut world = in_the_middle();
    world.disconnect(0);
    let spend = only_spend(&world);
    let (kept, _) = world.purse.spends[&spend].last_kept();
    for old in [1, kept - 1, kept] {
        let mut payee = payee(&world);
        let actions = resume(&world, &mut payee, old).expect("no fault");
        let answer = Message::Resumed {
            channel: 3,
            k: kept,
            wk: chain(&world).reveal(kept).expect("a value"),
        };
        assert_eq!(actions, [PayeeAction::Send(answer)]);
        assert_eq!(payee.allowance_bytes(), 0);
        payee.handle_held(world.now);
        payee.handle_timeout(world.now.plus_ms(1_000));
        let told = payee.poll_action();
        assert!(
            matches!(told, Some(PayeeAction::Send(Message::Due(due))) if due.why == WaitReason::Ticks && due.window_bytes == 0)
        );
        let (k, wk) = (kept + 1, chain(&world).reveal(kept + 1).expect("a value"));
        let tick = Message::Tick { channel: 3, k, wk };
        payee.handle_message(world.now, &tick).expect("a good tick");
        assert!(payee.allowance_bytes() > 2 * MIB);
        assert_eq!(payee.status().paid, Units(1), "of this connection");
    }
}

#[test]
fn a_replayed_resume_that_nobody_proves_goes_back_and_does_not_delay_the_close() {
    let mut world = in_the_middle();
    world.disconnect(0);
    let spend = only_spend(&world);
    let mut payee = payee(&world);
    resume(&world, &mut payee, 5).expect("no fault");
    let at = payee.next_timeout().expect("a deadline");
    payee.handle_timeout(at);
    let left = payee.poll_action();
    assert!(
        matches!(left, Some(PayeeAction::Left { spend: s, is_proven: false, .. }) if s == spend),
        "{left:?}"
    );
    assert_eq!(payee.status().channels, 0);
}

#[test]
fn a_resume_that_shows_no_tick_of_the_spend_is_a_fault_and_changes_nothing() {
    let mut world = in_the_middle();
    world.disconnect(0);
    let spend = only_spend(&world);
    let mut payee = payee(&world);
    let message = Message::Resume {
        channel: 0,
        spend,
        k: 30,
        wk: ChainValue([5; 32]),
    };
    payee
        .handle_message(world.now, &message)
        .expect("looked up");
    payee.poll_action();
    let result = payee.handle_taken_up(world.now, 0, world.purse.find(&spend));
    assert_eq!(result, Err(PeerFault::OutOfChain { channel: 0, k: 30 }));
    assert!(matches!(
        payee.poll_action(),
        Some(PayeeAction::Left {
            is_proven: false,
            ..
        })
    ));
}

#[test]
fn a_connection_lets_a_spend_go_for_a_new_tick_only() {
    let mut world = in_the_middle();
    world.disconnect(0);
    let spend = only_spend(&world);
    let (kept, _) = world.purse.spends[&spend].last_kept();
    let mut holder = payee(&world);
    let actions = resume(&world, &mut holder, kept + 1).expect("the payer");
    let accepted = Message::Opened {
        channel: 3,
        state: OpenedState::Accepted,
    };
    assert!(actions.contains(&PayeeAction::Send(accepted)));
    let shows = |k: u32| chain(&world).reveal(k).expect("a value");
    holder.handle_let_go(&spend, kept + 1, &shows(kept + 1));
    holder.handle_let_go(&spend, kept + 2, &shows(kept + 1));
    assert_eq!(holder.poll_action(), None, "an echo, and a lie");
    holder.handle_let_go(&spend, kept + 2, &shows(kept + 2));
    assert!(matches!(
        holder.poll_action(),
        Some(PayeeAction::Left {
            is_proven: true,
            ..
        })
    ));
    assert_eq!(holder.status().channels, 0);
}

#[test]
fn a_payee_that_claims_ticks_it_never_got_is_at_fault() {
    let mut world = in_the_middle();
    world.disconnect(0);
    let pair = world.reconnect(0);
    world.run(30, |w| w.pairs[pair].payer.status().channels > 0);
    let lie = Message::Resumed {
        channel: 0,
        k: 60,
        wk: ChainValue([6; 32]),
    };
    let now = world.now;
    let result = world.pairs[pair].payer.handle_message(now, &lie);
    assert_eq!(result, Err(PeerFault::BadResumed { channel: 0, k: 60 }));
}

#[test]
fn a_payer_looks_up_at_most_sixteen_spends_on_one_connection() {
    let world = world();
    let mut payee = payee(&world);
    let resume = |channel: u32| Message::Resume {
        channel,
        spend: Commitment([channel as u8; 32]),
        k: 1,
        wk: ChainValue([1; 32]),
    };
    for channel in 0..16 {
        let result = payee.handle_message(world.now, &resume(channel));
        assert_eq!(result, Ok(()));
        payee.poll_action();
        let unknown = dpay::channel::Kept::Unknown;
        payee
            .handle_taken_up(world.now, channel, unknown)
            .expect("refused");
    }
    let result = payee.handle_message(world.now, &resume(16));
    assert_eq!(result, Err(PeerFault::TooManyProposals));
}
