//! Proofs that somebody signed twice, made from what a slot held and what the rows know
//! (`docs/protocol.md` sections 4 and 6).

use super::rows::Rows;
use crate::record::{FraudProof, Item, MAX_LINKS_REDEEM, Path, ProofCertificate, Role};

/// The proof that two items of one slot make, with the certificate that names their key. None where we
/// hold no such certificate, or where the two are one.
#[must_use]
pub fn proof_of(rows: &Rows, ours: &Item, other: &Item) -> Option<FraudProof> {
    let named = rows
        .spends
        .values()
        .map(|row| ProofCertificate::Payee(row.payee_certificate))
        .find(|certificate| certificate.key() == ours.key);
    let certificate = named.or_else(|| {
        let paths = rows.received.values().map(|row| row.path.as_slice());
        paths.filter_map(|path| certificate_in(path, ours)).next()
    })?;
    FraudProof::new(certificate, ours.clone(), other.clone()).ok()
}

/// The certificate of the item's key on a path.
fn certificate_in(path: &[u8], item: &Item) -> Option<ProofCertificate> {
    let path = Path::decode(path, MAX_LINKS_REDEEM).ok()?;
    if path.coin.holder == item.key {
        return Some(ProofCertificate::Coin(path.coin));
    }
    let shares = path
        .links
        .iter()
        .filter(|link| link.role == Role::PayeeShare);
    let mut certificates = shares.map(|link| link.spend.payee_certificate);
    certificates
        .find(|certificate| certificate.holder == item.key)
        .map(ProofCertificate::Payee)
}
