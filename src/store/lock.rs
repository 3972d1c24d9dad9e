//! A lock of the operating system on a file, which says in it who has it. It ends with the process, however
//! that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

/// How often, and how long after each other, a lock that is taken is tried again.
const LOOKS: u32 = 4;
const LOOK: Duration = Duration::from_millis(10);

/// Why a lock could not be had.
#[derive(Debug)]
pub enum LockError {
    /// A process has it: its id and name, as it wrote them.
    Taken(String),
    /// What the system says.
    File(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> LockError {
        LockError::File(error)
    }
}

/// Held by one process; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock on the file at `path`, which is made where it is not there.
    ///
    /// # Errors
    /// A process has it, or the file cannot be used.
    pub fn take(path: &Path) -> Result<Lock, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path)?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let named = file.read_to_string(&mut by).is_ok() && !by.trim().is_empty();
                return Err(LockError::Taken(match named {
                    true => by.trim().to_owned(),
                    false => "another process".to_owned(),
                }));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let owner = format!("process {} ({})\n", std::process::id(), program());
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(owner.as_bytes())?;
        Ok(Lock { _file: file })
    }

    /// Whether a process has the lock on the file at `path` at this moment.
    #[must_use]
    pub fn is_taken(path: &Path) -> bool {
        let file = OpenOptions::new().read(true).open(path);
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
