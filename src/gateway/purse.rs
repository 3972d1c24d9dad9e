//! Errands for the wallet and the DHT, run on the main runtime, so that the gateway's thread waits
//! for neither. Each connection has one worker that does its errands in order; only what asks the
//! DHT runs beside it, as that takes a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::close::Close;
use super::commit::Commit;
use super::shared::Command;
use crate::cashier::wallet::{
    CashierError, ConflictRole, ReserveRequest, SpentCheck, WalletHandle,
};
use crate::channel::{FreeReason, Kept, NoReserve, Recalled, Reserved};
use crate::coin::{Chain, ChainValue, Commitment, HoldingId, PseudonymCertificate, PublicKey};
use crate::dht::{Acceptance, DhtNode, Put, Watch, WatchConflict};
use crate::record::{ClosePart, Doubt, Holding, OpenSpend, Path, SignedRecord, Verdict};
use crate::units::InfoHash;
use crate::wallet::WalletError;
use crate::wire::message::RefuseReason;

/// How long a recorded open waits for a fresh spent list before it is undecided.
const LIST_TRIES: u32 = 20;
/// Between looks whether the spent list is fresh.
const LIST_PAUSE: Duration = Duration::from_secs(2);
/// How often a close is put until enough nodes take it.
const PUT_TRIES: u32 = 5;
/// Between these.
const PUT_PAUSE: Duration = Duration::from_secs(1);

/// What payment needs.
#[derive(Clone, Debug)]
pub struct Payments {
    /// The money.
    pub wallet: WalletHandle,
    /// Where spends are recorded; without it nothing is ever accepted from payers.
    pub dht: Option<DhtNode>,
}

/// Something for the wallet or the DHT to do.
#[derive(Debug)]
pub enum Errand {
    Reserve {
        channel: u32,
        request: ReserveRequest,
    },
    Commit {
        channel: u32,
        holding: HoldingId,
        payee: PublicKey,
        certificate: PseudonymCertificate,
    },
    Release(HoldingId),
    PayerTicks(Vec<(Commitment, u32)>),
    PayerClosed(Commitment, ClosePart),
    PayerEnded(Commitment),
    PayerResumed(Commitment),
    Recall,
    Check {
        channel: u32,
        holding: Holding,
        path: Box<Path>,
    },
    NeedKey(u32),
    KeyUnused(u32),
    RecordOpen {
        channel: u32,
        path: Box<Path>,
        open: Box<OpenSpend>,
    },
    Accept {
        channel: u32,
        records: Vec<SignedRecord>,
        spend: Commitment,
    },
    Close {
        channel: u32,
        spend: Commitment,
        k: u32,
        wk: ChainValue,
        opened: Option<(HoldingId, Box<OpenSpend>)>,
    },
    TakeUp {
        channel: u32,
        spend: Commitment,
        unpaid_bytes: u64,
        /// A tick that the wallet may not have heard of yet.
        last: Option<(u32, ChainValue)>,
    },
    CloseKept {
        spend: Commitment,
        k: u32,
        wk: ChainValue,
    },
    Conflict {
        proof: Vec<u8>,
        role: ConflictRole,
    },
}

/// What came of an errand.
#[derive(Debug)]
pub enum Answer {
    Reserved(u32, Result<Box<Reserved>, NoReserve>),
    OpenDurable(u32, HoldingId, Box<OpenSpend>, Chain),
    CommitFailed(u32, FreeReason),
    Checked(u32, Result<(), RefuseReason>),
    Key(u32, u32, PseudonymCertificate),
    NoKey(u32),
    Recorded(u32, Result<(), RefuseReason>),
    Judged {
        channel: u32,
        outcome: Box<Acceptance>,
    },
    Closed(u32, ClosePart),
    Recalled(Vec<Recalled>),
    TakenUp(u32, Commitment, Kept),
    KeptClosed(Commitment, ClosePart),
}

/// The wallet and the DHT, as the gateway uses them.
pub struct Purse {
    pub wallet: WalletHandle,
    pub(super) dht: Option<DhtNode>,
    pub runtime: Handle,
    pub(super) watches: Mutex<HashMap<Commitment, Watch>>,
    pub(super) conflicts: mpsc::UnboundedSender<WatchConflict>,
    busy: AtomicUsize,
}

/// Counts as busy while it lives.
pub(super) struct Busy(pub(super) Arc<Purse>);

impl Busy {
    pub(super) fn new(purse: &Arc<Purse>) -> Busy {
        purse.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(purse))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where one connection sends its errands.
#[derive(Clone)]
pub struct Worker {
    errands: mpsc::UnboundedSender<(Errand, BusyMark)>,
    purse: Arc<Purse>,
}

struct BusyMark(#[expect(dead_code, reason = "held until the errand is done")] Busy);

impl Worker {
    /// Hands an errand on; never blocks.
    pub fn send(&self, errand: Errand) {
        let mark = BusyMark(Busy::new(&self.purse));
        let _ = self.errands.send((errand, mark));
    }
}

impl Purse {
    /// Conflicts that the watches find go to `conflicts`.
    #[must_use]
    pub fn new(
        payments: Payments,
        runtime: Handle,
        conflicts: mpsc::UnboundedSender<WatchConflict>,
    ) -> Arc<Purse> {
        Arc::new(Purse {
            wallet: payments.wallet,
            dht: payments.dht,
            runtime,
            watches: Mutex::default(),
            conflicts,
            busy: AtomicUsize::new(0),
        })
    }

    /// Whether nothing is on its way to wallet or DHT.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Acquire) == 0
    }

    /// A worker for one connection.
    #[must_use]
    pub fn worker(
        self: &Arc<Self>,
        info_hash: InfoHash,
        peer: String,
        answers: mpsc::UnboundedSender<Command>,
    ) -> Worker {
        let (errands, mut inbox) = mpsc::unbounded_channel::<(Errand, BusyMark)>();
        let desk = Desk {
            purse: Arc::clone(self),
            info_hash,
            peer,
            answers,
        };
        self.runtime.spawn(async move {
            let mut desk = desk;
            while let Some((errand, _busy)) = inbox.recv().await {
                desk.run(errand).await;
            }
        });
        Worker {
            errands,
            purse: Arc::clone(self),
        }
    }

    /// Notes ticks of all connections.
    pub fn note_ticks(
        self: &Arc<Self>,
        paid: Vec<(Commitment, u32)>,
        earned: Vec<(Commitment, u32, ChainValue)>,
    ) {
        let busy = Busy::new(self);
        let wallet = self.wallet.clone();
        self.runtime.spawn(async move {
            let _busy = busy;
            let noted = if paid.is_empty() {
                Ok(())
            } else {
                wallet.payer_ticks(paid).await
            };
            let noted = if earned.is_empty() {
                noted
            } else {
                wallet.payee_ticks(earned).await
            };
            if let Err(error) = noted {
                tracing::warn!(%error, "ticks are not noted");
            }
        });
    }

    /// Judges a spend in the DHT and watches it once it is accepted.
    async fn judge(&self, records: Vec<SignedRecord>, spend: Commitment) -> Acceptance {
        let Some(dht) = &self.dht else {
            return nobody_answered();
        };
        let outcome = dht.accept(records.clone()).await;
        if matches!(outcome.verdict, Verdict::Accepted) {
            warn_if_failed("an acceptance", self.wallet.accepted(spend).await);
            self.watch(spend, records);
        }
        outcome
    }

    /// Puts a close until nodes took it, and notes so. Its payer reads it back, who loses if it is not kept; the
    /// wallet's keeper puts it again each hour where something was earned.
    pub(super) async fn publish(&self, spend: Commitment, record: SignedRecord) {
        // From now on the wallet's keeper reads its records and puts them again.
        self.watches.lock().remove(&spend);
        let Some(dht) = &self.dht else {
            return;
        };
        for _ in 0..PUT_TRIES {
            match dht.put(record.clone()).await {
                Put::Taken(_) => {
                    warn_if_failed("a close that was put", self.wallet.record_put(spend).await);
                    return;
                }
                Put::SlotTaken => return,
                Put::Nowhere => tokio::time::sleep(PUT_PAUSE).await,
            }
        }
    }
}

pub(super) fn warn_if_failed(what: &str, outcome: Result<(), CashierError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "the wallet did not note {what}");
    }
}

/// One connection's errands.
pub(super) struct Desk {
    pub(super) purse: Arc<Purse>,
    pub(super) info_hash: InfoHash,
    pub(super) peer: String,
    answers: mpsc::UnboundedSender<Command>,
}

impl Desk {
    pub(super) fn answer(&self, answer: Answer) {
        let _ = self.answers.send(Command::Answer(Box::new(answer)));
    }

    async fn run(&mut self, errand: Errand) {
        let wallet = &self.purse.wallet;
        match errand {
            Errand::Reserve { channel, request } => {
                let reserved = wallet.reserve(request).await;
                self.answer(Answer::Reserved(channel, reserved.map(Box::new)));
            }
            Errand::Commit {
                channel,
                holding,
                payee,
                certificate,
            } => {
                let commit = Commit {
                    busy: Busy::new(&self.purse),
                    answers: self.answers.clone(),
                    channel,
                    holding,
                    payee,
                    certificate,
                    info_hash: self.info_hash,
                    peer: self.peer.clone(),
                };
                self.purse.runtime.spawn(commit.run());
            }
            Errand::Release(holding) => {
                warn_if_failed("a release", wallet.release(holding).await);
            }
            Errand::PayerTicks(ticks) => {
                warn_if_failed("ticks sent", wallet.payer_ticks(ticks).await);
            }
            Errand::PayerClosed(spend, close) => {
                warn_if_failed("a close", wallet.payer_closed(spend, close).await);
            }
            Errand::PayerEnded(spend) => {
                warn_if_failed("a channel's end", wallet.payer_ended(vec![spend]).await);
            }
            Errand::PayerResumed(spend) => {
                warn_if_failed("a resumed channel", wallet.payer_resumed(spend).await);
            }
            Errand::Recall => {
                let recalled = wallet.recall(self.info_hash, self.peer.clone()).await;
                self.answer(Answer::Recalled(recalled.unwrap_or_default()));
            }
            other => self.run_for_payee(other).await,
        }
    }

    async fn run_for_payee(&mut self, errand: Errand) {
        let wallet = &self.purse.wallet;
        match errand {
            Errand::Check {
                channel,
                holding,
                path,
            } => {
                let checked = wallet.check(holding, *path).await;
                self.answer(Answer::Checked(channel, checked.map(|_| ())));
            }
            Errand::NeedKey(channel) => match wallet.payee_key().await {
                Ok((index, certificate)) => {
                    self.answer(Answer::Key(channel, index, certificate));
                }
                Err(error) => {
                    tracing::warn!(%error, "no key for a payer");
                    self.answer(Answer::NoKey(channel));
                }
            },
            Errand::KeyUnused(index) => {
                warn_if_failed("an unused key", wallet.key_unused(index).await);
            }
            Errand::RecordOpen {
                channel,
                path,
                open,
            } => {
                let (info_hash, peer) = (self.info_hash, self.peer.clone());
                let recorded = wallet.record_open(*path, *open, info_hash, peer).await;
                let recorded = recorded.map_err(|error| why_refused(&error));
                self.answer(Answer::Recorded(channel, recorded));
            }
            Errand::Accept {
                channel,
                records,
                spend,
            } => {
                let purse = Arc::clone(&self.purse);
                let answers = self.answers.clone();
                self.purse.runtime.spawn(async move {
                    let outcome = match is_cleared(&purse.wallet, spend, &answers).await {
                        true => Busy::new(&purse).0.judge(records, spend).await,
                        false => nobody_answered(),
                    };
                    let outcome = Box::new(outcome);
                    let answer = Answer::Judged { channel, outcome };
                    let _ = answers.send(Command::Answer(Box::new(answer)));
                });
            }
            Errand::Close {
                channel,
                spend,
                k,
                wk,
                opened,
            } => {
                let close = Close {
                    purse: Arc::clone(&self.purse),
                    answers: self.answers.clone(),
                    channel,
                    spend,
                    at: (k, wk),
                    opened,
                };
                close.run().await;
            }
            other => self.run_for_kept(other).await,
        }
    }
}

/// Whether a copy of the spent list that is fresh has nothing against a recorded spend; that is waited for, as long
/// as somebody wants to know.
async fn is_cleared(
    wallet: &WalletHandle,
    spend: Commitment,
    answers: &mpsc::UnboundedSender<Command>,
) -> bool {
    for _ in 0..LIST_TRIES {
        match wallet.listed(spend).await {
            Ok(SpentCheck::Clear) => return true,
            Ok(SpentCheck::ProvisionalOnly) => {}
            Err(reason) => {
                tracing::info!(%spend, reason = reason.word(), "a spend is not accepted");
                return false;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LIST_PAUSE) => {}
            () = answers.closed() => return false,
        }
    }
    tracing::warn!(%spend, "a spend is not accepted: no copy of the broker's spent list is fresh");
    false
}

/// What is said of a spend that is not asked about in the DHT: as if no node had answered.
fn nobody_answered() -> Acceptance {
    let why = Doubt::TooFewAnswers {
        place: 0,
        answers: 0,
        wanted: 1,
    };
    Acceptance {
        verdict: Verdict::Undecided { why },
        per_record: Vec::new(),
        conflict: None,
        puts: 0,
        gets: 0,
        elapsed_ms: 0,
    }
}

fn why_refused(error: &CashierError) -> RefuseReason {
    tracing::warn!(%error, "an open is not recorded");
    match error {
        CashierError::Wallet(WalletError::OpenedBefore(_)) => RefuseReason::Seen,
        _ => RefuseReason::Busy,
    }
}
