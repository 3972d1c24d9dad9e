//! Real engines in one process on loopback: seed from one, fetch with another.

mod discovery;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dpay::engine::{
    AddTorrent, Engine, EngineConfig, EngineError, Handle, PieceEvent, TorrentSource, TorrentState,
};
use dpay::torrent::{Layout, Metainfo, MetainfoBuilder, PieceLength};
use parking_lot::Mutex;
use tempfile::TempDir;

type Events = Arc<Mutex<Vec<PieceEvent>>>;

/// An engine without a gateway: the wrapper of the storage, and peers reached directly.
async fn engine(piece_memory_bytes: u64) -> (Engine, Events) {
    let (config, events) = config(piece_memory_bytes);
    (Engine::start(config).await.expect("starts"), events)
}

fn config(piece_memory_bytes: u64) -> (EngineConfig, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let config = EngineConfig {
        plain: false,
        piece_memory_bytes,
        on_piece: Arc::new(move |event| sink.lock().push(event)),
        ..EngineConfig::plain(SocketAddr::from(([127, 0, 0, 1], 0)))
    };
    (config, events)
}

fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Writes the files below `dir/name` and makes their torrent.
fn make(dir: &Path, name: &str, piece_kib: u32, files: &[(&str, usize)]) -> Metainfo {
    let layout = match files {
        [("", length)] => Layout::File {
            length_bytes: *length as u64,
        },
        _ => Layout::Folder(
            files
                .iter()
                .map(|(path, length)| {
                    let parts = path.split('/').map(str::to_owned).collect();
                    (parts, *length as u64)
                })
                .collect(),
        ),
    };
    let piece_length = PieceLength::from_kib(piece_kib).expect("a power of two");
    let mut builder = MetainfoBuilder::new(name, layout, piece_length).expect("usable");
    for (number, (path, length)) in files.iter().enumerate() {
        let bytes = content(*length, number as u32 + 1);
        builder.update(&bytes).expect("fits");
        let path = if path.is_empty() {
            dir.join(name)
        } else {
            dir.join(name).join(path)
        };
        std::fs::create_dir_all(path.parent().expect("has a folder")).expect("makes");
        std::fs::write(path, bytes).expect("writes");
    }
    builder.finish().expect("complete")
}

fn add(metainfo: &Metainfo, dir: &Path, peers: &[&Engine]) -> AddTorrent {
    AddTorrent {
        source: TorrentSource::Bytes(metainfo.encode()),
        output_dir: dir.to_owned(),
        initial_peers: peers.iter().map(|engine| engine.listen_addr()).collect(),
        overwrite: true,
        only_files: None,
        paused: false,
        looks_only: false,
    }
}

async fn seed(engine: &Engine, metainfo: &Metainfo, dir: &Path) -> Handle {
    let handle = engine.add(add(metainfo, dir, &[])).await.expect("adds");
    handle.wait_checked().await.expect("checks");
    handle
}

async fn within<F: Future>(seconds: u64, future: F) -> F::Output {
    let limit = Duration::from_secs(seconds);
    tokio::time::timeout(limit, future).await.expect("in time")
}

fn same_files(metainfo: &Metainfo, a: &Path, b: &Path) {
    for file in metainfo.files() {
        let path = if metainfo.is_multi_file() {
            PathBuf::from(metainfo.name()).join(file.relative_path())
        } else {
            file.relative_path()
        };
        let read = |dir: &Path| std::fs::read(dir.join(&path)).expect("is there");
        assert!(read(a) == read(b), "{} differs", path.display());
    }
}

fn dirs() -> (TempDir, TempDir) {
    let new = || tempfile::tempdir().expect("makes a folder");
    (new(), new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_and_added_again_is_not_hashed_anew() {
    let (a, notes) = dirs();
    let metainfo = make(a.path(), "file.bin", 16, &[("", 300_000)]);
    let (config, _) = config(1 << 26);
    let engine = Engine::start(EngineConfig {
        resume_dir: Some(notes.path().to_owned()),
        ..config
    })
    .await
    .expect("starts");
    let hash = metainfo.info_hash();
    seed(&engine, &metainfo, a.path()).await;
    engine.set_aside(hash).await.expect("is there");
    assert!(engine.get(hash).is_none());
    // What librqbit reads at the next start instead of all files: a bit a piece, highest first.
    let noted = std::fs::read(notes.path().join(format!("{hash}.bitv"))).expect("noted");
    assert_eq!(noted, [0xff, 0xff, 0b1110_0000]);
    let again = seed(&engine, &metainfo, a.path()).await;
    assert!(again.pieces_at_start().expect("checked").is_full());
    // Taken out for good, nothing is left of it.
    engine.remove(hash, false).await.expect("is there");
    assert!(!notes.path().join(format!("{hash}.bitv")).exists());
}

/// A large file of zeros and its torrent.
fn zeros(dir: &Path, name: &str) -> Metainfo {
    let length_bytes = 512 << 20;
    let layout = Layout::File { length_bytes };
    let piece_length = PieceLength::from_kib(1024).expect("a power of two");
    let mut builder = MetainfoBuilder::new(name, layout, piece_length).expect("usable");
    let part = vec![0; 1 << 20];
    for _ in 0..512 {
        builder.update(&part).expect("fits");
    }
    let file = std::fs::File::create(dir.join(name)).expect("made");
    file.set_len(length_bytes).expect("grows");
    builder.finish().expect("complete")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_while_it_is_checked_keeps_its_notes() {
    let (a, notes) = dirs();
    let metainfo = make(a.path(), "file.bin", 16, &[("", 300_000)]);
    let others = ["x", "y", "z"].map(|name| zeros(a.path(), name));
    let (config, _) = config(1 << 26);
    let engine = Engine::start(EngineConfig {
        resume_dir: Some(notes.path().to_owned()),
        ..config
    })
    .await
    .expect("starts");
    let hash = metainfo.info_hash();
    seed(&engine, &metainfo, a.path()).await;
    engine.set_aside(hash).await.expect("is there");
    // As many as are checked at a time are before it.
    for other in &others {
        let other = engine.add(add(other, a.path(), &[])).await.expect("adds");
        assert_eq!(other.runs(), None);
    }
    let handle = engine.add(add(&metainfo, a.path(), &[])).await;
    let paused = handle.expect("adds").pause().await;
    assert!(matches!(paused, Err(EngineError::NotYet(_))), "{paused:?}");
    engine.set_aside(hash).await.expect("is there");
    let noted = std::fs::read(notes.path().join(format!("{hash}.bitv"))).expect("noted");
    assert_eq!(noted, [0xff, 0xff, 0b1110_0000]);
}

/// A folder of files of zeros and its torrent, of whose pieces librqbit looks at half when it samples them.
fn many_zeros(dir: &Path, piece_bytes: u32) -> Metainfo {
    let length_bytes = 2 * u64::from(piece_bytes);
    let names: Vec<String> = (0..32).map(|n| format!("{n:02}")).collect();
    let files = names.iter().map(|name| (vec![name.clone()], length_bytes));
    let layout = Layout::Folder(files.collect());
    let piece_length = PieceLength::from_kib(piece_bytes >> 10).expect("a power of two");
    let mut builder = MetainfoBuilder::new("many", layout, piece_length).expect("usable");
    let part = vec![0; piece_bytes as usize];
    for _ in 0..64 {
        builder.update(&part).expect("fits");
    }
    std::fs::create_dir_all(dir.join("many")).expect("made");
    for name in &names {
        let file = std::fs::File::create(dir.join("many").join(name)).expect("made");
        file.set_len(length_bytes).expect("grows");
    }
    builder.finish().expect("complete")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_while_it_was_checked_is_checked_whole() {
    use std::os::unix::fs::FileExt as _;
    const PIECE_BYTES: u32 = 8 << 20;
    let (a, notes) = dirs();
    let metainfo = many_zeros(a.path(), PIECE_BYTES);
    let hash = metainfo.info_hash();
    let start = async || {
        let (config, _) = config(1 << 26);
        let resume_dir = Some(notes.path().to_owned());
        Engine::start(EngineConfig {
            resume_dir,
            ..config
        })
        .await
        .expect("starts")
    };
    let noted = notes.path().join(format!("{hash}.bitv"));
    let mut engine = start().await;
    let found = seed(&engine, &metainfo, a.path()).await.pieces_at_start();
    assert!(found.expect("checked").is_full());
    engine.stop().await;
    assert_eq!(std::fs::read(&noted).expect("noted"), [0xff; 8]);

    // In the middle of a file, where a sample need not look.
    let file = std::fs::File::options()
        .write(true)
        .open(a.path().join("many/17"));
    let damaged = u64::from(PIECE_BYTES) + 77;
    file.expect("is there")
        .write_all_at(b"x", damaged)
        .expect("written");
    for restarts in [true, false] {
        // Noted in order, of all of it, by a run before.
        std::fs::write(&noted, [0xff; 8]).expect("written");
        std::fs::write(notes.path().join(format!("{hash}.noted")), b"").expect("written");
        engine = start().await;
        let handle = engine.add(add(&metainfo, a.path(), &[])).await;
        let handle = handle.expect("adds");
        let begun = async {
            while handle.progress().bytes_have == 0 {
                tokio::task::yield_now().await;
            }
        };
        within(20, begun).await;
        assert_eq!(handle.runs(), None, "it is being checked");
        engine.set_aside(hash).await.expect("is there");
        assert!(!noted.exists(), "believed, and never checked");
        if restarts {
            engine.stop().await;
            engine = start().await;
        }
        let found = seed(&engine, &metainfo, a.path()).await.pieces_at_start();
        let found = found.expect("checked");
        assert_eq!(found.count(), 63);
        assert!(!found.contains(dpay::units::PieceIndex(35)));
        engine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torrents_that_are_added_at_the_same_moment_are_different_ones() {
    let (a, b) = dirs();
    let notes = tempfile::tempdir().expect("makes a folder");
    let (config, _) = config(1 << 26);
    let engine = Engine::start(EngineConfig {
        resume_dir: Some(notes.path().to_owned()),
        ..config
    })
    .await
    .expect("starts");
    let torrents: Vec<Metainfo> = (0..24_usize)
        .map(|n| make(a.path(), &format!("file-{n}.bin"), 16, &[("", 40_000 + n)]))
        .collect();
    // Every other one is whole, so that each must have what it has by itself.
    let dir = |n: usize| {
        if n.is_multiple_of(2) {
            a.path()
        } else {
            b.path()
        }
    };
    let adding = torrents.iter().enumerate().map(|(n, metainfo)| {
        let engine = &engine;
        async move { engine.add(add(metainfo, dir(n), &[])).await.expect("adds") }
    });
    let handles = within(60, futures::future::join_all(adding)).await;
    for (n, (handle, metainfo)) in handles.iter().zip(&torrents).enumerate() {
        within(20, handle.wait_checked()).await.expect("checks");
        let whole = n.is_multiple_of(2).then_some(metainfo.length_bytes());
        assert_eq!(handle.progress().bytes_have, whole.unwrap_or(0));
        assert!(dir(n).join(metainfo.name()).exists(), "{}", metainfo.name());
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_check_did_not_heed_can_be_asked_for_again_when_it_is_over() {
    let (a, _) = dirs();
    let metainfo = make(a.path(), "large.bin", 256, &[("", 32 << 20)]);
    let (engine, _) = engine(1 << 26).await;
    let add = AddTorrent {
        paused: true,
        ..add(&metainfo, a.path(), &[])
    };
    let handle = engine.add(add).await.expect("adds");
    // Its check ends as it was begun, whatever is said meanwhile.
    handle.resume().await.expect("asks");
    assert_eq!(handle.runs(), None, "it is being checked");
    within(20, handle.wait_checked()).await.expect("checks");
    for run in [true, false, true] {
        let asked = match run {
            true => handle.resume().await,
            false => handle.pause().await,
        };
        asked.expect("is heeded");
        assert_eq!(handle.runs(), Some(run));
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_verified_is_known_at_the_next_start_however_the_engine_ended() {
    let (a, b) = dirs();
    let notes = tempfile::tempdir().expect("makes a folder");
    let metainfo = make(a.path(), "file.bin", 16, &[("", 300_000)]);
    // Of 19 pieces the seeder has 9.
    let path = a.path().join("file.bin");
    let mut content = std::fs::read(&path).expect("is there");
    content[9 * 16_384..].fill(0);
    std::fs::write(&path, content).expect("written");
    let (seeder, _) = engine(1 << 26).await;
    let seeding = seed(&seeder, &metainfo, a.path()).await;
    assert_eq!(seeding.pieces_at_start().map(|set| set.count()), Some(9));
    let start = async || {
        let (config, _) = config(1 << 26);
        let config = EngineConfig {
            resume_dir: Some(notes.path().to_owned()),
            ..config
        };
        Engine::start(config).await.expect("starts")
    };
    let noted = notes.path().join(format!("{}.bitv", metainfo.info_hash()));
    let half = [0xff, 0b1000_0000, 0];

    let leecher = start().await;
    let handle = leecher.add(add(&metainfo, b.path(), &[&seeder])).await;
    let handle = handle.expect("adds");
    let has_half = async {
        while handle.pieces_have().map(|set| set.count()) != Some(9) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(60, has_half).await;
    leecher.stop().await;
    drop(leecher);
    assert_eq!(std::fs::read(&noted).expect("noted"), half);

    // Stopped in order, the notes are believed, and nothing is hashed.
    std::fs::write(&noted, [0xff, 0, 0]).expect("written");
    let leecher = start().await;
    let handle = seed(&leecher, &metainfo, b.path()).await;
    assert_eq!(handle.pieces_at_start().map(|set| set.count()), Some(8));

    // So too after runs that did not have the torrent, and ended by a crash.
    leecher.stop().await;
    drop(leecher);
    std::fs::write(&noted, [0xff, 0, 0]).expect("written");
    for _ in 0..2 {
        drop(start().await);
    }
    let leecher = start().await;
    let handle = seed(&leecher, &metainfo, b.path()).await;
    assert_eq!(handle.pieces_at_start().map(|set| set.count()), Some(8));

    // Taken out, also by a run that does not have it, they go: who adds it again may have other files.
    let hash = metainfo.info_hash();
    leecher.stop().await;
    drop(leecher);
    std::fs::write(&noted, [0xff, 0, 0]).expect("written");
    let leecher = start().await;
    let removed = leecher.remove(hash, false).await;
    assert!(matches!(removed, Err(EngineError::Gone(_))), "{removed:?}");
    leecher.stop().await;
    drop(leecher);
    let leecher = start().await;
    let handle = seed(&leecher, &metainfo, b.path()).await;
    assert_eq!(handle.pieces_at_start().map(|set| set.count()), Some(9));

    // Ended by a crash, they are not believed.
    leecher.remove(hash, false).await.expect("is there");
    drop(leecher);
    std::fs::write(&noted, [0, 0, 0]).expect("written");
    let leecher = start().await;
    let handle = seed(&leecher, &metainfo, b.path()).await;
    assert_eq!(handle.pieces_at_start().map(|set| set.count()), Some(9));

    // Nor after a run in between that did not look, and ended well.
    leecher.remove(hash, false).await.expect("is there");
    drop(leecher);
    std::fs::write(&noted, [0, 0, 0]).expect("written");
    let between = start().await;
    between.stop().await;
    drop(between);
    let leecher = start().await;
    let handle = seed(&leecher, &metainfo, b.path()).await;
    assert_eq!(handle.pieces_at_start().map(|set| set.count()), Some(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_whole_is_believed_after_a_crash_once_it_was_synced_and_not_before() {
    let (a, b) = dirs();
    let notes = tempfile::tempdir().expect("makes a folder");
    let metainfo = make(a.path(), "file.bin", 16, &[("", 300_000)]);
    let hash = metainfo.info_hash();
    let (seeder, _) = engine(1 << 26).await;
    seed(&seeder, &metainfo, a.path()).await;
    let start = async || {
        let (config, _) = config(1 << 26);
        let resume_dir = Some(notes.path().to_owned());
        let config = EngineConfig {
            resume_dir,
            ..config
        };
        Engine::start(config).await.expect("starts")
    };
    let noted = notes.path().join(format!("{hash}.bitv"));
    let synced = notes.path().join(format!("{hash}.synced"));
    let whole = [0xff, 0xff, 0b1110_0000];

    let leecher = start().await;
    let handle = leecher.add(add(&metainfo, b.path(), &[&seeder])).await;
    let handle = handle.expect("adds");
    within(60, handle.wait_finished()).await.expect("finishes");
    let is_synced = async {
        while !synced.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(60, is_synced).await;
    drop(leecher);

    // The file is not looked at: what was noted is taken for true, as the disk has it.
    std::fs::write(&noted, whole).expect("written");
    let path = b.path().join("file.bin");
    let mut content = std::fs::read(&path).expect("is there");
    content[7 * 16_384] ^= 1;
    std::fs::write(&path, &content).expect("written");
    let leecher = start().await;
    let handle = seed(&leecher, &metainfo, b.path()).await;
    assert!(handle.pieces_at_start().expect("checked").is_full());
    drop(leecher);

    // The same without word that it was synced.
    std::fs::write(&noted, whole).expect("written");
    std::fs::remove_file(&synced).expect("was there");
    let leecher = start().await;
    let handle = seed(&leecher, &metainfo, b.path()).await;
    let found = handle.pieces_at_start().expect("checked");
    assert_eq!(found.count(), metainfo.piece_count() - 1);
    leecher.remove(hash, false).await.expect("is there");
    assert!(!synced.exists() && !noted.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_fetched_and_every_piece_is_told_once() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "file.bin", 64, &[("", 3_000_001)]);
    let (seeder, seeder_events) = engine(1 << 26).await;
    let (leecher, events) = engine(1 << 26).await;
    let seeding = seed(&seeder, &metainfo, a.path()).await;
    assert!(seeding.pieces_at_start().expect("checked").is_full());
    let handle = leecher
        .add(add(&metainfo, b.path(), &[&seeder]))
        .await
        .expect("adds");
    within(60, handle.wait_finished()).await.expect("finishes");
    same_files(&metainfo, a.path(), b.path());
    let mut pieces: Vec<u32> = events
        .lock()
        .iter()
        .map(|event| match event {
            PieceEvent::Verified { info_hash, piece } if *info_hash == metainfo.info_hash() => {
                piece.0
            }
            other => panic!("{other:?}"),
        })
        .collect();
    pieces.sort_unstable();
    assert_eq!(pieces, (0..metainfo.piece_count()).collect::<Vec<_>>());
    assert!(seeder_events.lock().is_empty());
    assert_eq!(handle.pieces_at_start().map(|set| set.count()), Some(0));
    let progress = handle.progress();
    assert_eq!(progress.state, TorrentState::Seeding);
    assert_eq!(progress.pieces_verified, metainfo.piece_count());
    assert_eq!(progress.pieces_have, progress.pieces_total);
    assert_eq!(progress.bytes_have, 3_000_001);
    assert_eq!(leecher.memory().held_bytes, 0);
    assert_eq!(leecher.memory().spilled_pieces, 0);
    assert!(leecher.memory().peak_bytes > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_is_fetched() {
    let (a, b) = dirs();
    let (seeder, _) = engine(1 << 26).await;
    let (leecher, events) = engine(1 << 26).await;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("torrents");
    for torrent in ["lighthouse-log.txt", "exact-multiple.bin", "odd-names"] {
        let bytes = std::fs::read(samples.join(format!("{torrent}.torrent"))).expect("is there");
        let metainfo = Metainfo::decode(&bytes).expect("reads");
        copy(
            &samples.join(metainfo.name()),
            &a.path().join(metainfo.name()),
        );
        let seeding = seed(&seeder, &metainfo, a.path()).await;
        assert!(
            seeding.pieces_at_start().expect("checked").is_full(),
            "{torrent}"
        );
        let handle = leecher
            .add(add(&metainfo, b.path(), &[&seeder]))
            .await
            .expect("adds");
        within(60, handle.wait_finished()).await.expect("finishes");
        assert_eq!(handle.content_path(), Some(b.path().join(metainfo.name())));
        same_files(&metainfo, a.path(), b.path());
        assert_eq!(
            events.lock().drain(..).count(),
            metainfo.piece_count() as usize
        );
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        std::fs::copy(from, to).expect("copies");
        return;
    }
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_found_good_are_kept_and_not_told() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "file.bin", 16, &[("", 500_000)]);
    let mut half = std::fs::read(a.path().join("file.bin")).expect("reads");
    half[200_000..].fill(0);
    std::fs::write(b.path().join("file.bin"), &half).expect("writes");
    let (seeder, _) = engine(1 << 26).await;
    let (leecher, events) = engine(1 << 26).await;
    seed(&seeder, &metainfo, a.path()).await;
    let handle = leecher
        .add(add(&metainfo, b.path(), &[&seeder]))
        .await
        .expect("adds");
    let found = within(60, handle.wait_checked()).await.expect("checks");
    assert_eq!(found.count(), 200_000 / 16_384);
    within(60, handle.wait_finished()).await.expect("finishes");
    same_files(&metainfo, a.path(), b.path());
    for event in events.lock().iter() {
        assert!(matches!(event, PieceEvent::Verified { piece, .. } if !found.contains(*piece)));
    }
    assert_eq!(
        events.lock().len() as u32,
        metainfo.piece_count() - found.count()
    );
    assert_eq!(handle.pieces_at_start(), Some(found));
    assert!(handle.pieces_have().expect("known").is_full());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_a_corrupt_seeder_fail_and_are_not_verified() {
    let (a, b) = dirs();
    let bad = tempfile::tempdir().expect("makes a folder");
    let metainfo = make(a.path(), "file.bin", 64, &[("", 1_000_000)]);
    std::fs::copy(a.path().join("file.bin"), bad.path().join("file.bin")).expect("copies");
    let (good_seeder, _) = engine(1 << 26).await;
    let (bad_seeder, _) = engine(1 << 26).await;
    let (leecher, events) = engine(1 << 26).await;
    seed(&bad_seeder, &metainfo, bad.path()).await;
    // Only now: it believes that it has good pieces.
    std::fs::write(bad.path().join("file.bin"), vec![0; 1_000_000]).expect("writes");
    let handle = leecher
        .add(add(&metainfo, b.path(), &[&bad_seeder]))
        .await
        .expect("adds");
    let heard =
        |handle: &Handle| handle.progress().peers_live == 0 && handle.progress().peers_seen == 1;
    handle.wait_checked().await.expect("checks");
    within(30, async {
        while leecher.memory().peak_bytes == 0 || !heard(&handle) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(
        events.lock().is_empty(),
        "a failure shows when the piece is fetched again"
    );
    assert_eq!(handle.progress().pieces_have, 0);
    // A good peer comes: it is heard of by connecting.
    let good = good_seeder
        .add(add(&metainfo, a.path(), &[&leecher]))
        .await
        .expect("adds");
    good.wait_checked().await.expect("checks");
    within(60, handle.wait_finished()).await.expect("finishes");
    same_files(&metainfo, a.path(), b.path());
    let events = events.lock();
    let failed = |event: &&PieceEvent| matches!(event, PieceEvent::Failed { .. });
    assert!(events.iter().filter(failed).count() >= 1, "{events:?}");
    assert_eq!(
        events.iter().filter(|e| !failed(e)).count() as u32,
        metainfo.piece_count()
    );
    assert_eq!(
        handle.progress().pieces_failed as usize,
        events.iter().filter(failed).count()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_within_its_bound() {
    let (a, b) = dirs();
    let metainfo = make(
        a.path(),
        "folder",
        256,
        &[("a", 3_000_000), ("b/c", 5_000_000)],
    );
    let mut seeders = Vec::new();
    for _ in 0..3 {
        let (seeder, _) = engine(1 << 26).await;
        seed(&seeder, &metainfo, a.path()).await;
        seeders.push(seeder);
    }
    for bound_bytes in [0, 300_000] {
        let (leecher, events) = engine(bound_bytes).await;
        let seeders: Vec<&Engine> = seeders.iter().collect();
        let handle = leecher
            .add(add(&metainfo, b.path(), &seeders))
            .await
            .expect("adds");
        within(60, handle.wait_finished()).await.expect("finishes");
        same_files(&metainfo, a.path(), b.path());
        assert_eq!(events.lock().len() as u32, metainfo.piece_count());
        assert!(leecher.memory().peak_bytes <= bound_bytes);
        assert_eq!(leecher.memory().held_bytes, 0);
        assert!(
            bound_bytes > 0 || leecher.memory().spilled_pieces >= u64::from(metainfo.piece_count())
        );
        leecher
            .remove(metainfo.info_hash(), true)
            .await
            .expect("removes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_torrent_rests_and_goes_on() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "file.bin", 256, &[("", 64 << 20)]);
    let (seeder, _) = engine(1 << 26).await;
    let (leecher, events) = engine(1 << 26).await;
    seed(&seeder, &metainfo, a.path()).await;
    let handle = leecher
        .add(add(&metainfo, b.path(), &[&seeder]))
        .await
        .expect("adds");
    for some in [3, 6, 9] {
        within(60, async {
            while events.lock().len() < some {
                tokio::task::yield_now().await;
            }
        })
        .await;
        handle.pause().await.expect("pauses");
        handle.pause().await.expect("twice is nothing");
        assert_eq!(handle.progress().state, TorrentState::Paused);
        assert_eq!(leecher.memory().held_bytes, 0);
        // What was being checked may still be told of.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let so_far = events.lock().len();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(events.lock().len(), so_far);
        handle.resume().await.expect("goes on");
        handle.resume().await.expect("twice is nothing");
    }
    within(60, handle.wait_finished()).await.expect("finishes");
    same_files(&metainfo, a.path(), b.path());
    assert!(handle.pieces_have().expect("known").is_full());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adding_is_refused_with_reasons() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "file.bin", 16, &[("", 20_000)]);
    let (leecher, _) = engine(1 << 26).await;
    std::fs::write(b.path().join("file.bin"), b"something else").expect("writes");
    let careful = || AddTorrent {
        overwrite: false,
        ..add(&metainfo, b.path(), &[])
    };
    let error = leecher.add(careful()).await.expect_err("is there");
    assert!(
        matches!(error, EngineError::Exists(_)) && error.to_string().contains("exists already")
    );
    std::fs::remove_file(b.path().join("file.bin")).expect("removes");
    let handle = leecher.add(careful()).await.expect("adds after the mend");
    let again = leecher.add(careful()).await.expect("the same again");
    assert_eq!(handle.info_hash(), again.info_hash());
    assert_eq!(leecher.torrents().len(), 1);
    let mut garbage = careful();
    garbage.source = TorrentSource::Bytes(b"<html>".to_vec());
    let error = leecher.add(garbage).await.expect_err("no torrent");
    assert!(error.to_string().starts_with("this is not a torrent"));
    let mut garbage = careful();
    garbage.source = TorrentSource::Magnet("magnet:?dn=x".to_owned());
    assert!(matches!(
        leecher.add(garbage).await,
        Err(EngineError::Magnet(_))
    ));
    std::fs::create_dir(a.path().join("other.bin")).expect("makes");
    let other = make(b.path(), "other.bin", 16, &[("", 20_000)]);
    let error = leecher
        .add(add(&other, a.path(), &[]))
        .await
        .expect_err("a folder is there");
    assert!(matches!(error, EngineError::Add { .. }), "{error}");
    std::fs::remove_dir(a.path().join("other.bin")).expect("removes");
    leecher
        .add(add(&other, a.path(), &[]))
        .await
        .expect("adds after the mend");
    let taken = EngineConfig::plain(leecher.listen_addr());
    let error = Engine::start(taken).await.err().expect("address is taken");
    assert!(matches!(error, EngineError::Start { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_deletes_only_what_is_the_torrents() {
    let (a, _) = dirs();
    let folder = make(
        a.path(),
        "folder",
        16,
        &[("a", 20_000), ("d/b", 1000), ("e/c", 0)],
    );
    let file = make(a.path(), "file.bin", 16, &[("", 20_000)]);
    let (engine, _) = engine(1 << 26).await;
    seed(&engine, &folder, a.path()).await;
    seed(&engine, &file, a.path()).await;
    std::fs::write(a.path().join("folder/d/mine"), b"x").expect("writes");
    engine
        .remove(folder.info_hash(), true)
        .await
        .expect("removes");
    assert!(a.path().join("folder/d/mine").exists());
    assert!(!a.path().join("folder/a").exists() && !a.path().join("folder/e").exists());
    engine
        .remove(file.info_hash(), false)
        .await
        .expect("removes");
    assert!(a.path().join("file.bin").exists());
    let handle = seed(&engine, &file, a.path()).await;
    assert!(
        handle.pieces_at_start().expect("checked").is_full(),
        "added again"
    );
    engine
        .remove(file.info_hash(), true)
        .await
        .expect("removes");
    assert!(!a.path().join("file.bin").exists());
    let gone = engine.remove(file.info_hash(), true).await;
    assert!(matches!(gone, Err(EngineError::Gone(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_mode_fetches_without_events() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "file.bin", 16, &[("", 300_000)]);
    let plain = || EngineConfig::plain(SocketAddr::from(([127, 0, 0, 1], 0)));
    let seeder = Engine::start(plain()).await.expect("starts");
    let leecher = Engine::start(plain()).await.expect("starts");
    seed(&seeder, &metainfo, a.path()).await;
    let handle = leecher
        .add(add(&metainfo, b.path(), &[&seeder]))
        .await
        .expect("adds");
    within(60, handle.wait_finished()).await.expect("finishes");
    same_files(&metainfo, a.path(), b.path());
    assert_eq!(handle.progress().pieces_verified, 0);
    assert_eq!(leecher.memory().peak_bytes, 0);
    leecher.stop().await;
    assert!(matches!(
        handle.wait_finished().await,
        Err(EngineError::Gone(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_looked_at_is_checked_and_makes_no_file() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "many", 16, &[("x", 50_000), ("y/z", 70_000)]);
    let looked = |dir: &Path| AddTorrent {
        looks_only: true,
        ..add(&metainfo, dir, &[])
    };
    let (engine, _) = engine(1 << 26).await;
    let handle = engine.add(looked(b.path())).await.expect("adds");
    let found = within(10, handle.wait_checked()).await.expect("checks");
    assert_eq!((found.count(), handle.looks_only()), (0, true));
    assert_eq!(std::fs::read_dir(b.path()).expect("lists").count(), 0);
    engine
        .remove(metainfo.info_hash(), false)
        .await
        .expect("is there");

    let handle = engine.add(looked(a.path())).await.expect("adds");
    let found = within(10, handle.wait_checked()).await.expect("checks");
    assert_eq!(found.count(), metainfo.piece_count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_to_a_torrent_that_is_only_looked_at_is_not_written() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "file.bin", 16, &[("", 300_000)]);
    let (seeder, _) = engine(1 << 26).await;
    seed(&seeder, &metainfo, a.path()).await;
    let (leecher, _) = engine(1 << 26).await;
    let looked = AddTorrent {
        looks_only: true,
        ..add(&metainfo, b.path(), &[&seeder])
    };
    let handle = leecher.add(looked).await.expect("adds");
    let end = within(20, handle.wait_finished()).await;
    assert!(matches!(end, Err(EngineError::Stopped { .. })), "{end:?}");
    assert!(!b.path().join("file.bin").exists());
}
