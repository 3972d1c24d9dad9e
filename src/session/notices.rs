//! Notices: what is worth telling whoever looks at the page.

use std::collections::{BTreeMap, VecDeque};

use super::view::event::{Level, Notice, NoticeCode, Notices};
use super::view::{Event, Saying, TorrentRow};
use super::{Session, lock};
use crate::clock;
use crate::torrent::printable;
use crate::units::InfoHash;

/// Notices kept.
const KEPT: usize = 200;

/// The notices of this run.
#[derive(Debug, Default)]
pub(super) struct Board {
    notices: VecDeque<Notice>,
    last_id: u64,
}

impl Session {
    /// Notices of this run.
    #[must_use]
    pub fn notices(&self) -> Notices {
        Notices {
            notices: lock(&self.inner.board).notices.iter().cloned().collect(),
        }
    }

    /// Takes back what is not so any more.
    pub(super) fn take_back(&self, code: NoticeCode) {
        lock(&self.inner.board)
            .notices
            .retain(|notice| notice.code != code);
        self.tell(Event::Reload);
    }

    /// Tells that a torrent stopped, and why.
    pub(super) fn tell_stopped(&self, row: &TorrentRow) {
        let error = row.error.clone().unwrap_or_default();
        let (why, more) = match &row.waits {
            Some(Saying { code, text, .. }) => {
                (text, vec![("code", code.clone()), ("why", text.clone())])
            }
            None => (&error, vec![("error", error.clone())]),
        };
        let text = format!("{} stopped: {}", printable(&row.name), printable(why));
        let values = [vec![("name", row.name.clone())], more].concat();
        let code = NoticeCode::TorrentFailed;
        self.notice(Level::Error, code, text, &values, Some(row.info_hash));
    }

    /// Tells something, and logs it.
    pub(super) fn notice(
        &self,
        level: Level,
        code: NoticeCode,
        text: String,
        values: &[(&str, String)],
        info_hash: Option<InfoHash>,
    ) {
        let said = match level {
            Level::Info => tracing::Level::INFO,
            Level::Warning => tracing::Level::WARN,
            Level::Error => tracing::Level::ERROR,
        };
        self.inner
            .options
            .book
            .note(said, "dpay", text.clone(), info_hash);
        let values: BTreeMap<String, String> = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let mut board = lock(&self.inner.board);
        board.last_id += 1;
        let notice = Notice {
            id: board.last_id,
            at: clock::now(),
            level,
            code,
            values,
            text,
            info_hash,
        };
        board.notices.push_back(notice.clone());
        if board.notices.len() > KEPT {
            board.notices.pop_front();
        }
        drop(board);
        self.tell(Event::Notice(notice));
    }
}
