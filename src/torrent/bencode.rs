//! Bencode (BEP 3) as strangers write it: a bounded reader that keeps the raw bytes of every
//! dictionary value (the info hash is taken over them), and a writer that is canonical.
//!
//! The reader takes unsorted keys, because such torrents exist and their info hash is over the raw
//! bytes anyway; it refuses whatever two readers could understand differently: a key given twice,
//! numbers with leading zeros, bytes after the end.

use thiserror::Error;

/// Deepest nesting read. Real torrents stay below 10; the file tree of a hybrid torrent may nest
/// as deep as its folders.
const MAX_DEPTH: usize = 100;

/// Most values read from one input: bounds memory at some 100 MB whatever the input.
const MAX_VALUES: usize = 2_000_000;

/// Why bytes are not the bencode we read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BencodeError {
    /// The input ends inside a value.
    #[error("the data ends too early, after {0} bytes")]
    Truncated(usize),
    /// A byte that cannot begin or continue a value.
    #[error("unexpected byte {byte:#04x} at offset {offset}")]
    Unexpected {
        /// The byte.
        byte: u8,
        /// Where it is.
        offset: usize,
    },
    /// A number with leading zeros, or outside 64 bits.
    #[error("malformed number at offset {0}")]
    Number(usize),
    /// Lists and dictionaries nested too deep.
    #[error("nested deeper than {MAX_DEPTH} levels at offset {0}")]
    Depth(usize),
    /// Too many values.
    #[error("more than {MAX_VALUES} values")]
    Values,
    /// A dictionary has one key twice.
    #[error("the key {key:?} is given twice in the dictionary at offset {offset}")]
    DuplicateKey {
        /// The key, shortened.
        key: String,
        /// Where the dictionary begins.
        offset: usize,
    },
    /// Bytes after the end of the outermost value.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
}

/// One value, borrowing from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::List(values) => Some(values),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict<'a>> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }
}

/// A dictionary, in the order of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dict<'a> {
    entries: Vec<(&'a [u8], Value<'a>, &'a [u8])>,
}

impl<'a> Dict<'a> {
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.entry(key).map(|(_, value, _)| value)
    }

    /// The value's bytes exactly as they stand in the input.
    pub fn raw(&self, key: &str) -> Option<&'a [u8]> {
        self.entry(key).map(|(_, _, raw)| *raw)
    }

    fn entry(&self, key: &str) -> Option<&(&'a [u8], Value<'a>, &'a [u8])> {
        self.entries.iter().find(|(k, ..)| *k == key.as_bytes())
    }
}

/// Reads exactly one value from `input`.
pub(super) fn read(input: &[u8]) -> Result<Value<'_>, BencodeError> {
    let mut reader = Reader {
        input,
        at: 0,
        values: 0,
    };
    let value = reader.value(0)?;
    match input.len().saturating_sub(reader.at) {
        0 => Ok(value),
        rest => Err(BencodeError::Trailing(rest)),
    }
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Result<u8, BencodeError> {
        self.input
            .get(self.at)
            .copied()
            .ok_or(BencodeError::Truncated(self.at))
    }

    fn unexpected(&self, byte: u8) -> BencodeError {
        BencodeError::Unexpected {
            byte,
            offset: self.at,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, BencodeError> {
        if depth > MAX_DEPTH {
            return Err(BencodeError::Depth(self.at));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(BencodeError::Values);
        }
        match self.peek()? {
            b'i' => {
                self.at += 1;
                Ok(Value::Int(self.number(b'e')?))
            }
            b'0'..=b'9' => Ok(Value::Bytes(self.bytes()?)),
            b'l' => {
                self.at += 1;
                let mut values = Vec::new();
                while self.peek()? != b'e' {
                    values.push(self.value(depth + 1)?);
                }
                self.at += 1;
                Ok(Value::List(values))
            }
            b'd' => self.dict(depth),
            other => Err(self.unexpected(other)),
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value<'a>, BencodeError> {
        let began = self.at;
        self.at += 1;
        let mut dict = Dict::default();
        let mut sorted = true;
        while self.peek()? != b'e' {
            match self.peek()? {
                b'0'..=b'9' => {}
                other => return Err(self.unexpected(other)),
            }
            let key = self.bytes()?;
            let from = self.at;
            let value = self.value(depth + 1)?;
            sorted &= dict.entries.last().is_none_or(|(last, ..)| *last < key);
            let raw = self.input.get(from..self.at).unwrap_or_default();
            dict.entries.push((key, value, raw));
        }
        self.at += 1;
        if !sorted {
            let mut keys: Vec<&[u8]> = dict.entries.iter().map(|(key, ..)| *key).collect();
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find(|pair| pair.first() == pair.last()) {
                let key = twice.first().copied().unwrap_or_default();
                return Err(BencodeError::DuplicateKey {
                    key: String::from_utf8_lossy(key).chars().take(40).collect(),
                    offset: began,
                });
            }
        }
        Ok(Value::Dict(dict))
    }

    /// Digits up to `end`, which is consumed.
    fn number(&mut self, end: u8) -> Result<i64, BencodeError> {
        let began = self.at;
        // The longest is "-9223372036854775808".
        let window = self.input.get(began..).unwrap_or_default();
        let length = window.iter().take(21).position(|byte| *byte == end);
        let Some(length) = length else {
            return Err(if window.len() < 21 {
                BencodeError::Truncated(self.input.len())
            } else {
                BencodeError::Number(began)
            });
        };
        let digits = window.get(..length).unwrap_or_default();
        let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
        let canonical = match unsigned {
            [b'0'] => digits.len() == 1,
            [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        let number = std::str::from_utf8(digits)
            .ok()
            .and_then(|t| t.parse().ok());
        match number {
            Some(number) if canonical => {
                self.at = began + length + 1;
                Ok(number)
            }
            _ => Err(BencodeError::Number(began)),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], BencodeError> {
        let began = self.at;
        let length =
            usize::try_from(self.number(b':')?).map_err(|_| BencodeError::Number(began))?;
        let bytes = self
            .at
            .checked_add(length)
            .and_then(|end| self.input.get(self.at..end))
            .ok_or(BencodeError::Truncated(self.input.len()))?;
        self.at += length;
        Ok(bytes)
    }
}

/// Writes a byte string.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Writes a number.
pub(super) fn put_int(out: &mut Vec<u8>, number: u64) {
    out.push(b'i');
    out.extend_from_slice(number.to_string().as_bytes());
    out.push(b'e');
}

/// Writes a list of byte strings.
pub(super) fn put_strings<S: AsRef<[u8]>>(out: &mut Vec<u8>, strings: &[S]) {
    out.push(b'l');
    for string in strings {
        put_bytes(out, string.as_ref());
    }
    out.push(b'e');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_with_their_raw_bytes() {
        let value = read(b"d1:ali1ei-2ee1:bd0:3:xyzee").expect("reads");
        let dict = value.as_dict().expect("a dictionary");
        assert_eq!(dict.raw("a"), Some(&b"li1ei-2ee"[..]));
        assert_eq!(dict.raw("b"), Some(&b"d0:3:xyze"[..]));
        let list = dict.get("a").and_then(Value::as_list).expect("a list");
        assert_eq!(list.last().and_then(Value::as_int), Some(-2));
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for (input, error) in [
            (&b"d1:ai1e1:ai2ee"[..], "twice"),
            (b"d1:bi1e1:ai2e1:bi3ee", "twice"),
            (b"i01e", "number"),
            (b"i-0e", "number"),
            (b"ie", "number"),
            (b"i+1e", "number"),
            (b"i9223372036854775808e", "number"),
            (b"i99999999999999999999999999999999e", "number"),
            (b"02:ab", "number"),
            (b"9:ab", "too early"),
            (b"99999999999999999:ab", "too early"),
            (b"i1ei2e", "follow"),
            (b"di1e1:ae", "unexpected"),
            (b"x", "unexpected"),
            (b"", "too early"),
            (b"l", "too early"),
            (b"i12", "too early"),
        ] {
            let text = read(input).expect_err("refused").to_string();
            assert!(text.contains(error), "{text:?} does not say {error:?}");
        }
    }

    #[test]
    fn unsorted_keys_are_read() {
        assert!(read(b"d1:bi1e1:ai2ee").is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let bomb = vec![b'l'; 1 << 20];
        assert_eq!(read(&bomb), Err(BencodeError::Depth(MAX_DEPTH + 1)));
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let mut bomb = vec![b'l'];
        bomb.extend(std::iter::repeat_n(*b"0:", MAX_VALUES + 1).flatten());
        bomb.push(b'e');
        assert_eq!(read(&bomb), Err(BencodeError::Values));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_panic(input: Vec<u8>) {
            let _ = read(&input);
        }

        #[test]
        fn what_is_written_reads_back(number: u32, strings: Vec<Vec<u8>>) {
            let mut out = vec![b'l'];
            put_int(&mut out, u64::from(number));
            put_strings(&mut out, &strings);
            out.push(b'e');
            let strings: Vec<_> = strings.iter().map(|s| Value::Bytes(s)).collect();
            let wanted = Value::List(vec![Value::Int(i64::from(number)), Value::List(strings)]);
            prop_assert_eq!(read(&out), Ok(wanted));
        }
    }
}
