//! Real engines in one process on loopback: seed from one, fetch with another.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dpay::engine::{
    AddTorrent, Engine, EngineConfig, EngineError, Handle, PieceEvent, TorrentSource, TorrentState,
};
use dpay::torrent::{Layout, Magnet, Metainfo, MetainfoBuilder, PieceLength};
use dpay::units::PieceIndex;
use parking_lot::Mutex;
use tempfile::TempDir;

type Events = Arc<Mutex<Vec<PieceEvent>>>;

/// An engine without a gateway: the wrapper of the storage, and peers reached directly.
async fn engine(piece_memory_bytes: u64) -> (Engine, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let config = EngineConfig {
        plain: false,
        piece_memory_bytes,
        on_piece: Arc::new(move |event| sink.lock().push(event)),
        ..EngineConfig::plain(SocketAddr::from(([127, 0, 0, 1], 0)))
    };
    (Engine::start(config).await.expect("starts"), events)
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
