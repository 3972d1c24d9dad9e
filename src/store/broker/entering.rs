//! Names on their way into the index.
//!
//! They enter in its order, so that a page takes many, but not in one go: that would take as long as several
//! commits, and everybody waits for it while the cores have nothing to do. So some of them enter after each
//! batch of changes. Until the last one has, all are known in memory too, and all may enter again.

use sqlx::SqliteConnection;

use super::BrokerStoreError;
use super::packed::number;
use super::places::indexed;
use super::statements::{Groups, Verb};
use super::tables::{COIN, HOLDER, Table};
use crate::broker::rows::FastMap;

/// Names that enter after a batch: more than most batches add. After larger ones twice as many enter.
pub(super) const SLICE: usize = 1024;

/// Names in the order of the index, and how far they are.
#[derive(Debug)]
pub(super) struct Entering {
    names: Vec<(&'static Table, [u8; 32], i64)>,
    next: usize,
    /// The last coin's and the last holder key's row among them.
    pub(super) last: (i64, i64),
}

impl Entering {
    /// All of these.
    pub(super) fn of(
        coins: &FastMap<[u8; 32], i64>,
        holders: &FastMap<[u8; 32], i64>,
        last: (i64, i64),
    ) -> Entering {
        let mut names = Vec::with_capacity(coins.len().saturating_add(holders.len()));
        for (table, rows) in [(&COIN, coins), (&HOLDER, holders)] {
            let begin = names.len();
            names.extend(rows.iter().map(|(name, row)| (table, *name, *row)));
            names[begin..].sort_unstable_by_key(|(_, name, _)| *name);
        }
        Entering {
            names,
            next: 0,
            last,
        }
    }

    /// Some enter, after a batch that added so many others; says whether these were the last ones, which the
    /// file knows then.
    pub(super) async fn some(
        &mut self,
        connection: &mut SqliteConnection,
        added: usize,
    ) -> Result<bool, BrokerStoreError> {
        let count = SLICE.max(added.saturating_mul(2));
        let until = self.next.saturating_add(count).min(self.names.len());
        let mut groups = Groups::default();
        for (table, name, row) in &self.names[self.next..until] {
            let packed = groups.packed(Verb::Index, table);
            packed.extend(name.iter().take(indexed(table)));
            number(*row, packed);
        }
        for part in groups.parts()? {
            part.query().execute(&mut *connection).await?;
        }
        self.next = until;
        if until < self.names.len() {
            return Ok(false);
        }
        let placed = sqlx::query("UPDATE placed SET coin = $1, holder = $2");
        let placed = placed.bind(self.last.0).bind(self.last.1);
        placed.execute(connection).await?;
        Ok(true)
    }
}
