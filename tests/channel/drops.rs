//! Connections that are lost and come back, processes that end in the middle.

use dpay::channel::Kept;
use dpay::coin::{ChainValue, Commitment};
use dpay::units::Units;
use dpay::wire::message::RefuseReason;

use crate::pair::{KIB, Setup};
use crate::purse::{CoinPolicy, Purse};
use crate::world::World;

impl World {
    /// The payer notices that the connection is gone.
    pub fn cut_payer(&mut self, index: usize) {
        let pair = &mut self.pairs[index];
        pair.stopped = true;
        if pair.connected && !pair.payer_crashed {
            pair.connected = false;
            pair.payer.handle_disconnect(self.now);
            self.drive(index);
        }
    }

    /// The payee notices that the connection is gone.
    pub fn cut_payee(&mut self, index: usize) {
        let pair = &mut self.pairs[index];
        if pair.payee_connected && !pair.payee_crashed {
            pair.payee_connected = false;
            pair.payee.handle_disconnect();
            self.drive(index);
        }
    }

    /// A new connection between the two ends of an old one, for what is still missing.
    pub fn reconnect(&mut self, index: usize) -> usize {
        let pair = &self.pairs[index];
        let rest_bytes = pair.setup.length_bytes - pair.verified_bytes;
        self.connect(Setup {
            length_bytes: rest_bytes,
            wasted_pieces: 0,
            payee: Some(pair.identity),
            ..pair.setup.clone()
        })
    }

    /// The payer's process ends: all its machines are gone, and ticks of the last second.
    pub fn crash_payer(&mut self) {
        for pair in &mut self.pairs {
            pair.payer_crashed = true;
            pair.connected = false;
            pair.stopped = true;
        }
        self.purse.crash_payer(self.now);
        for index in 0..self.pairs.len() {
            self.cut_payee(index);
        }
    }

    /// A payee's process ends.
    pub fn crash_payee(&mut self, identity: usize) {
        for pair in &mut self.pairs {
            if pair.identity == identity {
                pair.payee_crashed = true;
                pair.payee_connected = false;
            }
        }
        self.purse.crash_payee(self.now, identity);
        for index in 0..self.pairs.len() {
            if self.pairs[index].identity == identity {
                self.cut_payer(index);
            }
        }
    }

    /// Hands a spend that is open to a connection of its payee, from another one where that lets go.
    pub fn take_up(
        &mut self,
        index: usize,
        channel: u32,
        spend: Commitment,
        k: u32,
        wk: &ChainValue,
    ) {
        let held = self.purse.spends.get(&spend).and_then(|row| row.held);
        if let Some(holder) = held.filter(|holder| *holder != index) {
            self.pairs[holder].payee.handle_let_go(&spend, k, wk);
            self.drive(holder);
        }
        let kept = match self.purse.spends.get_mut(&spend) {
            Some(row) if row.held.is_some() => return,
            Some(row) if row.recorded && row.close.is_none() => {
                row.held = Some(index);
                self.purse.find(&spend)
            }
            Some(_) => self.purse.find(&spend),
            None => Kept::Unknown,
        };
        let pair = &mut self.pairs[index];
        if let Err(fault) = pair.payee.handle_taken_up(self.now, channel, kept) {
            pair.faults.push(fault);
            self.disconnect(index);
        }
    }

    /// Closes a spend that no connection has, for a payer that shows a tick of it.
    pub fn close_for_payer(&mut self, index: usize, spend: Commitment, k: u32, wk: ChainValue) {
        let close = match self.purse.find(&spend) {
            Kept::Unknown => return,
            Kept::Closed(close) => *close,
            Kept::Open(_) if self.purse.spends[&spend].held.is_some() => return,
            Kept::Open(kept) => {
                let (mut at, mut value) = (kept.k, kept.wk);
                if k > at {
                    self.purse.received(self.now, &spend, k, wk);
                    (at, value) = (k, wk);
                }
                let identity = self.pairs[index].identity;
                self.purse.close(identity, &spend, at, value)
            }
        };
        self.pairs[index].payee.handle_kept_closed(spend, close);
    }
}

/// A spend that the payee never had is proposed again while the wallet looks for the next holding: the
/// numbers on the wire rise all the same.
#[test]
fn a_payer_of_crumbs_goes_on_after_a_drop() {
    let mut setup = Setup::new(32 * KIB, 4_255_094, 36_093);
    setup.pieces_at_once = 2;
    let mut proposed_again = 0;
    for drop_ms in (100..2_000).step_by(10) {
        let mut world = World::new(Purse::new(Units(1_000_000), CoinPolicy::Near(Units(4))));
        let pair = world.connect(setup.clone());
        world.run(drop_ms, |w| w.pairs[pair].is_finished());
        world.disconnect(pair);
        let pair = world.reconnect(pair);
        let finished = world.run(4_000_000, |w| w.pairs[pair].is_finished());
        let this = &world.pairs[pair];
        assert!(this.faults.is_empty(), "{drop_ms} ms: {:?}", this.faults);
        assert!(finished, "{drop_ms} ms: {:#?}", this.payer);
        proposed_again += usize::from(this.refusals.contains(&RefuseReason::Unknown));
    }
    assert!(proposed_again > 0, "some opens are lost");
}
