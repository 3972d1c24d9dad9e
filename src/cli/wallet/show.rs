//! What `dpay wallet` prints: tables for people, JSON for programs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::json;

use crate::cashier::wallet::RedeemReport;
use crate::coin::keys::PublicKey;
use crate::report::{date, moment};
use crate::torrent::printable;
use crate::units::{InfoHash, Units};
use crate::wallet::{Balance, JournalEntry, WithdrawingLine};

fn short(hex: &impl ToString) -> String {
    hex.to_string().chars().take(12).collect()
}

/// A torrent by its name, where the home knows it.
fn called(names: &BTreeMap<InfoHash, String>, hash: &InfoHash) -> String {
    match names.get(hash).map(|name| printable(name)) {
        Some(name) if !name.is_empty() => name.chars().take(40).collect(),
        _ => short(hash),
    }
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(head.iter().map(|h| Cell::new(*h)));
    table
}

fn amount(units: Units) -> Cell {
    Cell::new(units).set_alignment(CellAlignment::Right)
}

/// A new wallet; `words` only where they are new.
pub(super) fn made(home: &Path, account: &PublicKey, words: Option<&str>, at_hand: Units) {
    println!("made a wallet in {}", home.display());
    println!("account at the broker, for deposits: {account}");
    if let Some(kept) = kept_at_hand(at_hand) {
        println!("{kept}");
    }
    let Some(words) = words else {
        return;
    };
    println!();
    println!("These 24 words are the wallet. They are shown this once; write them down and keep");
    println!("them where nobody else finds them:");
    println!();
    let words: Vec<&str> = words.split(' ').collect();
    for (line, four) in words.chunks(4).enumerate() {
        let numbered: Vec<String> = four
            .iter()
            .enumerate()
            .map(|(i, word)| format!("{:>2} {word:<12}", line * 4 + i + 1))
            .collect();
        println!("  {}", numbered.join(""));
    }
}

/// What a node does with the first deposit, unless it is told not to.
pub(crate) fn kept_at_hand(at_hand: Units) -> Option<String> {
    (!at_hand.is_zero()).then(|| {
        format!(
            "Of the first deposit a running node makes the broker's bond and buys {at_hand:#} to be kept at \
             hand; `dpay config set rules.at_hand 0` before that, and it buys nothing by itself."
        )
    })
}

/// What a wallet holds.
pub(super) fn balance(balance: &Balance, home: &Path, is_json: bool) -> Result<()> {
    if is_json {
        println!("{}", serde_json::to_string(balance)?);
        return Ok(());
    }
    if let Some(account) = &balance.account {
        println!("account {account}");
    }
    match (&balance.broker_url, &balance.broker) {
        (Some(url), Some(key)) => println!("broker  {key} at {url}"),
        (Some(url), None) => println!("broker  {url}, not met yet"),
        (None, _) => println!("broker  none yet"),
    }
    let mut rows = table(&["units", "", ""]);
    for (units, what, note) in lines(balance) {
        rows.add_row([amount(units), Cell::new(what), Cell::new(note)]);
    }
    println!("{rows}");
    for line in balance.withdrawing_in.iter().filter(|line| line.is_queued) {
        println!("{}", queued(line));
    }
    let names = crate::session::names_in(home);
    if !balance.locked_in.is_empty() {
        let mut locked = table(&[
            "locked",
            "paid",
            "with",
            "why",
            "looked for (UTC)",
            "at the latest until",
            "torrent",
        ]);
        for line in &balance.locked_in {
            locked.add_row([
                amount(line.units),
                amount(line.paid),
                Cell::new(&line.peer),
                Cell::new(line.why.text()),
                Cell::new(line.looked_for.map(moment).unwrap_or_default()),
                Cell::new(date(line.until)),
                Cell::new(called(&names, &line.info_hash)),
            ]);
        }
        println!("{locked}");
    }
    if !balance.frozen_in.is_empty() {
        let mut frozen = table(&[
            "frozen",
            "why",
            "since (UTC)",
            "next",
            "at the latest until",
        ]);
        for line in &balance.frozen_in {
            frozen.add_row([
                amount(line.units),
                Cell::new(line.why.text()),
                Cell::new(moment(line.since)),
                Cell::new(&line.next),
                Cell::new(date(line.until)),
            ]);
        }
        println!("{frozen}");
    }
    if balance.broker_suspended == Some(true) {
        println!(
            "the broker has suspended this account for a double spend: it buys and withdraws nothing; \
             `dpay wallet history` says since when"
        );
    }
    if balance.buys_nothing {
        println!(
            "nothing is bought by itself, as the bond was asked for: `dpay wallet buy` ends that"
        );
    }
    if !balance.waits_for_broker.is_zero() {
        println!(
            "{:#} of an earlier run are not paid with before the broker answers: its spent list is more \
             than a minute old",
            balance.waits_for_broker
        );
    }
    if let Some(error) = &balance.broker_error {
        println!("balance at the broker: not known ({error})");
    }
    if !balance.books_agree {
        println!("WARNING: the books do not agree with the holdings: keep the directory as it is");
    }
    Ok(())
}

/// A withdrawal that the broker took: no longer the wallet's.
fn queued(line: &WithdrawingLine) -> String {
    let how_far = match line.paid {
        Some(paid) => format!("paid out on {}", date(paid.day())),
        None => "in the broker's queue, not paid out yet as far as it says".to_owned(),
    };
    format!(
        "{:#} to {}: asked for on {}, {how_far}",
        line.units,
        printable(&line.destination),
        date(line.since.day())
    )
}

/// Since when withdrawals wait for an answer, and where to.
fn unanswered(balance: &Balance) -> String {
    let lines = balance.withdrawing_in.iter();
    let lines = lines.filter(|line| !line.is_queued);
    let said = lines.map(|line| {
        let (units, to) = (line.units, printable(&line.destination));
        let since = moment(line.since);
        format!("{units} to {to}, asked {since} UTC, not answered yet")
    });
    said.collect::<Vec<_>>().join("; ")
}

fn lines(balance: &Balance) -> Vec<(Units, &'static str, String)> {
    let coins: Vec<String> = balance
        .coins
        .iter()
        .map(|(value, count)| format!("{count} of {value}"))
        .collect();
    let travels = match balance.travels {
        Units::ZERO => String::new(),
        units => format!("{units} of earned and change can be paid with"),
    };
    let pending: Vec<String> = balance
        .pending_in
        .iter()
        .map(|line| format!("{} until {} UTC", line.units, moment(line.until)))
        .collect();
    let mut lines = vec![
        (balance.available, "available in coins", coins.join(", ")),
        (balance.locked, "locked in channels", String::new()),
        (balance.earned, "earned", travels),
        (balance.change, "change", String::new()),
    ];
    let maybe = [
        (balance.reserved, "reserved for channels", String::new()),
        (balance.earning, "earned in open channels", String::new()),
        (
            balance.redeeming,
            "asked to redeem",
            "not answered yet".to_owned(),
        ),
        (balance.pending, "redeemed, pending", pending.join(", ")),
        (
            balance.unread,
            "waits to be read again",
            "of an earlier run: used once the DHT shows that nothing else was signed for it"
                .to_owned(),
        ),
        (
            balance.frozen,
            "frozen",
            "see below; others may have been paid part of it".to_owned(),
        ),
        (balance.refused, "refused by the broker", String::new()),
        (balance.ordered, "ordered", "not answered yet".to_owned()),
        (
            balance.withdrawing,
            "asked to withdraw",
            unanswered(balance),
        ),
    ];
    lines.extend(maybe.into_iter().filter(|(units, _, _)| !units.is_zero()));
    if let Some(units) = balance.broker_balance {
        lines.push((units, "balance at the broker", String::new()));
    }
    if let Some(units) = balance.broker_pending {
        lines.push((units, "pending at the broker", String::new()));
    }
    if let Some(units) = balance.broker_bond {
        lines.push((units, "bond at the broker", bond_note(balance)));
    }
    if let Some(units) = balance.broker_withdrawable {
        lines.push((units, "can be withdrawn now", String::new()));
    }
    lines
}

/// Whether the bond can be had, or what binds it and until when.
fn bond_note(balance: &Balance) -> String {
    let is_free = balance.broker_withdrawable > balance.broker_balance;
    match (balance.broker_outstanding, balance.bond_until) {
        _ if balance.broker_bond == Some(Units::ZERO) => String::new(),
        _ if is_free => "free: withdraw --bond".to_owned(),
        (Some(Units::ZERO), _) => "free a hold after the last coin was redeemed".to_owned(),
        (Some(units), Some(day)) => format!(
            "bound by {units:#} in coins that nobody has redeemed, the last settled by {}",
            date(day)
        ),
        (Some(units), None) => format!("bound by {units:#} in coins that nobody has redeemed"),
        (None, _) => String::new(),
    }
}

/// Why what is frozen does not come too.
pub(super) fn frozen(units: Units) -> String {
    format!(
        "{units:#} are frozen, as another run signed for them and not all of it may be left; \
         `dpay wallet balance` says why and until when"
    )
}

/// What a redemption came to.
pub(super) fn redeemed(report: &RedeemReport, is_json: bool) -> Result<()> {
    if is_json {
        let told = json!({
            "units_redeemed": report.credited,
            "units_earned": report.earned,
            "units_change": report.change,
            "units_coins": report.coins,
            "holdings": report.holdings,
            "pending_until_unix_ms": report.pending_until,
            "units_unanswered": report.unanswered,
            "units_unread": report.unread,
            "units_frozen": report.frozen,
            "error": report.error,
            "refused": report.refused.iter()
                .map(|(id, why)| json!({ "holding": id, "why": why }))
                .collect::<Vec<_>>(),
        });
        println!("{told}");
        return Ok(());
    }
    println!(
        "redeemed {:#}: {} earned, {} change, {} in unspent coins",
        report.credited, report.earned, report.change, report.coins
    );
    if let Some(until) = report.pending_until {
        println!("pending at the broker until {} UTC", moment(until));
    }
    if !report.frozen.is_zero() {
        println!("{}", frozen(report.frozen));
    }
    for (id, why) in &report.refused {
        println!("refused: holding {}: {why}", short(id));
    }
    Ok(())
}

/// The journal.
pub(super) fn history(lines: &[JournalEntry], home: &Path, is_json: bool) -> Result<()> {
    if is_json {
        println!("{}", serde_json::to_string(lines)?);
        return Ok(());
    }
    let mut rows = table(&[
        "",
        "time (UTC)",
        "what",
        "units",
        "with",
        "torrent",
        "receipt",
    ]);
    let names = crate::session::names_in(home);
    for JournalEntry { number, line } in lines {
        let torrent = line.info_hash.as_ref().map(|hash| called(&names, hash));
        rows.add_row([
            Cell::new(number).set_alignment(CellAlignment::Right),
            Cell::new(moment(line.at)),
            Cell::new(line.kind.name().replace('_', " ")),
            amount(line.units),
            Cell::new(line.peer.as_deref().unwrap_or("")),
            Cell::new(torrent.unwrap_or_default()),
            Cell::new(short(&line.reference)),
        ]);
    }
    println!("{rows}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnixMs;

    #[test]
    fn a_withdrawal_that_the_broker_took_is_told_and_is_in_no_sum() {
        let mut line = WithdrawingLine {
            request: String::new(),
            units: Units(10),
            destination: "IBAN\u{1b} 1".to_owned(),
            since: UnixMs(86_400_000),
            is_queued: true,
            paid: Some(UnixMs(3 * 86_400_000)),
        };
        let begins = "10 units to IBAN\u{fffd} 1: asked for on 1970-01-02, paid out on 1970-01-04";
        assert_eq!(queued(&line), begins);
        line.paid = None;
        let said = queued(&line);
        let begins = "10 units to IBAN\u{fffd} 1: asked for on 1970-01-02, in the broker's queue";
        assert!(said.starts_with(begins), "{said}");
        let balance = Balance {
            withdrawing_in: vec![line],
            ..Balance::default()
        };
        assert!(lines(&balance).iter().all(|(units, ..)| units.is_zero()));
        assert_eq!(unanswered(&balance), "");
    }

    #[test]
    fn a_torrent_is_called_by_its_name_where_that_is_known_and_by_its_hash_else() {
        let hash = |byte| InfoHash([byte; 20]);
        let known = [(hash(1), "a film\u{1b}[2J"), (hash(2), "")];
        let names = known.map(|(hash, name)| (hash, name.to_owned())).into();
        assert_eq!(called(&names, &hash(1)), printable("a film\u{1b}[2J"));
        assert_eq!(called(&names, &hash(2)), "020202020202");
        assert_eq!(called(&names, &hash(3)), "030303030303");
    }
}
