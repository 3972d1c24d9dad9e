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
use super::journal::line_cells;
use super::places::{NewRows, Place, Places};
use super::tables::{COIN, Cell, HOLDER, JOURNAL, Table, key_cells, name_of, rest_cells, table_of};
use crate::broker::change::{Change, Stale};
use crate::broker::rows::{HolderRow, Row, RowKey, Rows, Stored};
use crate::coin::keys::PublicKey;

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
                let values = vec!["(?)"; rows].join(", ");
                let places = format!(
                    "(VALUES {values}) AS v CROSS JOIN {name}_place AS p ON p.short = v.column1"
                );
                // A holder key stands in the index whole, a coin's id does not.
                if name == HOLDER.name {
                    format!("SELECT p.row, p.short AS holder_key FROM {places}")
                } else {
                    format!(
                        "SELECT t.row, t.id FROM {places} CROSS JOIN {name} AS t ON t.row = p.row"
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
                let places = places(rows, 2);
                format!("INSERT OR IGNORE INTO {name}_place (short, row) VALUES {places}")
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
pub(super) struct Groups(BTreeMap<(Verb, &'static str), Group>);

/// Rows of a table that the same is done with.
struct Group {
    table: &'static Table,
    rows: usize,
    /// Those of one row after another.
    cells: Vec<Cell>,
}

/// Some rows of one statement.
pub(super) struct Part {
    verb: Verb,
    table: &'static Table,
    rows: usize,
    values: SqliteArguments,
}

impl Groups {
    /// One more row; its cells go to the end of those before.
    pub(super) fn row(&mut self, verb: Verb, table: &'static Table) -> &mut Vec<Cell> {
        let group = self.0.entry((verb, table.name)).or_insert(Group {
            table,
            rows: 0,
            cells: Vec::new(),
        });
        group.rows = group.rows.saturating_add(1);
        &mut group.cells
    }

    /// Cut into parts of the sizes above.
    pub(super) fn parts(self) -> Result<Vec<Part>, sqlx::Error> {
        let mut parts = Vec::new();
        for ((verb, _), group) in self.0 {
            let (table, mut left) = (group.table, group.rows);
            let width = group.cells.len().checked_div(left).unwrap_or_default();
            let mut cells = group.cells.into_iter();
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
    async fn done(self, connection: &mut SqliteConnection) -> Result<bool, BrokerStoreError> {
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
            Verb::Insert => match query.execute(connection).await {
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

/// What a batch of changes makes of a row.
struct Touched<'c> {
    key: RowKey,
    /// The version that it must have before.
    expected: u64,
    version: u64,
    /// As it is afterwards; nothing: it was only looked at.
    row: Option<&'c Row>,
}

/// Coins that a batch sells and their rows, by the keys that they are sold for.
type Sold = HashMap<PublicKey, (i64, HolderRow)>;

/// What is done with a row.
enum Step {
    /// Nothing: it is as it must be.
    None,
    /// This, where it has this number, if it stands by one.
    Do(Verb, Option<i64>),
    /// It is not as expected.
    Stale,
}

impl Touched<'_> {
    /// Whether it is a coin that is new: its id follows from a number that the broker drew for it, so that
    /// there is no other one to look for.
    fn is_drawn(&self) -> bool {
        self.expected == 0 && matches!(self.row, Some(Row::Coin(_)))
    }

    /// What is done with the row, which has this place if it has a name and is there.
    fn step(&self, place: Option<Place>, sold: &Sold, new: &mut NewRows) -> Step {
        let verb = match (self.row.is_some(), self.expected) {
            (true, 0) => Verb::Insert,
            (true, _) => Verb::Update,
            (false, 0) => Verb::Find,
            (false, _) => Verb::Match,
        };
        let Some(name) = name_of(&self.key) else {
            return Step::Do(verb, None);
        };
        match (place, self.expected, self.row) {
            (None, 0, None) => Step::None,
            (None, 0, Some(row)) => match (row, sold.get(&PublicKey(*name.bytes))) {
                (Row::Holder(row), Some((coin, said))) if self.version == 1 && row == said => {
                    new.stands_in(*name.bytes, *coin);
                    Step::None
                }
                _ => Step::Do(Verb::Insert, Some(new.number(name))),
            },
            (Some(Place::Row(row)), 1.., _) => Step::Do(verb, Some(row)),
            (Some(Place::Coin(_)), 1, None) => Step::None,
            (Some(Place::Coin(_)), 1, Some(_)) => Step::Do(Verb::Insert, Some(new.number(name))),
            _ => Step::Stale,
        }
    }

    /// The cells for what is done with it.
    fn cells(&self, verb: Verb, row: Option<i64>, groups: &mut Groups) {
        let cells = groups.row(verb, table_of(&self.key));
        key_cells(&self.key, row, cells);
        if matches!(verb, Verb::Update | Verb::Match) {
            cells.push(Cell::Int(sql_int(self.expected)));
        }
        if let Some(row) = self.row {
            cells.push(Cell::Int(sql_int(self.version)));
            rest_cells(row, cells);
        }
    }
}

/// What a batch of changes makes of the rows it touches.
pub(super) struct Outcome<'c> {
    changes: &'c [Change],
    touched: Vec<Touched<'c>>,
}

impl<'c> Outcome<'c> {
    /// The changes in order, each on what those before it made.
    pub(super) fn of(changes: &'c [Change]) -> Result<Self, Stale> {
        let rows = |c: &Change| c.conditions.len().saturating_add(c.writes.len());
        let mut touched: Vec<Touched<'c>> = Vec::with_capacity(changes.iter().map(rows).sum());
        let mut places: HashMap<RowKey, usize> = HashMap::with_capacity(touched.capacity());
        for change in changes {
            let read = change.conditions.iter().map(|(k, v)| (k.clone(), *v, None));
            let written = (change.writes.iter()).map(|w| (w.row.key(), w.version, Some(&*w.row)));
            for (key, expected, row) in read.chain(written) {
                let place = *places.entry(key.clone()).or_insert(touched.len());
                if place == touched.len() {
                    touched.push(Touched {
                        key,
                        expected,
                        version: expected,
                        row: None,
                    });
                } else if touched[place].version != expected {
                    return Err(Stale { key, expected });
                }
                if row.is_some() {
                    touched[place].version = expected.saturating_add(1);
                    touched[place].row = row;
                }
            }
        }
        Ok(Outcome { changes, touched })
    }

    /// Writes rows and journal, and gives those that are new, if all rows were as expected; if not, roll
    /// back. Call it in a transaction that nobody else writes beside, with places that were refreshed in it.
    ///
    /// What writes compares too, so nothing is read before but where rows stand: rows that must be absent
    /// are inserted, which fails if they are there. A new holder key of which a new coin says the same is
    /// not written: it stands in the coin's row.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        places: &Places,
    ) -> Result<Option<NewRows>, BrokerStoreError> {
        let known = self.touched.iter().filter(|t| !t.is_drawn());
        let keys = known.map(|touched| &touched.key);
        let (found, mut new) = (places.find(connection, keys).await?, places.next());
        let mut groups = Groups::default();
        let mut sold = Sold::new();
        // What coins say of holder keys is asked for afterwards.
        let is_coin = |touched: &&Touched<'_>| matches!(touched.key, RowKey::Coin(_));
        let coins = self.touched.iter().filter(is_coin);
        for touched in coins.chain(self.touched.iter().filter(|t| !is_coin(t))) {
            let place = found.get(&touched.key).copied();
            match touched.step(place, &sold, &mut new) {
                Step::None => {}
                Step::Stale => return Ok(None),
                Step::Do(verb, row) => {
                    touched.cells(verb, row, &mut groups);
                    if let (Verb::Insert, Some(row), Some(Row::Coin(coin))) =
                        (verb, row, touched.row)
                        && let Some(holder) = coin.holder()
                    {
                        sold.entry(holder.key).or_insert((row, holder));
                    }
                }
            }
        }
        for line in self.changes.iter().flat_map(|change| &change.journal) {
            line_cells(line, groups.row(Verb::Insert, &JOURNAL));
        }
        for part in groups.parts()? {
            if !part.done(connection).await? {
                return Ok(None);
            }
        }
        Ok(Some(new))
    }

    /// The first row that is not as expected.
    pub(super) async fn stale(
        &self,
        connection: &mut SqliteConnection,
        places: &Places,
    ) -> Result<Option<Stale>, BrokerStoreError> {
        let rows = load_rows(connection, places, self.touched.iter().map(|t| &t.key)).await?;
        let mut touched = self.touched.iter();
        let stale = touched.find(|t| rows.get(&t.key).map(|s| s.version) != Some(t.expected));
        Ok(stale.map(|t| Stale {
            key: t.key.clone(),
            expected: t.expected,
        }))
    }
}
