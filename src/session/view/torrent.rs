//! Torrents, their files, pieces, peers, channels and trackers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Saying, Terms, TermsChange};
use crate::units::{Day, InfoHash, PricePerGib, Units, UnixMs};

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Added, and waits for a yes: its estimate is being made, nothing is paid; free peers may give
    /// something meanwhile.
    Asking,
    /// Asks peers for the metadata of a magnet link.
    FetchingMetadata,
    /// Looks at what is on the disk.
    Checking,
    /// Fetches, and serves what it has.
    Downloading,
    /// Complete as far as wanted, and serves.
    Seeding,
    /// Waits until fewer download at once (setting `limits.downloads_at_once`): neither fetches nor serves.
    Queued,
    /// Neither fetches nor serves, as somebody wants it.
    Paused,
    /// Stopped by a failure; `error` says which. Resume tries again.
    Failed,
}

/// A torrent in the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TorrentRow {
    /// Which.
    pub info_hash: InfoHash,
    /// Its name; the info hash until the metadata is known. From strangers.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Why it stopped, where it failed.
    pub error: Option<String>,
    /// Length of all files; 0 until the metadata is known.
    pub size_bytes: u64,
    /// Length of the wanted files.
    pub wanted_bytes: u64,
    /// Verified bytes; while checking, bytes looked at.
    pub have_bytes: u64,
    /// From 0 to 1: verified part of what is wanted.
    pub progress: f64,
    /// Payload coming in.
    pub down_bytes_per_s: u64,
    /// Payload going out.
    pub up_bytes_per_s: u64,
    /// Seconds to go at the present speed; none where it stands still or is complete.
    pub eta_s: Option<u64>,
    /// Connected peers that offer the torrent for a price.
    pub sellers: u32,
    /// Connected peers.
    pub peers: u32,
    /// Connected peers that have all of it.
    pub seeds: u32,
    /// Peers ever heard of since it was started.
    pub peers_seen: u32,
    /// What a GiB costs on the average, of what was bought from the peers that are being paid now.
    pub paying_price: Option<PricePerGib>,
    /// The price that is asked of leechers.
    pub price: PricePerGib,
    /// Paid for it, ever.
    pub units_paid: Units,
    /// Earned with it, ever.
    pub units_earned: Units,
    /// The most it may cost in all; none: the other budgets rule.
    pub budget: Option<Units>,
    /// Whether seeders are paid for it.
    pub pays: bool,
    /// Why it waits, where it does.
    pub waits: Option<Saying>,
    /// Payload received, ever.
    pub downloaded_bytes: u64,
    /// Payload sent, ever.
    pub uploaded_bytes: u64,
    /// When it was added.
    pub added: UnixMs,
    /// When it was complete.
    pub completed: Option<UnixMs>,
    /// Whether it is private (BEP 27).
    pub private: bool,
    /// The label that it was given.
    pub label: Option<String>,
}

/// All torrents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TorrentList {
    /// In the order in which they were added.
    pub torrents: Vec<TorrentRow>,
}

/// One torrent in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TorrentDetail {
    /// As in the list.
    pub row: TorrentRow,
    /// What it may cost and costs.
    pub terms: Terms,
    /// The folder that its file, or the folder of its files, lies in.
    pub folder: String,
    /// Its file or folder, once known.
    pub content: Option<String>,
    /// Number of files.
    pub files: u32,
    /// Number of pieces.
    pub pieces: u32,
    /// Length of a piece.
    pub piece_bytes: u32,
    /// Pieces that failed their check since it was started.
    pub pieces_failed: u32,
    /// The maker's comment. From strangers.
    pub comment: Option<String>,
    /// The maker's program. From strangers.
    pub created_by: Option<String>,
    /// A magnet link to it.
    pub magnet: String,
    /// Whether a program added it (watch folder): then it pays only within a budget.
    pub automatic: bool,
}

/// Where a torrent is to come from; exactly one of `magnet`, `url` and `file` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A magnet link, or 40 hexadecimal digits.
    pub magnet: Option<String>,
    /// Where a .torrent file is fetched from (http or https).
    pub url: Option<String>,
    /// The bytes of a .torrent file, in base64.
    pub file: Option<String>,
    /// What that file is called where it comes from: what is wrong with it is told by that.
    pub file_name: Option<String>,
}

/// A torrent to add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    /// Where it comes from.
    pub source: Source,
    /// The folder to put it into; none: the setting `folders.downloads`.
    pub folder: Option<String>,
    /// Only add it, do not start it.
    #[serde(default)]
    pub paused: bool,
    /// Make the estimate and wait for the action `confirm` or `free_only`, whatever the settings say.
    #[serde(default)]
    pub ask: bool,
    /// A yes to what it may cost: the setting `spending.ask_above` does not hold it up.
    #[serde(default)]
    pub confirmed: bool,
    /// Indexes of the wanted files; none: all.
    pub only_files: Option<Vec<u32>>,
    /// Where its terms differ from the settings.
    #[serde(default)]
    pub terms: TermsChange,
    /// Its label: 1 to 40 characters without control characters, at least one of which can be seen.
    #[schema(min_length = 1, max_length = 40)]
    pub label: Option<String>,
    /// Peers to begin with, as IP:PORT; a private torrent takes none.
    #[serde(default)]
    pub peers: Vec<String>,
}

/// Trackers for a torrent that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoreTrackers {
    /// Their addresses: http, https or udp. A torrent has 100 at most.
    pub trackers: Vec<String>,
}

/// Peers for a torrent that is there and not private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MorePeers {
    /// Their addresses, as IP:PORT. A torrent has 200 at most.
    pub peers: Vec<String>,
}

/// How many trackers or peers the torrent did not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewCount {
    /// So many.
    pub new: u32,
}

/// What came of adding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Added {
    /// Which.
    pub info_hash: InfoHash,
    /// Its name, or the info hash. From strangers.
    pub name: String,
    /// It was there already. It was given the trackers and peers that it did not have, and the yes or
    /// the no to paying that was sent along; anything else is refused.
    pub already: bool,
    /// It was there, waited for a yes to what it may cost, and was given it.
    #[serde(default)]
    pub confirmed: bool,
    /// It waits for a yes, or will once its size is known and that may cost too much: nothing of it is fetched
    /// before.
    #[serde(default)]
    pub asking: bool,
    /// Trackers that a torrent that was there did not have.
    #[serde(default)]
    pub new_trackers: u32,
    /// Peers that a torrent that was there did not have.
    #[serde(default)]
    pub new_peers: u32,
}

/// What a download may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// Which.
    pub info_hash: InfoHash,
    /// Its name. From strangers.
    pub name: String,
    /// False until the metadata is known: sizes and costs are 0 then.
    pub has_metadata: bool,
    /// What is wanted and not there yet.
    pub missing_bytes: u64,
    /// Prices that peers of this torrent have offered, lowest first.
    pub prices: Vec<SeenPrice>,
    /// Peers seen that offer it for nothing or do not speak of price.
    pub free_peers: u32,
    /// The cost at the lowest price seen; none while none is seen.
    pub cheapest_units: Option<Units>,
    /// The cost where those who sell within the highest price each give as much: at the mean of their prices.
    pub expected_units: Option<Units>,
    /// The cost at the highest price that may be paid, within the budgets.
    pub most_units: Units,
    /// The highest price that may be paid.
    pub max_price: PricePerGib,
    /// Coins and change that are ready to be spent.
    pub available_units: Units,
    /// What an earlier run left: it pays, too, once it is read again in the DHT.
    pub unread_units: Units,
    /// What the broker would still sell; none where it does not answer.
    pub buyable_units: Option<Units>,
    /// What the torrent's budget leaves; none: no such budget.
    pub torrent_budget_left: Option<Units>,
    /// What today's budget leaves; none: no such budget.
    pub day_budget_left: Option<Units>,
    /// What the budget for all leaves; none: no such budget.
    pub total_budget_left: Option<Units>,
    /// What a torrent may cost without asking, by the setting `spending.ask_above`; none: whatever it costs.
    pub ask_above: Option<Units>,
    /// Whether money and budgets suffice for `most_units`.
    pub affordable: bool,
}

/// A price that a peer offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SeenPrice {
    /// The peer's address.
    pub peer: String,
    /// What it asks.
    pub price: PricePerGib,
    /// What it calls itself. From strangers.
    pub client: Option<String>,
}

/// What to do with torrents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Stop fetching and serving.
    Pause,
    /// Go on; after a failure too.
    Resume,
    /// Look anew at what is on the disk.
    Recheck,
    /// Take out of the list; files stay.
    Remove,
    /// Take out of the list and delete its files.
    RemoveWithData,
    /// Yes to the estimate: download and pay.
    Confirm,
    /// Yes where no size was known to say yes to: download and pay, and ask once the size is known and may cost
    /// more than the setting `spending.ask_above`.
    ConfirmUnseen,
    /// Download from free peers only; pays nothing.
    FreeOnly,
}

/// Something to be done with some torrents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    /// What.
    pub action: Action,
    /// With which.
    pub info_hashes: Vec<InfoHash>,
}

/// A label for some torrents, in place of the one that each has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelRequest {
    /// 1 to 40 characters without control characters, at least one of which can be seen; `null` takes it away.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, min_length = 1, max_length = 40)]
    pub label: Option<String>,
    /// Which.
    pub info_hashes: Vec<InfoHash>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionResult {
    /// Done with these.
    pub done: Vec<InfoHash>,
    /// Not with these, and why.
    pub failed: Vec<ActionFailure>,
}

impl ActionResult {
    /// Adds what came of it with one of them.
    pub(crate) fn note(&mut self, info_hash: InfoHash, done: Result<(), super::Problem>) {
        match done {
            Ok(()) => self.done.push(info_hash),
            Err(problem) => self.failed.push(ActionFailure { info_hash, problem }),
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionFailure {
    /// With which torrent.
    pub info_hash: InfoHash,
    /// Why.
    pub problem: super::Problem,
}

/// A file of a torrent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileRow {
    /// Its index, from 0; padding is left out, so indexes may have gaps.
    pub index: u32,
    /// Path below the torrent's folder, parts joined by `/`. From strangers.
    pub path: String,
    /// Length.
    pub size_bytes: u64,
    /// Bytes in pieces that are verified.
    pub have_bytes: u64,
    /// Whether it is to be downloaded.
    pub wanted: bool,
    /// Whether a browser can play or show it, by its name: streamed from `.../files/INDEX/stream`.
    pub media_type: Option<String>,
}

/// Which files are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileChoice {
    /// Indexes of all wanted files.
    pub wanted: Vec<u32>,
}

/// What came of choosing files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FilesChosen {
    /// The torrent waits for a yes to what they may cost.
    pub asking: bool,
}

/// Which pieces are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PieceMap {
    /// Number of pieces.
    pub pieces: u32,
    /// Of them verified.
    pub have: u32,
    /// A bit a piece, highest bit first, in base64; all zero while checking.
    pub bitmap: String,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerRow {
    /// Names the connection.
    pub connection: u64,
    /// Its address.
    pub address: String,
    /// What it calls itself. From strangers.
    pub client: Option<String>,
    /// What carries the connection.
    pub transport: Transport,
    /// Whether it dialled us.
    pub inbound: bool,
    /// From 0 to 1: the part of the torrent that it has, as it says.
    pub progress: f64,
    /// Whether it speaks `dp_pay`.
    pub dp_pay: bool,
    /// Coming in.
    pub down_bytes_per_s: u64,
    /// Going out.
    pub up_bytes_per_s: u64,
    /// Payload received.
    pub down_bytes: u64,
    /// Received payload that turned out intact.
    pub verified_bytes: u64,
    /// Payload sent.
    pub up_bytes: u64,
    /// Payload sent for nothing.
    pub free_up_bytes: u64,
    /// What it asks.
    pub price: Option<PricePerGib>,
    /// Paid to it on this connection.
    pub units_paid: Units,
    /// Earned from it on this connection.
    pub units_earned: Units,
    /// What it owes us.
    pub units_owed: Units,
    /// Bytes it may have before it pays more.
    pub window_bytes: u64,
    /// Its requests that are held back.
    pub held_requests: u64,
    /// Why it makes us wait, or is not paid.
    pub waits: Option<Saying>,
    /// Channels on which we pay it.
    pub paying_channels: u32,
    /// Units left on them.
    pub units_left: Units,
    /// Channels on which it pays us.
    pub earning_channels: u32,
}

/// Who pays on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// We do.
    Payer,
    /// The peer does.
    Payee,
}

/// A channel that is not settled yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelRow {
    /// The spend that it rests on, and its receipt's name.
    pub spend: String,
    /// Who pays.
    pub side: Side,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The other side's address.
    pub peer: String,
    /// Units ticked so far.
    pub units_ticked: Units,
    /// Units that the channel holds in all.
    pub units_value: Units,
    /// Whether the spend was accepted; none where we pay.
    pub accepted: Option<bool>,
    /// Whether the close is signed and only waits to be put.
    pub closing: bool,
    /// Since when, where we pay.
    pub opened: Option<UnixMs>,
    /// Until when it resolves by itself at the latest.
    pub until: Option<Day>,
}
