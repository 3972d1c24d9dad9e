//! The one loop that owns a broker's money: load, decide, apply, and only then answer.
//!
//! Requests that wait are decided together and made durable by one transaction (group commit), each
//! refused or answered by itself. Another process may write the same database (the operator's
//! commands do): a stale row means load and decide again.

pub mod rounds;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::broker::answer::Refusal;
use crate::broker::change::Change;
use crate::broker::rows::{FastMap, Row, Stored};
use crate::broker::{Broker, Call, Draft, Operated, Operation, RowKey, Rows, Sealed, Stop};
use crate::cashier::kill;
use crate::coin::keys::PublicKey;
use crate::store::broker::{BrokerStore, BrokerStoreError};
use crate::units::UnixMs;

/// The durable step of a broker: what a batch of requests decided.
const STEP: &str = "broker.batch";
/// Most requests in one transaction.
const BATCH: usize = 64;
/// Longest time that a transaction waits for requests that are still being checked.
const GATHERING: Duration = Duration::from_millis(50);
/// How often it looks whether they came.
const LOOK: Duration = Duration::from_millis(1);
/// Requests that may wait; more are told to come again.
const QUEUE: usize = 1024;
/// How often a batch is decided again when rows change under it.
const ATTEMPTS: u32 = 20;
/// Credits that ripen in one transaction.
const RIPEN: u32 = 500;

/// Where the loop has its time from.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// Why there is no answer. Nothing was changed.
#[derive(Debug, Error)]
pub enum BrokerCashierError {
    /// The operator's operation is refused. (An account's refusal is a signed answer.)
    #[error("{0}")]
    Refused(Refusal),
    /// No room on disk.
    #[error("the broker's store is full")]
    Full,
    /// It was signed before another one was refused: the account may sign it anew.
    #[error("the request was signed too early")]
    Early,
    /// Too many requests wait, or the broker is shutting down.
    #[error("the broker is busy or shutting down")]
    Busy,
    /// The store failed.
    #[error("the broker's store failed: {0}")]
    Store(String),
    /// The rows contradict each other.
    #[error("the broker's books need its operator: {0}")]
    Broken(String),
}

enum Job {
    Call(Call, oneshot::Sender<Result<Draft, BrokerCashierError>>),
    Operate(
        Operation,
        oneshot::Sender<Result<Operated, BrokerCashierError>>,
    ),
}

/// A decided job: what to say once the changes are durable.
enum Said {
    Draft(Draft),
    Operated(Operated),
}

/// Handle on the loop; cheap to clone. The loop ends when the last one is dropped, or by itself once another
/// program brought its store to a later form.
#[derive(Clone, Debug)]
pub struct BrokerCashier {
    broker: Arc<Broker>,
    jobs: mpsc::Sender<Job>,
    coming: Arc<AtomicUsize>,
    is_later: Arc<AtomicBool>,
}

/// A request that is on its way to the cashier, for as long as this is held.
#[derive(Debug)]
pub struct Coming(Arc<AtomicUsize>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BrokerCashier {
    /// Starts the loop.
    #[must_use]
    pub fn start(
        broker: Arc<Broker>,
        store: Arc<dyn BrokerStore>,
        clock: Clock,
    ) -> (Self, JoinHandle<()>) {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let is_later = Arc::new(AtomicBool::new(false));
        let cashier = BrokerCashier {
            broker: broker.clone(),
            jobs: sender,
            coming: Arc::default(),
            is_later: is_later.clone(),
        };
        let till = Till {
            coming: cashier.coming.clone(),
            is_later,
            broker,
            store,
            clock,
            accounts: FastMap::default(),
        };
        // On a thread of its own: what it waits for is not held up by the checks of other requests.
        let runtime = Handle::current();
        let till = tokio::task::spawn_blocking(move || runtime.block_on(till.run(jobs)));
        (cashier, till)
    }

    /// One request by an account. The answer, also a refusal, is signed, and what it says is durable.
    /// It is signed here, by whoever asked, so that the loop decides the next requests meanwhile.
    ///
    /// # Errors
    /// [`BrokerCashierError`]; nothing was changed then.
    pub async fn call(&self, call: Call) -> Result<Sealed, BrokerCashierError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.jobs.try_send(Job::Call(call, sender));
        sent.map_err(|_| BrokerCashierError::Busy)?;
        let draft = answer.await.unwrap_or(Err(BrokerCashierError::Busy))?;
        Ok(self.broker.seal(draft))
    }

    /// Tells that a request is being checked and comes then, so that it may become durable together with
    /// those that are there.
    #[must_use]
    pub fn coming(&self) -> Coming {
        self.coming.fetch_add(1, Ordering::Relaxed);
        Coming(self.coming.clone())
    }

    /// Waits until the loop has ended by itself. Says whether that is because its store has a form that only a
    /// later version knows; else it failed.
    pub async fn ended(&self) -> bool {
        self.jobs.closed().await;
        self.is_later.load(Ordering::Acquire)
    }

    /// One operation by the operator.
    ///
    /// # Errors
    /// [`BrokerCashierError`]; nothing was changed then.
    pub async fn operate(&self, operation: Operation) -> Result<Operated, BrokerCashierError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.jobs.try_send(Job::Operate(operation, sender));
        sent.map_err(|_| BrokerCashierError::Busy)?;
        answer.await.unwrap_or(Err(BrokerCashierError::Busy))
    }
}

/// The loop's own side.
struct Till {
    coming: Arc<AtomicUsize>,
    is_later: Arc<AtomicBool>,
    broker: Arc<Broker>,
    store: Arc<dyn BrokerStore>,
    clock: Clock,
    /// Accounts as the last batch left them: the next one most likely asks about the same.
    accounts: FastMap<PublicKey, Stored>,
}

impl Till {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.recv().await {
            let batch = self.gather(first, &mut jobs).await;
            let now = (self.clock)();
            if let Err(error) = self.ripen(&batch, now).await {
                tracing::warn!(%error, "credits whose hold is over could not be paid yet");
            }
            match self.settle(&batch, now).await {
                Err(BrokerStoreError::Full) if batch.len() > 1 => {
                    for job in batch {
                        let settled = self.settle(std::slice::from_ref(&job), now).await;
                        answer(vec![job], settled);
                    }
                }
                settled => {
                    let later = matches!(settled, Err(BrokerStoreError::Later));
                    answer(batch, settled);
                    if later {
                        self.is_later.store(true, Ordering::Release);
                        return;
                    }
                }
            }
        }
    }

    /// What becomes durable together: two thirds of what is still being checked, for which it waits a little. A
    /// transaction takes time from the checks, and a large one hardly more than a small one; and while it runs,
    /// what is left keeps the cores busy.
    async fn gather(&self, first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
        let (mut batch, mut waited) = (vec![first], Duration::ZERO);
        loop {
            while batch.len() < BATCH
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            let enough = self.coming.load(Ordering::Relaxed).saturating_mul(2) / 3;
            if batch.len() >= BATCH.min(enough) || waited >= GATHERING {
                return batch;
            }
            tokio::time::sleep(LOOK).await;
            waited = waited.saturating_add(LOOK);
        }
    }

    /// Pays the credits of the accounts that ask, as far as their hold is over.
    async fn ripen(&mut self, batch: &[Job], now: UnixMs) -> Result<(), BrokerStoreError> {
        let mut accounts: Vec<PublicKey> = batch
            .iter()
            .filter_map(|job| match job {
                Job::Call(call, _) => Some(call.caller.account),
                Job::Operate(..) => None,
            })
            .collect();
        accounts.sort_unstable();
        accounts.dedup();
        accounts.retain(|account| self.accounts.get(account).is_none_or(waits));
        for account in accounts {
            loop {
                let ripe = self.store.ripe_credits(Some(&account), now, RIPEN).await?;
                let more = ripe.len() == RIPEN as usize;
                if ripe.is_empty() {
                    break;
                }
                let (sender, _) = oneshot::channel();
                let job = Job::Operate(Operation::Ripen(ripe), sender);
                for said in self.settle(std::slice::from_ref(&job), now).await? {
                    if let Err(error) = said {
                        tracing::error!(%error, %account, "credits do not ripen");
                        return Ok(());
                    }
                }
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Decides all jobs on one state of the rows and makes their changes durable together.
    async fn settle(
        &mut self,
        jobs: &[Job],
        now: UnixMs,
    ) -> Result<Vec<Result<Said, BrokerCashierError>>, BrokerStoreError> {
        for attempt in 1.. {
            let mut sheet = self.sheet(jobs, attempt == 1).await?;
            let mut said = Vec::with_capacity(jobs.len());
            let mut changes = Vec::with_capacity(jobs.len());
            for job in jobs {
                match self.decide(job, &mut sheet, now).await? {
                    Ok((change, word)) => {
                        if !change.is_empty() {
                            change.apply(&mut sheet)?;
                            changes.push(change);
                        }
                        said.push(Ok(word));
                    }
                    Err(error) => said.push(Err(error)),
                }
            }
            if changes.is_empty() {
                return Ok(said);
            }
            steps(&said).for_each(kill::before);
            let applied = self.store.apply(&changes).await;
            self.accounts.clear();
            match applied {
                Ok(()) => {
                    steps(&said).for_each(kill::after);
                    self.remember(&changes);
                    return Ok(said);
                }
                Err(error) if error.is_stale() && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Vec::new())
    }

    fn remember(&mut self, changes: &[Change]) {
        for write in changes.iter().flat_map(|change| &change.writes) {
            if let Row::Account(row) = &*write.row {
                self.accounts.insert(row.id, write.stored());
            }
        }
    }

    /// The rows that jobs need. Where only accounts ask, those that are most likely not there, and the
    /// accounts that were written just now, are not looked for: if one is otherwise, the store refuses
    /// what was decided, and next time they are.
    async fn sheet(&self, jobs: &[Job], trust: bool) -> Result<Rows, BrokerStoreError> {
        let mut keys: Vec<_> = jobs.iter().flat_map(Job::keys).collect();
        let mut sheet = Rows::with_capacity(keys.len().saturating_mul(2));
        if trust && jobs.iter().all(|job| matches!(job, Job::Call(..))) {
            let guess = |stored: &Stored| Stored {
                guessed: true,
                ..stored.clone()
            };
            for key in jobs.iter().flat_map(Job::fresh_keys) {
                sheet.set(key, guess(&Stored::default()));
            }
            for (account, stored) in &self.accounts {
                sheet.set(RowKey::Account(*account), guess(stored));
            }
        }
        keys.retain(|key| sheet.get(key).is_none());
        self.look(&mut sheet, &keys).await?;
        Ok(sheet)
    }

    /// Adds rows as they are stored.
    async fn look(&self, sheet: &mut Rows, keys: &[RowKey]) -> Result<(), BrokerStoreError> {
        if !keys.is_empty() {
            let loaded = self.store.load(keys).await?;
            for (key, stored) in loaded.iter() {
                sheet.set(key.clone(), stored.clone());
            }
        }
        Ok(())
    }

    async fn decide(
        &self,
        job: &Job,
        sheet: &mut Rows,
        now: UnixMs,
    ) -> Result<Result<(Change, Said), BrokerCashierError>, BrokerStoreError> {
        loop {
            let rows = &*sheet;
            let decided = match job {
                Job::Call(call, _) => {
                    (self.broker.decide(rows, call, now)).map(|d| (d.change, Said::Draft(d.draft)))
                }
                Job::Operate(operation, _) => (self.broker.operate(rows, operation, now))
                    .map(|(change, done)| (change, Said::Operated(done))),
            };
            match decided {
                Ok((change, said)) => {
                    // Nothing would be written, and so nothing compared.
                    let guesses = change.trusts(sheet);
                    if guesses.is_empty() {
                        return Ok(Ok((change, said)));
                    }
                    self.look(sheet, &guesses).await?;
                }
                Err(Stop::Need(keys)) => self.look(sheet, &keys).await?,
                Err(Stop::Refused(refusal)) => {
                    return Ok(Err(BrokerCashierError::Refused(refusal)));
                }
                Err(stop @ (Stop::Early | Stop::Broken(_))) => {
                    let guesses: Vec<_> = guesses(sheet).collect();
                    if guesses.is_empty() {
                        let Stop::Broken(what) = stop else {
                            return Ok(Err(BrokerCashierError::Early));
                        };
                        tracing::error!(%what, "the books contradict themselves: run `dpay broker audit`");
                        return Ok(Err(BrokerCashierError::Broken(what)));
                    }
                    self.look(sheet, &guesses).await?;
                }
            }
        }
    }
}

/// The names of the step that makes this durable: the batch's, and those of what the broker does by itself.
fn steps(said: &[Result<Said, BrokerCashierError>]) -> impl Iterator<Item = &'static str> {
    let own = said.iter().filter_map(|said| match said {
        Ok(Said::Operated(Operated::Read { decided: false })) => Some("broker.read"),
        Ok(Said::Operated(Operated::Read { decided: true })) => Some("broker.decided"),
        Ok(Said::Operated(Operated::Settle { settled: true })) => Some("broker.settled"),
        _ => None,
    });
    std::iter::once(STEP).chain(own)
}

/// Whether an account has credits that may be due.
fn waits(account: &Stored) -> bool {
    match account.row.as_deref() {
        Some(Row::Account(row)) => !row.pending.is_zero(),
        _ => true,
    }
}

fn guesses(sheet: &Rows) -> impl Iterator<Item = RowKey> {
    let guessed = sheet.iter().filter(|(_, stored)| stored.guessed);
    guessed.map(|(key, _)| key.clone())
}

impl Job {
    fn fresh_keys(&self) -> Vec<RowKey> {
        match self {
            Job::Call(call, _) => call.fresh_keys(),
            Job::Operate(..) => Vec::new(),
        }
    }

    fn keys(&self) -> Vec<RowKey> {
        match self {
            Job::Call(call, _) => call.keys(),
            Job::Operate(operation, _) => operation.keys(),
        }
    }
}

/// Releases what was decided; a receiver that is gone has its answer at the next try.
fn answer(
    batch: Vec<Job>,
    settled: Result<Vec<Result<Said, BrokerCashierError>>, BrokerStoreError>,
) {
    let (mut said, failure) = match settled {
        Ok(said) => (said.into_iter(), None),
        Err(error) => {
            tracing::error!(%error, "a batch of requests was not made durable");
            (Vec::new().into_iter(), Some(error))
        }
    };
    for job in batch {
        let failed = || match &failure {
            Some(BrokerStoreError::Full) => BrokerCashierError::Full,
            None => BrokerCashierError::Busy,
            Some(error) if error.is_stale() => BrokerCashierError::Busy,
            Some(error) => BrokerCashierError::Store(error.to_string()),
        };
        let word = said.next().unwrap_or_else(|| Err(failed()));
        match job {
            Job::Call(_, sender) => {
                let _ = sender.send(word.and_then(|w| match w {
                    Said::Draft(draft) => Ok(draft),
                    Said::Operated(_) => Err(failed()),
                }));
            }
            Job::Operate(_, sender) => {
                let _ = sender.send(word.and_then(|w| match w {
                    Said::Operated(done) => Ok(done),
                    Said::Draft(_) => Err(failed()),
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
