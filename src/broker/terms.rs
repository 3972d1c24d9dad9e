//! What a broker sells and promises: currency, hold, bond, coin sizes and dates.

use serde::{Deserialize, Serialize};

use crate::coin::certificate::{COIN_LIFE_DAYS, COIN_VALUES, REDEEM_GRACE_DAYS};
use crate::coin::keys::PublicKey;
use crate::units::{Day, Units, UnixMs};

/// A pseudonym's certificate lives at least this many days.
pub const PSEUDONYM_LIFE_DAYS: u32 = 30;
/// Expiry days of pseudonym certificates are rounded up to a multiple of this, so that many
/// accounts share one date.
pub const PSEUDONYM_ROUND_DAYS: u32 = 10;
/// Default hold: 48 hours.
pub const DEFAULT_HOLD_S: u64 = 172_800;
/// Default bond: one credit at the default currency.
pub const DEFAULT_BOND: Units = Units(100_000);
/// Default units of one credit.
pub const DEFAULT_UNITS_PER_CREDIT: u64 = 100_000;
/// Seconds between the two readings that decide a contest, unless the operator says otherwise.
pub const DEFAULT_CONTEST_GAP_S: u64 = 600;
/// Most coins, keys or paths in one request.
pub const MAX_BATCH: usize = 32;
/// Most links a redeemed path may have.
pub const MAX_LINKS: usize = 8;
/// Most units one deposit or withdrawal may carry; sums of many stay far below 2^63.
pub const MAX_TRANSFER: Units = Units(1_000_000_000_000_000);

/// A broker's terms, as published by `GET /v1/info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Name of the currency.
    pub currency: String,
    /// How many units make one of it.
    pub units_per_credit: u64,
    /// How long a redeemed holding stays pending, in milliseconds; 0: paid at once.
    pub hold_ms: u64,
    /// Taken from an account's balance at its first purchase; its outstanding coins never exceed it.
    pub bond: Units,
    /// Between the two readings that decide a contest, in milliseconds.
    pub contest_gap_ms: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            currency: "credit".to_owned(),
            units_per_credit: DEFAULT_UNITS_PER_CREDIT,
            hold_ms: DEFAULT_HOLD_S * 1000,
            bond: DEFAULT_BOND,
            contest_gap_ms: DEFAULT_CONTEST_GAP_S * 1000,
        }
    }
}

impl Terms {
    /// The expiry day of a pseudonym certificate issued `today`.
    #[must_use]
    pub fn pseudonym_expires(today: Day) -> Day {
        let earliest = today.plus(PSEUDONYM_LIFE_DAYS).0;
        Day(earliest
            .div_ceil(PSEUDONYM_ROUND_DAYS)
            .saturating_mul(PSEUDONYM_ROUND_DAYS))
    }

    /// Whether a coin that expires on `expires` may still be redeemed at `now`.
    #[must_use]
    pub fn redeems(expires: Day, now: UnixMs) -> bool {
        now.day() < expires.plus(REDEEM_GRACE_DAYS)
    }

    /// Whether what is left of a suspended account is released at `now`: every coin that it could have
    /// signed for until it was suspended has been settled by then.
    #[must_use]
    pub fn releases(&self, suspended: UnixMs, now: UnixMs) -> bool {
        !self.takes_presented(suspended.day().plus(COIN_LIFE_DAYS), now)
    }

    /// Whether a path under such a coin may still be presented at `now`: one hold longer.
    #[must_use]
    pub fn takes_presented(&self, expires: Day, now: UnixMs) -> bool {
        Self::redeems(expires, UnixMs(now.0.saturating_sub(self.hold_ms)))
    }
}

/// The answer to `GET /v1/info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Protocol version, 1.
    pub version: u8,
    /// The key that signs coins, certificates and answers.
    pub broker: PublicKey,
    /// The broker's terms.
    #[serde(flatten)]
    pub terms: Terms,
    /// Values that coins are sold in.
    pub coin_values: Vec<u64>,
    /// Days from issue to expiry of a coin.
    pub coin_life_days: u32,
    /// Days after expiry in which a coin is still redeemed.
    pub settle_days: u32,
    /// Most coins, keys or paths in one request.
    pub max_batch: usize,
    /// Most links of a redeemed path.
    pub max_links: usize,
    /// The broker's time, so that a client with a wrong clock can say so.
    pub now_unix_ms: UnixMs,
}

impl Info {
    /// What a broker with this key and these terms says at `now`.
    #[must_use]
    pub fn new(broker: PublicKey, terms: Terms, now: UnixMs) -> Self {
        Info {
            version: 1,
            broker,
            terms,
            coin_values: COIN_VALUES.iter().map(|v| v.0).collect(),
            coin_life_days: COIN_LIFE_DAYS,
            settle_days: REDEEM_GRACE_DAYS,
            max_batch: MAX_BATCH,
            max_links: MAX_LINKS,
            now_unix_ms: now,
        }
    }
}
