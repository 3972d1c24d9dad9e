//! The forms that a broker's file has had, and how one of before is brought to today's.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqlitePool};

use super::BrokerStoreError;

/// Today's form.
pub(super) const NOW: i64 = 7;
/// The first form that can be brought to today's.
const FIRST: i64 = 2;

/// Brings a file to today's form; one that is too old is left as it is.
pub(super) async fn bring_up_to_date(pool: &SqlitePool) -> Result<(), BrokerStoreError> {
    refuse_older(pool).await?;
    Ok(Migrator::with_migrations(steps()).run(pool).await?)
}

async fn refuse_older(pool: &SqlitePool) -> Result<(), BrokerStoreError> {
    let tables = "SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'";
    if sqlx::query(tables).fetch_optional(pool).await?.is_none() {
        return Ok(());
    }
    let older = sqlx::query("SELECT 1 FROM _sqlx_migrations WHERE version < $1")
        .bind(FIRST)
        .fetch_optional(pool)
        .await?;
    older.map_or(Ok(()), |_| Err(BrokerStoreError::Older))
}

/// Each form from the one before it.
pub(super) fn steps() -> Vec<Migration> {
    let step = |form, name: &'static str, sql: &'static str| {
        let sql = sql.into_sql_str();
        Migration::new(form, name.into(), MigrationType::Simple, sql, false)
    };
    vec![
        step(FIRST, "books", include_str!("schema.sql")),
        step(3, "coins by expiry", include_str!("schema_3.sql")),
        step(4, "signed after", include_str!("schema_4.sql")),
        step(5, "numbered rows", include_str!("schema_5.sql")),
        step(6, "keys in coins", include_str!("schema_6.sql")),
        step(NOW, "entries in order", include_str!("schema_7.sql")),
    ]
}
