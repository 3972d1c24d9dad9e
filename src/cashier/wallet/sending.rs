//! What is asked of the broker: purchases, redemptions, keys to certify, each once it is on disk.

use super::door::{Account, BrokerDoor, DoorError};
use super::errands::{CERTIFY_AGAIN_MS, Errand, News, RETRY_MOST_MS};
use super::purse::Purse;
use crate::clock;
use crate::coin::keys::PublicKey;
use crate::record::{MAX_LINKS_REDEEM, Path};
use crate::units::{AT_HAND, Units, UnixMs};
use crate::wallet::{RequestId, choose, keys, sign, signing};

/// The account, where there is no `answer`: a broker that tells it is there, and only this was not answered.
pub(super) async fn unless_answered<T>(
    door: &dyn BrokerDoor,
    answer: &Result<T, DoorError>,
) -> Option<Account> {
    match answer {
        Ok(_) | Err(DoorError::Refused(_)) => None,
        Err(_) => door.account().await.ok(),
    }
}

impl Purse {
    pub(super) async fn order_wanted(&mut self, now: UnixMs) {
        let funds = self.funds();
        let wanted = self.desk.wanted.iter().rev();
        let wanted: Vec<(Units, Units)> = wanted.map(|(size, least)| (*size, *least)).collect();
        let coins = choose::orders(&self.rows, &self.config.limits, &funds, &wanted, now);
        // What could not be afforded is asked for again by whoever wants it.
        self.desk.wanted.clear();
        if coins.is_empty() {
            let is_poor = funds.buyable.is_some_and(|b| b < AT_HAND);
            if is_poor && self.config.limits.at_hand > 0 {
                self.desk.hope_for_deposit(now);
            }
            return;
        }
        if let Err(error) = self.order(&coins).await {
            tracing::error!("coins cannot be ordered: {error}");
            self.desk.retry_at = now.plus_ms(RETRY_MOST_MS);
        }
    }

    /// Whether a request that takes money is to be sent now, and may be signed: what it is signed under is
    /// before a time that is on disk, so that no later run signs under an earlier one.
    pub(super) async fn may_sign_for(
        &mut self,
        errand: Errand,
        request: &RequestId,
        now: UnixMs,
    ) -> bool {
        let waits = self.desk.is_busy(errand) || self.desk.put_off.holds(errand, now);
        let Some(door) = self.desk.door.clone().filter(|_| !waits) else {
            return false;
        };
        if let Some(change) = signing::ahead(&self.rows, door.times().next(now), now)
            && let Err(error) = self.apply(change).await
        {
            tracing::error!("request {request} is not sent: {error}");
            self.desk.retry_at = now.plus_ms(RETRY_MOST_MS);
            return false;
        }
        door.times().allow(self.rows.meta.signed_until);
        true
    }

    pub(super) async fn send_purchase(&mut self, request: RequestId, now: UnixMs) {
        let errand = Errand::Purchase(request);
        if !self.may_sign_for(errand, &request, now).await {
            return;
        }
        let Some(row) = self.rows.purchases.get(&request) else {
            return;
        };
        let holder = |index: &u32| self.seed.holder_key(*index).public();
        let coins = row.coins.iter().map(|(value, i)| (*value, holder(i)));
        let coins: Vec<_> = coins.collect();
        self.desk.start(errand, move |door| async move {
            let answer = door.purchase(request, coins).await;
            let account = match answer {
                Err(DoorError::Refused(_)) => None,
                _ => door.account().await.ok(),
            };
            News::Purchased(request, answer, account)
        });
    }

    pub(super) fn send_redemption(&mut self, request: RequestId) {
        let now = clock::now();
        let row = self.rows.redemptions.get(&request);
        let Some(row) = row.filter(|row| !self.desk.put_off.waits(row, now)) else {
            return;
        };
        if self.desk.is_busy(Errand::Redeem(request)) {
            return;
        }
        let mut parts = Vec::with_capacity(row.holdings.len());
        for id in &row.holdings {
            let Some(holding) = self.rows.holdings.get(id) else {
                return;
            };
            let Ok(path) = Path::decode(&holding.path, MAX_LINKS_REDEEM) else {
                let why = format!("the path of holding {id} is damaged on disk");
                tracing::error!("{why}: request {request} stays");
                let put_off = &mut self.desk.put_off;
                return put_off.put(&row.holdings, RETRY_MOST_MS, &why, now);
            };
            parts.push((path, sign::sign_redeem(&self.seed, holding)));
        }
        self.desk
            .start(Errand::Redeem(request), move |door| async move {
                let answer = door.redeem(request, parts).await;
                let account = unless_answered(&*door, &answer).await;
                News::Redeemed(request, answer, account)
            });
    }

    pub(super) async fn send_certify(&mut self, now: UnixMs) {
        let stock = u32::try_from(keys::stock(&self.rows, now).count()).unwrap_or(u32::MAX);
        let wanted = self.config.payee_keys.min(choose::MAX_BATCH as u32);
        let is_due = now.is_due(self.desk.certify_at, CERTIFY_AGAIN_MS);
        let is_held = self.desk.put_off.holds(Errand::Certify, now);
        let waits = self.desk.is_busy(Errand::Certify) || !is_due || is_held;
        if stock > wanted / 2 || wanted == 0 || waits {
            return;
        }
        let taken = u32::try_from(self.desk.uncertified.len()).unwrap_or(u32::MAX);
        let more = wanted.saturating_sub(stock).saturating_sub(taken);
        let Ok((change, indices)) = keys::take(&self.rows, more) else {
            return;
        };
        if more > 0
            && let Err(error) = self.apply(change).await
        {
            tracing::error!("no payee keys: {error}");
            self.desk.retry_at = now.plus_ms(RETRY_MOST_MS);
            return;
        }
        self.desk.uncertified.extend(indices);
        let key = |index: &u32| (*index, self.seed.holder_key(*index).public());
        let asked: Vec<(u32, PublicKey)> = self.desk.uncertified.iter().map(key).collect();
        let public = asked.iter().map(|(_, key)| *key).collect();
        self.desk.start(Errand::Certify, |door| async move {
            let answer = door.certify(public).await;
            let account = unless_answered(&*door, &answer).await;
            News::Certified(asked, answer, account)
        });
    }
}
