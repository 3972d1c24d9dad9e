//! Money out by command, in processes that are killed on the way.

use serde_json::Value;

use crate::support::{LONG, TestWorld, audit, world};

/// What the broker's queue has, and where to.
async fn queue(world: &TestWorld) -> Vec<(u64, String)> {
    let rows = world.must("broker", &["broker", "withdrawals"]).await;
    let rows = rows.expect("listed");
    let one = |row: &Value| {
        let to = row["destination"].as_str().expect("text").to_owned();
        (row["units"].as_u64().expect("units"), to)
    };
    rows.as_array().expect("a list").iter().map(one).collect()
}

async fn withdrawing(world: &TestWorld) -> Value {
    let balance = world.must("saver", &["wallet", "balance"]).await;
    balance.expect("a balance")["withdrawing"].clone()
}

#[tokio::test]
async fn a_withdrawal_killed_at_any_step_counts_once() {
    let world = world().await;
    world.wallet("saver", 1_000).await.expect("a wallet");
    let mut wanted = Vec::new();
    // Where it dies, what it asks for, whether that arrived, and what the wallet still owes an answer.
    for (at, units, arrived, open) in [
        ("wallet.withdraw.before", "50", false, 0),
        ("wallet.withdraw", "100", false, 100),
        ("wallet.withdrawn.before", "200", true, 200),
        ("wallet.withdrawn", "25", true, 0),
    ] {
        let args = ["wallet", "withdraw", units, "--to", "IBAN 1"];
        let kill = [("DPAY_KILL_AT", at)];
        let killed = world.spawn_with("saver", &args.map(str::to_owned), &kill);
        let mut killed = killed.expect("starts");
        let code = killed.finish(LONG).await.expect("ends");
        assert_eq!(code, -1, "{at} is a step of this run: {:?}", killed.seen);
        let row = (units.parse().expect("units"), "IBAN 1".to_owned());
        assert_eq!(queue(&world).await.contains(&row), arrived, "{at}");
        assert_eq!(withdrawing(&world).await, open, "{at}");
        if !arrived || open > 0 {
            let done = world.must("saver", &args).await.expect("answered");
            assert!(done["withdrawal"].is_string(), "{done}");
        }
        assert_eq!(withdrawing(&world).await, 0);
        wanted.push(row);
        assert_eq!(queue(&world).await, wanted, "{at}");
    }
    let args = ["wallet", "withdraw", "all", "--to", "IBAN 1"];
    let all = world.must("saver", &args).await.expect("answered");
    assert_eq!(all["units_withdrawn"], 625, "{all}");
    let nothing = world.must("saver", &args).await.expect_err("nothing left");
    let nothing = nothing.to_string();
    assert!(nothing.contains("the balance is 0 units"), "{nothing}");
    let receipt = all["receipt"].as_str().expect("a receipt");
    let shown = world
        .must("saver", &["wallet", "history", "--show", receipt])
        .await
        .expect("kept");
    assert_eq!(shown["about"], "withdrawal", "{shown}");
    assert_eq!(shown["withdrawal"], all["withdrawal"]);
    audit(&world).await;
}

#[tokio::test]
async fn what_the_broker_tells_is_noted_once_whenever_the_wallet_is_killed() {
    let world = world().await;
    world.wallet("saver", 1_000).await.expect("a wallet");
    let args = ["wallet", "withdraw", "600", "--to", "IBAN 1"];
    let done = world.must("saver", &args).await.expect("answered");
    let id = done["withdrawal"].as_str().expect("an id");
    let mark = ["broker", "withdrawals", "--mark-paid", id];
    world.must("broker", &mark).await.expect("paid out");
    let paid = async || {
        let balance = world.must("saver", &["wallet", "balance"]).await;
        let balance = balance.expect("a balance");
        assert_eq!(balance["books_agree"], true, "{balance}");
        balance["withdrawing_in"][0]["paid"].clone()
    };
    let node = ["node", "--web", "127.0.0.1:0"].map(str::to_owned);
    for (at, is_noted) in [("wallet.paid_out.before", false), ("wallet.paid_out", true)] {
        let killed = world.spawn_with("saver", &node, &[("DPAY_KILL_AT", at)]);
        let mut killed = killed.expect("starts");
        let code = killed.finish(LONG).await.expect("ends");
        assert_eq!(code, -1, "{at} is a step of this run: {:?}", killed.seen);
        assert_eq!(paid().await.is_u64(), is_noted, "{at}");
    }
    let mut proc = world.spawn("saver", &node).expect("starts");
    proc.wait_for("ready", LONG).await.expect("ready");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let lines = world.must("saver", &["wallet", "history"]).await;
    let lines = lines.expect("a history");
    let lines = lines.as_array().expect("lines").iter();
    let told = lines.filter(|line| line["kind"] == "paid_out");
    let told: Vec<_> = told.map(|line| line["units"].clone()).collect();
    assert_eq!(told, [600]);
    audit(&world).await;
}
