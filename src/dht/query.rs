//! The query of a tracker's announce (BEP 3), as an engine sends it: `info_hash`, `event` and `left`, taken
//! from percent-encoded bytes. Pure, and bounded.

use crate::units::InfoHash;

/// Longest query looked at, in bytes.
const MAX_QUERY_BYTES: usize = 2048;

/// What an announce asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announce {
    pub(super) info_hash: InfoHash,
    /// The engine stops the torrent: no peers wanted.
    pub(super) stopped: bool,
    /// It has all that it wants: it needs no peers, only to be found.
    pub(super) seeding: bool,
}

/// Reads an announce.
///
/// # Errors
/// The reason, in words for the engine's log.
pub(super) fn parse(query: &str) -> Result<Announce, &'static str> {
    if query.len() > MAX_QUERY_BYTES {
        return Err("the query is longer than 2048 bytes");
    }
    let mut info_hash = None;
    let (mut stopped, mut seeding) = (false, false);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "info_hash" if info_hash.is_some() => return Err("info_hash is given twice"),
            "info_hash" => {
                let bytes = percent_decoded(value).ok_or("info_hash is badly escaped")?;
                let hash = InfoHash::from_slice(&bytes).ok_or("info_hash is not 20 bytes")?;
                info_hash = Some(hash);
            }
            "event" => stopped = value == "stopped",
            "left" => seeding = value == "0",
            _ => {}
        }
    }
    let info_hash = info_hash.ok_or("info_hash is missing")?;
    Ok(Announce {
        info_hash,
        stopped,
        seeding,
    })
}

/// The bytes behind `%xx`; `+` stands for a space as in forms. None for a `%` without two digits.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            b'+' => b' ',
            plain => plain,
        });
    }
    Some(out)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_engine_announce_is_read() {
        let query = "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer_id=x&port=6881\
                     &left=0&event=started&compact=1";
        let hash: InfoHash = "123456789abcdef123456789abcdef123456789a"
            .parse()
            .expect("hex");
        let announce = parse(query).expect("reads");
        assert_eq!(announce.info_hash, hash);
        assert!(!announce.stopped && announce.seeding);
        let more = parse(&query.replace("left=0", "left=10")).expect("reads");
        assert!(!more.seeding);
        assert!(parse(&format!("event=stopped&{query}")).is_ok());
    }

    #[test]
    fn what_is_not_an_info_hash_is_refused() {
        assert!(parse("").is_err());
        assert!(parse("info_hash=abc").is_err());
        assert!(parse("info_hash=%1").is_err());
        assert!(parse("info_hash=%zz").is_err());
        let hash = "a".repeat(20);
        assert!(parse(&format!("info_hash={hash}")).is_ok());
        assert!(parse(&format!("info_hash={hash}&info_hash={hash}")).is_err());
        assert!(parse(&format!("info_hash={hash}&x={}", "y".repeat(2048))).is_err());
    }

    proptest! {
        #[test]
        fn any_twenty_bytes_come_back_from_their_escapes(bytes: [u8; 20], escape_all: bool) {
            let mut text = String::new();
            for byte in bytes {
                if !escape_all && byte.is_ascii_alphanumeric() {
                    text.push(char::from(byte));
                } else {
                    text.push_str(&format!("%{byte:02x}"));
                }
            }
            let announce = parse(&format!("port=1&info_hash={text}"));
            let info_hash = InfoHash(bytes);
            let wanted = Announce { info_hash, stopped: false, seeding: false };
            prop_assert_eq!(announce, Ok(wanted));
        }

        #[test]
        fn no_query_makes_it_panic(query in ".*") {
            let _ = parse(&query);
        }
    }
}
