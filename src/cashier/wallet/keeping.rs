//! The purse's side of `wallet::keeping`: chores in the DHT, and what goes to the broker by itself.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use super::CashierError;
use super::chores::{Chore, Done, Keep, PresentReport};
use super::door::{Account, DoorError};
use super::errands::{Errand, News, Parked};
use super::purse::{Purse, give};
use super::reader::GOOD_MS;
use super::sending::unless_answered;
use super::told::RedeemReport;
use super::waiting::{Waiter, WaiterReply};
use crate::broker::answer::CreditState;
use crate::coin::ids::{Commitment, HoldingId};
use crate::http::client::KnownHolding;
use crate::record::{ClosePart, MAX_LINKS_REDEEM, Path};
use crate::units::UnixMs;
use crate::wallet::keeping::{self, Diary, Rules, Showing, Task};
use crate::wallet::receipt::Receipt;
use crate::wallet::trade::Redeemable;
use crate::wallet::{
    Change, HoldingRow, HoldingState, RequestId, WalletError, choose, earning, paying, settled,
    trade,
};
use crate::{clock, random};

/// What is due at the broker is looked for this often.
const LOOK_MS: u64 = 30_000;
/// Where something must be read before it is redeemed, it is looked for again after this.
const READ_MS: u64 = 3_000;
/// Who asked for what is due waits no longer than this for readings.
const READ_MOST_MS: u64 = 45_000;
/// What became of a holding is asked again after this.
const ASK_AGAIN_MS: u64 = 24 * 3_600_000;

type RedeemReply = oneshot::Sender<Result<RedeemReport, CashierError>>;

/// What the purse knows of its promises beside its rows.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) diary: Diary,
    looked: UnixMs,
    /// What the broker did not take in this run, when it may be shown again, and how long after that is.
    not_before: BTreeMap<Showing, (UnixMs, u64)>,
    /// Who asked for what is due, by which rules, and until when they wait for readings.
    pub(super) due: Vec<(Rules, UnixMs, RedeemReply)>,
    pub(super) presenting: Vec<oneshot::Sender<Result<PresentReport, CashierError>>>,
    asking: Vec<(HoldingId, oneshot::Sender<Result<bool, CashierError>>)>,
    /// When the broker was asked what became of a holding whose coin's time is over.
    asked: BTreeMap<HoldingId, UnixMs>,
}

impl Keeping {
    pub(super) fn new(started: UnixMs) -> Keeping {
        let diary = Diary {
            started,
            ..Diary::default()
        };
        Keeping {
            diary,
            ..Keeping::default()
        }
    }

    /// Notes that something is not to be shown to the broker before then; none: not in this run.
    pub(super) fn put_off(&mut self, what: Showing, until: Option<UnixMs>, now: UnixMs) {
        let pause = until.map(|until| (until, until.since_ms(now)));
        let never = (UnixMs(u64::MAX), u64::MAX);
        self.not_before.insert(what, pause.unwrap_or(never));
    }

    /// Whether something is not to be shown to the broker now.
    pub(super) fn is_put_off(&self, what: &Showing, now: UnixMs) -> bool {
        let not_before = self.not_before.get(what);
        not_before.is_some_and(|(until, pause_ms)| !now.is_due(*until, *pause_ms))
    }
}

impl Purse {
    pub(super) async fn serve_keeping(&mut self, keep: Keep, now: UnixMs) {
        match keep {
            Keep::Chores(all, reply) => give(reply, self.chores(now, all)),
            Keep::Done(done, reply) => self.chore_done(done, now, reply).await,
            Keep::Receipts(what, reply) => {
                let lines = self.store.journal_of(&what).await;
                let receipts = lines.map(|lines| Receipt::of(&self.rows, lines));
                give(reply, receipts.map_err(Into::into));
            }
            Keep::Meet(reply) => self.park(Parked::Meet(reply)).await,
            Keep::Present(reply) => self.park(Parked::Present(reply)).await,
            Keep::By(rules, reply) => {
                (self.config.keep, self.keeping.looked) = (Some(rules), UnixMs(0));
                give(reply, ());
            }
            Keep::RedeemDue(rules, reply) => self.park(Parked::RedeemDue(rules, reply)).await,
        }
    }

    pub(super) fn hold_ms(&self) -> u64 {
        let told = self.desk.account.and_then(|account| account.hold_ms);
        told.unwrap_or(keeping::HOLD_MS)
    }

    fn chores(&self, now: UnixMs, all: bool) -> Vec<Chore> {
        let tasks = keeping::tasks(&self.rows, &self.keeping.diary, self.hold_ms(), now, all);
        tasks.iter().filter_map(|task| self.chore(task)).collect()
    }

    fn chore(&self, task: &Task) -> Option<Chore> {
        match *task {
            Task::FindClose { spend, asks_broker } => Some(Chore::FindClose {
                spend,
                holding: self.rows.spends.get(&spend)?.holding,
                open: Box::new(self.open_again(&spend).ok()?.0),
                asks_broker,
            }),
            Task::ReadBack { spend } => {
                let row = self.rows.spends.get(&spend)?;
                let open = self.open_again(&spend).ok()?.0;
                let record = row.close?.record(&row.holding, &open);
                let record = Box::new(record);
                Some(Chore::ReadBack { spend, record })
            }
            Task::PutClose { spend } => {
                let row = self.rows.received.get(&spend)?;
                let record = Box::new(row.close()?.record(&row.holding.id, &row.open));
                Some(Chore::PutClose { spend, record })
            }
            Task::PutAgain { spend, place } => {
                let row = self.rows.received.get(&spend)?;
                let mut records = vec![row.open.record(&row.holding)];
                records.extend(decode(&row.path, &row.holding.id)?.records());
                records.push(row.close()?.record(&row.holding.id, &row.open));
                Some(Chore::PutAgain {
                    spend,
                    records,
                    place,
                })
            }
        }
    }

    async fn chore_done(
        &mut self,
        done: Done,
        now: UnixMs,
        reply: oneshot::Sender<Result<bool, CashierError>>,
    ) {
        match done {
            Done::CloseFound(spend, close) => {
                give(reply, self.take_close(&spend, &close, now).await);
            }
            Done::NoClose(spend, asks_broker) => {
                let change = keeping::polled(&self.rows, &spend, now);
                let noted = self.write(change).await;
                match noted {
                    Ok(()) if asks_broker => self.ask_for_close(spend, reply),
                    noted => give(reply, noted.map(|()| false)),
                }
            }
            Done::ReadBack(spend, true) => {
                let change = paying::read_back(&self.rows, &spend, now);
                give(reply, self.write(change).await.map(|()| false));
            }
            Done::ReadBack(spend, false) => {
                let tries = self.keeping.diary.tried.get(&spend).map_or(0, |(n, _)| *n);
                let next = (tries.saturating_add(1), now);
                self.keeping.diary.tried.insert(spend, next);
                give(reply, Ok(false));
            }
            Done::ClosePut(spend, is_put) => {
                self.keeping.diary.put.insert(spend, now);
                let noted = match is_put {
                    true => self.write(earning::put(&self.rows, &spend)).await,
                    false => Ok(()),
                };
                give(reply, noted.map(|()| false));
            }
            Done::PutAgain(spend) => {
                self.keeping.diary.put.insert(spend, now);
                give(reply, Ok(false));
            }
            Done::Rival(spend, items) => {
                tracing::warn!(
                    %spend, slot_key = %items.1.key,
                    "another item lies in a slot of this spend: presenting it at once"
                );
                self.keeping.diary.put.insert(spend, now);
                self.keeping.diary.tried.insert(spend, (u32::MAX, now));
                self.conflict_found(&items.0, &items.1, now).await;
                self.begin_presenting(true);
                self.rival_in_close(spend, now, reply).await;
            }
        }
    }

    /// Which of two closes of a spend of ours stands the broker says.
    async fn rival_in_close(
        &mut self,
        spend: Commitment,
        now: UnixMs,
        reply: oneshot::Sender<Result<bool, CashierError>>,
    ) {
        if self
            .rows
            .spends
            .get(&spend)
            .is_none_or(|row| row.close.is_some())
        {
            return give(reply, Ok(false));
        }
        let change = keeping::polled(&self.rows, &spend, now);
        match self.write(change).await {
            Ok(()) => self.ask_for_close(spend, reply),
            Err(error) => give(reply, Err(error)),
        }
    }

    pub(super) async fn write(
        &mut self,
        change: Result<Change, WalletError>,
    ) -> Result<(), CashierError> {
        self.apply(change?).await?;
        Ok(())
    }

    async fn take_close(
        &mut self,
        spend: &Commitment,
        close: &ClosePart,
        now: UnixMs,
    ) -> Result<bool, CashierError> {
        self.payer_closed(spend, close, now).await?;
        tracing::info!(%spend, k = close.k, "the close of a channel was found");
        Ok(true)
    }

    /// Asks the broker for a close, if it was met.
    fn ask_for_close(
        &mut self,
        spend: Commitment,
        reply: oneshot::Sender<Result<bool, CashierError>>,
    ) {
        let holding = self.rows.spends.get(&spend).map(|row| row.holding);
        let (Some(holding), true) = (holding, self.desk.is_met) else {
            return give(reply, Ok(false));
        };
        self.keeping.asking.push((holding, reply));
        self.ask_about(holding);
    }

    fn ask_about(&mut self, id: HoldingId) {
        self.desk
            .start(Errand::Holding(id), move |door| async move {
                let answer = door.holding(id).await;
                let account = unless_answered(&*door, &answer).await;
                News::Holding(id, Box::new(answer), account)
            });
    }

    /// Asks once a day about what the broker must have settled.
    fn ask_about_settled(&mut self, now: UnixMs) {
        let due: Vec<HoldingId> = settled::unsettled(&self.rows, now).collect();
        for id in due {
            let asked = self.keeping.asked.get(&id);
            if asked.is_none_or(|at| !now.is_within(ASK_AGAIN_MS, *at)) {
                self.keeping.asked.insert(id, now);
                self.ask_about(id);
            }
        }
    }

    pub(super) async fn heard_holding(
        &mut self,
        id: HoldingId,
        answer: Result<KnownHolding, DoorError>,
        account: Option<Account>,
        now: UnixMs,
    ) {
        let error = answer.as_ref().err();
        self.desk
            .heard_request(Errand::Holding(id), error, account, now);
        let told = match answer {
            Ok(known) => self.take_known(&id, &known, now).await,
            // A refusal says that the broker knows nothing of it, or not of us as its holder.
            Err(DoorError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        };
        let mut told = Some(told);
        for (asked, reply) in std::mem::take(&mut self.keeping.asking) {
            if asked == id {
                give(reply, told.take().unwrap_or(Ok(false)));
            } else {
                self.keeping.asking.push((asked, reply));
            }
        }
    }

    /// Takes a close, or a settlement, that the broker knows of.
    async fn take_known(
        &mut self,
        id: &HoldingId,
        known: &KnownHolding,
        now: UnixMs,
    ) -> Result<bool, CashierError> {
        let state = self.rows.holdings.get(id).map(|row| row.state.clone());
        let credit = known.credit.as_ref();
        if let Some(credit) = credit.filter(|credit| credit.state == CreditState::Settled) {
            let change = settled::settled(&self.rows, id, credit.units, now);
            return self.write(change).await.map(|()| true);
        }
        match (state, &known.close) {
            (Some(HoldingState::Locked { spend }), Some(close)) => {
                self.take_close(&spend, close, now).await
            }
            _ => Ok(false),
        }
    }

    /// Redeems and presents what is due, if this wallet does so by itself.
    pub(super) async fn keep(&mut self, now: UnixMs) {
        self.redeem_due(now).await;
        let Some(rules) = self.config.keep else {
            return;
        };
        if now.is_within(LOOK_MS, self.keeping.looked) {
            return;
        }
        self.keeping.looked = now;
        let holdings = keeping::to_redeem(&self.rows, &rules, now, false);
        if self.read_first(&holdings, now) {
            self.keeping.looked = UnixMs(now.0.saturating_sub(LOOK_MS - READ_MS));
        }
        if let Err(error) = self.begin_redeeming(&holdings, now).await {
            tracing::error!("what is due is not redeemed: {error}");
        }
        self.begin_presenting(false);
        self.ask_about_settled(now);
    }

    /// Fixes redemptions of those of these holdings that may be signed for; those from before are
    /// waited for too.
    pub(super) async fn begin_redeeming(
        &mut self,
        holdings: &[HoldingId],
        now: UnixMs,
    ) -> Result<BTreeSet<RequestId>, CashierError> {
        let mut ready = holdings.to_vec();
        ready.retain(|id| {
            let row = self.rows.holdings.get(id);
            row.is_some_and(|row| row.is_idle(now) && self.reader.may_sign(row, GOOD_MS, now))
        });
        for batch in ready.chunks(choose::MAX_BATCH) {
            let request = RequestId(random::bytes());
            let change = trade::begin_redemption(&self.rows, request, batch, now)?;
            self.apply(change).await?;
        }
        let open = self.rows.redemptions.values();
        Ok(open
            .filter(|row| row.answers.is_none())
            .map(|row| row.request)
            .collect())
    }

    /// Has the slots of these holdings read that must be before they are signed for; whether some
    /// are left to be read.
    fn read_first(&mut self, holdings: &[HoldingId], now: UnixMs) -> bool {
        let find = |id| self.rows.holdings.get(id).cloned();
        let rows: Vec<HoldingRow> = holdings.iter().filter_map(find).collect();
        let mut is_left = false;
        for row in &rows {
            is_left |= !self.is_read(row, GOOD_MS, now);
        }
        is_left && self.reader.can_read()
    }

    /// Redeems for those who asked for what is due, once it was read or that took too long.
    pub(super) async fn redeem_due(&mut self, now: UnixMs) {
        for (rules, until, reply) in std::mem::take(&mut self.keeping.due) {
            let holdings = keeping::to_redeem(&self.rows, &rules, now, true);
            if now < until && self.read_first(&holdings, now) {
                self.keeping.due.push((rules, until, reply));
                continue;
            }
            match self.begin_redeeming(&holdings, now).await {
                Ok(requests) => {
                    let reply = WaiterReply::Redeem(Redeemable::Earned, reply);
                    self.desk.waiters.push(Waiter::new(requests, reply));
                }
                Err(error) => give(reply, Err(error)),
            }
        }
    }

    /// What was asked for while the broker was not met.
    pub(super) async fn unpark_keeping(&mut self, parked: Parked) {
        let now = clock::now();
        match parked {
            Parked::Meet(reply) => give(reply, Ok(())),
            Parked::Present(reply) => {
                if self.begin_presenting(true) {
                    self.keeping.presenting.push(reply);
                } else {
                    give(reply, Ok(PresentReport::default()));
                }
            }
            Parked::RedeemDue(rules, reply) => {
                self.ask_about_settled(now);
                let until = now.plus_ms(READ_MOST_MS);
                self.keeping.due.push((rules, until, reply));
                self.redeem_due(now).await;
            }
            _ => {}
        }
    }
}

pub(super) fn decode(path: &[u8], holding: &HoldingId) -> Option<Path> {
    let path = Path::decode(path, MAX_LINKS_REDEEM).ok();
    if path.is_none() {
        tracing::error!("the path of holding {holding} is damaged");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::ids::Commitment;

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_from_being_shown_but_what_was_refused() {
        let now = UnixMs(1_000_000_000_000);
        let mut keeping = Keeping::new(now);
        let [contested, refused] = [1, 2].map(|n| Showing::Share(Commitment([n; 32])));
        keeping.put_off(contested, Some(now.plus_ms(60_000)), now);
        keeping.put_off(refused, None, now);
        let back = UnixMs(now.0 - 3 * 3_600_000);
        for (at, is_off) in [(now, true), (now.plus_ms(60_000), false), (back, false)] {
            assert_eq!(keeping.is_put_off(&contested, at), is_off, "{at:?}");
            assert!(keeping.is_put_off(&refused, at));
        }
    }
}
