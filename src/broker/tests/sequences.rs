//! Whatever is done in whatever order: no unit is made, none is lost.

use proptest::prelude::*;

use super::book::{Book, Held, Person};
use crate::broker::answer::{ItemAnswer, RefusalCode};
use crate::broker::{Action, Operation};
use crate::units::Units;

/// One step; indices are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Deposit {
        who: u8,
        units: u64,
    },
    Buy {
        who: u8,
        size: usize,
    },
    Pay {
        held: usize,
        payee: u8,
        k: u32,
        variant: u8,
    },
    Redeem {
        held: usize,
        variant: u8,
    },
    Present {
        held: usize,
        open_to: Option<u8>,
    },
    Withdraw {
        who: u8,
        units: u64,
    },
    PayOut,
    Pass {
        ms: u64,
    },
    Judge {
        contest: usize,
        stands: usize,
        also: usize,
    },
    Settle,
    Unsuspend {
        who: u8,
    },
}

/// Few people, few holdings and few amounts, so that branches of one tree meet often.
fn step() -> impl Strategy<Value = Step> {
    let held = || prop_oneof![0usize..6, any::<usize>()];
    let k = prop_oneof![Just(0u32), Just(7), Just(10), Just(16), 0u32..300];
    prop_oneof![
        1 => (0u8..4, 1u64..5_000).prop_map(|(who, units)| Step::Deposit { who, units }),
        3 => (0u8..4, 0usize..4).prop_map(|(who, size)| Step::Buy { who, size }),
        9 => (held(), 0u8..3, k, 0u8..2)
            .prop_map(|(held, payee, k, variant)| Step::Pay { held, payee, k, variant }),
        9 => (held(), 0u8..2).prop_map(|(held, variant)| Step::Redeem { held, variant }),
        3 => (held(), prop::option::of(0u8..4))
            .prop_map(|(held, open_to)| Step::Present { held, open_to }),
        1 => (0u8..4, 1u64..3_000).prop_map(|(who, units)| Step::Withdraw { who, units }),
        1 => Just(Step::PayOut),
        2 => (0u64..50_000_000).prop_map(|ms| Step::Pass { ms }),
        3 => (any::<usize>(), 0usize..4, 0usize..4)
            .prop_map(|(contest, stands, also)| Step::Judge { contest, stands, also }),
        1 => Just(Step::Settle),
        1 => (0u8..4).prop_map(|who| Step::Unsuspend { who }),
    ]
}

/// What a run did, so that the test can see that it did something.
#[derive(Default, Debug)]
struct Seen {
    redeemed: u64,
    refused: u64,
    contested: u64,
    judged: u64,
}

fn run(book: &mut Book, pool: &mut Vec<Held>, step: Step, seen: &mut Seen) {
    let pick =
        |held: usize, pool: &[Held]| (!pool.is_empty()).then(|| pool[held % pool.len()].clone());
    match step {
        Step::Deposit { who, units } => book.deposit(Person(who), units),
        Step::Buy { who, size } => {
            if let Ok(held) = book.buy(Person(who), [16, 64, 256, 1024][size]) {
                pool.push(held);
            }
        }
        Step::Pay {
            held,
            payee,
            k,
            variant,
        } => {
            let Some(held) = pick(held, pool) else { return };
            let value = u32::try_from(held.path.holding().unwrap().value.0).unwrap();
            if held.path.links.len() < 8 {
                let shares = book.pay(&held, Person(payee), k % (value + 1), variant);
                pool.extend(shares.into_iter().flatten());
            }
        }
        Step::Redeem { held, variant } => {
            let Some(held) = pick(held, pool) else { return };
            count(&book.redeem(&held, variant), seen);
        }
        Step::Present { held, open_to } => {
            let Some(held) = pick(held, pool) else { return };
            let open = open_to.map(|payee| book.open(&held, Person(payee), 0).0);
            count(&book.present(&held, open), seen);
        }
        Step::Withdraw { who, units } => {
            let destination = "bank".to_owned();
            let units = Units(units);
            let _ = book.ask(Person(who), Action::Withdraw { units, destination });
        }
        Step::PayOut => {
            for id in book.queued() {
                book.operate(Operation::MarkPaid(id)).unwrap();
                book.operate(Operation::MarkPaid(id)).unwrap();
            }
        }
        Step::Pass { ms } => book.now = book.now.plus_ms(ms),
        Step::Judge {
            contest,
            stands,
            also,
        } => {
            let open = book.contests();
            if open.is_empty() {
                return;
            }
            let slot = open[contest % open.len()].slot;
            let statements = book.statements_in(slot);
            let copies: Vec<_> = [(stands, 9), (also, 3)]
                .into_iter()
                .filter_map(|(n, copies)| Some((*statements.get(n)?, copies)))
                .collect();
            seen.judged += u64::from(book.judge(slot, &copies));
        }
        Step::Settle => {
            book.settle();
        }
        Step::Unsuspend { who } => {
            let account = Person(who).account();
            let suspended = false;
            book.operate(Operation::Suspend { account, suspended })
                .unwrap();
        }
    }
}

fn count(answer: &ItemAnswer, seen: &mut Seen) {
    match answer {
        ItemAnswer::Redeemed { .. } => seen.redeemed += 1,
        ItemAnswer::Presented { .. } => {}
        ItemAnswer::Contested { .. } => seen.contested += 1,
        ItemAnswer::Refused(refusal) => {
            assert!(
                matches!(
                    refusal.code,
                    RefusalCode::Conflict | RefusalCode::Expired | RefusalCode::TooMany
                ),
                "{refusal:?}"
            );
            seen.refused += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn value_is_conserved_over_any_sequence(
        hold in prop_oneof![Just(0u64), Just(20_000_000)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut book = Book::new(hold, 1_000);
        let (mut pool, mut seen) = (Vec::new(), Seen::default());
        for who in (0..4).map(Person) {
            book.deposit(who, 3_000);
            book.ask(who, book.certify(who.key().public())).unwrap();
        }
        for step in steps {
            let shown = format!("{step:?}");
            run(&mut book, &mut pool, step, &mut seen);
            let report = book.audit();
            prop_assert!(report.balanced, "after {}: {:?}", shown, report.faults);
        }
        // By itself everything comes to rest: contests are decided, holds pass, coins are settled.
        while let Some(contest) = book.contests().first() {
            let slot = contest.slot;
            book.judge(slot, &[]);
        }
        book.now = book.now.plus_ms(hold + book.broker.terms().contest_gap_ms);
        for who in 0..4 {
            prop_assert_eq!(book.money(Person(who)).1, 0, "everything is paid once the hold is over");
        }
        book.now = book.now.plus_ms(61 * 86_400_000 + hold);
        book.settle();
        let report = book.audit();
        prop_assert!(report.balanced, "{:?}", report.faults);
        prop_assert_eq!((report.outstanding, report.pending), (0, 0));
        let money: u64 = (0..4).map(|who| book.money(Person(who)).0).sum();
        prop_assert_eq!(i128::from(money), report.balances);
        prop_assert_eq!(report.deposits - report.withdrawals, report.balances + report.bonds);
    }
}
