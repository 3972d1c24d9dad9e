//! A payer's and a payee's wallet in memory, with books that must balance to the unit.

use std::collections::{BTreeMap, BTreeSet};

use dpay::channel::{Kept, KeptOpen, NoReserve, Recalled, Reserved};
use dpay::coin::{
    Chain, ChainValue, CoinCertificate, Commitment, HoldingId, PseudonymCertificate, SecretKey,
    Seed,
};
use dpay::record::{ClosePart, Holding, OpenSpend, Path};
use dpay::units::{Day, Units, UnixMs};

/// The broker of every test.
pub fn broker() -> SecretKey {
    SecretKey::from_bytes([0xB0; 32])
}

/// The day on which every test begins, and a date well after it.
pub const TODAY: Day = Day(20_000);
pub const EXPIRES: Day = Day(20_030);

/// How coins come out of a purse.
#[derive(Clone, Copy, Debug)]
pub enum CoinPolicy {
    /// Worth this, or the nearest that was asked for.
    Near(Units),
    /// The most that was asked for.
    Largest,
}

/// A spend as both wallets remember it.
#[derive(Clone, Debug)]
pub struct SpendRow {
    pub holding: Holding,
    pub open: OpenSpend,
    /// Which payee's key it is to.
    pub payee: usize,
    index: u32,
    path: Vec<u8>,
    /// Ticked by the payer at most, and what its wallet knows of, with the time.
    pub ticked: u32,
    pub noted: Vec<(UnixMs, u32)>,
    /// Ticks that the payee took at most, and what its wallet knows of.
    pub received: u32,
    pub kept: Vec<(UnixMs, u32, ChainValue)>,
    /// Whether the payee's wallet has the open, and whether it was accepted.
    pub recorded: bool,
    pub accepted: bool,
    /// Whether a connection of the payer uses it; which one of the payee does.
    pub in_use: bool,
    pub held: Option<usize>,
    pub unpaid_bytes: u64,
    /// The payee's close.
    pub close: Option<ClosePart>,
    /// Whether the change is back in the purse.
    pub settled: bool,
}

impl SpendRow {
    /// The last tick that the payer's wallet knows of.
    pub fn last_k(&self) -> u32 {
        self.noted.last().map_or(0, |(_, k)| *k)
    }

    /// The last tick that the payee's wallet knows of.
    pub fn last_kept(&self) -> (u32, ChainValue) {
        let last = self.kept.last();
        last.map_or((0, self.open.anchor), |(_, k, wk)| (*k, *wk))
    }
}

/// One payer's money, and what all payees of a test received of it.
pub struct Purse {
    seed: Seed,
    pub policy: CoinPolicy,
    /// Money that was there at the start.
    pub money: Units,
    /// Money that is neither set aside nor spent.
    pub free: Units,
    next_key: u32,
    reserved: BTreeMap<HoldingId, (Holding, u32)>,
    paths: BTreeMap<HoldingId, Vec<u8>>,
    pub spends: BTreeMap<Commitment, SpendRow>,
    seen: BTreeSet<HoldingId>,
    payee: Seed,
    pub refusals_to_reserve: u32,
    /// How often to answer that a coin is being bought before it is there.
    pub not_yet: u32,
    /// Whether the budgets allow open channels to go on.
    pub may_pay_on: bool,
}

impl Purse {
    pub fn new(money: Units, policy: CoinPolicy) -> Purse {
        Purse {
            seed: Seed::from_entropy([7; 32]),
            policy,
            money,
            free: money,
            next_key: 0,
            reserved: BTreeMap::new(),
            paths: BTreeMap::new(),
            spends: BTreeMap::new(),
            seen: BTreeSet::new(),
            payee: Seed::from_entropy([8; 32]),
            refusals_to_reserve: 0,
            not_yet: 0,
            may_pay_on: true,
        }
    }

    /// A holding of `value` with a path that proves it.
    pub fn coin(&mut self, value: Units) -> Reserved {
        let index = self.next_key;
        self.next_key += 1;
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&index.to_be_bytes());
        let holder = self.seed.holder_key(index).public();
        let coin = CoinCertificate::issue(&broker(), value, holder, TODAY, EXPIRES, nonce);
        let path = Path {
            coin,
            links: Vec::new(),
        };
        let holding = Holding::of_coin(&coin);
        self.reserved.insert(holding.id, (holding, index));
        let path = path.encode();
        self.paths.insert(holding.id, path.clone());
        Reserved { holding, path }
    }

    pub fn reserve(&mut self, at_least: Units, at_most: Units) -> Result<Reserved, NoReserve> {
        assert!(
            at_least >= Units(1) && at_least <= at_most,
            "{at_least}..{at_most}"
        );
        if self.not_yet > 0 {
            self.not_yet -= 1;
            return Err(NoReserve::NotYet);
        }
        if self.free < at_least {
            self.refusals_to_reserve += 1;
            return Err(NoReserve::OverBudget);
        }
        let wanted = match self.policy {
            CoinPolicy::Near(units) => units.clamp(at_least, at_most),
            CoinPolicy::Largest => at_most,
        };
        let value = wanted.min(self.free);
        self.free = self.free.checked_sub(value).expect("not more than is free");
        Ok(self.coin(value))
    }

    pub fn release(&mut self, holding: HoldingId) {
        let (holding, _) = self.reserved.remove(&holding).expect("was set aside");
        self.free = self.free.checked_add(holding.value).expect("fits");
    }

    pub fn open(
        &self,
        holding: &Holding,
        index: u32,
        to: PseudonymCertificate,
    ) -> (OpenSpend, Chain) {
        let value = u32::try_from(holding.value.0).expect("a coin's value");
        let chain = Chain::new(self.seed.chain_tip(&holding.id), value);
        let key = self.seed.record_key(&holding.id);
        let holder = self.seed.holder_key(index);
        let open = OpenSpend::sign(&holder, &holding.id, to, chain.anchor(), key);
        (open, chain)
    }

    pub fn commit(&mut self, holding: HoldingId, to: PseudonymCertificate) -> (OpenSpend, Chain) {
        let (holding, index) = self.reserved.remove(&holding).expect("was set aside");
        let (open, chain) = self.open(&holding, index, to);
        let holder_of = |payee: usize| self.payee.holder_key(payee as u32).public();
        let payee = (0..64).find(|payee| holder_of(*payee) == to.holder);
        let row = SpendRow {
            holding,
            open,
            payee: payee.expect("a key of a payee"),
            index,
            path: self.paths[&holding.id].clone(),
            ticked: 0,
            noted: Vec::new(),
            received: 0,
            kept: Vec::new(),
            recorded: false,
            accepted: false,
            in_use: true,
            held: None,
            unpaid_bytes: 0,
            close: None,
            settled: false,
        };
        self.spends.insert(open.commitment(&holding.id), row);
        (open, chain)
    }

    /// Another open of the same holding, to the same payee: a double spend.
    pub fn open_again(&self, spend: &Commitment) -> OpenSpend {
        let row = &self.spends[spend];
        let holder = self.seed.holder_key(row.index);
        let anchor = ChainValue([0xAA; 32]);
        let to = row.open.payee_certificate;
        OpenSpend::sign(&holder, &row.holding.id, to, anchor, row.open.record_key)
    }

    pub fn ticked(&mut self, now: UnixMs, spend: &Commitment, k: u32) {
        let row = self.spends.get_mut(spend).expect("a spend of ours");
        assert!(u64::from(k) <= row.holding.value.0);
        row.ticked = row.ticked.max(k);
        if k > row.last_k() {
            row.noted.push((now, k));
        }
    }

    /// Spends that may lie with this payee.
    pub fn recall(&mut self, payee: usize) -> Vec<Recalled> {
        let seed = &self.seed;
        let lies_there = |row: &&mut SpendRow| row.payee == payee && !row.settled && !row.in_use;
        let may_pay = self.may_pay_on;
        let rows = self.spends.values_mut().filter(lies_there);
        rows.map(|row| {
            row.in_use = true;
            let value = u32::try_from(row.holding.value.0).expect("a coin's value");
            Recalled {
                reserved: Reserved {
                    holding: row.holding,
                    path: row.path.clone(),
                },
                open: row.open,
                chain: Chain::new(seed.chain_tip(&row.holding.id), value),
                last_k: row.last_k(),
                is_same_peer: true,
                may_pay,
            }
        })
        .collect()
    }

    /// The chain that pays out of a spend.
    pub fn chain_of(&self, spend: &Commitment) -> Chain {
        let holding = &self.spends[spend].holding;
        let value = u32::try_from(holding.value.0).expect("a coin's value");
        Chain::new(self.seed.chain_tip(&holding.id), value)
    }

    /// A spend is on no connection of the payer's any more.
    pub fn ended(&mut self, spend: &Commitment) {
        self.spends.get_mut(spend).expect("ours").in_use = false;
    }

    /// The payer's process is gone: so is what was set aside, and the ticks of the last second.
    pub fn crash_payer(&mut self, now: UnixMs) {
        for (holding, _) in std::mem::take(&mut self.reserved).into_values() {
            self.free = self.free.checked_add(holding.value).expect("fits");
        }
        for row in self.spends.values_mut() {
            row.in_use = false;
            row.noted.retain(|(at, _)| now.since_ms(*at) >= 1_000);
        }
    }

    /// A payee's process is gone, and with it the ticks of the last second.
    pub fn crash_payee(&mut self, now: UnixMs, payee: usize) {
        for row in self.spends.values_mut().filter(|row| row.payee == payee) {
            row.held = None;
            if row.close.is_none() {
                row.kept.retain(|(at, ..)| now.since_ms(*at) >= 1_000);
            }
        }
    }

    /// A connection of the payee records the open of a holding.
    pub fn hold(&mut self, holding: &HoldingId, pair: usize) {
        let mut rows = self.spends.values_mut();
        if let Some(row) = rows.find(|row| row.holding.id == *holding && row.held.is_none()) {
            row.held = Some(pair);
        }
    }

    /// A connection of the payee left a spend open.
    pub fn left(&mut self, spend: &Commitment, pair: usize, unpaid_bytes: u64) {
        if let Some(row) = self
            .spends
            .get_mut(spend)
            .filter(|row| row.held == Some(pair))
        {
            row.held = None;
            row.unpaid_bytes = row.unpaid_bytes.max(unpaid_bytes);
        }
    }

    /// What the payee's wallet knows of a spend.
    pub fn find(&self, spend: &Commitment) -> Kept {
        let Some(row) = self.spends.get(spend).filter(|row| row.recorded) else {
            return Kept::Unknown;
        };
        if let Some(close) = row.close {
            return Kept::Closed(Box::new(close));
        }
        let (k, wk) = row.last_kept();
        Kept::Open(Box::new(KeptOpen {
            path: Path::decode(&row.path, 8).expect("a path"),
            holding: row.holding,
            open: row.open,
            k,
            wk,
            is_accepted: row.accepted,
            unpaid_bytes: row.unpaid_bytes,
        }))
    }

    /// Closes what payees have and no connection uses, as they do after a while.
    pub fn close_kept(&mut self) {
        let is_kept = |row: &SpendRow| row.recorded && row.close.is_none() && row.held.is_none();
        let kept = self.spends.iter().filter(|(_, row)| is_kept(row));
        let kept: Vec<_> = kept
            .map(|(s, row)| (*s, row.payee, row.last_kept()))
            .collect();
        for (spend, payee, (k, wk)) in kept {
            self.close(payee, &spend, k, wk);
        }
    }

    /// The payer has the close: the change is its own again.
    pub fn settle(&mut self, spend: &Commitment, close: &ClosePart) {
        let row = self.spends.get_mut(spend).expect("a spend of ours");
        row.in_use = false;
        assert_eq!(
            row.close.as_ref(),
            Some(close),
            "the close that the payee signed"
        );
        assert!(!row.settled, "settled once");
        row.settled = true;
        let paid = Units(u64::from(close.k));
        let change = row
            .holding
            .value
            .checked_sub(paid)
            .expect("within the value");
        self.free = self.free.checked_add(change).expect("fits");
    }

    pub fn key(&self, pair: usize) -> (u32, PseudonymCertificate) {
        let index = u32::try_from(pair).expect("few pairs");
        let key = self.payee.holder_key(index).public();
        (index, PseudonymCertificate::issue(&broker(), key, EXPIRES))
    }

    pub fn has_seen(&self, holding: &HoldingId) -> bool {
        self.seen.contains(holding)
    }

    /// Whether this open is the first of its holding.
    pub fn record_open(&mut self, holding: HoldingId) -> bool {
        let is_first = self.seen.insert(holding);
        let mut rows = self.spends.values_mut();
        if let Some(row) = rows.find(|row| row.holding.id == holding) {
            row.recorded |= is_first;
        }
        is_first
    }

    pub fn received(&mut self, now: UnixMs, spend: &Commitment, k: u32, wk: ChainValue) {
        let row = self.spends.get_mut(spend).expect("a spend of the payer");
        assert!(k > row.last_kept().0);
        row.received = row.received.max(k);
        row.kept.push((now, k, wk));
    }

    pub fn close(&mut self, pair: usize, spend: &Commitment, k: u32, wk: ChainValue) -> ClosePart {
        let index = u32::try_from(pair).expect("few pairs");
        let row = self.spends.get_mut(spend).expect("a spend of the payer");
        assert_eq!(row.close, None, "closed once");
        assert_eq!(row.last_kept(), (k, wk), "closed at the last tick");
        row.held = None;
        let key = self.payee.holder_key(index);
        let close = ClosePart::sign(&key, &row.holding.id, &row.open, k, wk);
        row.close = Some(close);
        close
    }

    /// What the cashiers do later: what no payer came back for is closed, and closes that never came
    /// over the wire are found in the DHT.
    pub fn settle_rest(&mut self) {
        self.close_kept();
        let open: Vec<_> = (self.spends.iter())
            .filter(|(_, row)| !row.settled)
            .filter_map(|(spend, row)| row.close.map(|close| (*spend, close)))
            .collect();
        for (spend, close) in open {
            self.settle(&spend, &close);
        }
    }

    /// Units that payees have by their closes.
    pub fn earned(&self) -> Units {
        let closes = self.spends.values().filter_map(|row| row.close);
        Units(closes.map(|close| u64::from(close.k)).sum())
    }

    /// Units in spends that no payee ever recorded: the open crossed a refusal or the connection's
    /// end. Nothing was ticked on them; they come back when the coin settles.
    pub fn never_closed(&self) -> Units {
        let open = self.spends.values().filter(|row| row.close.is_none());
        Units(open.map(|row| row.holding.value.0).sum())
    }

    /// Every unit is free, set aside, or in a spend; nothing is made or lost.
    pub fn assert_balanced(&self) {
        let reserved: u64 = self.reserved.values().map(|(h, _)| h.value.0).sum();
        let spent: u64 = (self.spends.values())
            .map(|row| match (row.settled, row.close) {
                (true, Some(close)) => u64::from(close.k),
                _ => row.holding.value.0,
            })
            .sum();
        assert_eq!(
            self.free.0 + reserved + spent,
            self.money.0,
            "books balance"
        );
        for row in self.spends.values() {
            // A `resume` pays a unit ahead, which counts once it was answered.
            assert!(row.received <= row.ticked + 1, "no tick that was not sent");
        }
    }

    /// Nothing is set aside, and every spend is closed and settled.
    pub fn assert_resolved(&self) {
        assert!(
            self.reserved.is_empty(),
            "set aside for nothing: {:?}",
            self.reserved
        );
        for (spend, row) in &self.spends {
            assert!(
                row.settled || row.close.is_none() && row.ticked == 0,
                "open: {spend}"
            );
        }
        self.assert_balanced();
    }
}
