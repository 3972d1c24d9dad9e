//! What can go wrong with a broker, and whose fault it is.

use thiserror::Error;

use crate::broker::answer::{Fault, Refusal};
use crate::coin::keys::PublicKey;
use crate::units::UnixMs;

/// Why there is no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The URL is none.
    #[error("{url:?} is no broker's URL: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers there.
    #[error("the broker at {url} does not answer: {why}; check the network and that it runs")]
    Unreachable {
        /// Where.
        url: String,
        /// What the network said.
        why: String,
    },
    /// Another broker answers there.
    #[error(
        "the broker at {url} has the key {found}, not {pinned}: it is another broker or somebody in \
         between; check the URL and ask the operator for the key"
    )]
    WrongBroker {
        /// Where.
        url: String,
        /// The key it should have.
        pinned: PublicKey,
        /// The key it has.
        found: PublicKey,
    },
    /// The broker refuses, and signed that it does.
    #[error("the broker at {url} refuses: {refusal}")]
    Refused {
        /// Where.
        url: String,
        /// Why, and what to do.
        refusal: Box<Refusal>,
    },
    /// The broker refuses and signed that it does, but what it refused may happen yet: a broker of before
    /// does not say which try it refuses, or an earlier try was signed under a later time.
    #[error(
        "the broker at {url} refuses: {refusal} (that may not be for good yet; it is asked again)"
    )]
    Doubtful {
        /// Where.
        url: String,
        /// Why, and what to do.
        refusal: Box<Refusal>,
        /// The greatest time under which an earlier try may have been signed; 0 where none was later.
        until: UnixMs,
    },
    /// Nothing was sent: the time to sign under is later than what the wallet has on disk.
    #[error(
        "a request to the broker at {url} was not signed: its time is not on disk yet; it is tried again"
    )]
    NotSigned {
        /// Where.
        url: String,
    },
    /// The broker cannot answer, or does not understand the request.
    #[error("the broker at {url} answers {status}: {}; {}", fault.error, fault.what_to_do)]
    Status {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it says; not signed.
        fault: Fault,
    },
    /// Somebody answers there, and not as a broker does.
    #[error("what answers at {url} is no DPay broker ({why}); check the address")]
    NotABroker {
        /// Where.
        url: String,
        /// What was wrong with the answer.
        why: String,
    },
    /// The broker's answer cannot be true.
    #[error(
        "the broker at {url} cannot be believed: {what}; keep the money there small and tell its operator"
    )]
    Untrue {
        /// Where.
        url: String,
        /// What is wrong.
        what: String,
    },
}

/// Who has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoseFault {
    /// This side: the request, its clock, its balance, its settings.
    Ours,
    /// The network, or a broker that is down: ask again later, with the same id.
    Network,
    /// The broker or its operator.
    Broker,
}

impl ClientError {
    /// Whose fault it is.
    #[must_use]
    pub fn whose_fault(&self) -> WhoseFault {
        match self {
            ClientError::Url { .. }
            | ClientError::Refused { .. }
            | ClientError::Doubtful { .. }
            | ClientError::NotSigned { .. } => WhoseFault::Ours,
            ClientError::Unreachable { .. } => WhoseFault::Network,
            ClientError::Status { status, .. } => match status {
                425 | 429 | 502 | 503 | 504 => WhoseFault::Network,
                400..500 => WhoseFault::Ours,
                _ => WhoseFault::Broker,
            },
            ClientError::WrongBroker { .. }
            | ClientError::NotABroker { .. }
            | ClientError::Untrue { .. } => WhoseFault::Broker,
        }
    }

    /// The signed refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ClientError::Refused { refusal, .. } | ClientError::Doubtful { refusal, .. } => {
                Some(refusal)
            }
            _ => None,
        }
    }

    /// Whether nothing is known about what happened: ask again with the same request id.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::Doubtful { .. }
            | ClientError::NotSigned { .. }
            | ClientError::NotABroker { .. }
            | ClientError::Untrue { .. } => true,
            ClientError::Status { status, .. } => *status >= 500 || matches!(status, 425 | 429),
            _ => false,
        }
    }

    pub(super) fn lost(url: &str, error: &reqwest::Error) -> Self {
        // The last cause is the network's own; what leads there only says that something failed.
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        ClientError::Unreachable {
            url: url.to_owned(),
            why: cause.to_string(),
        }
    }
}
