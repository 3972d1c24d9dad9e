//! A broker on port 0, and people with wallets in temporary homes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dpay::broker::audit::{AuditReport, Auditor};
use dpay::broker::{Broker, Operation, Terms};
use dpay::cashier::wallet::{
    Passphrase, Reading, ReserveRequest, SlotReader, Wallet, WalletConfig, WalletHandle, home,
};
use dpay::channel::{NoReserve, Reserved};
use dpay::clock;
use dpay::coin::keys::{PublicKey, SecretKey};
use dpay::http::broker::{BrokerServer, RateLimit};
use dpay::record::{SignedRecord, Slot};
use dpay::store::broker::{
    BrokerStore, Identity, MemoryBrokerStore, SqliteBrokerStore, SqliteLimits,
};
use dpay::units::{InfoHash, Units};
use dpay::wallet::Balance;
use tempfile::TempDir;

pub const TORRENT: InfoHash = InfoHash([7; 20]);

/// A broker that runs.
pub struct House {
    pub server: BrokerServer,
    store: Arc<dyn BrokerStore>,
    key: SecretKey,
    terms: Terms,
    /// Where the books are, if on disk.
    dir: Option<TempDir>,
}

impl House {
    pub async fn open() -> House {
        House::at("127.0.0.1:0".parse().expect("an address"), 1).await
    }

    /// At this address, with the key that this number makes.
    pub async fn at(address: SocketAddr, key: u8) -> House {
        let (key, terms) = (SecretKey::from_bytes([key; 32]), terms());
        House::on(
            address,
            key,
            terms,
            Arc::new(MemoryBrokerStore::new()),
            None,
        )
        .await
    }

    /// With its books in a database, which goes with the house.
    pub async fn on_sqlite() -> House {
        let (key, terms) = (SecretKey::from_bytes([1; 32]), terms());
        let dir = tempfile::tempdir().expect("a directory");
        let identity = Identity {
            broker: key.public(),
            currency: None,
        };
        let path = dir.path().join("broker.sqlite");
        let store = SqliteBrokerStore::open(&path, &identity, SqliteLimits::default()).await;
        let store = Arc::new(store.expect("opens"));
        let address = "127.0.0.1:0".parse().expect("an address");
        House::on(address, key, terms, store, Some(dir)).await
    }

    /// With this hold; a contest may be decided at once, by whoever tells it what the DHT holds.
    pub async fn that_holds(hold_ms: u64) -> House {
        let terms = Terms {
            hold_ms,
            contest_gap_ms: 1,
            ..terms()
        };
        let address = "127.0.0.1:0".parse().expect("an address");
        let store = Arc::new(MemoryBrokerStore::new());
        House::on(address, SecretKey::from_bytes([1; 32]), terms, store, None).await
    }

    /// With this bond, which is how much may be outstanding.
    pub async fn that_sells(bond: u64) -> House {
        let terms = Terms {
            bond: Units(bond),
            ..terms()
        };
        let address = "127.0.0.1:0".parse().expect("an address");
        let store = Arc::new(MemoryBrokerStore::new());
        House::on(address, SecretKey::from_bytes([1; 32]), terms, store, None).await
    }

    async fn on(
        address: SocketAddr,
        key: SecretKey,
        terms: Terms,
        store: Arc<dyn BrokerStore>,
        dir: Option<TempDir>,
    ) -> House {
        let server = serve(address, &key, &terms, store.clone()).await;
        House {
            server,
            store,
            key,
            terms,
            dir,
        }
    }

    /// Stops; the books stay, to open again at the same address.
    pub async fn stop(self) -> Closed {
        let address = self.server.address();
        self.server.stop().await;
        Closed {
            address,
            store: self.store,
            key: self.key,
            terms: self.terms,
            dir: self.dir,
        }
    }

    pub async fn deposit(&self, account: PublicKey, units: u64) {
        let operation = Operation::Deposit {
            account,
            units: Units(units),
            reference: format!("deposit for {account}"),
        };
        let done = self.server.cashier().operate(operation).await;
        done.expect("booked");
    }

    /// Not a unit is missing.
    pub async fn audit(&self) {
        let report = self.report().await;
        assert!(report.balanced, "{report:?}");
    }

    /// The books.
    pub async fn report(&self) -> AuditReport {
        let mut auditor = Auditor::default();
        self.store.audit(&mut auditor).await.expect("read");
        auditor.finish()
    }
}

/// A broker that does not run.
pub struct Closed {
    pub address: SocketAddr,
    store: Arc<dyn BrokerStore>,
    key: SecretKey,
    terms: Terms,
    /// Where the books are, if on disk.
    dir: Option<TempDir>,
}

impl Closed {
    pub async fn open(self) -> House {
        let server = serve(self.address, &self.key, &self.terms, self.store.clone()).await;
        House {
            server,
            store: self.store,
            key: self.key,
            terms: self.terms,
            dir: self.dir,
        }
    }
}

fn terms() -> Terms {
    Terms {
        bond: Units(20_000),
        hold_ms: 0,
        ..Terms::default()
    }
}

async fn serve(
    address: SocketAddr,
    key: &SecretKey,
    terms: &Terms,
    store: Arc<dyn BrokerStore>,
) -> BrokerServer {
    let broker = Arc::new(Broker::new(key.clone(), terms.clone()));
    let limit = RateLimit {
        per_second: 0,
        burst: 0,
    };
    BrokerServer::start(address, broker, store, Arc::new(clock::now), limit)
        .await
        .expect("listens")
}

/// Slots without a network around them; tests of the commands read a real DHT.
#[derive(Debug, Default)]
pub struct Slots {
    pub items: Mutex<Vec<SignedRecord>>,
    /// No node answers.
    pub is_silent: AtomicBool,
    /// Answers come only when this is over.
    pub is_slow: AtomicBool,
    /// Slots about which no node answers.
    pub silent: Mutex<Vec<Slot>>,
}

#[async_trait]
impl SlotReader for Slots {
    async fn read(&self, key: &PublicKey, slot: &Slot) -> Reading {
        while self.is_slow.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let is_silent = self.silent.lock().expect("whole").contains(slot);
        if is_silent || self.is_silent.load(Ordering::Relaxed) {
            return Reading::default();
        }
        let items = self.items.lock().expect("whole");
        let here = items
            .iter()
            .filter(|record| record.signer == *key && record.slot == *slot);
        Reading {
            items: here.flat_map(|record| record.items()).collect(),
            is_complete: true,
        }
    }
}

/// Somebody with a wallet.
pub struct Person {
    pub dir: TempDir,
    pub config: WalletConfig,
    /// What lies in the slots that this person looks at.
    pub slots: Arc<Slots>,
    wallet: Option<WalletHandle>,
}

impl Person {
    /// With a new wallet; a node's, which keeps eight coins and 16 keys at hand.
    pub async fn new(url: &str) -> Person {
        let dir = tempfile::tempdir().expect("a directory");
        Wallet::init(dir.path(), None, &Passphrase::none())
            .await
            .expect("made");
        let config = WalletConfig::new(dir.path(), Some(url.to_owned()));
        let mut person = Person {
            dir,
            config,
            slots: Arc::default(),
            wallet: None,
        };
        person.start().await;
        person
    }

    pub async fn start(&mut self) {
        let opened = Wallet::open(self.config.clone(), &Passphrase::none()).await;
        let wallet = opened.expect("opens");
        wallet.set_slots(self.slots.clone()).await.expect("open");
        self.wallet = Some(wallet);
    }

    /// The same wallet in another home; this one must be closed. The copy is closed too.
    pub fn copy(&self) -> Person {
        assert!(
            self.wallet.is_none(),
            "a wallet in use is not copied like this"
        );
        let dir = tempfile::tempdir().expect("a directory");
        home::prepare(dir.path()).expect("private");
        for entry in std::fs::read_dir(self.dir.path()).expect("listed") {
            let from = entry.expect("listed").path();
            if from.is_file() {
                let to = dir.path().join(from.file_name().expect("a file"));
                std::fs::copy(from, to).expect("copied");
            }
        }
        let mut config = self.config.clone();
        config.home = dir.path().to_path_buf();
        Person {
            dir,
            config,
            slots: Arc::default(),
            wallet: None,
        }
    }

    pub async fn stop(&mut self) {
        if let Some(wallet) = self.wallet.take() {
            wallet.shutdown().await.expect("written");
        }
    }

    /// Closes the wallet and opens it again; what is on disk is all there is.
    pub async fn restart(&mut self) {
        let before = self.wallet().balance().await.expect("answers");
        self.stop().await;
        self.start().await;
        let after = self.wallet().balance().await.expect("answers");
        assert_eq!(money(&before), money(&after), "a restart loses nothing");
        assert!(after.held >= before.held, "{before:?} {after:?}");
    }

    pub fn wallet(&self) -> &WalletHandle {
        self.wallet.as_ref().expect("open")
    }

    pub async fn balance(&self) -> Balance {
        let balance = self.wallet().balance().await.expect("answers");
        assert!(balance.books_agree, "{balance:?}");
        balance
    }

    /// Waits for a state of the balance.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Balance) -> bool) -> Balance {
        let start = Instant::now();
        loop {
            let balance = self.balance().await;
            if is_so(&balance) {
                return balance;
            }
            assert!(start.elapsed() < WAIT, "never {what}: {balance:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Reserves, once what an earlier run left is read.
    pub async fn reserve(&self, wish: ReserveRequest) -> Result<Reserved, NoReserve> {
        let start = Instant::now();
        loop {
            match self.wallet().reserve(wish).await {
                Err(NoReserve::NotYet) if start.elapsed() < WAIT => {}
                other => return other,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until_key(&self) {
        let start = Instant::now();
        loop {
            match self.wallet().payee_key().await {
                Ok((index, _)) => {
                    self.wallet().key_unused(index).await.expect("open");
                    return;
                }
                Err(error) => assert!(start.elapsed() < WAIT, "never a key: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

const WAIT: Duration = Duration::from_secs(30);

/// What must survive a restart. Reservations end with it, what is unsigned is read first, and orders may
/// arrive meanwhile.
fn money(balance: &Balance) -> [Units; 4] {
    let books = &balance.books;
    [balance.locked, balance.earning, books.paid, books.earned]
}

pub fn wish(at_least: u64, at_most: u64) -> ReserveRequest {
    ReserveRequest {
        info_hash: TORRENT,
        at_least: Units(at_least),
        at_most: Units(at_most),
        then: Units::ZERO,
    }
}
