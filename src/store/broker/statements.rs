//! One row in, one row out, in SQL.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::BrokerStoreError;
use super::fields::Fields;
use super::tables::{Cell, Table, key_cells, rest_cells};
use crate::broker::change::{JournalLine, Ledger, Stale, Write};
use crate::broker::rows::{RowKey, Stored};
use crate::coin::keys::PublicKey;

/// A number as SQL has it; one that does not fit is later than any other.
pub(super) fn sql_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn bind<'q>(
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

pub(super) async fn load_row(
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
pub(super) async fn write_row(
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

pub(super) async fn write_line(
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

pub(super) fn read_line(row: &SqliteRow) -> Result<JournalLine, BrokerStoreError> {
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

pub(super) fn require(holds: bool, key: &RowKey, expected: u64) -> Result<(), BrokerStoreError> {
    if holds {
        return Ok(());
    }
    Err(BrokerStoreError::Stale(Stale {
        key: key.clone(),
        expected,
    }))
}
