//! A change into the tables.

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::StoreError;
use super::table::{concat, int};
use crate::units::{InfoHash, Units, UnixMs};
use crate::wallet::{
    ApplyError, Change, HoldingRow, HoldingState, JournalLine, Meta, Origin, Passing, PayeeKeyRow,
    PurchaseRow, PurchaseState, ReceivedRow, ReceivedState, RedemptionRow, SpendRow, WithdrawalRow,
    WithdrawalState,
};

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Writes every row of `change`; the caller commits.
pub(super) async fn write(db: &mut SqliteConnection, change: &Change) -> Result<(), StoreError> {
    for row in &change.holdings {
        run(db, holding(row)?).await?;
    }
    for row in &change.spends {
        fixed(run(db, spend(row)?).await, || twice_spent(row))?;
    }
    for row in &change.received {
        fixed(run(db, received(row)?).await, || {
            ApplyError::ReceivedTwice(row.holding.id)
        })?;
    }
    for row in &change.keys {
        run(db, key(row)).await?;
    }
    for row in &change.purchases {
        purchase(db, row).await?;
    }
    for row in &change.redemptions {
        redemption(db, row).await?;
    }
    for row in &change.withdrawals {
        run(db, withdrawal(row)?).await?;
    }
    for (info_hash, budget) in &change.budgets {
        run(db, budget_of(info_hash, *budget)?).await?;
    }
    if let Some(row) = &change.meta {
        run(db, meta(row)?).await?;
    }
    for line in &change.journal {
        run(db, journal_line(line)?).await?;
    }
    Ok(())
}

fn twice_spent(row: &SpendRow) -> ApplyError {
    ApplyError::SpentTwice(row.holding)
}

async fn run(db: &mut SqliteConnection, query: Query) -> Result<(), StoreError> {
    query.execute(db).await?;
    Ok(())
}

/// Names a row that the tables do not let be written.
fn fixed(
    written: Result<(), StoreError>,
    refusal: impl FnOnce() -> ApplyError,
) -> Result<(), StoreError> {
    match written {
        Err(StoreError::Database(error)) if is_refused(&error) => Err(refusal().into()),
        other => other,
    }
}

fn is_refused(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.is_unique_violation() || e.message().contains("fixed row"))
}

fn holding(row: &HoldingRow) -> Result<Query, StoreError> {
    let held = &row.holding;
    let origin = match row.origin {
        Origin::Bought => "bought",
        Origin::Earned => "earned",
        Origin::Change => "change",
    };
    let passing = match row.passing {
        Passing::Yes => "yes",
        Passing::AfterReadBack => "after_read_back",
        Passing::Never => "never",
    };
    let state = state(&row.state)?;
    Ok(sqlx::query(
        "INSERT INTO holding (id, value, holder_key, broker, coin, expires_day, key_index, origin,
            path, passing, since_unix_ms, info_hash, peer, state, spend, k, request, at_unix_ms,
            pending_until_unix_ms, why)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET passing = excluded.passing, info_hash = excluded.info_hash, peer = excluded.peer,
            state = excluded.state, spend = excluded.spend, k = excluded.k,
            request = excluded.request, at_unix_ms = excluded.at_unix_ms,
            pending_until_unix_ms = excluded.pending_until_unix_ms, why = excluded.why",
    )
    .bind(held.id.0.to_vec())
    .bind(int(held.value.0)?)
    .bind(held.key.0.to_vec())
    .bind(held.broker.0.to_vec())
    .bind(held.coin.0.to_vec())
    .bind(i64::from(held.expires.0))
    .bind(i64::from(row.key_index))
    .bind(origin)
    .bind(row.path.clone())
    .bind(passing)
    .bind(int(row.since.0)?)
    .bind(row.info_hash.map(|h| h.0.to_vec()))
    .bind(row.peer.clone())
    .bind(state.name)
    .bind(state.spend)
    .bind(state.k)
    .bind(state.request)
    .bind(state.at)
    .bind(state.pending_until)
    .bind(state.why))
}

#[derive(Default)]
struct StateColumns {
    name: &'static str,
    spend: Option<Vec<u8>>,
    k: Option<i64>,
    request: Option<Vec<u8>>,
    at: Option<i64>,
    pending_until: Option<i64>,
    why: Option<String>,
}

fn state(state: &HoldingState) -> Result<StateColumns, StoreError> {
    let mut columns = StateColumns::default();
    match state {
        // A reservation ends with the process that made it, and so does what was not read yet.
        HoldingState::Available | HoldingState::Unread | HoldingState::Reserved { .. } => {
            columns.name = "available";
        }
        HoldingState::Frozen { why, seen, since } => {
            columns.name = "frozen";
            columns.why = Some(why.name().to_owned());
            columns.spend = seen.map(|c| c.0.to_vec());
            columns.at = Some(int(since.0)?);
        }
        HoldingState::Locked { spend } => {
            columns.name = "locked";
            columns.spend = Some(spend.0.to_vec());
        }
        HoldingState::Closed { spend, k } => {
            columns.name = "closed";
            columns.spend = Some(spend.0.to_vec());
            columns.k = Some(i64::from(*k));
        }
        HoldingState::Redeeming { request } => {
            columns.name = "redeeming";
            columns.request = Some(request.0.to_vec());
        }
        HoldingState::Redeemed {
            request,
            at,
            pending_until,
        } => {
            columns.name = "redeemed";
            columns.request = Some(request.0.to_vec());
            columns.at = Some(int(at.0)?);
            columns.pending_until = Some(int(pending_until.0)?);
        }
        HoldingState::Refused { why } => {
            columns.name = "refused";
            columns.why = Some(why.clone());
        }
    }
    Ok(columns)
}

fn spend(row: &SpendRow) -> Result<Query, StoreError> {
    let close = row.close.as_ref();
    Ok(sqlx::query(
        "INSERT INTO spend (spend, holding, value, payee, payee_certificate, anchor, last_k,
            info_hash, peer, opened_unix_ms, ended_unix_ms, close_k, close_wk, close_signatures,
            polled_unix_ms, presented_unix_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (spend) DO UPDATE SET holding = excluded.holding, payee = excluded.payee,
            anchor = excluded.anchor, last_k = excluded.last_k,
            ended_unix_ms = excluded.ended_unix_ms, close_k = excluded.close_k,
            close_wk = excluded.close_wk, close_signatures = excluded.close_signatures,
            polled_unix_ms = excluded.polled_unix_ms,
            presented_unix_ms = excluded.presented_unix_ms",
    )
    .bind(row.spend.0.to_vec())
    .bind(row.holding.0.to_vec())
    .bind(int(row.value.0)?)
    .bind(row.payee.0.to_vec())
    .bind(row.payee_certificate.encode().to_vec())
    .bind(row.anchor.0.to_vec())
    .bind(i64::from(row.last_k))
    .bind(row.info_hash.0.to_vec())
    .bind(row.peer.clone())
    .bind(int(row.opened.0)?)
    .bind(maybe(row.ended)?)
    .bind(close.map(|c| i64::from(c.k)))
    .bind(close.map(|c| c.wk.0.to_vec()))
    .bind(close.map(|c| concat(&c.signatures)))
    .bind(maybe(row.polled)?)
    .bind(maybe(row.presented)?))
}

fn received(row: &ReceivedRow) -> Result<Query, StoreError> {
    let held = &row.holding;
    let (state, signatures) = match &row.state {
        ReceivedState::Open => ("open", None),
        ReceivedState::Closing => ("closing", None),
        ReceivedState::Closed { signatures } => ("closed", Some(concat(signatures))),
    };
    Ok(sqlx::query(
        "INSERT INTO received (spend, holding, value, holder_key, broker, coin, expires_day, path,
            open, key_index, k, wk, state, signatures, accepted, put, info_hash, peer,
            opened_unix_ms, closed_unix_ms, presented_unix_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (spend) DO UPDATE SET holding = excluded.holding, open = excluded.open,
            k = excluded.k, wk = excluded.wk, state = excluded.state,
            signatures = excluded.signatures, accepted = excluded.accepted, put = excluded.put,
            closed_unix_ms = excluded.closed_unix_ms,
            presented_unix_ms = excluded.presented_unix_ms",
    )
    .bind(row.spend.0.to_vec())
    .bind(held.id.0.to_vec())
    .bind(int(held.value.0)?)
    .bind(held.key.0.to_vec())
    .bind(held.broker.0.to_vec())
    .bind(held.coin.0.to_vec())
    .bind(i64::from(held.expires.0))
    .bind(row.path.clone())
    .bind(row.open.encode().to_vec())
    .bind(i64::from(row.key_index))
    .bind(i64::from(row.k))
    .bind(row.wk.0.to_vec())
    .bind(state)
    .bind(signatures)
    .bind(i64::from(row.accepted))
    .bind(i64::from(row.put))
    .bind(row.info_hash.0.to_vec())
    .bind(row.peer.clone())
    .bind(int(row.opened.0)?)
    .bind(maybe(row.closed)?)
    .bind(maybe(row.presented)?))
}

fn maybe(at: Option<UnixMs>) -> Result<Option<i64>, StoreError> {
    at.map(|at| int(at.0)).transpose()
}

fn key(row: &PayeeKeyRow) -> Query {
    sqlx::query(
        "INSERT INTO payee_key (key_index, certificate, used) VALUES (?, ?, ?)
         ON CONFLICT (key_index) DO UPDATE SET used = excluded.used",
    )
    .bind(i64::from(row.index))
    .bind(row.certificate.encode().to_vec())
    .bind(i64::from(row.used))
}

async fn purchase(db: &mut SqliteConnection, row: &PurchaseRow) -> Result<(), StoreError> {
    let (state, why) = match &row.state {
        PurchaseState::Pending => ("pending", None),
        PurchaseState::Done => ("done", None),
        PurchaseState::Failed { why } => ("failed", Some(why.clone())),
    };
    let query = sqlx::query(
        "INSERT INTO purchase (request, at_unix_ms, state, why) VALUES (?, ?, ?, ?)
         ON CONFLICT (request) DO UPDATE SET state = excluded.state, why = excluded.why",
    )
    .bind(row.request.0.to_vec())
    .bind(int(row.at.0)?)
    .bind(state)
    .bind(why);
    run(db, query).await?;
    if row.state != PurchaseState::Pending {
        return Ok(());
    }
    for (position, (value, index)) in (0i64..).zip(&row.coins) {
        let query = sqlx::query(
            "INSERT INTO purchase_coin (request, position, value, key_index) VALUES (?, ?, ?, ?)",
        )
        .bind(row.request.0.to_vec())
        .bind(position)
        .bind(int(value.0)?)
        .bind(i64::from(*index));
        run(db, query).await?;
    }
    Ok(())
}

async fn redemption(db: &mut SqliteConnection, row: &RedemptionRow) -> Result<(), StoreError> {
    let query = sqlx::query(
        "INSERT INTO redemption (request, at_unix_ms, answers) VALUES (?, ?, ?)
         ON CONFLICT (request) DO UPDATE SET answers = excluded.answers",
    )
    .bind(row.request.0.to_vec())
    .bind(int(row.at.0)?)
    .bind(row.answers.clone());
    run(db, query).await?;
    // What an answer left open is in another redemption from then on.
    let query = sqlx::query("DELETE FROM redemption_holding WHERE request = ?");
    run(db, query.bind(row.request.0.to_vec())).await?;
    for (position, holding) in (0i64..).zip(&row.holdings) {
        let query = sqlx::query(
            "INSERT INTO redemption_holding (request, position, holding) VALUES (?, ?, ?)",
        )
        .bind(row.request.0.to_vec())
        .bind(position)
        .bind(holding.0.to_vec());
        run(db, query).await?;
    }
    Ok(())
}

fn withdrawal(row: &WithdrawalRow) -> Result<Query, StoreError> {
    let (state, done, why) = match &row.state {
        WithdrawalState::Pending => ("pending", None, None),
        WithdrawalState::Done { withdrawal, answer } => ("done", Some((withdrawal, answer)), None),
        WithdrawalState::Refused { why } => ("refused", None, Some(why.clone())),
    };
    Ok(sqlx::query(
        "INSERT INTO withdrawal (request, units, destination, bond, at_unix_ms, state, withdrawal,
            answer, why, paid_unix_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (request) DO UPDATE SET units = excluded.units,
            destination = excluded.destination, state = excluded.state,
            withdrawal = excluded.withdrawal, answer = excluded.answer, why = excluded.why,
            paid_unix_ms = excluded.paid_unix_ms",
    )
    .bind(row.request.0.to_vec())
    .bind(int(row.units.0)?)
    .bind(row.destination.clone())
    .bind(i64::from(row.bond))
    .bind(int(row.at.0)?)
    .bind(state)
    .bind(done.map(|(id, _)| id.clone()))
    .bind(done.map(|(_, answer)| answer.clone()))
    .bind(why)
    .bind(row.paid.map(|paid| int(paid.0)).transpose()?))
}

fn budget_of(info_hash: &InfoHash, budget: Option<Units>) -> Result<Query, StoreError> {
    let id = info_hash.0.to_vec();
    Ok(match budget {
        Some(units) => sqlx::query(
            "INSERT INTO budget (info_hash, units) VALUES (?, ?)
             ON CONFLICT (info_hash) DO UPDATE SET units = excluded.units",
        )
        .bind(id)
        .bind(int(units.0)?),
        None => sqlx::query("DELETE FROM budget WHERE info_hash = ?").bind(id),
    })
}

fn meta(row: &Meta) -> Result<Query, StoreError> {
    let broker = row.broker.as_ref();
    Ok(sqlx::query(
        "UPDATE meta SET next_key = ?, bought = ?, earned = ?, paid = ?, redeemed = ?,
            broker_key = ?, broker_url = ?, account = ?, needs_recovery = ?, last_notice = ?,
            buys_nothing = ?, signed_until_unix_ms = ?
         WHERE id = 1",
    )
    .bind(i64::from(row.next_key))
    .bind(int(row.books.bought.0)?)
    .bind(int(row.books.earned.0)?)
    .bind(int(row.books.paid.0)?)
    .bind(int(row.books.redeemed.0)?)
    .bind(broker.map(|b| b.key.0.to_vec()))
    .bind(broker.map(|b| b.url.clone()))
    .bind(row.account.map(|key| key.0.to_vec()))
    .bind(i64::from(row.needs_recovery))
    .bind(int(row.last_notice)?)
    .bind(i64::from(row.buys_nothing))
    .bind(int(row.signed_until.0)?))
}

fn journal_line(line: &JournalLine) -> Result<Query, StoreError> {
    Ok(sqlx::query(
        "INSERT INTO journal (at_unix_ms, kind, units, info_hash, peer, reference)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(int(line.at.0)?)
    .bind(line.kind.name())
    .bind(int(line.units.0)?)
    .bind(line.info_hash.map(|h| h.0.to_vec()))
    .bind(line.peer.clone())
    .bind(line.reference.clone()))
}
