//! The broker over HTTP, as a wallet sees it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::checks::SpentCopy;
use super::door::{Account, BrokerDoor, DoorError};
use crate::broker::RequestId as BrokerRequestId;
use crate::broker::answer::{AccountState, ItemAnswer};
use crate::broker::spent::{Listed, SpentList};
use crate::broker::terms::Terms;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::Commitment;
use crate::coin::keys::{PublicKey, SecretKey};
use crate::http::client::{BrokerClient, ClientError};
use crate::record::{Path, RedeemPart, Slot};
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
            ClientError::WrongBroker { url, pinned, found } => {
                DoorError::WrongBroker { url, pinned, found }
            }
            other if other.is_open() && !matches!(other, ClientError::Untrue { .. }) => {
                DoorError::Unreachable(text)
            }
            _ => DoorError::Answer(text),
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
        buyable: if state.suspended {
            Units::ZERO
        } else {
            affordable.min(allowed)
        },
    }
}

fn redeemed_of(item: ItemAnswer) -> Redeemed {
    match item {
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
        ItemAnswer::Refused(refusal) => Redeemed::Refused {
            why: refusal.to_string(),
        },
        ItemAnswer::Presented { .. } => Redeemed::Refused {
            why: "the broker answered a redemption as if it were a presentation".to_owned(),
        },
    }
}

#[async_trait]
impl BrokerDoor for Counter {
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
    ) -> Result<(Vec<Redeemed>, Vec<u8>), DoorError> {
        let request = BrokerRequestId(request.0);
        let answered = self.client.redeem(request, holdings).await?;
        let outcomes = answered.value.into_iter().map(redeemed_of).collect();
        // The receipt: 64 bytes of the broker's signature, then the text that it signed.
        let mut receipt = answered.evidence.signature.0.to_vec();
        receipt.extend_from_slice(&answered.evidence.body);
        Ok((outcomes, receipt))
    }

    async fn spent_list(&self) -> Result<Arc<dyn SpentCopy>, DoorError> {
        let broker = self.client.broker_key().await?;
        let mut kept = self.spent.lock().await;
        let mut list = kept.take().unwrap_or_else(|| SpentList::new(broker));
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
