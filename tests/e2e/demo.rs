//! The README's first command.

use std::process::Command;

use serde_json::Value;

use crate::support::exe;

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
    assert_eq!(bytes, number("bytes"));
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
