//! Ids, chain values, record keys, commitments: 32 bytes each (`docs/protocol.md` section 4).
//!
//! A holding's id is its position in the tree under a coin and nothing more: no signature and no
//! amount goes into it, so everybody can compute every id at any time, and each equivocated branch
//! of a tree has the same id.

use super::hash::tagged;
use crate::bytes_newtype;

bytes_newtype!(
    /// Position of a holding in the tree under its coin.
    HoldingId,
    32
);

bytes_newtype!(
    /// One value of a hash chain: the anchor w0, or a w(k) that pays k units.
    ChainValue,
    32
);

bytes_newtype!(
    /// What opens a record: any 32 bytes to a verifier, derived from the seed by the signer.
    RecordKey,
    32
);

bytes_newtype!(
    /// c: commits a record to its key and its plaintext.
    Commitment,
    32
);

impl HoldingId {
    /// Id of a coin, from its certificate's body (all bytes before the signature).
    #[must_use]
    pub fn of_coin(certificate_body: &[u8; 94]) -> HoldingId {
        HoldingId(tagged("DPay1/coin-id", &[certificate_body]))
    }

    /// Id of the part of this holding that its payee gets.
    #[must_use]
    pub fn payee_share(&self) -> HoldingId {
        HoldingId(tagged("DPay1/payee", &[&self.0]))
    }

    /// Id of the part of this holding that its payer keeps.
    #[must_use]
    pub fn change(&self) -> HoldingId {
        HoldingId(tagged("DPay1/change", &[&self.0]))
    }
}

impl RecordKey {
    /// The record key of the close of the spend that has this record key and the commitment `spend`.
    #[must_use]
    pub fn of_close(&self, spend: &Commitment) -> RecordKey {
        RecordKey(tagged("DPay1/close-key", &[&self.0, &spend.0]))
    }
}
