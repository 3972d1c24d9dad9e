//! What the purse does with the broker's answers, and whom it tells.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::CashierError;
use super::checks::SpentCopy;
use super::door::{Account, DoorError, RedeemAnswer};
use super::errands::{
    ACCOUNT_AGAIN_MS, Errand, News, RETRY_MOST_MS, SPENT_EVERY_MS, Waiter, WaiterReply,
};
use super::purse::{Purse, give};
use super::recovery::Recovered;
use super::told::RedeemReport;
use crate::clock;
use crate::coin::certificate::CoinCertificate;
use crate::units::{Units, UnixMs};
use crate::wallet::trade;
use crate::wallet::{
    Change, HoldingState, Origin, PinnedBroker, PurchaseState, RequestId, WalletError, keys,
};

impl Purse {
    /// Takes what an errand brought back.
    pub(super) async fn hear(&mut self, news: News) {
        let now = clock::now();
        match news {
            News::Met(met) => self.met(met, now).await,
            News::Account(account) => {
                self.desk
                    .heard(Errand::Account, account.as_ref().err(), now);
                self.desk.account_told(account.ok(), now);
            }
            News::Purchased(request, answer, account) => {
                self.purchased(request, answer, account, now).await;
            }
            News::Certified(asked, answer) => {
                self.desk.heard(Errand::Certify, answer.as_ref().err(), now);
                let change = match answer {
                    Ok(certificates) => keys::certified(&self.rows, &asked, certificates, now),
                    Err(DoorError::Refused(why)) => Err(WalletError::BrokerAnswer(why)),
                    Err(_) => return,
                };
                self.write_answer(change).await;
            }
            News::Redeemed(request, answer) => self.redeemed(request, answer, now).await,
            News::Spent(copy) => self.take_spent(copy, now).await,
            News::Recovered(told) => self.recovery_told(told, now).await,
            News::Notices(told) => self.noticed(told, now).await,
            News::Contested(answers) => self.contested(answers, now).await,
            News::ProofTold(proof, taken) => self.proof_told(&proof, taken, now),
            News::Seen(job, seen) => self.seen(job, *seen, now).await,
            News::Presented(due, answer) => self.heard_presented(due, answer, now).await,
            News::Standing(account) => self.standing_told(account, now).await,
            News::Withdrawn(request, answer, account) => {
                self.withdrawn(request, answer, account, now).await;
            }
            News::Holding(id, answer) => self.heard_holding(id, *answer, now).await,
        }
        self.answer_waiters();
    }

    /// A list that cannot be had does not keep the wallet from buying; payees then give no more than
    /// the provisional window.
    async fn take_spent(&mut self, copy: Result<Arc<dyn SpentCopy>, DoorError>, now: UnixMs) {
        self.desk.heard(Errand::Spent, None, now);
        self.desk.spent_at = now;
        match copy {
            Ok(copy) => {
                self.watch_list(&*copy, now);
                self.desk.spent = Some(copy);
                self.desk.spent_due = now.plus_ms(SPENT_EVERY_MS);
            }
            Err(error) => {
                tracing::warn!("no fresh spent list: {error}");
                self.desk.spent_due = now.plus_ms(RETRY_MOST_MS);
                self.give_up_readings().await;
            }
        }
    }

    async fn recovery_told(&mut self, told: Result<Box<Recovered>, DoorError>, now: UnixMs) {
        self.desk.heard(Errand::Recover, told.as_ref().err(), now);
        match self.recovered(told, now).await {
            Ok(()) => self.unpark_all().await,
            Err(error) => {
                tracing::error!("what the broker knows of this wallet is not taken over: {error}");
                self.desk.retry_at = self.desk.retry_at.max(now.plus_ms(1_000));
                let why = self.desk.error.clone();
                let why = why.unwrap_or_else(|| DoorError::Answer(error.to_string()));
                for parked in std::mem::take(&mut self.desk.parked) {
                    parked.refuse(why.clone().into());
                }
            }
        }
    }

    async fn unpark_all(&mut self) {
        for parked in std::mem::take(&mut self.desk.parked) {
            self.unpark(parked).await;
        }
    }

    async fn met(&mut self, met: Result<(PinnedBroker, Account), DoorError>, now: UnixMs) {
        self.desk.heard(Errand::Meet, met.as_ref().err(), now);
        let failed: CashierError = match met {
            Ok((broker, account)) => match trade::pin(&self.rows, broker, now) {
                Ok(change) => match self.apply(change).await {
                    Ok(_) => {
                        self.desk.is_met = true;
                        self.desk.account = Some(account);
                        if !self.rows.meta.needs_recovery {
                            self.unpark_all().await;
                        }
                        return;
                    }
                    Err(error) => {
                        self.desk.retry_at = now.plus_ms(RETRY_MOST_MS);
                        error
                    }
                },
                Err(error) => {
                    tracing::error!("{error}");
                    self.desk.changed = Some(error.clone());
                    error.into()
                }
            },
            Err(DoorError::WrongBroker { url, pinned, found }) => {
                let error = WalletError::BrokerChanged { url, pinned, found };
                tracing::error!("{error}");
                self.desk.changed = Some(error.clone());
                error.into()
            }
            Err(error) => error.into(),
        };
        let text = failed.to_string();
        for parked in std::mem::take(&mut self.desk.parked) {
            parked.refuse(match (&self.desk.changed, &self.desk.error) {
                (Some(error), _) => error.clone().into(),
                (None, Some(error)) => error.clone().into(),
                (None, None) => DoorError::Answer(text.clone()).into(),
            });
        }
    }

    async fn purchased(
        &mut self,
        request: RequestId,
        answer: Result<Vec<CoinCertificate>, DoorError>,
        account: Option<Account>,
        now: UnixMs,
    ) {
        let errand = Errand::Purchase(request);
        self.desk.heard(errand, answer.as_ref().err(), now);
        let seed = self.seed.clone();
        let holder = move |index| seed.holder_key(index).public();
        match answer {
            Ok(coins) => {
                let change = trade::purchased(&self.rows, &request, &coins, &holder, now);
                self.write_answer(change).await;
                match account {
                    Some(account) => self.desk.account = Some(account),
                    None => self.desk.account_due = Some(now),
                }
            }
            Err(DoorError::Refused(why)) => {
                let change = trade::purchase_refused(&self.rows, &request, &why, now);
                self.write_answer(change).await;
                if let Some(account) = &mut self.desk.account {
                    account.buyable = Units::ZERO;
                }
                self.desk.account_due = Some(now.plus_ms(ACCOUNT_AGAIN_MS));
                self.fail_waiters(&request, &DoorError::Refused(why));
            }
            Err(error) => self.fail_waiters(&request, &error),
        }
    }

    async fn redeemed(
        &mut self,
        request: RequestId,
        answer: Result<RedeemAnswer, DoorError>,
        now: UnixMs,
    ) {
        let errand = Errand::Redeem(request);
        self.desk.heard(errand, answer.as_ref().err(), now);
        let proofs = match &answer {
            Ok(answer) => answer.proofs.clone(),
            Err(DoorError::Contested { proof, .. }) => {
                proof.iter().map(|p| (**p).clone()).collect()
            }
            Err(_) => Vec::new(),
        };
        for proof in &proofs {
            self.proof_found(proof, now).await;
        }
        match answer {
            Ok(RedeemAnswer {
                outcomes, receipt, ..
            }) => {
                let change = trade::redeemed(&self.rows, &request, &outcomes, receipt, now);
                self.write_answer(change).await;
                self.desk.account_due = Some(now);
            }
            Err(error) => {
                // A refusal of the whole request says nothing about its holdings: asked again.
                if let DoorError::Refused(_) = error {
                    self.desk.retry_at = now.plus_ms(RETRY_MOST_MS);
                }
                self.fail_waiters(&request, &error);
            }
        }
    }

    /// Writes an answer of the broker. One that does not hold is noted and asked for again later.
    pub(super) async fn write_answer(&mut self, change: Result<Change, WalletError>) -> bool {
        let error: CashierError = match change {
            Ok(change) => match self.apply(change).await {
                Ok(_) => return true,
                Err(error) => error,
            },
            Err(error) => error.into(),
        };
        tracing::error!("{error}");
        self.desk.error = Some(DoorError::Answer(error.to_string()));
        self.desk.retry_at = clock::now().plus_ms(RETRY_MOST_MS);
        false
    }

    /// Tells those who wait for `request` that it got no answer.
    fn fail_waiters(&mut self, request: &RequestId, error: &DoorError) {
        for waiter in std::mem::take(&mut self.desk.waiters) {
            if waiter.requests.contains(request) {
                self.answer(waiter, Some(error));
            } else {
                self.desk.waiters.push(waiter);
            }
        }
    }

    /// Answers those whose requests are all answered, and all where the broker is out of reach.
    pub(super) fn answer_waiters(&mut self) {
        let error = self.desk.error.clone();
        for waiter in std::mem::take(&mut self.desk.waiters) {
            let is_open = |id: &RequestId| {
                let purchase = self.rows.purchases.get(id);
                let redemption = self.rows.redemptions.get(id);
                purchase.is_some_and(|row| row.state == PurchaseState::Pending)
                    || redemption.is_some_and(|row| row.answers.is_none())
            };
            let open = waiter.requests.iter().any(is_open);
            match (open, &error) {
                (false, _) => self.answer(waiter, None),
                (true, Some(error)) => self.answer(waiter, Some(error)),
                (true, None) => self.desk.waiters.push(waiter),
            }
        }
    }

    fn answer(&self, waiter: Waiter, error: Option<&DoorError>) {
        match (waiter.reply, error) {
            (WaiterReply::Buy(reply), Some(error)) => give(reply, Err(error.clone().into())),
            (WaiterReply::Buy(reply), None) => {
                let rows = waiter.requests.iter();
                let rows = rows.filter_map(|id| self.rows.purchases.get(id));
                let coins = rows.flat_map(|row| row.coins.iter().map(|(value, _)| *value));
                give(reply, Ok(coins.collect()));
            }
            (WaiterReply::Redeem(which, reply), error) => {
                let error = error.map(ToString::to_string);
                let mut report = self.report(&waiter.requests, error);
                report.unread = self.unread_units(which);
                give(reply, Ok(report));
            }
        }
    }

    fn report(&self, requests: &BTreeSet<RequestId>, error: Option<String>) -> RedeemReport {
        let mut report = RedeemReport::default();
        let add = |sum: &mut Units, value| *sum = sum.checked_add(value).unwrap_or(*sum);
        let now = clock::now();
        let rows = requests.iter();
        let rows = rows.filter_map(|id| self.rows.redemptions.get(id));
        for id in rows.flat_map(|row| &row.holdings) {
            let Some(row) = self.rows.holdings.get(id) else {
                continue;
            };
            match &row.state {
                HoldingState::Redeemed { pending_until, .. } => {
                    add(&mut report.credited, row.holding.value);
                    let part = match row.origin {
                        Origin::Earned => &mut report.earned,
                        Origin::Change => &mut report.change,
                        Origin::Bought => &mut report.coins,
                    };
                    add(part, row.holding.value);
                    report.holdings = report.holdings.saturating_add(1);
                    if now < *pending_until {
                        report.pending_until = report.pending_until.max(Some(*pending_until));
                    }
                }
                HoldingState::Refused { why } => report.refused.push((*id, why.clone())),
                _ => add(&mut report.unanswered, row.holding.value),
            }
        }
        if !report.unanswered.is_zero() {
            report.error = error;
        }
        report
    }
}
