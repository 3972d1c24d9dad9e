//! What a wallet keeps an eye on: the spent list, for entries that contradict what it was paid with; the
//! broker's notices; and proofs of fraud, which it keeps and gives to the broker
//! (`docs/protocol.md` sections 6 and 10).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::checks::SpentCopy;
use super::door::{BrokerDoor, DoorError, Shown};
use super::errands::{Errand, News, RETRY_FIRST_MS};
use super::proofs::{ConflictRole, ConflictSeen};
use super::purse::Purse;
use crate::broker::answer::{Notice, NoticeKind};
use crate::coin::ids::Commitment;
use crate::record::{FraudProof, Item, MAX_LINKS_REDEEM, OpenSpend, Path, Slot};
use crate::units::UnixMs;
use crate::wallet::notices::{self, Event, Told};
use crate::wallet::trade::SETTLE_DAYS;
use crate::wallet::{HoldingState, ReceivedRow, RequestId, Rows, proofs, withdraw};

/// Notices are asked for this often.
const NOTICES_EVERY_MS: u64 = 3_600_000;
/// Wait after the broker did not take a proof or a path.
const RETRY_MS: u64 = 60_000;

/// What is watched, and what is to be told.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    notices_due: UnixMs,
    payouts: Payouts,
    /// After a failure nothing is presented or told before then.
    retry_at: UnixMs,
    /// Received spends that were presented against a contradiction in this run.
    contested: BTreeSet<Commitment>,
    to_contest: Vec<(Path, Option<OpenSpend>)>,
    /// Proofs that the broker does not have yet.
    to_tell: Vec<FraudProof>,
}

/// When it is asked again which withdrawals were paid out.
#[derive(Debug)]
struct Payouts {
    due: UnixMs,
    /// The wait after the next fault; doubled by each, up to [`NOTICES_EVERY_MS`].
    wait_ms: u64,
}

impl Default for Payouts {
    fn default() -> Self {
        Payouts {
            due: UnixMs(0),
            wait_ms: RETRY_FIRST_MS,
        }
    }
}

impl Payouts {
    fn heard(&mut self, fault: Option<&DoorError>, now: UnixMs) {
        let Some(fault) = fault else {
            self.due = now.plus_ms(NOTICES_EVERY_MS);
            self.wait_ms = RETRY_FIRST_MS;
            return;
        };
        if self.wait_ms == RETRY_FIRST_MS {
            tracing::warn!(
                "whether withdrawals were paid out is not known, and is asked again: {fault}"
            );
        }
        self.due = now.plus_ms(self.wait_ms);
        self.wait_ms = self.wait_ms.saturating_mul(2).min(NOTICES_EVERY_MS);
    }
}

/// The notice as the wallet's rules take it.
fn told_of(notice: &Notice) -> Told {
    let (what, reference) = match &notice.what {
        NoticeKind::CreditCancelled { holding, units } => {
            (Event::Cancelled(*holding, *units), holding.to_string())
        }
        NoticeKind::Compensated { holding, units, .. } => {
            (Event::Compensated(*units), holding.to_string())
        }
        NoticeKind::Settled { holding, units, .. } => {
            (Event::Settled(*holding, *units), holding.to_string())
        }
        NoticeKind::Suspended { key } => (Event::Suspended, key.to_string()),
        NoticeKind::Warned { key } => (Event::Other, format!("warned {key}")),
        NoticeKind::Contested { holding, .. } => (Event::Other, format!("contested {holding}")),
        NoticeKind::ContestDecided { holding, won, .. } => {
            let how = if *won { "won" } else { "lost" };
            (Event::Other, format!("contest {how} {holding}"))
        }
    };
    Told {
        number: notice.number,
        at: notice.at_unix_ms,
        what,
        reference,
    }
}

async fn all_notices(door: Arc<dyn BrokerDoor>, mut after: u64) -> Result<Vec<Notice>, DoorError> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        let (page, more) = door.notices(after).await?;
        after = page.last().map_or(after, |notice| notice.number);
        all.extend(page);
        if !more || all.len() == before {
            return Ok(all);
        }
    }
}

/// Which of these withdrawals were paid out. What the broker does not say is asked for another time.
async fn all_payouts(door: Arc<dyn BrokerDoor>, unpaid: Vec<(RequestId, String)>) -> News {
    let (mut paid, mut fault) = (Vec::new(), None);
    for (request, withdrawal) in unpaid {
        match door.payout(withdrawal).await {
            Ok(at) => paid.extend(at.map(|at| (request, at))),
            Err(DoorError::Refused(why)) => {
                tracing::debug!("whether withdrawal {request} was paid out is not said: {why}");
            }
            Err(error) => {
                let is_out_of_reach = matches!(error, DoorError::Unreachable(_));
                fault = Some(error);
                if is_out_of_reach {
                    break;
                }
            }
        }
    }
    News::PaidOut(paid, fault)
}

async fn tell(door: Arc<dyn BrokerDoor>, proof: FraudProof) -> News {
    let taken = door.proof(&proof).await.map(|_| ());
    News::ProofTold(Box::new(proof), taken)
}

/// Whether what a received spend paid may still be lost.
fn is_at_stake(rows: &Rows, row: &ReceivedRow, now: UnixMs) -> bool {
    let share = rows.holdings.get(&row.holding.id.payee_share());
    let is_paid = share.is_some_and(|share| {
        matches!(share.state, HoldingState::Redeemed { pending_until, .. } if pending_until <= now)
    });
    !is_paid && now.day() < row.holding.expires.plus(SETTLE_DAYS)
}

/// Whether the list has another statement in the spend's slot, or in one on the way to it.
fn is_contradicted(row: &ReceivedRow, path: &Path, list: &dyn SpentCopy) -> bool {
    list.contradicts(&Slot::spend(&row.holding.id), &row.spend)
        || (path.records().iter())
            .any(|record| list.contradicts(&record.slot, &record.commitment()))
}

impl Purse {
    /// Starts what the watching asks of the broker.
    pub(super) fn send_watching(&mut self, now: UnixMs) {
        if now.is_due(self.watcher.notices_due, NOTICES_EVERY_MS) {
            let after = self.rows.meta.last_notice;
            self.desk.start(Errand::Notices, move |door| async move {
                News::Notices(all_notices(door, after).await)
            });
        }
        if now.is_due(self.watcher.payouts.due, NOTICES_EVERY_MS) {
            let unpaid: Vec<_> = withdraw::unpaid(&self.rows, now).collect();
            if !unpaid.is_empty() {
                self.desk
                    .start(Errand::PaidOut, |door| all_payouts(door, unpaid));
            }
        }
        if !now.is_due(self.watcher.retry_at, RETRY_MS) {
            return;
        }
        if !self.watcher.to_contest.is_empty() {
            let items = self.watcher.to_contest.clone();
            self.desk.start(Errand::Contest, |door| async move {
                News::Contested(door.present(items).await)
            });
        }
        if let Some(proof) = self.watcher.to_tell.last().cloned() {
            self.desk.start(Errand::Proof, |door| tell(door, proof));
        }
    }

    /// Looks the spends that this wallet was paid with up in a new copy of the list, and what is unsigned
    /// of its own.
    pub(super) fn watch_list(&mut self, list: &dyn SpentCopy, now: UnixMs) {
        for row in self.rows.received.values() {
            if self.watcher.contested.contains(&row.spend) || !is_at_stake(&self.rows, row, now) {
                continue;
            }
            let Ok(path) = Path::decode(&row.path, MAX_LINKS_REDEEM) else {
                continue;
            };
            if is_contradicted(row, &path, list) {
                tracing::warn!("the spent list contradicts spend {}: contested", row.spend);
                self.watcher.contested.insert(row.spend);
                self.watcher.to_contest.push((path, Some(row.open)));
            }
        }
        for row in self.rows.holdings.values() {
            if row.state == HoldingState::Unread && list.lists(&Slot::spend(&row.holding.id)) {
                self.reader.hurry(row.holding.id);
            }
        }
    }

    pub(super) async fn contested(&mut self, answers: Result<Vec<Shown>, DoorError>, now: UnixMs) {
        let error = answers.as_ref().err();
        self.desk.heard_aside(Errand::Contest, error, now);
        let Ok(answers) = answers else {
            self.watcher.retry_at = now.plus_ms(RETRY_MS);
            return;
        };
        self.watcher.to_contest.clear();
        for answer in answers {
            match answer {
                Shown::Contested {
                    proof: Some(proof), ..
                }
                | Shown::Refused {
                    proof: Some(proof), ..
                } => {
                    self.proof_found(&proof, now).await;
                }
                _ => {}
            }
        }
    }

    pub(super) async fn noticed(&mut self, told: Result<Vec<Notice>, DoorError>, now: UnixMs) {
        self.desk
            .heard_aside(Errand::Notices, told.as_ref().err(), now);
        self.watcher.notices_due = now.plus_ms(NOTICES_EVERY_MS);
        for notice in told.unwrap_or_default() {
            let change = notices::told(&self.rows, &told_of(&notice));
            if !self.write_answer(change).await {
                return;
            }
        }
    }

    pub(super) async fn paid_out(
        &mut self,
        told: Vec<(RequestId, UnixMs)>,
        fault: Option<DoorError>,
        now: UnixMs,
    ) {
        self.desk.heard_aside(Errand::PaidOut, fault.as_ref(), now);
        self.watcher.payouts.heard(fault.as_ref(), now);
        for (request, at) in told {
            let change = withdraw::paid_out(&self.rows, &request, at.min(now));
            if !self.write_answer(Ok(change)).await {
                return;
            }
        }
    }

    pub(super) fn proof_told(
        &mut self,
        proof: &FraudProof,
        taken: Result<(), DoorError>,
        now: UnixMs,
    ) {
        self.desk
            .heard_aside(Errand::Proof, taken.as_ref().err(), now);
        let is_over = match &taken {
            Ok(()) => true,
            Err(DoorError::Refused(why)) => {
                tracing::warn!("the broker does not take a proof: {why}");
                true
            }
            Err(_) => {
                self.watcher.retry_at = now.plus_ms(RETRY_MS);
                false
            }
        };
        if is_over {
            self.watcher.to_tell.retain(|other| other != proof);
        }
    }

    /// Two items that lay in one slot: kept as a proof, given to the broker, and what was paid with it
    /// presented.
    pub(super) async fn conflict_found(&mut self, ours: &Item, other: &Item, now: UnixMs) {
        let Some(proof) = proofs::proof_of(&self.rows, ours, other) else {
            tracing::warn!(
                "two items of key {} are no proof that this wallet can make",
                ours.key
            );
            return;
        };
        let paid_with = self.rows.received.values().find(|row| {
            Slot::spend(&row.holding.id).salts().contains(&ours.salt) && row.holding.key == ours.key
        });
        if let Some(row) = paid_with.cloned() {
            self.contest(&row);
        }
        self.proof_found(&proof, now).await;
    }

    /// What a received spend was paid with is presented against the other statement.
    pub(super) fn contest(&mut self, row: &ReceivedRow) {
        if let Ok(path) = Path::decode(&row.path, MAX_LINKS_REDEEM)
            && self.watcher.contested.insert(row.spend)
        {
            self.watcher.to_contest.push((path, Some(row.open)));
        }
    }

    /// A proof that was not kept before goes to the broker.
    pub(super) fn tell_broker(&mut self, proof: FraudProof) {
        self.watcher.to_tell.push(proof);
    }

    pub(super) async fn proof_found(&mut self, proof: &FraudProof, now: UnixMs) {
        let seen = ConflictSeen {
            role: ConflictRole::Payee,
            info_hash: None,
            peer: None,
        };
        if let Err(error) = self.keep_proof(proof, seen, now).await {
            tracing::error!("a proof could not be kept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::errands::Desk;
    use super::*;

    fn lost() -> DoorError {
        DoorError::Unreachable("lost on the way".to_owned())
    }

    #[test]
    fn payouts_are_asked_for_again_after_a_fault_ever_later_until_there_is_an_answer() {
        let (mut payouts, now) = (Payouts::default(), UnixMs(1_000_000));
        let mut wait_ms = |fault: Option<DoorError>| {
            payouts.heard(fault.as_ref(), now);
            payouts.due.since_ms(now)
        };
        let waits: Vec<_> = (0..3).map(|_| wait_ms(Some(lost()))).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000]);
        let waits: Vec<_> = (0..20).map(|_| wait_ms(Some(lost()))).collect();
        assert_eq!(waits.last(), Some(&NOTICES_EVERY_MS));
        assert_eq!(wait_ms(None), NOTICES_EVERY_MS);
        assert_eq!(wait_ms(Some(lost())), 1_000);
    }

    #[test]
    fn a_watching_errand_without_an_answer_leaves_the_wait_for_the_broker_as_it_is() {
        let (mut desk, now) = (Desk::new(None), UnixMs(1_000_000));
        let mut wait_ms = || {
            desk.heard(Errand::Account, Some(&lost()), now);
            let wait_ms = desk.retry_at.since_ms(now);
            desk.heard_aside(Errand::PaidOut, Some(&lost()), now);
            assert_eq!(desk.error, Some(lost()));
            assert_eq!(desk.retry_at.since_ms(now), wait_ms);
            wait_ms
        };
        assert_eq!([wait_ms(), wait_ms(), wait_ms()], [1_000, 2_000, 4_000]);
        desk.heard_aside(Errand::PaidOut, None, now);
        assert_eq!((desk.error, desk.retry_at), (None, now));
    }
}
