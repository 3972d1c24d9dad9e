//! What a payer tells about itself: whether it pays, and if not, why.

use std::fmt;

use super::{Channel, Free, OfferTerms, Payer, PayerAction};
use crate::channel::{MAX_FAILED_PROPOSALS, NoReserve};
use crate::units::{PricePerGib, Units, UnixMs};
use crate::wire::message::RefuseReason;

/// Pieces that window and risk always hold.
const LEAST_PIECES: usize = 3;

/// What is being read or bought is asked for again after this, and each time after twice as long.
const NOT_YET_FIRST_MS: u64 = 25;
/// And at the latest after this.
const NOT_YET_MOST_MS: u64 = 250;
/// Why a peer is used without being paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeReason {
    /// It asks more than the limit.
    Price {
        /// Its price.
        asked: PricePerGib,
        /// Our limit.
        limit: PricePerGib,
    },
    /// At its price not even the dearest coin buys two pieces.
    PriceForPieces {
        /// Its price.
        asked: PricePerGib,
    },
    /// It does not take coins of our broker.
    Broker,
    /// Our wallet gave no holding.
    Wallet(NoReserve),
    /// Our wallet could not spend the holding.
    NoSpend,
    /// Our coins are of an earlier run, and the broker's spent list too old to read them by.
    ListOld,
    /// Our wallet did not answer.
    NoWallet,
    /// It refused.
    Refused(RefuseReason),
    /// It took spends before and refused them, with nothing paid.
    Avoided,
    /// It did not answer a proposal or an open.
    NoAnswer,
    /// It took a proposal and served nothing.
    NoService,
}

impl FreeReason {
    /// How long until it makes sense to try again; `None` for never on this connection.
    const fn retry_ms(self) -> Option<u64> {
        match self {
            FreeReason::Wallet(NoReserve::NotYet) => Some(NOT_YET_MOST_MS),
            FreeReason::Wallet(
                NoReserve::WalletLimit
                | NoReserve::OverBudget
                | NoReserve::OverBudgetOfAll
                | NoReserve::NoFunds
                | NoReserve::Unanswered
                | NoReserve::TooSmall,
            ) => Some(10_000),
            FreeReason::NoSpend | FreeReason::ListOld => Some(5_000),
            FreeReason::NoWallet => Some(30_000),
            FreeReason::NoAnswer | FreeReason::NoService => Some(60_000),
            FreeReason::Refused(reason) => match reason {
                RefuseReason::Path
                | RefuseReason::Expired
                | RefuseReason::Seen
                | RefuseReason::Spent
                | RefuseReason::Undecided
                | RefuseReason::Late => Some(0),
                RefuseReason::Busy | RefuseReason::NoKey => Some(60_000),
                RefuseReason::Broker
                | RefuseReason::TooSmall
                | RefuseReason::Conflict
                | RefuseReason::Unknown
                | RefuseReason::Stopping => None,
            },
            FreeReason::Price { .. }
            | FreeReason::PriceForPieces { .. }
            | FreeReason::Broker
            | FreeReason::Avoided
            | FreeReason::Wallet(NoReserve::PriceAboveLimit) => None,
        }
    }
}

impl fmt::Display for FreeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FreeReason::Price { asked, limit } => {
                write!(f, "it asks {asked} units per GiB, the limit is {limit}")
            }
            FreeReason::PriceForPieces { asked } => write!(
                f,
                "it asks {asked} units per GiB, at which no coin buys two pieces"
            ),
            FreeReason::Broker => f.write_str("it does not take coins of our broker"),
            FreeReason::Wallet(why) => write!(f, "{why}"),
            FreeReason::NoSpend => f.write_str("the wallet could not spend the coin"),
            FreeReason::ListOld => f.write_str(
                "coins of an earlier run wait for the broker: its spent list is more than a minute old by this machine's clock",
            ),
            FreeReason::NoWallet => f.write_str("the wallet did not answer"),
            FreeReason::Refused(RefuseReason::Undecided) => f.write_str(
                "it refused payment as undecided: fewer than 8 nodes of the DHT answer near the coin's place, or \
                 somebody else had put its record there",
            ),
            FreeReason::Refused(reason) => write!(f, "it refused payment: {reason}"),
            FreeReason::Avoided => f.write_str("it took spends before and then refused them"),
            FreeReason::NoAnswer => f.write_str("it did not answer"),
            FreeReason::NoService => f.write_str("it took a proposal and served nothing"),
        }
    }
}

/// How a payer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayerStatus {
    /// Price, once an acceptable offer came.
    pub price: Option<PricePerGib>,
    /// Why nothing new is opened at present.
    pub free: Option<FreeReason>,
    /// The reason that was told last, as long as something is wanted and nothing was opened since.
    pub unpaid: Option<FreeReason>,
    /// Whether units are left on accepted channels.
    pub is_paying: bool,
    /// Channels in use, accepted or on their way.
    pub channels: usize,
    /// Bytes delivered under payment.
    pub delivered_bytes: u64,
    /// Bytes verified under payment.
    pub verified_bytes: u64,
    /// Units ticked, less what closes gave back.
    pub paid: Units,
    /// Units that accepted channels still hold.
    pub left: Units,
}

impl Payer {
    /// How the payer stands.
    #[must_use]
    pub fn status(&self) -> PayerStatus {
        let left = self.capacity().saturating_sub(self.paid());
        PayerStatus {
            price: self.offer_terms.map(|terms| terms.windows.price()),
            free: self.free.map(|free| free.reason),
            unpaid: self.told.filter(|_| self.has_use()),
            is_paying: !left.is_zero(),
            channels: self.channels.len(),
            delivered_bytes: self.delivered_bytes,
            verified_bytes: self.verified_bytes,
            paid: self.paid(),
            left,
        }
    }

    /// How many pieces may be under way at once on this connection, so that the window and what is
    /// paid at risk hold all of them. More could fill it with unfinished ones, and nothing would verify
    /// any more. At least three, as the second window has two pieces, and one where nothing is paid at
    /// risk; any number with a payee that is not paid.
    #[must_use]
    pub fn pieces_at_once(&self) -> usize {
        let windows = match (self.offer_terms, &self.offer) {
            (Some(terms), _) => terms.windows,
            (None, Some(_)) => return usize::MAX,
            (None, None) => return LEAST_PIECES,
        };
        let unit_bytes = windows.price().unit_bytes();
        let (window_bytes, risk_bytes) = (
            windows.accepted_bytes(self.paid()),
            self.risk_bytes(&windows),
        );
        let both = window_bytes.saturating_add(risk_bytes);
        let pieces = both.saturating_sub(unit_bytes) / self.terms.piece_length_bytes.max(1);
        let least = match risk_bytes < window_bytes {
            true => 1,
            false => LEAST_PIECES,
        };
        usize::try_from(pieces).unwrap_or(usize::MAX).max(least)
    }

    /// Whether the payee has waited for ticks for `after_ms`, while nothing came or verified, that neither it nor
    /// this side will move again: each of two payees has part of what the other one's pieces lack, and no
    /// more is paid at risk. Another connection begins with an empty window.
    #[must_use]
    pub fn is_stuck(&self, now: UnixMs, after_ms: u64) -> bool {
        let is_long = |since: UnixMs| now.since_ms(since) >= after_ms;
        self.wanted_bytes > 0 && self.owing_since.is_some_and(is_long)
    }

    /// Nothing is asked of the payee, so that it keeps nothing back for ticks, though it does not say so
    /// where requests were taken back: what it is asked for next it may keep back from now on.
    pub fn handle_unasked(&mut self, now: UnixMs) {
        self.owing_since = self.owing_since.map(|_| now);
    }

    /// The spends that no close has come for, and the units ticked on each: what stays open if the
    /// connection ends now.
    pub fn open_spends(&self) -> impl Iterator<Item = (crate::coin::Commitment, u32)> + '_ {
        let spent = self.channels.values().filter_map(Channel::spent);
        spent.map(|spent| (spent.spend, spent.k))
    }

    /// Why nothing is paid on this connection, where that holds for as long as the connection does.
    #[must_use]
    pub fn given_up(&self) -> Option<FreeReason> {
        let free = self.free.filter(|free| free.retry_at.is_none())?;
        let is_bare = self.channels.is_empty() && self.recalling.is_none();
        is_bare.then_some(free.reason)
    }

    /// The terms of the offer, if payment is possible on this connection at all.
    pub(super) const fn accepted_offer(&self) -> Option<OfferTerms> {
        self.offer_terms
    }

    /// Whether nothing may be proposed at `now`.
    pub(super) fn is_blocked(&self, now: UnixMs) -> bool {
        self.free
            .is_some_and(|free| free.retry_at.is_none_or(|at| at > now))
    }

    /// Nothing new is proposed until the reason may have passed. Says so where it is news.
    pub(super) fn go_free(&mut self, now: UnixMs, reason: FreeReason) {
        let out_of_tries = self.failures >= MAX_FAILED_PROPOSALS;
        let mut retry_ms = reason.retry_ms().filter(|_| !out_of_tries);
        if reason == FreeReason::Wallet(NoReserve::NotYet) {
            // A slot is read in some tens of milliseconds: the first byte should not wait for more.
            let soon_ms = NOT_YET_FIRST_MS << self.not_yet.min(4);
            retry_ms = retry_ms.map(|ms| ms.min(soon_ms));
            self.not_yet = self.not_yet.saturating_add(1);
        }
        let retry_at = retry_ms.map(|ms| now.plus_ms(ms));
        self.free = Some(Free { reason, retry_at });
        // With another coin it is tried at once, but that took a minute, and the next try may take another.
        let is_undecided = reason == FreeReason::Refused(RefuseReason::Undecided);
        let is_first_doubt = is_undecided && self.failures == 1;
        let passes_soon = matches!(retry_ms, Some(0..1_000)) && !is_first_doubt;
        if !passes_soon && self.told != Some(reason) {
            self.told = Some(reason);
            self.actions.push_back(PayerAction::GoesFree(reason));
        }
    }
}
