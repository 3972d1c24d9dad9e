//! A node of its own in this process: what holds while the disk, or whoever asked, is in the way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::run::Running;
use super::view::{
    Action, ActionRequest, AddRequest, Event, FileChoice, SettingsChange, Source, Terms,
    TermsChange, WalletInit,
};
use super::{LogBook, Options, Session, lock};
use crate::config::Settings;
use crate::engine::{AddTorrent, Handle, TorrentSource};
use crate::torrent::Metainfo;
use crate::units::{InfoHash, PricePerGib, Units};

/// How long what is asked for may take.
const LONG: Duration = Duration::from_secs(60);

fn options(home: &Path) -> Options {
    Options {
        home: home.join("home"),
        passphrase: None,
        listen: Some(([127, 0, 0, 1], 0).into()),
        bootstrap: vec!["127.0.0.1:9".to_owned()],
        broker_url: None,
        downloads: Some(home.join("downloads")),
        min_answers: 1,
        book: LogBook::default(),
        player: None,
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, so).await.expect("in time");
}

/// A node that runs and seeds one of the samples.
struct Seeding {
    _dir: TempDir,
    session: Session,
    run: Arc<Running>,
    hash: InfoHash,
}

impl Seeding {
    async fn new(torrent: &[u8]) -> Seeding {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/torrents").to_owned();
        Seeding::add(torrent, Some(folder), Vec::new()).await
    }

    /// A node with a torrent of which it has nothing, and a peer that says nothing.
    async fn fetching(torrent: &[u8]) -> (Seeding, TcpListener) {
        let peer = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = peer.local_addr().expect("an address").to_string();
        (Seeding::add(torrent, None, vec![address]).await, peer)
    }

    /// Waits for so many beats.
    async fn beats(&self, count: usize, else_said: &str) {
        let mut events = self.session.events();
        let beats = async {
            let mut beats = 0;
            while beats < count {
                let event = events.recv().await.expect("it runs");
                beats += usize::from(matches!(event, Event::Pulse(_)));
            }
        };
        let beats = tokio::time::timeout(LONG, beats).await;
        beats.expect(else_said);
    }

    async fn add(torrent: &[u8], folder: Option<String>, peers: Vec<String>) -> Seeding {
        let dir = tempfile::tempdir().expect("a folder");
        let session = Session::start(options(dir.path())).expect("starts");
        let wallet = WalletInit {
            passphrase: None,
            words: None,
        };
        session.make_wallet(wallet).await.expect("made");
        assert_eq!(session.started().await, None);
        let run = session.running().expect("runs");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let add = AddRequest {
            source: Source {
                file: Some(STANDARD.encode(torrent)),
                ..Source::default()
            },
            folder,
            peers,
            confirmed: true,
            ..AddRequest::default()
        };
        session.add(add).await.expect("added");
        let hash = metainfo.info_hash();
        let seeding = Seeding {
            _dir: dir,
            session,
            run,
            hash,
        };
        until(|| seeding.handle().runs() == Some(true)).await;
        seeding
    }

    fn terms(&self) -> Terms {
        self.run.entry(self.hash).expect("is there").saved.terms
    }

    fn handle(&self) -> Handle {
        let entry = self.run.entry(self.hash).expect("is there");
        entry.handle.expect("the engine has it")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_or_removed_stands_still_before_anything_is_written() {
    let one = Seeding::new(include_bytes!("../../torrents/exact-multiple.bin.torrent")).await;
    let handle = one.handle();
    // Nothing but the request itself sees to it.
    one.run.over.cancel();
    for action in [Action::Pause, Action::Remove] {
        // Somebody else's write does not end.
        let writing = one.run.shelf.turn().await;
        let asked = ActionRequest {
            action,
            info_hashes: vec![one.hash],
        };
        let session = one.session.clone();
        let asked = tokio::spawn(async move { session.act(asked).await });
        until(|| handle.runs() == Some(false)).await;
        assert!(!asked.is_finished(), "it is not written");
        let saved = one.run.shelf.read().expect("read").remove(0);
        assert!(!saved.paused);
        drop(writing);
        let done = asked.await.expect("ends").expect("runs");
        assert_eq!(done.done, [one.hash], "{done:?}");
        if action == Action::Pause {
            let saved = one.run.shelf.read().expect("read").remove(0);
            assert!(saved.paused);
            let resume = ActionRequest {
                action: Action::Resume,
                info_hashes: vec![one.hash],
            };
            one.session.act(resume).await.expect("runs");
            until(|| handle.runs() == Some(true)).await;
        }
    }
    one.session.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_fetches_what_is_chosen_also_where_it_was_told_otherwise() {
    let one = Seeding::new(include_bytes!("../../torrents/odd-names.torrent")).await;
    assert_eq!(one.handle().fetches(None), Some(true));
    for files in [Some(vec![1, 2]), None, Some(vec![0])] {
        // As if the choice had come when it was being given to the engine.
        let choose = |entry: &mut super::entry::Entry| entry.saved.only_files = files.clone();
        lock(&one.run.torrents).get_mut(&one.hash).map(choose);
        let chosen = one.run.entry(one.hash).expect("is there").saved.files();
        until(|| one.handle().fetches(chosen.clone()) == Some(true)).await;
    }
    one.session.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_beat_goes_on_while_the_engine_is_held_up() {
    let one = Seeding::new(include_bytes!("../../torrents/odd-names.torrent")).await;
    // It does not end that the engine is told something.
    let telling = one.run.telling.lock().await;
    let choose = |entry: &mut super::entry::Entry| entry.saved.only_files = Some(vec![1]);
    lock(&one.run.torrents).get_mut(&one.hash).map(choose);
    one.beats(3, "the beat waits for the engine").await;
    let chosen = Some(vec![1]);
    assert_eq!(one.handle().fetches(chosen.clone()), Some(false));
    drop(telling);
    until(|| one.handle().fetches(chosen.clone()) == Some(true)).await;
    one.session.stop().await;
}

#[tokio::test]
async fn settings_are_changed_though_nobody_waits_for_it_any_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    let home = options.home.clone();
    std::fs::create_dir_all(&home).expect("made");
    let session = Session::start(options).expect("starts");
    let before = session.inner.setting.lock().await;
    let change = [("limits.downloads_at_once".to_owned(), json!(7))];
    let change = SettingsChange(change.into());
    let mut asked = Box::pin(session.change_settings(change));
    assert!(futures::poll!(&mut asked).is_pending());
    drop(asked);
    drop(before);
    until(|| session.settings().limits.downloads_at_once == Some(7)).await;
    let written = Settings::read(&home).expect("is there");
    assert_eq!(written.limits.downloads_at_once, Some(7));
}

/// Waits until a peer's connection is hung up.
async fn hung_up(mut peer: TcpStream) {
    let mut all = Vec::new();
    let over = tokio::time::timeout(LONG, peer.read_to_end(&mut all)).await;
    let _ = over.expect("its connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pays_less_holds_before_anything_is_written() {
    let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
    let (one, peer) = Seeding::fetching(torrent).await;
    one.run.over.cancel();
    let (mut connection, _) = peer.accept().await.expect("dials");
    let before = one.terms();
    assert!(before.pays && before.budget.is_none());
    let price = |price| Some(PricePerGib::new(price).expect("a price"));
    let lower = |change: TermsChange| {
        let (session, hash) = (one.session.clone(), one.hash);
        tokio::spawn(async move { session.change_terms(hash, change).await })
    };
    // More that is asked for before, and that the disk keeps.
    let writing = one.run.shelf.turn().await;
    let more = lower(TermsChange {
        max_price: price(9_000),
        earns: Some(false),
        ..TermsChange::default()
    });
    tokio::task::yield_now().await;
    let less = TermsChange {
        max_price: price(1_000),
        budget: Some(Some(Units(7))),
        ..TermsChange::default()
    };
    let asked = lower(less);
    until(|| one.terms().max_price.get() == 1_000).await;
    hung_up(connection).await;
    (connection, _) = peer.accept().await.expect("dials anew");
    let told = one
        .run
        .node
        .gateway
        .terms_of(one.hash)
        .await
        .expect("is told");
    assert_eq!((told.pays, told.max_price.get()), (true, 1_000));
    assert!(
        !asked.is_finished() && !more.is_finished(),
        "nothing is written"
    );
    assert!(one.terms().earns, "what pays no less is written first");

    let free = ActionRequest {
        action: Action::FreeOnly,
        info_hashes: vec![one.hash],
    };
    let session = one.session.clone();
    let free = tokio::spawn(async move { session.act(free).await });
    hung_up(connection).await;
    until(|| !one.terms().pays).await;
    let told = one
        .run
        .node
        .gateway
        .terms_of(one.hash)
        .await
        .expect("is told");
    assert!(!told.pays && !free.is_finished());
    let saved = one.run.shelf.read().expect("read").remove(0);
    assert_eq!(saved.terms, before, "nothing is written");

    drop(writing);
    more.await.expect("ends").expect("kept");
    asked.await.expect("ends").expect("kept");
    assert_eq!(free.await.expect("ends").expect("runs").done, [one.hash]);
    let saved = one.run.shelf.read().expect("read").remove(0);
    let terms = one.terms();
    assert_eq!(saved.terms, terms);
    assert_eq!((terms.pays, terms.max_price.get()), (false, 1_000));
    assert_eq!((terms.budget, terms.earns), (Some(Units(7)), false));

    // What pays more is written first.
    let writing = one.run.shelf.turn().await;
    let more = lower(TermsChange {
        pays: Some(true),
        max_price: price(4_000),
        ..TermsChange::default()
    });
    let is_held = async {
        loop {
            assert_eq!(one.terms(), terms);
            if one.run.entry(one.hash).expect("is there").unsaved {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    drop(tokio::time::timeout(Duration::from_millis(200), is_held).await);
    assert!(!more.is_finished());
    drop(writing);
    assert!(more.await.expect("ends").expect("kept").pays);
    one.session.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_files_are_fetched_before_that_is_written() {
    let (one, _peer) = Seeding::fetching(include_bytes!("../../torrents/odd-names.torrent")).await;
    one.run.over.cancel();
    let choose = |wanted: &[u32]| {
        let (session, hash) = (one.session.clone(), one.hash);
        let wanted = wanted.to_vec();
        tokio::spawn(async move { session.choose_files(hash, FileChoice { wanted }).await })
    };
    for (wanted, is_fewer) in [(&[1, 2][..], true), (&[0, 1], false), (&[1], true)] {
        let writing = one.run.shelf.turn().await;
        let before = one.run.entry(one.hash).expect("is there").saved.files();
        let asked = choose(wanted);
        let files = Some(wanted.iter().map(|file| *file as usize).collect::<Vec<_>>());
        match is_fewer {
            true => until(|| one.handle().fetches(files.clone()) == Some(true)).await,
            false => assert_eq!(one.handle().fetches(before), Some(true)),
        }
        assert!(!asked.is_finished(), "it is not written");
        drop(writing);
        asked.await.expect("ends").expect("kept");
        assert_eq!(one.handle().fetches(files), Some(true));
    }
    let saved = one.run.shelf.read().expect("read").remove(0);
    assert_eq!(saved.only_files, Some(vec![1]));
    one.session.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_by_which_less_is_paid_hold_before_they_are_written() {
    let one = Seeding::new(include_bytes!("../../torrents/odd-names.torrent")).await;
    let change = |change: Vec<(&str, Value)>| {
        let session = one.session.clone();
        let change = change
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        let change = SettingsChange(change.collect());
        Box::pin(async move { session.change_settings_of(change).await })
    };
    let now = || one.session.settings();
    // Somebody else's write does not end; nor does the beat wait for it.
    let writing = one.session.inner.setting.lock().await;
    let mut more = change(vec![("spending.max_price", json!(9_000))]);
    assert!(futures::poll!(&mut more).is_pending());
    let more = tokio::spawn(more);
    let less = tokio::spawn(change(vec![
        ("spending.max_price", json!(1_000)),
        ("spending.budget_day", json!(5)),
        ("limits.downloads_at_once", json!(3)),
    ]));
    until(|| now().spending.budget_day == Some(Units(5))).await;
    assert_eq!(now().spending.max_price.get(), 1_000);
    assert_eq!(now().limits.downloads_at_once, None, "it pays no less");
    one.beats(2, "the beat waits for the disk").await;
    assert!(!less.is_finished() && !more.is_finished());
    drop(writing);
    more.await.expect("ends").expect("kept");
    less.await.expect("ends").expect("kept");
    let written = Settings::read(&one.session.inner.options.home).expect("is there");
    assert_eq!(written.spending, now().spending);
    assert_eq!(now().spending.max_price.get(), 1_000);
    assert_eq!(now().limits.downloads_at_once, Some(3));
    one.session.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_is_slow_to_let_go_of_is_seen_until_it_has() {
    let one = Seeding::new(include_bytes!("../../torrents/exact-multiple.bin.torrent")).await;
    one.run.over.cancel();
    let handle = one.handle();
    let held = handle.held().await;
    let mut letting = Box::pin(one.session.let_go(&one.run, one.hash));
    assert!(futures::poll!(&mut letting).is_pending());
    drop(letting);
    assert!(
        one.handle().is(&handle),
        "it runs, and the list does not say so"
    );
    drop(held);
    // It is taken out all the same.
    until(|| handle.has_failed()).await;
    one.session.let_go(&one.run, one.hash).await.expect("gone");
    assert!(one.run.entry(one.hash).expect("is there").handle.is_none());
    one.session.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_ends_while_a_beat_waits_is_heard() {
    let one = Seeding::new(include_bytes!("../../torrents/exact-multiple.bin.torrent")).await;
    let measuring = one.run.measuring.lock().await;
    let mut events = one.session.events();
    let is_stuck = async {
        loop {
            let pulse = async { while !matches!(events.recv().await, Ok(Event::Pulse(_))) {} };
            if tokio::time::timeout(Duration::from_millis(2_500), pulse)
                .await
                .is_err()
            {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, is_stuck)
        .await
        .expect("the beat waits");
    one.session
        .let_go(&one.run, one.hash)
        .await
        .expect("let go");
    // As if it had been paused while it was being checked.
    let entry = one.run.entry(one.hash).expect("is there");
    let add = AddTorrent {
        source: TorrentSource::Metainfo(one.run.metainfo(one.hash).expect("known")),
        output_dir: entry.saved.folder,
        initial_peers: Vec::new(),
        overwrite: true,
        only_files: None,
        paused: false,
        looks_only: false,
    };
    let paused = |entry: &mut super::entry::Entry| entry.saved.paused = true;
    lock(&one.run.torrents).get_mut(&one.hash).map(paused);
    let handle = one.run.node.engine.add(add).await.expect("adds");
    let given = |entry: &mut super::entry::Entry| entry.handle = Some(handle.clone());
    lock(&one.run.torrents).get_mut(&one.hash).map(given);
    until(|| handle.runs() == Some(false)).await;
    drop(measuring);
    one.session.stop().await;
}
