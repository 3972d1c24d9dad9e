//! Magnet links for version 1 torrents (BEP 9): `xt`, `dn`, `tr` and `x.pe`.
//!
//! What is not understood is ignored, and what is understood is written anew before anything else
//! sees it: other readers know fields that cost memory without bound (`so=0-999999999999`).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;
use url::form_urlencoded;

use super::metainfo;
use crate::units::InfoHash;

/// Longest link read.
const MAX_LINK_BYTES: usize = 64 << 10;

/// Most trackers and most peers kept.
const MAX_EACH: usize = 100;

/// Why text is not a magnet link that we take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MagnetError {
    /// Longer than any real link.
    #[error("this is not a magnet link: {0} bytes, the most is {MAX_LINK_BYTES}")]
    TooLong(usize),
    /// Not `magnet:?`.
    #[error("this is not a magnet link: it begins with {0:?}, not with \"magnet:?\"")]
    NotMagnet(String),
    /// No `xt=urn:btih:`.
    #[error(
        "this magnet link names no torrent: it has no xt=urn:btih: (version 2 alone is not supported)"
    )]
    NoInfoHash,
    /// The info hash is neither 40 hex digits nor 32 of base32.
    #[error(
        "this magnet link is malformed: {0:?} is neither 40 hex digits nor 32 letters of base32"
    )]
    InfoHash(String),
    /// Two different torrents in one link.
    #[error("this magnet link names two torrents")]
    TwoTorrents,
}

/// A magnet link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// A name to show until the metadata is known; from strangers, never part of a path.
    pub name: Option<String>,
    /// Tracker URLs: http, https or udp, from strangers.
    pub trackers: Vec<String>,
    /// Addresses of peers (`x.pe`); host names are ignored.
    pub peers: Vec<SocketAddr>,
}

impl Magnet {
    /// A link with nothing but the torrent.
    #[must_use]
    pub fn new(info_hash: InfoHash) -> Magnet {
        Magnet {
            info_hash,
            name: None,
            trackers: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// Reads a link, or an info hash alone.
    ///
    /// # Errors
    /// [`MagnetError`] says what is wrong; the text is fit for a user.
    pub fn parse(text: &str) -> Result<Magnet, MagnetError> {
        let text = text.trim();
        if text.len() > MAX_LINK_BYTES {
            return Err(MagnetError::TooLong(text.len()));
        }
        if let Some(info_hash) = read_info_hash(text) {
            return Ok(Magnet::new(info_hash));
        }
        let query = text
            .get(..8)
            .filter(|scheme| scheme.eq_ignore_ascii_case("magnet:?"))
            .and_then(|_| text.get(8..))
            .ok_or_else(|| MagnetError::NotMagnet(text.chars().take(40).collect()))?;
        let mut info_hash = None;
        let mut magnet = Magnet::new(InfoHash([0; 20]));
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            // Several may be numbered: tr.1, tr.2.
            let kind = match key.split_once('.') {
                Some((kind, number)) if number.parse::<u32>().is_ok() => kind,
                _ => key.as_ref(),
            };
            match kind {
                "xt" => {
                    let Some(hash) = value.strip_prefix("urn:btih:") else {
                        continue;
                    };
                    let read = read_info_hash(hash)
                        .ok_or_else(|| MagnetError::InfoHash(hash.chars().take(60).collect()))?;
                    if *info_hash.get_or_insert(read) != read {
                        return Err(MagnetError::TwoTorrents);
                    }
                }
                "dn" if !value.is_empty() => magnet.name = Some(value.into_owned()),
                "tr" if magnet.trackers.len() < MAX_EACH && metainfo::is_tracker(&value) => {
                    magnet.trackers.push(value.into_owned());
                }
                "x.pe" if magnet.peers.len() < MAX_EACH => {
                    magnet.peers.extend(value.parse::<SocketAddr>().ok())
                }
                _ => {}
            }
        }
        magnet.info_hash = info_hash.ok_or(MagnetError::NoInfoHash)?;
        Ok(magnet)
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;
    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        Magnet::parse(text)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        let field = |f: &mut fmt::Formatter<'_>, key: &str, value: &str| {
            // Not '+' for a space: some readers take it literally.
            let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            write!(f, "&{key}={}", encoded.replace('+', "%20"))
        };
        if let Some(name) = &self.name {
            field(f, "dn", name)?;
        }
        for tracker in &self.trackers {
            field(f, "tr", tracker)?;
        }
        for peer in &self.peers {
            field(f, "x.pe", &peer.to_string())?;
        }
        Ok(())
    }
}

fn read_info_hash(text: &str) -> Option<InfoHash> {
    match text.len() {
        40 => text.parse().ok(),
        32 => base32(text),
        _ => None,
    }
}

/// 32 letters of base32 (RFC 4648), 5 bits each.
fn base32(text: &str) -> Option<InfoHash> {
    let mut out = [0u8; 20];
    for (group, bytes) in text.as_bytes().chunks(8).zip(out.chunks_mut(5)) {
        let mut bits = 0u64;
        for letter in group {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a',
                b'2'..=b'7' => letter - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        for (byte, from) in bytes.iter_mut().zip(bits.to_be_bytes().into_iter().skip(3)) {
            *byte = from;
        }
    }
    Some(InfoHash(out))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "08ada5a7a6183aae1e09d831df6748d566095a10";

    #[test]
    fn a_link_is_read() {
        let magnet = Magnet::parse(&format!(
            "magnet:?xt=urn:btih:{HEX}&dn=Sintel+the%20film&tr=udp%3A%2F%2Ft.example%3A6969&tr.1=http://u.example/announce&tr=wss://no.example&x.pe=10.0.0.1:6881&x.pe=[::1]:80&x.pe=host.example:1&so=0-18446744073709551615&xl=3"
        ))
        .expect("reads");
        assert_eq!(magnet.info_hash.to_string(), HEX);
        assert_eq!(magnet.name.as_deref(), Some("Sintel the film"));
        assert_eq!(
            magnet.trackers,
            ["udp://t.example:6969", "http://u.example/announce"]
        );
        let peers: Vec<String> = magnet.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["10.0.0.1:6881", "[::1]:80"]);
    }

    #[test]
    fn base32_and_an_info_hash_alone_are_read() {
        let hash: InfoHash = HEX.parse().expect("hex");
        let base32 = "bcw2lj5gda5k4hqj3ay56z2i2vtaswqq";
        for text in [
            HEX.to_owned(),
            HEX.to_uppercase(),
            format!(" magnet:?xt=urn:btih:{HEX}\n"),
        ] {
            assert_eq!(Magnet::parse(&text).map(|m| m.info_hash), Ok(hash));
        }
        for text in [
            base32.to_owned(),
            format!("MAGNET:?xt=urn:btih:{}", base32.to_uppercase()),
        ] {
            assert_eq!(Magnet::parse(&text).map(|m| m.info_hash), Ok(hash));
        }
    }

    #[test]
    fn base32_is_the_one_of_rfc_4648() {
        // 20 bytes "foobarfoobarfoobarfo", as Python's base64.b32encode gives it.
        let hash = base32("MZXW6YTBOJTG633CMFZGM33PMJQXEZTP").expect("reads");
        assert_eq!(&hash.0, b"foobarfoobarfoobarfo");
        assert_eq!(base32("0ZXW6YTBOJTG633CMFZGM33PMJQXEZTP"), None);
    }

    #[test]
    fn what_is_no_link_says_so() {
        let refusal = |text: &str| Magnet::parse(text).expect_err("refused").to_string();
        assert!(refusal("http://x").contains("begins with \"http://x\""));
        assert!(refusal("").contains("not a magnet link"));
        assert!(refusal("magnet:?dn=a").contains("names no torrent"));
        assert!(refusal("magnet:?xt=urn:btmh:1220aa").contains("version 2"));
        assert!(refusal("magnet:?xt=urn:btih:xyz").contains("\"xyz\""));
        let other = HEX.replace('0', "1");
        assert!(refusal(&format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{other}")).contains("two"));
        assert!(refusal(&"m".repeat(MAX_LINK_BYTES + 1)).contains("the most is"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text: String) {
            let _ = Magnet::parse(&text);
            let _ = Magnet::parse(&format!("magnet:?{text}"));
        }

        #[test]
        fn a_link_reads_back_what_it_shows(hash: [u8; 20], name in proptest::option::of(".+"), port: u16) {
            let magnet = Magnet {
                info_hash: InfoHash(hash),
                name,
                trackers: vec!["http://t.example/a?b=c&d=e+f".to_owned()],
                peers: vec![SocketAddr::from(([10, 1, 2, 3], port))],
            };
            prop_assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
        }
    }
}
