//! The spend of a channel: made beside the connection's other errands, as it may wait for a reading of
//! the DHT.

use tokio::sync::mpsc;

use super::purse::{Answer, Busy, warn_if_failed};
use super::shared::Command;
use crate::cashier::wallet::CashierError;
use crate::channel::FreeReason;
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
                let why = match error {
                    CashierError::ListOld(_) => FreeReason::ListOld,
                    _ => FreeReason::NoSpend,
                };
                (Answer::CommitFailed(self.channel, why), None)
            }
        };
        let _ = self.answers.send(Command::Answer(Box::new(answer)));
        if let Some(spend) = spend.filter(|_| self.answers.is_closed()) {
            warn_if_failed("an end", wallet.payer_ended(vec![spend]).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use tempfile::TempDir;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::timeout;

    use super::*;
    use crate::broker::{Broker, Operation, Terms};
    use crate::cashier::wallet::{
        Passphrase, Reading, ReserveRequest, SlotReader, Wallet, WalletConfig, WalletHandle,
    };
    use crate::clock;
    use crate::coin::SecretKey;
    use crate::gateway::Payments;
    use crate::gateway::purse::Purse;
    use crate::http::broker::{BrokerServer, RateLimit};
    use crate::record::Slot;
    use crate::store::broker::MemoryBrokerStore;
    use crate::units::Units;
    use crate::wallet::{Balance, LockReason};

    const COINS: Units = Units(128);
    const WAIT: Duration = Duration::from_secs(30);

    /// Slots without a network, that nothing lies in. Reading one may take its time.
    #[derive(Default)]
    struct Slots {
        is_slow: AtomicBool,
    }

    #[async_trait]
    impl SlotReader for Slots {
        async fn read(&self, _key: &PublicKey, _slot: &Slot) -> Reading {
            while self.is_slow.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Reading {
                items: Vec::new(),
                is_complete: true,
            }
        }
    }

    /// A wallet with two coins of an earlier run, whose slots are slow to read.
    struct Stage {
        purse: Arc<Purse>,
        slots: Arc<Slots>,
        _broker: BrokerServer,
        _dir: TempDir,
    }

    fn broker_key() -> SecretKey {
        SecretKey::from_bytes([0xb0; 32])
    }

    async fn broker() -> BrokerServer {
        let terms = Terms {
            bond: Units(20_000),
            ..Terms::default()
        };
        let limit = RateLimit {
            per_second: 0,
            burst: 0,
        };
        let address = "127.0.0.1:0".parse().expect("an address");
        let broker = Arc::new(Broker::new(broker_key(), terms));
        let store = Arc::new(MemoryBrokerStore::new());
        let server = BrokerServer::start(address, broker, store, Arc::new(clock::now), limit);
        server.await.expect("listens")
    }

    impl Stage {
        async fn new() -> Stage {
            let (broker, dir) = (broker().await, tempfile::tempdir().expect("a directory"));
            let none = Passphrase::none();
            let home = dir.path().join("wallet");
            Wallet::init(&home, None, &none).await.expect("made");
            let mut config = WalletConfig::for_command(&home, Some(broker.url()));
            let wallet = Wallet::open(config.clone(), &none).await.expect("opens");
            let deposit = Operation::Deposit {
                account: wallet.account(),
                units: Units(30_000),
                reference: "deposit".to_owned(),
            };
            broker.cashier().operate(deposit).await.expect("booked");
            assert_eq!(wallet.buy(COINS).await.expect("sold").coins.len(), 2);
            wallet.shutdown().await.expect("written");
            config.expects_dht = true;
            let wallet = Wallet::open(config, &none).await.expect("opens");
            let slots = Arc::new(Slots::default());
            slots.is_slow.store(true, Ordering::Relaxed);
            wallet.set_slots(slots.clone()).await.expect("open");
            let payments = Payments { wallet, dht: None };
            let (conflicts, _) = unbounded_channel();
            let runtime = tokio::runtime::Handle::current();
            Stage {
                purse: Purse::new(payments, runtime, conflicts),
                slots,
                _broker: broker,
                _dir: dir,
            }
        }

        fn wallet(&self) -> &WalletHandle {
            &self.purse.wallet
        }

        async fn balance(&self) -> Balance {
            let balance = self.wallet().balance().await.expect("answers");
            assert!(balance.books_agree, "{balance:?}");
            assert_eq!(balance.held, COINS, "{balance:?}");
            balance
        }

        async fn until(&self, what: &str, is_so: impl Fn(&Balance) -> bool) -> Balance {
            let wait = async {
                loop {
                    let balance = self.balance().await;
                    if is_so(&balance) {
                        return balance;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let reached = timeout(WAIT, wait).await;
            reached.unwrap_or_else(|_| panic!("never {what}"))
        }

        /// The errand of spending a coin that is promised and not read, for a connection that hears
        /// the answers.
        async fn spend(&self, answers: mpsc::UnboundedSender<Command>) -> Commit {
            let request = ReserveRequest {
                info_hash: InfoHash([7; 20]),
                at_least: Units(2),
                at_most: Units(64),
                then: Units::ZERO,
            };
            let promised = async {
                loop {
                    if let Ok(reserved) = self.wallet().reserve(request).await {
                        return reserved;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let promised = timeout(WAIT, promised).await.expect("promised");
            let payee = SecretKey::from_bytes([7; 32]).public();
            let later = clock::now().day().plus(20);
            Commit {
                busy: Busy::new(&self.purse),
                answers,
                channel: 0,
                holding: promised.holding.id,
                payee,
                certificate: PseudonymCertificate::issue(&broker_key(), payee, later),
                info_hash: InfoHash([7; 20]),
                peer: "127.0.0.1:1".to_owned(),
            }
        }
    }

    /// Goes as far as to ask the wallet, which answers what is asked after only then.
    async fn begin(run: Pin<&mut impl Future<Output = ()>>) {
        tokio::select! {
            biased;
            () = run => panic!("it waits for the slot"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn a_spend_that_waits_for_its_slot_is_given_up_with_its_connection() {
        let stage = Stage::new().await;
        let (answers, connection) = unbounded_channel();
        let mut run = pin!(stage.spend(answers).await.run());
        begin(run.as_mut()).await;
        let parked = stage.balance().await;
        assert_eq!((parked.reserved, parked.locked), (Units(64), Units(0)));
        drop(connection);
        // Before the wallet itself would give it up, which it does after five seconds.
        let over = timeout(Duration::from_secs(3), run).await;
        over.expect("at once, though the slot is not read");
        let balance = stage.balance().await;
        assert_eq!((balance.reserved, balance.locked), (Units(0), Units(0)));
        assert_eq!(balance.unread, COINS);
        assert!(stage.purse.is_idle());

        // The coin is as good as before.
        stage.slots.is_slow.store(false, Ordering::Relaxed);
        stage.until("read", |b| b.available == COINS).await;
        let (answers, mut connection) = unbounded_channel();
        stage.spend(answers).await.run().await;
        let answer = connection.recv().await;
        assert!(
            matches!(&answer, Some(Command::Answer(a)) if matches!(**a, Answer::OpenDurable(..))),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn a_spend_that_is_signed_as_its_connection_drops_is_ended() {
        let stage = Stage::new().await;
        let (answers, connection) = unbounded_channel();
        let mut run = pin!(stage.spend(answers).await.run());
        begin(run.as_mut()).await;
        stage.slots.is_slow.store(false, Ordering::Relaxed);
        stage.until("signed", |b| b.locked == Units(64)).await;
        drop(connection);
        timeout(WAIT, run).await.expect("ends");
        let balance = stage.balance().await;
        let [line] = &balance.locked_in[..] else {
            panic!("one spend: {balance:?}");
        };
        // From now on its close is looked for, and the coin's settlement ends it at the latest.
        assert_eq!(line.why, LockReason::WaitingForClose, "{line:?}");
        assert!(line.looked_for.is_some(), "{line:?}");
        assert!(stage.purse.is_idle());
        stage.until("the other", |b| b.available == Units(64)).await;
    }
}
