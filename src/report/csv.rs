//! Tables for spreadsheets (RFC 4180).

use super::{Kind, Table};

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

/// The table as CSV, a line a row and the sum last. `label` gives each key its name for people;
/// `bytes` what was transferred under it, and `total_bytes` in all, where that was noted.
pub fn csv(
    table: &Table,
    label: impl Fn(&str) -> String,
    bytes: impl Fn(&str) -> Option<u64>,
    total_bytes: Option<u64>,
) -> String {
    let head = match table.kind {
        Kind::Earnings => [
            "key",
            "name",
            "units_earned",
            "units_redeemed",
            "channels",
            "bytes_sent",
        ],
        Kind::Spending => [
            "key",
            "name",
            "units_paid",
            "units_redeemed",
            "channels",
            "bytes_received",
        ],
    };
    let keep = |column: &usize| table.kind == Kind::Earnings || *column != 3;
    let mut out = String::new();
    let mut row = |cells: [String; 6]| {
        let cells = cells.iter().enumerate().filter(|(column, _)| keep(column));
        let cells: Vec<&str> = cells.map(|(_, text)| text.as_str()).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    };
    row(head.map(str::to_owned));
    let sum = std::iter::once((&table.total, "total".to_owned(), total_bytes));
    let lines = (table.lines.iter()).map(|line| (line, label(&line.key), bytes(&line.key)));
    for (line, name, bytes) in lines.chain(sum) {
        let bytes = bytes.map_or_else(String::new, |bytes| bytes.to_string());
        row([
            cell(&line.key),
            cell(&name),
            line.units.to_string(),
            line.redeemed.to_string(),
            line.channels.to_string(),
            bytes,
        ]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{By, Line};
    use crate::units::Units;

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
            let text = csv(&table, |_| name.to_owned(), |_| None, None);
            let second = text.split("\r\n").nth(1).expect("a line");
            assert_eq!(second, format!("a,{cell},7,0,1,"), "{name}");
        }
    }
}
