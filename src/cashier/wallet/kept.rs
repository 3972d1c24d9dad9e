//! Channels that outlive their connection, as the wallet keeps them: which spends a payee may have,
//! what became of a spend that a payer takes up, closing one that nobody came back for
//! (`docs/protocol.md` section 8).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::CashierError;
use super::handle::WalletHandle;
use super::proofs::ConflictSeen;
use super::purse::{Ask, Outcome, Purse, Reply, give};
use crate::channel::{Kept, KeptOpen, Recalled, Reserved};
use crate::coin::chain::on_one_chain;
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::record::{ClosePart, Item, MAX_LINKS_PROPOSE, OpenSpend, Path};
use crate::units::{InfoHash, UnixMs};
use crate::wallet::choose::overspent;
use crate::wallet::{ReceivedRow, ReceivedState, SpendRow, WalletError, paying, sign};

/// Most spends that are recalled for one connection.
const MAX_RECALLED: usize = 8;

/// A received spend and its close, for putting it into the DHT.
#[derive(Clone, Debug)]
pub struct ClosedSpend {
    /// The holding that was spent.
    pub holding: HoldingId,
    /// The open as it came.
    pub open: OpenSpend,
    /// The close.
    pub close: ClosePart,
}

/// What is asked about such channels.
pub(super) enum KeptAsk {
    Recall(InfoHash, String, Reply<Vec<Recalled>>),
    Resumed(Commitment, Reply<Outcome<()>>),
    Find(Commitment, Reply<Outcome<Kept>>),
    Close(
        Commitment,
        Option<(u32, ChainValue)>,
        Reply<Outcome<Option<ClosedSpend>>>,
    ),
    Conflict(Vec<u8>, ConflictSeen, Reply<Outcome<PathBuf>>),
    Rival(Commitment, Box<Item>, Reply<Outcome<PathBuf>>),
}

impl WalletHandle {
    /// Our spends without a close that may lie with the peer at `peer` (address and port) for this
    /// torrent: those whose payee was met there, then those whose payee had the same IP address.
    ///
    /// # Errors
    /// Only a closed wallet.
    pub async fn recall(
        &self,
        info_hash: InfoHash,
        peer: String,
    ) -> Result<Vec<Recalled>, CashierError> {
        self.ask(|reply| Ask::Kept(KeptAsk::Recall(info_hash, peer, reply)))
            .await
    }

    /// Notes that the channel of a spend of ours is in use again.
    ///
    /// # Errors
    /// An unknown spend, or our own store.
    pub async fn payer_resumed(&self, spend: Commitment) -> Result<(), CashierError> {
        self.ask(|reply| Ask::Kept(KeptAsk::Resumed(spend, reply)))
            .await?
    }

    /// What became of a received spend. Bytes left unpaid are not the wallet's to know: 0.
    ///
    /// # Errors
    /// Our own store, or a path on disk that is damaged.
    pub async fn find_received(&self, spend: Commitment) -> Result<Kept, CashierError> {
        self.ask(|reply| Ask::Kept(KeptAsk::Find(spend, reply)))
            .await?
    }

    /// Closes a received spend at what is on disk, or at (`k`, `wk`) if that is shown and more.
    /// `None` where the spend is unknown, or what is shown is no tick of it.
    ///
    /// # Errors
    /// Our own store.
    pub async fn close_kept(
        &self,
        spend: Commitment,
        shown: Option<(u32, ChainValue)>,
    ) -> Result<Option<ClosedSpend>, CashierError> {
        self.ask(|reply| Ask::Kept(KeptAsk::Close(spend, shown, reply)))
            .await?
    }
}

impl Purse {
    pub(super) async fn serve_kept(&mut self, ask: KeptAsk, now: UnixMs) {
        match ask {
            KeptAsk::Recall(info_hash, peer, reply) => {
                let _ = self.flush().await;
                give(reply, self.recall(&info_hash, &peer, now));
            }
            KeptAsk::Resumed(spend, reply) => {
                let change = paying::resumed(&self.rows, &spend);
                self.keeping.diary.live.insert(spend);
                give(reply, self.done(change).await);
            }
            KeptAsk::Find(spend, reply) => {
                give(reply, self.find_received(&spend).await);
            }
            KeptAsk::Close(spend, shown, reply) => {
                give(reply, self.close_kept(&spend, shown).await);
            }
            KeptAsk::Conflict(proof, seen, reply) => {
                give(reply, self.report_conflict(&proof, seen, now).await);
            }
            KeptAsk::Rival(spend, other, reply) => {
                give(reply, self.report_rival(&spend, &other, now).await);
            }
        }
    }

    fn recall(&self, info_hash: &InfoHash, peer: &str, now: UnixMs) -> Vec<Recalled> {
        let ip = ip_of(peer);
        let may_lie_there = |row: &&SpendRow| {
            let is_near = row.peer == peer || ip.is_some() && ip_of(&row.peer) == ip;
            row.close.is_none() && row.info_hash == *info_hash && is_near
        };
        let may_pay = !overspent(&self.rows, &self.config.limits, info_hash, now);
        let mut rows: Vec<&SpendRow> = self.rows.spends.values().filter(may_lie_there).collect();
        rows.sort_by_key(|row| (row.peer != peer, std::cmp::Reverse(row.opened)));
        let recalled = rows.into_iter().filter_map(|row| {
            let holding = self.rows.holdings.get(&row.holding)?;
            // A payee takes nothing that expires too soon, but goes on with what it took.
            (now.day() < holding.holding.expires).then(|| Recalled {
                reserved: Reserved {
                    holding: holding.holding,
                    path: holding.path.clone(),
                },
                open: sign::sign_spend(&self.seed, holding.key_index, row),
                chain: sign::chain(&self.seed, &holding.holding),
                last_k: row.last_k,
                is_same_peer: row.peer == peer,
                may_pay,
            })
        });
        recalled.take(MAX_RECALLED).collect()
    }

    async fn find_received(&mut self, spend: &Commitment) -> Outcome<Kept> {
        self.flush().await?;
        let Some(row) = self.rows.received.get(spend) else {
            return Ok(Kept::Unknown);
        };
        match &row.state {
            ReceivedState::Open => {}
            ReceivedState::Closing | ReceivedState::Closed { .. } => {
                let (k, wk) = (row.k, row.wk);
                let close = self.close(spend, k, &wk).await?;
                return Ok(Kept::Closed(Box::new(close)));
            }
        }
        let path = Path::decode(&row.path, MAX_LINKS_PROPOSE);
        let path = path.map_err(|e| WalletError::BadOpen(e.to_string()))?;
        Ok(Kept::Open(Box::new(KeptOpen {
            path,
            holding: row.holding,
            open: row.open,
            k: row.k,
            wk: row.wk,
            is_accepted: row.accepted,
            unpaid_bytes: 0,
        })))
    }

    async fn close_kept(
        &mut self,
        spend: &Commitment,
        shown: Option<(u32, ChainValue)>,
    ) -> Outcome<Option<ClosedSpend>> {
        self.flush().await?;
        let Some(row) = self.rows.received.get(spend) else {
            return Ok(None);
        };
        let (k, wk) = shown.unwrap_or((row.k, row.wk));
        if !is_tick_of(row, k, &wk) {
            return Ok(None);
        }
        let (holding, open) = (row.holding.id, row.open);
        let close = self.close(spend, k, &wk).await?;
        Ok(Some(ClosedSpend {
            holding,
            open,
            close,
        }))
    }
}

/// Whether (`k`, `wk`) is a tick of the row's chain, new or old.
fn is_tick_of(row: &ReceivedRow, k: u32, wk: &ChainValue) -> bool {
    u64::from(k) <= row.holding.value.0 && on_one_chain(k, wk, row.k, &row.wk)
}

fn ip_of(peer: &str) -> Option<IpAddr> {
    let address: SocketAddr = peer.parse().ok()?;
    Some(address.ip().to_canonical())
}
