//! The extended handshake (BEP 10), rewritten as it passes: `dp_pay` added or taken out, the port
//! and the addresses that the engine cannot know set.
//!
//! Everything that is not touched keeps its bytes. Strangers do not always sort their keys, so
//! reading is lenient; what is written is sorted.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

/// The name under which `m` lists our extension.
pub const DP_PAY: &str = "dp_pay";

const MAX_DEPTH: u32 = 16;

/// Why an extended handshake was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExtendedError {
    /// Not a bencoded dictionary.
    #[error("the extended handshake is not a bencoded dictionary at byte {at}")]
    NotADictionary {
        /// Offset of the offence.
        at: usize,
    },
}

/// An extended handshake's dictionary, its values as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedHandshake {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    messages: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl ExtendedHandshake {
    /// Reads the payload of extended message 0. Bytes after the dictionary are dropped, and so are
    /// numbers that no client means: engines panic at them.
    ///
    /// # Errors
    /// [`ExtendedError`] where it is not a dictionary of strings to values, or `m` is none.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtendedError> {
        let (mut entries, _) = dictionary(payload, 0)?;
        let mut messages = match entries.remove(&b"m"[..]) {
            Some(raw) => dictionary(&raw, 0)?.0,
            None => BTreeMap::new(),
        };
        entries.retain(|_, raw| integer(raw).is_none_or(is_meant));
        messages.retain(|_, raw| integer(raw).is_some_and(|id| u8::try_from(id).is_ok()));
        Ok(Self { entries, messages })
    }

    /// The payload, keys sorted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut entries = self.entries.clone();
        entries.insert(b"m".to_vec(), write_dictionary(&self.messages));
        write_dictionary(&entries)
    }

    /// The id that the speaker wants to receive messages of this extension under; `None` where
    /// it does not know it or has switched it off.
    #[must_use]
    pub fn message_id(&self, name: &str) -> Option<u8> {
        let id = integer(self.messages.get(name.as_bytes())?)?;
        u8::try_from(id).ok().filter(|id| *id != 0)
    }

    /// An id that the speaker uses for no extension of its own, from the top.
    #[must_use]
    pub fn unused_id(&self) -> u8 {
        let used: Vec<i64> = self.messages.values().filter_map(|v| integer(v)).collect();
        (1..=217u8)
            .rev()
            .find(|id| !used.contains(&i64::from(*id)))
            .unwrap_or(217)
    }

    /// Lists an extension under an id.
    pub fn set_message(&mut self, name: &str, id: u8) {
        self.messages
            .insert(name.as_bytes().to_vec(), format!("i{id}e").into_bytes());
    }

    /// Takes an extension out.
    pub fn remove_message(&mut self, name: &str) {
        self.messages.remove(name.as_bytes());
    }

    /// The port the speaker listens on.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let port = integer(self.entries.get(&b"p"[..])?)?;
        u16::try_from(port).ok().filter(|port| *port != 0)
    }

    /// Sets the port the speaker listens on.
    pub fn set_port(&mut self, port: u16) {
        self.entries
            .insert(b"p".to_vec(), format!("i{port}e").into_bytes());
    }

    /// Tells the receiver which address it has, seen from the speaker.
    pub fn set_your_ip(&mut self, ip: IpAddr) {
        self.entries.insert(b"yourip".to_vec(), compact(ip));
    }

    /// Tells the receiver which address the speaker has.
    pub fn set_speaker_ip(&mut self, ip: IpAddr) {
        self.entries.remove(&b"ipv4"[..]);
        self.entries.remove(&b"ipv6"[..]);
        let ip = ip.to_canonical();
        let key = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        self.entries.insert(key.as_bytes().to_vec(), compact(ip));
    }

    /// The speaker's client name and version, made printable and cut to 64 characters.
    #[must_use]
    pub fn client(&self) -> Option<String> {
        let (name, _) = string(self.entries.get(&b"v"[..])?, 0).ok()?;
        let seen: String = String::from_utf8_lossy(name)
            .chars()
            .filter(|c| !c.is_control())
            .take(64)
            .collect();
        let text = crate::torrent::printable(&seen);
        (!text.is_empty()).then_some(text)
    }
}

/// Whether the payload of another extended message (`ut_metadata`, `ut_pex`) begins with a dictionary
/// of which every number is one that a client may mean.
#[must_use]
pub fn is_sane(payload: &[u8]) -> bool {
    dictionary(payload, 0).is_ok_and(|(entries, _)| {
        let mut numbers = entries.values().filter_map(|raw| integer(raw));
        numbers.all(is_meant)
    })
}

/// Pieces, lengths, ports and counts: none is negative or beyond 31 bits.
fn is_meant(number: i64) -> bool {
    (0..=i64::from(i32::MAX)).contains(&number)
}

fn compact(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(v4) => write_string(&v4.octets()),
        IpAddr::V6(v6) => write_string(&v6.octets()),
    }
}

fn write_string(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.len().to_string().into_bytes();
    out.push(b':');
    out.extend_from_slice(bytes);
    out
}

fn write_dictionary(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut out = vec![b'd'];
    for (key, raw) in entries {
        out.extend(write_string(key));
        out.extend_from_slice(raw);
    }
    out.push(b'e');
    out
}

fn integer(raw: &[u8]) -> Option<i64> {
    let digits = raw.strip_prefix(b"i")?.strip_suffix(b"e")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A dictionary's entries with their raw values, and where it ends. The first of equal keys wins.
fn dictionary(input: &[u8], start: usize) -> Result<(Entries, usize), ExtendedError> {
    if input.get(start) != Some(&b'd') {
        return Err(ExtendedError::NotADictionary { at: start });
    }
    let mut entries = Entries::new();
    let mut at = start + 1;
    loop {
        if input.get(at) == Some(&b'e') {
            return Ok((entries, at + 1));
        }
        let (key, value_at) = string(input, at)?;
        let end = skip(input, value_at, 0)?;
        let raw = input
            .get(value_at..end)
            .ok_or(ExtendedError::NotADictionary { at: value_at })?;
        entries.entry(key.to_vec()).or_insert_with(|| raw.to_vec());
        at = end;
    }
}

fn string(input: &[u8], at: usize) -> Result<(&[u8], usize), ExtendedError> {
    let wrong = ExtendedError::NotADictionary { at };
    let rest = input.get(at..).unwrap_or_default();
    let Some(colon) = rest.iter().take(8).position(|b| *b == b':') else {
        return Err(wrong);
    };
    let digits = rest.get(..colon).unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    let length: usize = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usize::MAX);
    let start = colon + 1;
    match start
        .checked_add(length)
        .and_then(|end| rest.get(start..end))
    {
        Some(bytes) => Ok((bytes, at + start + length)),
        None => Err(wrong),
    }
}

/// Where the value at `at` ends.
fn skip(input: &[u8], at: usize, depth: u32) -> Result<usize, ExtendedError> {
    let wrong = ExtendedError::NotADictionary { at };
    if depth > MAX_DEPTH {
        return Err(wrong);
    }
    match input.get(at) {
        Some(b'i') => {
            let rest = input.get(at..).unwrap_or_default();
            match rest.iter().take(24).position(|b| *b == b'e') {
                Some(end) if integer(&rest[..=end]).is_some() => Ok(at + end + 1),
                _ => Err(wrong),
            }
        }
        Some(open @ (b'l' | b'd')) => {
            let mut next = at + 1;
            while input.get(next) != Some(&b'e') {
                if *open == b'd' {
                    next = string(input, next)?.1;
                }
                next = skip(input, next, depth + 1)?;
            }
            Ok(next + 1)
        }
        Some(_) => Ok(string(input, at)?.1),
        None => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_extension_is_added_and_taken_out_and_the_rest_stays() {
        let payload = b"d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei99e1:v4:test6:yourip4:\x7f\0\0\x01e";
        let mut handshake = ExtendedHandshake::decode(payload).expect("reads");
        let before = handshake.clone();
        assert_eq!(handshake.encode(), payload);
        handshake.set_message(DP_PAY, handshake.unused_id());
        assert_eq!(handshake.message_id(DP_PAY), Some(217));
        let sent = ExtendedHandshake::decode(&handshake.encode()).expect("reads");
        assert_eq!(sent.message_id(DP_PAY), Some(217));
        assert_eq!(sent.message_id("ut_pex"), Some(1));
        let mut stripped = sent;
        stripped.remove_message(DP_PAY);
        assert_eq!(stripped, before);
    }

    #[test]
    fn numbers_that_no_client_means_are_dropped() {
        let payload = b"d1:md6:dp_payi1e6:ut_pexi256ee13:metadata_sizei2147483647e1:pi-1e4:reqqi1099511627776ee";
        let handshake = ExtendedHandshake::decode(payload).expect("reads");
        let kept = b"d1:md6:dp_payi1ee13:metadata_sizei2147483647ee";
        assert_eq!(handshake.encode(), kept);
        let says = |payload: &[u8]| is_sane(payload);
        assert!(says(
            b"d8:msg_typei1e5:piecei0e10:total_sizei9eeand a piece"
        ));
        assert!(!says(b"d8:msg_typei1e5:piecei4294967296ee"));
        assert!(!says(b"d8:msg_typei-1ee") && !says(b"i1e") && !says(b""));
    }

    #[test]
    fn port_and_addresses_are_set() {
        let mut handshake = ExtendedHandshake::decode(b"de").expect("reads");
        handshake.set_port(6881);
        handshake.set_your_ip(IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4)));
        handshake.set_speaker_ip(IpAddr::V6(Ipv4Addr::new(5, 6, 7, 8).to_ipv6_mapped()));
        assert_eq!(
            handshake.encode(),
            b"d4:ipv44:\x05\x06\x07\x081:mde1:pi6881e6:yourip4:\x01\x02\x03\x04e"
        );
        handshake.set_speaker_ip(IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert!(handshake.encode().starts_with(b"d4:ipv616:"));
        assert_eq!(handshake.port(), Some(6881));
    }

    #[test]
    fn unsorted_keys_are_read_and_written_sorted() {
        let handshake = ExtendedHandshake::decode(b"d1:v3:abc1:md1:bi2e1:ai1eee").expect("reads");
        assert_eq!(handshake.encode(), b"d1:md1:ai1e1:bi2ee1:v3:abce");
        assert_eq!(handshake.client().as_deref(), Some("abc"));
    }

    #[test]
    fn an_extension_switched_off_has_no_id() {
        let handshake = ExtendedHandshake::decode(b"d1:md6:dp_payi0eee").expect("reads");
        assert_eq!(handshake.message_id(DP_PAY), None);
    }

    proptest! {
        #[test]
        fn bytes_of_strangers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ExtendedHandshake::decode(&bytes);
        }

        #[test]
        fn near_bencode_never_panics(text in "[0-9delim:a-c]{0,60}") {
            let text = format!("d{text}e");
            if let Ok(handshake) = ExtendedHandshake::decode(text.as_bytes()) {
                let again = ExtendedHandshake::decode(&handshake.encode()).expect("own writing");
                prop_assert_eq!(again, handshake);
            }
        }
    }
}
