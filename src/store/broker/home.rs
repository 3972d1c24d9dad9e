//! The broker's home directory: its key and its database.
//!
//! The directory is made with mode 0700 and the key file with 0600. A database without its key is
//! refused rather than given a new one: every coin it sold would be orphaned.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::coin::keys::SecretKey;
use crate::store::lock::{Lock, LockError};

/// Name of the file in the home that its running broker has locked.
pub const LOCK_FILE: &str = "broker.lock";

/// Why a home cannot be used.
#[derive(Debug, Error)]
pub enum HomeError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A broker runs here already.
    #[error(
        "a broker runs with the home {home} already, in {by}; stop it first, or give this one another home with \
         --home"
    )]
    InUse {
        /// The home.
        home: PathBuf,
        /// Process id and name, as that process wrote them.
        by: String,
    },
    /// There is no broker here yet.
    #[error("{0} holds no broker; start one there with `dpay broker run --home {0}`")]
    NoBroker(PathBuf),
    /// The key is gone although its database is there.
    #[error("{0} is missing although the database is there; put the key back from a backup")]
    KeyMissing(PathBuf),
    /// The key file is none.
    #[error("{0} does not hold 64 hex digits; put the key back from a backup")]
    KeyDamaged(PathBuf),
    /// Others can read the key.
    #[error("{path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// A directory with a broker's key and database.
#[derive(Debug)]
pub struct BrokerHome {
    directory: PathBuf,
    key: SecretKey,
}

impl BrokerHome {
    /// Opens the home; at the first run it is made, with a key from `new_key` (32 random bytes).
    ///
    /// # Errors
    /// [`HomeError`], which names the file.
    pub fn open_or_make(directory: &Path, new_key: [u8; 32]) -> Result<Self, HomeError> {
        let new_key = Zeroizing::new(new_key);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| fault(directory, source))?;
        let path = directory.join("broker.key");
        if path.exists() {
            return Self::open(directory);
        }
        if directory.join("broker.sqlite").exists() {
            return Err(HomeError::KeyMissing(path));
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| fault(&path, source))?;
        let text = Zeroizing::new(hex::encode(*new_key));
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(directory)?.sync_all());
        written.map_err(|source| fault(&path, source))?;
        Ok(BrokerHome {
            directory: directory.to_owned(),
            key: SecretKey::from_bytes(*new_key),
        })
    }

    /// Opens a home that a broker ran in before.
    ///
    /// # Errors
    /// [`HomeError::NoBroker`] if none did; otherwise what is wrong with the key file.
    pub fn open(directory: &Path) -> Result<Self, HomeError> {
        let path = directory.join("broker.key");
        if !path.exists() {
            return Err(if directory.join("broker.sqlite").exists() {
                HomeError::KeyMissing(path)
            } else {
                HomeError::NoBroker(directory.to_owned())
            });
        }
        let mut file = File::open(&path).map_err(|source| fault(&path, source))?;
        let meta = file.metadata().map_err(|source| fault(&path, source))?;
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(HomeError::KeyExposed { path, mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text)
            .map_err(|source| fault(&path, source))?;
        let mut bytes = Zeroizing::new([0u8; 32]);
        if hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).is_err() {
            return Err(HomeError::KeyDamaged(path));
        }
        Ok(BrokerHome {
            directory: directory.to_owned(),
            key: SecretKey::from_bytes(*bytes),
        })
    }

    /// Takes the lock of the one broker that may run here: two would each have terms of their own.
    ///
    /// # Errors
    /// [`HomeError::InUse`] where one runs, or what hinders the lock.
    pub fn lock(&self) -> Result<Lock, HomeError> {
        let path = self.directory.join(LOCK_FILE);
        Lock::take(&path).map_err(|error| match error {
            LockError::Taken(by) => HomeError::InUse {
                home: self.directory.clone(),
                by,
            },
            LockError::File(source) => fault(&path, source),
        })
    }

    /// The broker's key.
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("broker.sqlite")
    }
}

fn fault(path: &Path, source: io::Error) -> HomeError {
    HomeError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_keeps_its_key_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("broker");
        assert!(matches!(
            BrokerHome::open(&home),
            Err(HomeError::NoBroker(_))
        ));
        let first = BrokerHome::open_or_make(&home, [3; 32]).unwrap();
        let again = BrokerHome::open_or_make(&home, [4; 32]).unwrap();
        assert_eq!(first.key().public(), again.key().public());
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home), 0o700);
        assert_eq!(mode(&home.join("broker.key")), 0o600);
    }

    #[test]
    fn an_exposed_or_damaged_key_and_a_database_without_one_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = BrokerHome::open_or_make(dir.path(), [3; 32]).unwrap();
        let key = dir.path().join("broker.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            BrokerHome::open(dir.path()),
            Err(HomeError::KeyExposed { .. })
        ));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, "short").unwrap();
        assert!(matches!(
            BrokerHome::open(dir.path()),
            Err(HomeError::KeyDamaged(_))
        ));
        fs::write(home.database(), "").unwrap();
        fs::remove_file(&key).unwrap();
        assert!(matches!(
            BrokerHome::open_or_make(dir.path(), [5; 32]),
            Err(HomeError::KeyMissing(_))
        ));
    }
}
