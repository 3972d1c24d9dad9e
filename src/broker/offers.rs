//! Certificates made before the rows are looked at: a signature takes longer than a decision, and any
//! thread can make it. An offer is nobody's until a decision that takes it is durable.

use super::answer::{Refusal, RefusalCode};
use super::decide::Broker;
use super::terms::Terms;
use crate::coin::certificate::{
    COIN_LIFE_DAYS, COIN_VALUES, CoinCertificate, PseudonymCertificate,
};
use crate::coin::ids::HoldingId;
use crate::coin::keys::{PublicKey, Signature};
use crate::units::{Day, Units};

/// A coin ready to be sold. Only [`Broker::offer_coins`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct CoinOffer {
    pub(super) coin: CoinCertificate,
    /// Of this coin.
    pub(super) id: HoldingId,
}

/// A certificate on a holder key, ready to be given. Only [`Broker::offer_key`] makes one.
#[derive(Clone, Debug)]
pub struct KeyOffer(PseudonymCertificate);

impl Broker {
    /// Coins as they are sold on `today`, of a value, for a key, with a nonce that was drawn for it after
    /// the key was known; a refusal of values that are not sold and of keys that are none.
    #[must_use]
    pub fn offer_coins(
        &self,
        wanted: &[(Units, PublicKey, [u8; 16])],
        today: Day,
    ) -> Vec<Result<CoinOffer, Refusal>> {
        let unsigned = wanted.iter().map(|(value, holder, nonce)| {
            check_value(*value)?;
            check_holder(holder)?;
            let coin = CoinCertificate {
                broker: self.public(),
                value: *value,
                holder: *holder,
                issued: today,
                expires: today.plus(COIN_LIFE_DAYS),
                nonce: *nonce,
                signature: Signature([0; 64]),
            };
            let id = coin.id();
            Ok(CoinOffer { coin, id })
        });
        let mut offers: Vec<Result<CoinOffer, Refusal>> = unsigned.collect();
        let coins = offers.iter_mut().flatten().map(|offer| &mut offer.coin);
        CoinCertificate::sign_each(self.key(), coins);
        offers
    }

    /// A certificate on a holder key as it is given on `today`.
    ///
    /// # Errors
    /// A refusal of keys that are none.
    pub fn offer_key(&self, holder: PublicKey, today: Day) -> Result<KeyOffer, Refusal> {
        check_holder(&holder)?;
        let expires = Terms::pseudonym_expires(today);
        let certificate = PseudonymCertificate::issue(self.key(), holder, expires);
        Ok(KeyOffer(certificate))
    }

    /// The coin as it is sold today: an offer of yesterday is signed anew.
    pub(super) fn coin_of(&self, offer: &CoinOffer, today: Day) -> CoinOffer {
        let CoinOffer { coin, .. } = offer;
        if coin.issued == today {
            return *offer;
        }
        let expires = today.plus(COIN_LIFE_DAYS);
        let (value, holder, nonce) = (coin.value, coin.holder, coin.nonce);
        let coin = CoinCertificate::issue(self.key(), value, holder, today, expires, nonce);
        let id = coin.id();
        CoinOffer { coin, id }
    }

    /// The certificate as it is given today.
    pub(super) fn certificate_of(
        &self,
        KeyOffer(offered): &KeyOffer,
        today: Day,
    ) -> PseudonymCertificate {
        let expires = Terms::pseudonym_expires(today);
        if offered.expires == expires {
            *offered
        } else {
            PseudonymCertificate::issue(self.key(), offered.holder, expires)
        }
    }
}

impl KeyOffer {
    pub(super) fn holder(&self) -> PublicKey {
        self.0.holder
    }
}

fn check_value(value: Units) -> Result<(), Refusal> {
    if COIN_VALUES.contains(&value) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::Malformed,
        format!("coins of {value} units are not sold"),
        "ask for 16, 64, 256, 1024 or 4096 units",
    ))
}

fn check_holder(key: &PublicKey) -> Result<(), Refusal> {
    key.check().map_err(|fault| {
        Refusal::new(
            RefusalCode::HolderKey,
            format!("holder key {key} is {fault}"),
            "derive another holder key",
        )
    })
}
