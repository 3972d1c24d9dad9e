//! DPay: a BitTorrent client that pays seeders per verified piece.
//!
//! The rooms, from the bottom up; a room imports only from lower rows (`tests/rooms.rs` enforces it).
//! Rooms up to `broker` are state machines without IO, clock or randomness.

// 0
pub mod units;
// 1
pub mod coin;
pub mod torrent;
// 2
pub mod record;
// 3
pub mod wire;
// 4
pub mod broker;
pub mod channel;
pub mod wallet;
// 5
pub mod clock;
pub mod dht;
pub mod engine;
pub mod random;
pub mod store;
// 6
pub mod cashier;
// 7
pub mod gateway;
pub mod http;
pub mod report;
// 8
pub mod config;
pub mod node;
// 9
pub mod session;
// 10: http::node
// 11
pub mod cli;
