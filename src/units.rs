//! The newtypes that every room shares: amounts, prices, identifiers, dates.
//!
//! Money is [`Units`], an integer with checked arithmetic and nothing else (`docs/protocol.md`
//! section 1). Identifiers are fixed-size byte strings shown as lower-case hex.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes in one gibibyte; prices are per GiB.
pub const GIB_BYTES: u64 = 1 << 30;

/// Most units a single coin can be worth.
pub const MAX_COIN_UNITS: u64 = 4096;
/// The coin that wallets keep at hand. One may always be used for a channel, so that nobody waits for a
/// broker to sell a smaller one.
pub const AT_HAND: Units = Units(64);

/// An amount of money in the broker's smallest unit. Never negative, never fractional.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Units(pub u64);

impl Units {
    /// No money.
    pub const ZERO: Units = Units(0);

    /// The sum, or `None` where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Units) -> Option<Units> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Units(sum)),
            None => None,
        }
    }

    /// The difference, or `None` where it would be negative.
    #[must_use]
    pub const fn checked_sub(self, other: Units) -> Option<Units> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Units(rest)),
            None => None,
        }
    }

    /// The difference, or zero where it would be negative. For limits, never for books.
    #[must_use]
    pub const fn saturating_sub(self, other: Units) -> Units {
        Units(self.0.saturating_sub(other.0))
    }

    /// The sum of many amounts, or `None` where it does not fit.
    pub fn checked_sum<I: IntoIterator<Item = Units>>(amounts: I) -> Option<Units> {
        amounts
            .into_iter()
            .try_fold(Units::ZERO, Units::checked_add)
    }

    /// Whether this is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// The number; with `{:#}` what is counted too: `1 unit`, `5 units`.
impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (f.alternate(), self.0) {
            (false, number) => write!(f, "{number}"),
            (true, 1) => f.write_str("1 unit"),
            (true, number) => write!(f, "{number} units"),
        }
    }
}

/// What is wrong with a value that was given as text or number.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UnitsError {
    /// A price outside the protocol's range.
    #[error("price {0} is outside 16 to 65536 units per GiB")]
    Price(u64),
    /// Text that is not the hex of the right number of bytes.
    #[error("expected {expected_bytes} bytes as {} hex digits, got {got:?}", expected_bytes * 2)]
    Hex {
        /// Bytes the identifier has.
        expected_bytes: usize,
        /// What was given, shortened.
        got: String,
    },
}

/// Price in units per GiB, 16 to 65 536 (`docs/protocol.md` section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct PricePerGib(u32);

impl PricePerGib {
    /// Lowest price a payee may ask.
    pub const MIN: PricePerGib = PricePerGib(16);
    /// Highest price a payee may ask.
    pub const MAX: PricePerGib = PricePerGib(65_536);

    /// A price of `units_per_gib`.
    ///
    /// # Errors
    /// [`UnitsError::Price`] outside 16 to 65 536.
    pub const fn new(units_per_gib: u64) -> Result<Self, UnitsError> {
        if units_per_gib < 16 || units_per_gib > 65_536 {
            return Err(UnitsError::Price(units_per_gib));
        }
        Ok(PricePerGib(units_per_gib as u32))
    }

    /// The number of units per GiB.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Units due for `bytes` in all: floor(bytes x price / 2^30). Cumulative, so that nothing is
    /// lost to rounding. Saturates only above 2^64 units, which no real transfer reaches.
    #[must_use]
    pub fn due(self, bytes: u64) -> Units {
        let units = (u128::from(bytes) * u128::from(self.0)) >> 30;
        Units(u64::try_from(units).unwrap_or(u64::MAX))
    }

    /// The most bytes for which no more than `units` are due: the last byte before `units + 1`
    /// falls due, at most `u64::MAX`.
    #[must_use]
    pub fn bytes_bought(self, units: Units) -> u64 {
        let next = (u128::from(units.0) + 1) << 30;
        let bytes = next.div_ceil(u128::from(self.0)) - 1;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes that one unit buys, rounded up.
    #[must_use]
    pub const fn unit_bytes(self) -> u64 {
        GIB_BYTES.div_ceil(self.0 as u64)
    }
}

impl TryFrom<u64> for PricePerGib {
    type Error = UnitsError;
    fn try_from(units_per_gib: u64) -> Result<Self, UnitsError> {
        PricePerGib::new(units_per_gib)
    }
}

impl From<PricePerGib> for u64 {
    fn from(price: PricePerGib) -> u64 {
        u64::from(price.0)
    }
}

impl std::str::FromStr for PricePerGib {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number: u64 = text
            .parse()
            .map_err(|_| format!("{text:?} is not a whole number of units per GiB"))?;
        PricePerGib::new(number).map_err(|e| e.to_string())
    }
}

impl fmt::Display for PricePerGib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A moment, in milliseconds since 1970-01-01 UTC. State machines take it as an argument.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// This moment plus `ms` milliseconds, at most the end of time.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, zero if it is later.
    #[must_use]
    pub const fn since_ms(self, earlier: UnixMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether a pause of `pause_ms` at most that ends `at` that moment is over. One that would last longer
    /// began by a clock that was set back meanwhile.
    #[must_use]
    pub const fn is_due(self, at: UnixMs, pause_ms: u64) -> bool {
        self.0 >= at.0 || at.since_ms(self) > pause_ms
    }

    /// Whether `earlier` is less than `ms` ago. A later moment is not: a clock that was set back meanwhile
    /// does not say how long ago it was.
    #[must_use]
    pub const fn is_within(self, ms: u64, earlier: UnixMs) -> bool {
        self.0 >= earlier.0 && self.since_ms(earlier) < ms
    }

    /// The day this moment lies in.
    #[must_use]
    pub const fn day(self) -> Day {
        let day = self.0 / 86_400_000;
        Day(if day > u32::MAX as u64 {
            u32::MAX
        } else {
            day as u32
        })
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn unix_s(self) -> u64 {
        self.0 / 1000
    }
}

/// A date: whole days since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Day(pub u32);

impl Day {
    /// The date `days` later, at most the end of time.
    #[must_use]
    pub const fn plus(self, days: u32) -> Day {
        Day(self.0.saturating_add(days))
    }
}

/// Index of a piece within its torrent, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PieceIndex(pub u32);

/// Declares an identifier of a fixed number of bytes, shown and serialised as lower-case hex.
#[macro_export]
macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Number of bytes.
            pub const LEN: usize = $len;
            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] { &self.0 }
            /// From a slice of exactly the right length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::units::hex_of(&self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(self.0))
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::units::UnitsError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::units::hex_bytes(text)
                    .map(Self)
                    .ok_or_else(|| $crate::units::UnitsError::Hex {
                        expected_bytes: $len,
                        got: text.chars().take(2 * $len + 1).collect(),
                    })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&$crate::units::hex_of(&self.0))
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_str($crate::units::Parsed(std::marker::PhantomData))
            }
        }
    };
}

/// Reads a value as its text says.
pub(crate) struct Parsed<T>(pub(crate) std::marker::PhantomData<T>);

impl<T: std::str::FromStr<Err: std::fmt::Display>> serde::de::Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The two digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let (digits, mut pairs, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};
/// What a digit stands for; 255: it is none.
const VALUES: [u8; 256] = {
    let (mut values, mut value) = ([255; 256], 0);
    while value < 16 {
        let digit = DIGITS[value as usize][1];
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
};

/// As `hex::encode`, by a table: an answer about money is mostly hex.
#[must_use]
pub fn hex_of(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        text.extend_from_slice(&DIGITS[usize::from(*byte)]);
    }
    String::from_utf8(text).unwrap_or_default()
}

/// As `hex::decode_to_slice`, by a table; nothing if it is not hex of so many bytes.
#[must_use]
pub fn hex_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let (mut bytes, mut seen) = ([0; N], 0);
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(bytes)
}

bytes_newtype!(
    /// SHA-1 of a torrent's info dictionary (BEP 3).
    InfoHash,
    20
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_said_with_their_word_where_that_is_asked_for() {
        let said = [0, 1, 2].map(|number| format!("{0} {0:#}", Units(number)));
        assert_eq!(said, ["0 0 units", "1 1 unit", "2 2 units"]);
    }

    #[test]
    fn hex_by_table_is_hex() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex_of(&all), hex::encode(&all));
        for bytes in all.as_chunks::<16>().0 {
            let text = hex::encode(bytes);
            assert_eq!(hex_bytes(&text), Some(*bytes));
            assert_eq!(hex_bytes(&text.to_uppercase()), Some(*bytes));
            assert_eq!(hex_bytes::<15>(&text), None);
            assert_eq!(hex_bytes::<16>(&text[1..]), None);
        }
        for byte in all {
            let text = [b"0", [byte].as_slice()].concat();
            let Ok(text) = std::str::from_utf8(&text) else {
                continue;
            };
            let ours = hex_bytes::<1>(text).map(|bytes| bytes.to_vec());
            assert_eq!(ours, hex::decode(text).ok(), "{text:?}");
        }
    }

    #[test]
    fn what_is_later_than_now_is_not_new() {
        let (now, ms) = (UnixMs(100_000_000), 10_000);
        let is_within = |at: u64| now.is_within(ms, UnixMs(at));
        assert!(is_within(now.0) && is_within(now.0 - ms + 1));
        assert!(!is_within(now.0 - ms) && !is_within(0));
        assert!(!is_within(now.0 + 1) && !is_within(now.0 + 3 * 3_600_000));
    }

    #[test]
    fn due_and_bytes_bought_are_inverse() {
        for price in [16u64, 17, 1000, 65_535, 65_536] {
            let price = PricePerGib::new(price).expect("in range");
            for units in [0u64, 1, 2, 63, 4096, 1 << 30] {
                let bytes = price.bytes_bought(Units(units));
                assert_eq!(price.due(bytes), Units(units));
                assert_eq!(price.due(bytes + 1), Units(units + 1));
            }
        }
    }

    #[test]
    fn prices_outside_the_range_are_refused() {
        assert_eq!(PricePerGib::new(15), Err(UnitsError::Price(15)));
        assert_eq!(PricePerGib::new(65_537), Err(UnitsError::Price(65_537)));
        assert!("1e3".parse::<PricePerGib>().is_err());
    }

    #[test]
    fn identifiers_read_back_what_they_show() {
        let id = InfoHash([0xab; 20]);
        assert_eq!(id.to_string().parse::<InfoHash>(), Ok(id));
        assert!("ab".parse::<InfoHash>().is_err());
        let json = serde_json::to_string(&id).expect("serialises");
        assert_eq!(serde_json::from_str::<InfoHash>(&json).expect("reads"), id);
    }

    #[test]
    fn sums_that_do_not_fit_are_none() {
        assert_eq!(Units::checked_sum([Units(u64::MAX), Units(1)]), None);
        assert_eq!(Units(1).checked_sub(Units(2)), None);
    }
}
