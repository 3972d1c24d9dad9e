//! Requests of one peer on their way to our engine: held until they may be served.
//!
//! An engine that has a request serves it, and librqbit ignores `cancel`. So what a peer may not
//! have yet stays here, and what was let through counts against the peer until it was served.

use std::collections::{HashMap, VecDeque};

use crate::units::UnixMs;
use crate::wire::frame::Block;

/// Most requests that are held for one peer; clients keep a few hundred open.
const MAX_HELD: usize = 4096;

/// On what account a request was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// It will be paid.
    Paid,
    /// It is served for nothing, under the free policy.
    Free,
}

/// Requests held and let through for one peer.
#[derive(Debug, Default)]
pub struct Hold {
    held: VecDeque<(Block, UnixMs)>,
    admitted: HashMap<Block, VecDeque<Account>>,
    paid_bytes: u64,
    free_bytes: u64,
}

impl Hold {
    /// Takes a request of the peer in. False where the peer asks without bounds.
    #[must_use]
    pub fn push(&mut self, now: UnixMs, block: Block) -> bool {
        if self.held.len() >= MAX_HELD {
            return false;
        }
        self.held.push_back((block, now));
        true
    }

    /// Takes a held request out. False where it was let through already or never made.
    pub fn cancel(&mut self, block: Block) -> bool {
        match self.held.iter().position(|(held, _)| *held == block) {
            Some(at) => self.held.remove(at).is_some(),
            None => false,
        }
    }

    /// The request that has waited longest.
    #[must_use]
    pub fn first(&self) -> Option<Block> {
        self.held.front().map(|(block, _)| *block)
    }

    /// Since when the first held request waits.
    #[must_use]
    pub fn waiting_since(&self) -> Option<UnixMs> {
        self.held.front().map(|(_, since)| *since)
    }

    /// Lets the first held request through to the engine.
    pub fn admit(&mut self, account: Account) -> Option<Block> {
        let (block, _) = self.held.pop_front()?;
        self.admitted.entry(block).or_default().push_back(account);
        *self.bytes_of(account) += u64::from(block.length_bytes);
        Some(block)
    }

    /// The engine serves a block; on what account, if it was asked for.
    pub fn serve(&mut self, block: Block) -> Option<Account> {
        let accounts = self.admitted.get_mut(&block)?;
        let account = accounts.pop_front()?;
        if accounts.is_empty() {
            self.admitted.remove(&block);
        }
        let bytes = self.bytes_of(account);
        *bytes = bytes.saturating_sub(u64::from(block.length_bytes));
        Some(account)
    }

    /// The engine choked the peer: it will serve nothing of what was let through.
    pub fn forget_admitted(&mut self) {
        self.admitted.clear();
        self.paid_bytes = 0;
        self.free_bytes = 0;
    }

    /// We choke the peer: it will ask again for what is held.
    pub fn forget_held(&mut self) {
        self.held.clear();
    }

    fn bytes_of(&mut self, account: Account) -> &mut u64 {
        match account {
            Account::Paid => &mut self.paid_bytes,
            Account::Free => &mut self.free_bytes,
        }
    }

    /// Bytes let through on this account and not served yet.
    #[must_use]
    pub const fn admitted_bytes(&self, account: Account) -> u64 {
        match account {
            Account::Paid => self.paid_bytes,
            Account::Free => self.free_bytes,
        }
    }

    /// Blocks let through and not served yet.
    #[must_use]
    pub fn admitted(&self) -> usize {
        self.admitted.len()
    }

    /// Requests held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(begin: u32) -> Block {
        Block {
            piece: 0,
            begin,
            length_bytes: 100,
        }
    }

    #[test]
    fn a_request_counts_from_its_admission_until_it_is_served() {
        let mut hold = Hold::default();
        assert!(hold.push(UnixMs(5), block(0)));
        assert!(hold.push(UnixMs(6), block(100)));
        assert_eq!(hold.waiting_since(), Some(UnixMs(5)));
        assert_eq!(hold.admit(Account::Paid), Some(block(0)));
        assert_eq!(hold.admitted_bytes(Account::Paid), 100);
        assert_eq!(hold.serve(block(0)), Some(Account::Paid));
        assert_eq!(hold.admitted_bytes(Account::Paid), 0);
        assert_eq!(hold.serve(block(0)), None);
        assert_eq!(hold.held(), 1);
    }

    #[test]
    fn a_cancel_takes_a_held_request_out_and_nothing_else() {
        let mut hold = Hold::default();
        assert!(hold.push(UnixMs(0), block(0)));
        assert!(hold.push(UnixMs(0), block(100)));
        hold.admit(Account::Free);
        assert!(!hold.cancel(block(0)));
        assert!(hold.cancel(block(100)));
        assert_eq!(hold.admitted_bytes(Account::Free), 100);
        assert_eq!(hold.first(), None);
    }

    #[test]
    fn the_same_block_asked_twice_is_served_twice() {
        let mut hold = Hold::default();
        assert!(hold.push(UnixMs(0), block(0)));
        assert!(hold.push(UnixMs(0), block(0)));
        hold.admit(Account::Free);
        hold.admit(Account::Paid);
        assert_eq!(hold.serve(block(0)), Some(Account::Free));
        assert_eq!(hold.serve(block(0)), Some(Account::Paid));
        assert_eq!(hold.admitted_bytes(Account::Paid), 0);
    }

    #[test]
    fn a_peer_that_asks_without_bounds_is_told_apart() {
        let mut hold = Hold::default();
        for begin in 0..MAX_HELD {
            assert!(hold.push(UnixMs(0), block(begin as u32)));
        }
        assert!(!hold.push(UnixMs(0), block(0)));
    }
}
