//! Making a wallet, opening it to write or to read.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::CashierError;
use super::cheat::Cheat;
use super::counter::Counter;
use super::door::{BrokerDoor, DoorError};
use super::handle::WalletHandle;
use super::home::{self, HomeError, Passphrase};
use super::purse::Purse;
use crate::coin::Seed;
use crate::coin::keys::SecretKey;
use crate::store::wallet::{SqliteOptions, SqliteStore, StoreError, WalletStore, WriterLock};
use crate::units::Units;
use crate::wallet::keeping::{self, Rules};
use crate::wallet::receipt::Receipt;
use crate::wallet::{Balance, Deal, JournalEntry, Limits, PinnedBroker};
use crate::wallet::{deals, recover, trade};
use crate::{clock, random};

/// Messages that may wait for the task.
const QUEUE: usize = 1024;

/// How a wallet is opened.
#[derive(Clone, Debug)]
pub struct WalletConfig {
    /// The wallet's directory.
    pub home: PathBuf,
    /// Where the broker is; none: where it was met first.
    pub broker_url: Option<String>,
    /// What the wallet holds itself to. `at_hand` coins are bought without being asked for.
    pub limits: Limits,
    /// Certified payee keys kept in stock; 0 for a wallet that only pays.
    pub payee_keys: u32,
    /// Whether the DHT is given to the wallet soon: holdings of earlier runs then count as at hand.
    pub expects_dht: bool,
    /// What is redeemed and presented without being asked for; none: nothing.
    pub keep: Option<Rules>,
    /// Most pages that the database may have; none: as many as the disk holds.
    pub max_pages: Option<u32>,
    /// In what it cheats; none but in `dpay demo --cheat`.
    pub cheat: Option<Cheat>,
}

impl WalletConfig {
    /// For a node: eight coins and 16 keys at hand.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>, broker_url: Option<String>) -> WalletConfig {
        WalletConfig {
            home: home.into(),
            broker_url,
            limits: Limits::default(),
            payee_keys: 16,
            expects_dht: true,
            keep: Some(Rules::default()),
            max_pages: None,
            cheat: None,
        }
    }

    /// For a command: nothing is bought or certified that was not asked for.
    #[must_use]
    pub fn for_command(home: impl Into<PathBuf>, broker_url: Option<String>) -> WalletConfig {
        let mut config = WalletConfig::new(home, broker_url);
        config.limits.at_hand = 0;
        config.payee_keys = 0;
        config.expects_dht = false;
        config.keep = None;
        config
    }
}

/// Makes and opens wallets.
#[derive(Debug)]
pub struct Wallet;

impl Wallet {
    /// Makes a wallet in `home` from 24 words, or from new ones, and returns the words. They are
    /// kept nowhere in the clear: this is the one time to write them down.
    ///
    /// # Errors
    /// [`HomeError::Exists`] where there is one, words that are none, or what hinders writing.
    pub async fn init(
        home: &FilePath,
        words: Option<&str>,
        passphrase: &Passphrase,
    ) -> Result<String, CashierError> {
        let seed = match words {
            Some(words) => Seed::from_words(words).map_err(CashierError::Words)?,
            None => Seed::from_entropy(random::bytes()),
        };
        home::prepare(home)?;
        if home::has_wallet(home) {
            return Err(HomeError::Exists(home.to_path_buf()).into());
        }
        let lock = WriterLock::take(home)?;
        let store = SqliteStore::open(home, SqliteOptions::default()).await?;
        // A database that is there already must be of the same seed: a restore beside it.
        let change = trade::own(&store.load().await?, seed.account_key().public())?;
        if !change.is_empty() {
            store.apply(&change).await?;
        }
        if words.is_some() {
            // Words that were used before have an account, and keys and coins under it.
            let rows = store.load().await?;
            store.apply(&recover::ask_first(&rows)).await?;
        }
        store.close().await;
        home::write_seed(home, &seed, passphrase, random::bytes(), random::bytes())?;
        drop(lock);
        Ok(seed.words())
    }

    /// Opens the wallet as its one writer and starts the task that owns it.
    ///
    /// # Errors
    /// No wallet, a wrong passphrase, another writer, a home that others may enter, or a damaged
    /// database. A broker that cannot be reached is no error.
    pub async fn open(
        config: WalletConfig,
        passphrase: &Passphrase,
    ) -> Result<WalletHandle, CashierError> {
        let given = config.broker_url.clone();
        let door = |pinned: Option<&PinnedBroker>, key: SecretKey| {
            let url = given.or_else(|| pinned.map(|broker| broker.url.clone()));
            let Some(url) = url else {
                return Ok(None);
            };
            let counter: Arc<dyn BrokerDoor> = Arc::new(Counter::new(&url, pinned, key)?);
            Ok(Some(counter))
        };
        Wallet::open_with(&config, passphrase, door).await
    }

    /// As [`Wallet::open`], with the broker that `door` makes from the pinned one and the account's
    /// key.
    ///
    /// # Errors
    /// As [`Wallet::open`].
    pub async fn open_with(
        config: &WalletConfig,
        passphrase: &Passphrase,
        door: impl FnOnce(
            Option<&PinnedBroker>,
            SecretKey,
        ) -> Result<Option<Arc<dyn BrokerDoor>>, DoorError>,
    ) -> Result<WalletHandle, CashierError> {
        home::check_private(&config.home)?;
        if !home::has_wallet(&config.home) {
            return Err(HomeError::Missing(config.home.clone()).into());
        }
        let lock = WriterLock::take(&config.home)?;
        let (dir, phrase) = (config.home.clone(), passphrase.clone());
        let seed = tokio::task::spawn_blocking(move || home::read_seed(&dir, &phrase))
            .await
            .map_err(|_| CashierError::Closed)??;
        let options = SqliteOptions {
            read_only: false,
            max_pages: config.max_pages,
        };
        let store = SqliteStore::open(&config.home, options).await?;
        let rows = store.load().await?;
        trade::own(&rows, seed.account_key().public())?;
        let door = door(rows.meta.broker.as_ref(), seed.account_key())?;
        let account = seed.account_key().public();
        let (asks, queue) = mpsc::channel(QUEUE);
        let purse = Purse::new(Box::new(store), rows, seed, door, config, lock);
        tokio::spawn(purse.run(queue));
        Ok(WalletHandle::new(asks, account))
    }

    /// Opens the wallet to read beside whoever writes. Needs no passphrase.
    ///
    /// # Errors
    /// No wallet, a home that others may enter, or a damaged database.
    pub async fn read(home: &FilePath) -> Result<WalletReader, CashierError> {
        home::check_private(home)?;
        if !home::has_wallet(home) {
            return Err(HomeError::Missing(home.to_path_buf()).into());
        }
        let options = SqliteOptions {
            read_only: true,
            max_pages: None,
        };
        let store = SqliteStore::open(home, options).await?;
        let home = home.to_path_buf();
        Ok(WalletReader { store, home })
    }
}

/// A wallet that is only read.
#[derive(Debug)]
pub struct WalletReader {
    store: SqliteStore,
    home: PathBuf,
}

impl WalletReader {
    /// What the wallet holds, as far as it is on disk. Where no process has the wallet open, nothing is
    /// available: whoever opens it next reads the slots of its coins before they are used.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn balance(&self) -> Result<Balance, StoreError> {
        self.balance_by(keeping::HOLD_MS).await
    }

    /// The same with the hold that the broker says it has.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn balance_by(&self, hold_ms: u64) -> Result<Balance, StoreError> {
        let rows = self.store.load().await?;
        let mut balance = Balance::by(&rows, hold_ms, clock::now());
        if !WriterLock::is_taken(&self.home) {
            let unread = balance.unread.checked_add(balance.available);
            balance.unread = unread.unwrap_or(balance.unread);
            balance.available = Units::ZERO;
            balance.travels = Units::ZERO;
            balance.coins.clear();
        }
        Ok(balance)
    }

    /// The newest `limit` lines of the journal, oldest first.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn history(&self, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        self.store.journal(limit).await
    }

    /// The receipts behind lines of the journal: named by number, or by the beginning (six signs
    /// or more) of their reference.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn receipts(&self, what: &str) -> Result<Vec<Receipt>, StoreError> {
        let lines = self.store.journal_of(what).await?;
        Ok(Receipt::of(&self.store.load().await?, lines))
    }

    /// What channels paid, the oldest first; those that are open too.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn paid(&self) -> Result<Vec<Deal>, StoreError> {
        Ok(deals::paid(&self.store.load().await?, clock::now()))
    }

    /// What channels earned, the oldest first, and what became of it; those that are open too.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn earned(&self) -> Result<Vec<Deal>, StoreError> {
        Ok(deals::earned(&self.store.load().await?, clock::now()))
    }
}
