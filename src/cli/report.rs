//! `dpay report`: what was earned and spent; of the running node where there is one, else from the
//! wallet's files.

use anyhow::Result;
use comfy_table::Cell;

use super::remote::{right, table};
use crate::cashier::wallet::Wallet;
use crate::config::Global;
use crate::http::node::client::NodeClient;
use crate::report::{self, By, Kind, Range, Table};
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
            let reader = Wallet::read(&home).await?;
            let entries = reader.history(u32::MAX).await?;
            let journal: Vec<_> = entries.into_iter().map(|entry| entry.line).collect();
            let redeemed = match args.kind {
                Kind::Earnings => reader.redeemed_shares().await?,
                Kind::Spending => Vec::new(),
            };
            let table = report::table(&journal, &redeemed, args.kind, args.by, range)?;
            if args.csv {
                print!("{}", report::csv(&table, str::to_owned, |_| None, None));
                return Ok(super::EXIT_DONE);
            }
            let balance = reader.balance().await?;
            let held = balance.earned.checked_add(balance.earning);
            show(
                &whole(table, range, held.unwrap_or(balance.earned)),
                global.json,
            )?;
        }
    }
    Ok(super::EXIT_DONE)
}

fn whole(table: Table, range: Range, still_held: Units) -> Report {
    let row = |line: &report::Line| ReportRow {
        key: line.key.clone(),
        label: line.key.clone(),
        units: line.units,
        redeemed: line.redeemed,
        channels: line.channels,
        bytes: None,
    };
    Report {
        kind: table.kind,
        by: table.by,
        since: range.since.map(report::date),
        until: range.until.map(report::date),
        rows: table.lines.iter().map(row).collect(),
        total: row(&table.total),
        currency: None,
        units_per_credit: None,
        still_held,
    }
}

fn show(report: &Report, is_json: bool) -> Result<()> {
    if is_json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let earns = report.kind == Kind::Earnings;
    let mut rows = match earns {
        true => table(&["", "units earned", "redeemed", "channels", "bytes sent"]),
        false => table(&["", "units paid", "channels", "bytes received"]),
    };
    let sum = std::iter::once((&report.total, "total".to_owned()));
    let lines = report.rows.iter().map(|row| (row, printable(&row.label)));
    for (row, name) in lines.chain(sum) {
        let mut cells = vec![Cell::new(name), right(row.units)];
        if earns {
            cells.push(right(row.redeemed));
        }
        cells.push(right(row.channels));
        cells.push(right(
            row.bytes
                .map_or_else(String::new, |bytes| bytes.to_string()),
        ));
        rows.add_row(cells);
    }
    println!("{rows}");
    if let (Some(currency), Some(per)) = (&report.currency, report.units_per_credit) {
        println!("{per} units make one {}", printable(currency));
    }
    if earns {
        println!(
            "{} units are earned and not redeemed yet",
            report.still_held
        );
    }
    Ok(())
}
