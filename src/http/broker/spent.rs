//! The spent list as files: closed hours are made once and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use parking_lot::Mutex;

use super::Shared;
use super::error::ApiError;
use crate::broker::chunks::{Run, chunks, entries};
use crate::broker::spent::{encode_chunk, encode_index, encode_suspended, hour_of, listed_hours};
use crate::units::UnixMs;

/// The index is made again after this long.
const INDEX_MS: u64 = 500;
/// An hour counts as closed this long after its end, when no request decided in it is still open.
const CLOSED_MS: u64 = 120_000;
/// Bytes of closed chunks kept in memory.
const KEPT_BYTES: usize = 64 << 20;

/// Hours before those that are listed whose entries may still wait for their chunk.
const WAITING_HOURS: u32 = 7 * 24;

/// What was made before.
pub(super) struct Files {
    /// Most entries of a chunk, and most suspended keys.
    most: u32,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    index: Option<Made>,
    /// Chunks by their hour, with the number of their entries.
    closed: BTreeMap<u32, (u32, Bytes)>,
    closed_bytes: usize,
}

/// An index, and the chunks as they were when it was made.
#[derive(Clone)]
struct Made {
    at: UnixMs,
    index: Bytes,
    chunks: Arc<BTreeMap<u32, Vec<Run>>>,
}

impl Files {
    pub(super) fn new(most: u32) -> Files {
        Files {
            most,
            kept: Mutex::default(),
        }
    }
}

/// The index as of now.
pub(super) async fn index(shared: &Shared) -> Result<Bytes, ApiError> {
    made(shared).await.map(|made| made.index)
}

/// What was made within [`INDEX_MS`], or is made now. No chunk has less than any index said that was made
/// before.
async fn made(shared: &Shared) -> Result<Made, ApiError> {
    let now = (shared.clock)();
    if let Some(made) = &shared.spent.kept.lock().index
        && now.is_within(INDEX_MS, made.at)
    {
        return Ok(made.clone());
    }
    let from = hour_of(now).saturating_sub(listed_hours(shared.broker.terms().hold_ms));
    let hours = from.saturating_sub(WAITING_HOURS);
    let hours = shared.store.spent_hours(hours).await?;
    let chunks = chunks(&hours, shared.spent.most);
    let listed = chunks.range(from..);
    let listed: Vec<_> = listed.map(|(hour, runs)| (*hour, entries(runs))).collect();
    let made = Made {
        at: now,
        index: Bytes::from(encode_index(shared.broker.key(), now, &listed)),
        chunks: Arc::new(chunks),
    };
    let mut kept = shared.spent.kept.lock();
    if kept
        .index
        .as_ref()
        .is_none_or(|kept| kept.at <= made.at || !now.is_within(INDEX_MS, kept.at))
    {
        kept.index = Some(made.clone());
    }
    Ok(made)
}

/// The chunk of an hour.
pub(super) async fn chunk(shared: &Shared, hour: u32) -> Result<Bytes, ApiError> {
    let made = made(shared).await?;
    let runs = made.chunks.get(&hour).map_or(&[][..], Vec::as_slice);
    // A clock that was set back lets an hour that was over grow again.
    if let Some((count, bytes)) = shared.spent.kept.lock().closed.get(&hour)
        && *count == entries(runs)
    {
        return Ok(bytes.clone());
    }
    let mut rows = Vec::new();
    for run in runs {
        rows.extend(shared.store.spent_in(run.hour, run.skip, run.take).await?);
    }
    let listed: Vec<_> = rows.into_iter().map(|row| (row.slot, row.c)).collect();
    let bytes = Bytes::from(encode_chunk(shared.broker.key(), hour, &listed));
    let closed = hour_of(UnixMs(made.at.0.saturating_sub(CLOSED_MS))) > hour;
    if closed && !listed.is_empty() {
        let mut kept = shared.spent.kept.lock();
        kept.closed_bytes = kept.closed_bytes.saturating_add(bytes.len());
        let now = (entries(runs), bytes.clone());
        if let Some((_, before)) = kept.closed.insert(hour, now) {
            kept.closed_bytes = kept.closed_bytes.saturating_sub(before.len());
        }
        while kept.closed_bytes > KEPT_BYTES
            && let Some((_, (_, dropped))) = kept.closed.pop_first()
        {
            kept.closed_bytes = kept.closed_bytes.saturating_sub(dropped.len());
        }
    }
    Ok(bytes)
}

/// The suspended keys.
pub(super) async fn suspended(shared: &Shared) -> Result<Bytes, ApiError> {
    let mut keys = shared.store.suspended_keys().await?;
    let most = usize::try_from(shared.spent.most).unwrap_or(usize::MAX);
    if keys.len() > most {
        tracing::error!(
            keys = keys.len(),
            most,
            "more keys are suspended than a list takes: the last are not listed"
        );
        keys.truncate(most);
    }
    let now = (shared.clock)();
    Ok(Bytes::from(encode_suspended(
        shared.broker.key(),
        now,
        &keys,
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::broker::change::{Change, Write};
    use crate::broker::rows::{AccountRow, HolderRow, Row, SpentRow};
    use crate::broker::spent::{Listed, SpentIndex, SpentList};
    use crate::broker::{Broker, Terms};
    use crate::coin::ids::Commitment;
    use crate::coin::keys::{PublicKey, SecretKey};
    use crate::http::broker::{BrokerServer, RateLimit};
    use crate::http::client::BrokerClient;
    use crate::record::Slot;
    use crate::store::broker::{BrokerStore, MemoryBrokerStore};
    use crate::units::Day;

    const HOUR_MS: u64 = 3_600_000;
    const NOW_HOUR: u64 = 400_000;
    /// Most entries of a chunk here.
    const MOST: u32 = 3;

    struct House {
        key: SecretKey,
        store: Arc<MemoryBrokerStore>,
        now_ms: Arc<AtomicU64>,
    }

    impl House {
        async fn serve(&self) -> BrokerServer {
            let broker = Arc::new(Broker::new(self.key.clone(), Terms::default()));
            let (any, now_ms) = ("127.0.0.1:0".parse().unwrap(), self.now_ms.clone());
            let clock = Arc::new(move || UnixMs(now_ms.load(Ordering::Relaxed)));
            let limit = RateLimit {
                per_second: 0,
                burst: 0,
            };
            let store = self.store.clone();
            BrokerServer::start_listing(any, broker, store, clock, limit, None, MOST)
                .await
                .unwrap()
        }

        fn client(&self, server: &BrokerServer) -> BrokerClient {
            BrokerClient::new(
                &server.url(),
                Some(self.key.public()),
                SecretKey::from_bytes([9; 32]),
            )
            .unwrap()
        }

        async fn put(&self, rows: Vec<Row>) {
            let write = |row| Write {
                version: 0,
                row: Arc::new(row),
            };
            let change = Change {
                writes: rows.into_iter().map(write).collect(),
                ..Change::default()
            };
            self.store.apply(&[change]).await.unwrap();
        }

        /// Slots that are fixed in an hour.
        async fn fix(&self, hour: u64, slots: std::ops::Range<u8>) {
            let rows = slots.map(|n| {
                Row::Spent(SpentRow {
                    slot: Slot([n; 32]),
                    c: Commitment([n; 32]),
                    at: UnixMs(hour * HOUR_MS + u64::from(n)),
                })
            });
            self.put(rows.collect()).await;
            // The index is made at most twice a second.
            self.now_ms.fetch_add(INDEX_MS + 1, Ordering::Relaxed);
        }
    }

    fn has(list: &SpentList, slots: std::ops::Range<u8>) -> bool {
        list.len() == slots.len()
            && slots
                .into_iter()
                .all(|n| list.lookup(&Slot([n; 32])) == Listed::By([n; 16]))
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_hides_no_entry_from_who_has_those_before_it() {
        let house = House {
            key: SecretKey::from_bytes([1; 32]),
            store: Arc::new(MemoryBrokerStore::new()),
            now_ms: Arc::new(AtomicU64::new(NOW_HOUR * HOUR_MS)),
        };
        // The hour before has more than a chunk takes, and what it has beyond fills this hour's.
        house.fix(NOW_HOUR - 1, 1..6).await;
        house.fix(NOW_HOUR, 6..7).await;
        let server = house.serve().await;
        let client = house.client(&server);
        let mut list = SpentList::new(house.key.public());
        client.refresh_spent(&mut list).await.unwrap();
        assert!(has(&list, 1..7), "{list:?}");
        // Something of the hour before is written down only now.
        house.fix(NOW_HOUR - 1, 7..9).await;
        client.refresh_spent(&mut list).await.unwrap();
        assert!(has(&list, 1..9), "{list:?}");

        // The last hour was over, and had been asked for: more of it is found nevertheless.
        house.now_ms.fetch_add(5 * HOUR_MS, Ordering::Relaxed);
        client.refresh_spent(&mut list).await.unwrap();
        let mut new = SpentList::new(house.key.public());
        client.refresh_spent(&mut new).await.unwrap();
        house.now_ms.fetch_sub(4 * HOUR_MS, Ordering::Relaxed);
        house.fix(NOW_HOUR - 1, 9..10).await;
        house.now_ms.fetch_add(5 * HOUR_MS, Ordering::Relaxed);
        for list in [&mut list, &mut new] {
            client.refresh_spent(list).await.unwrap();
            assert!(has(list, 1..10), "{list:?}");
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn what_is_too_much_for_one_chunk_is_listed_in_those_of_the_next_hours() {
        let house = House {
            key: SecretKey::from_bytes([1; 32]),
            store: Arc::new(MemoryBrokerStore::new()),
            now_ms: Arc::new(AtomicU64::new(NOW_HOUR * HOUR_MS)),
        };
        house.fix(NOW_HOUR - 1, 1..9).await;
        let server = house.serve().await;
        let client = house.client(&server);
        let mut list = SpentList::new(house.key.public());
        client.refresh_spent(&mut list).await.unwrap();
        assert!(has(&list, 1..9), "{list:?}");

        house.fix(NOW_HOUR, 9..14).await;
        client.refresh_spent(&mut list).await.unwrap();
        assert!(has(&list, 1..14), "{list:?}");
        let index = reqwest::get(format!("{}/v1/spent", server.url())).await;
        let index = index.unwrap().bytes().await.unwrap();
        let index = SpentIndex::decode(&house.key.public(), &index).unwrap();
        let sizes: Vec<u32> = index.chunks.values().copied().collect();
        assert_eq!(sizes, [3, 3, 3, 3, 1]);
        server.stop().await;

        // More suspended keys than a list takes keep nobody from reading it.
        let mut out = AccountRow::new(PublicKey([1; 32]));
        out.suspended = Some(UnixMs(1));
        let keys = (1..=5).map(|n| HolderRow {
            key: PublicKey([n; 32]),
            account: out.id,
            expires: Day(9),
        });
        let rows = keys.map(Row::Holder).collect();
        house.put(rows).await;
        house.put(vec![Row::Account(out)]).await;

        // Another start, hours later, says the same, to who has some of it and to who has nothing.
        house.now_ms.fetch_add(9 * HOUR_MS, Ordering::Relaxed);
        house.fix(NOW_HOUR + 9, 14..16).await;
        let server = house.serve().await;
        let client = house.client(&server);
        let mut new = SpentList::new(house.key.public());
        for list in [&mut list, &mut new] {
            client.refresh_spent(list).await.unwrap();
            assert!(has(list, 1..16), "{list:?}");
            let out = (1..=5).map(|n| list.is_suspended(&PublicKey([n; 32])));
            assert!(out.eq([true, true, true, false, false]));
        }
        server.stop().await;
    }
}
