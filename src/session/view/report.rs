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
}

/// A line of a report. What was earned is `redeemed`, `spent_again`, `held` and `withheld` together: what
/// became of it since, whenever that was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportRow {
    /// The day, the week's Monday, the month's first day, the info hash, or the peer's address. Empty for
    /// torrents and peers that are not known.
    pub key: String,
    /// The same for people: a date, a torrent's name, an address. From strangers.
    pub label: String,
    /// Earned or paid, in open channels too.
    pub units: Units,
    /// Of these, in channels that are not closed yet.
    pub open: Units,
    /// Of what was earned, redeemed by the broker. Earnings only, as the next three.
    pub redeemed: Units,
    /// Of what was earned, paid to others for our own downloads.
    pub spent_again: Units,
    /// Of what was earned, still held: at hand, on its way to the broker, in channels.
    pub held: Units,
    /// Of what was earned, refused by the broker or frozen.
    pub withheld: Units,
    /// Channels in it.
    pub channels: u64,
    /// Payload sent (earnings) or received (spending), whether it was paid for or not; none where no node
    /// noted it.
    pub bytes: Option<u64>,
}

/// The receipts behind a line of a report, or behind its sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportReceipts {
    /// Channels, newest first: `earned`, `paid`, or `earning`, `paying` while they are open.
    pub lines: Vec<super::HistoryLine>,
    /// Their sum.
    pub units: Units,
    /// What the broker credited of what was earned.
    pub redeemed: ReceiptLines,
    /// What was paid with what was earned.
    pub spent_again: ReceiptLines,
}

/// Lines of the wallet's history, newest first, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptLines {
    /// The lines.
    pub lines: Vec<super::HistoryLine>,
    /// Their sum.
    pub units: Units,
}
