//! Rows in and out, many in one statement: a batch of requests costs few statements, whatever it
//! touches.

use std::collections::BTreeMap;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::BrokerStoreError;
use super::fields::Fields;
use super::tables::{Cell, JOURNAL, Table, key_cells, rest_cells};
use crate::broker::change::{Change, JournalLine, Ledger};
use crate::broker::rows::{RowKey, Rows, Stored};
use crate::coin::keys::PublicKey;

/// Rows of one statement: few sizes, so that few statements are prepared and kept.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// A number as SQL has it; one that does not fit is later than any other.
pub(super) fn sql_int(number: u64) -> i64 {
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

/// Cells of many rows, by table.
type Groups = BTreeMap<&'static str, (&'static Table, Vec<Vec<Cell>>)>;

fn group(groups: &mut Groups, table: &'static Table, cells: Vec<Cell>) {
    let group = groups.entry(table.name).or_insert((table, Vec::new()));
    group.1.push(cells);
}

/// Cuts rows into parts of the sizes above.
fn parts(mut rows: Vec<Vec<Cell>>) -> Vec<Vec<Vec<Cell>>> {
    let mut parts = Vec::new();
    while !rows.is_empty() {
        let fits = SIZES.into_iter().find(|size| *size <= rows.len());
        let rest = rows.split_off(fits.unwrap_or(rows.len()));
        parts.push(std::mem::replace(&mut rows, rest));
    }
    parts
}

/// `($1, $2), ($3, $4)`; one column goes without brackets of its own.
fn places(rows: usize, columns: usize, bare: bool) -> String {
    let mut text = String::with_capacity(rows.saturating_mul(columns).saturating_mul(6));
    let mut n = 0usize;
    for row in 0..rows {
        if row > 0 {
            text.push_str(", ");
        }
        if !bare {
            text.push('(');
        }
        for column in 0..columns {
            n = n.saturating_add(1);
            if column > 0 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&n.to_string());
        }
        if !bare {
            text.push(')');
        }
    }
    text
}

fn select_sql(table: &Table, rows: usize) -> String {
    match table.key {
        [key] => format!(
            "SELECT * FROM {} WHERE {key} IN ({})",
            table.name,
            places(rows, 1, true)
        ),
        keys => format!(
            "SELECT * FROM {} WHERE ({}) IN (VALUES {})",
            table.name,
            keys.join(", "),
            places(rows, keys.len(), false)
        ),
    }
}

fn upsert_sql(table: &Table, rows: usize) -> String {
    let mut columns = table.key.to_vec();
    columns.push("version");
    columns.extend(table.rest);
    let set: Vec<String> = columns
        .iter()
        .skip(table.key.len())
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "INSERT INTO {} ({}) VALUES {} ON CONFLICT ({}) DO UPDATE SET {}",
        table.name,
        columns.join(", "),
        places(rows, columns.len(), false),
        table.key.join(", "),
        set.join(", ")
    )
}

/// The rows with these keys; absent ones with version 0.
pub(super) async fn load_rows(
    connection: &mut SqliteConnection,
    keys: impl IntoIterator<Item = &RowKey>,
) -> Result<Rows, BrokerStoreError> {
    let mut rows = Rows::default();
    let mut groups = Groups::new();
    for key in keys {
        if rows.get(key).is_none() {
            rows.set(key.clone(), Stored::default());
            let (table, cells) = key_cells(key);
            group(&mut groups, table, cells);
        }
    }
    for (table, cells) in groups.into_values() {
        for part in parts(cells) {
            let sql = select_sql(table, part.len());
            let query = sqlx::query(AssertSqlSafe(sql));
            let query = part.into_iter().flatten().fold(query, bind);
            for found in query.fetch_all(&mut *connection).await? {
                let fields = Fields::new(table.name, &found);
                let (version, row) = (fields.int("version")?, fields.row()?);
                let stored = Stored {
                    version,
                    row: Some(row.clone()),
                };
                rows.set(row.key(), stored);
            }
        }
    }
    Ok(rows)
}

/// Applies changes to the rows as they are now, all or none. Call it in a transaction that nobody
/// else writes beside.
pub(super) async fn write_changes(
    connection: &mut SqliteConnection,
    changes: &[Change],
) -> Result<(), BrokerStoreError> {
    let read = changes
        .iter()
        .flat_map(|c| c.conditions.iter().map(|(k, _)| k.clone()));
    let written: Vec<RowKey> = changes
        .iter()
        .flat_map(|c| c.writes.iter().map(|write| write.row.key()))
        .collect();
    let keys: Vec<RowKey> = read.chain(written.iter().cloned()).collect();
    let mut rows = load_rows(connection, &keys).await?;
    for change in changes {
        change.apply(&mut rows)?;
    }
    let mut groups = Groups::new();
    let mut done = std::collections::HashSet::with_capacity(written.len());
    for key in &written {
        let Some(stored) = rows.get(key).filter(|_| done.insert(key)) else {
            continue;
        };
        let Some(row) = &stored.row else { continue };
        let (table, mut cells) = key_cells(key);
        cells.push(Cell::Int(sql_int(stored.version)));
        cells.extend(rest_cells(row));
        group(&mut groups, table, cells);
    }
    for (table, cells) in groups.into_values() {
        for part in parts(cells) {
            let sql = upsert_sql(table, part.len());
            execute(connection, sql, part).await?;
        }
    }
    let lines = changes.iter().flat_map(|change| &change.journal);
    for part in parts(lines.map(line_cells).collect()) {
        let columns = JOURNAL.rest;
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            JOURNAL.name,
            columns.join(", "),
            places(part.len(), columns.len(), false)
        );
        execute(connection, sql, part).await?;
    }
    Ok(())
}

async fn execute(
    connection: &mut SqliteConnection,
    sql: String,
    rows: Vec<Vec<Cell>>,
) -> Result<(), BrokerStoreError> {
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = rows.into_iter().flatten().fold(query, bind);
    query.execute(connection).await?;
    Ok(())
}

fn line_cells(line: &JournalLine) -> Vec<Cell> {
    let account = |account: Option<PublicKey>| {
        account.map_or(Cell::NoBlob, |account| Cell::Blob(account.0.to_vec()))
    };
    let (from, from_account) = line.from.parts();
    let (to, to_account) = line.to.parts();
    vec![
        Cell::Int(sql_int(line.at.0)),
        Cell::Text(from.to_owned()),
        account(from_account),
        Cell::Text(to.to_owned()),
        account(to_account),
        Cell::Int(sql_int(line.units.0)),
        Cell::Text(line.reference.clone()),
    ]
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
