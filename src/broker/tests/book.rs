//! A broker with all its rows in a map, and people who sign for it.

use crate::broker::answer::{
    AccountState, Answer, Envelope, ItemAnswer, NoticeKind, Outcome, Refusal,
};
use crate::broker::audit::{AuditReport, Auditor};
use crate::broker::cases::{ContestRow, Reading};
use crate::broker::change::{Change, JournalLine};
use crate::broker::rows::{Row, RowKey, Rows};
use crate::broker::{
    Action, BodyHash, Broker, Call, Caller, Operated, Operation, Presented, RequestId, Sealed,
    Stop, Tail, Terms, WithdrawalId, signing,
};
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::RecordKey;
use crate::coin::{Chain, ChainValue, Commitment, PublicKey, SecretKey};
use crate::record::{ClosePart, Link, OpenSpend, Path, RedeemPart, Role, Slot};
use crate::units::{Units, UnixMs};

/// The first moment of all tests.
pub(super) const START: UnixMs = UnixMs(20_000 * 86_400_000);

/// One who has an account and holder keys, all derived from a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person(pub(super) u8);

impl Person {
    pub(super) fn account(self) -> PublicKey {
        self.account_key().public()
    }

    fn account_key(self) -> SecretKey {
        SecretKey::from_bytes([self.0.wrapping_add(100); 32])
    }

    /// This person's only holder key: enough here, as ids are positions.
    pub(super) fn key(self) -> SecretKey {
        SecretKey::from_bytes([self.0.wrapping_add(1); 32])
    }
}

/// A path to a holding and who holds it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) path: Path,
    pub(super) by: Person,
}

pub(super) struct Book {
    pub(super) broker: Broker,
    rows: Rows,
    journal: Vec<JournalLine>,
    pub(super) now: UnixMs,
    requests: u64,
}

impl Book {
    pub(super) fn new(hold_ms: u64, bond: u64) -> Book {
        let terms = Terms {
            hold_ms,
            bond: Units(bond),
            ..Terms::default()
        };
        Book {
            broker: Broker::new(SecretKey::from_bytes([77; 32]), terms),
            rows: Rows::default(),
            journal: Vec::new(),
            now: START,
            requests: 0,
        }
    }

    pub(super) fn next_id(&mut self) -> RequestId {
        self.requests += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.requests.to_be_bytes());
        RequestId(id)
    }

    fn loaded<T>(
        &self,
        keys: Vec<RowKey>,
        decide: impl Fn(&Rows) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let mut loaded = Rows::default();
        let mut missing = keys;
        loop {
            for key in missing {
                let stored = self.rows.get(&key).cloned().unwrap_or_default();
                loaded.set(key, stored);
            }
            match decide(&loaded) {
                Err(Stop::Need(keys)) => missing = keys,
                other => return other,
            }
        }
    }

    fn take(&mut self, change: Change) {
        change.apply(&mut self.rows).unwrap();
        self.journal.extend(change.journal);
    }

    pub(super) fn sealed(
        &mut self,
        who: Person,
        id: RequestId,
        body: u8,
        action: Action,
    ) -> Sealed {
        // Later than any deposit, and than any request before.
        let signed = self.now.plus_ms(self.requests);
        self.sealed_at(who, id, (body, signed), action).unwrap()
    }

    /// The same, signed at a time of its own, which may be too early.
    pub(super) fn sealed_at(
        &mut self,
        who: Person,
        id: RequestId,
        (body, signed): (u8, UnixMs),
        action: Action,
    ) -> Result<Sealed, Stop> {
        self.ripen();
        let call = Call {
            caller: Caller {
                account: who.account(),
                route: "POST /v1/test".to_owned(),
                request_id: id,
                body: BodyHash([body; 32]),
                signed,
            },
            action,
        };
        let decide = |rows: &Rows| self.broker.decide(rows, &call, self.now);
        let decision = self.loaded(call.keys(), decide)?;
        self.take(decision.change);
        let sealed = self.broker.seal(decision.draft);
        let key = self.broker.public();
        assert!(signing::answer_is_signed(
            &key,
            &sealed.body,
            &sealed.signature
        ));
        Ok(sealed)
    }

    pub(super) fn ask(&mut self, who: Person, action: Action) -> Result<Answer, Refusal> {
        let id = self.next_id();
        outcome(&self.sealed(who, id, 1, action))
    }

    pub(super) fn operate(&mut self, operation: Operation) -> Result<Operated, Stop> {
        let decide = |rows: &Rows| self.broker.operate(rows, &operation, self.now);
        let (change, done) = self.loaded(operation.keys(), decide)?;
        self.take(change);
        Ok(done)
    }

    /// What the cashier does before each batch, for all accounts.
    fn ripen(&mut self) {
        let credits = self.rows.iter().filter_map(|(key, _)| match key {
            RowKey::Credit(id) => Some(*id),
            _ => None,
        });
        let credits: Vec<_> = credits.collect();
        self.operate(Operation::Ripen(credits)).unwrap();
    }

    pub(super) fn deposit(&mut self, who: Person, units: u64) {
        let id = self.next_id();
        self.operate(Operation::Deposit {
            account: who.account(),
            units: Units(units),
            reference: id.to_string(),
        })
        .unwrap();
    }

    pub(super) fn buy(&mut self, who: Person, value: u64) -> Result<Held, Refusal> {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.requests.to_be_bytes());
        match self.ask(who, self.purchase(who, value, nonce))? {
            Answer::Purchase { coins, .. } => {
                let coin = CoinCertificate::decode(&hex::decode(&coins[0]).unwrap()).unwrap();
                let path = Path {
                    coin,
                    links: Vec::new(),
                };
                Ok(Held { path, by: who })
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn purchase(&self, who: Person, value: u64, nonce: [u8; 16]) -> Action {
        let (holder, today) = (who.key().public(), self.now.day());
        let wanted = [(Units(value), holder, nonce)];
        Action::Purchase(self.broker.offer_coins(&wanted, today))
    }

    pub(super) fn certify(&self, key: PublicKey) -> Action {
        Action::Certify(vec![self.broker.offer_key(key, self.now.day())])
    }

    fn certificate(&self, who: Person) -> PseudonymCertificate {
        let expires = Terms::pseudonym_expires(self.now.day());
        PseudonymCertificate::issue(self.broker.key(), who.key().public(), expires)
    }

    /// A spend of `held` to `payee`; other variants are other spends.
    pub(super) fn open(&self, held: &Held, payee: Person, variant: u8) -> (OpenSpend, Chain) {
        let holding = held.path.holding().unwrap();
        let value = u32::try_from(holding.value.0).unwrap();
        let chain = Chain::new(ChainValue([variant; 32]), value);
        let open = OpenSpend::sign(
            &held.by.key(),
            &holding.id,
            self.certificate(payee),
            chain.anchor(),
            RecordKey([variant; 32]),
        );
        (open, chain)
    }

    /// The same, closed at `k`: the payee's share and the payer's change, where worth something.
    pub(super) fn pay(&self, held: &Held, payee: Person, k: u32, variant: u8) -> [Option<Held>; 2] {
        let holding = held.path.holding().unwrap();
        let (spend, chain) = self.open(held, payee, variant);
        let wk = chain.reveal(k).unwrap();
        let close = ClosePart::sign(&payee.key(), &holding.id, &spend, k, wk);
        let share = |role: Role, by: Person, worth: bool| {
            worth.then(|| Held {
                path: held.path.extend(Link { role, spend, close }),
                by,
            })
        };
        [
            share(Role::PayeeShare, payee, k > 0),
            share(Role::Change, held.by, u64::from(k) < holding.value.0),
        ]
    }

    pub(super) fn presented(&self, held: &Held, tail: Tail) -> Presented {
        Presented::check(&self.broker.public(), &held.path, tail).unwrap()
    }

    pub(super) fn redeem_part(held: &Held, variant: u8) -> RedeemPart {
        let holding = held.path.holding().unwrap();
        let record_key = RecordKey([variant; 32]);
        RedeemPart::sign(&held.by.key(), &holding.id, held.by.account(), record_key)
    }

    pub(super) fn redeem(&mut self, held: &Held, variant: u8) -> ItemAnswer {
        let tail = Tail::Redeem(Self::redeem_part(held, variant));
        let item = self.presented(held, tail);
        match self.ask(held.by, Action::Redeem(vec![Ok(item)])) {
            Ok(Answer::Redeem { mut items, .. }) => items.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn present(&mut self, held: &Held, open: Option<OpenSpend>) -> ItemAnswer {
        let item = self.presented(held, open.map_or(Tail::None, Tail::Open));
        match self.ask(held.by, Action::Present(vec![Ok(item)])) {
            Ok(Answer::Present { mut items }) => items.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Balance and pending.
    pub(super) fn money(&mut self, who: Person) -> (u64, u64) {
        match self.ask(who, Action::Account) {
            Ok(Answer::Account { account }) => (account.balance.0, account.pending.0),
            other => panic!("{other:?}"),
        }
    }

    /// Contests that are open.
    pub(super) fn contests(&self) -> Vec<ContestRow> {
        let open = self
            .rows
            .iter()
            .filter_map(|(_, stored)| match stored.row.as_deref() {
                Some(Row::Contest(row)) if row.is_open() => Some((**row).clone()),
                _ => None,
            });
        open.collect()
    }

    /// The statements that were presented in a contested slot, the one that stands first among them.
    pub(super) fn statements_in(&self, slot: Slot) -> Vec<Commitment> {
        let mut all: Vec<Commitment> = self.spent(slot).into_iter().collect();
        let mut kept: Vec<_> = self
            .rows
            .iter()
            .filter_map(|(_, stored)| match stored.row.as_deref() {
                Some(Row::Evidence(row)) if row.slot == slot => Some((row.number, row.c?)),
                _ => None,
            })
            .collect();
        kept.sort_unstable();
        all.extend(kept.into_iter().map(|(_, c)| c));
        all.dedup();
        all
    }

    /// Two readings of a slot, a gap apart (one, where the contest is overdue), with so many copies of these statements.
    pub(super) fn judge(&mut self, slot: Slot, copies: &[(Commitment, u32)]) -> bool {
        let decided = self.read(slot, copies, 20);
        self.now = self.now.plus_ms(self.broker.terms().contest_gap_ms);
        decided || self.read(slot, copies, 20)
    }

    /// One reading, with so many answers from each place.
    pub(super) fn read(&mut self, slot: Slot, copies: &[(Commitment, u32)], answers: u32) -> bool {
        let reading = Reading {
            at_unix_ms: self.now,
            copies: copies.to_vec(),
            answers: [answers; 3],
        };
        let operation = Operation::Read {
            slot,
            reading,
            min_answers: 8,
        };
        match self.operate(operation).unwrap() {
            Operated::Read { decided } => decided,
            other => panic!("{other:?}"),
        }
    }

    /// Settles every coin that can be settled.
    pub(super) fn settle(&mut self) -> usize {
        let coins = self.rows.iter().filter_map(|(key, _)| match key {
            RowKey::Coin(id) => Some(*id),
            _ => None,
        });
        let coins: Vec<_> = coins.collect();
        self.ripen();
        let settled = coins.into_iter().filter(|id| {
            let done = self.operate(Operation::Settle(*id)).unwrap();
            done == Operated::Settle { settled: true }
        });
        settled.count()
    }

    /// The answer to a request as it is kept.
    pub(super) fn kept(&self, who: Person, id: RequestId) -> Vec<u8> {
        let stored = self.rows.get(&RowKey::Request(who.account(), id));
        match stored.and_then(|s| s.row.as_deref()) {
            Some(Row::Request(row)) => row.answer.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// How many requests are kept with their answers.
    pub(super) fn kept_requests(&self) -> usize {
        let there = self.rows.iter().filter(|(_, stored)| stored.row.is_some());
        there
            .filter(|(key, _)| matches!(key, RowKey::Request(..)))
            .count()
    }

    /// What the spent list says about a slot.
    pub(super) fn spent(&self, slot: Slot) -> Option<Commitment> {
        match self.rows.get(&RowKey::Spent(slot))?.row.as_deref() {
            Some(Row::Spent(row)) => Some(row.c),
            _ => None,
        }
    }

    /// All notices to somebody.
    pub(super) fn notices(&mut self, who: Person) -> Vec<NoticeKind> {
        let ask = Action::Notices {
            after: 0,
            limit: 100,
        };
        match self.ask(who, ask) {
            Ok(Answer::Notices { notices, .. }) => notices.into_iter().map(|n| n.what).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn account(&mut self, who: Person) -> AccountState {
        match self.ask(who, Action::Account) {
            Ok(Answer::Account { account }) => account,
            other => panic!("{other:?}"),
        }
    }

    /// All withdrawals, paid out or not.
    pub(super) fn queued(&self) -> Vec<WithdrawalId> {
        let ids = self.rows.iter().filter_map(|(key, _)| match key {
            RowKey::Withdrawal(id) => Some(*id),
            _ => None,
        });
        ids.collect()
    }

    pub(super) fn audit(&self) -> AuditReport {
        let mut auditor = Auditor::default();
        self.journal.iter().for_each(|line| auditor.line(line));
        for row in self
            .rows
            .iter()
            .filter_map(|(_, s)| s.row.as_deref().cloned())
        {
            auditor.row(row);
        }
        auditor.finish()
    }
}

pub(super) fn outcome(sealed: &Sealed) -> Result<Answer, Refusal> {
    let envelope: Envelope = serde_json::from_slice(&sealed.body).unwrap();
    match envelope.outcome {
        Outcome::Answer(answer) => Ok(answer),
        Outcome::Refused(refusal) => Err(refusal),
    }
}
