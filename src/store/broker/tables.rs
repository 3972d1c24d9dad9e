//! Rows to columns, the same for every SQL backend.

use crate::broker::answer::CreditState;
use crate::broker::rows::{HoldingRow, HoldingState, Row, RowKey};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;

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
    /// Where the key is a row's number: the column of the name that the row is asked for by (`places`).
    pub(super) name_column: Option<&'static str>,
    pub(super) rest: &'static [&'static str],
}

pub(super) static ACCOUNT: Table = Table {
    name: "account",
    key: &["id"],
    name_column: None,
    rest: &[
        "balance",
        "pending",
        "bond",
        "outstanding",
        "suspended",
        "withheld",
        "last_redeemed",
        "contests",
        "owed",
        "losses",
        "losses_paid",
        "notices",
        "signed_after",
    ],
};
pub(super) static HOLDER: Table = Table {
    name: "holder",
    key: &["row"],
    name_column: Some("holder_key"),
    rest: &["holder_key", "account", "expires_day"],
};
pub(super) static COIN: Table = Table {
    name: "coin",
    key: &["row"],
    name_column: Some("id"),
    rest: &[
        "id",
        "account",
        "value",
        "credited",
        "contests",
        "settled",
        "expires_day",
        "certificate",
    ],
};
pub(super) static HOLDING: Table = Table {
    name: "holding",
    key: &["id"],
    name_column: None,
    rest: &[
        "coin",
        "parent",
        "value",
        "holder_key",
        "payee_key",
        "certificate",
        "since",
        "contested",
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
    name_column: None,
    rest: &["coin", "account", "units", "pending_until", "state"],
};
pub(super) static CONTEST: Table = Table {
    name: "contest",
    key: &["slot"],
    name_column: None,
    rest: &[
        "holding", "coin", "signer", "offender", "late", "opened", "evidence", "due", "is_open",
        "state",
    ],
};
pub(super) static EVIDENCE: Table = Table {
    name: "evidence",
    key: &["slot", "number"],
    name_column: None,
    rest: &["c", "presenter", "at", "bytes"],
};
pub(super) static PROOF: Table = Table {
    name: "proof",
    key: &["signer", "salt"],
    name_column: None,
    rest: &["at", "proof"],
};
pub(super) static LOSS: Table = Table {
    name: "loss",
    key: &["offender", "number"],
    name_column: None,
    rest: &["loser", "holding", "units", "paid"],
};
pub(super) static NOTICE: Table = Table {
    name: "notice",
    key: &["account", "number"],
    name_column: None,
    rest: &["at", "what"],
};
pub(super) static SPENT: Table = Table {
    name: "spent",
    key: &["slot"],
    name_column: None,
    rest: &["c", "at"],
};
pub(super) static DEPOSIT: Table = Table {
    name: "deposit",
    key: &["reference"],
    name_column: None,
    rest: &["account", "units", "at"],
};
pub(super) static WITHDRAWAL: Table = Table {
    name: "withdrawal",
    key: &["id"],
    name_column: None,
    rest: &["account", "units", "destination", "requested", "paid"],
};
pub(super) static REQUEST: Table = Table {
    name: "request",
    key: &["account", "id"],
    name_column: None,
    rest: &["body", "answer", "at"],
};

/// Written line by line and never changed: no key, no version.
pub(super) static JOURNAL: Table = Table {
    name: "journal",
    key: &[],
    name_column: None,
    rest: &[
        "at",
        "from_ledger",
        "from_account",
        "to_ledger",
        "to_account",
        "units",
        "reference",
    ],
};

fn blob(bytes: impl AsRef<[u8]>) -> Cell {
    Cell::Blob(bytes.as_ref().to_vec())
}

/// Amounts and times stay far below 2^63 (`terms::MAX_TRANSFER`); one that does not is refused by
/// the columns' checks, as -1.
fn int(number: u64) -> Cell {
    Cell::Int(i64::try_from(number).unwrap_or(-1))
}

fn maybe_int(number: Option<u64>) -> Cell {
    number.map_or(Cell::NoInt, int)
}

fn maybe_blob(bytes: Option<[u8; 32]>) -> Cell {
    bytes.map_or(Cell::NoBlob, blob)
}

/// As JSON; what cannot be written is refused by the columns, which take no null.
fn json(value: &impl serde::Serialize) -> Cell {
    serde_json::to_string(value).map_or(Cell::NoBlob, Cell::Text)
}

fn credit_state(state: CreditState) -> &'static str {
    match state {
        CreditState::Pending => "pending",
        CreditState::Paid => "paid",
        CreditState::Cancelled => "cancelled",
        CreditState::Settled => "settled",
    }
}

/// The table of a key.
pub(super) fn table_of(key: &RowKey) -> &'static Table {
    match key {
        RowKey::Account(_) => &ACCOUNT,
        RowKey::Holder(_) => &HOLDER,
        RowKey::Coin(_) => &COIN,
        RowKey::Holding(_) => &HOLDING,
        RowKey::Credit(_) => &CREDIT,
        RowKey::Contest(_) => &CONTEST,
        RowKey::Evidence(..) => &EVIDENCE,
        RowKey::Proof(..) => &PROOF,
        RowKey::Loss(..) => &LOSS,
        RowKey::Notice(..) => &NOTICE,
        RowKey::Spent(_) => &SPENT,
        RowKey::Deposit(_) => &DEPOSIT,
        RowKey::Withdrawal(_) => &WITHDRAWAL,
        RowKey::Request(..) => &REQUEST,
    }
}

/// The name of a row whose key is its number.
pub(super) struct Name<'k> {
    pub(super) table: &'static Table,
    pub(super) bytes: &'k [u8; 32],
}

/// Of a row in such a table.
pub(super) fn name_of(key: &RowKey) -> Option<Name<'_>> {
    let table = table_of(key);
    match key {
        RowKey::Holder(PublicKey(bytes)) | RowKey::Coin(HoldingId(bytes)) => {
            Some(Name { table, bytes })
        }
        _ => None,
    }
}

/// The key's columns: the row's number, where it stands by one.
pub(super) fn key_cells(key: &RowKey, row: Option<i64>, cells: &mut Vec<Cell>) {
    match key {
        RowKey::Account(id) => cells.extend([blob(id.0)]),
        RowKey::Holder(_) | RowKey::Coin(_) => cells.extend(row.map(Cell::Int)),
        RowKey::Holding(id) => cells.extend([blob(id.0)]),
        RowKey::Credit(id) => cells.extend([blob(id.0)]),
        RowKey::Contest(slot) => cells.extend([blob(slot.0)]),
        RowKey::Evidence(slot, n) => cells.extend([blob(slot.0), int(u64::from(*n))]),
        RowKey::Proof(key, salt) => cells.extend([blob(key.0), blob(salt.0)]),
        RowKey::Loss(offender, n) => cells.extend([blob(offender.0), int(*n)]),
        RowKey::Notice(account, n) => cells.extend([blob(account.0), int(*n)]),
        RowKey::Spent(slot) => cells.extend([blob(slot.0)]),
        RowKey::Deposit(reference) => cells.extend([Cell::Text(reference.clone())]),
        RowKey::Withdrawal(id) => cells.extend([blob(id.0)]),
        RowKey::Request(account, id) => cells.extend([blob(account.0), blob(id.0)]),
    }
}

/// The columns after the key and the version.
pub(super) fn rest_cells(row: &Row, cells: &mut Vec<Cell>) {
    match row {
        Row::Account(r) => cells.extend([
            int(r.balance.0),
            int(r.pending.0),
            int(r.bond.0),
            int(r.outstanding.0),
            maybe_int(r.suspended.map(|at| at.0)),
            int(u64::from(r.withheld)),
            int(r.last_redeemed.0),
            int(u64::from(r.contests)),
            int(r.owed.0),
            int(r.losses),
            int(r.losses_paid),
            int(r.notices),
            int(r.signed_after.0),
        ]),
        Row::Holder(r) => cells.extend([
            blob(r.key.0),
            blob(r.account.0),
            int(u64::from(r.expires.0)),
        ]),
        Row::Coin(r) => cells.extend([
            blob(r.id.0),
            blob(r.account.0),
            int(r.value.0),
            int(r.credited.0),
            int(u64::from(r.contests)),
            int(u64::from(r.settled)),
            int(u64::from(r.expires.0)),
            blob(&r.certificate),
        ]),
        Row::Holding(r) => holding_cells(r, cells),
        Row::Credit(r) => cells.extend([
            blob(r.coin.0),
            blob(r.account.0),
            int(r.units.0),
            int(r.pending_until.0),
            Cell::Text(credit_state(r.state).to_owned()),
        ]),
        Row::Contest(r) => cells.extend([
            blob(r.holding.0),
            blob(r.coin.0),
            blob(r.signer.0),
            blob(r.offender.0),
            int(u64::from(r.late)),
            int(r.opened.0),
            int(u64::from(r.evidence)),
            int(r.due.0),
            int(u64::from(r.is_open())),
            json(&r.state),
        ]),
        Row::Evidence(r) => cells.extend([
            maybe_blob(r.c.map(|c| c.0)),
            blob(r.presenter.0),
            int(r.at.0),
            blob(&r.bytes),
        ]),
        Row::Proof(r) => cells.extend([int(r.at.0), blob(&r.proof)]),
        Row::Loss(r) => cells.extend([
            blob(r.loser.0),
            blob(r.holding.0),
            int(r.units.0),
            int(r.paid.0),
        ]),
        Row::Notice(r) => cells.extend([int(r.at.0), json(&r.what)]),
        Row::Spent(r) => cells.extend([blob(r.c.0), int(r.at.0)]),
        Row::Deposit(r) => cells.extend([blob(r.account.0), int(r.units.0), int(r.at.0)]),
        Row::Withdrawal(r) => cells.extend([
            blob(r.account.0),
            int(r.units.0),
            Cell::Text(r.destination.clone()),
            int(r.requested.0),
            maybe_int(r.paid.map(|at| at.0)),
        ]),
        Row::Request(r) => cells.extend([blob(r.body.0), blob(&r.answer), int(r.at.0)]),
    }
}

fn holding_cells(r: &HoldingRow, cells: &mut Vec<Cell>) {
    cells.extend([
        blob(r.coin.0),
        maybe_blob(r.parent.map(|id| id.0)),
        int(r.value.0),
        blob(r.key.0),
        maybe_blob(r.payee().map(|key| key.0)),
        blob(&r.certificate),
        int(r.since.0),
        maybe_blob(r.contested.map(|slot| slot.0)),
    ]);
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
        HoldingState::Void => {
            cells.extend([Cell::Text("void".to_owned()), Cell::NoBlob, Cell::NoBlob]);
            cells.extend(open);
            cells.push(Cell::NoBlob);
        }
    }
}
