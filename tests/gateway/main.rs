//! Gateways over real sockets, with real engines behind them.

mod pay;
mod plumbing;
mod raw;
mod rest;
mod resume;
mod support;
