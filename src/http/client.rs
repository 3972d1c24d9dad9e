//! Speaks to one broker: signs every request, believes no answer without the broker's signature.
//!
//! A request about money carries an id. After any failure it is asked again with the same id, and
//! happens once whatever was lost on the way.

mod answers;
mod asking;
mod error;
mod inquiries;
mod times;

use std::time::Duration;

use tokio::sync::OnceCell;

pub use error::{ClientError, WhoseFault};
pub use inquiries::{FoundHolding, KnownHolding, RecoveredPage};
pub use times::Times;

use crate::broker::RequestId;
use crate::broker::answer::{AccountState, Answer, ItemAnswer, SpentEntry};
use crate::broker::ask::{
    self, AskAccount, AskCertificates, AskCoin, AskPresent, AskPresentItem, AskPurchase, AskRedeem,
    AskRedeemItem, AskWithdraw,
};
use crate::broker::rows::WithdrawalRow;
use crate::broker::spent::{SpentIndex, SpentList};
use crate::broker::terms::{Info, MAX_BATCH};
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::keys::{PublicKey, SecretKey, Signature};
use crate::random;
use crate::record::{OpenSpend, Path, RedeemPart, Slot};
use crate::units::Units;

/// A request that takes longer has failed; it is asked again with the same id.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// A connection that takes longer to make has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest JSON answer that is read.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Largest spent-list file that is read.
const MAX_LIST_BYTES: usize = 25 << 20;

/// An answer with what proves that the broker gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What it says.
    pub value: T,
    /// The proof.
    pub evidence: Evidence,
}

/// The bytes of a signed answer: they name account, request and day themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The envelope's JSON.
    pub body: Vec<u8>,
    /// The broker's signature over `broker::signing::answer_hash(body)`.
    pub signature: Signature,
}

/// One account at one broker.
#[derive(Debug)]
pub struct BrokerClient {
    http: reqwest::Client,
    url: String,
    pinned: Option<PublicKey>,
    broker: OnceCell<PublicKey>,
    account: SecretKey,
    ahead_ms: u64,
    times: Times,
}

impl BrokerClient {
    /// A client for the broker at `url`, of which `pinned` is the key. Without a pinned key, the
    /// first answer's key is believed from then on; keep it, and pin it the next time.
    ///
    /// # Errors
    /// [`ClientError::Url`] if this is no URL of a broker.
    pub fn new(
        url: &str,
        pinned: Option<PublicKey>,
        account: SecretKey,
    ) -> Result<Self, ClientError> {
        let wrong = |why: String| ClientError::Url {
            url: url.to_owned(),
            why,
        };
        let parsed = url::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
        let good = matches!(parsed.scheme(), "http" | "https")
            && parsed.has_host()
            && parsed.query().is_none()
            && parsed.fragment().is_none();
        if !good {
            let why = "it is not http://host:port or https://host";
            return Err(wrong(why.to_owned()));
        }
        let http = reqwest::Client::builder()
            .timeout(ANSWER_LIMIT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(BrokerClient {
            http,
            url: parsed.as_str().trim_end_matches('/').to_owned(),
            pinned,
            broker: OnceCell::new(),
            account,
            ahead_ms: 0,
            times: Times::default(),
        })
    }

    /// The same client with a clock that is ahead of the system's, for tests that let time pass.
    #[must_use]
    pub fn ahead(mut self, ahead_ms: u64) -> Self {
        self.ahead_ms = ahead_ms;
        self
    }

    /// The times under which its requests are signed.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// The account's id.
    #[must_use]
    pub fn account_id(&self) -> PublicKey {
        self.account.public()
    }

    /// Where the broker is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The broker's key: the pinned one, or the one it answered with first.
    ///
    /// # Errors
    /// [`ClientError`] if none is pinned and the broker does not answer.
    pub async fn broker_key(&self) -> Result<PublicKey, ClientError> {
        if let Some(pinned) = self.pinned {
            return Ok(pinned);
        }
        let learn = || async { Ok(self.info().await?.broker) };
        self.broker.get_or_try_init(learn).await.copied()
    }

    /// The broker's key and terms.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::WrongBroker`] if it has another key than the pinned one.
    pub async fn info(&self) -> Result<Info, ClientError> {
        let (body, signature) = self.get("/v1/info", MAX_ANSWER_BYTES).await?;
        let info: Info = self.read(&body)?;
        let wanted = self.pinned.or(self.broker.get().copied());
        if let Some(pinned) = wanted.filter(|key| *key != info.broker) {
            return Err(ClientError::WrongBroker {
                url: self.url.clone(),
                pinned,
                found: info.broker,
            });
        }
        self.check_signature(&info.broker, &body, signature)?;
        Ok(info)
    }

    /// The account's money.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn account(&self) -> Result<AccountState, ClientError> {
        let id = RequestId(random::bytes());
        match self.ask(ask::ACCOUNT, id, &AskAccount {}).await?.value {
            Answer::Account { account } => Ok(account),
            _ => Err(self.untrue("it answers something else than was asked")),
        }
    }

    /// Buys coins: value and first holder's key each, at most 32. The same id buys once.
    ///
    /// # Errors
    /// [`ClientError`]; a coin that is not what was ordered is the broker's fault.
    pub async fn purchase(
        &self,
        request_id: RequestId,
        coins: Vec<(Units, PublicKey)>,
    ) -> Result<Vec<CoinCertificate>, ClientError> {
        let wanted = coins.iter().map(|(value, holder)| AskCoin {
            value: *value,
            holder: *holder,
        });
        let ask = AskPurchase {
            coins: wanted.collect(),
        };
        let answered = self.ask(ask::PURCHASE, request_id, &ask).await?;
        let Answer::Purchase { coins: sold, .. } = answered.value else {
            return Err(self.untrue("it answers something else than was asked"));
        };
        self.coins(&coins, &sold).await
    }

    /// Has holder keys certified, any number.
    ///
    /// # Errors
    /// [`ClientError`]; a certificate that is not what was asked for is the broker's fault.
    pub async fn certify(
        &self,
        holders: Vec<PublicKey>,
    ) -> Result<Vec<PseudonymCertificate>, ClientError> {
        let mut all = Vec::with_capacity(holders.len());
        for holders in holders.chunks(MAX_BATCH) {
            let id = RequestId(random::bytes());
            let ask = AskCertificates {
                holders: holders.to_vec(),
            };
            match self.ask(ask::CERTIFICATES, id, &ask).await?.value {
                Answer::Certificates { certificates } => {
                    all.extend(self.pseudonyms(holders, &certificates).await?);
                }
                _ => return Err(self.untrue("it answers something else than was asked")),
            }
        }
        Ok(all)
    }

    /// Redeems holdings, at most 32, each answered by itself in the order given. The same id
    /// redeems once, and so does the same statement under any id.
    ///
    /// # Errors
    /// [`ClientError`]; a refused item is no error but part of the answer.
    pub async fn redeem(
        &self,
        request_id: RequestId,
        items: Vec<(Path, RedeemPart)>,
    ) -> Result<Answered<Vec<ItemAnswer>>, ClientError> {
        let ask = AskRedeem {
            items: items
                .iter()
                .map(|(path, part)| AskRedeemItem {
                    path: path.encode(),
                    redeem: part.encode().to_vec(),
                })
                .collect(),
        };
        let answered = self.ask(ask::REDEEM, request_id, &ask).await?;
        let Answer::Redeem { items: done, .. } = answered.value else {
            return Err(self.untrue("it answers something else than was asked"));
        };
        let done = self.redeemed(&items, done)?;
        Ok(Answered {
            value: done,
            evidence: answered.evidence,
        })
    }

    /// Presents paths, each with the open spend that follows it if there is one; any number.
    ///
    /// # Errors
    /// [`ClientError`]; a refused item is no error but part of the answer. One answer comes for each
    /// path, one evidence for each 32.
    pub async fn present(
        &self,
        items: Vec<(Path, Option<OpenSpend>)>,
    ) -> Result<(Vec<ItemAnswer>, Vec<Evidence>), ClientError> {
        let (mut all, mut evidence) = (Vec::with_capacity(items.len()), Vec::new());
        for items in items.chunks(MAX_BATCH) {
            let ask = AskPresent {
                items: items
                    .iter()
                    .map(|(path, open)| AskPresentItem {
                        path: path.encode(),
                        open: open.map_or_else(Vec::new, |o| o.encode().to_vec()),
                    })
                    .collect(),
            };
            let id = RequestId(random::bytes());
            let answered = self.ask(ask::PRESENT, id, &ask).await?;
            match answered.value {
                Answer::Present { items: done } if done.len() == items.len() => all.extend(done),
                _ => return Err(self.untrue("it answers something else than was asked")),
            }
            evidence.push(answered.evidence);
        }
        Ok((all, evidence))
    }

    /// Queues a withdrawal. The same id withdraws once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn withdraw(
        &self,
        request_id: RequestId,
        units: Units,
        destination: &str,
    ) -> Result<Answered<WithdrawalRow>, ClientError> {
        let ask = AskWithdraw {
            units,
            destination: destination.to_owned(),
        };
        let answered = self.ask(ask::WITHDRAW, request_id, &ask).await?;
        match answered.value {
            Answer::Withdraw { withdrawal, .. }
                if withdrawal.units == units && withdrawal.destination == destination =>
            {
                Ok(Answered {
                    value: withdrawal,
                    evidence: answered.evidence,
                })
            }
            _ => Err(self.untrue("it answers something else than was asked")),
        }
    }

    /// Brings a copy of the spent list and the suspended keys up to date. After a failure the copy
    /// is as old as before and what was fetched is kept for the next try.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn refresh_spent(&self, list: &mut SpentList) -> Result<(), ClientError> {
        let broker = self.broker_key().await?;
        let (bytes, _) = self.get("/v1/spent", MAX_LIST_BYTES).await?;
        let untrue = |e: crate::broker::spent::SpentError| self.untrue(&e.to_string());
        let index = SpentIndex::decode(&broker, &bytes).map_err(untrue)?;
        for hour in list.missing(&index) {
            let (bytes, _) = self
                .get(&format!("/v1/spent/{hour}"), MAX_LIST_BYTES)
                .await?;
            list.take_chunk(hour, &index, &bytes).map_err(untrue)?;
        }
        let (bytes, _) = self.get("/v1/suspended", MAX_LIST_BYTES).await?;
        list.take_suspended(&bytes).map_err(untrue)?;
        list.complete(&index).map_err(untrue)
    }

    /// The full entry of a slot on the spent list, for when its first bytes are listed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn spent_entry(&self, slot: &Slot) -> Result<SpentEntry, ClientError> {
        let broker = self.broker_key().await?;
        let route = format!("/v1/spent/entry/{slot}");
        let (body, signature) = self.get(&route, MAX_ANSWER_BYTES).await?;
        self.check_signature(&broker, &body, signature)?;
        let entry: SpentEntry = self.read(&body)?;
        if entry.slot != *slot || entry.broker != broker {
            return Err(self.untrue("it answers something else than was asked"));
        }
        Ok(entry)
    }
}
