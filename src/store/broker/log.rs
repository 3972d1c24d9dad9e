//! The database's log (`-wal`), made long before it is needed.
//!
//! A commit waits until its part of the log is on disk. Where that part lies beyond the end of the file,
//! the file has to grow first, which takes several times as long as the bytes do. What stands in the log
//! behind SQLite's own end means nothing to it: each time that it begins at the front again, it leaves
//! there what it wrote before.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sqlx::SqlitePool;

use super::BrokerStoreError;

/// Bytes of the log from the beginning.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes added at once.
const STEP: usize = 1024 * 1024;

/// Adds zeros to the log, up to its full length. Where there is no room the log stays as it is.
pub(super) async fn lengthen(writer: &SqlitePool, database: &Path) -> Result<(), BrokerStoreError> {
    // Nobody else adds to the log while this transaction lasts.
    let lock = writer.begin_with("BEGIN IMMEDIATE").await?;
    let path = log_of(database);
    let grown = tokio::task::spawn_blocking(move || grow(&path)).await;
    lock.rollback().await?;
    if let Ok(Err(error)) = grown {
        tracing::warn!(%error, "the log of the broker's database could not be made longer: it grows as it goes");
    }
    Ok(())
}

fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn grow(log: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(log)?;
    let before = file.metadata()?.len();
    if before >= LOG_BYTES {
        return Ok(());
    }
    let zeros = vec![0; STEP];
    let steps = LOG_BYTES.saturating_sub(before).div_ceil(STEP as u64);
    let mut added = (0..steps).map(|_| file.write_all(&zeros));
    let added = added
        .try_for_each(|step| step)
        .and_then(|()| file.sync_all());
    if added.is_err() {
        file.set_len(before)?;
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::broker::BrokerStore;
    use crate::store::broker::contract::{account, sqlite, write};

    #[tokio::test]
    async fn what_was_written_into_a_long_log_is_there_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let store = sqlite(dir.path()).await;
        let database = dir.path().join("broker.sqlite");
        let length = std::fs::metadata(log_of(&database)).unwrap().len();
        assert!(length >= LOG_BYTES, "{length}");
        for n in 0..50 {
            store.apply(&[write(0, account(n, 7))]).await.unwrap();
        }
        let crashed = tempfile::tempdir().unwrap();
        for file in [database.clone(), log_of(&database)] {
            let name = file.file_name().unwrap();
            std::fs::copy(&file, crashed.path().join(name)).unwrap();
        }
        store.close().await;
        for _ in 0..2 {
            let found = sqlite(crashed.path()).await;
            for n in 0..50 {
                let key = account(n, 0).key();
                let rows = found.load(std::slice::from_ref(&key)).await.unwrap();
                let row = rows.get(&key).unwrap().row.clone();
                assert_eq!(row.as_deref(), Some(&account(n, 7)));
            }
            found.close().await;
        }
    }
}
