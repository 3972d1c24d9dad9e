//! Which pieces a peer has that we still need: read off the `bitfield` and `have` messages that pass.

/// Pieces that are numbered by strangers, at most.
const MAX_PIECES: u32 = 1 << 21;

/// A set of pieces as a bitfield (BEP 3), growing as needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u8>, u32);

impl Bits {
    /// Adds all pieces of a `bitfield` message's payload.
    pub fn add_all(&mut self, bitfield: &[u8]) {
        if self.0.len() < bitfield.len() {
            self.0.resize(bitfield.len(), 0);
        }
        for (own, more) in self.0.iter_mut().zip(bitfield) {
            self.1 = self.1.saturating_add((more & !*own).count_ones());
            *own |= more;
        }
    }

    /// Adds a piece; one with an impossible number is left out.
    pub fn add(&mut self, piece: u32) {
        if piece >= MAX_PIECES {
            return;
        }
        let byte = (piece / 8) as usize;
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        let bit = 0x80 >> (piece % 8);
        if let Some(byte) = self.0.get_mut(byte).filter(|byte| **byte & bit == 0) {
            *byte |= bit;
            self.1 = self.1.saturating_add(1);
        }
    }

    /// How many pieces are in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.1
    }

    /// Whether a piece is in the set.
    #[must_use]
    pub fn contains(&self, piece: u32) -> bool {
        let byte = self.0.get((piece / 8) as usize).copied();
        byte.unwrap_or_default() & (0x80 >> (piece % 8)) != 0
    }

    /// Whether one of the pieces from `first` to `last` is in the set; eight are looked at at once.
    #[must_use]
    pub fn has_any(&self, first: u32, last: u32) -> bool {
        let (from, to) = ((first / 8) as usize, (last / 8) as usize);
        let head = 0xff_u8 >> (first % 8);
        let tail = 0xff_u8 << (7 - last % 8);
        let byte = |at: usize| self.0.get(at).copied().unwrap_or_default();
        match from == to {
            true => first <= last && byte(from) & head & tail != 0,
            false => {
                let between = self.0.get(from + 1..to.min(self.0.len()));
                from < to
                    && (byte(from) & head != 0
                        || byte(to) & tail != 0
                        || between.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)))
            }
        }
    }

    /// Bytes of the pieces in this set that are in `chosen` (none: all are) and not in `other`, in a torrent
    /// of this shape.
    #[must_use]
    pub fn bytes_beyond(
        &self,
        other: &Bits,
        chosen: Option<&Bits>,
        piece_length_bytes: u64,
        length_bytes: u64,
    ) -> u64 {
        if piece_length_bytes == 0 || length_bytes == 0 {
            return 0;
        }
        let last = (length_bytes - 1) / piece_length_bytes;
        let bytes = usize::try_from(last / 8 + 1).unwrap_or(usize::MAX);
        let spare = u32::try_from(7 - last % 8).unwrap_or_default();
        let mut pieces = 0u64;
        for (at, own) in self.0.iter().take(bytes).enumerate() {
            let byte_of = |bits: &Bits| bits.0.get(at).copied().unwrap_or_default();
            let mut beyond = own & !byte_of(other) & chosen.map_or(0xff, byte_of);
            if at + 1 == bytes {
                beyond = beyond >> spare << spare;
            }
            pieces += u64::from(beyond.count_ones());
        }
        let all = pieces.saturating_mul(piece_length_bytes);
        let last_piece = u32::try_from(last).unwrap_or(u32::MAX);
        let is_chosen = chosen.is_none_or(|chosen| chosen.contains(last_piece));
        if is_chosen && self.contains(last_piece) && !other.contains(last_piece) {
            let missing = piece_length_bytes - (length_bytes - last * piece_length_bytes);
            return all.saturating_sub(missing);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_last_piece_counts_as_it_is() {
        let mut peer = Bits::default();
        peer.add_all(&[0xff, 0xff]);
        let mut own = Bits::default();
        // Ten pieces of 100 bytes, the last of 7; bits beyond the tenth are none.
        assert_eq!(peer.bytes_beyond(&own, None, 100, 907), 907);
        own.add(9);
        assert_eq!(peer.bytes_beyond(&own, None, 100, 907), 900);
        own.add(0);
        assert_eq!(peer.bytes_beyond(&own, None, 100, 907), 800);
    }

    #[test]
    fn only_chosen_pieces_count_where_there_is_a_choice() {
        let mut peer = Bits::default();
        peer.add_all(&[0xff, 0x40]);
        let mut own = Bits::default();
        own.add(3);
        let beyond = |chosen: &[u32]| {
            let mut bits = Bits::default();
            chosen.iter().for_each(|piece| bits.add(*piece));
            peer.bytes_beyond(&own, Some(&bits), 100, 907)
        };
        assert_eq!(beyond(&[]), 0);
        assert_eq!(beyond(&[2, 3, 4]), 200, "what is there costs nothing");
        assert_eq!(beyond(&[8]), 0, "the peer does not have it");
        assert_eq!(beyond(&[0, 9]), 107);
    }

    #[test]
    fn a_range_has_a_piece_where_one_of_its_pieces_is_there() {
        for piece in [0, 7, 8, 15, 16, 30, 39] {
            let mut bits = Bits::default();
            bits.add(piece);
            for first in 0..50 {
                for last in 0..50 {
                    let one_by_one = (first..=last).any(|piece| bits.contains(piece));
                    assert_eq!(bits.has_any(first, last), one_by_one, "{first} to {last}");
                }
            }
        }
        assert!(!Bits::default().has_any(0, u32::MAX));
    }

    #[test]
    fn pieces_with_impossible_numbers_cost_no_memory() {
        let mut bits = Bits::default();
        bits.add(u32::MAX);
        assert_eq!(bits, Bits::default());
        bits.add(17);
        assert!(bits.contains(17) && !bits.contains(16) && !bits.contains(u32::MAX));
        assert_eq!(bits.count(), 1);
        bits.add(17);
        bits.add_all(&[0x80, 0, 0x60]);
        assert_eq!(bits.count(), 3);
        assert_eq!(bits.bytes_beyond(&Bits::default(), None, 0, 0), 0);
    }
}
