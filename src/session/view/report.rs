//! Reports of what came in and went out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::Units;

pub use crate::report::{By, Kind};

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Earnings or spending.
    pub kind: Kind,
    /// How lines are gathered.
    pub by: By,
    /// The first day in it, YYYY-MM-DD; none: from the beginning.
    pub since: Option<String>,
    /// The last day in it; none: until now.
    pub until: Option<String>,
    /// The newest, or the greatest, first.
    pub rows: Vec<ReportRow>,
    /// The sums of all rows.
    pub total: ReportRow,
    /// The broker's currency, and how many units make one of it; none where it is not known.
    pub currency: Option<String>,
    /// How many units make one of the currency.
    pub units_per_credit: Option<u64>,
    /// Earned and still held (in open channels too); earnings only, whatever the dates.
    pub still_held: Units,
}

/// A line of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportRow {
    /// The day, the week's Monday, the month's first day, the info hash, or the peer's address.
    pub key: String,
    /// The same for people: a date, a torrent's name, an address. From strangers.
    pub label: String,
    /// Earned or paid.
    pub units: Units,
    /// Of what was earned, redeemed by the broker. Earnings only.
    pub redeemed: Units,
    /// Channels in it.
    pub channels: u64,
    /// Payload sent (earnings) or received (spending); none where it was not noted, as by peer.
    pub bytes: Option<u64>,
}

/// The receipts behind a line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportReceipts {
    /// Lines of the wallet's history, newest first.
    pub lines: Vec<super::HistoryLine>,
    /// Their sum.
    pub units: Units,
}
