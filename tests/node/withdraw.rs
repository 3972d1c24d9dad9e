//! Money out through the node, as the wallet's one writer: by its API, and by the command beside it.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{LONG, args, exe, get, node_world, post, wait};
use dpay::http::node::client::NodeClientError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_lets_money_out_and_then_buys_nothing_by_itself() {
    let world = node_world(1 << 16).await;
    let (mut proc, node) = world.rich_node().await;
    wait(&node, "/wallet", |wallet| wallet["available"] == 512).await;

    let refused = |body: Value| {
        let node = &node;
        async move {
            let answer: Result<Value, _> =
                node.change(Method::POST, "/wallet/withdraw", &body).await;
            match answer {
                Err(NodeClientError::Refused(problem)) => {
                    (json!(problem.code), problem.to_string())
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    };
    let (code, _) = refused(json!({ "units": 0, "destination": "IBAN 1" })).await;
    assert_eq!(code, "bad_request");
    let (code, text) = refused(json!({ "units": 1, "destination": "" })).await;
    assert_eq!(code, "bad_request");
    assert!(text.contains("1 to 200 bytes"), "{text}");
    let (code, text) = refused(json!({ "units": 150_000, "destination": "IBAN 1" })).await;
    assert_eq!(code, "money");
    assert!(text.contains("100000 are bond, bound"), "{text}");

    let body = json!({ "units": 10, "destination": "IBAN 1" });
    let done = post(&node, "/wallet/withdraw", body).await;
    assert_eq!(done["units"], 10, "{done}");
    assert!(done["withdrawal"].is_string(), "{done}");
    let wallet = get(&node, "/wallet").await;
    assert_eq!(wallet["withdrawable"], 99_478, "{wallet}");
    let waits = &wallet["withdrawals"][0];
    let said = (&waits["units"], &waits["destination"], &waits["is_queued"]);
    assert_eq!(
        said,
        (&json!(10), &json!("IBAN 1"), &json!(true)),
        "{wallet}"
    );
    assert!(waits["since"].as_u64().is_some_and(|at| at > 0), "{wallet}");
    let balance = world.world.must("leecher", &["wallet", "balance"]).await;
    let balance = balance.expect("reads");
    assert_eq!(balance["withdrawing_in"][0]["units"], 10, "{balance}");
    let home = world.home().display().to_string();
    let words = args(&["wallet", "--home", &home, "balance"]);
    let text = std::process::Command::new(exe()).args(words).output();
    let text = String::from_utf8(text.expect("runs").stdout).expect("text");
    assert!(
        text.contains("10 units to IBAN 1: asked for on ")
            && text.contains("in the broker's queue, not paid out yet"),
        "{text}"
    );
    assert_eq!(wallet["buys_nothing"], false, "{wallet}");
    assert_eq!(wallet["outstanding"], 512, "{wallet}");

    // By command, with the bond: everything that is free now.
    let args = ["wallet", "withdraw", "all", "--bond", "--to", "IBAN 2"];
    let done = world.world.must("leecher", &args).await.expect("answered");
    assert_eq!(done["units_redeemed"], 512, "{done}");
    let wallet = get(&node, "/wallet").await;
    assert_eq!(wallet["buys_nothing"], true, "{wallet}");
    assert_eq!(wallet["available"], 0, "{wallet}");
    assert_eq!(wallet["broker_bond"], 0, "{wallet}");
    let report = world.world.must("broker", &["broker", "audit"]).await;
    let report = report.expect("the books balance");
    assert_eq!(done["units_withdrawn"], 199_990, "{done}");
    assert_eq!(report["withdrawals"], 200_000, "{report}");

    let reference = done["receipt"].as_str().expect("a receipt");
    let receipt = get(&node, &format!("/wallet/receipts/{reference}")).await;
    assert_eq!(receipt["lines"][0]["kind"], "withdrawn", "{receipt}");
    assert_eq!(receipt["kept"][0]["destination"], "IBAN 2", "{receipt}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}
