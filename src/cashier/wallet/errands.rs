//! What the purse asks of the broker, in the background: meet it, buy, certify, redeem, fetch the
//! spent list. One errand of a kind at a time; after a failure it waits, longer each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::CashierError;
use super::checks::SpentCopy;
use super::chores::PresentReport;
use super::door::{Account, BrokerDoor, DoorError, Queued, RedeemAnswer, Shown};
use super::hope::{Hope, PENDING_MS};
use super::purse::{Purse, give};
use super::reader::{Job, Seen};
use super::recovery::Recovered;
use super::redeeming::Unread;
use super::told::RedeemReport;
use super::waiting::{BuyReply, PutOff, Waiter, WaiterReply};
use super::withdrawing::WithdrawReply;
use crate::broker::answer::Notice;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::http::client::KnownHolding;
use crate::record::FraudProof;
use crate::units::{Units, UnixMs};
use crate::wallet::keeping::{Rules, Showing};
use crate::wallet::trade::{self, Redeemable};
use crate::wallet::withdraw::WithdrawAsk;
use crate::wallet::{
    Balance, Effect, Funds, PinnedBroker, PurchaseState, RequestId, Rows, WalletError, order,
};
use crate::{clock, random};

/// First wait after a failure; doubled each time up to [`RETRY_MOST_MS`].
pub(super) const RETRY_FIRST_MS: u64 = 1_000;
pub(super) const RETRY_MOST_MS: u64 = 60_000;
/// The spent list is fetched again this often.
pub(super) const SPENT_EVERY_MS: u64 = 20 * 60_000;
/// The account is looked at so soon after the broker refused to sell.
pub(super) const ACCOUNT_AGAIN_MS: u64 = 10_000;
/// Keys are asked to be certified so soon after the broker refused to.
pub(super) const CERTIFY_AGAIN_MS: u64 = 10 * 60_000;

/// What an errand brought back.
pub(super) enum News {
    Met(Result<(PinnedBroker, Account), DoorError>),
    Account(Result<Account, DoorError>),
    /// With the account afterwards, where that could be asked.
    Purchased(
        RequestId,
        Result<Vec<CoinCertificate>, DoorError>,
        Option<Account>,
    ),
    /// With the account, where there was no answer and that could be asked.
    Certified(
        Vec<(u32, PublicKey)>,
        Result<Vec<PseudonymCertificate>, DoorError>,
        Option<Account>,
    ),
    /// With the account, where there was no answer and that could be asked.
    Redeemed(RequestId, Result<RedeemAnswer, DoorError>, Option<Account>),
    Spent(Result<Arc<dyn SpentCopy>, DoorError>),
    Recovered(Result<Box<Recovered>, DoorError>),
    Notices(Result<Vec<Notice>, DoorError>),
    /// When withdrawals were paid out, as far as the broker says, and why it did not say all.
    PaidOut(Vec<(RequestId, UnixMs)>, Option<DoorError>),
    Contested(Result<Vec<Shown>, DoorError>),
    ProofTold(Box<FraudProof>, Result<(), DoorError>),
    /// What lies in a slot of ours.
    Seen(Job, Box<Seen>),
    /// With the account, where there was no answer and that could be asked.
    Presented(Vec<Showing>, Result<Vec<Shown>, DoorError>, Option<Account>),
    /// With the account, where there was no answer and that could be asked.
    Holding(
        HoldingId,
        Box<Result<KnownHolding, DoorError>>,
        Option<Account>,
    ),
    /// The account, for whoever wants to withdraw.
    Standing(Result<Account, DoorError>),
    /// With the account afterwards, where that could be asked.
    Withdrawn(RequestId, Result<Queued, DoorError>, Option<Account>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Errand {
    Meet,
    Account,
    Certify,
    Spent,
    Recover,
    Notices,
    PaidOut,
    Contest,
    Proof,
    Purchase(RequestId),
    Redeem(RequestId),
    Present,
    Holding(HoldingId),
    Standing,
    Withdraw(RequestId),
}

/// Asked for while the broker was not met yet.
pub(super) enum Parked {
    Broker(oneshot::Sender<Result<PinnedBroker, CashierError>>),
    Buy(Units, bool, BuyReply),
    Redeem(
        Redeemable,
        oneshot::Sender<Result<RedeemReport, CashierError>>,
    ),
    Meet(oneshot::Sender<Result<(), CashierError>>),
    Present(oneshot::Sender<Result<PresentReport, CashierError>>),
    RedeemDue(Rules, oneshot::Sender<Result<RedeemReport, CashierError>>),
    Withdraw(Box<WithdrawAsk>, WithdrawReply),
}

/// The wallet's dealings with its broker that are not money: reachability, timing, who waits.
pub(super) struct Desk {
    pub(super) door: Option<Arc<dyn BrokerDoor>>,
    pub(super) post: Option<mpsc::UnboundedSender<News>>,
    /// Met in this run; its key is the pinned one.
    pub(super) is_met: bool,
    /// It is another broker than the pinned one: nothing is asked of it.
    pub(super) changed: Option<WalletError>,
    pub(super) account: Option<Account>,
    pub(super) error: Option<DoorError>,
    pub(super) retry_at: UnixMs,
    retry_ms: u64,
    busy: BTreeSet<Errand>,
    pub(super) account_due: Option<UnixMs>,
    pub(super) hope: Hope,
    /// Who wants to buy more than the account seemed to have when it was last looked at.
    pub(super) short: Vec<(Units, BuyReply)>,
    pub(super) spent: Option<Arc<dyn SpentCopy>>,
    pub(super) spent_due: UnixMs,
    /// When the copy was fetched.
    pub(super) spent_at: UnixMs,
    /// When that was last tried.
    pub(super) spent_tried: UnixMs,
    /// Sizes of coins that were missed, and the least that would be of use in the place of each.
    pub(super) wanted: BTreeMap<Units, Units>,
    pub(super) parked: Vec<Parked>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) put_off: PutOff,
    /// Holder keys that were taken to be certified and are not yet: asked for again before others are taken.
    pub(super) uncertified: Vec<u32>,
    pub(super) certify_at: UnixMs,
    /// Redemptions that wait for readings.
    pub(super) unread: Vec<Unread>,
}

impl Desk {
    pub(super) fn new(door: Option<Arc<dyn BrokerDoor>>) -> Desk {
        Desk {
            door,
            post: None,
            is_met: false,
            changed: None,
            account: None,
            error: None,
            retry_at: UnixMs(0),
            retry_ms: RETRY_FIRST_MS,
            busy: BTreeSet::new(),
            account_due: None,
            hope: Hope::default(),
            short: Vec::new(),
            spent: None,
            spent_due: UnixMs(0),
            spent_at: UnixMs(0),
            spent_tried: UnixMs(0),
            wanted: BTreeMap::new(),
            parked: Vec::new(),
            waiters: Vec::new(),
            put_off: PutOff::default(),
            uncertified: Vec::new(),
            certify_at: UnixMs(0),
            unread: Vec::new(),
        }
    }

    /// What could be bought now.
    pub(super) fn funds(&self, rows: &Rows) -> Funds {
        let ordered = rows
            .purchases
            .values()
            .filter(|row| row.state == PurchaseState::Pending)
            .flat_map(|row| row.coins.iter().map(|(value, _)| *value));
        let ordered = Units::checked_sum(ordered).unwrap_or(Units(u64::MAX));
        Funds {
            buyable: self.account.map(|a| a.buyable.saturating_sub(ordered)),
            balance: self.account.map_or(Units::ZERO, |a| a.balance),
            is_reading: false,
            unreachable: self.door.is_none() || self.changed.is_some() || self.error.is_some(),
            held: self.put_off.held(),
        }
    }

    /// Notes that a coin of this size was missed, or a smaller one that is no less than `least`.
    pub(super) fn want(&mut self, size: Units, least: Units, now: UnixMs) {
        let known = self.wanted.entry(size).or_insert(least);
        *known = least.min(*known);
        if self.account.is_some_and(|account| account.buyable < size) {
            self.hope_for_deposit(now);
        }
    }

    /// Adds what only the broker knows.
    pub(super) fn show(&self, balance: &mut Balance) {
        balance.broker_balance = self.account.map(|a| a.balance);
        balance.broker_buyable = self.account.map(|a| a.buyable);
        balance.broker_pending = self.account.map(|a| a.pending);
        balance.broker_bond = self.account.map(|a| a.bond);
        let withdrawing = balance.withdrawing;
        let free = |a: Account| a.withdrawable.saturating_sub(withdrawing);
        balance.broker_withdrawable = self.account.map(free);
        balance.broker_outstanding = self.account.map(|a| a.outstanding);
        balance.broker_suspended = self.account.map(|a| a.is_suspended);
        let changed = self.changed.as_ref().map(ToString::to_string);
        let error = self.error.as_ref().map(ToString::to_string);
        balance.broker_error = changed.or(error).or_else(|| match self.door {
            None => Some(CashierError::NoBroker.to_string()),
            Some(_) => None,
        });
    }

    pub(super) fn start<F>(&mut self, errand: Errand, run: impl FnOnce(Arc<dyn BrokerDoor>) -> F)
    where
        F: Future<Output = News> + Send + 'static,
    {
        let (Some(door), Some(post)) = (self.door.clone(), self.post.clone()) else {
            return;
        };
        if !self.busy.insert(errand) {
            return;
        }
        let run = run(door);
        tokio::spawn(async move {
            let _ = post.send(run.await);
        });
    }

    /// Whether its answer is waited for.
    pub(super) fn is_busy(&self, errand: Errand) -> bool {
        self.busy.contains(&errand)
    }

    /// The answer to what buying and redeeming do not depend on: that there was none makes the broker no worse
    /// for these, and no better.
    pub(super) fn heard_aside(&mut self, errand: Errand, error: Option<&DoorError>, now: UnixMs) {
        match error {
            None | Some(DoorError::Refused(_)) => self.heard(errand, None, now),
            Some(_) => drop(self.busy.remove(&errand)),
        }
    }

    pub(super) fn heard(&mut self, errand: Errand, error: Option<&DoorError>, now: UnixMs) {
        self.busy.remove(&errand);
        match error {
            None | Some(DoorError::Refused(_)) => {
                self.error = None;
                self.retry_ms = RETRY_FIRST_MS;
                self.retry_at = now;
            }
            Some(error) => {
                if self.error.is_none() {
                    tracing::warn!("{error}; the wallet goes on with what it has");
                }
                self.error = Some(error.clone());
                self.retry_at = now.plus_ms(self.retry_ms);
                self.retry_ms = self.retry_ms.saturating_mul(2).min(RETRY_MOST_MS);
            }
        }
    }
}

impl Purse {
    /// Takes up what needs the broker: at once if it is met, else once it is.
    pub(super) async fn park(&mut self, parked: Parked) {
        if let Parked::Broker(reply) = parked {
            return match &self.rows.meta.broker {
                Some(pinned) if self.desk.changed.is_none() => give(reply, Ok(pinned.clone())),
                _ => self.park_or_refuse(Parked::Broker(reply)),
            };
        }
        if let Parked::Buy(units, ..) = &parked {
            // Who buys has paid something in, or is about to.
            self.desk.hope = Hope::default();
            if let Some(requests) = self.ordered_before(*units) {
                return self.wait_for_order(requests, parked);
            }
        }
        if self.desk.error.is_some() {
            // Nothing is fixed for a broker that was out of reach a moment ago: meet it again first.
            self.desk.is_met = false;
        }
        if self.desk.is_met && !self.rows.meta.needs_recovery {
            self.unpark(parked).await;
        } else {
            self.park_or_refuse(parked);
        }
    }

    fn park_or_refuse(&mut self, parked: Parked) {
        if self.desk.door.is_none() {
            parked.refuse(CashierError::NoBroker);
        } else if let Some(error) = &self.desk.changed {
            parked.refuse(error.clone().into());
        } else {
            self.desk.retry_at = UnixMs(0);
            self.desk.parked.push(parked);
        }
    }

    pub(super) async fn unpark(&mut self, parked: Parked) {
        match parked {
            Parked::Broker(reply) => {
                let pinned = self.rows.meta.broker.clone();
                give(reply, pinned.ok_or(CashierError::NoBroker));
            }
            Parked::Buy(units, true, reply) => self.buy_or_look(units, reply).await,
            Parked::Buy(units, false, reply) => self.buy_now(units, reply).await,
            Parked::Redeem(which, reply) => self.redeem_when_read(which, reply).await,
            Parked::Withdraw(ask, reply) => self.unpark_withdrawal(ask, reply),
            keeping => self.unpark_keeping(keeping).await,
        }
        self.answer_waiters();
    }

    /// What was ordered before is asked for at once, and waited for if it can be.
    fn wait_for_order(&mut self, requests: BTreeSet<RequestId>, parked: Parked) {
        if let Parked::Buy(units, _, reply) = parked {
            self.desk.retry_at = UnixMs(0);
            for request in &requests {
                self.desk.put_off.hurry(Errand::Purchase(*request));
            }
            let reply = WaiterReply::Buy(units, reply);
            self.desk.waiters.push(Waiter::new(requests, reply));
            self.answer_waiters();
        }
    }

    /// Fixes the purchases of these coins.
    pub(super) async fn order(
        &mut self,
        coins: &[Units],
    ) -> Result<BTreeSet<RequestId>, CashierError> {
        let change = order::begin(&self.rows, random::bytes(), coins, clock::now())?;
        let requests = change.purchases.iter().map(|row| row.request).collect();
        self.apply(change).await?;
        Ok(requests)
    }

    /// Fixes redemptions of everything redeemable; those from before are waited for too.
    pub(super) async fn begin_redemptions(
        &mut self,
        which: Redeemable,
    ) -> Result<BTreeSet<RequestId>, CashierError> {
        self.flush().await?;
        if which == Redeemable::All {
            // Coins that are redeemed are not bought again at once.
            self.config.limits.at_hand = 0;
            self.desk.wanted.clear();
        }
        let now = clock::now();
        let holdings = trade::redeemable(&self.rows, which, now);
        self.begin_redeeming(&holdings, now).await
    }

    /// Starts what is due.
    pub(super) async fn send_errands(&mut self) {
        let now = clock::now();
        let is_due = now.is_due(self.desk.retry_at, RETRY_MOST_MS);
        if self.desk.door.is_none() || self.desk.changed.is_some() || !is_due {
            return;
        }
        if !self.desk.is_met {
            self.desk.start(Errand::Meet, |door| async move {
                let met = async { Ok((door.meet().await?, door.account().await?)) };
                News::Met(met.await)
            });
            return;
        }
        if self.rows.meta.needs_recovery {
            return self.send_recovery();
        }
        self.order_wanted(now).await;
        self.keep(now).await;
        for effect in trade::unfinished(&self.rows) {
            match effect {
                Effect::SendPurchase(request) => self.send_purchase(request, now).await,
                Effect::SendRedemption(request) => self.send_redemption(request),
                Effect::SendWithdrawal(request) => self.send_withdrawal(request, now).await,
                Effect::SignSpend(_) | Effect::SignClose(_) => {}
            }
        }
        self.send_watching(now);
        self.send_certify(now).await;
        // A payee looks holdings up in it, a payer the payee's key.
        let is_node = self.config.payee_keys > 0 || self.config.limits.at_hand > 0;
        let is_due = is_node && now.is_due(self.desk.spent_due, SPENT_EVERY_MS);
        if is_due || self.reader.wants_list(self.desk.spent_tried, now) {
            self.desk.start(Errand::Spent, |door| async move {
                News::Spent(door.spent_list().await)
            });
        }
        if (self.desk.account_due).is_some_and(|due| now.is_due(due, PENDING_MS)) {
            self.desk.start(Errand::Account, |door| async move {
                News::Account(door.account().await)
            });
        }
    }
}

impl Parked {
    pub(super) fn refuse(self, error: CashierError) {
        match self {
            Parked::Broker(reply) => give(reply, Err(error)),
            Parked::Buy(_, _, reply) => give(reply, Err(error)),
            Parked::Redeem(_, reply) | Parked::RedeemDue(_, reply) => give(reply, Err(error)),
            Parked::Withdraw(_, reply) => give(reply, Err(error)),
            Parked::Meet(reply) => give(reply, Err(error)),
            Parked::Present(reply) => give(reply, Err(error)),
        }
    }
}
