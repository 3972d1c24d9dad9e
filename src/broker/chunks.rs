//! Which entries of the spent list stand in which of its chunks.

use std::collections::BTreeMap;

/// Some entries of one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The hour in which they were made: unix seconds / 3 600.
    pub hour: u32,
    /// Entries of that hour before them.
    pub skip: u32,
    /// How many they are.
    pub take: u32,
}

/// Chunks of at most `most` entries by the hour that they are called by, from hours, ascending, with the number
/// of entries made in each. What an hour has beyond goes into the next one's chunk, before what is made then. So
/// the chunks one after another are all entries in their order, and each only grows, at its end, as long as only
/// the last hour grows (the stores see to that).
#[must_use]
pub fn chunks(hours: &[(u32, u32)], most: u32) -> BTreeMap<u32, Vec<Run>> {
    let most = most.max(1);
    let mut chunks: BTreeMap<u32, Vec<Run>> = BTreeMap::new();
    let (mut at, mut room) = (0, most);
    for (hour, entries) in hours {
        if *hour > at {
            (at, room) = (*hour, most);
        }
        let (mut skip, mut left) = (0_u32, *entries);
        while left > 0 {
            if room == 0 {
                (at, room) = (at.saturating_add(1), most);
            }
            let take = left.min(room);
            let hour = *hour;
            let run = Run { hour, skip, take };
            chunks.entry(at).or_default().push(run);
            skip = skip.saturating_add(take);
            left = left.saturating_sub(take);
            room = room.saturating_sub(take);
        }
    }
    chunks
}

/// Entries of a chunk.
#[must_use]
pub fn entries(runs: &[Run]) -> u32 {
    runs.iter()
        .fold(0, |sum: u32, run| sum.saturating_add(run.take))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All entries of chunks, by hour and number.
    fn listed(chunks: &BTreeMap<u32, Vec<Run>>) -> Vec<(u32, u32)> {
        let runs = chunks.values().flatten();
        runs.flat_map(|run| (run.skip..run.skip + run.take).map(|n| (run.hour, n)))
            .collect()
    }

    #[test]
    fn what_an_hour_has_beyond_goes_into_the_next_ones_chunk() {
        let run = |hour, skip, take| Run { hour, skip, take };
        let found = chunks(&[(7, 2), (10, 8), (11, 2), (20, 3)], 3);
        let wanted = [
            (7, vec![run(7, 0, 2)]),
            (10, vec![run(10, 0, 3)]),
            (11, vec![run(10, 3, 3)]),
            (12, vec![run(10, 6, 2), run(11, 0, 1)]),
            (13, vec![run(11, 1, 1)]),
            (20, vec![run(20, 0, 3)]),
        ];
        assert_eq!(found, wanted.into());
    }

    proptest! {
        #[test]
        fn every_entry_stands_in_one_chunk_in_order_and_chunks_only_grow(
            gaps in proptest::collection::vec((0_u32..4, 0_u32..12), 0..12),
            most in 1_u32..6,
            more in 0_u32..9,
        ) {
            let mut hours = Vec::new();
            let mut hour = 3;
            for (gap, entries) in gaps {
                hours.push((hour, entries));
                hour += 1 + gap;
            }
            let before = chunks(&hours, most);
            let all = hours.iter().flat_map(|(hour, entries)| (0..*entries).map(|n| (*hour, n)));
            prop_assert_eq!(listed(&before), all.collect::<Vec<_>>());
            for (at, runs) in &before {
                prop_assert!((1..=most).contains(&entries(runs)));
                prop_assert!(runs.iter().all(|run| run.hour <= *at));
            }
            if let Some((_, last)) = hours.last_mut() {
                *last += more;
            }
            let after = chunks(&hours, most);
            for at in before.keys() {
                let one = |of: &BTreeMap<u32, Vec<Run>>| listed(&BTreeMap::from([(*at, of[at].clone())]));
                prop_assert!(one(&after).starts_with(&one(&before)));
            }
        }
    }
}
