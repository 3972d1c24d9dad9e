//! The spend of a channel: made beside the connection's other errands, as it may wait for a reading of
//! the DHT.

use tokio::sync::mpsc;

use super::purse::{Answer, Busy, warn_if_failed};
use super::shared::Command;
use crate::coin::{HoldingId, PseudonymCertificate, PublicKey};
use crate::units::InfoHash;

/// What is spent, to whom, and who is told.
pub(super) struct Commit {
    pub(super) busy: Busy,
    pub(super) answers: mpsc::UnboundedSender<Command>,
    pub(super) channel: u32,
    pub(super) holding: HoldingId,
    pub(super) payee: PublicKey,
    pub(super) certificate: PseudonymCertificate,
    pub(super) info_hash: InfoHash,
    pub(super) peer: String,
}

impl Commit {
    pub(super) async fn run(self) {
        let (wallet, holding) = (&self.busy.0.wallet, self.holding);
        let (payee, certificate) = (self.payee, self.certificate);
        let commit = wallet.commit(holding, payee, certificate, self.info_hash, self.peer);
        let mut commit = std::pin::pin!(commit);
        let committed = tokio::select! {
            committed = &mut commit => committed,
            () = self.answers.closed() => {
                // The connection is gone: what is not signed yet need not be.
                warn_if_failed("a release", wallet.release(holding).await);
                commit.await
            }
        };
        let (answer, spend) = match committed {
            Ok((open, chain)) => {
                let spend = open.commitment(&holding);
                let answer = Answer::OpenDurable(self.channel, holding, Box::new(open), chain);
                (answer, Some(spend))
            }
            Err(error) => {
                tracing::warn!(%error, "a holding could not be spent");
                (Answer::CommitFailed(self.channel), None)
            }
        };
        let _ = self.answers.send(Command::Answer(Box::new(answer)));
        if let Some(spend) = spend.filter(|_| self.answers.is_closed()) {
            warn_if_failed("an end", wallet.payer_ended(vec![spend]).await);
        }
    }
}
