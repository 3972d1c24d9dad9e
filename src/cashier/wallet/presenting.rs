//! What is presented to the broker: shares that are kept, and what was passed on.

use super::chores::PresentReport;
use super::door::{Account, DoorError, Shown};
use super::errands::{Errand, News};
use super::keeping::decode;
use super::purse::{Purse, give};
use super::sending::unless_answered;
use crate::clock;
use crate::record::{Link, OpenSpend, Path, Role};
use crate::units::UnixMs;
use crate::wallet::keeping::{self, Showing};

impl Purse {
    /// Sends what is to be presented; says whether there is anything.
    pub(super) fn begin_presenting(&mut self, all: bool) -> bool {
        let now = clock::now();
        if !all && self.desk.put_off.holds(Errand::Present, now) {
            return false;
        }
        let mut due = keeping::to_present(&self.rows, now, all);
        due.retain(|what| !self.keeping.is_put_off(what, now));
        let items: Vec<_> = due
            .into_iter()
            .filter_map(|what| Some((what, self.shown(what)?)))
            .collect();
        if items.is_empty() {
            return false;
        }
        let (due, items): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        self.desk.start(Errand::Present, move |door| async move {
            let answer = door.present(items).await;
            let account = unless_answered(&*door, &answer).await;
            News::Presented(due, answer, account)
        });
        true
    }

    /// The path to present, and the open that follows it.
    fn shown(&self, what: Showing) -> Option<(Path, Option<OpenSpend>)> {
        match what {
            Showing::Share(spend) => {
                let row = self.rows.received.get(&spend)?;
                let share = self.rows.holdings.get(&row.holding.id.payee_share())?;
                Some((decode(&share.path, &share.holding.id)?, None))
            }
            Showing::PassedOn(spend) => {
                let row = self.rows.spends.get(&spend)?;
                let parent = self.rows.holdings.get(&row.holding)?;
                let path = decode(&parent.path, &row.holding)?;
                let open = self.open_again(&spend).ok()?.0;
                let Some(close) = row.close else {
                    return Some((path, Some(open)));
                };
                let role = match close.k {
                    0 => Role::Change,
                    _ => Role::PayeeShare,
                };
                let link = Link {
                    role,
                    spend: open,
                    close,
                };
                Some((path.extend(link), None))
            }
        }
    }

    pub(super) async fn heard_presented(
        &mut self,
        due: Vec<Showing>,
        answer: Result<Vec<Shown>, DoorError>,
        account: Option<Account>,
        now: UnixMs,
    ) {
        let error = answer.as_ref().err();
        self.desk
            .heard_request(Errand::Present, error, account, now);
        let told = match answer {
            Ok(answers) => {
                let mut report = PresentReport::default();
                let mut taken = Vec::new();
                for (what, answer) in due.into_iter().zip(answers) {
                    match answer {
                        Shown::Known => taken.push(what),
                        Shown::Contested { decide_after, .. } => {
                            self.keeping.put_off(what, Some(decide_after), now);
                            report.contested = report.contested.max(Some(decide_after));
                        }
                        Shown::Refused { why, .. } => {
                            tracing::warn!("the broker does not take what was presented: {why}");
                            self.keeping.put_off(what, None, now);
                            report.refused.push(why);
                        }
                    }
                }
                report.taken = taken.len();
                let change = keeping::presented(&self.rows, &taken, now);
                self.write(Ok(change)).await.map(|()| report)
            }
            Err(error) => Err(error.into()),
        };
        let mut told = Some(told);
        for reply in std::mem::take(&mut self.keeping.presenting) {
            let first = told.take();
            give(reply, first.unwrap_or_else(|| Ok(PresentReport::default())));
        }
    }
}
