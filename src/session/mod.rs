//! The daemon behind `dpay node`: many torrents, their terms, settings, budgets, rules, events.
//!
//! | file | what |
//! | --- | --- |
//! | `view` | what it shows and is told: the types of the API |
//! | `life` | from no wallet to a running node, and back; the play world |
//! | `found` | a wallet that a command made |
//! | `run` | a running node and its torrents |
//! | `entry`, `shelf` | a torrent; the torrents' files |
//! | `add`, `act`, `details` | adding torrents, doing things with them, looking at one |
//! | `listed` | the list of torrents, written out |
//! | `many` | one answer for many torrents, worked off four at a time |
//! | `terms`, `estimate` | what a torrent may cost, and will |
//! | `less` | what pays less holds before it is written |
//! | `outcome` | a change that could not be written down: what holds of it |
//! | `folder` | whether the folder for downloads can be written, and how much room there is |
//! | `sources` | trackers and peers for torrents that are there |
//! | `set` | settings are changed |
//! | `beat`, `row`, `hear` | once a second: what moved, rows, pulses, budgets; what the gateway tells |
//! | `beside` | what the beat begins and does not wait for: the engine, the disk |
//! | `budget` | what may be spent in a day and in all |
//! | `traffic` | bytes by day and torrent, for reports |
//! | `named` | the broker that a setting is to name |
//! | `money`, `withdraw`, `books` | the wallet; money out of it; history and reports |
//! | `keep`, `locked`, `tries` | the wallet in a file and back, its passphrase, and how often that may be guessed |
//! | `ratio` | seeds that have shared enough |
//! | `queue` | downloads that wait until fewer download at once |
//! | `agree` | what the engine does is compared with what the list says |
//! | `rules`, `watch` | buying, redeeming; the watch folder |
//! | `notices`, `log` | what is told |
//! | `unwritten` | the home has no room |

mod act;
mod add;
mod agree;
mod asking;
mod beat;
mod beside;
mod books;
mod budget;
mod details;
mod entry;
mod estimate;
mod fetch;
mod folder;
mod found;
mod hear;
mod keep;
mod label;
mod less;
mod life;
mod listed;
mod locked;
pub mod log;
mod many;
mod money;
mod named;
mod notices;
mod outcome;
mod paying;
pub mod play;
mod problems;
mod queue;
mod ratio;
mod row;
mod rules;
mod run;
mod set;
mod shelf;
mod sources;
mod streaming;
mod terms;
#[cfg(test)]
mod tests;
mod traffic;
mod tries;
mod unwritten;
pub mod view;
mod watch;
mod withdraw;

pub use books::Sheet;
pub use budget::hold_to_budgets;
pub use named::check_broker;
pub use shelf::names_in;
pub use streaming::Content;
pub use tries::Tries;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::cashier::wallet::Passphrase;
use crate::clock;
use crate::config::{Settings, SettingsError, keys};
use crate::units::UnixMs;
use life::Life;
use log::LogBook;
use notices::Board;
use play::Player;
use view::settings::SettingList;
use view::{Advice, Event, Problem, ProblemCode, Pulse, Setting, SettingKind, SpeedHistory};

/// Events kept for a slow listener; who is slower is told to load everything anew.
const EVENTS: usize = 64;
/// Pulses kept for the graph: 15 minutes.
const PULSES: usize = 900;

/// What a daemon is started with. Flags go before settings.
#[derive(Clone)]
pub struct Options {
    /// The wallet's home.
    pub home: PathBuf,
    /// What opens the wallet; none: it is asked for on the page where one is needed.
    pub passphrase: Option<Passphrase>,
    /// Where peers reach us, instead of the setting.
    pub listen: Option<SocketAddr>,
    /// DHT nodes to start from, instead of the setting.
    pub bootstrap: Vec<String>,
    /// The broker, instead of the setting.
    pub broker_url: Option<String>,
    /// The folder for downloads, instead of the setting.
    pub downloads: Option<PathBuf>,
    /// Answers that a place of the DHT needs: 8; less only in tests.
    pub min_answers: u32,
    /// The log.
    pub book: LogBook,
    /// What makes play worlds, if there is something.
    pub player: Option<Arc<dyn Player>>,
}

/// A daemon. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    settings: RwLock<Settings>,
    /// How often it was asked for that less may be paid.
    lowerings: AtomicU32,
    /// What the settings' file said when it was last read or written.
    on_disk: Mutex<Settings>,
    life: RwLock<Life>,
    /// Held by whoever changes settings, until they are in effect. True: what holds is not written down.
    setting: tokio::sync::Mutex<bool>,
    /// Held by whoever takes the node from one stage to another.
    turning: tokio::sync::Mutex<()>,
    passphrase: Mutex<Option<Passphrase>>,
    /// Whether the passphrase that the node was started with was wrong.
    refused: AtomicBool,
    tries: Mutex<Tries>,
    /// Held by whoever makes a backup.
    backing_up: tokio::sync::Mutex<()>,
    play: Mutex<play::State>,
    events: broadcast::Sender<Event>,
    board: Mutex<Board>,
    /// The code of what was last told of the home.
    told_home: Mutex<Option<String>>,
    looks: Mutex<folder::Looks>,
    pulses: Mutex<std::collections::VecDeque<Pulse>>,
    asked_to_stop: CancellationToken,
    started: UnixMs,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("home", &self.inner.options.home)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// A daemon with the settings in its home; starts the node if the wallet can be opened.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub fn start(options: Options) -> Result<Session, SettingsError> {
        let settings = Settings::read(&options.home)?;
        options.book.set_level(settings.log.level);
        let session = Session {
            inner: Arc::new(Inner {
                passphrase: Mutex::new(options.passphrase.clone()),
                refused: AtomicBool::new(false),
                tries: Mutex::default(),
                backing_up: tokio::sync::Mutex::new(()),
                play: Mutex::new(play::State::new(options.player.is_some())),
                options,
                on_disk: Mutex::new(settings.clone()),
                settings: RwLock::new(settings),
                lowerings: AtomicU32::default(),
                life: RwLock::new(Life::Setup),
                setting: tokio::sync::Mutex::new(false),
                turning: tokio::sync::Mutex::new(()),
                events: broadcast::channel(EVENTS).0,
                board: Mutex::default(),
                told_home: Mutex::default(),
                looks: Mutex::default(),
                pulses: Mutex::default(),
                asked_to_stop: CancellationToken::new(),
                started: clock::now(),
            }),
        };
        session.wake_up();
        Ok(session)
    }

    /// The settings now.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let settings = self.inner.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All settings, for the page.
    #[must_use]
    pub fn setting_list(&self) -> SettingList {
        let all = keys::all(&self.settings());
        let settings = all
            .into_iter()
            .map(|(key, value, default)| shown(key, value, default));
        SettingList {
            settings: settings.collect(),
            path: self
                .inner
                .options
                .home
                .join(crate::config::settings::FILE)
                .display()
                .to_string(),
            warning: None,
        }
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Speeds of the last minutes.
    #[must_use]
    pub fn speeds(&self) -> SpeedHistory {
        SpeedHistory {
            pulses: lock(&self.inner.pulses).iter().copied().collect(),
        }
    }

    /// The log.
    #[must_use]
    pub fn book(&self) -> &LogBook {
        &self.inner.options.book
    }

    /// Returns when somebody asked the node to stop over the API.
    pub async fn asked_to_stop(&self) {
        self.inner.asked_to_stop.cancelled().await;
    }

    /// Asks whoever runs this to stop it.
    pub fn ask_to_stop(&self) {
        self.inner.asked_to_stop.cancel();
    }

    fn tell(&self, event: Event) {
        // Nobody listens: nobody to tell.
        let _ = self.inner.events.send(event);
    }

    fn pulse(&self, pulse: Pulse) {
        let mut pulses = lock(&self.inner.pulses);
        pulses.push_back(pulse);
        if pulses.len() > PULSES {
            pulses.pop_front();
        }
        drop(pulses);
        self.tell(Event::Pulse(pulse));
    }
}

/// Whether files can be made in a folder.
fn usable(folder: &Path) -> Result<(), Problem> {
    crate::config::prepare_folder(folder).map_err(|error| {
        Problem::new(
            ProblemCode::Disk,
            format!("{} cannot be written: {error}", folder.display()),
            Advice::OtherFolderOrLetWrite,
        )
        .about(folder.display())
    })
}

fn setting_problem(error: &SettingsError) -> Problem {
    let about = match error {
        SettingsError::Io { path, .. } | SettingsError::Edited { path, .. } => {
            path.display().to_string()
        }
        SettingsError::Unknown { key, .. } => key.clone(),
        SettingsError::Value { key, value, .. } => format!("{key} = {value}"),
        SettingsError::File { .. } => error.to_string(),
    };
    let problem = match error {
        SettingsError::Io { .. } => {
            Problem::new(ProblemCode::Disk, error.to_string(), Advice::LetWrite)
        }
        SettingsError::Edited { .. } => {
            Problem::new(ProblemCode::Conflict, error.to_string(), Advice::StartAgain)
        }
        _ => Problem::new(
            ProblemCode::BadSetting,
            error.to_string(),
            Advice::OtherValue,
        ),
    };
    problem.about(about)
}

fn shown(key: &keys::Key, value: Value, default: Value) -> Setting {
    let (kind, choices) = match key.kind {
        keys::Kind::Bool => (SettingKind::Bool, &[][..]),
        keys::Kind::Units => (SettingKind::Units, &[][..]),
        keys::Kind::Price => (SettingKind::Price, &[][..]),
        keys::Kind::Speed => (SettingKind::Speed, &[][..]),
        keys::Kind::Number => (SettingKind::Number, &[][..]),
        keys::Kind::Percent => (SettingKind::Percent, &[][..]),
        keys::Kind::Folder => (SettingKind::Folder, &[][..]),
        keys::Kind::Address => (SettingKind::Address, &[][..]),
        keys::Kind::Url => (SettingKind::Url, &[][..]),
        keys::Kind::List => (SettingKind::List, &[][..]),
        keys::Kind::Label => (SettingKind::Label, &[][..]),
        keys::Kind::Choice(words) => (SettingKind::Choice, words),
    };
    Setting {
        key: key.name.to_owned(),
        kind,
        value,
        default,
        help: key.help.to_owned(),
        choices: choices.iter().map(|word| (*word).to_owned()).collect(),
        restart: key.restart,
    }
}
