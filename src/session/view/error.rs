//! How the API says no.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of refusal it is; the text for people is in the problem itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// Not logged in: run `dpay open`, or give the password.
    LoginNeeded,
    /// Wrong password, token or code.
    LoginWrong,
    /// Too many wrong passwords: wait.
    LockedOut,
    /// The request comes from another site, or names a host that is not this node's.
    Forbidden,
    /// Nothing is there.
    NotFound,
    /// The request is malformed; the text says where.
    BadRequest,
    /// The content type is not JSON.
    NotJson,
    /// What was given is no torrent, or no magnet link.
    BadTorrent,
    /// The node has no wallet yet, or it is locked.
    NoWallet,
    /// The node has a wallet already.
    WalletExists,
    /// The passphrase does not open the wallet.
    WrongPassphrase,
    /// The words are no wallet's words.
    BadWords,
    /// No broker is named, or it does not answer.
    Broker,
    /// The wallet or the broker refuses, for want of money or another reason that the text has.
    Money,
    /// No such setting, or no such value.
    BadSetting,
    /// The state does not allow it now.
    Conflict,
    /// The disk is full or a file cannot be written.
    Disk,
    /// Something broke inside; the log has more.
    Internal,
}

/// A refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind.
    pub code: ProblemCode,
    /// What happened, with the value that it happened to.
    pub error: String,
    /// What to do next.
    pub what_to_do: String,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(
        code: ProblemCode,
        error: impl Into<String>,
        what_to_do: impl Into<String>,
    ) -> Problem {
        Problem {
            code,
            error: error.into(),
            what_to_do: what_to_do.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.what_to_do.is_empty() {
            true => f.write_str(&self.error),
            false => write!(f, "{}; {}", self.error, self.what_to_do),
        }
    }
}

impl std::error::Error for Problem {}
