//! Gateways over real sockets, with real engines behind them.

mod pay;
mod played;
mod plumbing;
mod raw;
mod rest;
mod resume;
mod support;
