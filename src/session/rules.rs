//! What is done by itself: buying; and what is told in time. Redeeming beyond what
//! is kept is the wallet's own (`cashier::wallet::keeper`).

use std::sync::Arc;
use std::time::Duration;

use super::run::Running;
use super::view::Problem;
use super::view::event::{Level, NoticeCode};
use super::{Session, lock};
use crate::clock;
use crate::config::Settings;
use crate::units::{Day, Units};
use crate::wallet::Balance;
use crate::wallet::keeping::Rules;

/// How often rules are looked at.
const RULES_EVERY: Duration = Duration::from_secs(20);
/// A rule that failed is left alone so many looks.
const FAILED_LOOKS: u32 = 15;
/// Coins that expire within so many days are told.
const EXPIRY_DAYS: u32 = 7;
/// Less room than this on the disk is told.
const LOW_DISK_BYTES: u64 = 1 << 30;

/// What is wrong where the broker refuses for the clock.
pub(super) const CLOCK_WRONG: &str = "this machine's clock and the broker's are too far apart";

/// Whether the broker answers nothing for the time that requests are signed at. It says so in words.
pub(super) fn clock_is_wrong(balance: &Balance) -> bool {
    let error = balance.broker_error.as_deref();
    error.is_some_and(|error| error.contains("set this machine's clock"))
}

#[derive(Default)]
struct Told {
    low_balance: bool,
    /// The clock is wrong, and that was told.
    clock: bool,
    /// Whether the wallet had bought nothing yet, and it was not told that it did since.
    is_new: Option<bool>,
    low_disk: bool,
    /// The day of expiry that was told.
    expiring: Option<Day>,
    wait: u32,
}

/// What is redeemed by itself.
pub(super) fn redeem_rules(settings: &Settings) -> Rules {
    let keep = settings.rules.redeem_from;
    keep.map_or_else(Rules::default, |keep| Rules { keep })
}

impl Session {
    /// Looks at the rules until it is dropped.
    pub(super) async fn keep_rules(&self, run: &Arc<Running>) {
        let mut told = Told::default();
        let mut tick = tokio::time::interval(RULES_EVERY);
        loop {
            tick.tick().await;
            self.look_at_folder().await;
            self.warn(run, &mut told);
            if told.wait > 0 {
                told.wait -= 1;
                continue;
            }
            if let Err(problem) = self.trade(run).await {
                told.wait = FAILED_LOOKS;
                self.notice(
                    Level::Warning,
                    NoticeCode::RuleFailed,
                    format!("a rule could not be carried out: {problem}"),
                    &problem.values(),
                    None,
                );
            }
        }
    }

    /// Buys as the rules say.
    async fn trade(&self, run: &Running) -> Result<(), Problem> {
        let rules = self.settings().rules;
        let balance = lock(&run.balance).clone();
        if balance.buys_nothing {
            return Ok(());
        }
        let at_hand = balance.at_hand().0.saturating_add(balance.ordered.0);
        if let Some(below) = rules.buy_below
            && at_hand < below.0
        {
            let bought = run.node.wallet.order(rules.buy_units).await;
            let bought = bought.map_err(|error| super::money::problem(&error))?;
            if bought.coins.is_empty() {
                // Ordered: counted as at hand from now on.
                return Ok(());
            }
            let units = bought.units();
            let text = format!("bought {units:#} in coins, as {at_hand} were left");
            let values = [("units", units.to_string())];
            self.notice(Level::Info, NoticeCode::AutoBought, text, &values, None);
        }
        Ok(())
    }

    /// Whether less is left to pay with, here and at the broker, than the setting says.
    pub(super) fn is_low(&self, balance: &Balance) -> bool {
        let settings = self.settings();
        let least = settings.rules.low_balance;
        let books = balance.books;
        // A wallet that never had anything runs low of nothing.
        let had_money = !(books.bought.is_zero() && books.earned.is_zero());
        settings.spending.pays
            && had_money
            && balance.broker.is_some()
            && balance.at_hand() < least
            && balance.broker_balance.is_none_or(|units| units < least)
    }

    /// Tells what runs low, once until it is mended.
    fn warn(&self, run: &Running, told: &mut Told) {
        let balance = lock(&run.balance).clone();
        let low = self.is_low(&balance);
        if low && !told.low_balance {
            let units = balance.at_hand();
            let text =
                format!("only {units:#} are left to pay with: buy more, or deposit at the broker");
            let values = [("units", units.to_string())];
            self.notice(Level::Warning, NoticeCode::LowBalance, text, &values, None);
        }
        told.low_balance = low;
        self.tell_first_coins(&balance, told);
        self.warn_of_clock(&balance, told);
        self.warn_of_expiry(balance.next_expiry, told);
        let folder = self.downloads_folder();
        let free = self.seen_folder(&folder).and_then(|seen| seen.free_bytes);
        let low = free.is_some_and(|free| free < LOW_DISK_BYTES);
        if let (true, false, Some(free)) = (low, told.low_disk, free) {
            let shown = folder.display().to_string();
            let text =
                format!("{shown} has only {free} bytes free: make room, or choose another folder");
            let values = [("folder", shown), ("free_bytes", free.to_string())];
            self.notice(Level::Warning, NoticeCode::DiskLow, text, &values, None);
        }
        told.low_disk = low;
    }

    /// Tells, once, that the wallet has bought its first coins by itself, and what that took.
    fn tell_first_coins(&self, balance: &Balance, told: &mut Told) {
        // What a restored wallet gets back was bought before.
        let is_new = balance.books.bought.is_zero() && !balance.needs_recovery;
        let was_new = *told.is_new.get_or_insert(is_new);
        let bond = balance.broker_bond.unwrap_or(Units::ZERO);
        let kept = self.settings().rules.at_hand;
        let units = for_the_rule(balance.books.bought, kept);
        if !was_new || bond.is_zero() || units.is_zero() || kept.is_zero() {
            return;
        }
        told.is_new = Some(false);
        let text = format!(
            "{bond:#} of the deposit are the bond at the broker now, and {units} were bought: a node \
             keeps {kept:#} at hand (rules.at_hand; 0 keeps none)"
        );
        let values = [
            ("bond", bond.to_string()),
            ("units", units.to_string()),
            ("kept", kept.to_string()),
        ];
        self.notice(Level::Info, NoticeCode::KeptAtHand, text, &values, None);
    }

    /// Tells, once until it is mended, that the broker takes nothing as this machine's clock is wrong.
    fn warn_of_clock(&self, balance: &Balance, told: &mut Told) {
        let wrong = clock_is_wrong(balance);
        if wrong && !told.clock {
            let said = balance.broker_error.clone().unwrap_or_default();
            let text = format!("{CLOCK_WRONG}: set it ({said})");
            let values = [("error", said)];
            self.notice(Level::Warning, NoticeCode::ClockWrong, text, &values, None);
        }
        told.clock = wrong;
    }

    fn warn_of_expiry(&self, next: Option<(Day, Units)>, told: &mut Told) {
        let soon = clock::now().day().plus(EXPIRY_DAYS);
        let Some((day, units)) = next.filter(|(day, _)| *day <= soon) else {
            return;
        };
        if told.expiring.replace(day) == Some(day) {
            return;
        }
        let date = crate::report::date(day);
        let text = format!(
            "{units:#} in coins expire on {date}: they are redeemed by themselves before, as \
             long as the node runs and the broker answers"
        );
        let values = [("units", units.to_string()), ("day", day.0.to_string())];
        self.notice(Level::Info, NoticeCode::Expiring, text, &values, None);
    }
}

/// Of what was bought so far, what the rule did: a torrent may have bought more for itself.
fn for_the_rule(bought: Units, kept: Units) -> Units {
    bought.min(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_torrent_bought_is_not_said_to_be_bought_by_the_rule() {
        let told = |bought| for_the_rule(Units(bought), Units(512)).0;
        assert_eq!((told(528), told(512), told(320)), (512, 512, 320));
    }
}
