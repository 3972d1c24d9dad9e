//! The queue: where at most so many torrents may download at once, those beyond that wait in the order in which
//! they were added. One that waits is paused in the engine once its files are checked, so that nothing of it is
//! fetched or paid, and goes on by itself as soon as one before it is whole, has failed, or is paused.

use std::collections::{BTreeMap, HashSet};

use super::entry::Entry;
use super::lock;
use super::run::Running;
use crate::engine::Handle;
use crate::units::InfoHash;

impl Entry {
    /// Whether the engine is to have it paused.
    pub fn stands_still(&self) -> bool {
        self.saved.paused || self.queued
    }

    pub fn goes_on(&self) -> bool {
        !self.saved.paused && !self.saved.asking
    }

    /// Whether it does nothing more until somebody mends it.
    pub fn has_failed(&self) -> bool {
        self.error.is_some() || self.handle.as_ref().is_some_and(Handle::has_failed)
    }

    /// Whether all that is wanted is there: as the engine says, or while that does not know, as it was before.
    pub fn is_whole(&self) -> bool {
        let is_finished = self.handle.as_ref().and_then(Handle::is_finished);
        is_finished.unwrap_or(self.saved.completed.is_some())
    }

    /// Whether it was whole when it was last looked at, and is.
    pub fn pays_no_more(&self) -> bool {
        self.saved.completed.is_some() && self.is_whole()
    }

    /// Whether it would download, if it need not wait.
    fn wants_more(&self) -> bool {
        self.goes_on() && !self.is_whole() && !self.has_failed()
    }

    /// Whether its description has yet to come: then it takes nobody's place, and the engine has it as it was
    /// given it.
    pub fn is_unknown(&self) -> bool {
        let is_described = |handle: &Handle| handle.metainfo().is_some();
        self.saved.size_bytes == 0 && !self.handle.as_ref().is_some_and(is_described)
    }

    /// Whether the engine is given it paused: also what is not known yet, as it may have to wait by the time it is.
    pub fn begins_paused(&self, limit: Option<u32>) -> bool {
        self.stands_still() || (limit.is_some() && self.is_unknown() && self.goes_on())
    }
}

/// Those that wait, where at most `limit` download at once.
pub(super) fn waiting(
    torrents: &BTreeMap<InfoHash, Entry>,
    limit: Option<u32>,
) -> HashSet<InfoHash> {
    let Some(mut places) = limit else {
        return HashSet::new();
    };
    let mut all: Vec<&Entry> = torrents.values().filter(|one| one.wants_more()).collect();
    all.sort_by_key(|entry| (entry.saved.added, entry.saved.info_hash));
    let waits = all.into_iter().filter(|entry| {
        let waits = places == 0;
        places -= u32::from(!waits && !entry.is_unknown());
        waits
    });
    waits.map(|entry| entry.saved.info_hash).collect()
}

impl Running {
    /// Whether a torrent that is about to go on has to wait; notes it.
    pub fn take_place(&self, hash: InfoHash, limit: Option<u32>) -> bool {
        let mut torrents = lock(&self.torrents);
        let waits = waiting(&torrents, limit).contains(&hash);
        if let Some(entry) = torrents.get_mut(&hash) {
            entry.queued = waits;
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::entry::tests::saved;
    use crate::units::UnixMs;

    #[test]
    fn those_that_were_added_last_wait_and_what_does_not_download_takes_no_place() {
        let entry = |added: u8| {
            let mut saved = saved();
            saved.info_hash = InfoHash([added; 20]);
            (saved.added, saved.size_bytes) = (UnixMs(u64::from(9 - added)), 1);
            (saved.info_hash, Entry::new(saved))
        };
        let mut all: BTreeMap<_, _> = (1..=5).map(entry).collect();
        let waits = |all: &BTreeMap<_, _>, limit| {
            let mut waits: Vec<u8> = waiting(all, limit).iter().map(|hash| hash.0[0]).collect();
            waits.sort_unstable();
            waits
        };
        assert_eq!(waits(&all, None), [0; 0]);
        // Added in the order 5, 4, 3, 2, 1.
        assert_eq!(waits(&all, Some(2)), [1, 2, 3]);
        let at = |n: u8| InfoHash([n; 20]);
        let change = |all: &mut BTreeMap<_, Entry>, n, change: fn(&mut Entry)| {
            change(all.get_mut(&at(n)).expect("there"));
        };
        change(&mut all, 5, |entry| entry.saved.paused = true);
        assert_eq!(waits(&all, Some(2)), [1, 2]);
        change(&mut all, 4, |entry| entry.saved.completed = Some(UnixMs(1)));
        change(&mut all, 3, |entry| entry.error = Some("gone".into()));
        assert_eq!(waits(&all, Some(1)), [1]);
        // What is not known yet takes no place, and waits where there is none.
        change(&mut all, 2, |entry| entry.saved.size_bytes = 0);
        assert_eq!(waits(&all, Some(1)), [0; 0]);
        change(&mut all, 5, |entry| entry.saved.paused = false);
        assert_eq!(waits(&all, Some(1)), [1, 2]);
        change(&mut all, 5, |entry| entry.saved.asking = true);
        assert_eq!(waits(&all, Some(1)), [0; 0]);
    }
}
