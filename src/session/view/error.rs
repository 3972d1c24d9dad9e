//! How the API says no.

use serde::{Deserialize, Serialize};
use thiserror::Error;
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
    /// It cannot be done in this moment, and soon can: ask again.
    Busy,
    /// The disk is full or a file cannot be written.
    Disk,
    /// Something broke inside; the log has more.
    Internal,
}

/// What to do next: a closed list, so that a page can say it in its own language.
#[allow(missing_docs, reason = "each says what it is")]
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    #[error("see /api/v1/openapi.json")]
    SeeApi,
    #[error("send less")]
    SendLess,
    #[error("send JSON with the header content-type: application/json")]
    SendJson,
    #[error("give the torrent's info hash as 40 hexadecimal digits")]
    GiveInfoHash,
    #[error("run `dpay open` on the node's machine, or log in with the password")]
    OpenOrPassword,
    #[error("run `dpay open` for a new one")]
    OpenAnew,
    #[error("run `dpay open` on the node's machine")]
    Open,
    #[error("wait, or run `dpay open` on the node's machine")]
    WaitOrOpen,
    #[error("try again, or run `dpay open` on the node's machine")]
    TryAgainOrOpen,
    #[error("see to it that the node can write there")]
    LetWrite,
    #[error("try another password")]
    OtherPassword,
    #[error("choose one of 8 to 200 characters")]
    LongerPassword,
    #[error("try again")]
    TryAgain,
    #[error("set a password first")]
    PasswordFirst,
    #[error("name fewer")]
    NameFewer,
    #[error("wait until a peer gives it")]
    WaitForMetadata,
    #[error("see its files for their indexes")]
    SeeFiles,
    #[error("choose another folder")]
    OtherFolder,
    #[error("make room")]
    MakeRoom,
    #[error("give it as IP:PORT")]
    GivePeerAddress,
    #[error("give a path that begins at the root")]
    GiveRootPath,
    #[error(
        "say yes on its page, or with `dpay add --yes` and its info hash; `dpay remove` takes it off the list"
    )]
    SayYes,
    #[error("remove the torrent and add it anew")]
    AddAnew,
    #[error(
        "make one (`dpay wallet init`), restore one (`dpay wallet restore`), or try it first on the page (`dpay open`)"
    )]
    MakeWalletFirst,
    #[error("give its passphrase")]
    GivePassphrase,
    #[error("try again in a moment")]
    AskAgain,
    #[error("start it again")]
    StartAgain,
    #[error("mend it, in the settings if it is there, or start the node again")]
    MendOrStartAgain,
    #[error("use it, or start a node with another home")]
    UseItOrOtherHome,
    #[error("go on; nothing is needed")]
    GoOn,
    #[error("leave it first, or wait")]
    LeavePlayFirst,
    #[error("there is nothing to leave")]
    NothingToLeave,
    #[error("give other dates")]
    OtherDates,
    #[error("take a reference from the history")]
    SeeHistory,
    #[error("choose another folder, or let the node write there")]
    OtherFolderOrLetWrite,
    #[error("give another value: nothing was changed")]
    OtherValue,
    #[error("resume it first")]
    ResumeFirst,
    #[error("choose it first, on the torrent's page or with `dpay files`")]
    ChooseFileFirst,
    #[error("ask for bytes that it has")]
    AskWithinFile,
    #[error("put the file back, or resume the torrent to fetch it anew")]
    PutBackOrResume,
    #[error("give a file that the wallet's page or `dpay wallet backup` wrote")]
    GiveBackup,
    #[error("wait, and try again then")]
    Wait,
    #[error("check the words and their order")]
    CheckWords,
    #[error("name a broker")]
    NameBroker,
    #[error("see what the account has: its operator takes deposits to it")]
    SeeAccount,
    #[error("try again later")]
    SeeBroker,
    #[error("see the wallet")]
    SeeWallet,
    #[error("make room, and try again")]
    MakeRoomTryAgain,
    #[error("choose one, or none at all")]
    ChooseOneOrNone,
    #[error("make one first")]
    MakeOneFirst,
    #[error("see to it that the node can read and write there")]
    LetReadWrite,
    #[error("give 1 to 1000000")]
    GiveAmount,
    #[error("check the address, as http://HOST:PORT, and that the broker runs")]
    CheckBrokerAddress,
    #[error("use another home for another broker: the coins of one are not the other's")]
    OtherHome,
    #[error("give a .torrent file")]
    GiveTorrentFile,
    #[error("give magnet:?xt=urn:btih:... or 40 hexadecimal digits")]
    GiveMagnet,
    #[error("send the file's bytes in base64")]
    SendBase64,
    #[error("give one")]
    GiveOneSource,
    #[error("give the address of a .torrent file")]
    GiveTorrentAddress,
    #[error("check the address, or save the file and add it")]
    CheckAddressOrAddFile,
    #[error("wait until its files are checked and its metadata is known")]
    WaitForCheck,
    #[error("see the list")]
    SeeList,
    #[error("give another .torrent file or link")]
    OtherTorrent,
    #[error("see to it that there is room and that the node can write there, then resume")]
    MakeRoomAndResume,
    #[error("see the log")]
    SeeLog,
    #[error("make room, or see to it that the node can write there")]
    MakeRoomOrLetWrite,
    #[error("use a current browser; programs use the token of the file api.token")]
    UseTokenOrBrowser,
    #[error("ask for it by address or as localhost, or add the name to the setting web.hosts")]
    AskByAddress,
    #[error("choose at least one, or remove the torrent")]
    ChooseFiles,
    #[error("open the node's own page")]
    OpenOwnPage,
    #[error("give it as http://, https:// or udp://")]
    GiveTracker,
    #[error("give it the address of its tracker instead")]
    AddTrackerInstead,
    #[error("give 1 or more, no limit at all, or let it take from free peers only")]
    GiveBudget,
    #[error(
        "change price and budget with `dpay limit`, the label with `dpay label`, the files with `dpay files`, or all of it on its page; or remove the torrent and add it anew"
    )]
    ChangeThere,
    #[error(
        "make room, or see to it that the node can write there: until it is written down, it holds only as long as the node runs"
    )]
    HoldsUntilStop,
}

/// What became of a change that could not be written down, by the names of the settings, also where it was one
/// torrent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InPart {
    /// What holds all the same, until the node stops.
    pub holding: Vec<String>,
    /// What stays as it was.
    pub refused: Vec<String>,
}

/// A refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind.
    pub code: ProblemCode,
    /// What happened, with the value that it happened to.
    pub error: String,
    /// What it happened to: a folder, an address, an amount; none where the kind says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What to do next.
    pub what_to_do: String,
    /// The same, for pages in other languages.
    pub advice: Advice,
    /// Of a change that could not be written down and holds in part: which part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_part: Option<Box<InPart>>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(code: ProblemCode, error: impl Into<String>, advice: Advice) -> Problem {
        Problem {
            code,
            error: error.into(),
            about: None,
            what_to_do: advice.to_string(),
            advice,
            in_part: None,
        }
    }

    /// All of it as the values of a notice: `error` in words, and `code`, `advice` and `about` for pages in
    /// other languages.
    #[must_use]
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let word = |value: serde_json::Result<serde_json::Value>| {
            let value = value.ok();
            value
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let mut values = vec![
            ("error", self.to_string()),
            ("code", word(serde_json::to_value(self.code))),
            ("advice", word(serde_json::to_value(self.advice))),
        ];
        values.extend(self.about.clone().map(|about| ("about", about)));
        values
    }

    /// What it happened to.
    #[must_use]
    pub fn about(self, about: impl std::fmt::Display) -> Problem {
        Problem {
            about: Some(about.to_string()),
            ..self
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.error, self.what_to_do)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_of_a_problem_has_what_a_page_says_it_with() {
        let problem = Problem::new(
            ProblemCode::BadTorrent,
            "no torrent",
            Advice::GiveTorrentFile,
        );
        let values = problem.about("a.torrent").values();
        let value = |wanted: &str| {
            let mut hits = values.iter().filter(|(name, _)| *name == wanted);
            hits.next().map(|(_, value)| value.as_str())
        };
        assert_eq!(value("error"), Some("no torrent; give a .torrent file"));
        assert_eq!(value("code"), Some("bad_torrent"));
        assert_eq!(value("advice"), Some("give_torrent_file"));
        assert_eq!(value("about"), Some("a.torrent"));
    }
}
