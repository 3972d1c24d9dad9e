//! Lines of the journal, to and from columns.

use sqlx::sqlite::SqliteRow;

use super::BrokerStoreError;
use super::fields::Fields;
use super::statements::sql_int;
use super::tables::Cell;
use crate::broker::change::{JournalLine, Ledger};
use crate::coin::keys::PublicKey;

pub(super) fn line_cells(line: &JournalLine, cells: &mut Vec<Cell>) {
    let account = |account: Option<PublicKey>| {
        account.map_or(Cell::NoBlob, |account| Cell::Blob(account.0.to_vec()))
    };
    let (from, from_account) = line.from.parts();
    let (to, to_account) = line.to.parts();
    cells.extend([
        Cell::Int(sql_int(line.at.0)),
        Cell::Text(from.to_owned()),
        account(from_account),
        Cell::Text(to.to_owned()),
        account(to_account),
        Cell::Int(sql_int(line.units.0)),
        Cell::Text(line.reference.clone()),
    ]);
}

pub(super) fn read_line(row: &SqliteRow) -> Result<JournalLine, BrokerStoreError> {
    let fields = Fields::new("journal", row);
    let ledger = |name: &'static str, account: &'static str| {
        let account = fields.maybe_bytes(account)?.map(PublicKey);
        Ledger::from_parts(&fields.text(name)?, account).ok_or(BrokerStoreError::Damaged {
            table: "journal",
            column: name,
        })
    };
    Ok(JournalLine {
        at: fields.time("at")?,
        from: ledger("from_ledger", "from_account")?,
        to: ledger("to_ledger", "to_account")?,
        units: fields.units("units")?,
        reference: fields.text("reference")?,
    })
}
