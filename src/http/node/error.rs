//! Refusals as responses.

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::session::view::{Advice, Problem, ProblemCode};
use crate::units::InfoHash;

/// When to ask again what cannot be done in this moment.
const RETRY_AFTER_S: &str = "5";

/// A problem on its way out.
#[derive(Debug)]
pub struct Refused(pub Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused(problem)
    }
}

const fn status(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::LoginNeeded | ProblemCode::LoginWrong => StatusCode::UNAUTHORIZED,
        ProblemCode::LockedOut => StatusCode::TOO_MANY_REQUESTS,
        ProblemCode::Forbidden | ProblemCode::WrongPassphrase => StatusCode::FORBIDDEN,
        ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::BadRequest
        | ProblemCode::BadTorrent
        | ProblemCode::BadWords
        | ProblemCode::BadSetting => StatusCode::BAD_REQUEST,
        ProblemCode::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::NoWallet
        | ProblemCode::WalletExists
        | ProblemCode::Conflict
        | ProblemCode::Money => StatusCode::CONFLICT,
        ProblemCode::Broker => StatusCode::BAD_GATEWAY,
        ProblemCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ProblemCode::Disk => StatusCode::INSUFFICIENT_STORAGE,
        ProblemCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = status(self.0.code);
        let mut response = (status, Json(self.0)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static(RETRY_AFTER_S);
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

/// An info hash in the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(pub InfoHash);

impl<S: Send + Sync> FromRequestParts<S> for Hash {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Hash, Refused> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let text = path.map(|Path(text)| text).unwrap_or_default();
        hash(&text).map(Hash)
    }
}

/// Reads an info hash.
pub(super) fn hash(text: &str) -> Result<InfoHash, Refused> {
    text.to_ascii_lowercase().parse().map_err(|error| {
        Refused(Problem::new(
            ProblemCode::BadRequest,
            format!("{error}"),
            Advice::GiveInfoHash,
        ))
    })
}

/// For paths of the API that lead nowhere.
pub(super) async fn nothing_there() -> Refused {
    Refused(Problem::new(
        ProblemCode::NotFound,
        "there is no such route",
        Advice::SeeApi,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_soon_can_be_done_is_answered_503_with_when_to_ask_again() {
        use crate::session::view::Advice;
        let answer = |code| {
            let problem = Problem::new(code, "not now", Advice::AskAgain);
            let response = Refused(problem).into_response();
            let after = response.headers().get(header::RETRY_AFTER).cloned();
            (response.status(), after)
        };
        let soon = Some(HeaderValue::from_static(RETRY_AFTER_S));
        let busy = answer(ProblemCode::Busy);
        assert_eq!(busy, (StatusCode::SERVICE_UNAVAILABLE, soon));
        assert_eq!(answer(ProblemCode::Conflict), (StatusCode::CONFLICT, None));
    }
}
