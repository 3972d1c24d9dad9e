//! `dpay report`: what was earned and spent; of the running node where there is one, else from the
//! wallet's files.

use anyhow::Result;
use comfy_table::Cell;

use super::remote::{right, table};
use crate::config::Global;
use crate::http::node::client::NodeClient;
use crate::report::{self, By, Kind, Range};
use crate::session::Sheet;
use crate::session::view::report::{Report, ReportRow};
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
}

/// Prints a report.
///
/// # Errors
/// Dates that are none, no wallet.
pub async fn run(args: ReportArgs, global: &Global) -> Result<u8> {
    let range = Range::parse(args.since.as_deref(), args.until.as_deref())?;
    let home = global.home()?;
    match NodeClient::find(&home).await {
        Some(node) => {
            let kind = serde_json::to_value(args.kind)?;
            let by = serde_json::to_value(args.by)?;
            let (kind, by) = (kind.as_str().unwrap_or(""), by.as_str().unwrap_or(""));
            let mut query = format!("?by={by}");
            for (name, day) in [("since", range.since), ("until", range.until)] {
                if let Some(day) = day {
                    query.push_str(&format!("&{name}={}", report::date(day)));
                }
            }
            if args.csv {
                print!(
                    "{}",
                    node.text(&format!("/reports/{kind}/csv{query}")).await?
                );
                return Ok(super::EXIT_DONE);
            }
            show(
                &node.get(&format!("/reports/{kind}{query}")).await?,
                global.json,
            )?;
        }
        None => {
            let sheet = Sheet::of_home(&home, args.kind, args.by, range).await?;
            if args.csv {
                print!("{}", sheet.csv());
                return Ok(super::EXIT_DONE);
            }
            show(&sheet.report(), global.json)?;
        }
    }
    Ok(super::EXIT_DONE)
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
