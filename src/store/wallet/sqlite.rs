//! The wallet's database: SQLite in WAL mode, synchronous=FULL, one writer, readers beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Connection, Executor, SqlSafeStr, SqliteConnection};

use super::{StoreError, WalletStore, WriterLock, table, write};
use crate::wallet::{ApplyError, Change, JournalEntry, Rows};

/// Name of the database in the wallet's home.
pub const FILE: &str = "wallet.db";

/// How the database is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteOptions {
    /// Only reads; may be beside a writer.
    pub read_only: bool,
    /// Most pages of 4 096 bytes the file may have; none: as many as the disk holds.
    pub max_pages: Option<u32>,
}

/// A wallet's database.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the database in `home`; a writer creates it and brings it up to date, and so does a reader
    /// where nobody writes. The caller holds the [`super::WriterLock`] unless it only reads.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is nothing to read, [`StoreError::InUse`] where a program of an
    /// earlier version has it open, else what hinders opening.
    pub async fn open(home: &Path, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        let path = home.join(FILE);
        if options.read_only && !path.exists() {
            return Err(StoreError::Missing(path));
        }
        if !options.read_only {
            create_private(&path)?;
        }
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(options.read_only)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        if options.read_only {
            update(home, &connect).await?;
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !options.read_only {
                        connection.execute("PRAGMA journal_mode = WAL").await?;
                        connection.execute("PRAGMA synchronous = FULL").await?;
                    }
                    if let Some(pages) = options.max_pages {
                        let pragma = format!("PRAGMA max_page_count = {pages}");
                        connection.execute(sqlx::AssertSqlSafe(pragma)).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(connect)
            .await?;
        if !options.read_only {
            migrator().run(&pool).await?;
        }
        Ok(SqliteStore { pool })
    }

    /// The database in `home` as it is at this moment, as the bytes of a database file: also beside a
    /// writer.
    ///
    /// # Errors
    /// What hinders reading, or no room for a second copy in `home` meanwhile.
    pub async fn image(home: &Path) -> Result<Vec<u8>, StoreError> {
        let read_only = SqliteOptions {
            read_only: true,
            max_pages: None,
        };
        let store = SqliteStore::open(home, read_only).await?;
        let path = home.join(format!("wallet.image.{}", std::process::id()));
        let remove = || match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
        let fault = |source| StoreError::File {
            path: path.clone(),
            source,
        };
        remove().map_err(fault)?;
        let copied = sqlx::query("VACUUM INTO ?")
            .bind(path.to_string_lossy().into_owned())
            .execute(&store.pool)
            .await;
        let bytes = match copied {
            Ok(_) => std::fs::read(&path).map_err(fault),
            Err(error) => Err(error.into()),
        };
        let _ = remove();
        store.close().await;
        bytes
    }

    #[cfg(test)]
    pub(super) async fn pragma(&self, name: &'static str) -> String {
        use sqlx::Row;
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.pool)
            .await
            .expect("a pragma");
        row.get(0)
    }
}

/// An empty file that only its owner may read, unless there is one.
fn create_private(path: &PathBuf) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(StoreError::File {
            path: path.clone(),
            source,
        }),
    }
}

/// Brings what an earlier version wrote last up to date, for who only reads.
async fn update(home: &Path, connect: &SqliteConnectOptions) -> Result<(), StoreError> {
    // A connection of its own: one keeps in mind which columns there were.
    let mut connection = SqliteConnection::connect_with(connect).await?;
    let last: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    if forms().iter().all(|form| form.version <= last) {
        return Ok(());
    }
    let _lock = WriterLock::take(home)?;
    let writer = Box::pin(SqliteStore::open(home, SqliteOptions::default())).await?;
    writer.close().await;
    Ok(())
}

fn migrator() -> Migrator {
    Migrator::with_migrations(forms())
}

fn forms() -> Vec<Migration> {
    let step = |version, what: &'static str, sql: &'static str| {
        let sql = sql.into_sql_str();
        Migration::new(version, what.into(), MigrationType::Simple, sql, false)
    };
    vec![
        step(1, "rows of a wallet", include_str!("schema.sql")),
        step(20, "recovery and notices", include_str!("schema_20.sql")),
        step(30, "withdrawals", include_str!("schema_30.sql")),
        step(40, "times of requests", include_str!("schema_40.sql")),
        step(50, "withdrawals paid out", include_str!("schema_50.sql")),
    ]
}

async fn write_change(
    connection: &mut SqliteConnection,
    change: &Change,
) -> Result<(), StoreError> {
    let expected = change.expects;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let bumped = sqlx::query("UPDATE meta SET version = version + 1 WHERE id = 1 AND version = ?")
        .bind(table::int(expected)?)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if bumped != 1 {
        let found: i64 = sqlx::query_scalar("SELECT version FROM meta WHERE id = 1")
            .fetch_one(&mut *tx)
            .await?;
        let found = u64::try_from(found).unwrap_or_default();
        return Err(ApplyError::Stale { expected, found }.into());
    }
    write::write(&mut tx, change).await?;
    tx.commit().await?;
    Ok(())
}

#[async_trait]
impl WalletStore for SqliteStore {
    async fn load(&self) -> Result<Rows, StoreError> {
        let mut tx = self.pool.begin().await?;
        let rows = table::load(&mut tx).await?;
        tx.commit().await?;
        Ok(rows)
    }

    async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        if change.is_volatile() {
            return Ok(());
        }
        let mut connection = self.pool.acquire().await?;
        let written = write_change(&mut connection, change).await;
        if written.is_err() {
            // SQLite rolls back by itself where it is full, and sqlx does not know: such a connection
            // cannot begin again. A new one can.
            connection.close_on_drop();
        }
        written
    }

    async fn journal(&self, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        table::journal(&mut connection, limit).await
    }

    async fn journal_of(&self, what: &str) -> Result<Vec<JournalEntry>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        table::journal_of(&mut connection, what).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_only_reads_brings_what_an_earlier_version_wrote_up_to_date_where_nobody_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        create_private(&path).expect("made");
        let connect = SqliteConnectOptions::new().filename(&path);
        let pool = SqlitePool::connect_with(connect).await.expect("opened");
        let mut forms = forms();
        forms.pop();
        let earlier = Migrator::with_migrations(forms);
        earlier.run(&pool).await.expect("written");
        pool.close().await;
        let reading = SqliteOptions {
            read_only: true,
            max_pages: None,
        };
        let lock = WriterLock::take(dir.path()).expect("free");
        let refused = SqliteStore::open(dir.path(), reading).await;
        assert!(matches!(refused, Err(StoreError::InUse { .. })));
        drop(lock);
        let store = SqliteStore::open(dir.path(), reading).await;
        let rows = store.expect("opened").load().await.expect("read");
        assert!(rows.holdings.is_empty());
    }
}
