//! Trackers of a torrent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::UnixMs;

/// A tracker of a torrent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrackerRow {
    /// Its address; none for the DHT. From strangers.
    pub url: Option<String>,
    /// Its tier, from 0; the DHT stands behind all.
    pub tier: u32,
    /// Whether it is the DHT; private torrents have none.
    pub dht: bool,
    /// Whether it has answered; none: it was not heard of yet, or the torrent does not run.
    pub works: Option<bool>,
    /// Why it gave nothing, in its words or the system's. From strangers.
    pub error: Option<String>,
    /// Peers in its last answer, or nodes known to the DHT; none where it is not known.
    pub peers: Option<u32>,
    /// When it was last heard, or given up on for the moment.
    pub heard: Option<UnixMs>,
    /// When it is asked again.
    pub next: Option<UnixMs>,
}
