//! The node itself: how far it is set up, logging in, the play world.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::node::{Cause, Forwarding};
use crate::units::UnixMs;

/// How far the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// There is no wallet yet: make one, restore one, or try it first.
    Setup,
    /// The wallet waits for its passphrase.
    Locked,
    /// Parts are being started.
    Starting,
    /// All parts run.
    Running,
    /// Channels are being closed.
    Stopping,
    /// A part did not start; `error` says which.
    Failed,
}

/// Whose money it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Money {
    /// The wallet's own.
    Real,
    /// The play world's: worth nothing.
    Play,
}

/// Where the node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// The program's version.
    pub version: String,
    /// When this run began: ids of notices and log lines count within it.
    pub started: UnixMs,
    /// How far it is.
    pub stage: Stage,
    /// Whether the wallet is locked because the passphrase that the node was started with does not open it.
    #[serde(default)]
    pub passphrase_refused: bool,
    /// Why it is not running.
    pub error: Option<String>,
    /// Whose money it is.
    pub money: Money,
    /// How far the play world is.
    pub play: PlayView,
    /// The home directory.
    pub home: String,
    /// Why what is paid and earned cannot be written down there; none while it can.
    pub home_problem: Option<super::Saying>,
    /// The home of the wallet that pays: the play world's own while the money is play money.
    pub wallet_home: String,
    /// The folder for downloads.
    pub folder: String,
    /// Bytes free there; none where the system does not say.
    pub folder_free_bytes: Option<u64>,
    /// Why nothing can be written there, if the system says so.
    pub folder_problem: Option<super::Saying>,
    /// Where peers reach the node; none while it is not running.
    pub listen: Option<String>,
    /// Whether a router forwards that port.
    pub forwarding: ForwardingView,
    /// The DHT's own address.
    pub dht: Option<String>,
    /// Since when no node of the DHT answers; none while some do.
    pub dht_silent_since: Option<UnixMs>,
    /// Whether a broker is named.
    pub has_broker: bool,
    /// Whether a wallet is there.
    pub has_wallet: bool,
    /// Whether the first-run guide was finished or put away (setting `ui.guide_done`).
    pub guide_done: bool,
    /// Whether the wallet was made on the page and its words have yet to be tried (setting `ui.words_due`).
    pub words_due: bool,
    /// Whether a password is set for logging in.
    pub has_password: bool,
}

/// What it means that no DHT node answers.
#[must_use]
pub fn dht_silent(since: UnixMs) -> String {
    format!(
        "no DHT node answers since {} UTC: no payment is accepted and no peer is found until one does; check \
         the network and the setting node.dht_bootstrap",
        crate::report::moment(since)
    )
}

/// Whether a router forwards the node's port, so that peers reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardingState {
    /// It is not asked: not wanted, or the node is only for this machine, or not running.
    #[default]
    Off,
    /// It is being looked for.
    Searching,
    /// It forwards.
    Forwarded,
    /// It forwards, but its own address is one of a further private network: nobody reaches it from outside.
    BehindAnother,
    /// None answers.
    NoRouter,
    /// It forwards the port to another device.
    PortTaken,
    /// Its owner does not let devices ask.
    NotAllowed,
    /// It refuses for a reason of its own.
    Refused,
}

/// What came of asking the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForwardingView {
    /// What came of it.
    pub state: ForwardingState,
    /// Where peers reach the node from outside.
    pub external: Option<String>,
    /// What hinders it, and what to do next.
    pub why: Option<String>,
}

impl From<Forwarding> for ForwardingView {
    fn from(forwarding: Forwarding) -> ForwardingView {
        let is_behind_another = forwarding.is_behind_another();
        let state = |state| ForwardingView {
            state,
            ..ForwardingView::default()
        };
        match forwarding {
            Forwarding::Off => state(ForwardingState::Off),
            Forwarding::Searching => state(ForwardingState::Searching),
            Forwarding::Forwarded { external } => ForwardingView {
                external: external.map(|external| external.to_string()),
                ..state(match is_behind_another {
                    true => ForwardingState::BehindAnother,
                    false => ForwardingState::Forwarded,
                })
            },
            Forwarding::Failed { cause, why } => ForwardingView {
                why: Some(why),
                ..state(match cause {
                    Cause::NoRouter => ForwardingState::NoRouter,
                    Cause::PortTaken => ForwardingState::PortTaken,
                    Cause::NotAllowed => ForwardingState::NotAllowed,
                    Cause::Refused => ForwardingState::Refused,
                })
            },
        }
    }
}

/// How far the play world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlayStage {
    /// This program cannot start one.
    Unavailable,
    /// Not started.
    Off,
    /// Broker, DHT and seeders are being started.
    Starting,
    /// The node plays in it.
    On,
    /// It is being taken down.
    Stopping,
    /// It did not start.
    Failed,
}

/// The play world: a broker, DHT nodes and seeders on loopback, and a wallet with play money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlayView {
    /// How far it is.
    pub stage: PlayStage,
    /// What is being done, or why it failed.
    pub note: Option<super::Saying>,
    /// Torrents whose seeders are in it, to be added: magnet links with their peers.
    pub samples: Vec<PlaySample>,
}

/// A torrent of the play world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlaySample {
    /// Its name.
    pub name: String,
    /// Its length.
    pub size_bytes: u64,
    /// To be given as `source.magnet`.
    pub magnet: String,
}

/// A way to log in; exactly one field is given.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The code in the fragment of the link that `dpay open` opens; good once.
    pub code: Option<String>,
    /// The password, where one is set.
    pub password: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(not shown)")
    }
}

/// A code for logging a browser in, once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LoginCode {
    /// The address to open; the code is in its fragment, `#login=CODE`.
    pub url: String,
    /// For how long it is good.
    pub good_for_s: u64,
}

impl std::fmt::Debug for LoginCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoginCode(not shown)")
    }
}

/// A new password for logging in.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password, 8 to 200 characters; none takes it away.
    pub password: Option<String>,
}

impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordChange(not shown)")
    }
}

/// Nothing to say but that it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Always true.
    pub done: bool,
}

/// Done.
pub const DONE: Done = Done { done: true };
