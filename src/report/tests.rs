//! Sums of reports are those of what is under them, whatever the history.

use proptest::prelude::*;

use super::*;
use crate::units::{InfoHash, UnixMs};
use crate::wallet::JournalKind;
use crate::wallet::deals::Became;

fn line(kind: JournalKind, units: u64, day: u64, torrent: u8, peer: u8) -> JournalLine {
    JournalLine {
        at: UnixMs(day * 86_400_000 + units),
        kind,
        units: Units(units),
        info_hash: (torrent > 0).then_some(InfoHash([torrent; 20])),
        peer: (peer > 0).then(|| format!("10.0.0.{peer}:{}", 1000 + units)),
        reference: "00".into(),
    }
}

/// What became of so many units, as a payee's wallet may have it.
fn became(redeemed: u64, spent: u64, held: u64, withheld: u64) -> Became {
    let some = |kind, units| match units {
        0 => Vec::new(),
        units => vec![line(kind, units, 401, 1, 1)],
    };
    Became {
        redeemed: some(JournalKind::Redeemed, redeemed),
        spent: some(JournalKind::Paid, spent),
        held: Units(held),
        withheld: Units(withheld),
    }
}

fn earned() -> impl Strategy<Value = Vec<Deal>> {
    let part = || 0u64..2_000;
    let parts = (part(), part(), part(), part());
    let deal = (parts, 0u64..400, 0u8..4, 0u8..4, any::<bool>()).prop_map(
        |((redeemed, spent, held, withheld), day, torrent, peer, is_open)| {
            let units = redeemed + spent + held + withheld;
            Deal {
                line: line(JournalKind::Earned, units, day, torrent, peer),
                is_open,
                became: became(redeemed, spent, held, withheld),
            }
        },
    );
    prop::collection::vec(deal, 0..100)
}

/// Bytes under keys that have deals, and under some that have none.
fn moved(deals: &[Deal], by: By, range: Range, salt: u64) -> BTreeMap<String, u64> {
    let some = receipts(deals, range).filter(|deal| deal.line.units.0 % 3 != salt % 3);
    let mut bytes: BTreeMap<String, u64> = some
        .map(|deal| (key_of(deal, by), deal.line.units.0 * 1_000 + salt))
        .collect();
    for free in 0..salt % 3 {
        bytes.insert(format!("free {free}"), 77 + salt);
    }
    bytes
}

const ALL: [By; 5] = [By::Day, By::Week, By::Month, By::Torrent, By::Peer];

/// The figures of a line.
fn figures(line: &Line) -> [u64; 8] {
    [
        line.units.0,
        line.open.0,
        line.redeemed.0,
        line.spent_again.0,
        line.held.0,
        line.withheld.0,
        line.channels,
        line.bytes.expect("noted"),
    ]
}

proptest! {
    #[test]
    fn every_total_is_the_sum_of_its_rows_and_of_what_is_under_them(
        deals in earned(), salt in 0u64..9,
        since in prop::option::of(0u32..400), until in prop::option::of(0u32..400),
    ) {
        let range = Range { since: since.map(Day), until: until.map(Day) };
        let sum: u64 = deals.iter()
            .filter(|deal| range.holds(deal.line.at.day()))
            .map(|deal| deal.line.units.0)
            .sum();
        for (kind, by) in [Kind::Earnings, Kind::Spending].iter().flat_map(|k| ALL.map(|by| (*k, by))) {
            let bytes = moved(&deals, by, range, salt);
            let table = table(&deals, Some(&bytes), kind, by, range).expect("fits");
            prop_assert_eq!(table.total.units, Units(sum));
            prop_assert_eq!(table.total.bytes, Some(bytes.values().sum()));
            let mut rows = [0; 8];
            for line in &table.lines {
                for (sum, figure) in rows.iter_mut().zip(figures(line)) {
                    *sum += figure;
                }
                let parts = [line.redeemed, line.spent_again, line.held, line.withheld];
                prop_assert_eq!(Units::checked_sum(parts), Some(line.units));
                prop_assert_eq!(line.bytes, Some(bytes.get(&line.key).copied().unwrap_or(0)));
                let behind: u64 = receipts(&deals, range)
                    .filter(|deal| key_of(deal, by) == line.key)
                    .map(|deal| deal.line.units.0)
                    .sum();
                prop_assert_eq!(line.units, Units(behind), "line {}", line.key.clone());
            }
            prop_assert_eq!(rows, figures(&table.total));
            for key in bytes.keys() {
                prop_assert!(table.lines.iter().any(|line| line.key == *key), "{}", key);
            }
            sums_of_csv(&table);
        }
    }
}

/// In each column of figures the rows sum to the last one.
fn sums_of_csv(table: &Table) {
    let text = csv(table, str::to_owned);
    let rows: Vec<Vec<u64>> = (text.lines().skip(1))
        .map(|row| {
            row.split(',')
                .skip(2)
                .map(|cell| cell.parse().expect("a number"))
        })
        .map(Iterator::collect)
        .collect();
    let (total, rows) = rows.split_last().expect("the sum");
    for (column, total) in total.iter().enumerate() {
        let sum: u64 = rows.iter().map(|row| row[column]).sum();
        assert_eq!(sum, *total, "column {column} of {text}");
    }
}

#[test]
fn what_came_for_nothing_has_a_row_where_it_was_noted() {
    let free = BTreeMap::from([("free".to_owned(), 5)]);
    let made = |bytes| table(&[], bytes, Kind::Spending, By::Torrent, Range::default());
    let noted = made(Some(&free)).expect("fits");
    let [line] = noted.lines.as_slice() else {
        panic!("{noted:?}")
    };
    assert_eq!((line.key.as_str(), line.bytes), ("free", Some(5)));
    assert_eq!(made(None).expect("fits").total.bytes, None);
}

#[test]
fn a_range_that_is_none_is_refused_with_what_was_given() {
    let error = Range::parse(Some("2024-02-30"), None).expect_err("no date");
    assert!(error.to_string().contains("2024-02-30"));
    let error = Range::parse(Some("2024-02-02"), Some("2024-02-01")).expect_err("backwards");
    assert!(error.to_string().contains("2024-02-02"));
    let day = Range::parse(Some("2024-02-02"), Some("2024-02-02")).expect("a day");
    assert!(day.holds(parse_date("2024-02-02").expect("a date")));
    assert!(!day.holds(parse_date("2024-02-03").expect("a date")));
}

#[test]
fn a_file_is_called_by_its_kind_and_range() {
    let name = |since, until| {
        let range = Range::parse(since, until).expect("dates");
        file_name(Kind::Spending, By::Day, range)
    };
    let (first, last) = (Some("2026-11-01"), Some("2026-11-30"));
    assert_eq!(
        name(first, last),
        "dpay-spending-by-day-2026-11-01-to-2026-11-30.csv"
    );
    assert_eq!(
        name(first, None),
        "dpay-spending-by-day-from-2026-11-01.csv"
    );
    assert_eq!(name(None, last), "dpay-spending-by-day-to-2026-11-30.csv");
    assert_eq!(name(None, None), "dpay-spending-by-day.csv");
}
