//! What a batch of changes makes of the rows it touches, and how that is written.

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use indexmap::map::Entry;
use sqlx::SqliteConnection;

use super::BrokerStoreError;
use super::journal::line_cells;
use super::packed::{is_sold, pack_sold};
use super::places::{NewRows, Place, Places};
use super::statements::{Groups, Verb, load_rows, sql_int};
use super::tables::{COIN, Cell, JOURNAL, key_cells, name_of, rest_cells, table_of};
use crate::broker::change::{Change, Stale};
use crate::broker::rows::{FastMap, HolderRow, Row, RowKey};
use crate::coin::keys::PublicKey;

/// What a batch of changes makes of a row.
struct Touched<'c> {
    /// The version that it must have before.
    expected: u64,
    version: u64,
    /// As it is afterwards; nothing: it was only looked at.
    row: Option<&'c Row>,
}

/// Coins that a batch sells and their rows, by the keys that they are sold for.
type Sold = FastMap<PublicKey, (i64, HolderRow)>;

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

    /// A coin as it is sold.
    fn is_sold(&self) -> bool {
        matches!(self.row, Some(Row::Coin(coin)) if self.version == 1 && is_sold(coin))
    }

    /// What is done with the row, which has this place if it has a name and is there.
    fn step(&self, key: &RowKey, place: Option<Place>, sold: &Sold, new: &mut NewRows) -> Step {
        let verb = match (self.row.is_some(), self.expected) {
            (true, 0) if self.is_sold() => Verb::Sell,
            (true, 0) => Verb::Insert,
            (true, _) => Verb::Update,
            (false, 0) => Verb::Find,
            (false, _) => Verb::Match,
        };
        let Some(name) = name_of(key) else {
            return Step::Do(verb, None);
        };
        match (place, self.expected, self.row) {
            (None, 0, None) => Step::None,
            (None, 0, Some(row)) => match (row, sold.get(&PublicKey(*name.bytes))) {
                (Row::Holder(row), Some((coin, said))) if self.version == 1 && row == said => {
                    new.stands_in(*name.bytes, *coin);
                    Step::None
                }
                _ => Step::Do(verb, Some(new.number(name))),
            },
            (Some(Place::Row(row)), 1.., _) => Step::Do(verb, Some(row)),
            (Some(Place::Coin(_)), 1, None) => Step::None,
            (Some(Place::Coin(_)), 1, Some(_)) => Step::Do(Verb::Insert, Some(new.number(name))),
            _ => Step::Stale,
        }
    }

    /// Adds it to those that the same is done with.
    fn add(&self, key: &RowKey, verb: Verb, row: Option<i64>, groups: &mut Groups) {
        if let (Verb::Sell, Some(row), Some(Row::Coin(coin))) = (verb, row, self.row) {
            return pack_sold(row, coin, groups.packed(verb, &COIN));
        }
        let cells = groups.row(verb, table_of(key));
        key_cells(key, row, cells);
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
    touched: IndexMap<RowKey, Touched<'c>, RandomState>,
}

impl<'c> Outcome<'c> {
    /// The changes in order, each on what those before it made.
    pub(super) fn of(changes: &'c [Change]) -> Result<Self, Stale> {
        let rows = |c: &Change| c.conditions.len().saturating_add(c.writes.len());
        let rows = changes.iter().map(rows).sum();
        let mut touched = IndexMap::with_capacity_and_hasher(rows, RandomState::default());
        for change in changes {
            let read = change.conditions.iter().map(|(k, v)| (k.clone(), *v, None));
            let written = (change.writes.iter()).map(|w| (w.row.key(), w.version, Some(&*w.row)));
            for (key, expected, row) in read.chain(written) {
                let version = expected.saturating_add(u64::from(row.is_some()));
                match touched.entry(key) {
                    Entry::Vacant(entry) => {
                        entry.insert(Touched {
                            expected,
                            version,
                            row,
                        });
                    }
                    Entry::Occupied(entry) if entry.get().version != expected => {
                        let key = entry.key().clone();
                        return Err(Stale { key, expected });
                    }
                    Entry::Occupied(mut entry) => {
                        let touched = entry.get_mut();
                        touched.version = version;
                        touched.row = row.or(touched.row);
                    }
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
        let known = self.touched.iter().filter(|(_, t)| !t.is_drawn());
        let keys = known.map(|(key, _)| key);
        let (found, mut new) = (places.find(connection, keys).await?, places.next());
        let mut groups = Groups::default();
        let mut sold = Sold::default();
        // What coins say of holder keys is asked for afterwards.
        let is_coin = |(key, _): &(&RowKey, &Touched<'_>)| matches!(key, RowKey::Coin(_));
        let coins = self.touched.iter().filter(is_coin);
        for (key, touched) in coins.chain(self.touched.iter().filter(|t| !is_coin(t))) {
            let place = found.get(key).copied();
            match touched.step(key, place, &sold, &mut new) {
                Step::None => {}
                Step::Stale => return Ok(None),
                Step::Do(verb, row) => {
                    touched.add(key, verb, row, &mut groups);
                    if let (Verb::Insert | Verb::Sell, Some(row), Some(Row::Coin(coin))) =
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
        let rows = load_rows(connection, places, self.touched.keys()).await?;
        let mut touched = self.touched.iter();
        let stale = touched.find(|(key, t)| rows.get(key).map(|s| s.version) != Some(t.expected));
        Ok(stale.map(|(key, t)| Stale {
            key: key.clone(),
            expected: t.expected,
        }))
    }
}
