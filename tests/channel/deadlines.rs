//! Every state has a deadline: whoever does not answer is not waited for, and what was set aside
//! for it comes back.

use dpay::channel::{FreeReason, NoReserve, Payer, PayerAction, PayerTerms, STUCK_MS};
use dpay::coin::{Commitment, HoldingId};
use dpay::units::{PricePerGib, Units};
use dpay::wire::message::{Due, FreePolicy, Message, Offer, RefuseReason, WaitReason};

use crate::pair::{Judgement, MIB, Setup};
use crate::purse::{CoinPolicy, Purse, broker};
use crate::world::World;

fn world() -> World {
    World::new(Purse::new(Units(1_000_000), CoinPolicy::Largest))
}

/// A payer that has seen an acceptable offer and wants a hundred pieces.
fn payer(world: &World) -> Payer {
    payer_that_wants(world, 100)
}

fn payer_that_wants(world: &World, pieces: u64) -> Payer {
    let wants = |payer: &mut Payer| payer.handle_wanted(world.now, pieces * MIB);
    payer_offered(world, 1024, wants)
}

/// A payer that has seen an acceptable offer, after `before`.
fn payer_offered(world: &World, price: u64, before: impl FnOnce(&mut Payer)) -> Payer {
    let terms = PayerTerms {
        piece_length_bytes: MIB,
        max_price: PricePerGib::MAX,
        broker: broker().public(),
        is_known_payee: true,
        recalls: false,
        ahead: Units::ZERO,
        is_avoided: false,
    };
    let offer = Offer {
        version: 1,
        price: PricePerGib::new(price).expect("a price"),
        brokers: vec![(broker().public(), String::new())],
        smallest_channel: Units(1),
        free: FreePolicy::Leftover,
    };
    let mut payer = Payer::new(terms, world.now);
    before(&mut payer);
    (payer.handle_message(world.now, &Message::Offer(offer))).expect("an honest offer");
    payer
}

/// Lets the payer's next deadline pass; how long it was, and what the payer then does.
fn pass(world: &mut World, payer: &mut Payer) -> (u64, Vec<PayerAction>) {
    let at = payer.next_timeout().expect("every state has a deadline");
    let waited_ms = at.since_ms(world.now);
    world.now = at;
    payer.handle_timeout(at);
    (waited_ms, actions(payer))
}

fn actions(payer: &mut Payer) -> Vec<PayerAction> {
    std::iter::from_fn(|| payer.poll_action()).collect()
}

/// A payer whose spend the wallet is writing.
fn committing(world: &mut World) -> (Payer, HoldingId) {
    let mut payer = payer(world);
    let reserved = world.purse.coin(Units(64));
    payer.handle_reserved(world.now, 0, Ok(reserved.clone()));
    let (_, certificate) = world.purse.key(0);
    let key = Message::Key {
        channel: 0,
        certificate,
    };
    payer.handle_message(world.now, &key).expect("a good key");
    assert!(matches!(
        actions(&mut payer).last(),
        Some(PayerAction::Commit { .. })
    ));
    (payer, reserved.holding.id)
}

fn durable(world: &mut World, payer: &mut Payer, holding: HoldingId) -> Commitment {
    let (_, certificate) = world.purse.key(0);
    let (open, chain) = world.purse.commit(holding, certificate);
    payer.handle_open_durable(world.now, 0, holding, open, chain);
    open.commitment(&holding)
}

#[test]
fn who_asks_for_a_holding_says_what_the_next_channel_will_want() {
    let world = world();
    let mut then = Vec::new();
    for pieces in [64, 65, 100, 300, 1000] {
        let mut payer = payer_that_wants(&world, pieces);
        let asked = actions(&mut payer);
        let Some(PayerAction::Reserve {
            at_most,
            then: next,
            ..
        }) = asked.last()
        else {
            panic!("not asked: {asked:?}");
        };
        assert_eq!(*at_most, Units(64));
        then.push(next.0);
    }
    assert_eq!(then, [0, 16, 64, 256, 1024]);
}

#[test]
fn a_channel_is_sized_for_the_part_of_one_of_several_payees_but_no_smaller_than_its_speed_needs() {
    let world = world();
    let size = |sellers: u32, came_mib: u64| {
        let mut payer = payer_offered(&world, 16_384, |payer| {
            payer.handle_sellers(sellers);
            payer.handle_wanted(world.now, 1_000 * MIB);
            payer.handle_delivered(world.now.plus_ms(50), came_mib * MIB);
        });
        let asked = actions(&mut payer);
        let Some(PayerAction::Reserve { at_most, then, .. }) = asked.last() else {
            panic!("not asked: {asked:?}");
        };
        (at_most.0, then.0)
    };
    assert_eq!(size(1, 0), (1024, 4096));
    assert_eq!(size(100, 0), (256, 256), "10 MiB cost 160");
    assert_eq!(size(1_000, 0), (64, 64), "a window of 2 MiB");
    assert_eq!(size(100, 5), (1024, 4096), "200 MiB come in two seconds");
}

#[test]
fn what_is_not_there_yet_is_asked_for_again_soon_and_then_less_often() {
    let mut world = world();
    let mut payer = payer(&world);
    let mut waits_ms = Vec::new();
    let mut asked = actions(&mut payer);
    for _ in 0..6 {
        let Some(PayerAction::Reserve { channel, .. }) = asked.last() else {
            panic!("not asked: {asked:?}");
        };
        payer.handle_reserved(world.now, *channel, Err(NoReserve::NotYet));
        assert_eq!(actions(&mut payer), [], "nobody is told: it comes");
        let (waited_ms, again) = pass(&mut world, &mut payer);
        waits_ms.push(waited_ms);
        asked = again;
    }
    assert_eq!(waits_ms, [25, 50, 100, 200, 250, 250]);
}

#[test]
fn why_nothing_is_paid_is_said_as_long_as_something_is_wanted_and_nothing_given() {
    let mut world = world();
    let mut payer = payer(&world);
    let no_funds = FreeReason::Wallet(NoReserve::NoFunds);
    actions(&mut payer);
    payer.handle_reserved(world.now, 0, Err(NoReserve::NoFunds));
    assert_eq!(actions(&mut payer), [PayerAction::GoesFree(no_funds)]);
    assert_eq!(payer.status().unpaid, Some(no_funds));
    let (_, asked) = pass(&mut world, &mut payer);
    assert!(matches!(asked[..], [PayerAction::Reserve { .. }]));
    assert_eq!(
        payer.status().unpaid,
        Some(no_funds),
        "nothing is known yet"
    );
    // What comes free leaves nothing to be paid for.
    payer.handle_wanted(world.now, 0);
    assert_eq!(payer.status().unpaid, None);
    payer.handle_wanted(world.now, MIB);
    assert_eq!(payer.status().unpaid, Some(no_funds));
    let reserved = world.purse.coin(Units(64));
    payer.handle_reserved(world.now, 1, Ok(reserved));
    assert_eq!(payer.status().unpaid, None, "there is money now");
}

#[test]
fn a_payee_that_waits_for_ticks_while_nothing_moves_is_left_in_the_end() {
    let world = world();
    let mut payer = payer(&world);
    let waits = |why| {
        Message::Due(Due {
            acknowledged: Units::ZERO,
            due: Units(2),
            served_bytes: 2 * MIB,
            why,
            window_bytes: 0,
        })
    };
    let start = world.now;
    let hear = |payer: &mut Payer, at, why| {
        let heard = payer.handle_message(at, &waits(why));
        heard.expect("an honest payee");
    };
    hear(&mut payer, start, WaitReason::Ticks);
    let at = |s: u64| start.plus_ms(s * 1_000);
    hear(&mut payer, at(60), WaitReason::Ticks);
    assert!(!payer.is_stuck(at(119), STUCK_MS));
    assert!(payer.is_stuck(at(120), STUCK_MS), "nothing moved since");
    payer.handle_verified(at(120), 1);
    assert!(!payer.is_stuck(at(239), STUCK_MS));
    payer.handle_delivered(at(240), 1);
    assert!(!payer.is_stuck(at(400), STUCK_MS), "it serves again");
    hear(&mut payer, at(400), WaitReason::Ticks);
    hear(&mut payer, at(410), WaitReason::Coin);
    assert!(!payer.is_stuck(at(600), STUCK_MS), "that is not for ticks");
    hear(&mut payer, at(600), WaitReason::Ticks);
    payer.handle_unasked(at(700));
    assert!(!payer.is_stuck(at(819), STUCK_MS), "nothing was kept back");
    assert!(
        payer.is_stuck(at(820), STUCK_MS),
        "what was asked for then is"
    );
    payer.handle_wanted(at(600), 0);
    assert!(!payer.is_stuck(at(900), STUCK_MS), "nothing is wanted");
}

#[test]
fn a_wallet_that_does_not_answer_is_asked_again_later() {
    let mut world = world();
    let mut payer = payer(&world);
    let asked = actions(&mut payer);
    assert!(matches!(
        asked[..],
        [PayerAction::Reserve { channel: 0, .. }]
    ));
    let (waited_ms, after) = pass(&mut world, &mut payer);
    assert_eq!(waited_ms, 60_000);
    assert_eq!(after, [PayerAction::GoesFree(FreeReason::NoWallet)]);
    let (waited_ms, after) = pass(&mut world, &mut payer);
    assert_eq!(waited_ms, 30_000);
    assert!(matches!(
        after[..],
        [PayerAction::Reserve { channel: 1, .. }]
    ));
    let late = world.purse.coin(Units(64));
    let holding = late.holding.id;
    payer.handle_reserved(world.now, 0, Ok(late));
    let refused = None;
    assert_eq!(
        actions(&mut payer),
        [PayerAction::Release { holding, refused }]
    );
}

#[test]
fn a_payee_that_gives_no_key_is_left_after_a_minute_and_the_coin_is_free() {
    let mut world = world();
    let mut payer = payer(&world);
    let reserved = world.purse.coin(Units(64));
    let holding = reserved.holding.id;
    payer.handle_reserved(world.now, 0, Ok(reserved));
    actions(&mut payer);
    let (waited_ms, after) = pass(&mut world, &mut payer);
    assert_eq!(waited_ms, 60_000);
    let refused = None;
    let goes_free = PayerAction::GoesFree(FreeReason::NoAnswer);
    assert_eq!(
        after,
        [PayerAction::Release { holding, refused }, goes_free]
    );
    let (_, certificate) = world.purse.key(0);
    let late = Message::Key {
        channel: 0,
        certificate,
    };
    assert_eq!(payer.handle_message(world.now, &late), Ok(()), "no fault");
}

#[test]
fn a_spend_that_becomes_durable_too_late_ends_unused() {
    let mut world = world();
    let (mut payer, holding) = committing(&mut world);
    let (waited_ms, _) = pass(&mut world, &mut payer);
    assert_eq!(waited_ms, 60_000);
    let spend = durable(&mut world, &mut payer, holding);
    let ended = PayerAction::Ended { spend, k: 0 };
    assert_eq!(actions(&mut payer), [ended], "it is never sent");
}

#[test]
fn an_open_that_is_not_answered_is_asked_to_be_closed_and_then_left_to_the_wallet() {
    let mut world = world();
    let (mut payer, holding) = committing(&mut world);
    let spend = durable(&mut world, &mut payer, holding);
    actions(&mut payer);
    let (waited_ms, after) = pass(&mut world, &mut payer);
    assert_eq!(waited_ms, 90_000);
    let request = |action: &PayerAction| {
        matches!(
            action,
            PayerAction::Send(Message::CloseRequest { k: 0, .. })
        )
    };
    assert!(after.iter().any(request), "{after:?}");
    let (waited_ms, after) = pass(&mut world, &mut payer);
    assert_eq!(waited_ms, 30_000);
    assert!(
        after.contains(&PayerAction::Ended { spend, k: 0 }),
        "{after:?}"
    );
}

#[test]
fn nothing_signed_is_sent_before_it_is_durable() {
    let mut world = world();
    let (mut payer, holding) = committing(&mut world);
    let is_open = |action: &PayerAction| matches!(action, PayerAction::Send(Message::Open { .. }));
    assert!(!actions(&mut payer).iter().any(is_open));
    durable(&mut world, &mut payer, holding);
    assert!(actions(&mut payer).iter().any(is_open));
}

#[test]
fn a_dht_that_does_not_answer_is_undecided_after_a_minute() {
    let mut world = world();
    let pair = world.connect(Setup::new(MIB, 20 * MIB, 1024));
    world.pairs[pair].judgements.push_back(Judgement::Silence);
    let start = world.now;
    assert!(world.run(120_000, |w| !w.pairs[pair].refusals.is_empty()));
    assert_eq!(world.pairs[pair].refusals, [RefuseReason::Undecided]);
    assert!((60_000..61_000).contains(&world.now.since_ms(start)));
}

#[test]
fn an_idle_channel_is_closed_and_opened_again_when_requests_wait() {
    let mut world = world();
    let pair = world.connect(Setup::new(MIB, 40 * MIB, 1024));
    world.run(60_000, |w| w.pairs[pair].payee.status().paid >= Units(8));
    world.pairs[pair].stopped = true;
    world.run(20 * 60_000, |_| false);
    assert_eq!(world.pairs[pair].payee.status().channels, 0);
    assert_eq!(world.pairs[pair].payer.status().channels, 0);
    assert!(world.purse.spends.values().all(|row| row.settled));
    assert_eq!(world.pairs[pair].opens, 1, "nothing is locked meanwhile");
    world.pairs[pair].stopped = false;
    world.request(pair);
    assert!(world.run(60_000, |w| w.pairs[pair].is_finished()));
    world.finish(pair);
    assert_eq!(world.purse.earned(), Units(40));
}

#[test]
fn a_stop_while_the_spend_is_written_still_sends_it_so_that_it_can_be_closed() {
    let mut world = world();
    let (mut payer, holding) = committing(&mut world);
    payer.handle_stop(world.now);
    assert!(!payer.is_done());
    let spend = durable(&mut world, &mut payer, holding);
    let sent = actions(&mut payer);
    let [PayerAction::Send(open), PayerAction::Send(request)] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((open.kind(), request.kind()), ("open", "close_request"));
    payer.handle_disconnect(world.now);
    assert_eq!(actions(&mut payer), [PayerAction::Ended { spend, k: 0 }]);
    assert!(payer.is_done());
}
