//! Canonical bencoding (BEP 3): the only form in which `dp_pay` messages are read and written.
//!
//! A value has exactly one encoding here: no leading zeros, no `-0`, dictionary keys sorted and
//! unique, nothing after the end. Whatever [`decode`] accepts is therefore what [`encode`] writes
//! for the same value, also inside of keys that the reader does not know. The extended handshake
//! of other clients is not read with this (`wire::frame` does that, leniently).

use thiserror::Error;

/// Deepest nesting of lists and dictionaries.
const MAX_DEPTH: u32 = 8;

/// Most digits of an integer or a length; keeps every accepted integer within `i128`.
const MAX_DIGITS: usize = 20;

/// A bencoded value that borrows its byte strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer of at most twenty digits.
    Int(i128),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A list.
    List(Vec<Value<'a>>),
    /// A dictionary, its keys in order.
    Dict(Vec<(&'a [u8], Value<'a>)>),
}

/// Why bytes are not the canonical encoding of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BencodeError {
    /// The bytes end inside of a value.
    #[error("ends in the middle of a value")]
    Truncated,
    /// Bytes follow the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// A byte that begins or continues no value.
    #[error("unexpected byte {byte:#04x} at {at}")]
    Unexpected {
        /// The byte.
        byte: u8,
        /// Its position.
        at: usize,
    },
    /// A number with a leading zero, a minus zero, or more than twenty digits.
    #[error("a number at {0} is not in its only form")]
    Number(usize),
    /// Dictionary keys out of order or twice.
    #[error("a dictionary key at {0} is out of order or repeated")]
    KeyOrder(usize),
    /// Lists or dictionaries nested too deeply.
    #[error("nested deeper than {MAX_DEPTH}")]
    Depth,
}

/// Reads exactly one canonical value.
///
/// # Errors
/// [`BencodeError`] where the bytes are not the one encoding of a value.
pub fn decode(bytes: &[u8]) -> Result<Value<'_>, BencodeError> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    match bytes.len() - reader.at {
        0 => Ok(value),
        rest => Err(BencodeError::Trailing(rest)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes
            .get(self.at)
            .copied()
            .ok_or(BencodeError::Truncated)
    }

    /// Takes the byte that ends a list or dictionary, if it is next.
    fn ends(&mut self) -> Result<bool, BencodeError> {
        let ends = self.peek()? == b'e';
        self.at += usize::from(ends);
        Ok(ends)
    }

    fn value(&mut self, depth: u32) -> Result<Value<'a>, BencodeError> {
        if depth > MAX_DEPTH {
            return Err(BencodeError::Depth);
        }
        match self.peek()? {
            b'0'..=b'9' => Ok(Value::Bytes(self.string()?)),
            b'i' => self.integer(),
            b'l' => self.list(depth),
            b'd' => self.dict(depth),
            byte => Err(BencodeError::Unexpected { byte, at: self.at }),
        }
    }

    fn integer(&mut self) -> Result<Value<'a>, BencodeError> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let number = self.digits(b'e')?;
        match (negative, number) {
            (true, 0) => Err(BencodeError::Number(start)),
            (true, number) => Ok(Value::Int(-number)),
            (false, number) => Ok(Value::Int(number)),
        }
    }

    /// Digits up to and including `end`, as a number in its only form.
    fn digits(&mut self, end: u8) -> Result<i128, BencodeError> {
        let start = self.at;
        let mut number: i128 = 0;
        loop {
            let byte = self.peek()?;
            let digits = self.at - start;
            if byte == end && digits > 0 {
                self.at += 1;
                return Ok(number);
            }
            if !byte.is_ascii_digit() {
                return Err(BencodeError::Unexpected { byte, at: self.at });
            }
            if digits == MAX_DIGITS || (digits > 0 && number == 0) {
                return Err(BencodeError::Number(start));
            }
            number = number * 10 + i128::from(byte - b'0');
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<&'a [u8], BencodeError> {
        let len = usize::try_from(self.digits(b':')?).map_err(|_| BencodeError::Truncated)?;
        let end = self.at.checked_add(len).ok_or(BencodeError::Truncated)?;
        let bytes = self
            .bytes
            .get(self.at..end)
            .ok_or(BencodeError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn list(&mut self, depth: u32) -> Result<Value<'a>, BencodeError> {
        self.at += 1;
        let mut values = Vec::new();
        while !self.ends()? {
            values.push(self.value(depth + 1)?);
        }
        Ok(Value::List(values))
    }

    fn dict(&mut self, depth: u32) -> Result<Value<'a>, BencodeError> {
        self.at += 1;
        let mut entries: Vec<(&[u8], Value)> = Vec::new();
        while !self.ends()? {
            let key_at = self.at;
            let byte = self.peek()?;
            if !byte.is_ascii_digit() {
                return Err(BencodeError::Unexpected { byte, at: key_at });
            }
            let key = self.string()?;
            if entries.last().is_some_and(|(last, _)| *last >= key) {
                return Err(BencodeError::KeyOrder(key_at));
            }
            entries.push((key, self.value(depth + 1)?));
        }
        Ok(Value::Dict(entries))
    }
}

/// The canonical encoding of `value`; dictionary entries are written in the order of their keys.
#[must_use]
pub fn encode(value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Int(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::List(values) => {
            out.push(b'l');
            values.iter().for_each(|value| write(value, out));
            out.push(b'e');
        }
        Value::Dict(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push(b'd');
            for (key, value) in sorted {
                write_bytes(key, out);
                write(value, out);
            }
            out.push(b'e');
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_encoding_of_a_value_is_refused() {
        for (bytes, error) in [
            (&b"i01e"[..], BencodeError::Number(1)),
            (b"i-0e", BencodeError::Number(0)),
            (b"01:a", BencodeError::Number(0)),
            (b"i1ei2e", BencodeError::Trailing(3)),
            (b"d1:bi1e1:ai1ee", BencodeError::KeyOrder(7)),
            (b"d1:ai1e1:ai1ee", BencodeError::KeyOrder(7)),
            (b"3:ab", BencodeError::Truncated),
            (b"ie", BencodeError::Unexpected { byte: b'e', at: 1 }),
            (b"llllllllllleeeeeeeeeee", BencodeError::Depth),
            (b"i123456789012345678901e", BencodeError::Number(1)),
            (b"99999999999999999999:", BencodeError::Truncated),
            (b"", BencodeError::Truncated),
        ] {
            assert_eq!(decode(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let bytes = b"d1:ai-7e1:bl2:xyi0eee";
        let value = Value::Dict(vec![
            (&b"a"[..], Value::Int(-7)),
            (
                &b"b"[..],
                Value::List(vec![Value::Bytes(b"xy"), Value::Int(0)]),
            ),
        ]);
        assert_eq!(decode(bytes), Ok(value.clone()));
        assert_eq!(encode(&value), bytes);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_would_be_written(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'd'), Just(b'e'), Just(b'l'), Just(b'i'), Just(b':'),
                            Just(b'-'), Just(b'0'), Just(b'1'), Just(b'2'), any::<u8>()],
                0..40,
            ),
        ) {
            if let Ok(value) = decode(&bytes) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
