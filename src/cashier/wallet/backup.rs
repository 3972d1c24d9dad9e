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
    /// Writes a backup of the wallet in `home` to `file`, which must not exist. Works beside whoever
    /// uses the wallet: the image is of one moment. Returns its size in bytes.
    ///
    /// # Errors
    /// No wallet, a wrong passphrase, a file that is there already, or what hinders reading or writing.
    pub async fn backup(
        home: &FilePath,
        passphrase: &Passphrase,
        file: &FilePath,
    ) -> Result<u64, CashierError> {
        home::check_private(home)?;
        if file.exists() {
            return Err(HomeError::FileExists(file.to_path_buf()).into());
        }
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
        let sealed = sealed.ok_or_else(|| HomeError::NoBackup(file.to_path_buf()))?;
        home::write_new(file, &sealed)?;
        Ok(u64::try_from(sealed.len()).unwrap_or(u64::MAX))
    }

    /// Makes a wallet in `home`, which must be empty or new, from a backup. It is closed again: the first
    /// one who opens it asks the broker for what happened after the backup.
    ///
    /// # Errors
    /// [`HomeError::NotEmpty`], no backup, a wrong passphrase, or what hinders writing. The directory is
    /// empty again then.
    pub async fn restore(
        home: &FilePath,
        file: &FilePath,
        passphrase: &Passphrase,
    ) -> Result<(), CashierError> {
        let sealed = fs::read(file).map_err(home::io_error(file))?;
        let content = sealed::unseal(file, NAME, &sealed, passphrase).map_err(|e| match e {
            HomeError::NoSeedFile(path) => HomeError::NoBackup(path),
            other => other,
        })?;
        let no_backup = || HomeError::NoBackup(file.to_path_buf());
        let (seed, image) = content.split_at_checked(SEED_BYTES).ok_or_else(no_backup)?;
        let seed: [u8; SEED_BYTES] = seed.try_into().map_err(|_| no_backup())?;
        home::prepare_empty(home)?;
        let made = fill(home, &Seed::from_entropy(seed), image, passphrase).await;
        if made.is_err() {
            home::empty(home);
        }
        made
    }
}

/// The seed comes last: without it there is no wallet.
async fn fill(
    home: &FilePath,
    seed: &Seed,
    image: &[u8],
    passphrase: &Passphrase,
) -> Result<(), CashierError> {
    let lock = WriterLock::take(home)?;
    home::write_new(&home.join(sqlite::FILE), image)?;
    let store = SqliteStore::open(home, SqliteOptions::default()).await?;
    let rows = store.load().await?;
    trade::own(&rows, seed.account_key().public())?;
    store.apply(&recover::ask_first(&rows)).await?;
    store.close().await;
    home::write_seed(home, seed, passphrase, random::bytes(), random::bytes())?;
    drop(lock);
    Ok(())
}
