//! Where a torrent comes from: a file's bytes, a magnet link, or a URL that is fetched.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::view::{Advice, Problem, ProblemCode, Source};
use crate::torrent::{Magnet, Metainfo, printable};
use crate::units::InfoHash;

/// Largest .torrent file.
const MAX_BYTES: usize = 32 << 20;
/// How long fetching one may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A torrent as far as it is known.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Its description.
    Whole(Arc<Metainfo>),
    /// A link to it.
    Link(Magnet, String),
}

impl Found {
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Found::Whole(metainfo) => metainfo.info_hash(),
            Found::Link(magnet, _) => magnet.info_hash,
        }
    }
}

fn bad(error: String, advice: Advice) -> Problem {
    Problem::new(ProblemCode::BadTorrent, error, advice)
}

/// Reads a .torrent file's bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Found, Problem> {
    let metainfo = Metainfo::decode(bytes);
    let metainfo = metainfo.map_err(|error| bad(error.to_string(), Advice::GiveTorrentFile))?;
    Ok(Found::Whole(Arc::new(metainfo)))
}

/// Reads a magnet link, or an info hash alone.
pub(super) fn link(text: &str) -> Result<Found, Problem> {
    let text = text.trim();
    let link = match text.parse::<InfoHash>() {
        Ok(hash) => Magnet::new(hash).to_string(),
        Err(_) => text.to_owned(),
    };
    let magnet = Magnet::parse(&link).map_err(|error| {
        let shown: String = printable(text).chars().take(100).collect();
        bad(error.to_string(), Advice::GiveMagnet).about(shown)
    })?;
    Ok(Found::Link(magnet, link))
}

/// Finds the torrent of a source.
pub(super) async fn find(source: &Source) -> Result<Found, Problem> {
    match (&source.magnet, &source.url, &source.file) {
        (Some(magnet), None, None) => link(magnet),
        (None, Some(url), None) if url.trim().starts_with("magnet:") => link(url),
        (None, Some(url), None) => decode(&fetch(url.trim()).await?),
        (None, None, Some(file)) => {
            let bytes = STANDARD.decode(file.trim());
            let bytes = bytes.map_err(|error| {
                bad(
                    format!("the file is not base64: {error}"),
                    Advice::SendBase64,
                )
            })?;
            decode(&bytes)
        }
        _ => Err(Problem::new(
            ProblemCode::BadRequest,
            "a source names exactly one of magnet, url and file",
            Advice::GiveOneSource,
        )),
    }
}

async fn fetch(text: &str) -> Result<Vec<u8>, Problem> {
    let shown: String = printable(text).chars().take(200).collect();
    let url = url::Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        bad(
            format!("{shown:?} is no http or https address"),
            Advice::GiveTorrentAddress,
        )
    })?;
    let failed = |error: String| {
        Problem::new(
            ProblemCode::NotFound,
            format!("{shown} could not be fetched: {error}"),
            Advice::CheckAddressOrAddFile,
        )
        .about(&shown)
    };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build();
    let client = client.map_err(|error| failed(error.to_string()))?;
    let answer = client.get(url).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| failed(cause_of(&error.without_url())))?;
    let mut answer = answer;
    let mut bytes = Vec::new();
    loop {
        let part = answer.chunk().await;
        let part = part.map_err(|error| failed(cause_of(&error.without_url())))?;
        let Some(part) = part else {
            return Ok(bytes);
        };
        if bytes.len() + part.len() > MAX_BYTES {
            return Err(failed(format!("it is longer than {MAX_BYTES} bytes")));
        }
        bytes.extend_from_slice(&part);
    }
}

/// The last cause is the network's own; what leads there only says that something failed.
fn cause_of(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_nobody_answers_is_said_with_the_networks_own_word() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let refused = fetch(&format!("http://{address}/x.torrent")).await;
        let text = refused.expect_err("nobody is there").error;
        assert!(text.to_lowercase().contains("refused"), "{text}");
    }
}
