//! Trackers and peers of torrents that are there: given by hand, or by adding a torrent once more.
//!
//! librqbit takes both with the torrent and never later. So a torrent that runs is taken out of the engine and
//! put in again, with the notes of its verified pieces: nothing is hashed or fetched anew, and its
//! connections are made anew. They are kept before the answer; that happens behind it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::Session;
use super::entry::Entry;
use super::fetch::Found;
use super::label;
use super::less::FREE_ONLY;
use super::lock;
use super::problems::node_problem;
use super::run::Running;
use super::terms::check_terms;
use super::view::{
    AddRequest, Added, Advice, MorePeers, MoreTrackers, NewCount, Problem, ProblemCode, TermsChange,
};
use crate::engine::{EngineError, TorrentState};
use crate::node::NodeError;
use crate::torrent::{MAX_TRACKERS, Magnet, Metainfo, is_tracker};
use crate::units::InfoHash;

/// Most peers kept of a torrent.
const MOST_PEERS: usize = 200;

/// What a torrent may be found by.
#[derive(Debug, Default)]
struct Sources {
    trackers: Vec<String>,
    peers: Vec<SocketAddr>,
}

/// A tracker as librqbit asks it: two ways to write one address are one tracker.
fn as_asked(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.to_string())
}

fn trackers(given: &[String]) -> Result<Vec<String>, Problem> {
    let read = |text: &String| match text.trim() {
        url if is_tracker(url) => Ok(url.to_owned()),
        _ => {
            let shown: String = text.chars().take(200).collect();
            let error = format!("{shown:?} is no address of a tracker");
            let problem = Problem::new(ProblemCode::BadRequest, error, Advice::GiveTracker);
            Err(problem.about(shown))
        }
    };
    given.iter().map(read).collect()
}

fn peers(given: &[String]) -> Result<Vec<SocketAddr>, Problem> {
    let read = |text: &String| {
        let address = text.trim().parse::<SocketAddr>().ok();
        let address = address.filter(|peer| peer.port() != 0 && !peer.ip().is_unspecified());
        address.ok_or_else(|| {
            let shown: String = text.chars().take(200).collect();
            let error = format!("{shown:?} is no address of a peer");
            Problem::new(ProblemCode::BadRequest, error, Advice::GivePeerAddress).about(shown)
        })
    };
    given.iter().map(read).collect()
}

fn is_private() -> Problem {
    Problem::new(
        ProblemCode::Conflict,
        "this torrent is private: its peers come from its own trackers only",
        Advice::AddTrackerInstead,
    )
}

fn too_many(what: &str, count: usize, most: usize) -> Problem {
    let error = format!("the torrent would have {count} {what}, and {most} is the most");
    Problem::new(ProblemCode::BadRequest, error, Advice::NameFewer)
}

/// What is not in `have` yet, each once.
fn new_ones<T: Clone, K: std::hash::Hash + Eq>(
    have: impl IntoIterator<Item = K>,
    given: Vec<T>,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut seen: HashSet<K> = have.into_iter().collect();
    let is_new = |one: &T| seen.insert(key(one));
    given.into_iter().filter(is_new).collect()
}

/// The peers that a new torrent begins with: those that are given, and those of its link.
pub(super) fn first_peers(found: &Found, given: &[String]) -> Result<Vec<SocketAddr>, Problem> {
    let mut all = peers(given)?;
    match found {
        Found::Whole(metainfo) if metainfo.is_private() && !all.is_empty() => {
            return Err(is_private());
        }
        Found::Whole(_) => {}
        Found::Link(magnet, _) => all.extend(&magnet.peers),
    }
    let all = new_ones([], all, |peer| *peer);
    match all.len() {
        count if count > MOST_PEERS => Err(too_many("peers", count, MOST_PEERS)),
        _ => Ok(all),
    }
}

impl Running {
    /// A torrent's tiers of trackers, as they are kept.
    fn tiers(&self, entry: &Entry) -> Vec<Vec<String>> {
        let hash = entry.saved.info_hash;
        let kept = self.shelf.metainfo(hash).or_else(|| self.metainfo(hash));
        match kept {
            Some(metainfo) => metainfo.trackers().to_vec(),
            None => tiers_of(entry.saved.magnet.as_deref()),
        }
    }

    /// A description that has come, with the trackers that the torrent was given meanwhile.
    pub fn with_trackers_of_link(&self, metainfo: &Metainfo) -> Metainfo {
        let link = self.entry(metainfo.info_hash());
        let link = link.ok().and_then(|entry| entry.saved.magnet);
        let mut tiers = metainfo.trackers().to_vec();
        let have: Vec<String> = tiers.iter().flatten().map(|url| as_asked(url)).collect();
        let given = tiers_of(link.as_deref()).into_iter().flatten().collect();
        let more = new_ones(have, given, |url: &String| as_asked(url));
        tiers.extend(more.into_iter().map(|url| vec![url]));
        metainfo.clone().with_trackers(tiers)
    }

    /// Keeps trackers of a torrent: in its description, or in its link while that is all there is. Of a
    /// private torrent the engine asks the first one only, so there the new ones come first.
    async fn keep_trackers(&self, entry: &Entry, more: &[String]) -> Result<(), Problem> {
        if more.is_empty() {
            return Ok(());
        }
        let hash = entry.saved.info_hash;
        let turn = self.shelf.turn().await;
        self.entry(hash)?;
        let more = more.iter().map(|url| vec![url.clone()]);
        let mut tiers = self.tiers(entry);
        match entry.saved.private {
            true => tiers = more.chain(tiers).collect(),
            false => tiers.extend(more),
        }
        let kept = self.shelf.metainfo(hash).map(Arc::unwrap_or_clone);
        if let Some(metainfo) = kept.or_else(|| self.metainfo(hash).map(Arc::unwrap_or_clone)) {
            let written = self
                .shelf
                .write_metainfo(&turn, &metainfo.with_trackers(tiers));
            return written.map_err(|error| self.not_written(&error));
        }
        drop(turn);
        let link = entry.saved.magnet.as_deref();
        let link = link.and_then(|link| Magnet::parse(link).ok());
        let mut link = link.unwrap_or_else(|| Magnet::new(hash));
        link.trackers = tiers.into_iter().flatten().collect();
        let text = link.to_string();
        if Magnet::parse(&text).is_err() {
            return Err(too_many("trackers", link.trackers.len(), MAX_TRACKERS));
        }
        let change = |entry: &mut Entry| entry.saved.magnet = Some(text.clone());
        self.change(hash, change).await
    }
}

/// The trackers of a link.
pub(super) fn tiers_of(link: Option<&str>) -> Vec<Vec<String>> {
    let magnet = link.and_then(|link| Magnet::parse(link).ok());
    let trackers = magnet.map_or_else(Vec::new, |magnet| magnet.trackers);
    trackers.into_iter().map(|url| vec![url]).collect()
}

impl Session {
    /// Adds trackers to a torrent.
    ///
    /// # Errors
    /// Unknown torrent, addresses that are none, more than a torrent may have.
    pub async fn add_trackers(
        &self,
        hash: InfoHash,
        more: MoreTrackers,
    ) -> Result<NewCount, Problem> {
        let run = self.running()?;
        run.entry(hash)?;
        let trackers = trackers(&more.trackers)?;
        let peers = Vec::new();
        let (new, _) = self.join(&run, hash, Sources { trackers, peers }).await?;
        self.look(&run).await;
        Ok(NewCount { new })
    }

    /// Adds peers to a torrent.
    ///
    /// # Errors
    /// Unknown torrent, one that is private, addresses that are none, more than a torrent may have.
    pub async fn add_peers(&self, hash: InfoHash, more: MorePeers) -> Result<NewCount, Problem> {
        let run = self.running()?;
        if run.entry(hash)?.saved.private {
            return Err(is_private());
        }
        let peers = peers(&more.peers)?;
        let trackers = Vec::new();
        let (_, new) = self.join(&run, hash, Sources { trackers, peers }).await?;
        self.look(&run).await;
        Ok(NewCount { new })
    }

    /// A torrent that is there is added again: it is given what it may be found by, and the yes or no that it
    /// may wait for. What would change it otherwise is refused.
    pub(super) async fn add_again(
        &self,
        run: &Arc<Running>,
        found: &Found,
        request: &AddRequest,
    ) -> Result<Added, Problem> {
        let hash = found.info_hash();
        let entry = run.entry(hash)?;
        let same = check_same(&entry, request).await;
        if same.is_ok() && request.terms.pays == Some(false) {
            run.lower(hash, &FREE_ONLY).await?;
        }
        let given = match (same, entry.saved.private) {
            (Err(problem), _) => return Err(problem),
            (Ok(()), true) if !request.peers.is_empty() => return Err(is_private()),
            (Ok(()), true) => Sources::default(),
            (Ok(()), false) => sources_of(&run.tiers(&entry), found, &request.peers)?,
        };
        let (new_trackers, new_peers) = self.join(run, hash, given).await?;
        let is_yes = request.confirmed && entry.saved.asking && request.terms.pays.is_none();
        if is_yes || request.terms.pays.is_some() {
            self.confirm(run, hash, is_yes).await?;
        }
        self.look(run).await;
        Ok(Added {
            info_hash: hash,
            name: entry.saved.name,
            already: true,
            confirmed: is_yes,
            asking: run.entry(hash).is_ok_and(|entry| entry.saved.asking),
            new_trackers,
            new_peers,
        })
    }

    /// Gives a torrent those trackers and peers that it does not have: kept first, then used. How many
    /// of each were new.
    async fn join(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
        given: Sources,
    ) -> Result<(u32, u32), Problem> {
        let _one = run.sourcing.lock().await;
        let entry = run.entry(hash)?;
        let have: Vec<String> = run.tiers(&entry).into_iter().flatten().collect();
        let asked = have.iter().map(|url| as_asked(url));
        let trackers = new_ones(asked, given.trackers, |url| as_asked(url));
        let peers = new_ones(entry.saved.peers.clone(), given.peers, |peer| *peer);
        for (what, count, most) in [
            ("trackers", have.len() + trackers.len(), MAX_TRACKERS),
            ("peers", entry.saved.peers.len() + peers.len(), MOST_PEERS),
        ] {
            if count > most {
                return Err(too_many(what, count, most));
            }
        }
        let count = |new: usize| u32::try_from(new).unwrap_or(u32::MAX);
        let new = (count(trackers.len()), count(peers.len()));
        if new == (0, 0) {
            return Ok(new);
        }
        run.keep_trackers(&entry, &trackers).await?;
        if !peers.is_empty() {
            run.change(hash, |entry| entry.saved.peers.extend(&peers))
                .await?;
        }
        self.renew(run, hash);
        Ok(new)
    }

    /// Has the engine use a torrent's trackers and peers as they are kept. Nobody waits for that: librqbit may
    /// take its time to let go of a torrent, and its files may be being checked.
    pub(super) fn renew(&self, run: &Arc<Running>, hash: InfoHash) {
        match lock(&run.torrents).get_mut(&hash) {
            Some(entry) if entry.renewing.is_some() => {
                entry.renewing = Some(true);
                return;
            }
            Some(entry) if entry.handle.is_some() => entry.renewing = Some(false),
            _ => return,
        }
        let (session, run) = (self.clone(), Arc::downgrade(run));
        tokio::spawn(async move {
            while let Some(run) = run.upgrade() {
                if let Err(problem) = session.exchange(&run, hash).await {
                    tracing::warn!(info_hash = %hash, "not started anew: {problem}");
                }
                if !run.has_more(hash) {
                    return session.look(&run).await;
                }
            }
        });
    }

    /// Takes a torrent out of the engine and puts it in again, unless it is paused: then resuming does.
    async fn exchange(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        let handle = run.entry(hash)?.handle;
        if let Some(handle) = handle.filter(|handle| handle.brief().state == TorrentState::Checking)
        {
            let _ = handle.wait_checked().await;
        }
        if !run.set_aside(hash).await? || run.entry(hash)?.saved.paused {
            return Ok(());
        }
        self.wake(run, hash).await?;
        // It may have been paused meanwhile, when the engine did not have it.
        if run.entry(hash).is_ok_and(|entry| entry.saved.paused) {
            run.set_aside(hash).await?;
        }
        Ok(())
    }
}

impl Running {
    /// Whether a torrent was given more trackers or peers while it was being renewed; else that is over.
    fn has_more(&self, hash: InfoHash) -> bool {
        let mut torrents = lock(&self.torrents);
        let Some(entry) = torrents.get_mut(&hash) else {
            return false;
        };
        entry.renewing = entry.renewing.filter(|more| *more).map(|_| false);
        entry.renewing.is_some()
    }

    /// Takes a torrent out of the engine with the notes of its pieces. False: it was not there.
    pub async fn set_aside(&self, hash: InfoHash) -> Result<bool, Problem> {
        let taken = lock(&self.torrents)
            .get_mut(&hash)
            .and_then(|entry| entry.handle.take());
        if taken.is_none() {
            return Ok(false);
        }
        let aside = self.node.set_aside(hash).await;
        if self.entry(hash).is_err() {
            // It was taken off the list meanwhile: nothing that is noted of it may stay.
            let _ = self.node.remove(hash, false).await;
        }
        match aside {
            Ok(()) | Err(NodeError::Engine(EngineError::Gone(_))) => Ok(true),
            Err(error) => Err(node_problem(&error)),
        }
    }
}

/// Whether what is added again is what is there, as far as is said.
async fn check_same(entry: &Entry, request: &AddRequest) -> Result<(), Problem> {
    check_terms(&request.terms)?;
    let folder = request
        .folder
        .as_deref()
        .filter(|folder| !folder.is_empty());
    if let Some(folder) = folder
        && !is_same_folder(Path::new(folder), &entry.saved.folder).await
    {
        let there = entry.saved.folder.display();
        let error = format!(
            "{} is there already, in the folder {there}",
            entry.saved.info_hash
        );
        return Err(Problem::new(ProblemCode::Conflict, error, Advice::AddAnew).about(there));
    }
    // A no to paying is an answer, and done.
    let said = TermsChange {
        pays: request.terms.pays.filter(|pays| *pays),
        ..request.terms
    };
    let label = (request.label.as_deref()).map(label::checked).transpose()?;
    let is_other = label.is_some() && label != entry.saved.label;
    if said != TermsChange::default() || request.only_files.is_some() || is_other {
        let error = format!(
            "{} is there already, and nothing of it was changed",
            entry.saved.info_hash
        );
        return Err(
            Problem::new(ProblemCode::Conflict, error, Advice::ChangeThere)
                .about(entry.saved.info_hash),
        );
    }
    Ok(())
}

async fn is_same_folder(one: &Path, other: &Path) -> bool {
    if one == other {
        return true;
    }
    match (
        tokio::fs::canonicalize(one).await,
        tokio::fs::canonicalize(other).await,
    ) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// What is told of a torrent by adding it again; of the trackers no more than it may have.
fn sources_of(have: &[Vec<String>], found: &Found, given: &[String]) -> Result<Sources, Problem> {
    let mut peers = peers(given)?;
    let told: Vec<String> = match found {
        Found::Whole(metainfo) => metainfo.trackers().iter().flatten().cloned().collect(),
        Found::Link(magnet, _) => {
            peers.extend(&magnet.peers);
            magnet.trackers.clone()
        }
    };
    let have: Vec<String> = have.iter().flatten().map(|url| as_asked(url)).collect();
    let room = MAX_TRACKERS.saturating_sub(have.len());
    let mut trackers = new_ones(have, told, |url| as_asked(url));
    trackers.truncate(room);
    Ok(Sources { trackers, peers })
}
