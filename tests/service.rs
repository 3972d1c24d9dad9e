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

#[test]
fn a_command_goes_on_when_nobody_reads_what_it_prints() {
    let (reader, writer) = std::io::pipe().expect("makes a pipe");
    drop(reader);
    let ended = Command::new(DPAY)
        .args(["service", "node"])
        .stdout(writer)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.is_empty(), "{said}");
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
