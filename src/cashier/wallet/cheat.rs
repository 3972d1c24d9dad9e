//! A payer that cheats, for `dpay demo --cheat`: it spends one holding to two payees at once, off its
//! books, and redeems another behind the back of the payee that accepted it. All that such a wallet does
//! otherwise than an honest one stands here; no setting asks for it.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::CashierError;
use super::ahead::CommitReply;
use super::handle::WalletHandle;
use super::purse::{Ask, Purse, give};
use super::spending::SpendTo;
use crate::channel::Reserved;
use crate::coin::chain::Chain;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{MAX_LINKS_REDEEM, OpenSpend, Path};
use crate::units::{Units, UnixMs};
use crate::wallet::trade::Redeemed;
use crate::wallet::{HoldingRow, RequestId, WalletError, sign};
use crate::{clock, random};

/// How a payer cheats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trick {
    /// The first holding that is wanted goes to two payees at the same moment.
    DoubleSpend,
    /// The next one is redeemed as soon as its payee accepts it, and ticked all the same.
    RedeemAfter,
}

/// What a wallet cheats in, and who hears of it.
#[derive(Clone, Debug)]
pub struct Cheat {
    /// In what.
    pub tricks: Vec<Trick>,
    /// Told of each trick once it is played.
    pub told: UnboundedSender<Tried>,
}

/// A trick that was played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which.
    pub trick: Trick,
    /// With which holding.
    pub holding: HoldingId,
    /// The key that signed both statements about it.
    pub key: PublicKey,
    /// What it is worth.
    pub units: Units,
    /// Its spends.
    pub spends: Vec<SpentTo>,
    /// What the broker credited for it, where it was redeemed.
    pub units_credited: Units,
    /// When.
    pub at_unix_ms: UnixMs,
}

/// One spend of a holding that is played with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentTo {
    /// The payee's address.
    pub peer: String,
    /// The spend.
    pub spend: Commitment,
}

/// How far a cheating wallet is. An honest one's stays as it begins.
#[derive(Default)]
pub(super) struct Cheating {
    /// What is spent twice, and the channels that it is promised to.
    twice: Option<(HoldingId, u8)>,
    /// The first spend of it waits for the second, so that both are given out together.
    waiting: Option<(SpendTo, CommitReply)>,
    /// The spends of it.
    twins: Vec<SpentTo>,
    /// What is redeemed once its spend is accepted.
    redeems: Option<(HoldingId, SpentTo)>,
    is_redeemed: bool,
}

impl Purse {
    fn plays(&self, trick: Trick) -> bool {
        let cheat = self.config.cheat.as_ref();
        cheat.is_some_and(|cheat| cheat.tricks.contains(&trick))
    }

    fn tell(&self, tried: Tried) {
        if let Some(cheat) = &self.config.cheat {
            let _ = cheat.told.send(tried);
        }
    }

    /// What one channel was promised, promised to a second one.
    pub(super) fn promise_again(&mut self) -> Option<Reserved> {
        let (id, channels) = self.cheating.twice.as_mut().filter(|(_, n)| *n == 1)?;
        let row = self.rows.holdings.get(id)?;
        *channels = 2;
        Some(Reserved {
            holding: row.holding,
            path: row.path.clone(),
        })
    }

    /// Notes what was promised, if it is to be promised again.
    pub(super) fn promised(&mut self, row: &HoldingRow) {
        if self.plays(Trick::DoubleSpend) && self.cheating.twice.is_none() {
            self.cheating.twice = Some((row.holding.id, 1));
        }
    }

    /// Whether a promise that one channel gives back stands for another one.
    pub(super) fn keeps_promise(&mut self, holding: &HoldingId) -> bool {
        let Some((id, channels)) = &mut self.cheating.twice else {
            return false;
        };
        if id != holding {
            return false;
        }
        *channels = channels.saturating_sub(1);
        let is_left = *channels > 0;
        if !is_left {
            self.cheating.twice = None;
        }
        is_left
    }

    /// Spends a holding, as a cheat if it is one that is played with.
    pub(super) async fn serve_commit(&mut self, to: SpendTo, reply: CommitReply, now: UnixMs) {
        let (holding, peer) = (to.holding, to.peer.clone());
        if self.cheating.twice.is_some_and(|(id, _)| id == holding) {
            return self.spend_twice(to, reply, now);
        }
        let done = self.commit(to, now).await;
        if let Ok((open, _)) = &done
            && self.plays(Trick::RedeemAfter)
            && self.cheating.redeems.is_none()
            && !self.cheating.is_redeemed
            && self.cheating.twins.iter().all(|twin| twin.peer != peer)
        {
            let spend = open.commitment(&holding);
            self.cheating.redeems = Some((holding, SpentTo { peer, spend }));
        }
        give(reply, done);
    }

    fn spend_twice(&mut self, to: SpendTo, reply: CommitReply, now: UnixMs) {
        let waiting = self.cheating.waiting.take();
        let Some((first, first_reply)) = waiting.filter(|(_, reply)| !reply.is_closed()) else {
            self.cheating.waiting = Some((to, reply));
            return;
        };
        let Some(row) = self.rows.holdings.get(&to.holding).cloned() else {
            return give(reply, Err(WalletError::UnknownHolding(to.holding).into()));
        };
        for (to, reply) in [(first, first_reply), (to, reply)] {
            let (open, chain) = self.sign_unwritten(&row, &to);
            self.cheating.twins.push(SpentTo {
                peer: to.peer,
                spend: open.commitment(&to.holding),
            });
            give(reply, Ok((open, chain)));
        }
        self.tell(Tried {
            trick: Trick::DoubleSpend,
            holding: row.holding.id,
            key: row.holding.key,
            units: row.holding.value,
            spends: self.cheating.twins.clone(),
            units_credited: Units::ZERO,
            at_unix_ms: now,
        });
    }

    /// A spend that no row remembers: what an honest wallet never signs.
    fn sign_unwritten(&self, row: &HoldingRow, to: &SpendTo) -> (OpenSpend, Chain) {
        let id = row.holding.id;
        let chain = sign::chain(&self.seed, &row.holding);
        let open = OpenSpend::sign(
            &self.seed.holder_key(row.key_index),
            &id,
            to.certificate,
            chain.anchor(),
            self.seed.record_key(&id),
        );
        (open, chain)
    }

    /// Redeems what this payee accepted, without a word to the rows: the ticks go on.
    pub(super) fn redeem_accepted(&mut self, payee: &str) {
        let redeems = self.cheating.redeems.clone();
        let Some((id, spent)) = redeems.filter(|(_, spent)| spent.peer == payee) else {
            return;
        };
        let (Some(row), Some(door), Some(cheat)) = (
            self.rows.holdings.get(&id),
            self.desk.door.clone(),
            self.config.cheat.clone(),
        ) else {
            return;
        };
        let Ok(path) = Path::decode(&row.path, MAX_LINKS_REDEEM) else {
            return;
        };
        let part = sign::sign_redeem(&self.seed, row);
        let tried = Tried {
            trick: Trick::RedeemAfter,
            holding: id,
            key: row.holding.key,
            units: row.holding.value,
            spends: vec![spent],
            units_credited: Units::ZERO,
            at_unix_ms: clock::now(),
        };
        self.cheating.redeems = None;
        self.cheating.is_redeemed = true;
        tokio::spawn(async move {
            let request = RequestId(random::bytes());
            let answer = door.redeem(request, vec![(path, part)]).await;
            let outcomes = answer.map(|answer| answer.outcomes).unwrap_or_default();
            let units_credited = match outcomes.first() {
                Some(Redeemed::Credited { units, .. }) => *units,
                _ => Units::ZERO,
            };
            let _ = cheat.told.send(Tried {
                units_credited,
                ..tried
            });
        });
    }
}

impl WalletHandle {
    /// Tells a wallet that cheats which payee has accepted a spend. Others do nothing about it.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn accepted_by(&self, payee: String) -> Result<(), CashierError> {
        self.send(Ask::AcceptedBy(payee)).await
    }
}
