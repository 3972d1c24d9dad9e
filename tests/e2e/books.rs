//! What wallets must say once all is over: nothing was signed twice, and every unit is back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use serde_json::Value;

use dpay::coin::keys::PublicKey;
use dpay::dht::{DhtConfig, DhtNode};
use dpay::record::Slot;
use dpay::store::wallet::{SqliteOptions, SqliteStore, WalletStore};
use dpay::wallet::{HoldingState, ReceivedState, Rows};

use crate::support::{LONG, TestWorld, audit};

pub fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

pub async fn balance(world: &TestWorld, home: &str) -> Value {
    let balance = world.must(home, &["wallet", "balance"]).await;
    let balance = balance.expect("a balance");
    assert_eq!(balance["books_agree"], true, "{home}: {balance}");
    balance
}

/// The kinds of the lines in a wallet's history.
pub async fn kinds(world: &TestWorld, home: &str) -> Vec<String> {
    let args = ["wallet", "history", "--limit", "1000"];
    let history = world.must(home, &args).await.expect("a history");
    let lines = history.as_array().expect("lines");
    let kinds = lines.iter().filter_map(|line| line["kind"].as_str());
    kinds.map(str::to_owned).collect()
}

/// Asks to redeem everything, and does not mind what cannot be redeemed.
pub async fn redeem(world: &TestWorld, home: &str) -> Value {
    let mut args = vec!["wallet".to_owned(), "redeem".into(), "--all".into()];
    args.extend(world.global(home));
    let done = world.run(&args).await.expect("runs");
    assert!(
        done.json["units_redeemed"].is_u64(),
        "{} {}",
        done.json,
        done.stderr
    );
    balance(world, home).await;
    done.json
}

/// A round of what a running node does by itself, whatever comes of it.
pub async fn sync(world: &TestWorld, home: &str) {
    let mut args = vec!["wallet".to_owned(), "sync".into()];
    args.extend(world.global(home));
    world.run(&args).await.expect("runs");
}

const HELD: [&str; 4] = ["held", "unread", "frozen", "locked"];

/// Redeems, and looks for closes that never came, until the wallet holds nothing any more.
pub async fn come_back(world: &TestWorld, home: &str) {
    let start = Instant::now();
    loop {
        redeem(world, home).await;
        let left = balance(world, home).await;
        if HELD.iter().all(|key| number(&left, key) == 0) {
            return;
        }
        assert!(start.elapsed() < LONG, "{home} is left with {left}");
        sync(world, home).await;
    }
}

/// Nothing is held: all that was deposited is in these accounts at the broker again.
pub async fn all_is_back(world: &TestWorld, homes: &[&str], deposited: u64) {
    let mut sum = 0;
    for home in homes {
        let balance = balance(world, home).await;
        for key in HELD {
            assert_eq!(number(&balance, key), 0, "{key} of {home}: {balance}");
        }
        sum += number(&balance, "broker_balance") + number(&balance, "broker_bond");
    }
    assert_eq!(sum, deposited, "of {homes:?}");
    audit(world).await;
}

pub async fn rows(world: &TestWorld, home: &str) -> Rows {
    let options = SqliteOptions {
        read_only: true,
        max_pages: None,
    };
    let store = SqliteStore::open(&world.home(home), options).await;
    store.expect("a wallet").load().await.expect("rows")
}

/// Every slot that these homes could have signed for: what they say they signed agrees, and the DHT holds
/// at most one item in each place.
pub async fn no_proof_is_possible(world: &TestWorld, homes: &[&str]) {
    one_statement_each(world, homes).await;
    one_item_each(world, homes).await;
}

/// What these homes say they signed, or were shown as signed, agrees.
pub async fn one_statement_each(world: &TestWorld, homes: &[&str]) {
    let mut spends: BTreeMap<String, String> = BTreeMap::new();
    let mut closes: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for home in homes {
        let rows = rows(world, home).await;
        let own = rows.holdings.values().filter_map(|row| {
            let signed = match &row.state {
                HoldingState::Locked { spend } | HoldingState::Closed { spend, .. } => {
                    format!("spend {spend}")
                }
                // What the broker settled is nobody's request.
                HoldingState::Redeemed { request, .. } if request.0 == [0; 16] => return None,
                HoldingState::Redeeming { .. } | HoldingState::Redeemed { .. } => {
                    "redeem".to_owned()
                }
                _ => return None,
            };
            Some((row.holding.id, signed))
        });
        let came = rows.received.values();
        let came = came.map(|row| (row.holding.id, format!("spend {}", row.spend)));
        for (id, signed) in own.chain(came) {
            let first = spends.entry(id.to_string());
            let first = first.or_insert_with(|| signed.clone());
            assert_eq!(
                *first, signed,
                "two statements about holding {id}, one of {home}"
            );
        }
        for row in rows.received.values() {
            if row.state != ReceivedState::Open {
                let signed = (row.k, row.wk.to_string());
                let first = closes.entry(row.spend.to_string());
                let first = first.or_insert_with(|| signed.clone());
                assert_eq!(
                    *first, signed,
                    "two closes of spend {}, one of {home}",
                    row.spend
                );
            }
        }
    }
}

/// In each place that these homes could have signed for, the DHT holds at most one item.
pub async fn one_item_each(world: &TestWorld, homes: &[&str]) {
    let mut slots: BTreeMap<Slot, PublicKey> = BTreeMap::new();
    for home in homes {
        let rows = rows(world, home).await;
        for row in rows.holdings.values() {
            slots.insert(Slot::spend(&row.holding.id), row.holding.key);
        }
        for row in rows.spends.values() {
            slots.insert(Slot::close(&row.holding, &row.spend), row.payee);
        }
        for row in rows.received.values() {
            slots.insert(Slot::close(&row.holding.id, &row.spend), row.open.payee);
            slots.insert(Slot::spend(&row.holding.id), row.holding.key);
        }
    }
    let dht = DhtNode::start(DhtConfig {
        bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        bootstrap: world.bootstrap.clone(),
        ..DhtConfig::default()
    });
    let dht = dht.await.expect("starts");
    assert!(dht.settled(8, Duration::from_secs(10)).await);
    for (slot, key) in slots {
        for (place, items) in dht.read_slot(&key, &slot).await.places.iter().enumerate() {
            assert!(
                items.valid_answers() >= 8,
                "place {place} of {slot} could not be read"
            );
            assert!(
                items.items.len() <= 1,
                "place {place} of {slot}: {:?}",
                items.items
            );
        }
    }
}
