//! What channels came to, one line each, from the rows alone: what was paid, what was earned, and what
//! became of that. The sums are those of the books, to the unit, whatever was closed.

use std::collections::BTreeMap;

use super::change::{JournalKind, JournalLine};
use super::reading::LOST_PEER;
use super::rows::{HoldingState, ReceivedState, RequestId, Rows, SpendRow};
use crate::coin::ids::{Commitment, HoldingId};
use crate::units::{InfoHash, Units, UnixMs};

/// What one channel came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    /// The line of it, paid or earned. Its moment is when the connection to the payee ended or we
    /// closed; now, while that has not happened. Torrent and peer are none where a journal was lost.
    pub line: JournalLine,
    /// Whether it is not closed: more may come.
    pub is_open: bool,
    /// What became of earned units. Nothing of what was paid.
    pub became: Became,
}

/// What became of earned units; all of it together is what was earned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Became {
    /// What the broker credited, by redemption or by settling a coin.
    pub redeemed: Vec<JournalLine>,
    /// What was paid with it, to whom and for which torrent.
    pub spent: Vec<JournalLine>,
    /// What is there: at hand, on its way to the broker, or not paid yet in channels.
    pub held: Units,
    /// What was refused by the broker, or is frozen.
    pub withheld: Units,
}

/// What a torrent has cost and earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TorrentSums {
    /// Paid, in closed and open channels.
    pub paid: Units,
    /// Earned, likewise.
    pub earned: Units,
}

/// What each torrent has cost and earned: all of them together are the books.
#[must_use]
pub fn by_torrent(rows: &Rows) -> BTreeMap<InfoHash, TorrentSums> {
    let mut sums: BTreeMap<InfoHash, TorrentSums> = BTreeMap::new();
    let add = |sum: &mut Units, units: u32| {
        *sum = (sum.checked_add(Units(u64::from(units)))).unwrap_or(*sum);
    };
    let closed = rows.spends.values().filter(|row| row.close.is_some());
    for row in closed.chain(rows.open_spends()) {
        add(&mut sums.entry(row.info_hash).or_default().paid, row.last_k);
    }
    for row in rows.received.values() {
        add(&mut sums.entry(row.info_hash).or_default().earned, row.k);
    }
    sums
}

/// What was paid, the oldest first. A channel that the broker settled for want of a close paid nothing.
#[must_use]
pub fn paid(rows: &Rows, now: UnixMs) -> Vec<Deal> {
    let closed = rows.spends.values().filter(|row| row.close.is_some());
    let deals = closed.chain(rows.open_spends()).map(|row| Deal {
        line: payment(row, Units(u64::from(row.last_k)), now),
        is_open: row.close.is_none(),
        became: Became::default(),
    });
    sorted(deals.collect())
}

/// What was earned, the oldest first.
#[must_use]
pub fn earned(rows: &Rows, now: UnixMs) -> Vec<Deal> {
    let deals = rows.received.values().map(|row| {
        let units = Units(u64::from(row.k));
        let is_open = !matches!(row.state, ReceivedState::Closed { .. });
        let at = match is_open {
            true => now,
            false => row.closed.unwrap_or(row.opened),
        };
        Deal {
            line: JournalLine {
                at,
                kind: JournalKind::Earned,
                units,
                info_hash: known_torrent(row.info_hash),
                peer: known_peer(&row.peer),
                reference: row.spend.to_string(),
            },
            is_open,
            became: match is_open {
                true => Became {
                    held: units,
                    ..Became::default()
                },
                false => became(rows, row.holding.id.payee_share(), units, now),
            },
        }
    });
    sorted(deals.collect())
}

fn sorted(mut deals: Vec<Deal>) -> Vec<Deal> {
    deals.sort_by(|a, b| (a.line.at, &a.line.reference).cmp(&(b.line.at, &b.line.reference)));
    deals
}

fn known_torrent(info_hash: InfoHash) -> Option<InfoHash> {
    (info_hash.0 != [0; 20]).then_some(info_hash)
}

fn known_peer(peer: &str) -> Option<String> {
    (peer != LOST_PEER).then(|| peer.to_owned())
}

fn payment(row: &SpendRow, units: Units, now: UnixMs) -> JournalLine {
    let running = match row.close {
        Some(_) => row.opened,
        None => now,
    };
    JournalLine {
        at: row.ended.unwrap_or(running),
        kind: JournalKind::Paid,
        units,
        info_hash: known_torrent(row.info_hash),
        peer: known_peer(&row.peer),
        reference: row.spend.to_string(),
    }
}

/// Follows a share of `units` through what was paid with it and the change that this left.
fn became(rows: &Rows, share: HoldingId, units: Units, now: UnixMs) -> Became {
    let (mut became, mut id, mut left) = (Became::default(), share, units);
    while !left.is_zero() {
        let state = rows.holdings.get(&id).map(|row| &row.state);
        let mut pay = |spend: &Commitment, k: u32| {
            let units = Units(u64::from(k)).min(left);
            left = left.saturating_sub(units);
            if let Some(row) = rows.spends.get(spend).filter(|_| !units.is_zero()) {
                became.spent.push(payment(row, units, now));
            }
        };
        match state {
            Some(HoldingState::Closed { spend, k }) => {
                pay(spend, *k);
                id = id.change();
                continue;
            }
            Some(HoldingState::Locked { spend }) => {
                pay(spend, rows.spends.get(spend).map_or(0, |row| row.last_k));
                became.held = left;
            }
            Some(HoldingState::Redeemed { request, at, .. }) => {
                became
                    .redeemed
                    .push(credit(rows, &id, *request, (left, *at)));
            }
            Some(HoldingState::Frozen { .. } | HoldingState::Refused { .. }) | None => {
                became.withheld = left;
            }
            Some(
                HoldingState::Available
                | HoldingState::Unread
                | HoldingState::Reserved { .. }
                | HoldingState::Redeeming { .. },
            ) => became.held = left,
        }
        break;
    }
    became
}

/// A credit; one without a request is the broker's settlement of the coin.
fn credit(
    rows: &Rows,
    id: &HoldingId,
    request: RequestId,
    (units, at): (Units, UnixMs),
) -> JournalLine {
    let row = rows.holdings.get(id);
    let (kind, reference) = match request.0 == [0; 16] {
        true => (JournalKind::Settled, id.to_string()),
        false => (JournalKind::Redeemed, request.to_string()),
    };
    JournalLine {
        at,
        kind,
        units,
        info_hash: row.and_then(|row| row.info_hash).and_then(known_torrent),
        peer: row.and_then(|row| row.peer.as_deref()).and_then(known_peer),
        reference,
    }
}

/// Whether the deals are what the books say, and of everything earned it is said what became of it.
#[cfg(test)]
pub(crate) fn agree_with_books(rows: &Rows, now: UnixMs) {
    let sum = |deals: &[Deal]| Units::checked_sum(deals.iter().map(|deal| deal.line.units));
    let (paid, earned) = (paid(rows, now), earned(rows, now));
    assert_eq!(sum(&paid), Some(rows.meta.books.paid));
    assert_eq!(sum(&earned), Some(rows.meta.books.earned));
    let sums = by_torrent(rows);
    let sum = |of: fn(&TorrentSums) -> Units| Units::checked_sum(sums.values().map(of));
    assert_eq!(sum(|sums| sums.paid), Some(rows.meta.books.paid));
    assert_eq!(sum(|sums| sums.earned), Some(rows.meta.books.earned));
    for deal in earned {
        let Became {
            redeemed,
            spent,
            held,
            withheld,
        } = deal.became;
        let lines = redeemed.iter().chain(&spent).map(|line| line.units);
        let parts = Units::checked_sum(lines.chain([held, withheld]));
        assert_eq!(parts, Some(deal.line.units), "of {}", deal.line.reference);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, REST, Side, TORRENT, pay};
    use super::super::trade::{self, Redeemable, Redeemed};
    use super::super::{keys, paying};
    use super::*;

    #[test]
    fn earned_units_are_followed_through_payments_to_the_credit() {
        let [mut first, mut second, mut third] = [1, 2, 3].map(Side::new);
        first.buy(&[256], NOW);
        let earning = pay(&mut first, &mut second, (256, 256), 200, NOW);
        let later = NOW.plus_ms(86_400_000);
        let spending = pay(&mut second, &mut third, (200, 200), 50, later);
        let [deal] = earned(&second.rows, later).try_into().expect("one channel");
        assert_eq!(deal.line.reference, earning.to_string());
        assert_eq!((deal.line.units, deal.line.at), (Units(200), NOW));
        assert_eq!((deal.line.info_hash, deal.is_open), (Some(TORRENT), false));
        let [spent] = deal.became.spent.as_slice() else {
            panic!("{deal:?}")
        };
        assert_eq!((spent.units, spent.at), (Units(50), later));
        assert_eq!(spent.reference, spending.to_string());
        assert_eq!(deal.became.held, Units(150));
        agree_with_books(&second.rows, later);

        let ids = trade::redeemable(&second.rows, Redeemable::Earned, later);
        let request = second.request();
        let change = trade::begin_redemption(&second.rows, request, &ids, later);
        second.write(change.expect("there"));
        let credited = [Redeemed::Credited {
            units: Units(150),
            pending_until: later,
        }];
        let change = trade::redeemed(&second.rows, &request, &credited, vec![1], REST, later);
        second.write(change.expect("fits"));
        let [deal] = earned(&second.rows, later).try_into().expect("one channel");
        let [redeemed] = deal.became.redeemed.as_slice() else {
            panic!("{deal:?}")
        };
        assert_eq!(redeemed.reference, request.to_string());
        assert_eq!((redeemed.units, deal.became.held), (Units(150), Units(0)));
        agree_with_books(&second.rows, later);
    }

    #[test]
    fn what_is_ticked_in_an_open_channel_counts_and_is_said_to_be_open() {
        let [mut payer, mut payee] = [1, 2].map(Side::new);
        payer.buy(&[64], NOW);
        let row = payer.reserve(64, 64, NOW).expect("there");
        payee.certify(1, NOW);
        let key = keys::pick(&payee.rows, &Default::default(), NOW).expect("certified");
        let opened = payer.commit(&row.holding.id, key.certificate, NOW);
        let (open, chain) = opened.expect("reserved");
        let spend = payee.receive(&row.path, open, NOW).expect("good");
        let wk = chain.reveal(20).expect("in chain");
        payer.write(paying::ticks(&payer.rows, &[(spend, 20)]).expect("fits"));
        let ticks = super::super::earning::ticks(&payee.rows, &[(spend, 20, wk)]);
        payee.write(ticks.expect("fits").0);
        let later = NOW.plus_ms(5_000);
        for (side, deals) in [(&payer, paid as fn(&Rows, UnixMs) -> _), (&payee, earned)] {
            let [deal]: [Deal; 1] = deals(&side.rows, later).try_into().expect("one channel");
            assert_eq!((deal.line.units, deal.is_open), (Units(20), true));
            assert_eq!(deal.line.at, later);
            agree_with_books(&side.rows, later);
        }
        payer.write(paying::ended(&payer.rows, &[spend], NOW));
        assert_eq!(paid(&payer.rows, later)[0].line.at, NOW);
        let close = payee.close(&spend, later);
        let closed = paying::closed(&payer.rows, &spend, &open, &close, later);
        payer.write(closed.expect("good"));
        let deal = &paid(&payer.rows, later)[0];
        assert_eq!((deal.line.at, deal.is_open), (NOW, false));
    }

    #[test]
    fn a_channel_that_the_broker_settled_paid_nothing() {
        let [mut payer, mut payee] = [1, 2].map(Side::new);
        payer.buy(&[64], NOW);
        let row = payer.reserve(64, 64, NOW).expect("there");
        payee.certify(1, NOW);
        let key = keys::pick(&payee.rows, &Default::default(), NOW).expect("certified");
        let opened = payer.commit(&row.holding.id, key.certificate, NOW);
        let spend = opened.expect("reserved").0.commitment(&row.holding.id);
        payer.write(paying::ticks(&payer.rows, &[(spend, 9)]).expect("fits"));
        let settled = super::super::settled::settled(&payer.rows, &row.holding.id, Units(64), NOW);
        payer.write(settled.expect("whole"));
        assert_eq!(paid(&payer.rows, NOW), []);
        agree_with_books(&payer.rows, NOW);
    }
}
