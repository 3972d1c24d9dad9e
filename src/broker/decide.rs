//! One request by an account: purchase, certificates, redeem, present, withdraw, look.

use super::actions::withdrawal_id;
use super::answer::{Answer, Envelope, Outcome, Refusal, RefusalCode};
use super::change::Change;
use super::desk::{Desk, Stop};
use super::kept::Sold;
use super::offers::{CoinOffer, KeyOffer};
use super::presented::Presented;
use super::recover::Found;
use super::rows::{AccountRow, RequestRow, Row, RowKey, Rows};
use super::signing::MAX_SKEW_MS;
use super::terms::Terms;
use super::{BodyHash, RequestId, WithdrawalId, kept, losses, signing};
use crate::coin::ids::HoldingId;
use crate::coin::keys::{PublicKey, SecretKey, Signature};
use crate::record::FraudProof;
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
    /// The time under which it was signed, by the account's clock.
    pub signed: UnixMs,
}

/// A request by an account.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub action: Action,
}

/// What an account can ask for.
#[derive(Clone, Debug)]
pub enum Action {
    /// Its money.
    Account,
    /// Coins for balance; a refusal among them refuses them all. Happens once per request id.
    Purchase(Vec<Result<CoinOffer, Refusal>>),
    /// Certificates on holder keys; a refusal among them refuses them all.
    Certify(Vec<Result<KeyOffer, Refusal>>),
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
    /// How far a withdrawal of this account is.
    Payout(WithdrawalId),
    /// What is known about a holding whose key this account holds.
    Holding(HoldingId),
    /// A proof of fraud, every signature in it checked; one that does not hold carries the refusal.
    Proof(Box<Result<FraudProof, Refusal>>),
    /// One page of what the broker knows of the account: the rows it is made of.
    Recover(Found),
    /// What happened to the account, after the notice of this number, at most so many.
    Notices {
        /// The last notice that is known; 0: none.
        after: u64,
        /// Most notices on the page.
        limit: u32,
    },
}

/// An answer that is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The envelope's JSON as it is kept (`broker::kept`).
    kept: Vec<u8>,
    /// The coins that it names.
    sold: Vec<Sold>,
    /// Whether the whole request was refused.
    refused: bool,
}

/// An answer with the broker's signature.
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
    /// To be signed and released then.
    pub draft: Draft,
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
    /// [`Stop::Need`] names rows to load before deciding again; [`Stop::Early`] asks for a later
    /// signature; [`Stop::Broken`] says that the rows contradict each other. A refusal is no error: it is a
    /// signed answer whose change does nothing but end what was signed until then.
    pub fn decide(&self, rows: &Rows, call: &Call, now: UnixMs) -> Result<Decision, Stop> {
        let mut desk = Desk::new(rows, now);
        desk.want(&call.keys())?;
        match self.known_request(&mut desk, call)? {
            Some(Ok(draft)) => {
                let change = desk.nothing();
                return Ok(Decision { change, draft });
            }
            Some(Err(refusal)) => return self.refused(desk, call, refusal),
            None => {}
        }
        if call.takes_money() && call.caller.signed <= self.signed_after(&mut desk, call)? {
            return Err(Stop::Early);
        }
        match self.act(&mut desk, call) {
            Ok(answer) => {
                let (is_kept, sold) = (answer.is_kept(), std::mem::take(&mut desk.sold));
                let draft = self.draft(&call.caller, Outcome::Answer(answer), sold, now)?;
                if call.once() && is_kept {
                    desk.put(Row::Request(RequestRow {
                        account: call.caller.account,
                        id: call.caller.request_id,
                        body: call.caller.body,
                        answer: draft.kept.clone(),
                        at: now,
                    }))?;
                }
                let change = desk.finish();
                Ok(Decision { change, draft })
            }
            Err(Stop::Refused(refusal)) => self.refused(desk, call, refusal),
            Err(stop) => Err(stop),
        }
    }

    /// Nothing is done; what the refusal was decided on is among the conditions. Whoever is told it may
    /// rely on that: what was signed until then and takes money is not carried out any more.
    fn refused(&self, mut desk: Desk<'_>, call: &Call, refusal: Refusal) -> Result<Decision, Stop> {
        let (now, me) = (desk.now, call.caller.account);
        desk.undo();
        if call.takes_money()
            && let Some(Row::Account(row)) = desk.row(&RowKey::Account(me))?
        {
            let before = self.signed_after(&mut desk, call)?;
            desk.put(Row::Account(AccountRow {
                signed_after: before.max(call.caller.signed),
                ..row
            }))?;
        }
        Ok(Decision {
            change: desk.finish(),
            draft: self.draft(&call.caller, Outcome::Refused(refusal), Vec::new(), now)?,
        })
    }

    /// Requests for money that were signed until then are not carried out. A refused one of an account
    /// that never had money is not noted: none that was signed before it had some is carried out.
    fn signed_after(&self, desk: &mut Desk<'_>, call: &Call) -> Result<UnixMs, Stop> {
        let row = desk.row(&RowKey::Account(call.caller.account))?;
        Ok(match row {
            // What is so late was set by a clock that has been put right since: nothing could follow it.
            Some(Row::Account(row)) if row.signed_after <= desk.now.plus_ms(MAX_SKEW_MS) => {
                row.signed_after
            }
            _ => UnixMs(0),
        })
    }

    /// The same id and body: the same answer. The same id and another body: refused.
    fn known_request(
        &self,
        desk: &mut Desk<'_>,
        call: &Call,
    ) -> Result<Option<Result<Draft, Refusal>>, Stop> {
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
            return Ok(Some(Err(refusal)));
        }
        Ok(Some(Ok(Draft {
            sold: kept::sold(desk, &row.answer)?,
            kept: row.answer,
            refused: false,
        })))
    }

    /// Writes an answer as it is sent, and signs it. The same answer is always signed in the same way.
    #[must_use]
    pub fn seal(&self, draft: Draft) -> Sealed {
        let body = kept::whole(draft.kept, &draft.sold);
        Sealed {
            signature: signing::sign_answer(&self.key, &body),
            body,
            refused: draft.refused,
        }
    }

    fn draft(
        &self,
        caller: &Caller,
        outcome: Outcome,
        sold: Vec<Sold>,
        now: UnixMs,
    ) -> Result<Draft, Stop> {
        let refused = matches!(outcome, Outcome::Refused(_));
        let envelope = Envelope {
            version: 1,
            broker: self.public,
            account: caller.account,
            route: caller.route.clone(),
            request_id: caller.request_id,
            request_body: caller.body,
            signed_unix_ms: caller.signed,
            day: now.day(),
            at_unix_ms: now,
            outcome,
        };
        let json = serde_json::to_vec(&envelope)
            .map_err(|e| Stop::Broken(format!("an answer that cannot be written: {e}")))?;
        Ok(Draft {
            kept: kept::shortened(json, &sold),
            sold,
            refused,
        })
    }

    fn act(&self, desk: &mut Desk<'_>, call: &Call) -> Result<Answer, Stop> {
        let me = &call.caller.account;
        match &call.action {
            Action::Account => Ok(Answer::Account {
                account: self.state(desk, me)?,
            }),
            Action::Purchase(offers) => self.purchase(desk, &call.caller, offers),
            Action::Certify(offers) => self.certify(desk, me, offers),
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
            Action::Payout(id) => self.payout(desk, me, id),
            Action::Holding(id) => self.show_holding(desk, me, id),
            Action::Proof(proof) => match proof.as_ref() {
                Ok(proof) => Ok(Answer::Proof {
                    proof: losses::proof(desk, proof)?,
                }),
                Err(refusal) => Err(Stop::Refused(refusal.clone())),
            },
            Action::Recover(found) => Ok(Answer::Recover {
                page: self.recover(desk, me, found)?,
            }),
            Action::Notices { after, limit } => self.notices(desk, me, *after, *limit),
        }
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

    /// Whether it takes from the balance, so that carrying it out after it was refused would do harm.
    /// What is redeemed is credited once, whenever it is asked for.
    fn takes_money(&self) -> bool {
        matches!(self.action, Action::Purchase(_) | Action::Withdraw { .. })
    }

    /// Rows that this request most likely makes: its own, and the holder keys of coins.
    #[must_use]
    pub fn fresh_keys(&self) -> Vec<RowKey> {
        let Action::Purchase(offers) = &self.action else {
            return Vec::new();
        };
        let offers = offers.iter().flatten();
        let mut keys: Vec<_> = offers
            .map(|offer| RowKey::Holder(offer.coin.holder))
            .collect();
        keys.push(RowKey::Request(self.caller.account, self.caller.request_id));
        keys
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
            Action::Purchase(offers) => {
                let offers = offers.iter().flatten();
                keys.extend(offers.map(|offer| RowKey::Holder(offer.coin.holder)));
            }
            Action::Certify(offers) => {
                let offers = offers.iter().flatten();
                keys.extend(offers.map(|offer| RowKey::Holder(offer.holder())));
            }
            Action::Redeem(items) | Action::Present(items) => {
                for presented in items.iter().flatten() {
                    keys.extend(presented.keys());
                }
            }
            Action::Withdraw { .. } => {
                let id = withdrawal_id(&me, &self.caller.request_id);
                keys.push(RowKey::Withdrawal(id));
            }
            Action::Payout(id) => keys.push(RowKey::Withdrawal(*id)),
            Action::Holding(id) => {
                keys.extend([RowKey::Holding(*id), RowKey::Credit(*id)]);
            }
            Action::Proof(_) | Action::Recover(_) | Action::Notices { .. } => {}
        }
        keys
    }
}
