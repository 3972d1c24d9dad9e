//! The one loop that owns a wallet's or a broker's money: load, decide, apply, release.
//!
//! A decision is pure and lies below; here it is made durable, and only then are its effects
//! released: signatures, requests to the broker, answers to whoever asked.

pub mod broker;
mod kill;
pub mod wallet;
