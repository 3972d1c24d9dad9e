//! Nodes as processes, and what tests ask of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use dpay::cli::world::{Proc, World, WorldOptions};
use dpay::http::node::client::{NodeClient, NodeClientError};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

pub const LONG: Duration = Duration::from_secs(120);

pub fn exe() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_dpay"))
}

pub fn args(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A node without wallet or world.
pub struct Lone {
    pub proc: Proc,
    pub url: String,
    pub login_url: String,
    pub home: PathBuf,
    pub dir: TempDir,
}

pub fn private_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("dpay-node")
        .tempdir()
        .expect("a directory")
}

pub async fn lone() -> Lone {
    let dir = private_dir();
    let home = dir.path().join("home");
    let (proc, url, login_url) = start(&home, dir.path(), &[]).await;
    Lone {
        proc,
        url,
        login_url,
        home,
        dir,
    }
}

/// How a node is started with this home.
pub fn node_words(home: &Path, dir: &Path, more: &[&str]) -> Vec<String> {
    let downloads = dir.join("downloads").display().to_string();
    let home = home.display().to_string();
    let mut all = args(&[
        "node",
        "--json",
        "--with-parent",
        "--home",
        &home,
        "--web",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--downloads",
        &downloads,
    ]);
    all.extend(args(more));
    all
}

/// Starts a node with this home, and returns it, its address and its login link.
pub async fn start(home: &Path, dir: &Path, more: &[&str]) -> (Proc, String, String) {
    let mut proc = Proc::start("node", &exe(), &node_words(home, dir, more)).expect("starts");
    let ready = proc.wait_for("ready", LONG).await.expect("ready");
    let text = |key: &str| ready[key].as_str().expect("text").to_owned();
    (proc, text("url"), text("login_url"))
}

pub async fn client(home: &Path) -> NodeClient {
    NodeClient::find(home).await.expect("the node is found")
}

pub async fn get(node: &NodeClient, path: &str) -> Value {
    node.get(path)
        .await
        .unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

pub async fn send(node: &NodeClient, method: Method, path: &str, body: Value) -> Value {
    let answer = node.change(method.clone(), path, &body).await;
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

pub async fn post(node: &NodeClient, path: &str, body: Value) -> Value {
    send(node, Method::POST, path, body).await
}

/// How something is refused: the code, and what is said.
pub async fn refused(
    node: &NodeClient,
    method: Method,
    path: &str,
    body: Value,
) -> (String, String) {
    let answer: Result<Value, _> = node.change(method, path, &body).await;
    match answer {
        Err(NodeClientError::Refused(problem)) => {
            let code = serde_json::to_value(problem.code).expect("a code");
            (code.as_str().expect("text").to_owned(), problem.to_string())
        }
        other => panic!("{path} {body}: {other:?}"),
    }
}

/// A .torrent file as a source.
pub fn file(path: &std::path::Path) -> Value {
    let bytes = std::fs::read(path).expect("a torrent");
    let file = base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({ "file": file })
}

/// A torrent's row.
pub fn row<'a>(list: &'a Value, hash: &str) -> &'a Value {
    let rows = list["torrents"].as_array().expect("a list");
    rows.iter()
        .find(|row| row["info_hash"] == hash)
        .unwrap_or(&Value::Null)
}

/// Asks until the answer is as wanted.
pub async fn wait(node: &NodeClient, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let answer: Result<Value, _> = node.get(path).await;
        match &answer {
            Ok(value) if wanted(value) => return value.clone(),
            _ => {}
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{path} stays {answer:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn wait_stage(node: &NodeClient, stage: &str) -> Value {
    wait(node, "/node", |view| view["stage"] == stage).await
}

/// A world with a seeder of one torrent, and a node in it that has a wallet with money.
pub struct NodeWorld {
    pub world: World,
    pub seeder: Proc,
    pub magnet: String,
    pub payload: Vec<u8>,
    pub name: String,
    pub dir: TempDir,
}

pub fn payload(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
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

pub async fn node_world(bytes: usize) -> NodeWorld {
    let dir = private_dir();
    let options = WorldOptions {
        dht_nodes: 10,
        ..WorldOptions::default()
    };
    let world = World::start(&exe(), dir.path(), options)
        .await
        .expect("the world starts");
    let data = dir.path().join("payload");
    std::fs::create_dir_all(&data).expect("made");
    let name = "film.mp4".to_owned();
    let payload = payload(bytes);
    std::fs::write(data.join(&name), &payload).expect("written");
    let torrent = dir.path().join("film.torrent");
    let (from, to) = (
        data.join(&name).display().to_string(),
        torrent.display().to_string(),
    );
    world
        .must("maker", &["create", &from, "-o", &to, "--piece-kib", "64"])
        .await
        .expect("created");
    world.wallet("seeder", 0).await.expect("a wallet");
    let extra = ["--price", "16384", "--free", "off"];
    let (seeder, address) = world
        .seeder("seeder", &torrent, &data, &extra)
        .await
        .expect("seeds");
    let ready = seeder.last("ready").expect("ready");
    let hash = ready["info_hashes"][0].as_str().expect("a hash").to_owned();
    let magnet = format!("magnet:?xt=urn:btih:{hash}&dn={name}&x.pe={address}");
    NodeWorld {
        world,
        seeder,
        magnet,
        payload,
        name,
        dir,
    }
}

impl NodeWorld {
    /// `dpay add` at the node of the world: its exit code, what it printed, and its errors.
    pub async fn add(&self, words: &[&str]) -> (i32, Value, String) {
        let home = self.home().display().to_string();
        let mut all = vec!["add", "--json", "--home", &home];
        all.extend(words);
        let all = args(&all);
        let output = self.world.run(&all).await.expect("runs");
        (output.code, output.json, output.stderr)
    }

    /// What a command says to people at the node of the world: its exit code, output and errors.
    pub async fn says(&self, words: &[&str]) -> (i32, String, String) {
        let output = tokio::process::Command::new(exe())
            .args(words)
            .arg("--home")
            .arg(self.home())
            .output();
        let output = output.await.expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("ends by itself");
        (code, text(&output.stdout), text(&output.stderr))
    }

    /// Another torrent, and a seeder of its own that asks the same price: it and a link.
    pub async fn another(&self, name: &str, files: &[(&str, usize)]) -> (Proc, String) {
        self.another_that(name, files, "off").await
    }

    /// The same with a seeder that serves others for nothing or not: `free` is off, leftover or on.
    pub async fn another_that(
        &self,
        name: &str,
        files: &[(&str, usize)],
        free: &str,
    ) -> (Proc, String) {
        let data = self.dir.path().join(format!("{name}-data"));
        for (number, (file, bytes)) in files.iter().enumerate() {
            let path = data.join(name).join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            let mut content = payload(*bytes);
            content.rotate_left(number + 1);
            std::fs::write(path, content).expect("written");
        }
        let torrent = self.dir.path().join(format!("{name}.torrent"));
        let (from, to) = (
            data.join(name).display().to_string(),
            torrent.display().to_string(),
        );
        let make = ["create", &from, "-o", &to, "--piece-kib", "64"];
        self.world.must("maker", &make).await.expect("created");
        self.world.wallet(name, 0).await.expect("a wallet");
        let extra = ["--price", "16384", "--free", free];
        let seeder = self.world.seeder(name, &torrent, &data, &extra).await;
        let (seeder, address) = seeder.expect("seeds");
        let ready = seeder.last("ready").expect("ready");
        let hash = ready["info_hashes"][0].as_str().expect("a hash");
        let link = format!("magnet:?xt=urn:btih:{hash}&x.pe={address}");
        (seeder, link)
    }

    /// Where the seeder listens.
    pub fn seeder_address(&self) -> String {
        let (_, address) = self.magnet.split_once("&x.pe=").expect("a peer");
        address.to_owned()
    }

    pub fn home(&self) -> PathBuf {
        self.world.home("leecher")
    }

    /// What a node of the world is started with.
    pub fn around(&self) -> Vec<&str> {
        let mut more: Vec<&str> = vec!["--broker", &self.world.broker_url];
        for address in &self.world.bootstrap {
            more.extend(["--dht-bootstrap", address]);
        }
        more
    }

    /// Starts the node of the world.
    pub async fn start(&self) -> (Proc, NodeClient) {
        let more = self.around();
        let (proc, _, _) = start(&self.home(), self.dir.path(), &more).await;
        let node = client(&self.home()).await;
        (proc, node)
    }

    /// Puts units into the account of the node's wallet.
    pub async fn deposit(&self, account: &str, units: u64) {
        let done = self.world.deposit(account, units).await;
        done.expect("deposited");
    }

    /// A node with a new wallet and money.
    pub async fn rich_node(&self) -> (Proc, NodeClient) {
        let (proc, node) = self.start().await;
        self.enrich(&node).await;
        (proc, node)
    }

    /// Makes the node's wallet and gives it money.
    pub async fn enrich(&self, node: &NodeClient) {
        wait_stage(node, "setup").await;
        let made = post(node, "/wallet", json!({})).await;
        assert_eq!(made["words"].as_array().expect("words").len(), 24);
        wait_stage(node, "running").await;
        self.deposit(made["account"].as_str().expect("an account"), 200_000)
            .await;
    }
}

/// Fetches what a link names from free peers, to its end; its info hash.
pub async fn fetch_free(node: &NodeClient, link: &str) -> String {
    let free = json!({ "pays": false });
    let add = json!({ "source": { "magnet": link }, "confirmed": true, "terms": free });
    let added = post(node, "/torrents", add).await;
    let hash = added["info_hash"].as_str().expect("a hash").to_owned();
    let seeds = |list: &Value| row(list, &hash)["state"] == "seeding";
    wait(node, "/torrents", seeds).await;
    hash
}
