//! Money is wanted and not there: a deposit may come, so the account is looked at, and less and less often
//! while nothing does.

use super::door::Account;
use super::errands::Desk;
use crate::units::UnixMs;

/// The account is looked at so soon after money was missed; the pause doubles each time nothing came.
const FIRST_MS: u64 = 10_000;
const MOST_MS: u64 = 60_000;
/// An account with pending units is looked at this often: they turn into balance one day.
pub(super) const PENDING_MS: u64 = 600_000;

/// When to look at the account next, and how long after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hope {
    pause_ms: u64,
    due: Option<UnixMs>,
}

impl Default for Hope {
    fn default() -> Hope {
        Hope {
            pause_ms: FIRST_MS,
            due: None,
        }
    }
}

impl Hope {
    /// When to look, now that money is missed.
    fn due(&mut self, now: UnixMs) -> UnixMs {
        *self.due.get_or_insert(now.plus_ms(self.pause_ms))
    }

    /// It was looked.
    fn looked(&mut self, has_come: bool, now: UnixMs) {
        if has_come {
            *self = Hope::default();
        } else if self.due.is_some_and(|due| now.is_due(due, MOST_MS)) {
            self.due = None;
            self.pause_ms = self.pause_ms.saturating_mul(2).min(MOST_MS);
        }
    }
}

impl Desk {
    /// Money is wanted and not there: the account is looked at soon, as a deposit may have come.
    pub(super) fn hope_for_deposit(&mut self, now: UnixMs) {
        let at = self.hope.due(now);
        self.account_due = Some(self.account_due.map_or(at, |due| due.min(at)));
    }

    /// The account was asked for; none: in vain.
    pub(super) fn account_told(&mut self, account: Option<Account>, now: UnixMs) {
        let is_more = |old: Account, new: &Account| {
            old.balance < new.balance || old.buyable < new.buyable || old.pending < new.pending
        };
        let has_come = match (self.account, &account) {
            (Some(old), Some(new)) => is_more(old, new),
            _ => false,
        };
        self.hope.looked(has_come, now);
        self.account = account.or(self.account);
        self.watch_pending(now);
    }

    /// What is pending turns into balance by itself: the account is looked at until it has.
    pub(super) fn watch_pending(&mut self, now: UnixMs) {
        let waits = self.account.filter(|account| !account.pending.is_zero());
        self.account_due = waits.map(|_| now.plus_ms(PENDING_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Units;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn with(balance: u64) -> Option<Account> {
        Some(Account {
            balance: Units(balance),
            ..Account::default()
        })
    }

    /// The pauses between looks at an account that has these balances.
    fn pauses(balances: &[u64]) -> Vec<u64> {
        let mut desk = Desk::new(None);
        desk.account = with(0);
        let mut now = NOW;
        let looks = balances.iter().map(|balance| {
            desk.hope_for_deposit(now);
            // Asked for again before it is due: that puts nothing off and hastens nothing.
            desk.hope_for_deposit(now.plus_ms(1));
            let due = desk.account_due.expect("hoped for");
            let pause = due.since_ms(now);
            now = due;
            desk.account_told(with(*balance), now);
            assert_eq!(desk.account_due, None);
            pause / 1_000
        });
        looks.collect()
    }

    #[test]
    fn while_nothing_comes_the_account_is_looked_at_less_and_less_often() {
        assert_eq!(pauses(&[0; 8]), [10, 20, 40, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn when_something_came_it_is_looked_at_often_again() {
        assert_eq!(
            pauses(&[0, 0, 0, 5, 5, 5, 4, 9, 9]),
            [10, 20, 40, 60, 10, 20, 40, 60, 10]
        );
    }

    #[test]
    fn while_units_are_pending_it_is_looked_when_they_turn_into_balance() {
        let mut desk = Desk::new(None);
        let mut account = with(5);
        account.as_mut().expect("made").pending = Units(7);
        desk.account_told(account, NOW);
        assert_eq!(desk.account_due, Some(NOW.plus_ms(PENDING_MS)));
        desk.hope_for_deposit(NOW);
        assert_eq!(desk.account_due, Some(NOW.plus_ms(FIRST_MS)), "sooner");
        desk.account_told(with(12), NOW);
        assert_eq!(desk.account_due, None);
    }

    #[test]
    fn a_look_for_another_reason_counts_only_if_something_came() {
        let mut desk = Desk::new(None);
        desk.account = with(0);
        desk.hope_for_deposit(NOW);
        desk.account_told(with(0), NOW.plus_ms(4_000));
        desk.hope_for_deposit(NOW.plus_ms(5_000));
        assert_eq!(desk.account_due, Some(NOW.plus_ms(FIRST_MS)), "as before");
        desk.account_told(None, NOW.plus_ms(FIRST_MS));
        desk.hope_for_deposit(NOW.plus_ms(FIRST_MS));
        let doubled = NOW.plus_ms(3 * FIRST_MS);
        assert_eq!(desk.account_due, Some(doubled), "an answer that failed");
        desk.account_told(with(1), NOW.plus_ms(FIRST_MS));
        desk.hope_for_deposit(NOW.plus_ms(FIRST_MS));
        assert_eq!(desk.account_due, Some(NOW.plus_ms(2 * FIRST_MS)));
    }
}
