//! A coin and the two spends of it that a cheat signed, with what else it signs for its attack.

use crate::coin::statement::{Close, Spend};
use crate::coin::{ChainValue, HoldingId, RecordKey, SecretKey, Statement};
use crate::random;
use crate::record::{Item, SignedRecord, Slot, close_record_key};

/// Where the cheat's squatter lies.
const LOWER_SEQ: i64 = 5;

/// A coin and the two spends that its holder signed, each with the records of its path.
pub(super) struct Cheat {
    key: SecretKey,
    pub(super) first: Vec<SignedRecord>,
    pub(super) second: Vec<SignedRecord>,
}

impl Cheat {
    /// Of a coin that was never spent before.
    pub(super) fn new() -> Cheat {
        let holding = HoldingId(random::bytes());
        let key = SecretKey::from_bytes(random::bytes());
        let spend = || vec![spend(&key, holding, &SecretKey::from_bytes(random::bytes())).1];
        let (first, second) = (spend(), spend());
        Cheat { key, first, second }
    }

    /// Of a coin that its holder spent twice, with two accomplices: each passes on what it got.
    pub(super) fn passed_on() -> Cheat {
        let holding = HoldingId(random::bytes());
        let key = SecretKey::from_bytes(random::bytes());
        let pass = || {
            let accomplice = SecretKey::from_bytes(random::bytes());
            let (record_key, got) = spend(&key, holding, &accomplice);
            let c = got.commitment();
            let close = Statement::Close(Close {
                spend: c,
                k: 5,
                wk: ChainValue(random::bytes()),
            });
            let close_key = close_record_key(&record_key, &c);
            let slot = Slot::close(&holding, &c);
            let close = SignedRecord::sign(&accomplice, slot, &close_key, &close);
            let payee = SecretKey::from_bytes(random::bytes());
            let (_, passed) = spend(&accomplice, holding.payee_share(), &payee);
            vec![passed, got, close]
        };
        let (first, second) = (pass(), pass());
        Cheat { key, first, second }
    }

    /// The second record's item of place 1, signed at a lower seq.
    pub(super) fn squatter(&self) -> Item {
        let mut item = self.second[0].items()[1].clone();
        item.seq = LOWER_SEQ;
        item.signature = self.key.sign(&item.signable());
        item
    }
}

fn spend(key: &SecretKey, holding: HoldingId, payee: &SecretKey) -> (RecordKey, SignedRecord) {
    let record_key = RecordKey(random::bytes());
    let statement = Statement::Spend(Spend {
        holding,
        payee: payee.public(),
        anchor: ChainValue(random::bytes()),
    });
    let record = SignedRecord::sign(key, Slot::spend(&holding), &record_key, &statement);
    (record_key, record)
}
