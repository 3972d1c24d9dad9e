//! What a run paid and earned, peer by peer, over all its connections; and its events in words.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::gateway::{GatewayEvent, PeerSnapshot};
use crate::node::Node;
use crate::record::Item;
use crate::torrent::printable;
use crate::units::{InfoHash, Units};

/// An event, for programs and for people.
#[derive(Clone, Debug)]
pub struct Told {
    /// The JSON line.
    pub line: Value,
    /// The sentence.
    pub text: String,
}

/// Sums over the connections of a run.
#[derive(Debug)]
pub struct Totals {
    events: broadcast::Receiver<GatewayEvent>,
    live: Vec<PeerSnapshot>,
    over: Vec<PeerSnapshot>,
    acceptance_ms: Vec<u64>,
}

impl Totals {
    /// From now on.
    #[must_use]
    pub fn new(node: &Node) -> Totals {
        Totals {
            events: node.gateway.events(),
            live: Vec::new(),
            over: Vec::new(),
            acceptance_ms: Vec::new(),
        }
    }

    /// Looks at the connections that stand now.
    pub async fn refresh(&mut self, node: &Node) {
        let live = node.gateway.snapshot().await;
        // A connection that closed meanwhile is in an event that is already waiting.
        while let Ok(event) = self.events.try_recv() {
            self.take(&event);
        }
        self.live = live;
        let over = &self.over;
        self.live
            .retain(|peer| !over.iter().any(|gone| gone.connection == peer.connection));
    }

    /// The next event that is worth telling.
    pub async fn next(&mut self) -> Option<Told> {
        match self.events.recv().await {
            Ok(event) => self.take(&event),
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    fn take(&mut self, event: &GatewayEvent) -> Option<Told> {
        match event {
            GatewayEvent::Closed { last, .. } => {
                self.live.retain(|peer| peer.connection != last.connection);
                self.over.push((**last).clone());
            }
            GatewayEvent::PaymentAccepted { acceptance_ms, .. } => {
                self.acceptance_ms.push(*acceptance_ms);
            }
            _ => {}
        }
        told(event)
    }

    fn all(&self) -> impl Iterator<Item = &PeerSnapshot> {
        self.over.iter().chain(&self.live)
    }

    /// Units ticked to peers.
    #[must_use]
    pub fn paid(&self) -> Units {
        Units::checked_sum(self.all().map(|peer| peer.paid)).unwrap_or(Units(u64::MAX))
    }

    /// Units ticked to us.
    #[must_use]
    pub fn earned(&self) -> Units {
        Units::checked_sum(self.all().map(|peer| peer.earned)).unwrap_or(Units(u64::MAX))
    }

    /// Payload sent.
    #[must_use]
    pub fn served_bytes(&self) -> u64 {
        self.all().map(|peer| peer.up_bytes).sum()
    }

    /// From `open` to acceptance, per channel.
    #[must_use]
    pub fn acceptance_ms(&self) -> &[u64] {
        &self.acceptance_ms
    }

    /// A line a peer, over all its connections.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let mut peers: BTreeMap<String, Line> = BTreeMap::new();
        for peer in self.all() {
            let address = peer.listens_on.or(peer.address);
            let address = address.map_or_else(String::new, |address| address.to_string());
            let line = peers.entry(address).or_default();
            line.client = line.client.take().or_else(|| peer.client.clone());
            line.bytes += peer.verified_bytes;
            line.up_bytes += peer.up_bytes;
            line.paid += peer.paid.0;
            line.earned += peer.earned.0;
        }
        let line = |(address, line): (String, Line)| {
            json!({
                "address": address,
                "client": line.client.map(|client| printable(&client)),
                "bytes": line.bytes,
                "bytes_served": line.up_bytes,
                "units_paid": line.paid,
                "units_earned": line.earned,
            })
        };
        peers.into_iter().map(line).collect()
    }
}

#[derive(Default)]
struct Line {
    client: Option<String>,
    bytes: u64,
    up_bytes: u64,
    paid: u64,
    earned: u64,
}

fn told(event: &GatewayEvent) -> Option<Told> {
    let (line, text) = match event {
        GatewayEvent::Connected { .. } | GatewayEvent::Closed { .. } => return None,
        GatewayEvent::Garbage { info_hash, peer } => (
            json!({"event": "garbage", "info_hash": info_hash, "peer": peer.to_string()}),
            format!("{peer} sent garbage: dropped and blocked, nothing was paid for it"),
        ),
        GatewayEvent::PaymentAccepted {
            info_hash,
            peer,
            acceptance_ms,
            by_us,
            copies,
        } => (
            json!({
                "event": "accepted",
                "info_hash": info_hash,
                "peer": peer.to_string(),
                "acceptance_ms": acceptance_ms,
                "by_us": by_us,
                "copies_by_record_and_place": copies,
            }),
            match by_us {
                true => format!("{peer} pays us: its spend was accepted in {acceptance_ms} ms"),
                false => format!("{peer} accepted our spend in {acceptance_ms} ms"),
            },
        ),
        GatewayEvent::BudgetUsedUp {
            info_hash, peer, ..
        } => free(
            info_hash,
            *peer,
            "the budget of this torrent is used up; raise --budget to pay on",
        ),
        GatewayEvent::PriceAboveLimit {
            info_hash,
            peer,
            asked,
            limit,
        } => free(
            info_hash,
            *peer,
            &format!("its price of {asked} units per GiB is above the limit of {limit}"),
        ),
        GatewayEvent::GoesFree {
            info_hash,
            peer,
            why,
        } => free(info_hash, *peer, &why.to_string()),
        GatewayEvent::Conflict {
            info_hash,
            peer,
            items,
        } => {
            let items: Vec<Value> = items
                .iter()
                .flat_map(|pair| [item_line(&pair.0), item_line(&pair.1)])
                .collect();
            let line = json!({
                "event": "conflict",
                "info_hash": info_hash,
                "peer": peer.to_string(),
                "items": items,
            });
            (
                line,
                format!("{peer} spent a coin twice: refused, and nothing was lost"),
            )
        }
    };
    Some(Told { line, text })
}

/// One of two conflicting items, as anybody can check it.
fn item_line(item: &Item) -> Value {
    json!({
        "key": item.key,
        "salt": item.salt,
        "seq": item.seq,
        "value": hex::encode(&item.value),
        "signature": item.signature,
    })
}

fn free(info_hash: &InfoHash, peer: SocketAddr, why: &str) -> (Value, String) {
    (
        json!({"event": "free", "info_hash": info_hash, "peer": peer.to_string(), "why": why}),
        format!("{peer} is not paid from now on: {why}"),
    )
}
