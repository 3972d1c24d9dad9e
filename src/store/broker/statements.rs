//! Rows in and out, many in one statement: a batch of requests costs few statements, whatever it
//! touches.

use std::collections::BTreeMap;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection};

use super::BrokerStoreError;
use super::fields::Fields;
use super::tables::{Cell, JOURNAL, Table, key_cells, rest_cells};
use crate::broker::change::{Change, JournalLine, Ledger, Stale};
use crate::broker::rows::{RowKey, Rows, Stored};
use crate::coin::keys::PublicKey;

/// Rows of one statement: few sizes, so that few statements are prepared and kept.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

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

/// What a statement does with rows; they are done in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    /// Reads them.
    Select,
    /// Counts those that are there with the version that is expected.
    Match,
    /// Counts those that are there at all.
    Find,
    /// Replaces those that are there with the version that is expected.
    Update,
    /// Adds them. Fails if one is there.
    Insert,
}

impl Verb {
    /// A statement about so many rows of a table. Places have no numbers, so that each is bound without
    /// a search for its name.
    fn sql(self, table: &Table, rows: usize) -> String {
        let (name, keys) = (table.name, table.key.len());
        let columns = columns(table);
        let all = columns.join(", ");
        let key = match table.key {
            [key] => (*key).to_owned(),
            keys => format!("({})", keys.join(", ")),
        };
        let within = |what: &str| {
            let values = if keys == 1 { "" } else { "VALUES " };
            let places = places(rows, keys);
            format!("SELECT {what} FROM {name} WHERE {key} IN ({values}{places})")
        };
        // The values come first in a join, and each finds its row by the key. What fails may leave a
        // part done, as all is rolled back then: SQLite need not be able to undo one statement.
        match self {
            Verb::Select => within("*"),
            Verb::Find => within("COUNT(*)"),
            Verb::Match => format!(
                "SELECT COUNT(*) FROM (VALUES {}) AS v CROSS JOIN {name} AS t ON {}",
                places(rows, keys.saturating_add(1)),
                as_expected(table)
            ),
            Verb::Update => {
                let written = columns.iter().skip(keys);
                let from = keys.saturating_add(2)..;
                let set: Vec<String> = (from.zip(written))
                    .map(|(n, column)| format!("{column} = v.column{n}"))
                    .collect();
                format!(
                    "UPDATE OR FAIL {name} AS t SET {} FROM (VALUES {}) AS v WHERE {}",
                    set.join(", "),
                    places(rows, columns.len().saturating_add(1)),
                    as_expected(table)
                )
            }
            Verb::Insert => {
                let places = places(rows, columns.len());
                format!("INSERT OR FAIL INTO {name} ({all}) VALUES {places}")
            }
        }
    }
}

/// Columns in the order in which they are written: key, version, the rest.
fn columns(table: &Table) -> Vec<&'static str> {
    let version = (!table.key.is_empty()).then_some("version");
    let key = table.key.iter().copied();
    key.chain(version)
        .chain(table.rest.iter().copied())
        .collect()
}

/// Whether a row `t` has the key, and then the version, with which the values `v` begin.
fn as_expected(table: &Table) -> String {
    let expected = table.key.iter().copied().chain(["version"]);
    let same: Vec<String> = (1..)
        .zip(expected)
        .map(|(n, column)| format!("t.{column} = v.column{n}"))
        .collect();
    same.join(" AND ")
}

/// `(?, ?), (?, ?)`; one column goes without brackets of its own.
fn places(rows: usize, columns: usize) -> String {
    let row = vec!["?"; columns].join(", ");
    let row = if columns == 1 {
        row
    } else {
        format!("({row})")
    };
    vec![row; rows].join(", ")
}

/// Cells of many rows, by what is done with them and by table.
#[derive(Default)]
struct Groups(BTreeMap<(Verb, &'static str), Group>);

/// A table, and the rows that one statement writes to it.
type Group = (&'static Table, Vec<Vec<Cell>>);

/// Some rows of one statement.
struct Part {
    verb: Verb,
    table: &'static Table,
    rows: Vec<Vec<Cell>>,
}

impl Groups {
    fn add(&mut self, verb: Verb, table: &'static Table, cells: Vec<Cell>) {
        let group = self.0.entry((verb, table.name));
        group.or_insert((table, Vec::new())).1.push(cells);
    }

    /// Cut into parts of the sizes above.
    fn parts(self) -> Vec<Part> {
        let mut parts = Vec::new();
        for ((verb, _), (table, mut rest)) in self.0 {
            while !rest.is_empty() {
                let fits = SIZES.into_iter().find(|size| *size <= rest.len());
                let after = rest.split_off(fits.unwrap_or(rest.len()));
                let rows = std::mem::replace(&mut rest, after);
                parts.push(Part { verb, table, rows });
            }
        }
        parts
    }
}

impl Part {
    fn query(self) -> Query<'static, Sqlite, SqliteArguments> {
        let sql = self.verb.sql(self.table, self.rows.len());
        let query = sqlx::query(AssertSqlSafe(sql));
        self.rows.into_iter().flatten().fold(query, bind)
    }

    /// Does it, and says whether the rows were as expected.
    async fn done(self, connection: &mut SqliteConnection) -> Result<bool, BrokerStoreError> {
        let (verb, rows) = (self.verb, self.rows.len() as u64);
        let query = self.query();
        Ok(match verb {
            Verb::Select => true,
            Verb::Match | Verb::Find => {
                let count: i64 = query.fetch_one(connection).await?.try_get(0)?;
                count
                    == if verb == Verb::Match {
                        sql_int(rows)
                    } else {
                        0
                    }
            }
            Verb::Update => query.execute(connection).await?.rows_affected() == rows,
            Verb::Insert => match query.execute(connection).await {
                Ok(_) => true,
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => false,
                Err(error) => return Err(error.into()),
            },
        })
    }
}

/// The rows with these keys; absent ones with version 0.
pub(super) async fn load_rows(
    connection: &mut SqliteConnection,
    keys: impl IntoIterator<Item = &RowKey>,
) -> Result<Rows, BrokerStoreError> {
    let mut rows = Rows::default();
    let mut groups = Groups::default();
    for key in keys {
        if rows.get(key).is_none() {
            rows.set(key.clone(), Stored::default());
            let (table, cells) = key_cells(key);
            groups.add(Verb::Select, table, cells);
        }
    }
    for part in groups.parts() {
        let table = part.table.name;
        for found in part.query().fetch_all(&mut *connection).await? {
            let fields = Fields::new(table, &found);
            let (version, row) = (fields.int("version")?, fields.row()?);
            let (key, row) = (row.key(), Some(row));
            rows.set(key, Stored { version, row });
        }
    }
    Ok(rows)
}

/// What a batch of changes makes of the rows it touches.
pub(super) struct Outcome<'c> {
    changes: &'c [Change],
    /// The version that each row must have before.
    before: Vec<(RowKey, u64)>,
    /// What each row is afterwards; nothing: it was only looked at.
    after: Rows,
}

impl<'c> Outcome<'c> {
    /// The changes in order, each on what those before it made.
    pub(super) fn of(changes: &'c [Change]) -> Result<Self, Stale> {
        let (mut before, mut after) = (Vec::new(), Rows::default());
        for change in changes {
            let written = change.writes.iter().map(|w| (w.row.key(), w.version));
            for (key, version) in change.conditions.iter().cloned().chain(written) {
                if after.get(&key).is_none() {
                    after.set(key.clone(), Stored { version, row: None });
                    before.push((key, version));
                }
            }
            change.apply(&mut after)?;
        }
        Ok(Outcome {
            changes,
            before,
            after,
        })
    }

    /// Writes rows and journal, and says whether all rows were as expected; if not, roll back. Call it
    /// in a transaction that nobody else writes beside.
    ///
    /// What writes compares too, so nothing is read before: rows that must be absent are inserted,
    /// which fails if they are there.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<bool, BrokerStoreError> {
        let mut groups = Groups::default();
        for (key, expected) in &self.before {
            let (table, mut cells) = key_cells(key);
            let stored = self.after.get(key);
            let row = stored.and_then(|s| Some((s.version, s.row.as_ref()?)));
            let verb = match (row.is_some(), *expected) {
                (true, 0) => Verb::Insert,
                (true, _) => Verb::Update,
                (false, 0) => Verb::Find,
                (false, _) => Verb::Match,
            };
            if matches!(verb, Verb::Update | Verb::Match) {
                cells.push(Cell::Int(sql_int(*expected)));
            }
            if let Some((version, row)) = row {
                cells.push(Cell::Int(sql_int(version)));
                cells.extend(rest_cells(row));
            }
            groups.add(verb, table, cells);
        }
        for line in self.changes.iter().flat_map(|change| &change.journal) {
            groups.add(Verb::Insert, &JOURNAL, line_cells(line));
        }
        for part in groups.parts() {
            if !part.done(connection).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first row that is not as expected.
    pub(super) async fn stale(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Option<Stale>, BrokerStoreError> {
        let rows = load_rows(connection, self.before.iter().map(|(key, _)| key)).await?;
        let mut before = self.before.iter();
        let stale =
            before.find(|(key, version)| rows.get(key).map(|s| s.version) != Some(*version));
        Ok(stale
            .cloned()
            .map(|(key, expected)| Stale { key, expected }))
    }
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
