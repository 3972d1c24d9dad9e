//! Finding peers: magnet links and trackers.

use std::net::SocketAddr;
use std::sync::Arc;

use dpay::engine::{AddTorrent, Engine, EngineConfig, EngineError, TorrentSource, TorrentState};
use dpay::torrent::{Layout, Magnet, MetainfoBuilder, PieceLength};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{add, content, dirs, engine, make, same_files, seed, within};

/// An address before another one, and word of each connection through it that has ended.
async fn relay(to: SocketAddr) -> (SocketAddr, UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let (ended, attempts) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut from, _) = listener.accept().await.expect("accepts");
            let ended = ended.clone();
            tokio::spawn(async move {
                if let Ok(mut to) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
                let _ = ended.send(());
            });
        }
    });
    (address, attempts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magnet_link_needs_nothing_but_a_peer() {
    let (a, b) = dirs();
    let metainfo = make(a.path(), "folder", 16, &[("a", 100_000), ("b", 0)]);
    let (seeder, _) = engine(1 << 26).await;
    let (leecher, _) = engine(1 << 26).await;
    let (relay, mut attempts) = relay(seeder.listen_addr()).await;
    let mut magnet = Magnet::new(metainfo.info_hash());
    magnet.peers.push(relay);
    let mut adding = add(&metainfo, b.path(), &[]);
    adding.source = TorrentSource::Magnet(magnet.to_string());
    let handle = leecher.add(adding).await.expect("adds");
    assert_eq!((handle.is_private(), handle.metainfo()), (None, None));
    assert_eq!(handle.progress().state, TorrentState::FetchingMetadata);
    // The seeder comes after the first attempt.
    within(30, attempts.recv()).await.expect("is made");
    seed(&seeder, &metainfo, a.path()).await;
    let fetched = within(30, handle.wait_metadata())
        .await
        .expect("is fetched");
    assert_eq!(fetched.info_bytes(), metainfo.info_bytes());
    assert_eq!(handle.is_private(), Some(false));
    within(60, handle.wait_finished()).await.expect("finishes");
    same_files(&metainfo, a.path(), b.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magnet_without_peers_fails_and_a_removed_one_is_gone() {
    let (_, b) = dirs();
    let (leecher, _) = engine(1 << 26).await;
    let magnet = |peers: &[SocketAddr]| AddTorrent {
        source: TorrentSource::Magnet("08ada5a7a6183aae1e09d831df6748d566095a10".to_owned()),
        output_dir: b.path().to_owned(),
        initial_peers: peers.to_vec(),
        overwrite: true,
        only_files: None,
        paused: false,
        looks_only: false,
    };
    let handle = leecher.add(magnet(&[])).await.expect("adds");
    let error = within(10, handle.wait_metadata()).await.expect_err("fails");
    assert!(
        error.to_string().contains("no peers and no trackers"),
        "{error}"
    );
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let handle = leecher
        .add(magnet(&[nobody]))
        .await
        .expect("adds again after a failure");
    assert_eq!(handle.progress().state, TorrentState::FetchingMetadata);
    let info_hash = handle.info_hash();
    leecher.remove(info_hash, true).await.expect("removes");
    let gone = within(10, handle.wait_finished()).await;
    assert!(matches!(gone, Err(EngineError::Gone(hash)) if hash == info_hash));
}

/// Requests a tracker got: their first lines.
type Requests = Arc<Mutex<Vec<String>>>;

/// A tracker that answers every announce with one peer.
async fn tracker(peer: SocketAddr) -> (String, Requests) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let url = format!("http://{}/announce", listener.local_addr().expect("bound"));
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]);
            seen.lock()
                .push(text.lines().next().unwrap_or_default().to_owned());
            let mut body = b"d8:intervali60e5:peers6:".to_vec();
            body.extend_from_slice(&[127, 0, 0, 1]);
            body.extend_from_slice(&peer.port().to_be_bytes());
            body.push(b'e');
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    (url, requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trackers_are_told_the_gateways_port_but_not_of_private_torrents() {
    let (a, b) = dirs();
    let open = make(a.path(), "open.bin", 16, &[("", 50_000)]);
    let bytes = content(50_000, 1);
    let layout = Layout::File {
        length_bytes: 50_000,
    };
    let builder = MetainfoBuilder::new("private.bin", layout, PieceLength::MIN).expect("usable");
    let mut builder = builder.private(true);
    builder.update(&bytes).expect("fits");
    let private = builder.finish().expect("complete");
    std::fs::write(a.path().join("private.bin"), bytes).expect("writes");
    let (seeder, _) = engine(1 << 26).await;
    seed(&seeder, &open, a.path()).await;
    seed(&seeder, &private, a.path()).await;
    let (url, requests) = tracker(seeder.listen_addr()).await;
    let leecher = Engine::start(EngineConfig {
        announce_port: Some(4321),
        trackers: vec![url],
        ..EngineConfig::plain(SocketAddr::from(([127, 0, 0, 1], 0)))
    })
    .await
    .expect("starts");
    let asked = |text: &str| requests.lock().iter().any(|line| line.contains(text));
    // The private one first, and it gets time to ask.
    let handle = leecher
        .add(add(&private, b.path(), &[]))
        .await
        .expect("adds");
    assert_eq!(handle.is_private(), Some(true));
    handle.wait_checked().await.expect("checks");
    // The open one by magnet: the tracker is asked for metadata, then for peers.
    let mut adding = add(&open, b.path(), &[]);
    adding.source = TorrentSource::Magnet(open.info_hash().to_string());
    let handle = leecher.add(adding).await.expect("adds");
    within(60, handle.wait_finished()).await.expect("finishes");
    same_files(&open, a.path(), b.path());
    assert!(asked("port=4321"));
    let count = requests.lock().len();
    assert!(count >= 2, "{:?}", requests.lock());
    let hashes: std::collections::HashSet<String> = requests
        .lock()
        .iter()
        .filter_map(|line| {
            Some(
                line.split("info_hash=")
                    .nth(1)?
                    .split('&')
                    .next()?
                    .to_owned(),
            )
        })
        .collect();
    assert_eq!(hashes.len(), 1, "asked for one torrent only: {hashes:?}");
}
