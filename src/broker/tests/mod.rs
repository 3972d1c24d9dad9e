//! The rules of the broker on rows in memory: no store, no network.

mod book;
mod rules;
mod sequences;
