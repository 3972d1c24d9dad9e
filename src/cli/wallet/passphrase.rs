//! Where a passphrase comes from: a file, the environment, or whoever sits at the terminal.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use zeroize::Zeroizing;

use crate::cashier::wallet::{Passphrase, home};

/// Where a passphrase comes from.
#[derive(Clone, Debug, Default)]
pub enum PassphraseSource {
    /// A file; space around it does not count.
    File(PathBuf),
    /// Text, from the environment.
    Text(Zeroizing<String>),
    /// A prompt on the terminal.
    #[default]
    Ask,
}

impl PassphraseSource {
    /// `file` if given, else the environment's `DPAY_PASSPHRASE`, else a prompt.
    #[must_use]
    pub fn choose(file: Option<PathBuf>) -> PassphraseSource {
        match (file, std::env::var("DPAY_PASSPHRASE")) {
            (Some(file), _) => PassphraseSource::File(file),
            (None, Ok(text)) => PassphraseSource::Text(Zeroizing::new(text)),
            (None, Err(_)) => PassphraseSource::Ask,
        }
    }

    /// The passphrase, without asking anybody; `None` where somebody must be asked.
    ///
    /// # Errors
    /// An unreadable file, or an empty passphrase.
    pub fn given(&self) -> Result<Option<Passphrase>> {
        match self.text()? {
            Some(text) => Ok(Some(Passphrase::new(&text)?)),
            None => Ok(None),
        }
    }

    fn text(&self) -> Result<Option<Zeroizing<String>>> {
        Ok(match self {
            PassphraseSource::File(path) => Some(Zeroizing::new(
                std::fs::read_to_string(path)
                    .with_context(|| format!("the passphrase file {}", path.display()))?,
            )),
            PassphraseSource::Text(text) => Some(text.clone()),
            PassphraseSource::Ask => None,
        })
    }

    /// The passphrase of the wallet in `home`; asks only if the wallet has one.
    ///
    /// # Errors
    /// No wallet, an unreadable file, an empty passphrase, or nobody to ask.
    pub fn open(&self, home: &Path) -> Result<Passphrase> {
        match self.text_of(home)? {
            Some(text) => Ok(Passphrase::new(&text)?),
            None => Ok(Passphrase::none()),
        }
    }

    /// The same as text; none where the wallet has none.
    pub(super) fn text_of(&self, home: &Path) -> Result<Option<Zeroizing<String>>> {
        if !home::needs_passphrase(home)? {
            return Ok(None);
        }
        match self.text()? {
            Some(text) => Ok(Some(text)),
            None => Ok(Some(ask("Passphrase of the wallet: ", "")?)),
        }
    }

    /// A passphrase for a new wallet; asks twice.
    pub(super) fn make(&self) -> Result<Passphrase> {
        Ok(Passphrase::new(&self.make_text()?)?)
    }

    /// The same as text.
    pub(super) fn make_text(&self) -> Result<Zeroizing<String>> {
        if let Some(text) = self.text()? {
            return Ok(text);
        }
        let or = ", or --no-passphrase for a wallet without one";
        let first = ask("New passphrase of the wallet: ", or)?;
        Passphrase::new(&first)?;
        if *ask("The same once more: ", or)? != *first {
            bail!("the two passphrases differ: nothing was changed");
        }
        Ok(first)
    }
}

/// `or`: what else may be done where nobody can be asked.
pub(super) fn ask(question: &str, or: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "a passphrase is needed and there is no terminal to ask on: \
             give --passphrase-file FILE or set DPAY_PASSPHRASE{or}"
        );
    }
    Ok(Zeroizing::new(
        rpassword::prompt_password(question).context("the passphrase could not be read")?,
    ))
}
