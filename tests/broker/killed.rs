//! A broker that is killed at any moment: what it said is true afterwards, what it did not say happens
//! at most once, and no unit is lost.

use std::io::{BufRead, BufReader};
use std::path::Path as FilePath;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use dpay::broker::RequestId;
use dpay::broker::answer::ItemAnswer;
use dpay::cli::broker::{BrokerCommand, BrokerGlobal, DepositArgs, run};
use dpay::coin::PublicKey;
use dpay::record::Path;
use dpay::units::Units;
use sqlx::sqlite::SqlitePool;

use crate::house::Person;

struct Running {
    child: Child,
    /// Open as long as it runs, so that it can print.
    _stdout: BufReader<ChildStdout>,
    url: String,
    key: PublicKey,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(home: &FilePath) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dpay"))
            .args([
                "broker",
                "run",
                "--json",
                "--listen",
                "127.0.0.1:0",
                "--home",
            ])
            .arg(home)
            .args(["--bond", "1000", "--requests-per-second", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        Running {
            child,
            _stdout: stdout,
            url: ready["broker_url"].as_str().unwrap().to_owned(),
            key: ready["broker_key"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// SIGKILL, at once.
    fn kill(self) {
        drop(self);
    }

    fn person(&self, n: u8) -> Person {
        Person::at(&self.url, Some(self.key), n)
    }
}

fn global(home: &FilePath) -> BrokerGlobal {
    BrokerGlobal {
        home: home.to_owned(),
        json: true,
        dht_bootstrap: Vec::new(),
        dht_min_answers: 8,
    }
}

/// Alice buys a coin and spends it twice; everyone redeems, so that contests open too. What is asked
/// depends on the turn alone, so that the next run asks the same again.
async fn turn(broker: &Running, turn: u8) -> Option<(Path, ItemAnswer)> {
    let [alice, bob, carol] = [1, 2, 3].map(|n| broker.person(n));
    let order = vec![(Units(16), alice.key.public())];
    let id = RequestId([turn; 16]);
    let coin = alice.client.purchase(id, order).await.ok()?[0];
    let coin = Path {
        coin,
        links: Vec::new(),
    };
    for who in [&bob, &carol] {
        let keys = vec![who.key.public()];
        who.client.certify(keys).await.ok()?;
    }
    let [to_bob, change] = alice.pay(&coin, &bob, 5, 1).await;
    let [to_carol, _] = alice.pay(&coin, &carol, 7, 2).await;
    let (id, mut first) = (RequestId([turn.wrapping_add(128); 16]), None);
    for (who, path) in [(&bob, &to_bob), (&alice, &change), (&carol, &to_carol)] {
        let items = vec![(path.clone(), who.redeem_part(path, 1))];
        let done = who.client.redeem(id, items).await.ok()?.value.remove(0);
        first.get_or_insert((path.clone(), done));
    }
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_at_any_moment_has_said_nothing_untrue_and_lost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let broker = Running::start(&home);
    let account = broker.person(1).client.account_id();
    let deposit = BrokerCommand::Deposit(DepositArgs {
        account,
        units: 5_000,
        reference: "bank 1".to_owned(),
    });
    run(deposit, &global(&home)).await.unwrap();
    broker.kill();
    let mut said: Vec<(u8, Path, ItemAnswer)> = Vec::new();
    for run_number in 0..8u8 {
        let broker = Running::start(&home);
        for (turn_number, path, answer) in &said {
            let bob = broker.person(2);
            let again = bob.redeem(turn_number.wrapping_add(64), path).await;
            assert_eq!(&again, answer, "said before it was killed");
        }
        let wait = Duration::from_millis(20 + u64::from(run_number) * 23);
        let asking = async {
            for n in run_number * 5..run_number * 5 + 5 {
                if let Some((path, answer)) = turn(&broker, n).await
                    && !matches!(answer, ItemAnswer::Contested { .. })
                {
                    said.push((n, path, answer));
                }
            }
        };
        let _ = tokio::time::timeout(wait, asking).await;
        broker.kill();
        assert_eq!(run(BrokerCommand::Audit, &global(&home)).await.unwrap(), 0);
    }
    // What was cut short is asked again with the same ids, and happens once.
    let broker = Running::start(&home);
    for n in 0..40 {
        turn(&broker, n).await.unwrap();
    }
    let alice = broker.person(1).client.account().await.unwrap();
    let (_, bobs) = broker.person(2).money().await;
    assert_eq!(bobs, 40 * 5);
    assert_eq!(alice.balance, Units(5_000 - 1_000 - 40 * 16));
    broker.kill();
    assert_eq!(run(BrokerCommand::Audit, &global(&home)).await.unwrap(), 0);
}

/// Takes note of a form that this version does not know, as one that knows it does.
async fn bring_to_a_later_form(home: &FilePath) {
    let url = format!("sqlite://{}", home.join("broker.sqlite").display());
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (1000, 'later', 1, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_file_another_version_brought_to_a_later_form_stops_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let mut broker = Running::start(&home);
    let alice = broker.person(1);
    let deposit = BrokerCommand::Deposit(DepositArgs {
        account: alice.client.account_id(),
        units: 5_000,
        reference: "bank 1".to_owned(),
    });
    run(deposit, &global(&home)).await.unwrap();
    alice.buy(1, 16).await;
    bring_to_a_later_form(&home).await;
    let order = vec![(Units(16), alice.key.public())];
    let refused = alice.client.purchase(RequestId([2; 16]), order).await;
    assert!(refused.is_err(), "{refused:?}");
    let mut stderr = broker.child.stderr.take().unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        (broker.child.wait().unwrap(), said)
    });
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    let (status, said) = ended.unwrap().unwrap();
    assert!(!status.success());
    assert!(said.contains("brought to a later form"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_in_one_home_is_refused_and_the_operator_s_commands_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let broker = Running::start(&home);
    let second = Command::new(env!("CARGO_BIN_EXE_dpay"))
        .args(["broker", "run", "--listen", "127.0.0.1:0", "--hold", "60"])
        .arg("--home")
        .arg(&home)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success(), "{said}");
    let by = format!("process {} (dpay broker)", broker.child.id());
    for part in ["a broker runs with the home", by.as_str(), "--home"] {
        assert!(said.contains(part), "{said}");
    }
    let deposit = BrokerCommand::Deposit(DepositArgs {
        account: broker.person(1).client.account_id(),
        units: 700,
        reference: "bank 1".to_owned(),
    });
    run(deposit, &global(&home)).await.unwrap();
    let audited = run(BrokerCommand::Audit, &global(&home)).await.unwrap();
    assert_eq!(audited, 0);
    broker.kill();
    drop(Running::start(&home));
}
