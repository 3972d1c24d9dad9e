//! [`WalletHandle`]: what the gateway and the commands ask of a wallet. Cheap to clone; every call is
//! a message to the one task that owns the money.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::checks::SpentCheck;
use super::door::{BrokerDoor, DoorError};
use super::home::{self, HomeError, Passphrase};
use super::purse::{Ask, Purse};
use super::{CashierError, connect};
use crate::channel::{NoReserve, Reserved};
use crate::coin::Seed;
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::chain::Chain;
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::coin::keys::{PublicKey, SecretKey};
use crate::record::{ClosePart, Holding, OpenSpend, Path};
use crate::store::wallet::{SqliteOptions, SqliteStore, StoreError, WalletStore, WriterLock};
use crate::units::{InfoHash, Units, UnixMs};
use crate::wallet::trade::Redeemable;
use crate::wallet::{Balance, JournalLine, Limits, PinnedBroker};
use crate::wire::message::RefuseReason;
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
    /// Most pages that the database may have; none: as many as the disk holds.
    pub max_pages: Option<u32>,
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
            max_pages: None,
        }
    }

    /// For a command: nothing is bought or certified that was not asked for.
    #[must_use]
    pub fn for_command(home: impl Into<PathBuf>, broker_url: Option<String>) -> WalletConfig {
        let mut config = WalletConfig::new(home, broker_url);
        config.limits.at_hand = 0;
        config.payee_keys = 0;
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
            url.map(|url| connect(&url, pinned, key)).transpose()
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
        let door = door(rows.meta.broker.as_ref(), seed.account_key())?;
        let account = seed.account_key().public();
        let (asks, queue) = mpsc::channel(QUEUE);
        let purse = Purse::new(Box::new(store), rows, seed, door, config, lock);
        tokio::spawn(purse.run(queue));
        Ok(WalletHandle { asks, account })
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
        Ok(WalletReader { store })
    }
}

/// A wallet that is only read.
#[derive(Debug)]
pub struct WalletReader {
    store: SqliteStore,
}

impl WalletReader {
    /// What the wallet holds, as far as it is on disk.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn balance(&self) -> Result<Balance, StoreError> {
        Ok(Balance::of(&self.store.load().await?, clock::now()))
    }

    /// The newest `limit` lines of the journal, oldest first.
    ///
    /// # Errors
    /// What hinders reading.
    pub async fn history(&self, limit: u32) -> Result<Vec<JournalLine>, StoreError> {
        self.store.journal(limit).await
    }
}

/// What a channel wants reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The torrent that is paid for.
    pub info_hash: InfoHash,
    /// The smallest value that is of use.
    pub at_least: Units,
    /// The greatest value that is of use, and the one that suits best.
    pub at_most: Units,
}

/// What a redemption came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RedeemReport {
    /// Units credited.
    pub credited: Units,
    /// Holdings credited.
    pub holdings: u32,
    /// When the last of the credits turns into balance, if one is pending.
    pub pending_until: Option<UnixMs>,
    /// Holdings that the broker refused, and why.
    pub refused: Vec<(HoldingId, String)>,
    /// Units asked for and not answered: asked again with the same request, by itself.
    pub unanswered: Units,
    /// Why they were not answered.
    pub error: Option<String>,
}

/// A spend of ours without its payee's close.
#[derive(Clone, Debug)]
pub struct OpenSpent {
    /// The spend.
    pub spend: Commitment,
    /// What it spends.
    pub holding: Holding,
    /// The path that proves it, encoded.
    pub path: Vec<u8>,
    /// The open, as it was sent and may be sent again.
    pub open: OpenSpend,
    /// The last tick that is durable.
    pub last_k: u32,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The payee's address.
    pub peer: String,
    /// Since when.
    pub since: UnixMs,
}

/// A received spend whose close is not signed, or not yet in the DHT.
#[derive(Clone, Debug)]
pub struct OpenReceived {
    /// The spend.
    pub spend: Commitment,
    /// What it spends.
    pub holding: Holding,
    /// The path that proves it, encoded.
    pub path: Vec<u8>,
    /// The open as it came.
    pub open: OpenSpend,
    /// Units ticked, or closed at.
    pub k: u32,
    /// The chain value that pays them.
    pub wk: ChainValue,
    /// The close, once signed.
    pub close: Option<ClosePart>,
    /// Whether its records were accepted in the DHT.
    pub accepted: bool,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The payer's address.
    pub peer: String,
}

/// What is open, also from earlier runs: a node closes and puts what was received at its start.
#[derive(Clone, Debug, Default)]
pub struct OpenChannels {
    /// Our spends without a close.
    pub spent: Vec<OpenSpent>,
    /// Received spends without a close in the DHT.
    pub received: Vec<OpenReceived>,
}

/// A wallet in use. Dropping the last clone writes what is left and closes it.
#[derive(Clone, Debug)]
pub struct WalletHandle {
    asks: mpsc::Sender<Ask>,
    account: PublicKey,
}

impl WalletHandle {
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, CashierError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.asks.send(ask(reply)).await;
        sent.map_err(|_| CashierError::Closed)?;
        answer.await.map_err(|_| CashierError::Closed)
    }

    /// The account at the broker.
    #[must_use]
    pub fn account(&self) -> PublicKey {
        self.account
    }

    /// The broker: the pinned one, or else the one that is met now.
    ///
    /// # Errors
    /// No broker named, not reachable, or not the pinned one.
    pub async fn broker(&self) -> Result<PinnedBroker, CashierError> {
        self.ask(Ask::Broker).await?
    }

    /// Promises a holding to a channel. Never waits for the broker: what is missing is bought in the
    /// background, and [`NoReserve::NotYet`] says so.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn reserve(&self, request: ReserveRequest) -> Result<Reserved, NoReserve> {
        let answer = self.ask(|reply| Ask::Reserve(request, reply)).await;
        answer.unwrap_or(Err(NoReserve::NoFunds))
    }

    /// Takes a promise back.
    ///
    /// # Errors
    /// An unknown holding.
    pub async fn release(&self, holding: HoldingId) -> Result<(), CashierError> {
        self.ask(|reply| Ask::Release(holding, reply)).await?
    }

    /// Spends a reserved holding to `payee`: the row is durable before the spend is signed.
    ///
    /// # Errors
    /// A holding that is not reserved, a payee whose certificate does not hold, or our own store:
    /// nothing is signed then.
    pub async fn commit(
        &self,
        holding: HoldingId,
        payee: PublicKey,
        certificate: PseudonymCertificate,
        info_hash: InfoHash,
        peer: String,
    ) -> Result<(OpenSpend, Chain), CashierError> {
        self.ask(|reply| Ask::Commit {
            holding,
            payee,
            certificate,
            info_hash,
            peer,
            reply,
        })
        .await?
    }

    /// The open of a spend and its chain once more, unchanged: for a lost connection.
    ///
    /// # Errors
    /// An unknown spend.
    pub async fn open_again(&self, spend: Commitment) -> Result<(OpenSpend, Chain), CashierError> {
        self.ask(|reply| Ask::OpenAgain(spend, reply)).await?
    }

    /// Notes ticks that were sent; on disk within a second. Lower ones than before are left out.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn payer_ticks(&self, ticks: Vec<(Commitment, u32)>) -> Result<(), CashierError> {
        let sent = self.asks.send(Ask::PayerTicks(ticks)).await;
        sent.map_err(|_| CashierError::Closed)
    }

    /// Notes that connections ended: what is left in their channels waits for the payees' closes.
    ///
    /// # Errors
    /// Only our own store.
    pub async fn payer_ended(&self, spends: Vec<Commitment>) -> Result<(), CashierError> {
        self.ask(|reply| Ask::PayerEnded(spends, reply)).await?
    }

    /// Takes the payee's close: the rest is change.
    ///
    /// # Errors
    /// A close that does not hold, or a second one.
    pub async fn payer_closed(
        &self,
        spend: Commitment,
        close: ClosePart,
    ) -> Result<(), CashierError> {
        self.ask(|reply| Ask::PayerClosed(spend, close, reply))
            .await?
    }

    /// Whether a proposed holding may be taken: never opened before, not on the spent list. The
    /// answer says whether the list's copy was fresh.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn check(&self, holding: Holding, path: Path) -> Result<SpentCheck, RefuseReason> {
        let path = Box::new(path);
        let answer = self.ask(|reply| Ask::Check(holding, path, reply)).await;
        answer.unwrap_or(Err(RefuseReason::Busy))
    }

    /// A certified key for one connection. Unused for a minute it may be given again.
    ///
    /// # Errors
    /// [`CashierError::NoKey`] when none is at hand; some are fetched in the background.
    pub async fn payee_key(&self) -> Result<(u32, PseudonymCertificate), CashierError> {
        self.ask(Ask::PayeeKey).await?
    }

    /// Records a validly signed open, durably: its holding is never accepted with another statement.
    ///
    /// # Errors
    /// An open that does not hold, or a holding that was opened before.
    pub async fn record_open(
        &self,
        path: Path,
        open: OpenSpend,
        info_hash: InfoHash,
        peer: String,
    ) -> Result<(), CashierError> {
        let received = Box::new(crate::wallet::earning::Open {
            path,
            open,
            info_hash,
            peer,
        });
        self.ask(|reply| Ask::RecordOpen(received, reply)).await?
    }

    /// Notes that the records of a received spend were accepted in the DHT.
    ///
    /// # Errors
    /// An unknown spend, or our own store.
    pub async fn accepted(&self, spend: Commitment) -> Result<(), CashierError> {
        self.ask(|reply| Ask::Accepted(spend, reply)).await?
    }

    /// Takes ticks that were verified; on disk within a second. The chain is checked again then.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn payee_ticks(
        &self,
        ticks: Vec<(Commitment, u32, ChainValue)>,
    ) -> Result<(), CashierError> {
        let sent = self.asks.send(Ask::PayeeTicks(ticks)).await;
        sent.map_err(|_| CashierError::Closed)
    }

    /// Closes a received spend at (`k`, `wk`), or at what is on disk if that is more. The row is
    /// durable before the close is signed; asked again, the same bytes come back. The share can be
    /// redeemed from now on.
    ///
    /// # Errors
    /// An unknown spend, a chain value that does not prove `k`, or our own store.
    pub async fn close(
        &self,
        spend: Commitment,
        k: u32,
        wk: ChainValue,
    ) -> Result<ClosePart, CashierError> {
        self.ask(|reply| Ask::Close(spend, k, wk, reply)).await?
    }

    /// Notes that the close of a received spend was put into the DHT and read back.
    ///
    /// # Errors
    /// An unknown spend, or our own store.
    pub async fn record_put(&self, spend: Commitment) -> Result<(), CashierError> {
        self.ask(|reply| Ask::RecordPut(spend, reply)).await?
    }

    /// Channels that are open, or were when the wallet last ran.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn open_channels(&self) -> Result<OpenChannels, CashierError> {
        self.ask(Ask::OpenChannels).await
    }

    /// Sets or lifts what a torrent may cost in all. What it cost in earlier runs counts.
    ///
    /// # Errors
    /// Only our own store.
    pub async fn set_budget(
        &self,
        info_hash: InfoHash,
        budget: Option<Units>,
    ) -> Result<(), CashierError> {
        self.ask(|reply| Ask::SetBudget(info_hash, budget, reply))
            .await?
    }

    /// What the wallet holds, with what the broker said last.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn balance(&self) -> Result<Balance, CashierError> {
        self.ask(Ask::Balance).await
    }

    /// The newest `limit` lines of the journal, oldest first.
    ///
    /// # Errors
    /// Only our own store.
    pub async fn history(&self, limit: u32) -> Result<Vec<JournalLine>, CashierError> {
        self.ask(|reply| Ask::History(limit, reply)).await?
    }

    /// Buys coins worth at least `units` (rounded up to 16) and returns their values.
    ///
    /// # Errors
    /// The broker's refusal, or that it cannot be reached: then what was ordered still comes later.
    pub async fn buy(&self, units: Units) -> Result<Vec<Units>, CashierError> {
        self.ask(|reply| Ask::Buy(units, reply)).await?
    }

    /// Redeems shares and change.
    ///
    /// # Errors
    /// As [`WalletHandle::redeem_all`].
    pub async fn redeem_earned(&self) -> Result<RedeemReport, CashierError> {
        self.ask(|reply| Ask::Redeem(Redeemable::Earned, reply))
            .await?
    }

    /// Redeems shares, change and unspent coins.
    ///
    /// # Errors
    /// A broker that cannot be reached before anything was signed, or our own store. Afterwards
    /// the report says what was not answered.
    pub async fn redeem_all(&self) -> Result<RedeemReport, CashierError> {
        self.ask(|reply| Ask::Redeem(Redeemable::All, reply))
            .await?
    }

    /// Writes what is left and closes the wallet, whoever else still has a handle.
    ///
    /// # Errors
    /// [`CashierError::Store`] where ticks could not be written.
    pub async fn shutdown(self) -> Result<(), CashierError> {
        self.ask(Ask::Shutdown).await?
    }
}
