//! Frozen bytes: each case names inputs and everything that must come out of them.
//!
//! In `tests/vectors/`, `design.json` was made by an independent implementation of the protocol;
//! `parts.json` adds the layouts and rules that it leaves out, `messages.json` the peer wire, and
//! `broker.json` what accounts and brokers sign. Where the environment variable `DPAY_VECTORS` names
//! a directory, every `*.json` in it is checked too. The whole `out` object of a case is computed
//! again and compared, so no field can be forgotten.

#[path = "vectors/broker.rs"]
mod broker;
#[path = "vectors/coins.rs"]
mod coins;
#[path = "vectors/messages.rs"]
mod messages;
#[path = "vectors/parts.rs"]
mod parts;
#[path = "vectors/paths.rs"]
mod paths;
#[path = "vectors/read.rs"]
mod read;
#[path = "vectors/records.rs"]
mod records;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dpay::coin::ChainValue;
use dpay::coin::chain::{Chain, leads_to};
use serde_json::Value;

/// Computes the `out` of a case from its `in`; `None` where the group is unknown.
fn compute(group: &str, input: &Value) -> Option<Value> {
    Some(match group {
        "hash" => coins::hash(input),
        "hkdf" => coins::hkdf(input),
        "keys" => coins::keys(input),
        "seed_words" => parts::seed_words(input),
        "signature" => coins::signature(input),
        "signed" => parts::signed(input),
        "coin_certificate" => coins::coin_certificate(input),
        "pseudonym_certificate" => coins::pseudonym_certificate(input),
        "chain" => coins::chain(input),
        "tick" => coins::tick(input),
        "due" => coins::due(input),
        "ids" => records::ids(input),
        "record" => records::record(input),
        "statement" => records::statement(input),
        "open_box" => records::open_box(input),
        "squat" => records::squat(input),
        "path_build" => paths::path_build(input),
        "path" => paths::path(input),
        "fraud_proof" => paths::fraud_proof(input),
        "open_spend" => parts::open_spend(input),
        "close_part" => parts::close_part(input),
        "redeem_part" => parts::redeem_part(input),
        "fraud_proof_bytes" => parts::fraud_proof_bytes(input),
        "decode" => parts::decode(input),
        "verdict" => parts::verdict(input),
        "message_build" => messages::message_build(input),
        "message" => messages::message(input),
        "request" => broker::request(input),
        "answer" => broker::answer(input),
        "spent_list" => broker::spent_list(input),
        _ => return None,
    })
}

/// Checks every case of a file; returns how many there were.
fn check_file(path: &Path) -> usize {
    let shown = path.display();
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("reading {shown}: {e}"));
    let file: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{shown}: {e}"));
    let groups = (file["groups"].as_object()).unwrap_or_else(|| panic!("{shown}: no groups"));
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (group, cases) in groups {
        let cases = cases
            .as_array()
            .unwrap_or_else(|| panic!("{shown}: {group} is no list"));
        for case in cases {
            let name = read::text(case, "name");
            let computed = compute(group, &case["in"])
                .unwrap_or_else(|| panic!("{shown}: the group {group} is unknown"));
            if computed != case["out"] {
                wrong.push(format!(
                    "{group}: {name}\n  expected {}\n  computed {computed}",
                    case["out"]
                ));
            }
            checked += 1;
        }
        println!("{shown}: {group}: {} cases", cases.len());
    }
    assert!(checked > 0, "{shown} has no cases");
    assert!(wrong.is_empty(), "{shown}:\n{}", wrong.join("\n"));
    println!("{shown}: {checked} cases checked");
    checked
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

#[test]
fn the_vectors_of_an_independent_implementation_agree() {
    assert_eq!(check_file(&own("design.json")), 169);
}

#[test]
fn the_layouts_and_rules_that_those_leave_out_are_frozen() {
    assert_eq!(check_file(&own("parts.json")), 117);
}

#[test]
fn the_messages_of_the_peer_wire_are_frozen() {
    assert_eq!(check_file(&own("messages.json")), 77);
}

#[test]
fn what_accounts_and_brokers_sign_is_frozen() {
    assert_eq!(check_file(&own("broker.json")), 10);
}

#[test]
fn every_file_of_the_directory_in_dpay_vectors_agrees() {
    let Some(directory) = std::env::var_os("DPAY_VECTORS") else {
        println!("DPAY_VECTORS is not set: no further files");
        return;
    };
    let entries = fs::read_dir(&directory)
        .unwrap_or_else(|e| panic!("reading the directory {}: {e}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry of the directory").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no *.json in {}", directory.display());
    let cases: usize = files.iter().map(|path| check_file(path)).sum();
    println!(
        "{cases} cases in {} files of {}",
        files.len(),
        directory.display()
    );
}

/// A busy machine may interrupt any one round, so the best of many counts.
#[test]
fn a_tick_is_verified_in_less_than_two_microseconds_a_unit() {
    let chain = Chain::new(ChainValue([1; 32]), 4096);
    let tip = chain.reveal(4096).expect("the end of the chain");
    let best = (0..50)
        .map(|_| {
            let start = Instant::now();
            assert!(leads_to(&tip, 4096, &chain.anchor()));
            start.elapsed()
        })
        .min()
        .unwrap_or(Duration::MAX);
    println!("{} ns a unit", best.as_nanos() / 4096);
    assert!(
        best < Duration::from_micros(2) * 4096,
        "4096 units took {best:?}"
    );
}
