//! A node of its own in this process: what holds while the disk, or whoever asked, is in the way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use super::run::Running;
use super::view::{Action, ActionRequest, AddRequest, Event, SettingsChange, Source, WalletInit};
use super::{LogBook, Options, Session, lock};
use crate::config::Settings;
use crate::engine::Handle;
use crate::torrent::Metainfo;
use crate::units::InfoHash;

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
            folder: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/torrents").to_owned()),
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
    let mut events = one.session.events();
    let beats = async {
        let mut beats = 0;
        while beats < 3 {
            let event = events.recv().await.expect("it runs");
            beats += u32::from(matches!(event, Event::Pulse(_)));
        }
    };
    let beats = tokio::time::timeout(LONG, beats).await;
    beats.expect("the beat waits for the engine");
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
