//! Unmodified clients on the other side: libtorrent (the engine of qBittorrent and Deluge) and aria2.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::support::{
    LONG, SHORT, TestWorld, Torrent, audit, finish, foreign, same, torrent, world,
};

const MIB: usize = 1 << 20;

fn aria2(args: &[String]) -> Child {
    Command::new("aria2c")
        .args([
            "--no-conf",
            "--enable-dht=false",
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--disable-ipv6=true",
            "--interface=127.0.0.1",
            "--summary-interval=0",
            "--console-log-level=warn",
            "--check-integrity=true",
            "--file-allocation=none",
        ])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("aria2c starts; tests/run installs it")
}

async fn free_seeder(world: &TestWorld, t: &Torrent) -> (dpay::cli::world::Proc, String) {
    world.wallet("seeder", 0).await.expect("a wallet");
    world
        .seeder("seeder", &t.file, &t.data, &["--free", "on"])
        .await
        .expect("seeds")
}

#[tokio::test]
async fn libtorrent_downloads_from_a_free_seeder() {
    let world = world().await;
    let t = torrent(&world, 6 * MIB + 12_345, 256).await;
    let (_seeder, address) = free_seeder(&world, &t).await;
    let out = world.dir.path().join("lt");
    std::fs::create_dir(&out).expect("can write");
    let (file, folder) = (t.file.display().to_string(), out.display().to_string());
    let mut peer = foreign("lt_peer.py", &["download", &file, &folder, &address]);
    peer.wait_for("done", LONG)
        .await
        .expect("libtorrent finishes");
    same(&t.payload, &out.join(&t.name));
}

#[tokio::test]
async fn aria2_downloads_from_a_free_seeder() {
    let world = world().await;
    let t = torrent(&world, 6 * MIB + 12_345, 256).await;
    let (_seeder, address) = free_seeder(&world, &t).await;
    let out = world.dir.path().join("aria2");
    // aria2 takes no peer's address by itself: a tracker tells it one.
    let tracker = one_peer_tracker(&address).await;
    let with_tracker = add_tracker(&t.file, &tracker, world.dir.path());
    let child = aria2(&[
        format!("--dir={}", out.display()),
        "--seed-time=0".into(),
        "--listen-port=20000-40000".into(),
        format!("--torrent-file={}", with_tracker.display()),
    ]);
    let output = tokio::time::timeout(LONG, child.wait_with_output())
        .await
        .expect("aria2 finishes in time")
        .expect("aria2 runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    same(&t.payload, &out.join(&t.name));
}

#[tokio::test]
async fn a_download_takes_from_libtorrent_for_nothing() {
    let world = world().await;
    let t = torrent(&world, 6 * MIB + 12_345, 256).await;
    let (file, folder) = (t.file.display().to_string(), t.data.display().to_string());
    let mut seed = foreign("lt_peer.py", &["seed", &file, &folder]);
    let ready = seed
        .wait_for("ready", SHORT)
        .await
        .expect("libtorrent seeds");
    let address = ready["listen"].as_str().expect("an address").to_owned();
    download_free(&world, &t, &address).await;
}

#[tokio::test]
async fn a_download_takes_from_aria2_for_nothing() {
    let world = world().await;
    let t = torrent(&world, 6 * MIB + 12_345, 256).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port();
    let _seed = aria2(&[
        format!("--dir={}", t.data.display()),
        "--seed-ratio=0".into(),
        format!("--listen-port={port}"),
        "--bt-seed-unverified=true".into(),
        format!("--torrent-file={}", t.file.display()),
    ]);
    download_free(&world, &t, &format!("127.0.0.1:{port}")).await;
}

async fn download_free(world: &TestWorld, t: &Torrent, address: &str) {
    world.wallet("leecher", 200_000).await.expect("a wallet");
    let (done, _) = finish(world, t, &["--peer", address]).await;
    assert_eq!(done["units_paid"], 0, "{done}");
    audit(world).await;
}

/// A tracker that knows one peer.
async fn one_peer_tracker(peer: &str) -> String {
    let peer: std::net::SocketAddrV4 = peer.parse().expect("an IPv4 address");
    let mut body = b"d8:intervali5e5:peers6:".to_vec();
    body.extend(peer.ip().octets());
    body.extend(peer.port().to_be_bytes());
    body.push(b'e');
    let app = axum::Router::new().fallback(move || {
        let body = body.clone();
        async move { body }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/announce")
}

/// The same torrent with a tracker: its info dictionary stays as it is.
fn add_tracker(torrent: &Path, tracker: &str, dir: &Path) -> PathBuf {
    let bytes = std::fs::read(torrent).expect("is there");
    let at = bytes
        .windows(6)
        .position(|w| w == b"4:info")
        .expect("an info dictionary");
    let info = dpay::torrent::Metainfo::decode(&bytes)
        .expect("a torrent")
        .info_bytes()
        .to_vec();
    let mut out = format!("d8:announce{}:{tracker}4:info", tracker.len()).into_bytes();
    out.extend(info);
    out.push(b'e');
    assert!(at > 0);
    let path = dir.join("with-tracker.torrent");
    std::fs::write(&path, out).expect("can write");
    path
}
