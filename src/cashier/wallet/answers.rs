//! What the purse does with the broker's answers, and whom it tells.

use std::sync::Arc;

use super::CashierError;
use super::checks::SpentCopy;
use super::door::{Account, DoorError, RedeemAnswer};
use super::errands::{
    ACCOUNT_AGAIN_MS, CERTIFY_AGAIN_MS, Errand, News, RETRY_MOST_MS, SPENT_EVERY_MS,
};
use super::purse::Purse;
use super::recovery::Recovered;
use crate::clock;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::keys::PublicKey;
use crate::random;
use crate::units::{Units, UnixMs};
use crate::wallet::trade;
use crate::wallet::{Change, PinnedBroker, RequestId, WalletError, keys};

impl Purse {
    /// Takes what an errand brought back.
    pub(super) async fn hear(&mut self, news: News) {
        let now = clock::now();
        match news {
            News::Met(met) => self.met(met, now).await,
            News::Account(account) => {
                self.desk
                    .heard(Errand::Account, account.as_ref().err(), now);
                let error = account.as_ref().err().cloned();
                self.desk.account_told(account.ok(), now);
                self.buy_what_waited(error).await;
            }
            News::Purchased(request, answer, account) => {
                self.purchased(request, answer, account, now).await;
            }
            News::Certified(asked, answer, account) => {
                self.certified(&asked, answer, account, now).await;
            }
            News::Redeemed(request, answer, account) => {
                self.redeemed(request, answer, account, now).await;
            }
            News::Spent(copy) => self.take_spent(copy, now).await,
            News::Recovered(told) => self.recovery_told(told, now).await,
            News::Notices(told) => self.noticed(told, now).await,
            News::PaidOut(told, fault) => self.paid_out(told, fault, now).await,
            News::Contested(answers) => self.contested(answers, now).await,
            News::ProofTold(proof, taken) => self.proof_told(&proof, taken, now),
            News::Seen(job, seen) => self.seen(job, *seen, now).await,
            News::Presented(due, answer, account) => {
                self.heard_presented(due, answer, account, now).await;
            }
            News::Standing(account) => self.standing_told(account, now).await,
            News::Withdrawn(request, answer, account) => {
                self.withdrawn(request, answer, account, now).await;
            }
            News::Holding(id, answer, account) => {
                self.heard_holding(id, *answer, account, now).await;
            }
        }
        self.answer_waiters();
    }

    /// Keys that are not certified are asked for again: each that is used up by that is one more to look
    /// through for a wallet that has only its words. A refusal is the broker's answer, and no outage.
    async fn certified(
        &mut self,
        asked: &[(u32, PublicKey)],
        answer: Result<Vec<PseudonymCertificate>, DoorError>,
        account: Option<Account>,
        now: UnixMs,
    ) {
        let error = answer.as_ref().err();
        self.desk
            .heard_request(Errand::Certify, error, account, now);
        match answer {
            Ok(certificates) => {
                let change = keys::certified(&self.rows, asked, certificates, now);
                if self.write_answer(change).await {
                    self.desk.uncertified.clear();
                }
            }
            Err(DoorError::Refused(why)) => {
                tracing::warn!("the broker certifies no keys, so nothing can be earned: {why}");
                self.desk.certify_at = now.plus_ms(CERTIFY_AGAIN_MS);
            }
            Err(_) => {}
        }
    }

    /// A list that cannot be had does not keep the wallet from buying; payees then give no more than
    /// the provisional window.
    async fn take_spent(&mut self, copy: Result<Arc<dyn SpentCopy>, DoorError>, now: UnixMs) {
        let error = copy.as_ref().err();
        self.desk.heard_aside(Errand::Spent, error, now);
        self.desk.spent_tried = now;
        match copy {
            Ok(copy) => {
                self.desk.spent_at = now;
                self.watch_list(&*copy, now);
                self.desk.spent = Some(copy);
                self.desk.spent_due = now.plus_ms(SPENT_EVERY_MS);
            }
            Err(error) => {
                tracing::warn!("no fresh spent list: {error}");
                self.reader.read_nothing(&mut self.rows);
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
                        self.desk.watch_pending(now);
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
        self.give_up_readings().await;
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
        let fixed = self.rows.purchases.get(&request).map(|row| row.at);
        let answer = self.desk.put_off.believe(errand, answer, fixed, now);
        let error = answer.as_ref().err();
        self.desk.heard_request(errand, error, account, now);
        let seed = self.seed.clone();
        let holder = move |index| seed.holder_key(index).public();
        match answer {
            Ok(coins) => {
                let change = trade::purchased(&self.rows, &request, &coins, &holder, now);
                self.write_answer(change).await;
                if account.is_none() {
                    self.desk.account_due = Some(now);
                }
            }
            Err(DoorError::Refused(why)) => {
                let change = trade::purchase_refused(&self.rows, &request, &why, now);
                self.write_answer(change).await;
                if let Some(account) = &mut self.desk.account {
                    account.buyable = Units::ZERO;
                }
                self.desk.account_due = Some(now.plus_ms(ACCOUNT_AGAIN_MS));
            }
            Err(error) => self.fail_waiters(&request, &error),
        }
    }

    async fn redeemed(
        &mut self,
        request: RequestId,
        answer: Result<RedeemAnswer, DoorError>,
        account: Option<Account>,
        now: UnixMs,
    ) {
        let error = answer.as_ref().err();
        self.desk
            .heard_request(Errand::Redeem(request), error, account, now);
        let row = self.rows.redemptions.get(&request);
        let holdings = row.map(|row| row.holdings.clone()).unwrap_or_default();
        match answer {
            Ok(RedeemAnswer {
                outcomes,
                receipt,
                proofs,
            }) => {
                for proof in &proofs {
                    self.proof_found(proof, now).await;
                }
                for (id, outcome) in holdings.iter().zip(&outcomes) {
                    self.desk.put_off.heard(*id, outcome, now);
                }
                let rest = RequestId(random::bytes());
                let change = trade::redeemed(&self.rows, &request, &outcomes, receipt, rest, now);
                self.write_answer(change).await;
                self.wait_for_rest(&request, rest);
                self.desk.account_due = Some(now);
            }
            Err(error) => {
                // A refusal of the whole request says nothing about its holdings: asked again.
                if let DoorError::Refused(_) = error {
                    let why = error.to_string();
                    self.desk.put_off.put(&holdings, RETRY_MOST_MS, &why, now);
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
}
