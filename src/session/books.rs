//! The wallet's history and the reports made of it.

use std::collections::BTreeMap;
use std::path::Path;

use super::run::Running;
use super::shelf::Shelf;
use super::traffic::Traffic;
use super::view::report::{ReceiptLines, Report, ReportReceipts, ReportRow};
use super::view::{Advice, Fact, History, HistoryLine, Problem, ProblemCode, Receipt};
use super::{Session, lock};
use crate::cashier::wallet::Wallet;
use crate::report::{self, By, Kind, Range, ReportError, Table};
use crate::units::{InfoHash, Units};
use crate::wallet::{Deal, JournalKind, JournalLine};

/// Most lines of history in one answer.
const MOST_LINES: u32 = 1000;

fn report_problem(error: &ReportError) -> Problem {
    Problem::new(
        ProblemCode::BadRequest,
        error.to_string(),
        Advice::OtherDates,
    )
}

async fn deals(home: &Path, kind: Kind) -> Result<Vec<Deal>, Problem> {
    let reader = Wallet::read(home).await;
    let reader = reader.map_err(|error| super::money::problem(&error))?;
    let deals = match kind {
        Kind::Earnings => reader.earned().await,
        Kind::Spending => reader.paid().await,
    };
    deals.map_err(|error| super::money::problem(&error.into()))
}

/// What torrents are called.
type Names = BTreeMap<InfoHash, String>;

fn history_line(line: &JournalLine, names: &Names) -> HistoryLine {
    let name = line.info_hash.and_then(|hash| names.get(&hash));
    HistoryLine {
        at: line.at,
        kind: line.kind.name().to_owned(),
        units: line.units,
        info_hash: line.info_hash,
        name: name.cloned(),
        peer: line.peer.clone(),
        reference: line.reference.clone(),
    }
}

/// A deal as a line: of an open channel it says that more may come.
fn deal_line(deal: &Deal, names: &Names) -> HistoryLine {
    let mut line = history_line(&deal.line, names);
    if deal.is_open {
        line.kind = match deal.line.kind {
            JournalKind::Earned => "earning",
            _ => "paying",
        }
        .to_owned();
    }
    line
}

/// Lines of what became of deals, the newest first, and their sum.
fn receipt_lines(mut lines: Vec<&JournalLine>, names: &Names) -> Result<ReceiptLines, Problem> {
    lines.sort_by_key(|line| std::cmp::Reverse(line.at));
    let units = Units::checked_sum(lines.iter().map(|line| line.units));
    let lines = lines.iter().map(|line| history_line(line, names));
    Ok(ReceiptLines {
        lines: lines.collect(),
        units: units.ok_or_else(|| report_problem(&ReportError::Overflow))?,
    })
}

/// The receipts behind a line of a report, or behind its sum where no key is given.
fn receipts_behind(
    deals: &[Deal],
    by: By,
    key: Option<&str>,
    range: Range,
    names: &Names,
) -> Result<ReportReceipts, Problem> {
    let behind: Vec<&Deal> = report::receipts(deals, range)
        .filter(|deal| key.is_none_or(|key| report::key_of(deal, by) == key))
        .collect();
    let units = Units::checked_sum(behind.iter().map(|deal| deal.line.units));
    let redeemed = behind.iter().flat_map(|deal| &deal.became.redeemed);
    let spent = behind.iter().flat_map(|deal| &deal.became.spent);
    let lines = behind.iter().rev().map(|deal| deal_line(deal, names));
    Ok(ReportReceipts {
        units: units.ok_or_else(|| report_problem(&ReportError::Overflow))?,
        redeemed: receipt_lines(redeemed.collect(), names)?,
        spent_again: receipt_lines(spent.collect(), names)?,
        lines: lines.collect(),
    })
}

/// What the torrents of a home are called.
fn names_in(home: &Path) -> Names {
    let saved = Shelf::in_home(home).read().unwrap_or_default();
    saved.into_iter().map(|s| (s.info_hash, s.name)).collect()
}

/// A report with what its lines are called.
#[derive(Clone, Debug)]
pub struct Sheet {
    table: Table,
    range: Range,
    names: Names,
}

impl Sheet {
    /// A report of what lies in a home, where no node runs.
    ///
    /// # Errors
    /// No wallet there, or one that cannot be read.
    pub async fn of_home(home: &Path, kind: Kind, by: By, range: Range) -> Result<Sheet, Problem> {
        let bytes = Traffic::left_in(home).map(|traffic| traffic.by_key(kind, by, range));
        let table = report::table(&deals(home, kind).await?, bytes.as_ref(), kind, by, range);
        Ok(Sheet {
            table: table.map_err(|error| report_problem(&error))?,
            range,
            names: names_in(home),
        })
    }

    /// The receipts behind the line with this key, of what lies in a home where no node runs.
    ///
    /// # Errors
    /// As [`Sheet::of_home`].
    pub async fn receipts_of_home(
        home: &Path,
        kind: Kind,
        by: By,
        key: &str,
        range: Range,
    ) -> Result<ReportReceipts, Problem> {
        let deals = deals(home, kind).await?;
        receipts_behind(&deals, by, Some(key), range, &names_in(home))
    }

    /// What a line is called.
    fn label(&self, key: &str) -> String {
        match (self.table.by, key) {
            (By::Torrent, "") => "torrents that are not known".to_owned(),
            (By::Peer, "") => "other peers".to_owned(),
            (By::Torrent, key) => {
                let name = key.parse().ok().and_then(|hash| self.names.get(&hash));
                name.map_or_else(|| key.to_owned(), Clone::clone)
            }
            (_, key) => key.to_owned(),
        }
    }

    /// For the API, without the currency.
    #[must_use]
    pub fn report(&self) -> Report {
        let row = |line: &report::Line, label: String| ReportRow {
            key: line.key.clone(),
            label,
            units: line.units,
            open: line.open,
            redeemed: line.redeemed,
            spent_again: line.spent_again,
            held: line.held,
            withheld: line.withheld,
            channels: line.channels,
            bytes: line.bytes,
        };
        let rows = self.table.lines.iter();
        Report {
            kind: self.table.kind,
            by: self.table.by,
            since: self.range.since.map(report::date),
            until: self.range.until.map(report::date),
            rows: rows.map(|line| row(line, self.label(&line.key))).collect(),
            total: row(&self.table.total, String::new()),
            currency: None,
            units_per_credit: None,
        }
    }

    /// For spreadsheets.
    #[must_use]
    pub fn csv(&self) -> String {
        report::csv(&self.table, |key| self.label(key))
    }
}

impl Running {
    /// The whole journal, oldest first.
    pub async fn journal(&self) -> Result<Vec<JournalLine>, Problem> {
        self.newest(u32::MAX).await
    }

    async fn newest(&self, limit: u32) -> Result<Vec<JournalLine>, Problem> {
        let entries = self.node.wallet.history(limit).await;
        let entries = entries.map_err(|error| super::money::problem(&error))?;
        Ok(entries.into_iter().map(|entry| entry.line).collect())
    }

    fn names(&self) -> Names {
        let torrents = lock(&self.torrents);
        let named = torrents
            .iter()
            .map(|(hash, entry)| (*hash, entry.saved.name.clone()));
        named.collect()
    }

    async fn sheet(&self, kind: Kind, by: By, range: Range) -> Result<Sheet, Problem> {
        let bytes = lock(&self.traffic).by_key(kind, by, range);
        let deals = deals(&self.home, kind).await?;
        let table = report::table(&deals, Some(&bytes), kind, by, range);
        Ok(Sheet {
            table: table.map_err(|error| report_problem(&error))?,
            range,
            names: self.names(),
        })
    }
}

impl Session {
    /// What was bought, paid, earned and redeemed, the newest first.
    ///
    /// # Errors
    /// No running node.
    pub async fn history(&self, limit: u32, skip: u32) -> Result<History, Problem> {
        let run = self.running()?;
        let limit = limit.clamp(1, MOST_LINES);
        let lines = run
            .newest(limit.saturating_add(skip).saturating_add(1))
            .await?;
        let names = run.names();
        let newest = lines.iter().rev().skip(skip as usize);
        let shown: Vec<HistoryLine> = newest
            .clone()
            .take(limit as usize)
            .map(|line| history_line(line, &names))
            .collect();
        Ok(History {
            more: newest.count() > shown.len(),
            lines: shown,
        })
    }

    /// A receipt: what the wallet noted under one reference.
    ///
    /// # Errors
    /// No such reference; no running node.
    pub async fn receipt(&self, reference: &str) -> Result<Receipt, Problem> {
        let run = self.running()?;
        let journal = run.journal().await?;
        let lines = journal.iter().filter(|line| line.reference == reference);
        let names = run.names();
        let lines: Vec<HistoryLine> = lines.map(|line| history_line(line, &names)).collect();
        if lines.is_empty() {
            let shown: String = crate::torrent::printable(reference)
                .chars()
                .take(80)
                .collect();
            return Err(Problem::new(
                ProblemCode::NotFound,
                format!("the wallet has noted nothing under {shown:?}"),
                Advice::SeeHistory,
            ));
        }
        let channels = self.channels(None).await?;
        let channel = channels.iter().find(|channel| channel.spend == reference);
        let mut facts = Vec::new();
        let mut fact = |name: &str, value: String| {
            facts.push(Fact {
                name: name.to_owned(),
                value,
            });
        };
        if let Some(channel) = channel {
            fact(
                "state",
                if channel.closing { "closing" } else { "open" }.to_owned(),
            );
            fact("units_ticked", channel.units_ticked.to_string());
            fact("units_value", channel.units_value.to_string());
            if let Some(until) = channel.until {
                fact("settles_on", report::date(until));
            }
        }
        let kept = run.node.wallet.receipts(reference.to_owned()).await;
        let kept = kept.map_err(|error| super::money::problem(&error))?;
        Ok(Receipt {
            reference: reference.to_owned(),
            lines,
            facts,
            kept: serde_json::to_value(kept).unwrap_or_default(),
        })
    }

    /// A report.
    ///
    /// # Errors
    /// Dates that are none; no running node.
    pub async fn report(
        &self,
        kind: Kind,
        by: By,
        since: Option<&str>,
        until: Option<&str>,
    ) -> Result<Report, Problem> {
        let run = self.running()?;
        let range = Range::parse(since, until).map_err(|error| report_problem(&error))?;
        let sheet = run.sheet(kind, by, range).await?;
        let broker = self.broker().await;
        Ok(Report {
            currency: broker.currency,
            units_per_credit: broker.units_per_credit,
            ..sheet.report()
        })
    }

    /// The same as CSV.
    ///
    /// # Errors
    /// As [`Session::report`].
    pub async fn report_csv(
        &self,
        kind: Kind,
        by: By,
        since: Option<&str>,
        until: Option<&str>,
    ) -> Result<String, Problem> {
        let run = self.running()?;
        let range = Range::parse(since, until).map_err(|error| report_problem(&error))?;
        Ok(run.sheet(kind, by, range).await?.csv())
    }

    /// The receipts behind a line of a report, or behind its sum where no key is given, newest first.
    ///
    /// # Errors
    /// As [`Session::report`].
    pub async fn report_receipts(
        &self,
        kind: Kind,
        by: By,
        key: Option<&str>,
        since: Option<&str>,
        until: Option<&str>,
    ) -> Result<ReportReceipts, Problem> {
        let run = self.running()?;
        let range = Range::parse(since, until).map_err(|error| report_problem(&error))?;
        let deals = deals(&run.home, kind).await?;
        receipts_behind(&deals, by, key, range, &run.names())
    }
}
