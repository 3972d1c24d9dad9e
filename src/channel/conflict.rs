//! Proofs of fraud on the wire: made by the payee that sees a rival of its records, checked by whoever
//! is shown one (`docs/protocol.md` sections 4 and 6).

use super::PeerFault;
use crate::coin::PublicKey;
use crate::record::{FraudProof, Holding, Item, OpenSpend, Path, ProofCertificate, SignedRecord};

/// Proofs that are looked at on one connection and in one direction.
pub(super) const MAX_PROOFS: u32 = 8;

/// The records of an open spend: its own, then all of its path.
#[must_use]
pub fn records(path: &Path, holding: &Holding, open: &OpenSpend) -> Vec<SignedRecord> {
    let mut records = vec![open.record(holding)];
    records.extend(path.records());
    records
}

/// The proof that `other` is a rival of one of these records; `None` if it is in none of their slots.
#[must_use]
pub fn rival_proof(
    path: &Path,
    holding: &Holding,
    open: &OpenSpend,
    other: &Item,
) -> Option<FraudProof> {
    let records = records(path, holding, open);
    let mut items = records.iter().flat_map(SignedRecord::items);
    let ours = items.find(|item| item.key == other.key && item.salt == other.salt)?;
    let payees = path.links.iter().map(|link| link.spend.payee_certificate);
    let mut payees = payees.filter(|certificate| certificate.holder == other.key);
    let certificate = match payees.next() {
        _ if path.coin.holder == other.key => ProofCertificate::Coin(path.coin),
        Some(certificate) => ProofCertificate::Payee(certificate),
        None => return None,
    };
    FraudProof::new(certificate, ours, other.clone()).ok()
}

/// The key that a proof from the peer convicts.
///
/// # Errors
/// It proves nothing.
pub(super) fn convicted(
    proof: &[u8],
    accepts: &dyn Fn(&PublicKey) -> bool,
) -> Result<PublicKey, PeerFault> {
    let proof = FraudProof::decode(proof).map_err(PeerFault::BadProof)?;
    proof.verify(accepts).map_err(PeerFault::BadProof)
}
