//! What a broker sold, certified or redeemed, compared with what it was asked for.

use super::{BrokerClient, ClientError};
use crate::broker::answer::{ItemAnswer, Refusal, RefusalCode};
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::HoldingId;
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

    /// What became of each holding that was asked for.
    pub(super) fn redeemed(
        &self,
        asked: &[(Path, RedeemPart)],
        done: Vec<ItemAnswer>,
    ) -> Result<Vec<ItemAnswer>, ClientError> {
        let holdings = asked.iter().map(|(path, _)| {
            let holding = path.holding().ok()?;
            Some((holding.id, holding.value))
        });
        let holdings: Option<Vec<_>> = holdings.collect();
        holdings
            .and_then(|holdings| each_as_asked(&holdings, done))
            .ok_or_else(|| self.untrue("what it redeemed is not what was asked for"))
    }
}

/// One answer for each holding, about that one. At another value than it has here it is a refusal of that holding
/// alone: a copy of this wallet redeemed it otherwise, or the broker is wrong, and the others are as they are.
fn each_as_asked(asked: &[(HoldingId, Units)], done: Vec<ItemAnswer>) -> Option<Vec<ItemAnswer>> {
    if asked.len() != done.len() {
        return None;
    }
    let answers = asked.iter().zip(done).map(|((id, value), answer)| match answer {
        ItemAnswer::Redeemed { holding, .. } if holding != *id => None,
        ItemAnswer::Redeemed { units, .. } if units != *value => {
            Some(ItemAnswer::Refused(Refusal {
                code: RefusalCode::Conflict,
                error: format!(
                    "the broker has credited {units} units to this account for a holding that is worth {value} here"
                ),
                what_to_do: "use this wallet in one place only: another copy of it redeemed the holding as it was \
                             there; if there is none, ask the broker's operator"
                    .to_owned(),
                conflict: None,
            }))
        }
        ItemAnswer::Presented { .. } => None,
        answer => Some(answer),
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnixMs;

    fn credited(id: u8, units: u64) -> ItemAnswer {
        ItemAnswer::Redeemed {
            holding: HoldingId([id; 32]),
            units: Units(units),
            pending_until_unix_ms: UnixMs(0),
            paid: true,
        }
    }

    #[test]
    fn a_holding_that_was_credited_at_another_value_is_refused_alone() {
        let asked = [1, 2].map(|id| (HoldingId([id; 32]), Units(60)));
        let done = each_as_asked(&asked, vec![credited(1, 60), credited(2, 64)]).expect("as asked");
        assert_eq!(done[0], credited(1, 60));
        let ItemAnswer::Refused(refusal) = &done[1] else {
            panic!("{done:?}");
        };
        assert!(refusal.error.contains("credited 64 units"), "{refusal:?}");
        for wrong in [
            vec![credited(1, 60)],
            vec![credited(2, 60), credited(1, 60)],
            vec![
                credited(1, 60),
                ItemAnswer::Presented {
                    holding: HoldingId([2; 32]),
                },
            ],
        ] {
            assert_eq!(each_as_asked(&asked, wrong), None);
        }
    }
}
