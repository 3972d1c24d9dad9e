//! Taking money out of the account at the broker: fixed before it is sent, sent again until answered.

use serde::Serialize;

use super::CashierError;
use super::door::{Account, DoorError, Queued};
use super::errands::{Errand, News, Parked};
use super::handle::WalletHandle;
use super::purse::{Ask, Outcome, Purse, Reply, give};
use super::told::RedeemReport;
use super::waiting::{Waiter, WaiterReply};
use crate::units::{Day, Units, UnixMs};
use crate::wallet::withdraw::{self, Standing, WithdrawAsk};
use crate::wallet::{Change, PurchaseState, RequestId, WithdrawalState};
use crate::{clock, random};

/// What a withdrawal came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WithdrawReport {
    /// The request, and the name of its receipt.
    pub request: RequestId,
    /// How much was asked for.
    pub units: Units,
    /// The broker's id of it, once it is in its queue.
    pub withdrawal: Option<String>,
    /// Why there was no answer; it is asked for again with the same request, by itself.
    pub error: Option<String>,
    /// What the account has afterwards, where it could be asked.
    pub left: Option<Standing>,
    /// The day by which the last coin that binds the bond is settled, if one may still be outstanding.
    pub bond_until: Option<Day>,
    /// What was redeemed before, where the bond was asked for.
    pub redeemed: Option<RedeemReport>,
}

pub(super) type WithdrawReply = Reply<Outcome<WithdrawReport>>;

/// What can be asked of the purse about it.
pub(super) enum Take {
    /// From now on nothing is bought by itself.
    Leave(Reply<Outcome<()>>),
    Out(Box<WithdrawAsk>, WithdrawReply),
}

/// Who waits.
#[derive(Default)]
pub(super) struct Withdrawing {
    /// For the account, before anything is fixed.
    asked: Vec<(Box<WithdrawAsk>, WithdrawReply)>,
    /// For the answer to a request.
    waiting: Vec<(RequestId, WithdrawReply)>,
}

impl From<Account> for Standing {
    fn from(account: Account) -> Standing {
        Standing {
            balance: account.balance,
            pending: account.pending,
            bond: account.bond,
            outstanding: account.outstanding,
            withdrawable: account.withdrawable,
        }
    }
}

impl WalletHandle {
    /// Withdraws from the balance at the broker. Who asks for the bond too leaves: from then on nothing is
    /// bought by itself, until somebody buys, and all that can be is redeemed before. The same asked
    /// again while it is not answered is one withdrawal.
    ///
    /// # Errors
    /// Nothing was withdrawn: the broker's refusal, a broker that could not be reached before anything
    /// was fixed, an ask that makes no sense, or our own store. Afterwards the report says what was
    /// not answered.
    pub async fn withdraw(&self, ask: WithdrawAsk) -> Result<WithdrawReport, CashierError> {
        ask.check()?;
        let mut redeemed = None;
        if ask.bond {
            self.ask(|reply| Ask::Withdraw(Take::Leave(reply)))
                .await??;
            redeemed = Some(self.redeem_all().await?);
        }
        let take = |reply| Ask::Withdraw(Take::Out(Box::new(ask), reply));
        let report = self.ask(take).await??;
        Ok(WithdrawReport { redeemed, ..report })
    }
}

impl Purse {
    pub(super) async fn serve_withdraw(&mut self, take: Take) {
        match take {
            Take::Leave(reply) => {
                let change = withdraw::leave(&self.rows);
                match self.done(Ok(change)).await {
                    Ok(()) => self.await_orders(reply),
                    Err(error) => give(reply, Err(error)),
                }
            }
            Take::Out(ask, reply) => self.park(Parked::Withdraw(ask, reply)).await,
        }
    }

    /// Answers once what was ordered before has come, or does not come soon: it is redeemed too.
    fn await_orders(&mut self, reply: Reply<Outcome<()>>) {
        let purchases = self.rows.purchases.values();
        let open = purchases.filter(|row| row.state == PurchaseState::Pending);
        let open = open.map(|row| row.request).collect();
        let waiter = Waiter::new(open, WaiterReply::Leave(reply));
        self.desk.waiters.push(waiter);
        self.answer_waiters();
    }

    /// What was begun is waited for; else the account is asked for first.
    pub(super) fn unpark_withdrawal(&mut self, ask: Box<WithdrawAsk>, reply: WithdrawReply) {
        match withdraw::begun(&self.rows, &ask) {
            Ok(Some(request)) => {
                self.withdrawing.waiting.push((request, reply));
                self.desk.put_off.hurry(Errand::Withdraw(request));
            }
            Ok(None) => {
                self.withdrawing.asked.push((ask, reply));
                self.desk.start(Errand::Standing, |door| async move {
                    News::Standing(door.account().await)
                });
            }
            Err(error) => give(reply, Err(error.into())),
        }
    }

    pub(super) async fn standing_told(&mut self, told: Result<Account, DoorError>, now: UnixMs) {
        self.desk.heard(Errand::Standing, told.as_ref().err(), now);
        let asked = std::mem::take(&mut self.withdrawing.asked);
        match told {
            Ok(account) => {
                self.desk.account_told(Some(account), now);
                for (ask, reply) in asked {
                    match self.begin_withdrawal(&ask, &account.into(), now).await {
                        Ok(request) => self.withdrawing.waiting.push((request, reply)),
                        Err(error) => give(reply, Err(error)),
                    }
                }
            }
            Err(error) => {
                for (_, reply) in asked {
                    give(reply, Err(error.clone().into()));
                }
            }
        }
    }

    /// Fixes a withdrawal, unless the same was fixed meanwhile.
    async fn begin_withdrawal(
        &mut self,
        ask: &WithdrawAsk,
        standing: &Standing,
        now: UnixMs,
    ) -> Outcome<RequestId> {
        if let Some(request) = withdraw::begun(&self.rows, ask)? {
            return Ok(request);
        }
        let request = RequestId(random::bytes());
        let change = withdraw::begin(&self.rows, request, ask, standing, now)?;
        self.apply(change).await?;
        Ok(request)
    }

    pub(super) async fn send_withdrawal(&mut self, request: RequestId, now: UnixMs) {
        let errand = Errand::Withdraw(request);
        if !self.may_sign_for(errand, &request, now).await {
            return;
        }
        let Some(row) = self.rows.withdrawals.get(&request) else {
            return;
        };
        let (units, destination) = (row.units, row.destination.clone());
        self.desk.start(errand, move |door| async move {
            let answer = door.withdraw(request, units, destination).await;
            let account = door.account().await.ok();
            News::Withdrawn(request, answer, account)
        });
    }

    pub(super) async fn withdrawn(
        &mut self,
        request: RequestId,
        answer: Result<Queued, DoorError>,
        account: Option<Account>,
        now: UnixMs,
    ) {
        let errand = Errand::Withdraw(request);
        let fixed = self.rows.withdrawals.get(&request).map(|row| row.at);
        let answer = self.desk.put_off.believe(errand, answer, fixed, now);
        let error = answer.as_ref().err();
        self.desk.heard_request(errand, error, account, now);
        let (change, error) = match answer {
            Ok(Queued {
                withdrawal,
                receipt,
            }) => {
                let change = withdraw::withdrawn(&self.rows, &request, withdrawal, receipt, now);
                (change, None)
            }
            Err(DoorError::Refused(why)) => {
                let change = withdraw::refused(&self.rows, &request, &why, now);
                (change, Some(DoorError::Refused(why)))
            }
            Err(error) => (Ok(Change::on(&self.rows)), Some(error)),
        };
        let is_written = self.write_answer(change).await;
        let error = match is_written {
            true => error,
            false => self.desk.error.clone(),
        };
        for (waits_for, reply) in std::mem::take(&mut self.withdrawing.waiting) {
            if waits_for != request {
                self.withdrawing.waiting.push((waits_for, reply));
                continue;
            }
            let answer = match &error {
                Some(DoorError::Refused(why)) => Err(DoorError::Refused(why.clone()).into()),
                error => self.withdraw_report(&request, error.as_ref(), account),
            };
            give(reply, answer);
        }
    }

    fn withdraw_report(
        &self,
        request: &RequestId,
        error: Option<&DoorError>,
        account: Option<Account>,
    ) -> Outcome<WithdrawReport> {
        let row = self.rows.withdrawals.get(request);
        let row = row.ok_or(CashierError::Closed)?;
        let withdrawal = match &row.state {
            WithdrawalState::Done { withdrawal, .. } => Some(withdrawal.clone()),
            _ => None,
        };
        Ok(WithdrawReport {
            request: *request,
            units: row.units,
            withdrawal,
            error: error.map(ToString::to_string),
            left: account.map(Into::into),
            bond_until: withdraw::bond_until(&self.rows, self.hold_ms(), clock::now().day()),
            redeemed: None,
        })
    }
}
