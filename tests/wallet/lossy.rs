//! A way to the broker on which answers are lost or late.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dpay::broker::answer::{Notice, ProofTaken};
use dpay::cashier::wallet::counter::Counter;
use dpay::cashier::wallet::{
    Account, BrokerDoor, DoorError, Passphrase, Queued, RedeemAnswer, Shown, SpentCopy, Wallet,
    WalletConfig, WalletHandle,
};
use dpay::coin::keys::PublicKey;
use dpay::coin::{CoinCertificate, HoldingId, PseudonymCertificate};
use dpay::http::client::{KnownHolding, RecoveredPage, Times};
use dpay::record::{FraudProof, OpenSpend, Path, RedeemPart};
use dpay::units::{Units, UnixMs};
use dpay::wallet::{PinnedBroker, RequestId};

/// What happens on the way.
#[derive(Debug, Default)]
pub struct Way {
    /// Answers to purchases that are still to be lost, after they happened.
    pub purchases: AtomicU32,
    /// Answers to redemptions, likewise.
    pub redemptions: AtomicU32,
    /// Answers to withdrawals, likewise, and how many were asked for.
    pub withdrawals: AtomicU32,
    pub withdrawal_asks: AtomicU32,
    /// Answers to purchases come only when this is over.
    pub holds_purchases: AtomicBool,
    /// Whether the broker refuses to certify keys, or is not reached where it is to.
    pub refuses_keys: AtomicBool,
    pub loses_keys: AtomicBool,
    /// Whether what is presented is lost.
    pub loses_shown: AtomicBool,
    /// Requests to certify keys, and the keys in them.
    pub key_asks: AtomicU32,
    pub keys: Mutex<BTreeSet<[u8; 32]>>,
    /// Whether questions what was paid out are lost, and how many there were.
    pub loses_payouts: AtomicBool,
    pub payout_asks: AtomicU32,
    /// Looks at the account that were begun.
    pub looks: AtomicU32,
    /// Looks that are over.
    pub looked: AtomicU32,
}

struct Lossy {
    inner: Counter,
    way: Arc<Way>,
}

/// Opens a wallet whose broker is at the end of `way`.
pub async fn open(config: &WalletConfig, url: &str, way: &Arc<Way>) -> WalletHandle {
    let none = Passphrase::none();
    let wallet = Wallet::open_with(config, &none, |pinned, key| {
        let door: Arc<dyn BrokerDoor> = Arc::new(Lossy {
            inner: Counter::new(url, pinned, key)?,
            way: Arc::clone(way),
        });
        Ok(Some(door))
    });
    wallet.await.expect("opens")
}

fn lose(count: &AtomicU32) -> Result<(), DoorError> {
    match count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => Err(DoorError::Unreachable("lost on the way".to_owned())),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl BrokerDoor for Lossy {
    fn times(&self) -> &Times {
        self.inner.times()
    }
    async fn meet(&self) -> Result<PinnedBroker, DoorError> {
        self.inner.meet().await
    }
    async fn account(&self) -> Result<Account, DoorError> {
        self.way.looks.fetch_add(1, Ordering::SeqCst);
        let told = self.inner.account().await;
        self.way.looked.fetch_add(1, Ordering::SeqCst);
        told
    }
    async fn purchase(
        &self,
        request: RequestId,
        coins: Vec<(Units, PublicKey)>,
    ) -> Result<Vec<CoinCertificate>, DoorError> {
        let sold = self.inner.purchase(request, coins).await?;
        while self.way.holds_purchases.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lose(&self.way.purchases)?;
        Ok(sold)
    }
    async fn certify(&self, keys: Vec<PublicKey>) -> Result<Vec<PseudonymCertificate>, DoorError> {
        let asked = keys.iter().map(|key| key.0);
        self.way.keys.lock().expect("whole").extend(asked);
        self.way.key_asks.fetch_add(1, Ordering::SeqCst);
        if self.way.loses_keys.load(Ordering::SeqCst) {
            return Err(DoorError::Unreachable("lost on the way".to_owned()));
        }
        if self.way.refuses_keys.load(Ordering::SeqCst) {
            return Err(DoorError::Refused("suspended".to_owned()));
        }
        self.inner.certify(keys).await
    }
    async fn redeem(
        &self,
        request: RequestId,
        holdings: Vec<(Path, RedeemPart)>,
    ) -> Result<RedeemAnswer, DoorError> {
        let done = self.inner.redeem(request, holdings).await?;
        lose(&self.way.redemptions)?;
        Ok(done)
    }
    async fn withdraw(
        &self,
        request: RequestId,
        units: Units,
        destination: String,
    ) -> Result<Queued, DoorError> {
        self.way.withdrawal_asks.fetch_add(1, Ordering::SeqCst);
        let queued = self.inner.withdraw(request, units, destination).await?;
        lose(&self.way.withdrawals)?;
        Ok(queued)
    }
    async fn payout(&self, withdrawal: String) -> Result<Option<UnixMs>, DoorError> {
        self.way.payout_asks.fetch_add(1, Ordering::SeqCst);
        if self.way.loses_payouts.load(Ordering::SeqCst) {
            return Err(DoorError::Unreachable("lost on the way".to_owned()));
        }
        self.inner.payout(withdrawal).await
    }
    async fn present(
        &self,
        items: Vec<(Path, Option<OpenSpend>)>,
    ) -> Result<Vec<Shown>, DoorError> {
        if self.way.loses_shown.load(Ordering::SeqCst) {
            return Err(DoorError::Unreachable("lost on the way".to_owned()));
        }
        self.inner.present(items).await
    }
    async fn holding(&self, holding: HoldingId) -> Result<KnownHolding, DoorError> {
        self.inner.holding(holding).await
    }
    async fn proof(&self, proof: &FraudProof) -> Result<ProofTaken, DoorError> {
        self.inner.proof(proof).await
    }
    async fn recover(&self, after: Option<String>) -> Result<RecoveredPage, DoorError> {
        self.inner.recover(after).await
    }
    async fn notices(&self, after: u64) -> Result<(Vec<Notice>, bool), DoorError> {
        self.inner.notices(after).await
    }
    async fn spent_list(&self) -> Result<Arc<dyn SpentCopy>, DoorError> {
        self.inner.spent_list().await
    }
}
