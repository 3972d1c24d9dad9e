//! `dpay report`: what was earned and spent; of the running node where there is one, else from the
//! wallet's files.

use std::path::PathBuf;

use anyhow::{Result, bail};
use comfy_table::Cell;
use url::form_urlencoded;

use super::remote::{right, table};
use crate::config::Global;
use crate::http::node::client::NodeClient;
use crate::report::{self, By, Kind, Range};
use crate::session::Sheet;
use crate::session::view::report::{Report, ReportReceipts, ReportRow};
use crate::torrent::printable;
use crate::units::Units;

/// Which report.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArgs {
    /// What was earned by serving, or paid to seeders
    #[arg(value_enum)]
    pub kind: Kind,
    /// How lines are gathered
    #[arg(long, value_enum, default_value = "day")]
    pub by: By,
    /// The first day, YYYY-MM-DD
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// The last day, YYYY-MM-DD
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// For spreadsheets, instead of a table
    #[arg(long)]
    pub csv: bool,
    /// The receipts behind one row instead, by its name or key, or how its info hash begins
    #[arg(long, value_name = "ROW", conflicts_with = "csv")]
    pub receipts: Option<String>,
}

/// Prints a report.
///
/// # Errors
/// Dates or a row that are none, no wallet.
pub async fn run(args: ReportArgs, global: &Global) -> Result<u8> {
    let home = global.home()?;
    let source = Source {
        kind: args.kind,
        by: args.by,
        range: Range::parse(args.since.as_deref(), args.until.as_deref())?,
        node: NodeClient::find(&home).await,
        home,
    };
    if args.csv {
        print!("{}", source.csv().await?);
        return Ok(super::EXIT_DONE);
    }
    let report = source.report().await?;
    match &args.receipts {
        Some(word) => {
            let key = &row_of(&report, word)?.key;
            show_receipts(&source.receipts(key).await?, global.json)?;
        }
        None => show(&report, global.json)?,
    }
    Ok(super::EXIT_DONE)
}

/// Where a report comes from.
struct Source {
    kind: Kind,
    by: By,
    range: Range,
    node: Option<NodeClient>,
    home: PathBuf,
}

impl Source {
    /// Where the node has it, or what belongs to it.
    fn path(&self, what: &str) -> Result<String> {
        let kind = serde_json::to_value(self.kind)?;
        let by = serde_json::to_value(self.by)?;
        let (kind, by) = (kind.as_str().unwrap_or(""), by.as_str().unwrap_or(""));
        let mut path = format!("/reports/{kind}{what}?by={by}");
        for (name, day) in [("since", self.range.since), ("until", self.range.until)] {
            if let Some(day) = day {
                path.push_str(&format!("&{name}={}", report::date(day)));
            }
        }
        Ok(path)
    }

    async fn sheet(&self) -> Result<Sheet> {
        let sheet = Sheet::of_home(&self.home, self.kind, self.by, self.range);
        Ok(sheet.await?)
    }

    async fn report(&self) -> Result<Report> {
        Ok(match &self.node {
            Some(node) => node.get(&self.path("")?).await?,
            None => self.sheet().await?.report(),
        })
    }

    async fn csv(&self) -> Result<String> {
        Ok(match &self.node {
            Some(node) => node.text(&self.path("/csv")?).await?,
            None => self.sheet().await?.csv(),
        })
    }

    async fn receipts(&self, key: &str) -> Result<ReportReceipts> {
        let Some(node) = &self.node else {
            let (home, range) = (&self.home, self.range);
            let behind = Sheet::receipts_of_home(home, self.kind, self.by, key, range);
            return Ok(behind.await?);
        };
        let key: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let path = self.path("/receipts")?;
        Ok(node.get(&format!("{path}&key={key}")).await?)
    }
}

/// The row that a word names.
fn row_of<'a>(report: &'a Report, word: &str) -> Result<&'a ReportRow> {
    let lower = word.to_ascii_lowercase();
    let begins =
        |key: &str| report.by == By::Torrent && lower.len() >= 4 && key.starts_with(&lower);
    let is_meant = |row: &&ReportRow| row.key == word || row.label == word || begins(&row.key);
    let hits: Vec<&ReportRow> = report.rows.iter().filter(is_meant).collect();
    match hits.as_slice() {
        [one] => Ok(one),
        [] => bail!(
            "no row of this report is called {:?}; without --receipts it shows them",
            printable(word)
        ),
        more => bail!(
            "{:?} fits {} rows; give more of the key, which --json shows",
            printable(word),
            more.len()
        ),
    }
}

fn show_receipts(behind: &ReportReceipts, is_json: bool) -> Result<()> {
    if is_json {
        println!("{}", serde_json::to_string(behind)?);
        return Ok(());
    }
    let mut rows = table(&["UTC", "what", "units", "torrent", "peer", "receipt"]);
    let parts = [&behind.redeemed.lines, &behind.spent_again.lines];
    for line in behind.lines.iter().chain(parts.into_iter().flatten()) {
        let hash = || line.info_hash.map(|hash| hash.to_string());
        let torrent = line.name.clone().or_else(hash).unwrap_or_default();
        rows.add_row([
            Cell::new(report::moment(line.at)),
            Cell::new(line.kind.replace('_', " ")),
            right(line.units),
            Cell::new(printable(&torrent)),
            Cell::new(printable(line.peer.as_deref().unwrap_or_default())),
            Cell::new(&line.reference),
        ]);
    }
    println!("{rows}");
    println!("{:#} in {} channels", behind.units, behind.lines.len());
    let became = [
        (behind.redeemed.units, "redeemed since"),
        (behind.spent_again.units, "spent again"),
    ];
    for (units, what) in became.iter().filter(|(units, _)| !units.is_zero()) {
        println!("of these {units} {what}");
    }
    Ok(())
}

/// What a column of units is called, and what of a line stands in it.
type Column = (&'static str, fn(&ReportRow) -> Units);

/// The columns of units: what is withheld only where there is something.
fn columns(report: &Report) -> Vec<Column> {
    if report.kind == Kind::Spending {
        return vec![("units paid", |row| row.units)];
    }
    let mut columns: Vec<Column> = vec![
        ("units earned", |row| row.units),
        ("earnings redeemed", |row| row.redeemed),
        ("spent again", |row| row.spent_again),
        ("still held", |row| row.held),
    ];
    if !report.total.withheld.is_zero() {
        columns.push(("withheld", |row| row.withheld));
    }
    columns
}

fn show(report: &Report, is_json: bool) -> Result<()> {
    if is_json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let columns = columns(report);
    let moved = match report.kind {
        Kind::Earnings => "bytes sent",
        Kind::Spending => "bytes received",
    };
    let names = columns.iter().map(|(name, _)| *name);
    let head: Vec<&str> = [""]
        .into_iter()
        .chain(names)
        .chain(["channels", moved])
        .collect();
    let mut rows = table(&head);
    let sum = std::iter::once((&report.total, "total".to_owned()));
    let lines = report.rows.iter().map(|row| (row, printable(&row.label)));
    for (row, name) in lines.chain(sum) {
        let bytes = row.bytes.map_or_else(String::new, |n| n.to_string());
        let mut cells = vec![Cell::new(name)];
        cells.extend(columns.iter().map(|(_, of)| right(of(row))));
        cells.extend([right(row.channels), right(bytes)]);
        rows.add_row(cells);
    }
    println!("{rows}");
    if let (Some(currency), Some(per)) = (&report.currency, report.units_per_credit) {
        println!("{per} units make one {}", printable(currency));
    }
    if !report.total.open.is_zero() {
        println!(
            "{} of these units are in channels that are still open",
            report.total.open
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_earned_is_called_as_on_the_page() {
        let page = include_str!("../../webui/src/i18n/en.json");
        let page: serde_json::Value = serde_json::from_str(page).expect("json");
        let row = || ReportRow {
            key: String::new(),
            label: String::new(),
            units: Units(1),
            open: Units::ZERO,
            redeemed: Units::ZERO,
            spent_again: Units::ZERO,
            held: Units::ZERO,
            withheld: Units(1),
            channels: 1,
            bytes: None,
        };
        let report = Report {
            kind: Kind::Earnings,
            by: By::Day,
            since: None,
            until: None,
            rows: Vec::new(),
            total: row(),
            currency: None,
            units_per_credit: None,
        };
        let names: Vec<&str> = columns(&report).iter().map(|(name, _)| *name).collect();
        let keys = ["redeemed", "spent_again", "held", "withheld"];
        let words = keys.map(|key| {
            page[format!("earnings.{key}")]
                .as_str()
                .map(str::to_lowercase)
        });
        assert_eq!(names[1..], words.map(|word| word.expect("a text")));
    }
}
