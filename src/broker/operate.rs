//! What the operator does, and what happens by itself: deposits, paying out, suspending, credits that
//! turn from pending to paid, contests that are decided, coins that are settled.

use serde::{Deserialize, Serialize};

use super::answer::{CreditState, RefusalCode};
use super::cases::Reading;
use super::change::{Change, Ledger};
use super::decide::Broker;
use super::desk::{Desk, Stop};
use super::rows::{CreditRow, DepositRow, Row, RowKey, Rows, WithdrawalRow};
use super::spent::WITHHELD;
use super::terms::{MAX_TRANSFER, Terms};
use super::walk::spent;
use super::{WithdrawalId, contest, losses, settle};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::record::Slot;
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
    /// Those of these credits whose hold is over, and that no contest holds up, become balance.
    Ripen(Vec<HoldingId>),
    /// A contested slot was read.
    Read {
        /// The slot.
        slot: Slot,
        /// What the DHT said.
        reading: Reading,
        /// Valid answers that two places must have given for it to count.
        min_answers: u32,
    },
    /// A coin's time may be over.
    Settle(HoldingId),
    /// These coins of a suspended account go on the spent list, as far as nothing was presented about
    /// them.
    Withhold {
        /// The account.
        account: PublicKey,
        /// Coins it bought.
        coins: Vec<HoldingId>,
        /// Whether these are the last ones.
        all: bool,
    },
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
        /// Whether the account never had money here before: one that is mistyped never had.
        #[serde(default)]
        is_new: bool,
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
    /// The reading is taken.
    Read {
        /// Whether it decided the contest.
        decided: bool,
    },
    /// The coin was looked at.
    Settle {
        /// Whether it is settled now and was not before.
        settled: bool,
    },
    /// The coins are listed.
    Withhold,
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
            Operation::Read { slot, .. } => vec![RowKey::Contest(*slot)],
            Operation::Settle(coin) => vec![RowKey::Coin(*coin)],
            Operation::Withhold { account, coins, .. } => {
                let mut keys = vec![RowKey::Account(*account)];
                for id in coins {
                    let slot = RowKey::Spent(Slot::spend(id));
                    keys.extend([RowKey::Coin(*id), RowKey::Holding(*id), slot]);
                }
                keys
            }
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
                row.suspended = match (*suspended, row.suspended) {
                    (true, since) => since.or(Some(now)),
                    (false, _) => None,
                };
                row.withheld &= *suspended;
                desk.put(Row::Account(row))?;
                Operated::Suspend {
                    suspended: *suspended,
                }
            }
            Operation::Ripen(credits) => ripen(&mut desk, self.terms(), credits)?,
            Operation::Read {
                slot,
                reading,
                min_answers,
            } => Operated::Read {
                decided: contest::read(&mut desk, self.terms(), slot, reading, *min_answers)?,
            },
            Operation::Settle(coin) => Operated::Settle {
                settled: settle::settle(&mut desk, self.terms(), coin)?,
            },
            Operation::Withhold {
                account,
                coins,
                all,
            } => withhold(&mut desk, account, coins, *all)?,
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
                "a deposit of {units:#} with a reference of {} bytes",
                reference.len()
            ),
            format!("deposit 1 to {MAX_TRANSFER:#} with a reference of 1 to 200 bytes"),
        ));
    }
    let is_new = desk.row(&RowKey::Account(*account))?.is_none();
    let known = desk.row(&RowKey::Deposit(reference.to_owned()))?;
    if let Some(Row::Deposit(row)) = &known {
        if row.account != *account || row.units != units {
            return Err(Stop::refuse(
                RefusalCode::Reference,
                format!(
                    "reference {reference:?} is booked: {:#} for account {}",
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
        losses::compensate(desk, account)?;
    }
    Ok(Operated::Deposit {
        account: *account,
        units,
        again: known.is_some(),
        is_new,
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

fn ripen(desk: &mut Desk<'_>, terms: &Terms, credits: &[HoldingId]) -> Result<Operated, Stop> {
    let mut keys = Vec::with_capacity(credits.len());
    for id in credits {
        if let Some(credit) = desk.credit(id)? {
            keys.extend([RowKey::Account(credit.account), RowKey::Coin(credit.coin)]);
        }
    }
    desk.want(&keys)?;
    let mut count = 0u64;
    for id in credits {
        let Some(credit) = desk.credit(id)? else {
            continue;
        };
        if credit.state != CreditState::Pending || credit.pending_until > desk.now {
            continue;
        }
        if is_contested(desk, &credit)? {
            let pending_until = desk.now.plus_ms(terms.contest_gap_ms.max(1));
            desk.put(Row::Credit(CreditRow {
                pending_until,
                ..credit
            }))?;
            continue;
        }
        let account = credit.account;
        pay(desk, credit)?;
        losses::compensate(desk, &account)?;
        count = count.saturating_add(1);
    }
    Ok(Operated::Ripen { credits: count })
}

/// Whether a slot on the way from the coin to this credit is contested.
fn is_contested(desk: &mut Desk<'_>, credit: &CreditRow) -> Result<bool, Stop> {
    if desk
        .coin(&credit.coin)?
        .is_none_or(|coin| coin.contests == 0)
    {
        return Ok(false);
    }
    let mut at = Some(credit.holding);
    while let Some(id) = at {
        desk.want(&[RowKey::Holding(id)])?;
        let Some(row) = desk.holding(&id)? else {
            return Err(Stop::Broken(format!(
                "holding {id} above credit {} is missing",
                credit.holding
            )));
        };
        if row.contested.is_some() {
            return Ok(true);
        }
        at = row.parent;
    }
    Ok(false)
}

fn withhold(
    desk: &mut Desk<'_>,
    account: &PublicKey,
    coins: &[HoldingId],
    all: bool,
) -> Result<Operated, Stop> {
    let mut row = desk.account(account)?;
    if row.suspended.is_none() {
        return Ok(Operated::Withhold);
    }
    for id in coins {
        let settled = desk.coin(id)?.is_none_or(|coin| coin.settled);
        if !settled && desk.holding(id)?.is_none() {
            desk.put(spent(Slot::spend(id), WITHHELD, desk.now))?;
        }
    }
    if all {
        row.withheld = true;
        desk.put(Row::Account(row))?;
    }
    Ok(Operated::Withhold)
}

/// Turns a credit from pending to paid.
pub(super) fn pay(desk: &mut Desk<'_>, mut credit: CreditRow) -> Result<CreditRow, Stop> {
    desk.transfer(
        Ledger::Pending(credit.account),
        Ledger::Balance(credit.account),
        credit.units,
        &credit.holding.to_string(),
    )?;
    credit.state = CreditState::Paid;
    desk.put(Row::Credit(credit.clone()))?;
    Ok(credit)
}
