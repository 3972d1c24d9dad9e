//! Wallets against a real broker on loopback: a payment from deposit to redemption with a restart at
//! each step, and everything that may go wrong around it.

mod ahead;
mod between;
mod books;
mod deposits;
mod held;
mod house;
mod life;
mod lists;
mod lossy;
mod proofs;
mod trouble;
mod unread;
mod withdrawing;
