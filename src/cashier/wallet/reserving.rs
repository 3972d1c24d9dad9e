//! A holding for a channel: what is at hand, or what is read or bought meanwhile.

use super::purse::Purse;
use super::reader::GOOD_TO_SPEND_MS;
use super::told::ReserveRequest;
use crate::channel::{NoReserve, Reserved};
use crate::units::{Units, UnixMs};
use crate::wallet::{Funds, HoldingRow, NoCoin, Wish, choose, paying};

impl Purse {
    /// What could be bought, and whether holdings of earlier runs may be counted on.
    pub(super) fn funds(&self) -> Funds {
        let mut funds = Funds {
            is_reading: self.reader.works(),
            ..self.desk.funds(&self.rows)
        };
        if self.rows.meta.buys_nothing {
            funds.buyable = Some(Units::ZERO);
        }
        funds
    }

    pub(super) async fn reserve(
        &mut self,
        request: ReserveRequest,
        now: UnixMs,
    ) -> Result<Reserved, NoReserve> {
        if let Some(again) = self.promise_again() {
            return Ok(again);
        }
        let wish = Wish {
            info_hash: request.info_hash,
            at_least: request.at_least,
            at_most: request.at_most,
        };
        let chosen = paying::reserve(&self.rows, &self.config.limits, &self.funds(), &wish, now);
        self.look_further(&wish, chosen.as_ref().ok().map(|(_, row)| row), now);
        let (limits, funds) = (self.config.limits, self.funds());
        let unread = || paying::reserve_unread(&self.rows, &limits, &funds, &wish, now);
        let (change, row) = match chosen {
            Ok(chosen) => chosen,
            Err(NoCoin::NotYet) => unread().ok_or(NoReserve::NotYet)?,
            Err(NoCoin::Unanswered) => return Err(NoReserve::Unanswered),
            Err(NoCoin::OverBudget) => return Err(NoReserve::OverBudget),
            Err(NoCoin::OverBudgetOfAll) => return Err(NoReserve::OverBudgetOfAll),
            Err(why @ (NoCoin::NoFunds | NoCoin::TooSmall)) => {
                self.desk.hope_for_deposit(now);
                return Err(match why {
                    NoCoin::TooSmall => NoReserve::TooSmall,
                    _ => NoReserve::NoFunds,
                });
            }
            Err(NoCoin::WalletLimit) => return Err(NoReserve::WalletLimit),
        };
        if !self.may_promise(&row, now) {
            self.is_read(&row, GOOD_TO_SPEND_MS, now);
            return Err(NoReserve::NotYet);
        }
        self.apply(change).await.map_err(|_| NoReserve::NotYet)?;
        if !request.then.is_zero() {
            self.look_ahead(&wish, request.then, now);
        }
        self.read_ahead(&row, now);
        self.promised(&row);
        Ok(Reserved {
            holding: row.holding,
            path: row.path,
        })
    }

    /// Orders what the next channel will want, where it is not at hand: a wallet that begins to buy when it
    /// is asked gives a smaller coin meanwhile, and each channel costs look-ups in the DHT.
    fn look_ahead(&mut self, wish: &Wish, then: Units, now: UnixMs) {
        let next = Wish {
            at_most: then,
            ..*wish
        };
        let (limits, funds) = (self.config.limits, self.funds());
        if let Some(size) = choose::size_ahead(&self.rows, &limits, &funds, &next, now) {
            self.desk.want(size, wish.at_least, now);
        }
    }

    /// Where something else would suit better than what was chosen: reads it if there is such a holding
    /// of an earlier run, else has it bought.
    fn look_further(&mut self, wish: &Wish, chosen: Option<&HoldingRow>, now: UnixMs) {
        let (limits, funds) = (self.config.limits, self.funds());
        let given = chosen.map(|row| row.holding.value);
        let missed = choose::missed_size(&self.rows, &limits, &funds, wish, chosen, now);
        let Some(size) = missed else {
            return;
        };
        let unread = choose::best_unread(&self.rows, &limits, &funds, wish, now)
            .and_then(|id| self.rows.holdings.get(&id))
            .map(|row| row.holding)
            .filter(|unread| given.is_none_or(|value| value < unread.value));
        if let Some(unread) = unread {
            self.reader.hurry(unread.id);
            if funds.is_reading && unread.value >= size {
                return;
            }
        }
        self.desk.want(size, wish.at_least, now);
    }
}
