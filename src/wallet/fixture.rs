//! A wallet without a cashier, for tests: decisions applied to rows at once.

use super::*;
use crate::coin::Seed;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::chain::Chain;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::SecretKey;
use crate::record::{ClosePart, OpenSpend, Path};
use crate::units::{InfoHash, Units, UnixMs};

/// The day on which tests begin.
pub(crate) const NOW: UnixMs = UnixMs(20_000 * 86_400_000);
pub(crate) const TORRENT: InfoHash = InfoHash([7; 20]);
/// The redemption of what an answer leaves open, where it leaves nothing.
pub(crate) const REST: RequestId = RequestId([0xff; 16]);
pub(crate) const RICH: Funds = Funds {
    buyable: Some(Units(100_000)),
    balance: Units(100_000),
    unreachable: false,
    is_reading: false,
    held: std::collections::BTreeSet::new(),
};

pub(crate) fn broker() -> SecretKey {
    SecretKey::from_bytes([0xb0; 32])
}

/// A wallet's rows as its task has them and as they are on disk.
pub(crate) struct Side {
    pub(crate) seed: Seed,
    pub(crate) rows: Rows,
    pub(crate) disk: Rows,
    pub(crate) journal: Vec<JournalLine>,
    /// Every change that was written, in order.
    pub(crate) log: Vec<Change>,
    count: u8,
}

impl Side {
    pub(crate) fn new(name: u8) -> Side {
        let mut side = Side {
            seed: Seed::from_entropy([name; 32]),
            rows: Rows::default(),
            disk: Rows::default(),
            journal: Vec::new(),
            log: Vec::new(),
            count: 0,
        };
        let met = PinnedBroker {
            key: broker().public(),
            url: "http://broker".to_owned(),
        };
        let account = side.seed.account_key().public();
        side.write(trade::own(&side.rows, account).expect("new"));
        side.write(trade::pin(&side.rows, met, NOW).expect("first"));
        side
    }

    /// What the cashier does with a change.
    pub(crate) fn write(&mut self, change: Change) -> Vec<Effect> {
        if !change.is_volatile() {
            let mut durable = change.clone();
            for row in &mut durable.holdings {
                if row.state.is_volatile() {
                    row.state = HoldingState::Available;
                }
            }
            durable.apply(&mut self.disk).expect("disk takes it");
        }
        change.apply(&mut self.rows).expect("memory takes it");
        assert!(self.rows.is_balanced(), "books and holdings agree");
        assert!(self.disk.is_balanced(), "books and holdings agree on disk");
        self.journal.extend(change.journal.clone());
        self.log.push(change.clone());
        change.effects
    }

    /// The process ends without warning and starts again.
    pub(crate) fn crash(&mut self) {
        self.rows = self.disk.clone();
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.count = self.count.wrapping_add(1);
        let mut id = [self.count; 16];
        id[0] = self.rows.version as u8;
        id[1] = (self.rows.version >> 8) as u8;
        RequestId(id)
    }

    pub(crate) fn begin_purchase(&mut self, values: &[u64], now: UnixMs) -> RequestId {
        let request = self.request();
        let coins: Vec<Units> = values.iter().map(|v| Units(*v)).collect();
        let request = RequestId::of_order(request.order(), 0);
        let change = order::begin(&self.rows, request.order(), &coins, now);
        self.write(change.expect("sold"));
        request
    }

    pub(crate) fn coins_for(&self, request: &RequestId, now: UnixMs) -> Vec<CoinCertificate> {
        let row = &self.rows.purchases[request];
        let issue = |(value, index): &(Units, u32)| {
            let holder = self.seed.holder_key(*index).public();
            let mut nonce = [0; 16];
            nonce[..4].copy_from_slice(&index.to_be_bytes());
            let today = now.day();
            CoinCertificate::issue(&broker(), *value, holder, today, today.plus(30), nonce)
        };
        row.coins.iter().map(issue).collect()
    }

    pub(crate) fn buy(&mut self, values: &[u64], now: UnixMs) {
        let request = self.begin_purchase(values, now);
        let coins = self.coins_for(&request, now);
        let seed = self.seed.clone();
        let holder = move |index| seed.holder_key(index).public();
        self.write(trade::purchased(&self.rows, &request, &coins, &holder, now).expect("good"));
    }

    pub(crate) fn certify(&mut self, count: u32, now: UnixMs) {
        let (change, indices) = keys::take(&self.rows, count).expect("fresh");
        self.write(change);
        let asked: Vec<_> = indices
            .iter()
            .map(|i| (*i, self.seed.holder_key(*i).public()))
            .collect();
        let certificates = asked
            .iter()
            .map(|(_, key)| PseudonymCertificate::issue(&broker(), *key, now.day().plus(30)))
            .collect();
        self.write(keys::certified(&self.rows, &asked, certificates, now).expect("good"));
    }

    pub(crate) fn reserve(
        &mut self,
        at_least: u64,
        at_most: u64,
        now: UnixMs,
    ) -> Result<HoldingRow, NoCoin> {
        let wish = wish(at_least, at_most);
        let limits = Limits::default();
        let (change, row) = paying::reserve(&self.rows, &limits, &RICH, &wish, now)?;
        self.write(change);
        Ok(row)
    }

    pub(crate) fn commit(
        &mut self,
        holding: &HoldingId,
        certificate: PseudonymCertificate,
        now: UnixMs,
    ) -> Result<(OpenSpend, Chain), WalletError> {
        let row = self.rows.holdings[holding].clone();
        let payee = certificate.holder;
        let (draft, chain) = sign::draft_spend(&self.seed, &row.holding, payee);
        let spend = draft.spend;
        let commit = paying::Commit {
            holding: *holding,
            draft,
            certificate,
            info_hash: TORRENT,
            peer: format!("peer {payee}"),
        };
        let effects = self.write(paying::commit(&self.rows, commit, now)?);
        assert_eq!(effects, [Effect::SignSpend(spend)]);
        let open = sign::sign_spend(&self.seed, row.key_index, &self.rows.spends[&spend]);
        assert_eq!(open.commitment(holding), spend);
        Ok((open, chain))
    }

    pub(crate) fn receive(
        &mut self,
        path: &[u8],
        open: OpenSpend,
        now: UnixMs,
    ) -> Result<Commitment, WalletError> {
        let path = Path::decode(path, 8).expect("a path");
        let spend = open.commitment(&path.holding().expect("values fit").id);
        let received = earning::Open {
            path,
            open,
            info_hash: TORRENT,
            peer: "payer".to_owned(),
        };
        self.write(earning::record_open(&self.rows, received, now)?);
        Ok(spend)
    }

    /// Fixes, signs and keeps the close at what was ticked.
    pub(crate) fn close(&mut self, spend: &Commitment, now: UnixMs) -> ClosePart {
        let row = &self.rows.received[spend];
        let (k, wk) = (row.k, row.wk);
        self.write(earning::fix_close(&self.rows, spend, k, &wk).expect("proven"));
        let close = sign::sign_close(&self.seed, &self.rows.received[spend]);
        self.write(earning::close_signed(&self.rows, spend, &close, now).expect("fixed"));
        close
    }

    pub(crate) fn held(&self) -> u64 {
        self.rows.held().expect("fits").0
    }
}

pub(crate) fn wish(at_least: u64, at_most: u64) -> Wish {
    Wish {
        info_hash: TORRENT,
        at_least: Units(at_least),
        at_most: Units(at_most),
    }
}

/// Pays `units` out of a holding between `least` and `most`, closes, and reads the close back.
pub(crate) fn pay(
    payer: &mut Side,
    payee: &mut Side,
    (least, most): (u64, u64),
    units: u32,
    now: UnixMs,
) -> Commitment {
    let row = payer.reserve(least, most, now).expect("there");
    payee.certify(1, now);
    let key = keys::pick(&payee.rows, &Default::default(), now).expect("certified");
    let (open, chain) = payer
        .commit(&row.holding.id, key.certificate, now)
        .expect("reserved");
    let spend = payee.receive(&row.path, open, now).expect("good");
    payee.write(earning::accepted(&payee.rows, &spend).expect("known"));
    let wk = chain.reveal(units).expect("in chain");
    payer.write(paying::ticks(&payer.rows, &[(spend, units)]).expect("fits"));
    let (change, _) = earning::ticks(&payee.rows, &[(spend, units, wk)]).expect("fits");
    payee.write(change);
    let close = payee.close(&spend, now);
    payer.write(paying::closed(&payer.rows, &spend, &open, &close, now).expect("good"));
    payer.write(paying::read_back(&payer.rows, &spend, now).expect("known"));
    spend
}
