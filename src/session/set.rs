//! Settings are changed: written, and put into effect.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::outcome::Outcome;
use super::view::settings::SettingList;
use super::view::{Problem, SettingsChange};
use super::{Session, lock, problems, setting_problem, usable};
use crate::config::{Settings, SettingsError, keys};

/// Settings with a change.
pub(super) fn asked_of(
    now: &Settings,
    given: &BTreeMap<String, Value>,
) -> Result<Settings, Problem> {
    let changes = given.iter();
    let changes = changes.map(|(key, value)| (key.as_str(), value.clone()));
    keys::set(now, changes).map_err(|error| setting_problem(&error))
}

impl Session {
    /// Changes settings, all or none, keeps them, and lets them take effect. Where they cannot be kept, what
    /// pays less takes effect all the same and is written as soon as it can be; the problem says so.
    ///
    /// # Errors
    /// Unknown keys, values that cannot be, a file that cannot be written.
    pub async fn change_settings(&self, change: SettingsChange) -> Result<SettingList, Problem> {
        let session = self.clone();
        problems::to_its_end(async move { session.change_settings_of(change).await }).await?
    }

    pub(super) async fn change_settings_of(
        &self,
        change: SettingsChange,
    ) -> Result<SettingList, Problem> {
        let given: BTreeMap<String, Value> = change.0;
        let warning = self.check_named(&given).await?;
        let before = self.settings();
        let asked = asked_of(&before, &given)?;
        for (folder, was) in [
            (&asked.folders.downloads, &before.folders.downloads),
            (&asked.folders.watch, &before.folders.watch),
        ] {
            if let Some(folder) = folder.as_ref().filter(|_| folder != was) {
                usable(folder)?;
            }
        }
        let lowered = self.lower_settings(&given).await?;
        let mut unsaved = self.inner.setting.lock().await;
        let held = self.settings();
        let asked = asked_of(&held, &given)?;
        let written = self.write_settings(&asked).await;
        let after = {
            let mut now = self.inner.settings.write();
            let now = now.as_deref_mut().unwrap_or_else(|error| error.get_mut());
            let is_latest = lowered.turn == self.inner.lowerings.load(Ordering::Relaxed);
            match &written {
                Ok(()) => {
                    let low = now.spending.tightened(&asked.spending);
                    now.clone_from(&asked);
                    // What was lowered after this was asked for holds.
                    if !is_latest {
                        now.spending = low;
                    }
                }
                Err(error) if lowered.spending == before.spending => {
                    return Err(setting_problem(error));
                }
                Err(_) => {}
            }
            *unsaved = written.is_err() || now.spending != asked.spending;
            now.clone()
        };
        self.take_effect(&held, &after, lowered.has_closed).await;
        let home = &self.inner.options.home;
        written.map_err(|error| {
            let value =
                |settings: &Settings, key: &str| keys::get(settings, key).unwrap_or_default();
            let change = given.keys().map(|key| {
                let values = [&before, &asked, &after].map(|settings| value(settings, key));
                (key.clone(), values)
            });
            Outcome::of(change).problem(home, &error)
        })?;
        Ok(SettingList {
            warning,
            ..self.setting_list()
        })
    }

    /// Writes the settings' file, but over no edit that somebody made in it.
    fn write_settings_now(&self, settings: &Settings) -> Result<(), SettingsError> {
        let home = &self.inner.options.home;
        let mut on_disk = lock(&self.inner.on_disk);
        keys::keep_edits(home, &on_disk, settings)?;
        settings.write(home)?;
        on_disk.clone_from(settings);
        Ok(())
    }

    /// Writes settings that hold and could not be written down.
    pub(super) async fn save_settings(&self) {
        let mut unsaved = self.inner.setting.lock().await;
        if *unsaved {
            let saved = self.settings();
            let written = self.write_settings(&saved).await;
            *unsaved = written.is_err() || self.settings() != saved;
        }
    }

    /// Writes settings, on a thread that may wait for the disk.
    async fn write_settings(&self, settings: &Settings) -> Result<(), SettingsError> {
        let (session, settings) = (self.clone(), settings.clone());
        let work = move || session.write_settings_now(&settings);
        let written = tokio::task::spawn_blocking(work).await;
        written.unwrap_or_else(|error| {
            Err(SettingsError::Io {
                path: self.inner.options.home.clone(),
                source: std::io::Error::other(error),
            })
        })
    }

    /// `has_closed`: channels beyond the budgets are closed already.
    async fn take_effect(&self, before: &Settings, after: &Settings, has_closed: bool) {
        self.inner.options.book.set_level(after.log.level);
        if let Ok(run) = self.running() {
            run.apply_limits(after);
            self.put_all_right(&run);
            if run.hold_budgets(after).await && !has_closed {
                run.close_what_is_beyond().await;
            }
            if before.rules.at_hand != after.rules.at_hand {
                run.apply_at_hand(after).await;
            }
            if before.rules.redeem_from != after.rules.redeem_from {
                run.apply_redeem_rule(after).await;
            }
            if before.seeding.ratio_limit_percent != after.seeding.ratio_limit_percent {
                self.hold_to_ratio(&run).await;
                self.look(&run).await;
            }
        }
        if before.broker.url != after.broker.url || self.has_failed() {
            self.restart();
        }
    }
}
