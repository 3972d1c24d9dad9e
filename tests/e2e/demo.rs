//! The README's first command.

use std::process::Command;

use serde_json::Value;

use dpay::cli::world::Proc;

use crate::support::{LONG, exe};

fn demo(args: &[&str]) -> Value {
    let output = Command::new(exe())
        .arg("demo")
        .args(args)
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stdout));
    })
}

#[test]
fn the_demonstration_pays_every_piece_and_the_books_balance() {
    let report = demo(&["--json"]);
    assert_eq!(report["pieces_verified"], report["pieces_total"]);
    assert_eq!(report["sha256_ok"], true);
    assert_eq!(report["broker_audit_ok"], true);
    assert_eq!(report["units_paid"], report["units_earned"]);
    let number = |key: &str| {
        report[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key}: {report}"))
    };
    assert!(number("units_paid") > 0, "{report}");
    assert!(number("broker_requests") > 0, "{report}");
    let seeders = report["seeders"].as_array().expect("a list");
    let earned: u64 = seeders
        .iter()
        .filter_map(|s| s["units_earned"].as_u64())
        .sum();
    assert_eq!(earned, number("units_earned"));
    let bytes: u64 = seeders.iter().filter_map(|s| s["bytes"].as_u64()).sum();
    // A block that two seeders were asked for at the end is delivered, and paid, twice.
    assert!(bytes >= number("bytes"), "{report}");
    let accepted = report["acceptance_ms"].as_array().expect("a list");
    assert!(!accepted.is_empty(), "{report}");
    assert!(number("dht_puts") > 0 && number("dht_gets") > 0, "{report}");
}

#[test]
fn broker_requests_do_not_grow_with_the_number_of_pieces() {
    let few = demo(&[
        "--json",
        "--size-mib",
        "8",
        "--piece-kib",
        "1024",
        "--seeders",
        "1",
    ]);
    let many = demo(&[
        "--json",
        "--size-mib",
        "8",
        "--piece-kib",
        "16",
        "--seeders",
        "1",
    ]);
    assert_eq!(many["pieces_total"].as_u64(), Some(512));
    assert_eq!(few["pieces_total"].as_u64(), Some(8));
    let requests = |report: &Value| report["broker_requests"].as_u64().expect("a number");
    assert!(
        requests(&many) <= requests(&few) + 6,
        "{} requests for 512 pieces, {} for 8",
        requests(&many),
        requests(&few)
    );
}

/// The world that a demonstration left behind: what a wallet's history says once its broker runs again and has
/// told the wallet.
async fn told(dir: &tempfile::TempDir, name: &str, kind: &str) {
    let home = |name: &str| dir.path().join(name).display().to_string();
    let run = format!(
        "broker run --json --with-parent --listen 127.0.0.1:0 --hold 3 --home {}",
        home("broker")
    );
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let broker = Proc::start("broker", &exe(), &words(&run));
    let mut broker = broker.expect("starts");
    let ready = broker.wait_for("ready", LONG).await.expect("serves");
    let url = ready["broker_url"].as_str().expect("a URL");
    let common = format!(
        "--json --home {} --broker {url} --dht-bootstrap 127.0.0.1:9",
        home(name)
    );
    let start = std::time::Instant::now();
    loop {
        let history = words(&format!("wallet history --limit 10000 {common}"));
        let mut history = Proc::start("history", &exe(), &history).expect("starts");
        history.finish(LONG).await.expect("ends");
        let lines = history.seen.back().and_then(|lines| lines.as_array());
        let is_told = lines.is_some_and(|lines| lines.iter().any(|line| line["kind"] == kind));
        if is_told {
            return;
        }
        assert!(start.elapsed() < LONG, "{name} is never told: {lines:?}");
        let sync = words(&format!("wallet sync {common}"));
        let mut sync = Proc::start("sync", &exe(), &sync).expect("starts");
        sync.finish(LONG).await.expect("ends");
    }
}

#[tokio::test]
async fn a_payer_that_cheats_is_caught_twice_and_pays_who_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let kept = dir.path().to_str().expect("UTF-8");
    let report = demo(&["--cheat", "--json", "--keep", kept]);
    let units = |of: &Value, key: &str| of[key].as_u64().unwrap_or_else(|| panic!("{key}: {of}"));
    let list = |of: &Value, key: &str| of[key].as_array().expect("a list").clone();
    let cheats = list(&report, "cheats");
    let tricks: Vec<_> = cheats.iter().filter_map(|c| c["trick"].as_str()).collect();
    assert_eq!(tricks, ["double-spend", "redeem-after"]);
    for cheat in &cheats {
        let noticed = list(cheat, "noticed");
        let spends = list(cheat, "spends");
        let victims: Vec<_> = spends.iter().map(|spent| &spent["seeder"]).collect();
        assert!(!noticed.is_empty(), "{cheat}");
        for noticed in noticed {
            assert!(victims.contains(&&noticed["seeder"]), "{cheat}");
            proves(&dir, &noticed, report["broker_key"].as_str().expect("hex"));
        }
    }

    // At most one of two takes the coin that both got; what the other one served is its first window.
    let [both, behind] = [&cheats[0], &cheats[1]];
    let spends = list(both, "spends");
    assert_eq!(spends.len(), 2);
    assert_ne!(spends[0]["seeder"], spends[1]["seeder"]);
    assert_ne!(spends[0]["spend"], spends[1]["spend"]);
    let refused = spends.iter().filter(|s| units(s, "units_ticked") == 0);
    assert!(refused.count() >= 1, "{both}");

    // The other coin was credited whole, and ticked on.
    assert_eq!(units(behind, "units_credited"), units(behind, "units"));
    let behind_whom = &list(behind, "spends")[0];
    let lost = units(behind_whom, "units_ticked");
    assert!(lost > 0, "{behind}");
    assert_eq!(list(behind, "noticed")[0]["by"], "broker");

    let cheat = &report["cheat"];
    assert_eq!(cheat["suspended"], true, "{report}");
    let seeders = list(&report, "seeders");
    for seeder in &seeders {
        assert_eq!(units(seeder, "units_got"), units(seeder, "units_ticked"));
        if seeder["name"] == behind_whom["seeder"] {
            assert_eq!(units(seeder, "units_compensated"), lost, "{seeder}");
        }
    }
    let sum = |key: &str| seeders.iter().map(|seeder| units(seeder, key)).sum::<u64>();
    assert_eq!(sum("units_compensated"), units(cheat, "units_taken"));

    // Every unit of the one deposit is somewhere.
    let audit = &report["audit"];
    assert_eq!(audit["balanced"], true, "{audit}");
    assert_eq!(units(audit, "deposits"), units(cheat, "deposited"));
    let [balances, pending] = ["balances", "pending"].map(|key| units(audit, key));
    let own = units(cheat, "balance") + units(cheat, "pending");
    assert_eq!(balances + pending, own + sum("units_got"));
    assert_eq!(units(audit, "bonds"), units(cheat, "bond"));
    let rest = units(audit, "bonds") + units(audit, "outstanding");
    assert_eq!(balances + pending + rest, units(cheat, "deposited"));

    // Both sides' wallets have it from the broker.
    told(&dir, "leecher", "suspended").await;
    let victim = behind_whom["seeder"].as_str().expect("a name");
    told(&dir, victim, "compensated").await;
}

/// A file holds against the broker's key, and not against another one or with a byte changed.
fn proves(dir: &tempfile::TempDir, noticed: &Value, broker_key: &str) {
    assert_eq!(noticed["verified"]["holds"], true, "{noticed}");
    let file = dir
        .path()
        .join(noticed["proof_file"].as_str().expect("a name"));
    let verify = |file: &std::path::Path, key: &str| {
        let mut verify = Command::new(exe());
        verify
            .arg("verify-proof")
            .arg(file)
            .args(["--broker-key", key]);
        verify.output().expect("the program starts").status.code()
    };
    assert_eq!(verify(&file, broker_key), Some(0));
    let other = dpay::coin::SecretKey::from_bytes([7; 32]).public();
    assert_eq!(verify(&file, &other.to_string()), Some(3));
    let mut bytes = std::fs::read(&file).expect("it is kept");
    let last = bytes.last_mut().expect("not empty");
    *last ^= 1;
    let forged = dir.path().join("forged.proof");
    std::fs::write(&forged, bytes).expect("can write");
    assert_eq!(verify(&forged, broker_key), Some(3));
}

/// Children of a process, and theirs.
fn children_of(id: u32) -> Vec<u32> {
    let all = Command::new("ps").args(["-eo", "pid=,ppid="]).output();
    let all = String::from_utf8(all.expect("ps runs").stdout).expect("text");
    let pairs: Vec<(u32, u32)> = all
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect();
    let mut found = vec![id];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(
            pairs
                .iter()
                .filter(|pair| pair.1 == parent)
                .map(|pair| pair.0),
        );
        at += 1;
    }
    found.split_off(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_play_answers_and_ends_with_its_children() {
    let words = ["demo", "--ui", "--json"].map(str::to_owned);
    let mut demo = Proc::start("demo", &exe(), &words).expect("starts");
    let ready = demo.wait_for("ready", LONG).await.expect("ready");
    let url = ready["url"].as_str().expect("a URL");
    let page = reqwest::get(url).await.expect("answers");
    assert!(page.status().is_success(), "{}", page.status());
    let id = demo.id().expect("runs");
    let deadline = tokio::time::Instant::now() + LONG;
    while children_of(id).len() < 10 {
        assert!(tokio::time::Instant::now() < deadline, "no world was made");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let children = children_of(id);
    let sent = Command::new("kill")
        .args(["-INT", &id.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(demo.finish(LONG).await.expect("ends"), 0);
    let left = |child: &&u32| std::path::Path::new(&format!("/proc/{child}")).exists();
    let left: Vec<&u32> = children.iter().filter(left).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
