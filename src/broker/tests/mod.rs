//! The rules of the broker on rows in memory: no store, no network.

mod book;
mod clock;
mod contests;
mod losses;
mod rules;
mod sequences;
mod settling;
