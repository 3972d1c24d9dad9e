//! What a system needs besides the program: service units, completions, man pages.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::config::Global;

/// Unit of a node, for a user's own systemd.
const NODE_UNIT: &str = include_str!("../../docs/dpay-node.service");
/// Unit of a broker, for the system's.
const BROKER_UNIT: &str = include_str!("../../docs/dpay-broker.service");

/// Whose unit.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Unit {
    /// The node, as a user's service
    Node,
    /// The broker, as a service of the system
    Broker,
}

/// Which unit.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ServiceArgs {
    /// Whose
    #[arg(value_enum)]
    pub unit: Unit,
}

/// Which shell.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Where man pages go.
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// The folder, mostly ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Prints a unit; a node's for the home that is named.
///
/// # Errors
/// A home that has no absolute path.
pub fn unit(args: ServiceArgs, global: &Global) -> Result<u8> {
    let unit = match (args.unit, &global.home) {
        (Unit::Node, Some(home)) => {
            let home = std::path::absolute(home)?.display().to_string();
            NODE_UNIT
                .replace("dpay node\n", &format!("dpay node --home \"{home}\"\n"))
                .replace(
                    "ReadWritePaths=%h",
                    &format!("ReadWritePaths=%h \"-{home}\""),
                )
        }
        (Unit::Node, None) => NODE_UNIT.to_owned(),
        (Unit::Broker, _) => BROKER_UNIT.to_owned(),
    };
    print!("{unit}");
    Ok(super::EXIT_DONE)
}

/// Prints completions.
pub fn completions(args: CompletionsArgs) -> u8 {
    let mut command = super::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "dpay", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    super::EXIT_DONE
}

/// Writes a man page a command.
///
/// # Errors
/// A folder that cannot be made or written to.
pub fn man(args: &ManArgs) -> Result<u8> {
    let about = || format!("the folder {}", args.folder.display());
    std::fs::create_dir_all(&args.folder).with_context(about)?;
    clap_mangen::generate_to(super::Cli::command(), &args.folder).with_context(about)?;
    Ok(super::EXIT_DONE)
}
