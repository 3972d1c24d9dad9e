//! Receipts: what stands behind a line of the history, as far as the rows have it: statements as
//! they are signed, the broker's signed answers, amounts, who, and for which torrent.

use serde::Serialize;

use super::change::{JournalEntry, JournalKind};
use super::rows::{HoldingRow, Origin, PurchaseState, ReceivedRow, RedemptionRow, Rows, SpendRow};
use super::withdraw::WithdrawalState;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{ClosePart, Link, MAX_LINKS_REDEEM, Path};
use crate::units::{InfoHash, Units, UnixMs};

/// Everything kept about one payment, purchase or redemption. Bytes are lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The lines of the history about it.
    pub lines: Vec<JournalEntry>,
    /// What they are about.
    #[serde(flatten)]
    pub about: About,
}

/// What a receipt is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum About {
    /// A holding of ours spent to a payee.
    Payment(Box<ChannelReceipt>),
    /// A holding spent to us.
    Earning(Box<ChannelReceipt>),
    /// Coins bought.
    Purchase {
        /// The request's id.
        request: String,
        /// `pending`, `done`, or why the broker refused.
        state: String,
        /// The coins.
        coins: Vec<CoinReceipt>,
    },
    /// Holdings redeemed.
    Redemption {
        /// The request's id.
        request: String,
        /// When it was fixed.
        at_unix_ms: UnixMs,
        /// The holdings.
        holdings: Vec<HoldingReceipt>,
        /// The broker's answer, as it signed it; none while it is waited for.
        answer: Option<String>,
        /// The broker's signature over the answer.
        signature: Option<String>,
    },
    /// Units withdrawn from the balance at the broker.
    Withdrawal {
        /// The request's id.
        request: String,
        /// When it was fixed.
        at_unix_ms: UnixMs,
        /// How much.
        units: Units,
        /// Where to.
        destination: String,
        /// `pending`, `done`, or why the broker refused.
        state: String,
        /// The broker's id of it, once it is in its queue.
        withdrawal: Option<String>,
        /// The broker's answer, as it signed it.
        answer: Option<String>,
        /// The broker's signature over the answer.
        signature: Option<String>,
    },
    /// A line that needs no proof, or whose rows are gone.
    Line,
}

/// One channel, from either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelReceipt {
    /// Commitment of the spend.
    pub spend: Commitment,
    /// The holding that was spent.
    pub holding: HoldingId,
    /// What it was worth.
    pub value: Units,
    /// Units paid by it so far, or in all once it is closed.
    pub paid: Units,
    /// The payee's holder key.
    pub payee: PublicKey,
    /// The other end's address.
    pub peer: String,
    /// The torrent.
    pub info_hash: InfoHash,
    /// When the spend was fixed or received.
    pub opened_unix_ms: UnixMs,
    /// Links of the path that proves the holding: how often it was passed on.
    pub links: usize,
    /// That path.
    pub path: String,
    /// The open spend with its three signatures; none where only the seed could sign it again.
    pub open: Option<String>,
    /// Certificate of the payee's key.
    pub payee_certificate: String,
    /// The close with its three signatures; none while it is not there.
    pub close: Option<String>,
    /// When the broker was shown it, if it was.
    pub presented_unix_ms: Option<UnixMs>,
}

/// One coin that was bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoinReceipt {
    /// What it is worth.
    pub value: Units,
    /// Its id, once it is ours.
    pub coin: Option<HoldingId>,
    /// The broker's certificate.
    pub certificate: Option<String>,
}

/// One holding that was redeemed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HoldingReceipt {
    /// Its id.
    pub holding: HoldingId,
    /// What it is worth.
    pub value: Units,
    /// Where it came from.
    pub origin: Origin,
    /// What became of it.
    pub state: &'static str,
    /// The path that proves it.
    pub path: String,
}

impl Receipt {
    /// The receipts behind `lines`: one for each thing that they are about, in their order.
    #[must_use]
    pub fn of(rows: &Rows, lines: Vec<JournalEntry>) -> Vec<Receipt> {
        let mut receipts: Vec<Receipt> = Vec::new();
        for entry in lines {
            let same = receipts.iter_mut().find(|receipt| {
                (receipt.lines.iter()).any(|line| line.line.reference == entry.line.reference)
            });
            match same {
                Some(receipt) => receipt.lines.push(entry),
                None => receipts.push(Receipt {
                    about: about(rows, &entry),
                    lines: vec![entry],
                }),
            }
        }
        receipts
    }
}

fn about(rows: &Rows, entry: &JournalEntry) -> About {
    let reference = &entry.line.reference;
    let spend = || reference.parse::<Commitment>().ok();
    let found = match entry.line.kind {
        JournalKind::Locked | JournalKind::Paid | JournalKind::Change => spend()
            .and_then(|spend| payment(rows, rows.spends.get(&spend)?))
            .map(|receipt| About::Payment(Box::new(receipt))),
        JournalKind::Received | JournalKind::Earned => spend()
            .and_then(|spend| rows.received.get(&spend))
            .map(|row| About::Earning(Box::new(earning(row)))),
        JournalKind::Bought | JournalKind::PurchaseRefused => purchase(rows, reference),
        JournalKind::Redeemed | JournalKind::RedeemRefused => rows
            .redemptions
            .values()
            .find(|row| row.request.to_string() == *reference)
            .map(|row| redemption(rows, row)),
        JournalKind::Withdrawn | JournalKind::WithdrawalRefused | JournalKind::PaidOut => {
            withdrawal(rows, reference)
        }
        _ => None,
    };
    found.unwrap_or(About::Line)
}

fn payment(rows: &Rows, row: &SpendRow) -> Option<ChannelReceipt> {
    let holding = rows.holdings.get(&row.holding)?;
    Some(ChannelReceipt {
        spend: row.spend,
        holding: row.holding,
        value: row.value,
        paid: Units(u64::from(row.last_k)),
        payee: row.payee,
        peer: row.peer.clone(),
        info_hash: row.info_hash,
        opened_unix_ms: row.opened,
        links: holding.links(),
        path: hex::encode(&holding.path),
        open: last_link(rows.holdings.get(&row.holding.change()))
            .map(|link| hex::encode(link.spend.encode())),
        payee_certificate: hex::encode(row.payee_certificate.encode()),
        close: row.close.map(encode_close),
        presented_unix_ms: row.presented,
    })
}

fn earning(row: &ReceivedRow) -> ChannelReceipt {
    let links = Path::decode(&row.path, MAX_LINKS_REDEEM).map_or(0, |path| path.links.len());
    ChannelReceipt {
        spend: row.spend,
        holding: row.holding.id,
        value: row.holding.value,
        paid: Units(u64::from(row.k)),
        payee: row.open.payee,
        peer: row.peer.clone(),
        info_hash: row.info_hash,
        opened_unix_ms: row.opened,
        links,
        path: hex::encode(&row.path),
        open: Some(hex::encode(row.open.encode())),
        payee_certificate: hex::encode(row.open.payee_certificate.encode()),
        close: row.close().map(encode_close),
        presented_unix_ms: row.presented,
    }
}

fn encode_close(close: ClosePart) -> String {
    hex::encode(close.encode())
}

fn last_link(row: Option<&HoldingRow>) -> Option<Link> {
    let path = Path::decode(&row?.path, MAX_LINKS_REDEEM).ok()?;
    path.links.last().copied()
}

fn purchase(rows: &Rows, reference: &str) -> Option<About> {
    let mut purchases = rows.purchases.values();
    let row = purchases.find(|row| row.request.to_string() == reference)?;
    let coins = row.coins.iter().map(|(value, index)| {
        let mut holdings = rows.holdings.values();
        let coin = holdings.find(|h| h.key_index == *index && h.origin == Origin::Bought);
        CoinReceipt {
            value: *value,
            coin: coin.map(|row| row.holding.id),
            certificate: coin.map(|row| hex::encode(&row.path)),
        }
    });
    Some(About::Purchase {
        request: reference.to_owned(),
        state: match &row.state {
            PurchaseState::Pending => "pending".to_owned(),
            PurchaseState::Done => "done".to_owned(),
            PurchaseState::Failed { why } => why.clone(),
        },
        coins: coins.collect(),
    })
}

fn redemption(rows: &Rows, row: &RedemptionRow) -> About {
    let holdings = row.holdings.iter().filter_map(|id| rows.holdings.get(id));
    let (answer, signature) = row.answers.as_deref().map(evidence).unwrap_or_default();
    About::Redemption {
        request: row.request.to_string(),
        at_unix_ms: row.at,
        holdings: holdings
            .map(|row| HoldingReceipt {
                holding: row.holding.id,
                value: row.holding.value,
                origin: row.origin,
                state: super::paying::state_name(&row.state),
                path: hex::encode(&row.path),
            })
            .collect(),
        answer,
        signature,
    }
}

fn withdrawal(rows: &Rows, reference: &str) -> Option<About> {
    let mut withdrawals = rows.withdrawals.values();
    let row = withdrawals.find(|row| row.request.to_string() == reference)?;
    let (state, done) = match &row.state {
        WithdrawalState::Pending => ("pending", None),
        WithdrawalState::Done { withdrawal, answer } => ("done", Some((withdrawal, answer))),
        WithdrawalState::Refused { why } => (why.as_str(), None),
    };
    let (answer, signature) = done.map(|(_, bytes)| evidence(bytes)).unwrap_or_default();
    Some(About::Withdrawal {
        request: reference.to_owned(),
        at_unix_ms: row.at,
        units: row.units,
        destination: row.destination.clone(),
        state: state.to_owned(),
        withdrawal: done.map(|(id, _)| id.clone()),
        answer,
        signature,
    })
}

/// The text of a kept answer, and the broker's signature over it.
fn evidence(bytes: &[u8]) -> (Option<String>, Option<String>) {
    let Some((signature, text)) = bytes.split_at_checked(64) else {
        return (None, None);
    };
    let text = String::from_utf8_lossy(text).into_owned();
    (Some(text), Some(hex::encode(signature)))
}
