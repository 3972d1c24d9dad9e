//! The node as a process: its API, its security, its restart, its commands.

mod asking;
mod budgets;
mod chosen;
mod contract;
mod dht;
mod disk;
mod download;
mod killed;
mod label;
mod late;
mod many;
mod money;
mod play;
mod queue;
mod ratio;
mod refuses;
mod reports;
mod router;
mod said;
mod same;
mod security;
mod sources;
mod stop;
mod support;
mod waits;
mod withdraw;
