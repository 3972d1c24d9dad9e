//! The spent list as files: closed hours are made once and kept.

use std::collections::BTreeMap;

use axum::body::Bytes;
use parking_lot::Mutex;

use super::Shared;
use super::error::ApiError;
use crate::broker::spent::{LISTED_HOURS, encode_chunk, encode_index, encode_suspended, hour_of};
use crate::units::UnixMs;

/// The index is made again after this long.
const INDEX_MS: u64 = 500;
/// An hour counts as closed this long after its end, when no request decided in it is still open.
const CLOSED_MS: u64 = 120_000;
/// Bytes of closed chunks kept in memory.
const KEPT_BYTES: usize = 64 << 20;

/// What was made before.
#[derive(Default)]
pub(super) struct Files(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    index: Option<(UnixMs, Bytes)>,
    closed: BTreeMap<u32, Bytes>,
    closed_bytes: usize,
}

/// The index as of now.
pub(super) async fn index(shared: &Shared) -> Result<Bytes, ApiError> {
    let now = (shared.clock)();
    if let Some((made, bytes)) = &shared.spent.0.lock().index
        && now.is_within(INDEX_MS, *made)
    {
        return Ok(bytes.clone());
    }
    let from = hour_of(now).saturating_sub(LISTED_HOURS);
    let chunks = shared.store.spent_hours(from).await?;
    let bytes = Bytes::from(encode_index(shared.broker.key(), now, &chunks));
    shared.spent.0.lock().index = Some((now, bytes.clone()));
    Ok(bytes)
}

/// The chunk of an hour.
pub(super) async fn chunk(shared: &Shared, hour: u32) -> Result<Bytes, ApiError> {
    if let Some(bytes) = shared.spent.0.lock().closed.get(&hour) {
        return Ok(bytes.clone());
    }
    let entries: Vec<_> = (shared.store.spent_in(hour).await?)
        .into_iter()
        .map(|row| (row.slot, row.c))
        .collect();
    let bytes = Bytes::from(encode_chunk(shared.broker.key(), hour, &entries));
    let now = (shared.clock)();
    let closed = hour_of(UnixMs(now.0.saturating_sub(CLOSED_MS))) > hour;
    if closed && !entries.is_empty() {
        let mut kept = shared.spent.0.lock();
        kept.closed_bytes = kept.closed_bytes.saturating_add(bytes.len());
        kept.closed.insert(hour, bytes.clone());
        while kept.closed_bytes > KEPT_BYTES
            && let Some((_, dropped)) = kept.closed.pop_first()
        {
            kept.closed_bytes = kept.closed_bytes.saturating_sub(dropped.len());
        }
    }
    Ok(bytes)
}

/// The suspended keys.
pub(super) async fn suspended(shared: &Shared) -> Result<Bytes, ApiError> {
    let keys = shared.store.suspended_keys().await?;
    let now = (shared.clock)();
    Ok(Bytes::from(encode_suspended(
        shared.broker.key(),
        now,
        &keys,
    )))
}
