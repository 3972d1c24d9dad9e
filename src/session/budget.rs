//! What may be spent in a day and in all: the wallet's own count of what was ever paid, less what it
//! was when the day began or the budget was set.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::run::Running;
use super::view::{BudgetLine, Saying, SpendingView, TorrentBudget};
use super::{Session, lock};
use crate::cashier::wallet::{CashierError, WalletHandle};
use crate::config::{Settings, write_private};
use crate::units::{Day, InfoHash, Units};

const FILE: &str = "spent.json";

/// Where the counts began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SpentBook {
    /// The day that is counted.
    day: Day,
    /// Paid ever, when it began.
    at_day: Units,
    /// Paid ever, when the budget for all was set.
    at_total: Units,
    /// The day of a clock that went back behind that, and has not come as far again.
    #[serde(default)]
    behind: Option<Day>,
    /// The budget for all that this counts for, 0 for none; none: that was not noted yet.
    #[serde(default)]
    total: Option<Units>,
    /// Whether the file is behind: then nothing is paid out of the day's budget, as the next start would
    /// begin it anew.
    #[serde(skip)]
    unsaved: bool,
}

fn path(home: &Path) -> PathBuf {
    home.join(FILE)
}

impl SpentBook {
    /// As it was left; from nothing where there is none. Where there is one that cannot be read, all that
    /// was ever paid counts as paid today.
    pub fn read(home: &Path, today: Day) -> SpentBook {
        let new = SpentBook {
            total: Some(Units::ZERO),
            ..SpentBook::default()
        };
        let read = std::fs::read(path(home));
        let book = match read {
            Err(error) if error.kind() == ErrorKind::NotFound => return new,
            Err(error) => Err(error.to_string()),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
        };
        book.unwrap_or_else(|error| {
            let file = path(home);
            tracing::error!(
                "{}: {error}: all that was ever paid counts for the budgets of today and of all",
                file.display()
            );
            SpentBook {
                day: today,
                total: None,
                ..new
            }
        })
    }

    /// Writes it; whether that worked.
    fn write(&self, home: &Path) -> bool {
        let written = serde_json::to_vec(self).map_err(std::io::Error::other);
        let written = written.and_then(|bytes| write_private(&path(home), &bytes));
        if let Err(error) = &written
            && !self.unsaved
        {
            tracing::error!(
                "{}: {error}: nothing is paid out of the day's budget until it can be written",
                path(home).display()
            );
        }
        written.is_ok()
    }

    /// Begins a new day where there is one. A clock that goes back begins none, until a day has passed by
    /// it: it may have been ahead before. What was paid may have turned out to be less: nothing of that is
    /// there to be spent on top. True if anything changed.
    pub fn turn(&mut self, today: Day, paid: Units) -> bool {
        let before = *self;
        let has_passed = self.behind.is_some_and(|behind| behind < today);
        if self.day < today || (today < self.day && has_passed) {
            self.day = today;
            self.at_day = paid;
        }
        self.behind = (today < self.day).then_some(today);
        self.at_day = self.at_day.min(paid);
        self.at_total = self.at_total.min(paid);
        *self != before
    }

    /// Counts from now on where the budget for all is another than it was, whoever changed it while the
    /// node ran or did not. True if there is something to note.
    pub fn set_total(&mut self, settings: &Settings, paid: Units) -> bool {
        let total = Some(settings.spending.budget_total.unwrap_or(Units::ZERO));
        let before = std::mem::replace(&mut self.total, total);
        if before.is_some() && before != total {
            self.at_total = paid;
        }
        before != total
    }

    /// Today, of `paid` in all.
    pub fn day(&self, settings: &Settings, paid: Units) -> BudgetLine {
        line(
            settings.spending.budget_day,
            paid.saturating_sub(self.at_day),
        )
    }

    /// Since the budget for all was set, of `paid` in all.
    pub fn total(&self, settings: &Settings, paid: Units) -> BudgetLine {
        line(
            settings.spending.budget_total,
            paid.saturating_sub(self.at_total),
        )
    }

    /// The most that may ever have been paid; none: there is no budget.
    pub fn most(&self, settings: &Settings) -> Option<Units> {
        let spending = &settings.spending;
        let up_to = |from: Units, budget: Option<Units>| from.checked_add(budget?);
        let of_day = match self.unsaved {
            true => spending.budget_day.map(|_| Units::ZERO),
            false => spending.budget_day,
        };
        let day = up_to(self.at_day, of_day);
        let total = up_to(self.at_total, spending.budget_total);
        day.into_iter().chain(total).min()
    }

    /// The budget that leaves least, if there is one: its name and limit.
    pub fn least_left(&self, settings: &Settings, paid: Units) -> Option<(&'static str, Units)> {
        let (day, total) = (self.day(settings, paid), self.total(settings, paid));
        let named = [("day", day), ("total", total)];
        let lines = named
            .iter()
            .filter_map(|(name, line)| Some((line.left?, *name, line.limit?)));
        let least = lines.min_by_key(|(left, ..)| *left);
        least.map(|(_, name, limit)| (name, limit))
    }

    /// The budget that is used up, if one is: its name and limit.
    pub fn stopped(&self, settings: &Settings, paid: Units) -> Option<(&'static str, Units)> {
        let used_up = |line: BudgetLine| line.limit.filter(|_| line.left == Some(Units::ZERO));
        let day = used_up(self.day(settings, paid)).map(|limit| ("day", limit));
        day.or_else(|| used_up(self.total(settings, paid)).map(|limit| ("total", limit)))
    }
}

pub(super) fn line(limit: Option<Units>, spent: Units) -> BudgetLine {
    BudgetLine {
        limit,
        spent,
        left: limit.map(|limit| limit.saturating_sub(spent)),
    }
}

/// The budget that is used up, in words.
pub(super) fn stopped_words(which: &str, limit: Units) -> String {
    match which {
        "day" => format!("today's budget of {limit:#} is used up"),
        _ => format!("the budget of {limit:#} for all torrents is used up"),
    }
}

impl Running {
    /// Begins a new day where there is one.
    pub async fn turn_day(&self, settings: &Settings, today: Day) {
        let paid = lock(&self.balance).books.paid;
        let (is_other, was_unsaved) = {
            let mut spent = lock(&self.spent);
            (spent.turn(today, paid), spent.unsaved)
        };
        let is_unsaved = match is_other || was_unsaved {
            true => !self.note_spent().await,
            false => false,
        };
        if is_other || is_unsaved != was_unsaved {
            self.hold_budgets(settings).await;
        }
    }

    /// Tells the wallet how far the budgets for all go: it gives nothing beyond, whatever torrent it is
    /// for, so that they hold to the unit. (A channel of yesterday may still cost what is in it today.)
    /// All torrents draw from what is left, a part of it at a time, so that nothing has to be shared out anew
    /// when one begins or ends. True where open channels may cost more than that.
    pub async fn hold_budgets(&self, settings: &Settings) -> bool {
        // What it was before is no part of a budget that is new.
        let paid = match self.node.wallet.balance().await {
            Ok(balance) => balance.books.paid,
            Err(_) => lock(&self.balance).books.paid,
        };
        let is_other = lock(&self.spent).set_total(settings, paid);
        if is_other {
            self.note_spent().await;
        }
        let most = lock(&self.spent).most(settings);
        let told = self.node.wallet.pay_up_to(most).await;
        told.unwrap_or_else(|error| {
            tracing::warn!("the wallet was not told of the budgets: {error}");
            false
        })
    }
}

impl Running {
    /// Writes where the counts began, and waits for the disk; whether that worked. Until it has, nothing is paid
    /// out of the day's budget.
    async fn note_spent(&self) -> bool {
        let book = {
            let mut spent = lock(&self.spent);
            let book = *spent;
            spent.unsaved = true;
            book
        };
        let home = self.home.clone();
        let written = tokio::task::spawn_blocking(move || book.write(&home)).await;
        let is_written = written.unwrap_or(false);
        lock(&self.spent).unsaved = !is_written;
        is_written
    }
}

/// Holds a wallet without a node to the budgets that its home has for all torrents.
///
/// # Errors
/// A wallet that is closed.
pub async fn hold_to_budgets(
    home: &Path,
    settings: &Settings,
    wallet: &WalletHandle,
    today: Day,
) -> Result<(), CashierError> {
    let paid = wallet.balance().await?.books.paid;
    let mut book = SpentBook::read(home, today);
    let is_other = book.turn(today, paid);
    if book.set_total(settings, paid) || is_other {
        book.unsaved = !book.write(home);
    }
    wallet.pay_up_to(book.most(settings)).await.map(|_| ())
}

impl Running {
    /// Budgets were lowered below what open channels may yet cost: all are closed, and those that fit are
    /// opened anew.
    pub async fn close_what_is_beyond(&self) {
        let pays = |entry: &&Entry| entry.saved.terms.pays && !entry.pays_no_more();
        let paying: Vec<InfoHash> = {
            let torrents = lock(&self.torrents);
            let paying = torrents.values().filter(pays);
            paying.map(|entry| entry.saved.info_hash).collect()
        };
        for hash in paying {
            if let Err(problem) = self.reconnect(hash).await {
                tracing::warn!(info_hash = %hash, "its channels go on: {problem}");
            }
        }
    }
}

impl Session {
    /// Budgets and how far they are used.
    ///
    /// # Errors
    /// No running node.
    pub fn spending(&self) -> Result<SpendingView, super::view::Problem> {
        let (run, settings) = (self.running()?, self.settings());
        let paid = lock(&run.balance).books.paid;
        let spent = *lock(&run.spent);
        let torrents = lock(&run.torrents);
        let with_money = torrents
            .values()
            .filter(|entry| entry.saved.terms.budget.is_some() || !entry.units_paid.is_zero());
        let torrents = with_money.map(|entry| TorrentBudget {
            info_hash: entry.saved.info_hash,
            name: entry.saved.name.clone(),
            budget: line(entry.saved.terms.budget, entry.units_paid),
        });
        let stopped = spent.stopped(&settings, paid);
        Ok(SpendingView {
            day: spent.day(&settings, paid),
            total: spent.total(&settings, paid),
            torrents: torrents.collect(),
            stopped: stopped.map(|(which, limit)| {
                let values = [("limit", limit.to_string())];
                let code = format!("budget_{which}");
                Saying::new(&code, stopped_words(which, limit), &values)
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_all_are_counted_from_their_beginnings() {
        let mut settings = Settings::default();
        settings.spending.budget_day = Some(Units(100));
        settings.spending.budget_total = Some(Units(150));
        let mut book = SpentBook::default();
        assert!(book.turn(Day(1), Units(1000)));
        assert!(!book.turn(Day(1), Units(1050)));
        assert!(book.set_total(&settings, Units(1000)));
        book.at_total = Units(1000);
        assert_eq!(book.most(&settings), Some(Units(1100)));
        assert_eq!(
            book.stopped(&settings, Units(1100)),
            Some(("day", Units(100)))
        );
        for back in [0, 1, 0, 1] {
            book.turn(Day(back), Units(1100));
            assert_eq!(book.at_day, Units(1000), "a clock that goes back");
        }
        assert!(book.turn(Day(2), Units(1100)));
        assert_eq!(book.most(&settings), Some(Units(1150)));
        assert_eq!(
            book.stopped(&settings, Units(1150)),
            Some(("total", Units(150)))
        );
        settings.spending.budget_total = None;
        settings.spending.budget_day = None;
        assert_eq!(book.most(&settings), None);
        assert_eq!(book.stopped(&settings, Units(9999)), None);
    }

    #[test]
    fn a_clock_that_was_ahead_holds_the_day_back_no_longer_than_one() {
        let mut book = SpentBook::default();
        book.turn(Day(9_000), Units(100));
        book.turn(Day(20), Units(130));
        assert_eq!(book.at_day, Units(100));
        book.turn(Day(21), Units(140));
        assert_eq!((book.day, book.at_day), (Day(21), Units(140)));
        book.turn(Day(22), Units(150));
        assert_eq!((book.day, book.at_day), (Day(22), Units(150)));
    }

    #[test]
    fn what_cannot_be_read_gives_no_budget_anew() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(path(home.path()), "{").expect("written");
        let mut settings = Settings::default();
        settings.spending.budget_day = Some(Units(100));
        settings.spending.budget_total = Some(Units(150));
        let mut book = SpentBook::read(home.path(), Day(7));
        book.turn(Day(7), Units(1000));
        book.set_total(&settings, Units(1000));
        assert_eq!(book.most(&settings), Some(Units(100)), "used up long ago");
    }

    #[test]
    fn a_budget_for_all_that_is_another_counts_from_then_on() {
        let mut settings = Settings::default();
        settings.spending.budget_total = Some(Units(150));
        // Of a home that did not note which budget it counted for: it goes on.
        let mut book: SpentBook =
            serde_json::from_str(r#"{"day":1,"at_day":900,"at_total":900}"#).expect("reads");
        assert!(book.set_total(&settings, Units(1000)));
        assert_eq!(book.most(&settings), Some(Units(1050)));
        assert!(
            !book.set_total(&settings, Units(1010)),
            "nothing has changed"
        );
        settings.spending.budget_total = Some(Units(200));
        assert!(book.set_total(&settings, Units(1020)));
        assert_eq!(book.most(&settings), Some(Units(1220)));
        settings.spending.budget_total = None;
        assert!(book.set_total(&settings, Units(1030)));
        settings.spending.budget_total = Some(Units(200));
        assert!(book.set_total(&settings, Units(1040)));
        assert_eq!(book.most(&settings), Some(Units(1240)));
    }
}
