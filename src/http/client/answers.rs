//! What a broker sold, certified or redeemed, compared with what it was asked for.

use super::{BrokerClient, ClientError};
use crate::broker::answer::ItemAnswer;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::keys::PublicKey;
use crate::record::{Path, RedeemPart};
use crate::units::Units;

impl BrokerClient {
    /// The coins sold, if they are those ordered.
    pub(super) async fn coins(
        &self,
        ordered: &[(Units, PublicKey)],
        sold: &[String],
    ) -> Result<Vec<CoinCertificate>, ClientError> {
        let broker = self.broker_key().await?;
        let coins: Vec<CoinCertificate> = sold
            .iter()
            .filter_map(|text| CoinCertificate::decode(&hex::decode(text).ok()?).ok())
            .filter(|coin| coin.check(&|key| *key == broker, None).is_ok())
            .collect();
        let as_ordered = coins.len() == ordered.len()
            && sold.len() == ordered.len()
            && (coins.iter().zip(ordered))
                .all(|(coin, (value, holder))| coin.value == *value && coin.holder == *holder);
        if as_ordered {
            Ok(coins)
        } else {
            Err(self.untrue("the coins it sold are not those ordered"))
        }
    }

    /// The certificates, if they are on these keys.
    pub(super) async fn pseudonyms(
        &self,
        holders: &[PublicKey],
        certificates: &[String],
    ) -> Result<Vec<PseudonymCertificate>, ClientError> {
        let broker = self.broker_key().await?;
        let good: Vec<PseudonymCertificate> = certificates
            .iter()
            .filter_map(|text| PseudonymCertificate::decode(&hex::decode(text).ok()?).ok())
            .filter(|certificate| certificate.broker == broker && certificate.verify())
            .collect();
        let as_asked = certificates.len() == holders.len()
            && good.iter().map(|c| c.holder).eq(holders.iter().copied());
        if as_asked {
            Ok(good)
        } else {
            Err(self.untrue("the certificates it issued are not on the keys asked for"))
        }
    }

    /// Each redeemed item must be the holding asked for, at its full value.
    pub(super) fn check_redeemed(
        &self,
        asked: &[(Path, RedeemPart)],
        done: &[ItemAnswer],
    ) -> Result<(), ClientError> {
        let as_asked = asked.len() == done.len()
            && asked
                .iter()
                .zip(done)
                .all(|((path, _), answer)| match answer {
                    ItemAnswer::Redeemed { holding, units, .. } => path
                        .holding()
                        .is_ok_and(|h| h.id == *holding && h.value == *units),
                    ItemAnswer::Refused(_) | ItemAnswer::Contested { .. } => true,
                    ItemAnswer::Presented { .. } => false,
                });
        if as_asked {
            Ok(())
        } else {
            Err(self.untrue("what it redeemed is not what was asked for"))
        }
    }
}
