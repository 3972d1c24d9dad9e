//! Rows on disk for wallet and broker.

pub mod broker;
pub mod lock;
pub mod wallet;
