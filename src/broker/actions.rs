//! What an account can ask for, one function each: state, purchase, certificates, redeem and
//! present, withdrawal, a look at a holding.

use super::answer::{
    AccountState, Answer, CreditShown, CreditState, HoldingShown, HoldingStatus, ItemAnswer,
    Refusal, RefusalCode,
};
use super::change::Ledger;
use super::decide::{Broker, Caller, CoinOrder};
use super::desk::{Desk, Stop};
use super::presented::Presented;
use super::rows::{AccountRow, CoinRow, HolderRow, HoldingState, Row, RowKey, WithdrawalRow};
use super::terms::{MAX_BATCH, MAX_TRANSFER, Terms};
use super::walk;
use super::{RequestId, WithdrawalId};
use crate::coin::certificate::{
    COIN_LIFE_DAYS, COIN_VALUES, CoinCertificate, PseudonymCertificate,
};
use crate::coin::hash::tagged;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::{Day, Units, UnixMs};

impl Broker {
    pub(super) fn state(&self, desk: &mut Desk<'_>, id: &PublicKey) -> Result<AccountState, Stop> {
        let account = desk.account(id)?;
        let free_bond = self.free_bond(&account, desk.now);
        Ok(AccountState {
            balance: account.balance,
            pending: account.pending,
            bond: account.bond,
            outstanding: account.outstanding,
            withdrawable: if account.suspended {
                Units::ZERO
            } else {
                add(account.balance, free_bond)?
            },
            suspended: account.suspended,
        })
    }

    /// The bond, where no coin is outstanding and the hold of the last redeemed one is over.
    pub(super) fn free_bond(&self, account: &AccountRow, now: UnixMs) -> Units {
        let quiet = account.last_redeemed.plus_ms(self.terms().hold_ms) <= now;
        if account.outstanding.is_zero() && quiet {
            account.bond
        } else {
            Units::ZERO
        }
    }

    pub(super) fn purchase(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        orders: &[CoinOrder],
    ) -> Result<Answer, Stop> {
        let account = active(desk, me)?;
        batch(orders.len(), "coins")?;
        let mut price = Units::ZERO;
        for order in orders {
            if !COIN_VALUES.contains(&order.value) {
                return Err(Stop::refuse(
                    RefusalCode::Malformed,
                    format!("coins of {} units are not sold", order.value),
                    "ask for 16, 64, 256, 1024 or 4096 units",
                ));
            }
            price = add(price, order.value)?;
        }
        let bond = self.terms().bond.saturating_sub(account.bond);
        self.affords(&account, price, bond)?;
        let (mine, today) = (Ledger::Balance(*me), desk.now.day());
        desk.transfer(mine, Ledger::Bond(*me), bond, "bond")?;
        let mut coins = Vec::with_capacity(orders.len());
        for order in orders {
            let expires = today.plus(COIN_LIFE_DAYS);
            claim_holder(desk, me, &order.holder, expires)?;
            let coin = CoinCertificate::issue(
                self.key(),
                order.value,
                order.holder,
                today,
                expires,
                order.nonce,
            );
            let id = coin.id();
            desk.want(&[RowKey::Coin(id)])?;
            if desk.coin(&id)?.is_some() {
                return Err(Stop::Broken(format!(
                    "coin {id} exists: a nonce came twice"
                )));
            }
            desk.put(Row::Coin(CoinRow {
                id,
                account: *me,
                value: order.value,
                credited: Units::ZERO,
                expires,
                certificate: coin.encode().to_vec(),
            }))?;
            desk.transfer(mine, Ledger::Outstanding(*me), order.value, &id.to_string())?;
            coins.push(hex::encode(coin.encode()));
        }
        Ok(Answer::Purchase {
            coins,
            account: self.state(desk, me)?,
        })
    }

    pub(super) fn affords(
        &self,
        account: &AccountRow,
        price: Units,
        bond: Units,
    ) -> Result<(), Stop> {
        let cost = add(price, bond)?;
        if account.balance < cost {
            let missing = cost.saturating_sub(account.balance);
            return Err(Stop::refuse(
                RefusalCode::Balance,
                format!(
                    "the balance of {} units does not cover coins of {price} units and {bond} units \
                     of bond still to be taken",
                    account.balance
                ),
                format!("deposit {missing} units more, or buy less"),
            ));
        }
        let outstanding = add(account.outstanding, price)?;
        let limit = add(account.bond, bond)?;
        if outstanding > limit {
            return Err(Stop::refuse(
                RefusalCode::Bond,
                format!(
                    "{} units of coins are outstanding; {price} more would exceed the bond of {limit}",
                    account.outstanding
                ),
                "use or redeem the coins at hand first, or buy less",
            ));
        }
        Ok(())
    }

    pub(super) fn certify(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        holders: &[PublicKey],
    ) -> Result<Answer, Stop> {
        active(desk, me)?;
        batch(holders.len(), "holder keys")?;
        let expires = Terms::pseudonym_expires(desk.now.day());
        let mut certificates = Vec::with_capacity(holders.len());
        for holder in holders {
            claim_holder(desk, me, holder, expires)?;
            let certificate = PseudonymCertificate::issue(self.key(), *holder, expires);
            certificates.push(hex::encode(certificate.encode()));
        }
        Ok(Answer::Certificates { certificates })
    }

    pub(super) fn walk_all(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        items: &[Result<Presented, Refusal>],
        redeem: bool,
    ) -> Result<Vec<ItemAnswer>, Stop> {
        batch(items.len(), "paths")?;
        items
            .iter()
            .map(|item| match item {
                Ok(presented) => match walk::walk(desk, self.terms(), me, presented, redeem) {
                    Ok(answer) => Ok(answer),
                    Err(Stop::Refused(refusal)) => Ok(ItemAnswer::Refused(refusal)),
                    Err(stop) => Err(stop),
                },
                Err(refusal) => Ok(ItemAnswer::Refused(refusal.clone())),
            })
            .collect()
    }

    pub(super) fn withdraw(
        &self,
        desk: &mut Desk<'_>,
        caller: &Caller,
        units: Units,
        destination: &str,
    ) -> Result<Answer, Stop> {
        let me = &caller.account;
        let account = active(desk, me)?;
        if units.is_zero() || units > MAX_TRANSFER || destination.len() > 200 {
            return Err(Stop::refuse(
                RefusalCode::Malformed,
                format!(
                    "a withdrawal of {units} units to {} bytes",
                    destination.len()
                ),
                format!("withdraw 1 to {MAX_TRANSFER} units to a destination of at most 200 bytes"),
            ));
        }
        let bond = self.free_bond(&account, desk.now);
        let most = add(account.balance, bond)?;
        if units > most {
            return Err(Stop::refuse(
                RefusalCode::Balance,
                format!(
                    "{units} units are more than the {most} that can be withdrawn ({} are pending, {} \
                     are bond)",
                    account.pending, account.bond
                ),
                "withdraw less, or wait for the hold to pass",
            ));
        }
        if units > account.balance {
            desk.transfer(Ledger::Bond(*me), Ledger::Balance(*me), bond, "bond")?;
        }
        let id = withdrawal_id(me, &caller.request_id);
        let row = WithdrawalRow {
            id,
            account: *me,
            units,
            destination: destination.to_owned(),
            requested: desk.now,
            paid: None,
        };
        desk.transfer(Ledger::Balance(*me), Ledger::Queued, units, &id.to_string())?;
        desk.put(Row::Withdrawal(row.clone()))?;
        Ok(Answer::Withdraw {
            withdrawal: row,
            account: self.state(desk, me)?,
        })
    }

    pub(super) fn show_holding(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        id: &HoldingId,
    ) -> Result<Answer, Stop> {
        let mut shown = HoldingShown {
            id: *id,
            state: HoldingStatus::Unknown,
            c: None,
            open: None,
            close: None,
            redeem: None,
            since_unix_ms: None,
            decide_after_unix_ms: None,
            credit: None,
        };
        if let Some(row) = desk.holding(id)? {
            let holder = desk.holder(&row.key)?;
            if holder.is_none_or(|h| h.account != *me) {
                return Err(Stop::refuse(
                    RefusalCode::OtherAccount,
                    format!("holding {id} belongs to another account"),
                    "ask for a holding of this account",
                ));
            }
            shown.c = Some(row.state.commitment());
            shown.since_unix_ms = Some(row.since);
            shown.state = match row.state {
                HoldingState::Fixed { spend, .. } => {
                    shown.open = Some(hex::encode(spend));
                    HoldingStatus::Fixed
                }
                HoldingState::Split { spend, close, .. } => {
                    shown.open = Some(hex::encode(spend));
                    shown.close = Some(hex::encode(close));
                    HoldingStatus::Split
                }
                HoldingState::Redeemed { redeem, .. } => {
                    shown.redeem = Some(hex::encode(redeem));
                    HoldingStatus::Redeemed
                }
            };
        }
        if let Some(credit) = desk.credit(id)?
            && credit.account == *me
        {
            shown.credit = Some(CreditShown {
                units: credit.units,
                state: if credit.paid {
                    CreditState::Paid
                } else {
                    CreditState::Pending
                },
                pending_until_unix_ms: credit.pending_until,
            });
        }
        Ok(Answer::Holding { holding: shown })
    }
}

/// The id of the withdrawal that this request makes.
pub(super) fn withdrawal_id(account: &PublicKey, request: &RequestId) -> WithdrawalId {
    let hash = tagged(
        "DPay1/withdrawal",
        &[account.as_bytes(), request.as_bytes()],
    );
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    WithdrawalId(id)
}

/// The account, unless it is suspended.
fn active(desk: &mut Desk<'_>, id: &PublicKey) -> Result<AccountRow, Stop> {
    let account = desk.account(id)?;
    if account.suspended {
        return Err(Stop::refuse(
            RefusalCode::Suspended,
            format!("account {id} is suspended"),
            "redeem and present what is at hand; ask the operator about the rest",
        ));
    }
    Ok(account)
}

/// Makes a holder key this account's, once and for all.
fn claim_holder(
    desk: &mut Desk<'_>,
    me: &PublicKey,
    key: &PublicKey,
    expires: Day,
) -> Result<(), Stop> {
    if let Err(fault) = key.check() {
        return Err(Stop::refuse(
            RefusalCode::HolderKey,
            format!("holder key {key} is {fault}"),
            "derive another holder key",
        ));
    }
    let expires = match desk.holder(key)? {
        Some(row) if row.account != *me => {
            return Err(Stop::refuse(
                RefusalCode::HolderKey,
                format!("holder key {key} belongs to another account"),
                "derive a fresh holder key",
            ));
        }
        Some(row) => row.expires.max(expires),
        None => expires,
    };
    desk.put(Row::Holder(HolderRow {
        key: *key,
        account: *me,
        expires,
    }))
}

fn batch(count: usize, what: &str) -> Result<(), Stop> {
    if count == 0 || count > MAX_BATCH {
        return Err(Stop::refuse(
            RefusalCode::TooMany,
            format!("{count} {what} in one request"),
            format!("send 1 to {MAX_BATCH}"),
        ));
    }
    Ok(())
}

fn add(a: Units, b: Units) -> Result<Units, Stop> {
    a.checked_add(b)
        .ok_or_else(|| Stop::Broken(format!("{a} and {b} units do not fit together")))
}
