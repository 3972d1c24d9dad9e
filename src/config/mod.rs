//! Settings: from flags, the options that every command shares; from the file, what a node keeps.
//!
//! | file | what |
//! | --- | --- |
//! | `settings` | the settings of a node and their file, `config.toml` |
//! | `check` | what no type can say of them |
//! | `keys` | each setting by its key: what it is, reading and changing it |

mod check;
pub mod keys;
pub mod settings;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::dht::ACCEPT_DEADLINE_MS;

pub use settings::{Settings, SettingsError};

/// What is wrong with the settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The system tells of no home directory.
    #[error("this system names no home directory; say where to keep the wallet with --home DIR")]
    NoHome,
}

/// Options that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// Directory that holds the wallet, or the broker's books (made with mode 0700)
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The broker's address, as http://HOST:PORT (default: the setting broker.url, which `wallet init`
    /// writes, else where the wallet met it)
    #[arg(long, global = true, value_name = "URL", value_parser = web_address)]
    pub broker: Option<String>,
    /// DHT node to start from, as HOST:PORT; may be repeated (default: the mainline DHT's own)
    #[arg(long, global = true, value_name = "ADDR")]
    pub dht_bootstrap: Vec<String>,
    /// Address to listen on (port 0: any free one)
    #[arg(long, global = true, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Print JSON, one value a line, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more (-v: what is done, -vv: every step)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// File that holds the wallet's passphrase (else DPAY_PASSPHRASE, else a prompt)
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Stop in order when standard input closes
    #[arg(long, global = true, hide = true)]
    pub with_parent: bool,
    /// For tests of deadlines: seconds by which this process's clock is ahead
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "S",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub clock_offset_s: i64,
    /// For tests on small private nets: answers a place needs (8 on the real one)
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "N",
        default_value_t = 8
    )]
    pub dht_min_answers: u32,
    /// For tests on nets where nothing is decided: seconds after which a spend is undecided (60 on a real one)
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "S",
        default_value_t = ACCEPT_DEADLINE_MS / 1000,
        value_parser = clap::value_parser!(u64).range(1..=ACCEPT_DEADLINE_MS / 1000)
    )]
    pub dht_deadline_s: u64,
}

impl Global {
    /// The home directory: `--home`, else the system's place for a program's data.
    ///
    /// # Errors
    /// [`ConfigError::NoHome`].
    pub fn home(&self) -> Result<PathBuf, ConfigError> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        directories::ProjectDirs::from("", "", "dpay")
            .map(|dirs| dirs.data_dir().to_owned())
            .ok_or(ConfigError::NoHome)
    }

    /// The broker's address: `--broker`, else the setting `broker.url` of this home, if there is one.
    ///
    /// # Errors
    /// A settings file that cannot be used.
    pub fn broker_of(&self, home: &Path) -> Result<Option<String>, SettingsError> {
        match &self.broker {
            Some(url) => Ok(Some(url.clone())),
            None => Ok(Settings::read(home)?.broker.url),
        }
    }
}

fn web_address(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text.to_owned()),
        _ => Err("give it as http://HOST:PORT".to_owned()),
    }
}

/// Makes a folder where there is none, and sees whether files can be made in it.
///
/// # Errors
/// What the system says where they cannot.
pub fn prepare_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let name = format!(".dpay-{}", hex::encode(crate::random::bytes::<8>()));
    let path = folder.join(name);
    std::fs::File::create_new(&path)?;
    std::fs::remove_file(path)
}

/// Writes a file anew for its owner only: whole, or not at all, also after a power cut.
///
/// # Errors
/// What the system says; the old file is there then, or the new one if it is not sure to last.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Two that write at once do so apart, also in two processes; who renames last wins, whole.
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", hex::encode(crate::random::bytes::<8>())));
    let new = PathBuf::from(new);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let written = (file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, path))
        .and_then(|()| sync_folder_of(path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// Waits until the name of a file is on the disk, where the system can say that.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = std::fs::File::open(folder.unwrap_or(Path::new(".")))?;
    match folder.sync_all() {
        // Some file systems that are reached over a network keep no folders.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> std::io::Result<()> {
    Ok(())
}
