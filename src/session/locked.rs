//! A wallet whose passphrase nobody gave yet.

use super::Tries;
use super::life::{Life, passphrase};
use super::view::{Advice, PassphraseGiven, Problem, ProblemCode};
use super::{Session, lock};
use crate::cashier::wallet::{Passphrase, home};
use crate::clock;
use crate::coin::Seed;

impl Session {
    /// Whether nothing runs until somebody gives the wallet's passphrase.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self.life(), Life::Locked)
    }

    /// Opens the wallet with its passphrase and starts the node.
    ///
    /// # Errors
    /// A wrong passphrase; a wallet that is not locked.
    pub async fn unlock(&self, given: PassphraseGiven) -> Result<(), Problem> {
        let _turn = self.inner.turning.lock().await;
        if !matches!(self.life(), Life::Locked) {
            return Err(Problem::new(
                ProblemCode::Conflict,
                "the wallet is not locked",
                Advice::GoOn,
            ));
        }
        let passphrase = passphrase(given.passphrase.as_deref())?;
        self.check_passphrase(&passphrase).await?;
        self.launch(passphrase);
        Ok(())
    }

    /// The wallet's seed, for a passphrase that somebody gives. Who gives five wrong ones in a row waits, as with
    /// the password.
    pub(super) async fn check_passphrase(&self, passphrase: &Passphrase) -> Result<Seed, Problem> {
        let needs = home::needs_passphrase(&self.inner.options.home);
        if needs.map_err(|error| super::money::home_problem(&error))? {
            let begun = lock(&self.inner.tries).begin(clock::now());
            begun.map_err(|wait_s| {
                let error = format!("too many wrong passphrases: wait {wait_s} seconds");
                Problem::new(ProblemCode::LockedOut, error, Advice::Wait)
                    .about(format_args!("{wait_s} s"))
            })?;
        }
        let seed = self.open_seed(passphrase).await?;
        *lock(&self.inner.tries) = Tries::default();
        Ok(seed)
    }

    /// The wallet's seed, if the passphrase opens its file. Takes as long as guessing should.
    pub(super) async fn open_seed(&self, passphrase: &Passphrase) -> Result<Seed, Problem> {
        let (home, passphrase) = (self.inner.options.home.clone(), passphrase.clone());
        let read = tokio::task::spawn_blocking(move || home::read_seed(&home, &passphrase)).await;
        match read {
            Ok(read) => read.map_err(|error| super::money::home_problem(&error)),
            Err(_) => Err(Problem::new(
                ProblemCode::Internal,
                "the check broke off",
                Advice::TryAgain,
            )),
        }
    }
}
