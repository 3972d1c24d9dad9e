//! The one loop that owns a wallet's or a broker's money: load, decide, apply, release.

pub mod broker;
