//! The broker's rows on disk: one trait, in memory and SQLite, one contract suite for both.
//!
//! A store knows nothing of money. It loads rows with their versions and applies changes, all or
//! none, if every version is still what the change was decided on (`broker::change`).

mod accounts;
mod entering;
mod fields;
mod forms;
mod home;
mod journal;
mod log;
mod memory;
mod outcome;
mod packed;
mod places;
mod sqlite;
mod statements;
mod tables;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_cases;
#[cfg(test)]
mod contract_keys;

use async_trait::async_trait;
use thiserror::Error;

pub use home::{BrokerHome, HomeError};
pub use memory::MemoryBrokerStore;
pub use sqlite::{SqliteBrokerStore, SqliteLimits};

use crate::broker::audit::Auditor;
use crate::broker::cases::ContestRow;
use crate::broker::change::{Change, Stale};
use crate::broker::recover::{Cursor, Found};
use crate::broker::rows::{CoinRow, HolderRow, HoldingRow, RowKey, Rows, SpentRow, WithdrawalRow};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::{Day, UnixMs};

/// Why the store did not do it. Nothing was changed then.
#[derive(Debug, Error)]
pub enum BrokerStoreError {
    /// A row changed meanwhile: load and decide again.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// As before, but the row is again as it was expected: load and decide again.
    #[error("a row changed twice while a change was applied")]
    Changed,
    /// The disk, or the size set for the database, is full.
    #[error("the broker's store is full; free some disk space, nothing was lost")]
    Full,
    /// The database does not answer.
    #[error("the broker's store failed: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the broker's store could not be prepared: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The file was made by an earlier version.
    #[error(
        "this database was made by an earlier DPay, whose books have another form: settle its accounts \
         with that version, then choose another --home"
    )]
    Older,
    /// Another program brought the file to a later form while this one had it open.
    #[error(
        "this database was brought to a later form while this program had it open: nothing more is written \
         by this one; start the version that did so"
    )]
    Later,
    /// A row holds what this program never writes.
    #[error(
        "table {table}, column {column}: not a value that this program wrote; restore a backup"
    )]
    Damaged {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The database is of another broker or currency.
    #[error("this database is of {what} {found:?}, not {wanted:?}: choose another --home")]
    Foreign {
        /// Broker key, currency or its unit.
        what: &'static str,
        /// In the database.
        found: String,
        /// Asked for.
        wanted: String,
    },
}

impl BrokerStoreError {
    /// Whether to load and decide again.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, BrokerStoreError::Stale(_) | BrokerStoreError::Changed)
    }
}

impl From<sqlx::Error> for BrokerStoreError {
    /// Tells a full disk (SQLite's code 13, whatever its extended part) from other failures.
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(inner) => inner.code().and_then(|c| c.parse::<i32>().ok()),
            _ => None,
        };
        if code.is_some_and(|c| c & 0xff == 13) {
            BrokerStoreError::Full
        } else {
            BrokerStoreError::Unavailable(error)
        }
    }
}

/// What a database must be about; set when it is made, compared ever after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The broker's key.
    pub broker: PublicKey,
    /// Its currency and units per credit; `None`: whatever the database says.
    pub currency: Option<(String, u64)>,
}

/// Where a broker keeps its rows.
#[async_trait]
pub trait BrokerStore: Send + Sync {
    /// The rows with these keys; absent ones with version 0.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load(&self, keys: &[RowKey]) -> Result<Rows, BrokerStoreError>;

    /// Applies all changes in order and makes them durable, or none.
    ///
    /// # Errors
    /// [`BrokerStoreError::is_stale`] if a row is not what a change was decided on,
    /// [`BrokerStoreError::Full`] if there is no room.
    async fn apply(&self, changes: &[Change]) -> Result<(), BrokerStoreError>;

    /// At most `limit` credits of an account, or of all, that are pending although their hold is over;
    /// those whose hold ended first come first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn ripe_credits(
        &self,
        account: Option<&PublicKey>,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<HoldingId>, BrokerStoreError>;

    /// At most `limit` contested slots that are due to be read, those due first before others.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn due_contests(
        &self,
        now: UnixMs,
        limit: u32,
    ) -> Result<Vec<ContestRow>, BrokerStoreError>;

    /// At most `limit` coins that are not settled and expired before a day, after this one; those that
    /// expired first come first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn unsettled_coins(
        &self,
        expired_before: Day,
        after: Option<(Day, HoldingId)>,
        limit: u32,
    ) -> Result<Vec<(Day, HoldingId)>, BrokerStoreError>;

    /// At most `limit` suspended accounts whose coins are not on the spent list yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn unlisted_accounts(&self, limit: u32) -> Result<Vec<PublicKey>, BrokerStoreError>;

    /// At most `limit` holder keys of an account, ascending, after this one.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn holders_of(
        &self,
        account: &PublicKey,
        after: Option<PublicKey>,
        limit: u32,
    ) -> Result<Vec<HolderRow>, BrokerStoreError>;

    /// At most `limit` coins that an account bought, that are not settled, and about which nothing was
    /// presented, after this one, in whatever order the store has them.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn whole_coins_of(
        &self,
        account: &PublicKey,
        after: Option<HoldingId>,
        limit: u32,
    ) -> Result<Vec<CoinRow>, BrokerStoreError>;

    /// At most `limit` known holdings under an account's holder keys, or spent to one of them, by id,
    /// after this one.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn holdings_of(
        &self,
        account: &PublicKey,
        after: Option<HoldingId>,
        limit: u32,
    ) -> Result<Vec<HoldingRow>, BrokerStoreError>;

    /// How many entries the spent list got in each hour since `from_hour` (unix seconds / 3600), ascending.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn spent_hours(&self, from_hour: u32) -> Result<Vec<(u32, u32)>, BrokerStoreError>;

    /// The spent list's entries of one hour, in order, `take` of them after the first `skip`. An entry of a slot
    /// replaces those before it.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn spent_in(
        &self,
        hour: u32,
        skip: u32,
        take: u32,
    ) -> Result<Vec<SpentRow>, BrokerStoreError>;

    /// Holder keys of suspended accounts.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn suspended_keys(&self) -> Result<Vec<PublicKey>, BrokerStoreError>;

    /// Withdrawals, oldest first; only those not paid out unless `all`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn withdrawals(&self, all: bool) -> Result<Vec<WithdrawalRow>, BrokerStoreError>;

    /// Shows journal and rows to an auditor, as of one moment.
    ///
    /// # Errors
    /// When the store cannot be read, or a row is damaged.
    async fn audit(&self, auditor: &mut Auditor) -> Result<(), BrokerStoreError>;
}

/// One page of what is known of an account: its keys, then its whole coins, then its holdings.
///
/// # Errors
/// When the store cannot be read.
pub async fn page_of(
    store: &dyn BrokerStore,
    account: &PublicKey,
    from: Cursor,
    limit: u32,
) -> Result<Found, BrokerStoreError> {
    let mut found = Found::default();
    let (mut cursor, mut room) = (from, limit);
    loop {
        let (got, last, then) = match cursor {
            Cursor::Keys(after) => {
                found.keys = store.holders_of(account, after, room).await?;
                let last = found.keys.last().map(|row| Cursor::Keys(Some(row.key)));
                (found.keys.len(), last, Some(Cursor::Coins(None)))
            }
            Cursor::Coins(after) => {
                found.coins = store.whole_coins_of(account, after, room).await?;
                let last = found.coins.last().map(|row| Cursor::Coins(Some(row.id)));
                (found.coins.len(), last, Some(Cursor::Holdings(None)))
            }
            Cursor::Holdings(after) => {
                // One row may show three holdings: itself and both shares.
                room = room.div_ceil(3);
                found.holdings = store.holdings_of(account, after, room).await?;
                let last = found.holdings.last();
                let last = last.map(|row| Cursor::Holdings(Some(row.id)));
                (found.holdings.len(), last, None)
            }
        };
        let got = u32::try_from(got).unwrap_or(u32::MAX);
        if got >= room {
            found.next = last;
            return Ok(found);
        }
        room = room.saturating_sub(got);
        match then {
            Some(next) => cursor = next,
            None => return Ok(found),
        }
    }
}
