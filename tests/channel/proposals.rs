//! A payee on its own: which proposals and opens it takes, and what it answers to the others.

use dpay::channel::{Payee, PayeeAction, PayeeTerms, PeerFault};
use dpay::coin::{ChainValue, CoinCertificate, SecretKey, Seed};
use dpay::record::Path;
use dpay::units::{Day, PricePerGib, Units};
use dpay::wire::message::{FreePolicy, Message, RefuseReason};

use crate::pair::MIB;
use crate::purse::{CoinPolicy, EXPIRES, Purse, TODAY, broker};
use crate::world::World;

fn world() -> World {
    World::new(Purse::new(Units(1_000_000), CoinPolicy::Largest))
}

/// A payee on its own, and the wallet behind it.
fn payee(world: &World) -> Payee {
    let terms = PayeeTerms {
        piece_length_bytes: MIB,
        price: PricePerGib::new(1024).expect("a price"),
        brokers: vec![(broker().public(), "http://127.0.0.1:1".to_owned())],
        smallest_channel: Units(16),
        free: FreePolicy::Off,
        is_provisional: true,
    };
    let mut payee = Payee::new(terms, world.now);
    assert!(matches!(
        payee.poll_action(),
        Some(PayeeAction::Send(Message::Offer(_)))
    ));
    payee
}

/// Does what the payee wants done, as an honest wallet would; the messages that it sends.
fn answer(world: &mut World, payee: &mut Payee) -> Vec<Message> {
    let now = world.now;
    let mut sent = Vec::new();
    while let Some(action) = payee.poll_action() {
        match action {
            PayeeAction::Send(message) => sent.push(message),
            PayeeAction::Check {
                channel, holding, ..
            } => {
                let seen = world.purse.has_seen(&holding.id);
                let checked = if seen {
                    Err(RefuseReason::Seen)
                } else {
                    Ok(())
                };
                payee.handle_checked(now, channel, checked);
            }
            PayeeAction::NeedKey { channel } => {
                let (index, certificate) = world.purse.key(0);
                payee.handle_key(now, channel, index, certificate);
            }
            PayeeAction::RecordOpen {
                channel, holding, ..
            } => {
                let is_first = world.purse.record_open(holding.id);
                let recorded = if is_first {
                    Ok(())
                } else {
                    Err(RefuseReason::Seen)
                };
                payee.handle_open_recorded(now, channel, recorded);
            }
            PayeeAction::TakeUp { channel, spend, .. } => {
                let kept = world.purse.find(&spend);
                payee.handle_taken_up(now, channel, kept).expect("a tick");
            }
            _ => {}
        }
    }
    sent
}

fn propose(world: &mut World, payee: &mut Payee, channel: u32, path: Vec<u8>) -> Vec<Message> {
    let message = Message::Propose { channel, path };
    let result = payee.handle_message(world.now, &message);
    assert_eq!(result, Ok(()));
    answer(world, payee)
}

fn refusal(sent: &[Message]) -> Option<RefuseReason> {
    sent.iter().find_map(|message| match message {
        Message::Refused { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn one_coin_opened_on_two_connections_is_taken_on_one() {
    for at_once in [true, false] {
        let mut world = world();
        let reserved = world.purse.coin(Units(64));
        let (_, to) = world.purse.key(0);
        let (open, _) = world.purse.open(&reserved.holding, 0, to);
        let open = Message::Open { channel: 0, open };
        let mut first = payee(&world);
        let mut second = payee(&world);
        propose(&mut world, &mut first, 0, reserved.path.clone());
        if at_once {
            propose(&mut world, &mut second, 0, reserved.path.clone());
        }
        first.handle_message(world.now, &open).expect("a good open");
        let sent = answer(&mut world, &mut first);
        assert!(matches!(sent[..], [Message::Opened { .. }]), "{sent:?}");
        let sent = match at_once {
            true => {
                second
                    .handle_message(world.now, &open)
                    .expect("a good open");
                answer(&mut world, &mut second)
            }
            false => propose(&mut world, &mut second, 0, reserved.path.clone()),
        };
        assert_eq!(
            refusal(&sent),
            Some(RefuseReason::Seen),
            "at once: {at_once}"
        );
        assert_eq!(second.status().channels, 0);
    }
}

#[test]
fn after_three_failed_proposals_a_fourth_ends_the_connection() {
    let mut world = world();
    let mut payee = payee(&world);
    let path = || vec![1; 159];
    for channel in 0..3 {
        let sent = propose(&mut world, &mut payee, channel, path());
        assert_eq!(refusal(&sent), Some(RefuseReason::Path));
    }
    let message = Message::Propose {
        channel: 3,
        path: path(),
    };
    let result = payee.handle_message(world.now, &message);
    assert_eq!(result, Err(PeerFault::TooManyProposals));
}

#[test]
fn one_good_path_proposed_over_and_over_counts_as_failing() {
    let mut world = world();
    let mut payee = payee(&world);
    let path = world.purse.coin(Units(64)).path;
    for channel in 0..4 {
        let sent = propose(&mut world, &mut payee, channel, path.clone());
        assert!(
            matches!(sent[..], [Message::Due(_), Message::Key { .. }]),
            "{sent:?}"
        );
    }
    assert_eq!(payee.status().channels, 1);
    let message = Message::Propose { channel: 4, path };
    let result = payee.handle_message(world.now, &message);
    assert_eq!(result, Err(PeerFault::TooManyProposals));
}

#[test]
fn a_channel_number_is_used_once() {
    let mut world = world();
    let mut payee = payee(&world);
    let path = world.purse.coin(Units(64)).path;
    propose(&mut world, &mut payee, 7, path.clone());
    for channel in [7, 6] {
        let message = Message::Propose {
            channel,
            path: path.clone(),
        };
        let result = payee.handle_message(world.now, &message);
        assert_eq!(result, Err(PeerFault::ChannelReused(channel)));
    }
}

/// The payee's answer to a coin, with a byte of its signature changed or not.
fn refusal_of(value: u64, issuer: &SecretKey, expires: Day, spoil: bool) -> Option<RefuseReason> {
    let mut world = world();
    let mut payee = payee(&world);
    let holder = Seed::from_entropy([9; 32]).holder_key(0).public();
    let coin = CoinCertificate::issue(issuer, Units(value), holder, TODAY, expires, [0; 16]);
    let links = Vec::new();
    let mut path = Path { coin, links }.encode();
    path[157] ^= u8::from(spoil);
    refusal(&propose(&mut world, &mut payee, 0, path))
}

#[test]
fn a_proposal_is_refused_with_the_reason() {
    let foreign = SecretKey::from_bytes([0xF0; 32]);
    let cases = [
        (64, broker(), EXPIRES, false, None),
        (64, broker(), TODAY.plus(2), false, None),
        (64, broker(), EXPIRES, true, Some(RefuseReason::Path)),
        (64, foreign, EXPIRES, false, Some(RefuseReason::Broker)),
        (
            64,
            broker(),
            TODAY.plus(1),
            false,
            Some(RefuseReason::Expired),
        ),
        (15, broker(), EXPIRES, false, Some(RefuseReason::TooSmall)),
        (4097, broker(), EXPIRES, false, Some(RefuseReason::Path)),
    ];
    for (value, issuer, expires, spoil, reason) in cases {
        assert_eq!(refusal_of(value, &issuer, expires, spoil), reason);
    }
}

#[test]
fn a_resume_of_an_unknown_spend_is_refused_and_nothing_else_happens() {
    let mut world = world();
    let mut payee = payee(&world);
    let resume = Message::Resume {
        channel: 7,
        spend: dpay::coin::Commitment([1; 32]),
        k: 5,
        wk: ChainValue([2; 32]),
    };
    assert_eq!(payee.handle_message(world.now, &resume), Ok(()));
    let sent = answer(&mut world, &mut payee);
    assert_eq!(refusal(&sent), Some(RefuseReason::Unknown));
    assert_eq!(payee.allowance_bytes(), 0);
}
