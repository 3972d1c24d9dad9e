//! What pays less holds before anything is written: a disk may take its time, and what runs is paid for. What pays
//! more is written first.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::entry::Entry;
use super::outcome::Outcome;
use super::run::Running;
use super::set::asked_of;
use super::terms::{Lowered, changed, tightened};
use super::view::{Problem, Terms, TermsChange};
use super::{Session, lock};
use crate::config::Settings;
use crate::config::settings::SpendingSettings;
use crate::torrent::Metainfo;
use crate::units::{InfoHash, PricePerGib, Units};

/// A torrent is to cost nothing any more.
pub(super) const FREE_ONLY: TermsChange = TermsChange {
    pays: Some(false),
    max_price: None,
    budget: None,
    earns: None,
    price: None,
    free: None,
    download_bytes_per_s: None,
    upload_bytes_per_s: None,
    ratio_limit_percent: None,
};

/// A change of terms of which that holds which pays less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Terms before it.
    before: Terms,
    /// With what pays less of it.
    low: Terms,
    lowered: Lowered,
}

/// What the payments of a torrent follow.
pub(super) fn of_paying(terms: &Terms) -> (bool, PricePerGib, Option<Units>) {
    (terms.pays, terms.max_price, terms.budget)
}

impl Entry {
    /// Has it pay, unless it was told to pay nothing since.
    pub fn pay_unless_lowered(&mut self, then: Lowered) {
        let now = self.saved.terms;
        let pays = Terms { pays: true, ..now };
        self.saved.terms = self.lowered.bound(then, now, pays);
    }
}

impl Running {
    /// Has what pays less of a change hold at once, in the list, the gateway and the wallet; it is due to be
    /// written. What runs by the old terms is hung up.
    ///
    /// # Errors
    /// Unknown torrent; an engine that does not hang up.
    pub async fn lower(&self, hash: InfoHash, change: &TermsChange) -> Result<Asked, Problem> {
        let asked = self.at_once(hash, |entry| {
            let before = entry.saved.terms;
            entry.lowered.note(&before, change);
            let low = tightened(before, changed(before, change));
            entry.saved.terms = low;
            let lowered = entry.lowered;
            Asked {
                before,
                low,
                lowered,
            }
        })?;
        let (before, low) = (asked.before, asked.low);
        if before == low {
            return Ok(asked);
        }
        self.tell_gateway(hash, before.budget == low.budget, |_| true)?;
        // Nothing is paid before a yes.
        if self.entry(hash)?.saved.asking {
            return Ok(asked);
        }
        let hung_up = self.hang_up(hash).await?;
        if let Err(problem) = self.apply_terms(hash).await {
            tracing::warn!(info_hash = %hash, "its budget waits to be noted: {problem}");
        }
        if let Some(handle) = hung_up {
            self.dial_again(hash, &handle).await?;
        }
        Ok(asked)
    }

    /// Changes a torrent's terms: what pays less holds at once, the rest when it is written.
    pub async fn change_terms(
        &self,
        hash: InfoHash,
        change: &TermsChange,
    ) -> Result<Terms, Problem> {
        let asked = self.lower(hash, change).await?;
        self.keep_terms(hash, change, asked).await
    }

    /// Writes a change of terms, and makes what of it pays more. Where it cannot be kept, what pays less holds all
    /// the same.
    pub async fn keep_terms(
        &self,
        hash: InfoHash,
        change: &TermsChange,
        asked: Asked,
    ) -> Result<Terms, Problem> {
        let written = self.change(hash, |entry| {
            let now = entry.saved.terms;
            let wanted = changed(now, change);
            entry.saved.terms = entry.lowered.bound(asked.lowered, now, wanted);
            entry.saved.past_ratio &= change.ratio_limit_percent.is_none();
            entry.saved.terms
        });
        let kept = match written.await {
            Ok(terms) => Ok(terms),
            Err(problem) if asked.low == asked.before => return Err(problem),
            Err(_) => self.hold_low(hash, change, asked).await?,
        };
        let terms = self.entry(hash)?.saved.terms;
        let applied = self.apply_terms(hash).await;
        if of_paying(&asked.low) != of_paying(&terms) {
            self.reconnect(hash).await?;
        }
        let terms = kept?;
        applied.map(|()| terms)
    }

    /// A change could not be written: what of it pays less holds, and is written as soon as it can be.
    async fn hold_low(
        &self,
        hash: InfoHash,
        change: &TermsChange,
        asked: Asked,
    ) -> Result<Result<Terms, Problem>, Problem> {
        let held = self.hold(hash, |entry| {
            // Others may have changed them meanwhile.
            let now = entry.saved.terms;
            entry.saved.terms = tightened(now, changed(now, change));
            entry.saved.terms
        });
        let (low, written) = held.await?;
        let wanted = changed(asked.before, change);
        let outcome = || Outcome::of_terms(&asked.before, &wanted, &low);
        let written = written.map_err(|error| outcome().problem(&self.home, &error));
        Ok(written.map(|()| low))
    }
}

/// What of a change of settings holds at once.
#[derive(Debug)]
pub(super) struct LoweredSettings {
    pub spending: SpendingSettings,
    /// Which of those that asked for less it is; more by now: another one came after it.
    pub turn: u32,
    /// Whether channels were closed that might have cost more.
    pub has_closed: bool,
}

impl Session {
    /// Has what pays less of a change of settings hold at once, whoever writes settings meanwhile.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub(super) async fn lower_settings(
        &self,
        given: &BTreeMap<String, Value>,
    ) -> Result<LoweredSettings, Problem> {
        let (before, low, turn) = {
            let mut now = self.inner.settings.write();
            let now = now.as_deref_mut().unwrap_or_else(|error| error.get_mut());
            let asked = asked_of(now, given)?;
            let before = now.clone();
            now.spending = before.spending.tightened(&asked.spending);
            // Also where it is as low already: more may have been asked for, and be being written.
            let lowers = before.spending.tightened(&asked.spending) == asked.spending
                && given.keys().any(|key| key.starts_with("spending."));
            let lowers = u32::from(lowers || now.spending != before.spending);
            let turn = self.inner.lowerings.fetch_add(lowers, Ordering::Relaxed);
            (before, now.clone(), turn.wrapping_add(lowers))
        };
        let mut has_closed = false;
        if low != before
            && let Ok(run) = self.running()
            && run.lower_budgets(&before, &low).await
        {
            run.close_what_is_beyond().await;
            has_closed = true;
        }
        Ok(LoweredSettings {
            spending: low.spending,
            turn,
            has_closed,
        })
    }
}

impl Running {
    /// Tells the wallet of budgets for all that are lower; where they count from is noted afterwards. True where
    /// open channels may cost more than that.
    async fn lower_budgets(&self, before: &Settings, low: &Settings) -> bool {
        let paid = match self.node.wallet.balance().await {
            Ok(balance) => balance.books.paid,
            Err(_) => lock(&self.balance).books.paid,
        };
        let now = *lock(&self.spent);
        let mut next = now;
        next.set_total(low, paid);
        let most = [now.most(before), next.most(low)].into_iter().flatten();
        let told = self.node.wallet.pay_up_to(most.min()).await;
        told.unwrap_or_else(|error| {
            tracing::warn!("the wallet was not told of the budgets: {error}");
            false
        })
    }

    /// Has a choice of fewer files hold at once: nothing else is fetched or paid any more. False: it is not one of
    /// fewer, and nothing is done.
    ///
    /// # Errors
    /// Unknown torrent.
    pub async fn narrow(
        &self,
        hash: InfoHash,
        metainfo: &Metainfo,
        only: Option<&[u32]>,
    ) -> Result<bool, Problem> {
        let Some(only) = only else {
            return Ok(false);
        };
        let is_fewer = self.at_once(hash, |entry| {
            let wanted = (entry.saved.only_files.as_ref()).map(|files| files.iter().copied());
            let before: Option<HashSet<u32>> = wanted.map(Iterator::collect);
            let is_in = |file| before.as_ref().is_none_or(|before| before.contains(file));
            let is_fewer = only.iter().all(is_in);
            if is_fewer {
                entry.saved.want(metainfo, Some(only.to_vec()));
                entry.saved.completed = None;
                let files = entry.saved.files();
                self.node.choose_files(metainfo, files.as_deref());
            }
            is_fewer
        })?;
        if is_fewer {
            self.choices.send_replace(());
            self.choose(hash).await?;
        }
        Ok(is_fewer)
    }
}
