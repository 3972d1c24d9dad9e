//! What was earned and spent, by day, week, month, torrent or peer, from the wallet's journal:
//! tables, CSV, JSON. Every line is a sum of journal lines, which are its receipts.

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
use crate::wallet::{JournalKind, JournalLine};

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What was earned by serving.
    Earnings,
    /// What was paid to seeders.
    Spending,
}

impl Kind {
    fn journal_kind(self) -> JournalKind {
        match self {
            Kind::Earnings => JournalKind::Earned,
            Kind::Spending => JournalKind::Paid,
        }
    }
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
    /// A line a peer: its address without the port, which changes with every connection.
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

/// A line of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The day, the week's Monday or the month's first day (YYYY-MM-DD), the info hash, or the
    /// peer's address. Empty for the sum.
    pub key: String,
    /// Earned or paid.
    pub units: Units,
    /// Of what was earned, redeemed. Earnings only.
    pub redeemed: Units,
    /// Channels in it.
    pub channels: u64,
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

/// The line of a report that a journal line belongs to.
#[must_use]
pub fn key_of(line: &JournalLine, by: By) -> String {
    match by {
        By::Torrent => line
            .info_hash
            .map_or_else(String::new, |hash| hash.to_string()),
        By::Peer => line.peer.as_deref().map(without_port).unwrap_or_default(),
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

fn without_port(peer: &str) -> String {
    match peer.parse::<std::net::SocketAddr>() {
        Ok(address) => address.ip().to_string(),
        Err(_) => peer.to_owned(),
    }
}

/// Makes a report of the journal `lines`. `redeemed` are the shares that the broker has credited,
/// as journal lines of their own.
///
/// # Errors
/// [`ReportError::Overflow`].
pub fn table(
    lines: &[JournalLine],
    redeemed: &[JournalLine],
    kind: Kind,
    by: By,
    range: Range,
) -> Result<Table, ReportError> {
    let mut all: BTreeMap<String, Line> = BTreeMap::new();
    let mut total = Line::default();
    let add = |sum: &mut Units, units: Units| {
        *sum = sum.checked_add(units).ok_or(ReportError::Overflow)?;
        Ok::<(), ReportError>(())
    };
    for line in receipts(lines, kind, range) {
        let own = all.entry(key_of(line, by)).or_default();
        add(&mut own.units, line.units)?;
        add(&mut total.units, line.units)?;
        own.channels = own.channels.saturating_add(1);
        total.channels = total.channels.saturating_add(1);
    }
    if kind == Kind::Earnings {
        for line in redeemed.iter().filter(|line| range.holds(line.at.day())) {
            let own = all.entry(key_of(line, by)).or_default();
            add(&mut own.redeemed, line.units)?;
            add(&mut total.redeemed, line.units)?;
        }
    }
    let mut lines: Vec<Line> = all
        .into_iter()
        .map(|(key, line)| Line { key, ..line })
        .collect();
    match by {
        By::Day | By::Week | By::Month => lines.reverse(),
        By::Torrent | By::Peer => lines.sort_by_key(|line| std::cmp::Reverse(line.units)),
    }
    Ok(Table {
        kind,
        by,
        lines,
        total,
    })
}

/// The journal lines that a report sums, oldest first. Channels that were closed at nothing are
/// left out.
pub fn receipts(
    lines: &[JournalLine],
    kind: Kind,
    range: Range,
) -> impl Iterator<Item = &JournalLine> {
    let wanted = kind.journal_kind();
    let of_kind = lines.iter().filter(move |line| line.kind == wanted);
    of_kind.filter(move |line| !line.units.is_zero() && range.holds(line.at.day()))
}
