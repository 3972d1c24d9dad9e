//! Once a second: what moved since, the rows of torrents, pulses, budgets, and what to tell of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::budget::stopped_words;
use super::entry::Entry;
use super::row::{OfPeers, row_now};
use super::rules::{CLOCK_WRONG, clock_is_wrong};
use super::run::{Running, SeenPeer};
use super::view::event::{Level, NoticeCode};
use super::view::{Event, Pulse, Saying, SeenPrice, State, TorrentRow};
use super::{Session, lock};
use crate::clock;
use crate::gateway::PeerSnapshot;
use crate::torrent::printable;
use crate::units::{InfoHash, Units};

const BEAT: Duration = Duration::from_secs(1);
/// Beats between looks at all torrents where nobody looks at the page.
const LOOK_EVERY: u64 = 5;
/// Beats between savings.
const SAVE_EVERY: u64 = 30;
/// Prices kept of a torrent.
const MOST_PRICES: usize = 200;

impl Session {
    /// Beats until it is dropped.
    pub(super) async fn beat(&self, run: &Arc<Running>) {
        let checks = async {
            loop {
                run.node.engine.has_checked().await;
                self.put_all_right(run);
            }
        };
        tokio::select! {
            () = self.beat_on(run) => {}
            // Heard also while a beat waits for something.
            () = checks => {}
        }
    }

    async fn beat_on(&self, run: &Arc<Running>) {
        let mut events = run.node.gateway.events();
        let mut tick = tokio::time::interval(BEAT);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beats = 0u64;
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => {
                        let _one = run.measuring.lock().await;
                        self.hear(run, &event);
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => {
                    beats += 1;
                    self.one_beat(run, beats).await;
                }
            }
        }
    }

    async fn one_beat(&self, run: &Arc<Running>, beats: u64) {
        let is_watched = self.inner.events.receiver_count() > 0;
        let moves = !lock(&run.peers).is_empty();
        let looks = is_watched || moves || beats % LOOK_EVERY == 1;
        if looks {
            // Before the connections are: what the wallet has of them is seen there then.
            self.look_at_wallet(run).await;
        }
        let pulse = self.measure(run).await;
        if looks {
            run.make_up();
            self.look_at_torrents(run);
            self.hold_all_to_ratio(run);
            self.put_all_right(run);
            self.begin_all_whole(run);
        }
        let is_due = beats.is_multiple_of(SAVE_EVERY) || run.is_unwritten();
        self.turn_day_beside(run, is_due);
        self.look_at_budgets(run);
        let moved = std::mem::take(&mut *lock(&run.moved));
        self.pulse(Pulse {
            down_bytes_per_s: moved.down,
            up_bytes_per_s: moved.up,
            units_paid_per_s: moved.paid,
            units_earned_per_s: moved.earned,
            ..pulse
        });
        self.tell_home(run.home_problem());
        // What a full disk kept from being written is, as soon as there is room.
        run.save_beside(is_due);
        if is_due {
            run.apply_late_beside();
        }
    }

    /// Looks at everything now, so that the answer to a request shows what it did.
    pub(super) async fn look(&self, run: &Running) {
        self.look_at_wallet(run).await;
        self.measure(run).await;
        self.look_at_torrents(run);
    }

    /// Adds up what went through the gateway since the last look; the pulse has who is there.
    async fn measure(&self, run: &Running) -> Pulse {
        let _one = run.measuring.lock().await;
        let snapshots = run.node.gateway.snapshot().await;
        let mut pulse = Pulse {
            at: clock::now(),
            dht_nodes: *lock(&run.dht_nodes),
            ..Pulse::default()
        };
        let mut now: HashMap<u64, SeenPeer> = HashMap::with_capacity(snapshots.len());
        for snapshot in snapshots {
            if snapshot.peer_id.is_some() {
                pulse.peers += 1;
            }
            let moved = run.account(&snapshot);
            let seen = SeenPeer {
                down_bytes_per_s: moved.down,
                up_bytes_per_s: moved.up,
                is_gone: false,
                snapshot,
            };
            now.insert(seen.snapshot.connection, seen);
        }
        let mut peers = lock(&run.peers);
        // Those that are gone stay until their end is heard, which has their last figures.
        for (connection, gone) in peers.drain() {
            now.entry(connection).or_insert(SeenPeer {
                is_gone: true,
                down_bytes_per_s: 0,
                up_bytes_per_s: 0,
                ..gone
            });
        }
        *peers = now;
        pulse
    }

    /// Makes the rows anew, and tells of those that changed.
    fn look_at_torrents(&self, run: &Running) {
        let of_peers = gather(&lock(&run.peers));
        let clock_is_wrong = clock_is_wrong(&lock(&run.balance));
        let mut changed: Vec<TorrentRow> = Vec::new();
        let mut finished: Vec<(InfoHash, String)> = Vec::new();
        let mut failed: Vec<TorrentRow> = Vec::new();
        let mut torrents = lock(&run.torrents);
        for (hash, entry) in torrents.iter_mut() {
            let mut row = row_now(entry, of_peers.get(hash));
            if clock_is_wrong
                && row
                    .waits
                    .as_ref()
                    .is_some_and(|why| is_of_wallet(&why.code))
            {
                let text = format!("{CLOCK_WRONG}: set it");
                row.waits = Some(Saying::new("clock_wrong", text, &[]));
            }
            if row.completed.is_some() && entry.saved.completed.is_none() {
                entry.saved.completed = row.completed;
                entry.unsaved = true;
                if entry.saved.down_bytes > entry.down_at_check {
                    finished.push((*hash, entry.saved.name.clone()));
                }
            }
            if row.state == State::Failed && entry.row.state != State::Failed {
                // What could not even be begun was told then.
                failed.extend(entry.handle.is_some().then(|| row.clone()));
            }
            if std::mem::take(&mut entry.untold) || row != *entry.row {
                entry.row = Arc::new(row.clone());
                changed.push(row);
            }
        }
        drop(torrents);
        if !changed.is_empty() {
            self.tell(Event::Torrents {
                changed,
                removed: Vec::new(),
            });
        }
        for row in &failed {
            self.tell_stopped(row);
        }
        for (hash, name) in finished {
            let text = format!("{} is complete", printable(&name));
            self.notice(
                Level::Info,
                NoticeCode::Finished,
                text,
                &[("name", name)],
                Some(hash),
            );
        }
    }

    async fn look_at_wallet(&self, run: &Running) {
        let Ok(balance) = run.node.wallet.balance().await else {
            return;
        };
        let before = std::mem::replace(&mut *lock(&run.balance), balance.clone());
        if before == balance {
            return;
        }
        if let Err(problem) = run.count_units().await {
            tracing::warn!("what torrents have paid is not known: {problem}");
        }
        let view = self.wallet_view(&run.home, &balance);
        self.tell(Event::Wallet(Box::new(view)));
    }

    /// Tells, once a day, that a budget for all is used up.
    pub(super) fn tell_budget_of_all(&self, run: &Running, which: &'static str, limit: Units) {
        let told = (clock::now().day(), which, limit);
        if lock(&run.told_budget).replace(told) == Some(told) {
            return;
        }
        let values = [("which", which.to_owned()), ("limit", limit.to_string())];
        let text = format!("{}: nothing more is paid", stopped_words(which, limit));
        let code = NoticeCode::BudgetReached;
        self.notice(Level::Warning, code, text, &values, None);
    }

    /// Tells where a budget for all is used up; the wallet gives nothing beyond.
    fn look_at_budgets(&self, run: &Running) {
        let paid = lock(&run.balance).books.paid;
        let stopped = lock(&run.spent).stopped(&self.settings(), paid);
        if let Some((which, limit)) = stopped {
            self.tell_budget_of_all(run, which, limit);
        }
    }
}

/// What moved on a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    down: u64,
    up: u64,
    paid: Units,
    earned: Units,
}

impl Moved {
    fn add(&mut self, more: Moved) {
        self.down = self.down.saturating_add(more.down);
        self.up = self.up.saturating_add(more.up);
        add(&mut self.paid, more.paid);
        add(&mut self.earned, more.earned);
    }
}

fn add(sum: &mut Units, units: Units) {
    *sum = sum.checked_add(units).unwrap_or(*sum);
}

impl Running {
    /// Adds what moved on a connection since it was last seen to its torrent, and to the next pulse.
    pub(super) fn account(&self, snapshot: &PeerSnapshot) -> Moved {
        let peers = lock(&self.peers);
        let last = peers.get(&snapshot.connection).map(|seen| &seen.snapshot);
        let none = PeerSnapshot::default();
        let last = last.unwrap_or(&none);
        let moved = Moved {
            down: snapshot.down_bytes.saturating_sub(last.down_bytes),
            up: snapshot.up_bytes.saturating_sub(last.up_bytes),
            paid: snapshot.paid.saturating_sub(last.paid),
            earned: snapshot.earned.saturating_sub(last.earned),
        };
        drop(peers);
        lock(&self.moved).add(moved);
        let Some(hash) = snapshot.info_hash else {
            return moved;
        };
        let address = snapshot.address.filter(|_| snapshot.dp_pay);
        let listens_on = snapshot.listens_on.filter(|_| snapshot.inbound);
        let peer = address.map(|address| listens_on.unwrap_or(address));
        {
            let mut traffic = lock(&self.traffic);
            traffic.add(clock::now().day(), hash, peer, moved.down, moved.up);
            traffic.add_units(hash, (moved.paid, snapshot.price), moved.earned);
        }
        if let Some(entry) = lock(&self.torrents).get_mut(&hash) {
            entry.saved.down_bytes += moved.down;
            entry.saved.up_bytes += moved.up;
            entry.unsaved |= moved.down + moved.up > 0;
            note_price(entry, snapshot);
        }
        moved
    }
}

fn note_price(entry: &mut Entry, snapshot: &PeerSnapshot) {
    let (Some(price), Some(address)) = (snapshot.price, snapshot.listens_on.or(snapshot.address))
    else {
        return;
    };
    let peer = address.to_string();
    if !entry.wants_of(&snapshot.has) {
        // It sells nothing of it, or not yet.
        entry.prices.retain(|seen| seen.peer != peer);
    } else if let Some(seen) = entry.prices.iter_mut().find(|seen| seen.peer == peer) {
        seen.price = price;
    } else if entry.prices.len() < MOST_PRICES {
        let client = snapshot.client.clone();
        entry.prices.push(SeenPrice {
            peer,
            price,
            client,
        });
    }
}

fn gather(peers: &HashMap<u64, SeenPeer>) -> HashMap<InfoHash, OfPeers> {
    let mut all: HashMap<InfoHash, OfPeers> = HashMap::new();
    for seen in peers.values().filter(|seen| !seen.is_gone) {
        let peer = &seen.snapshot;
        let (Some(hash), Some(_)) = (peer.info_hash, peer.peer_id) else {
            continue;
        };
        let of = all.entry(hash).or_default();
        of.peers += 1;
        of.sellers += u32::from(peer.price.is_some());
        of.paid.add(peer);
        of.why = match (of.why, peer.why) {
            (Some(why), Some(other)) => Some(why.weightier(other)),
            (why, other) => why.or(other),
        };
        of.pieces_have.push(peer.has.count());
    }
    all
}

/// Whether a torrent waits for what the wallet cannot do without its broker.
fn is_of_wallet(code: &str) -> bool {
    matches!(
        code,
        "list_old" | "no_spend" | "no_funds" | "ordered" | "buying"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::entry::tests::saved;
    use crate::units::PricePerGib;

    #[test]
    fn who_has_nothing_of_a_torrent_sells_nothing_of_it() {
        let mut entry = Entry::new(saved());
        let mut seller = PeerSnapshot {
            address: Some("127.0.0.1:1000".parse().expect("an address")),
            price: Some(PricePerGib::MIN),
            ..PeerSnapshot::default()
        };
        note_price(&mut entry, &seller);
        assert!(entry.prices.is_empty());
        Arc::make_mut(&mut seller.has).add(0);
        note_price(&mut entry, &seller);
        assert_eq!(entry.prices.len(), 1);
    }
}
