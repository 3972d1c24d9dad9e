//! What `dpay demo --cheat` found, and how it is shown.

use std::iter::once;
use std::path::Path;

use anyhow::Result;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use serde_json::Value;

use crate::cashier::wallet::Trick;
use crate::coin::ids::{Commitment, HoldingId};
use crate::units::{Units, UnixMs};

/// A seeder that a coin was spent to.
#[derive(Debug, Serialize)]
pub(super) struct Spent {
    pub(super) seeder: String,
    pub(super) spend: Commitment,
    /// Units at which it closed: what was ticked to it in this coin.
    pub(super) units_ticked: Units,
}

/// A seeder that noticed a trick.
#[derive(Debug, Serialize)]
pub(super) struct Noticed {
    pub(super) seeder: String,
    /// `dht`: it read the other record in the coin's slot. `broker`: the broker showed it the other
    /// statement when it redeemed.
    pub(super) by: &'static str,
    /// After the trick was played.
    pub(super) after_ms: u64,
    /// Below the directory of the demonstration.
    pub(super) proof_file: String,
    /// What `dpay verify-proof` said to that file and the broker's key.
    pub(super) verified: Value,
}

impl Noticed {
    fn holds(&self) -> bool {
        self.verified["holds"] == true
    }
}

/// One trick and who noticed it.
#[derive(Debug, Serialize)]
pub(super) struct TrickRow {
    pub(super) trick: Trick,
    pub(super) holding: HoldingId,
    /// What the coin is worth.
    pub(super) units: Units,
    /// With whom it was tried.
    pub(super) spends: Vec<Spent>,
    /// What the broker credited to the cheat for it.
    pub(super) units_credited: Units,
    pub(super) at_unix_ms: UnixMs,
    pub(super) noticed: Vec<Noticed>,
}

/// What came of it for a seeder.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) bytes_served: u64,
    /// Units that the leecher ticked to it on accepted channels.
    pub(super) units_ticked: u64,
    /// Units that the broker credited when it redeemed.
    pub(super) units_redeemed: u64,
    /// What it got instead of what was refused, from the cheat's money.
    pub(super) units_compensated: u64,
    /// What it has at the broker in the end.
    pub(super) units_got: u64,
}

/// What came of it for the cheat, by the broker's books.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    pub(super) account: String,
    pub(super) deposited: u64,
    pub(super) suspended: bool,
    pub(super) balance: u64,
    pub(super) pending: u64,
    pub(super) bond: u64,
    /// Units taken from balance and bond for those who lost.
    pub(super) units_taken: u64,
}

/// What the demonstration found.
#[derive(Debug, Serialize)]
pub(super) struct CheatReport {
    pub(super) pieces_total: u64,
    /// All, unless every seeder but one refused the cheat.
    pub(super) pieces_verified: u64,
    pub(super) broker_key: String,
    pub(super) hold_s: u64,
    pub(super) contest_gap_s: u64,
    pub(super) cheats: Vec<TrickRow>,
    pub(super) seeders: Vec<Outcome>,
    pub(super) cheat: Account,
    /// Whether `dpay broker audit` found every unit; its report.
    pub(super) audit_ok: bool,
    pub(super) audit: Value,
    pub(super) wall_seconds: f64,
}

impl CheatReport {
    /// Whether both tricks were noticed, all proofs hold, nobody lost, and no unit is missing.
    fn is_good(&self) -> bool {
        let is_caught =
            |row: &TrickRow| !row.noticed.is_empty() && row.noticed.iter().all(Noticed::holds);
        let is_whole = |seeder: &Outcome| seeder.units_got == seeder.units_ticked;
        self.cheats.len() == 2
            && self.cheats.iter().all(is_caught)
            && self.seeders.iter().all(is_whole)
            && self.audit_ok
    }

    /// Prints it and gives the exit code.
    pub(super) fn show(&self, keep: Option<&Path>, json: bool) -> Result<u8> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            self.print_tricks();
            println!("{}", self.outcomes());
            self.print_sums(keep);
        }
        Ok(if self.is_good() {
            crate::cli::EXIT_DONE
        } else {
            crate::cli::EXIT_CHECK
        })
    }

    fn print_tricks(&self) {
        for row in &self.cheats {
            println!("{}", words(row));
            let mut table = Table::new();
            table.set_header(["noticed by", "what it saw", "after", "proof", "verified"]);
            for noticed in &row.noticed {
                let saw = match noticed.by {
                    "dht" => "the other spend, in the DHT",
                    _ => "the redemption, by the broker",
                };
                let (_, file) = noticed.proof_file.rsplit_once('/').unwrap_or_default();
                let verified = match noticed.holds() {
                    true => "holds",
                    false => "DOES NOT HOLD",
                };
                let after = format!("{} ms", noticed.after_ms);
                table.add_row([&noticed.seeder, saw, &after, file, verified]);
            }
            if row.noticed.is_empty() {
                table.add_row(["NOBODY"]);
            }
            println!("{table}");
        }
    }

    fn outcomes(&self) -> Table {
        let mut table = Table::new();
        table.set_header([
            "seeder",
            "bytes served",
            "units ticked",
            "redeemed",
            "compensated",
            "has in the end",
        ]);
        for row in &self.seeders {
            let numbers = [
                row.bytes_served,
                row.units_ticked,
                row.units_redeemed,
                row.units_compensated,
                row.units_got,
            ];
            table.add_row(once(row.name.clone()).chain(numbers.map(|n| n.to_string())));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn print_sums(&self, keep: Option<&Path>) {
        let yes = |good: bool| if good { "yes" } else { "NO" };
        let cheat = &self.cheat;
        println!(
            "the cheat           got {} of {} pieces; suspended: {}; {} units taken for who lost, {} and a bond of {} left",
            self.pieces_verified,
            self.pieces_total,
            yes(cheat.suspended),
            cheat.units_taken,
            cheat.balance,
            cheat.bond
        );
        println!(
            "the broker          held redemptions for {} s, read slots {} s apart; no unit is missing: {}",
            self.hold_s,
            self.contest_gap_s,
            yes(self.audit_ok)
        );
        println!("time                {:.1} s", self.wall_seconds);
        match keep {
            Some(dir) => println!(
                "check a proof       dpay verify-proof {}/SEEDER/proofs/PROOF --broker-key {}",
                dir.display(),
                self.broker_key
            ),
            None => println!("the proofs          are gone with all else; --keep DIR keeps them"),
        }
    }
}

fn words(row: &TrickRow) -> String {
    let names: Vec<&str> = row
        .spends
        .iter()
        .map(|spent| spent.seeder.as_str())
        .collect();
    let with = names.join(" and ");
    match row.trick {
        Trick::DoubleSpend => format!("a coin of {} spent to {with} at once", row.units),
        Trick::RedeemAfter => format!(
            "a coin of {} redeemed after {with} accepted it, and credited with {}",
            row.units, row.units_credited
        ),
    }
}
