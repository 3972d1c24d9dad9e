//! A torrent of the node, and what is kept of it.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::terms::Lowered;
use super::view::{FreeService, Saying, State, Terms, TorrentRow};
use crate::engine::Handle;
use crate::gateway::Bits;
use crate::torrent::Metainfo;
use crate::units::{InfoHash, PricePerGib, Units, UnixMs};

/// What is kept of a torrent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Which.
    pub info_hash: InfoHash,
    /// Its name.
    pub name: String,
    /// The link it came by, until the metadata is known.
    pub magnet: Option<String>,
    /// Where its file or folder lies.
    pub folder: PathBuf,
    /// Peers it was added with.
    pub peers: Vec<std::net::SocketAddr>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it waits for a yes, whatever it costs.
    pub asking: bool,
    /// Whether it waits for a yes only if it may cost more than the setting.
    pub asks_above: bool,
    /// What it costs and may cost.
    pub terms: Terms,
    /// The wanted files; none: all.
    pub only_files: Option<Vec<u32>>,
    /// Whether a program added it.
    pub automatic: bool,
    /// When it was added.
    pub added: UnixMs,
    /// When it was complete.
    pub completed: Option<UnixMs>,
    /// Length of all files.
    pub size_bytes: u64,
    /// Length of the wanted files.
    pub wanted_bytes: u64,
    /// Length of the pieces that the wanted files lie in, which are fetched whole.
    #[serde(default)]
    pub span_bytes: u64,
    /// Verified bytes when last seen.
    pub have_bytes: u64,
    /// Payload received, ever.
    pub down_bytes: u64,
    /// Payload sent, ever.
    pub up_bytes: u64,
    /// Whether it is private.
    pub private: bool,
    /// Its label.
    #[serde(default)]
    pub label: Option<String>,
    /// It is paused because it has sent as much as its limit says.
    #[serde(default)]
    pub ratio_reached: bool,
    /// It was resumed after that: it seeds on until it is given another limit.
    #[serde(default)]
    pub past_ratio: bool,
}

impl Saved {
    /// Bytes beyond the wanted files that are fetched with them.
    fn edges_bytes(&self) -> u64 {
        self.span_bytes.saturating_sub(self.wanted_bytes)
    }

    /// Which files are wanted, of this torrent.
    pub fn want(&mut self, metainfo: &Metainfo, only: Option<Vec<u32>>) {
        let chosen: Option<HashSet<u32>> = only.as_ref().map(|only| only.iter().copied().collect());
        let is_wanted = |index: u32| chosen.as_ref().is_none_or(|c| c.contains(&index));
        let files = metainfo.files().iter().zip(0u32..);
        let wanted = files.filter(|(_, index)| is_wanted(*index));
        self.wanted_bytes = wanted.map(|(file, _)| file.length_bytes).sum();
        self.span_bytes = metainfo.span_bytes(is_wanted);
        self.only_files = only;
    }

    /// Whether a file is wanted.
    pub fn wants(&self, index: u32) -> bool {
        (self.only_files.as_ref()).is_none_or(|only| only.contains(&index))
    }

    /// Indexes of the files that are wanted; none: all.
    pub fn files(&self) -> Option<Vec<usize>> {
        let only = self.only_files.as_ref()?;
        Some(only.iter().map(|index| *index as usize).collect())
    }

    /// Whether it has sent as much as its limit says, or where it has none of its own, as `limit` does: for
    /// each byte that came, or where none came, for each that is there. None where nothing limits it.
    fn reaches(&self, limit: Option<u32>) -> Option<bool> {
        let limit = self.terms.ratio_limit_percent.or(limit);
        let percent = limit.filter(|percent| *percent > 0)?;
        Some(u128::from(self.up_bytes) * 100 >= u128::from(self.came()) * u128::from(percent))
    }

    fn came(&self) -> u64 {
        match self.down_bytes {
            0 => self.have_bytes,
            came => came,
        }
    }

    /// Whether it is to be paused, as it has sent as much as its limit says.
    pub fn has_shared_enough(&self, limit: Option<u32>) -> bool {
        self.came() > 0 && !self.past_ratio && self.reaches(limit) == Some(true)
    }

    /// Whether nothing limits it, or less was sent than its limit says.
    pub fn may_share_more(&self, limit: Option<u32>) -> bool {
        match self.reaches(limit) {
            // Nothing is known to be there: while its files are checked anew, for example.
            Some(reached) => !reached && self.came() > 0,
            None => true,
        }
    }

    /// Whether fetching so many bytes may cost more than `limit`.
    pub fn may_cost_more(&self, bytes: u64, limit: Units) -> bool {
        let most = self.terms.max_price.due(bytes);
        self.terms.budget.map_or(most, |budget| most.min(budget)) > limit
    }
}

/// A torrent of the node.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// What is kept.
    pub saved: Saved,
    /// In the engine; none while it is paused since before the start.
    pub handle: Option<Handle>,
    /// Why it could not be added to the engine.
    pub error: Option<String>,
    /// Paid and earned, as far as the wallet and the gateway say.
    pub units_paid: Units,
    /// Earned with it.
    pub units_earned: Units,
    /// As the list shows it; another one as soon as anything in it changes.
    pub row: Arc<TorrentRow>,
    /// Whether `row` was changed and nobody was told yet.
    pub untold: bool,
    /// Whether `saved` differs from its file.
    pub unsaved: bool,
    /// Whether it waits until fewer download at once.
    pub queued: bool,
    /// Whether its terms could not be noted by the wallet.
    pub unapplied: bool,
    /// Counts choices of files.
    pub choice: u32,
    /// How often it was asked to cost less.
    pub lowered: Lowered,
    /// The engine is being given its new trackers and peers; true: there are more by now.
    pub renewing: Option<bool>,
    /// The budget that was told to be used up: once for each.
    pub told_budget: Option<Units>,
    /// Prices above the limit that were told last and when, each with the limit it was above.
    pub told_prices: VecDeque<(Instant, (PricePerGib, PricePerGib))>,
    /// Payload ever received when its files were last asked to be checked.
    pub down_at_check: u64,
    /// Prices that peers have offered, by address.
    pub prices: Vec<super::view::SeenPrice>,
}

impl Entry {
    /// Bytes there of the files that are wanted: others that lie there do not make it cheaper.
    pub fn have_of_wanted(&self) -> u64 {
        let files = (self.handle.as_ref()).map(|handle| handle.file_bytes_have());
        match (&self.saved.only_files, files) {
            (Some(only), Some(have)) => {
                let have = only.iter().filter_map(|index| have.get(*index as usize));
                have.sum()
            }
            // What was looked at so far is not what is there.
            _ if self.row.state == State::Checking => self.saved.have_bytes,
            _ => self.row.have_bytes,
        }
    }

    /// Whether a wanted file has a piece that is among these.
    pub fn wants_of(&self, pieces: &Bits) -> bool {
        let metainfo = (self.handle.as_ref()).and_then(|handle| handle.metainfo());
        match (&self.saved.only_files, metainfo) {
            (Some(only), Some(metainfo)) => is_of(&metainfo, only, pieces),
            _ => pieces.count() > 0,
        }
    }

    /// Bytes that are fetched and paid for until all that is wanted is there, at most: pieces at the
    /// edges of the files are fetched whole.
    pub fn missing_bytes(&self) -> u64 {
        let saved = &self.saved;
        match saved.wanted_bytes.saturating_sub(self.have_of_wanted()) {
            0 => 0,
            missing => missing.saturating_add(saved.edges_bytes()),
        }
    }

    /// Whether the engine is about to be given it anew: with trackers and peers, or after a yes.
    pub fn is_changing(&self) -> bool {
        let looks_only = self.handle.as_ref().is_some_and(Handle::looks_only);
        let goes_on = !self.saved.paused && !self.saved.asking;
        goes_on && (self.renewing.is_some() || looks_only)
    }

    /// An entry that stands still.
    pub fn new(saved: Saved) -> Entry {
        let row = Arc::new(row_of(&saved));
        Entry {
            saved,
            handle: None,
            error: None,
            units_paid: Units::ZERO,
            units_earned: Units::ZERO,
            row,
            untold: false,
            unsaved: false,
            queued: false,
            unapplied: false,
            choice: 0,
            lowered: Lowered::default(),
            renewing: None,
            told_budget: None,
            told_prices: VecDeque::new(),
            down_at_check: 0,
            prices: Vec::new(),
        }
    }
}

/// Whether one of these files has a piece that is among these.
fn is_of(metainfo: &Metainfo, files: &[u32], pieces: &Bits) -> bool {
    if pieces.count() == 0 {
        return false;
    }
    let piece_bytes = u64::from(metainfo.piece_length_bytes()).max(1);
    let piece_at = |byte: u64| u32::try_from(byte / piece_bytes).unwrap_or(u32::MAX);
    let files = files
        .iter()
        .filter_map(|index| metainfo.files().get(*index as usize));
    let mut files = files.filter(|file| file.length_bytes > 0);
    files.any(|file| {
        let last_byte = file.offset_bytes.saturating_add(file.length_bytes - 1);
        pieces.has_any(piece_at(file.offset_bytes), piece_at(last_byte))
    })
}

/// Terms as the node takes them: nothing is paid before a yes. (What the budgets for all leave, the wallet
/// keeps to itself.)
pub(super) fn node_terms(saved: &Saved) -> crate::node::Terms {
    use crate::gateway::FreePolicy;
    let terms = &saved.terms;
    crate::node::Terms {
        price: terms.price,
        max_price: (terms.pays && !saved.asking).then_some(terms.max_price),
        free: match terms.free {
            FreeService::Off => FreePolicy::Off,
            FreeService::Leftover => FreePolicy::Leftover,
            FreeService::On => FreePolicy::On,
        },
        budget: terms.budget,
        earns: terms.earns,
    }
}

/// What the list shows of a torrent that is not in the engine (yet).
pub(super) fn row_of(saved: &Saved) -> TorrentRow {
    let share = match saved.wanted_bytes {
        0 => 0.0,
        wanted => (saved.have_bytes as f64 / wanted as f64).min(1.0),
    };
    TorrentRow {
        info_hash: saved.info_hash,
        name: crate::torrent::printable(&saved.name),
        state: match saved {
            _ if saved.paused => State::Paused,
            _ if saved.size_bytes == 0 => State::FetchingMetadata,
            _ if saved.asking => State::Asking,
            _ => State::Checking,
        },
        error: None,
        size_bytes: saved.size_bytes,
        wanted_bytes: saved.wanted_bytes,
        have_bytes: saved.have_bytes,
        progress: share,
        down_bytes_per_s: 0,
        up_bytes_per_s: 0,
        eta_s: None,
        sellers: 0,
        peers: 0,
        seeds: 0,
        peers_seen: 0,
        paying_price: None,
        price: saved.terms.price,
        units_paid: Units::ZERO,
        units_earned: Units::ZERO,
        budget: saved.terms.budget,
        pays: saved.terms.pays,
        waits: (saved.paused && saved.ratio_reached).then(|| {
            Saying::new(
                "ratio_reached",
                "paused: it has shared as much as its ratio limit says",
                &[],
            )
        }),
        downloaded_bytes: saved.down_bytes,
        uploaded_bytes: saved.up_bytes,
        added: saved.added,
        completed: saved.completed,
        private: saved.private,
        label: saved.label.clone(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::session::terms::terms_of_new;
    use crate::session::view::TermsChange;

    /// A torrent of which only the hash is known.
    pub fn saved() -> Saved {
        let settings = crate::config::Settings::default();
        Saved {
            info_hash: InfoHash([1; 20]),
            name: "film".to_owned(),
            magnet: None,
            folder: PathBuf::new(),
            peers: Vec::new(),
            paused: false,
            asking: false,
            asks_above: false,
            terms: terms_of_new(&settings, &TermsChange::default(), false),
            only_files: None,
            automatic: false,
            added: UnixMs(0),
            completed: None,
            size_bytes: 0,
            wanted_bytes: 0,
            span_bytes: 0,
            have_bytes: 0,
            down_bytes: 0,
            up_bytes: 0,
            private: false,
            label: None,
            ratio_reached: false,
            past_ratio: false,
        }
    }

    #[test]
    fn a_peer_has_something_of_the_files_whose_pieces_it_has() {
        use crate::torrent::{Layout, MetainfoBuilder, PieceLength};
        let files = [("a", 40 << 10), ("none", 0), ("b", 40 << 10)];
        let files = files.map(|(name, bytes)| (vec![name.to_owned()], bytes));
        let length = PieceLength::from_kib(32).expect("a power of two");
        let made = MetainfoBuilder::new("many", Layout::Folder(files.to_vec()), length);
        let mut made = made.expect("usable");
        made.update(&vec![0; 80 << 10]).expect("fits");
        let metainfo = made.finish().expect("complete");
        // Pieces of 32 KiB: the first is of a, the second of both, the third of b.
        for (piece, of) in [
            (0, [true, false, false]),
            (1, [true, false, true]),
            (2, [false, false, true]),
        ] {
            let mut pieces = Bits::default();
            pieces.add(piece);
            assert_eq!([0, 1, 2].map(|file| is_of(&metainfo, &[file], &pieces)), of);
            assert!(is_of(&metainfo, &[0, 2], &pieces));
        }
    }

    #[test]
    fn a_seed_has_shared_enough_by_its_own_limit_or_else_by_the_one_for_all() {
        let terms = saved().terms;
        let saved = serde_json::json!({
            "info_hash": InfoHash([1; 20]), "name": "film", "folder": "/", "peers": [], "paused": false,
            "asking": false, "asks_above": false, "terms": terms, "automatic": false, "added": 1,
            "size_bytes": 100, "wanted_bytes": 100, "have_bytes": 100, "down_bytes": 100, "up_bytes": 149,
            "private": false,
        });
        let mut saved: Saved =
            serde_json::from_value(saved).expect("what an earlier version wrote");
        assert!(!saved.has_shared_enough(None) && !saved.has_shared_enough(Some(150)));
        saved.up_bytes = 150;
        assert!(!saved.has_shared_enough(None) && saved.has_shared_enough(Some(150)));
        saved.terms.ratio_limit_percent = Some(200);
        assert!(!saved.has_shared_enough(Some(150)), "its own goes before");
        assert!(saved.may_share_more(Some(150)));
        saved.terms.ratio_limit_percent = Some(0);
        assert!(!saved.has_shared_enough(Some(150)), "it is exempt");
        assert!(saved.may_share_more(Some(150)));
        saved.terms.ratio_limit_percent = Some(200);
        // Of what was there from the beginning nothing came.
        saved.down_bytes = 0;
        saved.up_bytes = 200;
        assert!(saved.has_shared_enough(None));
        saved.past_ratio = true;
        assert!(!saved.has_shared_enough(None), "it was told to go on");
        (saved.past_ratio, saved.have_bytes, saved.up_bytes) = (false, 0, 0);
        assert!(!saved.has_shared_enough(None), "nothing is there to share");
        assert!(!saved.may_share_more(None));
    }
}
