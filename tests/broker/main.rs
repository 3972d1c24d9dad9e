//! A broker over real HTTP with a real database: money in, coins, paths, redemption, money out.

mod house;
mod life;
mod operator;
mod strangers;
