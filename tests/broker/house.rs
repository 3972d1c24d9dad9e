//! A broker in a temporary home, and people with accounts there.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dpay::broker::answer::ItemAnswer;
use dpay::broker::audit::{AuditReport, Auditor};
use dpay::broker::{Broker, Operation, RequestId, Terms};
use dpay::cashier::broker::Clock;
use dpay::cashier::broker::rounds::Referee;
use dpay::clock;
use dpay::coin::{
    Chain, ChainValue, CoinCertificate, PseudonymCertificate, PublicKey, RecordKey, SecretKey,
};
use dpay::http::broker::{BrokerServer, RateLimit};
use dpay::http::client::BrokerClient;
use dpay::record::{ClosePart, Link, OpenSpend, Path, RedeemPart, Role};
use dpay::store::broker::{BrokerHome, BrokerStore, Identity, SqliteBrokerStore, SqliteLimits};
use dpay::units::Units;
use tempfile::TempDir;

pub const HOLD_MS: u64 = 172_800_000;

/// A broker that runs.
pub struct House {
    pub dir: TempDir,
    pub server: BrokerServer,
    pub store: SqliteBrokerStore,
    ahead_ms: Arc<AtomicU64>,
    terms: Terms,
    referee: Option<Referee>,
}

impl House {
    pub async fn open() -> House {
        let terms = Terms {
            bond: Units(1_000),
            ..Terms::default()
        };
        House::with(terms, SqliteLimits::default(), RateLimit::default()).await
    }

    pub async fn with(terms: Terms, limits: SqliteLimits, limit: RateLimit) -> House {
        let dir = tempfile::tempdir().unwrap();
        let ahead_ms = Arc::new(AtomicU64::new(0));
        let (server, store) = start(dir.path(), &terms, limits, limit, &ahead_ms, None).await;
        House {
            dir,
            server,
            store,
            ahead_ms,
            terms,
            referee: None,
        }
    }

    /// Stops the broker and starts it again on the same files.
    pub async fn restart(self) -> House {
        self.restart_with(None).await
    }

    /// The same, with or without a DHT from now on.
    pub async fn restart_with(self, referee: Option<Referee>) -> House {
        self.server.stop().await;
        self.store.close().await;
        let none = SqliteLimits::default();
        let limit = RateLimit::default();
        let (home, terms) = (self.dir.path(), &self.terms);
        let judge = referee.clone();
        let (server, store) = start(home, terms, none, limit, &self.ahead_ms, judge).await;
        House {
            referee,
            server,
            store,
            ..self
        }
    }

    /// A second broker process on the same files.
    pub async fn twin(&self) -> BrokerServer {
        let (none, limit) = (SqliteLimits::default(), RateLimit::default());
        let (home, terms, referee) = (self.dir.path(), &self.terms, self.referee.clone());
        start(home, terms, none, limit, &self.ahead_ms, referee)
            .await
            .0
    }

    /// Lets time pass for the broker, and for the people made from now on. Others keep their time: less
    /// than ten minutes in all, or the broker refuses them.
    pub fn pass_ms(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn key(&self) -> SecretKey {
        BrokerHome::open(self.dir.path()).unwrap().key().clone()
    }

    pub async fn deposit(&self, who: &Person, units: u64, reference: &str) {
        let operation = Operation::Deposit {
            account: who.client.account_id(),
            units: Units(units),
            reference: reference.to_owned(),
        };
        self.server.cashier().operate(operation).await.unwrap();
    }

    pub async fn audit(&self) -> AuditReport {
        let mut auditor = Auditor::default();
        self.store.audit(&mut auditor).await.unwrap();
        auditor.finish()
    }

    pub fn person(&self, n: u8) -> Person {
        let ahead_ms = self.ahead_ms.load(Ordering::SeqCst);
        let person = Person::at(&self.server.url(), Some(self.key().public()), n);
        Person {
            client: person.client.ahead(ahead_ms),
            ..person
        }
    }
}

async fn start(
    home: &FilePath,
    terms: &Terms,
    limits: SqliteLimits,
    limit: RateLimit,
    ahead_ms: &Arc<AtomicU64>,
    referee: Option<Referee>,
) -> (BrokerServer, SqliteBrokerStore) {
    let home = BrokerHome::open_or_make(home, [42; 32]).unwrap();
    let identity = Identity {
        broker: home.key().public(),
        currency: Some((terms.currency.clone(), terms.units_per_credit)),
    };
    let store = SqliteBrokerStore::open(&home.database(), &identity, limits)
        .await
        .unwrap();
    let ahead_ms = ahead_ms.clone();
    let time: Clock = Arc::new(move || clock::now().plus_ms(ahead_ms.load(Ordering::SeqCst)));
    let broker = Arc::new(Broker::new(home.key().clone(), terms.clone()));
    let address = "127.0.0.1:0".parse().unwrap();
    let rows = Arc::new(store.clone());
    let server = BrokerServer::start_with(address, broker, rows, time, limit, referee).await;
    (server.unwrap(), store)
}

/// One with an account and one holder key.
pub struct Person {
    pub client: BrokerClient,
    pub key: SecretKey,
}

impl Person {
    pub fn at(url: &str, pinned: Option<PublicKey>, n: u8) -> Person {
        let account = SecretKey::from_bytes([n.wrapping_add(100); 32]);
        Person {
            client: BrokerClient::new(url, pinned, account).unwrap(),
            key: SecretKey::from_bytes([n; 32]),
        }
    }

    pub async fn buy(&self, id: u8, value: u64) -> Path {
        let order = vec![(Units(value), self.key.public())];
        let coins = self.client.purchase(RequestId([id; 16]), order).await;
        let coin: CoinCertificate = coins.unwrap()[0];
        Path {
            coin,
            links: Vec::new(),
        }
    }

    pub async fn certificate(&self) -> PseudonymCertificate {
        let keys = vec![self.key.public()];
        self.client.certify(keys).await.unwrap()[0]
    }

    pub async fn redeem(&self, id: u8, path: &Path) -> ItemAnswer {
        let items = vec![(path.clone(), self.redeem_part(path, 1))];
        let done = self.client.redeem(RequestId([id; 16]), items).await;
        done.unwrap().value.remove(0)
    }

    pub fn redeem_part(&self, path: &Path, variant: u8) -> RedeemPart {
        let holding = path.holding().unwrap();
        let record_key = RecordKey([variant; 32]);
        RedeemPart::sign(&self.key, &holding.id, self.client.account_id(), record_key)
    }

    /// Pays `k` units of what `path` proves to `payee`: the payee's path and the rest's.
    pub async fn pay(&self, path: &Path, payee: &Person, k: u32, variant: u8) -> [Path; 2] {
        let holding = path.holding().unwrap();
        let value = u32::try_from(holding.value.0).unwrap();
        let chain = Chain::new(ChainValue([variant; 32]), value);
        let spend = OpenSpend::sign(
            &self.key,
            &holding.id,
            payee.certificate().await,
            chain.anchor(),
            RecordKey([variant; 32]),
        );
        let wk = chain.reveal(k).unwrap();
        let close = ClosePart::sign(&payee.key, &holding.id, &spend, k, wk);
        [Role::PayeeShare, Role::Change].map(|role| path.extend(Link { role, spend, close }))
    }

    /// Balance and pending.
    pub async fn money(&self) -> (u64, u64) {
        let account = self.client.account().await.unwrap();
        (account.balance.0, account.pending.0)
    }
}
