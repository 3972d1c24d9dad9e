//! Broker API, node API, errors to status, and the client that speaks to a broker.

pub mod broker;
pub mod client;
pub mod node;
