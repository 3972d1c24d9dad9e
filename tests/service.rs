//! The service units, as systemd reads them, and how commands are given.

use std::path::Path;
use std::process::Command;

const DPAY: &str = env!("CARGO_BIN_EXE_dpay");

/// A unit as it is printed, in a folder, with this program in the place of an installed one.
fn unit(which: &str, folder: &Path) -> String {
    let printed = Command::new(DPAY).args(["service", which]).output();
    let text = String::from_utf8(printed.expect("runs").stdout).expect("UTF-8");
    let run = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let installed = run.and_then(|run| run.split(' ').next());
    let text = text.replace(installed.expect("a program"), DPAY);
    let path = folder.join(format!("dpay-{which}.service"));
    std::fs::write(&path, text).expect("writes");
    path.display().to_string()
}

/// What `systemd-analyze` says, which has to be nothing where all is well.
fn analyze(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("systemd-analyze");
    let said = command
        .args(arguments)
        .env("XDG_RUNTIME_DIR", folder)
        .env("SYSTEMD_PAGER", "")
        .output()
        .expect("systemd-analyze, of the package systemd, is there");
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{arguments:?}: {text}");
    text
}

#[test]
fn systemd_takes_the_units_and_finds_them_hardened() {
    let folder = tempfile::tempdir().expect("makes a folder");
    for (which, user, most_exposed) in [
        ("node", &["--user"][..], "--threshold=45"),
        ("broker", &[], "--threshold=20"),
    ] {
        let path = unit(which, folder.path());
        let verify = [&["verify", "--man=no"], user, &[&path]].concat();
        assert_eq!(analyze(folder.path(), &verify), "");
        let security = [
            &["security", "--offline=true", most_exposed],
            user,
            &[&path],
        ]
        .concat();
        analyze(folder.path(), &security);
    }
}

/// How a command ends whose output and errors go into pipes that nobody reads, and what it said where
/// somebody did read its errors.
fn unread(words: &[&str]) -> (Option<i32>, Option<i32>, String) {
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("makes a pipe");
        drop(reader);
        writer
    };
    let command = || {
        let mut command = Command::new(DPAY);
        command.args(words).stdin(std::process::Stdio::null());
        command
    };
    let ended = command().stdout(closed()).output().expect("runs");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let both = command().stdout(closed()).stderr(closed()).status();
    (ended.status.code(), both.expect("runs").code(), said)
}

#[test]
fn a_command_ends_as_ever_when_nobody_reads_what_it_prints() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (home, file, torrent, man) = (path("home"), path("file"), path("t.torrent"), path("man"));
    std::fs::write(&file, "content").expect("writes");
    let shells = ["bash", "zsh", "fish", "elvish", "powershell"];
    let completions = shells.map(|shell| vec!["completions", shell]);
    let others = [
        vec!["--help"],
        vec!["wallet", "--help"],
        vec!["--version"],
        vec!["service", "node"],
        vec!["service", "broker"],
        vec!["node", "openapi"],
        vec!["man", &man],
        vec!["create", &file, "-o", &torrent],
        vec!["--home", &home, "wallet", "init", "--no-passphrase"],
        vec!["--home", &home, "wallet", "balance"],
        vec!["--home", &home, "wallet", "balance", "--json"],
        vec!["--home", &home, "wallet", "history"],
        vec!["--home", &home, "config", "list"],
        vec!["--home", &home, "report", "earnings"],
        vec!["--home", &home, "report", "spending", "--csv"],
        vec!["--home", &home, "report", "spending", "--json"],
    ];
    for words in completions.into_iter().chain(others) {
        let (code, _, said) = unread(&words);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{words:?}");
    }
    // One that fails says why where somebody listens, and fails in the same way where nobody does.
    for words in [["--home", &home, "list"], ["--home", &file, "open"]] {
        let (code, unheard, said) = unread(&words);
        assert_eq!((code, unheard), (Some(1), Some(1)), "{words:?}: {said}");
        assert!(said.starts_with("dpay: "), "{said}");
    }
}

#[test]
fn what_the_demonstration_behind_the_page_would_not_heed_is_refused() {
    for (option, value) in [
        ("--size-mib", "8"),
        ("--piece-kib", "64"),
        ("--seeders", "4"),
        ("--price", "4000"),
        ("--dht-nodes", "12"),
        ("--keep", "/nowhere/at/all"),
    ] {
        let ended = Command::new(DPAY)
            .args(["demo", "--ui", option, value])
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{option}: {said}");
        assert!(said.contains("cannot be used with"), "{option}: {said}");
    }
}

#[test]
fn what_is_no_address_of_a_broker_is_refused_whatever_the_command() {
    let ended = Command::new(DPAY)
        .args(["--broker", "notaurl", "service", "node"])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("http://HOST:PORT"), "{said}");
}

#[test]
fn what_cannot_be_written_is_an_error_that_says_so() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device without room");
    let ended = Command::new(DPAY)
        .args(["service", "node"])
        .stdout(full)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output cannot be written"), "{said}");
}

#[test]
fn an_address_before_a_command_is_not_taken_for_two() {
    let nodes = [
        "--dht-bootstrap",
        "127.0.0.1:9",
        "--dht-bootstrap=127.0.0.1:8",
    ];
    let ended = Command::new(DPAY)
        .args(nodes)
        .args(["service", "node"])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && !ended.stdout.is_empty(), "{said}");
}

/// Measurements that start nothing else run to their figures.
#[test]
fn benches_print_what_they_measure() {
    for (words, figure) in [
        (
            ["wallet", "--holdings", "64", "--rounds", "1"].as_slice(),
            "ready_ms_median",
        ),
        (
            &[
                "broker",
                "--requests",
                "8",
                "--redeem",
                "2",
                "--clients",
                "2",
                "--rounds",
                "1",
            ],
            "ratio",
        ),
    ] {
        let bench = Command::new(DPAY)
            .args(["bench", "--json"])
            .args(words)
            .output();
        let bench = bench.expect("runs");
        let said = String::from_utf8_lossy(&bench.stdout);
        let why = String::from_utf8_lossy(&bench.stderr);
        assert!(bench.status.success(), "{words:?}: {why}");
        for line in said.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(line[figure].is_number(), "{line}");
        }
        assert!(!said.is_empty());
    }
}
