//! Which bytes of a piece are there: a sorted list of ranges that neither touch nor overlap.
//!
//! Blocks mostly come in order, so the list mostly has one entry.

use std::ops::Range;

/// Ranges of bytes within one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u32>>);

impl Ranges {
    /// Adds a range, joining what touches it.
    pub fn insert(&mut self, new: Range<u32>) {
        if new.is_empty() {
            return;
        }
        // Blocks that come in order, which is nearly all.
        match self.0.last_mut() {
            Some(last) if last.end == new.start => {
                last.end = new.end;
                return;
            }
            Some(last) if last.end > new.start => {}
            _ => {
                self.0.push(new);
                return;
            }
        }
        let first = self.0.partition_point(|old| old.end < new.start);
        let rest = self.0.get(first..).unwrap_or_default();
        let last = first + rest.partition_point(|old| old.start <= new.end);
        let joined = self.0.get(first..last).unwrap_or_default();
        let start = joined
            .first()
            .map_or(new.start, |old| old.start.min(new.start));
        let end = joined.last().map_or(new.end, |old| old.end.max(new.end));
        self.0.splice(first..last, std::iter::once(start..end));
    }

    /// Whether all of `range` is there.
    pub fn contains(&self, range: &Range<u32>) -> bool {
        let holds = |old: &Range<u32>| old.start <= range.start && range.end <= old.end;
        range.is_empty() || self.0.iter().any(holds)
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u32>> {
        self.0.iter().cloned()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_that_touch_are_joined() {
        let mut ranges = Ranges::default();
        for range in [20..30, 0..10, 10..20, 40..50] {
            ranges.insert(range);
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [0..30, 40..50]);
        assert!(ranges.contains(&(5..30)) && !ranges.contains(&(5..31)));
        assert!(ranges.contains(&(35..35)));
    }

    proptest! {
        #[test]
        fn a_set_of_bytes_says_the_same(inserts in proptest::collection::vec((0u32..60, 0u32..20), 0..20)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 80];
            for (start, length) in inserts {
                ranges.insert(start..start + length);
                for byte in &mut bytes[start as usize..(start + length) as usize] {
                    *byte = true;
                }
            }
            for start in 0..80usize {
                for end in start..80 {
                    let all = bytes[start..end].iter().all(|byte| *byte);
                    prop_assert_eq!(ranges.contains(&(start as u32..end as u32)), all);
                }
            }
            let list: Vec<_> = ranges.iter().collect();
            prop_assert!(list.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
