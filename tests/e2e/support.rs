//! A world for each test, and what all tests ask of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dpay::cli::world::{Proc, World, WorldOptions};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const LONG: Duration = Duration::from_secs(120);
pub const SHORT: Duration = Duration::from_secs(20);

pub fn exe() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_dpay"))
}

pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("torrents")
        .join(name)
}

/// The Python that has the foreign peers' packages.
pub fn python() -> PathBuf {
    std::env::var_os("DPAY_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from)
}

pub fn foreign(script: &str, args: &[&str]) -> Proc {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/foreign")
        .join(script);
    let mut all = vec![path.display().to_string()];
    all.extend(args.iter().map(|&a| a.to_owned()));
    Proc::start(script, &python(), &all).expect("python3 starts")
}

pub struct TestWorld {
    pub world: World,
    pub dir: TempDir,
}

impl std::ops::Deref for TestWorld {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

pub async fn world() -> TestWorld {
    world_with(WorldOptions::default()).await
}

pub async fn world_with(options: WorldOptions) -> TestWorld {
    let dir = TempDir::new().expect("a temporary directory");
    let world = World::start(&exe(), dir.path(), options)
        .await
        .expect("the world starts");
    TestWorld { world, dir }
}

/// Bytes that do not repeat; the same for the same seed.
pub fn payload(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

pub struct Torrent {
    pub file: PathBuf,
    pub data: PathBuf,
    pub payload: PathBuf,
    pub name: String,
    pub info_hash: [u8; 20],
    pub piece_bytes: u32,
    pub bytes: Vec<u8>,
}

/// Makes a payload of `bytes` and its torrent by `dpay create`.
pub async fn torrent(world: &TestWorld, bytes: usize, piece_kib: u32) -> Torrent {
    torrent_with(world, bytes, piece_kib, &[]).await
}

/// One whose peers are only those that a test names: its only tracker is a port that nobody has.
pub async fn private_torrent(world: &TestWorld, bytes: usize, piece_kib: u32) -> Torrent {
    let extra = ["--private", "--tracker", "http://127.0.0.1:9/announce"];
    torrent_with(world, bytes, piece_kib, &extra).await
}

async fn torrent_with(world: &TestWorld, bytes: usize, piece_kib: u32, extra: &[&str]) -> Torrent {
    let data = world.dir.path().join("payload");
    std::fs::create_dir_all(&data).expect("can write");
    let name = format!("payload-{bytes}.bin");
    let path = data.join(&name);
    let content = payload(bytes, bytes as u64);
    std::fs::write(&path, &content).expect("can write");
    let file = world.dir.path().join(format!("{name}.torrent"));
    let kib = piece_kib.to_string();
    let mut args = vec![
        "create",
        path.to_str().expect("UTF-8"),
        "-o",
        file.to_str().expect("UTF-8"),
        "--piece-kib",
        &kib,
    ];
    args.extend(extra);
    world.must("maker", &args).await.expect("a torrent is made");
    let metainfo = dpay::torrent::Metainfo::decode(&std::fs::read(&file).expect("is there"))
        .expect("is a torrent");
    Torrent {
        file,
        data,
        payload: path,
        name,
        info_hash: metainfo.info_hash().0,
        piece_bytes: piece_kib * 1024,
        bytes: content,
    }
}

pub fn sha256(path: &Path) -> Vec<u8> {
    Sha256::digest(std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .to_vec()
}

pub fn same(a: &Path, b: &Path) {
    assert_eq!(sha256(a), sha256(b), "{} and {}", a.display(), b.display());
}

/// The broker's audit must find every unit.
pub async fn audit(world: &TestWorld) {
    let report = world
        .must("broker", &["broker", "audit"])
        .await
        .expect("the books balance");
    assert_eq!(report["balanced"], true, "{report}");
}

/// What a download of `leecher` says at its end, and its process.
pub async fn finish(world: &TestWorld, t: &Torrent, extra: &[&str]) -> (serde_json::Value, Proc) {
    let out = world.dir.path().join("out");
    let mut leecher = world
        .download("leecher", t.file.to_str().expect("UTF-8"), &out, extra)
        .expect("starts");
    let done = leecher.wait_for("done", LONG).await.expect("finishes");
    same(&t.payload, &out.join(&t.name));
    (done, leecher)
}
