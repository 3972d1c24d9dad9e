//! `dpay demo --cheat`: the leecher of the demonstration has another payer, one that spends a coin with
//! two seeders at once and redeems another behind the seeder that accepted it. What is told of it comes
//! from the others: from the seeders' wallets, the broker's books, and `dpay verify-proof`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::caught::{Account, CheatReport, Noticed, Outcome, Spent, TrickRow};
use super::stage::{DEPOSIT_UNITS, Stage, stop};
use super::{DemoArgs, STOP_TIMEOUT, Steps, World, WorldOptions, number};
use crate::cashier::wallet::{PROOFS_DIR, SpentTo, Tried};
use crate::coin::keys::PublicKey;
use crate::units::Units;
use crate::wallet::{JournalEntry, JournalKind, JournalLine};

/// The broker's hold in this world, in place of 48 hours.
const HOLD_S: u64 = 3;
/// Between the broker's two readings of a slot, in place of ten minutes.
const CONTEST_GAP_S: u64 = 1;
/// Enough for three seeders to be paid well beyond what they serve before acceptance.
const SIZE_MIB: u64 = 16;
const PIECE_KIB: u32 = 64;
/// Two are cheated together, one alone.
const LEAST_SEEDERS: u8 = 3;
/// Both tricks are played by then.
const TRIED_WITHIN: Duration = Duration::from_secs(60);
/// How long the download may go on after that: it may hang on seeders that serve a cheat no more.
const THEN: Duration = Duration::from_secs(10);
/// The broker has read the slots and paid what is to be paid by then.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A seeder and what its wallet's journal says.
type Journal = (String, Vec<JournalLine>);

pub(super) async fn play(args: &DemoArgs, root: &Path, steps: &Steps) -> Result<CheatReport> {
    ensure!(
        args.seeders >= LEAST_SEEDERS,
        "--seeders {}: the cheat needs {LEAST_SEEDERS}, two for one coin and one for the other",
        args.seeders
    );
    let started = Instant::now();
    let options = WorldOptions {
        dht_nodes: usize::from(args.dht_nodes),
        hold_s: HOLD_S,
        contest_gap_s: Some(CONTEST_GAP_S),
        ..WorldOptions::default()
    };
    let args = DemoArgs {
        size_mib: args.size_mib.or(Some(SIZE_MIB)),
        piece_kib: args.piece_kib.or(Some(PIECE_KIB)),
        keep: args.keep.clone(),
        ..*args
    };
    let mut stage = Stage::set(&args, root, steps, options).await?;
    let (tried, last) = download(&stage, &args, steps).await?;
    steps.say("waiting until the cheat has its money".into());
    until_paid(&stage.world).await?;
    steps.say("seeders close and redeem".into());
    let mut seeders = Vec::new();
    for (name, seeder, _) in &mut stage.seeders {
        let stopped = stop(name, seeder).await?;
        let units_redeemed = redeem(&stage.world, name).await?;
        seeders.push(Outcome {
            name: name.clone(),
            bytes_served: number(&stopped, "bytes_served")?,
            units_ticked: number(&stopped, "units_earned")?,
            units_redeemed,
            units_compensated: 0,
            units_got: 0,
        });
    }
    steps.say("the broker reads the DHT and pays those who lost".into());
    for seeder in &mut seeders {
        until_whole(&stage.world, seeder).await?;
    }
    let journals = journals(&stage).await?;
    let mut cheats = Vec::new();
    for tried in &tried {
        cheats.push(caught(&stage, &journals, tried).await?);
    }
    let (audit_ok, audit) = audit(&stage.world).await?;
    let report = CheatReport {
        pieces_total: number(&last, "pieces_total")?,
        pieces_verified: number(&last, "pieces_verified")?,
        broker_key: stage.world.broker_key.clone(),
        hold_s: HOLD_S,
        contest_gap_s: CONTEST_GAP_S,
        cheats,
        cheat: account(&stage.world, &seeders).await?,
        seeders,
        audit_ok,
        audit,
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    steps.say("stopping".into());
    stage.stop_broker().await?;
    Ok(report)
}

/// Lets the cheat download until it is done, or hangs after both of its tricks: what it tried, and its
/// last line.
async fn download(stage: &Stage, args: &DemoArgs, steps: &Steps) -> Result<(Vec<Tried>, Value)> {
    steps.say("the cheat downloads".into());
    let tricks = ["--cheat", "double-spend", "--cheat", "redeem-after"];
    let mut leecher = stage.leecher(args, &tricks)?;
    let mut tried: Vec<Tried> = Vec::new();
    let mut deadline = tokio::time::Instant::now() + TRIED_WITHIN;
    while let Ok(line) = tokio::time::timeout_at(deadline, leecher.next()).await {
        let Some(line) = line? else {
            bail!("the leecher failed: {}", leecher.stderr().await);
        };
        if line["event"] == "cheat" {
            tried.push(serde_json::from_value(line["tried"].clone())?);
            if tried.len() == 2 {
                deadline = tokio::time::Instant::now() + THEN;
            }
        } else if line["event"] == "done" {
            break;
        }
    }
    leecher.stop(STOP_TIMEOUT).await?;
    ensure!(
        tried.len() == 2,
        "the cheat did not come to both of its tricks: {tried:?}"
    );
    let last = leecher.last("done").or(leecher.last("stopped")).cloned();
    Ok((tried, last.context("the leecher did not say how it ended")?))
}

async fn balance(world: &World, name: &str) -> Result<Value> {
    world.must(name, &["wallet", "balance"]).await
}

/// Waits until the hold of what the cheat redeemed is over: the worst case for who accepted that coin.
async fn until_paid(world: &World) -> Result<()> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    while number(&balance(world, "leecher").await?, "broker_pending")? > 0 {
        ensure!(
            Instant::now() < deadline,
            "the broker holds the cheat's redemption back for longer than it says"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Redeems until everything is answered, and returns what was credited.
async fn redeem(world: &World, name: &str) -> Result<u64> {
    let mut args = vec!["wallet".to_owned(), "redeem".into(), "--all".into()];
    args.extend(world.global(name));
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut credited = 0;
    loop {
        let output = world.run(&args).await?;
        let report = (output.lines.iter()).find(|line| line["units_redeemed"].is_u64());
        let report = report.with_context(|| format!("{name} cannot redeem: {}", output.stderr))?;
        credited += number(report, "units_redeemed")?;
        if number(report, "units_unanswered")? == 0 {
            return Ok(credited);
        }
        if Instant::now() > deadline {
            bail!("the broker does not answer the redemption of {name}: {report}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits until a seeder has at the broker what was ticked to it, or until that has had its time.
async fn until_whole(world: &World, seeder: &mut Outcome) -> Result<()> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let now = balance(world, &seeder.name).await?;
        seeder.units_got = number(&now, "broker_balance")? + number(&now, "broker_pending")?;
        if seeder.units_got >= seeder.units_ticked || Instant::now() > deadline {
            seeder.units_compensated = seeder.units_got.saturating_sub(seeder.units_redeemed);
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn journals(stage: &Stage) -> Result<Vec<Journal>> {
    let mut all = Vec::new();
    for (name, _, _) in &stage.seeders {
        let history = ["wallet", "history", "--limit", "10000"];
        let history = stage.world.must(name, &history).await?;
        let lines: Vec<JournalEntry> = serde_json::from_value(history)?;
        all.push((
            name.clone(),
            lines.into_iter().map(|entry| entry.line).collect(),
        ));
    }
    Ok(all)
}

/// What the seeders know of a trick: what was ticked to them, and who has a proof against its key.
async fn caught(stage: &Stage, journals: &[Journal], tried: &Tried) -> Result<TrickRow> {
    let mut noticed = Vec::new();
    for (name, lines) in journals {
        let found = lines
            .iter()
            .filter(|line| line.kind == JournalKind::ProofFound);
        for line in found {
            let proof_file = format!("{name}/{PROOFS_DIR}/{}", line.reference);
            let verified = verify(&stage.world, &proof_file).await?;
            if key_of(&verified) == Some(tried.key) {
                noticed.push(Noticed {
                    seeder: name.clone(),
                    by: if line.peer.is_some() { "dht" } else { "broker" },
                    after_ms: line.at.since_ms(tried.at_unix_ms),
                    proof_file,
                    verified,
                });
            }
        }
    }
    let spends = tried
        .spends
        .iter()
        .map(|spent| ticked(stage, journals, spent));
    Ok(TrickRow {
        trick: tried.trick,
        holding: tried.holding,
        units: tried.units,
        spends: spends.collect::<Result<_>>()?,
        units_credited: tried.units_credited,
        at_unix_ms: tried.at_unix_ms,
        noticed,
    })
}

fn ticked(stage: &Stage, journals: &[Journal], spent: &SpentTo) -> Result<Spent> {
    let mut seeders = stage.seeders.iter();
    let seeder = seeders.find(|(_, _, address)| *address == spent.peer);
    let (name, _, _) = seeder.with_context(|| format!("{} is no seeder", spent.peer))?;
    let reference = spent.spend.to_string();
    let lines = journals.iter().filter(|(of, _)| of == name);
    let earned = lines
        .flat_map(|(_, lines)| lines)
        .find(|line| line.kind == JournalKind::Earned && line.reference == reference);
    Ok(Spent {
        seeder: name.clone(),
        spend: spent.spend,
        units_ticked: earned.map_or(Units::ZERO, |line| line.units),
    })
}

fn key_of(verified: &Value) -> Option<PublicKey> {
    serde_json::from_value(verified["key"].clone()).ok()
}

/// What a process of `dpay verify-proof` says to a file and the broker's key.
async fn verify(world: &World, proof_file: &str) -> Result<Value> {
    let file = world.root.join(proof_file).display().to_string();
    let key = &world.broker_key;
    let args = ["verify-proof", &file, "--broker-key", key, "--json"];
    let output = world.run(&args.map(str::to_owned)).await?;
    ensure!(
        (output.code == 0) == (output.json["holds"] == true),
        "verify-proof ended with code {} and said {}",
        output.code,
        output.json
    );
    Ok(output.json)
}

async fn audit(world: &World) -> Result<(bool, Value)> {
    let home = world.home("broker").display().to_string();
    let args = ["broker", "audit", "--json", "--home", &home];
    let output = world.run(&args.map(str::to_owned)).await?;
    Ok((output.code == 0, output.json))
}

async fn account(world: &World, seeders: &[Outcome]) -> Result<Account> {
    let now = balance(world, "leecher").await?;
    Ok(Account {
        account: now["account"].as_str().unwrap_or_default().to_owned(),
        deposited: DEPOSIT_UNITS,
        suspended: now["broker_suspended"] == true,
        balance: number(&now, "broker_balance")?,
        pending: number(&now, "broker_pending")?,
        bond: number(&now, "broker_bond")?,
        units_taken: seeders.iter().map(|s| s.units_compensated).sum(),
    })
}
