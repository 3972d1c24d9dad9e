//! Where coins and holder keys stand.
//!
//! Their names are hashes and keys, so an index of them takes each new row on another page, and a commit
//! writes more bytes of such pages than of all else that was sold, the more the more was sold before. So
//! rows are numbered as they come, and where the newest stand is known in memory alone: it is read from
//! these rows when a file is opened, and when another process added some. Once they are many, all of them
//! enter the index together and in its order, so that a page takes many.

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

/// Rows by their names.
pub(super) type Found = HashMap<RowKey, i64>;

/// The newest rows of a table.
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
        for (table, placed, last) in [
            (&COIN, "coin", "last_coin"),
            (&HOLDER, "holder", "last_holder"),
        ] {
            let (placed, last) = (sql_int(fields.int(placed)?), sql_int(fields.int(last)?));
            let newest = self.newest(table);
            if placed != newest.placed {
                newest.rows.retain(|_, row| *row > placed);
                newest.placed = placed;
            }
            let known = newest.last.max(placed);
            if last > known {
                newest.read(connection, table, known).await?;
            }
            newest.last = last;
        }
        Ok(())
    }

    /// The rows with these names; those of other tables have none.
    pub(super) async fn find(
        &self,
        connection: &mut SqliteConnection,
        keys: impl Iterator<Item = &RowKey>,
    ) -> Result<Found, BrokerStoreError> {
        let (mut found, mut groups) = (Found::new(), Groups::default());
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
            if let Some(row) = newest.rows.get(bytes) {
                found.insert(key.clone(), *row);
            } else if newest.placed > 0 {
                let short = bytes.iter().take(indexed(table)).copied().collect();
                groups.row(Verb::Place, table).push(Cell::Blob(short));
            }
        }
        for part in groups.parts()? {
            let table = part.table();
            for row in part.query().fetch_all(&mut *connection).await? {
                let fields = Fields::new(table.name, &row);
                found.insert(fields.key()?, sql_int(fields.int("row")?));
            }
        }
        Ok(found)
    }

    /// Where rows will stand that are added in a transaction that was refreshed.
    pub(super) fn next(&self) -> NewRows {
        NewRows {
            last_coin: self.coins.last,
            last_holder: self.holders.last,
            names: Vec::new(),
        }
    }

    /// These rows are durable.
    pub(super) fn add(&mut self, new: NewRows) {
        for (table, name, row) in new.names {
            let newest = self.newest(table);
            newest.rows.insert(name, row);
            newest.last = row;
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
        for (table, newest) in [(&COIN, &self.coins), (&HOLDER, &self.holders)] {
            let (name, column) = (table.name, table.name_column.unwrap_or_default());
            let bytes = indexed(table);
            let into = format!(
                "INSERT INTO {name}_place (short, row) SELECT substr({column}, 1, {bytes}), row \
                 FROM {name} WHERE row > $1 ORDER BY 1, 2"
            );
            let placed = format!("UPDATE placed SET {name} = $1");
            for (sql, row) in [(into, newest.placed), (placed, newest.last)] {
                let query = sqlx::query(AssertSqlSafe(sql)).bind(row);
                query.execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        for newest in [&mut self.coins, &mut self.holders] {
            newest.rows.clear();
            newest.placed = newest.last;
        }
        Ok(())
    }
}

impl Newest {
    /// Adds the rows after this one.
    async fn read(
        &mut self,
        connection: &mut SqliteConnection,
        table: &'static Table,
        after: i64,
    ) -> Result<(), BrokerStoreError> {
        let (name, column) = (table.name, table.name_column.unwrap_or_default());
        let sql = format!("SELECT row, {column} FROM {name} WHERE row > $1");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(after);
        for row in query.fetch_all(connection).await? {
            let fields = Fields::new(name, &row);
            let number = sql_int(fields.int("row")?);
            self.rows.insert(fields.bytes(column)?, number);
        }
        Ok(())
    }
}

/// Rows that are added in a transaction.
#[derive(Debug)]
pub(super) struct NewRows {
    last_coin: i64,
    last_holder: i64,
    names: Vec<(&'static Table, [u8; 32], i64)>,
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
        self.names.push((table, *bytes, *last));
        *last
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

    /// Some coins and holder keys are as they were sold, cannot be sold again, and can be changed.
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
                for wrong in [0, version + 1] {
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
