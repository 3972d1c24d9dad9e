//! One writer: a lock of the operating system on a file in the wallet's home. It ends with the
//! process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use super::StoreError;

const FILE: &str = "wallet.lock";
/// How often, and how long after each other, a lock that is taken is tried again.
const LOOKS: u32 = 4;
const LOOK: Duration = Duration::from_millis(10);

/// Held by the one process that may write to the wallet; given back when dropped.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock of the wallet in `home`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] with the process that has it.
    pub fn take(home: &Path) -> Result<WriterLock, StoreError> {
        let path = home.join(FILE);
        let fault = |source| StoreError::File {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fault)?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let named = file.read_to_string(&mut by).is_ok() && !by.trim().is_empty();
                return Err(StoreError::InUse {
                    home: home.to_path_buf(),
                    by: if named {
                        by.trim().to_owned()
                    } else {
                        "another process".to_owned()
                    },
                });
            }
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        let owner = format!("process {} ({})\n", std::process::id(), program());
        file.set_len(0).map_err(fault)?;
        file.rewind().map_err(fault)?;
        file.write_all(owner.as_bytes()).map_err(fault)?;
        Ok(WriterLock { _file: file })
    }

    /// Whether a process has the lock of the wallet in `home` at this moment.
    #[must_use]
    pub fn is_taken(home: &Path) -> bool {
        let file = OpenOptions::new().read(true).open(home.join(FILE));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// Somebody may just be looking whether it is taken.
fn patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            locked => return locked,
        }
    }
    file.try_lock()
}

/// The program and its subcommand, without anything that may be private.
fn program() -> String {
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name)
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    match args.next() {
        Some(sub) if sub.chars().all(|c| c.is_ascii_lowercase()) => format!("{name} {sub}"),
        _ => name,
    }
}
