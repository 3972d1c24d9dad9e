//! A running node and its torrents.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::asking::limits_of;
use super::beat::Moved;
use super::beside::Beside;
use super::budget::SpentBook;
use super::entry::{Entry, node_terms};
use super::hear::Comings;
use super::listed::Listed;
use super::many::Many;
use super::shelf::{NotKept, Shelf, Torrents};
use super::traffic::Traffic;
use super::view::event::{Level, NoticeCode};
use super::view::{Advice, Problem, ProblemCode};
use super::{Session, lock};
use crate::clock;
use crate::config::Settings;
use crate::engine::Handle;
use crate::gateway::PeerSnapshot;
use crate::node::{Node, StaysOpen};
use crate::torrent::Metainfo;
use crate::units::{Day, InfoHash, Units};
use crate::wallet::deals::TorrentSums;
use crate::wallet::{Balance, Unwritten};

/// Between counts of the DHT's nodes.
const COUNT_DHT_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// A node that runs, with what is known of its torrents.
pub(super) struct Running {
    pub node: Node,
    pub home: PathBuf,
    pub shelf: Shelf,
    pub torrents: Torrents,
    pub traffic: Mutex<Traffic>,
    pub spent: Mutex<SpentBook>,
    /// The wallet as it was last seen.
    pub balance: Mutex<Balance>,
    /// Peers as they were last seen, with their speeds, by connection.
    pub peers: Mutex<HashMap<u64, SeenPeer>>,
    /// The budget for all that was last told to be used up: the day, its name, its limit.
    pub told_budget: Mutex<Option<(Day, &'static str, Units)>>,
    /// Nodes known to the DHT, when it was last asked.
    pub dht_nodes: Mutex<Option<u32>>,
    /// Held while what moved is added up, so that nothing is counted twice.
    pub measuring: tokio::sync::Mutex<()>,
    /// Held while gateway and wallet are told a torrent's terms, so that the last they hear are the latest.
    pub telling: tokio::sync::Mutex<()>,
    /// Held while seeds are paused or resumed as their ratio limits say.
    pub holding_ratio: tokio::sync::Mutex<()>,
    /// The list's rows as they were last written out.
    pub listed: Mutex<Listed>,
    /// What is to be added with one answer for all of it.
    pub many: Many,
    /// Held while a torrent is given trackers and peers.
    pub sourcing: tokio::sync::Mutex<()>,
    /// Why what was transferred is not written down, if it is not.
    pub unwritten: Mutex<Option<Unwritten>>,
    /// What a beat began and does not wait for.
    pub beside: Beside,
    /// What moved since the last pulse.
    pub moved: Mutex<Moved>,
    /// How often the log said that a peer came or went.
    pub comings: Mutex<Comings>,
    /// Tells whoever reads a file when files are chosen.
    pub choices: tokio::sync::watch::Sender<()>,
    /// Ends the tasks.
    pub over: CancellationToken,
}

/// A peer as it was last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenPeer {
    pub snapshot: PeerSnapshot,
    pub down_bytes_per_s: u64,
    pub up_bytes_per_s: u64,
    /// It is not connected any more, and its end was not heard yet.
    pub is_gone: bool,
}

impl Running {
    /// Reads what the home has of torrents; starts none of them.
    pub async fn new(node: Node, home: PathBuf) -> Result<Running, String> {
        let about = |error: std::io::Error| format!("{}: {error}", home.display());
        let shelf = Shelf::open(&home).map_err(about)?;
        let saved = shelf.read().map_err(about)?;
        let traffic = Traffic::read(&home);
        let torrents = saved.into_iter().map(|mut saved| {
            // Of the two, that is written more often.
            let (down, up) = traffic.of(saved.info_hash);
            saved.down_bytes = saved.down_bytes.max(down);
            saved.up_bytes = saved.up_bytes.max(up);
            (saved.info_hash, Entry::new(saved))
        });
        let torrents = torrents.collect();
        let balance = node
            .wallet
            .balance()
            .await
            .map_err(|error| error.to_string())?;
        let run = Running {
            traffic: Mutex::new(traffic),
            spent: Mutex::new(SpentBook::read(&home, clock::now().day())),
            balance: Mutex::new(balance),
            torrents: Mutex::new(torrents),
            peers: Mutex::default(),
            told_budget: Mutex::default(),
            dht_nodes: Mutex::default(),
            measuring: tokio::sync::Mutex::new(()),
            telling: tokio::sync::Mutex::new(()),
            holding_ratio: tokio::sync::Mutex::new(()),
            listed: Mutex::default(),
            many: Many::open(&home),
            sourcing: tokio::sync::Mutex::new(()),
            unwritten: Mutex::default(),
            beside: Beside::default(),
            moved: Mutex::default(),
            comings: Mutex::default(),
            choices: tokio::sync::watch::Sender::default(),
            over: CancellationToken::new(),
            node,
            home,
            shelf,
        };
        let counted = run.count_units().await;
        counted.map_err(|problem| problem.to_string())?;
        Ok(run)
    }

    /// Has each torrent show what the wallet says that it has paid and earned, ever: its budget counts the
    /// same.
    pub async fn count_units(&self) -> Result<(), Problem> {
        let sums = self.node.wallet.of_torrents().await;
        let sums = sums.map_err(|error| super::money::problem(&error))?;
        lock(&self.traffic).begin(&sums);
        for (hash, entry) in lock(&self.torrents).iter_mut() {
            let of = sums.get(hash).copied().unwrap_or_default();
            (entry.units_paid, entry.units_earned) = (of.paid, of.earned);
            if (entry.row.units_paid, entry.row.units_earned) != (of.paid, of.earned) {
                let row = Arc::make_mut(&mut entry.row);
                (row.units_paid, row.units_earned) = (of.paid, of.earned);
                entry.untold = true;
            }
        }
        Ok(())
    }

    /// Adds the bytes that a crash lost, as far as units were paid or earned for them.
    pub fn make_up(&self) {
        let today = clock::now().day();
        let mut traffic = lock(&self.traffic);
        for (hash, entry) in lock(&self.torrents).iter_mut() {
            let sums = TorrentSums {
                paid: entry.units_paid,
                earned: entry.units_earned,
            };
            let prices = (entry.saved.terms.max_price, entry.saved.terms.price);
            let (down, up) = traffic.make_up(today, *hash, sums, prices);
            entry.saved.down_bytes = entry.saved.down_bytes.saturating_add(down);
            entry.saved.up_bytes = entry.saved.up_bytes.saturating_add(up);
            entry.unsaved |= down + up > 0;
        }
    }

    /// Whether the wallet has met a broker.
    pub fn knows_broker(&self) -> bool {
        lock(&self.balance).broker.is_some()
    }

    /// Sets the speeds of the settings.
    pub fn apply_limits(&self, settings: &Settings) {
        let limits = &settings.limits;
        self.node
            .engine
            .set_limits(limits.download_bytes_per_s, limits.upload_bytes_per_s);
    }

    /// Has the wallet keep so many small coins as the settings say.
    pub async fn apply_at_hand(&self, settings: &Settings) {
        let units = settings.rules.at_hand;
        if let Err(error) = self.node.wallet.keep_at_hand(units).await {
            tracing::warn!("the wallet was not told what to keep at hand: {error}");
        }
    }

    /// Has the wallet redeem by the rule of the settings.
    pub async fn apply_redeem_rule(&self, settings: &Settings) {
        let rules = super::rules::redeem_rules(settings);
        if let Err(error) = self.node.wallet.redeem_by(rules).await {
            tracing::warn!("the wallet was not told what to redeem by itself: {error}");
        }
    }

    /// Starts the torrents that were not paused, and the tasks of a running node.
    pub fn begin(self: &Arc<Self>, session: &Session) {
        let (run, session) = (Arc::clone(self), session.clone());
        let over = run.over.clone();
        tokio::spawn(async move {
            let work = async {
                tokio::join!(
                    session.revive(&run),
                    session.beat(&run),
                    session.keep_rules(&run),
                    session.watch_folder(&run),
                    session.work_off(&run),
                    run.count_dht(),
                    run.tell_forwarding(&session),
                    run.tell_silence(&session),
                );
            };
            tokio::select! {
                () = work => {}
                () = over.cancelled() => {}
            }
        });
    }

    /// Counts the DHT's nodes now and then.
    async fn count_dht(&self) {
        loop {
            let known = self.node.dht.known_nodes().await;
            *lock(&self.dht_nodes) = u32::try_from(known).ok();
            tokio::time::sleep(COUNT_DHT_EVERY).await;
        }
    }

    /// Tells whoever looks what came of asking the router.
    async fn tell_forwarding(&self, session: &Session) {
        let mut known = self.node.router.forwarding();
        loop {
            session.tell_state();
            known = self.node.router.changed_from(&known).await;
        }
    }

    /// Tells while no DHT node answers, and takes it back when one does.
    async fn tell_silence(&self, session: &Session) {
        let mut silence = self.node.dht.silent_since();
        let mut is_told = false;
        loop {
            let since = *silence.borrow_and_update();
            if let Some(since) = since {
                let text = super::view::node::dht_silent(since);
                let values = [("at", since.0.to_string())];
                session.notice(Level::Warning, NoticeCode::DhtSilent, text, &values, None);
            } else if is_told {
                session.take_back(NoticeCode::DhtSilent);
            }
            if is_told != since.is_some() {
                is_told = since.is_some();
                session.tell_state();
            }
            if silence.changed().await.is_err() {
                return;
            }
        }
    }

    /// Closes channels, writes everything, stops the engine and the wallet.
    /// Returns the channels that stay open.
    pub async fn end(self: &Arc<Self>, session: &Session) -> Vec<StaysOpen> {
        self.over.cancel();
        let left = self.node.close_channels().await;
        for open in &left {
            tracing::warn!("still open: {open}");
        }
        session.look(self).await;
        self.save(true).await;
        session.save_settings().await;
        self.node.engine.stop().await;
        self.node.router.stop().await;
        if let Err(error) = self.node.wallet.clone().shutdown().await {
            tracing::error!("the wallet: {error}");
        }
        session.tell_home(None);
        left
    }

    /// A torrent's description, where it is known.
    pub fn metainfo(&self, hash: InfoHash) -> Option<Arc<Metainfo>> {
        let handle = lock(&self.torrents).get(&hash)?.handle.clone();
        let known = handle.and_then(|handle| handle.metainfo());
        known.or_else(|| self.shelf.metainfo(hash))
    }

    /// Keeps a change of an entry, and makes it then: what is refused has not happened. `change` is asked for
    /// both.
    pub async fn change<T>(
        &self,
        hash: InfoHash,
        change: impl Fn(&mut Entry) -> T,
    ) -> Result<T, Problem> {
        let changed = self.shelf.change(&self.torrents, hash, change).await;
        changed.map_err(|error| self.not_kept(hash, error))
    }

    /// Changes an entry, for what must not wait for the disk: what is paid less for. Where it cannot be
    /// kept it holds all the same, is written as soon as it can be, and the problem says so.
    pub async fn insist(
        &self,
        hash: InfoHash,
        change: impl Fn(&mut Entry),
    ) -> Result<Result<(), Problem>, Problem> {
        let ((), written) = self.hold(hash, change).await?;
        Ok(written.map_err(|error| holds_until_stop(&self.home, &error)))
    }

    /// Changes an entry before it is written; what [`Running::insist`] does then.
    pub fn at_once<T>(
        &self,
        hash: InfoHash,
        change: impl Fn(&mut Entry) -> T,
    ) -> Result<T, Problem> {
        let changed = self.shelf.at_once(&self.torrents, hash, change);
        changed.map_err(|error| self.not_kept(hash, error))
    }

    /// As [`Running::insist`], with what the system says.
    pub async fn hold<T>(
        &self,
        hash: InfoHash,
        change: impl Fn(&mut Entry) -> T,
    ) -> Result<(T, std::io::Result<()>), Problem> {
        let held = self.shelf.hold(&self.torrents, hash, change).await;
        let (changed, written) = held.map_err(|error| self.not_kept(hash, error))?;
        self.note_fault(&written);
        Ok((changed, written))
    }

    fn not_kept(&self, hash: InfoHash, error: NotKept) -> Problem {
        match error {
            NotKept::Unknown => unknown(hash),
            NotKept::Disk(error) => self.not_written(&error),
        }
    }

    /// What a home that cannot be written means to whoever asked.
    pub fn not_written(&self, error: &std::io::Error) -> Problem {
        let error = format!("{}: {error}", self.home.display());
        let problem = Problem::new(ProblemCode::Disk, error, Advice::MakeRoomOrLetWrite);
        problem.about(self.home.display())
    }

    /// A copy of an entry.
    pub fn entry(&self, hash: InfoHash) -> Result<Entry, Problem> {
        let torrents = lock(&self.torrents);
        torrents.get(&hash).cloned().ok_or_else(|| unknown(hash))
    }

    /// Tells gateway and wallet a torrent's terms as they are now.
    pub async fn apply_terms(&self, hash: InfoHash) -> Result<(), Problem> {
        let _alone = self.telling.lock().await;
        loop {
            let entry = self.entry(hash)?;
            let Some(metainfo) = entry.handle.as_ref().and_then(|handle| handle.metainfo()) else {
                return Ok(());
            };
            self.node.gateway.set_limits(hash, limits_of(&entry));
            let files = entry.saved.files();
            self.node.choose_files(&metainfo, files.as_deref());
            let budget = entry.saved.terms.budget;
            let noted = self.node.note_budget(hash, budget).await;
            // Another budget that was set meanwhile is noted as well.
            if self.tell_gateway(hash, noted.is_ok(), |entry| {
                entry.unapplied = noted.is_err();
                entry.saved.terms.budget == budget
            })? {
                return noted.map_err(|error| super::problems::node_problem(&error));
            }
        }
    }

    /// Tells the gateway a torrent's terms as they are now, where `is_so`, which is given back. While the wallet
    /// has not noted its budget, nothing is paid.
    pub fn tell_gateway(
        &self,
        hash: InfoHash,
        is_noted: bool,
        is_so: impl Fn(&mut Entry) -> bool,
    ) -> Result<bool, Problem> {
        // Held meanwhile: the last that the gateway hears is what holds.
        let mut torrents = lock(&self.torrents);
        let entry = torrents.get_mut(&hash).ok_or_else(|| unknown(hash))?;
        let is_so = is_so(entry);
        let metainfo = entry.handle.as_ref().and_then(|handle| handle.metainfo());
        if let Some(metainfo) = metainfo.filter(|_| is_so) {
            self.node
                .tell_terms(&metainfo, node_terms(&entry.saved), is_noted);
        }
        Ok(is_so)
    }

    /// Tells the gateway which of a torrent's files are wanted as it is now.
    pub async fn apply_choice(&self, metainfo: &Metainfo) -> Result<(), Problem> {
        let _alone = self.telling.lock().await;
        let files = self.entry(metainfo.info_hash())?.saved.files();
        self.node.choose_files(metainfo, files.as_deref());
        Ok(())
    }

    /// Has what a full disk kept from being noted take effect after all.
    pub async fn apply_late(&self, late: Vec<InfoHash>) {
        for hash in late {
            let mut done = self.apply_terms(hash).await;
            if done.is_ok() {
                done = self.reconnect(hash).await;
            }
            if let Err(problem) = done {
                tracing::warn!(info_hash = %hash, "its terms wait to be noted: {problem}");
            }
        }
    }

    /// Drops a torrent's connections and makes them anew: one that was made while nothing was paid
    /// does not begin to pay.
    pub async fn reconnect(&self, hash: InfoHash) -> Result<(), Problem> {
        match self.hang_up(hash).await? {
            Some(handle) => self.dial_again(hash, &handle).await,
            None => Ok(()),
        }
    }

    /// Drops the connections of a torrent that may pay, which [`Running::dial_again`] makes anew.
    pub async fn hang_up(&self, hash: InfoHash) -> Result<Option<Handle>, Problem> {
        let entry = self.entry(hash)?;
        let Some(handle) = entry.handle.clone().filter(|_| !entry.stands_still()) else {
            return Ok(None);
        };
        // While its files are checked it has no connections yet.
        if handle.pieces_have().is_none() || entry.pays_no_more() {
            return Ok(None);
        }
        let paused = handle.pause().await;
        paused.map_err(super::problems::engine_problem)?;
        Ok(Some(handle))
    }

    /// Makes connections anew that were dropped, unless the torrent was paused meanwhile.
    pub async fn dial_again(&self, hash: InfoHash, handle: &Handle) -> Result<(), Problem> {
        if self.entry(hash)?.stands_still() {
            return Ok(());
        }
        let resumed = handle.resume().await;
        resumed.map_err(super::problems::engine_problem)
    }
}

/// What pays less holds though it could not be written down.
pub(super) fn holds_until_stop(home: &Path, error: &dyn std::fmt::Display) -> Problem {
    let error = format!(
        "it is done, but could not be written down: {}: {error}",
        home.display()
    );
    Problem::new(ProblemCode::Disk, error, Advice::HoldsUntilStop).about(home.display())
}

fn unknown(hash: InfoHash) -> Problem {
    Problem::new(
        ProblemCode::NotFound,
        format!("there is no torrent {hash} here"),
        Advice::SeeList,
    )
}
