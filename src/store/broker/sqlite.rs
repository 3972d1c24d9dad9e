//! The broker's rows in SQLite: WAL, synchronous=FULL, one immediate transaction per batch, on one
//! connection that writes and several that read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor, Row as _, SqliteConnection,
    SqlitePool,
};
use tokio::sync::Mutex;

use super::accounts::read_rows;
use super::fields::Fields;
use super::journal::read_line;
use super::outcome::Outcome;
use super::places::{Place, Places};
use super::statements::{load_rows, sql_int};
use super::tables::name_of;
use super::{BrokerStore, BrokerStoreError, Identity, accounts, forms, log, tables};
use crate::broker::audit::Auditor;
use crate::broker::cases::ContestRow;
use crate::broker::change::Change;
use crate::broker::rows::{
    CoinRow, HolderRow, HoldingRow, Row, RowKey, Rows, SpentRow, WithdrawalRow,
};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::Slot;
use crate::units::{Day, UnixMs};

/// Prepared statements that a connection keeps: eleven sizes for each table, to read and to write.
const STATEMENTS: usize = 512;
/// Bytes of a page, in files made from now on: rows that are sold together fill few pages.
const PAGE_BYTES: u32 = 8192;
/// 64 MiB of pages in memory, and 2000 pages of log before it is worked into the file: as much as the log
/// is long from the beginning (`log`), in a file with pages of 4 KiB half of that.
const CACHES: &str =
    "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 2000; PRAGMA temp_store = MEMORY";
/// Connections that read beside the one that writes.
const READERS: u32 = 4;
/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Bounds set on the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteLimits {
    /// Most pages (8 KiB each; 4 KiB in a file made before) the file may have; `None`: as many as the
    /// disk holds.
    pub max_pages: Option<u32>,
}

/// A broker's database file.
#[derive(Clone, Debug)]
pub struct SqliteBrokerStore {
    /// For whoever only looks.
    pool: SqlitePool,
    /// The one connection that writes. It reads what the cashier decides on too: the pages that it wrote
    /// are still in its memory, while any other connection has to read them again.
    writer: SqlitePool,
    /// Whoever has them has the connection that writes.
    pub(super) places: Arc<Mutex<Places>>,
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
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging()
            .busy_timeout(Duration::from_secs(10));
        let pools = SqlitePoolOptions::new()
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    connection.execute("PRAGMA synchronous = FULL").await?;
                    connection.execute("PRAGMA foreign_keys = ON").await?;
                    connection.execute(CACHES).await?;
                    if let Some(pages) = limits.max_pages {
                        let pragma = format!("PRAGMA max_page_count = {pages}");
                        connection.execute(AssertSqlSafe(pragma)).await?;
                    }
                    Ok(())
                })
            });
        let one = pools.clone().max_connections(1);
        let writer = one.connect_with(options.clone()).await?;
        forms::bring_up_to_date(&writer).await?;
        log::lengthen(&writer, path).await?;
        let readers = pools.max_connections(READERS);
        let pool = readers.connect_lazy_with(options);
        let store = SqliteBrokerStore {
            pool,
            writer,
            places: Arc::default(),
        };
        store.identify(identity).await?;
        Ok(store)
    }

    /// Closes the file once everything running on it is done.
    pub async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
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

    /// The row of a coin; 0: there is none.
    async fn row_of(&self, coin: Option<HoldingId>) -> Result<i64, BrokerStoreError> {
        let Some(coin) = coin.map(RowKey::Coin) else {
            return Ok(0);
        };
        let mut places = self.places.lock().await;
        let mut tx = self.writer.begin().await?;
        places.refresh(&mut tx).await?;
        let found = places.find(&mut tx, std::iter::once(&coin)).await?;
        tx.commit().await?;
        Ok(match found.get(&coin) {
            Some(Place::Row(row)) => *row,
            _ => 0,
        })
    }
}

/// Nobody else writes between the look at the versions and the commit.
async fn commit_changes(
    connection: &mut SqliteConnection,
    places: &mut Places,
    changes: &[Change],
) -> Result<(), BrokerStoreError> {
    let outcome = Outcome::of(changes)?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    places.refresh(&mut tx).await?;
    if let Some(new) = outcome.write(&mut tx, places).await? {
        tx.commit().await?;
        places.add(new);
        return Ok(());
    }
    tx.rollback().await?;
    let stale = outcome.stale(connection, places).await?;
    Err(stale.map_or(BrokerStoreError::Changed, Into::into))
}

#[async_trait]
impl BrokerStore for SqliteBrokerStore {
    async fn load(&self, keys: &[RowKey]) -> Result<Rows, BrokerStoreError> {
        let places = match self.places.try_lock() {
            Ok(places) => Some(places),
            Err(_) if keys.iter().any(|key| name_of(key).is_some()) => {
                Some(self.places.lock().await)
            }
            Err(_) => None,
        };
        let Some(mut places) = places else {
            let mut tx = self.pool.begin().await?;
            return load_rows(&mut tx, &Places::default(), keys.iter()).await;
        };
        let mut tx = self.writer.begin().await?;
        places.refresh(&mut tx).await?;
        let rows = load_rows(&mut tx, &places, keys.iter()).await?;
        tx.commit().await?;
        Ok(rows)
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), BrokerStoreError> {
        let mut places = self.places.lock().await;
        let mut connection = self.writer.acquire().await?;
        let written = commit_changes(&mut connection, &mut places, changes).await;
        if written.is_ok()
            && let Err(error) = places.settle(&mut connection).await
        {
            // They are in memory, and are tried again after the next changes.
            tracing::warn!(%error, "new rows of the broker's books could not be put into their index yet");
            connection.close_on_drop();
        } else if matches!(&written, Err(error) if !error.is_stale()) {
            // Where it is full SQLite rolls back by itself, and sqlx does not know: such a connection
            // cannot begin again. A new one can.
            connection.close_on_drop();
        }
        written
    }

    async fn ripe_credits(
        &self,
        account: Option<&PublicKey>,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<HoldingId>, BrokerStoreError> {
        let query = match account {
            Some(account) => sqlx::query(
                "SELECT holding FROM credit WHERE account = $3 AND state = 'pending' \
                 AND pending_until <= $1 ORDER BY pending_until, holding LIMIT $2",
            )
            .bind(sql_int(now.0))
            .bind(i64::from(limit))
            .bind(account.0.to_vec()),
            None => sqlx::query(
                "SELECT holding FROM credit WHERE state = 'pending' AND pending_until <= $1 \
                 ORDER BY pending_until, holding LIMIT $2",
            )
            .bind(sql_int(now.0))
            .bind(i64::from(limit)),
        };
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Fields::new("credit", row).bytes("holding").map(HoldingId))
            .collect()
    }

    async fn due_contests(
        &self,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<ContestRow>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT * FROM contest WHERE is_open = 1 AND due <= $1 ORDER BY due, slot LIMIT $2",
        )
        .bind(sql_int(now.0))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        read_rows("contest", &rows, |row| match row {
            Row::Contest(row) => Some(*row),
            _ => None,
        })
    }

    async fn unsettled_coins(
        &self,
        expired_before: Day,
        after: Option<(Day, HoldingId)>,
        limit: u32,
    ) -> Result<Vec<(Day, HoldingId)>, BrokerStoreError> {
        let day = after.map_or(0, |(day, _)| day.0);
        let row = self.row_of(after.map(|(_, id)| id)).await?;
        let rows = sqlx::query(
            "SELECT expires_day, id FROM coin WHERE settled = 0 AND expires_day < $1 \
             AND (expires_day, account, row) > ($2, \
             COALESCE((SELECT account FROM coin WHERE row = $3), x''), $3) \
             ORDER BY expires_day, account, row LIMIT $4",
        )
        .bind(i64::from(expired_before.0))
        .bind(i64::from(day))
        .bind(row)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let fields = Fields::new("coin", row);
                let day = Day(fields.small("expires_day")?);
                Ok((day, HoldingId(fields.bytes("id")?)))
            })
            .collect()
    }

    async fn unlisted_accounts(&self, limit: u32) -> Result<Vec<PublicKey>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT id FROM account WHERE suspended IS NOT NULL AND withheld = 0 ORDER BY id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Fields::new("account", row).bytes("id").map(PublicKey))
            .collect()
    }

    async fn holders_of(
        &self,
        account: &PublicKey,
        after: Option<PublicKey>,
        limit: u32,
    ) -> Result<Vec<HolderRow>, BrokerStoreError> {
        accounts::holders_of(&self.pool, account, after, limit).await
    }

    async fn whole_coins_of(
        &self,
        account: &PublicKey,
        after: Option<HoldingId>,
        limit: u32,
    ) -> Result<Vec<CoinRow>, BrokerStoreError> {
        let after = self.row_of(after).await?;
        accounts::whole_coins_of(&self.pool, account, after, limit).await
    }

    async fn holdings_of(
        &self,
        account: &PublicKey,
        after: Option<HoldingId>,
        limit: u32,
    ) -> Result<Vec<HoldingRow>, BrokerStoreError> {
        accounts::holdings_of(&self.pool, account, after, limit).await
    }

    async fn spent_hours(&self, from_hour: u32) -> Result<Vec<(u32, u32)>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT at / 3600000 AS hour, COUNT(*) AS entries FROM spent_log WHERE at >= $1 \
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

    async fn spent_in(
        &self,
        hour: u32,
        skip: u32,
        take: u32,
    ) -> Result<Vec<SpentRow>, BrokerStoreError> {
        let from = u64::from(hour).saturating_mul(HOUR_MS);
        let rows = sqlx::query(
            "SELECT * FROM spent_log WHERE at >= $1 AND at < $2 ORDER BY seq LIMIT $3 OFFSET $4",
        )
        .bind(sql_int(from))
        .bind(sql_int(from.saturating_add(HOUR_MS)))
        .bind(i64::from(take))
        .bind(i64::from(skip))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let fields = Fields::new("spent_log", row);
                Ok(SpentRow {
                    slot: Slot(fields.bytes("slot")?),
                    c: Commitment(fields.bytes("c")?),
                    at: fields.time("at")?,
                })
            })
            .collect()
    }

    async fn suspended_keys(&self) -> Result<Vec<PublicKey>, BrokerStoreError> {
        accounts::suspended_keys(&self.pool).await
    }

    async fn withdrawals(&self, all: bool) -> Result<Vec<WithdrawalRow>, BrokerStoreError> {
        let rows = sqlx::query(
            "SELECT * FROM withdrawal WHERE paid IS NULL OR $1 <> 0 ORDER BY requested, id",
        )
        .bind(i64::from(all))
        .fetch_all(&self.pool)
        .await?;
        read_rows("withdrawal", &rows, |row| match row {
            Row::Withdrawal(row) => Some(row),
            _ => None,
        })
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
            (&tables::HOLDER, "SELECT * FROM holder"),
            (&tables::HOLDING, "SELECT * FROM holding"),
            (&tables::CREDIT, "SELECT * FROM credit"),
            (&tables::CONTEST, "SELECT * FROM contest"),
            (&tables::LOSS, "SELECT * FROM loss"),
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
