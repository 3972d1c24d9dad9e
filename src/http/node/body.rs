//! What comes with a request: bodies, JSON and nothing else, of bounded length; queries; parts of paths.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::Refused;
use crate::session::view::{Advice, Problem, ProblemCode};

/// Largest body: a .torrent file of 32 MiB in base64.
pub(super) const MAX_BODY_BYTES: usize = 48 << 20;

/// A body that is JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<T>(pub T);

/// Whether a content type is JSON. Anything that a form or a plain script of another site can send
/// without asking first is not.
pub(super) fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|text| text.split(';').next());
    essence.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json"))
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Body<T>, Refused> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if !is_json(content_type) {
            return Err(Refused(not_json(content_type)));
        }
        let bytes = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await;
        let bytes = bytes.map_err(|_| {
            Refused(Problem::new(
                ProblemCode::BadRequest,
                format!("the body is longer than {MAX_BODY_BYTES} bytes, or broke off"),
                Advice::SendLess,
            ))
        })?;
        read(&bytes).map(Body).map_err(Refused)
    }
}

/// JSON of the shape that is wanted, and nothing behind it. What does not fit is named by its field.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let fits = serde_path_to_error::deserialize(&mut json);
    let fits = fits.map_err(|error| (error.path().to_string(), error.into_inner()));
    let whole = fits.and_then(|value| match json.end() {
        Ok(()) => Ok(value),
        Err(error) => Err((".".to_owned(), error)),
    });
    whole.map_err(|(field, error)| {
        let said = error.to_string();
        // Where in the text it is helps only who wrote that text.
        let what = said.split(" at line ").next().unwrap_or(&said);
        let (error, about) = match field.as_str() {
            "." | "?" => (
                format!("the body is not what is expected here: {what}"),
                None,
            ),
            field => (format!("{field}: {what}"), Some(field)),
        };
        let problem = Problem::new(ProblemCode::BadRequest, error, Advice::SeeApi);
        match about {
            Some(field) => problem.about(field),
            None => problem,
        }
    })
}

/// A query that fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked<T>, Refused> {
        let query = Query::try_from_uri(&parts.uri);
        let query = query.map_err(|rejection| unfit(rejection.body_text()));
        query.map(|Query(query)| Asked(query))
    }
}

/// Parts of the path that fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Refused> {
        let path = Path::from_request_parts(parts, state).await;
        let path = path.map_err(|rejection| unfit(rejection.body_text()));
        path.map(|Path(path)| Named(path))
    }
}

fn unfit(what: String) -> Refused {
    Refused(Problem::new(ProblemCode::BadRequest, what, Advice::SeeApi))
}

/// What is said of another content type.
pub(super) fn not_json(content_type: Option<&str>) -> Problem {
    Problem::new(
        ProblemCode::NotJson,
        format!(
            "the content type is {:?}, not application/json",
            content_type.unwrap_or("missing")
        ),
        Advice::SendJson,
    )
}
