//! Certificates made before the rows are looked at: a signature takes longer than a decision, and any
//! thread can make it. An offer is nobody's until a decision that takes it is durable.

use super::answer::{Refusal, RefusalCode};
use super::decide::Broker;
use super::terms::Terms;
use crate::coin::certificate::{
    COIN_LIFE_DAYS, COIN_VALUES, CoinCertificate, PseudonymCertificate,
};
use crate::coin::keys::PublicKey;
use crate::units::{Day, Units};

/// A coin ready to be sold. Only [`Broker::offer_coin`] makes one.
#[derive(Clone, Debug)]
pub struct CoinOffer(CoinCertificate);

/// A certificate on a holder key, ready to be given. Only [`Broker::offer_key`] makes one.
#[derive(Clone, Debug)]
pub struct KeyOffer(PseudonymCertificate);

impl Broker {
    /// A coin as it is sold on `today`. The nonce was drawn for it, after the key was known.
    ///
    /// # Errors
    /// A refusal of values that are not sold and of keys that are none.
    pub fn offer_coin(
        &self,
        value: Units,
        holder: PublicKey,
        nonce: [u8; 16],
        today: Day,
    ) -> Result<CoinOffer, Refusal> {
        if !COIN_VALUES.contains(&value) {
            return Err(Refusal::new(
                RefusalCode::Malformed,
                format!("coins of {value} units are not sold"),
                "ask for 16, 64, 256, 1024 or 4096 units",
            ));
        }
        check_holder(&holder)?;
        Ok(CoinOffer(self.issue(value, holder, nonce, today)))
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
    pub(super) fn coin_of(&self, CoinOffer(coin): &CoinOffer, today: Day) -> CoinCertificate {
        if coin.issued == today {
            *coin
        } else {
            self.issue(coin.value, coin.holder, coin.nonce, today)
        }
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

    fn issue(
        &self,
        value: Units,
        holder: PublicKey,
        nonce: [u8; 16],
        today: Day,
    ) -> CoinCertificate {
        let expires = today.plus(COIN_LIFE_DAYS);
        CoinCertificate::issue(self.key(), value, holder, today, expires, nonce)
    }
}

impl CoinOffer {
    pub(super) fn value(&self) -> Units {
        self.0.value
    }

    pub(super) fn holder(&self) -> PublicKey {
        self.0.holder
    }
}

impl KeyOffer {
    pub(super) fn holder(&self) -> PublicKey {
        self.0.holder
    }
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
