//! [`WalletHandle`]: what the gateway and the commands ask of a wallet. Cheap to clone; every call is
//! a message to the one task that owns the money.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::CashierError;
use super::checks::SpentCheck;
use super::chores::{Chore, Done, Keep, PresentReport};
use super::purse::Ask;
use super::slots::SlotReader;
use super::spending::SpendTo;
use super::told::{Bought, OpenChannels, RedeemReport, ReserveRequest};
use crate::channel::{NoReserve, Reserved};
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::chain::Chain;
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{ClosePart, Holding, Item, OpenSpend, Path};
use crate::units::{AT_HAND, InfoHash, Units};
use crate::wallet::deals::TorrentSums;
use crate::wallet::keeping::Rules;
use crate::wallet::receipt::Receipt;
use crate::wallet::trade::Redeemable;
use crate::wallet::{Balance, JournalEntry, PinnedBroker};
use crate::wire::message::RefuseReason;

/// A wallet in use. Dropping the last clone writes what is left and closes it.
#[derive(Clone, Debug)]
pub struct WalletHandle {
    asks: mpsc::Sender<Ask>,
    account: PublicKey,
}

impl WalletHandle {
    pub(super) fn new(asks: mpsc::Sender<Ask>, account: PublicKey) -> WalletHandle {
        WalletHandle { asks, account }
    }

    pub(super) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, CashierError> {
        let (reply, answer) = oneshot::channel();
        self.send(ask(reply)).await?;
        answer.await.map_err(|_| CashierError::Closed)
    }

    pub(super) async fn send(&self, ask: Ask) -> Result<(), CashierError> {
        self.asks.send(ask).await.map_err(|_| CashierError::Closed)
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

    /// Gives the wallet the DHT, which it reads before anything of an earlier run is signed for. Without
    /// it only what is made in this run is used.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn set_slots(
        &self,
        slots: std::sync::Arc<dyn SlotReader>,
    ) -> Result<(), CashierError> {
        self.send(Ask::Slots(slots)).await
    }

    /// Two items that lay in one slot: ours, and another under the same key. The proof is kept in the
    /// wallet's home and given to the broker, and what was paid with it is presented.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn conflict_found(&self, ours: Item, other: Item) -> Result<(), CashierError> {
        self.send(Ask::Conflict(Box::new((ours, other)))).await
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
        let to = Box::new(SpendTo {
            holding,
            payee,
            certificate,
            info_hash,
            peer,
        });
        self.ask(|reply| Ask::Commit(to, reply)).await?
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
        self.send(Ask::PayerTicks(ticks)).await
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

    /// What the spent list says of a holding whose open is recorded.
    ///
    /// # Errors
    /// Why it is not to be accepted.
    pub async fn listed(&self, spend: Commitment) -> Result<SpentCheck, RefuseReason> {
        let answer = self.ask(|reply| Ask::Listed(spend, reply)).await;
        answer.unwrap_or(Err(RefuseReason::Busy))
    }

    /// A certified key for one connection. Unused for a minute it may be given again.
    ///
    /// # Errors
    /// [`CashierError::NoKey`] when none is at hand; some are fetched in the background.
    pub async fn payee_key(&self) -> Result<(u32, PseudonymCertificate), CashierError> {
        self.ask(Ask::PayeeKey).await?
    }

    /// Takes back a key that no open came for: it may be given to another connection at once.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn key_unused(&self, index: u32) -> Result<(), CashierError> {
        self.send(Ask::KeyUnused(index)).await
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
        self.send(Ask::PayeeTicks(ticks)).await
    }

    /// Closes a received spend at (`k`, `wk`), or at what is on disk if that is more. The row is
    /// durable before the close is signed; asked again, the same bytes come back. The share can be
    /// redeemed from now on. For a spend under a key of an earlier run its close slot is read first, and
    /// a close that lies there is signed again.
    ///
    /// # Errors
    /// An unknown spend, a chain value that does not prove `k`, our own store, or
    /// [`CashierError::Unread`]: nothing is signed then; ask again later.
    pub async fn close(
        &self,
        spend: Commitment,
        k: u32,
        wk: ChainValue,
    ) -> Result<ClosePart, CashierError> {
        self.ask(|reply| Ask::Close(spend, k, wk, reply)).await?
    }

    /// Notes that the close of a received spend was put into the DHT.
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

    /// Keeps as many of the smallest coins at hand as make up `units`, bought without being asked for.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn keep_at_hand(&self, units: Units) -> Result<(), CashierError> {
        let coins = usize::try_from(units.0 / AT_HAND.0).unwrap_or(usize::MAX);
        self.ask(|reply| Ask::AtHand(coins, reply)).await
    }

    /// Sets or lifts, until the wallet is closed, the most that may ever have been paid, as its books
    /// count it. What open channels could still cost counts, so that it holds to the unit. True where they
    /// could cost more than that already: those are not taken up again, but have to be closed.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn pay_up_to(&self, most: Option<Units>) -> Result<bool, CashierError> {
        self.ask(|reply| Ask::PayUpTo(most, reply)).await
    }

    /// What the wallet holds, with what the broker said last.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn balance(&self) -> Result<Balance, CashierError> {
        self.ask(Ask::Balance).await
    }

    /// What each torrent has cost and earned, ever.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn of_torrents(&self) -> Result<BTreeMap<InfoHash, TorrentSums>, CashierError> {
        self.ask(Ask::OfTorrents).await
    }

    /// Has the account at the broker looked at soon: a deposit comes without a word. Not waited for; the
    /// balance has it once the broker has answered.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn look_at_account(&self) -> Result<(), CashierError> {
        self.send(Ask::LookAtAccount).await
    }

    /// The newest `limit` lines of the journal, oldest first.
    ///
    /// # Errors
    /// Only our own store.
    pub async fn history(&self, limit: u32) -> Result<Vec<JournalEntry>, CashierError> {
        self.ask(|reply| Ask::History(limit, reply)).await?
    }

    /// The receipts behind lines of the journal: named by number, or by the beginning (six signs
    /// or more) of their reference.
    ///
    /// # Errors
    /// Only our own store.
    pub async fn receipts(&self, what: String) -> Result<Vec<Receipt>, CashierError> {
        self.ask(|reply| Ask::Keep(Keep::Receipts(what, reply)))
            .await?
    }

    /// Buys coins worth at least `units` (rounded up to 16). What is fixed and not answered is ordered: it
    /// comes later, and who asks for as much again before that is told so and buys nothing.
    ///
    /// # Errors
    /// The broker's refusal, or that it cannot be reached before anything was fixed.
    pub async fn buy(&self, units: Units) -> Result<Bought, CashierError> {
        self.ask(|reply| Ask::Buy(units, true, reply)).await?
    }

    /// As [`WalletHandle::buy`], as far as the broker sells: where the money does not cover all of it, a part.
    ///
    /// # Errors
    /// As [`WalletHandle::buy`].
    pub async fn order(&self, units: Units) -> Result<Bought, CashierError> {
        self.ask(|reply| Ask::Buy(units, false, reply)).await?
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

    /// Reads the slots of all that an earlier run left, and of all that is frozen, once. Of a wallet with many
    /// holdings that takes long: a second or so for each four.
    ///
    /// # Errors
    /// A broker that cannot be reached, as without its spent list nothing is certain.
    pub async fn read_all(&self) -> Result<(), CashierError> {
        self.ask(|reply| Ask::Redeem(Redeemable::Nothing, reply))
            .await??;
        Ok(())
    }

    /// What is to be done in the DHT now; with `all`, also what would be due only later.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn chores(&self, all: bool) -> Result<Vec<Chore>, CashierError> {
        self.ask(|reply| Ask::Keep(Keep::Chores(all, reply))).await
    }

    /// Notes what came of a chore; says whether a close of a spend of ours did.
    ///
    /// # Errors
    /// A close that does not hold, a broker that did not answer, or our own store.
    pub async fn chore_done(&self, done: Done) -> Result<bool, CashierError> {
        self.ask(|reply| Ask::Keep(Keep::Done(done, reply))).await?
    }

    /// Waits until the broker was met in this run.
    ///
    /// # Errors
    /// No broker named, not reachable, or not the pinned one.
    pub async fn meet(&self) -> Result<(), CashierError> {
        self.ask(|reply| Ask::Keep(Keep::Meet(reply))).await?
    }

    /// Presents at once what waits to be presented.
    ///
    /// # Errors
    /// A broker that did not answer, or our own store.
    pub async fn present(&self) -> Result<PresentReport, CashierError> {
        self.ask(|reply| Ask::Keep(Keep::Present(reply))).await?
    }

    /// Redeems by itself what `rules` say, from now on.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn redeem_by(&self, rules: Rules) -> Result<(), CashierError> {
        self.ask(|reply| Ask::Keep(Keep::By(rules, reply))).await
    }

    /// Redeems at once what `rules` say is to be redeemed.
    ///
    /// # Errors
    /// As [`WalletHandle::redeem_all`].
    pub async fn redeem_due(&self, rules: Rules) -> Result<RedeemReport, CashierError> {
        self.ask(|reply| Ask::Keep(Keep::RedeemDue(rules, reply)))
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
