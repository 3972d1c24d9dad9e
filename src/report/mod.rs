//! What was earned and spent, by day, week, month, torrent or peer: tables, CSV, JSON. Every line is a
//! sum of deals, which are its receipts, and the total is the sum of the lines.

mod csv;
mod date;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

pub use csv::csv;
pub use date::{date, moment, parse as parse_date};

use crate::units::{Day, Units};
use crate::wallet::{Deal, JournalLine};

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What was earned by serving.
    Earnings,
    /// What was paid to seeders.
    Spending,
}

/// How lines of a report are gathered.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A line a day, by UTC.
    #[default]
    Day,
    /// A line a week, from Monday.
    Week,
    /// A line a month.
    Month,
    /// A line a torrent.
    Torrent,
    /// A line a peer: the address at which it is met again.
    Peer,
}

/// Which days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first; none: from the beginning.
    pub since: Option<Day>,
    /// The last; none: until now.
    pub until: Option<Day>,
}

/// What the CSV file of a report is called.
#[must_use]
pub fn file_name(kind: Kind, by: By, range: Range) -> String {
    let kind = match kind {
        Kind::Earnings => "earnings",
        Kind::Spending => "spending",
    };
    let by = match by {
        By::Day => "day",
        By::Week => "week",
        By::Month => "month",
        By::Torrent => "torrent",
        By::Peer => "peer",
    };
    let span = match (range.since.map(date), range.until.map(date)) {
        (None, None) => String::new(),
        (Some(since), None) => format!("-from-{since}"),
        (None, Some(until)) => format!("-to-{until}"),
        (Some(since), Some(until)) => format!("-{since}-to-{until}"),
    };
    format!("dpay-{kind}-by-{by}{span}.csv")
}

/// Why there is no report.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReportError {
    /// Not a date.
    #[error("{0:?} is no date; give it as YYYY-MM-DD")]
    Date(String),
    /// The last day is before the first.
    #[error("the last day {until} is before the first, {since}")]
    Backwards {
        /// The first.
        since: String,
        /// The last.
        until: String,
    },
    /// No journal of this program reaches it.
    #[error("the sum does not fit: the journal is damaged")]
    Overflow,
}

impl Range {
    /// Reads two dates, YYYY-MM-DD, each of which may be left out.
    ///
    /// # Errors
    /// [`ReportError::Date`], [`ReportError::Backwards`].
    pub fn parse(since: Option<&str>, until: Option<&str>) -> Result<Range, ReportError> {
        let day = |text: Option<&str>| match text.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                let wrong = || ReportError::Date(text.chars().take(40).collect());
                parse_date(text).map(Some).ok_or_else(wrong)
            }
        };
        let range = Range {
            since: day(since)?,
            until: day(until)?,
        };
        match (range.since, range.until) {
            (Some(since), Some(until)) if until < since => Err(ReportError::Backwards {
                since: date(since),
                until: date(until),
            }),
            _ => Ok(range),
        }
    }

    /// Whether a day is in it.
    #[must_use]
    pub fn holds(&self, day: Day) -> bool {
        self.since.is_none_or(|since| since <= day) && self.until.is_none_or(|until| day <= until)
    }
}

/// A line of a report. What was earned is `redeemed`, `spent_again`, `held` and `withheld` together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The day, the week's Monday or the month's first day (YYYY-MM-DD), the info hash, or the
    /// peer's address. Empty for the sum, and where the torrent or peer is not known.
    pub key: String,
    /// Earned or paid.
    pub units: Units,
    /// Of these, in channels that are not closed yet.
    pub open: Units,
    /// Of what was earned, redeemed since. Earnings only.
    pub redeemed: Units,
    /// Of what was earned, paid to others since. Earnings only.
    pub spent_again: Units,
    /// Of what was earned, still there. Earnings only.
    pub held: Units,
    /// Of what was earned, refused by the broker or frozen. Earnings only.
    pub withheld: Units,
    /// Channels in it.
    pub channels: u64,
    /// Payload sent or received; none where nothing of that was noted.
    pub bytes: Option<u64>,
}

impl Line {
    fn of(deal: &Deal) -> Option<Line> {
        let sum = |lines: &[JournalLine]| Units::checked_sum(lines.iter().map(|line| line.units));
        Some(Line {
            key: String::new(),
            units: deal.line.units,
            open: match deal.is_open {
                true => deal.line.units,
                false => Units::ZERO,
            },
            redeemed: sum(&deal.became.redeemed)?,
            spent_again: sum(&deal.became.spent)?,
            held: deal.became.held,
            withheld: deal.became.withheld,
            channels: 1,
            bytes: None,
        })
    }

    fn and(self, more: &Line) -> Option<Line> {
        Some(Line {
            key: self.key,
            units: self.units.checked_add(more.units)?,
            open: self.open.checked_add(more.open)?,
            redeemed: self.redeemed.checked_add(more.redeemed)?,
            spent_again: self.spent_again.checked_add(more.spent_again)?,
            held: self.held.checked_add(more.held)?,
            withheld: self.withheld.checked_add(more.withheld)?,
            channels: self.channels.checked_add(more.channels)?,
            bytes: match (self.bytes, more.bytes) {
                (Some(bytes), Some(more)) => Some(bytes.checked_add(more)?),
                (bytes, more) => bytes.or(more),
            },
        })
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is about.
    pub kind: Kind,
    /// How its lines are gathered.
    pub by: By,
    /// Dates newest first; torrents and peers by units, the most first.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: Line,
}

/// The line of a report that a deal belongs to.
#[must_use]
pub fn key_of(deal: &Deal, by: By) -> String {
    let line = &deal.line;
    match by {
        By::Torrent => line
            .info_hash
            .map_or_else(String::new, |hash| hash.to_string()),
        By::Peer => line.peer.clone().unwrap_or_default(),
        by => key_of_day(line.at.day(), by),
    }
}

/// The line of a report by dates that a day belongs to.
#[must_use]
pub fn key_of_day(day: Day, by: By) -> String {
    date(match by {
        By::Week => date::monday(day),
        By::Month => date::first_of_month(day),
        _ => day,
    })
}

/// Makes a report of what channels came to; `bytes` is what was transferred in the range by the keys of
/// the report, with or without being paid for.
///
/// # Errors
/// [`ReportError::Overflow`].
pub fn table(
    deals: &[Deal],
    bytes: Option<&BTreeMap<String, u64>>,
    kind: Kind,
    by: By,
    range: Range,
) -> Result<Table, ReportError> {
    let none = Line {
        bytes: bytes.map(|_| 0),
        ..Line::default()
    };
    let mut all: BTreeMap<String, Line> = BTreeMap::new();
    let paid_for = receipts(deals, range).map(|deal| (key_of(deal, by), Line::of(deal)));
    let moved = bytes.into_iter().flatten().map(|(key, bytes)| {
        let line = Line {
            bytes: Some(*bytes),
            ..Line::default()
        };
        (key.clone(), Some(line))
    });
    for (key, more) in paid_for.chain(moved) {
        let more = more.ok_or(ReportError::Overflow)?;
        let own = all.entry(key).or_insert_with(|| none.clone());
        *own = std::mem::take(own)
            .and(&more)
            .ok_or(ReportError::Overflow)?;
    }
    let mut lines: Vec<Line> = all
        .into_iter()
        .map(|(key, line)| Line { key, ..line })
        .collect();
    match by {
        By::Day | By::Week | By::Month => lines.reverse(),
        By::Torrent | By::Peer => {
            lines.sort_by_key(|line| std::cmp::Reverse((line.units, line.bytes)));
        }
    }
    let total = lines.iter().try_fold(none, Line::and);
    Ok(Table {
        kind,
        by,
        lines,
        total: total.ok_or(ReportError::Overflow)?,
    })
}

/// The deals that a report sums, oldest first. Channels in which nothing was paid are left out.
pub fn receipts(deals: &[Deal], range: Range) -> impl Iterator<Item = &Deal> {
    let moved = deals.iter().filter(|deal| !deal.line.units.is_zero());
    moved.filter(move |deal| range.holds(deal.line.at.day()))
}
