//! Adding torrents: what they may cost is decided before anything is paid.

use std::collections::btree_map::Entry as Place;
use std::path::PathBuf;
use std::sync::Arc;

use super::asking::{limits_of, make_folder};
use super::entry::{Entry, Saved, node_terms, row_of};
use super::fetch::{self, Found};
use super::label;
use super::less::of_paying;
use super::problems::{node_problem, to_its_end};
use super::run::Running;
use super::sources;
use super::terms::{check_terms, terms_of_new};
use super::view::event::{Level, NoticeCode};
use super::view::{AddRequest, Added, Advice, Problem, ProblemCode};
use super::{Session, lock};
use crate::clock;
use crate::engine::{AddTorrent, TorrentSource};
use crate::torrent::Metainfo;
use crate::units::{InfoHash, Units};

pub(super) fn check_files(metainfo: &Metainfo, only: &[u32]) -> Result<(), Problem> {
    let count = metainfo.files().len();
    if only.is_empty() {
        let error = "none of its files is wanted";
        return Err(Problem::new(
            ProblemCode::BadRequest,
            error,
            Advice::ChooseFiles,
        ));
    }
    match only.iter().find(|index| **index as usize >= count) {
        None => Ok(()),
        Some(index) => Err(Problem::new(
            ProblemCode::BadRequest,
            format!("there is no file {index}: the torrent has {count}, counted from 0"),
            Advice::SeeFiles,
        )),
    }
}

/// The folder that is asked for, if there is one.
pub(super) fn folder_of(given: Option<&str>) -> Result<Option<PathBuf>, Problem> {
    let folder = given.filter(|folder| !folder.is_empty()).map(PathBuf::from);
    match folder.as_ref().filter(|folder| !folder.is_absolute()) {
        None => Ok(folder),
        Some(folder) => Err(Problem::new(
            ProblemCode::BadRequest,
            format!("the folder {} is no path from the root", folder.display()),
            Advice::GiveRootPath,
        )
        .about(folder.display())),
    }
}

impl Session {
    /// Adds a torrent.
    ///
    /// # Errors
    /// What is no torrent, a folder that is none, no running node.
    pub async fn add(&self, request: AddRequest) -> Result<Added, Problem> {
        let run = self.running()?;
        let found = fetch::find(&request.source).await?;
        let session = self.clone();
        to_its_end(async move { session.add_found(&run, found, request, false).await }).await?
    }

    /// Adds a torrent that was found.
    pub(super) async fn add_found(
        &self,
        run: &Arc<Running>,
        found: Found,
        request: AddRequest,
        automatic: bool,
    ) -> Result<Added, Problem> {
        let hash = found.info_hash();
        if run.entry(hash).is_ok() {
            return self.add_again(run, &found, &request).await;
        }
        let mut saved = self.plan(&found, &request, automatic)?;
        if let Some(label) = &saved.label {
            label::check_room(&lock(&run.torrents), label, &[])?;
        }
        // What was paid for it counts on from before it was removed, and so do the bytes.
        (saved.down_bytes, saved.up_bytes) = lock(&run.traffic).of(hash);
        make_folder(&saved.folder, saved.asking).map_err(|error| {
            Problem::new(
                ProblemCode::Disk,
                format!(
                    "the folder {} cannot be made: {error}",
                    saved.folder.display()
                ),
                Advice::OtherFolder,
            )
            .about(saved.folder.display())
        })?;
        let turn = run.shelf.turn().await;
        if let Found::Whole(metainfo) = &found {
            run.shelf.write_metainfo(&turn, metainfo).map_err(|error| {
                Problem::new(
                    ProblemCode::Disk,
                    format!("{}: {error}", run.home.display()),
                    Advice::MakeRoom,
                )
                .about(run.home.display())
            })?;
        }
        let (name, asks) = (saved.name.clone(), saved.asking && !saved.asks_above);
        let paused = saved.paused;
        let is_new = match lock(&run.torrents).entry(hash) {
            Place::Occupied(_) => false,
            Place::Vacant(free) => {
                free.insert(Entry {
                    down_at_check: saved.down_bytes,
                    untold: true,
                    ..Entry::new(saved)
                });
                true
            }
        };
        drop(turn);
        if !is_new {
            // Somebody else added it in this moment, on terms of his own.
            return self.add_again(run, &found, &request).await;
        }
        if let Err(problem) = run.change(hash, |_| ()).await {
            self.forget(run, hash).await;
            return Err(problem);
        }
        run.count_units().await?;
        if asks {
            self.say_asks(hash, &name);
        }
        if !paused {
            let woken = self.wake(run, hash).await;
            if let (Err(problem), Found::Whole(_)) = (&woken, &found) {
                tracing::warn!(info_hash = %hash, "{problem}");
            }
        }
        self.look(run).await;
        Ok(Added {
            info_hash: hash,
            name,
            already: false,
            confirmed: false,
            asking: run.entry(hash).is_ok_and(|entry| entry.saved.asking),
            new_trackers: 0,
            new_peers: 0,
        })
    }

    fn plan(&self, found: &Found, request: &AddRequest, automatic: bool) -> Result<Saved, Problem> {
        let settings = self.settings();
        check_terms(&request.terms)?;
        let terms = terms_of_new(&settings, &request.terms, automatic);
        let peers = sources::first_peers(found, &request.peers)?;
        let folder = folder_of(request.folder.as_deref())?;
        let folder = folder.unwrap_or_else(|| self.downloads_folder());
        let limit = settings
            .spending
            .ask_above
            .filter(|_| !request.confirmed && terms.pays);
        let mut saved = Saved {
            info_hash: found.info_hash(),
            name: found.info_hash().to_string(),
            magnet: None,
            folder,
            peers,
            paused: request.paused,
            asking: request.ask || limit.is_some(),
            asks_above: !request.ask && limit.is_some(),
            terms,
            only_files: request.only_files.clone(),
            automatic,
            added: clock::now(),
            completed: None,
            size_bytes: 0,
            wanted_bytes: 0,
            span_bytes: 0,
            have_bytes: 0,
            down_bytes: 0,
            up_bytes: 0,
            private: false,
            label: (request.label.as_deref()).map(label::checked).transpose()?,
            ratio_reached: false,
            past_ratio: false,
        };
        match found {
            Found::Whole(metainfo) => {
                if let Some(only) = &saved.only_files {
                    check_files(metainfo, only)?;
                }
                describe(&mut saved, metainfo);
                decide(&mut saved, limit);
            }
            Found::Link(magnet, link) => {
                saved.magnet = Some(link.clone());
                if let Some(name) = &magnet.name {
                    saved.name = name.clone();
                }
            }
        }
        Ok(saved)
    }

    pub(super) fn say_asks(&self, hash: InfoHash, name: &str) {
        self.notice(
            Level::Info,
            NoticeCode::Asks,
            format!(
                "{} waits for a yes to what it may cost",
                crate::torrent::printable(name)
            ),
            &[("name", name.to_owned())],
            Some(hash),
        );
    }

    /// Gives a torrent to the engine.
    pub(super) async fn wake(&self, run: &Arc<Running>, hash: InfoHash) -> Result<(), Problem> {
        let limit = self.settings().limits.downloads_at_once;
        run.take_place(hash, limit);
        let entry = run.entry(hash)?;
        let known = run.metainfo(hash);
        let source = match (&known, &entry.saved.magnet) {
            (Some(metainfo), _) => TorrentSource::Metainfo(Arc::clone(metainfo)),
            (None, Some(link)) => TorrentSource::Magnet(link.clone()),
            (None, None) => {
                let problem = Problem::new(
                    ProblemCode::NotFound,
                    format!("the description of {hash} is gone from the node's home"),
                    Advice::AddAnew,
                );
                return self.note_failure(run, hash, problem);
            }
        };
        let terms = node_terms(&entry.saved);
        let add = AddTorrent {
            source,
            output_dir: entry.saved.folder.clone(),
            initial_peers: entry.saved.peers.clone(),
            overwrite: true,
            only_files: entry.saved.files(),
            paused: entry.begins_paused(limit),
            looks_only: entry.saved.asking,
        };
        run.node.gateway.set_limits(hash, limits_of(&entry));
        let added = run.node.start_adding(add, terms).await;
        let handle = match added {
            Ok(handle) => handle,
            Err(error) => return self.note_failure(run, hash, node_problem(&error)),
        };
        let is_there = match lock(&run.torrents).get_mut(&hash) {
            Some(entry) => {
                entry.handle = Some(handle.clone());
                entry.error = None;
                true
            }
            None => false,
        };
        if !is_there {
            // It was removed meanwhile.
            let removed = run.node.remove(hash, false).await;
            return removed.map_err(|error| node_problem(&error));
        }
        if known.is_none() {
            let (session, run) = (self.clone(), Arc::downgrade(run));
            tokio::spawn(async move {
                if let Ok(metainfo) = handle.wait_metadata().await
                    && let Some(run) = run.upgrade()
                {
                    session.learned(&run, &metainfo).await;
                }
            });
        } else {
            run.apply_terms(hash).await?;
        }
        self.follow(run, hash, &entry.saved).await
    }

    /// A pause, a yes and a choice of files that came while the engine was being given the torrent hold.
    async fn follow(
        &self,
        run: &Arc<Running>,
        hash: InfoHash,
        given: &Saved,
    ) -> Result<(), Problem> {
        let now = run.entry(hash)?;
        let Some(handle) = &now.handle else {
            return Ok(());
        };
        // One that was paused before is being checked, and stays so by itself.
        if now.saved.paused && !given.paused {
            return self.agree(run, hash).await;
        }
        if handle.looks_only() && !now.saved.asking {
            self.renew(run, hash);
            return Ok(());
        }
        if of_paying(&given.terms) != of_paying(&now.saved.terms) {
            run.reconnect(hash).await?;
        }
        run.choose(hash).await
    }

    fn note_failure(&self, run: &Running, hash: InfoHash, problem: Problem) -> Result<(), Problem> {
        let mut torrents = lock(&run.torrents);
        if let Some(entry) = torrents.get_mut(&hash) {
            entry.error = Some(problem.to_string());
            let name = entry.saved.name.clone();
            drop(torrents);
            self.notice(
                Level::Error,
                NoticeCode::TorrentFailed,
                format!("{}: {problem}", crate::torrent::printable(&name)),
                &[vec![("name", name)], problem.values()].concat(),
                Some(hash),
            );
        }
        Err(problem)
    }

    /// A magnet's metadata has come.
    async fn learned(&self, run: &Arc<Running>, metainfo: &Metainfo) {
        let hash = metainfo.info_hash();
        let _one = run.sourcing.lock().await;
        let metainfo = &run.with_trackers_of_link(metainfo);
        {
            let turn = run.shelf.turn().await;
            if run.entry(hash).is_err() {
                return;
            }
            if let Err(error) = run.shelf.write_metainfo(&turn, metainfo) {
                tracing::error!("{hash} is not kept: {error}");
            }
        }
        let limit = self.settings().spending.ask_above;
        let asked = run.change(hash, |entry| {
            let was_asking = entry.saved.asking;
            describe(&mut entry.saved, metainfo);
            entry.saved.magnet = None;
            if entry.saved.private {
                entry.saved.peers.clear();
            }
            let count = metainfo.files().len();
            if let Some(only) = &mut entry.saved.only_files {
                only.retain(|index| (*index as usize) < count);
            }
            let was_undecided = entry.saved.asks_above;
            decide(&mut entry.saved, limit);
            entry.row = Arc::new(row_of(&entry.saved));
            entry.untold = true;
            let asks = entry.saved.asking;
            (was_asking && !asks, was_undecided && asks)
        });
        let done = match asked.await {
            Ok((true, _)) => self.start_wanted(run, hash).await,
            Ok((false, asks)) => {
                if asks {
                    self.say_asks(hash, metainfo.name());
                }
                run.apply_terms(hash).await
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = done {
            tracing::warn!(info_hash = %hash, "{problem}");
        }
    }

    /// Starts all torrents that were not paused, one after another.
    pub(super) async fn revive(&self, run: &Arc<Running>) {
        let hashes: Vec<InfoHash> = {
            let torrents = lock(&run.torrents);
            let mut awake: Vec<_> = torrents.values().filter(|e| !e.saved.paused).collect();
            awake.sort_by_key(|entry| entry.saved.added);
            awake
                .into_iter()
                .map(|entry| entry.saved.info_hash)
                .collect()
        };
        for hash in hashes {
            // Others may have come to it meanwhile.
            let is_due = |entry: Entry| !entry.saved.paused && entry.handle.is_none();
            if !run.entry(hash).is_ok_and(is_due) {
                continue;
            }
            if let Err(problem) = self.wake(run, hash).await {
                tracing::warn!(info_hash = %hash, "not started: {problem}");
            }
        }
    }
}

/// Takes down what a description says.
fn describe(saved: &mut Saved, metainfo: &Metainfo) {
    saved.name = metainfo.name().to_owned();
    saved.size_bytes = metainfo.length_bytes();
    let only = saved.only_files.take();
    saved.want(metainfo, only);
    saved.private = metainfo.is_private();
}

/// Whether a torrent whose size is known still has to ask.
pub(super) fn decide(saved: &mut Saved, limit: Option<Units>) {
    if !saved.asks_above {
        return;
    }
    let bytes = saved.span_bytes;
    saved.asking &= limit.is_some_and(|limit| saved.may_cost_more(bytes, limit));
    saved.asks_above = false;
}
