//! Rows to columns and back, the same for every SQL backend.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::BrokerStoreError;
use crate::broker::rows::{
    AccountRow, CoinRow, ConflictRow, CreditRow, DepositRow, HolderRow, HoldingRow, HoldingState,
    RequestRow, Row, RowKey, SpentRow, WithdrawalRow,
};
use crate::broker::{BodyHash, RequestId, WithdrawalId};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::Slot;
use crate::units::{Day, Units, UnixMs};

/// A column's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Int(i64),
    Blob(Vec<u8>),
    Text(String),
    NoInt,
    NoBlob,
}

/// A table: its key columns come first, then `version`, then the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) key: &'static [&'static str],
    pub(super) rest: &'static [&'static str],
}

pub(super) static ACCOUNT: Table = Table {
    name: "account",
    key: &["id"],
    rest: &[
        "balance",
        "pending",
        "bond",
        "outstanding",
        "suspended",
        "last_redeemed",
    ],
};
pub(super) static HOLDER: Table = Table {
    name: "holder",
    key: &["holder_key"],
    rest: &["account", "expires_day"],
};
pub(super) static COIN: Table = Table {
    name: "coin",
    key: &["id"],
    rest: &["account", "value", "credited", "expires_day", "certificate"],
};
pub(super) static HOLDING: Table = Table {
    name: "holding",
    key: &["id"],
    rest: &[
        "coin",
        "value",
        "holder_key",
        "certificate",
        "since",
        "conflicts",
        "state",
        "c",
        "statement",
        "close_c",
        "close_part",
        "k",
        "closed",
        "account",
    ],
};
pub(super) static CREDIT: Table = Table {
    name: "credit",
    key: &["holding"],
    rest: &["coin", "account", "units", "pending_until", "paid"],
};
pub(super) static CONFLICT: Table = Table {
    name: "conflict",
    key: &["holding", "c"],
    rest: &["presenter", "at", "evidence"],
};
pub(super) static SPENT: Table = Table {
    name: "spent",
    key: &["slot"],
    rest: &["c", "at"],
};
pub(super) static DEPOSIT: Table = Table {
    name: "deposit",
    key: &["reference"],
    rest: &["account", "units", "at"],
};
pub(super) static WITHDRAWAL: Table = Table {
    name: "withdrawal",
    key: &["id"],
    rest: &["account", "units", "destination", "requested", "paid"],
};
pub(super) static REQUEST: Table = Table {
    name: "request",
    key: &["account", "id"],
    rest: &["body", "answer", "at"],
};

fn blob(bytes: impl AsRef<[u8]>) -> Cell {
    Cell::Blob(bytes.as_ref().to_vec())
}

/// Amounts and times stay far below 2^63 (`terms::MAX_TRANSFER`); one that does not is refused by
/// the columns' checks, as -1.
fn int(number: u64) -> Cell {
    Cell::Int(i64::try_from(number).unwrap_or(-1))
}

/// Table and key columns of a key.
pub(super) fn key_cells(key: &RowKey) -> (&'static Table, Vec<Cell>) {
    match key {
        RowKey::Account(id) => (&ACCOUNT, vec![blob(id.0)]),
        RowKey::Holder(key) => (&HOLDER, vec![blob(key.0)]),
        RowKey::Coin(id) => (&COIN, vec![blob(id.0)]),
        RowKey::Holding(id) => (&HOLDING, vec![blob(id.0)]),
        RowKey::Credit(id) => (&CREDIT, vec![blob(id.0)]),
        RowKey::Conflict(id, c) => (&CONFLICT, vec![blob(id.0), blob(c.0)]),
        RowKey::Spent(slot) => (&SPENT, vec![blob(slot.0)]),
        RowKey::Deposit(reference) => (&DEPOSIT, vec![Cell::Text(reference.clone())]),
        RowKey::Withdrawal(id) => (&WITHDRAWAL, vec![blob(id.0)]),
        RowKey::Request(account, id) => (&REQUEST, vec![blob(account.0), blob(id.0)]),
    }
}

/// The columns after the key and the version.
pub(super) fn rest_cells(row: &Row) -> Vec<Cell> {
    match row {
        Row::Account(r) => vec![
            int(r.balance.0),
            int(r.pending.0),
            int(r.bond.0),
            int(r.outstanding.0),
            int(u64::from(r.suspended)),
            int(r.last_redeemed.0),
        ],
        Row::Holder(r) => vec![blob(r.account.0), int(u64::from(r.expires.0))],
        Row::Coin(r) => vec![
            blob(r.account.0),
            int(r.value.0),
            int(r.credited.0),
            int(u64::from(r.expires.0)),
            blob(&r.certificate),
        ],
        Row::Holding(r) => holding_cells(r),
        Row::Credit(r) => vec![
            blob(r.coin.0),
            blob(r.account.0),
            int(r.units.0),
            int(r.pending_until.0),
            int(u64::from(r.paid)),
        ],
        Row::Conflict(r) => vec![blob(r.presenter.0), int(r.at.0), blob(&r.evidence)],
        Row::Spent(r) => vec![blob(r.c.0), int(r.at.0)],
        Row::Deposit(r) => vec![blob(r.account.0), int(r.units.0), int(r.at.0)],
        Row::Withdrawal(r) => vec![
            blob(r.account.0),
            int(r.units.0),
            Cell::Text(r.destination.clone()),
            int(r.requested.0),
            r.paid.map_or(Cell::NoInt, |at| int(at.0)),
        ],
        Row::Request(r) => vec![blob(r.body.0), blob(&r.answer), int(r.at.0)],
    }
}

fn holding_cells(r: &HoldingRow) -> Vec<Cell> {
    let mut cells = vec![
        blob(r.coin.0),
        int(r.value.0),
        blob(r.key.0),
        blob(&r.certificate),
        int(r.since.0),
        int(u64::from(r.conflicts)),
    ];
    let state = |name: &str, c: &Commitment, statement: &[u8]| {
        [Cell::Text(name.to_owned()), blob(c.0), blob(statement)]
    };
    let open = [Cell::NoBlob, Cell::NoBlob, Cell::NoInt, Cell::NoInt];
    match &r.state {
        HoldingState::Fixed { c, spend } => {
            cells.extend(state("fixed", c, spend));
            cells.extend(open);
            cells.push(Cell::NoBlob);
        }
        HoldingState::Split {
            c,
            spend,
            close_c,
            close,
            k,
            closed,
        } => {
            cells.extend(state("split", c, spend));
            let k = int(u64::from(*k));
            cells.extend([blob(close_c.0), blob(close), k, int(closed.0), Cell::NoBlob]);
        }
        HoldingState::Redeemed { c, redeem, account } => {
            cells.extend(state("redeemed", c, redeem));
            cells.extend(open);
            cells.push(blob(account.0));
        }
    }
    cells
}

/// Reads typed columns of one row of a table.
pub(super) struct Fields<'r> {
    table: &'static str,
    row: &'r SqliteRow,
}

impl<'r> Fields<'r> {
    pub(super) fn new(table: &'static str, row: &'r SqliteRow) -> Self {
        Fields { table, row }
    }

    fn damaged(&self, column: &'static str) -> BrokerStoreError {
        BrokerStoreError::Damaged {
            table: self.table,
            column,
        }
    }

    pub(super) fn int(&self, column: &'static str) -> Result<u64, BrokerStoreError> {
        self.maybe_int(column)?.ok_or_else(|| self.damaged(column))
    }

    fn maybe_int(&self, column: &'static str) -> Result<Option<u64>, BrokerStoreError> {
        let number: Option<i64> = self.row.try_get(column)?;
        number
            .map(|n| u64::try_from(n).map_err(|_| self.damaged(column)))
            .transpose()
    }

    pub(super) fn small(&self, column: &'static str) -> Result<u32, BrokerStoreError> {
        u32::try_from(self.int(column)?).map_err(|_| self.damaged(column))
    }

    pub(super) fn units(&self, column: &'static str) -> Result<Units, BrokerStoreError> {
        self.int(column).map(Units)
    }

    pub(super) fn time(&self, column: &'static str) -> Result<UnixMs, BrokerStoreError> {
        self.int(column).map(UnixMs)
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, BrokerStoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn blob(&self, column: &'static str) -> Result<Vec<u8>, BrokerStoreError> {
        let bytes: Option<Vec<u8>> = self.row.try_get(column)?;
        bytes.ok_or_else(|| self.damaged(column))
    }

    pub(super) fn bytes<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<[u8; N], BrokerStoreError> {
        self.maybe_bytes(column)?
            .ok_or_else(|| self.damaged(column))
    }

    pub(super) fn maybe_bytes<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, BrokerStoreError> {
        let bytes: Option<Vec<u8>> = self.row.try_get(column)?;
        bytes
            .map(|b| b.try_into().map_err(|_| self.damaged(column)))
            .transpose()
    }

    /// The row of this table.
    pub(super) fn row(&self) -> Result<Row, BrokerStoreError> {
        Ok(match self.table {
            "account" => Row::Account(self.account()?),
            "holder" => Row::Holder(HolderRow {
                key: PublicKey(self.bytes("holder_key")?),
                account: PublicKey(self.bytes("account")?),
                expires: Day(self.small("expires_day")?),
            }),
            "coin" => Row::Coin(CoinRow {
                id: HoldingId(self.bytes("id")?),
                account: PublicKey(self.bytes("account")?),
                value: self.units("value")?,
                credited: self.units("credited")?,
                expires: Day(self.small("expires_day")?),
                certificate: self.blob("certificate")?,
            }),
            "holding" => Row::Holding(self.holding()?),
            "credit" => Row::Credit(CreditRow {
                holding: HoldingId(self.bytes("holding")?),
                coin: HoldingId(self.bytes("coin")?),
                account: PublicKey(self.bytes("account")?),
                units: self.units("units")?,
                pending_until: self.time("pending_until")?,
                paid: self.int("paid")? != 0,
            }),
            "conflict" => Row::Conflict(ConflictRow {
                holding: HoldingId(self.bytes("holding")?),
                c: Commitment(self.bytes("c")?),
                presenter: PublicKey(self.bytes("presenter")?),
                at: self.time("at")?,
                evidence: self.blob("evidence")?,
            }),
            "spent" => Row::Spent(SpentRow {
                slot: Slot(self.bytes("slot")?),
                c: Commitment(self.bytes("c")?),
                at: self.time("at")?,
            }),
            "deposit" => Row::Deposit(DepositRow {
                reference: self.text("reference")?,
                account: PublicKey(self.bytes("account")?),
                units: self.units("units")?,
                at: self.time("at")?,
            }),
            "withdrawal" => Row::Withdrawal(WithdrawalRow {
                id: WithdrawalId(self.bytes("id")?),
                account: PublicKey(self.bytes("account")?),
                units: self.units("units")?,
                destination: self.text("destination")?,
                requested: self.time("requested")?,
                paid: self.maybe_int("paid")?.map(UnixMs),
            }),
            "request" => Row::Request(RequestRow {
                account: PublicKey(self.bytes("account")?),
                id: RequestId(self.bytes("id")?),
                body: BodyHash(self.bytes("body")?),
                answer: self.blob("answer")?,
                at: self.time("at")?,
            }),
            _ => return Err(self.damaged("version")),
        })
    }

    fn account(&self) -> Result<AccountRow, BrokerStoreError> {
        Ok(AccountRow {
            id: PublicKey(self.bytes("id")?),
            balance: self.units("balance")?,
            pending: self.units("pending")?,
            bond: self.units("bond")?,
            outstanding: self.units("outstanding")?,
            suspended: self.int("suspended")? != 0,
            last_redeemed: self.time("last_redeemed")?,
        })
    }

    fn holding(&self) -> Result<HoldingRow, BrokerStoreError> {
        let c = Commitment(self.bytes("c")?);
        let statement = self.blob("statement")?;
        let state = match self.text("state")?.as_str() {
            "fixed" => HoldingState::Fixed {
                c,
                spend: statement,
            },
            "split" => HoldingState::Split {
                c,
                spend: statement,
                close_c: Commitment(self.bytes("close_c")?),
                close: self.blob("close_part")?,
                k: self.small("k")?,
                closed: self.time("closed")?,
            },
            "redeemed" => HoldingState::Redeemed {
                c,
                redeem: statement,
                account: PublicKey(self.bytes("account")?),
            },
            _ => return Err(self.damaged("state")),
        };
        Ok(HoldingRow {
            id: HoldingId(self.bytes("id")?),
            coin: HoldingId(self.bytes("coin")?),
            value: self.units("value")?,
            key: PublicKey(self.bytes("holder_key")?),
            certificate: self.blob("certificate")?,
            since: self.time("since")?,
            conflicts: self.small("conflicts")?,
            state,
        })
    }
}
