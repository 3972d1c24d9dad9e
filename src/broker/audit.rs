//! The books: recomputed from the journal alone, then compared with the rows.
//!
//! Deposits - withdrawals = balances + pending + bonds + outstanding + fees, per ledger and per
//! account; and per coin: what was credited is what its tree's redeemed and settled holdings are
//! worth, each of them hangs on a split above it, nothing exceeds the coin's value, and a settled coin
//! is credited in full. What accounts owe to those who lost by them is the sum of those losses. The id
//! of a coin and a holder key name one row each, and a key has one account.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::answer::CreditState;
use super::change::{JournalLine, Ledger};
use super::rows::{AccountRow, CoinRow, HolderRow, HoldingRow, HoldingState, Row};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::Units;

/// Faults listed in full; more are only counted.
const MAX_LISTED: usize = 100;

/// Takes in the journal and all rows, in any order, and says whether they agree.
#[derive(Debug, Default)]
pub struct Auditor {
    ledgers: BTreeMap<Ledger, i128>,
    lines: u64,
    accounts: BTreeMap<PublicKey, AccountRow>,
    coins: BTreeMap<HoldingId, CoinRow>,
    holdings: BTreeMap<HoldingId, Node>,
    credits: BTreeMap<HoldingId, Credited>,
    /// Holder keys that have rows.
    holders: BTreeSet<PublicKey>,
    /// Accounts behind holder keys, by these rows and by the coins that were sold for them.
    behind: BTreeMap<PublicKey, PublicKey>,
    names_twice: u64,
    /// What accounts owe by their losses' rows.
    owed: BTreeMap<PublicKey, i128>,
    /// Open contests by account, and by coin.
    contests: BTreeMap<PublicKey, u32>,
    contested: BTreeMap<HoldingId, u32>,
    deposits: i128,
    queued: i128,
    paid_out: i128,
    faults: Vec<String>,
    more_faults: u64,
}

/// What matters of a holding row.
#[derive(Debug)]
struct Node {
    coin: HoldingId,
    value: Units,
    /// Units of the payee's share once split.
    split: Option<u32>,
    redeemed_by: Option<PublicKey>,
}

#[derive(Debug)]
struct Credited {
    coin: HoldingId,
    account: PublicKey,
    units: Units,
    state: CreditState,
}

/// The books and what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whether every unit is where it belongs.
    pub balanced: bool,
    /// All deposits.
    pub deposits: i128,
    /// All withdrawals, asked for or paid out.
    pub withdrawals: i128,
    /// All balances.
    pub balances: i128,
    /// All pending credits.
    pub pending: i128,
    /// All bonds.
    pub bonds: i128,
    /// All coins that are not redeemed.
    pub outstanding: i128,
    /// What the broker earned.
    pub fees: i128,
    /// Lines of the journal.
    pub journal_lines: u64,
    /// Ids of coins, and holder keys, that more than one row has.
    pub names_twice: u64,
    /// What does not agree, at most a hundred.
    pub faults: Vec<String>,
    /// Faults beyond those listed.
    pub more_faults: u64,
}

impl Auditor {
    /// Takes one line of the journal.
    pub fn line(&mut self, line: &JournalLine) {
        self.lines = self.lines.saturating_add(1);
        if line.units.is_zero() {
            self.fault(format!(
                "a journal line of 0 units, reference {:?}",
                line.reference
            ));
        }
        let units = i128::from(line.units.0);
        *self.ledgers.entry(line.from).or_default() -= units;
        *self.ledgers.entry(line.to).or_default() += units;
    }

    /// Takes one row.
    pub fn row(&mut self, row: Row) {
        match row {
            Row::Account(row) => {
                self.accounts.insert(row.id, row);
            }
            Row::Coin(row) => {
                let id = row.id;
                if let Some(holder) = row.holder() {
                    self.stands_behind(&holder);
                }
                if self.coins.insert(id, row).is_some() {
                    self.twice(&format!("coin {id}"));
                }
            }
            Row::Holder(row) => {
                self.stands_behind(&row);
                if !self.holders.insert(row.key) {
                    self.twice(&format!("holder key {}", row.key));
                }
            }
            Row::Holding(row) if row.state == HoldingState::Void => {}
            Row::Holding(row) => {
                self.holdings.insert(row.id, Node::of(&row));
            }
            Row::Credit(row) if !row.counts() => {}
            Row::Credit(row) => {
                let credit = Credited {
                    coin: row.coin,
                    account: row.account,
                    units: row.units,
                    state: row.state,
                };
                self.credits.insert(row.holding, credit);
            }
            Row::Deposit(row) => self.deposits += i128::from(row.units.0),
            Row::Withdrawal(row) => match row.paid {
                None => self.queued += i128::from(row.units.0),
                Some(_) => self.paid_out += i128::from(row.units.0),
            },
            Row::Loss(row) => {
                let missing = i128::from(row.units.0) - i128::from(row.paid.0);
                *self.owed.entry(row.offender).or_default() += missing;
            }
            Row::Contest(row) if row.is_open() => {
                let open = self.contests.entry(row.offender).or_default();
                *open = open.saturating_add(1);
                if !row.late {
                    let open = self.contested.entry(row.coin).or_default();
                    *open = open.saturating_add(1);
                }
            }
            Row::Contest(_)
            | Row::Evidence(_)
            | Row::Proof(_)
            | Row::Notice(_)
            | Row::Spent(_)
            | Row::Request(_) => {}
        }
    }

    /// Compares everything that was taken in.
    #[must_use]
    pub fn finish(mut self) -> AuditReport {
        self.check_accounts();
        self.check_outside();
        self.check_coins();
        self.check_tree();
        let sum = |pick: fn(&Ledger) -> bool| -> i128 {
            self.ledgers
                .iter()
                .filter(|(ledger, _)| pick(ledger))
                .map(|(_, units)| *units)
                .sum()
        };
        let report = AuditReport {
            balanced: true,
            deposits: -sum(|l| matches!(l, Ledger::Deposits)),
            withdrawals: sum(|l| matches!(l, Ledger::Queued | Ledger::PaidOut)),
            balances: sum(|l| matches!(l, Ledger::Balance(_))),
            pending: sum(|l| matches!(l, Ledger::Pending(_))),
            bonds: sum(|l| matches!(l, Ledger::Bond(_))),
            outstanding: sum(|l| matches!(l, Ledger::Outstanding(_))),
            fees: sum(|l| matches!(l, Ledger::Fees)),
            journal_lines: self.lines,
            names_twice: self.names_twice,
            faults: Vec::new(),
            more_faults: 0,
        };
        let held =
            report.balances + report.pending + report.bonds + report.outstanding + report.fees;
        if report.deposits - report.withdrawals != held {
            self.fault(format!(
                "deposits {} - withdrawals {} are not the {held} units held",
                report.deposits, report.withdrawals
            ));
        }
        AuditReport {
            balanced: self.faults.is_empty(),
            faults: self.faults,
            more_faults: self.more_faults,
            ..report
        }
    }

    fn fault(&mut self, text: String) {
        if self.faults.len() < MAX_LISTED {
            self.faults.push(text);
        } else {
            self.more_faults = self.more_faults.saturating_add(1);
        }
    }

    fn stands_behind(&mut self, HolderRow { key, account, .. }: &HolderRow) {
        let known = *self.behind.entry(*key).or_insert(*account);
        if known != *account {
            self.fault(format!(
                "holder key {key} is account {known}'s and account {account}'s"
            ));
        }
    }

    fn twice(&mut self, what: &str) {
        self.names_twice = self.names_twice.saturating_add(1);
        self.fault(format!("{what} stands in the books twice"));
    }

    fn compare(&mut self, what: &str, journal: i128, rows: i128) {
        if journal != rows {
            self.fault(format!(
                "{what}: the journal says {journal} units, the rows say {rows}"
            ));
        }
    }

    fn ledger(&self, ledger: Ledger) -> i128 {
        self.ledgers.get(&ledger).copied().unwrap_or(0)
    }

    /// Each account's ledgers against its row; its pending and outstanding against credits and coins.
    fn check_accounts(&mut self) {
        let mut pending: BTreeMap<PublicKey, i128> = BTreeMap::new();
        for credit in self
            .credits
            .values()
            .filter(|c| c.state == CreditState::Pending)
        {
            *pending.entry(credit.account).or_default() += i128::from(credit.units.0);
        }
        let mut outstanding: BTreeMap<PublicKey, i128> = BTreeMap::new();
        for coin in self.coins.values() {
            *outstanding.entry(coin.account).or_default() +=
                i128::from(coin.value.0) - i128::from(coin.credited.0);
        }
        let mut ids: Vec<PublicKey> = self.accounts.keys().copied().collect();
        ids.extend(self.ledgers.keys().filter_map(|l| l.parts().1));
        ids.extend(pending.keys().chain(outstanding.keys()));
        ids.extend(self.owed.keys().chain(self.contests.keys()));
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let row = self.accounts.get(&id);
            let row = row.cloned().unwrap_or_else(|| AccountRow::new(id));
            for (ledger, held) in [
                (Ledger::Balance(id), row.balance),
                (Ledger::Pending(id), row.pending),
                (Ledger::Bond(id), row.bond),
                (Ledger::Outstanding(id), row.outstanding),
            ] {
                let what = format!("{} of account {id}", ledger.parts().0);
                self.compare(&what, self.ledger(ledger), i128::from(held.0));
            }
            let credits = pending.get(&id).copied().unwrap_or(0);
            let what = format!("pending of account {id} in its credits");
            self.compare(&what, self.ledger(Ledger::Pending(id)), credits);
            let owed = self.owed.get(&id).copied().unwrap_or(0);
            let what = format!("losses owed by account {id} (the journal does not have them)");
            self.compare(&what, i128::from(row.owed.0), owed);
            let open = self.contests.get(&id).copied().unwrap_or(0);
            if open != row.contests {
                self.fault(format!(
                    "account {id} has {} open contests by its row, {open} by theirs",
                    row.contests
                ));
            }
            let coins = outstanding.get(&id).copied().unwrap_or(0);
            let what = format!("outstanding of account {id} in its coins");
            self.compare(&what, self.ledger(Ledger::Outstanding(id)), coins);
        }
    }

    /// Deposits and withdrawals against their rows.
    fn check_outside(&mut self) {
        self.compare("deposits", -self.ledger(Ledger::Deposits), self.deposits);
        self.compare(
            "withdrawals queued",
            self.ledger(Ledger::Queued),
            self.queued,
        );
        self.compare(
            "withdrawals paid out",
            self.ledger(Ledger::PaidOut),
            self.paid_out,
        );
    }

    /// What each coin's row says was credited, against the credits; never above its value.
    fn check_coins(&mut self) {
        let mut credited: BTreeMap<HoldingId, i128> = BTreeMap::new();
        for credit in self.credits.values() {
            *credited.entry(credit.coin).or_default() += i128::from(credit.units.0);
        }
        let mut faults = Vec::new();
        for (id, coin) in &self.coins {
            let units = credited.remove(id).unwrap_or(0);
            let open = self.contested.get(id).copied().unwrap_or(0);
            if open != coin.contests {
                faults.push(format!(
                    "coin {id} has {} open contests by its row, {open} by theirs",
                    coin.contests
                ));
            }
            if coin.settled && coin.credited != coin.value {
                faults.push(format!(
                    "coin {id} of {} units is settled at {}",
                    coin.value, coin.credited
                ));
            }
            if units != i128::from(coin.credited.0) || coin.credited > coin.value {
                faults.push(format!(
                    "coin {id} of {} units: {} credited by its row, {units} by its credits",
                    coin.value, coin.credited
                ));
            }
        }
        for (id, units) in credited {
            faults.push(format!(
                "{units} units credited under coin {id}, which was never sold"
            ));
        }
        faults.into_iter().for_each(|f| self.fault(f));
    }

    /// Each holding's value against the split above it, each credit against its holding.
    fn check_tree(&mut self) {
        let mut shares: BTreeMap<HoldingId, (HoldingId, u64)> = BTreeMap::new();
        let mut faults = Vec::new();
        for (id, node) in &self.holdings {
            if let Some(k) = node.split {
                let change = node.value.0.checked_sub(u64::from(k));
                if change.is_none() {
                    faults.push(format!(
                        "holding {id} of {} units is split at {k}",
                        node.value
                    ));
                }
                shares.insert(id.payee_share(), (node.coin, u64::from(k)));
                shares.insert(id.change(), (node.coin, change.unwrap_or(0)));
            }
        }
        for (id, coin) in &self.coins {
            shares.insert(*id, (*id, coin.value.0));
        }
        for (id, node) in &self.holdings {
            if shares.get(id) != Some(&(node.coin, node.value.0)) {
                faults.push(format!(
                    "holding {id} of {} units is no share of coin {} with that value",
                    node.value, node.coin
                ));
            }
            let credit = self.credits.get(id);
            if credit.is_some_and(|c| c.state == CreditState::Settled) {
                continue; // compared below
            }
            let redeemed = node
                .redeemed_by
                .map(|account| (account, node.value, node.coin));
            if redeemed != credit.map(|c| (c.account, c.units, c.coin)) {
                faults.push(format!("holding {id} and its credit do not agree"));
            }
        }
        for (id, credit) in &self.credits {
            let node = self.holdings.get(id);
            if credit.state != CreditState::Settled {
                if node.is_none() {
                    faults.push(format!("credit {id} has no holding"));
                }
                continue;
            }
            let whole = node.is_none_or(|n| n.split.is_none() && n.redeemed_by.is_none());
            let share = shares.get(id) == Some(&(credit.coin, credit.units.0));
            let over = self.coins.get(&credit.coin).is_some_and(|c| c.settled);
            if !(whole && share && over) {
                faults.push(format!(
                    "credit {id} of {} units is settled and is no whole share of a settled coin",
                    credit.units
                ));
            }
        }
        faults.into_iter().for_each(|f| self.fault(f));
    }
}

impl Node {
    fn of(row: &HoldingRow) -> Node {
        let (split, redeemed_by) = match &row.state {
            HoldingState::Fixed { .. } | HoldingState::Void => (None, None),
            HoldingState::Split { k, .. } => (Some(*k), None),
            HoldingState::Redeemed { account, .. } => (None, Some(*account)),
        };
        Node {
            coin: row.coin,
            value: row.value,
            split,
            redeemed_by,
        }
    }
}
