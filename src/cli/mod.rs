//! One file a subcommand; text for people, `--json` for programs.
//!
//! Exit codes: 0 done, 1 failed (the error says why), 2 wrong usage, 3 a check found what must not be
//! (an audit, a verification), 130 interrupted before the work was done.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Global;

pub mod world;

/// The work was done.
pub const EXIT_DONE: u8 = 0;
/// The work failed; the error says why.
pub const EXIT_FAILED: u8 = 1;
/// A check found what must not be.
pub const EXIT_CHECK: u8 = 3;
/// Interrupted before the work was done.
pub const EXIT_INTERRUPTED: u8 = 130;

/// A BitTorrent client that pays seeders per verified piece.
#[derive(Debug, Parser)]
#[command(name = "dpay", version, about, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found what must not be, 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {}

/// Parses the command line, runs it, prints the error chain.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {}
}
