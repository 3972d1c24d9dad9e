//! Where coins and holder keys stand.
//!
//! Their names are hashes and keys, so an index of them takes each new row on another page, and a commit
//! writes more bytes of such pages than of all else that was sold, the more the more was sold before. So
//! rows are numbered as they come, and where the newest stand is known in memory alone: it is read from
//! these rows when a file is opened, and when another process added some. Once they are many, all of them
//! enter the index in its order, so that a page takes many: some after each batch (`entering`).
//!
//! Most holder keys are those that coins are sold for, and most of them never change: a key stands in the row
//! of the first coin that is sold for it, as if it had a row written once, until it is written again. Where
//! it has a row of its own, that row counts.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::entering::Entering;
use super::fields::Fields;
use super::statements::{Groups, Verb, sql_int};
use super::tables::{COIN, HOLDER, Name, Table, name_of};
use super::{BrokerStoreError, forms};
use crate::broker::rows::{FastMap, RowKey};

/// Rows whose places are known in memory alone, at most; a batch may go beyond.
pub(super) const NEWEST: usize = 131_072;
/// Most batches between two tries to write the index.
const LONGEST_PAUSE: u32 = 4096;
/// Bytes of a name in the index. A coin's name is a hash that the broker makes; a holder key is chosen by
/// whoever has it, so that many could begin alike.
pub(super) fn indexed(table: &Table) -> usize {
    match table.name == COIN.name {
        true => 8,
        false => 32,
    }
}

/// The holder's key in a coin's row, where the certificate is one (`CoinRow::holder`).
pub(super) const BOUGHT_FOR: &str = "substr(certificate, 39, 32)";
/// Whether it is.
pub(super) const IS_WHOLE: &str = "length(certificate) = 158";

/// Where a name stands. In memory and in the index: the number of its row; of a coin's row, where a holder
/// key stands in one, negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has this row of its own.
    Row(i64),
    /// A holder key: in the row of this coin.
    Coin(i64),
}

impl Place {
    fn at(number: i64) -> Place {
        match number {
            0.. => Place::Row(number),
            _ => Place::Coin(number.saturating_neg()),
        }
    }
}

/// Rows by their names.
pub(super) type Found = FastMap<RowKey, Place>;

/// The newest names of a table.
#[derive(Debug, Default)]
struct Newest {
    rows: FastMap<[u8; 32], i64>,
    /// The last row that the index has.
    placed: i64,
    /// The last row.
    last: i64,
}

/// Where the newest rows stand. For whoever has the connection that writes.
#[derive(Debug, Default)]
pub(super) struct Places {
    coins: Newest,
    holders: Newest,
    /// After the index could not be written: batches that pass before it is tried again, and how many
    /// of them are still to come.
    pause: u32,
    left: u32,
    /// Names that are on their way into the index.
    entering: Option<Entering>,
    /// Names of the last batch.
    added: usize,
}

impl Places {
    fn newest(&mut self, table: &Table) -> &mut Newest {
        if table.name == COIN.name {
            &mut self.coins
        } else {
            &mut self.holders
        }
    }

    /// Learns what was written since, by whomever, as far as this transaction sees it.
    ///
    /// # Errors
    /// [`BrokerStoreError::Later`] if the file has a form of which this program does not know where its
    /// rows stand.
    pub(super) async fn refresh(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), BrokerStoreError> {
        let found = sqlx::query(
            "SELECT coin, holder, (SELECT COALESCE(MAX(row), 0) FROM coin) AS last_coin, \
             (SELECT COALESCE(MAX(row), 0) FROM holder) AS last_holder, \
             (SELECT MAX(version) FROM _sqlx_migrations) AS form FROM placed",
        )
        .fetch_one(&mut *connection)
        .await?;
        let fields = Fields::new("placed", &found);
        if sql_int(fields.int("form")?) > forms::NOW {
            return Err(BrokerStoreError::Later);
        }
        let number = |column| fields.number(column);
        let (coin, last_coin) = (number("coin")?, number("last_coin")?);
        let (holder, last_holder) = (number("holder")?, number("last_holder")?);
        if (coin, holder) != (self.coins.placed, self.holders.placed) {
            self.placed_until((coin, holder));
        }
        if last_coin > self.coins.last.max(coin) {
            self.read_coins(connection, self.coins.last.max(coin))
                .await?;
        }
        if last_holder > self.holders.last.max(holder) {
            let after = self.holders.last.max(holder);
            self.read_holders(connection, after).await?;
        }
        (self.coins.last, self.holders.last) = (last_coin, last_holder);
        Ok(())
    }

    /// Adds the coins after this row, and the keys that they were sold for.
    async fn read_coins(
        &mut self,
        connection: &mut SqliteConnection,
        after: i64,
    ) -> Result<(), BrokerStoreError> {
        let sql = format!(
            "SELECT row, id, CASE WHEN {IS_WHOLE} THEN {BOUGHT_FOR} END AS holder_key FROM coin \
             WHERE row > $1 ORDER BY row"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(after);
        for row in query.fetch_all(connection).await? {
            let fields = Fields::new(COIN.name, &row);
            let number = fields.number("row")?;
            self.coins.rows.insert(fields.bytes("id")?, number);
            if let Some(key) = fields.maybe_bytes("holder_key")? {
                self.holders.stands_in(key, number);
            }
        }
        Ok(())
    }

    /// Adds the holder keys after this row.
    async fn read_holders(
        &mut self,
        connection: &mut SqliteConnection,
        after: i64,
    ) -> Result<(), BrokerStoreError> {
        let query = sqlx::query("SELECT row, holder_key FROM holder WHERE row > $1").bind(after);
        for row in query.fetch_all(connection).await? {
            let fields = Fields::new(HOLDER.name, &row);
            let key = fields.bytes("holder_key")?;
            self.holders.rows.insert(key, fields.number("row")?);
        }
        Ok(())
    }

    /// Where these names stand; keys of other tables have none.
    pub(super) async fn find(
        &self,
        connection: &mut SqliteConnection,
        keys: impl Iterator<Item = &RowKey>,
    ) -> Result<Found, BrokerStoreError> {
        let (mut found, mut groups) = (Found::default(), Groups::default());
        let has_index = self.coins.placed.max(self.holders.placed) > 0;
        for key in keys {
            let Some(Name { table, bytes }) = name_of(key) else {
                continue;
            };
            let newest = if table.name == COIN.name {
                &self.coins
            } else {
                &self.holders
            };
            let place = newest.rows.get(bytes).copied().map(Place::at);
            if let Some(place) = place {
                found.insert(key.clone(), place);
            }
            // A key that stands in a new coin may have an older row of its own.
            if has_index && !matches!(place, Some(Place::Row(_))) {
                let short = bytes.iter().take(indexed(table));
                groups.packed(Verb::Place, table).extend(short);
            }
        }
        for part in groups.parts()? {
            let table = part.table();
            for row in part.query().fetch_all(&mut *connection).await? {
                let fields = Fields::new(table.name, &row);
                let place = Place::at(fields.number("row")?);
                let known = found.entry(fields.key()?).or_insert(place);
                if matches!(place, Place::Row(_)) {
                    *known = place;
                }
            }
        }
        Ok(found)
    }

    /// Where rows will stand that are added in a transaction that was refreshed.
    pub(super) fn next(&self) -> NewRows {
        NewRows {
            last_coin: self.coins.last,
            last_holder: self.holders.last,
            rows: Vec::new(),
            in_coins: Vec::new(),
        }
    }

    /// These rows are durable.
    pub(super) fn add(&mut self, new: NewRows) {
        self.added = new.rows.len().saturating_add(new.in_coins.len());
        self.coins.rows.reserve(new.rows.len());
        self.holders.rows.reserve(new.in_coins.len());
        for (table, name, row) in new.rows {
            let newest = self.newest(table);
            newest.rows.insert(name, row);
            newest.last = row;
        }
        for (key, coin) in new.in_coins {
            self.holders.stands_in(key, coin);
        }
    }

    /// Puts some of the newest names into the index, if they are many or on their way. Where that failed, as
    /// on a full disk, twice as many batches pass before each further try.
    pub(super) async fn settle(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), BrokerStoreError> {
        let names = self.coins.rows.len().max(self.holders.rows.len());
        if names < NEWEST && self.entering.is_none() {
            return Ok(());
        }
        if self.left > 0 {
            self.left = self.left.saturating_sub(1);
            return Ok(());
        }
        let placed = self.place(connection).await;
        self.pause = match placed {
            Ok(()) => 0,
            Err(_) => self.pause.saturating_mul(2).clamp(1, LONGEST_PAUSE),
        };
        self.left = self.pause;
        placed
    }

    /// Some of the newest names enter the index. They are durable with whatever is committed next: until the
    /// last of them has entered, all of them can enter again.
    async fn place(&mut self, connection: &mut SqliteConnection) -> Result<(), BrokerStoreError> {
        if self.entering.is_none() {
            let (coins, holders) = (&self.coins, &self.holders);
            let last = (coins.last, holders.last);
            self.entering = Some(Entering::of(&coins.rows, &holders.rows, last));
        }
        connection.execute("PRAGMA synchronous = NORMAL").await?;
        let entered = self.enter(connection).await;
        connection.execute("PRAGMA synchronous = FULL").await?;
        entered
    }

    async fn enter(&mut self, connection: &mut SqliteConnection) -> Result<(), BrokerStoreError> {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        self.refresh(&mut tx).await?;
        let Some(mut entering) = self.entering.take() else {
            return Ok(tx.rollback().await?);
        };
        let entered = entering.some(&mut tx, self.added).await;
        if entered? {
            tx.commit().await?;
            self.placed_until(entering.last);
        } else {
            tx.commit().await?;
            self.entering = Some(entering);
        }
        Ok(())
    }

    /// The index has the names of all rows up to these.
    fn placed_until(&mut self, (coin, holder): (i64, i64)) {
        self.coins.rows.retain(|_, row| *row > coin);
        let is_new = |place| match place {
            Place::Row(row) => row > holder,
            Place::Coin(row) => row > coin,
        };
        self.holders.rows.retain(|_, row| is_new(Place::at(*row)));
        (self.coins.placed, self.holders.placed) = (coin, holder);
        self.entering = None;
    }
}

impl Newest {
    /// A holder key stands in this coin's row, unless it has a row of its own or an earlier coin's.
    fn stands_in(&mut self, key: [u8; 32], coin: i64) {
        self.rows.entry(key).or_insert(coin.saturating_neg());
    }
}

/// Rows that are added in a transaction.
#[derive(Debug)]
pub(super) struct NewRows {
    last_coin: i64,
    last_holder: i64,
    rows: Vec<(&'static Table, [u8; 32], i64)>,
    /// Holder keys that stand in coins' rows.
    in_coins: Vec<([u8; 32], i64)>,
}

impl NewRows {
    /// The row of a new name.
    pub(super) fn number(&mut self, Name { table, bytes }: Name<'_>) -> i64 {
        let last = if table.name == COIN.name {
            &mut self.last_coin
        } else {
            &mut self.last_holder
        };
        *last = last.saturating_add(1);
        self.rows.push((table, *bytes, *last));
        *last
    }

    /// A holder key that stands in this coin's row.
    pub(super) fn stands_in(&mut self, key: [u8; 32], coin: i64) {
        self.in_coins.push((key, coin));
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
