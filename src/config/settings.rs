//! The settings of a node: one TOML file, `config.toml` in its home. What the file leaves out has its
//! default; a key that no version knows is an error that names it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::{PricePerGib, Units};

/// The file's name in the home.
pub const FILE: &str = "config.toml";

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file is no TOML, or holds a key or value that is none.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and what, with the line.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody edited the file after it was read; nothing is written over that.
    #[error(
        "{} was edited since the node read it, and is not written over: {what}; start the node anew to take \
         what the file says, or undo the edit, and try again",
        path.display()
    )]
    Edited {
        /// The file.
        path: PathBuf,
        /// Which settings differ, and both values; or that it is none any more.
        what: String,
    },
    /// There is no such setting.
    #[error("there is no setting {key:?}; {nearest}`dpay config list` shows all")]
    Unknown {
        /// What was named.
        key: String,
        /// "did you mean ...; ", or nothing.
        nearest: String,
    },
    /// A value that the setting cannot have.
    #[error("{key} cannot be {value}: {reason}")]
    Value {
        /// The setting.
        key: String,
        /// The value.
        value: String,
        /// Why not.
        reason: String,
    },
}

/// Whom to serve for nothing, as a setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Free {
    /// Nobody.
    Off,
    /// Whoever is there while nobody pays.
    #[default]
    Leftover,
    /// Everybody.
    On,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// What is not as it should be.
    Warn,
    /// What is done.
    #[default]
    Info,
    /// Every step.
    Debug,
}

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Peers and the DHT.
    pub node: NodeSettings,
    /// The page and the API.
    pub web: WebSettings,
    /// The broker.
    pub broker: BrokerSettings,
    /// Folders.
    pub folders: FolderSettings,
    /// What may be paid.
    pub spending: SpendingSettings,
    /// What is asked of leechers.
    pub seeding: SeedingSettings,
    /// How fast.
    pub limits: LimitSettings,
    /// What is done by itself.
    pub rules: RuleSettings,
    /// The log.
    pub log: LogSettings,
    /// What the page remembers.
    pub ui: UiSettings,
}

/// Peers and the DHT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Where peers reach the node.
    pub listen: SocketAddr,
    /// Whether the router is asked to forward its port (UPnP).
    pub forward_port: bool,
    /// DHT nodes to start from; empty: mainline's own.
    pub dht_bootstrap: Vec<String>,
    /// Most memory for unfinished pieces, in MiB.
    pub piece_memory_mib: u32,
}

impl Default for NodeSettings {
    fn default() -> Self {
        NodeSettings {
            listen: SocketAddr::from(([0, 0, 0, 0], 6881)),
            forward_port: true,
            dht_bootstrap: Vec::new(),
            piece_memory_mib: 64,
        }
    }
}

/// The page and the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSettings {
    /// Where the page is served.
    pub listen: SocketAddr,
    /// Further names under which browsers may ask for it.
    pub hosts: Vec<String>,
}

impl Default for WebSettings {
    fn default() -> Self {
        WebSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 7979)),
            hosts: Vec::new(),
        }
    }
}

/// The broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerSettings {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Folders.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FolderSettings {
    /// Where downloads go; none: the system's folder for downloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downloads: Option<PathBuf>,
    /// .torrent and .magnet files that appear here are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<PathBuf>,
    /// The label of what is added that way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_label: Option<String>,
}

/// What may be paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpendingSettings {
    /// Whether new torrents pay seeders.
    pub pays: bool,
    /// The highest price paid.
    pub max_price: PricePerGib,
    /// The most that a new torrent may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_torrent: Option<Units>,
    /// The most that all torrents may cost in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_day: Option<Units>,
    /// The most that all torrents may cost from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_total: Option<Units>,
    /// Above this expected cost a torrent waits for a yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask_above: Option<Units>,
    /// The most that a torrent added by the watch folder may cost; none: those pay nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_automatic: Option<Units>,
}

impl SpendingSettings {
    /// Of a change what pays less, or asks sooner: all else stays as it was.
    #[must_use]
    pub fn tightened(&self, after: &SpendingSettings) -> SpendingSettings {
        let least =
            |before: Option<Units>, after: Option<Units>| before.into_iter().chain(after).min();
        SpendingSettings {
            pays: self.pays && after.pays,
            max_price: self.max_price.min(after.max_price),
            budget_torrent: least(self.budget_torrent, after.budget_torrent),
            budget_day: least(self.budget_day, after.budget_day),
            budget_total: least(self.budget_total, after.budget_total),
            ask_above: least(self.ask_above, after.ask_above),
            // None pays nothing here.
            budget_automatic: self.budget_automatic.min(after.budget_automatic),
        }
    }
}

impl Default for SpendingSettings {
    fn default() -> Self {
        SpendingSettings {
            pays: true,
            max_price: PricePerGib::new(4000).unwrap_or(PricePerGib::MIN),
            budget_torrent: None,
            budget_day: None,
            budget_total: None,
            ask_above: None,
            budget_automatic: None,
        }
    }
}

/// What is asked of leechers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeedingSettings {
    /// Whether leechers may pay for new torrents.
    pub earns: bool,
    /// The price asked.
    pub price: PricePerGib,
    /// Whom to serve for nothing.
    pub free: Free,
    /// A seed that has sent so many percent of what it received is paused; none: it seeds on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_limit_percent: Option<u32>,
}

impl Default for SeedingSettings {
    fn default() -> Self {
        SeedingSettings {
            earns: true,
            price: PricePerGib::new(1000).unwrap_or(PricePerGib::MIN),
            free: Free::Leftover,
            ratio_limit_percent: None,
        }
    }
}

/// How fast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Payload coming in, all torrents together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_bytes_per_s: Option<u32>,
    /// Payload going out, all torrents together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_bytes_per_s: Option<u32>,
    /// Torrents that download at once; those beyond wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downloads_at_once: Option<u32>,
}

/// What is done by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// Units kept at hand in coins of 64, bought without being asked for; 0: none.
    pub at_hand: Units,
    /// Below so many units in coins more are bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buy_below: Option<Units>,
    /// How many are bought then.
    pub buy_units: Units,
    /// Earned units and change that are kept to pay with; what is beyond is redeemed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redeem_from: Option<Units>,
    /// Below so many units in coins a notice says so.
    pub low_balance: Units,
}

impl Default for RuleSettings {
    fn default() -> Self {
        RuleSettings {
            at_hand: Units(512),
            buy_below: None,
            buy_units: Units(1024),
            redeem_from: None,
            low_balance: Units(64),
        }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How much is logged.
    pub level: LogLevel,
    /// Log files kept, a file a day.
    pub keep_days: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            level: LogLevel::Info,
            keep_days: 7,
        }
    }
}

/// What the page remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UiSettings {
    /// Whether the first-run guide was finished or put away.
    pub guide_done: bool,
    /// Whether the words of a wallet that was made on the page have yet to be tried.
    pub words_due: bool,
}

impl Settings {
    /// Reads the file in `home`; without one all settings have their defaults.
    ///
    /// # Errors
    /// [`SettingsError::File`] with the line and the key, [`SettingsError::Io`].
    pub fn read(home: &Path) -> Result<Settings, SettingsError> {
        let path = home.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
            Err(source) => return Err(SettingsError::Io { path, source }),
        };
        Settings::parse(&text).map_err(|reason| SettingsError::File { path, reason })
    }

    fn parse(text: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
        super::check::check(&settings).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    /// Writes the file in `home`, whole, for its owner only.
    ///
    /// # Errors
    /// [`SettingsError::Io`]; the old file is there then.
    pub fn write(&self, home: &Path) -> Result<(), SettingsError> {
        let path = home.join(FILE);
        let fault = |source| SettingsError::Io {
            path: path.clone(),
            source,
        };
        let text = toml::to_string_pretty(self)
            .map_err(|error| fault(std::io::Error::other(error.to_string())))?;
        let text =
            format!("# Settings of a DPay node. `dpay config list` explains each.\n\n{text}");
        crate::config::write_private(&path, text.as_bytes()).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::default();
        assert_eq!(Settings::read(dir.path()).expect("none"), settings);
        settings.spending.budget_day = Some(Units(500));
        settings.limits.upload_bytes_per_s = Some(1 << 20);
        settings.web.hosts = vec!["seedbox.example".into()];
        settings.write(dir.path()).expect("written");
        assert_eq!(Settings::read(dir.path()).expect("read"), settings);
    }

    #[test]
    fn of_a_change_that_cannot_be_kept_only_what_pays_less_is_taken() {
        let before = SpendingSettings {
            budget_day: Some(Units(500)),
            ..SpendingSettings::default()
        };
        let loose = SpendingSettings {
            max_price: PricePerGib::new(60_000).expect("a price"),
            budget_day: None,
            budget_automatic: Some(Units(9)),
            ..before.clone()
        };
        assert_eq!(before.tightened(&loose), before);
        assert_eq!(loose.tightened(&before), before);
        let mixed = SpendingSettings {
            max_price: PricePerGib::new(60_000).expect("a price"),
            budget_day: Some(Units(20)),
            budget_total: Some(Units(40)),
            pays: false,
            ..before.clone()
        };
        let tight = before.tightened(&mixed);
        assert_eq!(tight.max_price, before.max_price);
        assert_eq!((tight.budget_day, tight.pays), (Some(Units(20)), false));
        assert_eq!(tight.budget_total, Some(Units(40)));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), "[spending]\nmax_prise = 4000\n").expect("written");
        let error = Settings::read(dir.path()).expect_err("refused").to_string();
        assert!(
            error.contains("max_prise") && error.contains("line 2"),
            "{error}"
        );
        assert!(error.contains("max_price"), "{error}");
    }
}
