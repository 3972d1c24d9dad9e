//! What commands of a wallet without a node say: of a broker that does not answer, of a passphrase that nobody gives.

use std::process::Stdio;

use dpay::cli::world::Proc;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::support::{LONG, args, exe, private_dir};

/// A wallet, and where its broker would answer.
struct Made {
    _dir: TempDir,
    home: String,
    broker: TcpListener,
}

async fn made() -> Made {
    let dir = private_dir();
    let home = dir.path().join("home").display().to_string();
    let broker = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", broker.local_addr().expect("bound"));
    let make = ["wallet", "init", "--no-passphrase", "--json"];
    let at = ["--home", &home, "--broker", &url];
    let (code, errors) = said(&[make, at].concat()).await;
    assert_eq!(code, 0, "{errors}");
    Made {
        _dir: dir,
        home,
        broker,
    }
}

/// Runs a command to its end: its exit code, and what it said.
async fn said(words: &[&str]) -> (i32, String) {
    let mut proc = Proc::start(words[0], &exe(), &args(words)).expect("starts");
    let code = proc.finish(LONG).await.expect("ends");
    (code, proc.stderr().await)
}

#[tokio::test]
async fn who_waits_for_a_broker_is_told_what_for_and_how_long_at_most() {
    // Connections are made, and nobody answers.
    let made = made().await;
    let commands: [(&[&str], &str); 2] = [
        (&["buy", "16"], "the purchase"),
        (&["withdraw", "5", "--to", "IBAN 1"], "the withdrawal"),
    ];
    for (words, what) in commands {
        let mut command = Command::new(exe())
            .args([&["wallet"], words, &["--home", &made.home]].concat())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        let errors = command.stderr.take().expect("piped");
        let mut errors = BufReader::new(errors).lines();
        let line = errors.next_line();
        let line = tokio::time::timeout(LONG, line).await.expect("is said");
        let line = line.expect("read").expect("a line");
        let wanted = format!("about {what}: at most 30 s for each request");
        assert!(line.contains(&wanted), "{line}");
    }
}

#[tokio::test]
async fn a_withdrawal_that_was_never_made_is_said_to_be_none() {
    let made = made().await;
    drop(made.broker);
    let ask = [
        "wallet", "withdraw", "5", "--to", "IBAN 1", "--home", &made.home,
    ];
    let (code, errors) = said(&ask).await;
    assert_ne!(code, 0);
    assert!(
        errors.contains("was not made, and is not asked for again by itself"),
        "{errors}"
    );
    // Nothing of it is left to be asked for.
    let ask = ["wallet", "balance", "--json", "--home", &made.home];
    let mut proc = Proc::start("balance", &exe(), &args(&ask)).expect("starts");
    assert_eq!(proc.finish(LONG).await.expect("ends"), 0);
    let balance = proc.seen.back().expect("a balance");
    assert_eq!(balance["withdrawing"], 0, "{balance}");
}

#[tokio::test]
async fn who_makes_a_wallet_without_a_terminal_is_told_all_ways() {
    let dir = private_dir();
    let home = dir.path().join("home").display().to_string();
    let (code, errors) = said(&["wallet", "init", "--json", "--home", &home]).await;
    assert_ne!(code, 0);
    for way in ["--passphrase-file", "DPAY_PASSPHRASE", "--no-passphrase"] {
        assert!(errors.contains(way), "{errors}");
    }
}
