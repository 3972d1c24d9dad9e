//! The wallet as one encrypted file, made while it is in use, and a home made from one
//! (`docs/protocol.md` section 11).
//!
//! A backup is the seed (32 bytes) and an image of the database, sealed together as `sealed.rs` says
//! under the name `"DPayBack"`. What the wallet did after the backup is not in it: whoever restores it
//! asks the broker first, and reads each slot before anything is signed.

use std::fs;
use std::path::Path as FilePath;

use zeroize::Zeroizing;

use super::CashierError;
use super::home::{self, HomeError, Passphrase};
use super::open::Wallet;
use super::sealed;
use crate::coin::Seed;
use crate::random;
use crate::store::wallet::{SqliteOptions, SqliteStore, WalletStore, WriterLock, sqlite};
use crate::units::UnixMs;
use crate::wallet::{recover, trade};

const NAME: &[u8; 8] = b"DPayBack";
const SEED_BYTES: usize = 32;

/// Whether the backup in `file` opens only with a passphrase.
///
/// # Errors
/// A file that cannot be read.
pub fn needs_passphrase(file: &FilePath) -> Result<bool, HomeError> {
    let bytes = fs::read(file).map_err(home::io_error(file))?;
    Ok(sealed::needs_passphrase(&bytes))
}

impl Wallet {
    /// A backup of the wallet in `home`, sealed under its passphrase. Works beside whoever uses the wallet: the
    /// image is of one moment.
    ///
    /// # Errors
    /// No wallet, a wrong passphrase, or what hinders reading.
    pub async fn backup_bytes(
        home: &FilePath,
        passphrase: &Passphrase,
    ) -> Result<Vec<u8>, CashierError> {
        home::check_private(home)?;
        let seed = home::read_seed(home, passphrase)?;
        let image = SqliteStore::image(home).await?;
        let mut content =
            Zeroizing::new(Vec::with_capacity(SEED_BYTES.saturating_add(image.len())));
        content.extend_from_slice(seed.as_entropy());
        content.extend_from_slice(&image);
        let (fresh, phrase) = ((random::bytes(), random::bytes()), passphrase.clone());
        let sealing =
            tokio::task::spawn_blocking(move || sealed::seal(NAME, &content, &phrase, fresh));
        let sealed = sealing.await.ok().flatten();
        Ok(sealed.ok_or_else(|| HomeError::NoBackup(home.to_path_buf()))?)
    }

    /// Writes a backup to `file`, which must not exist. Returns its size in bytes.
    ///
    /// # Errors
    /// As [`Wallet::backup_bytes`]; a file that is there already, or cannot be written.
    pub async fn backup(
        home: &FilePath,
        passphrase: &Passphrase,
        file: &FilePath,
    ) -> Result<u64, CashierError> {
        if file.exists() {
            return Err(HomeError::FileExists(file.to_path_buf()).into());
        }
        let sealed = Wallet::backup_bytes(home, passphrase).await?;
        home::write_new(file, &sealed)?;
        Ok(u64::try_from(sealed.len()).unwrap_or(u64::MAX))
    }

    /// As [`Wallet::restore_bytes`], from a file.
    ///
    /// # Errors
    /// As there, or a file that cannot be read.
    pub async fn restore(
        home: &FilePath,
        file: &FilePath,
        passphrase: &Passphrase,
    ) -> Result<Option<UnixMs>, CashierError> {
        let sealed = fs::read(file).map_err(home::io_error(file))?;
        Wallet::restore_bytes(home, file, sealed, passphrase).await
    }

    /// Makes a wallet in `home`, which must be empty or new, from a backup, which messages call `name`. It is
    /// closed again: the first one who opens it asks the broker for what happened after the backup. Returns the
    /// moment of the newest line of its journal, if it has one.
    ///
    /// # Errors
    /// [`HomeError::NotEmpty`], no backup, a wrong passphrase, or what hinders writing. The directory is
    /// empty again then, but where another process makes a wallet in it.
    pub async fn restore_bytes(
        home: &FilePath,
        name: &FilePath,
        sealed: Vec<u8>,
        passphrase: &Passphrase,
    ) -> Result<Option<UnixMs>, CashierError> {
        let (path, phrase) = (name.to_path_buf(), passphrase.clone());
        let opening =
            tokio::task::spawn_blocking(move || sealed::unseal(&path, NAME, &sealed, &phrase));
        let content = opening.await.map_err(|_| CashierError::Closed)?;
        let content = content.map_err(|e| match e {
            HomeError::NoSeedFile(path) => HomeError::NoBackup(path),
            other => other,
        })?;
        let no_backup = || HomeError::NoBackup(name.to_path_buf());
        let (seed, image) = content.split_at_checked(SEED_BYTES).ok_or_else(no_backup)?;
        let seed: [u8; SEED_BYTES] = seed.try_into().map_err(|_| no_backup())?;
        home::prepare_empty(home)?;
        // What is there from now on is ours to take away again; before, it may be another's who makes a wallet.
        let lock = WriterLock::take(home)?;
        if home::has_wallet(home) || home.join(sqlite::FILE).exists() {
            return Err(HomeError::NotEmpty(home.to_path_buf()).into());
        }
        let made = fill(home, &Seed::from_entropy(seed), image, passphrase).await;
        if made.is_err() {
            home::empty(home);
        }
        drop(lock);
        made
    }

    /// Gives the wallet in `home`, which no process has open, another passphrase.
    ///
    /// # Errors
    /// A process has it open; a wrong old one; what hinders writing.
    pub fn change_passphrase(
        home: &FilePath,
        old: &Passphrase,
        new: &Passphrase,
    ) -> Result<(), CashierError> {
        home::check_private(home)?;
        if !home::has_wallet(home) {
            return Err(HomeError::Missing(home.to_path_buf()).into());
        }
        let _lock = WriterLock::take(home)?;
        let seed = home::read_seed(home, old)?;
        Ok(home::replace_seed(home, &seed, new)?)
    }
}

/// The seed comes last: without it there is no wallet.
async fn fill(
    home: &FilePath,
    seed: &Seed,
    image: &[u8],
    passphrase: &Passphrase,
) -> Result<Option<UnixMs>, CashierError> {
    home::write_new(&home.join(sqlite::FILE), image)?;
    let store = SqliteStore::open(home, SqliteOptions::default()).await?;
    let rows = store.load().await?;
    trade::own(&rows, seed.account_key().public())?;
    store.apply(&recover::ask_first(&rows)).await?;
    let newest = store.journal(1).await?.pop();
    store.close().await;
    home::write_seed(home, seed, passphrase, random::bytes(), random::bytes())?;
    Ok(newest.map(|entry| entry.line.at))
}
