//! Sums of reports are those of the journal, whatever the history.

use proptest::prelude::*;

use super::*;
use crate::units::{InfoHash, UnixMs};

fn history() -> impl Strategy<Value = Vec<JournalLine>> {
    let kinds = prop::sample::select(vec![
        JournalKind::Bought,
        JournalKind::Locked,
        JournalKind::Paid,
        JournalKind::Change,
        JournalKind::Received,
        JournalKind::Earned,
        JournalKind::Redeemed,
    ]);
    let line = (kinds, 0u64..5_000, 0u64..400, 0u8..4, 0u8..4).prop_map(
        |(kind, units, day, torrent, peer)| JournalLine {
            at: UnixMs(day * 86_400_000 + units),
            kind,
            units: Units(units),
            info_hash: (torrent > 0).then_some(InfoHash([torrent; 20])),
            peer: (peer > 0).then(|| format!("10.0.0.{peer}:{}", 1000 + units)),
            reference: "00".into(),
        },
    );
    prop::collection::vec(line, 0..200)
}

const ALL: [By; 5] = [By::Day, By::Week, By::Month, By::Torrent, By::Peer];

proptest! {
    #[test]
    fn every_report_sums_to_the_journal(
        lines in history(), since in prop::option::of(0u32..400), until in prop::option::of(0u32..400),
    ) {
        let range = Range { since: since.map(Day), until: until.map(Day) };
        for kind in [Kind::Earnings, Kind::Spending] {
            let wanted = kind.journal_kind();
            let sum: u64 = lines.iter()
                .filter(|line| line.kind == wanted && range.holds(line.at.day()))
                .map(|line| line.units.0)
                .sum();
            for by in ALL {
                let table = table(&lines, &[], kind, by, range).expect("fits");
                prop_assert_eq!(table.total.units, Units(sum));
                let of_lines: u64 = table.lines.iter().map(|line| line.units.0).sum();
                prop_assert_eq!(of_lines, sum);
                for line in &table.lines {
                    let behind: u64 = receipts(&lines, kind, range)
                        .filter(|receipt| key_of(receipt, by) == line.key)
                        .map(|receipt| receipt.units.0)
                        .sum();
                    prop_assert_eq!(line.units, Units(behind), "line {}", line.key.clone());
                }
                let csv = csv(&table, str::to_owned, |_| None, Some(12_345));
                let last = csv.lines().last().expect("the sum");
                prop_assert!(last.ends_with(",12345"), "{}", last);
                let column = csv.lines().skip(1).filter_map(|row| row.split(',').nth(2));
                let numbers: Vec<u64> = column.filter_map(|cell| cell.parse().ok()).collect();
                prop_assert_eq!(numbers.iter().sum::<u64>(), 2 * sum);
            }
        }
    }
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
