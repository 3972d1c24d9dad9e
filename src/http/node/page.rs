//! The page: the files of `webui/dist`, within the program.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

#[derive(rust_embed::RustEmbed)]
#[folder = "webui/dist"]
struct Files;

/// Which page this is: another one has another name.
pub(super) static NAME: LazyLock<HeaderValue> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for path in Files::iter() {
        let file = Files::get(&path).map(|file| file.metadata.sha256_hash());
        hash.update(path.as_bytes());
        hash.update(file.unwrap_or_default());
    }
    let name = hex::encode(&hash.finalize()[..8]);
    HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("unknown"))
});

/// A file of the page; its start for every other path, since the page's own routes are paths too.
pub(super) async fn page(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let (path, is_file) = match path.rsplit('/').next() {
        Some(last) if last.contains('.') => (path, true),
        _ => ("index.html", false),
    };
    let Some(file) = Files::get(path) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    // Names are stable, so the browser asks each time and is told when nothing changed.
    let tag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let cache = if is_file { "no-cache" } else { "no-store" };
    (
        [
            (header::CONTENT_TYPE, kind.to_string()),
            (header::CACHE_CONTROL, cache.to_owned()),
            (header::ETAG, tag),
        ],
        file.data,
    )
        .into_response()
}
