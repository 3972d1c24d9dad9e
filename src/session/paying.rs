//! What a torrent's sellers are really paid.

use crate::gateway::PeerSnapshot;
use crate::units::PricePerGib;

/// Fractions of a GiB in which bytes are counted: 2^48 of them.
const PARTS_BITS: u32 = 48;

/// Units paid to the sellers that are connected, and what they bought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paid {
    units: u64,
    /// Of a GiB.
    parts: u128,
}

impl Paid {
    /// Adds a peer, if it is being paid.
    pub fn add(&mut self, peer: &PeerSnapshot) {
        let (Some(price), true) = (peer.price, peer.paying > 0) else {
            return;
        };
        let parts = (u128::from(peer.paid.0) << PARTS_BITS) / u128::from(price.get());
        self.units = self.units.saturating_add(peer.paid.0);
        self.parts = self.parts.saturating_add(parts);
    }

    /// Units per GiB that was paid for; none where nothing was paid yet.
    pub fn price(self) -> Option<PricePerGib> {
        let units = u128::from(self.units) << PARTS_BITS;
        let price = units.checked_add(self.parts / 2)?.checked_div(self.parts)?;
        PricePerGib::new(u64::try_from(price).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Units;

    #[test]
    fn what_is_paid_is_the_mean_over_what_was_paid_for_not_the_highest() {
        let seller = |price, paid, paying| PeerSnapshot {
            price: PricePerGib::new(price).ok(),
            paid: Units(paid),
            paying,
            ..PeerSnapshot::default()
        };
        let price = |peers: &[PeerSnapshot]| {
            let mut paid = Paid::default();
            peers.iter().for_each(|peer| paid.add(peer));
            paid.price().map(PricePerGib::get)
        };
        assert_eq!(price(&[]), None);
        assert_eq!(price(&[seller(8192, 0, 1)]), None);
        for alone in [16, 17, 8191, 65_536] {
            assert_eq!(price(&[seller(alone, 1, 1)]), Some(alone as u32));
        }
        // 598 units at 8192 and 1092 at 16384 bought 0.07300 and 0.06665 GiB.
        let both = [seller(8192, 598, 1), seller(16_384, 1092, 2)];
        assert_eq!(price(&both), Some(12_102));
        // Neither who is not paid any more nor who was not paid yet counts.
        let more = [seller(65_536, 5, 0), seller(65_536, 0, 1)];
        assert_eq!(price(&[&both[..], &more].concat()), Some(12_102));
    }
}
