//! The task that owns a wallet's money: one message after another, decide, write, release.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::CashierError;
use super::ahead::Ahead;
use super::cheat::Cheating;
use super::checks::SpentCheck;
use super::chores::Keep;
use super::door::BrokerDoor;
use super::errands::{Desk, News, Parked};
use super::keeping::Keeping;
use super::kept::KeptAsk;
use super::open::WalletConfig;
use super::reader::Reader;
use super::slots::SlotReader;
use super::spending::SpendTo;
use super::told::{Bought, OpenChannels, OpenReceived, OpenSpent, RedeemReport, ReserveRequest};
use super::waiting::PutOff;
use super::watch::Watcher;
use super::withdrawing::{Take, Withdrawing};
use crate::cashier::kill;
use crate::channel::{NoReserve, Reserved};
use crate::clock;
use crate::coin::Seed;
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::chain::Chain;
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::record::{ClosePart, Holding, Item, OpenSpend, Path};
use crate::store::wallet::{StoreError, WalletStore, WriterLock};
use crate::units::{InfoHash, Units, UnixMs};
use crate::wallet::deals::{self, TorrentSums};
use crate::wallet::trade::{self, Redeemable};
use crate::wallet::{
    Balance, Change, Effect, JournalEntry, PinnedBroker, ReceivedState, Rows, Step, Unwritten,
    WalletError, earning, keys, paying, sign, signing,
};
use crate::wire::message::RefuseReason;

/// Ticks are on disk this long after they came.
const FLUSH: Duration = Duration::from_millis(500);

pub(super) type Reply<T> = oneshot::Sender<T>;
pub(super) type Outcome<T> = Result<T, CashierError>;

/// What can be asked of the task.
pub(super) enum Ask {
    Broker(Reply<Outcome<PinnedBroker>>),
    Reserve(ReserveRequest, Reply<Result<Reserved, NoReserve>>),
    Release(HoldingId, Reply<Outcome<()>>),
    Commit(Box<SpendTo>, Reply<Outcome<(OpenSpend, Chain)>>),
    OpenAgain(Commitment, Reply<Outcome<(OpenSpend, Chain)>>),
    PayerTicks(Vec<(Commitment, u32)>),
    PayerEnded(Vec<Commitment>, Reply<Outcome<()>>),
    PayerClosed(Commitment, ClosePart, Reply<Outcome<()>>),
    Check(Holding, Box<Path>, Reply<Result<SpentCheck, RefuseReason>>),
    Listed(Commitment, Reply<Result<SpentCheck, RefuseReason>>),
    PayeeKey(Reply<Outcome<(u32, PseudonymCertificate)>>),
    KeyUnused(u32),
    RecordOpen(Box<earning::Open>, Reply<Outcome<()>>),
    Accepted(Commitment, Reply<Outcome<()>>),
    PayeeTicks(Vec<(Commitment, u32, ChainValue)>),
    Close(Commitment, u32, ChainValue, Reply<Outcome<ClosePart>>),
    RecordPut(Commitment, Reply<Outcome<()>>),
    OpenChannels(Reply<OpenChannels>),
    Kept(KeptAsk),
    SetBudget(InfoHash, Option<Units>, Reply<Outcome<()>>),
    PayUpTo(Option<Units>, Reply<bool>),
    AtHand(usize, Reply<()>),
    Balance(Reply<Balance>),
    OfTorrents(Reply<BTreeMap<InfoHash, TorrentSums>>),
    LookAtAccount,
    History(u32, Reply<Outcome<Vec<JournalEntry>>>),
    /// Units, and whether all of them or none.
    Buy(Units, bool, Reply<Outcome<Bought>>),
    Redeem(Redeemable, Reply<Outcome<RedeemReport>>),
    Slots(std::sync::Arc<dyn SlotReader>),
    Conflict(Box<(Item, Item)>),
    Keep(Keep),
    Withdraw(Take),
    AcceptedBy(String),
    Shutdown(Reply<Outcome<()>>),
}

/// The owner of a wallet's rows.
pub(super) struct Purse {
    pub(super) store: Box<dyn WalletStore>,
    pub(super) rows: Rows,
    /// The store may hold other rows than these: load before anything else.
    is_doubtful: bool,
    pub(super) seed: Seed,
    pub(super) config: WalletConfig,
    pub(super) desk: Desk,
    pub(super) reader: Reader,
    pub(super) ahead: Ahead,
    pub(super) watcher: Watcher,
    pub(super) withdrawing: Withdrawing,
    sent: BTreeMap<Commitment, u32>,
    came: BTreeMap<Commitment, (u32, ChainValue)>,
    /// Why ticks are in memory only, if they are.
    unwritten: Option<Unwritten>,
    given: BTreeMap<u32, UnixMs>,
    pub(super) keeping: Keeping,
    pub(super) cheating: Cheating,
    _lock: WriterLock,
}

impl Purse {
    pub(super) fn new(
        store: Box<dyn WalletStore>,
        mut rows: Rows,
        seed: Seed,
        door: Option<std::sync::Arc<dyn BrokerDoor>>,
        config: &WalletConfig,
        lock: WriterLock,
    ) -> Purse {
        let mut desk = Desk::new(door);
        desk.put_off = PutOff::of(&rows);
        Purse {
            store,
            reader: Reader::new(&mut rows, config.expects_dht),
            ahead: Ahead::new(),
            rows,
            is_doubtful: false,
            seed,
            config: config.clone(),
            desk,
            watcher: Watcher::default(),
            withdrawing: Withdrawing::default(),
            sent: BTreeMap::new(),
            came: BTreeMap::new(),
            unwritten: None,
            given: BTreeMap::new(),
            keeping: Keeping::new(clock::now()),
            cheating: Cheating::default(),
            _lock: lock,
        }
    }

    /// Serves until the last handle is gone or one asks to close.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let (post, mut news) = mpsc::unbounded_channel::<News>();
        self.desk.post = Some(post);
        self.resume_signing().await;
        self.finish_closes().await;
        let mut flush = tokio::time::interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(Ask::Shutdown(reply)) => {
                        let flushed = self.flush().await;
                        self.store.close().await;
                        drop(self._lock);
                        let _ = reply.send(flushed);
                        return;
                    }
                    Some(ask) => self.serve(ask).await,
                    None => break,
                },
                Some(item) = news.recv() => self.hear(item).await,
                _ = flush.tick() => {
                    // What it says is shown until it is written.
                    let _ = self.flush().await;
                }
            }
            self.break_old_promises(clock::now());
            self.send_errands().await;
            self.send_readings(clock::now()).await;
        }
        if let Err(error) = self.flush().await {
            tracing::error!("the last ticks could not be written: {error}");
        }
        self.store.close().await;
    }

    /// Goes on after what earlier runs signed under, before anything is signed.
    async fn resume_signing(&mut self) {
        if let Some(change) = signing::resumed(&self.rows, clock::now())
            && let Err(error) = self.apply(change).await
        {
            tracing::error!("refusals of the broker are doubted for longer: {error}");
        }
        if let Some(door) = &self.desk.door {
            door.times().resume(self.rows.meta.signed_until);
        }
    }

    /// Makes a change durable, then applies it to the rows in memory, and gives its effects.
    pub(super) async fn apply(&mut self, change: Change) -> Outcome<Vec<Effect>> {
        if self.is_doubtful {
            self.rows = self.store.load().await?;
            self.reader.born().mark(&mut self.rows);
            self.is_doubtful = false;
            return Err(StoreError::Refused(crate::wallet::ApplyError::Stale {
                expected: change.expects,
                found: self.rows.version,
            })
            .into());
        }
        let Change { effects, .. } = &change;
        let effects = effects.clone();
        let mut rows_only = Change {
            effects: Vec::new(),
            ..change
        };
        if rows_only.is_empty() {
            return Ok(effects);
        }
        self.reader.born().note(&self.rows, &mut rows_only);
        self.reader.await_new(&self.rows, &rows_only);
        let step = Step::of(&rows_only, &self.rows).name();
        let is_durable = !rows_only.is_volatile();
        if is_durable {
            kill::before(step);
        }
        if let Err(error) = self.store.apply(&rows_only).await {
            // A full disk rolls back; after anything else the store says what it holds.
            self.is_doubtful = !matches!(error, StoreError::Full);
            return Err(error.into());
        }
        if is_durable {
            kill::after(step);
        }
        rows_only.apply(&mut self.rows).map_err(StoreError::from)?;
        Ok(effects)
    }

    /// Loads the rows again where a failed write left doubt about them.
    async fn settle_doubt(&mut self) {
        if self.is_doubtful
            && let Ok(rows) = self.store.load().await
        {
            self.rows = rows;
            self.reader.born().mark(&mut self.rows);
            self.is_doubtful = false;
        }
    }

    /// Writes ticks. What cannot be written stays in memory and is tried again.
    pub(super) async fn flush(&mut self) -> Outcome<()> {
        let written = self.write_ticks().await;
        let fault = written.as_ref().err().map(|error| Unwritten {
            is_full: matches!(error, CashierError::Store(StoreError::Full)),
            error: error.to_string(),
        });
        if let (None, Some(Unwritten { error, .. })) = (&self.unwritten, &fault) {
            tracing::error!("ticks stay in memory: {error}");
        }
        self.unwritten = fault;
        written
    }

    async fn write_ticks(&mut self) -> Outcome<()> {
        self.settle_doubt().await;
        if !self.sent.is_empty() {
            let sent: Vec<_> = self.sent.iter().map(|(s, k)| (*s, *k)).collect();
            self.apply(paying::ticks(&self.rows, &sent)?).await?;
            self.sent.clear();
        }
        if !self.came.is_empty() {
            let came: Vec<_> = self.came.iter().map(|(s, (k, wk))| (*s, *k, *wk)).collect();
            let (change, bad) = earning::ticks(&self.rows, &came)?;
            for spend in bad {
                tracing::warn!("a tick of spend {spend} is not in its chain and is left out");
            }
            self.apply(change).await?;
            self.came.clear();
        }
        Ok(())
    }

    async fn serve(&mut self, ask: Ask) {
        self.settle_doubt().await;
        let now = clock::now();
        match ask {
            Ask::Reserve(request, reply) => give(reply, self.reserve(request, now).await),
            Ask::PayerTicks(ticks) => {
                for (spend, k) in ticks {
                    let last = self.sent.entry(spend).or_insert(k);
                    *last = k.max(*last);
                }
            }
            Ask::PayeeTicks(ticks) => {
                for (spend, k, wk) in ticks {
                    let last = self.came.entry(spend).or_insert((k, wk));
                    if k > last.0 {
                        *last = (k, wk);
                    }
                }
            }
            Ask::Check(holding, path, reply) => give(reply, self.check(&holding, &path, now)),
            Ask::Listed(spend, reply) => give(reply, self.listed(&spend, now)),
            Ask::PayeeKey(reply) => give(reply, self.payee_key(now)),
            Ask::KeyUnused(index) => {
                self.given.remove(&index);
            }
            Ask::OpenChannels(reply) => {
                let _ = self.flush().await;
                give(reply, self.open_channels());
            }
            Ask::LookAtAccount => self.desk.account_due = Some(now),
            Ask::Balance(reply) => {
                let _ = self.flush().await;
                give(reply, self.balance(now));
            }
            Ask::OfTorrents(reply) => {
                let _ = self.flush().await;
                give(reply, deals::by_torrent(&self.rows));
            }
            Ask::History(limit, reply) => {
                give(reply, self.store.journal(limit).await.map_err(Into::into));
            }
            Ask::Kept(ask) => self.serve_kept(ask, now).await,
            Ask::Broker(reply) => self.park(Parked::Broker(reply)).await,
            Ask::Buy(units, whole, reply) => self.park(Parked::Buy(units, whole, reply)).await,
            Ask::Redeem(which, reply) => self.park(Parked::Redeem(which, reply)).await,
            Ask::Conflict(items) => self.conflict_found(&items.0, &items.1, now).await,
            Ask::Slots(slots) => self.reader.set_slots(slots),
            Ask::Keep(keep) => self.serve_keeping(keep, now).await,
            Ask::Withdraw(take) => self.serve_withdraw(take).await,
            Ask::AcceptedBy(payee) => self.redeem_accepted(&payee),
            other => self.serve_change(other, now).await,
        }
    }

    /// The messages that each write one change.
    async fn serve_change(&mut self, ask: Ask, now: UnixMs) {
        match ask {
            Ask::Release(holding, reply) if self.keeps_promise(&holding) => give(reply, Ok(())),
            Ask::Release(holding, reply) => {
                let change = paying::release(&self.rows, &holding);
                let done = self.done(change).await;
                self.break_promise(&holding);
                give(reply, done);
            }
            Ask::Commit(to, reply) => self.commit_when_read(*to, reply, now).await,
            Ask::OpenAgain(spend, reply) => give(reply, self.open_again(&spend)),
            Ask::PayerEnded(spends, reply) => {
                let change = paying::ended(&self.rows, &spends, now);
                self.keeping.diary.live.retain(|s| !spends.contains(s));
                give(reply, self.done(Ok(change)).await);
            }
            Ask::PayerClosed(spend, close, reply) => {
                give(reply, self.payer_closed(&spend, &close, now).await);
            }
            Ask::RecordOpen(open, reply) => {
                let change = earning::record_open(&self.rows, *open, now);
                give(reply, self.done(change).await);
            }
            Ask::Accepted(spend, reply) => {
                let change = earning::accepted(&self.rows, &spend);
                give(reply, self.done(change).await);
            }
            Ask::RecordPut(spend, reply) => {
                let change = earning::put(&self.rows, &spend);
                give(reply, self.done(change).await);
            }
            Ask::Close(spend, k, wk, reply) => {
                self.close_when_read(spend, (k, wk), reply).await;
            }
            Ask::AtHand(coins, reply) => {
                self.config.limits.at_hand = coins;
                give(reply, ());
            }
            Ask::PayUpTo(most, reply) => {
                self.config.limits.pay_up_to = most;
                let is_beyond = |most| self.rows.committed_in_all(now) > most;
                give(reply, most.is_some_and(is_beyond));
            }
            Ask::SetBudget(info_hash, budget, reply)
                if self.rows.budgets.get(&info_hash) == budget.as_ref() =>
            {
                give(reply, Ok(()));
            }
            Ask::SetBudget(info_hash, budget, reply) => {
                let mut change = Change::on(&self.rows);
                change.budgets.push((info_hash, budget));
                give(reply, self.done(Ok(change)).await);
            }
            _ => {}
        }
    }

    pub(super) async fn done(&mut self, change: Result<Change, WalletError>) -> Outcome<()> {
        self.apply(change?).await?;
        Ok(())
    }

    fn payee_key(&mut self, now: UnixMs) -> Outcome<(u32, PseudonymCertificate)> {
        let row = keys::pick(&self.rows, &self.given, now).ok_or(CashierError::NoKey)?;
        self.given.insert(row.index, now);
        Ok((row.index, row.certificate))
    }

    pub(super) async fn close(
        &mut self,
        spend: &Commitment,
        k: u32,
        wk: &ChainValue,
    ) -> Outcome<ClosePart> {
        self.flush().await?;
        self.apply(earning::fix_close(&self.rows, spend, k, wk)?)
            .await?;
        self.sign_close(spend).await
    }

    /// Signs a close whose row is durable, and keeps the share.
    pub(super) async fn sign_close(&mut self, spend: &Commitment) -> Outcome<ClosePart> {
        let row = self.rows.received.get(spend);
        let row = row.ok_or(WalletError::UnknownSpend(*spend))?;
        if let Some(close) = row.close() {
            return Ok(close);
        }
        let close = sign::sign_close(&self.seed, row);
        let now = clock::now();
        let change = earning::close_signed(&self.rows, spend, &close, now);
        self.done(change).await?;
        Ok(close)
    }

    /// Signs the closes that a crash left fixed but not signed.
    async fn finish_closes(&mut self) {
        for effect in trade::unfinished(&self.rows) {
            if let Effect::SignClose(spend) = effect
                && let Err(error) = self.sign_close(&spend).await
            {
                tracing::error!("close of spend {spend} from the last run: {error}");
            }
        }
    }

    fn balance(&self, now: UnixMs) -> Balance {
        let mut balance = Balance::by(&self.rows, self.hold_ms(), now);
        self.desk.show(&mut balance);
        balance.waits_for_broker = self.waiting_for_list(now);
        balance.unwritten = self.unwritten.clone();
        balance
    }

    fn open_channels(&self) -> OpenChannels {
        let spent = self.rows.open_spends().filter_map(|row| {
            let holding = self.rows.holdings.get(&row.holding)?;
            Some(OpenSpent {
                spend: row.spend,
                holding: holding.holding,
                path: holding.path.clone(),
                open: sign::sign_spend(&self.seed, holding.key_index, row),
                last_k: row.last_k,
                info_hash: row.info_hash,
                peer: row.peer.clone(),
                since: row.opened,
            })
        });
        let done = |state: &ReceivedState| matches!(state, ReceivedState::Closed { .. });
        let theirs = self.rows.received.values();
        let received = theirs
            .filter(|row| !(row.put && done(&row.state)))
            .map(|row| OpenReceived {
                spend: row.spend,
                holding: row.holding,
                path: row.path.clone(),
                open: row.open,
                k: row.k,
                wk: row.wk,
                close: row.close(),
                accepted: row.accepted,
                info_hash: row.info_hash,
                peer: row.peer.clone(),
            });
        OpenChannels {
            spent: spent.collect(),
            received: received.collect(),
            hold_ms: self.hold_ms(),
        }
    }
}

/// Answers; whoever asked may be gone.
pub(super) fn give<T>(reply: Reply<T>, answer: T) {
    let _ = reply.send(answer);
}
