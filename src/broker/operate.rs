//! What the operator does, and what happens by itself: deposits, paying out, suspending, and
//! credits that turn from pending to paid.

use serde::{Deserialize, Serialize};

use super::WithdrawalId;
use super::answer::RefusalCode;
use super::change::{Change, Ledger};
use super::decide::Broker;
use super::desk::{Desk, Stop};
use super::rows::{DepositRow, Row, RowKey, Rows, WithdrawalRow};
use super::terms::MAX_TRANSFER;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::{Units, UnixMs};

/// Something that no account asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Money came in. Happens once per reference.
    Deposit {
        /// For this account.
        account: PublicKey,
        /// So much.
        units: Units,
        /// The operator's external reference.
        reference: String,
    },
    /// A withdrawal was paid out. Happens once.
    MarkPaid(WithdrawalId),
    /// An account is stopped, or let go again.
    Suspend {
        /// The account.
        account: PublicKey,
        /// Whether it is stopped.
        suspended: bool,
    },
    /// Those of these credits whose hold is over become balance.
    Ripen(Vec<HoldingId>),
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Operated {
    /// The deposit is booked.
    Deposit {
        /// The account.
        account: PublicKey,
        /// How much.
        units: Units,
        /// Whether the same reference had already been booked, so that nothing changed now.
        again: bool,
        /// The account's balance now.
        balance: Units,
    },
    /// The withdrawal is paid.
    Paid {
        /// The withdrawal.
        withdrawal: WithdrawalRow,
        /// Whether it already was.
        again: bool,
    },
    /// The account's state is set.
    Suspend {
        /// Whether it is stopped.
        suspended: bool,
    },
    /// So many credits became balance.
    Ripen {
        /// Their number.
        credits: u64,
    },
}

impl Operation {
    /// The rows that follow from the operation alone.
    #[must_use]
    pub fn keys(&self) -> Vec<RowKey> {
        match self {
            Operation::Deposit {
                account, reference, ..
            } => vec![
                RowKey::Account(*account),
                RowKey::Deposit(reference.clone()),
            ],
            Operation::MarkPaid(id) => vec![RowKey::Withdrawal(*id)],
            Operation::Suspend { account, .. } => vec![RowKey::Account(*account)],
            Operation::Ripen(credits) => credits.iter().map(|id| RowKey::Credit(*id)).collect(),
        }
    }
}

impl Broker {
    /// Decides one operation on loaded rows.
    ///
    /// # Errors
    /// [`Stop`]: rows that are needed too, a refusal, or contradicting rows.
    pub fn operate(
        &self,
        rows: &Rows,
        operation: &Operation,
        now: UnixMs,
    ) -> Result<(Change, Operated), Stop> {
        let mut desk = Desk::new(rows, now);
        desk.want(&operation.keys())?;
        let done = match operation {
            Operation::Deposit {
                account,
                units,
                reference,
            } => deposit(&mut desk, account, *units, reference)?,
            Operation::MarkPaid(id) => mark_paid(&mut desk, id)?,
            Operation::Suspend { account, suspended } => {
                let mut row = desk.account(account)?;
                row.suspended = *suspended;
                desk.put(Row::Account(row))?;
                Operated::Suspend {
                    suspended: *suspended,
                }
            }
            Operation::Ripen(credits) => ripen(&mut desk, credits)?,
        };
        Ok((desk.finish(), done))
    }
}

fn deposit(
    desk: &mut Desk<'_>,
    account: &PublicKey,
    units: Units,
    reference: &str,
) -> Result<Operated, Stop> {
    if let Err(fault) = account.check() {
        return Err(Stop::refuse(
            RefusalCode::Malformed,
            format!("account {account} is {fault}"),
            "copy the account id from the wallet again",
        ));
    }
    if units.is_zero() || units > MAX_TRANSFER || reference.is_empty() || reference.len() > 200 {
        return Err(Stop::refuse(
            RefusalCode::Malformed,
            format!(
                "a deposit of {units} units with a reference of {} bytes",
                reference.len()
            ),
            format!("deposit 1 to {MAX_TRANSFER} units with a reference of 1 to 200 bytes"),
        ));
    }
    let known = desk.row(&RowKey::Deposit(reference.to_owned()))?;
    if let Some(Row::Deposit(row)) = &known {
        if row.account != *account || row.units != units {
            return Err(Stop::refuse(
                RefusalCode::Reference,
                format!(
                    "reference {reference:?} is booked: {} units for account {}",
                    row.units, row.account
                ),
                "use the reference of this payment, which nothing else has",
            ));
        }
    } else {
        desk.put(Row::Deposit(DepositRow {
            reference: reference.to_owned(),
            account: *account,
            units,
            at: desk.now,
        }))?;
        desk.transfer(
            Ledger::Deposits,
            Ledger::Balance(*account),
            units,
            reference,
        )?;
    }
    Ok(Operated::Deposit {
        account: *account,
        units,
        again: known.is_some(),
        balance: desk.account(account)?.balance,
    })
}

fn mark_paid(desk: &mut Desk<'_>, id: &WithdrawalId) -> Result<Operated, Stop> {
    let Some(mut row) = desk.withdrawal(id)? else {
        return Err(Stop::refuse(
            RefusalCode::NotFound,
            format!("there is no withdrawal {id}"),
            "list them with `dpay broker withdrawals`",
        ));
    };
    let again = row.paid.is_some();
    if !again {
        row.paid = Some(desk.now);
        desk.transfer(Ledger::Queued, Ledger::PaidOut, row.units, &id.to_string())?;
        desk.put(Row::Withdrawal(row.clone()))?;
    }
    Ok(Operated::Paid {
        withdrawal: row,
        again,
    })
}

fn ripen(desk: &mut Desk<'_>, credits: &[HoldingId]) -> Result<Operated, Stop> {
    let mut accounts = Vec::with_capacity(credits.len());
    for id in credits {
        if let Some(credit) = desk.credit(id)? {
            accounts.push(RowKey::Account(credit.account));
        }
    }
    desk.want(&accounts)?;
    let mut count = 0u64;
    for id in credits {
        if let Some(credit) = desk.credit(id)?
            && !credit.paid
            && credit.pending_until <= desk.now
        {
            pay(desk, credit)?;
            count = count.saturating_add(1);
        }
    }
    Ok(Operated::Ripen { credits: count })
}

/// Turns a credit from pending to paid.
pub(super) fn pay(desk: &mut Desk<'_>, mut credit: super::rows::CreditRow) -> Result<(), Stop> {
    desk.transfer(
        Ledger::Pending(credit.account),
        Ledger::Balance(credit.account),
        credit.units,
        &credit.holding.to_string(),
    )?;
    credit.paid = true;
    desk.put(Row::Credit(credit))
}
