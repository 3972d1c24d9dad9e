//! What our engine asked a peer for and has not got yet.
//!
//! Only blocks that were asked for count as delivered. When a foreign peer chokes us it forgets
//! our requests, while our engine never repeats one: so they are sent again after the unchoke, and
//! a block that then comes twice is kept from the engine.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::wants::Bits;
use crate::wire::frame::Block;

/// Requests taken back by the engine that are still remembered, as the block may be on its way.
const MAX_CANCELLED: usize = 1024;
/// Blocks remembered that may come a second time.
const MAX_TWICE: usize = 2048;

/// What a block that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was asked for.
    Expected,
    /// It came before, and again because we repeated the request: keep it from the engine.
    Again,
    /// It was never asked for.
    Unasked,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    block: Block,
    cancelled: bool,
    lost: bool,
    repeated: bool,
}

/// Our engine's open requests to one peer.
#[derive(Debug, Default)]
pub struct Asked {
    open: VecDeque<Request>,
    cancelled: usize,
    twice: VecDeque<Block>,
}

impl Asked {
    /// The engine asks.
    pub fn ask(&mut self, block: Block) {
        self.open.push_back(Request {
            block,
            cancelled: false,
            lost: false,
            repeated: false,
        });
    }

    /// The engine takes a request back; the block may come all the same.
    pub fn cancel(&mut self, block: Block) {
        let Some(request) = self
            .open
            .iter_mut()
            .find(|r| r.block == block && !r.cancelled)
        else {
            return;
        };
        request.cancelled = true;
        self.cancelled += 1;
        if self.cancelled > MAX_CANCELLED
            && let Some(at) = self.open.iter().position(|r| r.cancelled)
        {
            self.open.remove(at);
            self.cancelled -= 1;
        }
    }

    /// A block comes in.
    pub fn arrive(&mut self, block: Block) -> Arrival {
        if let Some(at) = self.open.iter().position(|r| r.block == block) {
            if let Some(request) = self.open.remove(at) {
                self.cancelled -= usize::from(request.cancelled);
                if request.repeated {
                    self.twice.push_back(block);
                    if self.twice.len() > MAX_TWICE {
                        self.twice.pop_front();
                    }
                }
            }
            return Arrival::Expected;
        }
        match self.twice.iter().position(|b| *b == block) {
            Some(at) => {
                self.twice.remove(at);
                Arrival::Again
            }
            None => Arrival::Unasked,
        }
    }

    /// The peer chokes us: it has forgotten what is open.
    pub fn choke(&mut self) {
        for request in &mut self.open {
            request.lost = true;
        }
    }

    /// The peer unchokes us: the requests to send again, in their order.
    pub fn unchoke(&mut self) -> Vec<Block> {
        let mut again = Vec::new();
        for request in self.open.iter_mut().filter(|r| r.lost && !r.cancelled) {
            request.lost = false;
            request.repeated = true;
            again.push(request.block);
        }
        again
    }

    /// Whether a block is on its way to us, for all we know.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.open.len() > self.cancelled
    }

    /// These pieces, and those of which a block is on its way to us, for all we know, or is among those that
    /// `wait` to be asked for.
    #[must_use]
    pub fn and_asked<'a>(&self, pieces: &'a Bits, wait: &VecDeque<Block>) -> Cow<'a, Bits> {
        let open = self.open.iter().filter(|r| !r.cancelled);
        let blocks = open.map(|r| r.block).chain(wait.iter().copied());
        let mut all = Cow::Borrowed(pieces);
        for block in blocks {
            if !all.contains(block.piece) {
                all.to_mut().add(block.piece);
            }
        }
        all
    }

    /// Requests that are open, those taken back included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Bytes of all blocks asked for and not taken back.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        let open = self.open.iter().filter(|r| !r.cancelled);
        open.map(|r| u64::from(r.block.length_bytes)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(begin: u32) -> Block {
        Block {
            piece: 3,
            begin,
            length_bytes: 16,
        }
    }

    #[test]
    fn what_a_choke_lost_is_asked_again_after_the_unchoke() {
        let mut asked = Asked::default();
        for begin in [0, 16, 32, 48] {
            asked.ask(block(begin));
        }
        assert_eq!(asked.arrive(block(0)), Arrival::Expected);
        asked.cancel(block(32));
        asked.choke();
        assert_eq!(asked.unchoke(), [block(16), block(48)]);
        assert_eq!(asked.unchoke(), []);
    }

    #[test]
    fn a_block_that_comes_twice_because_we_repeated_it_is_kept_from_the_engine() {
        let mut asked = Asked::default();
        asked.ask(block(0));
        asked.choke();
        asked.unchoke();
        assert_eq!(asked.arrive(block(0)), Arrival::Expected);
        assert_eq!(asked.arrive(block(0)), Arrival::Again);
        assert_eq!(asked.arrive(block(0)), Arrival::Unasked);
    }

    #[test]
    fn a_cancelled_block_that_comes_is_still_one_we_asked_for() {
        let mut asked = Asked::default();
        asked.ask(block(0));
        asked.cancel(block(0));
        assert!(!asked.is_waiting());
        assert_eq!(asked.arrive(block(0)), Arrival::Expected);
        assert_eq!(asked.arrive(block(16)), Arrival::Unasked);
    }

    #[test]
    fn a_piece_that_is_asked_for_beyond_a_choice_counts_with_it_until_it_came() {
        let mut chosen = Bits::default();
        chosen.add(7);
        let (mut asked, mut wait) = (Asked::default(), VecDeque::new());
        let beyond = |asked: &Asked, wait: &VecDeque<Block>| {
            let all = asked.and_asked(&chosen, wait);
            (0..20).filter(|n| all.contains(*n)).collect::<Vec<_>>()
        };
        asked.ask(block(0));
        asked.ask(block(16));
        assert_eq!(beyond(&asked, &wait), [3, 7]);
        asked.cancel(block(0));
        asked.arrive(block(16));
        assert_eq!(beyond(&asked, &wait), [7]);
        wait.push_back(Block {
            piece: 9,
            ..block(0)
        });
        assert_eq!(beyond(&asked, &wait), [7, 9]);
        let all = asked.and_asked(&chosen, &VecDeque::new());
        assert!(matches!(all, Cow::Borrowed(_)), "no piece is copied");
    }

    #[test]
    fn cancelled_requests_are_remembered_within_bounds() {
        let mut asked = Asked::default();
        for begin in 0..5000 {
            asked.ask(block(begin));
            asked.cancel(block(begin));
        }
        assert_eq!(asked.open.len(), MAX_CANCELLED);
    }
}
