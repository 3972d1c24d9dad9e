//! My holdings: choose, reserve, spend, receive, redeem: decisions over loaded rows
//! (`docs/protocol.md` sections 2, 5 and 11).
//!
//! Nothing here reads a clock, draws randomness or waits. Each decision takes the [`Rows`] as they
//! are, the moment, and what somebody wants, and returns one [`Change`]: the rows to write, the
//! journal lines that say why, and the effects that may be released once the change is durable.
//! The cashier owns the rows, writes the change, and only then signs and sends.
//!
//! ```text
//! Available --reserve--> Reserved --commit--> Locked --close of the payee--> Closed (+ change)
//!     ^                     |
//!     +------ release ------+
//! Unread ----slot read, nothing there----> Available
//!     +------something there--> Frozen --shown to be our own spend or redeem--> Locked, Redeeming
//! Available --redeem--> Redeeming --answer of the broker--> Redeemed, or Refused
//! ```
//!
//! A holding's spend slot is signed for once: by the arrow to Locked or by the arrow to Redeeming,
//! and there is no arrow from one to the other. After a start everything that was available is
//! unread: a copy of this wallet, or a run whose journal is lost, may have signed for it.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::unwrap_used))]

pub mod change;
pub mod choose;
pub mod deals;
pub mod earning;
pub mod error;
pub mod freeze;
pub mod keeping;
pub mod keys;
pub mod notices;
pub mod order;
pub mod paying;
pub mod proofs;
pub mod reading;
pub mod receipt;
pub mod recover;
pub mod rows;
pub mod settled;
pub mod sign;
pub mod signing;
pub mod step;
pub mod trade;
pub mod view;
pub mod withdraw;

#[cfg(test)]
mod choose_tests;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod keeping_tests;
#[cfg(test)]
mod reading_tests;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trade_tests;

pub use change::{ApplyError, Change, Effect, JournalEntry, JournalKind, JournalLine};
pub use choose::{Funds, Limits, NoCoin, SIZES, Wish};
pub use deals::Deal;
pub use error::WalletError;
pub use freeze::Freeze;
pub use rows::{
    Books, HoldingRow, HoldingState, Meta, Origin, Passing, PayeeKeyRow, PinnedBroker, PurchaseRow,
    PurchaseState, ReceivedRow, ReceivedState, RedemptionRow, RequestId, Rows, SpendRow,
};
pub use step::Step;
pub use view::{
    Balance, FrozenLine, LockReason, LockedLine, PendingLine, Unwritten, WithdrawingLine,
};
pub use withdraw::{WithdrawalRow, WithdrawalState};
