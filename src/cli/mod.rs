//! One file a subcommand; text for people, `--json` for programs.

pub mod broker;
pub mod wallet;
