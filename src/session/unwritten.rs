//! The node's own folder has no room, or cannot be written: what is paid and earned goes on in memory, and whoever
//! looks is told until it is written down again.

use std::io::{Error, ErrorKind};

use super::run::Running;
use super::view::event::{Level, NoticeCode};
use super::view::{Event, Saying};
use super::{Session, lock};
use crate::wallet::Unwritten;

/// What it lasts for.
const UNTIL: &str = "until then what is paid and earned is noted only as long as the node runs";

/// What is said of a home that cannot be written.
fn saying(home: &str, fault: &Unwritten) -> Saying {
    let Unwritten { is_full, error } = fault;
    let values = [("home", home.to_owned()), ("system", error.clone())];
    match is_full {
        true => {
            let text = format!("DPay's own folder {home} has no room: make room there; {UNTIL}");
            Saying::new("home_full", text, &values[..1])
        }
        false => {
            let text = format!(
                "DPay's own folder {home} cannot be written ({error}): make room there, or let the node write; \
                 {UNTIL}"
            );
            Saying::new("home_unwritten", text, &values)
        }
    }
}

/// What the system's refusal is.
fn unwritten(error: &Error) -> Unwritten {
    Unwritten {
        is_full: matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        ),
        error: error.to_string(),
    }
}

impl Running {
    /// Notes what came of writing down what was transferred.
    pub fn note_written(&self, written: std::io::Result<()>) {
        *lock(&self.unwritten) = None;
        self.note_fault(&written);
    }

    /// Notes that something holds, or was transferred, and waits to be written down.
    pub fn note_fault(&self, written: &std::io::Result<()>) {
        if let Err(error) = written {
            *lock(&self.unwritten) = Some(unwritten(error));
        }
    }

    /// Whether something waits to be written down.
    pub fn is_unwritten(&self) -> bool {
        lock(&self.unwritten).is_some()
    }

    /// Why the home cannot be written, if it cannot.
    pub fn home_problem(&self) -> Option<Saying> {
        let of_wallet = lock(&self.balance).unwritten.clone();
        let fault = of_wallet.or_else(|| lock(&self.unwritten).clone())?;
        Some(saying(&self.home.display().to_string(), &fault))
    }
}

impl Session {
    /// Tells while the home cannot be written, and takes it back once it can, or the node has stopped.
    pub(super) fn tell_home(&self, problem: Option<Saying>) {
        let code = problem.as_ref().map(|problem| problem.code.clone());
        let before = std::mem::replace(&mut *lock(&self.inner.told_home), code.clone());
        if before == code {
            return;
        }
        if before.is_some() {
            self.take_back(NoticeCode::HomeUnwritten);
        }
        if let Some(Saying { code, values, text }) = problem {
            let mut all = vec![("code", code), ("why", text.clone())];
            for name in ["home", "system"] {
                all.extend(values.get(name).map(|value| (name, value.clone())));
            }
            self.notice(Level::Error, NoticeCode::HomeUnwritten, text, &all, None);
        }
        self.tell(Event::State(Box::new(self.node_view())));
    }
}
