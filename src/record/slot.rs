//! Where the record about a holding may lie: slots of three places each (`docs/protocol.md` section 4).

use crate::bytes_newtype;
use crate::coin::hash::tagged;
use crate::coin::{Commitment, HoldingId};

/// Places of every slot.
pub const PLACES: usize = 3;

bytes_newtype!(
    /// Names the slot of a spend (or redeem), or of a close.
    Slot,
    32
);

bytes_newtype!(
    /// BEP 44 salt of one place of a slot.
    Salt,
    32
);

bytes_newtype!(
    /// Where an item lies in the DHT: SHA-1 of key and salt.
    Target,
    20
);

impl Slot {
    /// The slot of the spend of `holding`, which its redeem shares.
    #[must_use]
    pub fn spend(holding: &HoldingId) -> Slot {
        Slot(holding.0)
    }

    /// The slot of the close of the spend of `holding` that has the commitment `spend`.
    #[must_use]
    pub fn close(holding: &HoldingId, spend: &Commitment) -> Slot {
        Slot(tagged("DPay1/close-slot", &[&holding.0, &spend.0]))
    }

    /// The salt of place 0, 1 or 2.
    #[must_use]
    pub fn salt(&self, place: u8) -> Salt {
        Salt(tagged("DPay1/salt", &[&self.0, &[place]]))
    }

    /// The salts of all three places.
    #[must_use]
    pub fn salts(&self) -> [Salt; PLACES] {
        [self.salt(0), self.salt(1), self.salt(2)]
    }
}
