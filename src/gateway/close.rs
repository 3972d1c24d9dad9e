//! The close of a channel: signed once its slot in the DHT was read, and put there. Right after a start there may be
//! no reading yet; the payer waits for the close meanwhile, so it is asked for until there is one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::purse::{Answer, Busy, Purse};
use super::shared::Command;
use crate::cashier::wallet::CashierError;
use crate::coin::{ChainValue, Commitment, HoldingId};
use crate::record::{ClosePart, OpenSpend};

/// Between tries to close what could not be read.
const PAUSE: Duration = Duration::from_secs(1);
/// Tries: a payer gives up 90 s after its open. The wallet's keeper closes later what is not closed then.
const TRIES: u32 = 80;

/// What is closed, at what, and who is told.
pub(super) struct Close {
    pub(super) purse: Arc<Purse>,
    pub(super) answers: mpsc::UnboundedSender<Command>,
    pub(super) channel: u32,
    pub(super) spend: Commitment,
    pub(super) at: (u32, ChainValue),
    pub(super) opened: Option<(HoldingId, Box<OpenSpend>)>,
}

impl Close {
    /// Closes at once where that can be, and else beside the connection's other errands.
    pub(super) async fn run(self) {
        match self.sign().await {
            Err(CashierError::Unread(_)) => {
                let runtime = self.purse.runtime.clone();
                drop(runtime.spawn(self.later()));
            }
            closed => self.done(closed),
        }
    }

    async fn later(self) {
        for _ in 0..TRIES {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.answers.closed() => return,
            }
            match self.sign().await {
                Err(CashierError::Unread(_)) => {}
                closed => return self.done(closed),
            }
        }
        let unread = CashierError::Unread(self.spend);
        self.done(Err(unread));
    }

    async fn sign(&self) -> Result<ClosePart, CashierError> {
        let (k, wk) = self.at;
        self.purse.wallet.close(self.spend, k, wk).await
    }

    fn done(self, closed: Result<ClosePart, CashierError>) {
        let spend = self.spend;
        let close = match closed {
            Ok(close) => close,
            Err(error) => return tracing::warn!(%error, %spend, "a channel is not closed"),
        };
        let answer = Answer::Closed(self.channel, close);
        let _ = self.answers.send(Command::Answer(Box::new(answer)));
        let Some((holding, open)) = self.opened else {
            return;
        };
        let busy = Busy::new(&self.purse);
        let record = close.record(&holding, &open);
        let put = async move { busy.0.publish(spend, record).await };
        drop(self.purse.runtime.spawn(put));
    }
}
