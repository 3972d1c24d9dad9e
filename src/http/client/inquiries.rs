//! What a wallet asks beside its money: what became of a holding, what it forgot, what happened to it.

use super::{BrokerClient, ClientError};
use crate::broker::answer::{
    Answer, CreditShown, HoldingFound, HoldingShown, HoldingStatus, KeyFound, Notice, ProofTaken,
};
use crate::broker::ask::{self, AskHolding, AskNotices, AskPayout, AskProof, AskRecover, MAX_PAGE};
use crate::broker::{RequestId, WithdrawalId};
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::random;
use crate::record::{ClosePart, FraudProof, MAX_LINKS_REDEEM, OpenSpend, Path, RedeemPart};
use crate::units::UnixMs;

/// What the broker knows about a holding of this account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHolding {
    /// The holding.
    pub id: HoldingId,
    /// How far it got.
    pub state: HoldingStatus,
    /// Commitment of what stands in its spend slot.
    pub c: Option<Commitment>,
    /// The spend that stands in its spend slot. The parts are as they were presented: verified by the
    /// broker and not here.
    pub open: Option<OpenSpend>,
    /// Its close, once the broker knows it.
    pub close: Option<ClosePart>,
    /// The redeem that stands in its spend slot.
    pub redeem: Option<RedeemPart>,
    /// When the statement was first presented.
    pub since: Option<UnixMs>,
    /// When the broker can decide at the earliest, while it is contested.
    pub decide_after: Option<UnixMs>,
    /// What it brought this account.
    pub credit: Option<CreditShown>,
}

/// A holding under one of the account's keys, found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundHolding {
    /// The path that proves it; verified.
    pub path: Path,
    /// What is known about it.
    pub known: KnownHolding,
}

/// One page of what the broker knows of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredPage {
    /// The account's holder keys, with their certificates unless it is suspended.
    pub keys: Vec<(PublicKey, Option<PseudonymCertificate>)>,
    /// Coins it bought and about which nothing was presented.
    pub coins: Vec<CoinCertificate>,
    /// Holdings under its keys that the broker knows a path to.
    pub holdings: Vec<FoundHolding>,
    /// What to ask for after this page; none: it was the last one.
    pub next: Option<String>,
}

impl BrokerClient {
    /// What the broker knows about a holding whose key this account holds, such as its close.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn holding(&self, holding: HoldingId) -> Result<KnownHolding, ClientError> {
        let ask = AskHolding { holding };
        match self.ask(ask::HOLDING, fresh(), &ask).await?.value {
            Answer::Holding { holding: shown } if shown.id == holding => self.known(shown),
            _ => Err(self.untrue("it answers something else than was asked")),
        }
    }

    /// Submits a proof of fraud, about whomever.
    ///
    /// # Errors
    /// [`ClientError`]; a proof that does not hold, or is of another broker, is refused.
    pub async fn proof(&self, proof: &FraudProof) -> Result<ProofTaken, ClientError> {
        let ask = AskProof {
            proof: proof.encode(),
        };
        match self.ask(ask::PROOF, fresh(), &ask).await?.value {
            Answer::Proof { proof: taken } if taken.key == proof.key() => Ok(taken),
            _ => Err(self.untrue("it answers something else than was asked")),
        }
    }

    /// One page of all that the broker knows of this account: begin with `None`, go on with what the
    /// page says, until it says nothing.
    ///
    /// # Errors
    /// [`ClientError`]; a certificate or path that does not hold is the broker's fault.
    pub async fn recover(&self, after: Option<String>) -> Result<RecoveredPage, ClientError> {
        let ask = AskRecover {
            after,
            limit: MAX_PAGE,
        };
        let Answer::Recover { page } = self.ask(ask::RECOVER, fresh(), &ask).await?.value else {
            return Err(self.untrue("it answers something else than was asked"));
        };
        if page.next.is_some() && page.next == ask.after {
            return Err(self.untrue("its pages do not end"));
        }
        let broker = self.broker_key().await?;
        let keys = page.keys.into_iter().map(|k| self.found_key(&broker, k));
        let coins = page.coins.iter().map(|text| {
            let coin = bytes(text).and_then(|b| CoinCertificate::decode(&b).ok());
            coin.filter(|coin| coin.check(&|key| *key == broker, None).is_ok())
                .ok_or_else(|| self.untrue("a coin it names is not good"))
        });
        let holdings = page
            .holdings
            .into_iter()
            .map(|h| self.found_holding(&broker, h));
        Ok(RecoveredPage {
            keys: keys.collect::<Result<_, _>>()?,
            coins: coins.collect::<Result<_, _>>()?,
            holdings: holdings.collect::<Result<_, _>>()?,
            next: page.next,
        })
    }

    /// What happened to this account after the notice of this number (0: from the first one), and
    /// whether there is more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn notices(&self, after: u64) -> Result<(Vec<Notice>, bool), ClientError> {
        let ask = AskNotices {
            after,
            limit: MAX_PAGE,
        };
        let Answer::Notices { notices, more } = self.ask(ask::NOTICES, fresh(), &ask).await?.value
        else {
            return Err(self.untrue("it answers something else than was asked"));
        };
        let numbers = notices.iter().map(|n| Some(n.number));
        let in_order = (1..).map(|n| after.checked_add(n)).zip(numbers);
        if in_order.into_iter().any(|(wanted, got)| wanted != got) || more && notices.is_empty() {
            return Err(self.untrue("its notices are not numbered in order"));
        }
        Ok((notices, more))
    }

    /// When a withdrawal of this account was paid out, if it was.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn payout(&self, id: WithdrawalId) -> Result<Option<UnixMs>, ClientError> {
        let ask = AskPayout { withdrawal: id };
        match self.ask(ask::PAYOUT, fresh(), &ask).await?.value {
            Answer::Payout { withdrawal } if withdrawal.id == id => Ok(withdrawal.paid),
            _ => Err(self.untrue("it answers something else than was asked")),
        }
    }

    fn found_key(
        &self,
        broker: &PublicKey,
        found: KeyFound,
    ) -> Result<(PublicKey, Option<PseudonymCertificate>), ClientError> {
        let Some(text) = &found.certificate else {
            return Ok((found.key, None));
        };
        let certificate = bytes(text).and_then(|b| PseudonymCertificate::decode(&b).ok());
        certificate
            .filter(|c| c.broker == *broker && c.holder == found.key && c.verify())
            .map(|c| (found.key, Some(c)))
            .ok_or_else(|| self.untrue("a certificate it issued is not good"))
    }

    fn found_holding(
        &self,
        broker: &PublicKey,
        found: HoldingFound,
    ) -> Result<FoundHolding, ClientError> {
        let accepts = |key: &PublicKey| key == broker;
        let path = bytes(&found.path)
            .and_then(|b| Path::decode_verified(&b, MAX_LINKS_REDEEM, &accepts, None).ok())
            .filter(|(_, holding)| holding.id == found.holding.id);
        let Some((path, _)) = path else {
            return Err(self.untrue("a path it names does not prove its holding"));
        };
        Ok(FoundHolding {
            path,
            known: self.known(found.holding)?,
        })
    }

    fn known(&self, shown: HoldingShown) -> Result<KnownHolding, ClientError> {
        let open = self.part(shown.open.as_ref(), |b| OpenSpend::decode(b).ok())?;
        let close = self.part(shown.close.as_ref(), |b| ClosePart::decode(b).ok())?;
        let redeem = self.part(shown.redeem.as_ref(), |b| RedeemPart::decode(b).ok())?;
        Ok(KnownHolding {
            id: shown.id,
            state: shown.state,
            c: shown.c,
            open,
            close,
            redeem,
            since: shown.since_unix_ms,
            decide_after: shown.decide_after_unix_ms,
            credit: shown.credit,
        })
    }

    fn part<T>(
        &self,
        text: Option<&String>,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, ClientError> {
        let Some(text) = text else {
            return Ok(None);
        };
        let part = bytes(text).and_then(|b| decode(&b));
        part.map(Some)
            .ok_or_else(|| self.untrue("a statement it shows is none"))
    }
}

fn fresh() -> RequestId {
    RequestId(random::bytes())
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok()
}
