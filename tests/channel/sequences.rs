//! Random sequences: whatever happens, every unit is accounted for, nothing panics, and everything
//! resolves.

use dpay::channel::{
    FreeReason, Kept, KeptOpen, NoReserve, Payee, PayeeAction, PayeeTerms, Payer, PayerTerms,
    Windows,
};
use dpay::coin::ChainValue;
use dpay::record::{ClosePart, Doubt, Path, Verdict};
use dpay::units::{PricePerGib, Units};
use dpay::wire::message::{FreePolicy, Message, Offer, RefuseReason};
use proptest::prelude::*;

use crate::pair::{Judgement, KIB, MIB, Setup};
use crate::pokes::{Asked, PayeePoke, PayerPoke, payee_poke, payer_poke};
use crate::purse::{CoinPolicy, Purse, broker};
use crate::world::World;

/// What happens to a world besides the passing of time.
#[derive(Clone, Copy, Debug)]
enum Step {
    Run(u64),
    Connect,
    Disconnect(usize),
    Cut(usize, bool),
    Reconnect(usize),
    CrashPayer,
    CrashPayee(usize),
    StopPayer(usize),
    StopPayee(usize),
    Judge(usize, Judgement),
    NotYet(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let judgement = prop_oneof![
        Just(Judgement::Undecided),
        Just(Judgement::Conflict),
        Just(Judgement::Silence),
    ];
    prop_oneof![
        6 => (1u64..4_000).prop_map(Step::Run),
        2 => Just(Step::Connect),
        1 => (0usize..8).prop_map(Step::Disconnect),
        1 => (0usize..8, any::<bool>()).prop_map(|(pair, payer)| Step::Cut(pair, payer)),
        3 => (0usize..8).prop_map(Step::Reconnect),
        1 => Just(Step::CrashPayer),
        1 => (0usize..4).prop_map(Step::CrashPayee),
        1 => (0usize..4).prop_map(Step::StopPayer),
        1 => (0usize..4).prop_map(Step::StopPayee),
        1 => (0usize..4, judgement).prop_map(|(pair, judgement)| Step::Judge(pair, judgement)),
        1 => (1u32..9).prop_map(Step::NotYet),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        14u32..=22,
        1u64..24 * MIB,
        16u64..=65_536,
        0u64..3,
        1u64..6,
        any::<bool>(),
    )
        .prop_map(
            |(exponent, length_bytes, price, wasted_pieces, pieces_at_once, is_provisional)| {
                let mut setup = Setup::new(1 << exponent, length_bytes.max(64 * KIB), price);
                setup.pieces_at_once = pieces_at_once;
                setup.wasted_pieces = wasted_pieces.min(length_bytes >> exponent);
                setup.is_provisional = is_provisional;
                setup
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Several payees under one budget, with connections that are lost and come back, processes that
    /// crash, ends that stop, opens that are not accepted, coins that are not there: no unit is made or lost, no honest peer is ever
    /// at fault, nobody serves more than a window ahead, and nothing stays open.
    #[test]
    fn value_is_conserved_whatever_happens(
        setup in setup(),
        money in 1u64..5_000,
        coin in 1u64..5_000,
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut world = World::new(Purse::new(Units(money), CoinPolicy::Near(Units(coin))));
        world.connect(setup.clone());
        for step in steps {
            take(&mut world, &setup, step);
        }
        let windows = Windows::new(setup.piece_length_bytes, setup.price());
        for pair in 0..world.pairs.len() {
            world.finish(pair);
            let this = &world.pairs[pair];
            prop_assert!(this.faults.is_empty(), "{:?}", this.faults);
            let status = this.payee.status();
            let ahead_bytes = this.served_bytes.saturating_sub(windows.paid_bytes(status.paid));
            let most = windows.accepted_bytes(status.paid).max(windows.provisional_bytes());
            prop_assert!(ahead_bytes <= most, "{ahead_bytes} of {most}");
        }
        world.purse.settle_rest();
        world.purse.assert_resolved();
        // Each connection's bytes, and a unit ahead for each channel that was taken up.
        let due: u64 = world.pairs.iter().map(|pair| {
            pair.setup.price().due(pair.served_bytes).0 + u64::from(pair.resumed)
        }).sum();
        prop_assert!(world.purse.earned().0 <= due, "{} of {due}", world.purse.earned());
        let all = world.purse.free.0 + world.purse.earned().0 + world.purse.never_closed().0;
        prop_assert_eq!(all, money);
    }

    /// Whatever the torrent, the price, the coins and the network are like: an honest pair gets
    /// everything through and the bill is exact, however many pieces are fetched in turn.
    #[test]
    fn any_honest_pair_finishes(
        mut setup in setup(),
        coin in 1u64..5_000,
        latency_ms in 1u64..400,
        acceptance_ms in 10u64..20_000,
        kib_per_s in 64u64..200_000,
    ) {
        setup.latency_ms = latency_ms;
        setup.acceptance_ms = acceptance_ms;
        setup.bytes_per_s = kib_per_s * KIB;
        setup.wasted_pieces = 0;
        let due = setup.price().due(setup.length_bytes);
        let mut world = World::new(Purse::new(Units(1_000_000), CoinPolicy::Near(Units(coin))));
        let pair = world.connect(setup);
        let finished = world.run(4_000_000, |w| w.pairs[pair].is_finished());
        prop_assert!(finished, "{:#?}", world.pairs[pair].payee);
        world.finish(pair);
        world.purse.assert_resolved();
        prop_assert_eq!(world.purse.earned(), due);
        prop_assert!(world.pairs[pair].faults.is_empty() && world.pairs[pair].free.is_empty());
    }

    /// Connections that are lost at any moment, by either end or both, and processes that end in the
    /// middle stop no download; the payer pays for what it got, and the payee loses no more than
    /// windows and a second's ticks.
    #[test]
    fn an_honest_pair_finishes_over_any_drops(
        mut setup in setup(),
        coin in 1u64..5_000,
        drops in prop::collection::vec((1u64..6_000, 0u8..5), 0..6),
    ) {
        setup.wasted_pieces = 0;
        let mut world = World::new(Purse::new(Units(1_000_000), CoinPolicy::Near(Units(coin))));
        let mut pair = world.connect(setup);
        for (ms, kind) in drops {
            if world.run(ms, |w| w.pairs[pair].is_finished()) {
                break;
            }
            match kind {
                0 => world.disconnect(pair),
                1 => world.cut_payer(pair),
                2 => world.crash_payer(),
                3 => world.crash_payee(0),
                _ => {
                    world.crash_payee(0);
                    world.crash_payer();
                }
            }
            pair = world.reconnect(pair);
        }
        let finished = world.run(4_000_000, |w| w.pairs[pair].is_finished());
        prop_assert!(finished, "{:#?}", world.pairs[pair].payee);
        for pair in 0..world.pairs.len() {
            world.finish(pair);
            let faults = &world.pairs[pair].faults;
            prop_assert!(faults.is_empty(), "{faults:?}");
        }
        world.purse.settle_rest();
        world.purse.assert_resolved();
    }

    /// No message in any order makes a payee panic, loop or keep a channel for ever.
    #[test]
    fn a_payee_survives_everything(pokes in prop::collection::vec(payee_poke(), 0..60)) {
        let mut world = World::new(Purse::new(Units(1_000_000), CoinPolicy::Largest));
        let mut payee = Payee::new(payee_terms(), world.now);
        let coins: Vec<_> = (0..4).map(|_| world.purse.coin(Units(16))).collect();
        let (_, certificate) = world.purse.key(0);
        let opens: Vec<_> = coins.iter().zip(0..)
            .map(|(coin, index)| world.purse.open(&coin.holding, index, certificate))
            .collect();
        for poke in pokes {
            let now = world.now;
            let at = |index: u32| &coins[index as usize % coins.len()];
            let open = |index: u32| &opens[index as usize % opens.len()];
            match poke {
                PayeePoke::Propose(channel) => {
                    let path = at(channel).path.clone();
                    let _ = payee.handle_message(now, &Message::Propose { channel, path });
                }
                PayeePoke::Open(channel, coin) => {
                    let message = Message::Open { channel, open: open(coin).0 };
                    let _ = payee.handle_message(now, &message);
                }
                PayeePoke::Tick(channel, k) => {
                    let wk = open(channel).1.reveal(k).unwrap_or(ChainValue([0; 32]));
                    let _ = payee.handle_message(now, &Message::Tick { channel, k, wk });
                }
                PayeePoke::CloseRequest(channel, k) => {
                    let (open, chain) = open(channel);
                    let spend = open.commitment(&at(channel).holding.id);
                    let wk = chain.reveal(k).unwrap_or(ChainValue([0; 32]));
                    let _ = payee.handle_message(now, &Message::CloseRequest { spend, k, wk });
                }
                PayeePoke::Any(message) => {
                    let _ = payee.handle_message(now, &message);
                }
                PayeePoke::Checked(channel, ok) => {
                    payee.handle_checked(now, channel, ok.then_some(()).ok_or(RefuseReason::Seen));
                }
                PayeePoke::Key(channel) => payee.handle_key(now, channel, 0, certificate),
                PayeePoke::NoKey(channel) => payee.handle_no_key(now, channel),
                PayeePoke::Recorded(channel, ok) => payee.handle_open_recorded(
                    now, channel, ok.then_some(()).ok_or(RefuseReason::Seen),
                ),
                PayeePoke::Verdict(channel, ok) => {
                    let why = Doubt::TooFewCopies { copies: [0; 3] };
                    let verdict = if ok { Verdict::Accepted } else { Verdict::Undecided { why } };
                    payee.handle_verdict(now, channel, verdict);
                }
                PayeePoke::Closed(channel) => {
                    let close = ClosePart { k: 0, wk: ChainValue([0; 32]), signatures: open(0).0.signatures };
                    payee.handle_closed(now, channel, close);
                }
                PayeePoke::Served(bytes) => payee.handle_served(now, bytes.min(payee.allowance_bytes())),
                PayeePoke::Held => payee.handle_held(now),
                PayeePoke::Wait(ms) => {
                    world.now = now.plus_ms(ms);
                    payee.handle_timeout(world.now);
                }
                PayeePoke::Stop => payee.handle_stop(now),
                PayeePoke::Resume(channel, coin, k) => {
                    let (open, chain) = open(coin);
                    let spend = open.commitment(&at(coin).holding.id);
                    let wk = chain.reveal(k).unwrap_or(ChainValue([0; 32]));
                    let resume = Message::Resume { channel, spend, k, wk };
                    let _ = payee.handle_message(now, &resume);
                }
                PayeePoke::TakenUp(channel, coin) => {
                    let (open, chain) = open(coin);
                    let reserved = at(coin);
                    let kept = KeptOpen {
                        path: Path::decode(&reserved.path, 8).expect("a path"),
                        holding: reserved.holding,
                        open: *open,
                        k: 4,
                        wk: chain.reveal(4).expect("of 16"),
                        is_accepted: coin % 2 == 0,
                        unpaid_bytes: u64::from(coin) << 22,
                    };
                    let _ = payee.handle_taken_up(now, channel, Kept::Open(Box::new(kept)));
                }
                PayeePoke::LetGo(coin, k) => {
                    let (open, chain) = open(coin);
                    let wk = chain.reveal(k).unwrap_or(ChainValue([0; 32]));
                    payee.handle_let_go(&open.commitment(&at(coin).holding.id), k, &wk);
                }
            }
            while payee.poll_action().is_some() {}
            let next = payee.next_timeout();
            prop_assert!(next.is_none_or(|at| at > world.now));
            let status = payee.status();
            prop_assert!(status.paid.0 <= 16 * 4);
        }
        payee.handle_disconnect();
        while let Some(action) = payee.poll_action() {
            prop_assert!(!matches!(action, PayeeAction::Send(_)));
        }
        let mut turns = 0;
        while let Some(at) = payee.next_timeout() {
            payee.handle_timeout(at);
            while payee.poll_action().is_some() {}
            turns += 1;
            prop_assert!(turns < 100);
        }
        prop_assert!(payee.is_done());
    }

    /// The same for a payer; and what the wallet set aside or spent for it is always resolved.
    #[test]
    fn a_payer_survives_everything(pokes in prop::collection::vec(payer_poke(), 0..60)) {
        let mut world = World::new(Purse::new(Units(1_000_000), CoinPolicy::Largest));
        let mut payer = Payer::new(payer_terms(), world.now);
        let (_, certificate) = world.purse.key(0);
        let mut asked = Asked::default();
        for poke in pokes {
            let now = world.now;
            match poke {
                PayerPoke::Offer(price) => {
                    let _ = payer.handle_message(now, &offer(price));
                }
                PayerPoke::Key(channel) => {
                    let _ = payer.handle_message(now, &Message::Key { channel, certificate });
                }
                PayerPoke::Any(message) => {
                    let _ = payer.handle_message(now, &message);
                }
                PayerPoke::Reserved(ok) => if let Some((channel, at_most)) = asked.reserves.pop() {
                    let answer = if ok { Ok(world.purse.coin(at_most)) } else { Err(NoReserve::NoFunds) };
                    asked.unresolved += u32::from(ok);
                    payer.handle_reserved(now, channel, answer);
                },
                PayerPoke::Durable(ok) => if let Some((channel, holding)) = asked.commits.pop() {
                    if ok {
                        let (open, chain) = world.purse.commit(holding, certificate);
                        payer.handle_open_durable(now, channel, holding, open, chain);
                    } else {
                        asked.unresolved -= 1;
                        payer.handle_commit_failed(now, channel, FreeReason::NoSpend);
                    }
                },
                PayerPoke::Delivered(bytes) => payer.handle_delivered(now, bytes),
                PayerPoke::Verified(bytes) => payer.handle_verified(now, bytes),
                PayerPoke::Wanted(bytes) => payer.handle_wanted(now, bytes),
                PayerPoke::Wait(ms) => {
                    world.now = now.plus_ms(ms);
                    payer.handle_timeout(world.now);
                }
                PayerPoke::Stop => payer.handle_stop(now),
            }
            asked.drain(&mut payer);
        }
        payer.handle_disconnect(world.now);
        asked.drain(&mut payer);
        for (channel, at_most) in std::mem::take(&mut asked.reserves) {
            let reserved = world.purse.coin(at_most);
            asked.unresolved += 1;
            payer.handle_reserved(world.now, channel, Ok(reserved));
        }
        for (channel, holding) in std::mem::take(&mut asked.commits) {
            let (open, chain) = world.purse.commit(holding, certificate);
            payer.handle_open_durable(world.now, channel, holding, open, chain);
        }
        asked.drain(&mut payer);
        prop_assert!(payer.is_done());
        prop_assert_eq!(asked.unresolved, 0, "every holding is released, closed or ended");
    }
}

fn take(world: &mut World, setup: &Setup, step: Step) {
    let pairs = world.pairs.len();
    match step {
        Step::Run(ms) => {
            world.run(ms, |_| false);
        }
        Step::Connect if pairs < 4 => {
            world.connect(setup.clone());
        }
        Step::Disconnect(pair) if pair < pairs => world.disconnect(pair),
        Step::Cut(pair, true) if pair < pairs => world.cut_payer(pair),
        Step::Cut(pair, false) if pair < pairs => world.cut_payee(pair),
        Step::Reconnect(pair) if pair < pairs && pairs < 12 && !world.pairs[pair].is_finished() => {
            world.cut_payer(pair);
            world.reconnect(pair);
        }
        Step::CrashPayer => world.crash_payer(),
        Step::CrashPayee(identity) => world.crash_payee(identity),
        Step::StopPayer(pair) if pair < pairs => world.stop(pair),
        Step::StopPayee(pair) if pair < pairs && !world.pairs[pair].payee_crashed => {
            let now = world.now;
            world.pairs[pair].payee.handle_stop(now);
            world.drive(pair);
        }
        Step::Judge(pair, judgement) if pair < pairs => {
            world.pairs[pair].judgements.push_back(judgement);
        }
        Step::NotYet(times) => world.purse.not_yet += times,
        _ => {}
    }
}

fn payee_terms() -> PayeeTerms {
    PayeeTerms {
        piece_length_bytes: MIB,
        price: PricePerGib::new(1024).expect("a price"),
        brokers: vec![(broker().public(), String::new())],
        smallest_channel: Units(1),
        free: FreePolicy::Off,
        is_provisional: true,
    }
}

fn payer_terms() -> PayerTerms {
    PayerTerms {
        piece_length_bytes: MIB,
        max_price: PricePerGib::MAX,
        broker: broker().public(),
        is_known_payee: false,
        recalls: false,
        ahead: Units::ZERO,
        is_avoided: false,
    }
}

fn offer(price: u64) -> Message {
    Message::Offer(Offer {
        version: 1,
        price: PricePerGib::new(price).expect("a price"),
        brokers: vec![(broker().public(), String::new())],
        smallest_channel: Units(1),
        free: FreePolicy::Off,
    })
}
