//! What an account can ask for, one function each: state, purchase, certificates, redeem and
//! present, withdrawal, a look at a holding.

use super::answer::{
    AccountState, Answer, CreditShown, CreditState, HoldingShown, HoldingStatus, ItemAnswer,
    Notice, Refusal, RefusalCode,
};
use super::ask::MAX_PAGE;
use super::change::Ledger;
use super::decide::{Broker, Caller};
use super::desk::{Desk, Stop};
use super::kept::Sold;
use super::offers::{CoinOffer, KeyOffer};
use super::presented::Presented;
use super::rows::{AccountRow, CoinRow, HolderRow, HoldingState, Row, RowKey, WithdrawalRow};
use super::terms::{MAX_BATCH, MAX_TRANSFER};
use super::walk::{self, Asked};
use super::{RequestId, WithdrawalId};
use crate::coin::hash::tagged;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::{Day, Units, UnixMs, hex_of};

impl Broker {
    pub(super) fn state(&self, desk: &mut Desk<'_>, id: &PublicKey) -> Result<AccountState, Stop> {
        let account = desk.account(id)?;
        let free_bond = self.free_bond(&account, desk.now);
        Ok(AccountState {
            balance: account.balance,
            pending: account.pending,
            bond: account.bond,
            outstanding: account.outstanding,
            withdrawable: if self.may_withdraw(&account, desk.now) {
                add(account.balance, free_bond)?
            } else {
                Units::ZERO
            },
            suspended: account.suspended.is_some(),
        })
    }

    /// Whether it is not suspended, or all that it could owe is known and paid.
    fn may_withdraw(&self, account: &AccountRow, now: UnixMs) -> bool {
        account.suspended.is_none_or(|since| {
            self.terms().releases(since, now)
                && account.outstanding.is_zero()
                && account.pending.is_zero()
                && account.owed.is_zero()
                && account.contests == 0
        })
    }

    /// The bond, where no coin is outstanding, no contest is open about this account's statements, and
    /// the hold of the last redeemed one is over.
    pub(super) fn free_bond(&self, account: &AccountRow, now: UnixMs) -> Units {
        let quiet = account.last_redeemed.plus_ms(self.terms().hold_ms) <= now;
        if account.outstanding.is_zero() && account.contests == 0 && quiet {
            account.bond
        } else {
            Units::ZERO
        }
    }

    pub(super) fn purchase(
        &self,
        desk: &mut Desk<'_>,
        caller: &Caller,
        offers: &[Result<CoinOffer, Refusal>],
    ) -> Result<Answer, Stop> {
        let me = &caller.account;
        let account = active(desk, me)?;
        batch(offers.len(), "coins")?;
        let mut price = Units::ZERO;
        for offer in offers {
            let offer = offer.as_ref().map_err(|r| Stop::Refused(r.clone()))?;
            price = add(price, offer.coin.value)?;
        }
        let bond = self.terms().bond.saturating_sub(account.bond);
        self.affords(&account, price, bond)?;
        let (mine, today) = (Ledger::Balance(*me), desk.now.day());
        desk.transfer(mine, Ledger::Bond(*me), bond, "bond")?;
        let bought = caller.request_id.to_string();
        desk.transfer(mine, Ledger::Outstanding(*me), price, &bought)?;
        for offer in offers.iter().flatten() {
            let CoinOffer { coin, id } = self.coin_of(offer, today);
            claim_holder(desk, me, &coin.holder, coin.expires)?;
            let certificate = coin.encode();
            // The nonce is fresh, and so is the id: no store looks whether it is there.
            desk.put_new(Row::Coin(CoinRow {
                id,
                account: *me,
                value: coin.value,
                credited: Units::ZERO,
                contests: 0,
                settled: false,
                expires: coin.expires,
                certificate: certificate.to_vec(),
            }));
            desk.sold.push(Sold { id, certificate });
        }
        // The certificates are written where the answer is signed (`kept::whole`).
        Ok(Answer::Purchase {
            coins: Vec::new(),
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
                    "the balance of {:#} does not cover coins of {price:#} and {bond:#} \
                     of bond still to be taken",
                    account.balance
                ),
                format!("deposit {missing:#} more, or buy less"),
            ));
        }
        let outstanding = add(account.outstanding, price)?;
        let limit = add(account.bond, bond)?;
        if outstanding > limit {
            return Err(Stop::refuse(
                RefusalCode::Bond,
                format!(
                    "{:#} of coins are outstanding; {price} more would exceed the bond of {limit}",
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
        offers: &[Result<KeyOffer, Refusal>],
    ) -> Result<Answer, Stop> {
        active(desk, me)?;
        batch(offers.len(), "holder keys")?;
        let mut certificates = Vec::with_capacity(offers.len());
        for offer in offers {
            let offer = offer.as_ref().map_err(|r| Stop::Refused(r.clone()))?;
            let certificate = self.certificate_of(offer, desk.now.day());
            claim_holder(desk, me, &certificate.holder, certificate.expires)?;
            certificates.push(hex_of(&certificate.encode()));
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
        let asked = Asked {
            me,
            redeem,
            at: desk.now,
        };
        items
            .iter()
            .map(|item| match item {
                Ok(presented) => match walk::walk(desk, self.terms(), &asked, presented) {
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
        let account = desk.account(me)?;
        if !self.may_withdraw(&account, desk.now) {
            return Err(suspended(me));
        }
        if units.is_zero() || units > MAX_TRANSFER || destination.len() > 200 {
            return Err(Stop::refuse(
                RefusalCode::Malformed,
                format!("a withdrawal of {units:#} to {} bytes", destination.len()),
                format!("withdraw 1 to {MAX_TRANSFER:#} to a destination of at most 200 bytes"),
            ));
        }
        let bond = self.free_bond(&account, desk.now);
        let most = add(account.balance, bond)?;
        if units > most {
            return Err(Stop::refuse(
                RefusalCode::Balance,
                format!(
                    "{units:#} are more than the {most} that can be withdrawn ({} are pending, {} \
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
        if let Some(row) = desk.holding(id)? {
            let holder = desk.holder(&row.key)?;
            if holder.is_none_or(|h| h.account != *me) {
                return Err(Stop::refuse(
                    RefusalCode::OtherAccount,
                    format!("holding {id} belongs to another account"),
                    "ask for a holding of this account",
                ));
            }
        }
        let holding = self.shown(desk, me, id)?;
        Ok(Answer::Holding { holding })
    }

    /// What is known about a holding, whosever it is.
    pub(super) fn shown(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        id: &HoldingId,
    ) -> Result<HoldingShown, Stop> {
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
        desk.want(&[RowKey::Credit(*id)])?;
        if let Some(credit) = desk.credit(id)?
            && credit.account == *me
        {
            if credit.state == CreditState::Settled {
                shown.state = HoldingStatus::Settled;
            }
            shown.credit = Some(CreditShown {
                units: credit.units,
                state: credit.state,
                pending_until_unix_ms: credit.pending_until,
            });
        }
        let Some(row) = desk.holding(id)? else {
            return Ok(shown);
        };
        shown.c = row.state.commitment();
        shown.since_unix_ms = Some(row.since);
        if shown.state == HoldingStatus::Unknown {
            shown.state = match row.state {
                HoldingState::Fixed { .. } => HoldingStatus::Fixed,
                HoldingState::Split { .. } => HoldingStatus::Split,
                HoldingState::Redeemed { .. } => HoldingStatus::Redeemed,
                HoldingState::Void => HoldingStatus::Unknown,
            };
        }
        match &row.state {
            HoldingState::Fixed { spend, .. } => shown.open = Some(hex::encode(spend)),
            HoldingState::Split { spend, close, .. } => {
                shown.open = Some(hex::encode(spend));
                shown.close = Some(hex::encode(close));
            }
            HoldingState::Redeemed { redeem, .. } => shown.redeem = Some(hex::encode(redeem)),
            HoldingState::Void => {}
        }
        if let Some(slot) = row.contested {
            desk.want(&[RowKey::Contest(slot)])?;
            let contest = desk.contest(&slot)?;
            shown.state = HoldingStatus::Contested;
            shown.decide_after_unix_ms =
                contest.map(|c| c.decide_after(self.terms().contest_gap_ms));
        }
        Ok(shown)
    }

    /// How far a withdrawal of an account is. Nobody learns of somebody else's.
    pub(super) fn payout(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        id: &WithdrawalId,
    ) -> Result<Answer, Stop> {
        let found = desk.withdrawal(id)?.filter(|row| row.account == *me);
        found
            .map(|withdrawal| Answer::Payout { withdrawal })
            .ok_or_else(|| {
                Stop::refuse(
                    RefusalCode::NotFound,
                    format!("this account has no withdrawal {id}"),
                    "ask with the id that the answer to the withdrawal has",
                )
            })
    }

    /// What happened to an account, after the notice of this number.
    pub(super) fn notices(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        after: u64,
        limit: u32,
    ) -> Result<Answer, Stop> {
        if limit == 0 || limit > MAX_PAGE {
            return Err(Stop::refuse(
                RefusalCode::TooMany,
                format!("{limit} notices on one page"),
                format!("ask for 1 to {MAX_PAGE}"),
            ));
        }
        let all = desk.account(me)?.notices;
        let last = all.min(after.saturating_add(u64::from(limit)));
        let keys: Vec<RowKey> = (after.saturating_add(1)..=last)
            .map(|n| RowKey::Notice(*me, n))
            .collect();
        desk.want(&keys)?;
        let mut notices = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(Row::Notice(row)) = desk.row(&key)? else {
                return Err(Stop::Broken(format!("notice {key:?} is missing")));
            };
            notices.push(Notice {
                number: row.number,
                at_unix_ms: row.at,
                what: row.what,
            });
        }
        Ok(Answer::Notices {
            notices,
            more: last < all,
        })
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
    if account.suspended.is_some() {
        return Err(suspended(id));
    }
    Ok(account)
}

fn suspended(id: &PublicKey) -> Stop {
    Stop::refuse(
        RefusalCode::Suspended,
        format!("account {id} is suspended: its holder keys signed two statements for one slot"),
        "redeem and present what is at hand; what remains can be withdrawn when every coin of that time \
         is settled, some two months later",
    )
}

/// Makes a holder key this account's, once and for all.
fn claim_holder(
    desk: &mut Desk<'_>,
    me: &PublicKey,
    key: &PublicKey,
    expires: Day,
) -> Result<(), Stop> {
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
        .ok_or_else(|| Stop::Broken(format!("{a} and {b:#} do not fit together")))
}
