//! A wallet's rows from columns.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::StoreError;
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::ids::{ChainValue, Commitment, HoldingId};
use crate::coin::keys::{PublicKey, Signature};
use crate::record::{ClosePart, Holding, OpenSpend};
use crate::units::{Day, InfoHash, Units, UnixMs};
use crate::wallet::{
    Books, Freeze, HoldingRow, HoldingState, JournalEntry, JournalKind, JournalLine, Meta, Origin,
    Passing, PayeeKeyRow, PinnedBroker, PurchaseRow, PurchaseState, ReceivedRow, ReceivedState,
    RedemptionRow, RequestId, Rows, SpendRow, WithdrawalRow, WithdrawalState,
};

/// An integer as SQLite keeps it. Amounts above 2^63 are refused: no broker sells so much.
pub(super) fn int(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Damaged {
        table: "any",
        column: "integer above 2^63",
    })
}

/// Reads columns of one table and names what is damaged.
struct Reader<'r> {
    table: &'static str,
    row: &'r SqliteRow,
}

impl Reader<'_> {
    fn damaged(&self, column: &'static str) -> StoreError {
        StoreError::Damaged {
            table: self.table,
            column,
        }
    }

    fn int(&self, column: &'static str) -> Result<u64, StoreError> {
        let value: i64 = self.row.try_get(column)?;
        u64::try_from(value).map_err(|_| self.damaged(column))
    }

    fn maybe_int(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = self.row.try_get(column)?;
        value
            .map(|v| u64::try_from(v).map_err(|_| self.damaged(column)))
            .transpose()
    }

    fn int32(&self, column: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.int(column)?).map_err(|_| self.damaged(column))
    }

    fn text(&self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn fixed<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        let bytes: Vec<u8> = self.row.try_get(column)?;
        <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| self.damaged(column))
    }

    fn maybe_fixed<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, StoreError> {
        let bytes: Option<Vec<u8>> = self.row.try_get(column)?;
        bytes
            .map(|b| <[u8; N]>::try_from(b.as_slice()).map_err(|_| self.damaged(column)))
            .transpose()
    }

    fn need<T>(&self, column: &'static str, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.damaged(column))
    }

    fn signatures(&self, column: &'static str) -> Result<[Signature; 3], StoreError> {
        let bytes: [u8; 192] = self.fixed(column)?;
        let mut signatures = [Signature([0; 64]); 3];
        for (signature, chunk) in signatures.iter_mut().zip(bytes.chunks_exact(64)) {
            signature.0.copy_from_slice(chunk);
        }
        Ok(signatures)
    }

    fn holding(&self, id: &'static str) -> Result<Holding, StoreError> {
        Ok(Holding {
            id: HoldingId(self.fixed(id)?),
            value: Units(self.int("value")?),
            key: PublicKey(self.fixed("holder_key")?),
            broker: PublicKey(self.fixed("broker")?),
            coin: HoldingId(self.fixed("coin")?),
            expires: Day(self.int32("expires_day")?),
        })
    }
}

/// Three signatures one after another.
pub(super) fn concat(signatures: &[Signature; 3]) -> Vec<u8> {
    signatures.iter().flat_map(|s| s.0).collect()
}

/// All rows.
pub(super) async fn load(db: &mut SqliteConnection) -> Result<Rows, StoreError> {
    let mut rows = Rows::default();
    load_meta(db, &mut rows).await?;
    for row in all(db, "SELECT * FROM holding").await? {
        let row = holding_from(&row)?;
        rows.holdings.insert(row.holding.id, row);
    }
    for row in all(db, "SELECT * FROM spend").await? {
        let row = spend_from(&row)?;
        rows.spends.insert(row.spend, row);
    }
    for row in all(db, "SELECT * FROM received").await? {
        let row = received_from(&row)?;
        rows.received_by_holding.insert(row.holding.id, row.spend);
        rows.received.insert(row.spend, row);
    }
    for row in all(db, "SELECT * FROM payee_key").await? {
        let row = key_from(&row)?;
        rows.keys.insert(row.index, row);
    }
    load_requests(db, &mut rows).await?;
    for row in all(db, "SELECT * FROM withdrawal").await? {
        let row = withdrawal_from(&row)?;
        rows.withdrawals.insert(row.request, row);
    }
    for row in all(db, "SELECT * FROM budget").await? {
        let read = Reader {
            table: "budget",
            row: &row,
        };
        let info_hash = InfoHash(read.fixed("info_hash")?);
        rows.budgets.insert(info_hash, Units(read.int("units")?));
    }
    Ok(rows)
}

async fn all(db: &mut SqliteConnection, sql: &'static str) -> Result<Vec<SqliteRow>, StoreError> {
    Ok(sqlx::query(sql).fetch_all(db).await?)
}

async fn load_meta(db: &mut SqliteConnection, rows: &mut Rows) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT * FROM meta WHERE id = 1")
        .fetch_one(db)
        .await?;
    let read = Reader {
        table: "meta",
        row: &row,
    };
    rows.version = read.int("version")?;
    let broker = match (
        read.maybe_fixed("broker_key")?,
        read.maybe_text("broker_url")?,
    ) {
        (Some(key), Some(url)) => Some(PinnedBroker {
            key: PublicKey(key),
            url,
        }),
        _ => None,
    };
    rows.meta = Meta {
        account: read.maybe_fixed("account")?.map(PublicKey),
        broker,
        next_key: read.int32("next_key")?,
        needs_recovery: read.int("needs_recovery")? != 0,
        last_notice: read.int("last_notice")?,
        buys_nothing: read.int("buys_nothing")? != 0,
        signed_until: UnixMs(read.int("signed_until_unix_ms")?),
        books: Books {
            bought: Units(read.int("bought")?),
            earned: Units(read.int("earned")?),
            paid: Units(read.int("paid")?),
            redeemed: Units(read.int("redeemed")?),
        },
    };
    Ok(())
}

fn holding_from(row: &SqliteRow) -> Result<HoldingRow, StoreError> {
    let read = Reader {
        table: "holding",
        row,
    };
    let origin = match read.text("origin")?.as_str() {
        "bought" => Origin::Bought,
        "earned" => Origin::Earned,
        "change" => Origin::Change,
        _ => return Err(read.damaged("origin")),
    };
    Ok(HoldingRow {
        holding: read.holding("id")?,
        key_index: read.int32("key_index")?,
        origin,
        path: read.bytes("path")?,
        passing: match read.text("passing")?.as_str() {
            "yes" => Passing::Yes,
            "after_read_back" => Passing::AfterReadBack,
            "never" => Passing::Never,
            _ => return Err(read.damaged("passing")),
        },
        since: UnixMs(read.int("since_unix_ms")?),
        info_hash: read.maybe_fixed("info_hash")?.map(InfoHash),
        peer: read.maybe_text("peer")?,
        state: state_from(&read)?,
    })
}

fn state_from(read: &Reader<'_>) -> Result<HoldingState, StoreError> {
    let spend = || read.fixed("spend").map(Commitment);
    let request = || read.fixed("request").map(RequestId);
    Ok(match read.text("state")?.as_str() {
        "available" => HoldingState::Available,
        "frozen" => {
            let why = read.text("why")?;
            let why = Freeze::ALL.into_iter().find(|freeze| freeze.name() == why);
            HoldingState::Frozen {
                why: read.need("why", why)?,
                seen: read.maybe_fixed("spend")?.map(Commitment),
                since: UnixMs(read.int("at_unix_ms")?),
            }
        }
        "locked" => HoldingState::Locked { spend: spend()? },
        "closed" => HoldingState::Closed {
            spend: spend()?,
            k: read.int32("k")?,
        },
        "redeeming" => HoldingState::Redeeming {
            request: request()?,
        },
        "redeemed" => HoldingState::Redeemed {
            request: request()?,
            at: UnixMs(read.int("at_unix_ms")?),
            pending_until: UnixMs(read.int("pending_until_unix_ms")?),
        },
        "refused" => HoldingState::Refused {
            why: read.text("why")?,
        },
        _ => return Err(read.damaged("state")),
    })
}

fn spend_from(row: &SqliteRow) -> Result<SpendRow, StoreError> {
    let read = Reader {
        table: "spend",
        row,
    };
    let certificate: [u8; 134] = read.fixed("payee_certificate")?;
    let close = match read.maybe_int("close_k")? {
        None => None,
        Some(k) => Some(ClosePart {
            k: u32::try_from(k).map_err(|_| read.damaged("close_k"))?,
            wk: ChainValue(read.fixed("close_wk")?),
            signatures: read.signatures("close_signatures")?,
        }),
    };
    Ok(SpendRow {
        spend: Commitment(read.fixed("spend")?),
        holding: HoldingId(read.fixed("holding")?),
        value: Units(read.int("value")?),
        payee: PublicKey(read.fixed("payee")?),
        payee_certificate: PseudonymCertificate::decode(&certificate)
            .map_err(|_| read.damaged("payee_certificate"))?,
        anchor: ChainValue(read.fixed("anchor")?),
        last_k: read.int32("last_k")?,
        info_hash: InfoHash(read.fixed("info_hash")?),
        peer: read.text("peer")?,
        opened: UnixMs(read.int("opened_unix_ms")?),
        ended: read.maybe_int("ended_unix_ms")?.map(UnixMs),
        close,
        polled: read.maybe_int("polled_unix_ms")?.map(UnixMs),
        presented: read.maybe_int("presented_unix_ms")?.map(UnixMs),
    })
}

fn received_from(row: &SqliteRow) -> Result<ReceivedRow, StoreError> {
    let read = Reader {
        table: "received",
        row,
    };
    let open = OpenSpend::decode(&read.bytes("open")?).ok();
    let state = match read.text("state")?.as_str() {
        "open" => ReceivedState::Open,
        "closing" => ReceivedState::Closing,
        "closed" => ReceivedState::Closed {
            signatures: read.signatures("signatures")?,
        },
        _ => return Err(read.damaged("state")),
    };
    Ok(ReceivedRow {
        spend: Commitment(read.fixed("spend")?),
        holding: read.holding("holding")?,
        path: read.bytes("path")?,
        open: read.need("open", open)?,
        key_index: read.int32("key_index")?,
        k: read.int32("k")?,
        wk: ChainValue(read.fixed("wk")?),
        state,
        accepted: read.int("accepted")? != 0,
        put: read.int("put")? != 0,
        info_hash: InfoHash(read.fixed("info_hash")?),
        peer: read.text("peer")?,
        opened: UnixMs(read.int("opened_unix_ms")?),
        closed: read.maybe_int("closed_unix_ms")?.map(UnixMs),
        presented: read.maybe_int("presented_unix_ms")?.map(UnixMs),
    })
}

fn withdrawal_from(row: &SqliteRow) -> Result<WithdrawalRow, StoreError> {
    let read = Reader {
        table: "withdrawal",
        row,
    };
    let state = match read.text("state")?.as_str() {
        "pending" => WithdrawalState::Pending,
        "done" => WithdrawalState::Done {
            withdrawal: read.text("withdrawal")?,
            answer: read.bytes("answer")?,
        },
        "refused" => WithdrawalState::Refused {
            why: read.text("why")?,
        },
        _ => return Err(read.damaged("state")),
    };
    Ok(WithdrawalRow {
        request: RequestId(read.fixed("request")?),
        units: Units(read.int("units")?),
        destination: read.text("destination")?,
        bond: read.int("bond")? != 0,
        at: UnixMs(read.int("at_unix_ms")?),
        state,
        paid: read.maybe_int("paid_unix_ms")?.map(UnixMs),
    })
}

fn key_from(row: &SqliteRow) -> Result<PayeeKeyRow, StoreError> {
    let read = Reader {
        table: "payee_key",
        row,
    };
    let certificate: [u8; 134] = read.fixed("certificate")?;
    Ok(PayeeKeyRow {
        index: read.int32("key_index")?,
        certificate: PseudonymCertificate::decode(&certificate)
            .map_err(|_| read.damaged("certificate"))?,
        used: read.int("used")? != 0,
    })
}

async fn load_requests(db: &mut SqliteConnection, rows: &mut Rows) -> Result<(), StoreError> {
    for row in all(db, "SELECT * FROM purchase").await? {
        let read = Reader {
            table: "purchase",
            row: &row,
        };
        let request = RequestId(read.fixed("request")?);
        let state = match read.text("state")?.as_str() {
            "pending" => PurchaseState::Pending,
            "done" => PurchaseState::Done,
            "failed" => PurchaseState::Failed {
                why: read.text("why")?,
            },
            _ => return Err(read.damaged("state")),
        };
        let purchase = PurchaseRow {
            request,
            coins: Vec::new(),
            at: UnixMs(read.int("at_unix_ms")?),
            state,
        };
        rows.purchases.insert(request, purchase);
    }
    for row in all(db, "SELECT * FROM purchase_coin ORDER BY request, position").await? {
        let read = Reader {
            table: "purchase_coin",
            row: &row,
        };
        let purchase = rows
            .purchases
            .get_mut(&RequestId(read.fixed("request")?))
            .ok_or_else(|| read.damaged("request"))?;
        let coin = (Units(read.int("value")?), read.int32("key_index")?);
        purchase.coins.push(coin);
    }
    for row in all(db, "SELECT * FROM redemption").await? {
        let read = Reader {
            table: "redemption",
            row: &row,
        };
        let request = RequestId(read.fixed("request")?);
        let redemption = RedemptionRow {
            request,
            holdings: Vec::new(),
            at: UnixMs(read.int("at_unix_ms")?),
            answers: row.try_get("answers")?,
        };
        rows.redemptions.insert(request, redemption);
    }
    let sql = "SELECT * FROM redemption_holding ORDER BY request, position";
    for row in all(db, sql).await? {
        let read = Reader {
            table: "redemption_holding",
            row: &row,
        };
        let redemption = rows
            .redemptions
            .get_mut(&RequestId(read.fixed("request")?))
            .ok_or_else(|| read.damaged("request"))?;
        redemption.holdings.push(HoldingId(read.fixed("holding")?));
    }
    Ok(())
}

/// The newest `limit` journal lines, oldest first.
pub(super) async fn journal(
    db: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<JournalEntry>, StoreError> {
    let sql = "SELECT * FROM (SELECT * FROM journal ORDER BY id DESC LIMIT ?) ORDER BY id";
    let rows = sqlx::query(sql)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await?;
    rows.iter().map(entry_from).collect()
}

/// The lines with this number, or whose reference begins so, oldest first.
pub(super) async fn journal_of(
    db: &mut SqliteConnection,
    what: &str,
) -> Result<Vec<JournalEntry>, StoreError> {
    let sql = "SELECT * FROM journal WHERE id = ? OR (length(?) >= 6 AND substr(reference, 1, length(?)) = ?)
         ORDER BY id";
    let rows = sqlx::query(sql)
        .bind(what.parse::<i64>().ok())
        .bind(what.to_owned())
        .bind(what.to_owned())
        .bind(what.to_owned())
        .fetch_all(db)
        .await?;
    rows.iter().map(entry_from).collect()
}

fn entry_from(row: &SqliteRow) -> Result<JournalEntry, StoreError> {
    let read = Reader {
        table: "journal",
        row,
    };
    Ok(JournalEntry {
        number: read.int("id")?,
        line: line_from(row)?,
    })
}

fn line_from(row: &SqliteRow) -> Result<JournalLine, StoreError> {
    let read = Reader {
        table: "journal",
        row,
    };
    Ok(JournalLine {
        at: UnixMs(read.int("at_unix_ms")?),
        kind: JournalKind::from_name(&read.text("kind")?).ok_or_else(|| read.damaged("kind"))?,
        units: Units(read.int("units")?),
        info_hash: read.maybe_fixed("info_hash")?.map(InfoHash),
        peer: read.maybe_text("peer")?,
        reference: read.text("reference")?,
    })
}
