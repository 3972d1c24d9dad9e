//! Windows: how many bytes a payee serves ahead of payment, and how large a channel to open
//! (`docs/protocol.md` sections 5 and 7). Pure functions of piece length, price and what is paid,
//! computed alike by both sides.

use crate::coin::certificate::COIN_VALUES;
use crate::units::{MAX_COIN_UNITS, PricePerGib, Units};

const MIB: u64 = 1 << 20;

/// Least allowance before acceptance.
pub const PROVISIONAL_MIN_BYTES: u64 = MIB;
/// Most allowance before acceptance. Longer pieces need an accepted channel for their first piece.
pub const PROVISIONAL_MAX_BYTES: u64 = 4 * MIB;
/// Least window once a channel is accepted.
pub const WINDOW_MIN_BYTES: u64 = 2 * MIB;
/// Most that the eighth of what was paid adds to the window.
pub const EIGHTH_MAX_BYTES: u64 = 64 * MIB;
/// A first channel buys at least this, and at least four pieces.
pub const FIRST_CHANNEL_BYTES: u64 = 64 * MIB;
/// A later channel is worth at most so many times what its connection has paid.
pub const CHANNEL_TIMES_PAID: u64 = 64;

/// The windows of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    piece_length_bytes: u64,
    price: PricePerGib,
}

impl Windows {
    /// For a torrent with pieces of `piece_length_bytes`, served at `price`.
    #[must_use]
    pub const fn new(piece_length_bytes: u64, price: PricePerGib) -> Windows {
        Windows {
            piece_length_bytes,
            price,
        }
    }

    /// The price of everything served on the connection.
    #[must_use]
    pub const fn price(&self) -> PricePerGib {
        self.price
    }

    /// Whether the dearest coin buys two pieces. At any other price payment could stall, so it
    /// counts as above every limit.
    #[must_use]
    pub fn buys_two_pieces(&self) -> bool {
        self.price.due(self.two_pieces()) <= Units(MAX_COIN_UNITS)
    }

    fn two_pieces(&self) -> u64 {
        self.piece_length_bytes.saturating_mul(2)
    }

    /// Bytes served after a good proposal and before the first acceptance: one piece or 1 MiB,
    /// whichever is larger, at most 4 MiB.
    #[must_use]
    pub fn provisional_bytes(&self) -> u64 {
        self.piece_length_bytes
            .clamp(PROVISIONAL_MIN_BYTES, PROVISIONAL_MAX_BYTES)
    }

    /// The fewest bytes for which `units` are due.
    #[must_use]
    pub fn paid_bytes(&self, units: Units) -> u64 {
        let bytes = (u128::from(units.0) << 30).div_ceil(u128::from(self.price.get()));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes served ahead of payment on an accepted channel after `paid` units in all: two pieces
    /// (one before the first tick) or 2 MiB, whichever is larger; the bytes of one unit, since
    /// nothing falls due before; and an eighth of what was paid, at most 64 MiB.
    #[must_use]
    pub fn accepted_bytes(&self, paid: Units) -> u64 {
        let pieces = match paid.is_zero() {
            true => self.piece_length_bytes,
            false => self.two_pieces(),
        };
        let eighth = (self.paid_bytes(paid) / 8).min(EIGHTH_MAX_BYTES);
        pieces
            .max(WINDOW_MIN_BYTES)
            .saturating_add(self.price.unit_bytes())
            .saturating_add(eighth)
    }

    /// Bytes that may be served in all after `paid` units, by channels that are worth `capacity`
    /// units in all (what is ticked included): paid bytes and window, and never a byte for which
    /// more than `capacity` would fall due.
    #[must_use]
    pub fn limit_bytes(&self, paid: Units, capacity: Units) -> u64 {
        self.paid_bytes(paid)
            .saturating_add(self.accepted_bytes(paid))
            .min(self.price.bytes_bought(capacity))
    }

    /// The least channel with which an honest pair always gets on: it buys two pieces, and all that
    /// may be owed when it is accepted.
    #[must_use]
    pub fn least_channel(&self) -> Units {
        let bytes = self.two_pieces().max(self.provisional_bytes());
        self.price.due(bytes).max(Units(1))
    }

    /// The largest first channel with a payee: the smallest coin that buys 64 MiB and four pieces.
    #[must_use]
    pub fn first_channel(&self) -> Units {
        let four_pieces = self.piece_length_bytes.saturating_mul(4);
        coin_for(self.price.due(four_pieces.max(FIRST_CHANNEL_BYTES)))
    }

    /// The largest channel once `paid` units were paid to a payee on the connection: the dearest coin that is worth no
    /// more than [`CHANNEL_TIMES_PAID`] times as much, or a first channel.
    #[must_use]
    pub fn largest_channel(&self, paid: Units) -> Units {
        let most = Units(paid.0.saturating_mul(CHANNEL_TIMES_PAID));
        let mut coins = COIN_VALUES.iter().rev().copied();
        let earned = coins.find(|coin| *coin <= most).unwrap_or_default();
        earned.max(self.first_channel())
    }
}

/// The smallest coin worth at least `units`, or the dearest coin.
#[must_use]
pub fn coin_for(units: Units) -> Units {
    let mut coins = COIN_VALUES.iter().copied();
    coins
        .find(|coin| *coin >= units)
        .unwrap_or(Units(MAX_COIN_UNITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows(piece_length_bytes: u64, price: u64) -> Windows {
        Windows::new(
            piece_length_bytes,
            PricePerGib::new(price).expect("a price"),
        )
    }

    #[test]
    fn the_allowance_is_a_piece_between_one_and_four_mib() {
        assert_eq!(windows(16 << 10, 16).provisional_bytes(), MIB);
        assert_eq!(windows(2 * MIB, 16).provisional_bytes(), 2 * MIB);
        assert_eq!(windows(16 * MIB, 16).provisional_bytes(), 4 * MIB);
    }

    #[test]
    fn the_window_grows_with_what_is_paid_and_stops_growing() {
        let windows = windows(MIB, 1024);
        assert_eq!(windows.accepted_bytes(Units(0)), 3 * MIB);
        assert_eq!(windows.accepted_bytes(Units(8)), 4 * MIB);
        assert_eq!(windows.accepted_bytes(Units(512)), (3 + 64) * MIB);
        assert_eq!(windows.accepted_bytes(Units(1 << 40)), (3 + 64) * MIB);
        let long = Windows::new(16 * MIB, windows.price());
        assert_eq!(long.accepted_bytes(Units(0)), 17 * MIB);
        assert_eq!(long.accepted_bytes(Units(8)), 34 * MIB);
    }

    #[test]
    fn nothing_is_served_beyond_what_the_channels_buy() {
        let windows = windows(MIB, 1024);
        assert_eq!(windows.limit_bytes(Units(0), Units(1)), 2 * MIB - 1);
        assert_eq!(windows.limit_bytes(Units(16), Units(16)), 17 * MIB - 1);
    }

    #[test]
    fn channels_are_sized_by_what_they_buy() {
        assert_eq!(windows(MIB, 16).first_channel(), Units(16));
        assert_eq!(windows(MIB, 1024).first_channel(), Units(64));
        assert_eq!(windows(MIB, 65_536).first_channel(), Units(4096));
        assert_eq!(windows(16 * MIB, 16_384).first_channel(), Units(1024));
        let largest = |paid| windows(MIB, 1024).largest_channel(Units(paid)).0;
        let largest = [0, 3, 4, 15, 16, 63, 64, u64::MAX].map(largest);
        assert_eq!(largest, [64, 64, 256, 256, 1024, 1024, 4096, 4096]);
        assert_eq!(windows(MIB, 65_536).largest_channel(Units(1)), Units(4096));
        assert!(windows(32 * MIB, 65_536).buys_two_pieces());
        assert!(!windows(64 * MIB, 65_536).buys_two_pieces());
    }

    proptest! {
        /// What makes an honest pair go on: with whole pieces paid in order, the limit always lets
        /// one more piece through.
        #[test]
        fn a_piece_always_fits_beyond_what_was_paid_for_whole_pieces(
            piece_exponent in 14u32..=24, price in 16u64..=65_536, pieces in 0u64..100_000,
        ) {
            let windows = windows(1 << piece_exponent, price);
            let verified = pieces << piece_exponent;
            let paid = windows.price().due(verified);
            let limit = windows.limit_bytes(paid, Units(u64::MAX));
            prop_assert!(limit >= verified + (1 << piece_exponent));
        }

        #[test]
        fn paid_bytes_are_the_fewest_for_which_the_units_are_due(
            price in 16u64..=65_536, units in 1u64..1_000_000,
        ) {
            let windows = windows(MIB, price);
            let bytes = windows.paid_bytes(Units(units));
            prop_assert_eq!(windows.price().due(bytes), Units(units));
            prop_assert_eq!(windows.price().due(bytes - 1), Units(units - 1));
        }
    }
}
