//! Rows in and out, many in one statement: a batch of requests costs few statements, whatever it
//! touches.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Row as _, Sqlite, SqliteConnection};

use super::BrokerStoreError;
use super::fields::Fields;
use super::packed::{self, Field, SOLD};
use super::places::{Place, Places, indexed};
use super::tables::{COIN, Cell, HOLDER, Table, key_cells, name_of, table_of};
use crate::broker::rows::{Row, RowKey, Rows, Stored};

/// Rows of one statement: few sizes, so that few statements are prepared and kept.
const SIZES: [usize; 11] = [1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1];
/// Texts of statements, by what they do, their table and their rows.
type Texts = HashMap<(Verb, &'static str, usize), Arc<str>>;
/// Each is made once.
static TEXTS: LazyLock<Mutex<Texts>> = LazyLock::new(Mutex::default);

/// A number as SQL has it; one that does not fit is later than any other.
pub(super) fn sql_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn bind(values: &mut SqliteArguments, cell: Cell) -> Result<(), BoxDynError> {
    match cell {
        Cell::Int(number) => values.add(number),
        Cell::Blob(bytes) => values.add(bytes),
        Cell::Text(text) => values.add(text),
        Cell::NoInt => values.add(None::<i64>),
        Cell::NoBlob => values.add(None::<Vec<u8>>),
    }
}

/// What a statement does with rows; they are done in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Verb {
    /// Reads where those stand whose names begin like this.
    Place,
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
    /// Adds coins as they are sold: what is the same of all of them stands in the statement.
    Sell,
    /// Adds where they stand to the index, if that is not there yet.
    Index,
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
            Verb::Place => {
                let (packed, cut) = packed::sql(&[Field::Bytes(indexed(table))]);
                let places = format!(
                    "packed CROSS JOIN {name}_place AS p ON p.short = {}",
                    cut.join("")
                );
                // A holder key stands in the index whole, a coin's id does not.
                if name == HOLDER.name {
                    format!("{packed} SELECT p.row, p.short AS holder_key FROM {places}")
                } else {
                    format!(
                        "{packed} SELECT t.row, t.id FROM {places} CROSS JOIN {name} AS t ON t.row = p.row"
                    )
                }
            }
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
            Verb::Index => {
                let fields = [Field::Bytes(indexed(table)), Field::Number];
                let (packed, cut) = packed::sql(&fields);
                let cut = cut.join(", ");
                format!(
                    "{packed} INSERT OR IGNORE INTO {name}_place (short, row) SELECT {cut} FROM packed"
                )
            }
            Verb::Insert => {
                let places = places(rows, columns.len());
                format!("INSERT OR FAIL INTO {name} ({all}) VALUES {places}")
            }
            Verb::Sell => {
                let (packed, cut) = packed::sql(&SOLD);
                let mut cut = cut.into_iter();
                let fields = columns.iter().map(|column| match *column {
                    "version" => "1".to_owned(),
                    "credited" | "contests" | "settled" => "0".to_owned(),
                    _ => cut.next().unwrap_or_default(),
                });
                let fields = fields.collect::<Vec<_>>().join(", ");
                format!("{packed} INSERT OR FAIL INTO {name} ({all}) SELECT {fields} FROM packed")
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
pub(super) struct Groups(BTreeMap<(Verb, &'static str), Group>);

/// Rows of a table that the same is done with.
struct Group {
    table: &'static Table,
    rows: usize,
    /// Those of one row after another.
    cells: Vec<Cell>,
    /// All rows in one value instead (`packed`).
    packed: Vec<u8>,
}

/// Some rows of one statement.
pub(super) struct Part {
    verb: Verb,
    table: &'static Table,
    /// None: as many as the one value holds.
    rows: usize,
    values: SqliteArguments,
}

impl Groups {
    /// One more row; its cells go to the end of those before.
    pub(super) fn row(&mut self, verb: Verb, table: &'static Table) -> &mut Vec<Cell> {
        let group = self.group(verb, table);
        group.rows = group.rows.saturating_add(1);
        &mut group.cells
    }

    /// What holds all rows of a verb that takes them in one value; the fields of one more go to its end.
    pub(super) fn packed(&mut self, verb: Verb, table: &'static Table) -> &mut Vec<u8> {
        &mut self.group(verb, table).packed
    }

    fn group(&mut self, verb: Verb, table: &'static Table) -> &mut Group {
        self.0.entry((verb, table.name)).or_insert_with(|| Group {
            table,
            rows: 0,
            cells: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// Cut into parts of the sizes above; rows in one value stay together.
    pub(super) fn parts(self) -> Result<Vec<Part>, sqlx::Error> {
        let mut parts = Vec::new();
        for ((verb, _), group) in self.0 {
            let (table, mut left) = (group.table, group.rows);
            let width = group.cells.len().checked_div(left).unwrap_or_default();
            let mut cells = group.cells.into_iter();
            if !group.packed.is_empty() {
                let mut values = SqliteArguments::default();
                values.add(group.packed).map_err(sqlx::Error::Encode)?;
                parts.push(Part {
                    verb,
                    table,
                    rows: 0,
                    values,
                });
            }
            while let Some(rows) = SIZES.into_iter().find(|size| *size <= left) {
                left = left.saturating_sub(rows);
                let mut values = SqliteArguments::default();
                values.reserve(rows.saturating_mul(width), 0);
                for cell in cells.by_ref().take(rows.saturating_mul(width)) {
                    bind(&mut values, cell).map_err(sqlx::Error::Encode)?;
                }
                parts.push(Part {
                    verb,
                    table,
                    rows,
                    values,
                });
            }
        }
        Ok(parts)
    }
}

impl Part {
    pub(super) fn table(&self) -> &'static Table {
        self.table
    }

    pub(super) fn query(self) -> Query<'static, Sqlite, SqliteArguments> {
        let (verb, table, rows) = (self.verb, self.table, self.rows);
        let text = (TEXTS.lock().entry((verb, table.name, rows)))
            .or_insert_with(|| verb.sql(table, rows).into())
            .clone();
        sqlx::query_with(AssertSqlSafe(text), self.values)
    }

    /// Does it, and says whether the rows were as expected.
    pub(super) async fn done(
        self,
        connection: &mut SqliteConnection,
    ) -> Result<bool, BrokerStoreError> {
        let (verb, rows) = (self.verb, self.rows as u64);
        let query = self.query();
        Ok(match verb {
            Verb::Place | Verb::Select | Verb::Index => true,
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
            Verb::Insert | Verb::Sell => match query.execute(connection).await {
                Ok(_) => true,
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => false,
                Err(error) => return Err(error.into()),
            },
        })
    }
}

/// The rows with these keys; absent ones with version 0.
pub(super) async fn load_rows<'k>(
    connection: &mut SqliteConnection,
    places: &Places,
    keys: impl Iterator<Item = &'k RowKey> + Clone,
) -> Result<Rows, BrokerStoreError> {
    let mut rows = Rows::default();
    let mut groups = Groups::default();
    let places_of = places.find(connection, keys.clone()).await?;
    for key in keys {
        if rows.get(key).is_some() {
            continue;
        }
        rows.set(key.clone(), Stored::default());
        let (table, row) = match places_of.get(key) {
            Some(Place::Row(row)) => (table_of(key), Some(*row)),
            Some(Place::Coin(row)) => {
                groups.row(Verb::Select, &COIN).push(Cell::Int(*row));
                continue;
            }
            None if name_of(key).is_some() => continue,
            None => (table_of(key), None),
        };
        key_cells(key, row, groups.row(Verb::Select, table));
    }
    for part in groups.parts()? {
        let table = part.table.name;
        for found in part.query().fetch_all(&mut *connection).await? {
            let fields = Fields::new(table, &found);
            let (version, row) = (fields.int("version")?, fields.row()?);
            if let Row::Coin(coin) = &row
                && let Some(holder) = coin.holder()
            {
                let key = RowKey::Holder(holder.key);
                if places_of.get(&key) == Some(&Place::Coin(fields.number("row")?)) {
                    rows.set(key, stored(1, Row::Holder(holder)));
                }
            }
            rows.set(row.key(), stored(version, row));
        }
    }
    Ok(rows)
}

fn stored(version: u64, row: Row) -> Stored {
    Stored {
        version,
        row: Some(Arc::new(row)),
        guessed: false,
    }
}
