//! One request by an account: purchase, certificates, redeem, present, withdraw, look.

use super::answer::{
    AccountState, Answer, Envelope, HoldingShown, ItemAnswer, Outcome, Refusal, RefusalCode,
};
use super::change::{Change, Ledger};
use super::desk::{Desk, Stop};
use super::presented::Presented;
use super::rows::{
    AccountRow, CoinRow, HolderRow, HoldingState, RequestRow, Row, RowKey, Rows, WithdrawalRow,
};
use super::terms::{MAX_BATCH, MAX_TRANSFER, Terms};
use super::walk;
use super::{BodyHash, RequestId, WithdrawalId, signing};
use crate::coin::certificate::{
    COIN_LIFE_DAYS, COIN_VALUES, CoinCertificate, PseudonymCertificate,
};
use crate::coin::hash::tagged;
use crate::coin::ids::HoldingId;
use crate::coin::keys::{PublicKey, SecretKey, Signature};
use crate::units::{Units, UnixMs};

/// Who asks, with what; the signature over it was checked before.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account.
    pub account: PublicKey,
    /// The route, such as `POST /v1/purchase`.
    pub route: String,
    /// The request's id.
    pub request_id: RequestId,
    /// Hash of route and body.
    pub body: BodyHash,
}

/// A request by an account.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub action: Action,
}

/// One coin wanted.
#[derive(Clone, Debug)]
pub struct CoinOrder {
    /// Its value.
    pub value: Units,
    /// Its first holder's key.
    pub holder: PublicKey,
    /// Drawn by the broker for this coin, after the key was known.
    pub nonce: [u8; 16],
}

/// What an account can ask for.
#[derive(Clone, Debug)]
pub enum Action {
    /// Its money.
    Account,
    /// Coins for balance. Happens once per request id.
    Purchase(Vec<CoinOrder>),
    /// Certificates on holder keys.
    Certify(Vec<PublicKey>),
    /// Credits for holdings; an item that failed its checks carries the refusal. Happens once per
    /// request id, and once per holding in any case.
    Redeem(Vec<Result<Presented, Refusal>>),
    /// Statements shown, nothing gained.
    Present(Vec<Result<Presented, Refusal>>),
    /// Money out. Happens once per request id.
    Withdraw {
        /// How much.
        units: Units,
        /// Where to, for the operator to read.
        destination: String,
    },
    /// What is known about a holding whose key this account holds.
    Holding(HoldingId),
}

/// An answer with the broker's signature, to be released once the change is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The envelope's JSON.
    pub body: Vec<u8>,
    /// The broker's signature over `signing::answer_hash(body)`.
    pub signature: Signature,
    /// Whether the whole request was refused.
    pub refused: bool,
}

/// What was decided.
#[derive(Clone, Debug)]
pub struct Decision {
    /// To be made durable first.
    pub change: Change,
    /// To be released then.
    pub sealed: Sealed,
}

/// A broker: its key and terms. It has no state of its own; that is in the rows.
#[derive(Clone, Debug)]
pub struct Broker {
    key: SecretKey,
    public: PublicKey,
    terms: Terms,
}

impl Broker {
    /// A broker with this key and these terms.
    #[must_use]
    pub fn new(key: SecretKey, terms: Terms) -> Self {
        let public = key.public();
        Broker { key, public, terms }
    }

    /// The key that signs coins, certificates and answers.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The broker's secret key, for what is signed outside of decisions (the spent list).
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Decides one request on loaded rows.
    ///
    /// # Errors
    /// [`Stop::Need`] names rows to load before deciding again; [`Stop::Broken`] says that the rows
    /// contradict each other. A refusal is no error: it is a signed answer with an empty change.
    pub fn decide(&self, rows: &Rows, call: &Call, now: UnixMs) -> Result<Decision, Stop> {
        let mut desk = Desk::new(rows, now);
        desk.want(&call.keys())?;
        if let Some(known) = self.known_request(&mut desk, call)? {
            return Ok(known);
        }
        match self.act(&mut desk, call) {
            Ok(answer) => {
                let sealed = self.seal(&call.caller, Outcome::Answer(answer), now)?;
                if call.once() {
                    desk.put(Row::Request(RequestRow {
                        account: call.caller.account,
                        id: call.caller.request_id,
                        body: call.caller.body,
                        answer: sealed.body.clone(),
                        at: now,
                    }))?;
                }
                let change = desk.finish();
                Ok(Decision { change, sealed })
            }
            Err(Stop::Refused(refusal)) => self.refused(call, refusal, now),
            Err(stop) => Err(stop),
        }
    }

    fn refused(&self, call: &Call, refusal: Refusal, now: UnixMs) -> Result<Decision, Stop> {
        Ok(Decision {
            change: Change::default(),
            sealed: self.seal(&call.caller, Outcome::Refused(refusal), now)?,
        })
    }

    /// The same id and body: the same answer. The same id and another body: refused.
    fn known_request(&self, desk: &mut Desk<'_>, call: &Call) -> Result<Option<Decision>, Stop> {
        if !call.once() {
            return Ok(None);
        }
        let key = RowKey::Request(call.caller.account, call.caller.request_id);
        let Some(Row::Request(row)) = desk.row(&key)? else {
            return Ok(None);
        };
        if row.body != call.caller.body {
            let refusal = Refusal::new(
                RefusalCode::RequestId,
                format!("request id {} was used for another request", row.id),
                "draw a new request id",
            );
            return self.refused(call, refusal, desk.now).map(Some);
        }
        Ok(Some(Decision {
            change: Change::default(),
            sealed: Sealed {
                signature: signing::sign_answer(&self.key, &row.answer),
                body: row.answer,
                refused: false,
            },
        }))
    }

    fn seal(&self, caller: &Caller, outcome: Outcome, now: UnixMs) -> Result<Sealed, Stop> {
        let refused = matches!(outcome, Outcome::Refused(_));
        let envelope = Envelope {
            version: 1,
            broker: self.public,
            account: caller.account,
            route: caller.route.clone(),
            request_id: caller.request_id,
            request_body: caller.body,
            day: now.day(),
            at_unix_ms: now,
            outcome,
        };
        let body = serde_json::to_vec(&envelope)
            .map_err(|e| Stop::Broken(format!("an answer that cannot be written: {e}")))?;
        Ok(Sealed {
            signature: signing::sign_answer(&self.key, &body),
            body,
            refused,
        })
    }

    fn act(&self, desk: &mut Desk<'_>, call: &Call) -> Result<Answer, Stop> {
        let me = &call.caller.account;
        match &call.action {
            Action::Account => Ok(Answer::Account {
                account: self.state(desk, me)?,
            }),
            Action::Purchase(orders) => self.purchase(desk, me, orders),
            Action::Certify(holders) => self.certify(desk, me, holders),
            Action::Redeem(items) => {
                let items = self.walk_all(desk, me, items, true)?;
                Ok(Answer::Redeem {
                    items,
                    account: self.state(desk, me)?,
                })
            }
            Action::Present(items) => Ok(Answer::Present {
                items: self.walk_all(desk, me, items, false)?,
            }),
            Action::Withdraw { units, destination } => {
                self.withdraw(desk, &call.caller, *units, destination)
            }
            Action::Holding(id) => self.show_holding(desk, me, id),
        }
    }

    fn state(&self, desk: &mut Desk<'_>, id: &PublicKey) -> Result<AccountState, Stop> {
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
    fn free_bond(&self, account: &AccountRow, now: UnixMs) -> Units {
        let quiet = account.last_redeemed.plus_ms(self.terms.hold_ms) <= now;
        if account.outstanding.is_zero() && quiet {
            account.bond
        } else {
            Units::ZERO
        }
    }

    fn purchase(
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
        let bond = self.terms.bond.saturating_sub(account.bond);
        self.affords(&account, price, bond)?;
        let (mine, today) = (Ledger::Balance(*me), desk.now.day());
        desk.transfer(mine, Ledger::Bond(*me), bond, "bond")?;
        let mut coins = Vec::with_capacity(orders.len());
        for order in orders {
            let expires = today.plus(COIN_LIFE_DAYS);
            claim_holder(desk, me, &order.holder, expires)?;
            let coin = CoinCertificate::issue(
                &self.key,
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

    fn affords(&self, account: &AccountRow, price: Units, bond: Units) -> Result<(), Stop> {
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

    fn certify(
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
            let certificate = PseudonymCertificate::issue(&self.key, *holder, expires);
            certificates.push(hex::encode(certificate.encode()));
        }
        Ok(Answer::Certificates { certificates })
    }

    fn walk_all(
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
                Ok(presented) => match walk::walk(desk, &self.terms, me, presented, redeem) {
                    Ok(answer) => Ok(answer),
                    Err(Stop::Refused(refusal)) => Ok(ItemAnswer::Refused(refusal)),
                    Err(stop) => Err(stop),
                },
                Err(refusal) => Ok(ItemAnswer::Refused(refusal.clone())),
            })
            .collect()
    }

    fn withdraw(
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

    fn show_holding(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        id: &HoldingId,
    ) -> Result<Answer, Stop> {
        let mut shown = HoldingShown {
            id: *id,
            state: "unknown".to_owned(),
            c: None,
            close: None,
            since_unix_ms: None,
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
                HoldingState::Fixed { .. } => "fixed",
                HoldingState::Split { close, .. } => {
                    shown.close = Some(hex::encode(close));
                    "split"
                }
                HoldingState::Redeemed { .. } => "redeemed",
            }
            .to_owned();
        }
        Ok(Answer::Holding { holding: shown })
    }
}

impl Call {
    /// Whether it moves money by itself, so that its id makes it happen once.
    fn once(&self) -> bool {
        matches!(
            self.action,
            Action::Purchase(_) | Action::Redeem(_) | Action::Withdraw { .. }
        )
    }

    /// The rows that follow from the request alone.
    #[must_use]
    pub fn keys(&self) -> Vec<RowKey> {
        let me = self.caller.account;
        let mut keys = vec![RowKey::Account(me)];
        if self.once() {
            keys.push(RowKey::Request(me, self.caller.request_id));
        }
        match &self.action {
            Action::Account => {}
            Action::Purchase(orders) => {
                keys.extend(orders.iter().map(|o| RowKey::Holder(o.holder)));
            }
            Action::Certify(holders) => keys.extend(holders.iter().map(|h| RowKey::Holder(*h))),
            Action::Redeem(items) | Action::Present(items) => {
                for presented in items.iter().flatten() {
                    keys.extend(presented.keys());
                }
            }
            Action::Withdraw { .. } => {
                let id = withdrawal_id(&me, &self.caller.request_id);
                keys.push(RowKey::Withdrawal(id));
            }
            Action::Holding(id) => keys.push(RowKey::Holding(*id)),
        }
        keys
    }
}

/// The id of the withdrawal that this request makes.
fn withdrawal_id(account: &PublicKey, request: &RequestId) -> WithdrawalId {
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
    expires: crate::units::Day,
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
