//! What happens, as it happens: the stream of events, notices, the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ManyView, NodeView, TorrentRow, WalletView};
use crate::units::{InfoHash, Units, UnixMs};

/// One event of `GET /api/v1/events` (server-sent events): the SSE field `event` is `type`, `data` is
/// this object. At most one of each a second; `notice` and `state` come at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Once a second while somebody listens.
    Pulse(Pulse),
    /// Torrents that changed since the last event of this kind, and those that went.
    Torrents {
        /// New or changed.
        changed: Vec<TorrentRow>,
        /// Gone.
        removed: Vec<InfoHash>,
    },
    /// The wallet has changed.
    Wallet(Box<WalletView>),
    /// How far the node is has changed.
    State(Box<NodeView>),
    /// How far adding many torrents with one answer is.
    Many(ManyView),
    /// Something worth telling.
    Notice(Notice),
    /// Events were missed: load everything anew.
    Reload,
}

/// Speeds of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pulse {
    /// When.
    pub at: UnixMs,
    /// Payload coming in.
    pub down_bytes_per_s: u64,
    /// Payload going out.
    pub up_bytes_per_s: u64,
    /// Units paid within the second.
    pub units_paid_per_s: Units,
    /// Units earned within the second.
    pub units_earned_per_s: Units,
    /// Connected peers.
    pub peers: u32,
    /// Nodes known to the DHT; none where it does not say.
    pub dht_nodes: Option<u32>,
}

/// Speeds of the last minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpeedHistory {
    /// Oldest first, a second each; at most 15 minutes.
    pub pulses: Vec<Pulse>,
}

/// What a notice tells; the page has the words for each in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeCode {
    /// A torrent is complete. `name`.
    Finished,
    /// A torrent failed. `name`, and `error`, or `code` with `why` in English.
    TorrentFailed,
    /// A budget is used up; for a torrent once. `which`: torrent, day or total; `limit`.
    BudgetReached,
    /// What is left of a torrent's budget is too little to be paid. `name`, `limit`, `paid`, `left`.
    BudgetRest,
    /// A torrent waits for a yes. `name`, `units`.
    Asks,
    /// Seeders of a torrent ask more than may be paid: once for each price. `name`, `asked`, `limit`.
    PriceAboveLimit,
    /// A seeder is not paid. `peer`, `why` in English, `code` and its values.
    GoesFree,
    /// A double spend was caught. `peer`.
    DoubleSpend,
    /// A peer sent garbage and is blocked. `peer`.
    Garbage,
    /// Coins expire soon. `units`, `day` (counted from 1970-01-01).
    Expiring,
    /// Little is left to pay with. `units`.
    LowBalance,
    /// Coins were bought by the rule. `units`.
    AutoBought,
    /// The wallet's first coins were bought, to be kept at hand. `bond`, `units`, `kept`.
    KeptAtHand,
    /// The broker refuses what is signed at the time of this machine's clock. `error`.
    ClockWrong,
    /// Units were redeemed by the rule. `units`.
    AutoRedeemed,
    /// A rule could not be carried out. `error`.
    RuleFailed,
    /// The watch folder brought a torrent. `name`.
    WatchAdded,
    /// The watch folder named a torrent that is there. `name`, `file`.
    WatchThere,
    /// A file in the watch folder is no torrent. `file`, `error`.
    WatchFailed,
    /// The disk is nearly full. `folder`, `free_bytes`.
    DiskLow,
    /// The home has no room, or cannot be written; taken back once it can. `code` with `why` in English, `home`,
    /// `system`.
    HomeUnwritten,
    /// No DHT node answers; taken back once one does. `at`.
    DhtSilent,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For the record.
    Info,
    /// Something to look at.
    Warning,
    /// Something went wrong.
    Error,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// Counts up from 1 in each run.
    pub id: u64,
    /// When.
    pub at: UnixMs,
    /// How much it matters.
    pub level: Level,
    /// What it tells.
    pub code: NoticeCode,
    /// The values in it. From strangers, some of them.
    pub values: BTreeMap<String, String>,
    /// The sentence in English.
    pub text: String,
    /// The torrent.
    pub info_hash: Option<InfoHash>,
}

/// Notices of this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notices {
    /// Oldest first, at most 200.
    pub notices: Vec<Notice>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Counts up from 1 in each run.
    pub id: u64,
    /// When.
    pub at: UnixMs,
    /// error, warn, info, debug.
    pub level: String,
    /// The part that says it.
    pub part: String,
    /// What it says. From strangers, in part.
    pub text: String,
    /// The torrent, where it is about one.
    pub info_hash: Option<InfoHash>,
}

/// The end of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Log {
    /// Oldest first.
    pub lines: Vec<LogLine>,
}
