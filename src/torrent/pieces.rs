//! A set of pieces of one torrent, in the layout of BitTorrent's bitfield (BEP 3): piece 0 is the
//! highest bit of the first byte.

use crate::units::PieceIndex;

/// Which of a torrent's pieces.
#[derive(Clone, PartialEq, Eq)]
pub struct PieceSet {
    bits: Vec<u8>,
    pieces: u32,
}

impl PieceSet {
    /// None of `pieces` pieces.
    #[must_use]
    pub fn new(pieces: u32) -> Self {
        let bytes = (pieces as usize).div_ceil(8);
        PieceSet {
            bits: vec![0; bytes],
            pieces,
        }
    }

    /// From a bitfield; bits beyond `pieces` are ignored, missing bytes are zero.
    #[must_use]
    pub fn from_bitfield(bits: &[u8], pieces: u32) -> Self {
        let mut set = PieceSet::new(pieces);
        for (mine, theirs) in set.bits.iter_mut().zip(bits) {
            *mine = *theirs;
        }
        let spare = (8 - pieces % 8) % 8;
        if let Some(last) = set.bits.last_mut() {
            *last &= 0xff << spare;
        }
        set
    }

    /// The bitfield; spare bits are zero.
    #[must_use]
    pub fn as_bitfield(&self) -> &[u8] {
        &self.bits
    }

    /// How many pieces the torrent has.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.pieces
    }

    /// How many are in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether all are in the set.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() == self.pieces
    }

    /// Whether `piece` is in the set.
    #[must_use]
    pub fn contains(&self, piece: PieceIndex) -> bool {
        let byte = self.bits.get(piece.0 as usize / 8);
        byte.is_some_and(|byte| byte & mask(piece) != 0)
    }

    /// Adds `piece`; false if it was there, or the torrent has no such piece.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece.0 >= self.pieces {
            return false;
        }
        match self.bits.get_mut(piece.0 as usize / 8) {
            Some(byte) if *byte & mask(piece) == 0 => {
                *byte |= mask(piece);
                true
            }
            _ => false,
        }
    }

    /// Adds all of `other`'s pieces.
    pub fn union(&mut self, other: &PieceSet) {
        for (mine, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *mine |= theirs;
        }
    }

    /// Takes all of `other`'s pieces out.
    pub fn subtract(&mut self, other: &PieceSet) {
        for (mine, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *mine &= !theirs;
        }
    }

    /// The pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> {
        (0..self.pieces)
            .map(PieceIndex)
            .filter(|piece| self.contains(*piece))
    }
}

impl std::fmt::Debug for PieceSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PieceSet({} of {})", self.count(), self.pieces)
    }
}

const fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.0 % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_0_is_the_highest_bit() {
        let mut set = PieceSet::new(10);
        assert!(set.insert(PieceIndex(0)));
        assert!(set.insert(PieceIndex(9)));
        assert!(!set.insert(PieceIndex(9)));
        assert!(!set.insert(PieceIndex(10)));
        assert_eq!(set.as_bitfield(), [0x80, 0x40]);
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [PieceIndex(0), PieceIndex(9)]
        );
        assert!(!set.contains(PieceIndex(10)) && !set.contains(PieceIndex(u32::MAX)));
    }

    #[test]
    fn spare_bits_of_a_bitfield_are_ignored() {
        let set = PieceSet::from_bitfield(&[0xff, 0xff, 0xff], 10);
        assert_eq!(set.count(), 10);
        assert!(set.is_full());
        assert_eq!(PieceSet::from_bitfield(&[0xff], 16).count(), 8);
        assert_eq!(PieceSet::from_bitfield(&[0xff], 8).count(), 8);
        assert_eq!(PieceSet::from_bitfield(&[], 0).count(), 0);
    }

    #[test]
    fn subtracting_leaves_the_rest() {
        let mut set = PieceSet::from_bitfield(&[0b1110_0000], 3);
        set.subtract(&PieceSet::from_bitfield(&[0b0100_0000], 3));
        assert_eq!(set.as_bitfield(), [0b1010_0000]);
    }
}
