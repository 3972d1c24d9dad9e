//! Channels that outlive their connections: what the gateway asks of wallet and DHT about them
//! (`docs/protocol.md` section 8).

use std::sync::Arc;

use super::purse::{Answer, Busy, Desk, Errand, Purse, warn_if_failed};
use crate::cashier::wallet::{ClosedSpend, ConflictSeen};
use crate::channel::Kept;
use crate::coin::{ChainValue, Commitment};
use crate::dht::{Watch, WatchConflict};
use crate::record::SignedRecord;

impl Purse {
    /// Watches the records of an accepted spend, if that is not done already.
    pub(super) fn watch(&self, spend: Commitment, records: Vec<SignedRecord>) {
        let Some(dht) = &self.dht else {
            return;
        };
        let mut watches = self.watches.lock();
        watches.retain(|_, watch| !watch.is_finished());
        watches.entry(spend).or_insert_with(|| {
            let _runtime = self.runtime.enter();
            Watch::start(dht.clone(), records, self.conflicts.clone())
        });
    }

    /// Closes a spend to us that is on no connection, at `last`, or at what the wallet knows if that is
    /// more, and puts the close.
    pub fn close_kept(self: &Arc<Self>, spend: Commitment, last: Option<(u32, ChainValue)>) {
        let busy = Busy::new(self);
        self.runtime.spawn(async move {
            match busy.0.wallet.close_kept(spend, last).await {
                Ok(Some(closed)) => {
                    let record = closed.close.record(&closed.holding, &closed.open);
                    busy.0.publish(spend, record).await;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, %spend, "a channel is not closed"),
            }
        });
    }

    /// A watched record has a rival: the proof is kept.
    pub fn rival_found(self: &Arc<Self>, found: WatchConflict) {
        let busy = Busy::new(self);
        let spend = found.spend;
        self.runtime.spawn(async move {
            let kept = busy.0.wallet.report_rival(spend, found.other).await;
            warn_if_failed("a proof of fraud", kept.map(|_| ()));
        });
    }

    /// Takes up what an earlier run left: puts closes that may not lie in the DHT, watches what is
    /// open, and returns that.
    pub async fn take_up_leftovers(self: &Arc<Self>) -> Vec<Commitment> {
        let Ok(open) = self.wallet.open_channels().await else {
            return Vec::new();
        };
        let ours = open.spent.iter().map(|ours| ours.spend).collect();
        warn_if_failed(
            "the end of the last run",
            self.wallet.payer_ended(ours).await,
        );
        let mut kept = Vec::new();
        for received in open.received {
            let spend = received.spend;
            if received.close.is_some() {
                self.close_kept(spend, None);
                continue;
            }
            kept.push(spend);
            if received.accepted
                && let Ok(Kept::Open(open)) = self.wallet.find_received(spend).await
            {
                self.watch(spend, open.records());
            }
        }
        kept
    }

    fn put_close(self: &Arc<Self>, spend: Commitment, closed: &ClosedSpend) {
        let record = closed.close.record(&closed.holding, &closed.open);
        let busy = Busy::new(self);
        self.runtime
            .spawn(async move { busy.0.publish(spend, record).await });
    }
}

impl Desk {
    pub(super) async fn run_for_kept(&mut self, errand: Errand) {
        match errand {
            Errand::TakeUp {
                channel,
                spend,
                unpaid_bytes,
                last,
            } => {
                if let Some((k, wk)) = last {
                    let noted = self.purse.wallet.payee_ticks(vec![(spend, k, wk)]).await;
                    warn_if_failed("a tick", noted);
                }
                self.take_up(channel, spend, unpaid_bytes).await;
            }
            Errand::CloseKept { spend, k, wk } => self.close_kept(spend, k, wk).await,
            Errand::Conflict { proof, role } => {
                let seen = ConflictSeen {
                    role,
                    info_hash: Some(self.info_hash),
                    peer: Some(self.peer.clone()),
                };
                let kept = self.purse.wallet.report_conflict(proof, seen).await;
                warn_if_failed("a proof of fraud", kept.map(|_| ()));
            }
            _ => {}
        }
    }

    async fn take_up(&self, channel: u32, spend: Commitment, unpaid_bytes: u64) {
        match self.purse.wallet.find_received(spend).await {
            Ok(mut kept) => {
                if let Kept::Open(open) = &mut kept {
                    open.unpaid_bytes = unpaid_bytes;
                }
                self.answer(Answer::TakenUp(channel, spend, kept));
            }
            Err(error) => tracing::warn!(%error, %spend, "a channel is not taken up"),
        }
    }

    /// Closes a spend that is on no connection, for a payer that shows a tick of it.
    async fn close_kept(&self, spend: Commitment, k: u32, wk: ChainValue) {
        match self.purse.wallet.close_kept(spend, Some((k, wk))).await {
            Ok(Some(closed)) => {
                self.answer(Answer::KeptClosed(spend, closed.close));
                self.purse.put_close(spend, &closed);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, %spend, "a channel is not closed"),
        }
    }
}
