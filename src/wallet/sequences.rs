//! Value is conserved over any sequence of actions of three wallets that pay each other and pass on
//! what they got, through lost messages, crashes, time and expiry; and no slot is ever signed for
//! twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{NOW, Side, TORRENT};
use super::keeping::{Diary, Rules, Task};
use super::rows::ReceivedState;
use super::trade::{Redeemable, Redeemed};
use super::*;
use crate::coin::chain::Chain;
use crate::coin::ids::{Commitment, HoldingId};
use crate::record::{MAX_LINKS_PROPOSE, OpenSpend};
use crate::units::{Units, UnixMs};

/// Wallets.
const SIDES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Buy {
        who: usize,
        sizes: Vec<usize>,
    },
    Reserve {
        who: usize,
        least: u64,
        most: u64,
    },
    Release {
        who: usize,
        which: usize,
    },
    Commit {
        who: usize,
        which: usize,
        /// Payee, counted on from the payer.
        to: usize,
        is_received: bool,
        is_accepted: bool,
    },
    Tick {
        which: usize,
        more: u32,
        payer_writes: bool,
        payee_writes: bool,
    },
    FixClose {
        which: usize,
        more: u32,
    },
    Close {
        which: usize,
        is_delivered: bool,
    },
    Redeem {
        who: usize,
        is_all: bool,
        answer: u8,
    },
    Answer {
        who: usize,
        answer: u8,
    },
    /// What a wallet does by itself, now or as soon as it is due.
    Keep {
        who: usize,
        is_all: bool,
        keep: u64,
        answer: u8,
    },
    Crash {
        who: usize,
    },
    Budget {
        who: usize,
        units: Option<u64>,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..SIDES;
    let index = 0..64usize;
    prop_oneof![
        2 => (who.clone(), prop::collection::vec(0..5usize, 1..6))
            .prop_map(|(who, sizes)| Step::Buy { who, sizes }),
        4 => (who.clone(), 1..80u64, 1..5000u64)
            .prop_map(|(who, least, most)| Step::Reserve { who, least, most }),
        1 => (who.clone(), index.clone()).prop_map(|(who, which)| Step::Release { who, which }),
        6 => (who.clone(), index.clone(), 1..SIDES, prop::bool::weighted(0.9), prop::bool::weighted(0.9))
            .prop_map(|(who, which, to, is_received, is_accepted)| Step::Commit {
                who, which, to, is_received, is_accepted
            }),
        3 => (who.clone(), any::<bool>(), 0..500u64, any::<u8>())
            .prop_map(|(who, is_all, keep, answer)| Step::Keep { who, is_all, keep, answer }),
        6 => (index.clone(), 1..200u32, prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(which, more, payer_writes, payee_writes)| Step::Tick {
                which, more, payer_writes, payee_writes
            }),
        1 => (index.clone(), 0..20u32).prop_map(|(which, more)| Step::FixClose { which, more }),
        3 => (index.clone(), prop::bool::weighted(0.8))
            .prop_map(|(which, is_delivered)| Step::Close { which, is_delivered }),
        2 => (who.clone(), any::<bool>(), any::<u8>())
            .prop_map(|(who, is_all, answer)| Step::Redeem { who, is_all, answer }),
        2 => (who.clone(), any::<u8>()).prop_map(|(who, answer)| Step::Answer { who, answer }),
        1 => who.clone().prop_map(|who| Step::Crash { who }),
        1 => (who, prop::option::of(0..3000u64))
            .prop_map(|(who, units)| Step::Budget { who, units }),
        1 => (0..3 * 86_400_000u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// A channel as both ends and the wire see it.
struct Wire {
    payer: usize,
    payee: usize,
    spend: Commitment,
    holding: HoldingId,
    open: OpenSpend,
    chain: Chain,
    sent: u32,
    is_received: bool,
}

struct World {
    sides: [Side; SIDES],
    wires: Vec<Wire>,
    now: UnixMs,
    /// What each spend slot was signed for, ever.
    signed: BTreeMap<HoldingId, String>,
    /// What each close slot was signed for, ever.
    closed: BTreeMap<Commitment, (u32, [u8; 32])>,
}

fn pick<T: Copy>(from: &[T], which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[which % from.len()])
}

impl World {
    fn new() -> World {
        World {
            sides: [Side::new(1), Side::new(2), Side::new(3)],
            wires: Vec::new(),
            now: NOW,
            signed: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    fn sign(&mut self, holding: HoldingId, what: String) {
        let first = self.signed.entry(holding).or_insert_with(|| what.clone());
        assert_eq!(*first, what, "a slot is signed for once");
    }

    fn run(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Buy { who, sizes } => {
                let values: Vec<u64> = sizes.iter().map(|i| SIZES[*i]).collect();
                self.sides[*who].buy(&values, now);
            }
            Step::Reserve { who, least, most } => {
                let side = &mut self.sides[*who];
                if let Ok(row) = side.reserve(*least, *most, now) {
                    assert!(row.holding.value >= Units(*least));
                    if let Some(budget) = side.rows.budgets.get(&TORRENT) {
                        assert!(side.rows.committed(&TORRENT, now) <= *budget);
                    }
                }
            }
            Step::Release { who, which } => {
                let side = &mut self.sides[*who];
                let ids: Vec<_> = side.rows.holdings.keys().copied().collect();
                if let Some(id) = pick(&ids, *which) {
                    side.write(paying::release(&side.rows, &id).expect("known"));
                }
            }
            Step::Commit {
                who,
                which,
                to,
                is_received,
                is_accepted,
            } => self.commit(*who, *which, *to, (*is_received, *is_accepted)),
            Step::Keep {
                who,
                is_all,
                keep,
                answer,
            } => self.keep(*who, *is_all, *keep, *answer),
            Step::Tick {
                which,
                more,
                payer_writes,
                payee_writes,
            } => self.tick(*which, *more, *payer_writes, *payee_writes),
            Step::FixClose { which, more } => self.fix_close(*which, *more),
            Step::Close {
                which,
                is_delivered,
            } => self.close(*which, *is_delivered),
            Step::Redeem {
                who,
                is_all,
                answer,
            } => self.redeem(*who, *is_all, *answer),
            Step::Answer { who, answer } => self.answer(*who, *answer),
            Step::Crash { who } => self.sides[*who].crash(),
            Step::Budget { who, units } => {
                let side = &mut self.sides[*who];
                let mut change = Change::on(&side.rows);
                change.budgets.push((TORRENT, units.map(Units)));
                side.write(change);
            }
            Step::Pass { ms } => self.now = now.plus_ms(*ms),
        }
        for side in &self.sides {
            deals::agree_with_books(&side.rows, self.now);
        }
    }

    fn commit(
        &mut self,
        payer: usize,
        which: usize,
        to: usize,
        (is_received, is_accepted): (bool, bool),
    ) {
        let (now, payee) = (self.now, (payer + to) % SIDES);
        let reserved: Vec<_> = self.sides[payer]
            .rows
            .holdings
            .values()
            .filter(|row| matches!(row.state, HoldingState::Reserved { .. }))
            .map(|row| row.holding.id)
            .collect();
        let Some(id) = pick(&reserved, which) else {
            return;
        };
        self.sides[payee].certify(1, now);
        let key = keys::pick(&self.sides[payee].rows, &BTreeMap::new(), now).expect("certified");
        let Ok((open, chain)) = self.sides[payer].commit(&id, key.certificate, now) else {
            return;
        };
        let spend = open.commitment(&id);
        self.sign(id, format!("spend {spend}"));
        let row = &self.sides[payer].rows.holdings[&id];
        assert!(row.links() <= MAX_LINKS_PROPOSE && row.passing == Passing::Yes);
        let path = row.path.clone();
        let payee_side = &mut self.sides[payee];
        let is_received = is_received && payee_side.receive(&path, open, now) == Ok(spend);
        if is_received && is_accepted {
            payee_side.write(earning::accepted(&payee_side.rows, &spend).expect("known"));
        }
        self.wires.push(Wire {
            payer,
            payee,
            spend,
            holding: id,
            open,
            chain,
            sent: 0,
            is_received,
        });
    }

    fn tick(&mut self, which: usize, more: u32, payer_writes: bool, payee_writes: bool) {
        let count = self.wires.len();
        let Some(wire) = self.wires.get_mut(which % count.max(1)) else {
            return;
        };
        wire.sent = wire.sent.saturating_add(more).min(wire.chain.value());
        let (spend, k) = (wire.spend, wire.sent);
        let wk = wire.chain.reveal(k).expect("in chain");
        if payer_writes {
            let side = &mut self.sides[wire.payer];
            side.write(paying::ticks(&side.rows, &[(spend, k)]).expect("fits"));
        }
        if payee_writes && wire.is_received {
            let side = &mut self.sides[wire.payee];
            let (change, bad) = earning::ticks(&side.rows, &[(spend, k, wk)]).expect("fits");
            assert!(bad.is_empty());
            side.write(change);
        }
    }

    fn fix_close(&mut self, which: usize, more: u32) {
        let count = self.wires.len();
        let Some(wire) = self.wires.get(which % count.max(1)) else {
            return;
        };
        if !wire.is_received {
            return;
        }
        let side = &mut self.sides[wire.payee];
        let k = side.rows.received[&wire.spend].k.saturating_add(more);
        let Some(wk) = wire.chain.reveal(k) else {
            return;
        };
        side.write(earning::fix_close(&side.rows, &wire.spend, k, &wk).expect("proven"));
    }

    fn close(&mut self, which: usize, is_delivered: bool) {
        let (now, count) = (self.now, self.wires.len());
        let Some(wire) = self.wires.get(which % count.max(1)) else {
            return;
        };
        if !wire.is_received {
            return;
        }
        let close = self.sides[wire.payee].close(&wire.spend, now);
        let bytes = (close.k, close.wk.0);
        let first = self.closed.entry(wire.spend).or_insert(bytes);
        assert_eq!(*first, bytes, "a close slot is signed for once");
        if is_delivered {
            let side = &mut self.sides[wire.payer];
            let open = &wire.open;
            let change = paying::closed(&side.rows, &wire.spend, open, &close, now);
            side.write(change.expect("good"));
        }
    }

    fn redeem(&mut self, who: usize, is_all: bool, answer: u8) {
        let which = if is_all {
            Redeemable::All
        } else {
            Redeemable::Earned
        };
        let side = &mut self.sides[who];
        let mut ids = trade::redeemable(&side.rows, which, self.now);
        ids.truncate(choose::MAX_BATCH);
        if !ids.is_empty() {
            let request = side.request();
            let change = trade::begin_redemption(&side.rows, request, &ids, self.now);
            side.write(change.expect("available"));
            for id in ids {
                self.sign(id, "redeem".to_owned());
            }
        }
        if answer < 200 {
            self.answer(who, answer);
        }
    }

    fn answer(&mut self, who: usize, answer: u8) {
        let (now, side) = (self.now, &mut self.sides[who]);
        let mut open = side.rows.redemptions.values();
        let Some(row) = open.find(|row| row.answers.is_none()).cloned() else {
            return;
        };
        let outcomes: Vec<Redeemed> = row
            .holdings
            .iter()
            .zip(0_u8..)
            .map(|(id, at)| match answer.wrapping_add(at) % 5 {
                0 => Redeemed::Refused {
                    why: "no".to_owned(),
                },
                1 => Redeemed::Waits {
                    until: answer.is_multiple_of(2).then_some(now),
                    why: "contested".to_owned(),
                },
                _ => Redeemed::Credited {
                    units: side.rows.holdings[id].holding.value,
                    pending_until: now,
                },
            })
            .collect();
        let receipt = vec![answer];
        let rest = side.request();
        let change = trade::redeemed(&side.rows, &row.request, &outcomes, receipt, rest, now);
        side.write(change.expect("fits"));
        self.asked_for_once(who);
    }

    /// What is being redeemed is in one redemption that is not answered, and nothing else is in any.
    fn asked_for_once(&self, who: usize) {
        let rows = &self.sides[who].rows;
        let open = rows
            .redemptions
            .values()
            .filter(|row| row.answers.is_none());
        let mut asked: Vec<HoldingId> = open.flat_map(|row| row.holdings.clone()).collect();
        asked.sort_unstable();
        let redeeming = |row: &&HoldingRow| matches!(row.state, HoldingState::Redeeming { .. });
        let rows = rows.holdings.values().filter(redeeming);
        assert_eq!(asked, rows.map(|row| row.holding.id).collect::<Vec<_>>());
    }

    /// Closes that never came are found, closes are read back, and what is due is presented and
    /// redeemed.
    fn keep(&mut self, who: usize, is_all: bool, keep: u64, answer: u8) {
        let now = self.now;
        let hold_ms = 86_400_000;
        let diary = Diary::default();
        for task in keeping::tasks(&self.sides[who].rows, &diary, hold_ms, now, is_all) {
            self.carry_out(who, task);
        }
        let side = &mut self.sides[who];
        let shown = keeping::to_present(&side.rows, now, is_all);
        side.write(keeping::presented(&side.rows, &shown, now));
        let again = keeping::to_present(&side.rows, now, true);
        assert!(shown.iter().all(|what| !again.contains(what)), "shown once");
        let rules = Rules { keep: Units(keep) };
        let mut ids = keeping::to_redeem(&side.rows, &rules, now, is_all);
        ids.truncate(choose::MAX_BATCH);
        if ids.is_empty() {
            return;
        }
        let request = side.request();
        let change = trade::begin_redemption(&side.rows, request, &ids, now);
        side.write(change.expect("available"));
        for id in ids {
            self.sign(id, "redeem".to_owned());
        }
        if answer < 200 {
            self.answer(who, answer);
        }
    }

    fn carry_out(&mut self, who: usize, task: Task) {
        let now = self.now;
        match task {
            Task::FindClose { spend, .. } => {
                let wire = self.wires.iter().position(|wire| wire.spend == spend);
                let which = wire.expect("every spend is a wire's");
                let payee = &self.sides[self.wires[which].payee];
                let row = payee.rows.received.get(&spend);
                if row.is_some_and(|row| row.close().is_some()) {
                    self.close(which, true);
                } else {
                    let side = &mut self.sides[who];
                    side.write(keeping::polled(&side.rows, &spend, now).expect("known"));
                }
            }
            Task::ReadBack { spend } => {
                let side = &mut self.sides[who];
                side.write(paying::read_back(&side.rows, &spend, now).expect("known"));
            }
            Task::PutClose { spend } => {
                let side = &mut self.sides[who];
                side.write(earning::put(&side.rows, &spend).expect("known"));
            }
            Task::PutAgain { place, .. } => assert!(place < 3),
        }
    }

    /// Closes every channel that was received, gives back every refused one, and counts.
    fn settle(&mut self) {
        for which in 0..self.wires.len() {
            self.close(which, true);
        }
        let lost: u64 = self
            .wires
            .iter()
            .filter(|wire| !wire.is_received)
            .map(|wire| u64::from(self.sides[wire.payer].rows.spends[&wire.spend].last_k))
            .sum();
        let sum = |f: fn(&Books) -> Units| -> u64 {
            self.sides.iter().map(|s| f(&s.rows.meta.books).0).sum()
        };
        let held: u64 = self.sides.iter().map(Side::held).sum();
        assert_eq!(sum(|b| b.paid), sum(|b| b.earned) + lost);
        assert_eq!(sum(|b| b.bought), held + sum(|b| b.redeemed) + lost);
        for side in &self.sides {
            for row in side.rows.received.values() {
                assert!(matches!(row.state, ReceivedState::Closed { .. }));
            }
        }
        for wire in &self.wires {
            let state = &self.sides[wire.payer].rows.holdings[&wire.holding].state;
            match state {
                HoldingState::Closed { .. } => assert!(wire.is_received),
                HoldingState::Locked { .. } => assert!(!wire.is_received),
                other => panic!("a spent holding is {other:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn value_is_conserved_over_any_sequence_of_actions(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.settle();
    }
}
