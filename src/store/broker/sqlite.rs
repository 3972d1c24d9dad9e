//! The broker's rows in SQLite: WAL, synchronous=FULL, one immediate transaction per batch.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor, Row as _, SqlSafeStr, Sqlite, SqliteConnection,
    SqlitePool,
};

use super::tables::{self, Cell, Fields, Table, key_cells, rest_cells};
use super::{BrokerStore, BrokerStoreError, Identity};
use crate::broker::audit::Auditor;
use crate::broker::change::{Change, JournalLine, Ledger, Stale, Write};
use crate::broker::rows::{Row, RowKey, Rows, SpentRow, Stored, WithdrawalRow};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::UnixMs;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Bounds set on the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteLimits {
    /// Most pages (4 KiB each) the file may have; `None`: as many as the disk holds.
    pub max_pages: Option<u32>,
}

/// A broker's database file.
#[derive(Clone, Debug)]
pub struct SqliteBrokerStore {
    pool: SqlitePool,
}

impl SqliteBrokerStore {
    /// Opens the database, makes it if it is not there, and checks that it is this broker's.
    ///
    /// # Errors
    /// [`BrokerStoreError::Foreign`] if it belongs to another broker or currency; otherwise what the
    /// database says.
    pub async fn open(
        path: &Path,
        identity: &Identity,
        limits: SqliteLimits,
    ) -> Result<Self, BrokerStoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    connection.execute("PRAGMA synchronous = FULL").await?;
                    connection.execute("PRAGMA foreign_keys = ON").await?;
                    if let Some(pages) = limits.max_pages {
                        let pragma = format!("PRAGMA max_page_count = {pages}");
                        connection.execute(AssertSqlSafe(pragma)).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        migrator().run(&pool).await?;
        let store = SqliteBrokerStore { pool };
        store.identify(identity).await?;
        Ok(store)
    }

    /// Closes the file once everything running on it is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Currency and units per credit, as the database was made with.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn currency(&self) -> Result<Option<(String, u64)>, BrokerStoreError> {
        let name = self.meta("currency").await?;
        let units = self.meta("units_per_credit").await?;
        Ok(name.zip(units.and_then(|u| u.parse().ok())))
    }

    async fn meta(&self, name: &str) -> Result<Option<String>, BrokerStoreError> {
        let row = sqlx::query("SELECT value FROM broker_meta WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|r| r.try_get("value")).transpose()?)
    }

    /// Checks that the database is of this broker and currency; a new one is set to be so.
    ///
    /// # Errors
    /// [`BrokerStoreError::Foreign`] if it is not.
    pub async fn identify(&self, identity: &Identity) -> Result<(), BrokerStoreError> {
        let mut wanted = vec![("broker", "broker", identity.broker.to_string())];
        if let Some((currency, units)) = &identity.currency {
            wanted.push(("currency", "currency", currency.clone()));
            wanted.push(("units_per_credit", "units per credit", units.to_string()));
        }
        for (name, what, wanted) in wanted {
            sqlx::query(
                "INSERT INTO broker_meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            )
            .bind(name)
            .bind(&wanted)
            .execute(&self.pool)
            .await?;
            let found = self.meta(name).await?.unwrap_or_default();
            if found != wanted {
                return Err(BrokerStoreError::Foreign {
                    what,
                    found,
                    wanted,
                });
            }
        }
        Ok(())
    }

    async fn read_spent(&self, hour: u32) -> Result<Vec<SpentRow>, BrokerStoreError> {
        let from = u64::from(hour).saturating_mul(HOUR_MS);
        let rows = sqlx::query("SELECT * FROM spent WHERE at >= $1 AND at < $2 ORDER BY at, slot")
            .bind(sql_int(from))
            .bind(sql_int(from.saturating_add(HOUR_MS)))
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .filter_map(|row| match Fields::new("spent", row).row() {
                Ok(Row::Spent(spent)) => Some(Ok(spent)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect()
    }
}

async fn write_changes(
    connection: &mut SqliteConnection,
    changes: &[Change],
) -> Result<(), BrokerStoreError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    for change in changes {
        for (key, version) in &change.conditions {
            let found = load_row(&mut tx, key).await?.version;
            require(found == *version, key, *version)?;
        }
        for write in &change.writes {
            write_row(&mut tx, write).await?;
        }
        for line in &change.journal {
            write_line(&mut tx, line).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

#[async_trait]
impl BrokerStore for SqliteBrokerStore {
    async fn load(&self, keys: &[RowKey]) -> Result<Rows, BrokerStoreError> {
        let mut tx = self.pool.begin().await?;
        let mut rows = Rows::default();
        for key in keys {
            rows.set(key.clone(), load_row(&mut tx, key).await?);
        }
        tx.commit().await?;
        Ok(rows)
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), BrokerStoreError> {
        let mut connection = self.pool.acquire().await?;
        let written = write_changes(&mut connection, changes).await;
        if matches!(&written, Err(error) if !matches!(error, BrokerStoreError::Stale(_))) {
            // Where it is full SQLite rolls back by itself, and sqlx does not know: such a connection
            // cannot begin again. A new one can.
            connection.close_on_drop();
        }
        written
    }

    async fn ripe_credits(
        &self,
        account: &PublicKey,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<HoldingId>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT holding FROM credit WHERE account = $1 AND paid = 0 AND pending_until <= $2 \
             ORDER BY pending_until, holding LIMIT $3",
        )
        .bind(account.0.to_vec())
        .bind(sql_int(now.0))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Fields::new("credit", row).bytes("holding").map(HoldingId))
            .collect()
    }

    async fn spent_hours(&self, from_hour: u32) -> Result<Vec<(u32, u32)>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT at / 3600000 AS hour, COUNT(*) AS entries FROM spent WHERE at >= $1 \
             GROUP BY at / 3600000 ORDER BY hour",
        )
        .bind(sql_int(u64::from(from_hour).saturating_mul(HOUR_MS)))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let fields = Fields::new("spent", row);
                Ok((fields.small("hour")?, fields.small("entries")?))
            })
            .collect()
    }

    async fn spent_in(&self, hour: u32) -> Result<Vec<SpentRow>, BrokerStoreError> {
        self.read_spent(hour).await
    }

    async fn suspended_keys(&self) -> Result<Vec<PublicKey>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT holder_key FROM holder JOIN account ON holder.account = account.id \
             WHERE account.suspended <> 0 ORDER BY holder_key",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let key = Fields::new("holder", row).bytes("holder_key");
                key.map(PublicKey)
            })
            .collect()
    }

    async fn withdrawals(&self, all: bool) -> Result<Vec<WithdrawalRow>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT * FROM withdrawal WHERE paid IS NULL OR $1 <> 0 ORDER BY requested, id",
        )
        .bind(i64::from(all))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .filter_map(|row| match Fields::new("withdrawal", row).row() {
                Ok(Row::Withdrawal(withdrawal)) => Some(Ok(withdrawal)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    async fn audit(&self, auditor: &mut Auditor) -> Result<(), BrokerStoreError> {
        let mut tx = self.pool.begin().await?;
        {
            let mut lines = sqlx::query("SELECT * FROM journal ORDER BY seq").fetch(&mut *tx);
            while let Some(row) = lines.try_next().await? {
                auditor.line(&read_line(&row)?);
            }
        }
        for (table, select) in [
            (&tables::ACCOUNT, "SELECT * FROM account"),
            (&tables::COIN, "SELECT * FROM coin"),
            (&tables::HOLDING, "SELECT * FROM holding"),
            (&tables::CREDIT, "SELECT * FROM credit"),
            (&tables::DEPOSIT, "SELECT * FROM deposit"),
            (&tables::WITHDRAWAL, "SELECT * FROM withdrawal"),
        ] {
            let mut rows = sqlx::query(select).fetch(&mut *tx);
            while let Some(row) = rows.try_next().await? {
                auditor.row(Fields::new(table.name, &row).row()?);
            }
        }
        Ok(())
    }
}

/// A number as SQL has it; one that does not fit is later than any other.
fn sql_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    cell: Cell,
) -> Query<'q, Sqlite, SqliteArguments> {
    match cell {
        Cell::Int(number) => query.bind(number),
        Cell::Blob(bytes) => query.bind(bytes),
        Cell::Text(text) => query.bind(text),
        Cell::NoInt => query.bind(None::<i64>),
        Cell::NoBlob => query.bind(None::<Vec<u8>>),
    }
}

/// `a = $1 AND b = $2`, counting from `first`.
fn equals(columns: &[&str], first: usize, between: &str) -> String {
    let each = columns.iter().zip(first..);
    let parts: Vec<String> = each.map(|(name, n)| format!("{name} = ${n}")).collect();
    parts.join(between)
}

async fn load_row(
    connection: &mut SqliteConnection,
    key: &RowKey,
) -> Result<Stored, BrokerStoreError> {
    let (table, cells) = key_cells(key);
    let sql = format!(
        "SELECT * FROM {} WHERE {}",
        table.name,
        equals(table.key, 1, " AND ")
    );
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = cells.into_iter().fold(query, bind);
    let Some(row) = query.fetch_optional(connection).await? else {
        return Ok(Stored::default());
    };
    let fields = Fields::new(table.name, &row);
    Ok(Stored {
        version: fields.int("version")?,
        row: Some(fields.row()?),
    })
}

/// An insert that must find nothing, or an update that must find the version.
async fn write_row(
    connection: &mut SqliteConnection,
    write: &Write,
) -> Result<(), BrokerStoreError> {
    let key = write.row.key();
    let (table, key_cells) = key_cells(&key);
    let rest = rest_cells(&write.row);
    let next = Cell::Int(sql_int(write.version.saturating_add(1)));
    let done = if write.version == 0 {
        let query = sqlx::query(AssertSqlSafe(insert_sql(table)));
        let cells = key_cells.into_iter().chain([next]).chain(rest);
        cells.fold(query, bind).execute(connection).await?
    } else {
        let query = sqlx::query(AssertSqlSafe(update_sql(table)));
        let old = Cell::Int(sql_int(write.version));
        let cells = [next].into_iter().chain(rest).chain(key_cells).chain([old]);
        cells.fold(query, bind).execute(connection).await?
    };
    require(done.rows_affected() == 1, &key, write.version)
}

fn insert_sql(table: &Table) -> String {
    let mut columns = table.key.to_vec();
    columns.push("version");
    columns.extend(table.rest);
    let places: Vec<String> = (1..=columns.len()).map(|n| format!("${n}")).collect();
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
        table.name,
        columns.join(", "),
        places.join(", ")
    )
}

fn update_sql(table: &Table) -> String {
    let mut columns = vec!["version"];
    columns.extend(table.rest);
    let mut found = table.key.to_vec();
    found.push("version");
    let set = equals(&columns, 1, ", ");
    let found = equals(&found, columns.len().saturating_add(1), " AND ");
    format!("UPDATE {} SET {set} WHERE {found}", table.name)
}

async fn write_line(
    connection: &mut SqliteConnection,
    line: &JournalLine,
) -> Result<(), BrokerStoreError> {
    let (from, from_account) = line.from.parts();
    let (to, to_account) = line.to.parts();
    sqlx::query(
        "INSERT INTO journal (at, from_ledger, from_account, to_ledger, to_account, units, reference) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(sql_int(line.at.0))
    .bind(from)
    .bind(from_account.map(|a| a.0.to_vec()))
    .bind(to)
    .bind(to_account.map(|a| a.0.to_vec()))
    .bind(sql_int(line.units.0))
    .bind(&line.reference)
    .execute(connection)
    .await?;
    Ok(())
}

fn read_line(row: &SqliteRow) -> Result<JournalLine, BrokerStoreError> {
    let fields = Fields::new("journal", row);
    let ledger = |name: &'static str, account: &'static str| {
        let account = fields.maybe_bytes(account)?.map(PublicKey);
        Ledger::from_parts(&fields.text(name)?, account).ok_or(BrokerStoreError::Damaged {
            table: "journal",
            column: name,
        })
    };
    Ok(JournalLine {
        at: fields.time("at")?,
        from: ledger("from_ledger", "from_account")?,
        to: ledger("to_ledger", "to_account")?,
        units: fields.units("units")?,
        reference: fields.text("reference")?,
    })
}

fn require(holds: bool, key: &RowKey, expected: u64) -> Result<(), BrokerStoreError> {
    if holds {
        return Ok(());
    }
    Err(BrokerStoreError::Stale(Stale {
        key: key.clone(),
        expected,
    }))
}

fn migrator() -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        "books".into(),
        MigrationType::Simple,
        include_str!("schema.sql").into_sql_str(),
        false,
    )])
}
