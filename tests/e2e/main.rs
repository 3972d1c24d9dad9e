//! End to end, in separate processes on loopback: real DHT nodes, a real broker, real seeders and leechers,
//! and real foreign clients. Tests wait for states, never for time.

#[path = "../support/anew.rs"]
mod anew;
mod books;
mod branches;
mod cheats;
mod contest;
mod dates;
mod demo;
mod faults;
mod few;
mod foreign;
mod gone;
mod killed;
mod passing;
mod payees;
mod raw;
mod records;
mod relay;
mod replay;
mod restore;
mod restored;
mod resume;
mod settled;
mod support;
mod withdraw;
