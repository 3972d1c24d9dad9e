//! A broker over real HTTP with a real database: money in, coins, paths, redemption, money out.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../support/anew.rs"]
mod anew;
mod attacks;
mod cases;
mod house;
mod killed;
mod life;
mod operator;
mod strangers;
