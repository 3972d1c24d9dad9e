//! A file of a torrent as an answer, whole or a range of it (RFC 9110, section 14).

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::error::Refused;
use crate::session::Content;
use crate::session::view::{Advice, Problem, ProblemCode};

/// What a file of strangers may do in a browser: nothing.
const SANDBOX: &str = "default-src 'none'; media-src 'self'; img-src 'self'; sandbox";

/// First and last byte of the range asked for; `None`: the whole file. Several ranges at once get
/// the whole file too, as the standard allows.
///
/// # Errors
/// Nothing of it is in the file.
fn range(asked: Option<&str>, length: u64) -> Result<Option<(u64, u64)>, ()> {
    let Some(range) = asked.and_then(|text| text.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Ok(None);
    };
    let (first, last) = (first.trim(), last.trim());
    let parsed = match (first.is_empty(), last.is_empty()) {
        (true, true) => return Ok(None),
        // The last bytes.
        (true, false) => match last.parse::<u64>() {
            Ok(0) => return Err(()),
            Ok(count) => Some((length.saturating_sub(count), length.saturating_sub(1))),
            Err(_) => None,
        },
        (false, true) => first
            .parse()
            .ok()
            .map(|first| (first, length.saturating_sub(1))),
        (false, false) => match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => {
                Some((first, last.min(length.saturating_sub(1))))
            }
            _ => None,
        },
    };
    match parsed {
        Some((first, _)) if first >= length => Err(()),
        parsed => Ok(parsed),
    }
}

/// The answer to a request for a file.
///
/// # Errors
/// A range beyond the file's end is answered with 416; a file that cannot be read is refused.
pub(super) async fn answer(content: Content, headers: &HeaderMap) -> Result<Response, Refused> {
    let length = content.length_bytes;
    let asked = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let Ok(range) = range(asked, length) else {
        return Ok(beyond(asked.unwrap_or_default(), length));
    };
    let mut bytes = content.bytes;
    let (first, count) = match range {
        Some((first, last)) => (first, last - first + 1),
        None => (0, length),
    };
    if first > 0 {
        let sought = bytes.seek(std::io::SeekFrom::Start(first)).await;
        sought.map_err(|error| {
            Refused(Problem::new(
                ProblemCode::Disk,
                format!("the file cannot be read: {error}"),
                Advice::SeeLog,
            ))
        })?;
    }
    let bytes = ReaderStream::with_capacity(bytes.take(count), 256 * 1024);
    let body = Body::from_stream(bytes.take_until(content.until));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(SANDBOX),
    );
    let shown = content.media_type.as_deref();
    let kind = shown.unwrap_or("application/octet-stream");
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    let place = if shown.is_some() {
        "inline"
    } else {
        "attachment"
    };
    let place = format!("{place}; filename*=UTF-8''{}", percent(&content.name));
    if let Ok(place) = HeaderValue::from_str(&place) {
        headers.insert(header::CONTENT_DISPOSITION, place);
    }
    if let Some((first, last)) = range {
        let part = format!("bytes {first}-{last}/{length}");
        if let Ok(part) = HeaderValue::from_str(&part) {
            headers.insert(header::CONTENT_RANGE, part);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// That nothing of a range is in the file.
fn beyond(asked: &str, length: u64) -> Response {
    let error = format!("the file has {length} bytes, and none of {asked}");
    let problem = Problem::new(ProblemCode::BadRequest, error, Advice::AskWithinFile);
    let all = format!("bytes */{length}");
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    (status, [(header::CONTENT_RANGE, all)], Json(problem)).into_response()
}

/// A name from strangers as RFC 8187 wants it.
fn percent(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let one = |byte: u8| match keep(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        assert_eq!(range(None, 100), Ok(None));
        assert_eq!(range(Some("bytes=0-"), 100), Ok(Some((0, 99))));
        assert_eq!(range(Some("bytes=10-19"), 100), Ok(Some((10, 19))));
        assert_eq!(range(Some("bytes=90-1000"), 100), Ok(Some((90, 99))));
        assert_eq!(range(Some("bytes=-10"), 100), Ok(Some((90, 99))));
        assert_eq!(range(Some("bytes=-1000"), 100), Ok(Some((0, 99))));
        for whole in [
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-1",
            "items=0-1",
            "bytes=0-1,5-6",
        ] {
            assert_eq!(range(Some(whole), 100), Ok(None), "{whole}");
        }
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(range(Some(beyond), 100), Err(()), "{beyond}");
        }
        assert_eq!(range(Some("bytes=0-"), 0), Err(()));
    }

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(
            percent("a \"b\"\r\nc: d/é"),
            "a%20%22b%22%0D%0Ac%3A%20d%2F%C3%A9"
        );
    }
}
