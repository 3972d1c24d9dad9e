//! DHT nets on loopback for measurements and tests: nodes of our own, nodes of libtorrent
//! as they make up most of the public DHT, nodes that let a record be overwritten, and a mix.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::world::Proc;
use crate::dht::{DhtConfig, DhtNode, Net, NetPlan};
use crate::random;

/// Runs the nodes of libtorrent.
const NODES_PY: &str = include_str!("dht_nodes.py");
/// How long libtorrent's nodes may take to find each other.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Nodes of a kind that a client is told of.
const TOLD: usize = 2;

/// What a net is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetKind {
    /// Our own nodes: servers of the `mainline` crate that keep the first record
    Dpay,
    /// Servers of the `mainline` crate as other programs run them: a record can be overwritten
    Mainline,
    /// Nodes of libtorrent, as in qBittorrent and Deluge
    Libtorrent,
    /// Half `mainline`, half `libtorrent`
    Mixed,
}

/// A net, for as long as it is held.
pub struct DhtNet {
    /// Where its nodes are.
    pub addrs: Vec<SocketAddrV4>,
    bootstrap: Vec<String>,
    _ours: Option<Net>,
    _libtorrent: Option<Proc>,
    /// How long it took until the nodes knew each other.
    pub settled_in: Duration,
}

/// The Python to run libtorrent in: as given, else `DPAY_TEST_PYTHON`, else `python3`.
#[must_use]
pub fn python(given: Option<&Path>) -> PathBuf {
    let named = given.map(Path::to_path_buf);
    named
        .or_else(|| std::env::var_os("DPAY_TEST_PYTHON").map(PathBuf::from))
        .unwrap_or_else(|| "python3".into())
}

impl DhtNet {
    /// Starts `count` nodes, settled. Of the `mainline` crate, `round_trip` is the distance from everybody,
    /// and `hostile` of them show each payee what that payee put and nothing else.
    ///
    /// # Errors
    /// When they do not start or do not find each other; the message says how to get libtorrent.
    pub async fn start(
        kind: NetKind,
        count: usize,
        round_trip: Duration,
        hostile: usize,
        python: &Path,
    ) -> Result<DhtNet> {
        let begun = Instant::now();
        let foreign = match kind {
            NetKind::Dpay | NetKind::Mainline => 0,
            NetKind::Libtorrent => count,
            NetKind::Mixed => count / 2,
        };
        let mut net = DhtNet {
            addrs: Vec::new(),
            bootstrap: Vec::new(),
            _ours: None,
            _libtorrent: None,
            settled_in: Duration::ZERO,
        };
        if foreign > 0 {
            let (proc, addrs) = libtorrent(foreign, python).await?;
            net._libtorrent = Some(proc);
            net.join(addrs);
        }
        if foreign < count {
            let plan = NetPlan {
                count: count - foreign,
                ip: Ipv4Addr::LOCALHOST,
                others: net.bootstrap.clone(),
                round_trip,
                hostile,
                overwritable: kind != NetKind::Dpay,
            };
            let own = Net::start(&plan).await?;
            net.join(own.addrs());
            net._ours = Some(own);
        }
        net.settled_in = begun.elapsed();
        Ok(net)
    }

    fn join(&mut self, addrs: Vec<SocketAddrV4>) {
        let told = addrs.iter().take(TOLD);
        self.bootstrap.extend(told.map(ToString::to_string));
        self.addrs.extend(addrs);
    }

    /// Where to join it: at nodes of each kind.
    #[must_use]
    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    /// A payee's node on the net, with clients of its own, that has found its way around.
    ///
    /// # Errors
    /// When it does not start, or finds hardly anybody.
    pub async fn payee(&self, clients: usize, deadline_ms: u64) -> Result<DhtNode> {
        let node = DhtNode::start(DhtConfig {
            bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            bootstrap: self.bootstrap.clone(),
            clients,
            accept_deadline_ms: deadline_ms,
            ..DhtConfig::default()
        });
        let node = node.await?;
        let enough = self.addrs.len().min(20) / 2;
        if !node.settled(enough, Duration::from_secs(20)).await {
            bail!("a payee's node found fewer than {enough} nodes of the net");
        }
        Ok(node)
    }
}

async fn libtorrent(count: usize, python: &Path) -> Result<(Proc, Vec<SocketAddrV4>)> {
    // Nets that run at the same time have addresses of their own.
    let [draw] = random::bytes::<1>();
    let net = 10 + u32::from(draw % 200);
    let args = [
        "-c".to_owned(),
        NODES_PY.to_owned(),
        "--count".to_owned(),
        count.to_string(),
        "--net".to_owned(),
        net.to_string(),
    ];
    let about = || {
        format!(
            "cannot run {count} nodes of libtorrent in {}; name a Python that has it with --python \
             or DPAY_TEST_PYTHON (`pip install libtorrent`)",
            python.display()
        )
    };
    let mut proc = Proc::start("libtorrent nodes", python, &args).with_context(about)?;
    let ready = proc
        .wait_for("ready", READY_LIMIT)
        .await
        .with_context(about)?;
    let nodes = ready["nodes"].as_array().into_iter().flatten();
    let addrs: Vec<SocketAddrV4> = nodes
        .filter_map(|node| node.as_str()?.parse().ok())
        .collect();
    if addrs.len() != count {
        bail!(
            "{} of {count} libtorrent nodes told their address",
            addrs.len()
        );
    }
    Ok((proc, addrs))
}
