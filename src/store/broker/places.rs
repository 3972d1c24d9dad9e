//! Where coins and holder keys stand.
//!
//! Their names are hashes and keys, so an index of them takes each new row on another page, and a commit
//! writes more bytes of such pages than of all else that was sold, the more the more was sold before. So
//! rows are numbered as they come, and where the newest stand is known in memory alone: it is read from
//! these rows when a file is opened, and when another process added some. Once they are many, all of them
//! enter the index together and in its order, so that a page takes many.
//!
//! Most holder keys are those that coins are sold for, and most of them never change: a key stands in the row
//! of the first coin that is sold for it, as if it had a row written once, until it is written again. Where
//! it has a row of its own, that row counts.

use std::collections::{HashMap, HashSet};

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::fields::Fields;
use super::statements::{Groups, Verb, sql_int};
use super::tables::{COIN, Cell, HOLDER, Name, Table, name_of};
use super::{BrokerStoreError, forms};
use crate::broker::rows::RowKey;

/// Rows whose places are known in memory alone, at most; a batch may go beyond.
pub(super) const NEWEST: usize = 32_768;
/// Most batches between two tries to write the index.
const LONGEST_PAUSE: u32 = 4096;
/// Bytes of a name in the index. A coin's name is a hash that the broker makes; a holder key is chosen by
/// whoever has it, so that many could begin alike.
fn indexed(table: &Table) -> usize {
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
pub(super) type Found = HashMap<RowKey, Place>;

/// The newest names of a table.
#[derive(Debug, Default)]
struct Newest {
    rows: HashMap<[u8; 32], i64>,
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
            self.coins.rows.retain(|_, row| *row > coin);
            let is_new = |place| match place {
                Place::Row(row) => row > holder,
                Place::Coin(row) => row > coin,
            };
            self.holders.rows.retain(|_, row| is_new(Place::at(*row)));
            (self.coins.placed, self.holders.placed) = (coin, holder);
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
        let (mut found, mut groups) = (Found::new(), Groups::default());
        let has_index = self.coins.placed.max(self.holders.placed) > 0;
        let keys: HashSet<&RowKey> = keys.collect();
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
                let short = bytes.iter().take(indexed(table)).copied().collect();
                groups.row(Verb::Place, table).push(Cell::Blob(short));
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
        for (table, name, row) in new.rows {
            let newest = self.newest(table);
            newest.rows.insert(name, row);
            newest.last = row;
        }
        for (key, coin) in new.in_coins {
            self.holders.stands_in(key, coin);
        }
    }

    /// Puts the newest rows into the index, if they are many. Where that failed, as on a full disk, twice
    /// as many batches pass before each further try: it takes longer than many of them.
    pub(super) async fn settle(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), BrokerStoreError> {
        if self.coins.rows.len().max(self.holders.rows.len()) < NEWEST {
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

    /// All of the newest rows enter the index.
    async fn place(&mut self, connection: &mut SqliteConnection) -> Result<(), BrokerStoreError> {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        self.refresh(&mut tx).await?;
        let bytes = indexed(&COIN);
        let coins = format!(
            "INSERT INTO coin_place (short, row) SELECT substr(id, 1, {bytes}), row FROM coin \
             WHERE row > $1 ORDER BY 1, 2"
        );
        let holders = format!(
            "INSERT INTO holder_place (short, row) SELECT {BOUGHT_FOR}, -row FROM coin \
             WHERE row > $1 AND {IS_WHOLE} UNION ALL \
             SELECT holder_key, row FROM holder WHERE row > $2 ORDER BY 1, 2"
        );
        let coins = sqlx::query(AssertSqlSafe(coins)).bind(self.coins.placed);
        coins.execute(&mut *tx).await?;
        let holders = sqlx::query(AssertSqlSafe(holders)).bind(self.coins.placed);
        let holders = holders.bind(self.holders.placed);
        holders.execute(&mut *tx).await?;
        let placed = sqlx::query("UPDATE placed SET coin = $1, holder = $2").bind(self.coins.last);
        placed.bind(self.holders.last).execute(&mut *tx).await?;
        tx.commit().await?;
        for newest in [&mut self.coins, &mut self.holders] {
            newest.rows.clear();
            newest.placed = newest.last;
        }
        Ok(())
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
mod tests {
    use std::path::Path;

    use super::*;
    use crate::broker::rows::{CoinRow, HolderRow, Row};
    use crate::coin::ids::HoldingId;
    use crate::coin::keys::PublicKey;
    use crate::store::broker::contract::{identity, sqlite, write};
    use crate::store::broker::{BrokerStore, SqliteBrokerStore, SqliteLimits};
    use crate::units::{Day, Units};

    const ME: PublicKey = PublicKey([1; 32]);

    /// Names that begin alike in fours, in no order.
    fn name(n: u32) -> [u8; 32] {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&(n / 4).wrapping_mul(0x9e37_79b1).to_be_bytes());
        name[28..].copy_from_slice(&n.to_be_bytes());
        name
    }

    fn coin(n: u32, credited: u64) -> Row {
        Row::Coin(CoinRow {
            id: HoldingId(name(n)),
            account: ME,
            value: Units(64),
            credited: Units(credited),
            contests: 0,
            settled: false,
            expires: Day(20),
            certificate: n.to_be_bytes().to_vec(),
        })
    }

    fn holder(n: u32, expires: u32) -> Row {
        Row::Holder(HolderRow {
            key: PublicKey(name(n)),
            account: ME,
            expires: Day(expires),
        })
    }

    async fn sell(store: &SqliteBrokerStore, from: u32, to: u32) {
        let rows = (from..to).flat_map(|n| [coin(n, 0), holder(n, 9)]);
        let changes: Vec<_> = rows.map(|row| write(0, row)).collect();
        store.apply(&changes).await.unwrap();
    }

    /// Some coins and holder keys are as they were sold, such a key cannot be sold again, and both can be changed.
    async fn change(store: &SqliteBrokerStore, names: &[u32], version: u64) {
        for n in names {
            let before = [coin(*n, version - 1), holder(*n, 8 + version as u32)];
            let after = [coin(*n, version), holder(*n, 9 + version as u32)];
            for (before, after) in before.into_iter().zip(after) {
                let rows = store.load(&[before.key()]).await.unwrap();
                let stored = rows.get(&before.key()).unwrap();
                assert_eq!(
                    (stored.version, stored.row.as_deref()),
                    (version, Some(&before)),
                    "{n}"
                );
                // A coin's id is drawn: nobody looks whether a new one is there.
                let is_drawn = matches!(after, Row::Coin(_));
                for wrong in [0, version + 1].into_iter().skip(usize::from(is_drawn)) {
                    let refused = store.apply(&[write(wrong, after.clone())]).await;
                    assert!(refused.is_err_and(|error| error.is_stale()), "{n}");
                }
                store.apply(&[write(version, after)]).await.unwrap();
            }
        }
    }

    async fn absent(store: &SqliteBrokerStore, n: u32) {
        let keys = [coin(n, 0).key(), holder(n, 0).key()];
        let rows = store.load(&keys).await.unwrap();
        assert!(keys.iter().all(|key| rows.get(key).unwrap().row.is_none()));
    }

    /// How many coins and holder keys the index has.
    async fn placed(dir: &Path) -> (i64, i64) {
        let url = format!("sqlite://{}", dir.join("broker.sqlite").display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let counts =
            "SELECT (SELECT COUNT(*) FROM coin_place), (SELECT COUNT(*) FROM holder_place)";
        let counts = sqlx::query_as(counts).fetch_one(&pool).await.unwrap();
        pool.close().await;
        counts
    }

    #[tokio::test]
    async fn an_index_that_has_no_room_is_tried_again_after_twice_as_many_writes_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.sqlite");
        let many = NEWEST as u32;
        let store = sqlite(dir.path()).await;
        sell(&store, 0, many - 1).await;
        store.close().await;
        let pages = std::fs::metadata(&path).unwrap().len() / 8192;
        let limits = SqliteLimits {
            max_pages: Some(u32::try_from(pages).unwrap() + 60),
        };
        let store = SqliteBrokerStore::open(&path, &identity(), limits)
            .await
            .unwrap();
        let mut tries = Vec::new();
        let mut before = 0;
        for n in 0..100 {
            sell(&store, many + n, many + n + 1).await;
            let pause = store.places.lock().await.pause;
            if pause != before {
                tries.push(n);
            }
            before = pause;
        }
        assert_eq!(tries, [0, 2, 5, 10, 19, 36, 69]);
        assert_eq!(placed(dir.path()).await, (0, 0));
        change(&store, &[0, many, many + 99], 1).await;
        store.close().await;
        let store = sqlite(dir.path()).await;
        sell(&store, many - 1, many).await;
        let all = i64::from(many) + 100;
        assert_eq!(placed(dir.path()).await, (all, all));
        assert_eq!(store.places.lock().await.pause, 0);
    }

    #[tokio::test]
    async fn rows_are_found_before_and_after_they_enter_the_index_and_by_other_processes() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (sqlite(dir.path()).await, sqlite(dir.path()).await);
        sell(&one, 0, 10).await;
        change(&other, &[0, 5, 9], 1).await;
        sell(&other, 10, 20).await;
        change(&one, &[0, 5], 2).await;
        change(&one, &[10, 19], 1).await;
        assert_eq!(placed(dir.path()).await, (0, 0));
        let many = 101 + NEWEST as u32;
        sell(&one, 101, many).await;
        let all = NEWEST as i64 + 20;
        assert_eq!(placed(dir.path()).await, (all, all));
        change(&other, &[0], 3).await;
        change(&other, &[1, 101, many - 1], 1).await;
        sell(&other, 20, 24).await;
        change(&one, &[20, 23], 1).await;
        // Its name begins as that of the next three.
        absent(&one, 100).await;
        absent(&other, 100).await;
        one.close().await;
        other.close().await;
        let again = sqlite(dir.path()).await;
        change(&again, &[2, 21, 102], 1).await;
        change(&again, &[0], 4).await;
        absent(&again, 100).await;
        sell(&again, 100, 101).await;
        change(&again, &[100], 1).await;
        assert_eq!(placed(dir.path()).await, (all, all));
    }
}
