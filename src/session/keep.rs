//! The wallet kept elsewhere and brought back, and its passphrase changed.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::life::{Life, passphrase};
use super::money::{home_problem, problem};
use super::problems::to_its_end;
use super::view::{
    Advice, PassphraseChange, PassphraseGiven, Problem, ProblemCode, Restored, WalletBackup,
    WalletRestore,
};
use super::{Session, lock};
use crate::cashier::wallet::{CashierError, Wallet, home};
use crate::store::wallet::{StoreError, WriterLock};

/// What messages call a backup that came without a name.
const UPLOAD: &str = "the file";

impl Session {
    /// A backup of the home's own wallet, for whoever knows its passphrase; one at a time.
    ///
    /// # Errors
    /// No wallet, a wrong passphrase, or what hinders reading.
    pub async fn backup(&self, given: PassphraseGiven) -> Result<WalletBackup, Problem> {
        let given = passphrase(given.passphrase.as_deref())?;
        let _alone = self.inner.backing_up.lock().await;
        self.check_passphrase(&given).await?;
        let made = Wallet::backup_bytes(&self.inner.options.home, &given).await;
        let made = made.map_err(|error| problem(&error))?;
        let file = STANDARD.encode(made);
        Ok(WalletBackup { file })
    }

    /// Makes the wallet again from a backup, and starts the node. Only where there is none.
    ///
    /// # Errors
    /// There is a wallet already; no backup, or a wrong passphrase; what hinders writing.
    pub async fn restore(&self, given: WalletRestore) -> Result<Restored, Problem> {
        let session = self.clone();
        to_its_end(async move { session.restore_of(given).await }).await?
    }

    async fn restore_of(&self, given: WalletRestore) -> Result<Restored, Problem> {
        let _turn = self.inner.turning.lock().await;
        if !matches!(self.life(), Life::Setup) {
            return Err(super::life::there_is_one());
        }
        let sealed = STANDARD.decode(given.file.trim()).map_err(|error| {
            let error = format!("file: {error}");
            Problem::new(ProblemCode::BadRequest, error, Advice::SendBase64)
        })?;
        let phrase = passphrase(given.passphrase.as_deref())?;
        let home = &self.inner.options.home;
        let made = Wallet::restore_bytes(home, Path::new(UPLOAD), sealed, &phrase).await;
        let until = made.map_err(|error| problem(&error))?;
        // Whoever restores has it elsewhere.
        self.note_words_due(false).await;
        self.launch(phrase);
        Ok(Restored { until })
    }

    /// Gives the home's own wallet another passphrase: once it is answered, only that opens it.
    ///
    /// # Errors
    /// A wrong old one, or too many of them lately; no wallet; what hinders writing.
    pub async fn change_passphrase(&self, change: PassphraseChange) -> Result<(), Problem> {
        let session = self.clone();
        to_its_end(async move { session.change_passphrase_of(change).await }).await?
    }

    async fn change_passphrase_of(&self, change: PassphraseChange) -> Result<(), Problem> {
        let (old, new) = (
            passphrase(change.passphrase.as_deref())?,
            passphrase(change.new.as_deref())?,
        );
        let _turn = self.inner.turning.lock().await;
        let home = self.inner.options.home.clone();
        let life = self.life();
        let _writer = match &life {
            // The wallet that runs has the lock.
            Life::Running(run) if run.home == home => None,
            Life::Running(_) | Life::Locked | Life::Failed(_) => {
                let lock = WriterLock::take(&home).map_err(|error| match error {
                    StoreError::InUse { .. } => {
                        Problem::new(ProblemCode::Conflict, error.to_string(), Advice::AskAgain)
                    }
                    other => problem(&CashierError::Store(other)),
                })?;
                Some(lock)
            }
            Life::Setup | Life::Starting | Life::Stopping => return self.running().map(|_| ()),
        };
        let seed = self.check_passphrase(&old).await?;
        let (at, phrase) = (home.clone(), new.clone());
        let writing =
            tokio::task::spawn_blocking(move || home::replace_seed(&at, &seed, &phrase)).await;
        let written = writing.map_err(|error| {
            Problem::new(ProblemCode::Internal, error.to_string(), Advice::SeeLog)
        })?;
        // Where the last step failed, it is the file that says which of the two opens it.
        if written.is_ok() || self.open_seed(&new).await.is_ok() {
            let mut known = lock(&self.inner.passphrase);
            *known = known.take().map(|_| new);
        }
        written.map_err(|error| home_problem(&error))?;
        self.tell_state();
        if let Ok(run) = self.running() {
            self.look(&run).await;
        }
        Ok(())
    }
}
