//! Tables for spreadsheets (RFC 4180).

use super::{Kind, Line, Table};
use crate::units::Units;

/// A cell. What a spreadsheet would take for a formula gets an apostrophe in front: names of torrents
/// and peers come from strangers.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
    let text = if is_formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    match text.contains(['"', ',', ';', '\n', '\r', '\t', '\'']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// What a column of units is called, and what of a line stands in it.
type Column = (&'static str, fn(&Line) -> Units);

const EARNED: &[Column] = &[
    ("units_earned", |line| line.units),
    ("units_redeemed", |line| line.redeemed),
    ("units_spent_again", |line| line.spent_again),
    ("units_held", |line| line.held),
    ("units_withheld", |line| line.withheld),
    ("units_in_open_channels", |line| line.open),
];
const PAID: &[Column] = &[
    ("units_paid", |line| line.units),
    ("units_in_open_channels", |line| line.open),
];

/// The table as CSV, a line a row and the sum last. `label` gives each key its name for people.
pub fn csv(table: &Table, label: impl Fn(&str) -> String) -> String {
    let (columns, moved) = match table.kind {
        Kind::Earnings => (EARNED, "bytes_sent"),
        Kind::Spending => (PAID, "bytes_received"),
    };
    let names = columns.iter().map(|(name, _)| *name);
    let head: Vec<&str> = ["key", "name"]
        .into_iter()
        .chain(names)
        .chain(["channels", moved])
        .collect();
    let mut out = head.join(",") + "\r\n";
    let sum = std::iter::once((&table.total, "total".to_owned()));
    let lines = (table.lines.iter()).map(|line| (line, label(&line.key)));
    for (line, name) in lines.chain(sum) {
        let bytes = line.bytes.map_or_else(String::new, |n| n.to_string());
        let units = columns.iter().map(|(_, of)| of(line).to_string());
        let row: Vec<String> = [cell(&line.key), cell(&name)]
            .into_iter()
            .chain(units)
            .chain([line.channels.to_string(), bytes])
            .collect();
        out.push_str(&row.join(","));
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::By;

    #[test]
    fn formulas_are_neutralised_and_quotes_doubled() {
        let line = Line {
            key: "a".into(),
            units: Units(7),
            channels: 1,
            ..Line::default()
        };
        let table = Table {
            kind: Kind::Earnings,
            by: By::Torrent,
            lines: vec![line],
            total: Line::default(),
        };
        for (name, cell) in [
            (
                "=HYPERLINK(\"http://evil\")",
                "\"'=HYPERLINK(\"\"http://evil\"\")\"",
            ),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a,b", "\"a,b\""),
            ("plain name", "plain name"),
        ] {
            let text = csv(&table, |_| name.to_owned());
            let second = text.split("\r\n").nth(1).expect("a line");
            assert_eq!(second, format!("a,{cell},7,0,0,0,0,0,1,"), "{name}");
        }
    }
}
