//! The node as a process: its API, its security, its restart, its commands.

mod contract;
mod download;
mod many;
mod refuses;
mod security;
mod support;
mod withdraw;
