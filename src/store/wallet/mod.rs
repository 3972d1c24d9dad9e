//! A wallet's rows on disk: one trait, a memory store and an SQLite store, one contract suite
//! (`docs/protocol.md` section 11).
//!
//! | file | what |
//! | --- | --- |
//! | `memory` | [`Change::apply`] on a map |
//! | `sqlite` | the wallet's database: WAL, synchronous=FULL, one writer, readers beside it |
//! | `table`, `write` | rows from and to columns |
//! | `lock` | the operating system's file lock that makes the writer the only one |

pub mod lock;
pub mod memory;
pub mod sqlite;
mod table;
mod write;

#[cfg(test)]
mod contract;

use std::path::PathBuf;

use async_trait::async_trait;
use thiserror::Error;

use crate::wallet::{ApplyError, Change, JournalEntry, Rows};

pub use lock::WriterLock;
pub use memory::MemoryStore;
pub use sqlite::{SqliteOptions, SqliteStore};

/// Why a store did not do what was asked. Nothing was written then.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The change contradicts what is stored.
    #[error(transparent)]
    Refused(#[from] ApplyError),
    /// No room for the change.
    #[error(
        "the disk or the wallet's database is full: nothing was written; make room and try again"
    )]
    Full,
    /// Another process writes to this wallet.
    #[error("the wallet in {} is in use by {by}: stop that, or use another home directory", home.display())]
    InUse {
        /// The wallet's home.
        home: PathBuf,
        /// Process id and name, as that process wrote them.
        by: String,
    },
    /// There is no database where one is expected.
    #[error("there is no wallet database at {}: run `dpay wallet init` first", .0.display())]
    Missing(PathBuf),
    /// A value that no version of this program writes.
    #[error("column {column} of table {table} holds no value of its kind: the database is damaged")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// SQLite says no.
    #[error("the wallet's database: {0}")]
    Database(sqlx::Error),
    /// Migrating the database failed.
    #[error("the wallet's database cannot be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Result code of SQLite when there is no room.
const SQLITE_FULL: &str = "13";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|e| e.code());
        match code.as_deref() {
            Some(SQLITE_FULL) => StoreError::Full,
            _ => StoreError::Database(error),
        }
    }
}

/// Where a wallet's rows are kept.
#[async_trait]
pub trait WalletStore: Send + Sync {
    /// All rows, as the last change left them.
    ///
    /// # Errors
    /// What hinders reading.
    async fn load(&self) -> Result<Rows, StoreError>;

    /// Writes a change, all of it or nothing, and returns once it would survive a power cut. Changes
    /// that only concern reservations are not written.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where it contradicts what is stored, else what hinders writing.
    async fn apply(&self, change: &Change) -> Result<(), StoreError>;

    /// The newest `limit` journal lines, oldest first.
    ///
    /// # Errors
    /// What hinders reading.
    async fn journal(&self, limit: u32) -> Result<Vec<JournalEntry>, StoreError>;

    /// The journal lines that `what` names, oldest first: by number, or by the beginning of their
    /// reference.
    ///
    /// # Errors
    /// What hinders reading.
    async fn journal_of(&self, what: &str) -> Result<Vec<JournalEntry>, StoreError>;

    /// Closes files. Nothing else may be asked afterwards.
    async fn close(&self);
}
