//! A node behind a real router (miniupnpd), in a network namespace of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dpay::cli::world::Proc;
use serde_json::Value;

use crate::support::{LONG, args, client, exe, node_words, private_dir, wait};

const INSIDE: &str = "DPAY_TEST_BEHIND_ROUTER";

/// What a home with a router takes of the system; packages are there or the test fails.
const PROBE: &str = "export PATH=$PATH:/usr/sbin:/sbin; command -v ip && command -v nft || exit 2; \
    ip link add one type veth peer name two && nft add table inet t && \
    nft 'add chain inet t c { type nat hook prerouting priority -100; }' && unshare --net true";

fn namespace() -> Command {
    let mut unshare = Command::new("unshare");
    unshare.arg(match is_root() {
        true => "--net",
        false => "-Urn",
    });
    unshare
}

/// Whether this system lets us have networks of our own: some containers do not.
fn has_namespaces() -> bool {
    let probe = namespace().args(["sh", "-c", PROBE]).output();
    let probe = probe.expect("unshare, of util-linux");
    assert_ne!(
        probe.status.code(),
        Some(2),
        "ip or nft is missing: `tests/run` installs them"
    );
    if !probe.status.success() {
        eprintln!("not tested, as there are no network namespaces here: {probe:?}");
    }
    probe.status.success()
}

/// Runs `test` again as a process whose only network is a home with a router.
fn in_a_home(test: &str) {
    if !has_namespaces() {
        return;
    }
    let status = namespace()
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare, of util-linux");
    assert!(status.success(), "inside: {status}");
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout == b"0\n"
}

/// The router, which ends with this.
struct RouterProc(Child);

impl Drop for RouterProc {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `tests/run` fetched, or what the system has.
fn miniupnpd() -> PathBuf {
    let fetched =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-router/usr/sbin/miniupnpd");
    let known = [fetched, PathBuf::from("/usr/sbin/miniupnpd")];
    let found = known.into_iter().find(|path| path.exists());
    found.expect("miniupnpd: `tests/run` fetches it")
}

fn router(dir: &Path) -> RouterProc {
    let child = Command::new("sh")
        .args(["-c", include_str!("router.sh"), "router"])
        .arg(dir)
        .arg(miniupnpd())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    RouterProc(child.expect("sh"))
}

impl RouterProc {
    /// Waits until it forwards, or does not.
    async fn forwards(&self, wanted: bool) {
        let pid = self.0.id().to_string();
        let start = Instant::now();
        loop {
            let nft = Command::new("nsenter")
                .args(["--net", "--target", &pid, "sh", "-c"])
                .arg("PATH=$PATH:/usr/sbin:/sbin nft list table inet router")
                .output()
                .expect("nsenter, of util-linux");
            let rules = String::from_utf8_lossy(&nft.stdout).into_owned();
            let is = |line: &&str| line.contains("dnat") && line.contains("10.77.0.2:6881");
            // One for TCP, one for UDP.
            let count = rules.lines().filter(is).count();
            if nft.status.success() && count == if wanted { 2 } else { 0 } {
                return;
            }
            assert!(start.elapsed() < LONG, "{wanted}: {rules} {nft:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn start(home: &Path, dir: &Path, more: &[&str]) -> Proc {
    let words = node_words(home, dir, more).into_iter();
    let words: Vec<String> = words
        .map(|word| word.replace("127.0.0.1:0", "0.0.0.0:6881"))
        .collect();
    let mut words = words;
    // The page stays where only this machine reaches it.
    let web = words
        .iter()
        .position(|word| word == "--web")
        .expect("there");
    words[web + 1] = "127.0.0.1:0".to_owned();
    let mut proc = Proc::start("node", &exe(), &words).expect("starts");
    proc.wait_for("ready", LONG).await.expect("ready");
    proc
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_forwards_the_nodes_ports_until_it_stops() {
    if std::env::var_os(INSIDE).is_none() {
        in_a_home("router::a_router_forwards_the_nodes_ports_until_it_stops");
        return;
    }
    let dir = private_dir();
    let home = dir.path().join("home");
    let shown = home.display().to_string();
    let init = args(&["wallet", "init", "--no-passphrase", "--home", &shown]);
    let init = Command::new(exe()).args(init).output().expect("runs");
    assert!(init.status.success(), "{init:?}");
    let running = router(dir.path());
    running.forwards(false).await;
    let is = |state: &'static str| move |node: &Value| node["forwarding"]["state"] == state;

    let mut node = start(&home, dir.path(), &[]).await;
    let seen = wait(&client(&home).await, "/node", is("forwarded")).await;
    assert_eq!(seen["forwarding"]["external"], "52.1.2.3:6881");
    running.forwards(true).await;
    node.stop(LONG).await.expect("stops");
    running.forwards(false).await;

    // Where it is not wanted, nobody is asked.
    let off = [
        "config",
        "set",
        "node.forward_port",
        "false",
        "--home",
        &shown,
    ];
    let off = Command::new(exe()).args(off).output().expect("runs");
    assert!(off.status.success(), "{off:?}");
    let mut node = start(&home, dir.path(), &[]).await;
    wait(&client(&home).await, "/node", is("off")).await;
    node.stop(LONG).await.expect("stops");
    let on = [
        "config",
        "set",
        "node.forward_port",
        "true",
        "--home",
        &shown,
    ];
    let on = Command::new(exe()).args(on).output().expect("runs");
    assert!(on.status.success(), "{on:?}");

    // Where there is none, that is said, and the node works.
    drop(running);
    let mut node = start(&home, dir.path(), &[]).await;
    let seen = wait(&client(&home).await, "/node", is("no_router")).await;
    let why = seen["forwarding"]["why"].as_str().expect("text");
    assert!(why.contains("6881"), "{why}");
    node.stop(LONG).await.expect("stops");
}
