//! What a wallet knows: one row per holding, spend, received open, key, purchase and redemption.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::freeze::Freeze;
use super::withdraw::WithdrawalRow;
use crate::bytes_newtype;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::coin::keys::{PublicKey, Signature};
use crate::record::{ClosePart, Holding, Link, MAX_LINKS_PROPOSE, OpenSpend};
use crate::units::{InfoHash, Units, UnixMs};

bytes_newtype!(
    /// Names one request to the broker, so that a repetition is answered and not carried out again.
    RequestId,
    16
);

/// Least value that payees take for a channel. What is worth less is redeemed.
pub const LEAST_CHANNEL: Units = Units(16);

/// Where a holding came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A coin bought from the broker.
    Bought,
    /// A payee's share: earned by serving.
    Earned,
    /// What a payee's close left of a holding of ours.
    Change,
}

/// Whether a holding may be spent on to somebody else, or is only redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passing {
    /// It travels.
    Yes,
    /// Once the record of the close that made it was read back from the DHT.
    AfterReadBack,
    /// Its payer or payee may sign another statement about its ancestors: only redeemed.
    Never,
}

/// What a holding is doing. The module's picture shows the arrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldingState {
    /// Nothing was ever signed for it, and nothing is in its slot.
    Available,
    /// From an earlier run, and its slot was not read in this one: never signed for before that. Never
    /// on disk, where it is available.
    Unread,
    /// Something is known of its slot that these rows do not know: signed for by a copy of this wallet,
    /// or by a run whose journal is lost. Never signed for while it is so.
    Frozen {
        /// What was found.
        why: Freeze,
        /// The commitment that was found, where one was.
        seen: Option<Commitment>,
        /// Since when.
        since: UnixMs,
    },
    /// Promised to a channel that is being opened; still nothing signed. Never on disk: after a
    /// restart the holding is available again.
    Reserved {
        /// When the promise lapses and another channel may take it.
        until: UnixMs,
        /// The torrent it is for.
        info_hash: InfoHash,
    },
    /// Spent to one payee; [`SpendRow`] has the rest. Fixed before the spend is signed.
    Locked {
        /// The spend.
        spend: Commitment,
    },
    /// The payee closed: `k` units are its, the change is a holding of its own.
    Closed {
        /// The spend.
        spend: Commitment,
        /// Units paid.
        k: u32,
    },
    /// A redemption is fixed, and perhaps signed and sent; asked again until answered.
    Redeeming {
        /// The redemption.
        request: RequestId,
    },
    /// The broker credited it.
    Redeemed {
        /// The redemption.
        request: RequestId,
        /// When the broker said so.
        at: UnixMs,
        /// Until when the credit is pending.
        pending_until: UnixMs,
    },
    /// The broker refused to redeem it.
    Refused {
        /// The broker's reason.
        why: String,
    },
}

/// Units that can be spent once, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingRow {
    /// Id, value, holder key, coin and expiry.
    pub holding: Holding,
    /// Index of the holder key.
    pub key_index: u32,
    /// Where it came from.
    pub origin: Origin,
    /// The encoded path that proves it.
    pub path: Vec<u8>,
    /// Whether it may be spent on.
    pub passing: Passing,
    /// When it came to be ours.
    pub since: UnixMs,
    /// The torrent it was earned with, or spent from; none for coins.
    pub info_hash: Option<InfoHash>,
    /// With whom it was earned or spent.
    pub peer: Option<String>,
    /// What it is doing.
    pub state: HoldingState,
}

impl HoldingState {
    /// Whether it ends with the process: on disk it is available.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        matches!(self, HoldingState::Unread | HoldingState::Reserved { .. })
    }
}

impl HoldingRow {
    /// Whether payees take it, but for its expiry: nothing speaks against its ancestors, its path
    /// has at most seven links, and it is worth a channel.
    #[must_use]
    pub fn is_spendable(&self) -> bool {
        self.passing == Passing::Yes
            && self.links() <= MAX_LINKS_PROPOSE
            && self.holding.value >= LEAST_CHANNEL
    }

    /// Links of its path, from the length that every path has.
    #[must_use]
    pub fn links(&self) -> usize {
        let links = self.path.len().saturating_sub(CoinCertificate::SIZE);
        links.checked_div(Link::SIZE).unwrap_or_default()
    }

    /// Whether nothing was ever signed for it and no channel has it promised now.
    #[must_use]
    pub fn is_idle(&self, now: UnixMs) -> bool {
        match self.state {
            HoldingState::Available => true,
            HoldingState::Reserved { until, .. } => now >= until,
            _ => false,
        }
    }
}

/// A spend of ours. Everything but `last_k`, `ended` and `close` is fixed when the row is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRow {
    /// The spend's commitment.
    pub spend: Commitment,
    /// The holding it spends.
    pub holding: HoldingId,
    /// What the holding is worth.
    pub value: Units,
    /// The payee's holder key.
    pub payee: PublicKey,
    /// The certificate of that key.
    pub payee_certificate: PseudonymCertificate,
    /// w0.
    pub anchor: ChainValue,
    /// Units ticked so far; after a crash up to a second behind what was sent.
    pub last_k: u32,
    /// The torrent that was paid for.
    pub info_hash: InfoHash,
    /// The payee's address, for people.
    pub peer: String,
    /// When the spend was fixed.
    pub opened: UnixMs,
    /// When its connection ended, if that was seen.
    pub ended: Option<UnixMs>,
    /// The payee's close.
    pub close: Option<ClosePart>,
    /// When its close was last looked for, if it was.
    pub polled: Option<UnixMs>,
    /// When the broker was shown it, if it was.
    pub presented: Option<UnixMs>,
}

/// How far a received spend has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedState {
    /// Its channel may still tick.
    Open,
    /// The close (row's `k`, `wk`) is fixed, and perhaps signed and sent.
    Closing,
    /// The close is signed and kept; the share is a holding of its own.
    Closed {
        /// Signatures over the three places.
        signatures: [Signature; 3],
    },
}

/// A spend of somebody else to us. Kept for ever: a holding is accepted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRow {
    /// The spend's commitment.
    pub spend: Commitment,
    /// The holding that was spent.
    pub holding: Holding,
    /// The encoded path that proves the holding.
    pub path: Vec<u8>,
    /// The open as it came.
    pub open: OpenSpend,
    /// Index of our payee key.
    pub key_index: u32,
    /// Units ticked so far, or closed at.
    pub k: u32,
    /// The chain value that pays them; the anchor at 0.
    pub wk: ChainValue,
    /// How far it has come.
    pub state: ReceivedState,
    /// Whether its records were accepted in the DHT.
    pub accepted: bool,
    /// Whether enough DHT nodes took the close's record.
    pub put: bool,
    /// The torrent that was served.
    pub info_hash: InfoHash,
    /// The payer's address, for people.
    pub peer: String,
    /// When the open came.
    pub opened: UnixMs,
    /// When the close was signed.
    pub closed: Option<UnixMs>,
    /// When the broker was first shown the close, if it was without a redemption.
    pub presented: Option<UnixMs>,
}

impl ReceivedRow {
    /// The signed close, once there is one.
    #[must_use]
    pub fn close(&self) -> Option<ClosePart> {
        match self.state {
            ReceivedState::Closed { signatures } => Some(ClosePart {
                k: self.k,
                wk: self.wk,
                signatures,
            }),
            ReceivedState::Open | ReceivedState::Closing => None,
        }
    }
}

/// A certified holder key that payers may pay to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayeeKeyRow {
    /// Index of the holder key.
    pub index: u32,
    /// The broker's certificate.
    pub certificate: PseudonymCertificate,
    /// Whether a spend to it was received: then no other connection gets it.
    pub used: bool,
}

/// How far a purchase has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurchaseState {
    /// Fixed, and perhaps sent; asked again until answered.
    Pending,
    /// The coins are ours.
    Done,
    /// The broker refused it.
    Failed {
        /// The broker's reason.
        why: String,
    },
}

/// Coins asked of the broker. Durable before it is sent, so that no coin is paid for and lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurchaseRow {
    /// The request.
    pub request: RequestId,
    /// Value and holder key index of each coin.
    pub coins: Vec<(Units, u32)>,
    /// When it was fixed.
    pub at: UnixMs,
    /// How far it has come.
    pub state: PurchaseState,
}

/// Holdings given to the broker for credit. Durable before anything is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedemptionRow {
    /// The request.
    pub request: RequestId,
    /// The holdings, in the order of the request; once answered, those that were answered for good.
    pub holdings: Vec<HoldingId>,
    /// When it was fixed.
    pub at: UnixMs,
    /// The broker's signed answers as they came, one per holding asked for; none while it is pending.
    pub answers: Option<Vec<u8>>,
}

/// The broker that this wallet deals with, fixed at first use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedBroker {
    /// Its key. Another key under the same URL is an error.
    pub key: PublicKey,
    /// Where it was met first.
    pub url: String,
}

/// Sums since the wallet began. `bought + earned - paid - redeemed` is what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Coins bought.
    pub bought: Units,
    /// Ticks received.
    pub earned: Units,
    /// Ticks paid.
    pub paid: Units,
    /// Credits of the broker.
    pub redeemed: Units,
}

/// The rows that exist once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The account, and with it the seed, that the rows belong to.
    pub account: Option<PublicKey>,
    /// The broker, once it was met.
    pub broker: Option<PinnedBroker>,
    /// The next holder key that was never used for anything.
    pub next_key: u32,
    /// The sums.
    pub books: Books,
    /// Made from words or from a backup: the broker is asked for what the rows lack before anything else.
    pub needs_recovery: bool,
    /// The last of the broker's notices to this account that is in the journal.
    pub last_notice: u64,
    /// Nothing is bought by itself: who has this wallet is leaving.
    pub buys_nothing: bool,
    /// Nothing that takes money from the account was ever signed under a later time than this.
    pub signed_until: UnixMs,
}

/// Everything a wallet knows, except its journal, which is only written and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Counts durable changes; a change says which version it was decided on.
    pub version: u64,
    /// What exists once.
    pub meta: Meta,
    /// Holdings by id.
    pub holdings: BTreeMap<HoldingId, HoldingRow>,
    /// Our spends by commitment.
    pub spends: BTreeMap<Commitment, SpendRow>,
    /// Received opens by commitment.
    pub received: BTreeMap<Commitment, ReceivedRow>,
    /// Which spend each received holding came with.
    pub received_by_holding: BTreeMap<HoldingId, Commitment>,
    /// Certified payee keys by index.
    pub keys: BTreeMap<u32, PayeeKeyRow>,
    /// Purchases by request.
    pub purchases: BTreeMap<RequestId, PurchaseRow>,
    /// Redemptions by request.
    pub redemptions: BTreeMap<RequestId, RedemptionRow>,
    /// Withdrawals by request.
    pub withdrawals: BTreeMap<RequestId, WithdrawalRow>,
    /// Most units each torrent may cost.
    pub budgets: BTreeMap<InfoHash, Units>,
    /// Unread holdings whose slots decided nothing, again and again: they are looked at further, and nobody
    /// waits for that. Never on disk.
    pub unreadable: BTreeSet<HoldingId>,
}

impl Rows {
    /// What the rows say is held: everything that is neither paid nor redeemed. Refused holdings
    /// count until they are settled. `None` where the sum does not fit, which no broker can sell.
    #[must_use]
    pub fn held(&self) -> Option<Units> {
        let own = self.holdings.values().map(|row| match &row.state {
            HoldingState::Locked { spend } => {
                let paid = self.spends.get(spend).map_or(0, |s| s.last_k);
                row.holding.value.saturating_sub(Units(u64::from(paid)))
            }
            HoldingState::Closed { .. } | HoldingState::Redeemed { .. } => Units::ZERO,
            _ => row.holding.value,
        });
        let open = self.received.values().map(|row| match row.state {
            ReceivedState::Closed { .. } => Units::ZERO,
            _ => Units(u64::from(row.k)),
        });
        Units::checked_sum(own.chain(open))
    }

    /// Our spends whose payee has not closed, and whose coin is not settled.
    pub fn open_spends(&self) -> impl Iterator<Item = &SpendRow> {
        self.spends.values().filter(|row| {
            let holding = self.holdings.get(&row.holding);
            let is_locked = |h: &HoldingRow| matches!(h.state, HoldingState::Locked { .. });
            row.close.is_none() && holding.is_none_or(is_locked)
        })
    }

    /// Whether the books agree with the rows.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let books = &self.meta.books;
        let into = books.bought.checked_add(books.earned);
        let out = books.paid.checked_add(books.redeemed);
        let held = into.zip(out).and_then(|(into, out)| into.checked_sub(out));
        held.is_some() && held == self.held()
    }

    /// What `info_hash` has cost and may yet cost: reserved and open channels in full, closed ones
    /// at what was paid.
    #[must_use]
    pub fn committed(&self, info_hash: &InfoHash, now: UnixMs) -> Units {
        let reserved = self.holdings.values().filter_map(|row| match &row.state {
            HoldingState::Reserved {
                until,
                info_hash: h,
            } if h == info_hash && now < *until => Some(row.holding.value),
            _ => None,
        });
        let spent = self
            .spends
            .values()
            .filter(|row| row.info_hash == *info_hash)
            .map(|row| match &row.close {
                Some(close) => Units(u64::from(close.k)),
                None => row.value,
            });
        Units::checked_sum(reserved.chain(spent)).unwrap_or(Units(u64::MAX))
    }
}
