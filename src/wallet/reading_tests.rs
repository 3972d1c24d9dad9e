//! A wallet and its older self: what the one signed, the other finds, and never signs beside.

use super::fixture::{NOW, Side};
use super::reading::{
    Born, Found, FoundClose, Sight, Standing, adopt_close, found, judge, judge_close,
};
use super::*;
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::SecretKey;
use crate::coin::statement::{Redeem, Statement};
use crate::record::{Item, OpenSpend, SignedRecord, Slot};

const REQUEST: RequestId = RequestId([9; 16]);

/// A payer with one coin, a backup of it, and a payee.
struct Old {
    payer: Side,
    backup: Side,
    payee: Side,
    coin: HoldingId,
}

impl Old {
    fn new() -> Old {
        let (mut payer, mut backup, mut payee) = (Side::new(1), Side::new(1), Side::new(2));
        payer.buy(&[64], NOW);
        payee.certify(1, NOW);
        backup.rows = payer.disk.clone();
        backup.disk = payer.disk.clone();
        Born::default().mark(&mut backup.rows);
        let coin = *payer.rows.holdings.keys().next().expect("bought");
        Old {
            payer,
            backup,
            payee,
            coin,
        }
    }

    /// The payer's newer self spends the coin.
    fn spend(&mut self) -> OpenSpend {
        self.payer.reserve(1, 64, NOW).expect("there");
        let key = keys::pick(&self.payee.rows, &Default::default(), NOW).expect("certified");
        let paid = self.payer.commit(&self.coin, key.certificate, NOW);
        paid.expect("reserved").0
    }

    fn judge(&self, items: Vec<Item>, broker: Standing) -> Found {
        let holding = &self.backup.rows.holdings[&self.coin].holding;
        judge(&self.backup.seed, holding, &Sight { items, broker })
    }

    fn take(&mut self, judged: &Found) {
        let change = found(&self.backup.rows, &self.coin, judged, REQUEST, NOW);
        self.backup.write(change.expect("known"));
    }

    fn state(&self) -> &HoldingState {
        &self.backup.rows.holdings[&self.coin].state
    }
}

fn items(open: &OpenSpend, old: &Old) -> Vec<Item> {
    let record = open.record(&old.payer.rows.holdings[&old.coin].holding);
    record.items().to_vec()
}

#[test]
fn what_is_unread_is_not_chosen_and_not_redeemed() {
    let mut old = Old::new();
    assert_eq!(*old.state(), HoldingState::Unread);
    assert_eq!(old.backup.reserve(1, 64, NOW).err(), Some(NoCoin::NotYet));
    let ids = trade::redeemable(&old.backup.rows, trade::Redeemable::All, NOW);
    assert_eq!(ids, []);
    let clean = old.judge(Vec::new(), Standing::Nothing);
    assert_eq!(clean, Found::Clean);
    old.take(&clean);
    assert_eq!(
        old.backup.reserve(1, 64, NOW).expect("read").holding.id,
        old.coin
    );
}

#[test]
fn a_spend_of_a_lost_journal_freezes_the_coin_until_the_broker_shows_it() {
    let mut old = Old::new();
    let open = old.spend();
    let c = open.commitment(&old.coin);
    let seen = items(&open, &old);
    let judged = old.judge(seen.clone(), Standing::Nothing);
    let frozen = Found::Frozen {
        why: Freeze::OwnSpend,
        seen: Some(c),
    };
    assert_eq!(judged, frozen);
    old.take(&judged);
    let at_first = old.state().clone();
    old.take(&judged);
    assert_eq!(*old.state(), at_first, "the same again changes nothing");
    assert_eq!(Balance::of(&old.backup.rows, NOW).frozen.0, 64);
    assert!(old.backup.reserve(1, 64, NOW).is_err());
    assert_eq!(
        trade::redeemable(&old.backup.rows, trade::Redeemable::All, NOW),
        []
    );
    old.backup.crash();
    assert_eq!(*old.state(), at_first, "it is durable");

    let path = old.payer.rows.holdings[&old.coin].path.clone();
    let spend = old.payee.receive(&path, open, NOW).expect("good");
    let close = old.payee.close(&spend, NOW);
    let shown = Standing::Spend {
        c,
        open: Some(Box::new(open)),
        close: Some(Box::new(close)),
    };
    let judged = old.judge(seen, shown);
    old.take(&judged);
    let row = &old.backup.rows.spends[&c];
    let key_index = old.backup.rows.holdings[&old.coin].key_index;
    assert_eq!(
        sign::sign_spend(&old.backup.seed, key_index, row),
        open,
        "the same bytes"
    );
    let change = paying::closed(&old.backup.rows, &c, &open, &close, NOW);
    old.backup.write(change.expect("good"));
    assert_eq!(
        old.backup.held(),
        64,
        "nothing was ticked: all of it is change"
    );
}

#[test]
fn a_redeem_of_a_lost_journal_is_asked_for_again_with_the_same_bytes() {
    let mut old = Old::new();
    let change = trade::begin_redemption(&old.payer.rows, REQUEST, &[old.coin], NOW);
    old.payer.write(change.expect("available"));
    let first = sign::sign_redeem(&old.payer.seed, &old.payer.rows.holdings[&old.coin]);
    let c = first
        .record(&old.payer.rows.holdings[&old.coin].holding)
        .commitment();
    let judged = old.judge(Vec::new(), Standing::Redeem { c });
    assert_eq!(judged, Found::Redeem);
    old.take(&judged);
    assert_eq!(
        trade::unfinished(&old.backup.rows),
        [Effect::SendRedemption(REQUEST)]
    );
    let again = sign::sign_redeem(&old.backup.seed, &old.backup.rows.holdings[&old.coin]);
    assert_eq!(first, again);
}

#[test]
fn what_is_not_ours_or_is_there_twice_is_left_alone() {
    let mut old = Old::new();
    let open = old.spend();
    let mut seen = items(&open, &old);
    let holder = old
        .payer
        .seed
        .holder_key(old.payer.rows.holdings[&old.coin].key_index);
    let thief = Statement::Redeem(Redeem {
        holding: old.coin,
        account: SecretKey::from_bytes([3; 32]).public(),
    });
    let key = crate::coin::ids::RecordKey([4; 32]);
    let rival = SignedRecord::sign(&holder, Slot::spend(&old.coin), &key, &thief).items();
    let why = |judged| match judged {
        Found::Frozen { why, .. } => Some(why),
        _ => None,
    };
    let alone = old.judge(rival.to_vec(), Standing::Nothing);
    assert_eq!(why(alone), Some(Freeze::Foreign));
    seen.extend(rival);
    let both = old.judge(seen.clone(), Standing::Nothing);
    assert_eq!(why(both), Some(Freeze::Rivals));
    seen.truncate(3);
    let other = Standing::Redeem {
        c: Commitment([1; 32]),
    };
    assert_eq!(why(old.judge(seen, other.clone())), Some(Freeze::Rivals));
    assert_eq!(why(old.judge(Vec::new(), other)), Some(Freeze::Foreign));
    let hidden = Standing::Spend {
        c: open.commitment(&old.coin),
        open: None,
        close: None,
    };
    assert_eq!(why(old.judge(Vec::new(), hidden)), Some(Freeze::Listed));
    let listed = Found::Frozen {
        why: Freeze::Listed,
        seen: None,
    };
    old.take(&listed);
    old.take(&Found::Clean);
    assert_eq!(
        *old.state(),
        HoldingState::Available,
        "the broker knew of nothing after all"
    );
    let kinds: Vec<_> = old.backup.journal.iter().map(|line| line.kind).collect();
    assert_eq!(
        kinds[kinds.len() - 2..],
        [JournalKind::Frozen, JournalKind::Thawed]
    );
}

/// The DHT forgets what nobody puts again.
#[test]
fn what_was_seen_signed_stays_frozen_when_it_is_seen_no_more() {
    for (why, seen) in [
        (Freeze::OwnSpend, Some(Commitment([1; 32]))),
        (Freeze::Foreign, None),
        (Freeze::Rivals, None),
        (Freeze::Listed, Some(Commitment([1; 32]))),
    ] {
        let mut old = Old::new();
        old.spend();
        old.take(&Found::Frozen { why, seen });
        let before = old.state().clone();
        old.take(&Found::Clean);
        assert_eq!(*old.state(), before, "{why:?}");
    }
}

#[test]
fn a_close_of_a_lost_journal_is_signed_again_as_it_was() {
    let mut old = Old::new();
    let open = old.spend();
    let path = old.payer.rows.holdings[&old.coin].path.clone();
    let spend = old.payee.receive(&path, open, NOW).expect("good");
    let chain = sign::chain(&old.payer.seed, &old.payer.rows.holdings[&old.coin].holding);
    let mut backup = Side::new(2);
    (backup.rows, backup.disk) = (old.payee.rows.clone(), old.payee.disk.clone());
    let wk = chain.reveal(20).expect("in chain");
    let (change, _) = earning::ticks(&old.payee.rows, &[(spend, 20, wk)]).expect("fits");
    old.payee.write(change);
    let close = old.payee.close(&spend, NOW);

    let row = &backup.rows.received[&spend];
    assert_eq!(judge_close(row, &[]), FoundClose::Clean);
    let seen = close.record(&old.coin, &open).items();
    let ours = judge_close(row, &seen);
    assert_eq!(ours, FoundClose::Ours { k: 20, wk });
    let [mut forged, ..] = seen.clone();
    forged.value[40] ^= 1;
    assert_eq!(
        judge_close(row, &[forged.clone()]),
        FoundClose::Other(Freeze::Foreign)
    );
    let [first, ..] = seen;
    assert_eq!(
        judge_close(row, &[first, forged]),
        FoundClose::Other(Freeze::Rivals)
    );
    backup.write(adopt_close(&backup.rows, &spend, (20, wk)).expect("fits"));
    let again = sign::sign_close(&backup.seed, &backup.rows.received[&spend]);
    assert_eq!(close, again, "the same bytes");
    backup.write(earning::close_signed(&backup.rows, &spend, &again, NOW).expect("fixed"));
    assert_eq!(backup.held(), 20);
}

#[test]
fn only_what_this_run_made_is_available_without_reading() {
    let mut side = Side::new(1);
    let mut born = Born::default();
    let (mut change, indices) = keys::take(&side.rows, 1).expect("fresh");
    born.note(&side.rows, &mut change);
    assert!(born.has(indices[0]) && !born.has(indices[0] + 1));
    side.buy(&[16, 64], NOW);
    let mut rows = side.rows.clone();
    born.mark(&mut rows);
    let unread = |index: u32| {
        let row = rows.holdings.values().find(|row| row.key_index == index);
        row.expect("bought").state == HoldingState::Unread
    };
    assert_eq!((unread(0), unread(1)), (false, true));
}
