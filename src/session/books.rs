//! The wallet's history and the reports made of it.

use super::run::Running;
use super::view::report::{Report, ReportReceipts, ReportRow};
use super::view::{Advice, Fact, History, HistoryLine, Problem, ProblemCode, Receipt};
use super::{Session, lock};
use crate::cashier::wallet::Wallet;
use crate::report::{self, By, Kind, Range, ReportError, Table};
use crate::units::Units;
use crate::wallet::JournalLine;

/// Most lines of history in one answer.
const MOST_LINES: u32 = 1000;

fn report_problem(error: &ReportError) -> Problem {
    Problem::new(
        ProblemCode::BadRequest,
        error.to_string(),
        Advice::OtherDates,
    )
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

    /// Shares that the broker has credited, as journal lines.
    async fn redeemed_shares(&self) -> Result<Vec<JournalLine>, Problem> {
        let reader = Wallet::read(&self.home).await;
        let reader = reader.map_err(|error| super::money::problem(&error))?;
        let shares = reader.redeemed_shares().await;
        shares.map_err(|error| super::money::problem(&error.into()))
    }

    fn history_line(&self, line: &JournalLine) -> HistoryLine {
        let torrents = lock(&self.torrents);
        let entry = line.info_hash.and_then(|hash| torrents.get(&hash));
        HistoryLine {
            at: line.at,
            kind: line.kind.name().to_owned(),
            units: line.units,
            info_hash: line.info_hash,
            name: entry.map(|entry| entry.saved.name.clone()),
            peer: line.peer.clone(),
            reference: line.reference.clone(),
        }
    }

    /// What a line of a report is called.
    fn label(&self, by: By, key: &str) -> String {
        let name = match by {
            By::Torrent => key.parse().ok().and_then(|hash| {
                let torrents = lock(&self.torrents);
                torrents.get(&hash).map(|entry| entry.saved.name.clone())
            }),
            _ => None,
        };
        name.unwrap_or_else(|| key.to_owned())
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
        let newest = lines.iter().rev().skip(skip as usize);
        let shown: Vec<HistoryLine> = newest
            .clone()
            .take(limit as usize)
            .map(|line| run.history_line(line))
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
        let lines: Vec<HistoryLine> = lines.map(|line| run.history_line(line)).collect();
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

    async fn table(
        &self,
        run: &Running,
        kind: Kind,
        by: By,
        range: Range,
    ) -> Result<Table, Problem> {
        let journal = run.journal().await?;
        let redeemed = match kind {
            Kind::Earnings => run.redeemed_shares().await?,
            Kind::Spending => Vec::new(),
        };
        let table = report::table(&journal, &redeemed, kind, by, range);
        table.map_err(|error| report_problem(&error))
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
        let table = self.table(&run, kind, by, range).await?;
        let bytes = lock(&run.traffic).by_key(kind, by, range);
        let of_key = |key: &str| Some(bytes.get(key).copied().unwrap_or(0));
        let row = |line: &report::Line, label: String, bytes: Option<u64>| ReportRow {
            key: line.key.clone(),
            label,
            units: line.units,
            redeemed: line.redeemed,
            channels: line.channels,
            bytes,
        };
        let rows = table.lines.iter();
        let rows = rows.map(|line| row(line, run.label(by, &line.key), of_key(&line.key)));
        let sum = Some(bytes.values().sum());
        let broker = self.broker().await;
        let balance = lock(&run.balance).clone();
        let held = balance.earned_in_all().checked_add(balance.earning);
        Ok(Report {
            kind,
            by,
            since: range.since.map(report::date),
            until: range.until.map(report::date),
            rows: rows.collect(),
            total: row(&table.total, String::new(), sum),
            currency: broker.currency,
            units_per_credit: broker.units_per_credit,
            still_held: held.unwrap_or(Units(u64::MAX)),
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
        let table = self.table(&run, kind, by, range).await?;
        let bytes = lock(&run.traffic).by_key(kind, by, range);
        let of_key = |key: &str| Some(bytes.get(key).copied().unwrap_or(0));
        let total = Some(bytes.values().sum());
        Ok(report::csv(&table, |key| run.label(by, key), of_key, total))
    }

    /// The receipts behind a line of a report, newest first.
    ///
    /// # Errors
    /// As [`Session::report`].
    pub async fn report_receipts(
        &self,
        kind: Kind,
        by: By,
        key: &str,
        since: Option<&str>,
        until: Option<&str>,
    ) -> Result<ReportReceipts, Problem> {
        let run = self.running()?;
        let range = Range::parse(since, until).map_err(|error| report_problem(&error))?;
        let journal = run.journal().await?;
        let behind = report::receipts(&journal, kind, range);
        let behind: Vec<&JournalLine> = behind
            .filter(|line| report::key_of(line, by) == key)
            .collect();
        let units = Units::checked_sum(behind.iter().map(|line| line.units));
        Ok(ReportReceipts {
            lines: behind
                .iter()
                .rev()
                .map(|line| run.history_line(line))
                .collect(),
            units: units.ok_or_else(|| report_problem(&ReportError::Overflow))?,
        })
    }
}
