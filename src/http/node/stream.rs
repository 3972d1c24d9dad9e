//! A file of a torrent as an answer, whole or a range of it (RFC 9110, section 14).

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::error::Refused;
use crate::engine::FileBytes;
use crate::session::view::{Advice, Problem, ProblemCode};
use crate::session::{Content, Session};
use crate::units::InfoHash;

/// Bytes read at a time.
const READ_BYTES: u64 = 256 * 1024;
/// How often a file is opened again where nothing more of it can be read, and how long after each other.
const OPENED_AGAIN: u32 = 10;
const OPENED_EVERY: Duration = Duration::from_millis(500);

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

/// Opens a file of a torrent, again where it was opened before.
type Open = Box<dyn Fn() -> BoxFuture<'static, Result<Content, Problem>> + Send>;

/// A part of a torrent's file.
struct Part {
    open: Open,
    bytes: Box<dyn FileBytes>,
    /// Resolves when what was opened may not be read on.
    until: BoxFuture<'static, ()>,
    at: u64,
    left: u64,
    /// How often it was opened since something of it was read.
    opened: u32,
}

impl Part {
    /// What comes next. A torrent may be given to the engine anew meanwhile, or a file be whole by the time that it
    /// is chosen no longer: then it goes on where it was.
    async fn next(mut self) -> io::Result<Option<(Bytes, Part)>> {
        while self.left > 0 {
            let mut bytes = BytesMut::new();
            let most = self.left.min(READ_BYTES);
            bytes.reserve(usize::try_from(most).unwrap_or_default());
            let mut from = (&mut self.bytes).take(most);
            let read = tokio::select! {
                biased;
                () = &mut self.until => Ok(0),
                read = from.read_buf(&mut bytes) => read,
            };
            match read {
                Ok(count) if count > 0 => {
                    let count = count as u64;
                    self.at = self.at.saturating_add(count);
                    self.left = self.left.saturating_sub(count);
                    self.opened = 0;
                    return Ok(Some((bytes.freeze(), self)));
                }
                Ok(_) if self.opened == OPENED_AGAIN => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Err(error) if self.opened == OPENED_AGAIN => return Err(error),
                Ok(_) | Err(_) => self.open_again().await?,
            }
        }
        Ok(None)
    }

    async fn open_again(&mut self) -> io::Result<()> {
        self.opened += 1;
        // What is not read any more is not fetched for it either.
        self.bytes = Box::new(tokio::io::empty());
        self.until = std::future::pending().boxed();
        match (self.open)().await {
            Ok(content) => {
                self.bytes = content.bytes;
                self.until = content.until;
                self.bytes.seek(io::SeekFrom::Start(self.at)).await?;
                Ok(())
            }
            // Only who chooses it has it fetched.
            Err(problem)
                if problem.advice == Advice::ChooseFileFirst || self.opened == OPENED_AGAIN =>
            {
                Err(io::Error::other(problem.to_string()))
            }
            // Its files may still be being looked at.
            Err(_) => {
                tokio::time::sleep(OPENED_EVERY).await;
                Ok(())
            }
        }
    }
}

/// The answer to a request for a file.
///
/// # Errors
/// No such file, or none of which anything can be had; a range beyond the file's end is answered with 416.
pub(super) async fn answer(
    session: Session,
    (hash, index): (InfoHash, u32),
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    let open: Open = Box::new(move || {
        let session = session.clone();
        async move { session.content(hash, index).await }.boxed()
    });
    let content = open().await?;
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
        let sought = bytes.seek(io::SeekFrom::Start(first)).await;
        sought.map_err(|error| {
            Refused(Problem::new(
                ProblemCode::Disk,
                format!("the file cannot be read: {error}"),
                Advice::SeeLog,
            ))
        })?;
    }
    let part = Part {
        open,
        bytes,
        until: content.until,
        at: first,
        left: count,
        opened: 0,
    };
    let body = futures::stream::try_unfold(part, Part::next);
    let mut response = Response::new(Body::from_stream(body));
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

    /// What a file is opened with: its bytes, and when they may not be read on.
    fn opened(bytes: &'static str, until: BoxFuture<'static, ()>) -> Content {
        Content {
            bytes: Box::new(std::io::Cursor::new(bytes)),
            length_bytes: 12,
            name: String::new(),
            media_type: None,
            until,
        }
    }

    /// What comes of the ten bytes from the third on, where the file is opened so, one after another; and
    /// whether it is all.
    async fn read_of<const N: usize>(all: [Result<Content, Advice>; N]) -> (String, bool) {
        let all = std::sync::Mutex::new(all.into_iter());
        let open: Open = Box::new(move || {
            let next = all.lock().expect("whole").next().expect("opened so often");
            let next = next.map_err(|advice| Problem::new(ProblemCode::Conflict, "no", advice));
            std::future::ready(next).boxed()
        });
        let mut part = Part {
            open,
            bytes: Box::new(tokio::io::empty()),
            until: std::future::pending().boxed(),
            at: 2,
            left: 10,
            opened: 0,
        };
        let mut text = String::new();
        loop {
            match part.next().await {
                Ok(Some((bytes, rest))) => {
                    text += std::str::from_utf8(&bytes).expect("text");
                    part = rest;
                }
                ended => return (text, ended.is_ok()),
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_may_not_be_read_on_is_opened_again_and_its_range_goes_on() {
        let over = || std::future::ready(()).boxed();
        let lasts = || std::future::pending().boxed();
        let all = [
            Ok(opened("01234", lasts())),
            Ok(opened("xxxxxxxxxxxx", over())),
            Ok(opened("0123456789ab", lasts())),
        ];
        assert_eq!(read_of(all).await, ("23456789ab".to_owned(), true));
        // Where it is chosen no longer nothing more comes, and nobody waits.
        let all = [
            Ok(opened("01234", lasts())),
            Ok(opened("xxxxxxxxxxxx", over())),
            Err(Advice::ChooseFileFirst),
        ];
        assert_eq!(read_of(all).await, ("234".to_owned(), false));
    }

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(
            percent("a \"b\"\r\nc: d/é"),
            "a%20%22b%22%0D%0Ac%3A%20d%2F%C3%A9"
        );
    }
}
