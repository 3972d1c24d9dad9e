//! The node as a process: its API, its security, its restart.

mod contract;
