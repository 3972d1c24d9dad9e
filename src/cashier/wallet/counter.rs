//! The broker over HTTP, as a wallet sees it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::checks::SpentCopy;
use super::door::{Account, BrokerDoor, DoorError, Queued, RedeemAnswer, Shown};
use crate::broker::RequestId as BrokerRequestId;
use crate::broker::answer::{
    AccountState, ConflictShown, ItemAnswer, Notice, ProofTaken, RefusalCode,
};
use crate::broker::spent::{Listed, SpentList};
use crate::broker::terms::Terms;
use crate::clock;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::{PublicKey, SecretKey};
use crate::http::client::{
    BrokerClient, ClientError, Evidence, KnownHolding, RecoveredPage, Times,
};
use crate::record::{FraudProof, OpenSpend, Path, RedeemPart, Slot};
use crate::units::{Units, UnixMs};
use crate::wallet::trade::Redeemed;
use crate::wallet::{PinnedBroker, RequestId};

/// One account at one broker, over HTTP.
#[derive(Debug)]
pub struct Counter {
    client: BrokerClient,
    terms: Mutex<Option<Terms>>,
    spent: Mutex<Option<SpentList>>,
}

impl Counter {
    /// The broker at `url`, held to the pinned one's key.
    ///
    /// # Errors
    /// [`DoorError::Url`].
    pub fn new(
        url: &str,
        pinned: Option<&PinnedBroker>,
        account: SecretKey,
    ) -> Result<Counter, DoorError> {
        let client = BrokerClient::new(url, pinned.map(|broker| broker.key), account)?;
        Ok(Counter {
            client,
            terms: Mutex::new(None),
            spent: Mutex::new(None),
        })
    }
}

impl From<ClientError> for DoorError {
    fn from(error: ClientError) -> DoorError {
        let text = error.to_string();
        match error {
            ClientError::Url { .. } => DoorError::Url(text),
            ClientError::Refused { refusal, .. } => DoorError::Refused(refusal.to_string()),
            ClientError::Doubtful { refusal, until, .. } => {
                let why = refusal.to_string();
                DoorError::Doubtful { why, until }
            }
            ClientError::WrongBroker { url, pinned, found } => {
                DoorError::WrongBroker { url, pinned, found }
            }
            ClientError::NotABroker { .. } | ClientError::Untrue { .. } => DoorError::Answer(text),
            other if other.is_open() => DoorError::Unreachable(text),
            _ => DoorError::Fault(text),
        }
    }
}

/// What more could be bought: balance after the bond still to be taken, and no more outstanding
/// than the bond.
fn account_of(state: &AccountState, terms: Option<&Terms>) -> Account {
    let bond_to_take = terms.map_or(Units::ZERO, |t| t.bond.saturating_sub(state.bond));
    let bond = state.bond.checked_add(bond_to_take).unwrap_or(state.bond);
    let affordable = state.balance.saturating_sub(bond_to_take);
    let allowed = bond.saturating_sub(state.outstanding);
    Account {
        balance: state.balance,
        pending: state.pending,
        bond: state.bond,
        outstanding: state.outstanding,
        withdrawable: state.withdrawable,
        is_suspended: state.suspended,
        hold_ms: terms.map(|terms| terms.hold_ms),
        buyable: if state.suspended {
            Units::ZERO
        } else {
            affordable.min(allowed)
        },
    }
}

/// An answer to one holding of a redemption, with what it proves.
fn redeemed_of(item: ItemAnswer) -> (Redeemed, Option<FraudProof>) {
    let mut proof = None;
    let outcome = match item {
        ItemAnswer::Redeemed {
            units,
            pending_until_unix_ms,
            paid,
            ..
        } => Redeemed::Credited {
            units,
            pending_until: if paid {
                UnixMs(0)
            } else {
                pending_until_unix_ms
            },
        },
        ItemAnswer::Refused(refusal) => {
            let why = refusal.to_string();
            proof = refusal.conflict.and_then(|c| proof_of(&c));
            match refusal.code {
                // Too much was presented about a slot that is contested: come again when it is decided.
                RefusalCode::TooMany => Redeemed::Waits { until: None, why },
                _ => Redeemed::Refused { why },
            }
        }
        ItemAnswer::Contested {
            holding,
            decide_after_unix_ms: decide_after,
            conflict,
        } => {
            proof = conflict.and_then(|c| proof_of(&c));
            Redeemed::Waits {
                until: Some(decide_after),
                why: format!(
                    "the broker decides between two statements about holding {holding} after {} (unix \
                     seconds)",
                    decide_after.unix_s()
                ),
            }
        }
        ItemAnswer::Presented { .. } => Redeemed::Refused {
            why: "the broker answered a redemption as if it were a presentation".to_owned(),
        },
    };
    (outcome, proof)
}

fn shown_of(item: ItemAnswer) -> Shown {
    match item {
        ItemAnswer::Presented { .. } | ItemAnswer::Redeemed { .. } => Shown::Known,
        ItemAnswer::Contested {
            holding,
            decide_after_unix_ms: decide_after,
            conflict,
        } => Shown::Contested {
            holding,
            decide_after,
            proof: conflict.and_then(|c| proof_of(&c)),
        },
        ItemAnswer::Refused(refusal) => Shown::Refused {
            why: refusal.to_string(),
            proof: refusal.conflict.and_then(|c| proof_of(&c)),
        },
    }
}

/// The proof in an answer; as the broker gave it, not verified here.
fn proof_of(conflict: &ConflictShown) -> Option<FraudProof> {
    FraudProof::decode(&hex::decode(&conflict.proof).ok()?).ok()
}

/// The receipt: 64 bytes of the broker's signature, then the text that it signed.
fn receipt_of(evidence: &Evidence) -> Vec<u8> {
    let mut receipt = evidence.signature.0.to_vec();
    receipt.extend_from_slice(&evidence.body);
    receipt
}

#[async_trait]
impl BrokerDoor for Counter {
    fn times(&self) -> &Times {
        self.client.times()
    }

    async fn meet(&self) -> Result<PinnedBroker, DoorError> {
        let info = self.client.info().await?;
        *self.terms.lock().await = Some(info.terms);
        Ok(PinnedBroker {
            key: info.broker,
            url: self.client.url().to_owned(),
        })
    }

    async fn account(&self) -> Result<Account, DoorError> {
        let state = self.client.account().await?;
        Ok(account_of(&state, self.terms.lock().await.as_ref()))
    }

    async fn purchase(
        &self,
        request: RequestId,
        coins: Vec<(Units, PublicKey)>,
    ) -> Result<Vec<CoinCertificate>, DoorError> {
        let request = BrokerRequestId(request.0);
        Ok(self.client.purchase(request, coins).await?)
    }

    async fn certify(&self, keys: Vec<PublicKey>) -> Result<Vec<PseudonymCertificate>, DoorError> {
        Ok(self.client.certify(keys).await?)
    }

    async fn redeem(
        &self,
        request: RequestId,
        holdings: Vec<(Path, RedeemPart)>,
    ) -> Result<RedeemAnswer, DoorError> {
        let request = BrokerRequestId(request.0);
        let answered = self.client.redeem(request, holdings).await?;
        let answers = answered.value.into_iter().map(redeemed_of);
        let (outcomes, proofs): (Vec<_>, Vec<_>) = answers.unzip();
        Ok(RedeemAnswer {
            outcomes,
            receipt: receipt_of(&answered.evidence),
            proofs: proofs.into_iter().flatten().collect(),
        })
    }

    async fn withdraw(
        &self,
        request: RequestId,
        units: Units,
        destination: String,
    ) -> Result<Queued, DoorError> {
        let request = BrokerRequestId(request.0);
        let answered = self.client.withdraw(request, units, &destination).await?;
        Ok(Queued {
            withdrawal: answered.value.id.to_string(),
            receipt: receipt_of(&answered.evidence),
        })
    }

    async fn payout(&self, withdrawal: String) -> Result<Option<UnixMs>, DoorError> {
        let id = withdrawal.parse().map_err(|_| {
            DoorError::Refused(format!("the withdrawal {withdrawal} has no id that is one"))
        })?;
        Ok(self.client.payout(id).await?)
    }

    async fn present(
        &self,
        items: Vec<(Path, Option<OpenSpend>)>,
    ) -> Result<Vec<Shown>, DoorError> {
        let (answers, _) = self.client.present(items).await?;
        Ok(answers.into_iter().map(shown_of).collect())
    }

    async fn holding(&self, holding: HoldingId) -> Result<KnownHolding, DoorError> {
        Ok(self.client.holding(holding).await?)
    }

    async fn proof(&self, proof: &FraudProof) -> Result<ProofTaken, DoorError> {
        Ok(self.client.proof(proof).await?)
    }

    async fn recover(&self, after: Option<String>) -> Result<RecoveredPage, DoorError> {
        Ok(self.client.recover(after).await?)
    }

    async fn notices(&self, after: u64) -> Result<(Vec<Notice>, bool), DoorError> {
        Ok(self.client.notices(after).await?)
    }

    async fn spent_list(&self) -> Result<Arc<dyn SpentCopy>, DoorError> {
        let broker = self.client.broker_key().await?;
        let mut kept = self.spent.lock().await;
        // One from a time that has not come would refuse all until then.
        let kept_one = kept.take().filter(|list| !list.is_ahead(clock::now()));
        let mut list = kept_one.unwrap_or_else(|| SpentList::new(broker));
        let refreshed = self.client.refresh_spent(&mut list).await;
        *kept = Some(list.clone());
        refreshed?;
        Ok(Arc::new(list))
    }
}

impl SpentCopy for SpentList {
    fn is_fresh(&self, now: UnixMs) -> bool {
        SpentList::is_fresh(self, now)
    }

    fn lists(&self, slot: &Slot) -> bool {
        self.lookup(slot) != Listed::No
    }

    fn contradicts(&self, slot: &Slot, c: &Commitment) -> bool {
        SpentList::contradicts(self, slot, c)
    }

    fn is_suspended(&self, key: &PublicKey) -> bool {
        SpentList::is_suspended(self, key)
    }
}
