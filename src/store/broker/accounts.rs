//! What an account has, page by page: holder keys, coins, holdings.
//!
//! A holder key stands in a row of its own, in the rows of coins that were sold for it, or in both
//! (`places`).

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::BrokerStoreError;
use super::fields::Fields;
use super::places::{BOUGHT_FOR, IS_WHOLE};
use crate::broker::rows::{CoinRow, HolderRow, HoldingRow, Row};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;

/// The days on which coins expire, settled ones and others: with one of them, and an account, the index of
/// coins begins.
const DAYS: &str = "days (over, day) AS ( \
     SELECT column1, (SELECT MIN(expires_day) FROM coin WHERE settled = column1) \
     FROM (VALUES (0), (1)) UNION ALL \
     SELECT over, (SELECT MIN(expires_day) FROM coin WHERE settled = over AND expires_day > day) \
     FROM days WHERE day IS NOT NULL)";

/// At most `limit` holder keys of an account, ascending, after this one. Its last day is the latest that any
/// row says.
pub(super) async fn holders_of(
    pool: &SqlitePool,
    account: &PublicKey,
    after: Option<PublicKey>,
    limit: u32,
) -> Result<Vec<HolderRow>, BrokerStoreError> {
    let sql = format!(
        "WITH RECURSIVE {DAYS} \
         SELECT holder_key, account, MAX(expires_day) AS expires_day FROM ( \
         SELECT holder_key, account, expires_day FROM holder WHERE account = $1 UNION ALL \
         SELECT {BOUGHT_FOR}, account, expires_day FROM days CROSS JOIN coin \
         ON settled = over AND expires_day = day AND account = $1 WHERE {IS_WHOLE}) \
         WHERE holder_key > $2 GROUP BY holder_key ORDER BY holder_key LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(account.0.to_vec())
        .bind(after.map_or_else(Vec::new, |key| key.0.to_vec()))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    read_rows("holder", &rows, |row| match row {
        Row::Holder(row) => Some(row),
        _ => None,
    })
}

/// At most `limit` coins of an account that are not settled and about which nothing was presented, after
/// the one in this row.
pub(super) async fn whole_coins_of(
    pool: &SqlitePool,
    account: &PublicKey,
    after: i64,
    limit: u32,
) -> Result<Vec<CoinRow>, BrokerStoreError> {
    let sql = format!(
        "WITH RECURSIVE {DAYS} \
         SELECT coin.* FROM days CROSS JOIN coin \
         ON settled = over AND expires_day = day AND account = $1 \
         WHERE over = 0 AND (day, row) > ( \
         COALESCE((SELECT expires_day FROM coin WHERE row = $2), 0), $2) AND NOT EXISTS \
         (SELECT 1 FROM holding WHERE holding.id = coin.id AND holding.state <> 'void') \
         ORDER BY day, row LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(account.0.to_vec())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    read_rows("coin", &rows, |row| match row {
        Row::Coin(row) => Some(row),
        _ => None,
    })
}

/// At most `limit` known holdings under an account's holder keys, or spent to one of them, by id, after
/// this one.
pub(super) async fn holdings_of(
    pool: &SqlitePool,
    account: &PublicKey,
    after: Option<HoldingId>,
    limit: u32,
) -> Result<Vec<HoldingRow>, BrokerStoreError> {
    let sql = format!(
        "WITH RECURSIVE {DAYS}, mine (own_key) AS ( \
         SELECT holder_key FROM holder WHERE account = $1 UNION \
         SELECT {BOUGHT_FOR} FROM days CROSS JOIN coin \
         ON settled = over AND expires_day = day AND account = $1 WHERE {IS_WHOLE}) \
         SELECT * FROM holding WHERE id IN ( \
         SELECT h.id FROM mine CROSS JOIN holding h ON h.holder_key = own_key \
         WHERE h.id > $2 AND h.state <> 'void' UNION \
         SELECT h.id FROM mine CROSS JOIN holding h ON h.payee_key = own_key WHERE h.id > $2) \
         ORDER BY id LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(account.0.to_vec())
        .bind(after.map_or_else(Vec::new, |id| id.0.to_vec()))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    read_rows("holding", &rows, |row| match row {
        Row::Holding(row) => Some(*row),
        _ => None,
    })
}

/// Holder keys of suspended accounts.
pub(super) async fn suspended_keys(pool: &SqlitePool) -> Result<Vec<PublicKey>, BrokerStoreError> {
    let sql = format!(
        "WITH RECURSIVE {DAYS}, out (account) AS (SELECT id FROM account WHERE suspended IS NOT NULL) \
         SELECT holder_key FROM out CROSS JOIN holder ON holder.account = out.account UNION \
         SELECT {BOUGHT_FOR} FROM out CROSS JOIN days CROSS JOIN coin \
         ON settled = over AND expires_day = day AND coin.account = out.account WHERE {IS_WHOLE} \
         ORDER BY 1"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let key = Fields::new("holder", row).bytes("holder_key");
            key.map(PublicKey)
        })
        .collect()
}

/// Rows of one table as their type.
pub(super) fn read_rows<T>(
    table: &'static str,
    rows: &[SqliteRow],
    pick: impl Fn(Row) -> Option<T>,
) -> Result<Vec<T>, BrokerStoreError> {
    let read = rows.iter().map(|row| Fields::new(table, row).row());
    read.filter_map(|row| row.map(&pick).transpose()).collect()
}
