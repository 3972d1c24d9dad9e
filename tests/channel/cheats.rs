//! Peers that do what no honest peer does: each gains a window at most.

use dpay::channel::{FreeReason, Payer, PayerAction, PayerTerms, PeerFault};
use dpay::coin::{ChainValue, PseudonymCertificate, SecretKey, Seed};
use dpay::record::{ClosePart, FraudProof};
use dpay::units::{PricePerGib, Units};
use dpay::wire::message::{FreePolicy, Message, Offer, RefuseReason};

use crate::pair::{Judgement, MIB, Setup};
use crate::purse::{CoinPolicy, EXPIRES, Purse, TODAY, broker};
use crate::world::World;

fn world() -> World {
    World::new(Purse::new(Units(1_000_000), CoinPolicy::Largest))
}

/// A megabyte a unit, pieces of a megabyte.
fn setup() -> Setup {
    Setup::new(MIB, 60 * MIB, 1024)
}

#[test]
fn a_leecher_that_never_ticks_gets_the_first_window_and_then_nothing() {
    let mut world = world();
    let pair = world.connect(setup());
    world.pairs[pair].tamper = Some(Box::new(|m| !matches!(m, Message::Tick { .. })));
    world.run(600_000, |_| false);
    assert_eq!(
        world.pairs[pair].served_bytes,
        3 * MIB,
        "2 MiB and one unit"
    );
    assert_eq!(world.pairs[pair].payee.status().paid, Units(0));
}

#[test]
fn a_leecher_that_stops_ticking_gets_exactly_its_window() {
    let mut world = world();
    let pair = world.connect(setup());
    let cheats = |m: &mut Message| !matches!(m, Message::Tick { k, .. } if *k > 8);
    world.pairs[pair].tamper = Some(Box::new(cheats));
    world.run(600_000, |_| false);
    assert_eq!(world.pairs[pair].payee.status().paid, Units(8));
    let window_bytes = 2 * MIB + MIB + MIB;
    assert_eq!(world.pairs[pair].served_bytes, 8 * MIB + window_bytes);
}

#[test]
fn a_leecher_that_never_opens_gets_one_allowance_however_often_it_proposes() {
    let mut world = world();
    let pair = world.connect(setup());
    world.pairs[pair].tamper = Some(Box::new(|m| !matches!(m, Message::Open { .. })));
    world.run(1_200_000, |_| false);
    assert!(world.pairs[pair].opens > 1);
    assert_eq!(world.pairs[pair].served_bytes, MIB);
}

#[test]
fn a_payee_whose_pieces_never_verify_gets_one_window_at_risk_and_no_more() {
    // Its gateway drops such a peer at the first piece that fails; here none ever completes.
    let mut world = world();
    let mut garbage = setup();
    garbage.wasted_pieces = 200;
    let pair = world.connect(garbage);
    world.run(1_000_000, |_| false);
    world.finish(pair);
    assert_eq!(world.purse.earned(), Units(3), "2 MiB and one unit");
    world.purse.assert_resolved();
}

#[test]
fn who_was_paid_a_window_in_vain_gets_none_on_its_next_connection() {
    let mut world = world();
    let mut garbage = setup();
    garbage.wasted_pieces = 200;
    let pair = world.connect(garbage.clone());
    world.run(1_000_000, |_| false);
    world.disconnect(pair);
    garbage.ahead = world.pairs[pair].payer.ahead();
    assert_eq!(garbage.ahead, Units(3));
    let next = world.connect(garbage);
    world.run(1_000_000, |_| false);
    world.finish(next);
    assert_eq!(world.pairs[next].payer.ahead(), Units(0));
    assert_eq!(world.purse.earned(), Units(3), "as after the first");
}

/// Runs until eight units are ticked, lets the payer send one bad tick; the fault, and what the
/// payee earned.
fn bad_tick(change: impl Fn(&mut u32, &mut ChainValue) + 'static) -> (PeerFault, u32) {
    let mut world = world();
    let pair = world.connect(setup());
    world.pairs[pair].tamper = Some(Box::new(move |message| {
        if let Message::Tick { k, wk, .. } = message
            && *k > 8
        {
            change(k, wk);
        }
        true
    }));
    world.run(60_000, |w| !w.pairs[pair].faults.is_empty());
    world.finish(pair);
    world.purse.settle_rest();
    world.purse.assert_resolved();
    assert_eq!(world.pairs[pair].faults.len(), 1);
    let row = world.purse.spends.values().next().expect("one spend");
    (
        world.pairs[pair].faults[0].clone(),
        row.close.expect("closed").k,
    )
}

#[test]
fn a_tick_out_of_chain_ends_the_connection_and_the_payee_keeps_what_was_ticked() {
    let (fault, earned) = bad_tick(|_, wk| wk.0[0] ^= 1);
    assert_eq!(
        (fault, earned),
        (PeerFault::OutOfChain { channel: 0, k: 9 }, 8)
    );
    let (fault, earned) = bad_tick(|k, _| *k += 1);
    assert_eq!(
        (fault, earned),
        (PeerFault::OutOfChain { channel: 0, k: 10 }, 8)
    );
    let (fault, earned) = bad_tick(|k, _| *k = 4096);
    assert_eq!(
        (fault, earned),
        (
            PeerFault::OutOfChain {
                channel: 0,
                k: 4096
            },
            8
        )
    );
    let (fault, earned) = bad_tick(|k, _| *k = 3);
    assert_eq!(
        (fault, earned),
        (PeerFault::OutOfChain { channel: 0, k: 3 }, 8)
    );
}

#[test]
fn a_conflict_refuses_the_open_shows_both_items_and_costs_the_payer_nothing() {
    let mut world = world();
    let pair = world.connect(setup());
    world.pairs[pair].judgements.push_back(Judgement::Conflict);
    world.run(30_000, |_| false);
    assert_eq!(world.pairs[pair].refusals, [RefuseReason::Conflict]);
    let reason = FreeReason::Refused(RefuseReason::Conflict);
    assert_eq!(world.pairs[pair].free, [reason]);
    assert_eq!(world.pairs[pair].opens, 1, "this payee is avoided");
    let proof = FraudProof::decode(&world.pairs[pair].proofs[0]).expect("a proof");
    let accepts = |key: &_| *key == broker().public();
    let cheat = proof.verify(&accepts).expect("it holds");
    let row = world.purse.spends.values().next().expect("one spend");
    assert_eq!(cheat, row.holding.key);
    world.finish(pair);
    assert_eq!(world.purse.earned(), Units(0));
    world.purse.assert_resolved();
}

#[test]
fn a_conflict_seen_after_acceptance_closes_at_what_is_ticked() {
    let mut world = world();
    let pair = world.connect(setup());
    world.run(60_000, |w| w.pairs[pair].payee.status().paid >= Units(8));
    world.pairs[pair].judgements.push_back(Judgement::Conflict);
    let spend = *world.purse.spends.keys().next().expect("one spend");
    world.judge(pair, 0, spend);
    world.drive(pair);
    world.run(1_000, |_| false);
    assert_eq!(world.pairs[pair].proofs.len(), 1);
    assert!(
        world.purse.spends[&spend]
            .close
            .is_some_and(|close| close.k >= 8)
    );
}

#[test]
fn a_second_open_on_a_channel_ends_the_connection() {
    let mut world = world();
    let pair = world.connect(setup());
    world.run(60_000, |w| w.pairs[pair].payee.status().paid >= Units(8));
    let (spend, row) = world.purse.spends.iter().next().expect("one spend");
    let same = Message::Open {
        channel: 0,
        open: row.open,
    };
    let other = world.purse.open_again(spend);
    let other = Message::Open {
        channel: 0,
        open: other,
    };
    world.message_to_payee(pair, &same.encode());
    assert!(
        world.pairs[pair].faults.is_empty(),
        "the same open may come again"
    );
    world.message_to_payee(pair, &other.encode());
    assert_eq!(world.pairs[pair].faults, [PeerFault::OtherOpen(0)]);
    world.finish(pair);
    world.purse.settle_rest();
    assert!(world.purse.earned() >= Units(8));
    world.purse.assert_balanced();
}

/// A payer with an offer and one proposal under way.
fn payer() -> (World, Payer) {
    let mut world = world();
    let terms = PayerTerms {
        piece_length_bytes: MIB,
        max_price: PricePerGib::MAX,
        broker: broker().public(),
        is_known_payee: true,
        recalls: false,
        ahead: Units::ZERO,
        is_avoided: false,
    };
    let mut payer = Payer::new(terms, world.now);
    payer.handle_wanted(world.now, 100 * MIB);
    payer
        .handle_message(world.now, &offer(1024))
        .expect("an honest offer");
    let reserved = world.purse.coin(Units(64));
    payer.handle_reserved(world.now, 0, Ok(reserved));
    while payer.poll_action().is_some() {}
    (world, payer)
}

fn offer(price: u64) -> Message {
    Message::Offer(Offer {
        version: 1,
        price: PricePerGib::new(price).expect("a price"),
        brokers: vec![(broker().public(), "http://127.0.0.1:1".to_owned())],
        smallest_channel: Units(1),
        free: FreePolicy::Leftover,
    })
}

#[test]
fn a_payee_may_not_change_its_price() {
    let (world, mut payer) = payer();
    assert_eq!(payer.handle_message(world.now, &offer(1024)), Ok(()));
    assert_eq!(
        payer.handle_message(world.now, &offer(1025)),
        Err(PeerFault::OfferChanged)
    );
}

#[test]
fn a_key_of_another_broker_expired_or_forged_is_not_spent_to() {
    let key = SecretKey::from_bytes([3; 32]).public();
    let foreign = SecretKey::from_bytes([0xF0; 32]);
    let mut forged = PseudonymCertificate::issue(&broker(), key, EXPIRES);
    forged.expires = EXPIRES.plus(1);
    for certificate in [
        PseudonymCertificate::issue(&foreign, key, EXPIRES),
        PseudonymCertificate::issue(&broker(), key, TODAY),
        forged,
    ] {
        let (world, mut payer) = payer();
        let message = Message::Key {
            channel: 0,
            certificate,
        };
        let result = payer.handle_message(world.now, &message);
        assert!(
            matches!(result, Err(PeerFault::BadKey { channel: 0, .. })),
            "{result:?}"
        );
        payer.handle_disconnect(world.now);
        assert!(matches!(
            payer.poll_action(),
            Some(PayerAction::Release { .. })
        ));
        assert!(payer.is_done());
    }
}

#[test]
fn a_close_that_is_not_signed_or_not_in_the_chain_is_no_close() {
    let (mut world, mut payer) = payer();
    let (_, certificate) = world.purse.key(0);
    payer
        .handle_message(
            world.now,
            &Message::Key {
                channel: 0,
                certificate,
            },
        )
        .expect("a good key");
    let Some(PayerAction::Commit { holding, .. }) = payer.poll_action() else {
        panic!("a known payee gets its open at once");
    };
    let (open, chain) = world.purse.commit(holding, certificate);
    payer.handle_open_durable(world.now, 0, holding, open, chain.clone());
    let spend = open.commitment(&holding);
    let payee = Seed::from_entropy([8; 32]).holder_key(0);
    let good = ClosePart::sign(
        &payee,
        &holding,
        &open,
        3,
        chain.reveal(3).expect("a value"),
    );
    let out_of_chain = ClosePart::sign(&payee, &holding, &open, 4, good.wk);
    let unsigned = ClosePart { k: 2, ..good };
    for close in [out_of_chain, unsigned] {
        let result = payer
            .clone()
            .handle_message(world.now, &Message::Close { spend, close });
        assert!(matches!(result, Err(PeerFault::BadClose(_))), "{result:?}");
    }
    let close = good;
    assert_eq!(
        payer.handle_message(world.now, &Message::Close { spend, close }),
        Ok(())
    );
}

#[test]
fn messages_that_fit_to_no_state_are_faults() {
    let (world, mut payer) = payer();
    let opened = |channel| Message::Opened {
        channel,
        state: dpay::wire::message::OpenedState::Accepted,
    };
    let unexpected = PeerFault::Unexpected { kind: "opened" };
    assert_eq!(payer.handle_message(world.now, &opened(0)), Err(unexpected));
    let unknown = PeerFault::UnknownChannel {
        kind: "opened",
        channel: 9,
    };
    assert_eq!(payer.handle_message(world.now, &opened(9)), Err(unknown));
    let tick = Message::Tick {
        channel: 0,
        k: 1,
        wk: ChainValue([0; 32]),
    };
    let wrong_way = PeerFault::Unexpected { kind: "tick" };
    assert_eq!(payer.handle_message(world.now, &tick), Err(wrong_way));
}
