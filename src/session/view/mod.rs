//! What a node shows and is told: the types of `/api/v1`, in JSON and in `openapi.json`.
//!
//! Amounts are units, sizes bytes, moments milliseconds since 1970 in UTC. Text from strangers
//! (names of torrents, files and clients, reasons) is plain text, never HTML.

pub mod error;
pub mod event;
mod many;
pub mod money;
pub mod node;
pub mod report;
pub mod saying;
mod schema;
pub mod settings;
pub mod terms;
pub mod torrent;
mod tracker;
mod withdraw;

pub use error::{Advice, InPart, Problem, ProblemCode};
pub use event::{Event, LogLine, Notice, NoticeCode, Pulse, SpeedHistory};
pub use many::{ManyAnswer, ManyRefused, ManyRequest, ManyView};
pub use money::*;
pub use node::*;
pub use report::{Report, ReportRow};
pub use saying::Saying;
pub use settings::{Setting, SettingKind, SettingsChange};
pub use terms::*;
pub use torrent::*;
pub use tracker::TrackerRow;
pub use withdraw::{WithdrawRequest, Withdrawn};
