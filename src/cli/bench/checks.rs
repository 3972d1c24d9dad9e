//! The signatures of a redemption, without all else that a broker does with it.

use anyhow::Result;

use crate::coin::keys::{PublicKey, Signature, ValidKey};
use crate::record::{Path, RedeemPart};

/// A message and its signature.
type Signed = (Vec<u8>, Signature);

/// What one redemption needs checked, with everything that is no signature done before.
pub(super) struct Checks {
    holder: PublicKey,
    /// Of the coin, each certificate and each record: who signed what.
    signed: Vec<(PublicKey, Vec<Signed>)>,
}

impl Checks {
    pub(super) fn of(path: &Path, redeem: &RedeemPart) -> Result<Checks> {
        let mut records = path.records();
        records.push(redeem.record(&path.holding()?));
        let coin = path.coin;
        let mut signed = vec![(
            coin.broker,
            vec![(coin.signed_message().to_vec(), coin.signature)],
        )];
        let certificates = path.links.iter().map(|l| l.spend.payee_certificate);
        signed.extend(
            certificates.map(|c| (c.broker, vec![(c.signed_message().to_vec(), c.signature)])),
        );
        signed.extend(records.iter().map(|record| {
            let items = record.items().into_iter();
            let each = items.map(|item| (item.signable(), item.signature));
            (record.signer, each.collect())
        }));
        Ok(Checks {
            holder: coin.holder,
            signed,
        })
    }

    /// Checks each signature.
    pub(super) fn hold(&self) -> bool {
        self.of_keys(|key, each| each.iter().all(|(m, s)| key.verify_strict(m, s)))
    }

    /// Checks those by one key together.
    pub(super) fn hold_together(&self) -> bool {
        self.of_keys(|key, each| key.first_bad(each).is_none())
    }

    fn of_keys(&self, check: impl Fn(&ValidKey, &[Signed]) -> bool) -> bool {
        let mut keys = self.signed.iter();
        let valid =
            |(key, each): &(PublicKey, Vec<Signed>)| key.valid().is_ok_and(|key| check(&key, each));
        self.holder.check().is_ok() && keys.all(valid)
    }
}
