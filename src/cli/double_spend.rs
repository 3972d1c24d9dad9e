//! `dpay bench double-spend`: coins opened with two payees, in every way that a cheat could try, on a
//! real DHT on loopback. Each payee has clients of its own, as one client would refuse a rival's put
//! by itself; the cheat puts by hand, as no honest client would.

mod cheat;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use self::cheat::Cheat;
use super::dht_net::{DhtNet, NetKind, python};
use crate::config::Global;
use crate::dht::rogue::{self, Form, Met};
use crate::dht::{Acceptance, DhtConfig, DhtNode, Places};
use crate::random;
use crate::record::{Item, SignedRecord, Verdict};

/// Clients of a payee's node.
const CLIENTS: usize = 2;
/// Most that the two payees of a race begin apart, in milliseconds.
const APART_MS: u64 = 400;
/// How often that is halved at most, so that half of the races are closer than an acceptance takes.
const HALVINGS: u64 = 9;

/// Options of `dpay bench double-spend`.
#[derive(Debug, clap::Args)]
pub struct DoubleSpendArgs {
    /// What the net is made of
    #[arg(long, value_enum, default_value = "dpay")]
    pub net: NetKind,
    /// Nodes in the net
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(8..=250))]
    pub nodes: u16,
    /// Coins a kind of attack
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub trials: u32,
    /// The attacks to try (default: all)
    #[arg(long = "attack", value_enum, value_name = "ATTACK")]
    pub attacks: Vec<Attack>,
    /// Nearest nodes that hold the other record when it is placed in advance
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub nearest: usize,
    /// Distance of nodes of the `mainline` crate from everybody, in milliseconds there and back (0: the machine's own)
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub round_trip_ms: u64,
    /// Share of the nodes of the `mainline` crate that are hostile and show each payee only what that payee put
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub hostile_percent: u16,
    /// When a payee gives up, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pub deadline_ms: u64,
    /// A Python that has libtorrent (default: DPAY_TEST_PYTHON, else python3)
    #[arg(long, value_name = "FILE")]
    pub python: Option<PathBuf>,
}

/// How the cheat goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Opens the coin with two payees within 0.4 s
    AtOnce,
    /// Opens it with one payee after the other
    InTurn,
    /// Puts the second record at all nodes, without cas, once the first payee accepted
    Rewriting,
    /// Opens it with two payees within 0.4 s, and rewrites it for the other once one accepted
    RewritingAtOnce,
    /// Spends it twice with two accomplices, who pass it on: rewrites it once the first payee accepted
    PassedOn,
    /// Puts unsigned junk over the accepted record at all nodes, to hide it from the second payee
    Junk,
    /// Signs another item at a lower seq and puts it at all nodes before both payees are asked
    Squatter,
    /// Puts the second record at the nearest nodes before the first payee is asked
    InAdvance,
}

const ALL: [Attack; 8] = [
    Attack::AtOnce,
    Attack::InTurn,
    Attack::Rewriting,
    Attack::RewritingAtOnce,
    Attack::PassedOn,
    Attack::Junk,
    Attack::Squatter,
    Attack::InAdvance,
];

/// What came of one coin.
struct Trial {
    first: Acceptance,
    second: Acceptance,
    /// The first payee accepted, neither saw another item, and the first did when it looked again.
    noticed: bool,
}

/// The two payees and the net between them.
struct Campaign {
    net: DhtNet,
    met: Vec<Met>,
    first: DhtNode,
    second: DhtNode,
    nearest: usize,
}

impl Campaign {
    async fn start(args: &DoubleSpendArgs) -> Result<Campaign> {
        let python = python(args.python.as_deref());
        let round_trip = Duration::from_millis(args.round_trip_ms);
        let own: usize = match args.net {
            NetKind::Dpay | NetKind::Mainline => args.nodes.into(),
            NetKind::Mixed => usize::from(args.nodes - args.nodes / 2),
            NetKind::Libtorrent => 0,
        };
        let hostile = own * usize::from(args.hostile_percent) / 100;
        ensure!(
            args.hostile_percent == 0 || hostile > 0,
            "nodes of libtorrent cannot be made hostile; take --net dpay, mainline or mixed"
        );
        let nodes = args.nodes.into();
        let net = DhtNet::start(args.net, nodes, round_trip, hostile, &python).await?;
        let met = rogue::meet(&net.addrs).await;
        let first = net.payee(CLIENTS, args.deadline_ms).await?;
        let second = net.payee(CLIENTS, args.deadline_ms).await?;
        Ok(Campaign {
            net,
            met,
            first,
            second,
            nearest: args.nearest,
        })
    }

    async fn try_once(&self, attack: Attack) -> Trial {
        let cheat = match attack {
            Attack::PassedOn => Cheat::passed_on(),
            _ => Cheat::new(),
        };
        match attack {
            Attack::Squatter => {
                rogue::put(&self.net.addrs, &cheat.squatter(), Form::Signed).await;
            }
            Attack::InAdvance => {
                for item in items(&cheat.second) {
                    let nearest = rogue::nearest(&self.met, &item, self.nearest);
                    rogue::put(&nearest, &item, Form::Signed).await;
                }
            }
            _ => {}
        }
        let (first, second) = match attack {
            Attack::AtOnce | Attack::Squatter => self.at_once(&cheat, false).await,
            Attack::RewritingAtOnce => self.at_once(&cheat, true).await,
            _ => self.in_turn(attack, &cheat).await,
        };
        let hidden = first.conflict.is_none() && second.conflict.is_none();
        let again = async { self.first.check_again(&cheat.first, Places::All).await };
        let noticed = hidden && accepted(&first) && again.await.conflict.is_some();
        Trial {
            first,
            second,
            noticed,
        }
    }

    async fn at_once(&self, cheat: &Cheat, rewriting: bool) -> (Acceptance, Acceptance) {
        let draw = u64::from_le_bytes(random::bytes());
        let apart = Duration::from_millis(APART_MS >> (draw % HALVINGS));
        let open = async |payee: &DhtNode, ours: &[SignedRecord], other: &[SignedRecord]| {
            let said = payee.accept(ours.to_vec()).await;
            if rewriting && accepted(&said) {
                self.put_everywhere(&items(other), Form::Signed).await;
            }
            said
        };
        tokio::join!(open(&self.first, &cheat.first, &cheat.second), async {
            tokio::time::sleep(apart).await;
            open(&self.second, &cheat.second, &cheat.first).await
        })
    }

    async fn in_turn(&self, attack: Attack, cheat: &Cheat) -> (Acceptance, Acceptance) {
        let first = self.first.accept(cheat.first.clone()).await;
        let (items, form) = match attack {
            Attack::Rewriting | Attack::PassedOn => (items(&cheat.second), Form::Signed),
            Attack::Junk => (items(&cheat.first), Form::UnsignedJunk),
            _ => (Vec::new(), Form::Signed),
        };
        self.put_everywhere(&items, form).await;
        let second = self.second.accept(cheat.second.clone()).await;
        (first, second)
    }

    async fn put_everywhere(&self, items: &[Item], form: Form) {
        for item in items {
            rogue::put(&self.net.addrs, item, form).await;
        }
    }
}

fn items(records: &[SignedRecord]) -> Vec<Item> {
    records.iter().flat_map(SignedRecord::items).collect()
}

fn accepted(acceptance: &Acceptance) -> bool {
    acceptance.verdict == Verdict::Accepted
}

/// Runs the campaign. The exit code is that of a failed check if two payees accepted one coin and
/// the first did not notice.
///
/// # Errors
/// When the net does not start.
pub async fn run(args: DoubleSpendArgs, global: &Global) -> Result<u8> {
    let campaign = Campaign::start(&args).await?;
    let attacks = match args.attacks.is_empty() {
        true => ALL.to_vec(),
        false => args.attacks.clone(),
    };
    let mut lines = Vec::new();
    let mut missed_by_both = 0;
    for attack in attacks {
        let mut trials = Vec::new();
        for _ in 0..args.trials {
            trials.push(campaign.try_once(attack).await);
        }
        // The net as it was during these trials.
        let round_trip_ms = round_trip_ms(&campaign.net).await;
        let (line, missed) = summary(attack, &trials, round_trip_ms, args.hostile_percent == 100);
        if !global.json {
            println!("{}", text(&line));
        }
        missed_by_both += missed;
        lines.push(line);
    }
    if global.json {
        let line = json!({
            "net": args.net,
            "nodes": args.nodes,
            "round_trip_ms": args.round_trip_ms,
            "hostile_percent": args.hostile_percent,
            "request_timeout_ms": DhtConfig::default().request_timeout_ms,
            "nearest": args.nearest,
            "settled_ms": millis(campaign.net.settled_in),
            "attacks": lines,
        });
        println!("{line}");
    }
    // Where all nodes are hostile, what is noticed later is all that can be.
    Ok(match missed_by_both {
        0 => super::EXIT_DONE,
        _ => super::EXIT_CHECK,
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Median time of one request to one node.
async fn round_trip_ms(net: &DhtNet) -> f64 {
    let mut all = Vec::new();
    for addr in &net.addrs {
        let met = rogue::meet(std::slice::from_ref(addr)).await;
        all.extend(met.iter().map(|met| millis(met.round_trip)));
    }
    quantile(&mut all, 0.5)
}

fn summary(
    attack: Attack,
    trials: &[Trial],
    round_trip_ms: f64,
    all_hostile: bool,
) -> (Value, usize) {
    let count = |wanted: &dyn Fn(&Trial) -> bool| trials.iter().filter(|t| wanted(t)).count();
    let both = |t: &Trial| accepted(&t.first) && accepted(&t.second);
    let neither = |t: &Trial| !accepted(&t.first) && !accepted(&t.second);
    let conflict =
        |t: &Trial| t.noticed || t.first.conflict.is_some() || t.second.conflict.is_some();
    let undecided = |t: &Trial| {
        let is = |a: &Acceptance| matches!(a.verdict, Verdict::Undecided { .. });
        is(&t.first) || is(&t.second)
    };
    let unnoticed = count(&|t| both(t) && !t.noticed);
    let said = trials.iter().flat_map(|t| [&t.first, &t.second]);
    let mut took: Vec<f64> = said
        .filter(|said| accepted(said))
        .map(|said| said.elapsed_ms as f64)
        .collect();
    let (median, p95) = (quantile(&mut took, 0.5), quantile(&mut took, 0.95));
    let line = json!({
        "attack": attack,
        "trials": trials.len(),
        "both_accepted": count(&both),
        "both_accepted_and_not_noticed": unnoticed,
        "one_accepted": trials.len() - count(&both) - count(&neither),
        "none_accepted": count(&neither),
        "conflict_shown": count(&conflict),
        "conflict_shown_at_next_look": count(&|t| t.noticed),
        "undecided": count(&undecided),
        "acceptance_ms": {"median": median, "p95": p95, "count": took.len()},
        "request_round_trip_ms": round_trip_ms,
        "acceptance_round_trips": {"median": median / round_trip_ms, "p95": p95 / round_trip_ms},
    });
    let missed = match all_hostile {
        true => unnoticed,
        false => count(&both),
    };
    (line, missed)
}

fn text(line: &Value) -> String {
    format!(
        "{:<17} {} coins: both accepted {} ({} unnoticed), one {}, none {}; conflict shown {}, undecided {}; \
         accepted in {:.0} ms (p95 {:.0}), a round trip takes {:.1} ms",
        line["attack"].as_str().unwrap_or(""),
        line["trials"],
        line["both_accepted"],
        line["both_accepted_and_not_noticed"],
        line["one_accepted"],
        line["none_accepted"],
        line["conflict_shown"],
        line["undecided"],
        line["acceptance_ms"]["median"].as_f64().unwrap_or(0.0),
        line["acceptance_ms"]["p95"].as_f64().unwrap_or(0.0),
        line["request_round_trip_ms"].as_f64().unwrap_or(0.0),
    )
}

/// The value below which that share lies; NaN (null in JSON) of nothing.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    let at = (last * share).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let mut values = [4.0, 1.0, 3.0, 2.0, 5.0];
        assert!((quantile(&mut values, 0.5) - 3.0).abs() < f64::EPSILON);
        assert!((quantile(&mut values, 1.0) - 5.0).abs() < f64::EPSILON);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
