//! Who waits for the broker's answers to which requests, and what they are told; and what waits by itself
//! because the broker cannot answer it yet.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use super::CashierError;
use super::door::{Account, DoorError};
use super::errands::{Desk, Errand, RETRY_FIRST_MS, RETRY_MOST_MS};
use super::purse::{Purse, give};
use super::told::{Bought, RedeemReport};
use crate::clock;
use crate::coin::ids::HoldingId;
use crate::units::{Units, UnixMs};
use crate::wallet::trade::{Redeemable, Redeemed};
use crate::wallet::{
    HoldingState, Origin, PurchaseRow, PurchaseState, RedemptionRow, RequestId, Rows, order,
    signing,
};

/// What waits is asked again no sooner than this: a broker may decide later than at the earliest.
const PUT_OFF_MS: u64 = 60_000;
/// And this, where the broker does not say when and keeps each answer.
const PUT_OFF_KEPT_MS: u64 = 10 * 60_000;
/// A request whose refusal is doubted is sent again this often at last: by then the last try has run out.
const DOUBTFUL_MOST_MS: u64 = 10 * 60_000;

/// Who is told what came of buying.
pub(super) type BuyReply = oneshot::Sender<Result<Bought, CashierError>>;

/// Somebody who waits for answers to requests.
pub(super) struct Waiter {
    pub(super) requests: BTreeSet<RequestId>,
    pub(super) reply: WaiterReply,
    /// Why one of these requests got no answer. It is asked again by itself, and nobody waits for that.
    failed: BTreeMap<RequestId, DoorError>,
}

/// Whom to tell.
pub(super) enum WaiterReply {
    /// With what was asked for.
    Buy(Units, BuyReply),
    Redeem(
        Redeemable,
        oneshot::Sender<Result<RedeemReport, CashierError>>,
    ),
    /// What was ordered before is there, as far as it comes soon.
    Leave(oneshot::Sender<Result<(), CashierError>>),
}

impl Waiter {
    pub(super) fn new(requests: BTreeSet<RequestId>, reply: WaiterReply) -> Waiter {
        Waiter {
            requests,
            reply,
            failed: BTreeMap::new(),
        }
    }
}

/// Requests that wait by themselves, so that no other is held up, and orders whose buyers were told so.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    /// Holdings of redemptions: when they are asked for again, how long after the last time, and why not now.
    holdings: BTreeMap<HoldingId, (UnixMs, u64, String)>,
    /// Orders that nobody waits for: their worth, and their purchases.
    ordered: Vec<(Units, BTreeSet<RequestId>)>,
    /// Errands that the broker did not answer though it answers others.
    errands: BTreeMap<Errand, Again>,
}

/// When an errand is sent again that the broker does not answer.
#[derive(Clone, Copy, Debug)]
struct Again {
    at: UnixMs,
    /// How long after the last try that is.
    pause_ms: u64,
    /// When it was first not answered, in this run.
    since: UnixMs,
}

impl PutOff {
    /// What an earlier run ordered and did not get, or not all of.
    pub(super) fn of(rows: &Rows) -> PutOff {
        let mut orders: BTreeMap<[u8; 12], Vec<&PurchaseRow>> = BTreeMap::new();
        for row in rows.purchases.values() {
            orders.entry(row.request.order()).or_default().push(row);
        }
        orders.retain(|_, rows| rows.iter().any(|row| row.state == PurchaseState::Pending));
        let ordered = orders.values().map(|rows| {
            let coins = rows.iter().flat_map(|row| &row.coins);
            let requests = rows.iter().map(|row| row.request).collect();
            (sum(coins.map(|(value, _)| *value)), requests)
        });
        PutOff {
            ordered: ordered.collect(),
            ..PutOff::default()
        }
    }

    /// Notes that these are not asked for again for so long.
    pub(super) fn put(&mut self, holdings: &[HoldingId], pause_ms: u64, why: &str, now: UnixMs) {
        for id in holdings {
            let put_off = (now.plus_ms(pause_ms), pause_ms, why.to_owned());
            self.holdings.insert(*id, put_off);
        }
    }

    /// Notes what the broker said to one of them.
    pub(super) fn heard(&mut self, id: HoldingId, outcome: &Redeemed, now: UnixMs) {
        match outcome {
            Redeemed::Waits { until, why } => {
                let pause_ms = match until {
                    Some(until) => until.since_ms(now).max(PUT_OFF_MS),
                    None => PUT_OFF_KEPT_MS,
                };
                self.put(&[id], pause_ms, why, now);
            }
            Redeemed::Credited { .. } | Redeemed::Refused { .. } => {
                self.holdings.remove(&id);
            }
        }
    }

    /// Whether nothing in `row` is to be asked for now.
    pub(super) fn waits(&self, row: &RedemptionRow, now: UnixMs) -> bool {
        let waits = |id| self.why(id, now).is_some();
        self.holds(Errand::Redeem(row.request), now) || row.holdings.iter().all(waits)
    }

    /// `errand` was not answered, and everything else is: it waits by itself, longer each time.
    fn unanswered(&mut self, errand: Errand, error: &DoorError, now: UnixMs) {
        let again = self.errands.entry(errand).or_insert(Again {
            at: now,
            pause_ms: 0,
            since: now,
        });
        let most = match error {
            DoorError::Doubtful { .. } => DOUBTFUL_MOST_MS,
            _ => RETRY_MOST_MS,
        };
        again.pause_ms = (again.pause_ms.saturating_mul(2)).clamp(RETRY_FIRST_MS, most);
        again.at = now.plus_ms(again.pause_ms);
    }

    /// Whether `errand` is not to be sent now.
    pub(super) fn holds(&self, errand: Errand, now: UnixMs) -> bool {
        (self.errands.get(&errand)).is_some_and(|again| !now.is_due(again.at, again.pause_ms))
    }

    /// Somebody asks for it: it is sent at once.
    pub(super) fn hurry(&mut self, errand: Errand) {
        if let Some(again) = self.errands.get_mut(&errand) {
            (again.at, again.pause_ms) = (UnixMs(0), 0);
        }
    }

    /// Purchases that the broker does not answer, though it is there.
    pub(super) fn held(&self) -> BTreeSet<RequestId> {
        let purchase = |errand: &Errand| match errand {
            Errand::Purchase(request) => Some(*request),
            _ => None,
        };
        self.errands.keys().filter_map(purchase).collect()
    }

    /// The same answer, a refusal where it is one that counts by now: of what was `fixed` then.
    pub(super) fn believe<T>(
        &self,
        errand: Errand,
        answer: Result<T, DoorError>,
        fixed: Option<UnixMs>,
        now: UnixMs,
    ) -> Result<T, DoorError> {
        let Err(DoorError::Doubtful { why, until }) = answer else {
            return answer;
        };
        let since = self.errands.get(&errand).map_or(now, |again| again.since);
        // What was fixed by a clock that was ahead was not fixed later than it is now.
        let since = fixed.map_or(since, |at| at.min(since));
        match now >= signing::doubted_until(since, until) {
            true => Err(DoorError::Refused(why)),
            false => Err(DoorError::Doubtful { why, until }),
        }
    }

    fn why(&self, id: &HoldingId, now: UnixMs) -> Option<&String> {
        let (until, pause_ms, why) = self.holdings.get(id)?;
        (!now.is_due(*until, *pause_ms)).then_some(why)
    }
}

impl Desk {
    /// What became of an errand. Where it was not answered and the account is told right after, that is no
    /// outage: this one waits, and everything else goes on.
    pub(super) fn heard_request(
        &mut self,
        errand: Errand,
        error: Option<&DoorError>,
        account: Option<Account>,
        now: UnixMs,
    ) {
        match error {
            None | Some(DoorError::Refused(_)) => {
                self.heard(errand, None, now);
                self.put_off.errands.remove(&errand);
            }
            Some(error) if account.is_some() => {
                self.heard(errand, None, now);
                tracing::warn!("one request to the broker waits, everything else goes on: {error}");
                self.put_off.unanswered(errand, error, now);
            }
            Some(error) => self.heard(errand, Some(error), now),
        }
        if account.is_some() {
            self.account_told(account, now);
        }
    }

    /// The broker is out of reach, so that what is not on its way does not go there soon.
    pub(super) fn is_out(&self) -> bool {
        self.door.is_none() || self.error.is_some() || self.changed.is_some()
    }
}

impl Purse {
    /// The purchases of an open order for as much that nobody waits for: its buyer was told that it comes,
    /// went away, or the wallet was closed. Who asks for the same again gets that and buys no more.
    pub(super) fn ordered_before(&mut self, units: Units) -> Option<BTreeSet<RequestId>> {
        let worth = sum(order::split(units));
        let purchases = &self.rows.purchases;
        let is_open = |id: &RequestId| {
            (purchases.get(id)).is_some_and(|row| row.state == PurchaseState::Pending)
        };
        let ordered = &mut self.desk.put_off.ordered;
        ordered.retain(|(_, requests)| requests.iter().any(is_open));
        let told = ordered.iter().find(|(ordered, _)| *ordered == worth);
        let left = self.desk.waiters.iter().find(|waiter| {
            let is_left = |reply: &WaiterReply| {
                matches!(reply, WaiterReply::Buy(asked, reply) if *asked == units && reply.is_closed())
            };
            is_left(&waiter.reply) && waiter.requests.iter().any(is_open)
        });
        let told = told.map(|(_, requests)| requests);
        told.or(left.map(|waiter| &waiter.requests)).cloned()
    }

    /// Buys; where the account does not have as much, it is looked at first, as money may have come.
    pub(super) async fn buy_or_look(&mut self, units: Units, reply: BuyReply) {
        if self.lacks(units).is_none() {
            return self.buy_now(units, reply).await;
        }
        self.desk.short.push((units, reply));
        self.desk.account_due = Some(clock::now());
    }

    /// What there is for coins, where that is less than these cost.
    fn lacks(&self, units: Units) -> Option<Units> {
        let buyable = self.desk.funds(&self.rows).buyable?;
        (buyable < sum(order::split(units))).then_some(buyable)
    }

    pub(super) async fn buy_now(&mut self, units: Units, reply: BuyReply) {
        match self.order(&order::split(units)).await {
            Ok(requests) => {
                let reply = WaiterReply::Buy(units, reply);
                self.desk.waiters.push(Waiter::new(requests, reply));
            }
            Err(error) => give(reply, Err(error)),
        }
    }

    /// The account was looked at, or could not be: whoever wanted more than it had buys, or is told how much
    /// can be bought. Nothing is bought in part.
    pub(super) async fn buy_what_waited(&mut self, error: Option<DoorError>) {
        for (units, reply) in std::mem::take(&mut self.desk.short) {
            let why: CashierError = match (&error, self.lacks(units)) {
                (Some(error), _) => error.clone().into(),
                (None, None) => {
                    self.buy_now(units, reply).await;
                    continue;
                }
                (None, Some(buyable)) => CashierError::Short {
                    asked: sum(order::split(units)),
                    buyable,
                },
            };
            give(reply, Err(why));
        }
    }

    /// Notes that `request` got no answer, for those who wait for it.
    pub(super) fn fail_waiters(&mut self, request: &RequestId, error: &DoorError) {
        for waiter in &mut self.desk.waiters {
            if waiter.requests.contains(request) {
                waiter.failed.insert(*request, error.clone());
            }
        }
    }

    /// Has those who wait for `request` wait for what its answer left open too.
    pub(super) fn wait_for_rest(&mut self, request: &RequestId, rest: RequestId) {
        if self.rows.redemptions.contains_key(&rest) {
            for waiter in &mut self.desk.waiters {
                if waiter.requests.contains(request) {
                    waiter.requests.insert(rest);
                }
            }
        }
    }

    /// Answers those who have nothing to wait for any more.
    pub(super) fn answer_waiters(&mut self) {
        let now = clock::now();
        for waiter in std::mem::take(&mut self.desk.waiters) {
            match waiter
                .requests
                .iter()
                .any(|id| self.awaits(&waiter, id, now))
            {
                true => self.desk.waiters.push(waiter),
                false => self.answer(waiter, now),
            }
        }
    }

    /// Whether an answer to `request` may come soon. One that is on its way does, whatever became of other
    /// errands meanwhile.
    fn awaits(&self, waiter: &Waiter, request: &RequestId, now: UnixMs) -> bool {
        if waiter.failed.contains_key(request) {
            return false;
        }
        let is_out = self.desk.is_out();
        if let Some(row) = self.rows.purchases.get(request) {
            let is_open = row.state == PurchaseState::Pending;
            let errand = Errand::Purchase(*request);
            let goes_soon = !is_out && !self.desk.put_off.holds(errand, now);
            return is_open && (self.desk.is_busy(errand) || goes_soon);
        }
        let Some(row) = self.rows.redemptions.get(request) else {
            return false;
        };
        let goes_soon = || !is_out && !self.desk.put_off.waits(row, now);
        row.answers.is_none() && (self.desk.is_busy(Errand::Redeem(*request)) || goes_soon())
    }

    fn answer(&mut self, waiter: Waiter, now: UnixMs) {
        let failed = waiter.failed.values().next();
        let error = failed.or(self.desk.error.as_ref()).map(ToString::to_string);
        match waiter.reply {
            WaiterReply::Buy(units, reply) => {
                let bought = self.bought(&waiter.requests, error);
                if bought.as_ref().is_ok_and(|told| !told.ordered.is_zero()) {
                    let worth = sum(order::split(units));
                    self.desk.put_off.ordered.push((worth, waiter.requests));
                }
                give(reply, bought);
            }
            WaiterReply::Redeem(which, reply) => {
                let mut report = self.report(&waiter.requests, error, now);
                report.unread = self.unread_units(which);
                report.frozen = self.frozen_units();
                give(reply, Ok(report));
            }
            WaiterReply::Leave(reply) => give(reply, Ok(())),
        }
    }

    /// What came of purchases. One that is fixed and not answered comes later: that is no error.
    fn bought(
        &self,
        requests: &BTreeSet<RequestId>,
        error: Option<String>,
    ) -> Result<Bought, CashierError> {
        let mut bought = Bought::default();
        let mut refused = None;
        let rows = requests.iter();
        for row in rows.filter_map(|id| self.rows.purchases.get(id)) {
            let values = row.coins.iter().map(|(value, _)| *value);
            match &row.state {
                PurchaseState::Done => bought.coins.extend(values),
                PurchaseState::Pending => values.for_each(|value| add(&mut bought.ordered, value)),
                PurchaseState::Failed { why } => refused = Some(why.clone()),
            }
        }
        match refused {
            Some(why) if bought == Bought::default() => Err(DoorError::Refused(why).into()),
            Some(why) => Ok(Bought {
                error: Some(DoorError::Refused(why).to_string()),
                ..bought
            }),
            None if bought.ordered.is_zero() => Ok(bought),
            None => Ok(Bought { error, ..bought }),
        }
    }

    fn report(
        &self,
        requests: &BTreeSet<RequestId>,
        error: Option<String>,
        now: UnixMs,
    ) -> RedeemReport {
        let mut report = RedeemReport::default();
        let rows = requests.iter();
        let rows = rows.filter_map(|id| self.rows.redemptions.get(id));
        let mut put_off = None;
        for id in rows.flat_map(|row| &row.holdings) {
            let Some(row) = self.rows.holdings.get(id) else {
                continue;
            };
            match &row.state {
                HoldingState::Redeemed { pending_until, .. } => {
                    add(&mut report.credited, row.holding.value);
                    let part = match row.origin {
                        Origin::Earned => &mut report.earned,
                        Origin::Change => &mut report.change,
                        Origin::Bought => &mut report.coins,
                    };
                    add(part, row.holding.value);
                    report.holdings = report.holdings.saturating_add(1);
                    if now < *pending_until {
                        report.pending_until = report.pending_until.max(Some(*pending_until));
                    }
                }
                HoldingState::Refused { why } => report.refused.push((*id, why.clone())),
                _ => {
                    put_off = put_off.or(self.desk.put_off.why(id, now));
                    add(&mut report.unanswered, row.holding.value);
                }
            }
        }
        if !report.unanswered.is_zero() {
            report.error = put_off.cloned().or(error);
        }
        report
    }
}

fn sum(values: impl IntoIterator<Item = Units>) -> Units {
    Units::checked_sum(values).unwrap_or(Units(u64::MAX))
}

fn add(sum: &mut Units, value: Units) {
    *sum = sum.checked_add(value).unwrap_or(*sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::fixture::{NOW, Side};
    use crate::wallet::trade;

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_pause() {
        let (mut put_off, errand) = (PutOff::default(), Errand::Certify);
        let error = DoorError::Answer("none".to_owned());
        put_off.unanswered(errand, &error, NOW);
        assert!(put_off.holds(errand, NOW));
        assert!(!put_off.holds(errand, NOW.plus_ms(RETRY_FIRST_MS)));
        let back = UnixMs(NOW.0 - 3 * 3_600_000);
        assert!(!put_off.holds(errand, back));
        put_off.unanswered(errand, &error, back);
        assert!(put_off.holds(errand, back), "a pause of its own");
        let mut side = Side::new(1);
        side.buy(&[64], NOW);
        let coin = *side.rows.holdings.keys().next().expect("bought");
        put_off.put(&[coin], PUT_OFF_MS, "not now", NOW);
        let waits = |now: UnixMs| put_off.why(&coin, now).is_some();
        assert!(waits(NOW) && !waits(NOW.plus_ms(PUT_OFF_MS)) && !waits(back));
    }

    #[test]
    fn what_is_left_of_an_order_is_known_as_that_order_after_a_crash() {
        let mut side = Side::new(1);
        side.buy(&[64], NOW);
        let first = side.begin_purchase(&[16; 33], NOW);
        let second = RequestId::of_order(first.order(), 1);
        let (coins, seed) = (side.coins_for(&first, NOW), side.seed.clone());
        let holder = move |index| seed.holder_key(index).public();
        let done = trade::purchased(&side.rows, &first, &coins, &holder, NOW);
        side.write(done.expect("good"));
        let other = side.begin_purchase(&[256], NOW);
        side.crash();
        let mut ordered = PutOff::of(&side.rows).ordered;
        ordered.sort();
        let wanted = [
            (Units(256), [other].into()),
            (Units(33 * 16), [first, second].into()),
        ];
        assert_eq!(ordered, wanted);
    }
}
