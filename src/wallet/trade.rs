//! Dealing with the broker: pin it, buy coins, redeem holdings (`docs/protocol.md` sections 5 and 10).
//!
//! A request is a row before it is sent, and is sent again with the same id until it is answered,
//! so a crash at any point neither loses a coin nor pays for it twice.

use super::change::{Change, Effect, JournalKind, JournalLine};
use super::choose::MAX_BATCH;
use super::error::WalletError;
use super::paying::with_books;
use super::rows::{
    HoldingRow, HoldingState, Meta, Origin, Passing, PinnedBroker, PurchaseRow, PurchaseState,
    RedemptionRow, RequestId, Rows,
};
use super::withdraw;
use crate::coin::certificate::CoinCertificate;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::record::{Holding, Path};
use crate::units::{Units, UnixMs};

/// Days after a coin's expiry in which the broker still redeems what is under it.
pub const SETTLE_DAYS: u32 = 30;

/// Binds rows to the account of the seed, and refuses another seed for them.
///
/// # Errors
/// [`WalletError::OtherSeed`].
pub fn own(rows: &Rows, account: PublicKey) -> Result<Change, WalletError> {
    let mut change = Change::on(rows);
    match rows.meta.account {
        // Rows that nothing was written to but their owner are left by an init that was cut short.
        Some(owner) if owner != account && rows.version > 1 => Err(WalletError::OtherSeed {
            owner,
            seed: account,
        }),
        Some(owner) if owner == account => Ok(change),
        Some(_) | None => {
            change.meta = Some(Meta {
                account: Some(account),
                ..rows.meta.clone()
            });
            Ok(change)
        }
    }
}

/// Binds the wallet to the broker it meets first, and holds it to it.
///
/// # Errors
/// [`WalletError::BrokerChanged`] for a key other than the pinned one.
pub fn pin(rows: &Rows, met: PinnedBroker, now: UnixMs) -> Result<Change, WalletError> {
    let mut change = Change::on(rows);
    match &rows.meta.broker {
        Some(pinned) if pinned.key != met.key => Err(WalletError::BrokerChanged {
            url: met.url,
            pinned: pinned.key,
            found: met.key,
        }),
        Some(_) => Ok(change),
        None => {
            change.journal.push(JournalLine {
                at: now,
                kind: JournalKind::BrokerPinned,
                units: Units::ZERO,
                info_hash: None,
                peer: Some(met.url.clone()),
                reference: met.key.to_string(),
            });
            change.meta = Some(Meta {
                broker: Some(met),
                ..rows.meta.clone()
            });
            Ok(change)
        }
    }
}

/// Takes the coins of a purchase. `holder` derives the public holder key of an index. A purchase
/// that is done changes nothing.
///
/// # Errors
/// [`WalletError::BrokerAnswer`] unless each coin is the pinned broker's, of the value and for the
/// key that were asked for, and not expired.
pub fn purchased(
    rows: &Rows,
    request: &RequestId,
    coins: &[CoinCertificate],
    holder: &dyn Fn(u32) -> PublicKey,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let mut row = purchase(rows, request)?.clone();
    let mut change = Change::on(rows);
    if row.state == PurchaseState::Done {
        return Ok(change);
    }
    if coins.len() != row.coins.len() {
        return Err(WalletError::BrokerAnswer(format!(
            "{} coins for {} that were ordered",
            coins.len(),
            row.coins.len()
        )));
    }
    let mut bought = Units::ZERO;
    for ((value, index), coin) in row.coins.iter().zip(coins) {
        let holding = coin_row(rows, coin, *value, *index, holder, now)?;
        bought = bought.checked_add(*value).ok_or(WalletError::Overflow)?;
        change.journal.push(JournalLine {
            at: now,
            kind: JournalKind::Bought,
            units: *value,
            info_hash: None,
            peer: None,
            reference: request.to_string(),
        });
        change.holdings.push(holding);
    }
    change.meta = Some(with_books(rows, |books| {
        books.bought = books.bought.checked_add(bought)?;
        Some(())
    })?);
    row.state = PurchaseState::Done;
    change.purchases.push(row);
    Ok(change)
}

fn coin_row(
    rows: &Rows,
    coin: &CoinCertificate,
    value: Units,
    index: u32,
    holder: &dyn Fn(u32) -> PublicKey,
    now: UnixMs,
) -> Result<HoldingRow, WalletError> {
    let bad = |why: String| Err(WalletError::BrokerAnswer(why));
    if coin.value != value || coin.holder != holder(index) {
        return bad(format!(
            "a coin of {} units for key {} where {value} units for key {} were ordered",
            coin.value,
            coin.holder,
            holder(index)
        ));
    }
    let path = Path {
        coin: *coin,
        links: Vec::new(),
    };
    let pinned = rows.meta.broker.as_ref().map(|broker| broker.key);
    let accepts = |key: &PublicKey| pinned.as_ref() == Some(key);
    let holding: Holding = match path.verify(&accepts, Some((now.day(), 0))) {
        Ok(holding) => holding,
        Err(e) => return bad(format!("a coin that does not hold: {e}")),
    };
    if rows.holdings.contains_key(&holding.id) {
        return bad(format!("coin {} was sold before", holding.id));
    }
    Ok(HoldingRow {
        holding,
        key_index: index,
        origin: Origin::Bought,
        path: path.encode(),
        passing: Passing::Yes,
        since: now,
        info_hash: None,
        peer: None,
        state: HoldingState::Available,
    })
}

/// Notes that the broker refused a purchase. Its holder keys stay used up.
///
/// # Errors
/// An unknown request.
pub fn purchase_refused(
    rows: &Rows,
    request: &RequestId,
    why: &str,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let mut row = purchase(rows, request)?.clone();
    let mut change = Change::on(rows);
    if row.state != PurchaseState::Pending {
        return Ok(change);
    }
    let values = row.coins.iter().map(|(value, _)| *value);
    change.journal.push(JournalLine {
        at: now,
        kind: JournalKind::PurchaseRefused,
        units: Units::checked_sum(values).ok_or(WalletError::Overflow)?,
        info_hash: None,
        peer: None,
        reference: request.to_string(),
    });
    row.state = PurchaseState::Failed {
        why: why.to_owned(),
    };
    change.purchases.push(row);
    Ok(change)
}

fn purchase<'a>(rows: &'a Rows, request: &RequestId) -> Result<&'a PurchaseRow, WalletError> {
    rows.purchases
        .get(request)
        .ok_or_else(|| WalletError::BrokerAnswer(format!("no purchase {request} was ordered")))
}

/// Which holdings to redeem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemable {
    /// What was earned, and change.
    Earned,
    /// Unspent coins too.
    All,
    /// Nothing: who asks only wants to know what there is.
    Nothing,
}

/// The holdings that could be redeemed now: nothing signed for them, and not past settlement.
#[must_use]
pub fn redeemable(rows: &Rows, which: Redeemable, now: UnixMs) -> Vec<HoldingId> {
    rows.holdings
        .values()
        .filter(|row| row.is_idle(now) && would_redeem(row, which, now))
        .map(|row| row.holding.id)
        .collect()
}

/// Whether a holding could be redeemed now, or once its slot is read.
#[must_use]
pub fn would_redeem(row: &HoldingRow, which: Redeemable, now: UnixMs) -> bool {
    let is_meant = match which {
        Redeemable::All => true,
        Redeemable::Earned => row.origin != Origin::Bought,
        Redeemable::Nothing => false,
    };
    (row.is_idle(now) || row.state == HoldingState::Unread)
        && is_meant
        && now.day() < row.holding.expires.plus(SETTLE_DAYS)
}

/// Fixes the redemption of at most [`MAX_BATCH`] available holdings. From now on they cannot be
/// spent. Only once this is durable may it be signed.
///
/// # Errors
/// A holding that is not available, or too many.
pub fn begin_redemption(
    rows: &Rows,
    request: RequestId,
    holdings: &[HoldingId],
    now: UnixMs,
) -> Result<Change, WalletError> {
    if holdings.is_empty() || holdings.len() > MAX_BATCH || rows.redemptions.contains_key(&request)
    {
        return Err(WalletError::Overflow);
    }
    let mut change = Change::on(rows);
    for id in holdings {
        let mut row = super::paying::find(rows, id)?.clone();
        if !row.is_idle(now) {
            return Err(WalletError::NotReserved {
                holding: *id,
                state: super::paying::state_name(&row.state),
            });
        }
        row.state = HoldingState::Redeeming { request };
        change.holdings.push(row);
    }
    change.redemptions.push(RedemptionRow {
        request,
        holdings: holdings.to_vec(),
        at: now,
        answers: None,
    });
    change.effects.push(Effect::SendRedemption(request));
    Ok(change)
}

/// What the broker said to one holding of a redemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// Credited; pending until then.
    Credited {
        /// Units credited: the holding's value, or the answer is refused as a whole.
        units: Units,
        /// When it turns into balance.
        pending_until: UnixMs,
    },
    /// Not credited.
    Refused {
        /// The broker's reason.
        why: String,
    },
    /// Nothing is final yet: to be asked for again.
    Waits {
        /// When the broker can decide at the earliest. None: what was sent is not kept, and the
        /// request has been answered with that for good.
        until: Option<UnixMs>,
        /// What is waited for.
        why: String,
    },
}

/// Takes the broker's answer to a redemption; `answers` is its signed text, kept as the receipt. What is
/// not final moves into a redemption of its own, `rest`, so that it holds nothing else up; where nothing
/// is final the same request is asked again. A redemption that is answered changes nothing.
///
/// # Errors
/// [`WalletError::BrokerAnswer`] unless there is one answer per holding, each over its value.
pub fn redeemed(
    rows: &Rows,
    request: &RequestId,
    outcomes: &[Redeemed],
    answers: Vec<u8>,
    rest: RequestId,
    now: UnixMs,
) -> Result<Change, WalletError> {
    let unknown = || WalletError::BrokerAnswer(format!("no redemption {request} was asked for"));
    let mut row = rows.redemptions.get(request).ok_or_else(unknown)?.clone();
    let mut change = Change::on(rows);
    if row.answers.is_some() {
        return Ok(change);
    }
    if outcomes.len() != row.holdings.len() {
        return Err(WalletError::BrokerAnswer(format!(
            "{} answers for {} holdings",
            outcomes.len(),
            row.holdings.len()
        )));
    }
    let is_final = |outcome: &Redeemed| !matches!(outcome, Redeemed::Waits { .. });
    let is_kept = |outcome: &Redeemed| matches!(outcome, Redeemed::Waits { until: Some(_), .. });
    if !outcomes.iter().any(is_final) && outcomes.iter().any(is_kept) {
        return Ok(change);
    }
    let mut credited = Units::ZERO;
    let (asked, mut left) = (std::mem::take(&mut row.holdings), Vec::new());
    for (id, outcome) in asked.into_iter().zip(outcomes) {
        let holding = super::paying::find(rows, &id)?.clone();
        let (holding, line) = answered(holding, (*request, rest), outcome, now)?;
        if let HoldingState::Redeemed { .. } = holding.state {
            let sum = credited.checked_add(holding.holding.value);
            credited = sum.ok_or(WalletError::Overflow)?;
        }
        change.holdings.push(holding);
        match line {
            Some(line) => {
                row.holdings.push(id);
                change.journal.push(line);
            }
            None => left.push(id),
        }
    }
    change.meta = Some(with_books(rows, |books| {
        books.redeemed = books.redeemed.checked_add(credited)?;
        Some(())
    })?);
    row.answers = Some(answers);
    change.redemptions.push(row);
    if !left.is_empty() {
        ask_again(rows, &mut change, (rest, left), now)?;
    }
    Ok(change)
}

/// Fixes the redemption of what an answer left open.
fn ask_again(
    rows: &Rows,
    change: &mut Change,
    (request, holdings): (RequestId, Vec<HoldingId>),
    at: UnixMs,
) -> Result<(), WalletError> {
    if rows.redemptions.contains_key(&request) {
        return Err(WalletError::Overflow);
    }
    change.redemptions.push(RedemptionRow {
        request,
        holdings,
        at,
        answers: None,
    });
    change.effects.push(Effect::SendRedemption(request));
    Ok(())
}

/// A holding after its answer, and the line about it where that is final; else it is in the redemption
/// `rest`.
fn answered(
    mut row: HoldingRow,
    (request, rest): (RequestId, RequestId),
    outcome: &Redeemed,
    now: UnixMs,
) -> Result<(HoldingRow, Option<JournalLine>), WalletError> {
    let kind = match outcome {
        Redeemed::Credited {
            units,
            pending_until,
        } => {
            if *units != row.holding.value {
                return Err(WalletError::BrokerAnswer(format!(
                    "{units} units credited for holding {} of {} units",
                    row.holding.id, row.holding.value
                )));
            }
            row.state = HoldingState::Redeemed {
                request,
                at: now,
                pending_until: *pending_until,
            };
            JournalKind::Redeemed
        }
        Redeemed::Refused { why } => {
            row.state = HoldingState::Refused { why: why.clone() };
            JournalKind::RedeemRefused
        }
        Redeemed::Waits { .. } => {
            row.state = HoldingState::Redeeming { request: rest };
            return Ok((row, None));
        }
    };
    let line = JournalLine {
        at: now,
        kind,
        units: row.holding.value,
        info_hash: row.info_hash,
        peer: row.peer.clone(),
        reference: request.to_string(),
    };
    Ok((row, Some(line)))
}

/// What was fixed and not finished: sent and signed again after a start.
#[must_use]
pub fn unfinished(rows: &Rows) -> Vec<Effect> {
    let closes = rows
        .received
        .values()
        .filter(|row| row.state == super::rows::ReceivedState::Closing)
        .map(|row| Effect::SignClose(row.spend));
    let purchases = rows
        .purchases
        .values()
        .filter(|row| row.state == PurchaseState::Pending)
        .map(|row| Effect::SendPurchase(row.request));
    let redemptions = rows
        .redemptions
        .values()
        .filter(|row| row.answers.is_none())
        .map(|row| Effect::SendRedemption(row.request));
    let withdrawals = withdraw::open(rows).map(|row| Effect::SendWithdrawal(row.request));
    let requests = purchases.chain(redemptions).chain(withdrawals);
    closes.chain(requests).collect()
}
