//! One writer: a lock on a file in the wallet's home.

use std::path::Path;

use super::StoreError;
use crate::store::lock::{Lock, LockError};

/// The file in the wallet's home.
pub const FILE: &str = "wallet.lock";

/// Held by the one process that may write to the wallet; given back when dropped.
#[derive(Debug)]
pub struct WriterLock {
    _lock: Lock,
}

impl WriterLock {
    /// Takes the lock of the wallet in `home`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] with the process that has it.
    pub fn take(home: &Path) -> Result<WriterLock, StoreError> {
        let path = home.join(FILE);
        match Lock::take(&path) {
            Ok(lock) => Ok(WriterLock { _lock: lock }),
            Err(LockError::Taken(by)) => Err(StoreError::InUse {
                home: home.to_path_buf(),
                by,
            }),
            Err(LockError::File(source)) => Err(StoreError::File { path, source }),
        }
    }

    /// Whether a process has the lock of the wallet in `home` at this moment.
    #[must_use]
    pub fn is_taken(home: &Path) -> bool {
        Lock::is_taken(&home.join(FILE))
    }
}
