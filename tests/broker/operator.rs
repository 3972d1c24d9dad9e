//! The operator's commands, beside a running broker.

use dpay::broker::RequestId;
use dpay::cli::broker::{
    BrokerCommand, BrokerGlobal, DepositArgs, RunArgs, WithdrawalsArgs, run, serve,
};
use dpay::store::broker::BrokerStore;
use dpay::units::Units;
use sqlx::sqlite::SqlitePool;

use crate::house::House;

fn global(house: &House) -> BrokerGlobal {
    BrokerGlobal {
        home: house.dir.path().to_owned(),
        json: true,
        dht_bootstrap: Vec::new(),
        dht_min_answers: 8,
    }
}

#[tokio::test]
async fn deposits_and_withdrawals_are_booked_while_the_broker_runs() {
    let house = House::open().await;
    let alice = house.person(1);
    let deposit = |units| {
        BrokerCommand::Deposit(DepositArgs {
            account: alice.client.account_id(),
            units,
            reference: "bank 1".to_owned(),
        })
    };
    run(deposit(700), &global(&house)).await.unwrap();
    run(deposit(700), &global(&house)).await.unwrap();
    let error = run(deposit(701), &global(&house)).await.unwrap_err();
    assert!(error.to_string().contains("is booked"), "{error}");
    assert_eq!(alice.money().await, (700, 0));
    let id = RequestId([1; 16]);
    let asked = alice.client.withdraw(id, Units(300), "bank").await.unwrap();
    let list = |mark_paid| {
        BrokerCommand::Withdrawals(WithdrawalsArgs {
            mark_paid,
            all: false,
        })
    };
    run(list(None), &global(&house)).await.unwrap();
    assert_eq!(
        house.store.withdrawals(false).await.unwrap(),
        std::slice::from_ref(&asked.value)
    );
    run(list(Some(asked.value.id)), &global(&house))
        .await
        .unwrap();
    assert!(house.store.withdrawals(false).await.unwrap().is_empty());
    run(BrokerCommand::Audit, &global(&house)).await.unwrap();
    let report = house.audit().await;
    assert_eq!(
        (report.deposits, report.withdrawals, report.balances),
        (700, 300, 400)
    );
}

/// Adds the same coin once more.
const COIN_TWICE: &str = "INSERT INTO coin (version, id, account, value, credited, contests, settled, \
     expires_day, certificate) SELECT version, id, account, value, credited, contests, settled, \
     expires_day, certificate FROM coin WHERE row = 1";

#[tokio::test]
async fn audit_fails_for_every_row_that_was_tampered_with() {
    let house = House::open().await;
    let [alice, bob] = [1, 2].map(|n| house.person(n));
    house.deposit(&alice, 5_000, "one").await;
    let coin = alice.buy(1, 256).await;
    let [to_bob, _] = alice.pay(&coin, &bob, 100, 1).await;
    bob.redeem(1, &to_bob).await;
    let id = RequestId([7; 16]);
    alice.client.withdraw(id, Units(10), "bank").await.unwrap();
    run(BrokerCommand::Audit, &global(&house)).await.unwrap();
    let url = format!(
        "sqlite://{}",
        house.dir.path().join("broker.sqlite").display()
    );
    let pool = SqlitePool::connect(&url).await.unwrap();
    for (wrong, right) in [
        (
            "UPDATE account SET balance = balance + 1",
            "UPDATE account SET balance = balance - 1",
        ),
        (
            "UPDATE account SET pending = pending + 1",
            "UPDATE account SET pending = pending - 1",
        ),
        (
            "UPDATE account SET bond = bond + 1",
            "UPDATE account SET bond = bond - 1",
        ),
        (
            "UPDATE coin SET credited = 99",
            "UPDATE coin SET credited = 100",
        ),
        ("UPDATE coin SET value = 257", "UPDATE coin SET value = 256"),
        (
            "UPDATE credit SET units = 99",
            "UPDATE credit SET units = 100",
        ),
        (
            "UPDATE credit SET state = 'paid'",
            "UPDATE credit SET state = 'pending'",
        ),
        (
            "UPDATE credit SET state = 'cancelled'",
            "UPDATE credit SET state = 'pending'",
        ),
        ("UPDATE account SET owed = 1", "UPDATE account SET owed = 0"),
        (
            "UPDATE coin SET contests = 1",
            "UPDATE coin SET contests = 0",
        ),
        ("UPDATE coin SET settled = 1", "UPDATE coin SET settled = 0"),
        (
            "UPDATE deposit SET units = 5001",
            "UPDATE deposit SET units = 5000",
        ),
        (
            "UPDATE withdrawal SET units = 9",
            "UPDATE withdrawal SET units = 10",
        ),
        (
            "UPDATE withdrawal SET paid = 9",
            "UPDATE withdrawal SET paid = NULL",
        ),
        (
            "UPDATE holding SET k = 99 WHERE k = 100",
            "UPDATE holding SET k = 100 WHERE k = 99",
        ),
        (
            "UPDATE holding SET value = 101 WHERE state = 'redeemed'",
            "UPDATE holding SET value = 100 WHERE state = 'redeemed'",
        ),
        (
            "UPDATE journal SET units = units + 1 WHERE seq = 2",
            "UPDATE journal SET units = units - 1 WHERE seq = 2",
        ),
        (
            "INSERT INTO holder (version, holder_key, account, expires_day) \
             SELECT 2, substr(certificate, 39, 32), zeroblob(32), expires_day FROM coin",
            "DELETE FROM holder WHERE account = zeroblob(32)",
        ),
        (COIN_TWICE, "DELETE FROM coin WHERE row > 1"),
        (
            "INSERT INTO holder (version, holder_key, account, expires_day) \
             SELECT version, holder_key, account, expires_day FROM holder ORDER BY row DESC LIMIT 1",
            "DELETE FROM holder WHERE row = (SELECT MAX(row) FROM holder)",
        ),
    ] {
        sqlx::query(wrong).execute(&pool).await.unwrap();
        let code = run(BrokerCommand::Audit, &global(&house)).await.unwrap();
        assert_eq!(code, 3, "{wrong} was not noticed");
        sqlx::query(right).execute(&pool).await.unwrap();
        let code = run(BrokerCommand::Audit, &global(&house)).await.unwrap();
        assert_eq!(code, 0);
    }
    sqlx::query(COIN_TWICE).execute(&pool).await.unwrap();
    let report = house.audit().await;
    assert_eq!((report.names_twice, report.faults.len()), (1, 1));
    assert!(report.faults[0].contains("stands in the books twice"));
    sqlx::query("DELETE FROM journal WHERE seq = 1")
        .execute(&pool)
        .await
        .unwrap();
    assert!(!house.audit().await.balanced);
}

fn run_args(listen: std::net::SocketAddr) -> RunArgs {
    RunArgs {
        listen,
        hold: 0,
        bond: 100,
        currency: None,
        units_per_credit: None,
        contest_gap: 600,
        requests_per_second: 0,
    }
}

#[tokio::test]
async fn a_port_in_use_and_another_currency_are_refused_by_name() {
    let house = House::open().await;
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = BrokerGlobal {
        home: dir.path().join("home"),
        ..global(&house)
    };
    let args = run_args(house.server.address());
    let error = serve(args, &elsewhere, async {}).await.unwrap_err();
    assert!(error.to_string().contains("is in use"), "{error}");
    let free = "127.0.0.1:0".parse().unwrap();
    serve(run_args(free), &elsewhere, async {}).await.unwrap();
    let mut args = run_args(free);
    args.currency = Some("shell".to_owned());
    let error = serve(args, &elsewhere, async {}).await.unwrap_err();
    assert!(error.to_string().contains("currency"), "{error}");
    let nowhere = BrokerGlobal {
        home: dir.path().join("none"),
        ..global(&house)
    };
    let error = run(BrokerCommand::Audit, &nowhere).await.unwrap_err();
    assert!(error.to_string().contains("holds no broker"), "{error}");
}
